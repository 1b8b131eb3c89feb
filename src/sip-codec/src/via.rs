//! Via (RFC 3261 section 20.42, RFC 3581).

use crate::text;
use crate::{Error, Host, Params};
use std::net::IpAddr;

/// The magic cookie that a branch begins with (RFC 3261 section 8.1.1.7).
const COOKIE: &str = "z9hG4bK";

/// One Via element.
#[derive(Clone, Copy, Debug)]
pub struct Via<'a> {
    /// `UDP`, `TCP`, `TLS`, `WS`, `WSS`, or another.
    pub transport: &'a str,
    /// The host of sent-by.
    pub host: Host<'a>,
    /// The port of sent-by.
    pub port: Option<u16>,
    /// The parameters.
    pub params: Params<'a>,
}

impl<'a> Via<'a> {
    /// Parses one element.
    pub fn parse(text: &'a str) -> Result<Self, Error> {
        Self::read(text).ok_or(Error::Value)
    }

    fn read(text: &'a str) -> Option<Self> {
        let (name, rest) = text::take(text::trim_start(text), text::TOKEN);
        let rest = text::trim_start(text::trim_start(rest).strip_prefix('/')?);
        let (version, rest) = text::take(rest, text::TOKEN);
        let rest = text::trim_start(text::trim_start(rest).strip_prefix('/')?);
        let (transport, rest) = text::take(rest, text::TOKEN);
        let spaced = rest.bytes().next().is_some_and(|b| text::is(b, text::LWS));
        if !name.eq_ignore_ascii_case("SIP") || version != "2.0" || transport.is_empty() || !spaced {
            return None;
        }
        let (place, params) = rest.split_at_checked(text::find(rest, b';').unwrap_or(rest.len()))?;
        let (host, port) = Host::parse_port(text::trim(place))?;
        let params = Params::new(text::trim(params));
        params.is_generic().then_some(Self { transport, host, port, params })
    }

    /// The branch.
    pub fn branch(&self) -> Option<&'a str> {
        self.params.value("branch").filter(|branch| !branch.is_empty())
    }

    /// True if the branch follows RFC 3261 and so names its transaction: the cookie and something after it
    /// (RFC 4475 section 3.2.1). The cookie is compared without case, as tokens are.
    pub fn has_cookie(&self) -> bool {
        let parts = self.branch().and_then(|branch| branch.split_at_checked(COOKIE.len()));
        parts.is_some_and(|(cookie, rest)| cookie.eq_ignore_ascii_case(COOKIE) && !rest.is_empty())
    }

    /// The `received` parameter; IPv6 with or without brackets (RFC 5118 section 4.5).
    pub fn received(&self) -> Option<IpAddr> {
        Host::parse(self.params.value("received")?)?.ip()
    }

    /// The `rport` parameter: `Some(None)` for the flag in a request, `Some(Some(port))` once filled (RFC 3581).
    pub fn rport(&self) -> Option<Option<u16>> {
        let param = self.params.find("rport")?;
        Some(param.value.and_then(|value| text::number(value)?.try_into().ok()))
    }

    /// The `maddr` parameter.
    pub fn maddr(&self) -> Option<Host<'a>> {
        Host::parse(self.params.value("maddr")?)
    }

    /// The `ttl` parameter.
    pub fn ttl(&self) -> Option<u8> {
        text::number(self.params.value("ttl")?)?.try_into().ok()
    }
}
