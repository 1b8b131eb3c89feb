//! What the process writes: start-up lines on standard output, one line a call on standard error.

use crate::base::redact::User;
use crate::call::Record;
use crate::leg::Source;
use std::fmt;
use std::io::Write as _;

/// Says a line on standard output. A closed pipe is nobody's problem.
pub fn say(line: fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

/// Writes a line of the log on standard error.
pub fn note(line: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Writes one line for an ended call: `key=value`, personal data redacted.
pub fn call(record: &Record) {
    let source = match &record.source {
        Source::Trunk(trunk) => format!("trunk{}", trunk.0),
        Source::Account(_) => "user".to_owned(),
    };
    let until = record.answered.unwrap_or(record.ended);
    note(format_args!(
        "call key={} source={source} from={} to={} started={}.{:03} waited_ms={} talked_ms={} reason={} code={}",
        User(&record.key),
        User(&record.caller.user),
        User(&record.callee.user),
        record.started.as_secs(),
        record.started.subsec_millis(),
        until.saturating_sub(record.started).as_millis(),
        record.talked().as_millis(),
        record.cause.name(),
        record.code,
    ));
}
