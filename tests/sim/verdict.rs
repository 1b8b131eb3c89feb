//! What must hold when all is over.

use crate::browser;
use crate::media::EVERY_MS;
use crate::phone;
use crate::scenario::{Party, Planned, Step};
use crate::script::Then;
use crate::world::World;
use std::collections::BTreeSet;
use std::time::Duration;

/// From the answer on, a call of so long must have been heard at both ends, whatever the network lost.
const HEARD_AFTER: Duration = Duration::from_secs(8);

/// What a party knows of its call.
#[derive(Clone, Debug, Default)]
struct Outcome {
    answered: bool,
    /// SIP code of a refusal.
    code: u64,
    reason: String,
    heard: u32,
    /// It gave up, died, or lost its connection: it doesn't know.
    aside: bool,
    /// Its own change may have silenced it.
    held: bool,
    talked: Duration,
}

impl World {
    /// Hangs up, closes all pages, waits until every timer has run out, and looks whether anything is left.
    pub fn finish(&mut self) {
        self.step(Step::HangUpAll);
        self.run(Duration::from_secs(45));
        self.step(Step::HangUpAll);
        self.run(Duration::from_secs(40));
        for page in 0..self.pages.len() {
            self.step(Step::Close { page });
        }
        self.run(Duration::from_secs(100));
        self.check_empty();
        self.check_ends();
        self.check_records();
        for planned in std::mem::take(&mut self.planned) {
            self.check_call(&planned);
        }
        self.note_states();
    }

    fn check_empty(&self) {
        let net = &self.net;
        for shard in 0..self.gateway.shards() {
            let core = self.gateway.core(shard);
            let left = [
                ("calls", core.calls()),
                ("dialogs", core.stack().dialogs()),
                ("client transactions", core.stack().transactions().0),
                ("server transactions", core.stack().transactions().1),
                ("registrations", core.stack().registered()),
                ("media legs", core.plane().len()),
                ("connections", core.connections()),
                ("peers", core.peers().len()),
                ("sessions", core.hub().sessions()),
                ("browser legs", core.hub().calls()),
            ];
            for (what, count) in left {
                net.check(count == 0, || format!("shard {shard} has {count} {what} left"));
            }
        }
        net.check(self.gateway.live() == 0, || "a connection is left".to_owned());
        // The ports that stand ready, four pairs a shard, and the pair that calls share.
        let stock = 10 * self.gateway.shards();
        net.check(self.gateway.sockets() <= stock, || format!("{} sockets are open", self.gateway.sockets()));
    }

    /// Every party knows that its call is over, and a page was told exactly once.
    fn check_ends(&self) {
        let net = &self.net;
        for phone in &self.phones {
            for leg in &phone.legs {
                net.check(leg.is_over(), || {
                    format!("call {}: {} is {:?}", leg.script.call, phone.name, leg.state)
                });
            }
        }
        for page in &self.pages {
            for call in &page.calls {
                let told = call.ended == 1 || (call.lost && call.ended == 0);
                net.check(told && call.is_over(), || {
                    format!(
                        "call {}: page {} heard of its end {} times",
                        call.script.call, page.number, call.ended
                    )
                });
            }
        }
    }

    /// Each call that came in has one record.
    fn check_records(&self) {
        let incoming: BTreeSet<_> = self.gateway.records.iter().map(|record| record.incoming).collect();
        let net = &self.net;
        net.check(incoming.len() == self.gateway.records.len(), || "two records of one call".to_owned());
        for phone in &self.phones {
            for leg in phone.legs.iter().filter(|leg| leg.outbound && leg.answered) {
                let records = self.gateway.records.iter().filter(|record| record.key == leg.call_id);
                let answered = records.filter(|record| record.answered.is_some()).count();
                net.check(answered == 1, || format!("call {}: {answered} records", leg.script.call));
            }
        }
    }

    fn outcomes(&self, call: u32, outgoing: bool) -> Vec<Outcome> {
        let legs = self.phones.iter().flat_map(|phone| &phone.legs);
        let legs = legs.filter(|leg| leg.script.call == call && leg.outbound == outgoing).map(of_leg);
        let calls = self.pages.iter().flat_map(|page| &page.calls);
        let calls = calls.filter(|own| own.script.call == call && own.outgoing == outgoing).map(of_call);
        legs.chain(calls).collect()
    }

