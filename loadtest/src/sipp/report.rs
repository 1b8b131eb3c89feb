//! What SIPp's steps came to, as a table for people and as JSON.

use super::play::Step;
use super::{Kind, Sipp};
use crate::peers::Machine;
use serde::Serialize;
use std::fmt::Write as _;
use std::fs;
use std::io;

#[derive(Serialize)]
struct Report<'a> {
    machine: Machine,
    command: String,
    /// The highest rate at which no call failed and all began in time.
    without_failure: Option<u32>,
    steps: &'a [Step],
}

/// Calls began in time where they began at this share of the rate that was wanted, but for one a second: what SIPp has
/// begun by the time of a row may be off by one.
const IN_TIME: f64 = 0.95;
/// SIPp with less than this share of a core left was busy itself.
const SPARE: f64 = 20.0;

pub(super) fn write(sipp: &Sipp, steps: &[Step]) -> io::Result<()> {
    let report = Report {
        machine: Machine::read(),
        command: std::env::args().collect::<Vec<_>>().join(" "),
        without_failure: without_failure(steps),
        steps,
    };
    let text = markdown(sipp, &report);
    print!("{text}");
    if let Some(file) = &sipp.markdown {
        fs::write(file, &text)?;
    }
    if let Some(file) = &sipp.json {
        fs::write(file, serde_json::to_vec_pretty(&report)?)?;
    }
    Ok(())
}

fn without_failure(steps: &[Step]) -> Option<u32> {
    let whole =
        steps.iter().filter(|step| step.failed == 0 && step.reached + 1.0 >= f64::from(step.rate) * IN_TIME);
    whole.map(|step| step.rate).max()
}

/// Whether SIPp, on its core or cores, had hardly any time left.
fn short(sipp: &Sipp, step: &Step) -> bool {
    let shared = sipp.own_cores.first() == sipp.own_cores.last();
    let busiest = if shared {
        step.caller_percent + step.callee_percent
    } else {
        step.caller_percent.max(step.callee_percent)
    };
    busiest > 100.0 - SPARE
}

fn markdown(sipp: &Sipp, report: &Report<'_>) -> String {
    let mut text = format!("{}\n`{}`\n\n", report.machine.line(), report.command);
    text.push_str(
        "| calls/s wanted | begun | calls | failed | sent again | set-up p50 ms | p99 ms | most at once | gateway CPU ms a call | user | kernel | calls/s a core by CPU | memory MB | grown kB a call at once | gateway % | SIPp caller % | callee % |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for step in report.steps {
        let ms = |time: Option<f64>| time.map_or("–".into(), |time| format!("{time:.0}"));
        let _ = writeln!(
            text,
            "| {} | {:.0} | {} | {} | {} | {} | {} | {} | {:.3} | {:.3} | {:.3} | {:.0} | {} | {} | {:.0} | {:.0} | {:.0}{} |",
            step.rate,
            step.reached,
            step.calls,
            step.failed,
            step.retransmissions,
            ms(step.p50_ms),
            ms(step.p99_ms),
            step.most,
            step.cpu_ms,
            step.user_ms,
            step.kernel_ms,
            if step.cpu_ms > 0.0 { 1e3 / step.cpu_ms } else { 0.0 },
            step.memory_kb / 1024,
            step.grown_kb / if sipp.kind == Kind::Registers { step.calls } else { step.most }.max(1),
            step.gateway_percent,
            step.caller_percent,
            step.callee_percent,
            if short(sipp, step) { " (SIPp is the limit)" } else { "" },
        );
        for (reason, count) in &step.reasons {
            let _ = writeln!(text, "| | | | {count} {reason} | | | | | | | | | | | | | |");
        }
    }
    let _ = match report.without_failure {
        Some(rate) => writeln!(text, "\nHighest rate without a failed call: {rate} calls a second."),
        None => writeln!(text, "\nNo step was without a failed or late call."),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_counts_where_nothing_failed_and_all_began_in_time() {
        let step = |rate, reached, failed| Step { rate, reached, failed, ..Step::default() };
        let steps = [step(100, 99.0, 0), step(200, 196.0, 0), step(400, 300.0, 0), step(800, 790.0, 1)];
        assert_eq!(without_failure(&steps), Some(200));
        assert_eq!(without_failure(&steps[2..]), None);
    }
}
