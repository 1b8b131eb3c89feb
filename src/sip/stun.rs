//! STUN as a keep-alive of phones over UDP (RFC 5626 section 4.4.2): a Binding request on the SIP port is answered with
//! the address that it came from.

use std::net::{IpAddr, SocketAddr};

const HEADER: usize = 20;
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const BINDING_REQUEST: [u8; 2] = [0, 1];
const BINDING_SUCCESS: [u8; 2] = [1, 1];
const XOR_MAPPED_ADDRESS: [u8; 2] = [0, 0x20];

/// Whether a datagram is STUN rather than SIP (RFC 5764 section 5.1.2).
pub fn is_stun(data: &[u8]) -> bool {
    data.first().is_some_and(|first| *first <= 3)
}

/// The answer to a Binding request from there; `None` to everything else.
pub fn answer_stun(request: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
    let (header, rest) = request.split_at_checked(HEADER)?;
    let length = usize::from(u16::from_be_bytes([*header.get(2)?, *header.get(3)?]));
    let sound = header.starts_with(&BINDING_REQUEST)
        && header.get(4..8)? == COOKIE
        && length == rest.len()
        && length.is_multiple_of(4);
    if !sound {
        return None;
    }
    let from = SocketAddr::new(from.ip().to_canonical(), from.port());
    // RFC 8489 section 14.2: an IPv6 address is hidden by the cookie and the transaction, an IPv4 one by the cookie.
    let (family, address) = match from.ip() {
        IpAddr::V4(ip) => (1, ip.octets().to_vec()),
        IpAddr::V6(ip) => (2, ip.octets().to_vec()),
    };
    let mask = header.get(4..HEADER)?;
    let hidden = address.iter().zip(mask).map(|(byte, mask)| byte ^ mask);
    let port = (from.port() ^ 0x2112).to_be_bytes();
    let mut answer = Vec::with_capacity(HEADER + 24);
    answer.extend(BINDING_SUCCESS);
    answer.extend((address.len() as u16 + 8).to_be_bytes());
    answer.extend(mask);
    answer.extend(XOR_MAPPED_ADDRESS);
    answer.extend((address.len() as u16 + 4).to_be_bytes());
    answer.extend([0, family, port[0], port[1]]);
    answer.extend(hidden);
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The responses of RFC 5769 sections 2.2 and 2.3, without what is signed.
    #[test]
    fn the_address_is_hidden_as_in_the_test_vectors() {
        let request = b"\x00\x01\x00\x00\x21\x12\xa4\x42\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae";
        let v4 = answer_stun(request, "192.0.2.1:32853".parse().unwrap()).unwrap();
        assert_eq!(v4[20..], *b"\x00\x20\x00\x08\x00\x01\xa1\x47\xe1\x12\xa6\x43");
        assert_eq!(v4[..4], [1, 1, 0, 12]);
        assert_eq!(v4[4..20], request[4..]);
        let from = "[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap();
        let v6 = answer_stun(request, from).unwrap();
        let hidden = b"\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9";
        assert_eq!(v6[20..], [&b"\x00\x20\x00\x14\x00\x02\xa1\x47"[..], hidden].concat());
    }

    #[test]
    fn nothing_else_is_answered() {
        let from = "192.0.2.1:1".parse().unwrap();
        let mut sound = [0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        assert!(is_stun(&sound) && answer_stun(&sound, from).is_some());
        for (at, byte) in [(0, 1), (1, 2), (3, 4), (4, 0)] {
            let before = std::mem::replace(&mut sound[at], byte);
            assert_eq!(answer_stun(&sound, from), None, "byte {at}");
            sound[at] = before;
        }
        assert_eq!(answer_stun(&sound[..19], from), None);
        assert!(!is_stun(b"INVITE") && !is_stun(b"\r\n") && !is_stun(b""));
    }
}
