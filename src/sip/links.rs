//! Connections, as the stack knows them.
//!
//! **How a flow of a stream lives.** One that the far side began is known from its first message on. One of our own is
//! begun by [`Stack::reach`]: it takes the id of a spare place of the shard's connection table ([`Input::Spare`]), asks
//! for the connection ([`Output::Connect`]), and is used at once. What is sent before it is up waits at the
//! connection, bounded and counted there. Every shard has its own connections, one for each realm and [`Hop`] (and, for
//! TLS, trunk, since each trunk has its own idea of whom to trust); what goes to the same hop shares it, and requests
//! that come back on it are heard (RFC 5923: we say `alias`, and take the word of a trunk that says it from its own
//! address).
//!
//! **How it dies.** [`Input::Failed`] says that a connection is gone, or never came to be. Every shard hears it that
//! was given a message of it. Requests that wait on it have failed at once. Responses to what it brought go by a new
//! connection to where the request's Via says (RFC 3261 section 18.2.2), and what a dialog sends next goes by a new one
//! to its next hop, or to its trunk. A flow that is not in the table is dead: nobody needs to be told.
//!
//! [`Input::Spare`]: super::Input::Spare
//! [`Input::Failed`]: super::Input::Failed
//! [`Output::Connect`]: super::Output::Connect

use super::hop::{Hop, Place};
use super::leg::LegKey;
use super::stack::Listener;
use super::{Flow, Output, Stack, Transport};
use crate::base::{FlowId, Map, Now, RealmId};
use crate::leg::TrunkId;
use sip_codec::{Message, Via};
use std::net::SocketAddr;
use std::time::Instant;

/// What connections of ours are told apart by.
type Way = (RealmId, Hop, Option<TrunkId>);

/// A connection that stands, or is being made.
#[derive(Debug)]
struct Link {
    /// We made it, or may use it for requests as though we had.
    way: Option<Way>,
    /// Whose it is.
    trunk: Option<TrunkId>,
    /// It is up.
    up: bool,
    /// It stands in for datagrams, and where it does not come up, its far side is left alone until then.
    until: Option<Instant>,
}

/// The connections of which this shard has heard.
#[derive(Debug, Default)]
pub(super) struct Links {
    spare: Vec<FlowId>,
    by_flow: Map<FlowId, Link>,
    by_way: Map<Way, FlowId>,
    /// Far sides that take no connection, and until when they are believed to.
    shunned: Map<(RealmId, SocketAddr), Instant>,
}

/// More far sides than this are not remembered for taking no connection.
const SHUNNED: usize = 1_024;

impl Links {
    pub fn is_live(&self, flow: &Flow) -> bool {
        !flow.transport.is_stream() || self.by_flow.contains_key(&flow.id)
    }

    /// The trunk to which a connection was made.
    pub fn trunk(&self, flow: &Flow) -> Option<TrunkId> {
        self.by_flow.get(&flow.id)?.trunk
    }

    pub fn len(&self) -> usize {
        self.by_flow.len()
    }

    pub fn add_spare(&mut self, flow: FlowId) {
        self.spare.push(flow);
    }

    /// A message came by a connection.
    pub fn note(&mut self, flow: &Flow) {
        if flow.transport.is_stream() {
            self.by_flow.entry(flow.id).or_insert(Link { way: None, trunk: None, up: true, until: None });
        }
    }

    pub fn rise(&mut self, flow: &Flow) {
        if let Some(link) = self.by_flow.get_mut(&flow.id) {
            link.up = true;
            self.shunned.remove(&(flow.realm, flow.remote));
        }
    }

    pub fn is_up(&self, flow: &Flow) -> bool {
        self.by_flow.get(&flow.id).is_some_and(|link| link.up)
    }

    /// Whether a far side took no connection lately.
    pub fn is_shunned(&self, now: Now, flow: &Flow) -> bool {
        self.shunned.get(&(flow.realm, flow.remote)).is_some_and(|until| *until > now.instant)
    }

    /// A connection is used in place of datagrams; where it does not come up, none is tried again until then.
    pub fn stands_in(&mut self, flow: &Flow, until: Instant) {
        if let Some(link) = self.by_flow.get_mut(&flow.id) {
            link.until = Some(until);
        }
    }

