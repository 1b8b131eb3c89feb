//! What the stack is told at its start: trunks, timers, bounds, policies.

use super::{Banning, Block, Hop, Phones, Policy, Registration, Secret, Server, Target};
use crate::base::{Map, RealmId};
use crate::dns;
use crate::leg::{Account, Attach};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The stack's settings, the same on every shard.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// SIP servers and carriers, in the order of `leg::TrunkId`.
    pub trunks: Vec<Trunk>,
    /// Browser users who have a name and secret at a trunk: they may call without being registered.
    pub accounts: Map<Account, Registration>,
    /// Headers that are passed on with a call.
    pub attach: Attach,
    /// Headers that routes look at.
    pub watched: Vec<String>,
    /// Retransmission timers.
    pub timers: Timers,
    /// Bounds.
    pub caps: Caps,
    /// `User-Agent` and `Server` header; none where empty.
    pub user_agent: String,
    /// What requests from addresses that belong to no trunk get.
    pub strangers: Strangers,
    /// When those addresses are not heard any more.
    pub banning: Banning,
    /// Registration upstream.
    pub registration: Renewal,
    /// SIP phones that may register through us; none where absent.
    pub phones: Option<Phones>,
    /// Connections.
    pub streams: Streams,
    /// How names are resolved.
    pub dns: dns::Config,
}

/// A SIP server or carrier.
#[derive(Clone, Debug)]
pub struct Trunk {
    /// Its name in configuration, logs and records.
    pub name: String,
    /// Where requests go: addresses, or names that stand for some.
    pub entries: Vec<Entry>,
    /// Host part of the URIs that name it and its users; port included where it must be.
    pub domain: String,
    /// Our interface toward it.
    pub realm: RealmId,
    /// Credentials of the trunk itself, for calls without an account.
    pub credentials: Option<Credentials>,
    /// Digest realm whose challenges are answered, by trunk or account credentials. `None`: whatever realm a
    /// challenge from one of this trunk's own addresses names.
    pub digest_realm: Option<String>,
    /// Addresses from which it may speak to us, beside those of its servers.
    pub sources: Vec<Block>,
    /// Spoken to over UDP, it takes requests over 1,300 bytes over TCP (RFC 3261 section 18.1.1); where it turns out that
    /// it doesn't, they go over UDP after all.
    pub tcp_when_large: bool,
    /// A dialled call gives up unless a response came by then from the last server that it tries.
    pub deadline: Duration,
    /// And goes on to the next server unless one came by then; 2 s.
    pub patience: Duration,
    /// How long a server is left alone that was silent; 30 s.
    pub avoid: Duration,
    /// Its servers are asked how they are; nobody asks where absent.
    pub probe: Option<Probe>,
    /// A dialled call gives up unless it was answered by then.
    pub ring: Duration,
    /// Reliable provisional responses.
    pub reliable: Reliability,
    /// Session timers.
    pub session: SessionPolicy,
    /// It belongs to our trust domain for P-Early-Media (RFC 5009): we say that we know the header, heed it and send it.
    pub early_media: bool,
    /// Types of body parts beside the session description that are passed on with a call, to and from it.
    pub bodies: Vec<String>,
    /// What it is believed and told, and may send.
    pub policy: Policy,
}

/// Reliable provisional responses (RFC 3262). What the far side requires is always done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Reliability {
    /// Only where the far side requires it.
    Off,
    /// We say that we know them, and use them for early media where the far side does, too.
    #[default]
    Supported,
    /// We require them of who is called, and of who calls.
    Required,
}

/// Session timers of a trunk (RFC 4028).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionPolicy {
    /// The interval that we ask for; zero: we ask for none, and only heed what the far side asks for.
    pub expires: Duration,
    /// The least that we take; 90 s at least.
    pub min: Duration,
    /// Who shall refresh.
    pub refresher: Refreshes,
    /// We refresh by UPDATE where the far side allows it; else by re-INVITE.
    pub update: bool,
}

