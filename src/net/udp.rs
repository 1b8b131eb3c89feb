//! UDP sockets: opened with all that the configuration asks for, read and written in batches.
//!
//! **Nothing is left behind.** Readiness is edge-triggered: the kernel tells of a socket once after each arrival, and
//! says nothing more of datagrams that are left unread. [`Sockets::receive`] therefore says whether the queue was seen
//! empty. It asks `recvmmsg` for at least two datagrams. Where fewer came than were asked for, the kernel looked for
//! one more and found none, so at that moment the queue was empty ([`Received::Drained`]); whatever arrives later
//! raises a new edge. That spares the second system call which reading until `EAGAIN` costs. Where all that were
//! asked for came, or an error ended the call, nothing is known, and the caller must read again without waiting for an
//! edge ([`Received::More`]). An error after the first datagram is stored by the kernel and shortens the batch too;
//! on an unconnected socket without `IP_RECVERR` only a lack of memory does that, and the next arrival mends it.
//!
//! A socket that has one datagram at a time is better heard level-triggered (`Poll::add_level`) and read once a wait
//! ([`Sockets::receive_level`]): the second look into its queue costs more than being reported again.

use super::batch::{BATCH, Batch};
use super::ring::Ring;
use super::sys;
use crate::base::{Packet, ShardId, Slab, SocketId, counters};
use smallvec::SmallVec;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

/// Fewer operations than this cost less by a call each.
const WORTH_A_RING: usize = 3;
/// A receive asks for so many times what the last one found, and for so many at least: every header that is prepared and
/// not used costs its cache lines, of which the packets that did come have need. Where that is too few, it is told
/// ([`Received::More`]), and the next one asks for more.
const AHEAD: usize = 2;
const FEWEST: usize = 8;

counters! {
    /// What happened at the sockets.
    pub struct Counters {
        /// Datagrams received.
        received,
        /// System calls that received them.
        receive_calls,
        /// Datagrams longer than a slot, dropped.
        too_long,
        /// Receives that failed, other than for want of datagrams.
        receive_failed,
        /// Datagrams sent.
        sent,
        /// System calls that sent them.
        send_calls,
        /// Datagrams dropped because the socket's send buffer was full.
        full,
        /// Errors that an earlier datagram came back with (ICMP unreachable).
        refused,
        /// Errors that were read with the datagram that caused them.
        errors_read,
        /// Datagrams that the kernel would not send: no route, too long, forbidden.
        unsendable,
        /// Datagrams for a socket that was closed meanwhile.
        closed,
        /// Datagrams that were too long to leave in one piece, where that had been asked for; they left in several.
        fragmented,
    }
}

/// How to open a UDP socket.
#[derive(Clone, Debug)]
pub struct UdpOptions {
    /// Where to bind; port 0 takes any.
    pub address: SocketAddr,
    /// The network device (or VRF) to stay on.
    pub device: Option<String>,
    /// Share the port with the other shards (`SO_REUSEPORT`).
    pub share: bool,
    /// Bytes wanted for the receive queue; 0 leaves the system's default.
    pub receive_buffer: usize,
    /// Bytes wanted for the send queue; 0 leaves the system's default.
    pub send_buffer: usize,
    /// Differentiated services code point of what is sent (RFC 2474).
    pub dscp: Option<u8>,
    /// Many packets to many addresses leave by it: gather them from the whole batch into one send.
    pub gather: bool,
    /// Datagrams leave in one piece (IPv4), which costs the kernel less, until there is one that is too long for its path:
    /// from then on they are cut up where they must be, as without this.
    pub whole: bool,
    /// Hear of datagrams that come back as ICMP errors: [`Sockets::receive_refused`]. Costs a sender nothing, but an
    /// error shows up at its next call, which must be tried again.
    pub errors: bool,
}

impl UdpOptions {
    /// A socket at this address, with nothing else asked for.
    pub fn new(address: SocketAddr) -> UdpOptions {
        UdpOptions {
            address,
            device: None,
            share: false,
            receive_buffer: 0,
            send_buffer: 0,
            dscp: None,
            gather: false,
            whole: false,
            errors: false,
        }
    }
}

/// A bound, non-blocking UDP socket.
#[derive(Debug)]
pub struct Udp {
    socket: UdpSocket,
    address: SocketAddr,
    receive_buffer: usize,
    send_buffer: usize,
    gather: bool,
    /// How many datagrams the last receive in batches found.
    found: usize,
}

