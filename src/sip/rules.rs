//! What of an INVITE's headers goes across, by the operator's rules, and what must not: whatever names a place on the
//! side that it came from.

use crate::leg::Data;
use regex::Regex;
use sip_codec::{Host, Message, Name};
use std::cell::OnceCell;
use std::net::IpAddr;

/// Header lines of one call.
pub(super) const MOST_LINES: usize = 32;
/// Bytes of one value.
const MOST_VALUE: usize = 1_024;
/// Bytes of all names and values.
const MOST_BYTES: usize = 8_192;

/// Headers that go across unless a rule removes them: how urgent a call is (RFC 3261 section 20.26, RFC 4412), and
/// where its caller is (RFC 6442).
const ALWAYS: &[&str] = &["Priority", "Resource-Priority", "Geolocation", "Geolocation-Routing"];

/// Headers that a message or a dialog lives by, that say where a message went, or that another setting governs, each
/// with what to do instead.
const RESERVED: &[(&[&str], &str)] = &[
    (
        &[
            "Via",
            "Route",
            "Record-Route",
            "Path",
            "Service-Route",
            "Contact",
            "Call-ID",
            "Max-Forwards",
            "Warning",
            "In-Reply-To",
        ],
        "it names places of one side, and the gateway writes its own",
    ),
    (&["From", "To"], "rewrite numbers by rewrite_caller and rewrite_number in [[route]]"),
    (
        &[
            "CSeq",
            "Content-Length",
            "Content-Type",
            "Content-Encoding",
            "Content-Disposition",
            "Content-Language",
            "MIME-Version",
            "Require",
            "Proxy-Require",
            "Supported",
            "Unsupported",
            "Allow",
            "Allow-Events",
            "Accept",
            "Event",
            "RAck",
            "RSeq",
            "Session-Expires",
            "Min-SE",
            "Replaces",
            "Join",
            "Target-Dialog",
            "Refer-To",
            "Referred-By",
            "Subscription-State",
            "Expires",
            "Min-Expires",
            "Timestamp",
            "Recv-Info",
            "Info-Package",
        ],
        "each side has its own",
    ),
    (
        &[
            "Authorization",
            "Proxy-Authorization",
            "WWW-Authenticate",
            "Proxy-Authenticate",
            "Authentication-Info",
            "Security-Client",
            "Security-Server",
            "Security-Verify",
        ],
        "secrets of one side are no business of the other",
    ),
    (&["User-Agent", "Server"], "set user_agent in [sip]"),
    (
        &[
            "P-Asserted-Identity",
            "P-Preferred-Identity",
            "Remote-Party-ID",
            "Privacy",
            "Diversion",
            "History-Info",
        ],
        "set trust of the trunk",
    ),
    (&["Reason"], "set reasons of the trunk"),
    (&["Session-ID"], "the gateway carries it"),
];

/// Which way a call goes, seen from the gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// From the trunk.
    In,
    /// To the trunk.
    Out,
}

/// What a rule does.
#[derive(Clone, Debug)]
pub enum Act {
    /// Lets the header go across (only of calls that come in: of those that go out all goes that came so far).
    Pass,
    /// Takes it away.
    Remove,
    /// Puts one more in.
    Add(String),
    /// Lets it go across with its value changed: what is found first is replaced (`$1` is the first group).
    Rewrite(Regex, String),
}

/// A rule on headers of INVITEs. Rules act in their order.
#[derive(Clone, Debug)]
pub struct Rule {
    way: Way,
    /// A name, or the beginning of one before `*`.
    name: String,
    act: Act,
}

impl Rule {
    /// A rule.
    ///
    /// # Errors
    ///
    /// Why there can't be such a rule, and what to do instead.
    pub fn new(way: Way, name: &str, act: Act) -> Result<Rule, &'static str> {
        let (stem, many) = name.strip_suffix('*').map_or((name, false), |stem| (stem, true));
        if stem.is_empty() || !stem.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b)) {
            return Err("it is no header's name; write it as \"X-Tier\" or \"X-*\"");
        }
        if many && !(matches!(act, Act::Pass | Act::Remove) && begins(stem, "X-")) {
            return Err("only X- headers can be passed or removed by their beginning; name the header whole");
        }
        let reserved =
            |names: &[&str]| names.iter().any(|reserved| Name::parse(stem) == Name::parse(reserved));
        if let Some((_, why)) = RESERVED.iter().find(|(names, _)| !many && reserved(names)) {
            return Err(why);
        }
        if matches!(&act, Act::Add(value) if !is_value(value)) {
            return Err("its value is too long or holds control characters");
        }
        if matches!((way, &act), (Way::Out, Act::Pass)) {
            return Err("what goes out came in: pass it with way = \"in\" at the trunk that it comes from");
        }
        Ok(Rule { way, name: name.to_owned(), act })
    }

    fn names(&self, name: &str) -> bool {
        match self.name.strip_suffix('*') {
            Some(stem) => begins(name, stem) && !is_reserved(name),
            None => Name::parse(name) == Name::parse(&self.name),
        }
    }
}

