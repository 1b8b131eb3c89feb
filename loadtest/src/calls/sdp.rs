//! Descriptions: the few lines that the generator's two sides say, and what it reads of the gateway's.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

/// What the first audio stream of a description says.
#[derive(Clone, Debug, Default)]
pub struct Described {
    /// Connection address and port.
    pub media: Option<SocketAddrV4>,
    /// ICE credentials.
    pub ufrag: String,
    /// ICE credentials.
    pub pwd: String,
    /// The first candidate that is UDP over IPv4.
    pub candidate: Option<SocketAddrV4>,
    /// SHA-256 of the certificate.
    pub fingerprint: Vec<u8>,
    /// Payload types.
    pub types: Vec<u8>,
}

fn candidate(value: &str) -> Option<SocketAddrV4> {
    let parts: Vec<&str> = value.split(' ').collect();
    let [_, "1", transport, _, ip, port, ..] = parts[..] else { return None };
    let IpAddr::V4(ip) = ip.parse().ok()? else { return None };
    transport.eq_ignore_ascii_case("udp").then_some(SocketAddrV4::new(ip, port.parse().ok()?))
}

impl Described {
    /// Reads a description by its lines.
    pub fn read(text: &str) -> Described {
        let mut described = Described::default();
        let (mut ip, mut port) = (None, 0);
        for line in text.lines() {
            let Some((kind, value)) = line.trim_end().split_once('=') else { continue };
            match kind {
                "c" => ip = value.rsplit(' ').next().and_then(|ip| ip.parse::<Ipv4Addr>().ok()),
                "m" => {
                    let mut parts = value.split(' ').skip(1);
                    port = parts.next().and_then(|port| port.parse().ok()).unwrap_or(0);
                    described.types = parts.skip(1).filter_map(|one| one.parse().ok()).collect();
                }
                "a" => described.attribute(value),
                _ => {}
            }
        }
        described.media = ip.map(|ip| SocketAddrV4::new(ip, port));
        described
    }

    fn attribute(&mut self, line: &str) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        match name {
            "ice-ufrag" => self.ufrag = value.into(),
            "ice-pwd" => self.pwd = value.into(),
            "candidate" => self.candidate = self.candidate.or_else(|| candidate(value)),
            "fingerprint" => {
                let hex = value.split(' ').nth(1).unwrap_or("");
                self.fingerprint =
                    hex.split(':').filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
            }
            _ => {}
        }
    }
}

/// A browser's offer: PCMU and keys, ICE, DTLS in either role.
pub fn offer(number: u64, ssrc: u32, ufrag: &str, pwd: &str, fingerprint: &str, at: SocketAddr) -> String {
    format!(
        "v=0\r\no=- {number} 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 0 126\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\n\
         a=candidate:1 1 udp 2122260223 {ip} {port} typ host\r\n\
         a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\na=ice-options:trickle\r\na=fingerprint:sha-256 {fingerprint}\r\n\
         a=setup:actpass\r\na=mid:0\r\na=sendrecv\r\na=rtcp-mux\r\na=rtpmap:0 PCMU/8000\r\n\
         a=rtpmap:126 telephone-event/8000\r\na=ssrc:{ssrc} cname:load{number}\r\n",
        ip = at.ip(),
        port = at.port(),
    )
}

/// A SIP party's answer: PCMU at this address, and RTCP too (RFC 3605), so that a party is one address.
pub fn answer(number: u64, media: SocketAddrV4) -> String {
    let (ip, port) = (media.ip(), media.port());
    format!(
        "v=0\r\no=load {number} 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n\
         a=rtcp:{port}\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20\r\n"
    )
}

/// Bytes as a fingerprint is written.
pub fn colons(digest: &[u8]) -> String {
    let mut text = String::with_capacity(digest.len() * 3);
    for (n, byte) in digest.iter().enumerate() {
        let _ = write!(text, "{}{byte:02X}", if n > 0 { ":" } else { "" });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let at = "127.9.8.7:4000".parse().unwrap();
        let text = offer(7, 9, "uf", "pw", &colons(&[0xab, 1]), at);
        let described = Described::read(&text);
        assert_eq!((described.ufrag.as_str(), described.pwd.as_str()), ("uf", "pw"));
        assert_eq!(described.candidate.map(SocketAddr::V4), Some(at));
        assert_eq!((described.fingerprint, described.types), (vec![0xab, 1], vec![0, 126]));
        let SocketAddr::V4(media) = at else { panic!() };
        assert_eq!(Described::read(&answer(7, media)).media, Some(media));
    }
}