impl Udp {
    /// Opens and binds one.
    pub fn open(options: &UdpOptions) -> io::Result<Udp> {
        let socket = Socket::new(Domain::for_address(options.address), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        if options.address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        if options.share {
            socket.set_reuse_port(true)?;
        }
        if let Some(device) = &options.device {
            socket.bind_device(Some(device.as_bytes()))?;
        }
        if options.receive_buffer > 0 {
            socket.set_recv_buffer_size(options.receive_buffer)?;
        }
        if options.send_buffer > 0 {
            socket.set_send_buffer_size(options.send_buffer)?;
        }
        if let Some(dscp) = options.dscp {
            let class = u32::from(dscp) << 2;
            if options.address.is_ipv6() { socket.set_tclass_v6(class) } else { socket.set_tos_v4(class) }?;
        }
        if options.whole && options.address.is_ipv4() {
            // It only spares work: a sandbox without it serves as well.
            let _ = sys::keep_whole(socket.as_fd(), true);
        }
        if options.errors {
            sys::hear_errors(socket.as_fd(), options.address.is_ipv6())?;
        }
        socket.bind(&options.address.into())?;
        let address = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Udp {
            address,
            receive_buffer: socket.recv_buffer_size()?,
            send_buffer: socket.send_buffer_size()?,
            gather: options.gather,
            found: 0,
            socket: socket.into(),
        })
    }

    /// Where it is bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The receive buffer that the kernel granted, in the kernel's own counting (its overhead included: Linux doubles
    /// what was asked for).
    pub fn receive_buffer(&self) -> usize {
        self.receive_buffer
    }

    /// The send buffer that the kernel granted, counted as [`Udp::receive_buffer`].
    pub fn send_buffer(&self) -> usize {
        self.send_buffer
    }

    /// How many datagrams the kernel has dropped here, mostly for want of receive buffer. 0 where it won't say.
    pub fn drops(&self) -> u32 {
        sys::drops(self.fd()).unwrap_or(0)
    }

