//! From a domain name to the ways to its servers (RFC 3263 section 4): NAPTR, then SRV, then addresses.

use super::hop::Place;
use super::{Hop, Transport};
use crate::base::Now;
use crate::dns::{Answer, Data, Kind, Lookup, Missing, Name, Naptr, Resolver, Srv};
use sip_codec::Uri;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

/// Ways that one target may have; more are left out.
const WAYS: usize = 64;
/// The transports that we can connect by, in the order in which they are chosen where the domain has no wish.
const TRANSPORTS: [Transport; 3] = [Transport::Udp, Transport::Tcp, Transport::Tls];

/// A host as it was written.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Host {
    /// An address.
    Ip(IpAddr),
    /// A name.
    Name(Name),
}

/// Where requests are to go, as configuration or a URI says it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Target {
    /// The host.
    pub host: Host,
    /// Its port; for a name, no services are asked for then.
    pub port: Option<u16>,
    /// The transport; for a name without it, its services decide.
    pub transport: Option<Transport>,
    /// Over TLS, the domain that the certificate must name, where it is another than the host.
    pub domain: Option<Arc<str>>,
}

/// One way to a target.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Way {
    pub hop: Hop,
    /// The least is tried first.
    pub rank: u32,
    /// Addresses of one host.
    pub group: u16,
    /// That host's share of its rank.
    pub weight: u16,
}

/// What is known of the ways to a target.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Located {
    /// A question is on its way: ask again.
    Asked,
    /// These, until then.
    Found(Vec<Way>, Instant),
    /// None, and it is not worth asking before then.
    Lost(Missing, Instant),
}

impl Target {
    /// An address and what to speak there.
    pub fn literal(address: SocketAddr, transport: Transport) -> Target {
        let (port, transport) = (Some(address.port()), Some(transport));
        Target { host: Host::Ip(address.ip()), port, transport, domain: None }
    }

    /// Where a URI leads that names no address: `None` where it does, and for names that are none.
    pub(super) fn of(uri: &Uri<'_>) -> Option<Target> {
        let host = match uri.params.value("maddr").map(str::parse::<IpAddr>) {
            Some(_) => return None,
            None => match uri.host? {
                sip_codec::Host::Name(name) => Host::Name(Name::parse(name)?),
                sip_codec::Host::Ip(_) => return None,
            },
        };
        let transport = Place::of(uri).transport;
        Some(Target { host, port: uri.port.filter(|port| *port != 0), transport, domain: None })
    }

    /// Reads `host` or `host:port`, where the host is a name, an IPv4 address, or an IPv6 address in brackets.
    pub fn parse(text: &str, transport: Option<Transport>) -> Option<Target> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            let port = Some(address.port()).filter(|port| *port != 0)?;
            return Some(Target { host: Host::Ip(address.ip()), port: Some(port), transport, domain: None });
        }
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Some(Target { host: Host::Ip(ip), port: None, transport, domain: None });
        }
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(port.parse::<u16>().ok().filter(|port| *port != 0)?)),
            None => (text, None),
        };
        Some(Target { host: Host::Name(Name::parse(host)?), port, transport, domain: None })
    }

    /// The way to it, where that needs no question.
    pub fn hop(&self) -> Option<Hop> {
        let Host::Ip(ip) = self.host else { return None };
        let transport = self.transport.unwrap_or(Transport::Udp);
        let port = self.port.unwrap_or(transport.port());
        let name = self.domain.clone().filter(|_| transport.is_secure());
        Some(Hop { transport, address: SocketAddr::new(ip, port), name })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, self.port) {
            (Host::Ip(ip), Some(port)) => write!(f, "{}", SocketAddr::new(*ip, port)),
            (Host::Ip(ip), None) => write!(f, "{ip}"),
            (Host::Name(name), Some(port)) => write!(f, "{name}:{port}"),
            (Host::Name(name), None) => write!(f, "{name}"),
        }
    }
}

