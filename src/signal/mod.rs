//! Browser signalling: the JSON schema, sessions, tokens and events; to and from `leg` words.

use crate::base::FlowId;
use crate::leg;

/// What is pushed in.
#[derive(Debug)]
pub enum Input<'a> {
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
    /// To the call machine.
    Event(leg::Event),
    /// The first session of a user signed in: register it upstream.
    Register(leg::Account),
    /// The last session of a user is gone: unregister it.
    Unregister(leg::Account),
}
