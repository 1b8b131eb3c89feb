//! The transforms under one set of session keys: AES-CM with HMAC-SHA1 (RFC 3711 section 4) and AES-GCM (RFC 7714).

use super::hmac::Hmac;
use super::kdf::{Label, Master};
use crate::rtp::Profile;
use aes::Aes128Enc;
use aes::cipher::{InnerIvInit, KeyInit, StreamCipherCore};
use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ctr::{CtrCore, flavors::Ctr128BE};
use std::fmt;

/// Bytes of a tag of AES-CM-HMAC-SHA1-80.
pub(super) const CM_TAG: usize = 10;
/// Bytes of a tag of AES-GCM.
pub(super) const GCM_TAG: usize = 16;

/// Session keys of RTP, or of RTCP. They lie in their context, not in a box of their own: it would be one more wait for
/// memory a packet.
#[allow(clippy::large_enum_variant, reason = "the small one is the one that points elsewhere")]
pub(super) enum Cipher {
    Cm(Cm),
    Gcm(Gcm),
}

/// AES in counter mode, and HMAC-SHA1.
pub(super) struct Cm {
    aes: Aes128Enc,
    salt: u128,
    hmac: Hmac,
}

/// AES-GCM with its key schedule and hash table kept.
pub(super) struct Gcm {
    key: LessSafeKey,
    salt: [u8; 12],
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cipher::Cm(_) => "AesCm",
            Cipher::Gcm(_) => "AesGcm",
        })
    }
}

impl Cipher {
    pub(super) fn new(profile: Profile, master: &Master, rtcp: bool) -> Cipher {
        match profile {
            Profile::AesCm128Sha1_80 => {
                let (mut key, mut authentication, mut salt) = ([0; 16], [0; 20], [0; 14]);
                master.derive(Label::Cipher, rtcp, &mut key);
                master.derive(Label::Authentication, rtcp, &mut authentication);
                master.derive(Label::Salt, rtcp, &mut salt);
                Cipher::Cm(Cm::new(key, &authentication, &salt))
            }
            Profile::AeadAes128Gcm | Profile::AeadAes256Gcm => {
                let (mut key, mut salt) = ([0; 32], [0; 12]);
                let key = &mut key[..profile.key_length()];
                master.derive(Label::Cipher, rtcp, key);
                master.derive(Label::Salt, rtcp, &mut salt);
                Cipher::Gcm(Gcm::new(key, salt))
            }
        }
    }
}

impl Cm {
    pub(super) fn new(key: [u8; 16], authentication: &[u8; 20], salt: &[u8; 14]) -> Cm {
        let mut wide = [0; 16];
        wide[..14].copy_from_slice(salt);
        Cm {
            aes: Aes128Enc::new(&key.into()),
            salt: u128::from_be_bytes(wide),
            hmac: Hmac::new(authentication),
        }
    }

    /// Encrypts or decrypts (RFC 3711 section 4.1.1).
    #[inline]
    pub(super) fn crypt(&self, ssrc: u32, index: u64, data: &mut [u8]) {
        let iv = self.salt ^ u128::from(ssrc) << 64 ^ u128::from(index) << 16;
        let stream = CtrCore::<&Aes128Enc, Ctr128BE>::inner_iv_init(&self.aes, &iv.to_be_bytes().into());
        stream.apply_keystream_partial(data.into());
    }

    /// The tag of what is authenticated: the packet with the rollover counter (or SRTCP index) behind it.
    #[inline]
    pub(super) fn tag(&self, message: &[u8]) -> [u8; CM_TAG] {
        let whole = self.hmac.tag(message);
        let mut tag = [0; CM_TAG];
        tag.copy_from_slice(&whole[..CM_TAG]);
        tag
    }
}

impl Gcm {
    /// `key` has 16 or 32 bytes.
    pub(super) fn new(key: &[u8], salt: [u8; 12]) -> Gcm {
        let algorithm = if key.len() == 16 { &AES_128_GCM } else { &AES_256_GCM };
        let key = UnboundKey::new(algorithm, key).expect("our own key lengths fit the algorithm");
        Gcm { key: LessSafeKey::new(key), salt }
    }

    /// RFC 7714 sections 8.1 and 9.1: SSRC and index, XOR salt. SRTCP's index is the shorter one.
    #[inline]
    fn nonce(&self, ssrc: u32, index: u64) -> Nonce {
        let mut nonce = self.salt;
        let [_, _, index @ ..] = index.to_be_bytes();
        for (byte, with) in nonce[2..].iter_mut().zip(ssrc.to_be_bytes().into_iter().chain(index)) {
            *byte ^= with;
        }
        Nonce::assume_unique_for_key(nonce)
    }

    /// Encrypts `data`; gives the tag.
    #[inline]
    pub(super) fn seal(&self, ssrc: u32, index: u64, aad: &[u8], data: &mut [u8]) -> Option<[u8; GCM_TAG]> {
        let sealed = self.key.seal_in_place_separate_tag(self.nonce(ssrc, index), Aad::from(aad), data);
        sealed.ok()?.as_ref().try_into().ok()
    }

    /// Decrypts `data`, of which the last 16 bytes are the tag; false where it doesn't match.
    #[inline]
    pub(super) fn open(&self, ssrc: u32, index: u64, aad: &[u8], data: &mut [u8]) -> bool {
        self.key.open_in_place(self.nonce(ssrc, index), Aad::from(aad), data).is_ok()
    }
}

/// Compares two tags in a time that doesn't depend on where they differ.
#[inline]
pub(super) fn same(a: &[u8; CM_TAG], b: &[u8; CM_TAG]) -> bool {
    let differ = a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b));
    std::hint::black_box(differ) == 0
}
