//! What the operator says of calls: trunks, routes, codecs, caps and deadlines.

use super::limits::Quota;
use super::number::Plan;
use super::route::Route;
use crate::base::{Map, RealmId, Set};
use crate::leg::{Account, TrunkId};
use crate::media;
use crate::sdp::Codec;
use std::sync::Arc;
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
    /// Users whom the configuration names; all others came by token.
    pub users: Set<Account>,
    /// Where browser users' calls go that have no such trunk.
    pub default_trunk: Option<TrunkId>,
    /// Codecs allowed towards browsers, with their events, best first (for calls where we offer). See [`codecs`].
    pub browser: Vec<Codec>,
    /// What `s=` of our descriptions says.
    pub session_name: String,
    /// A SIP party that a browser holds hears music.
    pub hold_music: bool,
    /// Calls at once, on this shard.
    pub calls: usize,
    /// Emergency calls at once, on this shard, for which `calls` leaves no room.
    pub emergency_calls: usize,
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
            users: Set::default(),
            default_trunk: None,
            browser: codecs(&[]),
            session_name: "-".into(),
            hold_music: false,
            calls: 4_000,
            emergency_calls: 16,
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
    /// Calls to it go out without an offer: it makes one.
    pub late_offer: bool,
    /// How numbers are dialled there: those of its calls are made E.164 numbers before routes see them.
    pub dialled: Option<Plan>,
    /// How many calls it may carry, whichever way they go.
    pub quota: Arc<Quota>,
    /// What is done with transfers of its calls; `None`: those of browser users are carried out, its own are refused.
    pub transfer: Option<Transfers>,
    /// What is done where it says whom to call instead.
    pub redirects: Redirects,
}

impl Default for Trunk {
    fn default() -> Self {
        Trunk {
            name: String::new(),
            realm: RealmId(0),
            codecs: codecs(&[]),
            shared_rtp_ports: false,
            late_offer: false,
            dialled: None,
            quota: Arc::default(),
            transfer: None,
            redirects: Redirects::default(),
        }
    }
}

/// What is done with a redirection (a 3xx).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Redirects {
    /// Whom it names is called: at the same SIP server, or as a dialled number where it is elsewhere.
    Follow,
    /// It is a refusal.
    #[default]
    Refuse,
    /// A SIP caller is told of it.
    Pass,
}

/// What is done with a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfers {
    /// It is carried out here: the third party is called, and joined to the one that is transferred.
    Local,
    /// The party that is transferred is asked to go there by itself (REFER); a browser is not, and is joined here.
    Pass,
    /// It is refused.
    Refuse,
}

impl Trunk {
    /// How RTP of its calls goes.
    pub fn media(&self) -> media::Kind {
        if self.shared_rtp_ports { media::Kind::Shared(self.realm) } else { media::Kind::Rtp(self.realm) }
    }
}

impl Config {
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
