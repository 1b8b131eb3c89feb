//! SRTP and SRTCP in place (RFC 3711, RFC 7714): one context a direction, which shares its session keys among all
//! SSRCs and keeps little for each.
//!
//! AES-CM with HMAC-SHA1 runs on RustCrypto, from HMAC midstates; AES-GCM on aws-lc-rs with keys kept.
//! `benches/srtp.rs` has the figures that chose them.

mod cipher;
mod hmac;
mod kdf;
mod receive;
#[cfg(test)]
pub(crate) mod reference;
mod send;
#[cfg(test)]
mod tests;
mod window;

pub use receive::Receive;
pub use send::Send;
pub use window::{Place, Window};

/// Why a packet was not transformed. Its bytes are worthless afterwards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// No RTP or RTCP header, or too short to hold a tag.
    Malformed,
    /// The index was seen before (receiving), or used before (sending).
    Repeated,
    /// The index lies before the window.
    Old,
    /// The tag does not match.
    Forged,
    /// SRTCP without the E flag: nobody agreed on unencrypted RTCP.
    Clear,
    /// More SSRCs than the context keeps.
    Full,
    /// No index is left under this key (RFC 3711 section 9.2).
    Exhausted,
    /// The tag doesn't fit behind the packet.
    Long,
}

/// Highest SRTP index: 32 bits of rollover counter, 16 of sequence number.
const LAST_INDEX: u64 = (1 << 48) - 1;
/// Highest SRTCP index.
const LAST_RTCP_INDEX: u64 = (1 << 31) - 1;
/// The E flag before the SRTCP index.
const ENCRYPTED: u32 = 1 << 31;
/// Bytes of E flag and SRTCP index.
const RTCP_INDEX: usize = 4;
/// Bytes of an RTCP packet that stay in the clear: header and sender's SSRC.
const RTCP_HEADER: usize = 8;

fn ssrc_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|ssrc| u32::from_be_bytes(*ssrc))
}
