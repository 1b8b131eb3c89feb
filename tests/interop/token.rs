//! JSON Web Tokens, really signed.

use super::process::pem;
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// Who makes tokens.
pub enum Issuer {
    /// HS256 by this secret.
    Hs256(String),
    /// ES256.
    Es256(EcdsaKeyPair),
    /// RS256.
    Rs256(RsaKeyPair),
}

impl Issuer {
    /// With a secret.
    pub fn hs256(secret: &str) -> Issuer {
        Issuer::Hs256(secret.to_owned())
    }

    /// With a new key of P-256, and its public half in PEM.
    pub fn es256() -> (Issuer, String) {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        let text = pem("PUBLIC KEY", der.as_ref());
        (Issuer::Es256(pair), text)
    }

    /// With a new key of RSA, and its public half in PEM.
    pub fn rs256() -> (Issuer, String) {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        let text = pem("PUBLIC KEY", der.as_ref());
        (Issuer::Rs256(pair), text)
    }

    /// The algorithm.
    pub fn name(&self) -> &'static str {
        match self {
            Issuer::Hs256(_) => "HS256",
            Issuer::Es256(_) => "ES256",
            Issuer::Rs256(_) => "RS256",
        }
    }

    /// A token that says this.
    pub fn sign(&self, claims: &Value) -> String {
        let text = unsigned(self.name(), claims);
        let random = SystemRandom::new();
        let signature = match self {
            Issuer::Hs256(secret) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
                hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
            }
            Issuer::Es256(pair) => pair.sign(&random, text.as_bytes()).unwrap().as_ref().to_vec(),
            Issuer::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature).unwrap();
                signature
            }
        };
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// A token without a signature.
pub fn unsigned(algorithm: &str, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(&json!({"alg": algorithm, "typ": "JWT"})), part(claims))
}

/// So many seconds from now, as tokens count.
pub fn from_now(seconds: i64) -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64 + seconds
}
