//! Mail that found no room: what may be lost, and what must not be.
//!
//! A SIP message is a datagram; whoever sent it sends it again. A browser's messages are not: their stream promises that
//! none is missing. So a connection of which one was lost is cut, and the browser comes back. That it was cut, and that
//! a connection is gone, is tried again until there is room.

use super::core::Core;
use super::core::Output;
use super::mail::Mail;
use crate::base::{Deadline, Machine, Now, ShardId};
use crate::{signal, sip};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// RFC 6455 section 7.4 and its registry: try again later.
const TRY_AGAIN_LATER: u16 = 1013;
/// How long a full ring is left alone.
const PAUSE: Duration = Duration::from_millis(10);

/// Mail that must arrive and found no room. It names each connection twice at most, so that it needs no bound of its
/// own but for what never is: a shard that doesn't read.
#[derive(Debug, Default)]
pub(super) struct Kept {
    mail: VecDeque<(ShardId, Mail)>,
    at: Option<Instant>,
}

impl Kept {
    pub(super) fn poll_timeout(&self) -> Option<Deadline> {
        self.at.map(|at| Deadline { at, why: "mail" })
    }
}

impl Core {
    /// Takes back an [`Output::Mail`] for which there was no room.
    pub fn shed(&mut self, now: Now, to: ShardId, mail: Mail) {
        match mail {
            // Of a stream nothing may be missing: whoever spoke by it comes again.
            Mail::Sip { flow, .. } if flow.transport.is_stream() => {
                self.counters.shed_sip += 1;
                self.cut_connection(now, flow.id, TRY_AGAIN_LATER);
            }
            Mail::Send { flow, .. } => {
                self.counters.shed_sip += 1;
                self.stack.handle_input(now, sip::Input::Failed { flow });
                self.keep(now, to, Mail::Close { flow: flow.id });
            }
            // Whoever goes on will be counted again.
            Mail::Sip { .. } | Mail::Refused { .. } | Mail::Strikes { .. } | Mail::Ban { .. } => {
                self.counters.shed_sip += 1;
            }
            Mail::Moved { flow, .. } | Mail::Text { flow, .. } => {
                self.counters.shed_texts += 1;
                self.cut_connection(now, flow, TRY_AGAIN_LATER);
            }
            Mail::Write { flow, .. } => {
                self.counters.shed_texts += 1;
                self.hub.handle_input(now, signal::Input::Closed { flow });
                self.keep(now, to, Mail::Close { flow });
            }
            Mail::Asked(ask) => {
                self.counters.shed_texts += 1;
                self.respond_busy(now, ask.exchange);
            }
            // Nobody will answer: the browser asks again. What it would have heard is kept.
            Mail::Respond { exchange, .. } => {
                self.counters.shed_texts += 1;
                self.keep(now, to, Mail::Close { flow: exchange.flow });
            }
            Mail::Suspect { .. } | Mail::Locate { .. } | Mail::Located { .. } | Mail::Servers { .. } => {
                self.shed_locating(now, &mail);
            }
            Mail::Close { .. } | Mail::Closed { .. } | Mail::Abandoned { .. } | Mail::Failed { .. } => {
                self.keep(now, to, mail);
            }
        }
        self.settle(now);
    }

    fn keep(&mut self, now: Now, to: ShardId, mail: Mail) {
        let cap = 2 * self.config.caps.connections * usize::from(self.shards);
        if self.kept.mail.len() >= cap {
            self.counters.shed_ends += 1;
            return;
        }
        self.kept.mail.push_back((to, mail));
        self.kept.at.get_or_insert(now.instant + PAUSE);
    }

    /// Tries again what found no room.
    pub(super) fn post_kept(&mut self, now: Now) {
        if self.kept.at.is_some_and(|at| at <= now.instant) {
            self.kept.at = None;
            let mail = self.kept.mail.drain(..).map(|(to, mail)| Output::Mail { to, mail });
            self.outputs.extend(mail);
        }
    }
}
