//! SRTP protection profiles and the keys that a DTLS handshake or an `a=crypto` line gives.

use std::fmt;

/// An SRTP protection profile (RFC 5764 section 4.1.2, RFC 7714 section 14.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Profile {
    /// `SRTP_AES128_CM_HMAC_SHA1_80`.
    AesCm128Sha1_80,
    /// `SRTP_AEAD_AES_128_GCM`.
    AeadAes128Gcm,
    /// `SRTP_AEAD_AES_256_GCM`.
    AeadAes256Gcm,
}

impl Profile {
    /// Bytes of a master key.
    pub fn key_length(self) -> usize {
        match self {
            Profile::AesCm128Sha1_80 | Profile::AeadAes128Gcm => 16,
            Profile::AeadAes256Gcm => 32,
        }
    }

    /// Bytes of a master salt.
    pub fn salt_length(self) -> usize {
        match self {
            Profile::AesCm128Sha1_80 => 14,
            Profile::AeadAes128Gcm | Profile::AeadAes256Gcm => 12,
        }
    }

    /// Bytes of an RTP packet's authentication tag.
    pub fn tag_length(self) -> usize {
        match self {
            Profile::AesCm128Sha1_80 => 10,
            Profile::AeadAes128Gcm | Profile::AeadAes256Gcm => 16,
        }
    }
}

/// Master keys and salts of both directions, as seen from the gateway.
#[derive(Clone)]
pub struct Keys {
    /// What they are for.
    pub profile: Profile,
    /// Key, then salt, of what we receive: the first `key_length + salt_length` bytes.
    pub receive: [u8; 46],
    /// The same of what we send.
    pub send: [u8; 46],
}

impl fmt::Debug for Keys {
    // Keys never reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({:?})", self.profile)
    }
}

impl Keys {
    /// Splits what the DTLS exporter gave (RFC 5764 section 4.2: client key, server key, client salt, server salt).
    /// `client` says whether the gateway was the DTLS client. `None` where the material is too short.
    pub fn from_exporter(profile: Profile, material: &[u8], client: bool) -> Option<Keys> {
        let (key, salt) = (profile.key_length(), profile.salt_length());
        let material = material.get(..2 * (key + salt))?;
        let mut sides = [[0; 46]; 2];
        for (n, side) in sides.iter_mut().enumerate() {
            side[..key].copy_from_slice(&material[n * key..][..key]);
            side[key..key + salt].copy_from_slice(&material[2 * key + n * salt..][..salt]);
        }
        let [client_writes, server_writes] = sides;
        let (receive, send) =
            if client { (server_writes, client_writes) } else { (client_writes, server_writes) };
        Some(Keys { profile, receive, send })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exporter_order_is_client_key_server_key_client_salt_server_salt() {
        let material: Vec<u8> = (0..60).collect();
        let keys = Keys::from_exporter(Profile::AesCm128Sha1_80, &material, false).unwrap();
        assert_eq!(keys.receive[..3], [0, 1, 2]);
        assert_eq!(keys.receive[16..18], [32, 33]);
        assert_eq!(keys.send[..3], [16, 17, 18]);
        assert_eq!(keys.send[16..18], [46, 47]);
        let swapped = Keys::from_exporter(Profile::AesCm128Sha1_80, &material, true).unwrap();
        assert_eq!(swapped.send, keys.receive);
        assert!(Keys::from_exporter(Profile::AeadAes256Gcm, &material, true).is_none());
    }
}
