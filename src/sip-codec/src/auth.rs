//! Digest challenges and credentials (RFC 3261 section 22, RFC 7616, RFC 8760).

use crate::text::{self, cut, find_outside, take, trim, unquote};
use crate::{Error, Param};
use std::borrow::Cow;

/// The comma-separated parameters of a challenge or of credentials.
#[derive(Clone, Copy, Debug)]
pub struct DigestParams<'a> {
    rest: &'a str,
}

impl<'a> DigestParams<'a> {
    /// The first parameter of that name, without quotes and escapes.
    pub fn value(mut self, name: &str) -> Option<Cow<'a, str>> {
        let param = Iterator::find(&mut self, |param| param.name.eq_ignore_ascii_case(name))?;
        param.value.map(unquote)
    }

    fn is_sound(mut self) -> bool {
        self.all(|param| {
            text::all(param.name, text::TOKEN)
                && param.value.is_some_and(|value| {
                    let quoted =
                        text::closing_quote(value.as_bytes()).is_some_and(|at| at + 1 == value.len());
                    if value.starts_with('"') { quoted } else { text::all(value, text::TOKEN | text::PARAM) }
                })
        })
    }
}

#[allow(clippy::copy_iterator)] // A copy is a cursor of its own: that is what finding needs.
impl<'a> Iterator for DigestParams<'a> {
    type Item = Param<'a>;

    fn next(&mut self) -> Option<Param<'a>> {
        loop {
            if self.rest.is_empty() {
                return None;
            }
            let (item, rest) = match find_outside(self.rest.as_bytes(), b',', false) {
                Some(at) => cut(self.rest, at),
                None => (self.rest, ""),
            };
            self.rest = rest;
            let item = trim(item);
            if item.is_empty() {
                continue;
            }
            return Some(match text::find(item, b'=') {
                Some(at) => {
                    let (name, value) = cut(item, at);
                    Param { name: trim(name), value: Some(trim(value)) }
                }
                None => Param { name: item, value: None },
            });
        }
    }
}

fn parse(text: &str) -> Result<(&str, DigestParams<'_>), Error> {
    let (scheme, rest) = take(trim(text), text::TOKEN);
    let params = DigestParams { rest: trim(rest) };
    let spaced = rest.bytes().next().is_none_or(|b| text::is(b, text::LWS));
    if scheme.is_empty() || !spaced { Err(Error::Value) } else { Ok((scheme, params)) }
}

/// WWW-Authenticate or Proxy-Authenticate.
#[derive(Clone, Copy, Debug)]
pub struct Challenge<'a> {
    /// `Digest`, or another.
    pub scheme: &'a str,
    /// Its parameters.
    pub params: DigestParams<'a>,
}

impl<'a> Challenge<'a> {
    /// Parses one header value. Challenges never share a header line (RFC 3261 section 7.3.1). The parameters of a
    /// scheme other than Digest are not looked at.
    pub fn parse(text: &'a str) -> Result<Self, Error> {
        let (scheme, params) = parse(text)?;
        let challenge = Self { scheme, params };
        if challenge.is_digest() && !params.is_sound() { Err(Error::Value) } else { Ok(challenge) }
    }

    /// True for the scheme Digest.
    pub fn is_digest(&self) -> bool {
        self.scheme.eq_ignore_ascii_case("Digest")
    }

    /// The realm.
    pub fn realm(&self) -> Option<Cow<'a, str>> {
        self.params.value("realm")
    }

    /// The nonce.
    pub fn nonce(&self) -> Option<Cow<'a, str>> {
        self.params.value("nonce")
    }

    /// The opaque value.
    pub fn opaque(&self) -> Option<Cow<'a, str>> {
        self.params.value("opaque")
    }

    /// The algorithm; absent means MD5.
    pub fn algorithm(&self) -> Option<Cow<'a, str>> {
        self.params.value("algorithm")
    }

    /// True if the challenge offers this quality of protection.
    pub fn offers_qop(&self, qop: &str) -> bool {
        self.params
            .value("qop")
            .is_some_and(|list| list.split(',').any(|q| trim(q).eq_ignore_ascii_case(qop)))
    }

    /// True if only the nonce was stale.
    pub fn is_stale(&self) -> bool {
        self.params.value("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true"))
    }
}

/// Authorization or Proxy-Authorization.
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'a> {
    /// `Digest`, or another.
    pub scheme: &'a str,
    /// Its parameters.
    pub params: DigestParams<'a>,
}

impl<'a> Credentials<'a> {
    /// Parses one header value. The parameters of a scheme other than Digest are not looked at.
    pub fn parse(text: &'a str) -> Result<Self, Error> {
        let (scheme, params) = parse(text)?;
        let credentials = Self { scheme, params };
        if credentials.is_digest() && !params.is_sound() { Err(Error::Value) } else { Ok(credentials) }
    }

    /// True for the scheme Digest.
    pub fn is_digest(&self) -> bool {
        self.scheme.eq_ignore_ascii_case("Digest")
    }

    /// One parameter (`username`, `realm`, `nonce`, `uri`, `response`, `cnonce`, `nc`, `qop`, …), unquoted.
    pub fn value(&self, name: &str) -> Option<Cow<'a, str>> {
        self.params.value(name)
    }
}
