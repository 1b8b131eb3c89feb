//! Sessions: what idle ones cost, and what becomes of them when all come back at once.

use super::ramp::slope;
use super::{Run, Storm};
use crate::report::{Churn, SetUp};
use std::io;
use std::time::Duration;

/// Connections begun in one turn of the loop.
const BURST: usize = 16;
/// How long after the storm is ordered it begins, so that all of it falls into the span that is measured.
const LULL: u64 = 500_000_000;

impl Run {
    pub(super) fn idle(&mut self) -> io::Result<()> {
        let profile = self.profile.clone();
        let steps = profile.steps.max(1);
        let mut points = vec![(0.0, self.report.memory_bare as f64)];
        for n in 1..=steps {
            let sessions = profile.sessions * n / steps;
            if !self.sign_in(sessions)? {
                self.report.faults.push(format!("{sessions} sessions were not reached"));
            }
            let mut step = self.measure(Duration::from_secs_f64(profile.seconds))?;
            step.calls = self.calls.signed_in();
            points.push((step.calls as f64, step.memory as f64));
            self.report.steps.push(step);
        }
        let cores = self.report.steps.last().map_or(0.0, |step| step.cpu_cores);
        let figures = &mut self.report.figures;
        if let Some(slope) = slope(&points) {
            figures.insert("memory per idle session, kB (slope)".into(), slope / 1e3);
        }
        figures.insert("CPU of all idle sessions, of one core".into(), cores);
        Ok(())
    }

    /// Everybody's connection breaks; everybody comes back. Calls that talk go on talking.
    pub(super) fn storm(&mut self) -> io::Result<()> {
        let profile = self.profile.clone();
        let all = profile.calls + profile.sessions;
        if !self.reach(profile.calls, profile.rate)? || !self.sign_in(all)? {
            self.report.faults.push("calls and sessions were not reached".into());
            return Ok(());
        }
        let quiet = self.measure(Duration::from_secs(3))?;
        let base = quiet.cpu_cores;
        self.report.steps.push(quiet);
        self.cut_tally();
        self.calls.cut_all();
        // The gateway must have seen that they are gone.
        self.wait(Duration::from_secs(1))?;
        let began = crate::engine::now() + LULL;
        self.storm = Some(Storm { at: began, next: 0, all });
        let mut step = self.measure(Duration::from_secs_f64(profile.seconds))?;
        let end = began + 60_000_000_000;
        while self.calls.signed_in() < all && crate::engine::now() < end {
            self.turn()?;
        }
        let tally = self.cut_tally();
        let back = tally.sign_in.len() as f64;
        let cpu_us = (step.cpu_cores - base).max(0.0) * step.seconds * 1e6 / back.max(1.0);
        step.churn = Some(Churn {
            wanted: all as f64,
            reached: back / (self.calls.last_sign_in().saturating_sub(began) as f64 / 1e9).max(0.001),
            cpu_us,
            set_up: SetUp::from(&tally),
        });
        self.report.steps.push(step);
        let last = self.calls.last_sign_in().saturating_sub(began) as f64 / 1e9;
        let figures = [
            ("sessions that came back by their tokens", tally.resumed as f64),
            ("sessions that had to begin anew", tally.sessions as f64),
            ("seconds until the last was back", last),
            ("gateway's CPU for each that came back, us", cpu_us),
        ];
        self.report.figures.extend(figures.map(|(name, value)| (name.to_owned(), value)));
        let signed_in = self.calls.signed_in();
        if signed_in < all {
            self.report.faults.push(format!("{} sessions never came back", all - signed_in));
        }
        self.hang_up_all()
    }

    /// Begins to come back with as many as one turn allows.
    pub(super) fn reconnect_some(&mut self, now: u64) -> io::Result<()> {
        let Some(storm) = self.storm.as_mut().filter(|storm| storm.at <= now) else { return Ok(()) };
        let places = storm.next..(storm.next + BURST).min(storm.all);
        storm.next = places.end;
        if storm.next == storm.all {
            self.storm = None;
        }
        for place in places {
            self.calls.reconnect(place)?;
        }
        Ok(())
    }
}
