//! The servers of each trunk: which there are, which of them live, and in which order one request tries them.

use super::Hop;
use crate::base::{Now, Random};
use crate::leg::TrunkId;
use std::net::IpAddr;
use std::time::Instant;

/// Servers that one request tries at most.
const TRIES: usize = 6;

/// One address of one server of a trunk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Server {
    /// The way to it.
    pub hop: Hop,
    /// It is used only while none of the others lives.
    pub standby: bool,
    /// Which entry of the trunk's configuration led to it.
    pub entry: u16,
    /// That entry's share of the requests, among those that are as much standby as it.
    pub share: u16,
    /// Within its entry, the least is tried first (NAPTR's order and preference, SRV's priority).
    pub rank: u32,
    /// Within its rank, addresses of one host.
    pub group: u16,
    /// That host's share (RFC 2782).
    pub weight: u16,
    /// Probes say that it lives, or nobody probes.
    pub up: bool,
    /// Until then it is left alone: it was silent, or asked for it.
    pub avoid: Option<Instant>,
}

impl Server {
    /// A server that is the whole of one entry.
    pub fn new(hop: Hop) -> Server {
        let (entry, share, rank, group, weight) = (0, 1, 0, 0, 0);
        Server { hop, standby: false, entry, share, rank, group, weight, up: true, avoid: None }
    }

    /// Whether requests should go to it.
    pub fn is_usable(&self, now: Now) -> bool {
        self.up && self.avoid.is_none_or(|until| until <= now.instant)
    }
}

/// Those of all trunks, as one shard knows them.
#[derive(Debug, Default)]
pub(super) struct Servers(Vec<Vec<Server>>);

impl Servers {
    pub fn of(&self, trunk: TrunkId) -> &[Server] {
        self.0.get(usize::from(trunk.0)).map_or(&[], Vec::as_slice)
    }

    pub fn set(&mut self, trunk: TrunkId, servers: Vec<Server>) {
        let place = usize::from(trunk.0);
        if place >= self.0.len() {
            self.0.resize_with(place + 1, Vec::new);
        }
        self.0[place] = servers;
    }

    /// Whether one of the trunk's servers has this address.
    pub fn has(&self, trunk: TrunkId, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.of(trunk).iter().any(|server| server.hop.address.ip().to_canonical() == ip)
    }

    /// Leaves a server alone until then.
    pub fn avoid(&mut self, trunk: TrunkId, hop: &Hop, until: Instant) {
        let servers = self.0.get_mut(usize::from(trunk.0)).into_iter().flatten();
        for server in servers.filter(|server| server.hop == *hop) {
            server.avoid = Some(server.avoid.map_or(until, |other| other.max(until)));
        }
    }

    /// Whether any server should get requests.
    pub fn is_usable(&self, now: Now, trunk: TrunkId) -> bool {
        self.of(trunk).iter().any(|server| server.is_usable(now))
    }

    /// Whether requests should rather go elsewhere than to this server: it is dead, or stands by while another lives.
    pub fn is_better(&self, now: Now, trunk: TrunkId, than: &Hop) -> bool {
        let usable = || self.of(trunk).iter().filter(|server| server.is_usable(now));
        let Some(least) = usable().map(|server| server.standby).min() else { return false };
        !usable().any(|server| server.hop == *than && server.standby == least)
    }

    /// Where one request goes, and where next if it finds nobody there. The dead are left out unless all are.
    pub fn order(
        &self,
        now: Now,
        trunk: TrunkId,
        random: &mut Random,
        reachable: impl Fn(&Hop) -> bool,
    ) -> Vec<Hop> {
        let all: Vec<&Server> = self.of(trunk).iter().filter(|server| reachable(&server.hop)).collect();
        let mut some: Vec<&Server> = all.iter().copied().filter(|server| server.is_usable(now)).collect();
        if some.is_empty() {
            some = all;
        }
        let mut hops = Vec::with_capacity(some.len().min(TRIES));
        for standby in [false, true] {
            let part: Vec<&Server> = some.iter().copied().filter(|s| s.standby == standby).collect();
            for entry in lots(&part, |server| server.entry, |server| server.share, random) {
                order_entry(entry, &mut hops, random);
            }
        }
        hops.truncate(TRIES);
        hops
    }
}

/// The addresses of one entry, by rank, then by weight of their hosts.
fn order_entry(mut entry: Vec<&Server>, hops: &mut Vec<Hop>, random: &mut Random) {
    entry.sort_by_key(|server| server.rank);
    for rank in entry.chunk_by(|a, b| a.rank == b.rank) {
        for mut group in lots(rank, |server| server.group, |server| server.weight, random) {
            // A host's addresses are all the same to us.
            while !group.is_empty() {
                let next = group.swap_remove(random.below(group.len() as u64) as usize);
                if !hops.contains(&next.hop) {
                    hops.push(next.hop.clone());
                }
            }
        }
    }
}