    pub(super) fn raw(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What is known of a socket after a receive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Received {
    /// Its queue was seen empty: wait for the next edge.
    Drained,
    /// There may be more: read again before waiting.
    More,
}

/// The UDP sockets of a shard.
#[derive(Debug)]
pub struct Sockets {
    table: Slab<SocketId, Udp>,
    counters: Counters,
    /// What the kernel dropped at sockets that are closed.
    dropped: u64,
    sent: [bool; BATCH],
    ring: Option<Ring>,
}

impl Sockets {
    /// An empty table of at most `cap` sockets.
    pub fn new(shard: ShardId, cap: usize) -> Sockets {
        Sockets {
            table: Slab::new(shard, cap),
            counters: Counters::default(),
            dropped: 0,
            sent: [false; BATCH],
            ring: None,
        }
    }

    /// From now on serves sockets of single calls by one system call for many of them (`io_uring`), where the kernel
    /// lets us. All else goes on as before. The table must stay on this thread.
    pub fn use_ring(&mut self) -> io::Result<()> {
        self.ring = Some(Ring::new()?);
        Ok(())
    }

    /// Whether `io_uring` is in use.
    pub fn has_ring(&self) -> bool {
        self.ring.is_some()
    }

    /// Takes a socket in; gives it back where the table is full.
    pub fn insert(&mut self, socket: Udp) -> Result<SocketId, Udp> {
        self.table.insert(socket)
    }

    /// The socket, if it is still open.
    pub fn get(&self, id: SocketId) -> Option<&Udp> {
        self.table.get(id)
    }

    /// Takes a socket out; dropping it closes it.
    pub fn remove(&mut self, id: SocketId) -> Option<Udp> {
        let socket = self.table.remove(id)?;
        self.dropped += u64::from(socket.drops());
        Some(socket)
    }

    /// How many datagrams the kernel has dropped at all sockets that are, and were. Asks the kernel about each of them,
    /// some 0.2 µs a socket: nothing is counted on a packet's way.
    pub fn drops(&self) -> u64 {
        self.dropped + self.table.iter().map(|(_, socket)| u64::from(socket.drops())).sum::<u64>()
    }

    /// Every socket by id.
    pub fn iter(&self) -> impl Iterator<Item = (SocketId, &Udp)> {
        self.table.iter()
    }

    /// What happened so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Appends up to `limit` datagrams of a socket to the batch, fewer where the last receive found few. The batch must have room for two, so that a receive
    /// of one can show that there is no second.
    pub fn receive(&mut self, id: SocketId, batch: &mut Batch, limit: usize) -> Received {
        let Some(socket) = self.table.get_mut(id) else { return Received::Drained };
        let start = batch.len;
        let end = BATCH.min(start + limit.min(FEWEST.max(AHEAD * socket.found)).max(2));
        if start + 2 > BATCH {
            return Received::More;
        }
        let slots = &mut batch.slots[start..end];
        self.counters.receive_calls += 1;
        match batch.headers.receive(socket.fd(), slots) {
            Ok((got, cut)) => {
                socket.found = got;
                slots.iter_mut().take(got).for_each(|slot| slot.socket = id);
                batch.len += got;
                self.counters.received += got as u64;
                self.counters.too_long += cut as u64;
                if got < end - start { Received::Drained } else { Received::More }
            }
            Err(error) => self.on_receive_error(&error),
        }
    }

    /// Appends one datagram of each of the sockets to the batch, as far as it has room. For sockets that are heard by
    /// `Poll::add_level`: what is left behind is reported again by the next wait, so nothing must be proven.
    pub fn receive_level(&mut self, ids: &[SocketId], batch: &mut Batch) {
        if self.ring.is_none() || ids.len() < WORTH_A_RING {
            return ids.iter().for_each(|&id| self.receive_level_one(id, batch));
        }
        let Some(ring) = &mut self.ring else { return };
        // A socket that is closed has nothing.
        let mut open = ids.iter().filter_map(|&id| Some((id, self.table.get(id)?.fd())));
        let mut asked = SmallVec::<[SocketId; BATCH]>::new();
        let fds = open.by_ref().take(batch.room()).inspect(|(id, _)| asked.push(*id)).map(|(_, fd)| fd);
        let start = batch.len;
        self.counters.receive_calls += 1;
        if batch.headers.ring_receive(ring, fds, &mut batch.slots[start..]).is_err() {
            self.ring = None;
        }
        for (n, &id) in asked.iter().enumerate().filter(|(n, _)| !batch.headers.is_undone(*n)) {
            match batch.headers.result(n) {
                Ok(got) => {
                    // Those that came stand together, in order.
                    batch.slots.swap(batch.len, start + n);
                    batch.slots[batch.len].socket = id;
                    batch.len += 1;
                    self.counters.received += 1;
                    self.counters.too_long += u64::from(got > Packet::MAX);
                }
                // The next wait reports whatever waits behind an error.
                Err(error) => {
                    let _ = self.on_receive_error(&error);
                }
            }
        }
    }

    fn receive_level_one(&mut self, id: SocketId, batch: &mut Batch) {
        let (Some(socket), Some(slot)) = (self.table.get(id), batch.slots.get_mut(batch.len)) else { return };
        self.counters.receive_calls += 1;
        match batch.headers.receive_one(socket.fd(), slot) {
            Ok(cut) => {
                slot.socket = id;
                batch.len += 1;
                self.counters.received += 1;
                self.counters.too_long += u64::from(cut);
            }
            // The next wait reports whatever waits behind an error.
            Err(error) => {
                let _ = self.on_receive_error(&error);
            }
        }
    }

    /// Receives one datagram of any length into `buffer` (64 KiB hold every one), for protocols whose messages don't
    /// fit a slot. `None` with what is known of the queue where there is none.
    pub fn receive_one<'a>(
        &mut self,
        id: SocketId,
        buffer: &'a mut [u8],
    ) -> Result<(SocketAddr, &'a [u8]), Received> {
        let Some(socket) = self.table.get(id) else { return Err(Received::Drained) };
        self.counters.receive_calls += 1;
        match socket.socket.recv_from(buffer) {
            Ok((length, remote)) => {
                self.counters.received += 1;
                Ok((remote, buffer.get(..length).unwrap_or_default()))
            }
            Err(error) => Err(self.on_receive_error(&error)),
        }
    }

    /// A datagram of ours that came back, as much of it as the ICMP error quotes, and where it was sent to. Errors that
    /// say nothing of the far side (too long, too old) are passed over.
    pub fn receive_refused<'a>(
        &mut self,
        id: SocketId,
        buffer: &'a mut [u8],
    ) -> Option<(SocketAddr, &'a [u8])> {
        let socket = self.table.get(id)?;
        loop {
            let returned = sys::receive_error(socket.fd(), buffer).ok()?;
            self.counters.errors_read += 1;
            if returned.unreachable
                && let Some(to) = returned.to
            {
                return Some((to, buffer.get(..returned.length).unwrap_or_default()));
            }
        }
    }

    fn on_receive_error(&mut self, error: &io::Error) -> Received {
        match error.kind() {
            io::ErrorKind::WouldBlock => Received::Drained,
            io::ErrorKind::Interrupted => Received::More,
            // ICMP told of an earlier datagram. The error is spent; datagrams may wait behind it.
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable => {
                self.counters.refused += 1;
                Received::More
            }
            // A lack of memory, or a fault of ours: never spin on it.
            _ => {
                self.counters.receive_failed += 1;
                Received::Drained
            }
        }
    }