fn begins(name: &str, stem: &str) -> bool {
    name.get(..stem.len()).is_some_and(|head| head.eq_ignore_ascii_case(stem))
}

fn is_reserved(name: &str) -> bool {
    RESERVED.iter().any(|(names, _)| names.iter().any(|reserved| Name::parse(name) == Name::parse(reserved)))
}

/// Whether a value may go onto the wire.
pub(super) fn is_value(value: &str) -> bool {
    value.len() <= MOST_VALUE && !value.chars().any(char::is_control)
}

/// A header's value on one line (RFC 3261 section 7.3.1).
pub(super) fn unfolded(value: &str) -> String {
    value.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// What was left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Left {
    /// Too much, or not fit for the wire.
    pub refused: u64,
    /// Names a place of the side that it came from.
    pub hidden: u64,
}

/// The headers of an INVITE that go across, by the rules of the trunk that it came from.
pub(super) fn on_way_in(
    rules: &[Rule],
    message: &Message<'_>,
    except: impl Fn(&str) -> bool,
) -> (Data, Left) {
    let (mut data, mut left) = (Data::new(), Left::default());
    // Most calls have nothing that goes across.
    let places = OnceCell::new();
    let collect = |data: &mut Data, left: &mut Left, wanted: &dyn Fn(&str) -> bool| {
        for line in message.iter().filter(|line| wanted(line.name.as_str()) && !except(line.name.as_str())) {
            let value = unfolded(line.value);
            // A location in the body is named by a word that looks like a place (RFC 6442 section 4.1).
            let body = line.name == Name::Other("Geolocation") && is_in_body(&value);
            if !body && places.get_or_init(|| Places::of(message)).are_named_in(&value) {
                left.hidden += 1;
            } else {
                left.refused += u64::from(!add(data, line.name.as_str(), value));
            }
        }
    };
    collect(&mut data, &mut left, &|name| ALWAYS.iter().any(|always| always.eq_ignore_ascii_case(name)));
    for rule in rules.iter().filter(|rule| rule.way == Way::In) {
        if matches!(rule.act, Act::Pass | Act::Rewrite(..)) {
            // What is there already is not taken twice.
            let there: Vec<String> = data.iter().map(|(name, _)| name.clone()).collect();
            let new =
                |name: &str| rule.names(name) && !there.iter().any(|old| old.eq_ignore_ascii_case(name));
            collect(&mut data, &mut left, &new);
        }
        change(rule, &mut data, &mut left);
    }
    (data, left)
}

/// Applies the rules of the trunk that a call goes to.
pub(super) fn on_way_out(rules: &[Rule], data: &mut Data) -> Left {
    let mut left = Left::default();
    rules.iter().filter(|rule| rule.way == Way::Out).for_each(|rule| change(rule, data, &mut left));
    left
}

fn change(rule: &Rule, data: &mut Data, left: &mut Left) {
    match &rule.act {
        Act::Pass => {}
        Act::Remove => data.retain(|(name, _)| !rule.names(name)),
        Act::Add(value) => left.refused += u64::from(!add(data, &rule.name, value.clone())),
        Act::Rewrite(regex, with) => {
            for (_, value) in data.iter_mut().filter(|(name, _)| rule.names(name)) {
                let made = regex.replacen(value, 1, with.as_str()).into_owned();
                if is_value(&made) {
                    *value = made;
                } else {
                    left.refused += 1;
                }
            }
        }
    }
}

/// Adds a line; false where that is too much.
fn add(data: &mut Data, name: &str, value: String) -> bool {
    let bytes: usize = data.iter().map(|(name, value)| name.len() + value.len()).sum();
    let fits = data.len() < MOST_LINES && bytes + name.len() + value.len() <= MOST_BYTES && is_value(&value);
    if fits {
        data.push((name.to_owned(), value));
    }
    fits
}

