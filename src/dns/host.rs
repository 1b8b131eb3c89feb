//! What the host says: `resolv.conf` and the hosts file, as text.

use super::{Data, Kind, Name};
use crate::base::Map;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Name servers that are taken from a file.
const SERVERS: usize = 8;
/// Search domains that are taken from a file.
const DOMAINS: usize = 6;
/// Lines of a hosts file that are read.
const LINES: usize = 65_536;
/// Addresses that one name of it may have.
const ADDRESSES: usize = 32;
/// Where name servers listen.
const PORT: u16 = 53;

/// `resolv.conf` (resolv.conf(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Name servers, first to be asked first. This machine's own where the file names none.
    pub servers: Vec<SocketAddr>,
    /// Domains in which names with few dots are looked for.
    pub search: Vec<Name>,
    /// Names with so many dots are tried as they are before the search list; 1.
    pub dots: usize,
    /// How long one server has; 5 s, 30 at most.
    pub timeout: Duration,
    /// How often each is asked; twice, 5 times at most.
    pub attempts: u32,
    /// Questions are spread over the servers.
    pub rotate: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            servers: vec![(Ipv4Addr::LOCALHOST, PORT).into()],
            search: Vec::new(),
            dots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
            rotate: false,
        }
    }
}

impl Settings {
    /// Reads `resolv.conf`. Like every reader of it, leaves out what it does not know.
    pub fn parse(text: &str) -> Settings {
        let mut settings = Settings { servers: Vec::new(), ..Settings::default() };
        for line in text.lines() {
            let mut words = line.split(['#', ';']).next().unwrap_or("").split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let server = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    settings.servers.extend(server.map(|ip| SocketAddr::new(ip, PORT)));
                    settings.servers.truncate(SERVERS);
                }
                // The last of them counts.
                Some("search" | "domain") => {
                    settings.search = words.filter_map(Name::parse).take(DOMAINS).collect();
                }
                Some("options") => words.for_each(|word| settings.option(word)),
                _ => {}
            }
        }
        if settings.servers.is_empty() {
            settings.servers = Settings::default().servers;
        }
        settings
    }

    fn option(&mut self, word: &str) {
        let (name, value) = word.split_once(':').unwrap_or((word, ""));
        match (name, value.parse::<u32>()) {
            ("ndots", Ok(dots)) => self.dots = dots.min(15) as usize,
            ("timeout", Ok(seconds)) => self.timeout = Duration::from_secs(seconds.clamp(1, 30).into()),
            ("attempts", Ok(attempts)) => self.attempts = attempts.clamp(1, 5),
            ("rotate", _) => self.rotate = true,
            _ => {}
        }
    }
}

/// The hosts file (hosts(5)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts(Map<Name, Vec<IpAddr>>);

impl Hosts {
    /// Reads it.
    pub fn parse(text: &str) -> Hosts {
        let mut hosts = Map::<Name, Vec<IpAddr>>::default();
        for line in text.lines().take(LINES) {
            let mut words = line.split('#').next().unwrap_or("").split_whitespace();
            let Some(ip) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else { continue };
            for name in words.filter_map(Name::parse) {
                let addresses = hosts.entry(name.rooted()).or_default();
                if addresses.len() < ADDRESSES && !addresses.contains(&ip) {
                    addresses.push(ip);
                }
            }
        }
        Hosts(hosts)
    }

    /// What it says of a name: `Some` and empty where it knows the name by addresses of the other family only.
    pub fn find(&self, name: &Name, kind: Kind) -> Option<Vec<Data>> {
        let local = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        if name.as_str() == "invalid" || name.as_str().ends_with(".invalid") {
            // RFC 6761 section 6.4.
            return Some(Vec::new());
        }
        // Section 6.3.
        let is_local = name.as_str() == "localhost" || name.as_str().ends_with(".localhost");
        let known = self.0.get(&name.rooted()).map(Vec::as_slice);
        let addresses = known.or(is_local.then_some(&local[..]))?;
        match kind {
            Kind::A | Kind::Aaaa => Some(addresses.iter().filter_map(|ip| data(*ip, kind)).collect()),
            Kind::Srv | Kind::Naptr => None,
        }
    }
}

fn data(ip: IpAddr, kind: Kind) -> Option<Data> {
    match (ip, kind) {
        (IpAddr::V4(ip), Kind::A) => Some(Data::A(ip)),
        (IpAddr::V6(ip), Kind::Aaaa) => Some(Data::Aaaa(ip)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_is_read_as_its_manual_says() {
        let settings = Settings::parse(
            "# made by hand\nsearch old.example\nnameserver 192.0.2.53 ; first\nnameserver 2001:db8::53\n\
             nameserver nonsense\ndomain\tx.example\nsearch voice.example example\n\
             options ndots:5 timeout:99 attempts:0 rotate edns0\nlookup file bind\n",
        );
        let servers = ["192.0.2.53:53", "[2001:db8::53]:53"].map(|server| server.parse().unwrap());
        assert_eq!(settings.servers, servers);
        let search: Vec<_> = settings.search.iter().map(Name::as_str).collect();
        assert_eq!(search, ["voice.example", "example"]);
        assert_eq!((settings.dots, settings.timeout.as_secs(), settings.attempts), (5, 30, 1));
        assert!(settings.rotate);
        assert_eq!(Settings::parse("options timeout:0").servers, ["127.0.0.1:53".parse().unwrap()]);
        assert_eq!(Settings::parse(&"nameserver ::1\n".repeat(99)).servers.len(), SERVERS);
    }

    #[test]
    fn the_hosts_file_knows_names_and_aliases_by_family() {
        let hosts = Hosts::parse(
            "127.0.0.1 localhost\n192.0.2.7  PBX.example pbx # ours\n192.0.2.8 pbx\n2001:db8::7 pbx\nx y\n",
        );
        let find = |name: &str, kind| hosts.find(&Name::parse(name).unwrap(), kind);
        let a = |text: &str| Data::A(text.parse().unwrap());
        assert_eq!(find("pbx", Kind::A), Some(vec![a("192.0.2.7"), a("192.0.2.8")]));
        assert_eq!(find("Pbx.Example.", Kind::A), Some(vec![a("192.0.2.7")]));
        assert_eq!(find("pbx", Kind::Aaaa), Some(vec![Data::Aaaa("2001:db8::7".parse().unwrap())]));
        assert_eq!(find("pbx.example", Kind::Aaaa), Some(vec![]));
        assert_eq!(find("any.localhost", Kind::A), Some(vec![a("127.0.0.1")]));
        assert_eq!((find("pbx", Kind::Srv), find("y", Kind::A)), (None, None));
        assert_eq!(find("x1.invalid", Kind::Srv), Some(vec![]));
    }
}
