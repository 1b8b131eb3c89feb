//! Responses, and where they go (RFC 3261 section 18.2.2, RFC 3581).

use sip_codec::{Message, Name, Via, Writer};
use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;

/// What we understand.
pub const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, REGISTER, INFO";

/// Where the response to a request from `source` goes.
pub fn address(via: &Via<'_>, source: SocketAddr) -> SocketAddr {
    match via.rport() {
        Some(_) => source,
        None => (source.ip(), via.port.unwrap_or(5060)).into(),
    }
}

/// A response to `request`; `None` where it has no Via to go by.
pub fn write(
    request: &Message<'_>,
    source: SocketAddr,
    status: (u16, &str),
    tag: Option<&str>,
    headers: &[(Name<'_>, String)],
) -> Option<(SocketAddr, Vec<u8>)> {
    let to = address(&request.via().ok()?, source);
    let mut data = Vec::with_capacity(512);
    let mut writer = Writer::response(&mut data, status.0, status.1);
    writer.reply_to(request, source, tag);
    for (name, value) in headers {
        writer.text(*name, value);
    }
    writer.finish().ok()?;
    Some((to, data))
}

/// A request's topmost Via as a proxy passes it on: with the address that the request came from.
pub struct Stamped<'a> {
    /// As it came.
    pub via: Via<'a>,
    /// Whence.
    pub source: SocketAddr,
}

impl Display for Stamped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "SIP/2.0/{} {}", self.via.transport, self.via.host)?;
        if let Some(port) = self.via.port {
            write!(f, ":{port}")?;
        }
        for param in self.via.params {
            if param.name.eq_ignore_ascii_case("received") || param.name.eq_ignore_ascii_case("rport") {
                continue;
            }
            write!(f, ";{}", param.name)?;
            if let Some(value) = param.value {
                write!(f, "={value}")?;
            }
        }
        write!(f, ";received={}", self.source.ip())?;
        if self.via.rport().is_some() {
            write!(f, ";rport={}", self.source.port())?;
        }
        Ok(())
    }
}
