//! `io_uring` does what the plain calls do.

use crate::rig::localhost;
use bridgehead::base::{ShardId, SocketId};
use bridgehead::net::{BATCH, Batch, Counters, Sockets, Udp, UdpOptions};
use std::net::UdpSocket;
use std::time::Duration;

/// A table with so many sockets; with a ring where one is wanted and the kernel gives one.
fn table(count: usize, ring: bool) -> (Sockets, Vec<SocketId>) {
    let mut sockets = Sockets::new(ShardId(0), count + 1);
    if ring {
        let given = sockets.use_ring();
        if given.is_err() {
            let why = format!(
                "this kernel gives no ring ({given:?}): the plain calls are compared with themselves"
            );
            assert!(std::env::var("CI").is_err(), "{why}");
            eprintln!("SKIPPED {why}");
        }
    }
    let ids = (0..count).map(|_| sockets.insert(Udp::open(&UdpOptions::new(localhost(0))).unwrap()).unwrap());
    let ids = ids.collect();
    (sockets, ids)
}

fn far() -> UdpSocket {
    let far = UdpSocket::bind(localhost(0)).unwrap();
    far.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    far
}

/// What both ways must agree on: all but the number of calls.
fn outcome(counters: &Counters) -> Vec<(&'static str, u64)> {
    counters.iter().filter(|(name, _)| !name.ends_with("_calls")).collect()
}

type Got = Vec<(usize, Vec<u8>)>;

/// Receives on many sockets: some have one datagram, some two, some none, one a long one, one is closed.
fn receive(ring: bool) -> (Got, Got, Vec<(&'static str, u64)>) {
    let (mut sockets, ids) = table(10, ring);
    let given = sockets.has_ring();
    let far = far();
    for (n, id) in ids.iter().enumerate() {
        let address = sockets.get(*id).unwrap().address();
        for part in 0..n % 3 {
            far.send_to(&[n as u8, part as u8], address).unwrap();
        }
        if n == 5 {
            far.send_to(&[0; 3000], address).unwrap();
        }
    }
    drop(sockets.remove(ids[4]));
    let mut batch = Batch::default();
    let mut round = || {
        batch.clear();
        sockets.receive_level(&ids, &mut batch);
        let from = far.local_addr().unwrap();
        assert!(batch.slots().iter().all(|slot| slot.remote == from && !slot.send));
        let place = |id| ids.iter().position(|one| *one == id).unwrap();
        batch.slots().iter().map(|slot| (place(slot.socket), slot.packet.bytes().to_vec())).collect::<Got>()
    };
    let (first, second) = (round(), round());
    let third = round();
    assert_eq!(third.len(), 1, "the third of the fifth socket is the long one");
    assert!(third[0].1.is_empty());
    // The closed one is asked nothing.
    let calls = if given { 3 } else { 3 * ids.len() as u64 - 3 };
    assert_eq!((sockets.counters().receive_calls, sockets.has_ring()), (calls, given));
    (first, second, outcome(sockets.counters()))
}

#[test]
fn datagrams_of_many_sockets_come_as_by_single_calls() {
    let (plain, ring) = (receive(false), receive(true));
    assert_eq!(plain.0.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [1, 2, 5, 7, 8]);
    assert_eq!(plain.1.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [2, 5, 8]);
    assert_eq!(plain, ring);
}

/// Sends by many sockets and by one that gathers, to one that listens and one that is closed.
fn send(ring: bool) -> (Got, Vec<(&'static str, u64)>) {
    let (mut sockets, mut ids) = table(8, ring);
    let given = sockets.has_ring();
    let wide = UdpOptions { gather: true, ..UdpOptions::new(localhost(0)) };
    ids.push(sockets.insert(Udp::open(&wide).unwrap()).unwrap());
    let far = far();
    let to = far.local_addr().unwrap();
    let mut batch = Batch::default();
    for n in 0..BATCH {
        // Not all that lies in a batch is to be sent.
        assert!(batch.push(ids[n % 9], to, &[n as u8; 172], n % 7 != 0));
    }
    sockets.send(&mut batch);
    assert!(batch.is_empty());
    drop(sockets.remove(ids[3]));
    for id in &ids {
        assert!(batch.push(*id, to, b"last", true));
    }
    sockets.send(&mut batch);
    let mut buffer = [0; 2048];
    let mut got: Got = Vec::new();
    while got.iter().filter(|(_, bytes)| bytes == b"last").count() < 8 {
        let (length, from) = far.recv_from(&mut buffer).unwrap();
        let place = ids.iter().position(|id| sockets.get(*id).is_some_and(|socket| socket.address() == from));
        got.push((place.unwrap_or(3), buffer[..length].to_vec()));
    }
    // One call for all single sockets and one for the wide one, each time.
    assert!(!given || sockets.counters().send_calls == 4, "{:?}", sockets.counters());
    assert_eq!(sockets.has_ring(), given);
    // The order counts for each socket, not between them.
    got.sort_by_key(|(place, _)| *place);
    (got, outcome(sockets.counters()))
}

#[test]
fn datagrams_leave_by_many_sockets_as_by_single_calls() {
    let (plain, ring) = (send(false), send(true));
    assert_eq!(plain, ring);
    assert_eq!(plain.0.len(), BATCH - BATCH.div_ceil(7) + 8);
    assert!(plain.1.contains(&("closed", 1)), "{:?}", plain.1);
}

#[test]
fn a_ring_that_fails_is_given_up_and_takes_no_datagram_along() {
    const COUNT: usize = 5;
    // The kernel refuses whatever a thread asks of another one's ring.
    let table = || std::thread::spawn(|| table(COUNT, true)).join().unwrap();
    let (far, mut batch) = (far(), Batch::default());
    let to = far.local_addr().unwrap();

    let (mut sockets, ids) = table();
    let given = sockets.has_ring();
    for n in 0..2 * COUNT {
        assert!(batch.push(ids[n % COUNT], to, &[n as u8], true));
    }
    sockets.send(&mut batch);
    let mut buffer = [0; 16];
    let mut got: Vec<u8> = (0..2 * COUNT).map(|_| (far.recv(&mut buffer).unwrap(), buffer[0]).1).collect();
    got.sort_unstable();
    assert_eq!(got, (0..2 * COUNT as u8).collect::<Vec<_>>());
    assert_eq!((sockets.has_ring(), sockets.counters().sent), (false, 2 * COUNT as u64));

    let (mut sockets, ids) = table();
    for id in &ids {
        far.send_to(b"x", sockets.get(*id).unwrap().address()).unwrap();
    }
    sockets.receive_level(&ids, &mut batch);
    assert_eq!((sockets.has_ring(), batch.len()), (false, if given { 0 } else { COUNT }));
    if given {
        sockets.receive_level(&ids, &mut batch);
    }
    assert_eq!(batch.slots().iter().map(|slot| slot.socket).collect::<Vec<_>>(), ids);
    assert_eq!((sockets.counters().received, sockets.counters().receive_failed), (COUNT as u64, 0));
}
