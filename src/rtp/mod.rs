//! Media wire formats: RTP, RTCP and telephone-event headers, and the names of SRTP keys.

mod keys;

pub use keys::{Keys, Profile};
