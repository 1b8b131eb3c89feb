//! Pacing: streams spread over the phases of the interval, so that packets never come in bursts.

use super::end::EndId;
use super::port::PortId;
use std::collections::HashMap;
use std::time::Duration;

pub(super) struct Wheel {
    /// Streams by phase, those of one port side by side.
    slots: Vec<Vec<(PortId, EndId)>>,
    places: HashMap<EndId, usize>,
    start: u64,
    tick: u64,
    /// Ticks that are over.
    done: u64,
}

impl Wheel {
    pub(super) fn new(now: u64, interval: Duration, tick: Duration) -> Wheel {
        let slots = (interval.as_nanos() / tick.as_nanos().max(1)).max(1) as usize;
        Wheel {
            slots: vec![Vec::new(); slots],
            places: HashMap::new(),
            start: now,
            tick: interval.as_nanos() as u64 / slots as u64,
            done: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Begins a stream, in the emptiest phase; ties are broken in an order that leaves far gaps between neighbours.
    pub(super) fn add(&mut self, end: EndId, port: PortId) {
        if self.places.contains_key(&end) {
            return;
        }
        let slots = self.slots.len();
        // A step near the golden section of the circle, and no divisor of it.
        let step = (1..=slots).rev().find(|n| n * 8 <= slots * 5 && coprime(*n, slots)).unwrap_or(1);
        let first = self.places.len() * step;
        let order = (0..slots).map(|n| (first + n * step) % slots);
        let place = order.min_by_key(|place| self.slots[*place].len()).unwrap_or(0);
        let slot = &mut self.slots[place];
        let at = slot.partition_point(|(other, _)| *other <= port);
        slot.insert(at, (port, end));
        self.places.insert(end, place);
    }

    pub(super) fn remove(&mut self, end: EndId) {
        if let Some(place) = self.places.remove(&end) {
            self.slots[place].retain(|(_, other)| *other != end);
        }
    }

    /// The streams of the next tick, if it is due, appended to `due`; gives when they should leave.
    pub(super) fn turn(&mut self, now: u64, due: &mut Vec<(PortId, EndId)>) -> Option<u64> {
        let at = self.next();
        if now < at {
            return None;
        }
        let slot = (self.done % self.slots.len() as u64) as usize;
        self.done += 1;
        due.extend_from_slice(&self.slots[slot]);
        Some(at)
    }

    /// When the next tick is due.
    pub(super) fn next(&self) -> u64 {
        self.start + self.done * self.tick
    }
}

fn coprime(a: usize, b: usize) -> bool {
    if b == 0 { a == 1 } else { coprime(b, a % b) }
}
