//! Session descriptions (RFC 8866) as values, and offer/answer (RFC 3264) between them.
//!
//! [`Session::parse`] takes what real peers send: lines ended by LF alone, a missing `s=` or `t=`, trailing spaces, no
//! `a=rtpmap` for static payload types. It refuses what two readers could read differently: two contradicting values of
//! one attribute, malformed addresses, fingerprints or ICE credentials, unknown line types. A known attribute whose value
//! makes no sense and does no harm is kept, unread, among the `other` ones, in order.

mod codec;
mod error;
mod media;
pub mod negotiate;
mod parse;
mod parse_attribute;
mod session;
mod write;

pub use codec::{Codec, Payload};
pub use error::Error;
pub use media::{
    Attribute, Crypto, Direction, Extmap, Feedback, Fingerprint, Fmtp, Ice, Kind, Media, Protocol, Rtcp,
    Rtpmap, Setup, Ssrc,
};
pub use session::{Address, Bandwidth, Connection, Group, Origin, Session, Timing};

/// The longest description that is read, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;
/// The longest line that is read, in bytes.
pub const MAX_LINE: usize = 8 * 1024;
/// Media lines.
pub const MAX_MEDIA: usize = 16;
/// Payload types of a media line.
pub const MAX_PAYLOADS: usize = 128;
/// Candidates of a media line; those beyond are ignored and counted in [`Media::candidates_ignored`].
pub const MAX_CANDIDATES: usize = 32;
/// ICE options of one section.
pub const MAX_OPTIONS: usize = 16;
/// Lines of one section (the session's own, or one media description).
pub const MAX_LINES: usize = 1024;

#[cfg(test)]
mod tests;
