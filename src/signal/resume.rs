//! Coming back to a session: tokens, and what is said again.
//!
//! A token names the session's shard and place and carries a secret of 256 bit, of which only the digest is kept. It is
//! renewed each time a session is resumed; the one used stays good until its successor is used, as the answer that
//! brings the successor may be lost.

use super::Output;
use super::exchange::To;
use super::hub::Hub;
use super::message::Refusal;
use super::request::Step;
use crate::base::{FlowId, Key, Now, Random, SessionId, ShardId};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::net::IpAddr;

/// What a browser shows to come back: parsed, not believed.
pub(super) struct Ticket {
    pub(super) session: SessionId,
    secret: [u8; 32],
}

impl Ticket {
    /// Reads a token.
    pub(super) fn parse(token: &str) -> Option<Ticket> {
        let mut bytes = [0; 40];
        if token.len() != 54 || URL_SAFE_NO_PAD.decode_slice(token, &mut bytes).ok()? != bytes.len() {
            return None;
        }
        let (session, secret) = bytes.split_first_chunk::<8>()?;
        let session = SessionId::from_bits(u64::from_be_bytes(*session));
        Some(Ticket { session, secret: secret.try_into().ok()? })
    }

    fn new(session: SessionId, random: &mut Random) -> Ticket {
        let mut secret = [0; 32];
        random.fill(&mut secret);
        Ticket { session, secret }
    }

    fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode([&self.session.to_bits().to_be_bytes()[..], &self.secret].concat())
    }

    fn mark(&self) -> Mark {
        let mut kept = [0; 32];
        kept.copy_from_slice(digest(&SHA256, &self.secret).as_ref());
        Mark(kept)
    }
}

/// The digest of a secret.
#[derive(Clone, Copy)]
struct Mark([u8; 32]);

impl Mark {
    fn is(&self, other: &Mark) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

/// The tokens that a session takes.
#[derive(Default)]
pub(super) struct Tokens {
    current: Option<Mark>,
    previous: Option<Mark>,
    /// The one shown last.
    used: Option<Mark>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens(…)")
    }
}

impl Tokens {
    /// Whether a ticket is good. The use of a successor ends what it succeeds.
    pub(super) fn admit(&mut self, ticket: &Ticket) -> bool {
        let mark = ticket.mark();
        if self.current.is_some_and(|current| current.is(&mark)) {
            self.previous = None;
        } else if !self.previous.is_some_and(|previous| previous.is(&mark)) {
            return false;
        }
        self.used = Some(mark);
        true
    }

    /// Takes a successor. The one shown last stays good until that is used.
    fn renew(&mut self, fresh: &Ticket) {
        self.previous = self.used;
        self.current = Some(fresh.mark());
    }
}

impl Hub {
    /// `connect` with a token.
    pub(super) fn resume(&mut self, now: Now, to: To, token: &str, cursor: u64) -> Step {
        let Some(ticket) = Ticket::parse(token) else { return Step::Out(Refusal::UNKNOWN_SESSION) };
        let home = ticket.session.shard();
        if home != self.shard {
            if home.0 >= self.shards {
                // Of a process before this one, with more cores.
                return Step::Out(Refusal::UNKNOWN_SESSION);
            }
            return Step::Home(home);
        }
        match self.readmit(now, &ticket, cursor) {
            Ok(id) => {
                self.attach(now, id, to);
                Step::In(id)
            }
            Err(refusal) => Step::Out(refusal),
        }
    }

    /// Whether a ticket opens its session.
    pub(super) fn admits(&mut self, ticket: &Ticket) -> bool {
        let admitted =
            self.sessions.get_mut(ticket.session).is_some_and(|session| session.tokens.admit(ticket));
        self.counters.resumes_refused += u64::from(!admitted);
        admitted
    }

    /// Takes the cursor for an acknowledgement, if the ticket opens its session.
    fn readmit(&mut self, now: Now, ticket: &Ticket, cursor: u64) -> Result<SessionId, Refusal> {
        let id = ticket.session;
        if !self.admits(ticket) {
            return Err(Refusal::UNKNOWN_SESSION);
        }
        let Some(session) = self.sessions.get_mut(id) else { return Err(Refusal::UNKNOWN_SESSION) };
        if !session.kept.reaches(cursor) {
            self.end_session(now, id, "overflow");
            return Err(Refusal::UNKNOWN_SESSION);
        }
        session.kept.acknowledge(cursor);
        self.counters.resumed += 1;
        Ok(id)
    }

