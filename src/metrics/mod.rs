//! Figures for Prometheus, put together from the shards' snapshots. Pure: whoever asks brings them.

mod host;
pub mod names;
mod page;
#[cfg(test)]
mod tests;

pub use host::Host;

use crate::call::Stage;
use crate::shard::{BOUNDS, Snapshot, TrunkState};
use names::Metric;
use page::Page;
use std::collections::BTreeMap;
use std::time::Duration;

/// What is known beside the shards' own figures.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// When the process started, since the Unix epoch.
    pub started: Duration,
    /// New calls are refused.
    pub draining: bool,
    /// How many shards there are.
    pub shards: usize,
    /// The trunks' names, by `TrunkId`.
    pub trunks: Vec<String>,
    /// What the system says.
    pub host: Host,
}

/// Counters of all shards added up: room and name to value.
type Sums = BTreeMap<(&'static str, &'static str), u64>;

/// The page.
pub fn page(node: &Node, shards: &[Snapshot]) -> String {
    let mut page = Page::default();
    let mut sums = Sums::new();
    for (room, name, value) in shards.iter().flat_map(|shard| &shard.counters) {
        *sums.entry((room, name)).or_default() += value;
    }
    process(&mut page, node, shards);
    browsers(&mut page, shards);
    calls(&mut page, shards, &sums);
    trunks(&mut page, node, shards);
    media(&mut page, shards, &sums);
    loops(&mut page, node, shards, &sums);
    page.family(&names::EVENTS);
    for ((room, name), value) in &sums {
        page.sample(names::EVENTS.name, "", &[("part", room), ("name", name)], *value as f64);
    }
    page.finish()
}

fn gauge(shards: &[Snapshot], name: &str) -> f64 {
    let of = |shard: &Snapshot| shard.gauges.iter().find(|(n, _)| *n == name).map_or(0, |(_, value)| *value);
    shards.iter().map(of).sum::<u64>() as f64
}

fn sum(sums: &Sums, room: &'static str, name: &'static str) -> f64 {
    sums.get(&(room, name)).copied().unwrap_or(0) as f64
}

fn process(page: &mut Page, node: &Node, shards: &[Snapshot]) {
    page.by(&names::BUILD, "version", [(env!("CARGO_PKG_VERSION"), 1.0)]);
    page.one(&names::START, node.started.as_secs_f64());
    page.one(&names::DRAINING, f64::from(u8::from(node.draining)));
    let silent = node.shards.saturating_sub(shards.len());
    page.by(&names::SHARDS, "state", [("answering", shards.len() as f64), ("silent", silent as f64)]);
    page.one(&names::MEMORY, node.host.memory as f64);
    page.one(&names::FILES, node.host.files as f64);
}

fn browsers(page: &mut Page, shards: &[Snapshot]) {
    page.one(&names::SESSIONS, gauge(shards, "sessions"));
    page.one(&names::REGISTRATIONS, gauge(shards, "registrations"));
    page.one(&names::PHONES, gauge(shards, "phones"));
    page.one(&names::CONNECTIONS, shards.iter().map(|shard| shard.connections).sum::<usize>() as f64);
    let sip = [("tcp", "sip_tcp"), ("tls", "sip_tls"), ("ws", "sip_ws"), ("wss", "sip_wss")];
    page.by(&names::SIP_CONNECTIONS, "transport", sip.map(|(name, key)| (name, gauge(shards, key))));
    page.one(&names::HANDSHAKES, gauge(shards, "handshakes"));
}

fn calls(page: &mut Page, shards: &[Snapshot], sums: &Sums) {
    let stages = Stage::ALL.map(|stage| {
        let calls: usize = shards.iter().map(|shard| shard.stages[stage as usize]).sum();
        (stage.name(), calls as f64)
    });
    page.by(&names::CALLS, "state", stages);
    page.one(&names::CALLS_INCOMING, sum(sums, "call", "incoming"));
    page.one(&names::CALLS_ANSWERED, sum(sums, "call", "answered"));
    let mut ended: BTreeMap<&str, u64> = BTreeMap::new();
    for (cause, count) in shards.iter().flat_map(|shard| &shard.ended) {
        *ended.entry(cause).or_default() += count;
    }
    page.by(&names::CALLS_ENDED, "reason", ended.into_iter().map(|(cause, count)| (cause, count as f64)));
    page.one(&names::TALKED, gauge(shards, "talked_ms") / 1000.0);
}

