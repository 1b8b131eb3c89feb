//! Where a request goes: one way to a server (RFC 3263 section 4), and what a URI says of it.

use super::Transport;
use sip_codec::{Host, Scheme, Uri};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// One way to a server.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Hop {
    /// The transport. WebSocket is only ever spoken to us: such a hop can't be reached.
    pub transport: Transport,
    /// The address.
    pub address: SocketAddr,
    /// Over TLS, the domain that the certificate must name (RFC 5922 section 7.2); the address itself where absent.
    pub name: Option<Arc<str>>,
}

impl Hop {
    /// A way over UDP.
    pub fn udp(address: SocketAddr) -> Hop {
        Hop { transport: Transport::Udp, address, name: None }
    }
}

/// What a URI's own words say of the way to it, without DNS.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Place {
    /// The transport, where it names one.
    pub transport: Option<Transport>,
    /// Its address literal and port, where it has one that can be sent to.
    pub address: Option<SocketAddr>,
}

impl Place {
    /// Reads it off a URI (RFC 3261 section 19.1.1, RFC 3263 section 4.1).
    pub fn of(uri: &Uri<'_>) -> Place {
        let named = uri.params.value("transport").and_then(Transport::parse);
        let transport = match (uri.scheme, named) {
            // Section 26.2.2: TLS, whatever it runs on.
            (Scheme::Sips, Some(Transport::Ws | Transport::Wss)) => Some(Transport::Wss),
            (Scheme::Sips, _) => Some(Transport::Tls),
            (_, named) => named,
        };
        let literal = match (uri.params.value("maddr").and_then(Host::parse), uri.host) {
            (Some(Host::Ip(ip)), _) | (_, Some(Host::Ip(ip))) => Some(ip),
            _ => None,
        };
        let port = uri.port.filter(|port| *port != 0);
        let port = port.unwrap_or(transport.map_or(5060, Transport::port));
        let address = literal.filter(is_sound).map(|ip| SocketAddr::new(ip, port));
        Place { transport, address }
    }
}

/// Whether anything can be sent there.
fn is_sound(ip: &IpAddr) -> bool {
    !ip.is_unspecified() && !ip.is_multicast()
}

impl Transport {
    /// Whether it is a connection.
    pub fn is_stream(self) -> bool {
        self != Transport::Udp
    }

    /// Whether it runs under TLS.
    pub fn is_secure(self) -> bool {
        matches!(self, Transport::Tls | Transport::Wss)
    }

    /// The name in Via.
    pub fn name(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
            Transport::Ws => "WS",
            Transport::Wss => "WSS",
        }
    }

    /// The name in the `transport` parameter of a URI; both kinds of WebSocket are `ws` (RFC 7118 section 5.2).
    pub fn param(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
            Transport::Ws | Transport::Wss => "ws",
        }
    }

    /// The port where a URI names none (RFC 3261 section 19.1.2, RFC 7118 section 5.4).
    pub fn port(self) -> u16 {
        match self {
            Transport::Udp | Transport::Tcp => 5060,
            Transport::Tls => 5061,
            Transport::Ws => 80,
            Transport::Wss => 443,
        }
    }

    /// The transport of a `transport` parameter.
    pub(super) fn parse(name: &str) -> Option<Transport> {
        let all = [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss];
        all.into_iter().find(|transport| transport.name().eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_says_its_transport_and_its_address() {
        let table = [
            ("sip:b@192.0.2.1", None, Some("192.0.2.1:5060")),
            ("sip:b@192.0.2.1:5070;transport=TCP", Some(Transport::Tcp), Some("192.0.2.1:5070")),
            ("sip:b@192.0.2.1;transport=tls", Some(Transport::Tls), Some("192.0.2.1:5061")),
            ("sips:b@[2001:db8::1]", Some(Transport::Tls), Some("[2001:db8::1]:5061")),
            ("sips:b@192.0.2.1:5062;transport=tcp", Some(Transport::Tls), Some("192.0.2.1:5062")),
            ("sip:b@x.invalid;transport=ws", Some(Transport::Ws), None),
            ("sips:b@x.invalid;transport=ws", Some(Transport::Wss), None),
            ("sip:b@x.example;maddr=192.0.2.7", None, Some("192.0.2.7:5060")),
            ("sip:b@x.example;transport=sctp", None, None),
            ("sip:b@0.0.0.0", None, None),
            ("sip:b@224.0.1.75", None, None),
        ];
        for (text, transport, address) in table {
            let place = Place::of(&Uri::parse(text).unwrap());
            let address = address.map(|address: &str| address.parse().unwrap());
            assert_eq!(place, Place { transport, address }, "{text}");
        }
    }
}
