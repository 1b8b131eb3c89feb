//! A floor between two parties that are plain sockets.

use super::*;
use bridgehead::base::Packet;
use bridgehead::media::srtp::{Receive, Send};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

const MESSAGE: &[u8] = b"\x80\x00\x00\x07\x00\x00\x00\x01\x00\x00\x00\x02 heard across the floor";

fn party() -> (UdpSocket, SocketAddrV4) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let SocketAddr::V4(address) = socket.local_addr().unwrap() else { panic!("IPv4") };
    (socket, address)
}

/// What one packet of `from` to a leg becomes on its way through the floor to `at`.
fn carry(
    forwarder: &mut Forwarder,
    from: &UdpSocket,
    leg: SocketAddrV4,
    at: &UdpSocket,
    sent: &[u8],
) -> Vec<u8> {
    from.send_to(sent, leg).unwrap();
    forwarder.pass();
    let mut buffer = [0; 2048];
    let (length, _) = at.recv_from(&mut buffer).unwrap();
    buffer[..length].to_vec()
}

#[test]
fn every_shape_carries_both_ways_with_every_crypto() {
    for shape in [Shape::Legs, Shape::Web, Shape::Shared] {
        for crypto in [Crypto::Clear, Crypto::Sha1, Crypto::Gcm] {
            let mut forwarder = Forwarder::new(shape).unwrap();
            for seed in 1..=3 {
                let ((web, web_address), (sip, sip_address)) = (party(), party());
                let keys = crypto.profile().map(|profile| Keys {
                    profile,
                    receive: [seed; 46],
                    send: [seed + 100; 46],
                });
                let call = Call { web: web_address, sip: sip_address, keys: keys.clone() };
                // As a floor hears of it.
                let told = Call::parse(call.line().trim_end(), crypto.profile()).unwrap();
                let [web_leg, sip_leg] = forwarder.add(&told).unwrap();
                let mut packet = Packet::default();
                assert!(packet.fill(MESSAGE));
                if let Some(keys) = &keys {
                    Send::new(keys.profile, &keys.receive, 1).protect(7, &mut packet).unwrap();
                    assert_ne!(packet.bytes(), MESSAGE);
                }
                assert_eq!(carry(&mut forwarder, &web, web_leg, &sip, packet.bytes()), MESSAGE);
                let down = carry(&mut forwarder, &sip, sip_leg, &web, MESSAGE);
                assert!(packet.fill(&down));
                if let Some(keys) = &keys {
                    assert_ne!(down, MESSAGE);
                    Receive::new(keys.profile, &keys.send, 1).unprotect(&mut packet).unwrap();
                }
                // Ciphered packets are counted anew; all else is as it was sent.
                assert_eq!(packet.bytes()[4..], MESSAGE[4..], "{shape:?} {crypto:?}");
            }
        }
    }
}

#[test]
fn a_line_that_is_no_call_is_refused() {
    let keys = "00".repeat(46);
    let sha1 = Crypto::Sha1.profile();
    assert!(Call::parse(&format!("call 127.0.0.1:1 127.0.0.1:2 {keys} {keys}"), sha1).is_some());
    for line in ["", "call", "call 127.0.0.1:1", "call x y", "call 127.0.0.1:1 127.0.0.1:2"] {
        assert!(Call::parse(line, sha1).is_none(), "{line}");
    }
    assert!(Call::parse(&format!("call 127.0.0.1:1 127.0.0.1:2 {keys} {keys}"), None).is_none());
    assert!(Call::parse(&format!("call 127.0.0.1:1 127.0.0.1:2 {keys} {keys}0"), sha1).is_none());
}
