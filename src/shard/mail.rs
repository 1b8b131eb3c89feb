//! What shards tell each other. Values only: nothing is shared, nothing is borrowed.

use crate::base::FlowId;
use crate::leg::TrunkId;
use crate::{signal, sip};
use std::net::IpAddr;
use std::time::Duration;

/// A message from one shard to another.
#[derive(Debug)]
pub enum Mail {
    /// A SIP message that landed on the sender but belongs to the receiver.
    Sip {
        /// The flow by which it came: the sender's.
        flow: sip::Flow,
        /// The whole message.
        data: Vec<u8>,
    },
    /// A SIP message to be sent by a connection of the receiver.
    Send {
        /// The flow: the receiver's.
        flow: sip::Flow,
        /// The whole message.
        data: Vec<u8>,
    },
    /// A connection of the sender, which the receiver used, is gone.
    Failed {
        /// The flow: the sender's.
        flow: sip::Flow,
    },
    /// A request of the receiver came back by ICMP to the sender.
    Refused {
        /// As much of it as was quoted.
        quoted: Vec<u8>,
    },
    /// What the sender refused of a source that is the receiver's to judge.
    Strikes {
        /// Who.
        source: IpAddr,
        /// How often.
        count: u32,
    },
    /// The sender has banned a source.
    Ban {
        /// Who.
        source: IpAddr,
    },
    /// A browser that connected to the sender has named its user, whose home is the receiver.
    Moved {
        /// The connection: the sender's.
        flow: FlowId,
        /// Where it comes from.
        source: Option<IpAddr>,
        /// The text that named the user.
        text: String,
    },
    /// A later text of such a browser.
    Text {
        /// The connection: the sender's.
        flow: FlowId,
        /// One JSON value.
        text: String,
    },
    /// The home's answer to a browser on a connection of the receiver.
    Write {
        /// The connection: the receiver's.
        flow: FlowId,
        /// One JSON value.
        text: String,
    },
    /// An HTTP request that came to the sender, about a session of the receiver.
    Asked(Box<signal::Ask>),
    /// The home's response to such a request on a connection of the receiver.
    Respond {
        /// The request: the receiver's.
        exchange: signal::Exchange,
        /// The HTTP status.
        status: u16,
        /// A JSON value.
        body: String,
    },
    /// The connection of such a request is gone.
    Abandoned {
        /// The request: the sender's.
        exchange: signal::Exchange,
    },
    /// The home wants a connection of the receiver closed.
    Close {
        /// The connection: the receiver's.
        flow: FlowId,
    },
    /// A server failed a call or a registration of the sender; the receiver has the scout.
    Suspect {
        /// The trunk.
        trunk: TrunkId,
        /// The server.
        hop: sip::Hop,
        /// It said for how long it wants to be left alone.
        wait: Option<Duration>,
    },
    /// A dialog of the sender goes on at a name; the receiver has the scout.
    Locate {
        /// Where.
        target: sip::Target,
    },
    /// The scout's answer to that.
    Located {
        /// For what.
        target: sip::Target,
        /// The ways to it, best first; none where nothing was found.
        hops: Vec<sip::Hop>,
    },
    /// The scout says which servers a trunk has from now on.
    Servers {
        /// The trunk.
        trunk: TrunkId,
        /// Its servers.
        servers: Vec<sip::Server>,
    },
    /// A connection of the sender is gone; the receiver is home to its session.
    Closed {
        /// The connection: the sender's.
        flow: FlowId,
    },
}
