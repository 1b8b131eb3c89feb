//! The SIP stack: transactions, dialogs, digest and registration; dialog events to and from `leg` words.
//!
//! One [`Stack`] a shard. [`home()`] says which shard a message belongs to, before any stack sees it. How a connection's
//! [`Flow`] lives and dies is told in `links`.

mod bans;
mod body;
mod change;
mod config;
mod connection;
mod counters;
mod dialog;
mod digest;
mod errand;
mod failover;
mod fate;
mod home;
mod hop;
mod identity;
mod inbound;
mod inform;
mod invite;
mod leg;
mod links;
mod locate;
mod multipart;
mod names;
mod phones;
mod policy;
mod reason;
mod redirect;
mod refer;
mod register;
mod reliable;
mod rules;
mod scout;
mod servers;
mod session_id;
mod session_timer;
mod size;
mod source;
mod stack;
mod strikes;
mod stun;
#[cfg(test)]
mod tests;
mod transaction;
mod uac;
mod uas;
mod write;

pub use bans::Banning;
pub use config::{
    Caps, Config, Credentials, Entry, Probe, Refreshes, Reliability, Renewal, SessionPolicy, Strangers,
    Streams, Timers, Trunk,
};
pub use connection::{Arrival, Began, Closed, Connection, Traffic};
pub use counters::Counters;
pub use errand::Receipt;
pub use home::{home, home_of_quoted};
pub use hop::Hop;
pub use identity::{Asserting, Trust};
pub use locate::{Host, Target};
pub use phones::Phones;
pub use policy::Policy;
pub use reason::Reasons;
pub use rules::{Act, Rule, Way};
pub use scout::{Note, Scout, ScoutCounters, ScoutInput, ScoutOutput};
pub use servers::Server;
pub use source::{Block, NoBlock};
pub use stack::Stack;
pub use stun::{answer_stun, is_stun};

use crate::base::{FlowId, RealmId};
use crate::leg as words;
pub use crate::leg::Secret;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// The transport of a SIP message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A stream.
    Tcp,
    /// A stream under TLS.
    Tls,
    /// WebSocket (RFC 7118).
    Ws,
    /// WebSocket under TLS.
    Wss,
}

/// The way a message came and its answer goes: for UDP a listener and a far address, for streams a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Flow {
    /// Listener or connection.
    pub id: FlowId,
    /// The transport.
    pub transport: Transport,
    /// The far address.
    pub remote: SocketAddr,
    /// The realm of the listener.
    pub realm: RealmId,
}

/// What is pushed into the stack.
#[derive(Debug)]
pub enum Input<'a> {
    /// A whole message from a flow (one datagram).
    Message {
        /// Whence.
        flow: Flow,
        /// The bytes.
        data: &'a [u8],
    },
    /// What a connection brought is no message, and it will end: its header section may be good enough to be answered.
    Broken {
        /// Whence.
        flow: Flow,
        /// The header section.
        head: &'a [u8],
        /// What is wrong.
        error: sip_codec::Error,
    },
    /// A place that connections of ours may take: answers no question, but each [`Output::Connect`] uses one up.
    Spare {
        /// Its id, of this shard.
        flow: FlowId,
    },
    /// A connection that was asked for is up, and its certificate is the right one.
    Connected {
        /// The flow.
        flow: Flow,
    },
    /// A send on this flow failed for good: there is no route, or the connection is gone or could not be made.
    Failed {
        /// The flow.
        flow: Flow,
    },
    /// A datagram of ours came back by ICMP: nobody is there.
    Refused {
        /// As much of it as was quoted, maybe not a whole message.
        quoted: &'a [u8],
    },
    /// Another shard counted what this source, which is ours to judge, sent and was refused.
    Strikes {
        /// Who.
        source: IpAddr,
        /// How often.
        count: u32,
    },
    /// Its owner bans this source.
    Banned {
        /// Who.
        source: IpAddr,
    },
    /// The call machine's word for one of our legs.
    Command(words::Command),
    /// Register a browser user upstream, or keep it registered.
    Register(Registration),
    /// Its last session is gone: unregister.
    Unregister(words::Account),
    /// A user sends a text. Met by [`Output::Paged`].
    Page {
        /// What, and to whom.
        page: words::Page,
        /// The user's SIP identity, where the configuration has none.
        identity: Option<Arc<words::Identity>>,
        /// Through which trunk.
        trunk: words::TrunkId,
        /// By which it is met.
        receipt: u64,
    },
    /// Meets [`Output::Page`].
    Taken {
        /// Which.
        receipt: Receipt,
        /// The user has it.
        taken: bool,
    },
    /// A user wants to be told of something, until [`Input::Unwatch`] or [`words::News::Over`].
    Watch {
        /// Of what.
        watch: words::Watch,
        /// The user's SIP identity, where the configuration has none.
        identity: Option<Arc<words::Identity>>,
        /// By which trunk.
        trunk: words::TrunkId,
        /// By which it is known.
        number: u64,
    },
    /// The user wants to be told of it no more.
    Unwatch(u64),
    /// These are a trunk's servers from now on.
    Servers {
        /// The trunk.
        trunk: words::TrunkId,
        /// Its servers.
        servers: Vec<Server>,
    },
    /// Meets [`Output::Locate`]; empty where nothing was found.
    Located {
        /// For what.
        target: Target,
        /// The ways to it, best first.
        hops: Vec<Hop>,
    },
    /// Ask a server how it is; met by [`Output::Probed`].
    Probe {
        /// The trunk.
        trunk: words::TrunkId,
        /// The server.
        hop: Hop,
        /// The probe's number.
        number: u32,
    },
}

