//! Runs: a gateway, calls against it, and what is measured of both.

mod churn;
mod ramp;
mod sessions;

use crate::calls::{Calls, Plan, Role, Tally};
use crate::gateway::Gateway;
use crate::metrics::Metrics;
use crate::profile::{Kind, Profile};
use crate::report::{Generator, Report, SetUp, Step};
use std::io;
use std::time::Duration;

/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(2);
/// How long packets of a span that is over may still arrive.
const STRAGGLERS: Duration = Duration::from_millis(300);
/// How long the streams settle after the generator had to stand still.
const SETTLE: Duration = Duration::from_millis(200);
/// New sessions that may be on their way at once.
const OPENING: usize = 64;

/// A run in progress.
pub struct Run {
    calls: Calls,
    gateway: Gateway,
    profile: Profile,
    report: Report,
    began: u64,
    told: u64,
    /// Sessions that were begun and are not signed in are counted against this.
    wanted: usize,
    /// What came and went before the tally was last taken.
    before: Tally,
    churn: Option<Flow>,
    storm: Option<Storm>,
}

/// Sessions that are to come back.
struct Storm {
    /// From when on.
    at: u64,
    next: usize,
    all: usize,
}

/// Calls that come and go, at a rate.
struct Flow {
    role: Role,
    rate: f64,
    began: u64,
    dialled: u64,
    /// Calls that talk are not hung up for those that come.
    grow: bool,
}

/// Plays a profile. The gateway must be ready.
pub fn play(gateway: Gateway, plan: Plan, profile: Profile, report: Report) -> io::Result<Report> {
    let began = crate::engine::now();
    let report = Report { memory_bare: gateway.sample().memory, ..report };
    let calls = Calls::new(plan, began)?;
    let mut run = Run {
        calls,
        gateway,
        profile,
        report,
        began,
        told: began,
        wanted: 0,
        before: Tally::default(),
        churn: None,
        storm: None,
    };
    match run.profile.kind {
        Kind::Ramp => run.ramp()?,
        Kind::Handshake => run.churn(Role::Shake)?,
        Kind::Signal => run.churn(Role::Signal)?,
        Kind::Idle => run.idle()?,
        Kind::Storm => run.storm()?,
        Kind::Soak => run.soak()?,
    }
    run.cut_tally();
    run.report.set_up = SetUp::from(&run.before);
    if !run.gateway.is_alive() {
        run.report.faults.push(format!("the gateway ended: {}", run.gateway.log()));
    }
    Ok(run.report)
}

impl Run {
    /// Turns the loop for a while.
    fn wait(&mut self, time: Duration) -> io::Result<()> {
        let end = crate::engine::now() + time.as_nanos() as u64;
        while crate::engine::now() < end {
            self.turn()?;
        }
        Ok(())
    }

    /// One turn, and a line of progress now and then.
    fn turn(&mut self) -> io::Result<()> {
        self.calls.turn()?;
        let now = crate::engine::now();
        self.flow(now)?;
        self.reconnect_some(now)?;
        if now > self.told + PROGRESS.as_nanos() as u64 {
            self.told = now;
            let seconds = (now - self.began) as f64 / 1e9;
            eprintln!(
                "{seconds:>7.1} s  sessions {:>6}  calls {:>6}  talking {:>6}  failed {}",
                self.calls.signed_in(),
                self.calls.calls(),
                self.calls.talking(),
                self.failed(),
            );
        }
        Ok(())
    }

    /// Dials what is due of the calls that come and go; where they talk, the oldest ends for each.
    fn flow(&mut self, now: u64) -> io::Result<()> {
        let Some(flow) = &mut self.churn else { return Ok(()) };
        let due = (now.saturating_sub(flow.began) as f64 / 1e9 * flow.rate) as u64;
        // There is a session for each of those that only come.
        if flow.grow && self.calls.waiting() < 8 && self.calls.sessions() < self.calls.signed_in() + 8 {
            self.calls.connect()?;
        }
        // What could not be dialled for want of a free session stays due.
        for _ in 0..due.saturating_sub(flow.dialled).min(8) {
            if !self.calls.dial(flow.role)? {
                break;
            }
            flow.dialled += 1;
            if flow.role == Role::Talk && !flow.grow {
                self.calls.hang_up();
            }
        }
        Ok(())
    }