/// Hosts of the side that a message came from, in lower case.
pub(super) struct Places(Vec<String>);

impl Places {
    pub fn of(message: &Message<'_>) -> Places {
        let mut hosts: Vec<String> = Vec::new();
        let mut add = |host: Option<Host<'_>>| match host {
            Some(Host::Name(name)) => hosts.push(name.to_ascii_lowercase()),
            // Whatever way it is written, it is found as an address.
            Some(Host::Ip(ip)) => hosts.push(ip.to_canonical().to_string()),
            None => {}
        };
        for via in message.values(Name::Via).filter_map(|value| sip_codec::Via::parse(value).ok()) {
            add(Some(via.host));
            add(via.params.value("received").and_then(Host::parse));
        }
        let named = [Name::Contact, Name::RecordRoute, Name::Path];
        let addresses = named.into_iter().flat_map(|name| message.addresses(name)).filter_map(Result::ok);
        addresses.chain(message.from()).for_each(|address| add(address.uri().ok().and_then(|uri| uri.host)));
        if let Ok(body) = std::str::from_utf8(message.body()) {
            let lines = body.lines().filter(|line| line.starts_with("c=") || line.starts_with("o="));
            lines.for_each(|line| add(line.rsplit(' ').next().and_then(Host::parse)));
        }
        Places(hosts)
    }

    /// Whether a value names one of them, or any address that only means something inside.
    pub fn are_named_in(&self, value: &str) -> bool {
        let lower = value.to_ascii_lowercase();
        let of_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':');
        lower.split(|c| !of_host(c)).any(|word| {
            let word = word.trim_matches(['.', '-']);
            // With or without a port.
            let alone = word.rsplit_once(':').map_or(word, |(host, _)| host);
            [word, alone].into_iter().any(|word| match word.parse::<IpAddr>() {
                Ok(ip) => is_inside(ip) || self.0.contains(&ip.to_canonical().to_string()),
                Err(_) => self.0.iter().any(|host| host == word),
            })
        })
    }
}

/// Whether all that a Geolocation names are parts of the body.
fn is_in_body(value: &str) -> bool {
    sip_codec::split_list(value).all(|place| place.starts_with("<cid:"))
}

