//! What a phone behind a NAT says of where it hears media (RFC 7362 section 4).

use crate::sdp::{Connection, Session};
use crate::sip::rules::is_inside;
use std::net::IpAddr;

/// Puts the address that a phone's SIP came from in place of private ones that it says itself. Its port is learned from
/// the first packets, which must come from that address. With ICE the phone finds its way by itself.
pub(super) fn mend(session: &mut Session, source: IpAddr) {
    for n in 0..session.media.len() {
        let media = &session.media[n];
        if session.ice(media).ufrag.is_some() || media.rejected() {
            continue;
        }
        let said = session.connection(media).and_then(|connection| connection.address.ip());
        if said.is_none_or(|said| said == source || !is_inside(said)) {
            continue;
        }
        let media = &mut session.media[n];
        media.connection = Some(Connection::from(source));
        if let Some(rtcp) = &mut media.rtcp {
            rtcp.address = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mended(connection: &str, rest: &str) -> String {
        let text = format!(
            "v=0\r\no=- 1 1 IN IP4 10.0.0.5\r\ns=-\r\nc=IN IP4 {connection}\r\nt=0 0\r\n\
             m=audio 4000 RTP/AVP 0\r\n{rest}"
        );
        let mut session = Session::parse(text.as_bytes()).unwrap();
        mend(&mut session, "203.0.113.9".parse().unwrap());
        let media = &session.media[0];
        session.connection(media).and_then(|c| c.address.ip()).map(|ip| ip.to_string()).unwrap_or_default()
    }

    #[test]
    fn private_addresses_give_way_to_that_of_the_signalling() {
        for private in ["10.0.0.5", "172.20.1.1", "192.168.1.7", "100.64.0.1", "169.254.9.9", "127.0.0.1"] {
            assert_eq!(mended(private, ""), "203.0.113.9");
        }
    }

    #[test]
    fn public_addresses_holds_and_ice_stay_as_they_are() {
        assert_eq!(mended("198.51.100.4", ""), "198.51.100.4");
        assert_eq!(mended("0.0.0.0", ""), "0.0.0.0");
        assert_eq!(
            mended("10.0.0.5", "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n"),
            "10.0.0.5"
        );
    }
}
