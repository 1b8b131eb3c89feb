//! Where a trunk's servers are, how they are watched, and how names are resolved.

use super::Trunk;
use super::file::parse_address;
use crate::{dns, sip};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Servers that one trunk may have.
const MOST: usize = 16;

/// `transport`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A connection.
    Tcp,
    /// A connection under TLS, whose certificate must be its domain's.
    Tls,
}

impl Transport {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
        }
    }
}

/// An address or a domain name, with or without port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place(pub sip::Target);

impl Place {
    /// Reads it.
    pub fn parse(text: &str) -> Result<Place, String> {
        sip::Target::parse(text, None).map(Place).ok_or_else(|| {
            format!("{text:?} is neither an address nor a domain name; write it as \"192.0.2.1:5060\" or \"sip.example.com\"")
        })
    }
}

impl From<SocketAddr> for Place {
    fn from(address: SocketAddr) -> Place {
        Place(sip::Target { transport: None, ..sip::Target::literal(address, sip::Transport::Udp) })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Place::parse(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// One of `servers`: its address or name, or a table that says more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Where it is.
    pub address: Place,
    /// Its share of the requests.
    pub weight: u16,
    /// It is used only while none of the others lives.
    pub standby: bool,
}

impl Server {
    fn plain(address: Place) -> Server {
        Server { address, weight: 1, standby: false }
    }
}

/// The table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Full {
    address: Place,
    #[serde(default = "one")]
    weight: u16,
    #[serde(default)]
    standby: bool,
}

fn one() -> u16 {
    1
}

impl<'de> Deserialize<'de> for Server {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Server;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address, or a table with address, weight and standby")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Server, E> {
                Place::parse(text).map(Server::plain).map_err(E::custom)
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Server, M::Error> {
                let full = Full::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Server { address: full.address, weight: full.weight, standby: full.standby })
            }
        }
        from.deserialize_any(Either)
    }
}

/// `probe`: the trunk's servers are asked by OPTIONS how they are.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Probe {
    /// Seconds from one to the next.
    pub interval_s: u32,
    /// Seconds that each has for its answer.
    pub timeout_s: u32,
    /// Failures in a row that bring a server down.
    pub down_after: u32,
    /// Answers in a row that bring it back.
    pub up_after: u32,
    /// Codes that are signs of life, as `200` or `4xx`; all but 502, 503 and 504 where empty.
    pub alive: Vec<String>,
}

impl Default for Probe {
    fn default() -> Self {
        let sip::Probe { interval, timeout, down_after, up_after, .. } = sip::Probe::default();
        let (interval_s, timeout_s) = (interval.as_secs() as u32, timeout.as_secs() as u32);
        Probe { interval_s, timeout_s, down_after, up_after, alive: Vec::new() }
    }
}

/// The codes of `200` or `4xx`.
fn codes(text: &str) -> Option<RangeInclusive<u16>> {
    if let Some(class) = text.strip_suffix("xx") {
        let class = class.parse::<u16>().ok().filter(|class| (2..=6).contains(class))?;
        return Some(class * 100..=class * 100 + 99);
    }
    let code = text.parse::<u16>().ok().filter(|code| (200..=699).contains(code))?;
    Some(code..=code)
}

impl Probe {
    fn plan(&self) -> sip::Probe {
        let alive: Vec<_> = self.alive.iter().filter_map(|text| codes(text)).collect();
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        let default = sip::Probe::default();
        sip::Probe {
            interval: seconds(self.interval_s),
            timeout: seconds(self.timeout_s),
            down_after: self.down_after,
            up_after: self.up_after,
            alive: if alive.is_empty() { default.alive } else { alive },
        }
    }

    /// What is wrong with it.
    fn fault(&self) -> Option<String> {
        let zero = [
            ("interval_s", self.interval_s),
            ("timeout_s", self.timeout_s),
            ("down_after", self.down_after),
            ("up_after", self.up_after),
        ];
        if let Some((key, _)) = zero.into_iter().find(|(_, value)| *value == 0) {
            return Some(format!("{key}: 0 makes no probe; use 1 or more, or leave probe out"));
        }
        if self.timeout_s > self.interval_s {
            return Some("timeout_s: a probe must end before the next; use no more than interval_s".into());
        }
        let odd = self.alive.iter().find(|text| codes(text).is_none())?;
        Some(format!("alive: {odd:?} is no final SIP code; write 200 or 4xx"))
    }
}

/// `[dns]`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dns {
    /// Name servers, in place of those of `resolv_conf`; port 53 where none is written.
    #[serde(deserialize_with = "name_servers")]
    pub servers: Vec<SocketAddr>,
    /// Where the system says which name servers there are. Read at the start.
    pub resolv_conf: PathBuf,
    /// Where it says which names have which addresses. Read at the start.
    pub hosts: PathBuf,
    /// Answers that are kept.
    pub cache: u32,
    /// Seconds that an answer stands in, past its time, while no name server can be reached.
    pub stale_s: u32,
}

