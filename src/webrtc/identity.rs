//! Our certificate, and how the far side's is known: by the fingerprints of its description (RFC 8122).

use super::{Dtls, dtls};
use crate::base::Now;
use aws_lc_rs::digest;
use dimpl::DtlsCertificate;
use std::fmt;
use std::sync::Arc;

/// A certificate with its private key. Made anew at each start, so that no two nodes ever share one: a browser that
/// moves between nodes must see a new fingerprint, else it does not shake hands again.
#[derive(Clone)]
pub struct Identity {
    certificate: Arc<DtlsCertificate>,
    fingerprint: [u8; 32],
}

impl fmt::Debug for Identity {
    // It holds a private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(…)")
    }
}

/// No certificate could be made: the system gives no randomness, or the cryptographic library is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoIdentity;

impl fmt::Display for NoIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no DTLS certificate could be made")
    }
}

impl std::error::Error for NoIdentity {}

impl Identity {
    /// A new ECDSA P-256 certificate. For start-up: takes about a tenth of a second, of which most is the warming of
    /// the cryptographic library that the first call would otherwise wait for. The validity comes from the system's
    /// clock, which nobody checks on a self-signed certificate.
    pub fn create(now: Now) -> Result<Identity, NoIdentity> {
        let certificate = dimpl::certificate::generate_self_signed_certificate().map_err(|_| NoIdentity)?;
        let identity = Identity::from_der(certificate.certificate, certificate.private_key);
        drop(dtls::associate(&identity.certificate, now.instant, Dtls::Auto));
        Ok(identity)
    }

    /// An identity from a certificate and its PKCS #8 key, both DER.
    pub fn from_der(certificate: Vec<u8>, private_key: Vec<u8>) -> Identity {
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest::digest(&digest::SHA256, &certificate).as_ref());
        let certificate = Arc::new(DtlsCertificate { certificate, private_key });
        Identity { certificate, fingerprint }
    }

    /// SHA-256 of the certificate.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// Certificate and key.
    pub(super) fn certificate(&self) -> &DtlsCertificate {
        &self.certificate
    }
}

/// The fingerprints of a description that we can check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprints(Vec<(Hash, Vec<u8>)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    fn digest(self, data: &[u8]) -> digest::Digest {
        match self {
            Hash::Sha256 => digest::digest(&digest::SHA256, data),
            Hash::Sha384 => digest::digest(&digest::SHA384, data),
            Hash::Sha512 => digest::digest(&digest::SHA512, data),
        }
    }
}

impl Fingerprints {
    /// Those with a hash function that still stands (RFC 8122 section 5: SHA-1 and MD5 do not), 16 at most.
    /// `None` where no usable one is left.
    pub fn new(announced: &[(String, Vec<u8>)]) -> Option<Fingerprints> {
        let usable = announced.iter().filter_map(|(name, bytes)| {
            let (hash, length) = match name.to_ascii_lowercase().as_str() {
                "sha-256" => (Hash::Sha256, 32),
                "sha-384" => (Hash::Sha384, 48),
                "sha-512" => (Hash::Sha512, 64),
                _ => return None,
            };
            (bytes.len() == length).then(|| (hash, bytes.clone()))
        });
        let usable: Vec<_> = usable.take(16).collect();
        (!usable.is_empty()).then_some(Fingerprints(usable))
    }

    /// Whether one of them is that of this certificate.
    pub fn know(&self, certificate: &[u8]) -> bool {
        self.0.iter().any(|(hash, bytes)| hash.digest(certificate).as_ref() == bytes.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_one_of_several_strong_fingerprints_matches() {
        let sha =
            |name: &str, hash, text: &[u8]| (name.to_owned(), digest::digest(hash, text).as_ref().to_vec());
        let both = [sha("sha-256", &digest::SHA256, b"other"), sha("SHA-512", &digest::SHA512, b"cert")];
        let prints = Fingerprints::new(&both).unwrap();
        assert!(prints.know(b"cert") && prints.know(b"other") && !prints.know(b"third"));
        let weak = [sha("sha-1", &digest::SHA1_FOR_LEGACY_USE_ONLY, b"cert")];
        assert_eq!(Fingerprints::new(&weak), None);
        assert_eq!(Fingerprints::new(&[("sha-256".into(), vec![1; 31])]), None);
        assert_eq!(Fingerprints::new(&[]), None);
    }
}
