//! `bridgehead check`: what would listen where, what the kernel is too small for, and how packets find their cores.

use super::locate::locate;
use super::log::say;
use crate::base::Random;
use crate::config::{File, plan_sip};
use crate::net;
use crate::shard::slice;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Bytes of a web socket's queue that hold 100 ms of 2,000 calls.
const QUEUE: u64 = 8 << 20;
/// Connections that may wait to be accepted.
const BACKLOG: u64 = 1024;

/// What the system allows, as `/proc` says it; `None` where it doesn't.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    /// `net.core.rmem_max`
    pub(super) receive: Option<u64>,
    /// `net.core.wmem_max`
    pub(super) send: Option<u64>,
    /// `net.core.somaxconn`
    pub(super) backlog: Option<u64>,
    /// `net.ipv4.ip_local_port_range`
    pub(super) ports: Option<RangeInclusive<u16>>,
    /// `net.ipv4.ip_local_reserved_ports`
    pub(super) reserved: String,
    /// Open files of the process.
    pub(super) files: Option<u64>,
    /// The network device of the default route.
    pub(super) device: Option<String>,
    /// Why the kernel gives no `io_uring`.
    pub(super) no_ring: Option<String>,
}

impl Limits {
    /// Those of this machine.
    pub(super) fn read() -> Limits {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let number = |path: &str| read(path).trim().parse().ok();
        let files = read("/proc/self/limits");
        let files = files.lines().find_map(|line| line.strip_prefix("Max open files"));
        let routes = read("/proc/net/route");
        let default = routes.lines().find(|line| line.split_whitespace().nth(1) == Some("00000000"));
        let range = read("/proc/sys/net/ipv4/ip_local_port_range");
        let mut range = range.split_whitespace().filter_map(|word| word.parse().ok());
        Limits {
            receive: number("/proc/sys/net/core/rmem_max"),
            send: number("/proc/sys/net/core/wmem_max"),
            backlog: number("/proc/sys/net/core/somaxconn"),
            ports: range.next().zip(range.next()).map(|(first, last): (u16, u16)| first..=last),
            reserved: read("/proc/sys/net/ipv4/ip_local_reserved_ports").trim().to_owned(),
            files: files.and_then(|rest| rest.split_whitespace().next()?.parse().ok()),
            device: default.and_then(|line| line.split_whitespace().next()).map(str::to_owned),
            no_ring: net::try_ring().err().map(|error| error.to_string()),
        }
    }
}

/// Says all of it. `cores` is empty where the one shard is not pinned.
pub(super) fn check(file: &File, cores: &[u16], random: Random) {
    let limits = Limits::read();
    say(format_args!("{}", ports(file, cores)));
    for line in warnings(file, cores.len().max(1) as u8, &limits) {
        say(format_args!("warning: {line}"));
    }
    let rules = steering(file, cores, &limits);
    if !rules.is_empty() {
        say(format_args!(
            "\nTo bring each shard's packets to its core (queue n on core n; see /proc/interrupts):"
        ));
        for rule in &rules {
            say(format_args!("  {rule}"));
        }
    }
    match locate(&Arc::new(plan_sip(file, cores.len().max(1) as u8)), random) {
        Ok(lines) => {
            for (line, bad) in lines {
                let head = if bad { "warning: trunk" } else { "server    " };
                say(format_args!("{head} {line}"));
            }
        }
        Err(error) => say(format_args!("warning: names can't be resolved here: {error}")),
    }
    say(format_args!("the configuration is good"));
}

