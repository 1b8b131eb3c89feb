//! From one server of a trunk to the next (RFC 3263 section 4.3), and how the servers are.

use super::leg::{Cancel, Leg, LegKey, Purpose, State, Way};
use super::stack::Owner;
use super::transaction::ClientId;
use super::write::{Draft, SDP};
use super::{Flow, Hop, Output, Server, Stack, Transport, home};
use crate::base::{Now, RealmId};
use crate::leg::TrunkId;
use sip_codec::{Message, Method, Name, RetryAfter};
use std::net::IpAddr;
use std::time::Duration;

/// Why a server did not take a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// It was silent, or could not be reached.
    Silent,
    /// It said 503, and for how long it wants to be left alone.
    Busy(Option<Duration>),
}

/// How long a response's server wants to be left alone.
pub(super) fn retry_after(message: &Message<'_>) -> Option<Duration> {
    let wait = RetryAfter::parse(message.header(Name::RetryAfter)?).ok()?;
    Some(Duration::from_secs(wait.seconds.into())).filter(|wait| !wait.is_zero())
}

impl Stack {
    /// Whether a message from this address is the trunk's.
    pub(super) fn is_source(&self, trunk: TrunkId, ip: IpAddr) -> bool {
        let known = self.config.trunks.get(usize::from(trunk.0));
        let told =
            known.is_some_and(|trunk| trunk.sources.iter().any(|source| source.has(ip.to_canonical())));
        told || self.servers.has(trunk, ip)
    }

    /// Whether a message from this address is some trunk's; of that realm, where one is told.
    pub fn is_trunk(&self, realm: Option<RealmId>, ip: IpAddr) -> bool {
        let trunks = self.config.trunks.iter().enumerate();
        let mut trunks = trunks.filter(|(_, trunk)| realm.is_none_or(|realm| trunk.realm == realm));
        trunks.any(|(n, _)| self.is_source(TrunkId(n as u16), ip))
    }

    /// Whether a flow goes to a server of the trunk, as one is meant to be spoken to.
    pub fn is_server(&self, trunk: TrunkId, flow: &Flow) -> bool {
        let hops = self.servers.of(trunk).iter().map(|server| &server.hop);
        hops.into_iter().any(|hop| hop.address == flow.remote && hop.transport == flow.transport)
    }

    /// The trunk that may speak from this address. One address can be several trunks': the port tells them apart, then
    /// the transport, else the first wins. None speaks by WebSocket.
    pub(super) fn trunk_at(&self, flow: &Flow) -> Option<TrunkId> {
        if matches!(flow.transport, Transport::Ws | Transport::Wss) {
            return None;
        }
        let trunks = || {
            let all = self.config.trunks.iter().enumerate();
            all.filter(|(_, trunk)| trunk.realm == flow.realm).map(|(n, _)| TrunkId(n as u16))
        };
        let sources = || trunks().filter(|trunk| self.is_source(*trunk, flow.remote.ip()));
        let servers = |trunk: TrunkId| self.servers.of(trunk).iter().map(|server| &server.hop);
        let at = |trunk: &TrunkId| servers(*trunk).any(|hop| hop.address == flow.remote);
        let kin = |trunk: &TrunkId| servers(*trunk).any(|hop| hop.transport == flow.transport);
        let exact = trunks().find(|trunk| at(trunk) && kin(trunk)).or_else(|| trunks().find(at));
        exact.or_else(|| sources().find(kin)).or_else(|| sources().next())
    }

    /// Whether a message of this flow may be a phone's.
    pub fn is_guest(&self, flow: &Flow) -> bool {
        let phones = self.config.phones.as_ref();
        phones.is_some_and(|phones| phones.transports.contains(&flow.transport))
            && self.trunk_at(flow).is_none()
    }

