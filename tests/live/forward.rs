//! Media from socket to socket through a whole shard: it arrives, and nothing is allocated for it.

use crate::counting::allocations;
use crate::rig::{PROFILES, Rig, browser, config, rtp, sharing};
use bridgehead::base::Packet;
use bridgehead::shard::Config;
use std::net::UdpSocket;
use std::time::Duration;

fn far() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// Runs the shard until the socket has something. Gives its length and the allocations made meanwhile.
fn hear(rig: &mut Rig, socket: &UdpSocket, buffer: &mut [u8]) -> (usize, u64) {
    let before = allocations();
    for _ in 0..500 {
        rig.pass();
        if let Ok(length) = socket.recv(buffer) {
            return (length, allocations() - before);
        }
    }
    panic!("nothing was heard");
}

#[test]
fn nothing_is_allocated_from_socket_to_socket_in_either_direction_and_every_profile() {
    for profile in PROFILES {
        let mut rig = Rig::new(config());
        rig.shard = rig.shard.unchecked();
        let (page, party) = (far(), far());
        let bridge = rig.bridge(profile, page.local_addr().unwrap(), party.local_addr().unwrap());
        let (mut send, mut receive) = browser(&bridge.keys);
        let mut buffer = [0; 2048];
        let (mut up, mut down) = (0, 0);
        for n in 0..600 {
            let mut packet = Packet::default();
            rtp(&mut packet, 7, n);
            send.protect(n, &mut packet).unwrap();
            page.send_to(packet.bytes(), rig.web).unwrap();
            let (length, made) = hear(&mut rig, &party, &mut buffer);
            assert_eq!((length, buffer[0], buffer[1] & 0x7f), (172, 0x80, 0), "{profile:?}");
            assert_eq!(buffer[12..172], [0x55; 160]);
            up += if n < 100 { 0 } else { made };

            rtp(&mut packet, 9, n);
            party.send_to(packet.bytes(), bridge.rtp).unwrap();
            let (length, made) = hear(&mut rig, &page, &mut buffer);
            assert_eq!(length, 172 + profile.tag_length());
            down += if n < 100 { 0 } else { made };
            assert!(packet.fill(&buffer[..length]));
            receive.unprotect(&mut packet).unwrap();
            assert_eq!(packet.bytes()[12..], [0x55; 160]);
        }
        assert_eq!((up, down), (0, 0), "{profile:?}: allocations for 500 packets each way");
    }
}

#[test]
fn nothing_is_allocated_between_two_phones() {
    between_two_phones(config());
    between_two_phones(sharing());
}

fn between_two_phones(config: Config) {
    let mut rig = Rig::new(config);
    rig.shard = rig.shard.unchecked();
    let phones = [far(), far()];
    let ports = rig.relay(phones[0].local_addr().unwrap(), phones[1].local_addr().unwrap());
    let (mut packet, mut buffer, mut all) = (Packet::default(), [0; 2048], 0);
    for n in 0..400 {
        for side in [0, 1] {
            rtp(&mut packet, 7 + side as u32, n);
            phones[side].send_to(packet.bytes(), ports[side]).unwrap();
            let (length, made) = hear(&mut rig, &phones[1 - side], &mut buffer);
            assert_eq!(buffer[12..length], [0x55; 160]);
            all += if n < 100 { 0 } else { made };
        }
    }
    assert_eq!(all, 0, "allocations for 600 packets");
}

#[test]
fn bursts_on_many_sockets_all_arrive() {
    const CALLS: usize = 100;
    let mut rig = Rig::new(config());
    let party = far();
    // A pass forwards more than a socket's usual queue holds.
    socket2::SockRef::from(&party).set_recv_buffer_size(4 << 20).unwrap();
    let pages: Vec<UdpSocket> = (0..CALLS).map(|_| far()).collect();
    let mut calls = Vec::new();
    for (n, page) in pages.iter().enumerate() {
        let address = page.local_addr().unwrap();
        let bridge = rig.bridge(PROFILES[n % 3], address, party.local_addr().unwrap());
        let (send, receive) = browser(&bridge.keys);
        calls.push((bridge, send, receive));
    }
    let mut packet = Packet::default();
    let (mut heard_up, mut heard_down, mut buffer) = (0, 0, [0; 2048]);
    // 30 packets at once from everybody, both ways: more than a batch, more than one turn of each socket.
    for round in 0..3_u64 {
        for (page, (bridge, send, _)) in pages.iter().zip(&mut calls) {
            for n in round * 10..round * 10 + 10 {
                rtp(&mut packet, 5, n);
                party.send_to(packet.bytes(), bridge.rtp).unwrap();
                send.protect(n, &mut packet).unwrap();
                page.send_to(packet.bytes(), rig.web).unwrap();
            }
        }
        for _ in 0..200 {
            rig.shard.pass(Some(Duration::from_millis(2))).unwrap();
            while party.recv(&mut buffer).is_ok() {
                heard_up += 1;
            }
            for (page, (_, _, receive)) in pages.iter().zip(&mut calls) {
                while let Ok(length) = page.recv(&mut buffer) {
                    // RTCP shares the port (RFC 5761); reports are sent when they are due.
                    if matches!(buffer[1], 192..=223) {
                        continue;
                    }
                    packet.fill(&buffer[..length]);
                    receive.unprotect(&mut packet).unwrap();
                    heard_down += 1;
                }
            }
        }
    }
    assert_eq!((heard_up, heard_down), (30 * CALLS, 30 * CALLS));
}
