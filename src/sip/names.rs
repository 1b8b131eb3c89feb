//! Requests within dialogs whose next hop is a name (RFC 3261 section 8.1.2): located by the scout, for which the first
//! such request waits. Should nobody answer, its retransmission goes where the dialog went before.

use super::leg::LegKey;
use super::transaction::ClientId;
use super::{Flow, Hop, Output, Stack, Target, Transport};
use crate::base::{Map, Now};
use crate::leg::TrunkId;
use std::time::{Duration, Instant};

/// Names that are remembered.
const NAMES: usize = 1024;
/// Messages that wait, and for one name.
const WAITING: usize = 1024;
/// A name is asked for again after so long; the scout knows how long its answer holds.
const FRESH: Duration = Duration::from_secs(30);
/// And after so long where nobody answered.
const PATIENCE: Duration = Duration::from_secs(5);

/// A message that waits for the way to its name.
#[derive(Debug)]
struct Held {
    client: Option<ClientId>,
    trunk: TrunkId,
    /// Where it goes if none is found.
    flow: Flow,
    data: Vec<u8>,
}

#[derive(Debug, Default)]
struct Known {
    hops: Vec<Hop>,
    told: Option<Instant>,
    asked: Option<Instant>,
    held: Vec<Held>,
}

/// What the stack knows of names.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// The moment of the input that is being dealt with.
    now: Option<Now>,
    known: Map<Target, Known>,
    held: usize,
}

impl Names {
    pub fn tick(&mut self, now: Now) {
        self.now = Some(now);
    }
}

/// The way to a name.
pub(super) enum Onward {
    /// By this flow.
    Known(Flow),
    /// It is being asked for: by this flow if nothing comes of it.
    Asked(Flow),
}

impl Stack {
    /// What a leg's next request must know to reach a name. Nothing where its connection stands: that leads there, or as
    /// near as can be (a phone behind NAT, or in a browser, names hosts that nobody can find).
    pub(super) fn seeks(&self, key: LegKey, target: Option<Target>) -> Option<Target> {
        let leg = self.legs.get(key).filter(|leg| leg.phone().is_none())?;
        let flow = leg.flow;
        let web = matches!(flow.transport, Transport::Ws | Transport::Wss);
        let stands = flow.transport.is_stream() && self.links.is_live(&flow);
        let target = target.filter(|_| !web && !stands)?;
        Some(Target { transport: target.transport.or(Some(flow.transport)), ..target })
    }

    /// The way of a leg's next request to a name.
    pub(super) fn toward(&mut self, key: LegKey, target: &Target) -> Option<Onward> {
        let leg = self.legs.get(key)?;
        let (flow, trunk) = (leg.flow, leg.trunk);
        let now = self.names.now?;
        // The trunk's own name: it is where the dialog's INVITE went.
        let config = self.config.clone();
        let own = config.trunks.get(usize::from(trunk.0))?.entries.iter();
        if own.clone().any(|entry| entry.target.host == target.host && entry.target.port == target.port) {
            return Some(Onward::Known(flow));
        }
        if !self.names.known.contains_key(target) && self.names.known.len() >= NAMES {
            self.names.known.retain(|_, known| {
                !known.held.is_empty() || known.told.is_some_and(|at| now.instant < at + FRESH)
            });
            if self.names.known.len() >= NAMES {
                self.counters.full_names += 1;
                return Some(Onward::Known(flow));
            }
        }
        let known = self.names.known.entry(target.clone()).or_default();
        let fresh = known.told.is_some_and(|at| now.instant < at + FRESH);
        let waits = known.asked.is_some_and(|at| now.instant < at + PATIENCE);
        if !fresh && !waits {
            known.asked = Some(now.instant);
            self.out.push_back(Output::Locate(target.clone()));
        }
        let known = self.names.known.get(target)?;
        if known.told.is_none() {
            return Some(if known.asked == Some(now.instant) || waits {
                Onward::Asked(flow)
            } else {
                Onward::Known(flow)
            });
        }
        let hops = known.hops.clone();
        Some(Onward::Known(self.choose(&flow, trunk, &hops)))
    }

    /// The flow to the best of these hops that this leg's socket reaches; else the one that it has.
    fn choose(&mut self, flow: &Flow, trunk: TrunkId, hops: &[Hop]) -> Flow {
        let live = self.links.is_live(flow);
        let fits =
            |hop: &&Hop| hop.transport == flow.transport && hop.address.is_ipv4() == flow.remote.is_ipv4();
        if live && hops.iter().filter(fits).any(|hop| hop.address == flow.remote) {
            return *flow;
        }
        let hop = hops.iter().find(fits).cloned();
        hop.and_then(|hop| self.reach(flow.realm, &hop, Some(trunk))).unwrap_or(*flow)
    }

    /// Takes back the message that was just sent, until the way to its name is known.
    pub(super) fn hold(&mut self, target: &Target, client: Option<ClientId>, trunk: TrunkId) {
        if self.names.held >= WAITING {
            self.counters.full_names += 1;
            return;
        }
        let Some(known) = self.names.known.get_mut(target) else { return };
        match self.out.pop_back() {
            Some(Output::Send { flow, data }) => {
                known.held.push(Held { client, trunk, flow, data });
                self.names.held += 1;
            }
            Some(other) => self.out.push_back(other),
            None => {}
        }
    }

    /// The scout has an answer.
    pub(super) fn on_located(&mut self, now: Now, target: &Target, hops: &[Hop]) {
        let Some(known) = self.names.known.get_mut(target) else { return };
        // Nothing found is no reason to forget where it was.
        if !hops.is_empty() || known.told.is_none() {
            known.hops = hops.to_vec();
        }
        known.told = Some(now.instant);
        let (held, hops) = (std::mem::take(&mut known.held), known.hops.clone());
        self.names.held -= held.len();
        self.counters.lost_names += u64::from(hops.is_empty());
        for Held { client, trunk, flow, data } in held {
            let to = self.choose(&flow, trunk, &hops);
            if let Some(client) = client {
                self.table.redirect(client, &flow, to);
            }
            self.out.push_back(Output::Send { flow: to, data });
        }
    }
}
