//! Sources that are not heard for a while, since too much of what they sent was refused or could not be read.
//!
//! Each shard counts what it refuses, and tells it in batches to the shard that owns the source; that one sums them up
//! and bans; all are told. Trunks are never banned.

use super::strikes::whole;
use super::{Flow, Output, Stack};
use crate::base::{Map, Now};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// The time in which strikes are counted.
const WINDOW: Duration = Duration::from_secs(10);

/// When a source is banned, and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Banning {
    /// Refused or unreadable messages in ten seconds; 0: nobody is banned.
    pub after: u32,
    /// How long a ban lasts.
    pub time: Duration,
    /// Sources that are watched, and as many that are banned.
    pub sources: usize,
}

impl Default for Banning {
    fn default() -> Self {
        Banning { after: 200, time: Duration::from_mins(5), sources: 16_384 }
    }
}

/// What is remembered of sources.
#[derive(Debug, Default)]
pub(super) struct Bans {
    since: Option<Instant>,
    /// What this shard counted and has not told yet.
    own: Map<IpAddr, u32>,
    /// Of sources that this shard owns: what all counted.
    sums: Map<IpAddr, u32>,
    until: Map<IpAddr, Instant>,
}

impl Bans {
    /// Whether nothing of this source is heard.
    pub fn has(&self, now: Now, source: IpAddr) -> bool {
        !self.until.is_empty() && self.until.get(&whole(source)).is_some_and(|until| now.instant < *until)
    }

    /// Counts a strike. The count to be told to the owner, once there are enough to be worth a message.
    pub fn strike(&mut self, now: Now, source: IpAddr, banning: &Banning) -> Option<u32> {
        self.turn(now);
        let batch = (banning.after / 16).max(1);
        let count = count(&mut self.own, whole(source), 1, banning)?;
        if banning.after == 0 || count < batch {
            return None;
        }
        self.own.remove(&whole(source));
        Some(count)
    }

    /// Sums up what a shard counted. True where the source is to be banned now.
    pub fn sum(&mut self, now: Now, source: IpAddr, more: u32, banning: &Banning) -> bool {
        self.turn(now);
        let over =
            count(&mut self.sums, whole(source), more, banning).is_some_and(|sum| sum >= banning.after);
        if over {
            self.sums.remove(&whole(source));
        }
        over && banning.after > 0
    }

    /// Bans a source, from now on.
    pub fn ban(&mut self, now: Now, source: IpAddr, banning: &Banning) {
        if self.until.len() >= banning.sources {
            self.until.retain(|_, until| now.instant < *until);
        }
        if self.until.len() < banning.sources {
            self.until.insert(whole(source), now.instant + banning.time);
        }
    }

    /// Forgets what was counted in a window that is over, and bans that are.
    fn turn(&mut self, now: Now) {
        let over = |since: Instant| now.instant.saturating_duration_since(since) >= WINDOW;
        if self.since.is_none_or(over) {
            self.since = Some(now.instant);
            self.own.clear();
            self.sums.clear();
            self.until.retain(|_, until| now.instant < *until);
        }
    }
}

fn count(counts: &mut Map<IpAddr, u32>, source: IpAddr, more: u32, banning: &Banning) -> Option<u32> {
    if !counts.contains_key(&source) && counts.len() >= banning.sources {
        return None;
    }
    let count = counts.entry(source).or_default();
    *count = count.saturating_add(more);
    Some(*count)
}

impl Stack {
    /// Whether nothing that comes from this address is heard.
    pub fn is_banned(&mut self, now: Now, source: IpAddr) -> bool {
        let banned = self.bans.has(now, source) && !self.is_trunk(None, source);
        self.counters.banned += u64::from(banned);
        banned
    }

    /// Something that this source sent was refused or could not be read. A trunk is not held to that.
    pub(super) fn strike(&mut self, now: Now, flow: &Flow) {
        if self.trunk_of(flow).is_some() {
            return;
        }
        let source = flow.remote.ip();
        if let Some(count) = self.bans.strike(now, source, &self.config.banning) {
            self.out.push_back(Output::Strikes { source: whole(source), count });
        }
    }

    /// A shard, this one maybe, counted what a source of ours was refused.
    pub(super) fn on_strikes(&mut self, now: Now, source: IpAddr, count: u32) {
        if self.bans.sum(now, source, count, &self.config.banning) {
            self.counters.bans += 1;
            self.bans.ban(now, source, &self.config.banning);
            self.out.push_back(Output::Ban { source });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Now {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
        let instant = Instant::now();
        Now { instant, unix: Duration::ZERO }
    }

    const BANNING: Banning = Banning { after: 32, time: Duration::from_mins(1), sources: 2 };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn strikes_are_told_in_batches_and_forgotten_with_their_window() {
        let (mut bans, now) = (Bans::default(), start());
        let source = ip("192.0.2.1");
        assert_eq!(bans.strike(now, source, &BANNING), None);
        assert_eq!(bans.strike(now, source, &BANNING), Some(2));
        assert_eq!(bans.strike(now, source, &BANNING), None);
        assert_eq!(bans.strike(now.after(WINDOW), source, &BANNING), None);
        assert!(!bans.sum(now, source, 31, &BANNING));
        // An honest burst, again and again.
        assert!(!bans.sum(now.after(WINDOW * 2), source, 31, &BANNING));
        assert!(bans.sum(now.after(WINDOW * 2), source, 1, &BANNING));
        let off = Banning { after: 0, ..BANNING };
        assert!(bans.strike(now, source, &off).is_none() && !bans.sum(now, source, 9, &off));
    }

    #[test]
    fn a_ban_is_for_one_customer_and_expires() {
        let (mut bans, now) = (Bans::default(), start());
        bans.ban(now, ip("2001:db8::1"), &BANNING);
        assert!(bans.has(now, ip("2001:db8::2")) && !bans.has(now, ip("2001:db8:0:1::1")));
        assert!(!bans.has(now, ip("192.0.2.1")));
        assert!(!bans.has(now.after(BANNING.time), ip("2001:db8::1")));
        bans.ban(now, ip("192.0.2.1"), &BANNING);
        bans.ban(now, ip("192.0.2.2"), &BANNING);
        // Full: the third is not banned, until the others are free.
        assert!(!bans.has(now, ip("192.0.2.2")));
        bans.ban(now.after(BANNING.time), ip("192.0.2.2"), &BANNING);
        assert!(bans.has(now.after(BANNING.time), ip("::ffff:192.0.2.2")));
    }
}
