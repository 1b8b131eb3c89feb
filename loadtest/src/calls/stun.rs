//! The STUN of a browser: Binding requests with integrity and nomination, and answers to the far side's (RFC 8489,
//! RFC 8445). Only what connectivity checks and consent need.

use aws_lc_rs::hmac::{HMAC_SHA1_FOR_LEGACY_USE_ONLY, Key, sign};
use std::net::SocketAddrV4;

const COOKIE: u32 = 0x2112_a442;
const REQUEST: u16 = 0x0001;
const SUCCESS: u16 = 0x0101;
const USERNAME: u16 = 0x0006;
const INTEGRITY: u16 = 0x0008;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
const CONTROLLING: u16 = 0x802a;
/// A peer-reflexive host candidate's priority (RFC 8445 section 5.1.2).
const PRIORITY_VALUE: u32 = 110 << 24 | 65_535 << 8 | 255;
const HEADER: usize = 20;

/// A transaction's identifier.
pub type Transaction = [u8; 12];

/// What a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A Binding request.
    Request(Transaction),
    /// Success of the request with this identifier.
    Success(Transaction),
    /// An error response, or another message.
    Other,
}

struct Writer(Vec<u8>);

impl Writer {
    fn new(kind: u16, transaction: Transaction) -> Writer {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend(kind.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(COOKIE.to_be_bytes());
        bytes.extend(transaction);
        Writer(bytes)
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.0.extend(kind.to_be_bytes());
        self.0.extend((value.len() as u16).to_be_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self.length(0);
    }

    /// The header's length, as if `more` bytes followed.
    fn length(&mut self, more: usize) {
        let length = (self.0.len() - HEADER + more) as u16;
        self.0[2..4].copy_from_slice(&length.to_be_bytes());
    }

    fn finish(mut self, password: &str) -> Vec<u8> {
        self.length(24);
        let digest = sign(&Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes()), &self.0);
        self.attribute(INTEGRITY, digest.as_ref());
        self.length(8);
        let check = crc32(&self.0) ^ 0x5354_554e;
        self.attribute(FINGERPRINT, &check.to_be_bytes());
        self.0
    }
}

/// A check by the controlling side that nominates at once.
pub fn request(transaction: Transaction, username: &str, password: &str, tie_breaker: u64) -> Vec<u8> {
    let mut out = Writer::new(REQUEST, transaction);
    out.attribute(USERNAME, username.as_bytes());
    out.attribute(PRIORITY, &PRIORITY_VALUE.to_be_bytes());
    out.attribute(CONTROLLING, &tie_breaker.to_be_bytes());
    out.attribute(USE_CANDIDATE, &[]);
    out.finish(password)
}

/// The answer to a check that came from `source`.
pub fn success(transaction: Transaction, source: SocketAddrV4, password: &str) -> Vec<u8> {
    let mut out = Writer::new(SUCCESS, transaction);
    let mut value = [0, 1, 0, 0, 0, 0, 0, 0];
    value[2..4].copy_from_slice(&(source.port() ^ (COOKIE >> 16) as u16).to_be_bytes());
    value[4..].copy_from_slice(&(u32::from(*source.ip()) ^ COOKIE).to_be_bytes());
    out.attribute(XOR_MAPPED_ADDRESS, &value);
    out.finish(password)
}

/// Looks at a datagram whose first byte says STUN. The identifier of a response is the proof: 96 bits that only the
/// one who got the request knows.
pub fn read(data: &[u8]) -> Kind {
    let (Some(kind), Some(cookie), Some(transaction)) =
        (data.first_chunk::<2>(), data.get(4..8), data.get(8..HEADER))
    else {
        return Kind::Other;
    };
    let mut id = Transaction::default();
    id.copy_from_slice(transaction);
    match u16::from_be_bytes(*kind) {
        _ if cookie != COOKIE.to_be_bytes() => Kind::Other,
        REQUEST => Kind::Request(id),
        SUCCESS => Kind::Success(id),
        _ => Kind::Other,
    }
}

/// CRC-32 (ISO 3309), bit by bit: a hundred bytes now and then.
fn crc32(data: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !data.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_writes_has_lengths_digest_and_fingerprint_of_rfc_5769() {
        // RFC 5769 section 2.1 fixes the check value of the CRC of everything before FINGERPRINT.
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        let written = request([7; 12], "near:far", "secret", 9);
        assert_eq!(read(&written), Kind::Request([7; 12]));
        assert_eq!(usize::from(u16::from_be_bytes([written[2], written[3]])), written.len() - HEADER);
        let (before, fingerprint) = written.split_at(written.len() - 8);
        assert_eq!(fingerprint[..4], [0x80, 0x28, 0, 4]);
        assert_eq!(fingerprint[4..], (crc32(before) ^ 0x5354_554e).to_be_bytes());
        // The digest covers a header whose length ends with MESSAGE-INTEGRITY.
        let (covered, integrity) = before.split_at(before.len() - 24);
        let mut covered = covered.to_vec();
        let length = (covered.len() - HEADER + 24) as u16;
        covered[2..4].copy_from_slice(&length.to_be_bytes());
        let key = Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"secret");
        assert_eq!(integrity[4..], *sign(&key, &covered).as_ref());
    }

    #[test]
    fn an_answer_says_where_the_check_came_from() {
        let source = SocketAddrV4::new([192, 0, 2, 1].into(), 32853);
        let written = success([1; 12], source, "x");
        assert_eq!(read(&written), Kind::Success([1; 12]));
        // The values of RFC 5769 section 2.2.
        assert_eq!(written[24..32], [0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]);
        assert_eq!(read(&written[..19]), Kind::Other);
    }
}
