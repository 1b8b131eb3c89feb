//! SIP messages (RFC 3261): a borrowing parser and a writer into the caller's buffer.
//!
//! Nothing here does I/O, keeps state or allocates on the common path. [`Message::parse`] indexes a whole message;
//! its values are parsed when asked for. Parsing fails only where no answer could be built; every other fault is
//! told by [`Message::check`], with the status a UAS answers. [`frame()`] cuts messages out of a stream, [`Key`]
//! reads the few values needed for steering, and [`Writer`] builds messages and refuses control bytes.
#![forbid(unsafe_code)]

mod addr;
mod auth;
mod check;
mod error;
mod frame;
mod host;
mod index;
mod key;
mod message;
mod method;
mod name;
mod out;
mod param;
mod text;
mod uri;
mod value;
mod via;
mod write;

pub use addr::NameAddr;
pub use auth::{Challenge, Credentials, DigestParams};
pub use error::Error;
pub use frame::{Frame, frame};
pub use host::Host;
pub use index::{MAX_HEADERS, MAX_SIZE, from_latin1};
pub use key::Key;
pub use message::{Header, Message, StartLine};
pub use method::Method;
pub use name::Name;
pub use out::{Address, Escaped, Quoted, SipUri, ViaOut};
pub use param::{Param, Params};
pub use text::{split_list, unescape, unquote};
pub use uri::{Scheme, Uri};
pub use value::{CSeq, MediaType, RAck, Reason, Refresher, Replaces, RetryAfter, SessionExpires};
pub use via::Via;
pub use write::Writer;
