//! Hosts in URIs and Via.

use crate::text;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A host: a name or an address (RFC 3261 section 25.1, RFC 5954).
#[derive(Clone, Copy, Debug)]
pub enum Host<'a> {
    /// A name.
    Name(&'a str),
    /// An address; IPv6 in brackets.
    Ip(IpAddr),
}

impl<'a> Host<'a> {
    /// A host alone, without port; IPv6 with or without its brackets.
    pub fn parse(text: &'a str) -> Option<Self> {
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']')?;
            return inner.parse().ok().or_else(|| three_colons(inner)).map(|a: Ipv6Addr| Self::Ip(a.into()));
        }
        if text.as_bytes().first()?.is_ascii_digit()
            && let Ok(address) = text.parse::<Ipv4Addr>()
        {
            return Some(Self::Ip(address.into()));
        }
        if text::all(text, text::HOST) {
            return Some(Self::Name(text));
        }
        text.parse::<Ipv6Addr>().ok().map(|a| Self::Ip(a.into()))
    }

    /// A host with an optional port, white space around the colon allowed as in Via.
    pub(crate) fn parse_port(text: &'a str) -> Option<(Self, Option<u16>)> {
        let colon = if text.starts_with('[') {
            text::find(text, b']')? + 1
        } else {
            text::find(text, b':').unwrap_or(text.len())
        };
        let (host, rest) = text.split_at_checked(colon)?;
        let host = text::trim(host);
        // Bare IPv6 is no host here: its last group would pass for a port.
        let host = Self::parse(host)?;
        let rest = text::trim(rest);
        if rest.is_empty() {
            return Some((host, None));
        }
        let port = text::number(text::trim(rest.strip_prefix(':')?))?;
        Some((host, Some(u16::try_from(port).ok()?)))
    }

    /// The address, if it is one.
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Ip(ip) => Some(ip),
            Self::Name(_) => None,
        }
    }
}

/// The grammar of RFC 3261 lets a third colon stand before an embedded IPv4 address, which is to be tolerated
/// (RFC 5118 section 4.10).
fn three_colons(text: &str) -> Option<Ipv6Addr> {
    let (head, tail) = text.split_once(":::")?;
    let mut copy = [0; 48];
    let (mut len, parts) = (0, [head, "::", tail]);
    for byte in parts.iter().filter(|_| tail.contains('.') && !tail.contains(':')).flat_map(|p| p.bytes()) {
        *copy.get_mut(len)? = byte;
        len += 1;
    }
    std::str::from_utf8(copy.get(..len)?).ok()?.parse().ok()
}

impl PartialEq for Host<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Name(a), Self::Name(b)) => a.eq_ignore_ascii_case(b),
            (Self::Ip(a), Self::Ip(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Host<'_> {}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(ip)) => ip.fmt(f),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

impl From<IpAddr> for Host<'_> {
    fn from(ip: IpAddr) -> Self {
        Self::Ip(ip)
    }
}
