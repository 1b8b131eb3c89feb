//! Which notable states were reached: a run that misses one proves less than it seems to.

use std::collections::BTreeMap;

/// Every state that a run over all seeds must reach.
pub const ALL: &[&str] = &[
    "answered",
    "browser_gone_mid_call",
    "browser_hold",
    "browser_to_browser",
    "busy",
    "bye_crossing",
    "cancel",
    "cancel_race",
    "connection_reset",
    "decline",
    "delayed_offer",
    "drain",
    "drain_deadline",
    "dtls_packet_lost",
    "early_media",
    "fork_late_answer_ended",
    "forked_2xx",
    "full_mailbox",
    "glare_491",
    "hold",
    "ice_path_change",
    "ice_restart",
    "invite_challenged",
    "lost_2xx_recovered",
    "lost_ack_recovered",
    "malformed_sip",
    "prack_from_gateway",
    "prack_to_gateway",
    "register_challenged",
    "rollover_edge_to_browser",
    "rollover_edge_from_browser",
    "rollover_edge_to_phone",
    "second_tab_other_shard",
    "session_refreshed",
    "silent_trunk_deadline",
    "sip_to_browser",
    "sip_to_sip",
    "browser_to_sip",
    "unregistered",
    "wrong_shard_cancel",
    "wrong_shard_in_dialog",
    "wrong_shard_invite",
    "wrong_shard_invite_again",
    "wrong_shard_invite_after_refusal",
    "wrong_shard_response",
    "wrong_shard_response_after_challenge",
];

/// How often each was reached.
#[derive(Clone, Debug, Default)]
pub struct States(BTreeMap<&'static str, u64>);

impl States {
    pub fn reach(&mut self, state: &'static str) {
        debug_assert!(ALL.contains(&state), "{state} is not listed");
        *self.0.entry(state).or_default() += 1;
    }

    pub fn count(&self, state: &str) -> u64 {
        self.0.get(state).copied().unwrap_or(0)
    }

    pub fn add(&mut self, other: &States) {
        for (state, count) in &other.0 {
            *self.0.entry(state).or_default() += count;
        }
    }

    pub fn missed(&self) -> Vec<&'static str> {
        ALL.iter().filter(|state| self.count(state) == 0).copied().collect()
    }
}

impl std::fmt::Display for States {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        ALL.iter().try_for_each(|state| writeln!(f, "{:>8} {state}", self.count(state)))
    }
}
