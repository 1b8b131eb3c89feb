//! What the operator says of calls: trunks, routes, codecs, caps and deadlines.

use crate::base::{Map, RealmId};
use crate::leg::{Account, Reason, Source, TrunkId};
use crate::media;
use crate::sdp::Codec;
use std::time::Duration;

/// The configuration of the call machine.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where dialled calls go; the first that matches wins.
    pub routes: Vec<Route>,
    /// SIP servers and carriers, by `TrunkId`.
    pub trunks: Vec<Trunk>,
    /// Where a browser user's calls go that no route matches: the user's own trunk.
    pub homes: Map<Account, TrunkId>,
    /// Where browser users' calls go that have no such trunk.
    pub default_trunk: Option<TrunkId>,
    /// Codecs allowed towards browsers, with their events, best first (for calls where we offer). See [`codecs`].
    pub browser: Vec<Codec>,
    /// What `s=` of our descriptions says.
    pub session_name: String,
    /// Calls at once, on this shard.
    pub calls: usize,
    /// Calls at once of one browser user.
    pub calls_per_account: u32,
    /// From the call's coming in to its answer.
    pub ring: Duration,
    /// From dialling a SIP server to its first reply; none by default, as the SIP room watches that itself, challenges
    /// in between left out.
    pub first_reply: Option<Duration>,
    /// How often a call looks who is still there.
    pub pulse: Duration,
    /// A browser whose media gives no sign of life for so long is suspect.
    pub suspect: Duration,
    /// And for so long, gone, even while its signalling stands (RFC 7675 section 5.1).
    pub gone: Duration,
    /// How long a call outlives its browser's signalling while media gives signs of life.
    pub signalling_grace: Duration,
    /// And while it gives none.
    pub browser_grace: Duration,
    /// A SIP party that should send and is silent for so long ends its call; `None`: never.
    pub media_timeout: Option<Duration>,
    /// From [`super::Input::Drain`] to the end of all calls.
    pub drain: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            routes: Vec::new(),
            trunks: Vec::new(),
            homes: Map::default(),
            default_trunk: None,
            browser: codecs(&[]),
            session_name: "-".into(),
            calls: 4_000,
            calls_per_account: 16,
            ring: Duration::from_mins(3),
            first_reply: None,
            pulse: Duration::from_secs(2),
            suspect: Duration::from_secs(10),
            gone: Duration::from_secs(30),
            signalling_grace: Duration::from_mins(1),
            browser_grace: Duration::from_secs(20),
            media_timeout: Some(Duration::from_mins(1)),
            drain: Duration::from_secs(30),
        }
    }
}

/// A SIP server or carrier.
#[derive(Clone, Debug)]
pub struct Trunk {
    /// Its name, for logs.
    pub name: String,
    /// The realm of its media.
    pub realm: RealmId,
    /// Codecs allowed towards it, with their events. See [`codecs`].
    pub codecs: Vec<Codec>,
    /// Its calls' RTP shares a port: each call of it has an address of its own.
    pub shared_rtp_ports: bool,
}

impl Trunk {
    /// How RTP of its calls goes.
    pub fn media(&self) -> media::Kind {
        if self.shared_rtp_ports { media::Kind::Shared(self.realm) } else { media::Kind::Rtp(self.realm) }
    }
}

/// Whence a call must come for a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteFrom {
    /// Anywhere.
    Any,
    /// Any browser user.
    Accounts,
    /// This trunk.
    Trunk(TrunkId),
}

/// What a route does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteTo {
    /// Sends it to this trunk.
    Trunk(TrunkId),
    /// Refuses it.
    Reject(Reason),
}

/// Where a call goes.
#[derive(Clone, Debug)]
pub struct Route {
    /// Whence it comes.
    pub from: RouteFrom,
    /// How the called number or name begins; anything where empty.
    pub prefix: String,
    /// What is done.
    pub to: RouteTo,
}

