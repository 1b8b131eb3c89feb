//! The SIP stack: transactions, dialogs, digest and registration; dialog events to and from `leg` words.

use crate::base::{FlowId, RealmId};
use crate::leg;
use std::net::SocketAddr;

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
    /// The call machine's word for one of our legs.
    Command(leg::Command),
    /// Register a browser user upstream, or keep it registered.
    Register(Registration),
    /// Its last session is gone: unregister.
    Unregister(leg::Account),
}

/// A browser user's registration upstream.
#[derive(Clone, Debug)]
pub struct Registration {
    /// The user.
    pub account: leg::Account,
    /// With which trunk.
    pub trunk: leg::TrunkId,
    /// User part of the address of record.
    pub user: String,
    /// User name for digest.
    pub auth_user: String,
    /// The secret for digest.
    pub password: Secret,
}

/// A password. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
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
    /// To the call machine.
    Event(leg::Event),
    /// A user's registration upstream changed.
    Registered {
        /// The user.
        account: leg::Account,
        /// Registered until unregistered, or why not. The stack goes on trying by itself where that makes sense.
        state: Result<(), leg::Reason>,
    },
}
