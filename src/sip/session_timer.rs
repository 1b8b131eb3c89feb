//! Session timers (RFC 4028), in both roles: who asks for one, who refreshes, and what becomes of a session that nobody
//! refreshed.

use super::config::{Refreshes, SessionPolicy};
use super::leg::{Change, LegKey, State, Tick};
use super::transaction::ClientId;
use super::write::ALLOW;
use super::{Flow, Stack, fate};
use crate::base::Now;
use crate::leg::{Cause, Reason};
use sip_codec::{Message, Name, Refresher, SessionExpires};
use std::time::{Duration, Instant};

/// Section 5: the least that anybody may ask for, in seconds.
pub(super) const LEAST: u32 = 90;
/// How often one refresh is sent again after a challenge, a 422 or a refused UPDATE.
const TRIES: u8 = 4;

/// The session timer of a leg.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// Seconds that a session lives without a refresh; 0 where there is no timer.
    pub interval: u32,
    /// The least that the far side and its proxies take, in seconds; 0 where nothing was said.
    pub min: u32,
    /// We refresh.
    pub ours: bool,
    /// We hang up then.
    pub end: Option<Instant>,
    /// Our UPDATE that refreshes.
    pub client: Option<ClientId>,
    pub tries: u8,
    /// Our description that stands, where a re-INVITE must repeat it.
    pub standing: Option<Box<[u8]>>,
}

impl Clock {
    /// What our 2xx says where a request that changes a session says nothing of the timer that it has: it goes on, lest
    /// nobody refresh it.
    pub fn keep(&self, asked: Asked) -> Option<(u32, Refresher)> {
        let silent = self.interval > 0 && asked.expires == 0;
        let theirs = !self.ours && asked.able;
        silent.then_some((self.interval, if theirs { Refresher::Uac } else { Refresher::Uas }))
    }
}

/// What a request of theirs asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Asked {
    /// Session-Expires in seconds; 0 where it says nothing.
    pub expires: u32,
    /// Min-SE in seconds; 0 where it says nothing.
    pub min: u32,
    pub refresher: Option<Refresher>,
    /// The sender knows session timers; else a proxy put the header in.
    pub able: bool,
}

impl Asked {
    /// Reads it. `Err`: less than `least` seconds, from one who understands the refusal (section 9).
    pub fn read(message: &Message<'_>, least: u32) -> Result<Asked, ()> {
        let able = message.has_token(Name::Supported, "timer") || message.has_token(Name::Require, "timer");
        let asked = message.header(Name::SessionExpires).and_then(|value| SessionExpires::parse(value).ok());
        let min = message.header(Name::MinSe).and_then(|value| SessionExpires::parse(value).ok());
        let min = min.map_or(0, |min| min.seconds);
        let Some(SessionExpires { seconds, refresher }) = asked else {
            return Ok(Asked { min, able, ..Asked::default() });
        };
        if able && seconds < least.max(LEAST) {
            return Err(());
        }
        Ok(Asked { expires: seconds.max(LEAST), min, refresher: refresher.filter(|_| able), able })
    }

    /// What our 2xx says: the interval in seconds, and who refreshes (section 9, table 2). `None`: no timer.
    pub fn meet(&self, policy: &SessionPolicy) -> Option<(u32, Refresher)> {
        let own = policy.expires.as_secs().min(u64::from(u32::MAX)) as u32;
        let least = self.min.max(policy.min.as_secs() as u32).max(LEAST);
        let interval = match (self.expires, own) {
            (0, 0) => return None,
            // Nobody asked, and nobody but us would refresh.
            (0, _) if !self.able && policy.refresher != Refreshes::Us => return None,
            (0, own) => own.max(least),
            (theirs, 0) => theirs,
            // It may be made shorter, never longer.
            (theirs, own) => theirs.min(own.max(least)),
        };
        let refresher = match (self.able, self.refresher, policy.refresher) {
            (false, ..) => Refresher::Uas,
            (_, Some(said), _) => said,
            (_, _, Refreshes::Us) => Refresher::Uas,
            (_, _, Refreshes::Them) => Refresher::Uac,
            // Who asks for it has it; where nobody did we do the work.
            _ if self.expires > 0 => Refresher::Uac,
            _ => Refresher::Uas,
        };
        Some((interval, refresher))
    }
}

/// Somewhat before the end (section 10).
fn margin(interval: u32) -> Duration {
    Duration::from_secs(u64::from(interval - (interval / 3).min(32)))
}

impl Stack {
    pub(super) fn policy(&self, key: LegKey) -> SessionPolicy {
        let trunk = self.legs.get(key).and_then(|leg| self.config.trunks.get(usize::from(leg.trunk.0)));
        trunk.map(|trunk| trunk.session).unwrap_or_default()
    }

    /// The least interval that we take of a leg's far side, in seconds.
    pub(super) fn least(&self, key: LegKey) -> u32 {
        (self.policy(key).min.as_secs() as u32).max(LEAST)
    }

