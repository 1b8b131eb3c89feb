//! URIs: `sip`, `sips` (RFC 3261 section 19.1), `tel` (RFC 3966) and any other.

use crate::text::{self, all_escaped, decoded};
use crate::{Error, Host, Params};
use std::borrow::Cow;
use std::fmt;

/// The most parameters or headers two URIs may have to be compared: comparison is quadratic.
const MAX_COMPARED: usize = 32;

/// The scheme of a URI.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheme<'a> {
    /// `sip`
    Sip,
    /// `sips`
    Sips,
    /// `tel`
    Tel,
    /// Any other.
    Other(&'a str),
}

/// A URI. Its parts are as written, escapes included.
#[derive(Clone, Copy, Debug)]
pub struct Uri<'a> {
    /// The scheme.
    pub scheme: Scheme<'a>,
    /// The user part of a SIP URI, or the number of a tel URI.
    pub user: Option<&'a str>,
    /// The password of a SIP URI.
    pub password: Option<&'a str>,
    /// The host of a SIP URI.
    pub host: Option<Host<'a>>,
    /// The port of a SIP URI.
    pub port: Option<u16>,
    /// The parameters of a SIP or tel URI.
    pub params: Params<'a>,
    /// What follows the question mark of a SIP URI.
    pub headers: &'a str,
    /// The whole URI.
    pub text: &'a str,
}

impl<'a> Uri<'a> {
    /// Parses a URI without angle brackets.
    pub fn parse(text: &'a str) -> Result<Self, Error> {
        Self::read(text).ok_or(Error::Value)
    }

    fn read(text: &'a str) -> Option<Self> {
        let (name, rest) = text::cut(text, text::find(text, b':')?);
        let mut bytes = name.bytes();
        let plain = bytes.next()?.is_ascii_alphabetic()
            && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
        if !plain {
            return None;
        }
        let scheme = match name {
            n if n.eq_ignore_ascii_case("sip") => Scheme::Sip,
            n if n.eq_ignore_ascii_case("sips") => Scheme::Sips,
            n if n.eq_ignore_ascii_case("tel") => Scheme::Tel,
            n => Scheme::Other(n),
        };
        let uri = Self {
            scheme,
            user: None,
            password: None,
            host: None,
            port: None,
            params: Params::default(),
            headers: "",
            text,
        };
        match scheme {
            Scheme::Sip | Scheme::Sips => uri.read_sip(rest),
            Scheme::Tel => uri.read_tel(rest),
            Scheme::Other(_) => text::all(rest, text::URI).then_some(uri),
        }
    }

    fn read_sip(mut self, rest: &'a str) -> Option<Self> {
        // Neither parameters nor headers may hold a bare `@`, but a user part may hold `;` and `?`.
        let rest = match text::find(rest, b'@') {
            Some(at) => {
                let (info, rest) = text::cut(rest, at);
                self.read_user_info(info)?;
                rest
            }
            None => rest,
        };
        let (rest, headers) = match text::find(rest, b'?') {
            Some(at) => text::cut(rest, at),
            None => (rest, ""),
        };
        let (place, params) = rest.split_at_checked(text::find(rest, b';').unwrap_or(rest.len()))?;
        if place.bytes().any(|b| text::is(b, text::LWS)) {
            return None;
        }
        (self.host, self.port) = Host::parse_port(place).map(|(host, port)| (Some(host), port))?;
        self.params = Params::new(params);
        self.headers = headers;
        let sound = params_are_sound(self.params) && headers_are_sound(headers);
        sound.then_some(self)
    }

    fn read_user_info(&mut self, info: &'a str) -> Option<()> {
        let (user, password) = match text::find(info, b':') {
            Some(at) => {
                let (user, password) = text::cut(info, at);
                (user, Some(password))
            }
            None => (info, None),
        };
        if user.is_empty()
            || !all_escaped(user, text::USER)
            || !all_escaped(password.unwrap_or(""), text::USER)
        {
            return None;
        }
        self.user = Some(user);
        self.password = password;
        Some(())
    }

    fn read_tel(mut self, rest: &'a str) -> Option<Self> {
        let (number, params) = rest.split_at_checked(text::find(rest, b';').unwrap_or(rest.len()))?;
        let digits = number.strip_prefix('+').unwrap_or(number);
        let plain = digits.bytes().all(|b| b.is_ascii_hexdigit() || b"*#-.()".contains(&b));
        if !plain || !digits.bytes().any(|b| b.is_ascii_hexdigit() || b"*#".contains(&b)) {
            return None;
        }
        self.user = Some(number);
        self.params = Params::new(params);
        params_are_sound(self.params).then_some(self)
    }