/// What would listen where.
pub(super) fn ports(file: &File, cores: &[u16]) -> String {
    let shards = cores.len().max(1) as u8;
    let mut text = String::new();
    let mut line = |what: &str, value: String| {
        // A string takes everything.
        let _ = writeln!(text, "{what:<10} {value}");
    };
    line(if file.http.certificate.is_some() { "https" } else { "http" }, file.http.listen.to_string());
    line("sip", format!("udp and tcp {}", file.sip.listen));
    if let Some(address) = file.sip.tls_listen {
        line("sip", format!("tls {address}"));
    }
    line("admin", file.admin.listen.map_or_else(|| "off".to_owned(), |address| address.to_string()));
    for shard in 0..shards {
        let core = cores.get(usize::from(shard)).map_or_else(|| "any".to_owned(), u16::to_string);
        line("shard", format!("{shard} on core {core}"));
        let port = file.media.web_port;
        let port = if port == 0 { "any".to_owned() } else { web_port(port, shard).to_string() };
        for ip in std::iter::once(&file.media.listen).chain(&file.media.web_listen) {
            line("  web", format!("udp {}", at(ip, &port)));
        }
        let rtp = slice(&file.media.rtp_ports, shard, shards);
        let calls = rtp.len() / 2;
        let range = format!("{}-{}", rtp.start(), rtp.end());
        line("  rtp", format!("udp {}, {calls} SIP legs", at(&file.media.listen, &range)));
    }
    for trunk in &file.trunk {
        let transport = trunk.transport.map_or(String::new(), |transport| format!("{} ", transport.name()));
        line("trunk", format!("{} at {transport}{}", trunk.name.get_ref(), trunk.whereabouts()));
    }
    if let Some(trunk) = &file.phones.trunk {
        let names: Vec<_> = file.phones.transports.iter().map(|name| name.get_ref().as_str()).collect();
        line("phones", format!("register at {} by {}", trunk.get_ref(), names.join(", ")));
    }
    line("users", file.user.len().to_string());
    text.trim_end().to_owned()
}

fn web_port(first: u16, shard: u8) -> u16 {
    first.saturating_add(u16::from(shard))
}

fn at(ip: &IpAddr, port: &str) -> String {
    match ip {
        IpAddr::V4(ip) => format!("{ip}:{port}"),
        IpAddr::V6(ip) => format!("[{ip}]:{port}"),
    }
}

/// What is too small or in the way, each with its remedy.
pub(super) fn warnings(file: &File, shards: u8, limits: &Limits) -> Vec<String> {
    let mut lines = Vec::new();
    let mut small = |name: &str, has: Option<u64>, wants: u64, why: &str| {
        if let Some(has) = has.filter(|has| *has < wants) {
            lines.push(format!("{name} is {has}, {why}: sysctl -w {name}={wants}"));
        }
    };
    small("net.core.rmem_max", limits.receive, QUEUE, "less than 100 ms of 2,000 calls");
    small("net.core.wmem_max", limits.send, QUEUE, "less than 100 ms of 2,000 calls");
    small("net.core.somaxconn", limits.backlog, BACKLOG, "few connections can wait");
    // Two sockets for each SIP leg, and a call may have two such legs.
    let files = 4 * u64::from(file.limits.calls) + u64::from(file.limits.connections) + 256;
    if let Some(has) = limits.files.filter(|has| *has < files) {
        lines.push(format!(
            "open files are limited to {has}, the limits in use need {files}: ulimit -n {files}"
        ));
    }
    let pairs: usize = (0..shards).map(|n| slice(&file.media.rtp_ports, n, shards).len() / 2).sum();
    if pairs < file.limits.calls as usize {
        let calls = file.limits.calls;
        lines
            .push(format!("rtp_ports hold {pairs} SIP legs, limits.calls is {calls}: widen media.rtp_ports"));
    }
    if let Some(why) = limits.no_ring.as_ref().filter(|_| file.media.io_uring) {
        lines.push(format!(
            "io_uring can't be had ({why}), each RTP packet costs a system call: Linux 6.1 and \
             sysctl -w kernel.io_uring_disabled=0, or leave media.io_uring out"
        ));
    }
    overlaps(file, shards, limits, &mut lines);
    lines
}

fn meet(a: &RangeInclusive<u16>, b: &RangeInclusive<u16>) -> bool {
    a.start() <= b.end() && b.start() <= a.end()
}