    /// What a request of ours that begins or refreshes a session says of its timer.
    pub(super) fn timer_headers(&self, key: LegKey) -> Vec<(Name<'static>, String)> {
        let (policy, mut headers) = (self.policy(key), Vec::new());
        let Some(leg) = self.legs.get(key) else { return headers };
        let clock = &leg.clock;
        let (seconds, refresher) = match (&leg.state, clock.interval) {
            (State::Calling(_), _) => {
                let refresher = match policy.refresher {
                    Refreshes::Auto => None,
                    Refreshes::Us => Some(Refresher::Uac),
                    Refreshes::Them => Some(Refresher::Uas),
                };
                (policy.expires.as_secs().min(u64::from(u32::MAX)) as u32, refresher)
            }
            // Whoever refreshes goes on to do so (section 7.4).
            (_, interval) => (interval, Some(if clock.ours { Refresher::Uac } else { Refresher::Uas })),
        };
        if seconds == 0 {
            return headers;
        }
        let least = clock.min.max(policy.min.as_secs() as u32);
        let seconds = seconds.max(least).max(LEAST);
        headers.push((Name::SessionExpires, SessionExpires { seconds, refresher }.to_string()));
        if least > LEAST {
            headers.push((Name::MinSe, least.to_string()));
        }
        headers
    }

    /// Headers of a request that may change or refresh an established session.
    pub(super) fn refresh_headers(&self, key: LegKey) -> Vec<(Name<'static>, String)> {
        let trunk = self.legs.get(key).map(|leg| leg.trunk);
        let mut headers = vec![(Name::Allow, ALLOW.to_owned()), (Name::Supported, self.supported(trunk))];
        headers.extend(self.timer_headers(key));
        headers
    }

    /// A 2xx to such a request: what it says of the timer stands from now on.
    pub(super) fn hear_timer(&mut self, now: Now, key: LegKey, message: &Message<'_>) {
        let policy = self.policy(key);
        let Some(leg) = self.legs.get_mut(key) else { return };
        leg.able.learn(message);
        let said = message.header(Name::SessionExpires).and_then(|value| SessionExpires::parse(value).ok());
        let (interval, ours) = match said {
            Some(said) => (said.seconds.max(LEAST), said.refresher != Some(Refresher::Uas)),
            // Nobody beyond knows of timers: a session may still be looked after by us alone (section 7.2).
            None if policy.refresher == Refreshes::Us && policy.expires > Duration::ZERO => {
                (policy.expires.as_secs() as u32, true)
            }
            None => (0, false),
        };
        self.start_clock(now, key, interval, ours);
    }

