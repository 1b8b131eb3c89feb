//! Calls in steps: all at once for a quick look, more and more until the knee.

use super::{Flow, Run};
use crate::calls::Role;
use crate::report::{Churn, SetUp, Step};
use std::io;
use std::time::Duration;

impl Run {
    pub(super) fn ramp(&mut self) -> io::Result<()> {
        let profile = self.profile.clone();
        let time = Duration::from_secs_f64(profile.seconds);
        let mut target = profile.calls.min(profile.most);
        let mut bad = 0;
        loop {
            let reached = self.reach(target, profile.rate)?;
            let invite_us = SetUp::from(&self.cut_tally()).invite_us;
            let step = Step { invite_us, ..self.measure(time)? };
            let fit = step.generator.fit;
            bad += usize::from(!step.good);
            self.report.steps.push(step);
            if !reached {
                self.report.faults.push(format!("{target} calls were not reached"));
            }
            // One bad step may be the machine's doing: the second is the gateway's.
            if !reached || bad >= 2 || !fit || profile.step == 0 || target >= profile.most {
                break;
            }
            target = (target + profile.step).min(profile.most);
        }
        self.memory();
        if profile.press > 0.0 {
            self.press(profile.press)?;
        }
        self.hang_up_all()?;
        if profile.strict {
            self.judge();
        }
        if let Some(knee) = self.report.knee().filter(|_| profile.step > 0) {
            let (calls, cpu) = (knee.calls as f64, knee.cpu_us[0]);
            self.report.figures.insert("knee, calls".into(), calls);
            self.report.figures.insert("CPU per packet at the knee, us".into(), cpu);
        }
        Ok(())
    }

    /// Past the knee: calls go on being dialled, none is hung up. New ones must be refused, and those that run unharmed.
    fn press(&mut self, rate: f64) -> io::Result<()> {
        self.cut_tally();
        let began = crate::engine::now();
        self.churn = Some(Flow { role: Role::Talk, rate, began, dialled: 0, grow: true });
        let mut step = self.measure(Duration::from_secs_f64(self.profile.seconds))?;
        self.churn = None;
        let seconds = (crate::engine::now() - began) as f64 / 1e9;
        let tally = self.cut_tally();
        let refused = tally.failures.get("ended: overloaded").copied().unwrap_or(0);
        let figures = [
            ("past the knee: calls dialled a second", tally.attempts as f64 / seconds),
            ("past the knee: calls taken", tally.connected as f64),
            ("past the knee: calls refused as overloaded", refused as f64),
            ("past the knee: calls that failed otherwise", (tally.failed() - refused) as f64),
            ("past the knee: lost or late of those that run, %", step.missed * 100.0),
        ];
        self.report.figures.extend(figures.map(|(name, value)| (name.to_owned(), value)));
        let reached = tally.connected as f64 / seconds;
        step.churn = Some(Churn { wanted: rate, reached, cpu_us: 0.0, set_up: SetUp::from(&tally) });
        // It is no step of the ramp: it is past the knee on purpose.
        step.good = false;
        self.report.steps.push(step);
        Ok(())
    }

    /// Memory by call: the slope of a line through all steps and the bare gateway.
    pub(super) fn memory(&mut self) {
        let bare = (0.0, self.report.memory_bare as f64);
        let steps = self.report.steps.iter().map(|step| (step.calls as f64, step.memory as f64));
        let points: Vec<(f64, f64)> = std::iter::once(bare).chain(steps).collect();
        if let Some(slope) = slope(&points) {
            self.report
                .figures
                .insert("memory per call, kB (slope, bare gateway included)".into(), slope / 1e3);
        }
        if let Some(slope) = slope(points.get(1..).unwrap_or_default()) {
            self.report.figures.insert("memory per call, kB (slope over steps)".into(), slope / 1e3);
        }
    }

    /// For a quick look at a tenth of capacity: nothing may fail, and the gateway may drop nothing by its own count.
    pub(super) fn judge(&mut self) {
        self.cut_tally();
        for (reason, count) in &self.before.failures {
            self.report.faults.push(format!("{count} failed: {reason}"));
        }
        for step in &self.report.steps {
            for (reason, count) in &step.drops {
                self.report.faults.push(format!("the gateway dropped {count}: {reason}"));
            }
            let Some(heard) = step.up.sent.checked_sub(step.up.lost).filter(|heard| *heard > 0) else {
                self.report.faults.push("nothing was heard".into());
                continue;
            };
            let strange = step.generator.misled + step.generator.forged + step.generator.unstamped;
            if strange > 0 {
                self.report.faults.push(format!("{strange} of {heard} packets went astray"));
            }
        }
    }
}

/// Least squares.
pub(super) fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let n = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / n, y + point.1 / n));
    let (mut up, mut down) = (0.0, 0.0);
    for point in points {
        up += (point.0 - x) * (point.1 - y);
        down += (point.0 - x).powi(2);
    }
    (down > 0.0).then_some(up / down)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_of_a_line_is_found_and_of_a_point_is_none() {
        assert_eq!(slope(&[(0.0, 10.0), (10.0, 30.0), (20.0, 50.0)]), Some(2.0));
        assert_eq!(slope(&[(1.0, 1.0)]), None);
    }
}
