//! The other header values: numbers, CSeq, reliability, session timers, dialog references, reasons.

use crate::text::{self, cut, find_outside, take, trim, trim_start};
use crate::{Error, Method, Params};
use std::borrow::Cow;

/// Seconds. Values beyond 32 bits count as the greatest (RFC 4475 section 3.1.2.4).
pub(crate) fn delta_seconds(text: &str) -> Option<u32> {
    let text = trim(text);
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u32::MAX))
}

/// A `qvalue` in thousandths.
pub(crate) fn q_thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = match text::find(text, b'.') {
        Some(at) => cut(text, at),
        None => (text, ""),
    };
    if fraction.len() > 3 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let scaled = fraction.bytes().chain(*b"000").take(3).fold(0, |n, b| n * 10 + u16::from(b - b'0'));
    match whole {
        "0" => Some(scaled),
        "1" if scaled == 0 => Some(1000),
        _ => None,
    }
}

/// CSeq (RFC 3261 section 20.16).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CSeq<'a> {
    /// Below 2^31 (section 8.1.1.5).
    pub number: u32,
    /// The method.
    pub method: Method<'a>,
}

impl<'a> CSeq<'a> {
    /// Parses the value.
    pub fn parse(text: &'a str) -> Result<Self, Error> {
        Self::read(trim(text)).ok_or(Error::Value)
    }

    fn read(text: &'a str) -> Option<Self> {
        let (number, rest) = take(text, text::TOKEN);
        let method = trim_start(rest);
        let number = text::number(number).filter(|n| *n < 1 << 31)?;
        (rest.len() > method.len() && text::all(method, text::TOKEN))
            .then(|| Self { number, method: Method::parse(method) })
    }
}

impl std::fmt::Display for CSeq<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.number, self.method)
    }
}

/// `RAck` (RFC 3262 section 7.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RAck<'a> {
    /// The provisional's `RSeq`.
    pub rseq: u32,
    /// The provisional's `CSeq`.
    pub cseq: CSeq<'a>,
}

impl<'a> RAck<'a> {
    /// Parses the value.
    pub fn parse(text: &'a str) -> Result<Self, Error> {
        let (rseq, rest) = take(trim(text), text::TOKEN);
        let rseq = text::number(rseq).ok_or(Error::Value)?;
        Ok(Self { rseq, cseq: CSeq::parse(rest)? })
    }
}

impl std::fmt::Display for RAck<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.rseq, self.cseq)
    }
}

/// Who refreshes a session (RFC 4028).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refresher {
    /// The one who sent the request.
    Uac,
    /// The one who answered.
    Uas,
}

/// Session-Expires (RFC 4028 section 4); Min-SE has the same form without refresher.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionExpires {
    /// The interval in seconds.
    pub seconds: u32,
    /// Who refreshes, if said.
    pub refresher: Option<Refresher>,
}

impl SessionExpires {
    /// Parses the value.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (head, params) = head_and_params(text);
        let seconds = delta_seconds(head).ok_or(Error::Value)?;
        let refresher = match params.value("refresher") {
            Some(v) if v.eq_ignore_ascii_case("uac") => Some(Refresher::Uac),
            Some(v) if v.eq_ignore_ascii_case("uas") => Some(Refresher::Uas),
            _ => None,
        };
        if params.is_generic() { Ok(Self { seconds, refresher }) } else { Err(Error::Value) }
    }
}

impl std::fmt::Display for SessionExpires {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.seconds)?;
        match self.refresher {
            Some(Refresher::Uac) => f.write_str(";refresher=uac"),
            Some(Refresher::Uas) => f.write_str(";refresher=uas"),
            None => Ok(()),
        }
    }
}

/// Replaces (RFC 3891 section 6.1); Join and Target-Dialog have the same form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Replaces<'a> {
    /// The dialog's Call-ID.
    pub call_id: &'a str,
    /// To tag; in Target-Dialog the `remote-tag`.
    pub to_tag: &'a str,
    /// From tag; in Target-Dialog the `local-tag`.
    pub from_tag: &'a str,
    /// Only an early dialog may be replaced.
    pub early_only: bool,
}

