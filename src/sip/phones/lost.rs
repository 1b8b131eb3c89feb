//! Flows that are kept alive, and what happens where one is lost (RFC 5626 section 5.3).

use super::super::leg::{LegKey, State as LegState};
use super::super::{Flow, Output, Stack};
use super::table::{PhoneKey, State};
use crate::base::Now;
use crate::leg::{Cause, Reason};

/// What NATs remember a flow by (RFC 5626 section 3.5.1), and what a phone that reads it ignores.
const KEEPALIVE: &[u8] = b"\r\n\r\n";
/// Flow Failed (RFC 5626 section 11.5): the server tries the user's other contacts, and may forget this one.
pub(in crate::sip) const FLOW_FAILED: Reason = Reason { cause: Cause::Unreachable, code: 430, q850: 0 };

impl Stack {
    /// Phones that are, or were a moment ago, registered through us.
    pub fn phones(&self) -> usize {
        self.phones.len()
    }

    /// Whether a phone is registered by this flow.
    pub(in crate::sip) fn is_phone(&self, flow: &Flow) -> bool {
        self.phones.on_flow(flow).next().is_some()
    }

    /// A phone is due: to be reminded of, to be given up, or to be forgotten.
    pub(in crate::sip) fn on_phone_due(&mut self, now: Now, key: PhoneKey) {
        let config = self.config.clone();
        let (Some(binding), Some(phones)) = (self.phones.get(key), &config.phones) else { return };
        let (state, flow, lapse) = (binding.state, binding.flow, binding.lapse);
        if state == State::Lost || binding.until <= now.instant {
            return self.phones.remove(key);
        }
        if lapse <= now.instant {
            return self.lose(now, key);
        }
        self.out.push_back(Output::Send { flow, data: KEEPALIVE.to_vec() });
        self.phones.arm(key, Some(lapse.min(now.instant + phones.keepalive)));
    }

    /// A flow is gone, and with it the way to its phones.
    pub(in crate::sip) fn on_flow_lost(&mut self, now: Now, flow: &Flow) {
        let keys: Vec<_> = self.phones.on_flow(flow).map(|(key, _)| key).collect();
        for key in keys {
            self.lose(now, key);
        }
    }

    /// A phone can't be reached any more. The server is told, by REGISTER where we may, else by 430 to what it sends.
    pub(in crate::sip) fn lose(&mut self, now: Now, key: PhoneKey) {
        self.counters.phones_lost += 1;
        self.phones.leave_flow(key);
        let Some(binding) = self.phones.get_mut(key) else { return };
        binding.state = State::Lost;
        let until = binding.until;
        self.phones.arm(key, Some(until));
        self.leave(now, key);
    }

    /// A phone came back by another flow: so do its calls.
    pub(super) fn follow(&mut self, phone: PhoneKey, flow: Flow) {
        let legs: Vec<LegKey> = self
            .legs
            .iter()
            .filter(|(_, leg)| leg.line.as_ref().is_some_and(|line| line.phone == Some(phone)))
            .filter(|(_, leg)| !matches!(leg.state, LegState::Over))
            .map(|(key, _)| key)
            .collect();
        for key in legs {
            if let Some(leg) = self.legs.get_mut(key) {
                leg.flow = flow;
            }
        }
    }
}