    /// The server that requests of a trunk go to which should always meet the same one: the first that lives.
    pub(super) fn favourite(&self, now: Now, trunk: TrunkId) -> Option<Hop> {
        let servers = self.servers.of(trunk).iter();
        let best = servers.min_by_key(|s| (!s.is_usable(now), s.standby, s.entry, s.rank, s.group));
        best.map(|server| server.hop.clone())
    }

    /// Where one request to a trunk goes, and where next if nobody is there.
    pub(super) fn order(&mut self, now: Now, realm: RealmId, trunk: TrunkId) -> Vec<Hop> {
        let Some(listener) = self.listener(realm) else { return Vec::new() };
        let v4 = listener.advertised.is_ipv4();
        self.servers.order(now, trunk, &mut self.random, |hop| hop.address.is_ipv4() == v4)
    }

    /// The server of a trunk that a request of one of its dialogs goes to when nothing says where: the one at this
    /// address, else the first that lives.
    pub(super) fn server_at(&self, trunk: TrunkId, ip: IpAddr) -> Option<&Hop> {
        let servers = self.servers.of(trunk);
        let at = servers.iter().find(|server| server.hop.address.ip() == ip);
        let best = || servers.iter().min_by_key(|server| (!server.up, server.standby, server.rank));
        at.or_else(best).map(|server| &server.hop)
    }

    /// A server was silent, or said that it can't.
    pub(super) fn suspect(&mut self, now: Now, trunk: TrunkId, hop: &Hop, wait: Option<Duration>) {
        let Some(avoid) = self.config.trunks.get(usize::from(trunk.0)).map(|trunk| trunk.avoid) else {
            return;
        };
        // The scout tells all others; this shard knows it at once.
        self.servers.avoid(trunk, hop, now.instant + wait.map_or(avoid, |wait| wait.min(avoid)));
        self.out.push_back(Output::Suspect { trunk, hop: hop.clone(), wait });
    }

    /// Tries the next server of a trunk for a call that nobody has answered yet: the same INVITE with another branch.
    /// False where none is left.
    pub(super) fn fail_over(&mut self, now: Now, key: LegKey, fault: Fault) -> bool {
        let Some(leg) = self.legs.get_mut(key) else { return false };
        let (trunk, phone) = (leg.trunk, leg.phone().is_some());
        let Some(calling) = leg.calling().filter(|_| !phone) else { return false };
        if calling.cancel != Cancel::No || calling.way.heard {
            return false;
        }
        let (hop, old, last) = (calling.way.hop.clone(), calling.invite, calling.way.rest.is_empty());
        match fault {
            Fault::Busy(Some(wait)) => self.suspect(now, trunk, &hop, Some(wait)),
            Fault::Silent if !calling.way.answered => self.suspect(now, trunk, &hop, None),
            _ => {}
        }
        if last {
            return false;
        }
        if let Some(old) = old.filter(|_| fault == Fault::Silent) {
            self.table.abandon(old, Owner::Leg(key, Purpose::Abandoned));
        }
        loop {
            let Some(calling) = self.legs.get_mut(key).and_then(Leg::calling) else { return false };
            let Some(next) = calling.way.rest.pop_front() else { return false };
            (calling.way.hop, calling.invite, calling.tries) = (next, None, 0);
            calling.way.answered = false;
            if self.move_leg(key) && self.send_invite(now, key, true).is_ok() {
                self.counters.failovers += 1;
                return true;
            }
        }
    }

    /// Brings a leg's flow and Contact to the server that its INVITE goes to.
    fn move_leg(&mut self, key: LegKey) -> bool {
        let Some(leg) = self.legs.get_mut(key) else { return false };
        let (realm, trunk) = (leg.flow.realm, leg.trunk);
        let Some(Way { hop, user, .. }) = leg.calling().map(|calling| &calling.way) else { return false };
        let (hop, user) = (hop.clone(), user.clone());
        let Some(flow) = self.reach(realm, &hop, Some(trunk)) else { return false };
        let contact = self.listener(realm).map(|listener| listener.contact(&user, flow.transport, false));
        let (Some(leg), Some(contact)) = (self.legs.get_mut(key), contact) else { return false };
        (leg.flow, leg.contact) = (flow, contact);
        true
    }

