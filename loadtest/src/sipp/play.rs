//! One step: so many calls a second for some seconds, until the last one is over.

use super::scene::{Scene, common, hush};
use super::stat::{Stat, quantile, response_times};
use super::{Kind, Sipp};
use crate::engine::now;
use crate::peers::process::Process;
use crate::proc::Sample;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::time::Duration;

/// What came of a step.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Step {
    /// Calls a second: wanted, and begun.
    pub(super) rate: u32,
    pub(super) reached: f64,
    pub(super) calls: u64,
    pub(super) successful: u64,
    pub(super) failed: u64,
    /// Failed calls by SIPp's reasons.
    pub(super) reasons: BTreeMap<String, u64>,
    /// SIP messages that the caller sent again.
    pub(super) retransmissions: u64,
    /// Most calls at once.
    pub(super) most: u64,
    /// From INVITE to 200 (from REGISTER to 200, of registrations), in milliseconds.
    pub(super) p50_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
    /// The gateway's CPU a call in milliseconds: all, in user space, in the kernel.
    pub(super) cpu_ms: f64,
    pub(super) user_ms: f64,
    pub(super) kernel_ms: f64,
    /// The gateway's memory in kB: most, and by how much it grew while calls were up.
    pub(super) memory_kb: u64,
    pub(super) grown_kb: u64,
    /// Share of a core in percent while calls began: gateway, SIPp that calls, SIPp that is called.
    pub(super) gateway_percent: f64,
    pub(super) caller_percent: f64,
    pub(super) callee_percent: f64,
}

/// Between two looks at the processes.
const LOOK: Duration = Duration::from_millis(100);
/// Beyond its planned time a step may take so long: SIPp gives a call up after 32 s.
const PATIENCE: Duration = Duration::from_secs(45);

/// Plays a step.
pub(super) fn step(sipp: &Sipp, scene: &Scene, rate: u32) -> io::Result<Step> {
    for old in ["stat.csv", "caller.log"] {
        let _ = fs::remove_file(scene.folder.join(old));
    }
    let before = Sample::take(scene.gateway.id());
    let mut caller = call(sipp, scene, rate)?;
    let (begin, calls) = (now(), rate * sipp.seconds);
    let mut watch = Watch::default();
    watch.look(&caller, scene);
    let first = watch.last;
    let pauses = if sipp.kind == Kind::Holds { 3 } else { 1 };
    let planned = Duration::from_millis(u64::from(sipp.seconds * 1000 + sipp.hold_ms * pauses)) + PATIENCE;
    while caller.ended().is_none() {
        std::thread::sleep(LOOK);
        watch.look(&caller, scene);
        if now() - begin <= u64::from(sipp.seconds) * 1_000_000_000 {
            watch.busy = watch.last;
        }
        if now() - begin > planned.as_nanos() as u64 {
            return Err(io::Error::other(format!(
                "{rate} calls a second: SIPp did not end; see {}",
                scene.folder.display()
            )));
        }
    }
    let used = Sample::take(scene.gateway.id()).since(&before);
    let process = caller.id();
    let text = fs::read_to_string(scene.folder.join("stat.csv")).unwrap_or_default();
    let stat = Stat::read(&text).ok_or_else(|| {
        let log = fs::read_to_string(scene.folder.join("caller.log")).unwrap_or_default();
        io::Error::other(format!("SIPp left no statistics: {log}"))
    })?;
    let rtt = scene.folder.join(format!("{}_{process}_rtt.csv", scenario(sipp)));
    let times = response_times(&fs::read_to_string(rtt).unwrap_or_default());
    let each = |time: Duration| time.as_secs_f64() * 1e3 / stat.created.max(1) as f64;
    let lasted = (watch.busy.at.saturating_sub(first.at)) as f64 / 1e9;
    let percent = |who: usize| {
        let used = watch.busy.cpu[who].saturating_sub(first.cpu[who]);
        if lasted > 0.0 { used.as_secs_f64() * 100.0 / lasted } else { 0.0 }
    };
    Ok(Step {
        rate,
        reached: stat.rate,
        calls: u64::from(calls),
        successful: stat.successful,
        // Calls that SIPp never began count too.
        failed: u64::from(calls).saturating_sub(stat.successful),
        reasons: stat.reasons.into_iter().collect(),
        retransmissions: stat.retransmissions,
        most: stat.most,
        p50_ms: quantile(&times, 0.5),
        p99_ms: quantile(&times, 0.99),
        cpu_ms: each(used.all),
        user_ms: each(used.user),
        kernel_ms: each(used.system),
        memory_kb: watch.memory / 1024,
        grown_kb: watch.memory.saturating_sub(before.memory) / 1024,
        gateway_percent: percent(0),
        caller_percent: percent(1),
        callee_percent: percent(2),
    })
}

fn scenario(sipp: &Sipp) -> &'static str {
    match sipp.kind {
        Kind::Calls if sipp.rtp => "uac-talks",
        Kind::Calls | Kind::Registers => "uac",
        Kind::Holds => "uac-holds",
    }
}

/// Starts the SIPp that calls.
fn call(sipp: &Sipp, scene: &Scene, rate: u32) -> io::Result<Process> {
    let core = sipp.own_cores.first().copied().unwrap_or(0);
    let mut command = Process::pinned("sipp", core);
    command.current_dir(&scene.folder);
    command.args([&scene.target.to_string(), "-sf", &format!("{}.xml", scenario(sipp))]);
    command.args(["-p", &scene.port.to_string(), "-s", "+491234", "-key", "caller", "+441234"]);
    command.args(["-key", "rtp_port", "9990"]);
    command.args(["-r", &rate.to_string(), "-m", &(rate * sipp.seconds).to_string()]);
    command.args(["-d", &sipp.hold_ms.to_string()]);
    command.args(["-trace_stat", "-stf", "stat.csv", "-fd", "1", "-trace_rtt", "-rtt_freq", "20"]);
    common(&mut command, sipp, "caller.csv");
    let mut caller = Process::start(&mut command, &scene.folder.join("caller.log"))?;
    hush(&mut caller);
    Ok(caller)
}

/// CPU of gateway and both SIPps at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Moment {
    at: u64,
    cpu: [Duration; 3],
}

#[derive(Debug, Default)]
struct Watch {
    last: Moment,
    /// The last moment at which calls began.
    busy: Moment,
    memory: u64,
}

impl Watch {
    fn look(&mut self, caller: &Process, scene: &Scene) {
        let gateway = Sample::take(scene.gateway.id());
        let callee = scene.callee.as_ref().map(|callee| Sample::take(callee.id())).unwrap_or_default();
        let cpu = [gateway.cpu, Sample::take(caller.id()).cpu, callee.cpu];
        self.memory = self.memory.max(gateway.memory);
        self.last = Moment { at: now(), cpu };
    }
}
