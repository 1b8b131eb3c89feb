//! One call's ladder, as it is told: redacted JSON for programs, a diagram in text for people.

mod draw;
#[cfg(test)]
mod tests;

use crate::base::redact::{Address, User};
use crate::leg::{Party, Source, Target};
use crate::shard::{Entry, Ladder, Way};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// A ladder in words; personal data is redacted already.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// The call's id; empty where it was refused before it was one.
    pub call: String,
    /// The left party: who called.
    pub caller: String,
    /// The right party: who was called.
    pub callee: String,
    /// How it ended; empty while it runs.
    pub ended: String,
    /// When it began, in seconds since 1970.
    pub started: f64,
    /// What happened, oldest first.
    pub steps: Vec<Step>,
    /// Steps beyond those that are kept.
    pub dropped: u64,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Seconds since the beginning.
    pub at: f64,
    /// Which party: `caller` or `callee`.
    pub party: Side,
    /// Which way.
    pub way: Direction,
    /// What.
    pub what: String,
    /// The far address, for SIP.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remote: String,
    /// Headers of a SIP message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
}

/// Which party.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Who called.
    Caller,
    /// Who was called.
    Callee,
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// To the gateway.
    In,
    /// From the gateway.
    Out,
    /// In the gateway.
    Here,
}

fn station(party: Option<&Party>, place: &str) -> String {
    match party {
        Some(party) if !party.user.is_empty() => format!("{} ({place})", User(&party.user)),
        _ => place.to_owned(),
    }
}

fn host(text: &str) -> String {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Address(address).to_string();
    }
    match text.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(ip) => {
            let shown = Address((ip, 0).into()).to_string();
            shown.strip_suffix(":0").unwrap_or(&shown).to_owned()
        }
        Err(_) => text.to_owned(),
    }
}

/// A header's value without what it says of people.
fn header(name: &str, value: &str) -> String {
    if !matches!(name, "From" | "To" | "Contact") {
        return value.to_owned();
    }
    let Some((scheme, rest)) =
        ["sip:", "sips:", "tel:"].into_iter().find_map(|scheme| Some((scheme, value.split_once(scheme)?.1)))
    else {
        return "…".to_owned();
    };
    let uri = rest.split(['>', ';', '?', ' ', ',']).next().unwrap_or_default();
    let uri = match uri.rsplit_once('@') {
        Some((user, place)) => format!("{scheme}{}@{}", User(user), host(place)),
        None if scheme == "tel:" => format!("{scheme}{}", User(uri)),
        None => format!("{scheme}{}", host(uri)),
    };
    let tag = rest.split(";tag=").nth(1).and_then(|tag| tag.split([';', '>']).next());
    tag.map_or_else(|| format!("<{uri}>"), |tag| format!("<{uri}>;tag={tag}"))
}

impl Told {
    /// Tells a ladder. `trunks` are the trunks' names, by `TrunkId`.
    pub fn of(ladder: &Ladder, trunks: &[String]) -> Told {
        let trunk = |n: u16| {
            trunks.get(usize::from(n)).map_or_else(|| format!("trunk {n}"), |name| format!("trunk {name}"))
        };
        let source = match &ladder.source {
            Source::Trunk(n) => trunk(n.0),
            Source::Account(_) => "browser".to_owned(),
            Source::Phone(_) => "phone".to_owned(),
        };
        let target = match &ladder.target {
            Some(Target::Trunk(n)) => trunk(n.0),
            Some(Target::Account(_)) => "browser".to_owned(),
            Some(Target::Phone(_)) => "phone".to_owned(),
            None => "nobody".to_owned(),
        };
        let started = ladder.entries.first().map_or(0.0, |entry| entry.at.as_secs_f64());
        Told {
            call: ladder.call.map(|call| format!("{call:?}")).unwrap_or_default(),
            caller: station(Some(&ladder.caller), &source),
            callee: station(ladder.callee.as_ref(), &target),
            ended: ladder.over.map(|(cause, code)| format!("{cause} {code}")).unwrap_or_default(),
            started,
            steps: ladder.entries.iter().map(|entry| step(ladder, entry, started)).collect(),
            dropped: ladder.dropped,
        }
    }

    /// The diagram.
    pub fn draw(&self) -> String {
        draw::draw(self)
    }
}

fn step(ladder: &Ladder, entry: &Entry, started: f64) -> Step {
    let headers = entry.headers.iter().map(|(name, value)| ((*name).to_owned(), header(name, value)));
    Step {
        at: ((entry.at.as_secs_f64() - started) * 1000.0).round() / 1000.0,
        party: if entry.leg == ladder.incoming { Side::Caller } else { Side::Callee },
        way: match entry.way {
            Way::In => Direction::In,
            Way::Out => Direction::Out,
            Way::Here => Direction::Here,
        },
        what: entry.what.clone(),
        remote: entry.remote.map(|remote| Address(remote).to_string()).unwrap_or_default(),
        headers: headers.collect(),
    }
}
