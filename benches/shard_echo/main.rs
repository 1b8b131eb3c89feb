//! One shard over loopback sockets: CPU a forwarded packet and packets a second, beside its floor in the same run.
//!
//! A page with a socket for each call sends SRTP to the gateway's web port; the gateway sends RTP from a socket for
//! each call to one party, which echoes; the echo comes back to the page as SRTP. The floor does the same with bare
//! system calls and the same ciphers, and knows no routes, timelines, reports or timers. Both run on core 0 in turn,
//! driven by the same far side on core 1: `cargo bench --bench shard_echo -- [calls] [ticks]`; shorter with
//! `BRIDGEHEAD_BENCH=quick`.

#![allow(missing_docs, reason = "a program, not a library")]

#[path = "../../tests/live/rig.rs"]
mod rig;

mod bare;
mod far;

use bridgehead::net;
use bridgehead::rtp::{Keys, Profile};
use far::Far;
use rig::Rig;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

/// What the far side must know of a forwarder.
pub struct Ready {
    pub web: SocketAddr,
    pub calls: Vec<(Keys, SocketAddr)>,
}

/// What a forwarder's thread is told.
pub struct Task {
    pub profile: Profile,
    pub pages: Vec<SocketAddr>,
    pub party: SocketAddr,
    pub ready: Sender<Ready>,
    pub start: Arc<AtomicBool>,
    pub stop: Arc<AtomicBool>,
}

/// The shard: everything that production runs, but for the threads around it.
fn shard(task: &Task) -> Duration {
    run(task, rig::config())
}

/// The same without `io_uring`.
fn plain(task: &Task) -> Duration {
    run(task, bridgehead::shard::Config { io_uring: false, ..rig::config() })
}

fn run(task: &Task, config: bridgehead::shard::Config) -> Duration {
    let mut rig = Rig::new(config);
    rig.shard = rig.shard.unchecked();
    let bridge = |page: &SocketAddr| {
        let bridge = rig.bridge(task.profile, *page, task.party);
        (bridge.keys, bridge.rtp)
    };
    let calls = task.pages.iter().map(bridge).collect();
    task.ready.send(Ready { web: rig.web, calls }).unwrap();
    while !task.start.load(Ordering::Relaxed) {
        rig.pass();
    }
    let before = net::thread_time();
    while !task.stop.load(Ordering::Relaxed) {
        rig.pass();
    }
    net::thread_time().saturating_sub(before)
}

/// One forwarder's run: nanoseconds of CPU a packet, packets a second, and the part that was lost.
fn measure(
    name: &str,
    profile: Profile,
    calls: usize,
    ticks: u64,
    forwarder: fn(&Task) -> Duration,
) -> (f64, f64, f64) {
    let mut far = Far::new(calls);
    let (sender, ready) = channel();
    let (start, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let task = Task {
        profile,
        pages: far.pages(),
        party: far.party(),
        ready: sender,
        start: Arc::clone(&start),
        stop: Arc::clone(&stop),
    };
    let work = move || {
        // Without a second core the figures say little, but they still come.
        let _ = net::pin(0);
        forwarder(&task)
    };
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work).unwrap();
    let Ready { web, calls: ends } = ready.recv().unwrap();
    far.connect(web, &ends);
    far.run(ticks / 10 + 1);
    start.store(true, Ordering::Relaxed);
    far.run(1);
    let run = far.run(ticks);
    stop.store(true, Ordering::Relaxed);
    let cpu = thread.join().unwrap();
    // Each packet that the page heard was forwarded twice.
    let packets = 2.0 * run.heard as f64;
    let lost = 1.0 - run.heard as f64 / run.sent as f64;
    (cpu.as_nanos() as f64 / packets, packets / run.time.as_secs_f64(), lost)
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

fn main() {
    let quick = std::env::var_os("BRIDGEHEAD_BENCH").is_some_and(|mode| mode == "quick");
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let calls = numbers.first().copied().unwrap_or(if quick { 100 } else { 400 }) as usize;
    let ticks = numbers.get(1).copied().unwrap_or(if quick { 20 } else { 100 });
    let _ = net::pin(1);
    let rounds = if quick { 1 } else { 5 };
    println!("{calls} calls, {ticks} ticks a round, 172-byte RTP, medians of {rounds} rounds");
    for profile in [Profile::AesCm128Sha1_80, Profile::AeadAes128Gcm] {
        let (mut ours, mut without, mut floor) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            floor.push(measure("floor", profile, calls, ticks, bare::forward));
            ours.push(measure("shard", profile, calls, ticks, shard));
            without.push(measure("plain", profile, calls, ticks, plain));
        }
        let column =
            |of: &[(f64, f64, f64)], pick: fn(&(f64, f64, f64)) -> f64| median(of.iter().map(pick).collect());
        for (name, of) in [("floor", &floor), ("shard", &ours), ("shard without io_uring", &without)] {
            let (cpu, pace, lost) = (column(of, |r| r.0), column(of, |r| r.1), column(of, |r| r.2));
            println!(
                "{profile:?} {name}: {cpu:.0} ns CPU a packet, {pace:.0} packets/s, {:.3} % lost",
                lost * 100.0
            );
        }
        // Each round's two runs lie side by side in time, so that what else the machine does weighs on both.
        let ratio = |of: &[(f64, f64, f64)], to: &[(f64, f64, f64)]| {
            median(of.iter().zip(to).map(|(a, b)| a.0 / b.0).collect())
        };
        println!("{profile:?} shard / floor: {:.2}", ratio(&ours, &floor));
        println!("{profile:?} with / without io_uring: {:.2}", ratio(&ours, &without));
    }
}