    /// The user part without escapes; `None` without a user part or if it is not UTF-8.
    pub fn user_text(&self) -> Option<Cow<'a, str>> {
        text::unescape(self.user?)
    }

    /// The first parameter of that name, which may be written with escapes (RFC 4475 section 3.1.1.3).
    pub fn param(&self, name: &str) -> Option<crate::Param<'a>> {
        let mut params = self.params;
        Iterator::find(&mut params, |param| same_folded(param.name, name))
    }

    /// True for `sip` and `sips`.
    pub fn is_sip(&self) -> bool {
        matches!(self.scheme, Scheme::Sip | Scheme::Sips)
    }

    /// The headers after the question mark, as name and value, escapes included.
    pub fn header_fields(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.headers.split('&').filter(|field| !field.is_empty()).map(|field| match text::find(field, b'=') {
            Some(at) => text::cut(field, at),
            None => (field, ""),
        })
    }

    /// Comparison by RFC 3261 section 19.1.4 (tel: RFC 3966 section 5; other schemes: byte by byte).
    pub fn is_equivalent(&self, other: &Uri<'_>) -> bool {
        match (self.scheme, other.scheme) {
            (Scheme::Sip, Scheme::Sip) | (Scheme::Sips, Scheme::Sips) => {
                same(self.user, other.user)
                    && same(self.password, other.password)
                    && self.host == other.host
                    && self.port == other.port
                    && params_match(self.params, other.params)
                    && params_match(other.params, self.params)
                    && headers_match(self, other)
                    && headers_match(other, self)
            }
            (Scheme::Tel, Scheme::Tel) => same_number(self.user, other.user) && tel_params_match(self, other),
            (Scheme::Other(_), Scheme::Other(_)) => self.text == other.text,
            _ => false,
        }
    }
}

impl fmt::Display for Uri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

fn params_are_sound(mut params: Params<'_>) -> bool {
    let text = params.as_str();
    (text.is_empty() || text.starts_with(';'))
        && !text.bytes().any(|b| text::is(b, text::LWS))
        && params.all(|p| {
            !p.name.is_empty()
                && all_escaped(p.name, text::PARAM)
                && p.value.is_none_or(|v| !v.is_empty() && all_escaped(v, text::PARAM))
        })
}

fn headers_are_sound(headers: &str) -> bool {
    headers.is_empty()
        || headers.split('&').all(|field| match text::find(field, b'=') {
            Some(at) => {
                let (name, value) = text::cut(field, at);
                !name.is_empty() && all_escaped(name, text::HEADER) && all_escaped(value, text::HEADER)
            }
            None => false,
        })
}

fn same(a: Option<&str>, b: Option<&str>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => decoded(a).eq(decoded(b)),
        (None, None) => true,
        _ => false,
    }
}

fn same_folded(a: &str, b: &str) -> bool {
    decoded(a).map(|b| b.to_ascii_lowercase()).eq(decoded(b).map(|b| b.to_ascii_lowercase()))
}

/// Every parameter of `a` agrees with `b`. `transport` alone on one side differs too, as the examples of section
/// 19.1.4 have it.
fn params_match(a: Params<'_>, b: Params<'_>) -> bool {
    const NEVER_ALONE: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];
    let mut seen = 0;
    a.into_iter().all(|p| {
        seen += 1;
        seen <= MAX_COMPARED
            && match b.into_iter().take(MAX_COMPARED).find(|q| same_folded(p.name, q.name)) {
                Some(q) => same_folded(p.value.unwrap_or(""), q.value.unwrap_or("")),
                None => !NEVER_ALONE.iter().any(|name| same_folded(name, p.name)),
            }
    })
}

fn headers_match(a: &Uri<'_>, b: &Uri<'_>) -> bool {
    let mut seen = 0;
    a.header_fields().all(|(name, value)| {
        seen += 1;
        seen <= MAX_COMPARED
            && b.header_fields()
                .take(MAX_COMPARED)
                .any(|(n, v)| same_folded(name, n) && decoded(value).eq(decoded(v)))
    })
}

fn same_number(a: Option<&str>, b: Option<&str>) -> bool {
    fn digits(text: &str) -> impl Iterator<Item = u8> + '_ {
        text.bytes().filter(|b| !b"-.()".contains(b)).map(|b| b.to_ascii_lowercase())
    }
    digits(a.unwrap_or("")).eq(digits(b.unwrap_or("")))
}

fn tel_params_match(a: &Uri<'_>, b: &Uri<'_>) -> bool {
    let within = |p: Params<'_>, q: Params<'_>| {
        let mut seen = 0;
        p.into_iter().all(|p| {
            seen += 1;
            seen <= MAX_COMPARED
                && q.into_iter().take(MAX_COMPARED).any(|q| {
                    same_folded(p.name, q.name) && same_folded(p.value.unwrap_or(""), q.value.unwrap_or(""))
                })
        })
    };
    within(a.params, b.params) && within(b.params, a.params)
}
