//! What the node tells a shard, and what it may ask.

use super::config::SipTls;
use super::tally::TrunkState;
use super::trace::Ladder;
use crate::base::ShardId;
use crate::call::Live;
use crate::leg::TrunkId;
use crate::net::{Certificate, Waker};
use crate::sip::Hop;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

/// An order to a shard.
#[derive(Debug)]
pub enum Order {
    /// Refuse new calls; the loop ends by itself once the running ones have ended.
    Drain,
    /// Tell everybody and end, within half a second; given again, at once.
    Stop,
    /// Accept connections with this certificate from now on; those that stand keep theirs.
    Certificate(Certificate),
    /// Speak TLS under SIP with these certificates from now on; connections that stand keep theirs.
    SipTls(Box<SipTls>),
    /// Tell of the calls that run, so many at most.
    Calls(usize, SyncSender<Vec<Live>>),
    /// Tell what happened to a call, by its id, a leg's, or its key.
    Trace(String, SyncSender<Option<Box<Ladder>>>),
    /// Tell how it goes.
    Snapshot(SyncSender<Snapshot>),
}

/// A shard's state of affairs.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Whose.
    pub shard: ShardId,
    /// Calls now.
    pub calls: usize,
    /// Connections now.
    pub connections: usize,
    /// Counters: room, name, value.
    pub counters: Vec<(&'static str, &'static str, u64)>,
    /// How long passes of the loop took.
    pub passes: Passes,
    /// What there is now: name, value. See `Core::gauges`.
    pub gauges: Vec<(&'static str, u64)>,
    /// Calls now, in the order of `call::Stage::ALL`.
    pub stages: [usize; 3],
    /// Calls that ended: the cause's name, how many.
    pub ended: Vec<(&'static str, u64)>,
    /// The trunks, by `TrunkId`.
    pub trunks: Vec<TrunkState>,
    /// The trunks' servers and whether each gets requests, where the shard knows that for all.
    pub servers: Vec<(TrunkId, Hop, bool)>,
    /// CPU time that the thread has used.
    pub cpu: Duration,
}

/// Bounds between which passes are counted.
pub const BOUNDS: [Duration; 9] = [
    Duration::from_micros(10),
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_secs(1),
];

/// How long passes of the loop took, waiting not counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Passes {
    /// How many there were.
    pub count: u64,
    /// Half of them were shorter.
    pub p50: Duration,
    /// All but one in a hundred were shorter.
    pub p99: Duration,
    /// All but one in a thousand were shorter.
    pub p999: Duration,
    /// The longest.
    pub max: Duration,
    /// All together.
    pub total: Duration,
    /// How many took no longer than each of [`BOUNDS`].
    pub within: [u64; BOUNDS.len()],
}

/// The far end of one shard's ear.
#[derive(Clone, Debug)]
pub struct Control {
    orders: Sender<Order>,
    waker: Waker,
}

impl Control {
    pub(super) fn new(waker: Waker) -> (Control, Receiver<Order>) {
        let (orders, ear) = channel();
        (Control { orders, waker }, ear)
    }

    /// Gives an order; false where the shard has ended.
    pub fn send(&self, order: Order) -> bool {
        let alive = self.orders.send(order).is_ok();
        self.waker.wake();
        alive
    }

    /// Asks how it goes, and waits so long for the answer.
    pub fn snapshot(&self, patience: Duration) -> Option<Snapshot> {
        let (sender, receiver) = sync_channel(1);
        if !self.send(Order::Snapshot(sender)) {
            return None;
        }
        receiver.recv_timeout(patience).ok()
    }

    /// Asks for the calls that run, `most` at most, and waits so long for the answer.
    pub fn calls(&self, most: usize, patience: Duration) -> Option<Vec<Live>> {
        let (sender, receiver) = sync_channel(1);
        self.send(Order::Calls(most, sender)).then(|| receiver.recv_timeout(patience).ok())?
    }

    /// Asks what happened to a call, and waits so long for the answer.
    pub fn trace(&self, name: &str, patience: Duration) -> Option<Ladder> {
        let (sender, receiver) = sync_channel(1);
        let sent = self.send(Order::Trace(name.to_owned(), sender));
        sent.then(|| receiver.recv_timeout(patience).ok())??.map(|ladder| *ladder)
    }
}
