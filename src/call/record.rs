//! What is remembered of a call that is over.

use crate::base::redact::User;
use crate::base::{CallId, LegId};
use crate::leg::{Cause, Party, Quality, SessionId, Source, Target};
use std::fmt;
use std::time::Duration;

/// The record of one call. Each call that came in gives exactly one, refused ones too.
#[derive(Clone, Debug, PartialEq)]
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
    /// The Q.850 cause: what a telephone network said, else what says it best (RFC 3398).
    pub q850: u8,
    /// Both parties' halves of `Session-ID` (RFC 7989): the caller's first.
    pub sessions: [Option<SessionId>; 2],
    /// How the media of the incoming and of the outgoing leg went: filled in by the shard, where there was any.
    pub quality: [Option<Box<Quality>>; 2],
}

impl Record {
    /// How long it was answered.
    pub fn talked(&self) -> Duration {
        self.answered.map_or(Duration::ZERO, |answered| self.ended.saturating_sub(answered))
    }
}

impl fmt::Display for Record {
    /// One log line; names and numbers are redacted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.call {
            Some(call) => write!(f, "call={call:?}")?,
            None => f.write_str("call=none")?,
        }
        write!(f, " in={:?}", self.incoming)?;
        if let Some(outgoing) = self.outgoing {
            write!(f, " out={outgoing:?}")?;
        }
        write!(f, " key={}", User(&self.key))?;
        match &self.source {
            Source::Trunk(trunk) => write!(f, " source=trunk{}", trunk.0)?,
            Source::Account(account) => write!(f, " source={}", User(account.name()))?,
            Source::Phone(phone) => write!(f, " source=phone{:x}", phone.id)?,
        }
        write!(f, " from={} to={}", User(&self.caller.user), User(&self.callee.user))?;
        match &self.target {
            Some(Target::Trunk(trunk)) => write!(f, " target=trunk{}", trunk.0)?,
            Some(Target::Account(account)) => write!(f, " target={}", User(account.name()))?,
            Some(Target::Phone(phone)) => write!(f, " target=phone{:x}", phone.id)?,
            None => {}
        }
        let waited = self.answered.unwrap_or(self.ended).saturating_sub(self.started);
        write!(f, " waited_ms={}", waited.as_millis())?;
        if self.answered.is_some() {
            write!(f, " talked_ms={}", self.talked().as_millis())?;
        }
        write!(f, " cause={} code={}", self.cause.name(), self.code)?;
        for (name, session) in ["session", "remote_session"].into_iter().zip(self.sessions) {
            if let Some(session) = session {
                write!(f, " {name}={session}")?;
            }
        }
        for (side, quality) in ["in", "out"].into_iter().zip(&self.quality) {
            let Some(q) = quality.as_deref().filter(|q| q.packets_received + q.packets_sent > 0) else {
                continue;
            };
            write!(f, " {side}_codec={} {side}_packets={}/{}", q.codec, q.packets_received, q.packets_sent)?;
            write!(f, " {side}_lost={}/{}", q.lost, q.remote_lost)?;
            write!(f, " {side}_jitter_ms={}/{}", q.jitter.as_millis(), q.remote_jitter.as_millis())?;
            if let Some(trip) = q.round_trip {
                write!(f, " {side}_rtt_ms={}", trip.as_millis())?;
            }
            for (way, mos) in [("received", q.mos_received), ("sent", q.mos_sent)] {
                if mos > 0 {
                    write!(f, " {side}_mos_{way}={}.{:02}", mos / 100, mos % 100)?;
                }
            }
        }
        Ok(())
    }
}
