//! The room `net` against the kernel.

use bridgehead::base::{Packet, ShardId, SocketId};
use bridgehead::net::{BATCH, Batch, Listener, Poll, Ready, Received, Sockets, TcpOptions, Udp, UdpOptions};
use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

const PATIENCE: Option<Duration> = Some(Duration::from_secs(10));
const ZERO: Option<Duration> = Some(Duration::ZERO);

fn localhost(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A socket in a table of its own, heard by a poll.
fn heard(options: &UdpOptions) -> (Poll, Sockets, SocketId, SocketAddr) {
    let poll = Poll::new(ShardId(3), 16).unwrap();
    let mut sockets = Sockets::new(ShardId(3), 16);
    let socket = Udp::open(options).unwrap();
    let address = socket.address();
    let id = sockets.insert(socket).unwrap();
    poll.add_socket(id, sockets.get(id).unwrap()).unwrap();
    (poll, sockets, id, address)
}

fn is_ready(poll: &mut Poll, patience: Option<Duration>) -> bool {
    poll.wait(patience).unwrap();
    poll.ready().count() > 0
}

#[test]
fn a_short_batch_proves_the_queue_empty_and_the_next_arrival_raises_an_edge() {
    let (mut poll, mut sockets, id, address) = heard(&UdpOptions::new(localhost(0)));
    let far = UdpSocket::bind(localhost(0)).unwrap();
    let mut batch = Batch::default();
    for n in 0..5 {
        far.send_to(&[n; 20], address).unwrap();
    }
    assert!(is_ready(&mut poll, PATIENCE));
    assert_eq!(poll.ready().next(), Some(Ready::Socket(id)));
    assert_eq!(sockets.receive(id, &mut batch, BATCH), Received::Drained);
    assert_eq!(batch.len(), 5);
    assert!(batch.slots().iter().enumerate().all(|(n, slot)| slot.packet.bytes() == [n as u8; 20]
        && slot.remote == far.local_addr().unwrap()
        && slot.socket == id));
    assert!(!is_ready(&mut poll, ZERO));
    far.send_to(b"next", address).unwrap();
    assert!(is_ready(&mut poll, PATIENCE));
}

#[test]
fn a_full_batch_says_that_there_may_be_more_and_no_edge_tells_of_the_rest() {
    let (mut poll, mut sockets, id, address) = heard(&UdpOptions::new(localhost(0)));
    let far = UdpSocket::bind(localhost(0)).unwrap();
    for n in 0..6 {
        far.send_to(&[n], address).unwrap();
    }
    assert!(is_ready(&mut poll, PATIENCE));
    let mut batch = Batch::default();
    assert_eq!(sockets.receive(id, &mut batch, 4), Received::More);
    // This is why a full batch must be followed by another read: four are taken, two are left, and the poll is mute.
    assert!(!is_ready(&mut poll, ZERO));
    // A limit of one still asks for two, so that it can see that there is no second.
    assert_eq!(sockets.receive(id, &mut batch, 1), Received::More);
    assert_eq!(sockets.receive(id, &mut batch, 1), Received::Drained);
    assert_eq!(batch.len(), 6);
}

#[test]
fn a_level_triggered_socket_is_reported_until_it_is_empty() {
    let mut poll = Poll::new(ShardId(3), 16).unwrap();
    let mut sockets = Sockets::new(ShardId(3), 16);
    let id = sockets.insert(Udp::open(&UdpOptions::new(localhost(0))).unwrap()).unwrap();
    poll.add_level(id, sockets.get(id).unwrap()).unwrap();
    let address = sockets.get(id).unwrap().address();
    let far = UdpSocket::bind(localhost(0)).unwrap();
    far.send_to(b"one", address).unwrap();
    far.send_to(&[0; 3000], address).unwrap();
    far.send_to(b"three", address).unwrap();
    let mut batch = Batch::default();
    for n in 1..=3 {
        assert!(is_ready(&mut poll, PATIENCE));
        assert_eq!(poll.ready().next(), Some(Ready::Socket(id)));
        sockets.receive_level(&[id], &mut batch);
        assert_eq!(batch.len(), n);
    }
    assert!(!is_ready(&mut poll, ZERO));
    sockets.receive_level(&[id], &mut batch);
    let got: Vec<&[u8]> = batch.slots().iter().map(|slot| slot.packet.bytes()).collect();
    assert_eq!(got, [&b"one"[..], b"", b"three"]);
    assert_eq!(sockets.counters().too_long, 1);
    assert!(batch.slots().iter().all(|slot| slot.socket == id && slot.remote == far.local_addr().unwrap()));
    drop(sockets.remove(id));
    assert!(!is_ready(&mut poll, ZERO));
}

#[test]
fn nothing_is_left_behind_while_a_sender_races_with_the_reader() {
    const COUNT: u32 = 30_000;
    let (mut poll, mut sockets, id, address) = heard(&UdpOptions::new(localhost(0)));
    let far = UdpSocket::bind(localhost(0)).unwrap();
    far.set_read_timeout(PATIENCE).unwrap();
    // The sender waits for each answer, so that every datagram arrives while the reader is somewhere between its
    // receive and its wait. One that is left behind without an edge ends the dialogue.
    let sender = std::thread::spawn(move || {
        let mut answer = [0; 4];
        for n in 0..COUNT {
            far.send_to(&n.to_be_bytes(), address).unwrap();
            // Now and then two at once, one of which may fall behind the batch.
            if n % 3 == 0 {
                far.send_to(&n.to_be_bytes(), address).unwrap();
            }
            let length = far.recv(&mut answer).unwrap();
            assert!(length == 4);
            if n % 3 == 0 {
                far.recv(&mut answer).unwrap();
            }
        }
    });
    let (mut got, mut again) = (0, false);
    let mut batch = Batch::default();
    while got < COUNT + COUNT.div_ceil(3) {
        if !again {
            assert!(is_ready(&mut poll, PATIENCE), "left behind after {got}");
        }
        again = sockets.receive(id, &mut batch, 2) == Received::More;
        got += batch.len() as u32;
        batch.slots().iter_mut().for_each(|slot| slot.send = true);
        sockets.send(&mut batch);
    }
    sender.join().unwrap();
    assert_eq!(sockets.counters().sent, u64::from(got));
}

#[test]
fn both_families_send_back_from_the_slots_they_received_in() {
    for ip in ["127.0.0.1", "::1"] {
        let address = SocketAddr::new(ip.parse().unwrap(), 0);
        let Ok(far) = UdpSocket::bind(address) else { continue };
        let (mut poll, mut sockets, id, address) =
            heard(&UdpOptions { dscp: Some(46), gather: true, ..UdpOptions::new(address) });
        far.set_read_timeout(PATIENCE).unwrap();
        for n in 0..10_u8 {
            far.send_to(&[n; 100], address).unwrap();
        }
        assert!(is_ready(&mut poll, PATIENCE));
        let mut batch = Batch::default();
        while sockets.receive(id, &mut batch, BATCH) == Received::More {}
        for (n, slot) in batch.slots().iter_mut().enumerate() {
            // In place: a byte at each end, and every third is dropped.
            assert!(slot.packet.grow(1) && slot.packet.grow_front(1));
            slot.packet.bytes_mut()[0] = 0xaa;
            slot.packet.bytes_mut()[101] = 0xbb;
            slot.send = n % 3 != 0;
        }
        sockets.send(&mut batch);
        assert!(batch.is_empty());
        let mut answer = [0; 200];
        for n in (0..10_u8).filter(|n| n % 3 != 0) {
            assert_eq!(far.recv_from(&mut answer).unwrap(), (102, address));
            assert_eq!((answer[0], answer[1], answer[101]), (0xaa, n, 0xbb));
        }
        assert_eq!(sockets.counters().send_calls, 1);
    }
}

#[test]
fn one_bad_destination_does_not_keep_the_others_from_being_sent_to() {
    let mut sockets = Sockets::new(ShardId(0), 4);
    let options = UdpOptions { gather: true, ..UdpOptions::new(localhost(0)) };
    let id = sockets.insert(Udp::open(&options).unwrap()).unwrap();
    let far = UdpSocket::bind(localhost(0)).unwrap();
    far.set_read_timeout(PATIENCE).unwrap();
    let nowhere = UdpSocket::bind(localhost(0)).unwrap().local_addr().unwrap();
    let mut batch = Batch::default();
    for to in [
        far.local_addr().unwrap(),
        // Another family, a closed port, and an address that no socket may send to.
        "[::1]:9".parse().unwrap(),
        nowhere,
        far.local_addr().unwrap(),
        "255.255.255.255:9".parse().unwrap(),
        localhost(0),
        far.local_addr().unwrap(),
    ] {
        assert!(batch.push(id, to, b"x", true));
    }
    batch.push(SocketId::from_bits(77), nowhere, b"x", true);
    sockets.send(&mut batch);
    let mut byte = [0; 8];
    for _ in 0..3 {
        assert_eq!(far.recv(&mut byte).unwrap(), 1);
    }
    let counters = sockets.counters();
    assert_eq!((counters.sent, counters.closed), (4, 1));
    assert_eq!(counters.unsendable, 3);
    assert_eq!(sockets.receive(id, &mut batch, 8), Received::Drained);
}

#[test]
fn what_comes_back_by_icmp_is_told_with_its_destination_and_harms_no_other_datagram() {
    for ip in ["127.0.0.1", "::1"] {
        let address = SocketAddr::new(ip.parse().unwrap(), 0);
        let Ok(far) = UdpSocket::bind(address) else { continue };
        far.set_read_timeout(PATIENCE).unwrap();
        let nowhere = UdpSocket::bind(address).unwrap().local_addr().unwrap();
        let (mut poll, mut sockets, id, address) =
            heard(&UdpOptions { errors: true, ..UdpOptions::new(address) });
        assert!(sockets.send_one(id, nowhere, b"who is there?"));
        assert!(is_ready(&mut poll, PATIENCE));
        assert_eq!(poll.ready().next(), Some(Ready::Errors(id)));
        // The error is told to the next caller; its datagram goes out all the same.
        assert!(sockets.send_one(id, far.local_addr().unwrap(), b"and there?"));
        let mut buffer = [0; 2048];
        assert_eq!(far.recv_from(&mut buffer).unwrap(), (10, address));
        assert_eq!(sockets.receive_refused(id, &mut buffer), Some((nowhere, &b"who is there?"[..])));
        assert_eq!(sockets.receive_refused(id, &mut buffer), None);
        // Nor does one keep what waits from being read.
        assert!(sockets.send_one(id, nowhere, b"again?"));
        far.send_to(b"here", address).unwrap();
        assert!(is_ready(&mut poll, PATIENCE));
        let got = sockets.receive_one(id, &mut buffer);
        assert_eq!(got, Err(Received::More));
        assert_eq!(sockets.receive_one(id, &mut buffer).map(|(_, data)| data.len()), Ok(4));
        assert_eq!(sockets.receive_refused(id, &mut buffer).map(|(to, _)| to), Some(nowhere));
        assert_eq!((sockets.counters().errors_read, sockets.counters().unsendable), (2, 0));
    }
}

#[test]
fn a_datagram_longer_than_a_slot_is_dropped_and_counted_and_may_be_had_whole() {
    let (mut poll, mut sockets, id, address) = heard(&UdpOptions::new(localhost(0)));
    let far = UdpSocket::bind(localhost(0)).unwrap();
    far.send_to(&[1; Packet::MAX + 1], address).unwrap();
    far.send_to(&[2; Packet::MAX], address).unwrap();
    far.send_to(&[3; 9000], address).unwrap();
    assert!(is_ready(&mut poll, PATIENCE));
    let mut batch = Batch::default();
    assert_eq!(sockets.receive(id, &mut batch, 2), Received::More);
    let lengths: Vec<usize> = batch.slots().iter().map(|slot| slot.packet.len()).collect();
    assert_eq!(lengths, [0, Packet::MAX]);
    assert_eq!(sockets.counters().too_long, 1);
    let mut buffer = vec![0; 1 << 16];
    assert_eq!(sockets.receive_one(id, &mut buffer).map(|(_, data)| data.len()), Ok(9000));
    assert_eq!(sockets.receive_one(id, &mut buffer), Err(Received::Drained));
}

#[test]
fn shards_share_a_port_and_strangers_do_not_get_it() {
    let shared = UdpOptions { share: true, ..UdpOptions::new(localhost(0)) };
    let (mut first_poll, mut first, first_id, address) = heard(&shared);
    let (mut second_poll, mut second, second_id, _) = heard(&UdpOptions { address, ..shared });
    assert!(Udp::open(&UdpOptions::new(address)).is_err());
    for _ in 0..64 {
        UdpSocket::bind(localhost(0)).unwrap().send_to(b"x", address).unwrap();
    }
    let mut counts = [0; 2];
    for (n, (poll, sockets, id)) in
        [(&mut first_poll, &mut first, first_id), (&mut second_poll, &mut second, second_id)]
            .into_iter()
            .enumerate()
    {
        assert!(is_ready(poll, PATIENCE), "the kernel spreads 64 sources over both");
        let mut batch = Batch::default();
        while sockets.receive(id, &mut batch, BATCH) == Received::More {}
        counts[n] = batch.len();
    }
    assert_eq!(counts[0] + counts[1], 64);
}

#[test]
fn buffers_are_read_back_and_drops_are_counted() {
    let options = UdpOptions { receive_buffer: 64 * 1024, ..UdpOptions::new(localhost(0)) };
    let socket = Udp::open(&options).unwrap();
    assert!(socket.receive_buffer() >= 64 * 1024);
    assert_eq!(socket.drops(), 0);
    let far = UdpSocket::bind(localhost(0)).unwrap();
    for _ in 0..1000 {
        far.send_to(&[0; 1000], socket.address()).unwrap();
    }
    let dropped = u64::from(socket.drops());
    assert!(dropped > 500, "{dropped}");
    // Those of a socket that is closed stay counted.
    let mut sockets = Sockets::new(ShardId(0), 4);
    let id = sockets.insert(socket).unwrap();
    assert_eq!(sockets.drops(), dropped);
    drop(sockets.remove(id));
    assert_eq!(sockets.drops(), dropped);
}

#[test]
fn listeners_share_a_port_and_streams_carry_both_ways() {
    let options = TcpOptions { address: localhost(0), device: None, share: true, backlog: 64, dscp: None };
    let first = Listener::open(&options).unwrap();
    let address = first.address();
    let second = Listener::open(&TcpOptions { address, ..options.clone() }).unwrap();
    assert!(Listener::probe(address).is_err());
    assert!(Listener::probe(localhost(0)).is_ok());
    let far: Vec<TcpStream> = (0..64).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut seen = HashSet::new();
    for listener in [&first, &second] {
        let before = seen.len();
        while let Some((mut stream, remote)) = listener.accept().unwrap() {
            seen.insert(remote);
            assert_eq!(stream.write(b"hello").unwrap(), Some(5));
            assert_eq!(stream.read(&mut [0; 8]).unwrap(), None);
        }
        assert!(seen.len() > before, "the kernel spreads connections over both");
    }
    assert_eq!(seen.len(), 64);
    for mut stream in far {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
        assert!(stream.write(b"x").is_ok());
    }
}

/// In a network of its own, whose loopback takes no more than 1,300 bytes at once.
const NARROW: &str = "BRIDGEHEAD_NARROW";

#[test]
fn a_datagram_too_long_for_its_path_leaves_in_pieces_after_all() {
    if std::env::var_os(NARROW).is_none() {
        let script = "ip link set lo mtu 1300 up && exec \"$0\" --exact \
                      net::a_datagram_too_long_for_its_path_leaves_in_pieces_after_all";
        let test = std::env::current_exe().unwrap();
        let mut command = std::process::Command::new("unshare");
        let command = command.args(["--user", "--map-root-user", "--net", "sh", "-c", script]).arg(test);
        let output = command.env(NARROW, "1").output().expect("unshare, of util-linux");
        assert!(output.status.success(), "{output:?}");
        return;
    }
    let mut sockets = Sockets::new(ShardId(0), 4);
    let id = sockets.insert(Udp::open(&UdpOptions { whole: true, ..UdpOptions::new(localhost(0)) }).unwrap());
    let (id, far) = (id.unwrap(), UdpSocket::bind(localhost(0)).unwrap());
    far.set_read_timeout(PATIENCE).unwrap();
    let (to, mut batch, mut buffer) = (far.local_addr().unwrap(), Batch::default(), [0; 2048]);
    for (length, fragmented) in [(172, 0), (1500, 1), (1600, 1), (200, 1)] {
        assert!(batch.push(id, to, &[7; 2048][..length], true));
        sockets.send(&mut batch);
        assert_eq!(far.recv(&mut buffer).unwrap(), length);
        assert_eq!((sockets.counters().fragmented, sockets.counters().unsendable), (fragmented, 0));
    }
    // The other way to send.
    let other = Udp::open(&UdpOptions { whole: true, ..UdpOptions::new(localhost(0)) }).unwrap();
    let other = sockets.insert(other).unwrap();
    assert!(sockets.send_one(other, to, &[7; 1500]));
    assert_eq!(far.recv(&mut buffer).unwrap(), 1500);
}
