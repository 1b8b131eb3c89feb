//! A shard without its sockets: the machines, and who hears what.

use super::config::Config;
use super::mail::Mail;
use crate::base::{Deadline, FlowId, Now, Random, RealmId, ShardId, Slab, SocketId, counters};
use crate::net::Batch;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

counters! {
    /// What a shard did with what it heard.
    pub struct Counters {
        /// Datagrams that belong to nobody: an unknown first byte, or an unknown socket.
        stray,
        /// Connections refused because the table was full.
        connections_full,
    }
}

/// What a shard wants of the outside, apart from the slots that [`Core::receive`] turned round.
#[derive(Debug)]
pub enum Output {
    /// Send a datagram of our own.
    Send {
        /// From which socket.
        socket: SocketId,
        /// To whom.
        to: SocketAddr,
        /// What.
        data: Vec<u8>,
    },
    /// Open a UDP socket on this port of the realm's media address; answer with [`Core::bound`].
    Bind {
        /// The realm.
        realm: RealmId,
        /// The port.
        port: u16,
    },
    /// Close a UDP socket.
    Unbind {
        /// Which.
        socket: SocketId,
    },
    /// A connection has bytes to be written: take them from [`Core::unsent`], now and whenever it is writable.
    Write {
        /// Which.
        flow: FlowId,
    },
    /// Close a connection: all is written. The core has forgotten it: no [`Core::closed`] is due.
    Close {
        /// Which.
        flow: FlowId,
    },
    /// Tell another shard.
    Mail {
        /// Which.
        to: ShardId,
        /// What.
        mail: Mail,
    },
}

#[expect(dead_code, reason = "read once the rooms are wired")]
#[derive(Debug)]
enum Flow {
    Sip { realm: RealmId, socket: SocketId },
    Http { remote: SocketAddr },
}

/// All machines of one shard, and the switchboard between them.
///
/// The owner names its sockets first ([`Core::set_web_socket`], [`Core::set_sip_socket`]), then pushes in what
/// arrives, and after each push pulls [`Core::poll_output`] until `None`.
#[expect(dead_code, reason = "read once the rooms are wired")]
#[derive(Debug)]
pub struct Core {
    shard: ShardId,
    shards: u8,
    config: Arc<Config>,
    flows: Slab<FlowId, Flow>,
    web: Vec<SocketId>,
    outputs: VecDeque<Output>,
    counters: Counters,
}

impl Core {
    /// A shard, number `shard` of `shards`.
    pub fn new(_now: Now, shard: ShardId, shards: u8, config: Arc<Config>, _random: Random) -> Core {
        Core {
            flows: Slab::new(shard, config.caps.connections + config.realms.len()),
            web: Vec::new(),
            outputs: VecDeque::new(),
            counters: Counters::default(),
            shard,
            shards,
            config,
        }
    }

    /// Names a socket that browsers' media comes by, and the address that they use. The first leads in descriptions.
    pub fn set_web_socket(&mut self, socket: SocketId, _advertised: SocketAddr) {
        self.web.push(socket);
    }

    /// Names the socket that a realm's SIP comes by, and the address that others use.
    pub fn set_sip_socket(&mut self, realm: RealmId, socket: SocketId, _advertised: SocketAddr) {
        let _ = self.flows.insert(Flow::Sip { realm, socket });
    }

    /// Handles datagrams where they lie. Slots that are to be sent afterwards are marked `send`.
    pub fn receive(&mut self, _now: Now, batch: &mut Batch) {
        for _slot in batch.slots() {
            self.counters.stray += 1;
        }
    }

    /// Handles a SIP message of any length.
    pub fn message(&mut self, _now: Now, _socket: SocketId, _remote: SocketAddr, _data: &[u8]) {}

    /// A browser connected. `None`: no room, close the connection.
    pub fn opened(&mut self, _now: Now, remote: SocketAddr) -> Option<FlowId> {
        let flow = self.flows.insert(Flow::Http { remote }).ok();
        self.counters.connections_full += u64::from(flow.is_none());
        flow
    }

    /// A connection brought bytes.
    pub fn bytes(&mut self, _now: Now, _flow: FlowId, _bytes: &[u8]) {}

    /// The far side will send no more on a connection, but may still read.
    pub fn ended(&mut self, _now: Now, _flow: FlowId) {}

    /// What a connection has to write next; empty where nothing waits.
    pub fn unsent(&self, _flow: FlowId) -> &[u8] {
        &[]
    }

    /// Says that so many bytes of [`Core::unsent`] were taken.
    pub fn sent(&mut self, _now: Now, _flow: FlowId, _count: usize) {}

    /// A connection is gone: it failed.
    pub fn closed(&mut self, _now: Now, flow: FlowId) {
        self.flows.remove(flow);
    }

    /// Another shard tells something.
    pub fn mail(&mut self, _now: Now, _from: ShardId, _mail: Mail) {}

    /// Answers [`Output::Bind`]: the socket, or `None` where the port can't be had.
    pub fn bound(&mut self, _now: Now, _realm: RealmId, _port: u16, _socket: Option<SocketId>) {}

    /// Begins to drain: new calls are refused, those that run end at the deadline of `call::Config`.
    pub fn drain(&mut self, _now: Now) {}

    /// Lets every deadline that has passed act, and goes on with work that a budget put off.
    pub fn handle_timeout(&mut self, _now: Now) {}

    /// When [`Core::handle_timeout`] is wanted next, and why.
    pub fn poll_timeout(&mut self) -> Option<Deadline> {
        None
    }

    /// The next output, oldest first.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Every counter of the shard and its machines: room, name, value.
    pub fn all_counters(&self, out: &mut Vec<(&'static str, &'static str, u64)>) {
        out.extend(self.counters.iter().map(|(name, value)| ("shard", name, value)));
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.flows.len()
    }

    /// How many calls there are.
    pub fn calls(&self) -> usize {
        0
    }

    /// Panics where the shard or one of its machines contradicts itself.
    pub fn check_invariants(&self) {}

    /// What it did so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}
