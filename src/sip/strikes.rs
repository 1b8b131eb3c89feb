//! How often strangers are answered.

use super::config::Caps;
use crate::base::{Map, Now};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// What each stranger got in this second. Forgotten with it, so that no flood can fill more than one second's room.
#[derive(Debug, Default)]
pub(super) struct Strikes {
    since: Option<Instant>,
    counts: Map<IpAddr, u32>,
}

impl Strikes {
    /// Whether this source may have one more answer.
    pub fn may_answer(&mut self, now: Now, source: IpAddr, caps: &Caps) -> bool {
        let over = |since: Instant| now.instant.saturating_duration_since(since) >= Duration::from_secs(1);
        if self.since.is_none_or(over) {
            self.since = Some(now.instant);
            self.counts.clear();
        }
        let source = whole(source);
        if !self.counts.contains_key(&source) && self.counts.len() >= caps.strangers {
            return false;
        }
        let count = self.counts.entry(source).or_default();
        *count = count.saturating_add(1);
        *count <= caps.rebuffs
    }
}

/// One customer: an IPv4 address, or the /64 that everybody has of IPv6.
pub(super) fn whole(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from(u128::from(address) >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}
