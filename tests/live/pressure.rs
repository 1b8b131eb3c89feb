//! A shard under pressure: whoever sends much waits for itself, not the others.

use crate::rig::{PROFILES, Rig, browser, config, localhost, rtp};
use bridgehead::base::Packet;
use bridgehead::media::Command;
use bridgehead::shard::Config;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

fn count(rig: &Rig, room: &str, name: &str) -> u64 {
    let counters = rig.shard.snapshot().counters;
    counters.iter().find(|(r, n, _)| (*r, *n) == (room, name)).map_or(0, |(_, _, value)| *value)
}

/// Two neighbouring ports, for RTP and RTCP.
fn pair() -> [UdpSocket; 2] {
    for _ in 0..100 {
        let rtp = UdpSocket::bind(localhost(0)).unwrap();
        let port = rtp.local_addr().unwrap().port();
        if let Ok(rtcp) = UdpSocket::bind(localhost(port.saturating_add(1))) {
            rtp.set_nonblocking(true).unwrap();
            rtcp.set_nonblocking(true).unwrap();
            return [rtp, rtcp];
        }
    }
    panic!("no two neighbouring ports");
}

#[test]
fn a_phone_hears_the_bye_of_a_leg_that_closes() {
    let mut rig = Rig::new(config());
    let page = UdpSocket::bind(localhost(0)).unwrap();
    let [party, reports] = pair();
    let bridge = rig.bridge(PROFILES[0], page.local_addr().unwrap(), party.local_addr().unwrap());
    let (mut send, _) = browser(&bridge.keys);
    let (mut packet, mut buffer) = (Packet::default(), [0; 2048]);
    rtp(&mut packet, 7, 1);
    send.protect(1, &mut packet).unwrap();
    page.send_to(packet.bytes(), rig.web).unwrap();
    while party.recv(&mut buffer).is_err() {
        rig.pass();
    }
    rig.media(Command::Close { leg: bridge.rtp_leg });
    rig.shard.pass(Some(Duration::ZERO)).unwrap();
    let length = reports.recv(&mut buffer).expect("RTCP at the end");
    // RFC 3550 section 6.6: the last packet of the compound is a BYE of one source.
    assert_eq!(buffer[length - 8..length - 6], [0x81, 203]);
}

fn connect(rig: &mut Rig, http: SocketAddr, user: &str) -> TcpStream {
    let mut stream = TcpStream::connect(http).unwrap();
    stream.set_nonblocking(true).unwrap();
    let upgrade = format!(
        "GET /v1/ws HTTP/1.1\r\nHost: {http}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: bridgehead.v1\r\n\r\n"
    );
    stream.write_all(upgrade.as_bytes()).unwrap();
    let text = format!(r#"{{"type":"connect","id":1,"version":1,"user":"{user}","password":"x"}}"#);
    stream.write_all(&frame(&text)).unwrap();
    let (mut heard, mut buffer) = (Vec::new(), [0; 4096]);
    while !String::from_utf8_lossy(&heard).contains(r#""type":"ok""#) {
        rig.pass();
        if let Ok(length) = stream.read(&mut buffer) {
            heard.extend_from_slice(&buffer[..length]);
        }
    }
    stream
}

/// A masked text frame (RFC 6455 section 5.2), with an empty mask.
fn frame(text: &str) -> Vec<u8> {
    assert!(text.len() < 126);
    [&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0], text.as_bytes()].concat()
}

fn with_users(count: usize) -> Config {
    let mut config = config();
    let mut signal = bridgehead::signal::Config::default();
    (0..count).for_each(|n| signal.add_user(&format!("user{n}"), "x", ""));
    config.signal = Arc::new(signal);
    config
}

#[test]
fn a_pass_has_only_so_much_time_for_browsers_that_flood() {
    const BROWSERS: usize = 16;
    let mut rig = Rig::new(with_users(BROWSERS));
    let http = rig.http.unwrap();
    let streams: Vec<TcpStream> =
        (0..BROWSERS).map(|n| connect(&mut rig, http, &format!("user{n}"))).collect();
    let flood = frame(r#"{"type":"ping","id":2}"#).repeat(4000);
    // 2000 messages fit the kernel's buffers for sure.
    for mut stream in &streams {
        assert!(stream.write(&flood).unwrap() >= 2000 * flood.len() / 4000);
    }
    let (before, unsettled) = (count(&rig, "signal", "messages"), count(&rig, "shard", "unsettled"));
    rig.shard.pass(Some(Duration::ZERO)).unwrap();
    let handled = count(&rig, "signal", "messages") - before;
    assert!(handled <= 3000, "{handled} messages in one pass");
    assert_eq!(count(&rig, "shard", "unsettled") - unsettled, 0);
    // And none is forgotten: all are answered, each browser in its turn.
    let all = BROWSERS as u64 * 2000;
    for _ in 0..2000 {
        rig.shard.pass(Some(Duration::ZERO)).unwrap();
        for mut stream in &streams {
            while stream.read(&mut [0; 4096]).is_ok_and(|length| length > 0) {}
        }
    }
    let handled = count(&rig, "signal", "messages") - before;
    assert!(handled >= all, "{handled}");
}
