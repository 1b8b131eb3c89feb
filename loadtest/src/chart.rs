//! Charts as SVG: CPU, delay and loss against calls.

use crate::report::{Report, Step};
use std::fmt::Write as _;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 42.0;

/// One line of a panel.
struct Line {
    name: &'static str,
    colour: &'static str,
    of: fn(&Step) -> f64,
}

/// One panel.
struct Panel {
    title: &'static str,
    lines: &'static [Line],
    /// A limit to draw.
    limit: Option<f64>,
}

const PANELS: [Panel; 3] = [
    Panel {
        title: "CPU of the gateway, of one core",
        lines: &[
            Line { name: "all", colour: "#1b6ca8", of: |step| step.cpu_cores },
            Line { name: "kernel", colour: "#c8553d", of: kernel },
        ],
        limit: Some(1.0),
    },
    Panel {
        title: "one-way delay added, ms (the slower way)",
        lines: &[
            Line { name: "p50", colour: "#1b6ca8", of: |step| slower(step, |times| times.p50) },
            Line { name: "p99", colour: "#c8553d", of: |step| slower(step, |times| times.p99) },
            Line { name: "p99.9", colour: "#7a7a7a", of: |step| slower(step, |times| times.p999) },
        ],
        limit: Some(20.0),
    },
    Panel {
        title: "packets lost or late, %",
        lines: &[Line { name: "lost or late", colour: "#c8553d", of: |step| step.missed * 100.0 }],
        limit: Some(0.1),
    },
];

fn kernel(step: &Step) -> f64 {
    let [all, _, kernel] = step.cpu_us;
    if all > 0.0 { step.cpu_cores * kernel / all } else { 0.0 }
}

fn slower(step: &Step, of: fn(&crate::report::Times) -> f64) -> f64 {
    of(&step.up.delay_us).max(of(&step.down.delay_us)) / 1000.0
}

/// The report's steps as three panels under each other.
pub fn svg(report: &Report) -> String {
    let height = HEIGHT * PANELS.len() as f64;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"11\"><rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    for (n, panel) in PANELS.iter().enumerate() {
        let _ = writeln!(out, "<g transform=\"translate(0 {})\">", HEIGHT * n as f64);
        draw(&mut out, panel, &report.steps);
        out.push_str("</g>\n");
    }
    out.push_str("</svg>\n");
    out
}

fn draw(out: &mut String, panel: &Panel, steps: &[Step]) {
    let right = nice(steps.iter().map(|step| step.calls as f64).fold(1.0, f64::max));
    let values = panel.lines.iter().flat_map(|line| steps.iter().map(line.of));
    let top = nice(values.fold(panel.limit.unwrap_or(0.0), f64::max).max(1e-6));
    let x = |calls: f64| LEFT + (WIDTH - LEFT - RIGHT) * calls / right;
    let y = |value: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top;
    let _ = writeln!(out, "<text x=\"{LEFT}\" y=\"18\" font-weight=\"bold\">{}</text>", panel.title);
    for n in 0..=4 {
        let part = f64::from(n) / 4.0;
        let (at, along) = (y(top * part), x(right * part));
        let _ = writeln!(
            out,
            "<path d=\"M{LEFT} {at:.1}H{:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <text x=\"{along:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0,
            short(top * part),
            HEIGHT - BOTTOM + 16.0,
            short(right * part),
        );
    }
    let _ = writeln!(out, "<text x=\"{:.1}\" y=\"{:.1}\">calls</text>", WIDTH / 2.0, HEIGHT - 8.0);
    if let Some(limit) = panel.limit {
        let _ = writeln!(
            out,
            "<path d=\"M{LEFT} {:.1}H{:.1}\" stroke=\"#999\" stroke-dasharray=\"4 3\"/>",
            y(limit),
            WIDTH - RIGHT
        );
    }
    for (n, line) in panel.lines.iter().enumerate() {
        let points: Vec<String> = steps
            .iter()
            .map(|step| format!("{:.1},{:.1}", x(step.calls as f64), y((line.of)(step))))
            .collect();
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"/>",
            points.join(" "),
            line.colour
        );
        // Hollow where the generator was not fit: such a point says little of the gateway.
        for (point, step) in points.iter().zip(steps) {
            let (cx, cy) = point.split_once(',').unwrap_or_default();
            let fill = if step.generator.fit { line.colour } else { "#fff" };
            let colour = line.colour;
            let _ = writeln!(
                out,
                "<circle cx=\"{cx}\" cy=\"{cy}\" r=\"3\" fill=\"{fill}\" stroke=\"{colour}\"/>"
            );
        }
        let at = WIDTH - RIGHT - 90.0 * (panel.lines.len() - n) as f64 + 40.0;
        let _ = writeln!(out, "<text x=\"{at:.1}\" y=\"18\" fill=\"{}\">{}</text>", line.colour, line.name);
    }
}

/// The next number of the form 1, 2, 4, 5 or 8 times a power of ten.
fn nice(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 4.0, 5.0, 8.0, 10.0];
    steps.into_iter().map(|step| step * power).find(|nice| *nice >= value * 0.999).unwrap_or(value)
}

fn short(value: f64) -> String {
    let text = if value >= 10.0 { format!("{value:.0}") } else { format!("{value:.3}") };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        for (value, round) in [(1.0, 1.0), (730.0, 800.0), (0.34, 0.4), (21.0, 40.0), (0.1, 0.1)] {
            assert!((nice(value) - round).abs() < 1e-9, "{value}: {}", nice(value));
        }
        assert_eq!((short(0.25), short(400.0), short(0.0)), ("0.25".into(), "400".into(), "0".into()));
    }

    #[test]
    fn every_step_is_a_point_in_every_line() {
        let step = Step { calls: 100, missed: 0.5, cpu_cores: 0.4, ..Step::default() };
        let report = Report { steps: vec![step.clone(), Step { calls: 200, ..step }], ..Report::default() };
        let svg = svg(&report);
        assert_eq!(svg.matches("<circle").count(), 2 * 6);
        assert_eq!(svg.matches("<g ").count(), svg.matches("</g>").count());
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }
}