impl Config {
    /// Where a dialled call goes; `None`: nowhere. `home` is the trunk of a browser user who brought one along.
    pub fn route(&self, source: &Source, home: Option<TrunkId>, called: &str) -> Option<RouteTo> {
        let comes = |from: RouteFrom| match (from, source) {
            (RouteFrom::Any, _) | (RouteFrom::Accounts, Source::Account(_)) => true,
            (RouteFrom::Trunk(wanted), Source::Trunk(trunk)) => wanted == *trunk,
            _ => false,
        };
        let matching =
            self.routes.iter().find(|route| comes(route.from) && called.starts_with(&route.prefix));
        match (matching, source) {
            (Some(route), _) => Some(route.to),
            (None, Source::Account(account)) => {
                let home = home.or_else(|| self.homes.get(account).copied());
                home.or(self.default_trunk).map(RouteTo::Trunk)
            }
            (None, Source::Trunk(_)) => None,
        }
    }

    /// A trunk by its place.
    pub fn trunk(&self, trunk: TrunkId) -> Option<&Trunk> {
        self.trunks.get(usize::from(trunk.0))
    }
}

/// Codecs by name (`opus`, `g722`, `pcmu`, `pcma`, …), all four where there is none, with telephone-event for each of
/// their clock rates, and with comfort noise and redundancy. Unknown names are left out: `config` has refused them before.
pub fn codecs(names: &[&str]) -> Vec<Codec> {
    let names = if names.is_empty() { &["opus", "g722", "pcmu", "pcma"] } else { names };
    let mut codecs: Vec<Codec> = names.iter().filter_map(|name| Codec::named(name)).collect();
    // Opus pauses by itself, and has redundancy instead.
    let opus = codecs.iter().any(|codec| codec.name == "opus");
    let mut clocks: Vec<u32> = codecs.iter().filter(|c| c.name != "opus").map(|c| c.clock).collect();
    clocks.sort_unstable();
    clocks.dedup();
    codecs.push(Codec::telephone_event(8000));
    if codecs.iter().any(|codec| codec.clock == 48000) {
        codecs.push(Codec::telephone_event(48000));
    }
    codecs.extend(clocks.into_iter().map(|clock| Codec::new("CN", clock, 1)));
    codecs.extend(opus.then(Codec::redundant_opus));
    codecs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leg::Cause;

    #[test]
    fn the_first_route_that_matches_wins_and_users_have_a_trunk_of_their_own() {
        let route = |from, prefix: &str, to| Route { from, prefix: prefix.into(), to };
        let mut config = Config {
            routes: vec![
                route(RouteFrom::Accounts, "+49", RouteTo::Trunk(TrunkId(1))),
                route(RouteFrom::Trunk(TrunkId(0)), "", RouteTo::Trunk(TrunkId(2))),
                route(RouteFrom::Any, "0900", RouteTo::Reject(Cause::Forbidden.into())),
            ],
            ..Config::default()
        };
        let (alice, bob) = (Source::Account("alice".into()), Source::Account("bob".into()));
        config.homes.insert("alice".into(), TrunkId(3));
        assert_eq!(config.route(&alice, None, "+4930"), Some(RouteTo::Trunk(TrunkId(1))));
        assert_eq!(config.route(&alice, None, "0900"), Some(RouteTo::Reject(Cause::Forbidden.into())));
        assert_eq!(config.route(&alice, None, "bob"), Some(RouteTo::Trunk(TrunkId(3))));
        assert_eq!(config.route(&bob, None, "alice"), None);
        assert_eq!(config.route(&bob, Some(TrunkId(2)), "alice"), Some(RouteTo::Trunk(TrunkId(2))));
        assert_eq!(config.route(&bob, Some(TrunkId(2)), "+4930"), Some(RouteTo::Trunk(TrunkId(1))));
        config.default_trunk = Some(TrunkId(4));
        assert_eq!(config.route(&bob, None, "alice"), Some(RouteTo::Trunk(TrunkId(4))));
        assert_eq!(config.route(&Source::Trunk(TrunkId(0)), None, "0900"), Some(RouteTo::Trunk(TrunkId(2))));
        assert_eq!(config.route(&Source::Trunk(TrunkId(1)), None, "+49"), None);
    }

    #[test]
    fn codecs_come_with_their_events() {
        let names = |list: &[&str]| {
            codecs(list).iter().map(|c| format!("{}/{}", c.name, c.clock)).collect::<Vec<_>>()
        };
        assert_eq!(names(&["pcma", "nonsense"]), ["pcma/8000", "telephone-event/8000", "cn/8000"]);
        assert_eq!(
            names(&["opus"]),
            ["opus/48000", "telephone-event/8000", "telephone-event/48000", "red/48000"]
        );
        assert_eq!(names(&[]).len(), 8);
    }
}