    /// Forgets a connection; whether it was ever up.
    fn remove(&mut self, flow: &Flow) -> bool {
        let Some(link) = self.by_flow.remove(&flow.id) else { return false };
        if let Some(until) = link.until.filter(|_| !link.up)
            && self.shunned.len() < SHUNNED
        {
            self.shunned.insert((flow.realm, flow.remote), until);
        }
        if let Some(way) = link.way
            && self.by_way.get(&way) == Some(&flow.id)
        {
            self.by_way.remove(&way);
        }
        link.up
    }

    pub fn check_invariants(&self) {
        assert!(self.by_way.len() <= self.by_flow.len());
        for (way, flow) in &self.by_way {
            assert_eq!(self.by_flow.get(flow).and_then(|link| link.way.as_ref()), Some(way));
        }
        assert!(self.spare.iter().all(|spare| !self.by_flow.contains_key(spare)));
    }
}

impl Listener {
    /// What Via says of where responses go, should the connection be gone, and Contact of where requests go.
    pub fn sent_by(&self, transport: Transport) -> SocketAddr {
        if transport == Transport::Tls { self.secure.unwrap_or(self.advertised) } else { self.advertised }
    }

    /// A Contact URI with this user part, escaped already. `sips` only where the far side asks for it by its own
    /// (RFC 3261 section 12.1.1): it binds every hop between.
    pub fn contact(&self, user: &str, transport: Transport, sips: bool) -> String {
        let at = self.sent_by(transport);
        match transport {
            Transport::Udp => format!("<sip:{user}@{at}>"),
            Transport::Tls if sips => format!("<sips:{user}@{at}>"),
            Transport::Wss if sips => format!("<sips:{user}@{at};transport=ws>"),
            _ => format!("<sip:{user}@{at};transport={}>", transport.param()),
        }
    }
}

impl Stack {
    /// The flow to a hop: the connection that there is, else a new one. `None` where none can be made.
    pub(super) fn reach(&mut self, realm: RealmId, hop: &Hop, trunk: Option<TrunkId>) -> Option<Flow> {
        let flow = |id| Flow { id, transport: hop.transport, remote: hop.address, realm };
        match hop.transport {
            Transport::Udp => return self.listener(realm).map(|listener| flow(listener.flow)),
            Transport::Ws | Transport::Wss => return None,
            Transport::Tcp | Transport::Tls => {}
        }
        // Whom a certificate convinced for one trunk, it did not for another.
        let way: Way = (realm, hop.clone(), trunk.filter(|_| hop.transport.is_secure()));
        if let Some(&id) = self.links.by_way.get(&way) {
            return Some(flow(id));
        }
        self.listener(realm)?;
        let Some(id) = self.links.spare.pop() else {
            self.counters.full_connections += 1;
            return None;
        };
        self.links.by_way.insert(way.clone(), id);
        self.links.by_flow.insert(id, Link { way: Some(way), trunk, up: false, until: None });
        self.out.push_back(Output::Connect { flow: flow(id), name: hop.name.clone(), trunk });
        Some(flow(id))
    }

    /// A trunk that connected to us says that what we would connect to is at the far end (RFC 5923 section 5). Believed
    /// where the connection comes from that very address, and not under TLS, which would ask for its certificate.
    pub(super) fn on_alias(&mut self, flow: &Flow, via: &Via<'_>) {
        if flow.transport != Transport::Tcp || !via.params.has("alias") {
            return;
        }
        let address = SocketAddr::new(flow.remote.ip(), via.port.unwrap_or(5060));
        let hop = Hop { transport: Transport::Tcp, address, name: None };
        let trunks = self.config.trunks.iter().enumerate();
        let trunk = trunks
            .filter(|(_, trunk)| trunk.realm == flow.realm)
            .map(|(n, _)| TrunkId(n as u16))
            .find(|trunk| self.servers.of(*trunk).iter().any(|server| server.hop == hop));
        let Some(link) = self.links.by_flow.get_mut(&flow.id).filter(|link| link.way.is_none()) else {
            return;
        };
        let way = (flow.realm, hop, None);
        if via.host.ip() == Some(address.ip()) && trunk.is_some() && !self.links.by_way.contains_key(&way) {
            link.trunk = trunk;
            link.way = Some(way.clone());
            self.links.by_way.insert(way, flow.id);
        }
    }

