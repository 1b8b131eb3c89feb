//! The knee of each subject: how many calls one core carries, found by halving between two numbers of calls.
//!
//! Every try starts the subject anew, with its calls up before packets are counted. A try that is bad is made once more,
//! for it may be the machine's doing. Every repeat seeks the knees of all subjects before the next one begins.

use super::super::Machine;
use super::report::Spread;
use super::subject::Subject;
use super::{Compare, Measured, measure};
use serde::Serialize;
use std::fmt::Write as _;
use std::{fs, io};

/// What was found of one subject in one repeat.
#[derive(Clone, Debug, Serialize)]
struct Found {
    subject: String,
    repeat: usize,
    /// The most calls that were carried; 0 where not even the fewest were.
    knee: usize,
    /// The fewest that were not; `None` where all that was tried was carried.
    beyond: Option<usize>,
    /// What is beyond was the generator's end, not the subject's.
    generator_full: bool,
    /// CPU a packet, the subject's share of its core, p99 of the delay, and the generator's idle share at the knee.
    cpu_us: f64,
    busy_percent: f64,
    p99_us: f64,
    generator_idle_percent: f64,
}

#[derive(Serialize)]
struct Report<'a> {
    machine: Machine,
    command: String,
    absent: &'a [String],
    found: &'a [Found],
}

/// What a try told.
enum Try {
    Good(Box<Measured>),
    Bad,
    /// The generator had too little to spare.
    Unsure,
}

/// Seeks, and writes the report to standard output and where it was told to.
pub(super) fn run(compare: &Compare, subjects: &[Subject], absent: &[String]) -> io::Result<()> {
    let (Some(&low), Some(&high)) = (compare.calls.iter().min(), compare.calls.iter().max()) else {
        return Err(io::Error::other("--calls says between which numbers of calls to seek"));
    };
    let mut found = Vec::new();
    for repeat in 1..=compare.repeats {
        for subject in subjects {
            let one = seek(low, high, compare.grain, |calls| attempt(compare, subject, calls, repeat));
            found.push(Found { subject: subject.name(), repeat, ..one });
        }
    }
    let command = std::env::args().collect::<Vec<_>>().join(" ");
    let report = Report { machine: Machine::read(), command, absent, found: &found };
    let text = markdown(&report, subjects);
    print!("{text}");
    if let Some(file) = &compare.markdown {
        fs::write(file, &text)?;
    }
    if let Some(file) = &compare.json {
        fs::write(file, serde_json::to_vec_pretty(&report)?)?;
    }
    Ok(())
}

fn attempt(compare: &Compare, subject: &Subject, calls: usize, repeat: usize) -> Try {
    for again in [false, true] {
        let told = match measure(compare, subject, calls, repeat) {
            Ok(row) => {
                eprintln!(
                    "{repeat}: {:<28} {calls:>5} calls: {:6.2} µs a packet, {:.3} % lost or late, p99 {:.0} µs, generator {:.0} % idle",
                    row.subject,
                    row.cpu_us,
                    row.lost_percent + row.late_percent,
                    row.p99_us,
                    row.generator_idle_percent,
                );
                match (row.is_sure(), row.is_good()) {
                    (true, true) => return Try::Good(Box::new(row)),
                    (true, false) => Try::Bad,
                    (false, _) => Try::Unsure,
                }
            }
            Err(error) => {
                eprintln!("{repeat}: {:<28} {calls:>5} calls: {error}", subject.name());
                Try::Bad
            }
        };
        if again {
            return told;
        }
    }
    Try::Bad
}

/// Halves between `low` and `high` until both are nearer to each other than `grain`.
fn seek(low: usize, high: usize, grain: usize, mut attempt: impl FnMut(usize) -> Try) -> Found {
    let mut found = Found {
        subject: String::new(),
        repeat: 0,
        knee: 0,
        beyond: None,
        generator_full: false,
        cpu_us: 0.0,
        busy_percent: 0.0,
        p99_us: 0.0,
        generator_idle_percent: 0.0,
    };
    let (mut next, mut carried, mut beyond) = (low, None, None);
    loop {
        match attempt(next) {
            Try::Good(row) => {
                carried = Some(next);
                found.knee = next;
                (found.cpu_us, found.busy_percent) = (row.cpu_us, row.busy_percent);
                (found.p99_us, found.generator_idle_percent) = (row.p99_us, row.generator_idle_percent);
            }
            bad => {
                beyond = Some(next);
                found.generator_full = matches!(bad, Try::Unsure);
            }
        }
        found.beyond = beyond;
        next = match (carried, beyond) {
            (None, _) => return found,
            (Some(most), None) if most >= high => return found,
            (Some(_), None) => high,
            (Some(most), Some(least)) if least - most <= grain.max(1) => return found,
            (Some(most), Some(least)) => usize::midpoint(most, least),
        };
    }
}

