//! What is remembered of a call that is over.

use crate::base::{CallId, LegId};
use crate::leg::{Cause, Party, Source, Target};
use std::time::Duration;

/// The record of one call. Each call that came in gives exactly one, refused ones too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The call; `None` where it was refused before it was one.
    pub call: Option<CallId>,
    /// The leg that came in.
    pub incoming: LegId,
    /// The leg that went out, where it was dialled.
    pub outgoing: Option<LegId>,
    /// Call-ID, or the browser's own id of the call.
    pub key: String,
    /// Who brought it.
    pub source: Source,
    /// Who called.
    pub caller: Party,
    /// Who was called.
    pub callee: Party,
    /// Where it was sent, where a route was found.
    pub target: Option<Target>,
    /// When it came in, since the Unix epoch.
    pub started: Duration,
    /// When it was answered.
    pub answered: Option<Duration>,
    /// When it was over.
    pub ended: Duration,
    /// Why it was over.
    pub cause: Cause,
    /// The SIP code beside it, 0 for an ordinary hang-up.
    pub code: u16,
}

impl Record {
    /// How long it was answered.
    pub fn talked(&self) -> Duration {
        self.answered.map_or(Duration::ZERO, |answered| self.ended.saturating_sub(answered))
    }
}