    /// The flow of the next request of a leg whose next hop's own words are these.
    pub(super) fn onward(&mut self, key: LegKey, place: Place) -> Option<Flow> {
        let leg = self.legs.get(key)?;
        let (flow, trunk_id) = (leg.flow, leg.trunk);
        if leg.phone().is_some() {
            // A phone is reached by the flow that it made, or not at all.
            return self.links.is_live(&flow).then_some(flow);
        }
        let trunk = self.server_at(trunk_id, flow.remote.ip()).cloned();
        let address = place.address.filter(|address| address.is_ipv4() == flow.remote.is_ipv4());
        let live = self.links.is_live(&flow);
        let same = address.is_none_or(|address| address.ip() == flow.remote.ip());
        // Whoever can't be connected to is reached by the connection that he made, or not at all.
        let fixed = matches!(flow.transport, Transport::Ws | Transport::Wss);
        if flow.transport.is_stream() && live && (same || fixed) {
            return Some(flow);
        }
        // A WebSocket that is not this one is behind somebody else's proxy.
        let spoken = place.transport.filter(|transport| !matches!(transport, Transport::Ws | Transport::Wss));
        let transport = spoken.unwrap_or(flow.transport);
        let hop = match address {
            Some(address) => {
                let name = trunk.and_then(|trunk| trunk.name).filter(|_| transport.is_secure());
                Hop { transport, address, name }
            }
            None if flow.transport.is_stream() => trunk?,
            None => return Some(flow),
        };
        let next = self.reach(flow.realm, &hop, Some(trunk_id))?;
        if let Some(leg) = self.legs.get_mut(key).filter(|_| !live) {
            leg.flow = next;
        }
        Some(next)
    }

    /// A connection is gone, or a datagram could not be sent.
    pub(super) fn on_failed(&mut self, now: Now, flow: &Flow) {
        if flow.transport.is_stream() && !self.links.remove(flow) {
            self.counters.unconnected += 1;
        }
        for gone in self.table.handle_unsent(now, flow, &mut self.out) {
            self.on_gone(now, gone);
        }
        self.on_flow_lost(now, flow);
    }

    /// Where a message goes that was to go by a connection that is gone: a response by section 18.2.2 of RFC 3261, a
    /// request (CANCEL, an ACK that is asked for again) to its trunk, to the same server if that is one.
    fn redirect(&mut self, flow: &Flow, data: &[u8]) -> Option<Flow> {
        if self.is_guest(flow) {
            return None;
        }
        let message = Message::parse(data).ok()?;
        let trunk = self.trunk_of(flow);
        if message.code().is_none() {
            let servers = self.servers.of(trunk?).iter().map(|server| &server.hop);
            let same = servers.into_iter().find(|hop| hop.address == flow.remote);
            let hop = same.or_else(|| self.server_at(trunk?, flow.remote.ip()));
            let hop = hop.filter(|hop| hop.transport == flow.transport)?.clone();
            return self.reach(flow.realm, &hop, trunk);
        }
        let via = message.via().ok()?;
        let port = via.port.filter(|port| *port != 0).unwrap_or(flow.transport.port());
        let address = SocketAddr::new(flow.remote.ip(), port);
        let hop = trunk.and_then(|trunk| self.server_at(trunk, address.ip()));
        let name = hop.filter(|hop| hop.address.ip() == address.ip()).and_then(|hop| hop.name.clone());
        self.reach(flow.realm, &Hop { transport: flow.transport, address, name }, trunk)
    }

    /// The next output, with what was to go by a connection that is gone sent another way.
    pub(super) fn next_output(&mut self) -> Option<Output> {
        loop {
            let output = self.out.pop_front()?;
            let Output::Send { flow, data } = output else { return Some(output) };
            if self.links.is_live(&flow) {
                return Some(Output::Send { flow, data });
            }
            let queued = self.out.len();
            let Some(flow) = self.redirect(&flow, &data) else {
                self.counters.undeliverable += 1;
                continue;
            };
            // A new connection is asked for before it is used.
            let connect = (self.out.len() > queued).then(|| self.out.pop_back()).flatten();
            let send = Output::Send { flow, data };
            let Some(connect) = connect else { return Some(send) };
            self.out.push_front(send);
            return Some(connect);
        }
    }
}
