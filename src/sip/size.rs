//! Requests that are too long for a datagram (RFC 3261 section 18.1.1): they go over TCP where the far side takes it, and
//! over UDP after all where it doesn't.

use super::hop::Hop;
use super::stack::Owner;
use super::transaction::ClientId;
use super::{Flow, Stack, Transport, write};
use crate::base::Now;
use sip_codec::Method;
use std::time::Duration;

/// The longest datagram, where nobody knows what the path takes.
const LONGEST: usize = 1_300;
/// How long a far side that took no connection is left alone.
const SPARED: Duration = Duration::from_mins(10);

impl Stack {
    /// Sends a request and begins its transaction; `None` where there are too many.
    pub(super) fn begin(
        &mut self,
        now: Now,
        flow: Flow,
        by: (&str, Method<'static>),
        bytes: Vec<u8>,
        owner: Owner,
    ) -> Option<ClientId> {
        let stream = self.stream_for(now, &flow, bytes.len());
        let long = stream.and_then(|stream| Some((stream, write::over_tcp(&bytes)?)));
        let begun = match long {
            Some((stream, long)) => {
                let begun = self.table.begin(now, stream, by, long, owner, &mut self.out);
                if let Some(id) = begun {
                    self.table.or_else(id, flow, bytes);
                }
                begun
            }
            None => self.table.begin(now, flow, by, bytes, owner, &mut self.out),
        };
        self.counters.full_transactions += u64::from(begun.is_none());
        begun
    }

    /// Time is up for a request whose connection is not: it goes as the datagram that it would have been. False where
    /// it went as one already, or where the far side has it.
    pub(super) fn by_datagram(&mut self, now: Now, id: ClientId) -> bool {
        let waits = self.table.asked(id).is_some_and(|(flow, _)| !self.links.is_up(&flow));
        waits && self.table.go_instead(now, id, &mut self.out)
    }

    /// The connection that a request of this size goes by in place of a datagram.
    fn stream_for(&mut self, now: Now, flow: &Flow, size: usize) -> Option<Flow> {
        if flow.transport != Transport::Udp || size <= LONGEST {
            return None;
        }
        let trunk = self.trunk_of(flow)?;
        let takes = self.config.trunks.get(usize::from(trunk.0))?.tcp_when_large;
        if !takes || self.links.is_shunned(now, flow) {
            return None;
        }
        let hop = Hop { transport: Transport::Tcp, ..Hop::udp(flow.remote) };
        let stream = self.reach(flow.realm, &hop, Some(trunk))?;
        self.links.stands_in(&stream, now.instant + SPARED);
        self.counters.too_large += 1;
        Some(stream)
    }
}
