//! JSON Web Tokens to sign in with (RFC 7519, RFC 7515, RFC 8725): HS256, ES256 and RS256.
//!
//! The key decides the algorithm, never the token: what a token says of its algorithm must be what its key is for, so that
//! a public key is never taken for a shared secret, and `none` is never anything.

use crate::base::Map;
use crate::leg::{Account, Identity, Secret, TrunkId};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{self, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Deserialize;
use std::fmt;
use std::time::Duration;

/// Bytes of the longest token that is read.
const LONGEST: usize = 8 * 1024;
/// Clocks may differ by so much (RFC 7519 section 4.1.4).
const LEEWAY: Duration = Duration::from_mins(1);
/// Characters of the longest name of an account.
const LONGEST_NAME: usize = 128;

/// What tokens are checked with.
#[derive(Clone)]
pub enum JwtKey {
    /// HS256 (RFC 7518 section 3.2).
    Secret(Vec<u8>),
    /// ES256: an uncompressed point on P-256, or its SubjectPublicKeyInfo.
    Es256(Vec<u8>),
    /// RS256: a SubjectPublicKeyInfo of 2048 to 8192 bit.
    Rs256(Vec<u8>),
}

impl fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JwtKey({})", self.algorithm())
    }
}

/// `id-ecPublicKey` with `prime256v1` (RFC 5480), and `rsaEncryption` (RFC 8017), as DER.
const P256: &[u8] = &[
    0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03,
    0x01, 0x07,
];
const RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

impl JwtKey {
    /// Reads a PEM file with a public key: `None` where it holds no key of P-256 or RSA.
    pub fn from_pem(pem: &str) -> Option<JwtKey> {
        let (_, rest) = pem.split_once("-----BEGIN PUBLIC KEY-----")?;
        let (body, _) = rest.split_once("-----END PUBLIC KEY-----")?;
        let text: String = body.split_ascii_whitespace().collect();
        let der = STANDARD.decode(text).ok()?;
        // The algorithm stands at the front (RFC 5280 section 4.1).
        let front = der.get(..der.len().min(40))?;
        let has = |oid: &[u8]| front.windows(oid.len()).any(|window| window == oid);
        match () {
            () if has(P256) => Some(JwtKey::Es256(der)),
            () if has(RSA) => Some(JwtKey::Rs256(der)),
            () => None,
        }
    }

    fn algorithm(&self) -> &'static str {
        match self {
            JwtKey::Secret(_) => "HS256",
            JwtKey::Es256(_) => "ES256",
            JwtKey::Rs256(_) => "RS256",
        }
    }

    fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        let public =
            |algorithm, key| UnparsedPublicKey::new(algorithm, key).verify(signed, signature).is_ok();
        match self {
            JwtKey::Secret(secret) => {
                hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed, signature).is_ok()
            }
            JwtKey::Es256(key) => public(&signature::ECDSA_P256_SHA256_FIXED, key),
            JwtKey::Rs256(key) => UnparsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA256, key)
                .verify(signed, signature)
                .is_ok(),
        }
    }
}

/// How tokens are checked.
#[derive(Clone, Debug)]
pub struct Jwt {
    /// Keys; one of each algorithm is enough.
    pub keys: Vec<JwtKey>,
    /// What `aud` must hold; without it no token may have one.
    pub audience: Option<String>,
    /// What `iss` must be, where it is set.
    pub issuer: Option<String>,
    /// The trunks that tokens may name.
    pub trunks: Map<String, TrunkId>,
    /// The secrets that they may refer to, each at its trunk.
    pub secrets: Map<String, (TrunkId, Secret)>,
}

/// Why a token is refused. Said to its bearer: none of it helps who has no valid one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flaw {
    Malformed,
    Algorithm,
    Signature,
    Expired,
    NotYet,
    Audience,
    Issuer,
    Subject,
    Trunk,
    SipUser,
    Secret,
    Identity,
}