impl Default for Dns {
    fn default() -> Self {
        let config = dns::Config::default();
        Dns {
            servers: Vec::new(),
            resolv_conf: "/etc/resolv.conf".into(),
            hosts: "/etc/hosts".into(),
            cache: config.entries as u32,
            stale_s: config.stale.0.as_secs() as u32,
        }
    }
}

fn name_servers<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<SocketAddr>, D::Error> {
    let read = |text: String| match text.parse::<std::net::IpAddr>() {
        Ok(ip) => Ok(SocketAddr::new(ip, 53)),
        Err(_) => parse_address(&text).map_err(D::Error::custom),
    };
    Vec::<String>::deserialize(from)?.into_iter().map(read).collect()
}

impl Dns {
    /// Reads the system's files. One that can't be read counts as empty, as for every other resolver.
    pub(super) fn plan(&self) -> dns::Config {
        let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
        let mut settings = dns::Settings::parse(&read(&self.resolv_conf));
        if !self.servers.is_empty() {
            settings.servers.clone_from(&self.servers);
        }
        let default = dns::Config::default();
        dns::Config {
            settings,
            hosts: dns::Hosts::parse(&read(&self.hosts)),
            entries: self.cache as usize,
            stale: (Duration::from_secs(self.stale_s.into()), default.stale.1),
            ..default
        }
    }
}

pub(super) fn failover_ms() -> u32 {
    2_000
}

pub(super) fn avoid_s() -> u32 {
    30
}

impl Trunk {
    /// Its servers, by whichever key they are told.
    pub fn all_servers(&self) -> Vec<Server> {
        self.address.iter().cloned().map(Server::plain).chain(self.servers.iter().cloned()).collect()
    }

    /// What is wrong with them.
    pub(super) fn server_fault(&self) -> Option<String> {
        if self.address.is_some() && !self.servers.is_empty() {
            return Some("servers: a trunk has either address or servers; remove one".into());
        }
        let servers = self.all_servers();
        if servers.is_empty() {
            return Some("address: the trunk is nowhere; add address = \"192.0.2.1:5060\"".into());
        }
        if servers.len() > MOST {
            return Some(format!(
                "servers: there are more than {MOST}; put them behind one name with SRV records"
            ));
        }
        if servers.iter().all(|server| server.standby) {
            return Some("standby: all servers stand by, none is active; remove it from one".into());
        }
        self.probe.as_ref().and_then(Probe::fault)
    }

    /// Whether requests may go to it over TLS: a name's NAPTR records may say so where nothing else does.
    pub fn may_be_tls(&self) -> bool {
        let named = || self.all_servers().iter().any(|server| server.address.0.hop().is_none());
        self.transport.map_or_else(named, |transport| transport == Transport::Tls)
    }

    /// Where it is, in a few words.
    pub fn whereabouts(&self) -> String {
        let of = |server: &Server| {
            let standby = if server.standby { " (standby)" } else { "" };
            format!("{}{standby}", server.address)
        };
        self.all_servers().iter().map(of).collect::<Vec<_>>().join(", ")
    }

    fn entry(&self, server: &Server) -> sip::Entry {
        let transport = self.transport.map(|transport| match transport {
            Transport::Udp => sip::Transport::Udp,
            Transport::Tcp => sip::Transport::Tcp,
            Transport::Tls => sip::Transport::Tls,
        });
        // The domain that its certificate must name has no port.
        let port = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let name = match self.domain.rsplit_once(':') {
            Some((name, text)) if port(text) => name,
            _ => &*self.domain,
        };
        let domain = (!name.is_empty()).then(|| Arc::from(name));
        let target = sip::Target { transport, domain, ..server.address.0.clone() };
        sip::Entry { target, share: server.weight, standby: server.standby }
    }

