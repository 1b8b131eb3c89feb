//! STUN (RFC 8489) as an ICE-lite agent needs it: which Binding request this is, whether it knows our password, and what
//! it is answered.
//!
//! Reads just enough to choose a peer and to authenticate. Reading allocates nothing.

use aws_lc_rs::{constant_time, hmac};
use std::net::{IpAddr, SocketAddr};

const HEADER: usize = 20;
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;
const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const USE_CANDIDATE: u16 = 0x0025;
const PRIORITY: u16 = 0x0024;
const HMAC_SHA1: usize = 20;
const BINDING_ERROR: u16 = 0x0111;
const FINGERPRINT: u16 = 0x8028;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const ICE_CONTROLLED: u16 = 0x8029;
/// What FINGERPRINT is XORed with: "STUN".
const STUN: u32 = 0x5354_554e;
/// ERROR-CODE 403, Forbidden, padded: the pair is not wanted any more, and is given up at once (RFC 8445 section
/// 7.2.5.2.4).
pub const FORBIDDEN: &[u8] = b"\x00\x09\x00\x0d\x00\x00\x04\x03Forbidden\0\0\0";
/// ERROR-CODE 487, Role Conflict, padded (RFC 8445 section 7.3.1.1).
pub const ROLE_CONFLICT: &[u8] = b"\x00\x09\x00\x11\x00\x00\x04\x57Role Conflict\0\0\0";

/// What was read of a Binding request that has all that RFC 8445 section 7.1 asks for. Not yet believed.
#[derive(Debug, PartialEq, Eq)]
pub struct Check<'a> {
    /// Our own user name fragment: the first half of USERNAME.
    pub local: &'a str,
    /// The sender's.
    pub remote: &'a str,
    /// The controlling side chose this pair (USE-CANDIDATE).
    pub nominated: bool,
    /// The sender believes that we control (ICE-CONTROLLED).
    pub controlled: bool,
    // Everything before MESSAGE-INTEGRITY, and its digest.
    covered: &'a [u8],
    digest: &'a [u8],
}

/// Why a STUN message went no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Not a STUN message, or cut short, or without the attributes of a connectivity check.
    Malformed,
    /// STUN, but not a Binding request: an ICE-lite agent asks nothing, so no response is ours.
    NotRequest,
}

/// Reads a Binding request; attributes behind MESSAGE-INTEGRITY are not looked at (RFC 8489 section 14.5).
pub fn parse(data: &[u8]) -> Result<Check<'_>, Unfit> {
    let (header, mut rest) = data.split_at_checked(HEADER).ok_or(Unfit::Malformed)?;
    let kind = word(header, 0).ok_or(Unfit::Malformed)?;
    let length = word(header, 2).ok_or(Unfit::Malformed)?;
    if header.get(4..8) != Some(&COOKIE) || usize::from(length) != rest.len() || length % 4 != 0 {
        return Err(Unfit::Malformed);
    }
    if kind != BINDING_REQUEST {
        return Err(Unfit::NotRequest);
    }
    let (mut username, mut priority, mut nominated, mut controlled) = (None, false, false, false);
    while !rest.is_empty() {
        let before = data.len() - rest.len();
        let (kind, value, after) = attribute(rest).ok_or(Unfit::Malformed)?;
        match kind {
            USERNAME if username.is_none() => username = std::str::from_utf8(value).ok(),
            PRIORITY if value.len() == 4 => priority = true,
            USE_CANDIDATE => nominated = true,
            ICE_CONTROLLED => controlled = true,
            MESSAGE_INTEGRITY => {
                let names = username.and_then(|name: &str| name.split_once(':'));
                let (Some((local, remote)), true, HMAC_SHA1) = (names, priority, value.len()) else {
                    return Err(Unfit::Malformed);
                };
                let covered = data.get(..before).ok_or(Unfit::Malformed)?;
                return Ok(Check { local, remote, nominated, controlled, covered, digest: value });
            }
            _ => {}
        }
        rest = after;
    }
    Err(Unfit::Malformed)
}

impl Check<'_> {
    /// Whether the sender knows this password (RFC 8489 section 14.5, short-term credentials).
    pub fn knows(&self, password: &str) -> bool {
        let Some((kind, tail)) = self.covered.split_at_checked(2) else { return false };
        let Some(tail) = tail.get(2..) else { return false };
        // The length that was hashed ends with MESSAGE-INTEGRITY itself.
        let length = (self.covered.len() - HEADER + 4 + HMAC_SHA1) as u16;
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
        let mut context = hmac::Context::with_key(&key);
        context.update(kind);
        context.update(&length.to_be_bytes());
        context.update(tail);
        constant_time::verify_slices_are_equal(context.sign().as_ref(), self.digest).is_ok()
    }
}

