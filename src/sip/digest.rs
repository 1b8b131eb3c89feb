//! Digest authentication as a client (RFC 7616, RFC 8760; RFC 3261 section 22).

use super::config::Credentials;
use crate::base::hex;
use aws_lc_rs::digest as sha;
use md5::{Digest, Md5};
use sip_codec::{Message, Name};
use std::fmt::Write;

/// The hash of a challenge. The order is that of strength.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Hash {
    Md5,
    Sha256,
    Sha512_256,
}

/// A challenge's algorithm: a hash, and whether keys are per session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Algorithm {
    pub hash: Hash,
    pub session: bool,
}

impl Algorithm {
    /// By its token; MD5 where a challenge names none.
    pub fn parse(token: Option<&str>) -> Option<Algorithm> {
        let token = token.unwrap_or("MD5");
        let (name, session) = match token.len().checked_sub(5) {
            Some(at) if token.is_char_boundary(at) && token[at..].eq_ignore_ascii_case("-sess") => {
                (&token[..at], true)
            }
            _ => (token, false),
        };
        let hash = [(Hash::Md5, "MD5"), (Hash::Sha256, "SHA-256"), (Hash::Sha512_256, "SHA-512-256")]
            .into_iter()
            .find(|(_, known)| name.eq_ignore_ascii_case(known))?
            .0;
        Some(Algorithm { hash, session })
    }

    fn name(self) -> &'static str {
        match (self.hash, self.session) {
            (Hash::Md5, false) => "MD5",
            (Hash::Md5, true) => "MD5-sess",
            (Hash::Sha256, false) => "SHA-256",
            (Hash::Sha256, true) => "SHA-256-sess",
            (Hash::Sha512_256, false) => "SHA-512-256",
            (Hash::Sha512_256, true) => "SHA-512-256-sess",
        }
    }

    /// H of several parts in a row, as lower-case hex.
    fn hex(self, parts: &[&[u8]]) -> String {
        fn sha_of(algorithm: &'static sha::Algorithm, parts: &[&[u8]]) -> String {
            let mut context = sha::Context::new(algorithm);
            for part in parts {
                context.update(part);
            }
            hex(context.finish().as_ref())
        }
        match self.hash {
            Hash::Md5 => {
                let mut context = Md5::new();
                for part in parts {
                    context.update(part);
                }
                hex(&context.finalize())
            }
            Hash::Sha256 => sha_of(&sha::SHA256, parts),
            Hash::Sha512_256 => sha_of(&sha::SHA512_256, parts),
        }
    }
}

/// Quality of protection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Qop {
    /// RFC 2069: none was offered.
    None,
    Auth,
    AuthInt,
}

impl Qop {
    /// From the list that a challenge offers. `auth` wins over `auth-int`, since servers on the way may change bodies;
    /// a list without either can't be met.
    pub fn choose(offered: Option<&str>) -> Option<Qop> {
        let Some(offered) = offered else { return Some(Qop::None) };
        let has = |name: &str| offered.split(',').any(|token| token.trim().eq_ignore_ascii_case(name));
        match (has("auth"), has("auth-int"), offered.trim().is_empty()) {
            (true, _, _) => Some(Qop::Auth),
            (_, true, _) => Some(Qop::AuthInt),
            (_, _, empty) => empty.then_some(Qop::None),
        }
    }
}

/// One challenge that we can meet. Its texts are without quotes and escapes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Challenge {
    /// 407 rather than 401.
    pub proxy: bool,
    pub realm: String,
    pub nonce: String,
    pub opaque: Option<String>,
    pub algorithm: Algorithm,
    pub qop: Qop,
    /// The nonce was old, the credentials may be right.
    pub stale: bool,
}

/// The request that is to be authorised.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    pub method: &'a str,
    pub uri: &'a str,
    pub body: &'a [u8],
}

