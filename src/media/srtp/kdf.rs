//! Session keys from a master key (RFC 3711 section 4.3, RFC 6188 section 3, RFC 7714 section 11), without re-keying
//! by derivation rate: neither DTLS-SRTP nor SDES as it is spoken knows one.

use crate::rtp::Profile;
use aes::cipher::{BlockCipherEncrypt, KeyInit};

/// What a session key is for (RFC 3711 section 4.3.2). RTCP's labels are three higher.
#[derive(Clone, Copy)]
pub(super) enum Label {
    Cipher = 0,
    Authentication = 1,
    Salt = 2,
}

/// Master key and salt of one direction, as the first bytes of `rtp::Keys::{send, receive}`.
pub(super) struct Master {
    cipher: Aes,
    salt: [u8; 14],
}

enum Aes {
    Short(aes::Aes128Enc),
    Long(aes::Aes256Enc),
}

impl Master {
    pub(super) fn new(profile: Profile, material: &[u8; 46]) -> Master {
        let (key, salted) = (profile.key_length(), profile.salt_length());
        let mut short = [0; 16];
        short.copy_from_slice(&material[..16]);
        let mut long = [0; 32];
        long.copy_from_slice(&material[..32]);
        let cipher = match profile {
            Profile::AesCm128Sha1_80 | Profile::AeadAes128Gcm => {
                Aes::Short(aes::Aes128Enc::new(&short.into()))
            }
            Profile::AeadAes256Gcm => Aes::Long(aes::Aes256Enc::new(&long.into())),
        };
        // A salt of 12 bytes is followed by zeros (RFC 7714 section 11).
        let mut salt = [0; 14];
        salt[..salted].copy_from_slice(&material[key..key + salted]);
        Master { cipher, salt }
    }

    /// Fills `out` with a session key: AES in counter mode from `salt XOR label`, times 2^16.
    pub(super) fn derive(&self, label: Label, rtcp: bool, out: &mut [u8]) {
        let mut x = [0; 16];
        x[..14].copy_from_slice(&self.salt);
        x[7] ^= label as u8 + if rtcp { 3 } else { 0 };
        for (n, chunk) in out.chunks_mut(16).enumerate() {
            let mut block = x;
            block[14..].copy_from_slice(&(n as u16).to_be_bytes());
            let mut block = block.into();
            match &self.cipher {
                Aes::Short(aes) => aes.encrypt_block(&mut block),
                Aes::Long(aes) => aes.encrypt_block(&mut block),
            }
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
    }
}