impl Default for SessionPolicy {
    fn default() -> Self {
        SessionPolicy {
            expires: Duration::from_mins(30),
            min: Duration::from_secs(90),
            refresher: Refreshes::Auto,
            update: true,
        }
    }
}

/// Who shall refresh a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Refreshes {
    /// Whoever the far side likes.
    #[default]
    Auto,
    /// We do, even where the far side knows no session timers.
    Us,
    /// The far side, where it knows session timers.
    Them,
}

/// The type of a location by value (RFC 4119).
const LOCATION: &str = "application/pidf+xml";

impl Trunk {
    /// A trunk with the defaults: UDP, the remote address as domain, first realm, no credentials, 5 s and 180 s.
    pub fn new(name: &str, remote: SocketAddr) -> Trunk {
        Trunk {
            name: name.to_owned(),
            entries: vec![Entry::of(&Hop::udp(remote))],
            domain: remote.to_string(),
            realm: RealmId(0),
            credentials: None,
            digest_realm: None,
            sources: Vec::new(),
            tcp_when_large: true,
            deadline: Duration::from_secs(5),
            patience: Duration::from_secs(2),
            avoid: Duration::from_secs(30),
            probe: None,
            ring: Duration::from_mins(3),
            reliable: Reliability::default(),
            session: SessionPolicy::default(),
            early_media: false,
            bodies: Vec::new(),
            policy: Policy::default(),
        }
    }

    /// Whether body parts of this type, in lower case, are passed on. Where a caller is (RFC 6442) always is: lives hang
    /// on it.
    pub fn passes(&self, kind: &str) -> bool {
        kind.eq_ignore_ascii_case(LOCATION)
            || self.bodies.iter().any(|passing| passing.eq_ignore_ascii_case(kind))
    }

    /// The types of bodies that it may send.
    pub(super) fn accept(&self) -> String {
        let own = ["application/sdp", "multipart/mixed"];
        own.into_iter().chain(self.bodies.iter().map(String::as_str)).collect::<Vec<_>>().join(", ")
    }

    /// Its servers, as far as they are known without DNS.
    pub(super) fn servers(&self) -> Vec<Server> {
        let of = |(n, entry): (usize, &Entry)| {
            let server = Server::new(entry.target.hop()?);
            Some(Server { entry: n as u16, share: entry.share, standby: entry.standby, ..server })
        };
        self.entries.iter().enumerate().filter_map(of).collect()
    }
}

/// One entry of a trunk's servers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The server, or the domain that names some.
    pub target: Target,
    /// Its share of the requests, among those that are as much standby.
    pub share: u16,
    /// It is used only while none of the others lives.
    pub standby: bool,
}

impl Entry {
    /// One server.
    pub fn of(hop: &Hop) -> Entry {
        let target = Target { domain: hop.name.clone(), ..Target::literal(hop.address, hop.transport) };
        Entry { target, share: 1, standby: false }
    }
}

/// How a trunk's servers are asked how they are, by OPTIONS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Probe {
    /// From one probe to the next of a server that is as it was.
    pub interval: Duration,
    /// How long it has for its answer.
    pub timeout: Duration,
    /// So many failures in a row are its death.
    pub down_after: u32,
    /// And so many answers its life.
    pub up_after: u32,
    /// Response codes that are signs of life.
    pub alive: Vec<RangeInclusive<u16>>,
}

impl Default for Probe {
    fn default() -> Self {
        Probe {
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(4),
            down_after: 2,
            up_after: 1,
            // Whatever it says, it is there; unless it says that it can't serve.
            alive: vec![200..=501, 505..=699],
        }
    }
}

impl Probe {
    /// Whether a response with this code is a sign of life.
    pub fn is_alive(&self, code: u16) -> bool {
        self.alive.iter().any(|codes| codes.contains(&code))
    }
}

/// A name and a secret for digest authentication.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credentials {
    /// User name.
    pub user: String,
    /// Password.
    pub password: Secret,
}

