//! Digest as a server (RFC 7616, RFC 8760): nonces without memory, MD5 and SHA-256.

use super::Config;
use crate::base::{Now, Random, hex};
use aws_lc_rs::{constant_time, digest, hmac};
use md5::{Digest, Md5};
use sip_codec::{Credentials, Message, Name};
use std::time::Duration;

/// Whether a request may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes, as this user.
    Known(String),
    /// Ask for credentials; `stale` where they were right but for an old nonce.
    Challenge {
        /// Try again with the new nonce, without asking the human.
        stale: bool,
    },
    /// The credentials are wrong.
    Wrong,
}

/// The algorithms, best first: the order of the challenges.
const ALGORITHMS: [&str; 2] = ["SHA-256", "MD5"];

/// The gatekeeper. A nonce is the moment it was made and a signature over that: nothing to remember, nothing to fill.
/// `nc` is not remembered either; a nonce ages soon.
pub struct Gate {
    secret: hmac::Key,
}

impl Gate {
    /// A gatekeeper with a secret of its own.
    pub fn new(random: &mut Random) -> Gate {
        let mut secret = [0; 32];
        random.fill(&mut secret);
        Gate { secret: hmac::Key::new(hmac::HMAC_SHA256, &secret) }
    }

    /// A secret function of some text, as 32 hex digits.
    pub fn sign(&self, parts: &[&str]) -> String {
        let mut context = hmac::Context::with_key(&self.secret);
        for part in parts {
            // Lengths before parts, so that no two lists of parts are the same text.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        hex(context.sign().as_ref().get(..16).unwrap_or_default())
    }

    fn nonce(&self, now: Now) -> String {
        let at = format!("{:x}", now.unix.as_secs());
        let signature = self.sign(&["nonce", &at]);
        format!("{at}.{signature}")
    }

    /// `None` where it is not ours, else how old it is.
    fn age(&self, now: Now, nonce: &str) -> Option<Duration> {
        let (at, signature) = nonce.split_once('.')?;
        let ours = self.sign(&["nonce", at]);
        constant_time::verify_slices_are_equal(ours.as_bytes(), signature.as_bytes()).ok()?;
        Some(now.unix.saturating_sub(Duration::from_secs(u64::from_str_radix(at, 16).ok()?)))
    }

    /// The values of WWW-Authenticate or Proxy-Authenticate.
    pub fn challenges(&self, now: Now, realm: &str, stale: bool) -> Vec<String> {
        let (nonce, stale) = (self.nonce(now), if stale { ", stale=true" } else { "" });
        let challenge = |algorithm| {
            format!("Digest realm=\"{realm}\", nonce=\"{nonce}\", algorithm={algorithm}, qop=\"auth\"{stale}")
        };
        ALGORITHMS.into_iter().map(challenge).collect()
    }

    /// Judges the credentials of a request in Authorization or Proxy-Authorization.
    pub fn judge(&self, now: Now, config: &Config, request: &Message<'_>, name: Name<'_>) -> Verdict {
        let ours = request.headers(name).filter_map(|value| Credentials::parse(value).ok());
        let mut ours =
            ours.filter(|found| found.is_digest() && found.value("realm").as_deref() == Some(&config.realm));
        let Some(credentials) = ours.next() else { return Verdict::Challenge { stale: false } };
        let value = |name: &str| credentials.value(name).unwrap_or_default().into_owned();
        let Some(age) = self.age(now, &value("nonce")) else { return Verdict::Challenge { stale: true } };
        let username = value("username");
        let user = config.users.iter().find(|user| user.name == username);
        let password = user.map_or("", |user| &user.password);
        let right = expected(request, &credentials, &config.realm, password).is_some_and(|response| {
            let given = value("response").to_ascii_lowercase();
            constant_time::verify_slices_are_equal(response.as_bytes(), given.as_bytes()).is_ok()
        });
        match (right && user.is_some(), age < config.nonce) {
            (true, true) => Verdict::Known(username),
            (true, false) => Verdict::Challenge { stale: true },
            (false, _) => Verdict::Wrong,
        }
    }
}

/// The response that right credentials hold; `None` where they ask for what we never offered.
fn expected(request: &Message<'_>, given: &Credentials<'_>, realm: &str, password: &str) -> Option<String> {
    let value = |name: &str| given.value(name).unwrap_or_default();
    let algorithm = given.value("algorithm");
    let algorithm = algorithm.as_deref().unwrap_or("MD5");
    let algorithm = ALGORITHMS.into_iter().find(|known| known.eq_ignore_ascii_case(algorithm))?;
    let hash = |text: String| {
        if algorithm == "MD5" {
            hex(&Md5::digest(&text))
        } else {
            hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
        }
    };
    // The credentials must be for this request and no other (RFC 7616 section 3.4.6).
    let uri = given.value("uri").filter(|uri| Some(uri.as_ref()) == request.request_uri())?;
    let user = hash(format!("{}:{realm}:{password}", value("username")));
    let what = hash(format!("{}:{uri}", request.method()?.as_str()));
    let nonce = value("nonce");
    match given.value("qop").as_deref() {
        None => Some(hash(format!("{user}:{nonce}:{what}"))),
        Some(qop) if qop.eq_ignore_ascii_case("auth") => {
            let (count, cnonce) = (value("nc"), value("cnonce"));
            Some(hash(format!("{user}:{nonce}:{count}:{cnonce}:{qop}:{what}")))
        }
        Some(_) => None,
    }
}