/// The answer to a believed check from this address. `None` for what is no STUN message.
pub fn write_success(request: &[u8], from: SocketAddr, password: &str) -> Option<Vec<u8>> {
    let mut answer = begin(BINDING_SUCCESS, request)?;
    // The port is hidden by the cookie, the address by cookie and transaction (RFC 8489 section 14.2).
    let mask = request.get(4..HEADER)?;
    let (family, port) = (if from.is_ipv4() { 1 } else { 2 }, from.port().to_be_bytes());
    let (v4, v6) = match from.ip() {
        IpAddr::V4(ip) => (ip.octets(), [0; 16]),
        IpAddr::V6(ip) => ([0; 4], ip.octets()),
    };
    let address = if from.is_ipv4() { &v4[..] } else { &v6[..] };
    answer.extend_from_slice(&XOR_MAPPED_ADDRESS.to_be_bytes());
    answer.extend_from_slice(&[0, 4 + address.len() as u8, 0, family]);
    answer.extend(port.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
    answer.extend(address.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
    Some(finish(answer, password))
}

/// An error in answer to a believed check. `None` for what is no STUN message.
pub fn write_error(request: &[u8], code: &[u8], password: &str) -> Option<Vec<u8>> {
    let mut answer = begin(BINDING_ERROR, request)?;
    answer.extend_from_slice(code);
    Some(finish(answer, password))
}

/// The header of an answer, without its length: cookie and transaction are the request's.
fn begin(kind: u16, request: &[u8]) -> Option<Vec<u8>> {
    let mut answer = Vec::with_capacity(80);
    answer.extend_from_slice(&kind.to_be_bytes());
    answer.extend_from_slice(&[0, 0]);
    answer.extend_from_slice(request.get(4..HEADER)?);
    Some(answer)
}

/// Signed, and with its fingerprint.
pub fn finish(mut answer: Vec<u8>, password: &str) -> Vec<u8> {
    set_length(&mut answer, 4 + HMAC_SHA1);
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
    let digest = hmac::sign(&key, &answer);
    answer.extend_from_slice(&[0, MESSAGE_INTEGRITY as u8, 0, HMAC_SHA1 as u8]);
    answer.extend_from_slice(digest.as_ref());
    set_length(&mut answer, 8);
    let print = crc32(&answer) ^ STUN;
    answer.extend_from_slice(&FINGERPRINT.to_be_bytes());
    answer.extend_from_slice(&[0, 4]);
    answer.extend_from_slice(&print.to_be_bytes());
    answer
}

/// The length as it is with so many bytes more.
fn set_length(message: &mut [u8], more: usize) {
    let length = (message.len() - HEADER + more) as u16;
    if let Some(field) = message.get_mut(2..4) {
        field.copy_from_slice(&length.to_be_bytes());
    }
}

/// ITU V.42, by half bytes.
fn crc32(data: &[u8]) -> u32 {
    const TABLE: [u32; 16] = {
        let (mut table, mut n) = ([0; 16], 0);
        while n < 16 {
            let (mut crc, mut bit) = (n as u32, 0);
            while bit < 4 {
                crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
                bit += 1;
            }
            table[n] = crc;
            n += 1;
        }
        table
    };
    let half = |crc: u32| crc >> 4 ^ TABLE[(crc & 15) as usize];
    !data.iter().fold(!0, |crc: u32, byte| half(half(crc ^ u32::from(*byte))))
}

fn word(data: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*data.get(at)?, *data.get(at + 1)?]))
}