impl Flaw {
    /// The name that clients see. Stable.
    pub(super) fn name(self) -> &'static str {
        match self {
            Flaw::Malformed => "malformed",
            Flaw::Algorithm => "algorithm",
            Flaw::Signature => "signature",
            Flaw::Expired => "expired",
            Flaw::NotYet => "not_yet",
            Flaw::Audience => "audience",
            Flaw::Issuer => "issuer",
            Flaw::Subject => "subject",
            Flaw::Trunk => "trunk",
            Flaw::SipUser => "sip_user",
            Flaw::Secret => "secret",
            Flaw::Identity => "identity",
        }
    }
}

/// What a token says of its bearer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Bearer {
    /// Who signs in.
    pub(super) account: Account,
    /// The name that called parties see.
    pub(super) name: Option<String>,
    /// Who it is at a SIP server; or why it can't be that.
    pub(super) identity: Result<Option<Identity>, Flaw>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    /// Extensions that must be understood (RFC 7515 section 4.1.11); we understand none.
    crit: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Claims {
    sub: Option<String>,
    exp: Option<f64>,
    nbf: Option<f64>,
    iss: Option<String>,
    aud: Option<Audience>,
    name: Option<String>,
    trunk: Option<String>,
    sip_user: Option<String>,
    sip_username: Option<String>,
    sip_secret: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn holds(&self, wanted: &str) -> bool {
        match self {
            Audience::One(one) => one == wanted,
            Audience::Many(many) => many.iter().any(|one| one == wanted),
        }
    }
}

/// What may stand in a URI and in a quoted string of a SIP header.
fn is_sip_name(name: &str) -> bool {
    let strange = |c: char| c.is_control() || c.is_whitespace() || "\"\\<>".contains(c);
    !name.is_empty() && name.chars().count() <= LONGEST_NAME && !name.contains(strange)
}

/// Reads a part of a token.
fn part<T: for<'a> Deserialize<'a>>(text: &str) -> Result<T, Flaw> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| Flaw::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| Flaw::Malformed)
}

/// What a token says of its bearer, unchecked: only to find the shard that will check it.
pub(super) fn peek(token: &str) -> Option<Account> {
    if token.len() > LONGEST {
        return None;
    }
    let claims: Claims = part(token.split('.').nth(1)?).ok()?;
    claims.sub.as_deref().map(Account::from)
}