/// The DNS label of a transport's services (RFC 3263 section 4.2).
fn service(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "_sip._udp",
        Transport::Tls => "_sips._tcp",
        _ => "_sip._tcp",
    }
}

/// The transport of a NAPTR service.
fn transport_of(naptr: &Naptr) -> Option<Transport> {
    match naptr.service.as_str() {
        "SIP+D2U" => Some(Transport::Udp),
        "SIP+D2T" => Some(Transport::Tcp),
        "SIPS+D2T" => Some(Transport::Tls),
        _ => None,
    }
}

/// One pass over what the resolver knows. What it doesn't it asks for, as much as can be asked at once.
struct Search<'a> {
    now: Now,
    resolver: &'a mut Resolver,
    domain: Name,
    /// What a certificate must name: the domain, not the host that DNS named (RFC 5922 section 4).
    certified: Arc<str>,
    asked: bool,
    missing: Missing,
    expires: Option<Instant>,
    ways: Vec<Way>,
    groups: u16,
}

/// The ways to a target.
pub(super) fn locate(now: Now, target: &Target, resolver: &mut Resolver) -> Located {
    let domain = match &target.host {
        Host::Name(name) => name.clone(),
        Host::Ip(_) => {
            let ways = target.hop().map(|hop| Way { hop, rank: 0, group: 0, weight: 0 });
            // An address is no news.
            return Located::Found(
                ways.into_iter().collect(),
                now.instant + std::time::Duration::from_hours(24),
            );
        }
    };
    let mut search = Search {
        now,
        resolver,
        certified: target.domain.clone().unwrap_or_else(|| domain.as_str().into()),
        domain: domain.clone(),
        asked: false,
        missing: Missing::Absent,
        expires: None,
        ways: Vec::new(),
        groups: 0,
    };
    match (target.port, target.transport) {
        (Some(port), transport) => {
            let transport = transport.unwrap_or(Transport::Udp);
            search.host(&domain, (transport, port), 0, 0);
        }
        (None, Some(transport)) => search.services(&[transport]),
        (None, None) => search.naptr(),
    }
    search.end()
}

