//! The ports of a realm: a stock of bound pairs, so that no call waits for the system, and rest after use.

use super::config::Realm;
use crate::base::SocketId;
use std::collections::VecDeque;

/// After so many failed pairs in a row the stock waits for the timer: the address may be gone.
const PATIENCE: u32 = 64;

/// Two bound sockets: RTP on an even port, RTCP on the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) port: u16,
    pub(super) rtp: SocketId,
    pub(super) rtcp: SocketId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    Asked,
    Bound(SocketId),
    Taken,
}

/// What became of a pair whose second half was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Its other half is still asked for.
    Pending,
    /// It stands in the stock.
    Ready,
    /// It can't be had: the port rests, and a socket that was bound must be closed.
    Failed(u16, Option<SocketId>),
    /// Nobody asked for this port: the socket must be closed.
    Stray,
}

/// A pair that is asked for, by its even port.
#[derive(Debug)]
struct Asked {
    port: u16,
    shared: bool,
    halves: [Half; 2],
}

#[derive(Debug)]
pub(super) struct Ports {
    pub(super) realm: Realm,
    free: VecDeque<u16>,
    asked: Vec<Asked>,
    stock: VecDeque<Pair>,
    shared: Option<Pair>,
    resting: usize,
    used: usize,
    failures: u32,
    all: usize,
}

impl Ports {
    /// All even ports of the realm whose successor is in it too, beginning at a random one.
    pub(super) fn new(realm: Realm, random: u64) -> Ports {
        let (first, last) = (*realm.ports.start(), *realm.ports.end());
        let mut free: VecDeque<u16> = (first..last).filter(|port| port % 2 == 0 && *port != 0).collect();
        let start = (random % (free.len() as u64).max(1)) as usize;
        free.rotate_left(start);
        let all = free.len();
        Ports {
            realm,
            free,
            asked: Vec::new(),
            stock: VecDeque::new(),
            shared: None,
            resting: 0,
            used: 0,
            failures: 0,
            all,
        }
    }

    /// The next pair to be bound (its even port) and whether it will be shared, while stock and what is asked for are
    /// fewer than `wanted`.
    pub(super) fn ask(&mut self, wanted: usize) -> Option<(u16, bool)> {
        let shared =
            self.realm.shared && self.shared.is_none() && !self.asked.iter().any(|asked| asked.shared);
        if self.failures >= PATIENCE || (!shared && self.stock.len() + self.coming() >= wanted) {
            return None;
        }
        let port = self.free.pop_front()?;
        self.asked.push(Asked { port, shared, halves: [Half::Asked; 2] });
        Some((port, shared))
    }

    /// How many pairs for single legs are on their way.
    pub(super) fn coming(&self) -> usize {
        self.asked.iter().filter(|asked| !asked.shared).count()
    }

    /// The pair that legs share.
    pub(super) fn shared(&self) -> Option<Pair> {
        self.shared
    }

    fn answer(&mut self, port: u16, half: Half) -> Outcome {
        let Some(place) = self.asked.iter().position(|asked| asked.port == port & !1) else {
            return Outcome::Stray;
        };
        let Asked { port: even, shared, ref mut halves } = self.asked[place];
        let this = &mut halves[usize::from(port & 1)];
        if *this != Half::Asked {
            return Outcome::Stray;
        }
        *this = half;
        let outcome = match *halves {
            [Half::Bound(rtp), Half::Bound(rtcp)] => {
                let pair = Pair { port: even, rtp, rtcp };
                self.failures = 0;
                if shared {
                    self.shared = Some(pair);
                } else {
                    self.stock.push_back(pair);
                }
                Outcome::Ready
            }
            [Half::Asked, _] | [_, Half::Asked] => return Outcome::Pending,
            [Half::Bound(socket), _] | [_, Half::Bound(socket)] => Outcome::Failed(even, Some(socket)),
            [Half::Taken, Half::Taken] => Outcome::Failed(even, None),
        };
        self.asked.swap_remove(place);
        if let Outcome::Failed(..) = outcome {
            self.failures = self.failures.saturating_add(1);
            self.resting += 1;
        }
        outcome
    }