/// Parts of servers in the order of lots drawn with their weights (RFC 2782, "Weight").
fn lots<'a>(
    servers: &[&'a Server],
    part: impl Fn(&Server) -> u16,
    weight: impl Fn(&Server) -> u16,
    random: &mut Random,
) -> Vec<Vec<&'a Server>> {
    let mut parts: Vec<(u16, Vec<&Server>)> = Vec::new();
    for &server in servers {
        match parts.iter_mut().find(|(name, _)| *name == part(server)) {
            Some((_, part)) => part.push(server),
            None => parts.push((part(server), vec![server])),
        }
    }
    let weight = |part: &(u16, Vec<&Server>)| part.1.first().map_or(0, |server| u64::from(weight(server)));
    // Those of weight 0 first, so that they have their small chance.
    parts.sort_by_key(|part| weight(part) > 0);
    let mut drawn = Vec::with_capacity(parts.len());
    while !parts.is_empty() {
        let sum: u64 = parts.iter().map(weight).sum();
        // With no weights at all, every one has the same chance.
        let lot = if sum == 0 {
            random.below(parts.len() as u64) as usize
        } else {
            let at = random.below(sum + 1);
            let mut passed = 0;
            let lot = parts.iter().position(|part| {
                passed += weight(part);
                passed >= at
            });
            lot.unwrap_or(0)
        };
        drawn.push(parts.remove(lot).1);
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn hop(last: u8) -> Hop {
        Hop::udp(([192, 0, 2, last], 5060).into())
    }

    fn server(last: u8) -> Server {
        Server::new(hop(last))
    }

    #[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
    fn now() -> Now {
        Now { instant: Instant::now(), unix: Duration::ZERO }
    }

    fn of(servers: Vec<Server>) -> Servers {
        let mut all = Servers::default();
        all.set(TrunkId(0), servers);
        all
    }

    /// The last octets in the order of one request.
    fn order(servers: &Servers, now: Now, seed: u64) -> Vec<u8> {
        let mut random = Random::from_number(seed);
        let hops = servers.order(now, TrunkId(0), &mut random, |_| true);
        hops.iter()
            .map(|hop| match hop.address.ip() {
                IpAddr::V4(ip) => ip.octets()[3],
                IpAddr::V6(_) => 0,
            })
            .collect()
    }

    #[test]
    fn the_order_is_by_standby_then_rank_then_host() {
        let servers = of(vec![
            Server { standby: true, entry: 1, ..server(9) },
            Server { rank: 2, group: 3, ..server(4) },
            Server { rank: 1, group: 1, weight: 1, ..server(1) },
            Server { rank: 1, group: 1, weight: 1, ..server(2) },
        ]);
        let now = now();
        for seed in 0..50 {
            let order = order(&servers, now, seed);
            assert!(matches!(order[..], [1, 2, 4, 9] | [2, 1, 4, 9]), "{order:?}");
        }
    }

    #[test]
    fn lots_fall_by_weight_and_weight_0_is_rare_but_not_never() {
        let servers = of(vec![
            Server { group: 1, weight: 75, ..server(1) },
            Server { group: 2, weight: 25, ..server(2) },
            Server { group: 3, weight: 0, ..server(3) },
        ]);
        let now = now();
        let mut first = [0; 4];
        for seed in 0..10_000 {
            first[usize::from(order(&servers, now, seed)[0])] += 1;
        }
        assert!((7_200..7_700).contains(&first[1]), "{first:?}");
        assert!((2_200..2_700).contains(&first[2]), "{first:?}");
        assert!((20..300).contains(&first[3]), "{first:?}");
        let even = of((1..=4).map(|n| Server { group: u16::from(n), ..server(n) }).collect());
        let mut first = [0; 5];
        for seed in 0..4_000 {
            first[usize::from(order(&even, now, seed)[0])] += 1;
        }
        assert!(first[1..].iter().all(|count| (800..1_200).contains(count)), "{first:?}");
    }

    #[test]
    fn the_dead_are_left_out_unless_all_are() {
        let now = now();
        let later = now.instant + Duration::from_secs(30);
        let mut servers = of(vec![
            Server { up: false, ..server(1) },
            Server { rank: 1, ..server(2) },
            Server { standby: true, entry: 1, ..server(3) },
        ]);
        assert_eq!(order(&servers, now, 1), [2, 3]);
        servers.avoid(TrunkId(0), &hop(2), later);
        assert_eq!(order(&servers, now, 1), [3]);
        servers.avoid(TrunkId(0), &hop(3), later);
        assert!(!servers.is_usable(now, TrunkId(0)));
        assert_eq!(order(&servers, now, 1), [1, 2, 3]);
        assert_eq!(order(&servers, now.after(Duration::from_secs(30)), 1), [2, 3], "and then again");
    }

    #[test]
    fn a_standby_server_yields_as_soon_as_an_active_one_lives() {
        let now = now();
        let mut servers = of(vec![server(1), Server { standby: true, entry: 1, ..server(2) }]);
        assert!(!servers.is_better(now, TrunkId(0), &hop(1)));
        assert!(servers.is_better(now, TrunkId(0), &hop(2)));
        assert!(servers.is_better(now, TrunkId(0), &hop(7)), "one that is gone");
        servers.avoid(TrunkId(0), &hop(1), now.instant + Duration::from_secs(30));
        assert!(servers.is_better(now, TrunkId(0), &hop(1)));
        assert!(!servers.is_better(now, TrunkId(0), &hop(2)));
        servers.set(TrunkId(0), vec![Server { up: false, ..server(1) }]);
        assert!(!servers.is_better(now, TrunkId(0), &hop(1)), "nobody lives: there is nothing better");
    }

    #[test]
    fn addresses_that_can_not_be_reached_or_come_twice_are_not_tried() {
        let mut twice = vec![server(1), Server { rank: 5, ..server(1) }];
        twice.extend((10..30).map(|n| Server { rank: u32::from(n), ..server(n) }));
        let servers = of(twice);
        assert_eq!(order(&servers, now(), 1), [1, 10, 11, 12, 13, 14]);
        let mut random = Random::from_number(1);
        assert_eq!(servers.order(now(), TrunkId(0), &mut random, |hop| hop.address.is_ipv6()), []);
        assert_eq!(servers.order(now(), TrunkId(7), &mut random, |_| true), []);
    }
}
