//! HMAC-SHA1 (RFC 2104) from midstates: the hash's states after each padded key are kept, so that a tag costs only the
//! blocks of its message and one more. Written on the bare compression function: the buffering of the hash's usual
//! interface costs as much as half of the blocks do.

use sha1::block_api::compress;

const BLOCK: usize = 64;
/// SHA-1's initial state (FIPS 180-4 section 5.3.1).
const INITIAL: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];

/// A key.
pub(super) struct Hmac {
    inner: [u32; 5],
    outer: [u32; 5],
}

impl Hmac {
    pub(super) fn new(key: &[u8; 20]) -> Hmac {
        let padded = |with: u8| {
            let mut block = [with; BLOCK];
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            let mut state = INITIAL;
            compress(&mut state, &[block]);
            state
        };
        Hmac { inner: padded(0x36), outer: padded(0x5c) }
    }

    /// The tag of a message.
    #[inline]
    pub(super) fn tag(&self, message: &[u8]) -> [u8; 20] {
        outer(self.outer, &inner(self.inner, message))
    }
}

/// Ends a hash of `length` bytes, the padded key's block among them, whose last ones are in `tail` (FIPS 180-4 5.1.1).
#[inline]
fn finish(mut state: [u32; 5], tail: &[u8], length: usize) -> [u8; 20] {
    let mut blocks = [[0; BLOCK]; 2];
    let flat = blocks.as_flattened_mut();
    flat[..tail.len()].copy_from_slice(tail);
    flat[tail.len()] = 0x80;
    let count = if tail.len() + 9 <= BLOCK { 1 } else { 2 };
    flat[count * BLOCK - 8..count * BLOCK].copy_from_slice(&(length as u64 * 8).to_be_bytes());
    compress(&mut state, &blocks[..count]);
    let mut digest = [0; 20];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

#[inline]
fn inner(mut state: [u32; 5], message: &[u8]) -> [u8; 20] {
    let (blocks, tail) = message.as_chunks::<BLOCK>();
    compress(&mut state, blocks);
    finish(state, tail, BLOCK + message.len())
}

#[inline]
fn outer(state: [u32; 5], digest: &[u8; 20]) -> [u8; 20] {
    finish(state, digest, BLOCK + digest.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::hmac;

    #[test]
    fn agrees_with_another_stack_at_every_length() {
        let key = [0x0b; 20];
        let other = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &key);
        let message: Vec<u8> = (0..400).map(|n| n as u8).collect();
        for length in 0..=message.len() {
            let expected = hmac::sign(&other, &message[..length]);
            assert_eq!(Hmac::new(&key).tag(&message[..length]), expected.as_ref(), "{length}");
        }
        // RFC 2202, test case 1.
        let expected = [0xb6, 0x17, 0x31, 0x86, 0x55, 0x05, 0x72, 0x64, 0xe2, 0x8b];
        assert_eq!(Hmac::new(&key).tag(b"Hi There")[..10], expected);
    }
}
