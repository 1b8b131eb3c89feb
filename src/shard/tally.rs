//! What the operator's figures need and no machine counts: how calls ended, and how the trunks last behaved.

use crate::base::Now;
use crate::call::Record;
use crate::leg::{Cause, Reason, Target, TrunkId};
use std::time::Duration;

/// How a trunk last behaved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrunkState {
    /// Whether it answered when it was last asked; `None`: it never was.
    pub up: Option<bool>,
    /// When that was, since the Unix epoch.
    pub at: Duration,
    /// Calls that went to it and ended.
    pub calls: u64,
    /// Those among them that it did not answer at all.
    pub unreachable: u64,
}

/// One shard's.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) ended: Vec<(&'static str, u64)>,
    pub(super) trunks: Vec<TrunkState>,
    /// Milliseconds that ended calls were answered.
    pub(super) talked_ms: u64,
}

impl Tally {
    pub(super) fn new(trunks: usize) -> Tally {
        Tally { trunks: vec![TrunkState::default(); trunks], ..Tally::default() }
    }

    /// A call is over.
    pub(super) fn end(&mut self, now: Now, record: &Record) {
        let name = record.cause.name();
        match self.ended.iter_mut().find(|(cause, _)| *cause == name) {
            Some((_, count)) => *count += 1,
            None => self.ended.push((name, 1)),
        }
        self.talked_ms += record.talked().as_millis() as u64;
        // A call that never went out says nothing of the trunk.
        if let (Some(Target::Trunk(trunk)), Some(_)) = (&record.target, record.outgoing) {
            let silent = record.answered.is_none() && record.cause == Cause::Unreachable;
            let gave_up = record.answered.is_none() && record.cause == Cause::Cancelled;
            if let Some(state) = self.trunks.get_mut(usize::from(trunk.0)) {
                state.calls += 1;
                state.unreachable += u64::from(silent);
            }
            if !gave_up {
                self.hear(now, *trunk, !silent);
            }
        }
    }

    /// A registration went well or not.
    pub(super) fn registered(&mut self, now: Now, trunk: TrunkId, state: Result<(), Reason>) {
        self.hear(now, trunk, !matches!(state, Err(Reason { cause: Cause::Unreachable, .. })));
    }

    fn hear(&mut self, now: Now, trunk: TrunkId, up: bool) {
        if let Some(state) = self.trunks.get_mut(usize::from(trunk.0)) {
            (state.up, state.at) = (Some(up), now.unix);
        }
    }
}