    pub(super) fn bound(&mut self, port: u16, socket: SocketId) -> Outcome {
        self.answer(port, Half::Bound(socket))
    }

    pub(super) fn failed(&mut self, port: u16) -> Outcome {
        self.answer(port, Half::Taken)
    }

    /// A pair from the stock, the one that waited longest.
    pub(super) fn take(&mut self) -> Option<Pair> {
        let pair = self.stock.pop_front()?;
        self.used += 1;
        Some(pair)
    }

    /// A leg has closed its pair: the port rests until [`Ports::rested`].
    pub(super) fn close(&mut self) {
        self.used -= 1;
        self.resting += 1;
    }

    /// A port has rested.
    pub(super) fn rested(&mut self, port: u16) {
        self.resting -= 1;
        self.failures = 0;
        self.free.push_back(port);
    }

    /// Pairs that legs have.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// All pairs.
    pub(super) fn all(&self) -> usize {
        self.all
    }

    /// Every pair is in one place.
    pub(super) fn check(&self) {
        let count = self.free.len()
            + self.asked.len()
            + self.stock.len()
            + self.resting
            + self.used
            + usize::from(self.shared.is_some());
        assert_eq!(count, self.all, "a pair of ports was lost or doubled");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Key;
    use crate::base::ShardId;
    use std::net::Ipv4Addr;

    fn socket(n: u32) -> SocketId {
        SocketId::new(ShardId(0), 0, n)
    }

    fn ports(range: std::ops::RangeInclusive<u16>) -> Ports {
        Ports::new(Realm { address: Ipv4Addr::LOCALHOST.into(), ports: range, shared: false }, 0)
    }

    #[test]
    fn pairs_are_even_and_whole() {
        let mut some = ports(11..=17);
        assert_eq!(
            [some.ask(9), some.ask(9), some.ask(9), some.ask(9)],
            [Some((12, false)), Some((14, false)), Some((16, false)), None]
        );
        assert_eq!(ports(10..=10).ask(9), None);
        assert_eq!(ports(0..=1).ask(9), None);
        assert_eq!(ports(65_534..=65_535).ask(9), Some((65_534, false)));
        assert_eq!(some.bound(12, socket(1)), Outcome::Pending);
        assert_eq!(some.bound(12, socket(2)), Outcome::Stray);
        assert_eq!(some.bound(13, socket(2)), Outcome::Ready);
        assert_eq!(some.bound(13, socket(2)), Outcome::Stray);
        assert_eq!(some.take(), Some(Pair { port: 12, rtp: socket(1), rtcp: socket(2) }));
        some.check();
    }

    #[test]
    fn a_taken_port_is_skipped_and_its_sibling_closed() {
        let mut some = ports(10..=13);
        assert_eq!(some.ask(1), Some((10, false)));
        assert_eq!(some.ask(1), None, "enough are on their way");
        assert_eq!(some.failed(11), Outcome::Pending);
        assert_eq!(some.bound(10, socket(1)), Outcome::Failed(10, Some(socket(1))));
        assert_eq!(some.ask(1), Some((12, false)));
        assert_eq!(some.failed(12), Outcome::Pending);
        assert_eq!(some.failed(13), Outcome::Failed(12, None));
        assert_eq!(some.ask(1), None);
        some.rested(10);
        assert_eq!(some.ask(1), Some((10, false)));
        some.check();
    }

    #[test]
    fn an_address_that_is_gone_is_not_asked_for_without_end() {
        let mut some = ports(1000..=2000);
        let mut asked = 0;
        while let Some((port, _)) = some.ask(4) {
            asked += 1;
            some.failed(port);
            some.failed(port + 1);
        }
        assert_eq!(asked, PATIENCE);
        some.check();
    }
}