    /// Both ends of a call tell the same story.
    fn check_call(&mut self, planned: &Planned) {
        let call = planned.caller_script.call;
        let callers = self.outcomes(call, true);
        let callees = self.outcomes(call, false);
        let Some(caller) = callers.first() else { return };
        let net = &mut self.net;
        let answered = callees.iter().any(|callee| callee.answered);
        net.check(!caller.answered || answered, || format!("call {call}: answered by nobody"));
        let undisturbed = !caller.aside && !self.gateway.is_draining();
        let steady = callees.iter().all(|callee| !callee.aside);
        let refused = caller.code >= 300;
        match planned.callee_script.then {
            Then::Refuse(_, code) if undisturbed && steady && !callees.is_empty() && !net.faulty => {
                // RFC 3261 section 16.7: their 503 says nothing of us.
                let mapped =
                    if code == 503 && matches!(planned.caller, Party::Phone(_)) { 500 } else { code };
                net.check(caller.code == u64::from(mapped), || {
                    format!("call {call}: refused by {code}, and the caller hears {caller:?}")
                });
            }
            Then::Silent if undisturbed && !net.faulty => {
                let unreachable = caller.reason == "unreachable" || matches!(caller.code, 408 | 500 | 504);
                net.check(unreachable, || {
                    format!("call {call}: nobody is there, and the caller hears {caller:?}")
                });
                net.states.reach("silent_trunk_deadline");
            }
            Then::Answer(_) if undisturbed && steady && !net.faulty => {
                let user = matches!(planned.callee, Party::User(_));
                net.check(caller.answered || user, || format!("call {call}: the caller hears {caller:?}"));
            }
            _ => {}
        }
        if refused && matches!(planned.callee_script.then, Then::Refuse(_, 486)) && caller.code == 486 {
            net.states.reach("busy");
        }
        if refused && matches!(planned.callee_script.then, Then::Refuse(_, 603)) && caller.code == 603 {
            net.states.reach("decline");
        }
        let [callee] = &callees[..] else { return };
        let talked = caller.talked.min(callee.talked);
        let long = talked > HEARD_AFTER && !caller.held && !callee.held;
        let heard = caller.heard > 0 && callee.heard > 0;
        let least = talked.saturating_sub(HEARD_AFTER).as_millis() as u32 / EVERY_MS as u32 / 2;
        net.check(!long || caller.heard.min(callee.heard) > least, || {
            format!("call {call}: unheard: {caller:?} {callee:?}")
        });
        if heard && caller.answered {
            net.states.reach(match (planned.caller, planned.callee) {
                (Party::Page(_), Party::Phone(_)) => "browser_to_sip",
                (Party::Page(_), _) => "browser_to_browser",
                (_, Party::User(_)) => "sip_to_browser",
                _ => "sip_to_sip",
            });
            if planned.caller_script.delayed {
                net.states.reach("delayed_offer");
            }
        }
    }

    fn note_states(&mut self) {
        if self.gateway.counter("call", "drained") > 0 {
            self.net.states.reach("drain_deadline");
        }
        let homes = self
            .gateway
            .connections
            .iter()
            .map(|connection| (self.pages[connection.browser].user.clone(), connection.shard));
        let mut shards = std::collections::BTreeMap::<String, BTreeSet<usize>>::new();
        homes.for_each(|(user, shard)| {
            shards.entry(user).or_default().insert(shard);
        });
        if shards.values().any(|shards| shards.len() > 1) && self.gateway.counter("signal", "moved") > 0 {
            self.net.states.reach("second_tab_other_shard");
        }
    }
}

fn of_leg(leg: &phone::Leg) -> Outcome {
    let talked = leg.up_at.zip(leg.over_at).filter(|_| leg.answered).map(|(up, over)| over - up);
    Outcome {
        answered: leg.answered && (leg.outbound || leg.confirmed),
        code: u64::from(leg.code),
        reason: String::new(),
        heard: leg.media.heard,
        aside: leg.cancelling,
        held: leg.script.hold.is_some() || leg.script.delayed,
        talked: talked.unwrap_or_default(),
    }
}

fn of_call(call: &browser::Call) -> Outcome {
    let up = call.up_at.zip(call.over_at);
    Outcome {
        answered: call.answered,
        code: if call.answered { 200 } else { call.code },
        reason: call.reason.clone(),
        heard: call.heard,
        aside: call.lost || (call.hung_up && !call.answered),
        held: call.script.hold.is_some(),
        talked: up.filter(|_| !call.lost).map(|(up, over)| over - up).unwrap_or_default(),
    }
}
