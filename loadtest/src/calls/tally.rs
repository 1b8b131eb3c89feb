//! What became of calls, handshakes and sessions.

use hdrhistogram::Histogram;
use std::collections::BTreeMap;

/// Counts and times of some span. Times are in nanoseconds.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Calls dialled.
    pub attempts: u64,
    /// Calls whose both parties heard each other.
    pub connected: u64,
    /// Calls that ended as they should.
    pub ended: u64,
    /// Calls and sessions that failed, by reason.
    pub failures: BTreeMap<String, u64>,
    /// Sessions signed in.
    pub sessions: u64,
    /// Sessions resumed.
    pub resumed: u64,
    /// Handshakes finished.
    pub handshakes: u64,
    /// Events and messages that were not expected, by name.
    pub odd: BTreeMap<String, u64>,
    /// From connecting to being signed in.
    pub sign_in: Histogram<u64>,
    /// From the dial command to the INVITE's arrival at the agent.
    pub invite: Histogram<u64>,
    /// From the dial command to `answered` at the browser.
    pub answered: Histogram<u64>,
    /// From the dial command to the first packet that the browser hears.
    pub heard: Histogram<u64>,
    /// From ClientHello to keys.
    pub handshake: Histogram<u64>,
    /// From the dial command to the call being what it was dialled to be.
    pub ready: Histogram<u64>,
}

impl Default for Tally {
    fn default() -> Self {
        let histogram =
            || Histogram::new_with_bounds(1_000, 600_000_000_000, 3).expect("constant bounds are valid");
        Tally {
            attempts: 0,
            connected: 0,
            ended: 0,
            failures: BTreeMap::new(),
            sessions: 0,
            resumed: 0,
            handshakes: 0,
            odd: BTreeMap::new(),
            sign_in: histogram(),
            invite: histogram(),
            answered: histogram(),
            heard: histogram(),
            handshake: histogram(),
            ready: histogram(),
        }
    }
}

impl Tally {
    /// Something failed.
    pub fn fail(&mut self, why: &str) {
        *self.failures.entry(why.to_owned()).or_default() += 1;
    }

    /// Something was not expected.
    pub fn wonder(&mut self, what: &str) {
        *self.odd.entry(what.to_owned()).or_default() += 1;
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: &Tally) {
        self.attempts += other.attempts;
        self.connected += other.connected;
        self.ended += other.ended;
        self.sessions += other.sessions;
        self.resumed += other.resumed;
        self.handshakes += other.handshakes;
        for (own, other) in [(&mut self.failures, &other.failures), (&mut self.odd, &other.odd)] {
            for (name, count) in other {
                *own.entry(name.clone()).or_default() += count;
            }
        }
        let pairs = [
            (&mut self.sign_in, &other.sign_in),
            (&mut self.invite, &other.invite),
            (&mut self.answered, &other.answered),
            (&mut self.heard, &other.heard),
            (&mut self.handshake, &other.handshake),
            (&mut self.ready, &other.ready),
        ];
        for (own, other) in pairs {
            own.add(other).expect("all have the same bounds");
        }
    }

    /// How many failed, whatever the reason.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }
}
