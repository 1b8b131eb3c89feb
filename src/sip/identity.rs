//! Who calls, by whose word, and who may know (RFC 3323, 3325), and where a call was before (RFC 5806, 7044).

use crate::leg::{Carried, Dial, Party, Past, Privacy, Told};
use sip_codec::{Address, Escaped, Message, Name, NameAddr, Scheme, unescape};

/// Places where a call was that are carried.
const MOST_PAST: usize = 16;
/// Parameters of each.
const MOST_PARAMS: usize = 8;

/// Whether a SIP server is of a network that we trust, and that trusts us (RFC 3325 section 2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Trust {
    /// What it says of its callers is believed.
    pub from: bool,
    /// It is told who calls, even where the caller is to stay unknown.
    pub to: bool,
}

/// By which header a SIP server that is trusted is told who calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Asserting {
    /// `P-Asserted-Identity` (RFC 3325).
    #[default]
    Asserted,
    /// `P-Preferred-Identity`: the server decides.
    Preferred,
    /// `Remote-Party-ID`, of older servers.
    RemoteParty,
}

/// What an INVITE says of its caller and its past.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub asserted: Vec<Party>,
    pub privacy: Privacy,
    pub past: Vec<Past>,
}

impl Known {
    /// Reads it, from a trunk that is trusted or not. `None`: the caller would rather have no call than lose a kind of
    /// privacy that we don't have (RFC 3323 section 4.2).
    pub fn read(message: &Message<'_>, trust: Trust) -> Option<Known> {
        let mut known = Known { privacy: privacy(message)?, ..Known::default() };
        if !trust.from {
            return Some(known);
        }
        known.asserted = asserted(message);
        if known.asserted.is_empty()
            && let Some((party, private)) = remote_party(message)
        {
            known.asserted.push(party);
            known.privacy.id |= private;
        }
        known.past = past(message);
        Some(known)
    }
}

/// `Privacy`, whose values are separated by semicolons.
fn privacy(message: &Message<'_>) -> Option<Privacy> {
    let (mut privacy, mut strange) = (Privacy::default(), false);
    for value in message.headers(Name::Privacy).flat_map(|value| value.split([';', ','])) {
        match value.trim().to_ascii_lowercase().as_str() {
            "id" => privacy.id = true,
            "user" => privacy.user = true,
            "header" => privacy.header = true,
            "session" => privacy.session = true,
            "history" => privacy.history = true,
            "none" => privacy.none = true,
            "critical" => privacy.critical = true,
            "" => {}
            _ => strange = true,
        }
    }
    (!(privacy.critical && strange)).then_some(privacy)
}

/// A text without what may not go onto the wire.
fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

/// Who an address names; `None` where that is no `sip`, `sips` or `tel` URI.
fn party(address: &NameAddr<'_>) -> Option<Party> {
    let uri = address.uri().ok()?;
    let user = match uri.scheme {
        Scheme::Tel => uri.user?.to_owned(),
        Scheme::Sip | Scheme::Sips => clean(&unescape(uri.user?)?),
        Scheme::Other(_) => return None,
    };
    let host = uri.host.map(|host| host.to_string()).unwrap_or_default();
    Some(Party { user, host, display: clean(&address.display_name()) })
}

/// `P-Asserted-Identity`: one SIP and one telephone URI at most (RFC 3325 section 9.1).
fn asserted(message: &Message<'_>) -> Vec<Party> {
    let mut parties: Vec<Party> = Vec::new();
    let addresses = message.addresses(Name::PAssertedIdentity).filter_map(Result::ok);
    for party in addresses.filter_map(|address| party(&address)) {
        if !parties.iter().any(|other| other.host.is_empty() == party.host.is_empty()) {
            parties.push(party);
        }
    }
    parties
}

/// `Remote-Party-ID` of the caller, and whether it is private.
fn remote_party(message: &Message<'_>) -> Option<(Party, bool)> {
    let mut addresses = message.addresses(Name::RemotePartyId).filter_map(Result::ok);
    let address = addresses
        .find(|address| address.params.value("party").is_none_or(|p| p.eq_ignore_ascii_case("calling")))?;
    let private = address.params.value("privacy").is_some_and(|value| {
        value.split([',', '-']).any(|word| matches!(word.trim_matches('"'), "full" | "uri" | "name"))
    });
    Some((party(&address)?, private))
}