#[derive(Clone, Debug)]
struct Key {
    challenge: Challenge,
    /// How often its nonce was used.
    count: u32,
}

/// What a peer asked of us so far: keys for this request and those that follow.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys(Vec<Key>);

/// The challenges of a 401 or 407 that we can meet.
pub(super) fn challenges<'m>(message: &'m Message<'m>) -> impl Iterator<Item = Challenge> + 'm {
    [(Name::WwwAuthenticate, false), (Name::ProxyAuthenticate, true)].into_iter().flat_map(|(name, proxy)| {
        message.headers(name).filter_map(move |value| Challenge::read(value, proxy))
    })
}

/// More realms than this on one way are an attack.
const REALMS: usize = 4;
/// Longest realm, nonce or opaque that we carry.
const LONGEST: usize = 1024;

impl Keys {
    /// Takes in the challenges of a 401 or 407 for a request that was challenged `tries` times before. True where
    /// trying again makes sense.
    ///
    /// Only `realm` is answered where one is configured (a peer that asks for another would learn a hash to crack).
    /// Of several challenges for one realm the strongest is chosen. Where credentials were refused, only a stale
    /// nonce or a realm not met before is worth another try.
    pub fn learn(
        &mut self,
        challenges: impl Iterator<Item = Challenge>,
        realm: Option<&str>,
        tries: u8,
    ) -> bool {
        let mut best: Vec<Challenge> = Vec::new();
        for challenge in challenges.filter(|c| realm.is_none_or(|realm| realm == c.realm)) {
            let long = [&challenge.realm, &challenge.nonce].iter().any(|text| text.len() > LONGEST)
                || challenge.opaque.as_ref().is_some_and(|text| text.len() > LONGEST);
            if long {
                continue;
            }
            let known = best.iter().position(|b| b.realm == challenge.realm && b.proxy == challenge.proxy);
            match known {
                Some(at) if challenge.algorithm.hash > best[at].algorithm.hash => best[at] = challenge,
                None if best.len() < REALMS => best.push(challenge),
                _ => {}
            }
        }
        let mut worth = false;
        for challenge in best {
            let known = self
                .0
                .iter()
                .position(|k| k.challenge.realm == challenge.realm && k.challenge.proxy == challenge.proxy);
            worth |= tries == 0 || (tries < 4 && (challenge.stale || known.is_none()));
            let key = Key { challenge, count: 0 };
            match known {
                // The same nonce again: its count must go on rising.
                Some(at) if self.0[at].challenge.nonce == key.challenge.nonce => {}
                Some(at) => self.0[at] = key,
                None if self.0.len() < REALMS => self.0.push(key),
                None => {}
            }
        }
        worth
    }

    /// Header names and values that authorise the request, one for each realm.
    pub fn authorise(
        &mut self,
        credentials: &Credentials,
        request: Request<'_>,
        cnonce: &str,
    ) -> Vec<(&'static str, String)> {
        self.0
            .iter_mut()
            .map(|key| {
                key.count += 1;
                let name = if key.challenge.proxy { "Proxy-Authorization" } else { "Authorization" };
                (name, key.challenge.answer(credentials, request, cnonce, key.count))
            })
            .collect()
    }
}

impl Challenge {
    fn read(value: &str, proxy: bool) -> Option<Challenge> {
        let challenge = sip_codec::Challenge::parse(value).ok()?;
        let text = |name| challenge.params.value(name).map(std::borrow::Cow::into_owned);
        challenge.is_digest().then_some(())?;
        Some(Challenge {
            proxy,
            realm: text("realm")?,
            nonce: text("nonce")?,
            opaque: text("opaque"),
            algorithm: Algorithm::parse(text("algorithm").as_deref())?,
            qop: Qop::choose(text("qop").as_deref())?,
            stale: challenge.is_stale(),
        })
    }