    /// Sends every slot of the batch that is marked, in order for each socket, and empties the batch.
    pub fn send(&mut self, batch: &mut Batch) {
        if batch.is_empty() {
            return;
        }
        self.sent = [false; BATCH];
        self.send_by_ring(batch);
        let Batch { slots, len, headers } = batch;
        let slots = &mut slots[..*len];
        *len = 0;
        for first in 0..slots.len() {
            if !slots[first].send || self.sent[first] {
                continue;
            }
            let id = slots[first].socket;
            let Some(socket) = self.table.get(id) else {
                self.counters.closed += 1;
                continue;
            };
            headers.start();
            for (slot, sent) in slots[first..].iter_mut().zip(&mut self.sent[first..]) {
                if slot.send && slot.socket == id && !*sent {
                    *sent = headers.add(slot);
                } else if slot.send && !socket.gather {
                    break;
                }
            }
            send_run(socket, headers, &mut self.counters);
        }
    }

    /// Sends what leaves by sockets of single calls, all by one call, and notes in `sent` what is done with. The rest
    /// is for [`Sockets::send`].
    #[allow(unsafe_code)]
    fn send_by_ring(&mut self, batch: &mut Batch) {
        let Some(ring) = &mut self.ring else { return };
        let Batch { slots, len, headers } = batch;
        headers.start();
        let mut places = SmallVec::<[usize; BATCH]>::new();
        for (n, slot) in slots[..*len].iter_mut().enumerate().filter(|(_, slot)| slot.send) {
            let single = self.table.get(slot.socket).filter(|socket| !socket.gather);
            if single.is_some_and(|socket| headers.add_by(socket.fd(), slot)) {
                places.push(n);
            }
        }
        if places.len() < WORTH_A_RING {
            return;
        }
        self.counters.send_calls += 1;
        // SAFETY: the slots are borrowed from `add_by` until here, and the table closes no socket meanwhile.
        let done = unsafe { headers.ring_send(ring) };
        for (n, &place) in places.iter().enumerate().filter(|(n, _)| !headers.is_undone(*n)) {
            match headers.result(n) {
                Ok(_) => self.counters.sent += 1,
                // The error belongs to an earlier datagram and is spent: the plain way tries this one once more.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    self.counters.refused += 1;
                    continue;
                }
                Err(error) if is_too_long(&error) => continue,
                Err(error) => count_send_error(&error, &mut self.counters),
            }
            self.sent[place] = true;
        }
        if done.is_err() {
            self.ring = None;
        }
    }

    /// Sends one datagram that lies elsewhere. False where the kernel won't ever send it: no route, forbidden, or the
    /// socket is closed. (Lost for a full socket is lost as in the network.)
    pub fn send_one(&mut self, id: SocketId, to: SocketAddr, bytes: &[u8]) -> bool {
        let Some(socket) = self.table.get(id) else {
            self.counters.closed += 1;
            return false;
        };
        self.counters.send_calls += 1;
        // An error of an earlier datagram is told, and spent, by the first attempt.
        let again = |error: io::Error| {
            if is_too_long(&error) {
                let _ = sys::keep_whole(socket.fd(), false);
            }
            socket.socket.send_to(bytes, to)
        };
        match socket.socket.send_to(bytes, to).or_else(again) {
            Ok(_) => self.counters.sent += 1,
            Err(error) => {
                let before = self.counters.unsendable;
                count_send_error(&error, &mut self.counters);
                return self.counters.unsendable == before;
            }
        }
        true
    }
}

/// Sends what [`sys::Headers::add`] gathered. A datagram that fails is skipped and counted; a full socket drops the
/// rest of the run.
#[allow(unsafe_code)]
fn send_run(socket: &Udp, headers: &mut sys::Headers, counters: &mut Counters) {
    let (mut from, mut retried) = (0, None);
    while from < headers.run() {
        counters.send_calls += 1;
        // SAFETY: `Sockets::send` holds the slots by exclusive borrow from `add` until after this call.
        match unsafe { headers.send(socket.fd(), from) } {
            Ok(sent) => {
                counters.sent += sent as u64;
                from += sent.max(1);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                counters.full += (headers.run() - from) as u64;
                return;
            }
            // The error belongs to an earlier datagram and is spent: try this one once more.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && retried != Some(from) => {
                counters.refused += 1;
                retried = Some(from);
            }
            Err(error) if is_too_long(&error) && retried != Some(from) => {
                counters.fragmented += 1;
                let _ = sys::keep_whole(socket.fd(), false);
                retried = Some(from);
            }
            Err(error) => {
                count_send_error(&error, counters);
                from += 1;
            }
        }
    }
}

/// Longer than the path takes in one piece, and the kernel may not cut it up.
fn is_too_long(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EMSGSIZE)
}

fn count_send_error(error: &io::Error, counters: &mut Counters) {
    match error.kind() {
        io::ErrorKind::WouldBlock => counters.full += 1,
        io::ErrorKind::ConnectionRefused => counters.refused += 1,
        // The device's queue, which the kernel tells of only where errors are heard.
        _ if error.raw_os_error() == Some(libc::ENOBUFS) => counters.full += 1,
        _ => counters.unsendable += 1,
    }
}
