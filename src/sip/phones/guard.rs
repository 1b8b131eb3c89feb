//! Digest authentication as a server (RFC 7616, RFC 8760), for phones whose secret at the SIP server we hold.
//!
//! Nonces need no memory: each says until when it is good, signed with a key of this shard's. One that another shard gave,
//! or that is old, is stale and costs the phone one more round.

use super::super::digest::{Algorithm, Challenge, Qop, Request};
use super::super::{Credentials, Secret};
use crate::base::{Now, Random, hex};
use aws_lc_rs::{constant_time, hmac};
use sip_codec::{Message, Name, Quoted};
use std::net::IpAddr;

/// Seconds for which a nonce is good.
const FRESH: u64 = 300;
/// Digest algorithms, the strongest first (RFC 8760 section 2.4).
const ALGORITHMS: [&str; 2] = ["SHA-256", "MD5"];

/// What became of a phone's credentials.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::sip) enum Verdict {
    /// They are right.
    Right,
    /// There are none for our realm, or they are wrong.
    Wrong,
    /// They are right, and their nonce is old.
    Stale,
}

/// The key by which nonces are known again.
pub(in crate::sip) struct Guard(hmac::Key);

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Guard(…)")
    }
}

impl Guard {
    pub fn new(random: &mut Random) -> Guard {
        let mut key = [0; 32];
        random.fill(&mut key);
        Guard(hmac::Key::new(hmac::HMAC_SHA256, &key))
    }

    fn nonce(&self, until: u64, source: IpAddr) -> String {
        let tag = hmac::sign(&self.0, format!("{until} {source}").as_bytes());
        format!("{until:x}.{}", hex(&tag.as_ref()[..16]))
    }

    /// Whether this nonce is one of ours for this source, and not too old.
    fn is_fresh(&self, now: Now, nonce: &str, source: IpAddr) -> bool {
        let until = nonce.split('.').next().and_then(|text| u64::from_str_radix(text, 16).ok());
        until.is_some_and(|until| {
            let ours = self.nonce(until, source);
            now.unix.as_secs() < until
                && constant_time::verify_slices_are_equal(ours.as_bytes(), nonce.as_bytes()).is_ok()
        })
    }

    /// What a phone is asked: a value for each algorithm, the one to be preferred first.
    pub fn challenges(&self, now: Now, realm: &str, source: IpAddr, stale: bool) -> [String; 2] {
        let nonce = self.nonce(now.unix.as_secs() + FRESH, source);
        let stale = if stale { ", stale=true" } else { "" };
        ALGORITHMS.map(|algorithm| {
            format!(
                "Digest realm={}, nonce=\"{nonce}\", algorithm={algorithm}, qop=\"auth\"{stale}",
                Quoted(realm)
            )
        })
    }

    /// Judges the credentials of a request for a user.
    pub fn judge(
        &self,
        now: Now,
        message: &Message<'_>,
        (realm, source): (&str, IpAddr),
        (user, password): (&str, &Secret),
    ) -> Verdict {
        let name = if message.method() == Some(sip_codec::Method::Register) {
            Name::Authorization
        } else {
            Name::ProxyAuthorization
        };
        let given = message.headers(name).filter_map(|value| sip_codec::Credentials::parse(value).ok());
        let ours = |given: &sip_codec::Credentials<'_>| {
            given.is_digest() && given.value("realm").is_some_and(|value| value == realm)
        };
        let Some(given) = given.into_iter().find(ours) else { return Verdict::Wrong };
        let who = Credentials { user: user.to_owned(), password: password.clone() };
        if !is_right(message, &given, &who) {
            return Verdict::Wrong;
        }
        let nonce = given.value("nonce").unwrap_or_default();
        if self.is_fresh(now, &nonce, source) { Verdict::Right } else { Verdict::Stale }
    }
}