/// Ports that two want.
fn overlaps(file: &File, shards: u8, limits: &Limits, lines: &mut Vec<String>) {
    let rtp = &file.media.rtp_ports;
    let web = file.media.web_port;
    let web = (web != 0).then(|| web..=web_port(web, shards.saturating_sub(1)));
    if let Some(web) = web.as_ref().filter(|web| meet(web, rtp)) {
        let (first, last) = (web.start(), web.end());
        lines.push(format!("web media's ports {first}-{last} lie in media.rtp_ports: move media.web_port"));
    }
    if rtp.contains(&file.sip.listen.port()) {
        lines.push(format!("SIP's port {} lies in media.rtp_ports: move one", file.sip.listen.port()));
    }
    let Some(range) = &limits.ports else { return };
    let ours: Vec<String> = std::iter::once(rtp.clone())
        .chain(web)
        .filter(|ours| meet(ours, range))
        .map(|ours| format!("{}-{}", ours.start(), ours.end()))
        .filter(|ours| !limits.reserved.split(',').any(|reserved| reserved == ours))
        .collect();
    if !ours.is_empty() {
        let ours = ours.join(",");
        lines.push(format!(
            "the kernel gives ports of ours to others ({}-{}): sysctl -w net.ipv4.ip_local_reserved_ports={ours}",
            range.start(),
            range.end()
        ));
    }
}

/// For each shard the rule that steers its web port to its core's queue.
pub(super) fn steering(file: &File, cores: &[u16], limits: &Limits) -> Vec<String> {
    let addresses = std::iter::once(&file.media.listen).chain(&file.media.web_listen);
    let outside: Vec<&IpAddr> = addresses.filter(|ip| !ip.is_loopback()).collect();
    if outside.is_empty() || file.media.web_port == 0 {
        return Vec::new();
    }
    let device = limits.device.as_deref().unwrap_or("DEVICE");
    let flow = if outside.iter().any(|ip| ip.is_ipv4()) { "udp4" } else { "udp6" };
    let rule = |(shard, core): (usize, &u16)| {
        let port = web_port(file.media.web_port, shard as u8);
        format!("ethtool -N {device} flow-type {flow} dst-port {port} action {core}")
    };
    cores.iter().enumerate().map(rule).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::read;

    #[test]
    fn the_plan_names_every_port_of_every_shard() {
        let file = read("b.toml", "[media]\nlisten = \"192.0.2.1\"\nrtp_ports = \"20000-20999\"").unwrap();
        let text = ports(&file, &[2, 3]);
        for part in [
            "http       127.0.0.1:8080",
            "admin      127.0.0.1:9080",
            "shard      1 on core 3",
            "udp 192.0.2.1:10001",
            "udp 192.0.2.1:20500-20999, 250 SIP legs",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let limits = Limits { device: Some("eth7".into()), ..Limits::default() };
        assert_eq!(
            steering(&file, &[2, 3], &limits),
            [
                "ethtool -N eth7 flow-type udp4 dst-port 10000 action 2",
                "ethtool -N eth7 flow-type udp4 dst-port 10001 action 3"
            ]
        );
        assert!(steering(&read("b.toml", "").unwrap(), &[0], &limits).is_empty());
    }

    #[test]
    fn each_warning_brings_its_remedy() {
        let file = read("b.toml", "[media]\nrtp_ports = \"30000-34999\"\nweb_port = 30001\nio_uring = true")
            .unwrap();
        let limits = Limits {
            receive: Some(212_992),
            send: Some(212_992),
            backlog: Some(128),
            ports: Some(32_768..=60_999),
            reserved: String::new(),
            files: Some(1024),
            device: None,
            no_ring: Some("Operation not permitted".into()),
        };
        let lines = warnings(&file, 1, &limits).join("\n");
        for part in [
            "sysctl -w net.core.rmem_max=8388608",
            "sysctl -w net.core.somaxconn=1024",
            "ulimit -n 36256",
            "widen media.rtp_ports",
            "move media.web_port",
            "ip_local_reserved_ports=30000-34999",
            "(Operation not permitted), each RTP packet",
        ] {
            assert!(lines.contains(part), "{part} in {lines}");
        }
        assert_eq!(warnings(&read("b.toml", "").unwrap(), 1, &Limits::default()), Vec::<String>::new());
    }
}