impl Search<'_> {
    /// The records of one question; `None` where there are none, or none yet.
    fn records(&mut self, name: &Name, kind: Kind) -> Option<Arc<[Data]>> {
        match self.resolver.lookup(self.now, name, kind) {
            Lookup::Asked => {
                self.asked = true;
                None
            }
            Lookup::Known(Answer { records, expires }) => {
                self.expires = Some(self.expires.map_or(expires, |other| other.min(expires)));
                match records {
                    Ok(records) => Some(records),
                    Err(missing) => {
                        if missing != Missing::Absent {
                            self.missing = missing;
                        }
                        None
                    }
                }
            }
        }
    }

    /// Section 4.1: the domain says by which transports it wants to be reached.
    fn naptr(&mut self) {
        let domain = self.domain.clone();
        let records = self.records(&domain, Kind::Naptr);
        if self.asked {
            return;
        }
        let mut rules: Vec<(Naptr, Transport)> = records
            .iter()
            .flat_map(|records| records.iter())
            .filter_map(|data| match data {
                Data::Naptr(naptr) => Some((naptr.clone(), transport_of(naptr)?)),
                _ => None,
            })
            .collect();
        if rules.is_empty() {
            return self.services(&TRANSPORTS);
        }
        rules.sort_by_key(|(naptr, _)| (naptr.order, naptr.preference));
        for (n, (naptr, transport)) in rules.into_iter().enumerate() {
            let rank = (n as u32) << 16;
            if naptr.srv {
                self.srv(&naptr.replacement, transport, rank);
            } else {
                self.host(&naptr.replacement, (transport, transport.port()), rank, 0);
            }
        }
    }

    /// The services of the domain by each of these transports; without any, its own addresses.
    fn services(&mut self, transports: &[Transport]) {
        let mut some = false;
        for (n, &transport) in transports.iter().enumerate() {
            if let Some(name) = self.domain.prefixed(service(transport)) {
                some |= self.srv(&name, transport, (n as u32) << 16);
            }
        }
        if !some && !self.asked {
            let transport = transports.first().copied().unwrap_or(Transport::Udp);
            let domain = self.domain.clone();
            self.host(&domain, (transport, transport.port()), 0, 0);
        }
    }

    /// Whether there are SRV records, be it only one that says that the service is not available.
    fn srv(&mut self, name: &Name, transport: Transport, rank: u32) -> bool {
        let Some(records) = self.records(name, Kind::Srv) else { return false };
        let mut some = false;
        for data in records.iter() {
            let Data::Srv(Srv { priority, weight, port, target }) = data else { continue };
            some = true;
            if let Some(target) = target {
                self.host(target, (transport, *port), rank | u32::from(*priority), *weight);
            }
        }
        some
    }

    /// All addresses of a host.
    fn host(&mut self, name: &Name, (transport, port): (Transport, u16), rank: u32, weight: u16) {
        let group = self.groups;
        self.groups = self.groups.saturating_add(1);
        for kind in [Kind::A, Kind::Aaaa] {
            let Some(records) = self.records(name, kind) else { continue };
            for data in records.iter() {
                let ip = match data {
                    Data::A(ip) => IpAddr::V4(*ip),
                    Data::Aaaa(ip) => IpAddr::V6(*ip),
                    _ => continue,
                };
                if ip.is_unspecified() || ip.is_multicast() || port == 0 || self.ways.len() >= WAYS {
                    continue;
                }
                let name = transport.is_secure().then(|| Arc::clone(&self.certified));
                let hop = Hop { transport, address: SocketAddr::new(ip, port), name };
                self.ways.push(Way { hop, rank, group, weight });
            }
        }
    }

    fn end(self) -> Located {
        if self.asked {
            return Located::Asked;
        }
        let expires = self.expires.unwrap_or(self.now.instant);
        if self.ways.is_empty() {
            Located::Lost(self.missing, expires)
        } else {
            Located::Found(self.ways, expires)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Machine, Map, Random};
    use crate::dns;
    use std::time::Duration;

    type Zone = Map<(&'static str, Kind), Vec<&'static str>>;

    /// A zone as lines of `name TYPE data`.
    fn zone(lines: &[&'static str]) -> Zone {
        let mut zone = Zone::default();
        for line in lines {
            let mut words = line.splitn(3, ' ');
            let (name, kind, data) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            let kind = match kind {
                "A" => Kind::A,
                "AAAA" => Kind::Aaaa,
                "SRV" => Kind::Srv,
                _ => Kind::Naptr,
            };
            zone.entry((name, kind)).or_default().push(data);
        }
        zone
    }

    /// An answer, written by hand: only the parser is shared with what is tested.
    fn answer(zone: &Zone, question: &[u8]) -> Vec<u8> {
        let (mut at, mut labels) = (12, Vec::new());
        while question[at] != 0 {
            let length = usize::from(question[at]);
            labels.push(String::from_utf8(question[at + 1..=at + length].to_vec()).unwrap());
            at += length + 1;
        }
        let name = labels.join(".");
        let kind = match u16::from_be_bytes([question[at + 1], question[at + 2]]) {
            1 => Kind::A,
            28 => Kind::Aaaa,
            33 => Kind::Srv,
            _ => Kind::Naptr,
        };
        let records = zone.iter().find(|((owner, k), _)| *owner == name && *k == kind);
        let records = records.map(|(_, records)| records.clone()).unwrap_or_default();
        let mut bytes = question[..2].to_vec();
        let code = u8::from(!zone.keys().any(|(owner, _)| *owner == name)) * 3;
        bytes.extend([0x81, 0x80 | code, 0, 1, 0, records.len() as u8, 0, 0, 0, 0]);
        bytes.extend(&question[12..at + 5]);
        for record in records {
            bytes.extend([0xc0, 12]);
            bytes.extend(&question[at + 1..at + 5]);
            bytes.extend([0, 0, 0, 60]);
            let data = data(kind, record);
            bytes.extend((data.len() as u16).to_be_bytes());
            bytes.extend(data);
        }
        bytes
    }

    fn labels(name: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        for label in name.split('.').filter(|label| !label.is_empty()) {
            bytes.push(label.len() as u8);
            bytes.extend(label.bytes());
        }
        bytes.push(0);
        bytes
    }

    fn data(kind: Kind, text: &str) -> Vec<u8> {
        let words: Vec<&str> = text.split(' ').collect();
        let number = |n: usize| words[n].parse::<u16>().unwrap().to_be_bytes();
        match kind {
            Kind::A => text.parse::<std::net::Ipv4Addr>().unwrap().octets().to_vec(),
            Kind::Aaaa => text.parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec(),
            Kind::Srv => [&number(0)[..], &number(1), &number(2), &labels(words[3])].concat(),
            Kind::Naptr => {
                let text = |n: usize| [&[words[n].len() as u8][..], words[n].as_bytes()].concat();
                [&number(0)[..], &number(1), &text(2), &text(3), &[0], &labels(words[4])].concat()
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "virtual time begins somewhere")]
    fn now() -> Now {
        Now { instant: Instant::now(), unix: Duration::ZERO }
    }

    /// Locates it, with as many rounds of questions as it takes; also what was asked.
    fn run(lines: &[&'static str], target: &Target) -> (Located, usize) {
        let (zone, now) = (zone(lines), now());
        let mut resolver = Resolver::new(dns::Config::default(), Random::from_number(1));
        for _ in 0..10 {
            let located = locate(now, target, &mut resolver);
            if located != Located::Asked {
                return (located, resolver.counters().sent as usize);
            }
            while let Some(output) = resolver.poll_output() {
                if let dns::Output::Send { socket, server, data, .. } = output {
                    let data = answer(&zone, &data);
                    resolver.handle_input(now, dns::Input::Datagram { socket, from: server, data: &data });
                }
            }
        }
        panic!("it never ends");
    }

    fn target(text: &str, transport: Option<Transport>) -> Target {
        Target::parse(text, transport).unwrap()
    }

    /// `transport address rank weight` of each way.
    fn ways(lines: &[&'static str], text: &str, transport: Option<Transport>) -> Vec<String> {
        match run(lines, &target(text, transport)).0 {
            Located::Found(ways, _) => ways
                .iter()
                .map(|way| {
                    let Way { hop, rank, weight, .. } = way;
                    format!("{} {} {:x} {weight}", hop.transport.name(), hop.address, rank)
                })
                .collect(),
            other => panic!("{other:?}"),
        }
    }

    const ZONE: &[&str] = &[
        "example.com NAPTR 50 50 s SIPS+D2T _sips._tcp.example.com",
        "example.com NAPTR 90 50 s SIP+D2T _sip._tcp.example.com",
        "example.com NAPTR 100 50 s SIP+D2U _sip._udp.example.com",
        "example.com NAPTR 10 50 s SIP+D2S _sip._sctp.example.com",
        "_sips._tcp.example.com SRV 0 1 5061 s1.example.com",
        "_sip._tcp.example.com SRV 0 1 5060 s1.example.com",
        "_sip._tcp.example.com SRV 1 2 5070 s2.example.com",
        "_sip._udp.example.com SRV 0 1 5060 s1.example.com",
        "s1.example.com A 192.0.2.1",
        "s1.example.com AAAA 2001:db8::1",
        "s2.example.com A 192.0.2.2",
        "example.com A 192.0.2.9",
    ];

    #[test]
    fn naptr_decides_where_the_trunk_has_no_transport() {
        let expected = [
            "TLS 192.0.2.1:5061 0 1",
            "TLS [2001:db8::1]:5061 0 1",
            "TCP 192.0.2.1:5060 10000 1",
            "TCP [2001:db8::1]:5060 10000 1",
            "TCP 192.0.2.2:5070 10001 2",
            "UDP 192.0.2.1:5060 20000 1",
            "UDP [2001:db8::1]:5060 20000 1",
        ];
        assert_eq!(ways(ZONE, "example.com", None), expected);
        let Located::Found(ways, _) = run(ZONE, &target("example.com", None)).0 else { panic!() };
        assert_eq!(ways[0].hop.name.as_deref(), Some("example.com"), "the domain, not s1, must be certified");
        assert_eq!(ways[2].hop.name, None);
    }

    #[test]
    fn a_transport_asks_for_its_services_alone() {
        let expected = ["TCP 192.0.2.1:5060 0 1", "TCP [2001:db8::1]:5060 0 1", "TCP 192.0.2.2:5070 1 2"];
        assert_eq!(ways(ZONE, "example.com", Some(Transport::Tcp)), expected);
        let (_, asked) = run(ZONE, &target("example.com", Some(Transport::Tcp)));
        assert_eq!(asked, 5, "one SRV, two addresses of each host");
    }

    #[test]
    fn a_port_asks_for_addresses_alone() {
        assert_eq!(ways(ZONE, "example.com:5099", None), ["UDP 192.0.2.9:5099 0 0"]);
        assert_eq!(ways(ZONE, "s2.example.com:5061", Some(Transport::Tls)), ["TLS 192.0.2.2:5061 0 0"]);
    }

    #[test]
    fn without_naptr_each_transport_has_its_services_and_without_those_the_domain_itself_serves() {
        let some = ["_sip._tcp.x.example SRV 5 0 5062 h.x.example", "h.x.example A 192.0.2.3"];
        assert_eq!(ways(&some, "x.example", None), ["TCP 192.0.2.3:5062 10005 0"]);
        assert_eq!(ways(&["x.example A 192.0.2.4"], "x.example", None), ["UDP 192.0.2.4:5060 0 0"]);
        let only = ["x.example A 192.0.2.4"];
        assert_eq!(ways(&only, "x.example", Some(Transport::Tls)), ["TLS 192.0.2.4:5061 0 0"]);
        let direct = ["x.example NAPTR 1 1 a SIP+D2U h.x.example", "h.x.example A 192.0.2.3"];
        assert_eq!(ways(&direct, "x.example", None), ["UDP 192.0.2.3:5060 0 0"]);
    }

    #[test]
    fn what_is_not_there_or_decidedly_not_served_is_lost() {
        let lost = |lines: &[&'static str], text: &str, transport| {
            let located = run(lines, &target(text, transport)).0;
            assert!(matches!(located, Located::Lost(Missing::Absent, _)), "{located:?}");
        };
        lost(&[], "x.example", None);
        lost(
            &["_sip._udp.x.example SRV 0 0 0 .", "x.example A 192.0.2.4"],
            "x.example",
            Some(Transport::Udp),
        );
        lost(&["x.example A 0.0.0.0", "x.example AAAA ff02::1"], "x.example:5060", None);
    }

    #[test]
    fn one_host_without_addresses_leaves_the_others() {
        let lines = [
            "_sip._udp.x.example SRV 0 0 5060 gone.x.example",
            "_sip._udp.x.example SRV 1 0 5060 h.x.example",
            "h.x.example A 192.0.2.3",
        ];
        assert_eq!(ways(&lines, "x.example", Some(Transport::Udp)), ["UDP 192.0.2.3:5060 1 0"]);
    }

    #[test]
    fn targets_are_read_and_written() {
        for text in ["192.0.2.1:5070", "pbx.example", "pbx.example:5070", "[2001:db8::1]:5060", "192.0.2.1"] {
            assert_eq!(target(text, None).to_string(), text);
        }
        assert_eq!(target("[2001:db8::1]", None).hop().unwrap().address.to_string(), "[2001:db8::1]:5060");
        assert_eq!(target("192.0.2.1", Some(Transport::Tls)).hop().unwrap().address.port(), 5061);
        for text in ["", ":5060", "pbx:0", "pbx:x", "192.0.2.1:0", "a b", "1.2.3", "sip:pbx", "pbx:99999"] {
            assert_eq!(Target::parse(text, None), None, "{text}");
        }
    }
}