    /// Begins, or begins anew, a session's interval.
    pub(super) fn start_clock(&mut self, now: Now, key: LegKey, interval: u32, ours: bool) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        let clock = &mut leg.clock;
        (clock.interval, clock.ours, clock.tries) = (interval, ours, 0);
        if interval == 0 {
            (clock.end, clock.standing) = (None, None);
            return self.disarm(key, Tick::Session);
        }
        let last = margin(interval);
        clock.end = Some(now.instant + last);
        // Half of it leaves time for another try (section 10).
        let next = if ours { Duration::from_secs(u64::from(interval) / 2) } else { last };
        self.arm(now, key, Tick::Session, next);
    }

    /// Keeps a description of ours that stands now, where a re-INVITE may have to repeat it.
    pub(super) fn keep_standing(&mut self, key: LegKey, description: &[u8]) {
        if let Some(leg) = self.legs.get_mut(key) {
            leg.clock.standing = (leg.clock.interval > 0).then(|| description.into());
        }
    }

    /// The session is to be refreshed, or over.
    pub(super) fn on_session_due(&mut self, now: Now, key: LegKey) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        let clock = &leg.clock;
        if !clock.ours || clock.end.is_none_or(|end| now.instant >= end) {
            self.counters.expired_sessions += 1;
            return self.hang_up(now, key, Some(Reason::new(Cause::Expired, 408)));
        }
        let free = clock.client.is_none() && matches!(leg.change, Change::Idle);
        let waits = leg.up().is_none_or(|up| up.ack.is_some() || up.late.is_some());
        if !free || waits {
            // Whatever is under way refreshes it as well.
            return self.try_refresh_in(now, key, Duration::from_secs(2));
        }
        self.refresh(now, key);
    }

    /// Another try, unless the session is over before.
    pub(super) fn try_refresh_in(&mut self, now: Now, key: LegKey, after: Duration) {
        let end = self.legs.get(key).and_then(|leg| leg.clock.end);
        let left = end.map_or(Duration::ZERO, |end| end.saturating_duration_since(now.instant));
        self.arm(now, key, Tick::Session, after.min(left));
    }

    fn refresh(&mut self, now: Now, key: LegKey) {
        let policy = self.policy(key);
        let Some(leg) = self.legs.get_mut(key) else { return };
        let by_update = leg.able.update && policy.update || leg.clock.standing.is_none();
        self.counters.refreshes += 1;
        self.try_refresh_in(now, key, Duration::MAX);
        if !by_update {
            let standing = self.legs.get(key).and_then(|leg| leg.clock.standing.clone());
            return self.send_refresh(now, key, standing.unwrap_or_default().into_vec());
        }
        match self.send_update(now, key, None) {
            Some(sent) => {
                if let Some(leg) = self.legs.get_mut(key) {
                    leg.clock.client = Some(sent.client);
                }
            }
            None => self.try_refresh_in(now, key, Duration::from_secs(2)),
        }
    }

    /// A refresh was not taken.
    pub(super) fn on_refresh_refused(
        &mut self,
        now: Now,
        flow: Flow,
        (key, update): (LegKey, bool),
        message: &Message<'_>,
        code: u16,
    ) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        let tries = leg.clock.tries;
        leg.clock.tries = tries.saturating_add(1);
        let again = tries < TRIES
            && match code {
                401 | 407 => self.learn(key, flow, message, tries),
                422 => self.raise(key, message),
                405 | 501 if update => {
                    leg.able.update = false;
                    leg.clock.standing.is_some()
                }
                _ => false,
            };
        if again {
            return self.refresh(now, key);
        }
        if fate::ends_dialog(code) {
            return self.hang_up(now, key, Some(Reason::new(Cause::Expired, code)));
        }
        // A glare (section 14.1 of RFC 3261), or trouble that may pass.
        let after = self.glare_wait(key);
        self.try_refresh_in(now, key, after.max(Duration::from_millis(500)));
    }

    /// Takes a 422's Min-SE to heart. False where it names nothing new.
    pub(super) fn raise(&mut self, key: LegKey, message: &Message<'_>) -> bool {
        let min = message.header(Name::MinSe).and_then(|value| SessionExpires::parse(value).ok());
        let (Some(min), Some(leg)) = (min, self.legs.get_mut(key)) else { return false };
        self.counters.raised_sessions += 1;
        let clock = &mut leg.clock;
        let new = min.seconds > clock.min;
        clock.min = clock.min.max(min.seconds);
        if clock.interval > 0 {
            clock.interval = clock.interval.max(clock.min);
        }
        new
    }

    /// An answer to our UPDATE that only refreshes. False where it is none.
    pub(super) fn on_refresh_response(
        &mut self,
        now: Now,
        flow: Flow,
        (key, id): (LegKey, ClientId),
        message: &Message<'_>,
        code: u16,
    ) -> bool {
        let Some(leg) = self.legs.get_mut(key) else { return false };
        if leg.clock.client != Some(id) {
            return false;
        }
        if code < 200 {
            return true;
        }
        leg.clock.client = None;
        let main = leg.main;
        if code < 300 {
            if let Some(dialog) = leg.dialogs.get_mut(main) {
                dialog.refresh(message);
            }
            self.hear_timer(now, key, message);
        } else {
            self.on_refresh_refused(now, flow, (key, true), message, code);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(expires: u64, refresher: Refreshes) -> SessionPolicy {
        SessionPolicy { expires: Duration::from_secs(expires), refresher, ..SessionPolicy::default() }
    }

    fn asked(expires: u32, refresher: Option<Refresher>, able: bool) -> Asked {
        Asked { expires, min: 0, refresher, able }
    }

    #[test]
    fn who_refreshes_is_as_the_table_of_the_rfc_says() {
        use Refresher::{Uac, Uas};
        use Refreshes::{Auto, Them, Us};
        for (asks, ours, expected) in [
            // What they say stands.
            (asked(600, Some(Uac), true), policy(1800, Us), Some((600, Uac))),
            (asked(600, Some(Uas), true), policy(1800, Them), Some((600, Uas))),
            (asked(600, Some(Uas), true), policy(0, Auto), Some((600, Uas))),
            // Where they leave it open.
            (asked(600, None, true), policy(1800, Auto), Some((600, Uac))),
            (asked(600, None, true), policy(1800, Us), Some((600, Uas))),
            (asked(3600, None, true), policy(1800, Them), Some((1800, Uac))),
            // A proxy's wish for a caller that knows nothing of it.
            (asked(600, None, false), policy(1800, Them), Some((600, Uas))),
            // Nobody asked.
            (asked(0, None, true), policy(1800, Auto), Some((1800, Uas))),
            (asked(0, None, true), policy(1800, Them), Some((1800, Uac))),
            (asked(0, None, false), policy(1800, Auto), None),
            (asked(0, None, false), policy(1800, Us), Some((1800, Uas))),
            (asked(0, None, true), policy(0, Auto), None),
        ] {
            assert_eq!(asks.meet(&ours), expected, "{asks:?} {ours:?}");
        }
    }

    #[test]
    fn an_interval_is_never_made_longer_nor_shorter_than_the_least() {
        let asks = Asked { expires: 900, min: 600, refresher: None, able: true };
        assert_eq!(asks.meet(&policy(300, Refreshes::Auto)), Some((600, Refresher::Uac)));
        let short = asked(120, None, true);
        assert_eq!(short.meet(&policy(1800, Refreshes::Auto)), Some((120, Refresher::Uac)));
    }

    #[test]
    fn the_end_comes_a_third_or_32_seconds_before_the_interval_is_over() {
        assert_eq!((margin(90).as_secs(), margin(1800).as_secs()), (60, 1768));
    }
}