/// An address that only means something within a network (RFC 1918, 3927, 4193, 6598).
pub(super) fn is_inside(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || (a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invite(extra: &str) -> Vec<u8> {
        format!(
            "INVITE sip:b@gw.example SIP/2.0\r\nVia: SIP/2.0/UDP pbx.inside:5070;branch=z9hG4bK1\r\n\
             Via: SIP/2.0/UDP 10.1.2.3;branch=z9hG4bK2\r\nRecord-Route: <sip:198.51.100.7;lr>\r\n\
             From: <sip:a@corp.example>;tag=1\r\nTo: <sip:b@gw.example>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:a@[2001:db8::7]:5060>\r\n{extra}Content-Length: 0\r\n\r\n"
        )
        .into_bytes()
    }

    fn rule(way: Way, name: &str, act: Act) -> Rule {
        Rule::new(way, name, act).unwrap()
    }

    fn regex(text: &str) -> Regex {
        Regex::new(text).unwrap()
    }

    fn pairs(data: &Data) -> Vec<(&str, &str)> {
        data.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    #[test]
    fn nothing_goes_across_but_what_a_rule_or_urgency_lets() {
        let rules = [
            rule(Way::In, "X-Case-*", Act::Pass),
            rule(Way::In, "Subject", Act::Pass),
            rule(Way::In, "X-Tier", Act::Rewrite(regex("^gold(.*)$"), "1$1".into())),
            rule(Way::In, "X-From", Act::Add("carrier".into())),
            rule(Way::In, "Priority", Act::Remove),
            rule(Way::Out, "X-Case-Two", Act::Remove),
            rule(Way::Out, "X-From", Act::Rewrite(regex("carrier"), "a\r\nVia: evil".into())),
        ];
        let bytes = invite(
            "X-Case-One: 1\r\nx-case-two: a\r\n\tb\r\ns: hello\r\nX-Tier: golden\r\nX-Other: no\r\nPriority: urgent\r\n\
             Resource-Priority: ets.0\r\nGeolocation: <cid:a@b>\r\n",
        );
        let (mut data, left) = on_way_in(&rules, &Message::parse(&bytes).unwrap(), |_| false);
        let passed = [
            ("Resource-Priority", "ets.0"),
            ("Geolocation", "<cid:a@b>"),
            ("X-Case-One", "1"),
            ("x-case-two", "a b"),
            ("Subject", "hello"),
            ("X-Tier", "1en"),
            ("X-From", "carrier"),
        ];
        assert_eq!((pairs(&data), left), (passed.to_vec(), Left::default()));
        let left = on_way_out(&rules, &mut data);
        // A rewriting that would end the line changes nothing.
        assert_eq!(left, Left { refused: 1, hidden: 0 });
        assert!(data.iter().all(|(name, _)| name != "x-case-two"));
        assert!(pairs(&data).contains(&("X-From", "carrier")));
    }

    #[test]
    fn what_names_a_place_of_the_other_side_stays_there() {
        let rules = ["Alert-Info", "Call-Info", "Reply-To", "Error-Info", "X-Any"];
        let rules = rules.map(|name| rule(Way::In, name, Act::Pass));
        for (value, hidden) in [
            ("<http://PBX.inside/ring.wav>", true),
            ("<http://10.1.2.3/ring.wav>", true),
            ("<sip:a@198.51.100.7:5080>", true),
            ("<sip:a@[2001:DB8:0::7]>", true),
            ("sip:a@corp.example", true),
            ("host=192.168.0.1", true),
            ("172.16.3.4:80", true),
            ("fe80::1", true),
            ("<http://www.example.com/ring.wav>", false),
            ("<urn:alert:source:external>", false),
            ("203.0.113.9", false),
            ("12:30:45", false),
            ("", false),
        ] {
            for name in ["Alert-Info", "Call-Info", "Reply-To", "Error-Info", "X-Any"] {
                let bytes = invite(&format!("{name}: {value}\r\n"));
                let (data, left) = on_way_in(&rules, &Message::parse(&bytes).unwrap(), |_| false);
                assert_eq!((data.is_empty(), left.hidden > 0), (hidden, hidden), "{name}: {value}");
            }
        }
    }

    #[test]
    fn rules_that_would_break_or_betray_are_refused_with_what_to_do() {
        let refuse = |way, name: &str, act| Rule::new(way, name, act).unwrap_err();
        for name in ["Via", "v", "contact", "Record-Route", "Call-ID", "i"] {
            assert!(refuse(Way::In, name, Act::Pass).contains("places"), "{name}");
        }
        assert!(refuse(Way::Out, "f", Act::Remove).contains("rewrite_caller"));
        assert!(refuse(Way::In, "P-Asserted-Identity", Act::Pass).contains("trust"));
        assert!(refuse(Way::Out, "Reason", Act::Add("x".into())).contains("reasons"));
        assert!(refuse(Way::Out, "Content-Length", Act::Remove).contains("own"));
        assert!(refuse(Way::Out, "X-A", Act::Pass).contains("way = \"in\""));
        assert!(refuse(Way::In, "*", Act::Pass).contains("no header's name"));
        assert!(refuse(Way::In, "P-*", Act::Pass).contains("whole"));
        assert!(refuse(Way::In, "X-*", Act::Add("a".into())).contains("whole"));
        assert!(refuse(Way::In, "X-a b", Act::Pass).contains("no header's name"));
        assert!(refuse(Way::In, "X-A", Act::Add("a\r\nVia: b".into())).contains("control"));
    }

    #[test]
    fn floods_of_headers_are_cut_and_counted() {
        let rules = [rule(Way::In, "X-*", Act::Pass)];
        let many = "X-A: v\r\n".repeat(60);
        let (data, left) = on_way_in(&rules, &Message::parse(&invite(&many)).unwrap(), |_| false);
        assert_eq!((data.len(), left.refused), (MOST_LINES, 28));
        let long = format!("X-A: {}\r\n", "a".repeat(2_000));
        let (data, left) = on_way_in(&rules, &Message::parse(&invite(&long)).unwrap(), |_| false);
        assert_eq!((data.len(), left.refused), (0, 1));
        let (data, _) = on_way_in(&rules, &Message::parse(&invite("X-A: 1\r\n")).unwrap(), |_| true);
        assert!(data.is_empty());
    }
}
