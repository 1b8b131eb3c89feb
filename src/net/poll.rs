//! Waiting for sockets, edge-triggered.

use super::query::Query;
use super::sys;
use super::tcp::{Listener, Stream};
use super::udp::Udp;
use crate::base::{FlowId, SocketId};
use mio::unix::SourceFd;
use mio::{Events, Interest, Token};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

/// What became ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ready {
    /// Another thread called [`Waker::wake`].
    Woken,
    /// A UDP socket may have datagrams.
    Socket(SocketId),
    /// A UDP socket that hears errors has some, and may have datagrams.
    Errors(SocketId),
    /// A listener may have connections.
    Listener(u32),
    /// A stream may be read or written.
    Stream {
        /// Which.
        flow: FlowId,
        /// It may have bytes, or an end.
        readable: bool,
        /// It may take bytes.
        writable: bool,
    },
    /// A socket of a single question may have its answer, or take the question.
    Query(u32),
}

// An id leads with its shard, which all sources of one poll share: the kind of source takes that byte.
const KIND: u32 = 56;
const REST: u64 = (1 << KIND) - 1;
const WOKEN: u64 = 0;
const SOCKET: u64 = 1;
const LISTENER: u64 = 2;
const STREAM: u64 = 3;
const QUERY: u64 = 4;

const _: () = assert!(usize::BITS == 64, "tokens carry a whole id");

fn token(kind: u64, bits: u64) -> Token {
    Token((kind << KIND | bits & REST) as usize)
}

/// Wakes a shard from another thread.
#[derive(Clone, Debug)]
pub struct Waker(Arc<mio::Waker>);

impl Waker {
    /// Makes the shard's wait end. Safe to call at any time; a lost wake-up can't happen, many become one.
    pub fn wake(&self) {
        // An eventfd's write fails only at its ceiling, when it is awake anyway.
        let _ = self.0.wake();
    }
}

/// The sources of one shard.
#[derive(Debug)]
pub struct Poll {
    sources: mio::Poll,
    events: Events,
    waker: Waker,
    shard: u64,
}

impl Poll {
    /// One that hears up to `events` sources a wait; more wait for the next.
    pub fn new(shard: crate::base::ShardId, events: usize) -> io::Result<Poll> {
        let sources = mio::Poll::new()?;
        let waker = Waker(Arc::new(mio::Waker::new(sources.registry(), token(WOKEN, 0))?));
        Ok(Poll { sources, events: Events::with_capacity(events), waker, shard: u64::from(shard.0) << KIND })
    }

    /// What other threads wake it with.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Hears a UDP socket from now on.
    pub fn add_socket(&self, id: SocketId, socket: &Udp) -> io::Result<()> {
        self.add(socket.raw(), token(SOCKET, id.to_bits()), Interest::READABLE)
    }

    /// Hears a UDP socket from now on, level-triggered: it is reported in every wait while it has datagrams. mio has
    /// no word for it, but its events carry it. Closing the socket ends it.
    pub fn add_level(&self, id: SocketId, socket: &Udp) -> io::Result<()> {
        sys::add_level(self.sources.as_raw_fd(), socket.fd(), token(SOCKET, id.to_bits()).0 as u64)
    }

    /// Hears a listener from now on; `number` names it.
    pub fn add_listener(&self, number: u32, listener: &Listener) -> io::Result<()> {
        self.add(listener.raw(), token(LISTENER, u64::from(number)), Interest::READABLE)
    }

    /// Hears a stream from now on.
    pub fn add_stream(&self, flow: FlowId, stream: &Stream) -> io::Result<()> {
        self.add(stream.raw(), token(STREAM, flow.to_bits()), Interest::READABLE | Interest::WRITABLE)
    }

    /// Hears a socket of a single question from now on; `number` names it. Closing it ends that.
    pub fn add_query(&self, number: u32, query: &Query) -> io::Result<()> {
        self.add(query.raw(), token(QUERY, u64::from(number)), Interest::READABLE | Interest::WRITABLE)
    }

    fn add(&self, fd: RawFd, token: Token, interest: Interest) -> io::Result<()> {
        self.sources.registry().register(&mut SourceFd(&fd), token, interest)
    }

    /// Waits until something is ready or the time is over. What is ready is in [`Poll::ready`] then.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match self.sources.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.events.clear();
                Ok(())
            }
            result => result,
        }
    }

    /// What the last wait found.
    pub fn ready(&self) -> impl Iterator<Item = Ready> {
        let shard = self.shard;
        self.events.iter().map(move |event| {
            let bits = event.token().0 as u64;
            match bits >> KIND {
                SOCKET if event.is_error() => Ready::Errors(SocketId::from_bits(bits & REST | shard)),
                SOCKET => Ready::Socket(SocketId::from_bits(bits & REST | shard)),
                LISTENER => Ready::Listener(bits as u32),
                QUERY => Ready::Query(bits as u32),
                STREAM => Ready::Stream {
                    flow: FlowId::from_bits(bits & REST | shard),
                    readable: event.is_readable() || event.is_read_closed() || event.is_error(),
                    writable: event.is_writable() || event.is_error(),
                },
                _ => Ready::Woken,
            }
        })
    }
}
