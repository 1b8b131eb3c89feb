//! Media wire formats: RTP, RTCP and telephone-event headers, and the names of SRTP keys.
//!
//! Everything here reads and writes in place, allocates nothing (but for RTCP that we write ourselves), and takes any
//! bytes without a panic.

mod class;
mod event;
mod header;
mod keys;
pub mod redundancy;
pub mod rtcp;
mod sequence;

pub use class::{Class, classify};
pub use event::TelephoneEvent;
pub use header::{FIXED, Header, set_marker, set_payload_type, set_sequence, set_ssrc, set_timestamp};
pub use keys::{Keys, Profile};
pub use sequence::{Extended, distance, newer};
