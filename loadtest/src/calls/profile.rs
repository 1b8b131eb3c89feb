//! Which SRTP profile a browser of ours offers.
//!
//! dimpl always offers all three, and the gateway then takes the one it likes best. To get each of them, the list in
//! the ClientHello is overwritten with the wanted one on its way out, and in the same way wherever our own side hashes
//! or signs the transcript, so that both sides saw the same hello.

use bridgehead::rtp::Profile;
use dimpl::CryptoError;
use dimpl::crypto::{
    Buf, CryptoProvider, HashAlgorithm, HashContext, HashProvider, KeyProvider, SignatureAlgorithm,
    SigningKey, aws_lc_rs,
};
use std::borrow::Cow;

/// A `use_srtp` extension with three profiles (RFC 5764 section 4.1.1): type, length, length of the list.
const THREE: [u8; 6] = [0, 14, 0, 9, 0, 6];
/// Where a ClientHello has ended for sure.
const REACH: usize = 2048;

/// The number of a profile (IANA, DTLS-SRTP protection profiles).
fn number(profile: Profile) -> [u8; 2] {
    match profile {
        Profile::AesCm128Sha1_80 => [0, 1],
        Profile::AeadAes128Gcm => [0, 7],
        Profile::AeadAes256Gcm => [0, 8],
    }
}

/// The bytes, with each profile of a ClientHello's list made the wanted one.
pub(super) fn prefer(profile: Profile, bytes: &[u8]) -> Cow<'_, [u8]> {
    let reach = &bytes[..bytes.len().min(REACH)];
    let Some(at) = reach.windows(THREE.len()).position(|window| window == THREE) else {
        return Cow::Borrowed(bytes);
    };
    let mut copy = bytes.to_vec();
    for place in copy.iter_mut().skip(at + THREE.len()).take(6).zip(number(profile).into_iter().cycle()) {
        *place.0 = place.1;
    }
    Cow::Owned(copy)
}

/// dimpl's own crypto, with transcripts that hold the wanted profile.
pub(super) fn provider(profile: Profile) -> CryptoProvider {
    static PREFERRING: [Preferring; 3] = [
        Preferring(Profile::AesCm128Sha1_80),
        Preferring(Profile::AeadAes128Gcm),
        Preferring(Profile::AeadAes256Gcm),
    ];
    let place = PREFERRING.iter().position(|one| one.0 == profile).unwrap_or(0);
    CryptoProvider {
        hash_provider: &PREFERRING[place],
        key_provider: &PREFERRING[place],
        ..aws_lc_rs::default_provider()
    }
}

#[derive(Debug)]
struct Preferring(Profile);

#[derive(Debug)]
struct Hash(Profile, Box<dyn HashContext>);

#[derive(Debug)]
struct Signer(Profile, Box<dyn SigningKey>);

impl HashProvider for Preferring {
    fn create_hash(&self, algorithm: HashAlgorithm) -> Box<dyn HashContext> {
        Box::new(Hash(self.0, aws_lc_rs::default_provider().hash_provider.create_hash(algorithm)))
    }
}

impl HashContext for Hash {
    fn update(&mut self, data: &[u8]) {
        self.1.update(&prefer(self.0, data));
    }
    fn clone_and_finalize(&self, out: &mut Buf) {
        self.1.clone_and_finalize(out);
    }
}

impl KeyProvider for Preferring {
    fn load_private_key(&self, key_der: &[u8]) -> Result<Box<dyn SigningKey>, CryptoError> {
        let key = aws_lc_rs::default_provider().key_provider.load_private_key(key_der)?;
        Ok(Box::new(Signer(self.0, key)))
    }
}

impl SigningKey for Signer {
    fn sign(&mut self, data: &[u8], hash_alg: HashAlgorithm, out: &mut Buf) -> Result<(), CryptoError> {
        self.1.sign(&prefer(self.0, data), hash_alg, out)
    }
    fn algorithm(&self) -> SignatureAlgorithm {
        self.1.algorithm()
    }
    fn hash_algorithm(&self) -> HashAlgorithm {
        self.1.hash_algorithm()
    }
    fn supported_hash_algorithms(&self) -> &[HashAlgorithm] {
        self.1.supported_hash_algorithms()
    }
}
