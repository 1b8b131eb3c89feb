//! The route table: which calls go where, under which rules.

use super::config::Config;
use super::limits::Quota;
use super::number::{Pattern, Rewrite};
use crate::base::{Now, Random, Side};
use crate::leg::{Account, Data, Incoming, Reason, Source, TrunkId};
use crate::sdp::Codec;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use regex::Regex;
use std::sync::Arc;
use std::time::Duration;

/// Whence a call must come for a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RouteFrom {
    /// Anywhere.
    #[default]
    Any,
    /// Any user, by browser or SIP phone.
    Accounts,
    /// A user's browser.
    Browsers,
    /// A user's SIP phone.
    Phones,
    /// A user whom the configuration doesn't know: by token.
    Tokens,
    /// This user.
    Account(Account),
    /// This trunk.
    Trunk(TrunkId),
}

/// One trunk of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Which.
    pub trunk: TrunkId,
    /// Those of the lowest number are tried first.
    pub priority: u16,
    /// Its share among those of the same priority; 0: only after the others.
    pub weight: u16,
}

/// What a route does with a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteTo {
    /// Sends it to this trunk.
    Trunk(TrunkId),
    /// Sends it to one of these, and to the next where that can't be reached.
    Group(Vec<Member>),
    /// Refuses it.
    Reject(Reason),
}

impl Default for RouteTo {
    fn default() -> Self {
        RouteTo::Group(Vec::new())
    }
}

/// When a route is open: days, and hours of the day, on the clocks of one place.
#[derive(Clone, Debug)]
pub struct Hours {
    /// Monday to Sunday.
    pub days: [bool; 7],
    /// The first minute of the day.
    pub from: u16,
    /// The minute of the day after the last; not after `from`: of the next day.
    pub until: u16,
    /// The place.
    pub zone: TimeZone,
}

impl Hours {
    /// Whether this moment, since the Unix epoch, is among them. A night belongs to the day on which it begins.
    pub fn has(&self, unix: Duration) -> bool {
        let Ok(moment) = Timestamp::from_second(unix.as_secs().try_into().unwrap_or(i64::MAX)) else {
            return false;
        };
        let clock = self.zone.to_datetime(moment);
        let minute = clock.hour() as u16 * 60 + clock.minute() as u16;
        let today = clock.weekday().to_monday_zero_offset() as usize % 7;
        let yesterday = (today + 6) % 7;
        if self.from < self.until {
            return self.days[today] && (self.from..self.until).contains(&minute);
        }
        (minute >= self.from && self.days[today]) || (minute < self.until && self.days[yesterday])
    }
}

/// Where a call goes, and how.
#[derive(Clone, Debug, Default)]
pub struct Route {
    /// Its name, for `bridgehead route` and the log; may be empty.
    pub name: String,
    /// Whence it comes.
    pub from: RouteFrom,
    /// How the called number or name looks.
    pub called: Pattern,
    /// How the calling one looks.
    pub calling: Pattern,
    /// What a header must hold: its name, and what is found in one of its values.
    pub header: Option<(String, Regex)>,
    /// When; always where absent.
    pub hours: Option<Hours>,
    /// What is done.
    pub to: RouteTo,
    /// What is done to the called number.
    pub rewrite_called: Option<Rewrite>,
    /// What is done to the calling one.
    pub rewrite_calling: Option<Rewrite>,
    /// Codecs that its calls may have towards the trunk, best first, with their events; all of the trunk's where empty.
    pub codecs: Vec<Codec>,
    /// Codecs that they may not.
    pub denied: Vec<Codec>,
    /// How long its calls may last from the answer on.
    pub longest: Option<Duration>,
    /// Its calls go over every limit, and are let in however busy the core is.
    pub emergency: bool,
    /// How many calls it may carry.
    pub quota: Arc<Quota>,
}

/// What is asked of the table.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Whence the call comes.
    pub source: &'a Source,
    /// By which kind of leg.
    pub side: Side,
    /// The trunk of a browser user who brought one along.
    pub home: Option<TrunkId>,
    /// The called number or name.
    pub called: &'a str,
    /// The calling one.
    pub calling: &'a str,
    /// Its headers, of those that routes look at.
    pub headers: &'a Data,
    /// When, since the Unix epoch.
    pub unix: Duration,
}

impl<'a> Asked<'a> {
    /// Of a leg that came in, for a called party that was normalised.
    pub fn of(incoming: &'a Incoming, called: &'a str, now: Now) -> Asked<'a> {
        Asked {
            source: &incoming.source,
            side: incoming.leg.side(),
            home: incoming.identity.as_ref().map(|identity| identity.trunk),
            called,
            calling: &incoming.caller.user,
            headers: &incoming.carried.seen,
            unix: now.unix,
        }
    }
}

