//! The gate for STUN (RFC 8489): which Binding request this is, and whether it knows our password.
//!
//! Reads just enough to choose a peer and to authenticate; the answer is str0m's. Nothing here allocates.

use aws_lc_rs::{constant_time, hmac};

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
/// ERROR-CODE 403, Forbidden, padded.
const FORBIDDEN: [u8; 20] = *b"\x00\x09\x00\x0d\x00\x00\x04\x03Forbidden\0\0\0";

/// What was read of a Binding request that has all that RFC 8445 section 7.1 asks for. Not yet believed.
#[derive(Debug, PartialEq, Eq)]
pub struct Check<'a> {
    /// Our own user name fragment: the first half of USERNAME.
    pub local: &'a str,
    /// The sender's.
    pub remote: &'a str,
    /// The controlling side chose this pair (USE-CANDIDATE).
    pub nominated: bool,
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
    let (mut username, mut priority, mut nominated) = (None, false, false);
    while !rest.is_empty() {
        let before = data.len() - rest.len();
        let (kind, value, after) = attribute(rest).ok_or(Unfit::Malformed)?;
        match kind {
            USERNAME if username.is_none() => username = std::str::from_utf8(value).ok(),
            PRIORITY if value.len() == 4 => priority = true,
            USE_CANDIDATE => nominated = true,
            MESSAGE_INTEGRITY => {
                let names = username.and_then(|name: &str| name.split_once(':'));
                let (Some((local, remote)), true, HMAC_SHA1) = (names, priority, value.len()) else {
                    return Err(Unfit::Malformed);
                };
                let covered = data.get(..before).ok_or(Unfit::Malformed)?;
                return Ok(Check { local, remote, nominated, covered, digest: value });
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

/// The answer to a check that is not wanted any more: signed, so that the sender gives that pair up at once (RFC 8445
/// section 7.2.5.2.4). `None` for what is no STUN message.
pub fn write_forbidden(request: &[u8], password: &str) -> Option<Vec<u8>> {
    let mut answer = Vec::with_capacity(72);
    answer.extend_from_slice(&BINDING_ERROR.to_be_bytes());
    answer.extend_from_slice(&[0, 0]);
    // Cookie and transaction.
    answer.extend_from_slice(request.get(4..HEADER)?);
    answer.extend_from_slice(&FORBIDDEN);
    set_length(&mut answer, 4 + HMAC_SHA1);
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes());
    let digest = hmac::sign(&key, &answer);
    answer.extend_from_slice(&[0, MESSAGE_INTEGRITY as u8, 0, HMAC_SHA1 as u8]);
    answer.extend_from_slice(digest.as_ref());
    set_length(&mut answer, 8);
    let print = crc32(&answer) ^ 0x5354_554e;
    answer.extend_from_slice(&FINGERPRINT.to_be_bytes());
    answer.extend_from_slice(&[0, 4]);
    answer.extend_from_slice(&print.to_be_bytes());
    Some(answer)
}

/// The length as it is with so many bytes more.
fn set_length(message: &mut [u8], more: usize) {
    let length = (message.len() - HEADER + more) as u16;
    if let Some(field) = message.get_mut(2..4) {
        field.copy_from_slice(&length.to_be_bytes());
    }
}

/// ITU V.42, bit by bit: this is rare.
fn crc32(data: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !data.iter().fold(!0, |crc: u32, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

/// Whether this is a success response to a Binding request.
pub fn is_success(data: &[u8]) -> bool {
    word(data, 0) == Some(BINDING_SUCCESS)
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

    #[test]
    fn a_refusal_carries_the_transaction_signed_and_fingerprinted() {
        let sample = sample();
        // The sample's own fingerprint, RFC 5769.
        let print = sample.len() - 8;
        assert_eq!((crc32(&sample[..print]) ^ 0x5354_554e).to_be_bytes(), sample[print + 4..]);
        let answer = write_forbidden(&sample, "VOkJxbRl1RmTxUk/WvJxBt").unwrap();
        assert_eq!((&answer[..2], &answer[4..20]), (&[1, 0x11][..], &sample[4..20]));
        assert_eq!(usize::from(word(&answer, 2).unwrap()), answer.len() - HEADER);
        assert_eq!(answer[20..28], [0, 9, 0, 13, 0, 0, 4, 3]);
        // Signed as a request would be.
        let covered = answer.len() - 8 - 24;
        let signed = |password: &str| {
            let (covered, digest) = (&answer[..covered], &answer[covered + 4..covered + 24]);
            Check { local: "", remote: "", nominated: false, covered, digest }.knows(password)
        };
        assert!(signed("VOkJxbRl1RmTxUk/WvJxBt") && !signed("x"));
        let print = answer.len() - 8;
        assert_eq!((crc32(&answer[..print]) ^ 0x5354_554e).to_be_bytes(), answer[print + 4..]);
        assert_eq!(write_forbidden(&sample[..19], "x"), None);
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