    /// The same for the SIP stack.
    pub(super) fn plan_servers(&self, trunk: sip::Trunk) -> sip::Trunk {
        let servers = self.all_servers();
        let first = servers.first().map(|server| server.address.to_string()).unwrap_or_default();
        sip::Trunk {
            entries: servers.iter().map(|server| self.entry(server)).collect(),
            domain: if self.domain.is_empty() { first } else { self.domain.clone() },
            patience: Duration::from_millis(self.failover_ms.into()),
            avoid: Duration::from_secs(self.avoid_s.into()),
            probe: self.probe.as_ref().map(Probe::plan),
            ..trunk
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;

    fn trunk(keys: &str) -> Result<Trunk, String> {
        let text = format!("[[trunk]]\nname = \"pbx\"\n{keys}");
        read("b.toml", &text).map(|file| file.trunk[0].clone()).map_err(|error| error.to_string())
    }

    fn plan(keys: &str) -> sip::Trunk {
        trunk(keys).unwrap().plan_servers(sip::Trunk::new("pbx", "127.0.0.1:1".parse().unwrap()))
    }

    #[test]
    fn a_trunk_is_at_an_address_at_a_name_or_at_several() {
        let one = plan("address = \"192.0.2.1:5070\"");
        assert_eq!((one.domain.as_str(), one.entries.len()), ("192.0.2.1:5070", 1));
        assert_eq!(one.entries[0].target.hop(), Some(sip::Hop::udp("192.0.2.1:5070".parse().unwrap())));
        let named = plan("address = \"sip.example.com\"");
        assert_eq!(named.domain, "sip.example.com");
        assert_eq!((named.entries[0].target.hop(), named.entries[0].target.transport), (None, None));
        let pair = plan(
            "transport = \"tls\"\ndomain = \"pbx.example:5061\"\nfailover_ms = 700\n\
             servers = [\"a.example\", { address = \"192.0.2.2\", weight = 3 }, { address = \"[::1]:5062\", standby = true }]",
        );
        assert_eq!((pair.domain.as_str(), pair.patience.as_millis()), ("pbx.example:5061", 700));
        let of = |n: usize| (pair.entries[n].share, pair.entries[n].standby);
        assert_eq!((of(0), of(1), of(2)), ((1, false), (3, false), (1, true)));
        let hop = pair.entries[1].target.hop().unwrap();
        assert_eq!((hop.address.port(), hop.name.as_deref()), (5061, Some("pbx.example")));
    }

    #[test]
    fn what_is_wrong_with_servers_is_said_with_its_fix() {
        let pair = "servers = [\"192.0.2.1\"]\nprobe = ";
        for (keys, parts) in [
            ("address = \"a b\"", &["b.toml:3:", "address", "sip.example.com"][..]),
            ("address = \"a.example\"\nservers = [\"b.example\"]", &["b.toml:2:", "either", "remove"]),
            ("", &["b.toml:2:", "address = "]),
            ("servers = [{ address = \"192.0.2.1\", standby = true }]", &["standby", "none is active"]),
            ("servers = [{ address = \"192.0.2.1\", wait = 1 }]", &["b.toml:3:", "wait", "weight"]),
            ("servers = [7]", &["b.toml:3:", "an address"]),
            (&format!("{pair}{{ interval_s = 0 }}"), &["interval_s", "1 or more"]),
            (&format!("{pair}{{ timeout_s = 31 }}"), &["timeout_s", "interval_s"]),
            (&format!("{pair}{{ alive = [\"1xx\"] }}"), &["alive", "\"1xx\"", "4xx"]),
        ] {
            let said = trunk(keys).unwrap_err();
            assert!(!said.contains('\n'), "{said}");
            for part in parts {
                assert!(said.contains(part), "{said:?} lacks {part:?}");
            }
        }
    }

    #[test]
    fn probes_say_which_codes_are_signs_of_life() {
        let plan = |keys: &str| plan(&format!("address = \"192.0.2.1\"\n{keys}")).probe;
        assert_eq!(plan(""), None);
        let default = plan("probe = {}").unwrap();
        assert_eq!(default, sip::Probe::default());
        assert!(default.is_alive(404) && default.is_alive(200) && !default.is_alive(503));
        let some = plan("probe = { interval_s = 5, alive = [\"200\", \"4xx\"] }").unwrap();
        assert_eq!(some.interval.as_secs(), 5);
        assert!(some.is_alive(200) && some.is_alive(483) && !some.is_alive(202) && !some.is_alive(500));
    }

    #[test]
    fn name_servers_come_from_the_operator_or_from_the_system() {
        let folder = std::env::temp_dir().join(format!("bridgehead-dns-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (conf, hosts) = (folder.join("resolv.conf"), folder.join("hosts"));
        std::fs::write(&conf, "nameserver 192.0.2.53\noptions attempts:1").unwrap();
        std::fs::write(&hosts, "192.0.2.7 pbx").unwrap();
        let text = format!("[dns]\nresolv_conf = {conf:?}\nhosts = {hosts:?}\n");
        let system = read("b.toml", &text).unwrap().dns.plan();
        let own = read("b.toml", &format!("{text}servers = [\"127.0.0.1:5353\", \"::1\"]\ncache = 9"));
        let own = own.unwrap().dns.plan();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(system.settings.servers, ["192.0.2.53:53".parse().unwrap()]);
        let pbx = dns::Name::parse("pbx").unwrap();
        assert!(system.hosts.find(&pbx, dns::Kind::A).is_some());
        let servers = ["127.0.0.1:5353", "[::1]:53"].map(|server| server.parse().unwrap());
        assert_eq!((own.settings.servers, own.settings.attempts, own.entries), (servers.to_vec(), 1, 9));
        let said = read("b.toml", "[dns]\nservers = [\"x\"]").unwrap_err().to_string();
        assert!(said.contains("b.toml:2:") && said.contains("servers"), "{said}");
    }
}
