//! The comparison as a table for people and as JSON.

use super::super::Machine;
use super::subject::Subject;
use super::{Compare, Measured};
use serde::Serialize;
use std::fmt::Write as _;
use std::fs;
use std::io;

/// Median, lowest and highest of the repeats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Spread {
    /// `None` of nothing.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (low, high) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Spread { median, low, high })
    }
}

/// One subject at one number of calls.
#[derive(Debug, Serialize)]
struct Line {
    subject: String,
    calls: usize,
    cpu_us: Spread,
    user_us: Spread,
    kernel_us: Spread,
    lost_percent: Spread,
    p50_us: Spread,
    p99_us: Spread,
    p999_us: Spread,
    memory_kb: Spread,
    busy_percent: Spread,
    others_percent: Spread,
    generator_idle_percent: Spread,
    generator_faults: u64,
    /// CPU a packet against that of the subject's floor, and of rtpengine with the same cipher, in the same repeat.
    of_floor: Option<Spread>,
    of_rtpengine: Option<Spread>,
}

#[derive(Serialize)]
struct Report<'a> {
    machine: Machine,
    command: String,
    seconds: f64,
    repeats: usize,
    absent: &'a [String],
    lines: Vec<Line>,
    measured: &'a [Measured],
}

/// Below this the generator may be what is measured.
pub(super) const SPARE: f64 = 20.0;

pub(super) fn write(
    compare: &Compare,
    subjects: &[Subject],
    absent: &[String],
    measured: &[Measured],
) -> io::Result<()> {
    let lines: Vec<Line> = compare
        .calls
        .iter()
        .flat_map(|&calls| subjects.iter().filter_map(move |subject| line(subject, calls, measured)))
        .collect();
    let report = Report {
        machine: Machine::read(),
        command: std::env::args().collect::<Vec<_>>().join(" "),
        seconds: compare.seconds,
        repeats: compare.repeats,
        absent,
        lines,
        measured,
    };
    let text = markdown(&report);
    print!("{text}");
    if let Some(file) = &compare.markdown {
        fs::write(file, &text)?;
    }
    if let Some(file) = &compare.json {
        fs::write(file, serde_json::to_vec_pretty(&report)?)?;
    }
    Ok(())
}

fn line(subject: &Subject, calls: usize, measured: &[Measured]) -> Option<Line> {
    let of = |name: &str| -> Vec<&Measured> {
        measured.iter().filter(|row| row.subject == name && row.calls == calls).collect()
    };
    let own = of(&subject.name());
    let spread = |field: fn(&Measured) -> f64| Spread::of(own.iter().map(|row| field(row)));
    let ratio = |name: Option<String>| {
        let others = of(&name?);
        let pairs = own.iter().filter_map(|row| {
            let other = others.iter().find(|other| other.repeat == row.repeat)?;
            Some(row.cpu_us / other.cpu_us)
        });
        Spread::of(pairs)
    };
    Some(Line {
        subject: subject.name(),
        calls,
        cpu_us: spread(|row| row.cpu_us)?,
        user_us: spread(|row| row.user_us)?,
        kernel_us: spread(|row| row.kernel_us)?,
        lost_percent: spread(|row| row.lost_percent)?,
        p50_us: spread(|row| row.p50_us)?,
        p99_us: spread(|row| row.p99_us)?,
        p999_us: spread(|row| row.p999_us)?,
        memory_kb: spread(|row| row.memory_kb as f64)?,
        busy_percent: spread(|row| row.busy_percent)?,
        others_percent: spread(|row| row.others_percent)?,
        generator_idle_percent: spread(|row| row.generator_idle_percent)?,
        generator_faults: own.iter().map(|row| row.generator_faults).sum(),
        of_floor: ratio(subject.floor().map(|floor| floor.name())),
        of_rtpengine: ratio(subject.peer()),
    })
}

