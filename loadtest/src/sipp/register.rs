//! One step of registrations: so many users sign in each second, and the gateway registers each with SIPp.

use super::Sipp;
use super::play::Step;
use super::scene::Scene;
use super::stat::Stat;
use crate::calls::{Calls, Plan, Seating, Version};
use crate::engine::{Profile, Settings, now};
use crate::proc::Sample;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;

/// How long the last registrations may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// The users' side: sessions stay, as users do.
pub(super) struct Sessions {
    calls: Calls,
    /// Those that have asked to be registered.
    asked: usize,
}

impl Sessions {
    fn turn(&mut self) -> io::Result<()> {
        self.calls.turn()?;
        while self.asked < self.calls.sessions() && self.calls.register(self.asked) {
            self.asked += 1;
        }
        Ok(())
    }
}

/// No sessions yet, on the generator's own core.
pub(super) fn sessions(sipp: &Sipp, scene: &Scene) -> io::Result<Sessions> {
    let port = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
    let plan = Plan {
        tls: None,
        http: scene.target,
        // Nobody is called.
        agent: SocketAddrV4::new(Ipv4Addr::LOCALHOST, port),
        local: Ipv4Addr::LOCALHOST,
        users: sipp.registrations(),
        version: Version::V13,
        profile: Profile::AesCm128Sha1_80,
        web: Seating::One,
        rtp: Seating::One,
        patience: PATIENCE,
        streams: Settings::default(),
    };
    if let Some(core) = sipp.own_cores.first() {
        bridgehead::net::pin(*core)?;
    }
    Ok(Sessions { calls: Calls::new(plan, 7)?, asked: 0 })
}

/// Registrations that SIPp has agreed to, and messages that it got again.
fn registered(scene: &Scene) -> (u64, u64) {
    let text = fs::read_to_string(scene.folder.join("callee-stat.csv")).unwrap_or_default();
    Stat::read(&text).map_or((0, 0), |stat| (stat.successful, stat.retransmissions))
}

/// Plays a step.
pub(super) fn step(sipp: &Sipp, scene: &Scene, sessions: &mut Sessions, rate: u32) -> io::Result<Step> {
    let callee = scene.callee.as_ref().map_or(0, crate::peers::process::Process::id);
    let processes = [scene.gateway.id(), std::process::id(), callee];
    let wanted = u64::from(rate * sipp.seconds);
    let (before, earlier, begin) = (processes.map(Sample::take), registered(scene), now());
    let known = sessions.calls.sessions() as u64;
    let lasted = || (now() - begin) as f64 / 1e9;
    while lasted() < f64::from(sipp.seconds) {
        let due = (lasted() * f64::from(rate)) as u64;
        while (sessions.calls.sessions() as u64) < known + due.min(wanted) {
            sessions.calls.connect()?;
        }
        sessions.turn()?;
    }
    let (busy, time) = (processes.map(Sample::take), lasted());
    let begun = sessions.calls.sessions() as u64 - known;
    while (sessions.calls.sessions() as u64) < known + wanted {
        sessions.calls.connect()?;
    }
    let mut done = registered(scene);
    while done.0 - earlier.0 < wanted && lasted() < f64::from(sipp.seconds) + PATIENCE.as_secs_f64() {
        sessions.turn()?;
        done = registered(scene);
    }
    let after = Sample::take(processes[0]);
    let used = after.since(&before[0]);
    let successful = done.0 - earlier.0;
    let each = |time: Duration| time.as_secs_f64() * 1e3 / successful.max(1) as f64;
    let percent = |who: usize| busy[who].since(&before[who]).all.as_secs_f64() * 100.0 / time;
    Ok(Step {
        rate,
        reached: begun as f64 / time,
        calls: wanted,
        successful,
        failed: wanted.saturating_sub(successful),
        retransmissions: done.1 - earlier.1,
        most: known + wanted,
        cpu_ms: each(used.all),
        user_ms: each(used.user),
        kernel_ms: each(used.system),
        memory_kb: after.memory / 1024,
        grown_kb: after.memory.saturating_sub(before[0].memory) / 1024,
        gateway_percent: percent(0),
        caller_percent: percent(1),
        callee_percent: percent(2),
        ..Step::default()
    })
}
