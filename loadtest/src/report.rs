//! What a run found: steps with their figures, as JSON and as a table.

use crate::calls::Tally;
use crate::engine::{Figures, Own};
use crate::proc::Cpu;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A distribution of times, in microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Times {
    /// How many were measured.
    pub count: u64,
    /// Half of them are no longer.
    pub p50: f64,
    /// 99 of 100 are no longer.
    pub p99: f64,
    /// 999 of 1000 are no longer.
    pub p999: f64,
    /// None is longer.
    pub max: f64,
}

impl From<&Histogram<u64>> for Times {
    fn from(of: &Histogram<u64>) -> Times {
        let at = |quantile| of.value_at_quantile(quantile) as f64 / 1000.0;
        Times { count: of.len(), p50: at(0.5), p99: at(0.99), p999: at(0.999), max: of.max() as f64 / 1000.0 }
    }
}

/// Packets one way.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Way {
    /// Packets sent.
    pub sent: u64,
    /// Packets that never arrived.
    pub lost: u64,
    /// Packets that arrived, but later than the limit.
    pub late: u64,
    /// Packets that arrived twice.
    pub repeated: u64,
    /// Packets that were overtaken.
    pub overtaken: u64,
    /// One-way delay.
    pub delay_us: Times,
    /// Difference of delay from one packet to the next.
    pub jitter_us: Times,
}

impl From<&Figures> for Way {
    fn from(of: &Figures) -> Way {
        Way {
            sent: of.sent,
            lost: of.lost(),
            late: of.late,
            repeated: of.repeated,
            overtaken: of.overtaken,
            delay_us: Times::from(&of.delay),
            jitter_us: Times::from(&of.jitter),
        }
    }
}

/// The generator's own state during a step.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Generator {
    /// The share of time that it slept.
    pub idle: f64,
    /// How late it sent.
    pub lateness_us: Times,
    /// Packets that its kernel refused to send.
    pub unsent: u64,
    /// Datagrams lost at its own sockets.
    pub drops: u64,
    /// SRTP that could not be opened, RTP without a stamp, of ended calls, at the wrong party.
    pub forged: u64,
    /// See `forged`.
    pub unstamped: u64,
    /// See `forged`.
    pub strays: u64,
    /// See `forged`.
    pub misled: u64,
    /// RTCP packets that it heard, and did not read.
    pub rtcp: u64,
    /// RTCP packets that it sent.
    pub reports: u64,
    /// It had a fifth of its core to spare, lost nothing, and was late itself by less than 2 ms in 99 of 100 cases:
    /// what a step shows is the gateway's doing.
    pub fit: bool,
}

/// Share of the generator's core that must be idle, for a step to count.
const SPARE: f64 = 0.2;
/// How late the generator may be (p99), in microseconds.
const LATE_US: f64 = 2000.0;

impl From<&Own> for Generator {
    fn from(own: &Own) -> Generator {
        let lateness_us = Times::from(&own.lateness);
        let lost = own.unsent + own.drops + own.shed;
        Generator {
            idle: own.idle_share(),
            fit: own.idle_share() >= SPARE && lateness_us.p99 <= LATE_US && lost == 0,
            lateness_us,
            unsent: own.unsent,
            drops: own.drops + own.shed,
            forged: own.forged,
            unstamped: own.unstamped,
            strays: own.strays,
            misled: own.misled,
            rtcp: own.rtcp,
            reports: own.reports,
        }
    }
}

/// One span of measurement.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Step {
    /// Calls whose parties heard each other when it began.
    pub calls: usize,
    /// How long it was.
    pub seconds: f64,
    /// Browser to SIP.
    pub up: Way,
    /// SIP to browser.
    pub down: Way,
    /// Lost or late, of 1.
    pub missed: f64,
    /// The gateway's CPU: of one core.
    pub cpu_cores: f64,
    /// The gateway's CPU for a forwarded packet, in microseconds: all, user space, kernel.
    pub cpu_us: [f64; 3],
    /// The same of each shard's thread, by its name, over the step and what comes before and behind it.
    pub shards: BTreeMap<String, f64>,
    /// The gateway's resident memory, in bytes.
    pub memory: u64,
    /// Datagrams that the kernel dropped at other sockets than the generator's.
    pub kernel_drops: u64,
    /// What the gateway says that it dropped, by reason.
    pub drops: BTreeMap<String, u64>,
    /// 99.9 of 100 passes of the gateway's loop took no longer (a bucket's bound), in seconds.
    pub loop_p999_s: Option<f64>,
    /// Calls or sessions that came and went meanwhile.
    pub churn: Option<Churn>,
    /// Dial command to INVITE at the agent, of the calls that came up for this step, beside those that talked already.
    pub invite_us: Times,
    /// The generator itself.
    pub generator: Generator,
    /// Lost or late under 0.1 %, and p99 of the delay under 20 ms, both ways.
    pub good: bool,
}