    /// How long the server that has a leg's INVITE has for its first response.
    pub(super) fn invite_patience(&self, key: LegKey) -> Duration {
        let Some(leg) = self.legs.get(key) else { return self.config.timers.t1 };
        let Some(trunk) = self.config.trunks.get(usize::from(leg.trunk.0)) else {
            return self.config.timers.t1;
        };
        let hurry = match &leg.state {
            State::Calling(calling) => calling.way.brief || !calling.way.rest.is_empty(),
            _ => false,
        };
        if hurry { trunk.patience.min(trunk.deadline) } else { trunk.deadline }
    }

    /// A response to an INVITE that went on to another server meanwhile. It can be cancelled now; an answer is taken
    /// and ended.
    pub(super) fn on_abandoned_response(
        &mut self,
        now: Now,
        (key, id): (LegKey, ClientId),
        message: &Message<'_>,
        code: u16,
    ) {
        match code {
            100..=199 => {
                let cancelled =
                    message.via().ok().and_then(|via| self.table.find_client(via.branch()?, Method::Cancel));
                if cancelled.is_none() {
                    self.cancel(now, key, id);
                }
            }
            200..=299 => self.on_late_answer(now, (key, id), message),
            _ => {}
        }
    }

    /// What the scout says of a trunk's servers.
    pub(super) fn on_servers(&mut self, now: Now, trunk: TrunkId, servers: Vec<Server>) {
        self.servers.set(trunk, servers);
        self.move_registrations(now, trunk);
    }

    /// Asks a server how it is (RFC 3261 section 11). It may be reached by one hop, so that it answers itself.
    pub(super) fn on_probe(&mut self, now: Now, trunk: TrunkId, hop: &Hop, number: u32) {
        if self.probe(now, trunk, hop, number).is_none() {
            self.out.push_back(Output::Probed { number, code: None });
        }
    }

    fn probe(&mut self, now: Now, trunk_id: TrunkId, hop: &Hop, number: u32) -> Option<ClientId> {
        let config = self.config.clone();
        let trunk = config.trunks.get(usize::from(trunk_id.0))?;
        let listener = self.listener(trunk.realm)?;
        if hop.address.is_ipv4() != listener.advertised.is_ipv4() {
            return None;
        }
        let flow = self.reach(trunk.realm, hop, Some(trunk_id))?;
        let branch = home::branch(self.shard, &mut self.random);
        let uri = format!("sip:{}", trunk.domain);
        let at = listener.sent_by(flow.transport);
        let from = format!("<sip:{at}>;tag={}", home::tag(self.shard, &mut self.random));
        let draft = Draft {
            method: Method::Options,
            uri: &uri,
            transport: flow.transport,
            sent_by: at,
            branch: &branch,
            routes: &[],
            from: &from,
            to: &format!("<{uri}>"),
            call_id: &self.random.token(24),
            cseq: 1,
            hops: 70,
            contact: Some(&format!("<sip:{at}>")),
            authorization: &[],
            headers: &[(Name::Accept, SDP)],
            user_agent: &config.user_agent,
            content: SDP,
            body: None,
        };
        let bytes = draft.write()?;
        self.table.begin(now, flow, (&branch, Method::Options), bytes, Owner::Probe(number), &mut self.out)
    }

    /// The server that has a leg's INVITE said something. What its caller may have heard keeps the call there.
    pub(super) fn on_heard(&mut self, key: LegKey, code: u16) {
        if let Some(calling) = self.legs.get_mut(key).and_then(Leg::calling) {
            calling.way.answered = true;
            calling.way.heard |= (101..=199).contains(&code);
        }
    }
}
