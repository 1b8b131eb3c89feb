//! The page is read back by a small parser of the format.

use super::*;
use crate::base::ShardId;
use crate::leg::TrunkId;
use crate::shard::Passes;
use crate::sip::Hop;
use std::collections::BTreeSet;

/// Every sample by its name with labels; panics where the page breaks the format.
fn parse(page: &str) -> BTreeMap<String, f64> {
    let mut types: BTreeMap<&str, &str> = BTreeMap::new();
    let mut samples = BTreeMap::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(types.insert(name, kind), None, "{name} twice");
        } else if !line.starts_with("# HELP ") {
            let (key, value) = line.rsplit_once(' ').unwrap();
            let name = key.split('{').next().unwrap();
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let known = types.contains_key(name) || family.is_some_and(|name| types[name] == "histogram");
            assert!(known, "{line}");
            assert_eq!(samples.insert(key.to_owned(), value.parse().unwrap()), None, "{key} twice");
        }
    }
    samples
}

fn snapshot(shard: u8) -> Snapshot {
    Snapshot {
        shard: ShardId(shard),
        connections: 3,
        stages: [0, 1, 2],
        counters: vec![
            ("call", "answered", 5),
            ("media", "forwarded", 100),
            ("media", "dropped_forged", 7),
            ("loop", "mail_sent", 10),
            ("loop", "mail_received", 9),
        ],
        gauges: vec![("sessions", 4), ("ports_used", 2), ("ports", 50), ("talked_ms", 1500)],
        ended: vec![("hangup", 3), ("busy", 1)],
        passes: Passes { count: 9, within: [1, 2, 3, 4, 5, 6, 7, 8, 9], ..Passes::default() },
        trunks: vec![TrunkState {
            up: Some(shard == 1),
            at: Duration::from_secs(u64::from(shard)),
            calls: 2,
            unreachable: 1,
        }],
        servers: match shard {
            0 => vec![(TrunkId(0), Hop::udp("192.0.2.1:5060".parse().unwrap()), false)],
            _ => Vec::new(),
        },
        ..Snapshot::default()
    }
}

#[test]
fn a_page_adds_up_the_shards_and_can_be_read() {
    let host = Host { memory: 1024, files: 9, udp: vec![("in_errors", 4)] };
    let node = Node { shards: 3, trunks: vec!["p\"b\\x".into()], host, ..Node::default() };
    let page = page(&node, &[snapshot(0), snapshot(1)]);
    let samples = parse(&page);
    for (name, value) in [
        ("bridgehead_calls{state=\"ringing\"}", 2.0),
        ("bridgehead_calls{state=\"talking\"}", 4.0),
        ("bridgehead_calls_ended_total{reason=\"hangup\"}", 6.0),
        ("bridgehead_calls_answered_total", 10.0),
        ("bridgehead_sessions", 8.0),
        ("bridgehead_connections", 6.0),
        ("bridgehead_media_packets_total", 200.0),
        ("bridgehead_media_drops_total{reason=\"forged\"}", 14.0),
        ("bridgehead_rtp_port_pairs{state=\"used\"}", 4.0),
        ("bridgehead_mailbox_messages", 2.0),
        ("bridgehead_memory_bytes", 1024.0),
        ("bridgehead_shards{state=\"silent\"}", 1.0),
        ("bridgehead_talk_seconds_total", 3.0),
        // What shard 1 heard is newer.
        ("bridgehead_trunk_up{trunk=\"p\\\"b\\\\x\"}", 1.0),
        ("bridgehead_trunk_server_up{trunk=\"p\\\"b\\\\x\",server=\"192.0.2.1:5060;transport=udp\"}", 0.0),
        ("bridgehead_host_udp_errors_total{reason=\"in_errors\"}", 4.0),
        ("bridgehead_loop_pass_seconds_bucket{shard=\"1\",le=\"0.00001\"}", 1.0),
        ("bridgehead_loop_pass_seconds_bucket{shard=\"0\",le=\"+Inf\"}", 9.0),
        ("bridgehead_events_total{part=\"call\",name=\"answered\"}", 10.0),
    ] {
        assert_eq!(samples.get(name), Some(&value), "{name}\n{page}");
    }
}

#[test]
fn every_metric_stands_on_the_page_once_with_its_help() {
    let page = page(&Node::default(), &[]);
    for metric in names::ALL {
        assert_eq!(page.matches(&format!("# HELP {} {}\n", metric.name, metric.help)).count(), 1);
        assert!(metric.name.starts_with("bridgehead_") && metric.help.ends_with('.'));
    }
    assert_eq!(page.matches("# TYPE ").count(), names::ALL.len());
    let unique: BTreeSet<_> = names::ALL.iter().map(|metric| metric.name).collect();
    assert_eq!(unique.len(), names::ALL.len());
}

#[test]
fn the_system_is_read_by_the_names_of_its_columns() {
    let status = "Name:\tbridgehead\nVmRSS:\t    2048 kB\n";
    let snmp = "Ip: a b\nIp: 1 2\nUdp: InDatagrams NoPorts InErrors RcvbufErrors\nUdp: 9 8 7 6\n";
    let host = Host::parse(status, snmp, 5);
    assert_eq!(host.memory, 2 << 20);
    assert_eq!(host.udp, [("in_errors", 7), ("receive_queue_full", 6), ("no_port", 8)]);
    assert_eq!(Host::parse("", "", 0), Host::default());
}
