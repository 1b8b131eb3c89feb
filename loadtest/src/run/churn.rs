//! Calls that come and go: handshakes or set-ups, faster with each step, and what they do to the calls that talk.

use super::ramp::slope;
use super::{Flow, Run};
use crate::calls::Role;
use crate::report::{Churn, SetUp, Step};
use std::io;
use std::time::Duration;

/// A step is past what the gateway carries where it sets up less than this share of what was dialled.
const KEPT: f64 = 0.9;
/// How long calls that came may take to go.
const PATIENCE: u64 = 12_000_000_000;

impl Run {
    pub(super) fn churn(&mut self, role: Role) -> io::Result<()> {
        let profile = self.profile.clone();
        let time = Duration::from_secs_f64(profile.seconds);
        if !self.reach(profile.calls, profile.rate)? || !self.sign_in(profile.calls + profile.sessions)? {
            self.report.faults.push("calls and sessions were not reached".into());
            return Ok(());
        }
        let quiet = self.measure(time)?;
        let base = quiet.cpu_cores;
        self.report.steps.push(quiet);
        for n in 1..=profile.steps {
            let step = self.churn_step(role, profile.churn * n as f64, base, time)?;
            let kept = step.churn.as_ref().is_some_and(|churn| churn.reached >= KEPT * churn.wanted);
            self.report.steps.push(step);
            if !kept {
                break;
            }
        }
        self.best(role);
        self.hang_up_all()
    }

    fn churn_step(&mut self, role: Role, rate: f64, base: f64, time: Duration) -> io::Result<Step> {
        self.cut_tally();
        self.churn = Some(Flow { role, rate, began: crate::engine::now(), dialled: 0, grow: false });
        // Until as many go as come.
        self.wait(Duration::from_millis(500))?;
        self.cut_tally();
        let from = crate::engine::now();
        let mut step = self.measure(time)?;
        let tally = self.cut_tally();
        self.churn = None;
        // Calls come while `measure` settles and waits for stragglers, too.
        let seconds = (crate::engine::now() - from) as f64 / 1e9;
        let reached = tally.connected as f64 / seconds;
        let cpu = (step.cpu_cores - base).max(0.0) * 1e6 / reached.max(0.001);
        step.churn = Some(Churn { wanted: rate, reached, cpu_us: cpu, set_up: SetUp::from(&tally) });
        let end = crate::engine::now() + PATIENCE;
        while self.calls.calls() > self.profile.calls && crate::engine::now() < end {
            self.turn()?;
        }
        Ok(step)
    }

    /// The fastest step that kept up, and its price.
    fn best(&mut self, role: Role) {
        let steps = self.report.steps.iter().filter(|step| step.generator.fit);
        let churns = steps.filter_map(|step| step.churn.as_ref());
        let kept =
            churns.filter(|churn| churn.reached >= KEPT * churn.wanted && churn.set_up.failures.is_empty());
        let Some(best) = kept.max_by(|a, b| a.reached.total_cmp(&b.reached)) else { return };
        let what = if role == Role::Shake { "handshakes" } else { "call set-ups" };
        let figures = [
            (format!("{what} a second, reached by a generator with a fifth to spare"), best.reached),
            (format!("{what} a second that a whole core would carry, by CPU"), 1e6 / best.cpu_us.max(0.001)),
        ];
        self.report.figures.extend(figures);
    }

    /// Calls for hours: each span of measurement is a step.
    pub(super) fn soak(&mut self) -> io::Result<()> {
        let profile = self.profile.clone();
        if !self.reach(profile.calls, profile.rate)?
            || !self.sign_in(profile.calls + profile.calls / 4 + 8)?
        {
            self.report.faults.push(format!("{} calls were not reached", profile.calls));
        }
        self.churn = Some(Flow {
            role: Role::Talk,
            rate: profile.churn,
            began: crate::engine::now(),
            dialled: 0,
            grow: false,
        });
        for _ in 0..profile.steps {
            let step = self.measure(Duration::from_secs_f64(profile.seconds))?;
            self.report.steps.push(step);
        }
        self.churn = None;
        let steps = self.report.steps.iter().enumerate();
        let points: Vec<(f64, f64)> = steps
            .map(|(n, step)| (n as f64 * profile.seconds / 3600.0, step.memory as f64 / 1e6))
            // What the first third allocates is filling of tables.
            .skip(profile.steps / 3)
            .collect();
        if let Some(slope) = slope(&points) {
            self.report.figures.insert("memory growth, MB an hour (last two thirds)".into(), slope);
        }
        self.hang_up_all()?;
        self.judge();
        Ok(())
    }
}