fn markdown(report: &Report<'_>, subjects: &[Subject]) -> String {
    let mut text = format!("{}\n\n", report.machine.line());
    text.push_str("| Forwarder | knee, calls | × rtpengine | CPU µs a packet there | core % | p99 µs | generator idle % |\n|---|---|---|---|---|---|---|\n");
    for subject in subjects {
        let of = |name: &str| report.found.iter().filter(|one| one.subject == name).collect::<Vec<_>>();
        let own = of(&subject.name());
        let spread =
            |field: fn(&Found) -> f64| Spread::of(own.iter().map(|one| field(one))).unwrap_or_default();
        let peers = subject.peer().map(|name| of(&name)).unwrap_or_default();
        let ratios = own.iter().filter_map(|one| {
            let peer = peers.iter().find(|peer| peer.repeat == one.repeat && peer.knee > 0)?;
            Some(one.knee as f64 / peer.knee as f64)
        });
        let ratio = Spread::of(ratios).map_or("–".into(), |ratio| {
            format!("{:.2} ({:.2}–{:.2})", ratio.median, ratio.low, ratio.high)
        });
        let knee = spread(|one| one.knee as f64);
        let open = own.iter().any(|one| one.generator_full || one.beyond.is_none());
        let _ = writeln!(
            text,
            "| {} | {}{:.0} ({:.0}–{:.0}) | {ratio} | {:.2} | {:.0} | {:.0} | {:.0} |",
            subject.name(),
            if open { "at least " } else { "" },
            knee.median,
            knee.low,
            knee.high,
            spread(|one| one.cpu_us).median,
            spread(|one| one.busy_percent).median,
            spread(|one| one.p99_us).median,
            spread(|one| one.generator_idle_percent).median,
        );
    }
    for line in report.absent {
        let _ = writeln!(text, "\n{line}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(calls: usize) -> Box<Measured> {
        Box::new(Measured {
            subject: String::new(),
            calls,
            repeat: 1,
            packets: 1,
            cpu_us: calls as f64,
            user_us: 0.0,
            kernel_us: 0.0,
            lost_percent: 0.0,
            late_percent: 0.0,
            p50_us: 0.0,
            p99_us: 0.0,
            p999_us: 0.0,
            memory_kb: 0,
            busy_percent: 0.0,
            others_percent: 0.0,
            generator_idle_percent: 50.0,
            generator_late_p99_us: 0.0,
            generator_faults: 0,
        })
    }

    #[test]
    fn the_knee_is_found_to_the_grain_wherever_it_is() {
        for knee in 200..=1000 {
            let mut tries = 0;
            let found = seek(200, 1000, 25, |calls| {
                tries += 1;
                if calls <= knee { Try::Good(row(calls)) } else { Try::Bad }
            });
            assert!(found.knee <= knee && knee - found.knee < 25, "{} of {knee}", found.knee);
            assert!(found.cpu_us as usize == found.knee && tries <= 8, "{tries} tries");
            assert_eq!(found.beyond.is_none(), knee == 1000);
        }
        let found = seek(200, 1000, 25, |_| Try::Bad);
        assert_eq!((found.knee, found.beyond, found.generator_full), (0, Some(200), false));
    }

    #[test]
    fn a_generator_that_is_full_leaves_the_knee_open() {
        let found =
            seek(200, 1000, 100, |calls| if calls < 600 { Try::Good(row(calls)) } else { Try::Unsure });
        assert!(found.generator_full && (500..600).contains(&found.knee));
    }

    #[test]
    fn what_is_lost_late_or_slow_is_not_carried_and_what_the_generator_spoilt_is_not_sure() {
        assert!(row(1).is_good() && row(1).is_sure());
        for bad in [
            Measured { lost_percent: 0.06, late_percent: 0.05, ..*row(1) },
            Measured { p99_us: 21_000.0, ..*row(1) },
        ] {
            assert!(!bad.is_good() && bad.is_sure());
        }
        assert!(!Measured { generator_idle_percent: 19.0, ..*row(1) }.is_sure());
        assert!(!Measured { generator_faults: 1, ..*row(1) }.is_sure());
    }
}