/// Calls that are set up and hung up, or sessions that come back, while a step is measured.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Churn {
    /// Calls dialled a second, as wanted.
    pub wanted: f64,
    /// Calls set up a second.
    pub reached: f64,
    /// The gateway's CPU for one of them, in microseconds: that of the step less that of the calls that talk.
    pub cpu_us: f64,
    /// What became of them.
    pub set_up: SetUp,
}

/// At most this share may be lost or late.
const MISSED: f64 = 0.001;
/// p99 of the one-way delay, in microseconds.
const DELAY_US: f64 = 20_000.0;

impl Step {
    /// Puts the engine's figures in.
    pub fn packets(&mut self, [up, down]: &[Figures; 2]) {
        (self.up, self.down) = (Way::from(up), Way::from(down));
        self.seconds = up.lasted.as_secs_f64();
        let mut both = up.clone();
        both.add(down);
        self.missed = both.missed();
        self.good = up.missed() <= MISSED
            && down.missed() <= MISSED
            && self.up.delay_us.p99 <= DELAY_US
            && self.down.delay_us.p99 <= DELAY_US;
    }

    /// Packets that were forwarded.
    pub fn forwarded(&self) -> u64 {
        self.up.sent + self.down.sent - (self.up.lost + self.down.lost)
    }

    /// Puts the gateway's CPU in.
    pub fn cpu(&mut self, cpu: Cpu) {
        let packets = self.forwarded().max(1) as f64;
        self.cpu_cores = if self.seconds > 0.0 { cpu.all.as_secs_f64() / self.seconds } else { 0.0 };
        self.cpu_us = [cpu.all, cpu.user, cpu.system].map(|time| time.as_secs_f64() * 1e6 / packets);
    }
}

/// What became of calls and sessions.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SetUp {
    /// Calls dialled.
    pub attempts: u64,
    /// Calls whose parties heard each other (or, without media, were set up).
    pub connected: u64,
    /// Calls that ended in order.
    pub ended: u64,
    /// What failed, by reason.
    pub failures: BTreeMap<String, u64>,
    /// What was not expected, and did no harm by itself.
    pub odd: BTreeMap<String, u64>,
    /// Sessions signed in.
    pub sessions: u64,
    /// Sessions resumed.
    pub resumed: u64,
    /// DTLS handshakes.
    pub handshakes: u64,
    /// TCP connect to signed in.
    pub sign_in_us: Times,
    /// Dial command to INVITE at the agent.
    pub invite_us: Times,
    /// Dial command to `answered` at the browser.
    pub answered_us: Times,
    /// Dial command to the first packet that the browser heard.
    pub heard_us: Times,
    /// ClientHello to keys.
    pub handshake_us: Times,
    /// Dial command to a call that is all that was wanted of it.
    pub ready_us: Times,
}

impl From<&Tally> for SetUp {
    fn from(tally: &Tally) -> SetUp {
        SetUp {
            attempts: tally.attempts,
            connected: tally.connected,
            ended: tally.ended,
            failures: tally.failures.clone(),
            odd: tally.odd.clone(),
            sessions: tally.sessions,
            resumed: tally.resumed,
            handshakes: tally.handshakes,
            sign_in_us: Times::from(&tally.sign_in),
            invite_us: Times::from(&tally.invite),
            answered_us: Times::from(&tally.answered),
            heard_us: Times::from(&tally.heard),
            handshake_us: Times::from(&tally.handshake),
            ready_us: Times::from(&tally.ready),
        }
    }
}

/// A whole run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The profile.
    pub profile: String,
    /// How it was run.
    pub command: String,
    /// SRTP profile, DTLS version, and how sides are seated.
    pub setting: BTreeMap<&'static str, String>,
    /// Steps in order.
    pub steps: Vec<Step>,
    /// Calls and sessions over the whole run.
    pub set_up: SetUp,
    /// Other figures, by name with unit.
    pub figures: BTreeMap<String, f64>,
    /// The gateway's memory before anything was asked of it, in bytes.
    pub memory_bare: u64,
    /// What keeps the run from being passed; empty where it passed.
    pub faults: Vec<String>,
}