/// RFC 3261 section 17.1.1.1 and table 4.
#[derive(Clone, Copy, Debug)]
pub struct Timers {
    /// Round-trip time estimate; 500 ms.
    pub t1: Duration,
    /// Longest interval between retransmissions; 4 s.
    pub t2: Duration,
    /// How long a message can stay in the network; 5 s.
    pub t4: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Timers { t1: Duration::from_millis(500), t2: Duration::from_secs(4), t4: Duration::from_secs(5) }
    }
}

/// How many of each thing there may be on one shard.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// Transactions, of each kind (client and server).
    pub transactions: usize,
    /// Legs, each with its dialogs. Ended ones that only wait for late answers don't count.
    pub dialogs: usize,
    /// Early dialogs of one dialled leg.
    pub forks: usize,
    /// Accounts registered upstream.
    pub registrations: usize,
    /// Texts that wait for their final response, and subscriptions.
    pub errands: usize,
    /// Answers in a second to one stranger (an IPv4 address, or an IPv6 /64).
    pub rebuffs: u32,
    /// Strangers that are answered in a second.
    pub strangers: usize,
}

impl Default for Caps {
    fn default() -> Self {
        Caps {
            transactions: 250_000,
            dialogs: 50_000,
            forks: 16,
            registrations: 100_000,
            errands: 100_000,
            rebuffs: 10,
            strangers: 4_096,
        }
    }
}

/// Bounds and times of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Streams {
    /// Bytes that may wait to be sent; 256 KiB.
    pub max_output: usize,
    /// How long one of ours to a trunk may take to come up, TLS included; 5 s.
    pub connect: Duration,
    /// The same for any other; 2 s, since a request that was to go over UDP waits for it.
    pub own_connect: Duration,
    /// How long one that the far side made may go without its first message; 30 s.
    pub first: Duration,
    /// From the first byte of a message to its last; 10 s.
    pub message: Duration,
    /// How long what waits to be sent may go without a byte of it being taken; 30 s.
    pub write: Duration,
    /// How long one that the far side made may be silent; longer than phones wait before they register again: 65 min.
    pub idle: Duration,
    /// How long one of ours that goes to no trunk may be without a message; 2 min.
    pub own_idle: Duration,
    /// How long a broken one is kept so that an answer gets through; 1 s.
    pub linger: Duration,
    /// Between pings to a trunk (RFC 5626 section 4.4.1), where nothing else is sent; 30 s.
    pub ping: Duration,
    /// From a ping to its answer; 10 s.
    pub pong: Duration,
}

impl Default for Streams {
    fn default() -> Self {
        Streams {
            max_output: 256 * 1024,
            connect: Duration::from_secs(5),
            own_connect: Duration::from_secs(2),
            first: Duration::from_secs(30),
            message: Duration::from_secs(10),
            write: Duration::from_secs(30),
            idle: Duration::from_mins(65),
            own_idle: Duration::from_mins(2),
            linger: Duration::from_secs(1),
            ping: Duration::from_secs(30),
            pong: Duration::from_secs(10),
        }
    }
}

/// Policy toward addresses that belong to no trunk. Requests within a dialog that they know the tags of are exempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Strangers {
    /// 403, without state.
    #[default]
    Refuse,
    /// Nothing: to a scanner nobody is there.
    Ignore,
}

/// Registration upstream.
#[derive(Clone, Copy, Debug)]
pub struct Renewal {
    /// Expiry asked for; 3600 s.
    pub expires: Duration,
    /// First wait after a failure; doubled with each one more.
    pub retry: Duration,
    /// Longest wait after a failure.
    pub retry_max: Duration,
    /// Wait after a refusal that time alone will not mend (403, 404).
    pub refused: Duration,
}

impl Default for Renewal {
    fn default() -> Self {
        Renewal {
            expires: Duration::from_hours(1),
            retry: Duration::from_secs(30),
            retry_max: Duration::from_mins(5),
            refused: Duration::from_mins(10),
        }
    }
}
