//! All calls to numbers of ours.

use super::call::{Act, Call, key};
use super::numbers::Kind;
use super::{Config, Counters, Output};
use crate::base::{CallId, Map, Now, Random, ShardId, Slab, Wheel};
use sip_codec::Message;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The table of calls.
pub struct Phone {
    calls: Slab<CallId, Call>,
    keys: Map<(String, String), CallId>,
    wheel: Wheel<CallId>,
}

/// What the phone may touch of its server.
pub struct Context<'a> {
    pub now: Now,
    pub config: &'a Config,
    pub counters: &'a mut Counters,
    pub outbox: &'a mut VecDeque<Output>,
    pub random: &'a mut Random,
}

impl Phone {
    /// An empty table.
    pub fn new(cap: usize) -> Phone {
        Phone { calls: Slab::new(ShardId(0), cap), keys: Map::default(), wheel: Wheel::default() }
    }

    /// How many calls there are.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// The call that a request from its caller belongs to.
    pub fn find(&self, request: &Message<'_>) -> Option<CallId> {
        self.keys.get(&key(request)?).copied()
    }

    /// Whether the request's To tag is the one that we gave this call.
    pub fn is_within(&self, id: CallId, request: &Message<'_>) -> bool {
        let tag = request.to().ok().and_then(|to| to.tag());
        self.calls.get(id).is_some_and(|call| tag == Some(&call.tag))
    }

    /// Begins a call; false where there is no room for it.
    pub fn begin(
        &mut self,
        ctx: &mut Context<'_>,
        kind: Kind,
        invite: &Message<'_>,
        bytes: &[u8],
        source: SocketAddr,
    ) -> bool {
        let call = Call::new(ctx.now, ctx.config, ctx.random, kind, invite, bytes, source);
        let Some(call) = call else { return false };
        let key = call.key.clone();
        let Ok(id) = self.calls.insert(call) else { return false };
        self.keys.insert(key, id);
        ctx.outbox.push_back(Output::Open { call: id });
        self.arm(ctx, id);
        true
    }

    /// Lets a call act, carries out what it wants, and arms its timer.
    pub fn with(&mut self, ctx: &mut Context<'_>, id: CallId, act: impl FnOnce(&mut Call) -> Vec<Act>) {
        let Some(call) = self.calls.get_mut(id) else { return };
        let acts = act(call);
        self.carry_out(ctx, id, acts);
        self.arm(ctx, id);
    }

    /// A packet on a call's socket.
    pub fn on_rtp(&mut self, ctx: &mut Context<'_>, id: CallId, from: SocketAddr, data: &[u8]) {
        let Some(call) = self.calls.get_mut(id) else { return };
        match call.on_rtp(ctx.now, from, data) {
            Ok(None) => {}
            Ok(Some(act)) => {
                ctx.counters.echoed += 1;
                self.carry_out(ctx, id, vec![act]);
            }
            Err(()) => ctx.counters.rtp_dropped += 1,
        }
    }

    /// A response to a BYE of ours: its tags are the other way round.
    pub fn on_response(&mut self, ctx: &mut Context<'_>, response: &Message<'_>) -> bool {
        let tag = response.to().ok().and_then(|to| to.tag()).unwrap_or_default();
        let key = (response.call_id().unwrap_or_default().to_owned(), tag.to_owned());
        let Some(&id) = self.keys.get(&key) else { return false };
        let ended = self.calls.get(id).is_some_and(|call| call.is_ended_by(response));
        if ended {
            self.forget(ctx, id);
        }
        ended
    }

    fn carry_out(&mut self, ctx: &mut Context<'_>, id: CallId, acts: Vec<Act>) {
        for act in acts {
            match act {
                Act::Sip(to, data) => ctx.outbox.push_back(Output::Sip { to, data }),
                Act::Rtp(to, data) => ctx.outbox.push_back(Output::Rtp { call: id, to, data }),
                Act::Over => self.forget(ctx, id),
            }
        }
    }

    /// Forgets a call and gives its socket back.
    pub fn forget(&mut self, ctx: &mut Context<'_>, id: CallId) {
        let Some(call) = self.calls.remove(id) else { return };
        self.keys.remove(&call.key);
        if let Some((_, timer)) = call.timer {
            self.wheel.cancel(timer);
        }
        ctx.outbox.push_back(Output::Close { call: id });
    }

    fn arm(&mut self, ctx: &Context<'_>, id: CallId) {
        let Some(call) = self.calls.get_mut(id) else { return };
        let at = call.deadline(ctx.config).max(ctx.now.instant + Duration::from_millis(1));
        match call.timer {
            Some((armed, _)) if armed == at => return,
            Some((_, timer)) => drop(self.wheel.cancel(timer)),
            None => {}
        }
        call.timer = Some((at, self.wheel.insert(at, id)));
    }

    /// Lets every call act whose deadline has passed.
    pub fn handle_timeout(&mut self, ctx: &mut Context<'_>) {
        while let Some(id) = self.wheel.expire(ctx.now.instant) {
            let Some(call) = self.calls.get_mut(id) else { continue };
            call.timer = None;
            let was_ending = call.is_ending();
            let (acts, repeated) = call.on_timeout(ctx.now, id, ctx.config, ctx.random);
            ctx.counters.repeated += u64::from(repeated);
            ctx.counters.ended += u64::from(call.is_ending() && !was_ending);
            ctx.counters.played += acts.iter().filter(|act| matches!(act, Act::Rtp(..))).count() as u64;
            self.carry_out(ctx, id, acts);
            self.arm(ctx, id);
        }
    }

    /// The soonest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.wheel.next()
    }

    /// Panics where the table contradicts itself.
    pub fn check(&self) {
        assert_eq!(self.keys.len(), self.calls.len());
        assert_eq!(self.wheel.len(), self.calls.len(), "each call has one timer");
        for (id, call) in self.calls.iter() {
            assert_eq!(self.keys.get(&call.key), Some(&id));
        }
    }
}