impl Report {
    /// The knee: the highest step that was good, before the first that was not, with a generator that was fit.
    pub fn knee(&self) -> Option<&Step> {
        self.steps.iter().take_while(|step| step.good && step.generator.fit).max_by_key(|step| step.calls)
    }

    /// As a table for people.
    pub fn table(&self) -> String {
        let mut text = format!("\n{}", self.command);
        let _ = writeln!(text);
        if !self.steps.is_empty() {
            let _ = writeln!(
                text,
                "{:>6} {:>9} {:>8} {:>6} {:>8} {:>8} {:>8} {:>8} {:>6} {:>6} {:>6} {:>6} {:>8} {:>8} {:>6} {:>8}  verdict",
                "calls",
                "packets",
                "missed%",
                "late",
                "p50 ms",
                "p99 ms",
                "p99.9",
                "jit p99",
                "core",
                "us/pkt",
                "user",
                "kernel",
                "RSS MB",
                "dial p99",
                "idle%",
                "late us"
            );
        }
        for step in &self.steps {
            text.push_str(&line(step));
            if let Some(churn) = &step.churn {
                text.push_str(&churn.line());
            }
        }
        text.push_str(&self.set_up.table());
        for (name, value) in &self.figures {
            let _ = writeln!(text, "{name}: {value:.2}");
        }
        for fault in &self.faults {
            let _ = writeln!(text, "FAULT: {fault}");
        }
        text
    }
}

fn line(step: &Step) -> String {
    let (up, down) = (&step.up, &step.down);
    let worse = |of: fn(&Way) -> f64| of(up).max(of(down));
    let verdict = match (step.good, step.generator.fit) {
        (true, true) => "good",
        (false, true) => "past the knee",
        (_, false) => "generator full",
    };
    let drops: Vec<String> = step.drops.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    format!(
        "{:>6} {:>9} {:>8.4} {:>6} {:>8.2} {:>8.2} {:>8.2} {:>8.2} {:>6.2} {:>6.2} {:>6.2} {:>6.2} {:>8.1} {:>8.2} {:>6.0} \
         {:>8.0}  {verdict} {}\n",
        step.calls,
        step.forwarded(),
        step.missed * 100.0,
        up.late + down.late,
        worse(|way| way.delay_us.p50) / 1000.0,
        worse(|way| way.delay_us.p99) / 1000.0,
        worse(|way| way.delay_us.p999) / 1000.0,
        worse(|way| way.jitter_us.p99) / 1000.0,
        step.cpu_cores,
        step.cpu_us[0],
        step.cpu_us[1],
        step.cpu_us[2],
        step.memory as f64 / 1e6,
        step.invite_us.p99 / 1000.0,
        step.generator.idle * 100.0,
        step.generator.lateness_us.p99,
        drops.join(", "),
    )
}

impl Churn {
    fn line(&self) -> String {
        let ready = &self.set_up.ready_us;
        format!(
            "       with {:.0} set-ups a second (of {:.0}): {:.0} us of the gateway's CPU each; p50 {:.1} ms, \
             p99 {:.1} ms; {} failed\n",
            self.reached,
            self.wanted,
            self.cpu_us,
            ready.p50 / 1000.0,
            ready.p99 / 1000.0,
            self.set_up.failures.values().sum::<u64>(),
        )
    }
}

impl SetUp {
    fn table(&self) -> String {
        let mut text = format!(
            "calls: {} dialled, {} connected, {} ended, {} failed; sessions: {} new, {} resumed; {} handshakes\n",
            self.attempts,
            self.connected,
            self.ended,
            self.failures.values().sum::<u64>(),
            self.sessions,
            self.resumed,
            self.handshakes,
        );
        let times = [
            ("connect to signed in", &self.sign_in_us),
            ("dial to INVITE", &self.invite_us),
            ("dial to answered", &self.answered_us),
            ("dial to heard", &self.heard_us),
            ("DTLS handshake", &self.handshake_us),
            ("dial to set up", &self.ready_us),
        ];
        for (name, times) in times.into_iter().filter(|(_, times)| times.count > 0) {
            let [p50, p99, max] = [times.p50, times.p99, times.max].map(|us| us / 1000.0);
            let _ = writeln!(text, "{name:>22}: p50 {p50:.2} ms, p99 {p99:.2} ms, max {max:.2} ms");
        }
        for (kind, of) in [("failed", &self.failures), ("odd", &self.odd)] {
            for (reason, count) in of {
                let _ = writeln!(text, "{kind:>22}: {count} × {reason}");
            }
        }
        text
    }
}
