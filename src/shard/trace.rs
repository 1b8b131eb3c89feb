//! What happened to each call: a short ladder of messages and events, kept in memory for whoever asks.
//!
//! Signalling only: nothing here is on media's way. SIP messages are kept as their first line and a few headers, a
//! browser's messages by their type, media by what became of it. Bounded in calls, in entries of a call, and in bytes.

use crate::base::{CallId, LegId, Map, Now};
use crate::call::Record;
use crate::leg::{Incoming, Party, Source, Target};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// Headers that are kept of a SIP message, with their compact forms (RFC 3261 section 7.3.3).
const HEADERS: [(&str, &str); 7] = [
    ("From", "f"),
    ("To", "t"),
    ("Contact", "m"),
    ("CSeq", ""),
    ("Call-ID", "i"),
    ("Reason", ""),
    ("Content-Type", "c"),
];
/// Bytes kept of one value.
const VALUE: usize = 160;
/// Messages of a call that is not known yet.
const HELD: usize = 4;

/// Bounds, for each shard.
#[derive(Clone, Copy, Debug)]
pub struct TraceCaps {
    /// Whether calls are traced at all.
    pub on: bool,
    /// Entries of one call; later ones are counted only.
    pub entries: usize,
    /// Calls, those that are over included; the oldest that is over goes first.
    pub calls: usize,
    /// Bytes of all together.
    pub bytes: usize,
}

impl Default for TraceCaps {
    fn default() -> Self {
        TraceCaps { on: true, entries: 200, calls: 2_000, bytes: 16 << 20 }
    }
}

/// Which way something went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the party to the gateway.
    In,
    /// From the gateway to the party.
    Out,
    /// It happened in the gateway.
    Here,
}

/// One step of the ladder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When, since the Unix epoch.
    pub at: Duration,
    /// On which leg.
    pub leg: LegId,
    /// Which way.
    pub way: Way,
    /// `INVITE`, `180 Ringing`, `ringing`, `dtls connected`.
    pub what: String,
    /// The far address, for SIP.
    pub remote: Option<SocketAddr>,
    /// Headers of a SIP message.
    pub headers: Vec<(&'static str, String)>,
}

impl Entry {
    fn size(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(_, value)| value.len() + 40).sum();
        size_of::<Entry>() + self.what.len() + headers
    }
}

/// One call's ladder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ladder {
    /// The call; `None` where it was refused before it was one.
    pub call: Option<CallId>,
    /// Call-ID, or the browser's own id of the call.
    pub key: String,
    /// The leg that came in.
    pub incoming: LegId,
    /// The leg that went out.
    pub outgoing: Option<LegId>,
    /// Legs that were dialled later, for transfers.
    pub later: Vec<LegId>,
    /// Who brought it.
    pub source: Source,
    /// Where it went.
    pub target: Option<Target>,
    /// Who called.
    pub caller: Party,
    /// Who was called.
    pub callee: Option<Party>,
    /// What happened, oldest first.
    pub entries: Vec<Entry>,
    /// Entries beyond those that are kept.
    pub dropped: u64,
    /// How it ended: the cause's name and the code.
    pub over: Option<(&'static str, u16)>,
}

impl Ladder {
    fn size(&self) -> usize {
        // The id is a key to it, too; names are cut.
        let names = 2 * self.key.len() + 6 * VALUE;
        size_of::<Ladder>()
            + names
            + self.later.len() * size_of::<LegId>()
            + self.entries.iter().map(Entry::size).sum::<usize>()
    }
}

/// A message of a call that has no leg yet.
#[derive(Debug)]
struct Early {
    at: Duration,
    way: Way,
    remote: SocketAddr,
    what: String,
    headers: Vec<(&'static str, String)>,
}

/// The first message of a call, until the call machine knows it.
#[derive(Debug, Default)]
struct Held {
    call_id: String,
    steps: Vec<Early>,
}

/// All ladders of a shard.
#[derive(Debug)]
pub(super) struct Traces {
    caps: TraceCaps,
    ladders: BTreeMap<u64, Ladder>,
    next: u64,
    bytes: usize,
    by_leg: Map<LegId, u64>,
    by_call_id: Map<Box<str>, LegId>,
    held: Held,
    pub(super) evicted: u64,
}

/// A message's head as text: its first line and its headers.
fn head(data: &[u8]) -> Option<&str> {
    let end = data.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(data.len());
    std::str::from_utf8(data.get(..end)?).ok()
}

/// The headers of a head that are kept, by their long names. Lenient: what the stack refuses is shown too.
fn headers(head: &str) -> impl Iterator<Item = (&'static str, &str)> {
    head.split("\r\n").skip(1).filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        let name = name.trim_end();
        let is = |(long, short): &&(&str, &str)| {
            name.eq_ignore_ascii_case(long) || (!short.is_empty() && name.eq_ignore_ascii_case(short))
        };
        HEADERS.iter().find(is).map(|(long, _)| (*long, value.trim()))
    })
}