fn markdown(report: &Report<'_>) -> String {
    let mut text = format!("{}\n", report.machine.line());
    let _ =
        writeln!(text, "{} repeats of {} s each: median (lowest–highest)\n", report.repeats, report.seconds);
    let mut calls = 0;
    for line in &report.lines {
        if line.calls != calls {
            calls = line.calls;
            let _ = writeln!(
                text,
                "{}### {calls} calls\n\n| Forwarder | CPU µs a packet | user | kernel | lost % | p50 µs | p99 µs | p99.9 µs | × its floor | × rtpengine | core % | generator idle % |\n|---|---|---|---|---|---|---|---|---|---|---|---|",
                if text.ends_with("|\n") { "\n" } else { "" },
            );
        }
        let ratio = |ratio: Option<Spread>| {
            ratio.map_or("–".into(), |ratio| {
                format!("{:.2} ({:.2}–{:.2})", ratio.median, ratio.low, ratio.high)
            })
        };
        let cpu = line.cpu_us;
        let _ = writeln!(
            text,
            "| {} | {:.2} ({:.2}–{:.2}) | {:.2} | {:.2} | {:.3} | {:.0} | {:.0} | {:.0} | {} | {} | {:.0} | {:.0}{} |",
            line.subject,
            cpu.median,
            cpu.low,
            cpu.high,
            line.user_us.median,
            line.kernel_us.median,
            line.lost_percent.median,
            line.p50_us.median,
            line.p99_us.median,
            line.p999_us.median,
            ratio(line.of_floor),
            ratio(line.of_rtpengine),
            line.busy_percent.median,
            line.generator_idle_percent.median,
            if line.generator_idle_percent.low < SPARE { " (too little)" } else { "" },
        );
    }
    let disturbed = report.lines.iter().map(|line| line.others_percent.high).fold(0.0, f64::max);
    let faults: u64 = report.lines.iter().map(|line| line.generator_faults).sum();
    let _ = writeln!(
        text,
        "\nOthers had up to {disturbed:.0} % of the measured core. The generator's own faults: {faults}."
    );
    for line in report.absent {
        let _ = writeln!(text, "\n{line}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::super::floor::{Crypto, Shape};
    use super::super::subject::Setting;
    use super::*;

    fn measured(subject: &Subject, repeat: usize, cpu_us: f64) -> Measured {
        Measured {
            subject: subject.name(),
            calls: 200,
            repeat,
            packets: 1,
            cpu_us,
            user_us: cpu_us / 4.0,
            kernel_us: cpu_us * 0.75,
            lost_percent: 0.0,
            late_percent: 0.0,
            p50_us: 1.0,
            p99_us: 2.0,
            p999_us: 3.0,
            memory_kb: 1,
            busy_percent: 50.0,
            others_percent: 0.0,
            generator_idle_percent: 15.0,
            generator_late_p99_us: 1.0,
            generator_faults: 0,
        }
    }

    #[test]
    fn ratios_are_taken_within_a_repeat() {
        let floor = Subject::Floor(Shape::Web, Crypto::Sha1);
        let gateway =
            Subject::Gateway { program: "x".into(), setting: Setting::Default, crypto: Crypto::Sha1 };
        // The second repeat was disturbed, for both alike.
        let rows: Vec<Measured> = [(1, 5.0), (2, 10.0), (3, 4.0)]
            .into_iter()
            .flat_map(|(repeat, cpu)| [measured(&floor, repeat, cpu), measured(&gateway, repeat, cpu * 1.1)])
            .collect();
        let told = line(&gateway, 200, &rows).unwrap();
        let ratio = told.of_floor.unwrap();
        assert!((ratio.low - 1.1).abs() < 1e-9 && (ratio.high - 1.1).abs() < 1e-9, "{ratio:?}");
        assert!((told.cpu_us.median - 5.5).abs() < 1e-9 && told.of_rtpengine.is_none());
        assert!(line(&gateway, 400, &rows).is_none());
        let report = Report {
            machine: Machine::read(),
            command: String::new(),
            seconds: 1.0,
            repeats: 3,
            absent: &["rtpengine: not installed".into()],
            lines: vec![line(&floor, 200, &rows).unwrap(), told],
            measured: &rows,
        };
        let text = markdown(&report);
        assert!(text.contains("| gateway sha1 | 5.50 (4.40–11.00) | 1.38 | 4.12 |"), "{text}");
        assert!(text.contains("| 1.10 (1.10–1.10) | – |") && text.contains("15 (too little)"), "{text}");
        assert!(text.contains("rtpengine: not installed"));
    }

    #[test]
    fn a_median_lies_between_the_middle_two() {
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 9.0]), Some(Spread { median: 3.0, low: 1.0, high: 9.0 }));
        assert_eq!(Spread::of([]), None);
    }
}