    /// A connection takes a session over. The one before, if it still is there, hears that it was replaced.
    pub(super) fn attach(&mut self, now: Now, id: SessionId, to: To) {
        self.unpark(now, id);
        let Some(session) = self.sessions.get_mut(id) else { return };
        let flow = if let To::Flow(flow) = to { Some(flow) } else { None };
        session.polls = flow.is_none();
        let old = std::mem::replace(&mut session.flow, flow);
        if let Some(grace) = session.grace.take() {
            self.timers.cancel(grace);
        }
        if let Some(flow) = flow {
            self.forget_unknown(flow);
            self.flows.insert(flow, id);
        }
        if let Some(old) = old {
            self.on_replaced(now, id, old);
        }
        self.say_presence(id, true);
        self.begin_grace(now, id);
    }

    fn on_replaced(&mut self, now: Now, id: SessionId, old: FlowId) {
        self.flows.remove(&old);
        if let Some(text) = self.sessions.get(id).map(super::session::Session::replaced) {
            self.outbox.push_back(Output::Send { flow: old, text });
        }
        self.close_flow(now, old);
    }

    /// A new token for a session, to be told in the answer to `connect`.
    pub(super) fn renew(&mut self, id: SessionId) -> Option<String> {
        let session = self.sessions.get_mut(id)?;
        let fresh = Ticket::new(id, &mut self.random);
        session.tokens.renew(&fresh);
        Some(fresh.text())
    }

    /// Says again what the browser has not acknowledged.
    pub(super) fn replay(&mut self, id: SessionId, flow: FlowId) {
        let Some(session) = self.sessions.get(id) else { return };
        for text in session.kept.events() {
            self.counters.events_replayed += 1;
            self.outbox.push_back(Output::Send { flow, text: text.to_string() });
        }
    }

    /// Hands a connection to another shard's hub.
    pub(super) fn move_home(&mut self, flow: FlowId, to: ShardId, text: &str) {
        let source = self.forget_unknown(flow).and_then(|unknown| unknown.source);
        self.counters.moved += 1;
        self.outbox.push_back(Output::Move { flow, to, source, text: text.to_owned() });
    }

    /// Takes back that a connection's session lives elsewhere, for who must know before the connection brings more: where
    /// to, whence it came, and what it brought.
    pub fn take_move(&mut self, flow: FlowId) -> Option<(ShardId, Option<IpAddr>, String)> {
        let place = self
            .outbox
            .iter()
            .rposition(|it| matches!(it, Output::Move { flow: moved, .. } if *moved == flow))?;
        match self.outbox.remove(place)? {
            Output::Move { to, source, text, .. } => Some((to, source, text)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_session_and_bears_a_secret() {
        let mut random = Random::from_number(1);
        let session = SessionId::new(ShardId(3), 7, 9);
        let ticket = Ticket::new(session, &mut random);
        let again = Ticket::parse(&ticket.text()).unwrap();
        assert_eq!(again.session, session);
        assert!(again.mark().is(&ticket.mark()));
        assert!(!Ticket::new(session, &mut random).mark().is(&ticket.mark()));
        let long = "A".repeat(55);
        for wrong in ["", "x", &long, &"A".repeat(53), &"!".repeat(54), &"é".repeat(27)] {
            assert!(Ticket::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn an_old_token_works_until_its_successor_is_used() {
        let mut random = Random::from_number(1);
        let mut ticket = || Ticket::new(SessionId::new(ShardId(0), 0, 1), &mut random);
        let (first, second, third, never) = (ticket(), ticket(), ticket(), ticket());
        let mut tokens = Tokens::default();
        assert!(!tokens.admit(&first));
        tokens.renew(&first);
        assert!(tokens.admit(&first) && !tokens.admit(&never));
        tokens.renew(&second);
        // Its answer was lost: the first comes again, and gets another.
        assert!(tokens.admit(&first));
        tokens.renew(&third);
        assert!(!tokens.admit(&second), "only one successor lives");
        assert!(tokens.admit(&first) && tokens.admit(&third));
        assert!(!tokens.admit(&first));
    }
}