/// `INVITE`, or `180 Ringing (INVITE)`.
fn title(head: &str) -> String {
    let first = head.split("\r\n").next().unwrap_or_default();
    let Some(status) = first.strip_prefix("SIP/2.0 ") else {
        return cut(first.split(' ').next().unwrap_or_default());
    };
    let method =
        headers(head).find(|(name, _)| *name == "CSeq").and_then(|(_, value)| value.split(' ').nth(1));
    format!("{} ({})", cut(status), cut(method.unwrap_or("?")))
}

fn cut(text: &str) -> String {
    let end = text.char_indices().map(|(at, _)| at).take_while(|&at| at <= VALUE).last().unwrap_or(0);
    let text = if text.len() <= VALUE { text } else { text.get(..end).unwrap_or_default() };
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn short(party: &Party) -> Party {
    Party { user: cut(&party.user), host: cut(&party.host), display: cut(&party.display) }
}

impl Traces {
    pub(super) fn new(caps: TraceCaps) -> Traces {
        Traces {
            caps,
            ladders: BTreeMap::new(),
            next: 0,
            bytes: 0,
            by_leg: Map::default(),
            by_call_id: Map::default(),
            held: Held::default(),
            evicted: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.ladders.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A SIP message comes or goes.
    pub(super) fn sip(&mut self, now: Now, way: Way, remote: SocketAddr, data: &[u8]) {
        if !self.caps.on {
            return;
        }
        let Some(head) = head(data) else { return };
        let Some((_, call_id)) = headers(head).find(|(name, _)| *name == "Call-ID") else { return };
        let leg = self.by_call_id.get(call_id).copied();
        if leg.is_none() && way == Way::In && head.starts_with("INVITE ") {
            self.held = Held { call_id: call_id.to_owned(), steps: Vec::new() };
        }
        let held = self.held.call_id == call_id && self.held.steps.len() < HELD;
        if leg.is_none() && !held {
            return;
        }
        let kept = headers(head).take(2 * HEADERS.len()).map(|(name, value)| (name, cut(value))).collect();
        let what = title(head);
        if let Some(leg) = leg {
            self.add(Entry { at: now.unix, leg, way, what, remote: Some(remote), headers: kept });
        } else {
            self.held.steps.push(Early { at: now.unix, way, remote, what, headers: kept });
        }
    }

    /// A call came in; the call machine has heard of it.
    pub(super) fn begin(&mut self, incoming: &Incoming) -> bool {
        if !self.caps.on || self.by_leg.contains_key(&incoming.leg) {
            return false;
        }
        let number = self.next;
        self.next += 1;
        let ladder = Ladder {
            call: None,
            key: incoming.key.clone(),
            incoming: incoming.leg,
            outgoing: None,
            later: Vec::new(),
            source: incoming.source.clone(),
            target: None,
            caller: short(&incoming.caller),
            callee: None,
            entries: Vec::new(),
            dropped: 0,
            over: None,
        };
        self.make_room(ladder.size());
        self.bytes += ladder.size();
        self.ladders.insert(number, ladder);
        self.by_leg.insert(incoming.leg, number);
        if self.held.call_id == incoming.key && !self.held.steps.is_empty() {
            self.by_call_id.insert(incoming.key.as_str().into(), incoming.leg);
            for Early { at, way, remote, what, headers } in std::mem::take(&mut self.held).steps {
                self.add(Entry { at, leg: incoming.leg, way, what, remote: Some(remote), headers });
            }
        }
        true
    }

    /// Which call a leg became.
    pub(super) fn name(&mut self, leg: LegId, call: CallId) {
        if let Some(ladder) = self.ladder(leg) {
            ladder.call = Some(call);
        }
    }

    /// The call of `incoming` goes out on another leg.
    pub(super) fn dial(&mut self, incoming: LegId, dial: &crate::leg::Dial) {
        let Some(&number) = self.by_leg.get(&incoming) else { return };
        self.by_leg.insert(dial.leg, number);
        if let Some(ladder) = self.ladders.get_mut(&number) {
            if ladder.outgoing.is_some_and(|leg| leg != dial.leg) {
                ladder.later.push(dial.leg);
                self.bytes += size_of::<LegId>();
                return;
            }
            ladder.outgoing = Some(dial.leg);
            ladder.target = Some(dial.target.clone());
            ladder.callee = Some(short(&dial.callee));
        }
    }

    /// The Call-ID of a leg that goes out.
    pub(super) fn call_id(&mut self, leg: LegId, call_id: &str) {
        if self.by_leg.contains_key(&leg) {
            self.by_call_id.insert(call_id.into(), leg);
        }
    }

    /// Something that is no SIP message.
    pub(super) fn step(&mut self, now: Now, leg: LegId, way: Way, what: impl FnOnce() -> String) {
        if self.caps.on && self.by_leg.contains_key(&leg) {
            let what = what();
            self.add(Entry { at: now.unix, leg, way, what, remote: None, headers: Vec::new() });
        }
    }

    /// The call is over. What still comes is added.
    pub(super) fn end(&mut self, record: &Record) {
        // After a transfer one of its legs may be of another call's ladder.
        for leg in [Some(record.incoming), record.outgoing].into_iter().flatten() {
            let Some(ladder) = self.ladder(leg).filter(|ladder| ladder.over.is_none()) else { continue };
            ladder.over = Some((record.cause.name(), record.code));
            ladder.callee.get_or_insert_with(|| short(&record.callee));
            if ladder.target.is_none() {
                ladder.target.clone_from(&record.target);
            }
        }
    }

    /// The newest ladder of this name: the call's or a leg's id as logs write it, or its key.
    pub(super) fn find(&self, name: &str) -> Option<Ladder> {
        let is = |ladder: &&Ladder| {
            ladder.key == name
                || ladder.call.is_some_and(|call| format!("{call:?}") == name)
                || format!("{:?}", ladder.incoming) == name
                || ladder.outgoing.is_some_and(|leg| format!("{leg:?}") == name)
        };
        self.ladders.values().rev().find(is).cloned()
    }

    fn ladder(&mut self, leg: LegId) -> Option<&mut Ladder> {
        self.ladders.get_mut(self.by_leg.get(&leg)?)
    }

    fn add(&mut self, entry: Entry) {
        let (size, cap) = (entry.size(), self.caps.entries);
        let Some(ladder) = self.ladder(entry.leg) else { return };
        if ladder.entries.len() >= cap {
            ladder.dropped += 1;
            return;
        }
        ladder.entries.push(entry);
        self.bytes += size;
        self.make_room(0);
    }

    /// Forgets the oldest that is over while there is too much, else the oldest; `more` bytes are to come.
    fn make_room(&mut self, more: usize) {
        while self.ladders.len() >= self.caps.calls.max(1) || self.bytes + more > self.caps.bytes {
            // Those that are over are mostly the oldest; a few long calls before them are passed over.
            let over = self.ladders.iter().take(64).find(|(_, ladder)| ladder.over.is_some());
            let Some(number) = over.or_else(|| self.ladders.iter().next()).map(|(number, _)| *number) else {
                return;
            };
            let Some(ladder) = self.ladders.remove(&number) else { return };
            self.evicted += 1;
            self.bytes -= ladder.size();
            let legs = [Some(ladder.incoming), ladder.outgoing];
            for leg in legs.into_iter().flatten().chain(ladder.later) {
                self.by_leg.remove(&leg);
            }
            for entry in &ladder.entries {
                if let Some((_, call_id)) = entry.headers.iter().find(|(name, _)| *name == "Call-ID") {
                    self.by_call_id.remove(call_id.as_str());
                }
            }
            self.by_call_id.remove(ladder.key.as_str());
        }
    }
}