    /// The value of the `Authorization` header.
    fn answer(&self, credentials: &Credentials, request: Request<'_>, cnonce: &str, count: u32) -> String {
        let response = self.response(credentials, request, cnonce, count);
        let (realm, nonce, uri) = (quoted(&self.realm), quoted(&self.nonce), request.uri);
        let user = quoted(&credentials.user);
        let mut value = format!(
            "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             response=\"{response}\", algorithm={}",
            self.algorithm.name()
        );
        if let Some(opaque) = &self.opaque {
            let _ = write!(value, ", opaque=\"{}\"", quoted(opaque));
        }
        let qop = match self.qop {
            Qop::None => None,
            Qop::Auth => Some("auth"),
            Qop::AuthInt => Some("auth-int"),
        };
        if let Some(qop) = qop {
            let _ = write!(value, ", qop={qop}, nc={count:08x}");
        }
        if qop.is_some() || self.algorithm.session {
            let _ = write!(value, ", cnonce=\"{cnonce}\"");
        }
        value
    }

    /// RFC 7616 section 3.4.1.
    pub(super) fn response(
        &self,
        credentials: &Credentials,
        request: Request<'_>,
        cnonce: &str,
        count: u32,
    ) -> String {
        let h = |parts: &[&[u8]]| self.algorithm.hex(parts);
        let colon: &[u8] = b":";
        let (realm, nonce, cnonce) = (self.realm.as_bytes(), self.nonce.as_bytes(), cnonce.as_bytes());
        let (user, password) = (credentials.user.as_bytes(), credentials.password.0.as_bytes());
        let mut a1 = h(&[user, colon, realm, colon, password]);
        if self.algorithm.session {
            a1 = h(&[a1.as_bytes(), colon, nonce, colon, cnonce]);
        }
        let (method, uri) = (request.method.as_bytes(), request.uri.as_bytes());
        let a2 = if self.qop == Qop::AuthInt {
            h(&[method, colon, uri, colon, h(&[request.body]).as_bytes()])
        } else {
            h(&[method, colon, uri])
        };
        let count = format!("{count:08x}");
        match self.qop {
            Qop::None => h(&[a1.as_bytes(), colon, nonce, colon, a2.as_bytes()]),
            Qop::Auth | Qop::AuthInt => {
                let qop: &[u8] = if self.qop == Qop::Auth { b"auth" } else { b"auth-int" };
                let parts =
                    [a1.as_bytes(), colon, nonce, colon, count.as_bytes(), colon, cnonce, colon, qop, colon];
                let mut parts = parts.to_vec();
                parts.push(a2.as_bytes());
                h(&parts)
            }
        }
    }
}

