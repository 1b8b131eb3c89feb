//! The session part of a description: origin, addresses, timing, groups, and what media inherit from it.

use super::media::{Attribute, Direction, Fingerprint, Ice, Kind, Media, Setup};
use std::fmt;
use std::net::IpAddr;

/// A session description.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Session {
    /// `o=`: who made it, and which version of it this is.
    pub origin: Origin,
    /// `s=`; `-` where there is none.
    pub name: String,
    /// `i=`.
    pub information: Option<String>,
    /// `u=`.
    pub uri: Option<String>,
    /// `e=`.
    pub emails: Vec<String>,
    /// `p=`.
    pub phones: Vec<String>,
    /// `c=` for all media that have none of their own.
    pub connection: Option<Connection>,
    /// `b=`.
    pub bandwidths: Vec<Bandwidth>,
    /// `t=`, with `r=`. Empty is written, and missing is read, as `t=0 0`.
    pub timings: Vec<Timing>,
    /// `z=`.
    pub zone: Option<String>,
    /// `a=group` (RFC 5888, RFC 9143).
    pub groups: Vec<Group>,
    /// Direction of all media that say none.
    pub direction: Option<Direction>,
    /// ICE credentials and options for all media that have none.
    pub ice: Ice,
    /// `a=ice-lite`.
    pub ice_lite: bool,
    /// `a=fingerprint` for all media that have none.
    pub fingerprints: Vec<Fingerprint>,
    /// `a=setup` for all media that have none.
    pub setup: Option<Setup>,
    /// `a=extmap-allow-mixed` (RFC 8285 section 6) for all media.
    pub extmap_allow_mixed: bool,
    /// All other attributes, in order.
    pub other: Vec<Attribute>,
    /// The media descriptions, in order.
    pub media: Vec<Media>,
}

/// `o=` (RFC 8866 section 5.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// User name, `-` for none.
    pub user: String,
    /// Session id: digits, of any length.
    pub id: String,
    /// Session version: digits, of any length.
    pub version: String,
    /// The maker's address.
    pub address: Address,
}

impl Default for Origin {
    fn default() -> Self {
        Origin {
            user: "-".into(),
            id: "0".into(),
            version: "0".into(),
            address: Address::Ip(IpAddr::from([127, 0, 0, 1])),
        }
    }
}

/// An address as descriptions write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A literal.
    Ip(IpAddr),
    /// A host name, and whether its type was `IP6`. Never resolved here.
    Host(String, bool),
}

impl Address {
    /// The literal, if it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Address::Ip(ip) => Some(*ip),
            Address::Host(..) => None,
        }
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        Address::Ip(ip)
    }
}

impl fmt::Display for Address {
    /// As `IP4 192.0.2.1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Ip(ip) => write!(f, "{} {ip}", if ip.is_ipv4() { "IP4" } else { "IP6" }),
            Address::Host(host, v6) => write!(f, "{} {host}", if *v6 { "IP6" } else { "IP4" }),
        }
    }
}

/// `c=` (RFC 8866 section 5.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The address.
    pub address: Address,
    /// Time to live of an IPv4 multicast address.
    pub ttl: Option<u8>,
    /// Number of contiguous multicast addresses.
    pub count: Option<u16>,
}

impl From<IpAddr> for Connection {
    fn from(ip: IpAddr) -> Self {
        Connection { address: Address::Ip(ip), ttl: None, count: None }
    }
}

/// `b=` (RFC 8866 section 5.8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bandwidth {
    /// `AS`, `CT`, `TIAS`, …
    pub kind: String,
    /// The value in the unit that the kind says.
    pub value: u64,
}

/// `t=` (RFC 8866 section 5.9), in seconds since 1900; 0 for unbounded.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Timing {
    /// From when on.
    pub start: u64,
    /// Until when.
    pub stop: u64,
    /// `r=` lines, unread.
    pub repeats: Vec<String>,
}

/// `a=group` (RFC 5888 section 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// `BUNDLE`, `LS`, …
    pub semantics: String,
    /// The `a=mid` values that it names.
    pub mids: Vec<String>,
}

impl Session {
    /// The address of a media description: its own, else the session's.
    pub fn connection<'a>(&'a self, media: &'a Media) -> Option<&'a Connection> {
        media.connection.as_ref().or(self.connection.as_ref())
    }

    /// The direction of a media description: its own, else the session's, else both ways (RFC 8866 section 6.7).
    pub fn direction(&self, media: &Media) -> Direction {
        media.direction.or(self.direction).unwrap_or_default()
    }

    /// The ICE credentials of a media description: its own pair, else the session's (RFC 8839 section 5.4).
    pub fn ice<'a>(&'a self, media: &'a Media) -> &'a Ice {
        if media.ice.ufrag.is_some() || media.ice.pwd.is_some() { &media.ice } else { &self.ice }
    }

    /// The fingerprints of a media description: its own, else the session's (RFC 8122 section 5).
    pub fn fingerprints<'a>(&'a self, media: &'a Media) -> &'a [Fingerprint] {
        if media.fingerprints.is_empty() { &self.fingerprints } else { &media.fingerprints }
    }

    /// The DTLS role of a media description: its own, else the session's.
    pub fn setup(&self, media: &Media) -> Option<Setup> {
        media.setup.or(self.setup)
    }

    /// The first media description of a kind that is not rejected (port 0), and its place.
    ///
    /// A `bundle-only` description has port 0 and is not rejected (RFC 9143 section 6).
    pub fn first(&self, kind: &Kind) -> Option<(usize, &Media)> {
        self.media.iter().enumerate().find(|(_, media)| media.kind == *kind && !media.rejected())
    }

    /// The `BUNDLE` group that names this mid.
    pub fn bundle(&self, mid: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.semantics == "BUNDLE" && group.mids.iter().any(|m| m == mid))
    }
}