/// The first attribute: type, value, and what follows its padding.
fn attribute(data: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::from(word(data, 2)?);
    let value = data.get(4..4 + length)?;
    Some((word(data, 0)?, value, data.get(4 + length.next_multiple_of(4)..)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Random;

    /// RFC 5769 section 2.1.
    const SAMPLE: &str = "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74\
        002400046e0001ff80290008932ff9b151263b36000600096576746a3a68367659202020000800149aeaa70cbfd8cb56781e\
        f2b5b2d3f249c1b571a280280004e57a3bcf";

    fn sample() -> Vec<u8> {
        let hex: Vec<u8> = SAMPLE.bytes().filter(u8::is_ascii_hexdigit).collect();
        hex.chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    #[test]
    fn the_rfc_5769_request_is_believed_with_its_password_only() {
        let data = sample();
        let check = parse(&data).unwrap();
        assert_eq!((check.local, check.remote, check.nominated), ("evtj", "h6vY", false));
        assert!(check.knows("VOkJxbRl1RmTxUk/WvJxBt"));
        assert!(!check.knows("VOkJxbRl1RmTxUk/WvJxBs"));
        assert!(!check.knows(""));
    }

    #[test]
    fn any_flipped_bit_before_the_digest_ends_is_noticed() {
        let data = sample();
        for bit in 0..(data.len() - 8) * 8 {
            let mut copy = data.clone();
            copy[bit / 8] ^= 1 << (bit % 8);
            assert!(!parse(&copy).is_ok_and(|check| check.knows("VOkJxbRl1RmTxUk/WvJxBt")), "bit {bit}");
        }
    }

    #[test]
    fn attributes_behind_the_integrity_are_not_looked_at() {
        let mut data = sample();
        data.truncate(data.len() - 8);
        data.extend_from_slice(&[0, 0x25, 0, 0]);
        let length = (data.len() - 20) as u16;
        data[2..4].copy_from_slice(&length.to_be_bytes());
        let check = parse(&data).unwrap();
        assert!(!check.nominated && check.knows("VOkJxbRl1RmTxUk/WvJxBt"));
    }

    #[test]
    fn cut_and_random_messages_are_malformed_and_never_panic() {
        let data = sample();
        for end in 0..data.len() {
            assert_eq!(parse(&data[..end]), Err(Unfit::Malformed));
        }
        let mut random = Random::from_number(1);
        for _ in 0..20_000 {
            let mut junk = data.clone();
            for _ in 0..=random.below(6) {
                let at = random.below(junk.len() as u64) as usize;
                junk[at] = random.u32() as u8;
            }
            junk.truncate(random.below(junk.len() as u64 + 1) as usize);
            if let Ok(check) = parse(&junk) {
                check.knows("x");
            }
        }
    }

    /// Whether what was answered carries the transaction of the sample, its own length, digest and fingerprint.
    fn is_sound(answer: &[u8], password: &str) -> bool {
        let (print, digest) = (answer.len() - 8, answer.len() - 8 - 24);
        let (covered, digest) = (&answer[..digest], &answer[digest + 4..print]);
        let (local, remote, nominated, controlled) = ("", "", false, false);
        answer[4..20] == sample()[4..20]
            && usize::from(word(answer, 2).unwrap()) == answer.len() - HEADER
            && (crc32(&answer[..print]) ^ STUN).to_be_bytes() == answer[print + 4..]
            && Check { local, remote, nominated, controlled, covered, digest }.knows(password)
    }

    #[test]
    fn a_refusal_carries_the_transaction_signed_and_fingerprinted() {
        let sample = sample();
        // The sample's own fingerprint, RFC 5769.
        let print = sample.len() - 8;
        assert_eq!((crc32(&sample[..print]) ^ STUN).to_be_bytes(), sample[print + 4..]);
        for (error, code) in [(FORBIDDEN, [4, 3]), (ROLE_CONFLICT, [4, 87])] {
            assert_eq!(error.len() % 4, 0);
            let answer = write_error(&sample, error, "VOkJxbRl1RmTxUk/WvJxBt").unwrap();
            assert_eq!((&answer[..2], &answer[26..28]), (&[1, 0x11][..], &code[..]));
            assert!(is_sound(&answer, "VOkJxbRl1RmTxUk/WvJxBt") && !is_sound(&answer, "x"));
        }
        assert_eq!(write_error(&sample[..19], FORBIDDEN, "x"), None);
    }

    #[test]
    fn an_answer_shows_the_address_as_the_samples_of_rfc_5769_do() {
        let sample = sample();
        // Sections 2.2 and 2.3: the same transaction, seen from 192.0.2.1 and 2001:db8:1234:5678:11:2233:4455:6677.
        let v4 = write_success(&sample, "192.0.2.1:32853".parse().unwrap(), "p").unwrap();
        assert_eq!(v4[..2], [1, 1]);
        assert_eq!(v4[20..32], [0, 0x20, 0, 8, 0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]);
        let v6 = "[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap();
        let v6 = write_success(&sample, v6, "p").unwrap();
        assert_eq!(v6[20..28], [0, 0x20, 0, 20, 0, 2, 0xa1, 0x47]);
        let xored =
            [0x01, 0x13, 0xa9, 0xfa, 0xa5, 0xd3, 0xf1, 0x79, 0xbc, 0x25, 0xf4, 0xb5, 0xbe, 0xd2, 0xb9, 0xd9];
        assert_eq!(v6[28..44], xored);
        assert!(is_sound(&v4, "p") && is_sound(&v6, "p"));
        assert_eq!(write_success(&sample[..19], "192.0.2.1:1".parse().unwrap(), "p"), None);
    }

    #[test]
    fn a_request_of_one_who_would_be_controlled_says_so() {
        let data = sample();
        assert_eq!(data[48..50], [0x80, 0x29], "the RFC's sample is controlled");
        assert!(parse(&data).unwrap().controlled);
        let mut controlling = data.clone();
        controlling[49] = 0x2a;
        assert!(!parse(&controlling).unwrap().controlled);
    }

    #[test]
    fn responses_and_indications_are_not_requests() {
        let mut data = sample();
        for kind in [0x0101_u16, 0x0111, 0x0011, 0x0003] {
            data[..2].copy_from_slice(&kind.to_be_bytes());
            assert_eq!(parse(&data), Err(Unfit::NotRequest));
        }
    }
}