fn trunks(page: &mut Page, node: &Node, shards: &[Snapshot]) {
    let states: Vec<TrunkState> = (0..node.trunks.len())
        .map(|n| {
            let of = shards.iter().filter_map(|shard| shard.trunks.get(n));
            of.fold(TrunkState::default(), |sum, one| {
                // What was heard last is what counts.
                let (up, at) = if one.at >= sum.at { (one.up.or(sum.up), one.at) } else { (sum.up, sum.at) };
                let (calls, unreachable) = (sum.calls + one.calls, sum.unreachable + one.unreachable);
                TrunkState { up, at, calls, unreachable }
            })
        })
        .collect();
    let named = || node.trunks.iter().map(String::as_str).zip(&states);
    let up = named().filter_map(|(name, state)| Some((name, f64::from(u8::from(state.up?)))));
    page.by(&names::TRUNK_UP, "trunk", up);
    page.family(&names::SERVER_UP);
    for (trunk, hop, up) in shards.iter().flat_map(|shard| &shard.servers) {
        let Some(name) = node.trunks.get(usize::from(trunk.0)) else { continue };
        let server = format!("{};transport={}", hop.address, hop.transport.param());
        let labels = [("trunk", name.as_str()), ("server", &server)];
        page.sample(names::SERVER_UP.name, "", &labels, f64::from(u8::from(*up)));
    }
    page.family(&names::TRUNK_CALLS);
    for (name, state) in named() {
        let reached = state.calls - state.unreachable;
        for (outcome, value) in [("answering", reached), ("silent", state.unreachable)] {
            let labels = [("trunk", name), ("server", outcome)];
            page.sample(names::TRUNK_CALLS.name, "", &labels, value as f64);
        }
    }
}

fn media(page: &mut Page, shards: &[Snapshot], sums: &Sums) {
    page.one(&names::PACKETS, sum(sums, "media", "forwarded"));
    page.one(&names::OCTETS, sum(sums, "media", "octets"));
    let drops = sums.iter().filter_map(|((room, name), value)| {
        let reason = name.strip_prefix("dropped_").filter(|_| *room == "media")?;
        Some((reason, *value as f64))
    });
    let socket = [("socket_full", sum(sums, "net", "full")), ("too_long", sum(sums, "net", "too_long"))];
    page.by(&names::DROPS, "reason", drops.chain(socket));
    let (used, all) = (gauge(shards, "ports_used"), gauge(shards, "ports"));
    page.by(&names::PORTS, "state", [("used", used), ("all", all)]);
    page.one(&names::PEERS, gauge(shards, "peers"));
    let table = [("dialogs", gauge(shards, "dialogs")), ("transactions", gauge(shards, "transactions"))];
    page.by(&names::SIP_TABLE, "kind", table);
}

fn loops(page: &mut Page, node: &Node, shards: &[Snapshot], sums: &Sums) {
    let way = sum(sums, "loop", "mail_sent") - sum(sums, "loop", "mail_received");
    page.one(&names::MAIL, way.max(0.0));
    page.one(&names::MAIL_SHED, sum(sums, "loop", "mail_shed"));
    page.one(&names::KERNEL_DROPS, sum(sums, "net", "kernel_drops"));
    page.by(&names::HOST_UDP, "reason", node.host.udp.iter().map(|(name, value)| (*name, *value as f64)));
    let Metric { name, .. } = names::PASSES;
    page.family(&names::PASSES);
    for shard in shards {
        let (number, passes) = (shard.shard.0.to_string(), &shard.passes);
        for (bound, count) in BOUNDS.iter().zip(passes.within) {
            let bound = bound.as_secs_f64().to_string();
            page.sample(name, "_bucket", &[("shard", &number), ("le", &bound)], count as f64);
        }
        page.sample(name, "_bucket", &[("shard", &number), ("le", "+Inf")], passes.count as f64);
        page.sample(name, "_sum", &[("shard", &number)], passes.total.as_secs_f64());
        page.sample(name, "_count", &[("shard", &number)], passes.count as f64);
    }
    let slow = sums.iter().filter(|((room, _), _)| *room == "slow_pass");
    page.by(&names::SLOW, "part", slow.map(|((_, name), value)| (*name, *value as f64)));
    let each = |value: fn(&Snapshot) -> f64| {
        shards.iter().map(move |shard| (shard.shard.0.to_string(), value(shard)))
    };
    page.by(&names::CPU, "shard", each(|shard| shard.cpu.as_secs_f64()));
    page.by(&names::LOAD, "shard", each(|shard| gauge(std::slice::from_ref(shard), "load") / 100.0));
    page.one(&names::RINGS, gauge(shards, "io_uring"));
    page.one(&names::TRACES, gauge(shards, "traces"));
    page.one(&names::RECORDS_SHED, sum(sums, "loop", "records_shed"));
}
