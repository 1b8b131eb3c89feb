//! The bare ciphers, as they would be called with nothing around them: the floor of every SRTP figure.

use aes::Aes128Enc;
use aes::cipher::{InnerIvInit, KeyInit, StreamCipherCore};
use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use bridgehead::rtp::Profile;
use ctr::{CtrCore, flavors::Ctr128BE};
use sha1::{Digest, Sha1};

/// One direction's keys.
pub enum Bare {
    Cm { aes: Box<Aes128Enc>, inner: Sha1, outer: Sha1 },
    Gcm(LessSafeKey),
}

impl Bare {
    pub fn new(profile: Profile, seed: u8) -> Bare {
        let key = [seed; 32];
        match profile {
            Profile::AesCm128Sha1_80 => {
                let state = || {
                    let mut hash = Sha1::new();
                    hash.update([seed; 64]);
                    hash
                };
                let aes = Aes128Enc::new_from_slice(&key[..16]).unwrap();
                Bare::Cm { aes: Box::new(aes), inner: state(), outer: state() }
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
                self.tag(&bytes[..end + 4])[0]
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
                let tag = self.tag(&bytes[..end + 4]);
                self.stream(&mut bytes[12..end], n);
                tag[0] != bytes[0]
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

    fn tag(&self, message: &[u8]) -> [u8; 20] {
        let Bare::Cm { inner, outer, .. } = self else { return [0; 20] };
        let (mut inner, mut outer) = (inner.clone(), outer.clone());
        inner.update(message);
        outer.update(inner.finalize());
        outer.finalize().into()
    }
}

fn nonce(n: usize) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&(n as u64).to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}
