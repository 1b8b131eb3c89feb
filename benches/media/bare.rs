//! The bare ciphers, as they would be called with nothing around them: the floor of every SRTP figure.

use aes::Aes128Enc;
use aes::cipher::{InnerIvInit, KeyInit, StreamCipherCore};
use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use bridgehead::rtp::Profile;
use ctr::{CtrCore, flavors::Ctr128BE};
use sha1::block_api::compress;

/// One direction's keys.
pub enum Bare {
    Cm { aes: Box<Aes128Enc>, inner: [u32; 5], outer: [u32; 5] },
    Gcm(LessSafeKey),
}

impl Bare {
    pub fn new(profile: Profile, seed: u8) -> Bare {
        let key = [seed; 32];
        match profile {
            Profile::AesCm128Sha1_80 => {
                let aes = Aes128Enc::new_from_slice(&key[..16]).unwrap();
                Bare::Cm { aes: Box::new(aes), inner: [u32::from(seed); 5], outer: [1; 5] }
            }
            Profile::AeadAes128Gcm => {
                Bare::Gcm(LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key[..16]).unwrap()))
            }
            Profile::AeadAes256Gcm => {
                Bare::Gcm(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).unwrap()))
            }
        }
    }

    /// Encrypts what follows the 12 bytes of header, leaving room for the tag; gives a byte of the tag.
    pub fn seal(&self, bytes: &mut [u8], n: usize) -> u8 {
        match self {
            Bare::Cm { .. } => {
                let end = bytes.len() - 10;
                self.stream(&mut bytes[12..end], n);
                bytes[end..end + 4].fill(0);
                let tag = self.tag(&bytes[..end + 4]);
                bytes[end..].copy_from_slice(&tag[..10]);
                tag[0]
            }
            Bare::Gcm(key) => {
                let end = bytes.len() - 16;
                let (head, rest) = bytes[..end].split_at_mut(12);
                let tag = key.seal_in_place_separate_tag(nonce(n), Aad::from(&*head), rest).unwrap();
                bytes[end..].copy_from_slice(tag.as_ref());
                bytes[end]
            }
        }
    }

    /// Decrypts what [`Bare::seal`] made.
    pub fn open(&self, bytes: &mut [u8], n: usize) -> bool {
        match self {
            Bare::Cm { .. } => {
                let end = bytes.len() - 10;
                let found: [u8; 10] = bytes[end..].try_into().unwrap();
                bytes[end..end + 4].fill(0);
                let same = self.tag(&bytes[..end + 4])[..10] == found;
                self.stream(&mut bytes[12..end], n);
                same
            }
            Bare::Gcm(key) => {
                let (head, rest) = bytes.split_at_mut(12);
                key.open_in_place(nonce(n), Aad::from(&*head), rest).is_ok()
            }
        }
    }

    fn stream(&self, data: &mut [u8], n: usize) {
        if let Bare::Cm { aes, .. } = self {
            let iv = (n as u128) << 16;
            CtrCore::<&Aes128Enc, Ctr128BE>::inner_iv_init(aes, &iv.to_be_bytes().into())
                .apply_keystream_partial(data.into());
        }
    }

    /// As many compressions as HMAC needs from its midstates, and no more: no lengths, no general padding.
    fn tag(&self, message: &[u8]) -> [u8; 20] {
        let Bare::Cm { inner, outer, .. } = self else { return [0; 20] };
        let (mut state, mut last) = (*inner, [[0; 64]; 1]);
        let (blocks, tail) = message.as_chunks();
        compress(&mut state, blocks);
        last[0][..tail.len()].copy_from_slice(tail);
        compress(&mut state, &last);
        let mut digest = [0; 20];
        for round in 0..2 {
            for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
                bytes.copy_from_slice(&word.to_be_bytes());
            }
            if round == 0 {
                last[0][..20].copy_from_slice(&digest);
                state = *outer;
                compress(&mut state, &last);
            }
        }
        digest
    }
}

fn nonce(n: usize) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&(n as u64).to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}