/// Names of parameters that are carried, with their header.
const PARAMS: &[(Told, &[&str])] = &[
    (Told::Diversion, &["reason", "counter", "limit", "screen", "privacy"]),
    (Told::History, &["index", "rc", "mp", "np"]),
];

fn header_of(told: Told) -> Name<'static> {
    match told {
        Told::Diversion => Name::Diversion,
        Told::History => Name::HistoryInfo,
    }
}

fn is_token(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b))
}

fn past(message: &Message<'_>) -> Vec<Past> {
    let mut places = Vec::new();
    for (told, names) in PARAMS {
        for address in message.addresses(header_of(*told)).filter_map(Result::ok) {
            let (Some(Party { user, display, .. }), Ok(uri)) = (party(&address), address.uri()) else {
                continue;
            };
            let pair = |name: &str, value: Option<&str>| {
                let value = value.unwrap_or("").trim_matches('"');
                (is_token(value) || value.is_empty()).then(|| (name.to_owned(), value.to_owned()))
            };
            let mut params: Vec<(String, String)> = names
                .iter()
                .filter_map(|name| address.params.find(name).and_then(|param| pair(name, param.value)))
                .take(MOST_PARAMS)
                .collect();
            // RFC 4458: why the call was sent on.
            params.extend(uri.params.value("cause").and_then(|cause| pair("cause", Some(cause))));
            let hidden = uri.headers.to_ascii_lowercase();
            let private = hidden.contains("privacy=") || params.contains(&("privacy".into(), "full".into()));
            places.push(Past { told: *told, user, display, params, private });
        }
    }
    places.truncate(MOST_PAST);
    places
}

/// What is written of a caller to a trunk, beside From.
pub(super) struct Telling<'a> {
    pub trust: Trust,
    pub asserting: Asserting,
    /// The host part of the trunk's URIs: no other host is named.
    pub domain: &'a str,
    /// The browser user's own name there: from the account or the token, never from the page.
    pub own: Option<&'a Party>,
}

impl Telling<'_> {
    /// Whether From must not name the caller.
    pub fn hides_from(&self, privacy: Privacy) -> bool {
        !privacy.none && (privacy.user || (privacy.id && !self.trust.to))
    }

    /// The headers that say who calls and where the call was.
    pub fn headers(&self, dial: &Dial) -> Vec<(Name<'static>, String)> {
        let carried: &Carried = &dial.carried;
        let mut headers = Vec::new();
        if self.trust.to {
            self.assert(carried, &mut headers);
            let open = !carried.privacy.history || carried.privacy.none;
            for place in carried.past.iter().filter(|place| open && !place.private) {
                headers.push((header_of(place.told), self.place(place)));
            }
        }
        let kept = kept_privacy(carried.privacy, self.trust.to);
        if !kept.is_empty() {
            headers.push((Name::Privacy, kept));
        }
        headers
    }

    fn assert(&self, carried: &Carried, headers: &mut Vec<(Name<'static>, String)>) {
        let (name, suffix) = match self.asserting {
            Asserting::Asserted => (Name::PAssertedIdentity, ""),
            Asserting::Preferred => (Name::PPreferredIdentity, ""),
            Asserting::RemoteParty if carried.privacy.hides_caller() => {
                (Name::RemotePartyId, ";party=calling;screen=yes;privacy=full")
            }
            Asserting::RemoteParty => (Name::RemotePartyId, ";party=calling;screen=yes;privacy=off"),
        };
        let parties: Vec<&Party> =
            self.own.map_or_else(|| carried.asserted.iter().collect(), |own| vec![own]);
        for party in parties {
            let uri = if party.host.is_empty() && self.own.is_none() && is_telephone(&party.user) {
                format!("tel:{}", party.user)
            } else {
                format!("sip:{}@{}", Escaped(&clean(&party.user)), self.domain)
            };
            let address = Address { display: &clean(&party.display), uri: &uri, tag: None };
            headers.push((name, format!("{address}{suffix}")));
        }
    }

    /// A place where the call was, at the trunk's own host.
    fn place(&self, place: &Past) -> String {
        let mut uri = format!("sip:{}@{}", Escaped(&clean(&place.user)), self.domain);
        let mut after = String::new();
        for (name, value) in &place.params {
            let out = if name == "cause" { &mut uri } else { &mut after };
            out.push(';');
            out.push_str(name);
            if !value.is_empty() {
                out.push('=');
                out.push_str(value);
            }
        }
        format!("{}{after}", Address { display: &clean(&place.display), uri: &uri, tag: None })
    }
}

