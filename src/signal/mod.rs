//! Browser signalling: the JSON schema (`SCHEMA.md`), sessions, sign-in and events; to and from `leg` words.
//!
//! A [`Hub`] is one shard's part. A connection is spoken to by the hub of the shard where it landed until it names its
//! user; where the user's home is elsewhere, that hub hands it over with [`Output::Move`] and forgets it.

mod call;
mod command;
mod config;
mod control;
mod hub;
mod kept;
mod message;
mod party;
mod quality;
mod registration;
mod request;
mod resume;
mod session;
mod throttle;

#[cfg(test)]
mod tests;

use crate::base::{FlowId, ShardId};
use crate::leg;
use std::net::IpAddr;

pub use config::{Config, Counters, IceServer, Password, User};
pub use hub::Hub;
pub use party::parse_dialled;

/// The JSON Schema (draft 2020-12) of every message, to be served at `/v1/schema.json`.
pub const SCHEMA: &str = include_str!("schema.json");

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
    /// The call machine's word for one of our legs.
    Command(leg::Command),
    /// A user's registration upstream changed.
    Registered {
        /// The user.
        account: leg::Account,
        /// Registered, or why not.
        state: Result<(), leg::Reason>,
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
    /// To the call machine.
    Event(leg::Event),
    /// The first session of a user asks for registration: register it upstream. Said again where the last attempt
    /// failed and a session asks anew.
    Register(leg::Account),
    /// No session of a user wants registration any more: unregister it.
    Unregister(leg::Account),
}