/// Text for between quotes.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::Secret;
    use super::*;

    fn mufasa() -> Credentials {
        Credentials { user: "Mufasa".into(), password: Secret("Circle of Life".into()) }
    }

    fn challenge(algorithm: &str, qop: Qop) -> Challenge {
        Challenge {
            proxy: false,
            realm: "http-auth@example.org".into(),
            nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v".into(),
            opaque: Some("FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS".into()),
            algorithm: Algorithm::parse(Some(algorithm)).unwrap(),
            qop,
            stale: false,
        }
    }

    const CNONCE: &str = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
    const GET: Request<'static> = Request { method: "GET", uri: "/dir/index.html", body: b"" };

    #[test]
    fn answers_the_examples_of_rfc_7616_section_3_9_1() {
        let md5 = challenge("MD5", Qop::Auth).response(&mufasa(), GET, CNONCE, 1);
        assert_eq!(md5, "8ca523f5e9506fed4657c9700eebdbec");
        let sha = challenge("SHA-256", Qop::Auth).response(&mufasa(), GET, CNONCE, 1);
        assert_eq!(sha, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1");
    }

    #[test]
    fn answers_the_example_of_rfc_2617_without_and_with_qop() {
        let mut old = Challenge {
            realm: "testrealm@host.com".into(),
            nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093".into(),
            ..challenge("MD5", Qop::Auth)
        };
        let who = Credentials { user: "Mufasa".into(), password: Secret("Circle Of Life".into()) };
        assert_eq!(old.response(&who, GET, "0a4f113b", 1), "6629fae49393a05397450978507c4ef1");
        old.qop = Qop::None;
        // MD5(HA1:nonce:HA2), as RFC 2069's erratum has it.
        assert_eq!(old.response(&who, GET, "", 1), "670fd8c2df070c60b045671b8b24ff02");
    }

    #[test]
    fn protects_the_body_with_auth_int() {
        let challenge = challenge("MD5", Qop::AuthInt);
        let one = challenge.response(&mufasa(), GET, CNONCE, 1);
        let other = challenge.response(&mufasa(), Request { body: b"v=0", ..GET }, CNONCE, 1);
        assert_ne!(one, other);
    }

    #[test]
    fn counts_up_on_one_nonce_and_starts_again_on_the_next() {
        let mut keys = Keys::default();
        assert!(keys.learn([challenge("MD5", Qop::Auth)].into_iter(), None, 0));
        for count in ["nc=00000001", "nc=00000002"] {
            let headers = keys.authorise(&mufasa(), GET, CNONCE);
            assert!(headers[0].1.contains(count), "{headers:?}");
        }
        let fresh = Challenge { nonce: "fresh".into(), stale: true, ..challenge("MD5", Qop::Auth) };
        assert!(keys.learn([fresh].into_iter(), None, 1));
        assert!(keys.authorise(&mufasa(), GET, CNONCE)[0].1.contains("nc=00000001"));
    }

    #[test]
    fn gives_up_where_credentials_are_refused_and_never_goes_round_for_ever() {
        let mut keys = Keys::default();
        assert!(keys.learn([challenge("MD5", Qop::Auth)].into_iter(), None, 0));
        let again =
            |nonce: &str, stale| Challenge { nonce: nonce.into(), stale, ..challenge("MD5", Qop::Auth) };
        assert!(!keys.learn([again("n2", false)].into_iter(), None, 1));
        assert!(keys.learn([again("n3", true)].into_iter(), None, 3));
        assert!(!keys.learn([again("n4", true)].into_iter(), None, 4));
    }

    #[test]
    fn chooses_the_strongest_and_only_the_configured_realm() {
        let mut keys = Keys::default();
        let all = ["MD5", "SHA-512-256", "SHA-256"].map(|name| challenge(name, Qop::Auth));
        assert!(keys.learn(all.into_iter(), Some("http-auth@example.org"), 0));
        let headers = keys.authorise(&mufasa(), GET, CNONCE);
        assert_eq!(headers.len(), 1);
        assert!(headers[0].1.contains("algorithm=SHA-512-256"), "{headers:?}");
        let mut keys = Keys::default();
        assert!(!keys.learn([challenge("MD5", Qop::Auth)].into_iter(), Some("elsewhere"), 0));
        assert!(keys.authorise(&mufasa(), GET, CNONCE).is_empty());
    }

    #[test]
    fn knows_algorithms_and_qualities_by_name() {
        assert_eq!(Algorithm::parse(None).unwrap().hash, Hash::Md5);
        assert!(Algorithm::parse(Some("md5-SESS")).unwrap().session);
        assert_eq!(Algorithm::parse(Some("AKAv1-MD5")), None);
        assert_eq!(Qop::choose(Some("auth-int, auth")), Some(Qop::Auth));
        assert_eq!(Qop::choose(Some("auth-int")), Some(Qop::AuthInt));
        assert_eq!(Qop::choose(Some("future")), None);
        assert_eq!(Qop::choose(None), Some(Qop::None));
    }

    #[test]
    fn a_user_name_can_not_leave_its_quotes() {
        assert_eq!(quoted("a\"b\\c\r\nd"), "a\\\"b\\\\cd");
    }
}