impl Jwt {
    /// Checks a token.
    pub(super) fn check(&self, unix: Duration, token: &str) -> Result<Bearer, Flaw> {
        if token.len() > LONGEST {
            return Err(Flaw::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Flaw::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(Flaw::Malformed)?;
        let header: Header = part(header)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Flaw::Malformed)?;
        if header.crit.is_some() {
            return Err(Flaw::Malformed);
        }
        let mut keys = self.keys.iter().filter(|key| key.algorithm() == header.alg).peekable();
        keys.peek().ok_or(Flaw::Algorithm)?;
        if !keys.any(|key| key.verifies(signed.as_bytes(), &signature)) {
            return Err(Flaw::Signature);
        }
        self.accept(unix, part(claims)?)
    }

    fn accept(&self, unix: Duration, claims: Claims) -> Result<Bearer, Flaw> {
        let now = unix.as_secs_f64();
        // A token that never expires can never be taken back.
        let expires = claims.exp.filter(|exp| exp.is_finite()).ok_or(Flaw::Expired)?;
        if now >= expires + LEEWAY.as_secs_f64() {
            return Err(Flaw::Expired);
        }
        if claims.nbf.is_some_and(|nbf| now + LEEWAY.as_secs_f64() < nbf) {
            return Err(Flaw::NotYet);
        }
        // Who has no name is nobody's audience: a token that names one is for somebody else (RFC 7519 section 4.1.3).
        let meant = match (&self.audience, &claims.aud) {
            (Some(wanted), Some(audience)) => audience.holds(wanted),
            (wanted, audience) => wanted.is_none() && audience.is_none(),
        };
        if !meant {
            return Err(Flaw::Audience);
        }
        if self.issuer.as_ref().is_some_and(|wanted| claims.iss.as_ref() != Some(wanted)) {
            return Err(Flaw::Issuer);
        }
        // It goes into SIP headers: nothing there that ends one.
        let clean =
            |text: &String| text.chars().count() <= LONGEST_NAME && !text.chars().any(char::is_control);
        let sub = claims
            .sub
            .as_ref()
            .filter(|sub| !sub.is_empty() && !sub.contains(char::is_whitespace) && clean(sub));
        let sub = sub.cloned().ok_or(Flaw::Subject)?;
        let (account, name) = (Account::from(sub.as_str()), claims.name.clone().filter(clean));
        Ok(Bearer { account, name, identity: self.identity(&sub, claims) })
    }

    /// Only what the operator has opened to tokens: a trunk of the list, and a secret that is that trunk's.
    fn identity(&self, sub: &str, claims: Claims) -> Result<Option<Identity>, Flaw> {
        let Claims { trunk, sip_user, sip_username, sip_secret, .. } = claims;
        let Some(trunk) = trunk else {
            // Half an identity is a mistake of who made the token, and is not to be guessed at.
            let half = sip_user.is_some() || sip_username.is_some() || sip_secret.is_some();
            return if half { Err(Flaw::Trunk) } else { Ok(None) };
        };
        let trunk = *self.trunks.get(&trunk).ok_or(Flaw::Trunk)?;
        let user = sip_user.unwrap_or_else(|| sub.to_owned());
        let auth_user = sip_username.unwrap_or_else(|| user.clone());
        if !is_sip_name(&user) || !is_sip_name(&auth_user) {
            return Err(Flaw::SipUser);
        }
        let secret = match sip_secret.map(|name| self.secrets.get(&name)) {
            None => None,
            Some(Some((at, secret))) if *at == trunk => Some(secret.clone()),
            Some(_) => return Err(Flaw::Secret),
        };
        Ok(Some(Identity { trunk, user, auth_user, secret }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
    use serde_json::{Value, json};

    const NOW: Duration = Duration::from_hours(500_000);
    const SECRET: &[u8] = b"a secret of at least 32 bytes ......";

    fn hs256() -> Jwt {
        Jwt {
            keys: vec![JwtKey::Secret(SECRET.to_vec())],
            audience: Some("phone".into()),
            issuer: None,
            trunks: [("pbx".to_owned(), TrunkId(0)), ("carrier".to_owned(), TrunkId(2))]
                .into_iter()
                .collect(),
            secrets: [("pool".to_owned(), (TrunkId(2), Secret("hush".into())))].into_iter().collect(),
        }
    }

    fn unsigned(header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}", part(header), part(claims))
    }

    fn sign(header: &Value, claims: &Value, secret: &[u8]) -> String {
        let text = unsigned(header, claims);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), text.as_bytes());
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    #[expect(clippy::needless_pass_by_value, reason = "json! makes a value for each caller")]
    fn claims(change: Value) -> Value {
        let mut claims = json!({"sub": "alice", "exp": NOW.as_secs() + 300, "aud": "phone", "name": "Alice"});
        for (key, value) in change.as_object().unwrap() {
            claims[key] = value.clone();
        }
        claims
    }

    fn check(change: Value) -> Result<Bearer, Flaw> {
        hs256().check(NOW, &sign(&json!({"alg": "HS256"}), &claims(change), SECRET))
    }

    #[test]
    fn a_valid_token_names_its_bearer() {
        let bearer = check(json!({})).unwrap();
        assert_eq!((bearer.account.name(), bearer.name.as_deref()), ("alice", Some("Alice")));
        assert!(check(json!({"aud": ["other", "phone"], "nbf": NOW.as_secs() + 59})).is_ok());
        assert!(check(json!({"exp": NOW.as_secs() - 59})).is_ok(), "clocks differ a little");
        assert_eq!(check(json!({"name": "A\r\nB"})).unwrap().name, None);
    }

    #[test]
    fn every_flaw_has_its_name() {
        for (change, flaw) in [
            (json!({"exp": NOW.as_secs() - 60}), Flaw::Expired),
            (json!({"exp": null}), Flaw::Expired),
            (json!({"nbf": NOW.as_secs() + 61}), Flaw::NotYet),
            (json!({"aud": "other"}), Flaw::Audience),
            (json!({"aud": null}), Flaw::Audience),
            (json!({"aud": []}), Flaw::Audience),
            (json!({"sub": null}), Flaw::Subject),
            (json!({"sub": ""}), Flaw::Subject),
            (json!({"sub": "a\r\nVia: x"}), Flaw::Subject),
            (json!({"sub": "a b"}), Flaw::Subject),
            (json!({"sub": "x".repeat(129)}), Flaw::Subject),
            (json!({"exp": "soon"}), Flaw::Malformed),
        ] {
            assert_eq!(check(change.clone()), Err(flaw), "{change}");
        }
        let mut strict = hs256();
        strict.issuer = Some("us".into());
        let token = |claims| sign(&json!({"alg": "HS256"}), &claims, SECRET);
        assert_eq!(strict.check(NOW, &token(claims(json!({"iss": "them"})))), Err(Flaw::Issuer));
        assert!(strict.check(NOW, &token(claims(json!({"iss": "us"})))).is_ok());
    }

    #[test]
    fn forgeries_are_refused() {
        let good = claims(json!({}));
        let header = json!({"alg": "HS256"});
        assert_eq!(hs256().check(NOW, &sign(&header, &good, b"another")), Err(Flaw::Signature));
        for alg in ["none", "None", "HS512", "RS256", "ES256", ""] {
            let token = sign(&json!({"alg": alg}), &good, SECRET);
            assert_eq!(hs256().check(NOW, &token), Err(Flaw::Algorithm), "{alg}");
            let bare = format!("{}.", unsigned(&json!({"alg": alg}), &good));
            assert_eq!(hs256().check(NOW, &bare), Err(Flaw::Algorithm), "{alg}");
        }
        let bare = format!("{}.", unsigned(&header, &good));
        assert_eq!(hs256().check(NOW, &bare), Err(Flaw::Signature));
        let critical = sign(&json!({"alg": "HS256", "crit": ["b64"]}), &good, SECRET);
        assert_eq!(hs256().check(NOW, &critical), Err(Flaw::Malformed));
        let other = sign(&header, &claims(json!({"sub": "mallory"})), b"another");
        let mixed = format!(
            "{}.{}",
            other.rsplit_once('.').unwrap().0,
            sign(&header, &good, SECRET).rsplit_once('.').unwrap().1
        );
        assert_eq!(hs256().check(NOW, &mixed), Err(Flaw::Signature));
        for text in ["", ".", "..", "a.b.c", "....", &"x".repeat(9000), "e30.e30.e30"] {
            assert_eq!(hs256().check(NOW, text), Err(Flaw::Malformed), "{text}");
        }
    }

    #[test]
    fn a_public_key_is_no_shared_secret() {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
        // The SubjectPublicKeyInfo of P-256 is a fixed head and the point.
        let head = [&[0x30, 0x59, 0x30, 0x13][..], P256, &[0x03, 0x42, 0x00]].concat();
        let der = [&head[..], pair.public_key().as_ref()].concat();
        let pem = format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            STANDARD.encode(der.as_ref() as &[u8])
        );
        let key = JwtKey::from_pem(&pem).unwrap();
        assert_eq!(format!("{key:?}"), "JwtKey(ES256)");
        let jwt = Jwt { keys: vec![key], ..hs256() };
        let text = unsigned(&json!({"alg": "ES256"}), &claims(json!({})));
        let signature = pair.sign(&random, text.as_bytes()).unwrap();
        let token = format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature));
        assert!(jwt.check(NOW, &token).is_ok());
        for secret in [&der[..], pem.as_bytes(), pair.public_key().as_ref()] {
            let confused = sign(&json!({"alg": "HS256"}), &claims(json!({})), secret);
            assert_eq!(jwt.check(NOW, &confused), Err(Flaw::Algorithm));
            let lying = sign(&json!({"alg": "ES256"}), &claims(json!({})), secret);
            assert_eq!(jwt.check(NOW, &lying), Err(Flaw::Signature));
        }
        assert!(JwtKey::from_pem("-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----").is_none());
    }

    #[test]
    fn a_gateway_without_a_name_takes_no_token_that_is_meant_for_somebody() {
        let jwt = Jwt { audience: None, ..hs256() };
        let check = |aud: Value| {
            jwt.check(NOW, &sign(&json!({"alg": "HS256"}), &claims(json!({ "aud": aud })), SECRET))
        };
        assert_eq!(check(json!("mail")), Err(Flaw::Audience));
        assert_eq!(check(json!(["mail", "phone"])), Err(Flaw::Audience));
        assert_eq!(check(Value::Null).unwrap().account.name(), "alice");
    }

    #[test]
    fn rs256_is_signed_by_a_key_of_2048_bit_at_least() {
        use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
        use aws_lc_rs::rsa::{KeyPair, KeySize};
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        let pem = format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            STANDARD.encode(der.as_ref() as &[u8])
        );
        let key = JwtKey::from_pem(&pem).unwrap();
        assert_eq!(format!("{key:?}"), "JwtKey(RS256)");
        let jwt = Jwt { keys: vec![key], ..hs256() };
        let text = unsigned(&json!({"alg": "RS256"}), &claims(json!({})));
        let mut signature = vec![0; pair.public_modulus_len()];
        let random = SystemRandom::new();
        pair.sign(&signature::RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature).unwrap();
        let token = |signature: &[u8]| format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature));
        assert_eq!(jwt.check(NOW, &token(&signature)).unwrap().account.name(), "alice");
        signature[9] ^= 1;
        assert_eq!(jwt.check(NOW, &token(&signature)), Err(Flaw::Signature));
        assert_eq!(jwt.check(NOW, &token(&[])), Err(Flaw::Signature));
        // PSS is another algorithm, even by the same key.
        pair.sign(&signature::RSA_PSS_SHA256, &random, text.as_bytes(), &mut signature).unwrap();
        assert_eq!(jwt.check(NOW, &token(&signature)), Err(Flaw::Signature));
        let confused = sign(&json!({"alg": "HS256"}), &claims(json!({})), pem.as_bytes());
        assert_eq!(jwt.check(NOW, &confused), Err(Flaw::Algorithm));
    }

    #[test]
    fn an_identity_has_a_trunk_of_the_list_and_a_secret_of_that_trunk() {
        let told = |change| check(change).unwrap().identity;
        assert_eq!(told(json!({})), Ok(None));
        let carrier =
            json!({"trunk": "carrier", "sip_user": "u", "sip_username": "d@x", "sip_secret": "pool"});
        let identity = told(carrier).unwrap().unwrap();
        assert_eq!(
            (identity.trunk, identity.user.as_str(), identity.auth_user.as_str()),
            (TrunkId(2), "u", "d@x")
        );
        assert_eq!(identity.secret, Some(Secret("hush".into())));
        for (change, flaw) in [
            (json!({"trunk": "Carrier"}), Flaw::Trunk),
            (json!({"sip_username": "x"}), Flaw::Trunk),
            (json!({"trunk": "pbx", "sip_secret": "pool"}), Flaw::Secret),
            (json!({"trunk": "pbx", "sip_secret": ""}), Flaw::Secret),
            (json!({"trunk": "pbx", "sip_user": "x\r\nVia: y"}), Flaw::SipUser),
            (json!({"trunk": "pbx", "sip_user": "x".repeat(129)}), Flaw::SipUser),
            (json!({"trunk": "pbx", "sip_username": "<x>"}), Flaw::SipUser),
            (json!({"trunk": "pbx", "sip_username": "a\\b"}), Flaw::SipUser),
        ] {
            assert_eq!(told(change.clone()), Err(flaw), "{change}");
        }
        assert_eq!(check(json!({"trunk": 7})), Err(Flaw::Malformed));
    }
}