/// A browser user's registration upstream.
#[derive(Clone, Debug)]
pub struct Registration {
    /// The user.
    pub account: words::Account,
    /// With which trunk.
    pub trunk: words::TrunkId,
    /// User part of the address of record.
    pub user: String,
    /// User name for digest.
    pub auth_user: String,
    /// The secret for digest.
    pub password: Secret,
}

impl Registration {
    /// Of a user whose identity came with the sign-in; who has no secret is not registered.
    pub fn of(account: words::Account, identity: &words::Identity) -> Registration {
        let words::Identity { trunk, user, auth_user, secret } = identity.clone();
        let password = secret.unwrap_or(Secret(String::new()));
        Registration { account, trunk, user, auth_user, password }
    }

    /// Whom calls are made as.
    fn identity(&self) -> words::Identity {
        let Registration { trunk, user, auth_user, password, .. } = self.clone();
        words::Identity { trunk, user, auth_user, secret: Some(password) }
    }
}

/// What comes out of the stack.
#[derive(Debug)]
pub enum Output {
    /// Send a message on a flow.
    Send {
        /// Where.
        flow: Flow,
        /// What.
        data: Vec<u8>,
    },
    /// Make a connection to `flow.remote`, by which `flow.id` is known from now on. What is sent on it meanwhile waits.
    /// [`Input::Connected`] or [`Input::Failed`] follows.
    Connect {
        /// The flow.
        flow: Flow,
        /// The domain that the certificate must name; the address where absent.
        name: Option<Arc<str>>,
        /// Whose certificate authorities are believed; the gateway's own where it is for no trunk.
        trunk: Option<words::TrunkId>,
    },
    /// To the shard that owns this source: what it sent and was refused here.
    Strikes {
        /// Who.
        source: IpAddr,
        /// How often since last told.
        count: u32,
    },
    /// To all other shards: this source, which is ours to judge, is banned.
    Ban {
        /// Who.
        source: IpAddr,
    },
    /// A server was silent, refused by ICMP or its connection, or said 503.
    Suspect {
        /// Of this trunk.
        trunk: words::TrunkId,
        /// Which.
        hop: Hop,
        /// It said for how long it wants to be left alone.
        wait: Option<Duration>,
    },
    /// A dialog goes on at a name: where is that? [`Input::Located`] is waited for, not for long.
    Locate(Target),
    /// Meets [`Input::Probe`].
    Probed {
        /// The probe's number.
        number: u32,
        /// The response's code; `None` where there is none.
        code: Option<u16>,
    },
    /// To the call machine.
    Event(words::Event),
    /// A user's registration upstream changed.
    Registered {
        /// The user.
        account: words::Account,
        /// With which trunk.
        trunk: words::TrunkId,
        /// Registered until unregistered, or why not. The stack goes on trying by itself where that makes sense.
        state: Result<(), words::Reason>,
    },
    /// What became of a text ([`Input::Page`]).
    Paged {
        /// Which.
        receipt: u64,
        /// Whether it was taken.
        outcome: Result<(), words::Reason>,
    },
    /// Somebody sends a user a text. To be met by [`Input::Taken`].
    Page {
        /// What, from whom, to which user.
        page: words::Page,
        /// By which it is met.
        receipt: Receipt,
    },
    /// What a user asked for by [`Input::Watch`].
    Watched {
        /// Which.
        number: u64,
        /// What is told.
        news: words::News,
    },
    /// Messages wait for a user, told without a subscription.
    Waiting {
        /// The user.
        account: words::Account,
        /// The media type of what is told.
        kind: String,
        /// What is told.
        text: String,
    },
}