impl<'a> Replaces<'a> {
    /// Parses the value.
    pub fn parse(text: &'a str) -> Result<Self, Error> {
        let (call_id, params) = head_and_params(text);
        let tag = |name, other| {
            params.value(name).or(params.value(other)).filter(|tag| text::all(tag, text::TOKEN))
        };
        let (Some(to_tag), Some(from_tag)) = (tag("to-tag", "remote-tag"), tag("from-tag", "local-tag"))
        else {
            return Err(Error::Value);
        };
        if !is_call_id(call_id) || !params.is_generic() {
            return Err(Error::Value);
        }
        Ok(Self { call_id, to_tag, from_tag, early_only: params.has("early-only") })
    }
}

/// `word ["@" word]`.
pub(crate) fn is_call_id(text: &str) -> bool {
    text::all(text, text::WORD)
        && match text::find(text, b'@') {
            Some(at) => {
                let (left, right) = cut(text, at);
                !left.is_empty() && !right.is_empty() && !right.contains('@')
            }
            None => true,
        }
}

/// Retry-After (RFC 3261 section 20.33).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetryAfter {
    /// Seconds to wait.
    pub seconds: u32,
    /// Seconds for which it will then be there.
    pub duration: Option<u32>,
}

impl RetryAfter {
    /// Parses the value; its comment is ignored.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = trim(text);
        let digits = text.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
        let (seconds, rest) = text.split_at_checked(digits).unwrap_or((text, ""));
        let seconds = delta_seconds(seconds).ok_or(Error::Value)?;
        let rest = trim_start(rest);
        let params = match rest.strip_prefix('(') {
            Some(comment) => Params::new(comment.rfind(')').map_or("", |at| cut(comment, at).1)),
            None => Params::new(rest),
        };
        Ok(Self { seconds, duration: params.value("duration").and_then(delta_seconds) })
    }
}

/// One element of Reason (RFC 3326).
#[derive(Clone, Copy, Debug)]
pub struct Reason<'a> {
    /// `SIP`, `Q.850`, or another.
    pub protocol: &'a str,
    /// The cause.
    pub cause: Option<u32>,
    /// All parameters.
    pub params: Params<'a>,
}

impl<'a> Reason<'a> {
    /// Parses one element.
    pub fn parse(text: &'a str) -> Result<Self, Error> {
        let (protocol, params) = head_and_params(text);
        if !text::all(protocol, text::TOKEN) || !params.is_generic() {
            return Err(Error::Value);
        }
        Ok(Self { protocol, cause: params.value("cause").and_then(text::number), params })
    }

    /// The text, unquoted.
    pub fn text(&self) -> Option<Cow<'a, str>> {
        self.params.find("text").map(crate::Param::text)
    }
}

/// Content-Type (RFC 3261 section 20.15), and any other `type/subtype` with parameters.
#[derive(Clone, Copy, Debug)]
pub struct MediaType<'a> {
    /// The type.
    pub kind: &'a str,
    /// The subtype.
    pub subtype: &'a str,
    /// The parameters.
    pub params: Params<'a>,
}

impl<'a> MediaType<'a> {
    /// Parses the value.
    pub fn parse(text: &'a str) -> Result<Self, Error> {
        let (head, params) = head_and_params(text);
        let (kind, subtype) = cut(head, text::find(head, b'/').ok_or(Error::Value)?);
        let (kind, subtype) = (trim(kind), trim(subtype));
        if !text::all(kind, text::TOKEN) || !text::all(subtype, text::TOKEN) || !params.is_generic() {
            return Err(Error::Value);
        }
        Ok(Self { kind, subtype, params })
    }

    /// True for this type and subtype, without case.
    pub fn is(&self, kind: &str, subtype: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind) && self.subtype.eq_ignore_ascii_case(subtype)
    }
}

/// A value before its first semicolon, and its parameters.
fn head_and_params(text: &str) -> (&str, Params<'_>) {
    let text = trim(text);
    let end = find_outside(text.as_bytes(), b';', false).unwrap_or(text.len());
    let (head, params) = text.split_at_checked(end).unwrap_or((text, ""));
    (trim(head), Params::new(params))
}