    /// Moves the calls' tally to what was before; gives what was moved.
    fn cut_tally(&mut self) -> Tally {
        let tally = self.calls.take_tally();
        self.before.add(&tally);
        tally
    }

    /// Failures of the whole run.
    fn failed(&self) -> u64 {
        self.before.failed() + self.calls.tally().failed()
    }

    /// Signs sessions in until there are so many. False where some could not.
    fn sign_in(&mut self, sessions: usize) -> io::Result<bool> {
        let failed = self.failed();
        loop {
            let signed_in = self.calls.signed_in();
            let broken = (self.failed() - failed) as usize;
            if signed_in >= sessions || broken > sessions / 10 + 3 {
                return Ok(signed_in >= sessions);
            }
            let opening = self.wanted.saturating_sub(signed_in + broken);
            for _ in opening..OPENING.min(sessions.saturating_sub(signed_in)) {
                self.calls.connect()?;
                self.wanted += 1;
            }
            self.turn()?;
        }
    }

    /// Sets calls up, so many a second, until so many talk. False where too many failed.
    fn reach(&mut self, calls: usize, rate: f64) -> io::Result<bool> {
        if !self.sign_in(calls)? {
            return Ok(false);
        }
        let (start, failed) = (crate::engine::now(), self.failed());
        let (mut dialled, missing) = (0_u64, calls.saturating_sub(self.calls.talking()));
        while self.calls.talking() < calls {
            if self.failed() - failed > missing as u64 / 20 + 2 {
                return Ok(false);
            }
            let seconds = (crate::engine::now() - start) as f64 / 1e9;
            if (dialled as f64) < seconds * rate
                && self.calls.calls() < calls
                && self.calls.dial(Role::Talk)?
            {
                dialled += 1;
            }
            self.turn()?;
        }
        Ok(true)
    }

    /// Measures all calls that talk, for a while.
    fn measure(&mut self, time: Duration) -> io::Result<Step> {
        let (metrics, asked) = (self.gateway.metrics(), crate::engine::now());
        self.wait(SETTLE)?;
        let mut step = Step { calls: self.calls.talking(), ..Step::default() };
        self.calls.engine().take_own();
        let before = self.gateway.sample();
        let span = self.calls.engine().window();
        self.wait(time)?;
        self.calls.engine().window();
        let after = self.gateway.sample();
        let own = self.calls.engine().take_own();
        self.wait(STRAGGLERS)?;
        if let Some(figures) = self.calls.engine().take(span) {
            step.packets(&figures);
        }
        step.cpu(after.since(&before));
        step.memory = after.memory;
        step.kernel_drops = (after.buffer_errors - before.buffer_errors).saturating_sub(own.drops);
        step.generator = Generator::from(&own);
        self.gauges(&mut step, &metrics, asked);
        Ok(step)
    }

    /// What the gateway says of itself.
    fn gauges(&mut self, step: &mut Step, before: &Metrics, asked: u64) {
        let (after, seconds) = (self.gateway.metrics(), (crate::engine::now() - asked) as f64 / 1e9);
        let cpu = after.grown(before, "bridgehead_cpu_seconds_total").into_iter();
        step.shards = cpu.map(|(name, time)| (name, time / seconds)).collect();
        step.drops = after.drops(before);
        step.loop_p999_s = after.pass_bound(before, 0.999);
    }

    /// Hangs everything up, and waits until it is over.
    fn hang_up_all(&mut self) -> io::Result<()> {
        let end = crate::engine::now() + 15_000_000_000;
        while self.calls.calls() > 0 && crate::engine::now() < end {
            // Those too that come up only now.
            while self.calls.hang_up() {}
            self.turn()?;
        }
        if self.calls.calls() > 0 {
            self.report.faults.push(format!("{} calls never ended", self.calls.calls()));
        }
        Ok(())
    }
}
