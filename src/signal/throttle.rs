//! Wrong passwords by source: guessing is slowed, honest bursts behind one NAT are not (only failures count).

use crate::base::{Map, Now};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_mins(1);
/// Sources beyond so many in one window are not counted.
const CAP: usize = 16_384;

/// Failures in this window and the one before.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    since: Option<Instant>,
    current: Map<IpAddr, u32>,
    previous: Map<IpAddr, u32>,
}

impl Throttle {
    /// How often a source failed lately.
    pub(super) fn failures(&mut self, now: Now, source: IpAddr) -> u32 {
        self.turn(now);
        let source = network(source);
        let of = |map: &Map<IpAddr, u32>| map.get(&source).copied().unwrap_or(0);
        of(&self.current).saturating_add(of(&self.previous))
    }

    /// A source failed.
    pub(super) fn on_failure(&mut self, now: Now, source: IpAddr) {
        self.turn(now);
        let source = network(source);
        if self.current.len() < CAP || self.current.contains_key(&source) {
            let count = self.current.entry(source).or_insert(0);
            *count = count.saturating_add(1);
        }
    }

    fn turn(&mut self, now: Now) {
        let since = *self.since.get_or_insert(now.instant);
        let age = now.instant.saturating_duration_since(since);
        if age >= WINDOW {
            self.previous = std::mem::take(&mut self.current);
            if age >= 2 * WINDOW {
                self.previous = Map::default();
            }
            self.since = Some(now.instant);
        }
    }
}

/// Who can use one IPv6 address can use its /64.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_network_and_forgets() {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
        let now = Now { instant: Instant::now(), unix: Duration::ZERO };
        let mut throttle = Throttle::default();
        let of = |text: &str| text.parse::<IpAddr>().unwrap();
        for n in 0..10 {
            throttle.on_failure(now, of(&format!("2001:db8::{n}")));
        }
        throttle.on_failure(now, of("192.0.2.1"));
        assert_eq!(throttle.failures(now, of("2001:db8::ffff")), 10);
        assert_eq!(throttle.failures(now, of("::ffff:192.0.2.1")), 1);
        assert_eq!(throttle.failures(now.after(WINDOW), of("192.0.2.1")), 1);
        assert_eq!(throttle.failures(now.after(2 * WINDOW), of("192.0.2.1")), 0);
        for n in 0..CAP as u32 + 9 {
            throttle.on_failure(now.after(2 * WINDOW), IpAddr::V4(n.into()));
        }
        assert_eq!(throttle.current.len(), CAP);
    }
}
