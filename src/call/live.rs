//! The calls that run, to be looked at.

use super::calls::Calls;
use super::state::State;
use crate::base::{CallId, LegId};
use crate::leg::{Party, Source, Target};
use std::time::Duration;

/// Where a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Its media sides and transports are being opened.
    Preparing,
    /// The other party was called and has not answered.
    Ringing,
    /// Both parties talk.
    Talking,
}

impl Stage {
    /// All of them, in order.
    pub const ALL: [Stage; 3] = [Stage::Preparing, Stage::Ringing, Stage::Talking];

    /// Its name. Stable.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Preparing => "preparing",
            Stage::Ringing => "ringing",
            Stage::Talking => "talking",
        }
    }
}

/// A call that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// The call.
    pub call: CallId,
    /// The leg that came in.
    pub incoming: LegId,
    /// The leg that goes out.
    pub outgoing: LegId,
    /// Where it stands.
    pub stage: Stage,
    /// Call-ID, or the browser's own id of the call.
    pub key: String,
    /// Who brought it.
    pub source: Source,
    /// Where it was sent.
    pub target: Target,
    /// Who called.
    pub caller: Party,
    /// Who was called.
    pub callee: Party,
    /// When it came in, since the Unix epoch.
    pub started: Duration,
    /// When it was answered.
    pub answered: Option<Duration>,
}

fn stage(state: &State) -> Option<Stage> {
    Some(match state {
        State::Preparing(_) => Stage::Preparing,
        State::Ringing(_) => Stage::Ringing,
        State::Talking(_) => Stage::Talking,
        State::Over => return None,
    })
}

impl Calls {
    /// The calls that run, `most` at most.
    pub fn live(&self, most: usize) -> Vec<Live> {
        let live = self.slots().filter_map(|call| {
            Some(Live {
                call: call.id,
                incoming: call.incoming.leg,
                outgoing: call.outgoing.leg,
                stage: stage(&call.state)?,
                key: call.facts.key.clone(),
                source: call.facts.source.clone(),
                target: call.facts.target.clone(),
                caller: call.facts.caller.clone(),
                callee: call.facts.callee.clone(),
                started: call.facts.started,
                answered: call.facts.answered,
            })
        });
        live.take(most).collect()
    }

    /// How many calls stand where, in the order of [`Stage::ALL`].
    pub fn stages(&self) -> [usize; 3] {
        let mut counts = [0; 3];
        for stage in self.slots().filter_map(|call| stage(&call.state)) {
            counts[stage as usize] += 1;
        }
        counts
    }
}
