//! SRTP written a second time for the tests, as plainly as the RFCs say it: block by block, bit by bit.

use crate::rtp::{Header, Profile};
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aws_lc_rs::hmac;

fn aes(key: &[u8], block: [u8; 16]) -> [u8; 16] {
    let mut block = block.into();
    match key.len() {
        16 => aes::Aes128Enc::new_from_slice(key).unwrap().encrypt_block(&mut block),
        _ => aes::Aes256Enc::new_from_slice(key).unwrap().encrypt_block(&mut block),
    }
    block.into()
}

/// RFC 3711 section 4.3.3, over integers.
fn derive(key: &[u8], salt: &[u8], label: u8, length: usize) -> Vec<u8> {
    let mut wide = [0; 16];
    wide[16 - 14..][..salt.len()].copy_from_slice(salt);
    let x = u128::from_be_bytes(wide) ^ u128::from(label) << 48;
    let blocks = (0..length.div_ceil(16) as u128).flat_map(|n| aes(key, ((x << 16) + n).to_be_bytes()));
    blocks.take(length).collect()
}

fn counter_mode(key: &[u8], first: u128, data: &mut [u8]) {
    for (n, chunk) in data.chunks_mut(16).enumerate() {
        let stream = aes(key, (first + n as u128).to_be_bytes());
        chunk.iter_mut().zip(stream).for_each(|(byte, with)| *byte ^= with);
    }
}

/// NIST SP 800-38D section 6.3.
fn multiply(x: u128, y: u128) -> u128 {
    let (mut z, mut v) = (0, y);
    for bit in (0..128).rev() {
        if x >> bit & 1 == 1 {
            z ^= v;
        }
        v = v >> 1 ^ if v & 1 == 1 { 0xe1 << 120 } else { 0 };
    }
    z
}

fn ghash(key: &[u8], aad: &[u8], cipher: &[u8]) -> u128 {
    let h = u128::from_be_bytes(aes(key, [0; 16]));
    let mut y = 0;
    for chunk in aad.chunks(16).chain(cipher.chunks(16)) {
        let mut block = [0; 16];
        block[..chunk.len()].copy_from_slice(chunk);
        y = multiply(y ^ u128::from_be_bytes(block), h);
    }
    let bits = |part: &[u8]| part.len() as u128 * 8;
    multiply(y ^ (bits(aad) << 64) ^ bits(cipher), h)
}

/// Session key, salt and authentication key.
struct Session {
    key: Vec<u8>,
    salt: Vec<u8>,
    authentication: Vec<u8>,
}

fn session(profile: Profile, material: &[u8; 46], rtcp: bool) -> Session {
    let (key, rest) = material.split_at(profile.key_length());
    let salt = &rest[..profile.salt_length()];
    let first = if rtcp { 3 } else { 0 };
    Session {
        key: derive(key, salt, first, key.len()),
        authentication: derive(key, salt, first + 1, 20),
        salt: derive(key, salt, first + 2, salt.len()),
    }
}

impl Session {
    fn crypt_cm(&self, ssrc: u32, index: u64, data: &mut [u8]) {
        let salt = self.salt.iter().fold(0_u128, |salt, &byte| salt << 8 | u128::from(byte));
        let iv = (salt << 16) ^ (u128::from(ssrc) << 64) ^ (u128::from(index) << 16);
        counter_mode(&self.key, iv, data);
    }

    fn tag_cm(&self, message: &[u8], tail: [u8; 4]) -> Vec<u8> {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.authentication);
        hmac::sign(&key, &[message, &tail].concat()).as_ref()[..10].to_vec()
    }

    fn counter_gcm(&self, ssrc: u32, index: u64) -> u128 {
        let salt = self.salt.iter().fold(0_u128, |salt, &byte| salt << 8 | u128::from(byte));
        (salt ^ u128::from(ssrc) << 48 ^ u128::from(index)) << 32 | 1
    }

    fn crypt_gcm(&self, ssrc: u32, index: u64, data: &mut [u8]) {
        counter_mode(&self.key, self.counter_gcm(ssrc, index) + 1, data);
    }

    fn tag_gcm(&self, ssrc: u32, index: u64, aad: &[u8], cipher: &[u8]) -> Vec<u8> {
        let mask = u128::from_be_bytes(aes(&self.key, self.counter_gcm(ssrc, index).to_be_bytes()));
        (ghash(&self.key, aad, cipher) ^ mask).to_be_bytes().to_vec()
    }
}

/// The SRTP packet of an RTP packet.
pub(crate) fn protect(profile: Profile, material: &[u8; 46], index: u64, clear: &[u8]) -> Vec<u8> {
    let session = session(profile, material, false);
    let header = Header::parse(clear).unwrap();
    let mut out = clear.to_vec();
    let tag = if profile == Profile::AesCm128Sha1_80 {
        session.crypt_cm(header.ssrc, index, &mut out[header.length..]);
        session.tag_cm(&out, ((index >> 16) as u32).to_be_bytes())
    } else {
        session.crypt_gcm(header.ssrc, index, &mut out[header.length..]);
        session.tag_gcm(header.ssrc, index, &out[..header.length], &out[header.length..])
    };
    out.extend(tag);
    out
}

/// The RTP packet in an SRTP packet whose rollover counter is known; `None` where the tag is wrong.
pub(crate) fn unprotect(
    profile: Profile,
    material: &[u8; 46],
    roc: u32,
    protected: &[u8],
) -> Option<Vec<u8>> {
    let session = session(profile, material, false);
    let (sealed, tag) = protected.split_at(protected.len() - profile.tag_length());
    let header = Header::parse(sealed).unwrap();
    let index = u64::from(roc) << 16 | u64::from(header.sequence);
    let mut out = sealed.to_vec();
    let expected = if profile == Profile::AesCm128Sha1_80 {
        session.crypt_cm(header.ssrc, index, &mut out[header.length..]);
        session.tag_cm(sealed, roc.to_be_bytes())
    } else {
        session.crypt_gcm(header.ssrc, index, &mut out[header.length..]);
        session.tag_gcm(header.ssrc, index, &sealed[..header.length], &sealed[header.length..])
    };
    (expected == tag).then_some(out)
}

/// The RTCP packet in an SRTCP packet; `None` where the tag is wrong.
pub(crate) fn unprotect_rtcp(profile: Profile, material: &[u8; 46], protected: &[u8]) -> Option<Vec<u8>> {
    let session = session(profile, material, true);
    let cm = profile == Profile::AesCm128Sha1_80;
    let clear = protected.len() - 4 - profile.tag_length();
    let word: [u8; 4] =
        if cm { protected[clear..clear + 4].try_into() } else { protected[clear + 16..].try_into() }.unwrap();
    let index = u64::from(u32::from_be_bytes(word) & 0x7fff_ffff);
    let ssrc = u32::from_be_bytes(protected[4..8].try_into().unwrap());
    let mut out = protected[..clear].to_vec();
    let (expected, tag) = if cm {
        (session.tag_cm(&out, word), &protected[clear + 4..])
    } else {
        let aad = [&out[..8], &word].concat();
        (session.tag_gcm(ssrc, index, &aad, &out[8..]), &protected[clear..clear + 16])
    };
    if expected != tag {
        return None;
    }
    if cm {
        session.crypt_cm(ssrc, index, &mut out[8..]);
    } else {
        session.crypt_gcm(ssrc, index, &mut out[8..]);
    }
    Some(out)
}
