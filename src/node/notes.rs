//! What operators should know of trunks, as lines of the log: never more than they can read.

use super::log::{note, warn};
use crate::dns::Missing;
use crate::sip::Note;
use std::fmt::Write as _;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};
use std::{io, thread};

/// Notes that may wait to be written.
const WAITING: usize = 256;
/// Lines in one span of time; what is beyond them is counted and said in one.
const LINES: u32 = 20;
const SPAN: Duration = Duration::from_secs(10);

/// How many lines the log had of late.
#[derive(Debug, Default)]
struct Pace {
    since: Option<Instant>,
    lines: u32,
    left_out: u32,
}

impl Pace {
    /// Whether one more line may be written; and how many were left out before it.
    fn allow(&mut self, now: Instant) -> Option<u32> {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= SPAN) {
            (self.since, self.lines) = (Some(now), 0);
        }
        if self.lines >= LINES {
            self.left_out += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

/// Why a name has no addresses, in words.
pub(super) fn why(missing: Missing) -> &'static str {
    match missing {
        Missing::Absent => "it has no SRV, A or AAAA records",
        Missing::Away => "no name server answers",
        Missing::Circular => "its aliases lead in circles",
    }
}

/// A note as a line, and whether it is a warning.
fn line(note: &Note, trunks: &[String]) -> (String, bool) {
    let name =
        |trunk: &crate::leg::TrunkId| trunks.get(usize::from(trunk.0)).map_or("?", String::as_str).to_owned();
    let mut line = String::new();
    let bad = match note {
        Note::Server { trunk, hop, up } => {
            let state = if *up { "is back" } else { "is down: it does not answer OPTIONS" };
            let address = hop.address;
            let _ = write!(line, "trunk {}: server {address} {state}", name(trunk));
            !up
        }
        Note::Left { trunk, hop, by } => {
            let address = hop.address;
            let by = by.as_secs();
            let _ = write!(line, "trunk {}: server {address} failed, left alone for {by} s", name(trunk));
            true
        }
        Note::Name { trunk, target, why: Some(missing) } => {
            let _ = write!(line, "trunk {}: {target} can't be located: {}", name(trunk), why(*missing));
            true
        }
        Note::Name { trunk, target, why: None } => {
            let _ = write!(line, "trunk {}: {target} is located again", name(trunk));
            false
        }
    };
    (line, bad)
}

/// The thread that writes them, off the shards' cores.
pub(super) fn write_notes(trunks: Vec<String>) -> io::Result<SyncSender<Note>> {
    let (sender, receiver) = sync_channel::<Note>(WAITING);
    let write = move || {
        let mut pace = Pace::default();
        while let Ok(told) = receiver.recv() {
            let Some(left_out) = pace.allow(crate::shard::clock().instant) else { continue };
            if left_out > 0 {
                warn(format_args!("{left_out} notes on trunks were left out"));
            }
            match line(&told, &trunks) {
                (line, true) => warn(format_args!("{line}")),
                (line, false) => note(format_args!("{line}")),
            }
        }
    };
    thread::Builder::new().name("notes".into()).spawn(write)?;
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leg::TrunkId;
    use crate::sip::{Hop, Target};

    #[test]
    fn lines_are_few_and_what_was_left_out_is_said() {
        let mut pace = Pace::default();
        let start = crate::shard::clock().instant;
        let written = (0..50).filter(|_| pace.allow(start).is_some()).count();
        assert_eq!(written, 20);
        assert_eq!(pace.allow(start + SPAN), Some(30));
        assert_eq!(pace.allow(start + SPAN), Some(0));
    }

    #[test]
    fn notes_name_trunk_server_and_reason() {
        let trunks = ["pbx".to_owned()];
        let target = Target::parse("sip.example.com", None).unwrap();
        let note = Note::Name { trunk: TrunkId(0), target, why: Some(Missing::Away) };
        let (text, bad) = line(&note, &trunks);
        assert!(bad && text == "trunk pbx: sip.example.com can't be located: no name server answers");
        let hop = Hop::udp("192.0.2.1:5060".parse().unwrap());
        let (text, bad) = line(&Note::Server { trunk: TrunkId(0), hop, up: true }, &trunks);
        assert!(!bad && text.starts_with("trunk pbx: server ") && text.ends_with(" is back"), "{text}");
    }
}