/// Whether a response to a challenge of ours was made with this user's password.
fn is_right(message: &Message<'_>, given: &sip_codec::Credentials<'_>, who: &Credentials) -> bool {
    let text = |name: &str| given.value(name).unwrap_or_default();
    let algorithm = given.value("algorithm");
    let algorithm = Algorithm::parse(algorithm.as_deref());
    let (Some(algorithm), Some(method)) = (algorithm.filter(|a| !a.session), message.method()) else {
        return false;
    };
    let count = u32::from_str_radix(&text("nc"), 16).unwrap_or(0);
    // What was asked for is what must be signed (RFC 7616 section 3.4.6), however it is escaped.
    let uri = text("uri");
    let same = match (message.uri(), sip_codec::Uri::parse(&uri)) {
        (Ok(asked), Ok(signed)) => asked.text == signed.text || asked.is_equivalent(&signed),
        _ => false,
    };
    let sound = same && text("username") == who.user.as_str() && text("qop").eq_ignore_ascii_case("auth");
    let challenge = Challenge {
        proxy: false,
        realm: text("realm").into_owned(),
        nonce: text("nonce").into_owned(),
        opaque: None,
        algorithm,
        qop: Qop::Auth,
        stale: false,
    };
    let request = Request { method: method.as_str(), uri: &uri, body: b"" };
    let expected = challenge.response(who, request, &text("cnonce"), count);
    let response = text("response").to_ascii_lowercase();
    constant_time::verify_slices_are_equal(expected.as_bytes(), response.as_bytes()).is_ok() && sound
}

#[cfg(test)]
mod tests {
    use super::super::super::digest::{self, Keys};
    use super::*;
    use std::time::Duration;

    const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));
    const URI: &str = "sip:example.org";

    fn now(seconds: u64) -> Now {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
        let instant = std::time::Instant::now();
        Now { instant, unix: Duration::from_secs(1_700_000_000 + seconds) }
    }

    fn guard() -> Guard {
        Guard::new(&mut Random::from_number(1))
    }

    fn register(authorization: &str) -> Vec<u8> {
        format!(
            "REGISTER {URI} SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n{authorization}Content-Length: 0\r\n\r\n"
        )
        .into_bytes()
    }

    /// What our own client answers to a challenge of one algorithm.
    fn answer(guard: &Guard, nth: usize, password: &str, uri: &str) -> Vec<u8> {
        let challenges = guard.challenges(now(0), "example.org", SOURCE, false);
        let bytes = format!(
            "SIP/2.0 401 Unauthorized\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nWWW-Authenticate: {}\r\n\r\n",
            challenges[nth]
        )
        .into_bytes();
        let message = Message::parse(&bytes).unwrap();
        let mut keys = Keys::default();
        assert!(keys.learn(digest::challenges(&message), None, 0));
        let who = Credentials { user: "alice".into(), password: Secret(password.into()) };
        let headers = keys.authorise(&who, Request { method: "REGISTER", uri, body: b"" }, "cafe");
        register(&format!("{}: {}\r\n", headers[0].0, headers[0].1))
    }

    fn judge(guard: &Guard, at: u64, source: IpAddr, bytes: &[u8]) -> Verdict {
        let message = Message::parse(bytes).unwrap();
        guard.judge(now(at), &message, ("example.org", source), ("alice", &Secret("secret".into())))
    }

    #[test]
    fn knows_the_right_password_by_either_algorithm() {
        let guard = guard();
        for nth in 0..2 {
            assert_eq!(judge(&guard, 1, SOURCE, &answer(&guard, nth, "secret", URI)), Verdict::Right);
            assert_eq!(judge(&guard, 1, SOURCE, &answer(&guard, nth, "guess", URI)), Verdict::Wrong);
        }
        assert_eq!(judge(&guard, 1, SOURCE, &register("")), Verdict::Wrong);
    }

    #[test]
    fn a_nonce_is_good_for_a_while_from_where_it_was_asked_for() {
        let guard = guard();
        let bytes = answer(&guard, 0, "secret", URI);
        assert_eq!(judge(&guard, FRESH - 1, SOURCE, &bytes), Verdict::Right);
        assert_eq!(judge(&guard, FRESH, SOURCE, &bytes), Verdict::Stale);
        let elsewhere = "192.0.2.8".parse().unwrap();
        assert_eq!(judge(&guard, 1, elsewhere, &bytes), Verdict::Stale);
        let other = Guard::new(&mut Random::from_number(2));
        assert_eq!(judge(&other, 1, SOURCE, &bytes), Verdict::Stale);
    }

    #[test]
    fn what_was_signed_for_another_request_is_wrong() {
        let guard = guard();
        assert_eq!(judge(&guard, 1, SOURCE, &answer(&guard, 0, "secret", "sip:other.org")), Verdict::Wrong);
        let bytes = String::from_utf8(answer(&guard, 0, "secret", URI)).unwrap();
        for (from, to) in [("qop=auth", "qop=auth-int"), ("username=\"alice\"", "username=\"bob\"")] {
            assert_eq!(judge(&guard, 1, SOURCE, bytes.replace(from, to).as_bytes()), Verdict::Wrong);
        }
    }
}
