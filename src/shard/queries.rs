//! The sockets of the resolver: opened for one question each, heard, and closed.

use super::run::Loop;
use crate::base::{Map, Now};
use crate::dns::{Input, Output, Socket};
use crate::net::{Poll, Query};
use std::net::SocketAddr;

/// Reads of one socket in its turn: enough for the longest answer in many pieces.
const TURNS: usize = 128;

/// Those that are open, by their number.
#[derive(Debug, Default)]
pub struct Queries(Map<u32, (SocketAddr, Query)>);

impl Queries {
    /// Carries out what the resolver asked for. `Some`: this socket could not be had.
    pub fn carry(&mut self, poll: &Poll, output: Output) -> Option<Socket> {
        let (socket, server, query) = match output {
            Output::Send { socket, port, server, data } => (socket, server, Query::send(port, server, &data)),
            Output::Connect { socket, server, data } => (socket, server, Query::connect(server, data)),
            Output::Close { socket } => {
                self.0.remove(&socket.0);
                return None;
            }
            Output::Answered { .. } => return None,
        };
        let query = query.and_then(|query| poll.add_query(socket.0, &query).map(|()| query));
        match query {
            Ok(query) => {
                self.0.insert(socket.0, (server, query));
                None
            }
            Err(_) => Some(socket),
        }
    }

    /// Gives all that one of them has; `Failed` where it is of no use any more.
    pub fn read_all(&mut self, number: u32, buffer: &mut [u8], mut take: impl FnMut(Input<'_>)) {
        let socket = Socket(number);
        for _ in 0..TURNS {
            let Some((server, query)) = self.0.get_mut(&number) else { return };
            let stream = matches!(query, Query::Stream(..));
            match query.turn(buffer) {
                Ok(None) => return,
                Ok(Some(0)) if stream => break,
                Ok(Some(count)) if stream => take(Input::Bytes { socket, data: &buffer[..count] }),
                Ok(Some(count)) => take(Input::Datagram { socket, from: *server, data: &buffer[..count] }),
                Err(_) => break,
            }
        }
        // It ended or failed, or says more than any name server has to say.
        take(Input::Failed { socket });
    }
}

impl Loop {
    pub(super) fn query(&mut self, now: Now, output: Output) {
        if let Some(socket) = self.queries.carry(&self.poll, output) {
            self.core.resolve(now, Input::Failed { socket });
        }
    }

    /// Reads the resolver's sockets that have something.
    pub(super) fn read_queries(&mut self, now: Now) -> bool {
        let some = !self.ready_queries.is_empty();
        for number in std::mem::take(&mut self.ready_queries) {
            let core = &mut self.core;
            self.queries.read_all(number, &mut self.buffer, |input| core.resolve(now, input));
        }
        some
    }
}
