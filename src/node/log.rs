//! What the process writes: start-up lines on standard output, the log on standard error.

use crate::cdr;
use crate::config::{Level, Log, LogFormat};
use crate::shard::clock;
use serde_json::json;
use std::fmt;
use std::io::Write as _;
use std::sync::atomic::{AtomicU8, Ordering};

static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);
static JSON: AtomicU8 = AtomicU8::new(0);

/// Says what is written from now on, and how. For the whole process, before it does anything.
pub fn set(log: Log) {
    LEVEL.store(log.level as u8, Ordering::Relaxed);
    JSON.store(u8::from(log.format == LogFormat::Json), Ordering::Relaxed);
}

/// How lines of calls are written.
pub fn format() -> cdr::Format {
    if JSON.load(Ordering::Relaxed) == 1 { cdr::Format::Json } else { cdr::Format::Text }
}

/// Says a line on standard output. A closed pipe is nobody's problem.
pub fn say(line: fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

fn write(level: Level, line: fmt::Arguments<'_>) {
    if level as u8 > LEVEL.load(Ordering::Relaxed) {
        return;
    }
    let mut out = std::io::stderr().lock();
    let _ = match format() {
        cdr::Format::Text => writeln!(out, "{line}"),
        cdr::Format::Json => {
            let time = clock().unix.as_millis() as f64 / 1000.0;
            let line = line.to_string();
            writeln!(
                out,
                "{}",
                json!({ "event": "log", "level": level.name(), "time": time, "message": line })
            )
        }
    };
}

/// Logs what happens in the ordinary course.
pub fn note(line: fmt::Arguments<'_>) {
    write(Level::Info, line);
}

/// Logs what an operator should look at.
pub fn warn(line: fmt::Arguments<'_>) {
    write(Level::Warn, line);
}

/// Logs what ends the gateway, or a part of it.
pub fn error(line: fmt::Arguments<'_>) {
    write(Level::Error, line);
}

/// Writes a line that has its form already: one for each ended call.
pub fn record(line: &str) {
    if LEVEL.load(Ordering::Relaxed) >= Level::Info as u8 {
        let _ = writeln!(std::io::stderr().lock(), "{line}");
    }
}