/// What is left to be done for a caller's privacy behind us: we have hidden all but what a trusted network may know.
fn kept_privacy(privacy: Privacy, trusted: bool) -> String {
    if privacy.none {
        return "none".to_owned();
    }
    let kept = [(privacy.id, "id"), (privacy.history, "history"), (privacy.critical, "critical")];
    let mut kept: Vec<&str> =
        kept.into_iter().filter(|(asked, _)| *asked && trusted).map(|(_, name)| name).collect();
    if kept == ["critical"] {
        kept.clear();
    }
    kept.join(";")
}

/// What may stand in a `tel` URI without a context (RFC 3966).
fn is_telephone(user: &str) -> bool {
    let digits = user.strip_prefix('+').unwrap_or("");
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit() || b"-.()".contains(&b))
}

/// Headers that name a caller, taken away where the caller wants to stay unknown (RFC 3323 section 4.1).
pub(super) fn names_caller(name: &str) -> bool {
    let naming = [
        Name::Subject,
        Name::CallInfo,
        Name::Organization,
        Name::ReplyTo,
        Name::InReplyTo,
        Name::UserAgent,
        Name::ErrorInfo,
        Name::PAccessNetworkInfo,
    ];
    naming.contains(&Name::parse(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leg::{LegId, ShardId, Side, Target, TrunkId};
    use crate::sdp::Session;

    const BOTH: Trust = Trust { from: true, to: true };

    fn read(headers: &str, trust: Trust) -> Option<Known> {
        let text = format!(
            "INVITE sip:b@x SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@x>;tag=1\r\nTo: <sip:b@x>\r\n\
             Call-ID: c\r\nCSeq: 1 INVITE\r\n{headers}\r\n"
        );
        Known::read(&Message::parse(text.as_bytes()).unwrap(), trust)
    }

    fn dial(known: Known) -> Dial {
        let sdp = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
        let Known { asserted, privacy, past } = known;
        let mut mint = crate::base::Mint::new(ShardId(0), true);
        let leg: LegId = mint.leg(Side::Sip);
        Dial {
            referral: None,
            leg,
            target: Target::Trunk(TrunkId(0)),
            caller: Party::default(),
            callee: Party::default(),
            account: None,
            identity: None,
            offer: Box::new(Session::parse(sdp.as_bytes()).unwrap()),
            hops: 70,
            data: Vec::new(),
            carried: Box::new(Carried { asserted, privacy, past, ..Carried::default() }),
            late: false,
            with: None,
        }
    }

    fn told(headers: &str, from: bool, to: bool) -> Vec<String> {
        let known = read(headers, Trust { from, to: false }).unwrap();
        let telling = Telling {
            trust: Trust { from: false, to },
            asserting: Asserting::Asserted,
            domain: "far.example",
            own: None,
        };
        telling.headers(&dial(known)).into_iter().map(|(name, value)| format!("{name}: {value}")).collect()
    }

    const ASSERTED: &str = "P-Asserted-Identity: \"Q, J.\" <sip:q@10.0.0.1>, <tel:+4930123>\r\n\
                            P-Asserted-Identity: <sip:second@10.0.0.1>\r\n";

    #[test]
    fn an_identity_crosses_from_one_trusted_network_to_another_and_no_other_way() {
        let wanted =
            ["P-Asserted-Identity: \"Q, J.\" <sip:q@far.example>", "P-Asserted-Identity: <tel:+4930123>"];
        assert_eq!(told(ASSERTED, true, true), wanted);
        for (from, to) in [(false, true), (true, false), (false, false)] {
            assert!(told(ASSERTED, from, to).is_empty(), "{from} {to}");
        }
        // A hint of whoever is not asked.
        assert!(told("P-Preferred-Identity: <sip:q@x>\r\n", true, true).is_empty());
    }

    #[test]
    fn privacy_is_kept_where_it_is_trusted_and_done_where_it_is_not() {
        let private = format!("{ASSERTED}Privacy: id;critical\r\n");
        let trusted = told(&private, true, true);
        assert_eq!((trusted.len(), trusted[2].as_str()), (3, "Privacy: id;critical"));
        assert!(told(&private, true, false).is_empty());
        assert_eq!(told("Privacy: none\r\n", false, false), ["Privacy: none"]);
        assert_eq!(told("Privacy: user;header;session;critical\r\n", true, true), Vec::<String>::new());
        assert!(read("Privacy: critical;teleport\r\n", BOTH).is_none());
        assert!(read("Privacy: teleport\r\n", BOTH).is_some());
        let telling = |to| Telling {
            trust: Trust { from: false, to },
            asserting: Asserting::Asserted,
            domain: "x",
            own: None,
        };
        for (value, trusted, untrusted) in
            [("user", true, true), ("id", false, true), ("none;user", false, false), ("header", false, false)]
        {
            let privacy = read(&format!("Privacy: {value}\r\n"), BOTH).unwrap().privacy;
            let hides = [telling(true), telling(false)].map(|telling| telling.hides_from(privacy));
            assert_eq!(hides, [trusted, untrusted], "{value}");
        }
    }

    #[test]
    fn a_remote_party_stands_in_where_nothing_is_asserted() {
        let remote =
            "Remote-Party-ID: <sip:b@x>;party=called, \"Q\" <sip:q@x>;party=calling;privacy=full\r\n";
        assert_eq!(
            told(remote, true, true),
            ["P-Asserted-Identity: \"Q\" <sip:q@far.example>", "Privacy: id"]
        );
        let known = read(remote, BOTH).unwrap();
        let telling =
            Telling { trust: BOTH, asserting: Asserting::RemoteParty, domain: "far.example", own: None };
        let (name, value) = telling.headers(&dial(known)).remove(0);
        assert_eq!(name, Name::RemotePartyId);
        assert_eq!(value, "\"Q\" <sip:q@far.example>;party=calling;screen=yes;privacy=full");
    }

    #[test]
    fn where_a_call_was_crosses_without_its_hosts() {
        let past = "Diversion: \"Desk\" <sip:+4930@10.0.0.1;user=phone>;reason=no-answer;counter=2;x=y\r\n\
                    History-Info: <sip:+49@pbx.inside;cause=302?Reason=SIP%3Bcause%3D302>;index=1.1;rc=1\r\n";
        let wanted = [
            "Diversion: \"Desk\" <sip:+4930@far.example>;reason=no-answer;counter=2",
            "History-Info: <sip:+49@far.example;cause=302>;index=1.1;rc=1",
        ];
        assert_eq!(told(past, true, true), wanted);
        assert!(told(past, true, false).is_empty() && told(past, false, true).is_empty());
        let private = format!("{past}Privacy: history\r\n");
        assert_eq!(told(&private, true, true), ["Privacy: history"]);
        let flood = "Diversion: <sip:a@x>\r\n".repeat(40);
        assert_eq!(read(&flood, BOTH).unwrap().past.len(), MOST_PAST);
    }

    #[test]
    fn no_text_breaks_a_line() {
        let evil = ["a\r\nVia: x", "a\nb", "\0", "<>\"\\;,@", "\u{85}\u{2028}é"];
        for text in evil {
            let place = |told| Past {
                told,
                user: text.into(),
                display: text.into(),
                params: Vec::new(),
                private: false,
            };
            let party = Party { user: text.into(), host: text.into(), display: text.into() };
            let known = Known {
                asserted: vec![party],
                past: vec![place(Told::Diversion), place(Told::History)],
                ..Known::default()
            };
            let telling = Telling { trust: BOTH, asserting: Asserting::Asserted, domain: "x", own: None };
            let mut buffer = Vec::new();
            let mut writer = sip_codec::Writer::response(&mut buffer, 200, "OK");
            let headers = telling.headers(&dial(known));
            assert_eq!(headers.len(), 3);
            for (name, value) in &headers {
                writer.text(*name, value);
            }
            // Either it is refused whole, or each header is one line.
            if writer.finish().is_ok() {
                let lines = buffer.split(|b| *b == b'\n').filter(|line| line.len() > 1).count();
                assert_eq!(lines, 1 + headers.len() + 1, "{text:?}");
                assert!(!buffer.contains(&0));
            } else {
                assert!(buffer.is_empty());
            }
        }
    }
}
