//! Browser signalling: the JSON schema (`SCHEMA.md`), sessions, sign-in and events; to and from `leg` words.
//!
//! A [`Hub`] is one shard's part. A connection is spoken to by the hub of the shard where it landed until it names its
//! user; where the user's home is elsewhere, that hub hands it over with [`Output::Move`] and forgets it.

mod call;
mod command;
mod config;
mod control;
mod errand;
mod exchange;
mod hub;
mod jwt;
mod kept;
mod message;
mod party;
mod quality;
mod registration;
mod request;
mod resume;
mod session;
mod tabs;
mod throttle;
mod transfer;

#[cfg(test)]
mod tests;

use crate::base::{FlowId, ShardId};
use crate::leg;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

pub use config::{Config, Counters, IceServer, Password, User};
pub use hub::Hub;
pub use jwt::{Jwt, JwtKey};
pub use party::parse_dialled;

/// The JSON Schema (draft 2020-12) of every message, to be served at `/v1/schema.json`.
pub const SCHEMA: &str = include_str!("schema.json");

/// An HTTP request that waits for its response: a connection, and which of its requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exchange {
    /// The connection.
    pub flow: FlowId,
    /// Counts its requests.
    pub number: u32,
}

/// An HTTP request about a session.
#[derive(Debug)]
pub struct Ask {
    /// What waits for the response.
    pub exchange: Exchange,
    /// Where it comes from: wrong passwords are counted by source.
    pub source: Option<IpAddr>,
    /// What it asks for.
    pub what: Asked,
}

/// What an HTTP request asks for.
pub enum Asked {
    /// `POST /v1/session`: signing in, or coming back.
    Connect {
        /// The message `connect`.
        body: String,
    },
    /// `POST /v1/messages`: one request of a session.
    Request {
        /// What opens the session.
        token: String,
        /// The message.
        body: String,
    },
    /// `GET /v1/events`: a session's events, as soon as there are any.
    Events {
        /// What opens the session.
        token: String,
        /// The `seq` of the latest event that arrived.
        cursor: u64,
        /// How long to wait for one.
        wait: Duration,
    },
}

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Asked::Connect { .. } => "Connect(…)",
            Asked::Request { .. } => "Request(…)",
            Asked::Events { .. } => "Events(…)",
        })
    }
}

/// What is pushed in.
#[derive(Debug)]
pub enum Input<'a> {
    /// A connection was opened, or was moved here. It must sign in soon.
    Opened {
        /// The connection.
        flow: FlowId,
        /// Where it comes from: wrong passwords are counted by source. `None` where unknown.
        source: Option<IpAddr>,
    },
    /// A text message from a connection.
    Message {
        /// The connection.
        flow: FlowId,
        /// One JSON value.
        text: &'a str,
    },
    /// A connection is gone.
    Closed {
        /// The connection.
        flow: FlowId,
    },
    /// An HTTP request.
    Asked(Ask),
    /// The connection of an HTTP request that waits for its response is gone.
    Abandoned(Exchange),
    /// The call machine's word for one of our legs.
    Command(leg::Command),
    /// A user's registration upstream changed.
    Registered {
        /// The user.
        account: leg::Account,
        /// Registered, or why not.
        state: Result<(), leg::Reason>,
    },
    /// What became of a text ([`Output::Page`]).
    Paged {
        /// Which.
        receipt: u64,
        /// Whether it was taken.
        outcome: Result<(), leg::Reason>,
    },
    /// Somebody sends a user a text.
    Page(leg::Page),
    /// News of what a user watches ([`Output::Watch`]).
    Watched {
        /// Which.
        number: u64,
        /// What is told.
        news: leg::News,
    },
    /// Messages wait for a user.
    Waiting {
        /// The user.
        account: leg::Account,
        /// The media type of what is told.
        kind: String,
        /// What is told.
        text: String,
    },
    /// Begin to drain: no new sessions, no new calls. Calls that run go on.
    Drain,
    /// The end: every session is told, every connection closed, every user unregistered.
    Stop,
}

/// What comes out.
#[derive(Debug)]
pub enum Output {
    /// Send a text message on a connection.
    Send {
        /// The connection.
        flow: FlowId,
        /// One JSON value.
        text: String,
    },
    /// Close a connection, after what was sent has gone out.
    Close {
        /// The connection.
        flow: FlowId,
    },
    /// The connection's user lives on another shard: give that shard's hub [`Input::Opened`], then
    /// [`Input::Message`] with this text, and from now on everything of this connection, its end included.
    Move {
        /// The connection.
        flow: FlowId,
        /// The user's home.
        to: ShardId,
        /// Where it comes from.
        source: Option<IpAddr>,
        /// The message that told.
        text: String,
    },
    /// Answer an HTTP request. Said once of each, unless it was abandoned.
    Respond {
        /// Which.
        exchange: Exchange,
        /// The HTTP status.
        status: u16,
        /// A JSON value.
        body: String,
    },
    /// An HTTP request's session lives on another shard: give it to that shard's hub. Its response comes from there.
    Forward {
        /// The session's home.
        to: ShardId,
        /// The request.
        ask: Ask,
    },
    /// To the call machine.
    Event(leg::Event),
    /// The first session of a user asks for registration: register it upstream, as the configuration says, or with the
    /// identity that came with the sign-in. Said again where the last attempt failed and a session asks anew.
    Register(leg::Account, Option<Arc<leg::Identity>>),
    /// No session of a user wants registration any more: unregister it.
    Unregister(leg::Account),
    /// A user sends a text. To be met by [`Input::Paged`].
    Page {
        /// What, and to whom.
        page: leg::Page,
        /// The SIP identity that came with the sign-in.
        identity: Option<Arc<leg::Identity>>,
        /// By which it is met.
        receipt: u64,
    },
    /// A user wants to be told of something, until [`Output::Unwatch`], or until [`Input::Watched`] says that it is over.
    Watch {
        /// Of what.
        watch: leg::Watch,
        /// The SIP identity that came with the sign-in.
        identity: Option<Arc<leg::Identity>>,
        /// By which it is known.
        number: u64,
    },
    /// Nobody wants to be told of it any more.
    Unwatch {
        /// Which.
        number: u64,
    },
}
