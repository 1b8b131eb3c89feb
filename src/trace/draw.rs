//! The diagram: caller on the left, gateway in the middle, called party on the right, time downwards.

use super::{Direction, Side, Step, Told};
use std::fmt::Write as _;

/// Columns between two lifelines.
const SPAN: usize = 34;
/// Columns before the first lifeline.
const MARGIN: usize = 12;

pub(super) fn draw(told: &Told) -> String {
    let mut text = String::new();
    let name = if told.call.is_empty() { "a call that was refused" } else { &told.call };
    let end = if told.ended.is_empty() { "it runs".to_owned() } else { format!("ended: {}", told.ended) };
    // A string takes everything, here and below.
    let _ = writeln!(text, "{name}, {end}\n");
    let mut row = vec![' '; MARGIN + 2 * SPAN + 1];
    for (place, label) in [&told.caller, "bridgehead", &told.callee].into_iter().enumerate() {
        put_centred(&mut row, MARGIN + place * SPAN, label);
    }
    line(&mut text, &row);
    for step in &told.steps {
        line(&mut text, &draw_step(step));
    }
    if told.dropped > 0 {
        let _ = writeln!(text, "… and {} more that are not kept", told.dropped);
    }
    text
}

fn line(text: &mut String, row: &[char]) {
    let row: String = row.iter().collect();
    text.push_str(row.trim_end());
    text.push('\n');
}

/// Puts a label around a column; the row grows where it must.
fn put_centred(row: &mut Vec<char>, column: usize, label: &str) {
    let length = label.chars().count();
    put(row, column.saturating_sub(length / 2), label);
}

fn put(row: &mut Vec<char>, column: usize, label: &str) {
    for (n, c) in label.chars().enumerate() {
        match row.get_mut(column + n) {
            Some(place) => *place = c,
            None => row.push(c),
        }
    }
}

fn draw_step(step: &Step) -> Vec<char> {
    let mut row = vec![' '; MARGIN + 2 * SPAN + 1];
    put(&mut row, 0, &format!("{:>9.3}", step.at));
    for lifeline in 0..3 {
        put(&mut row, MARGIN + lifeline * SPAN, "|");
    }
    let left = if step.party == Side::Caller { MARGIN } else { MARGIN + SPAN };
    // To the right: from the caller in, or to the callee out.
    let right = (step.party == Side::Caller) == (step.way == Direction::In);
    let room = SPAN - 1;
    let mut label = step.what.clone();
    if step.headers.iter().any(|(name, value)| name == "Content-Type" && value.contains("sdp")) {
        label.push_str(" sdp");
    }
    let label: String = label.chars().take(room - 6).collect();
    let fill = room - label.chars().count() - 2;
    let arrow = match step.way {
        Direction::Here => format!("{:^room$}", format!("* {label}")),
        _ if right => format!("-- {label} {}>", "-".repeat(fill - 3)),
        _ => format!("<{} {label} --", "-".repeat(fill - 3)),
    };
    put(&mut row, left + 1, &arrow);
    row
}