/// What the table says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The route that matched; `None` where the call goes to its user's own trunk.
    pub route: Option<usize>,
    /// What is done.
    pub to: RouteTo,
}

impl Route {
    /// What it says to a call, where it is not for it.
    fn mismatch(&self, asked: &Asked<'_>, known: bool) -> Option<&'static str> {
        let comes = match (&self.from, asked.source) {
            (RouteFrom::Any, _) | (RouteFrom::Accounts, Source::Account(_) | Source::Phone(_)) => true,
            (RouteFrom::Browsers, Source::Account(_)) => asked.side == Side::Web,
            (RouteFrom::Phones, Source::Phone(_)) => true,
            (RouteFrom::Phones, Source::Account(_)) => asked.side == Side::Sip,
            (RouteFrom::Tokens, Source::Account(_)) => !known,
            (RouteFrom::Account(wanted), Source::Account(account)) => wanted == account,
            (RouteFrom::Trunk(wanted), Source::Trunk(trunk)) => wanted == trunk,
            _ => false,
        };
        let held = |(name, regex): &(String, Regex)| {
            asked
                .headers
                .iter()
                .any(|(other, value)| other.eq_ignore_ascii_case(name) && regex.is_match(value))
        };
        if !comes {
            Some("it comes from elsewhere")
        } else if !self.called.is_match(asked.called) {
            Some("the called number is another")
        } else if !self.calling.is_match(asked.calling) {
            Some("the calling number is another")
        } else if !self.header.as_ref().is_none_or(held) {
            Some("the header is missing or says something else")
        } else if !self.hours.as_ref().is_none_or(|hours| hours.has(asked.unix)) {
            Some("it is closed at this time")
        } else {
            None
        }
    }
}

impl Config {
    /// Where a dialled call goes; `None`: nowhere.
    pub fn route(&self, asked: &Asked<'_>) -> Option<Found> {
        let known = self.knows(asked.source);
        let matching = self.routes.iter().position(|route| route.mismatch(asked, known).is_none());
        if let Some(n) = matching {
            return Some(Found { route: Some(n), to: self.routes.get(n)?.to.clone() });
        }
        let account = match asked.source {
            Source::Account(account) => account,
            // Its own SIP server knows it, and nobody else.
            Source::Phone(phone) => return Some(Found { route: None, to: RouteTo::Trunk(phone.trunk) }),
            Source::Trunk(_) => return None,
        };
        let home = asked.home.or_else(|| self.homes.get(account).copied()).or(self.default_trunk)?;
        Some(Found { route: None, to: RouteTo::Trunk(home) })
    }

    /// Why each route before the one that matches is not for a call.
    pub fn mismatches(&self, asked: &Asked<'_>) -> Vec<(&Route, &'static str)> {
        let known = self.knows(asked.source);
        let misses = self.routes.iter().map(|route| (route, route.mismatch(asked, known)));
        misses.map_while(|(route, why)| Some((route, why?))).collect()
    }

    fn knows(&self, source: &Source) -> bool {
        matches!(source, Source::Account(account) if self.users.contains(account))
    }

    /// The headers that routes look at.
    pub fn watched(&self) -> impl Iterator<Item = &str> {
        self.routes.iter().filter_map(|route| route.header.as_ref()).map(|(name, _)| name.as_str())
    }
}

impl RouteTo {
    /// The trunks in the order in which they are tried: by priority, and by chance with regard to weight among those of
    /// the same (as RFC 2782 does with servers).
    pub(super) fn order(&self, random: &mut Random) -> Vec<TrunkId> {
        let mut members = match self {
            RouteTo::Trunk(trunk) => return vec![*trunk],
            RouteTo::Group(members) => members.clone(),
            RouteTo::Reject(_) => return Vec::new(),
        };
        let mut order = Vec::with_capacity(members.len());
        while let Some(first) = members.iter().map(|member| member.priority).min() {
            let weight =
                |member: &Member| if member.priority == first { u64::from(member.weight) } else { 0 };
            let all: u64 = members.iter().map(weight).sum();
            let mut left = if all > 0 { random.below(all) } else { 0 };
            let chosen = members.iter().position(|member| {
                let own = weight(member);
                let hit = member.priority == first && (all == 0 || left < own);
                left = left.saturating_sub(own);
                hit
            });
            // Somebody is of the lowest priority.
            let Some(chosen) = chosen else { break };
            order.push(members.remove(chosen).trunk);
        }
        order
    }
}
