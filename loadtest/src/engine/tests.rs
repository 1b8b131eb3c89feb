//! The engine against itself and against a relay that does what it is told.

use super::*;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn any() -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)
}

fn run(engine: &mut Engine, time: Duration) {
    let end = now() + time.as_nanos() as u64;
    while now() < end {
        engine.pass().unwrap();
        engine.rest();
    }
}

fn keys(seed: u8) -> [Keys; 2] {
    let one = Keys { profile: Profile::AeadAes128Gcm, receive: [seed; 46], send: [seed + 1; 46] };
    let other = Keys { receive: one.send, send: one.receive, ..one };
    [one, other]
}

#[test]
fn ends_with_addresses_of_their_own_hear_each_other_in_clear_and_by_srtp() {
    let reports = Duration::from_millis(100);
    let mut engine = Engine::new(Settings { reports, ..Settings::default() }).unwrap();
    let (web, sip) = (engine.open(any()).unwrap(), engine.open(any()).unwrap());
    let port = |engine: &Engine, id| engine.address(id).unwrap().port();
    let mut ends = Vec::new();
    for n in 1..=20_u8 {
        let (a, b) = (Ipv4Addr::new(127, 1, 0, n), Ipv4Addr::new(127, 2, 0, n));
        let secret = (n % 2 == 0).then(|| keys(n));
        let end = |engine: &mut Engine, own: usize, (port_id, address), (remote_id, remote)| {
            let remote = SocketAddrV4::new(remote, port(engine, remote_id));
            let keys = secret.as_ref().map(|keys| keys[own].clone());
            let rtcp = Some(remote);
            engine.add(&Wanted {
                port: port_id,
                address,
                remote,
                keys,
                payload_type: 0,
                ssrc: n.into(),
                rtcp,
            })
        };
        let one = end(&mut engine, 0, (web, a), (sip, b));
        let other = end(&mut engine, 1, (sip, b), (web, a));
        engine.pair(one, other);
        ends.extend([one, other]);
    }
    run(&mut engine, Duration::from_millis(100));
    let span = engine.window();
    run(&mut engine, Duration::from_millis(400));
    engine.window();
    run(&mut engine, Duration::from_millis(50));
    for figures in engine.take(span).unwrap() {
        // 20 streams of 50 packets a second, whenever the machine let the generator run.
        let expected = figures.lasted.as_secs_f64() * 1000.0;
        assert!((figures.sent as f64 / expected - 1.0).abs() < 0.3, "{} of {expected}", figures.sent);
        assert_eq!((figures.heard, figures.repeated, figures.overtaken), (figures.sent, 0, 0));
        assert!(figures.delay.len() == figures.sent && figures.delay.max() < 1_000_000_000);
    }
    let own = engine.take_own();
    assert_eq!((own.forged, own.unstamped, own.strays, own.misled, own.drops), (0, 0, 0, 0, 0));
    // Some five of each end. Those that the engine hears, it counts.
    assert!(
        (100..=300).contains(&own.reports) && own.rtcp.abs_diff(own.reports) <= 20,
        "{} {}",
        own.reports,
        own.rtcp
    );
    assert!(own.idle_share() > 0.0 && own.lateness.len() >= 2 * 300);
    assert!(ends.iter().all(|end| engine.first_heard(*end).is_some()));
    for end in ends {
        engine.remove(end);
    }
    assert_eq!(engine.streams(), 0);
}

#[test]
fn what_a_relay_swallows_repeats_and_delays_is_counted_so() {
    let relay = UdpSocket::bind("127.0.0.1:0").unwrap();
    relay.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let std::net::SocketAddr::V4(address) = relay.local_addr().unwrap() else { panic!("IPv4") };
    let mut engine = Engine::new(Settings::default()).unwrap();
    let ports = [engine.open(any()).unwrap(), engine.open(any()).unwrap()];
    let homes = ports.map(|port| engine.address(port).unwrap().port());
    let loopback = Ipv4Addr::LOCALHOST;
    let ends = ports.map(|port| {
        let wanted = Wanted {
            port,
            address: loopback,
            remote: address,
            keys: None,
            payload_type: 0,
            ssrc: 1,
            rtcp: None,
        };
        engine.add(&wanted)
    });
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    // Swallows every tenth packet of the first end, repeats every tenth of the second, holds one of those back.
    let thread = std::thread::spawn(move || {
        let (mut buffer, mut counts) = ([0; 2048], [0_u32; 2]);
        while !told.load(Ordering::Relaxed) {
            let Ok((length, from)) = relay.recv_from(&mut buffer) else { continue };
            let side = usize::from(from.port() == homes[1]);
            let to = (loopback, homes[1 - side]);
            counts[side] += 1;
            if side == 0 && counts[0] % 10 == 5 {
                continue;
            }
            if side == 1 && counts[1] == 7 {
                std::thread::sleep(Duration::from_millis(30));
            }
            relay.send_to(&buffer[..length], to).unwrap();
            if side == 1 && counts[1] % 10 == 5 {
                relay.send_to(&buffer[..length], to).unwrap();
            }
        }
    });
    let span = engine.window();
    engine.pair(ends[0], ends[1]);
    run(&mut engine, Duration::from_millis(900));
    assert!(ends.iter().all(|end| engine.first_heard(*end).is_some()));
    engine.window();
    run(&mut engine, Duration::from_millis(100));
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
    let [up, down] = engine.take(span).unwrap();
    assert!((3..=5).contains(&up.lost()) && up.repeated == 0, "{} of {} lost", up.lost(), up.sent);
    assert!(down.lost() == 0 && (3..=5).contains(&down.repeated), "{} repeated", down.repeated);
    assert!(down.late >= 1 && down.delay.max() > 25_000_000 && down.jitter.max() > 9_000_000);
}
