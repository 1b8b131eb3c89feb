//! Forwarding, in each of the shapes.

use super::sys::{self, BATCH, Name, Poll, Rows};
use super::{Call, Shape};
use bridgehead::base::Packet;
use bridgehead::media::srtp::{Receive, Send};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

/// Bytes wanted for the queues of a shared socket, as the gateway wants them.
const QUEUE: usize = 4 << 20;
/// What an epoll says of the shared sockets; below are legs: calls times two, and one more for the SIP side.
const WEB: u64 = u64::MAX;
const SIP: u64 = u64::MAX - 1;

/// A call's way between its parties.
struct Way {
    web: Name,
    sip: Name,
    secret: Option<Box<Secret>>,
}

struct Secret {
    receive: Receive,
    send: Send,
    index: u64,
}

impl Way {
    /// What the SIP party gets of a packet from the web party; false where it gets none.
    #[inline]
    fn open(&mut self, packet: &mut Packet) -> bool {
        self.secret.as_mut().is_none_or(|secret| secret.receive.unprotect(packet).is_ok())
    }

    /// What the web party gets of a packet from the SIP party. The packets are counted anew: a bare forwarder has no
    /// other need to know the rollover counter.
    #[inline]
    fn close(&mut self, packet: &mut Packet) -> bool {
        self.secret.as_mut().is_none_or(|secret| {
            secret.index += 1;
            secret.send.protect(secret.index, packet).is_ok()
        })
    }
}

/// Ways by the address of a party: a table with a place for each, open to the next one where it is taken.
struct Table {
    places: Vec<(u64, u32)>,
    used: usize,
}

impl Table {
    fn new() -> Table {
        Table { places: vec![(0, u32::MAX); 1024], used: 0 }
    }

    #[inline]
    fn start(&self, key: u64) -> usize {
        // Fibonacci hashing; the length is a power of two.
        let shift = 64 - self.places.len().trailing_zeros();
        (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> shift) as usize
    }

    fn add(&mut self, key: u64, way: u32) {
        if self.used * 2 >= self.places.len() {
            let double = vec![(0, u32::MAX); self.places.len() * 2];
            self.used = 0;
            for (key, way) in std::mem::replace(&mut self.places, double) {
                if way != u32::MAX {
                    self.add(key, way);
                }
            }
        }
        let mut at = self.start(key);
        while self.places[at].1 != u32::MAX {
            at = (at + 1) % self.places.len();
        }
        self.places[at] = (key, way);
        self.used += 1;
    }

    #[inline]
    fn find(&self, key: u64) -> Option<usize> {
        let mut at = self.start(key);
        loop {
            match self.places[at] {
                (_, u32::MAX) => return None,
                (found, way) if found == key => return Some(way as usize),
                _ => at = (at + 1) % self.places.len(),
            }
        }
    }
}

/// A floor's sockets and calls.
pub(super) struct Forwarder {
    shape: Shape,
    poll: Poll,
    ways: Vec<Way>,
    /// The socket of all web legs, and of all SIP legs.
    web: Socket,
    sip: Socket,
    /// Sockets of each call's two legs, where they have their own.
    web_legs: Vec<Socket>,
    sip_legs: Vec<Socket>,
    by_web: Table,
    by_sip: Table,
    one: Packet,
    up: Rows,
    down: Rows,
}

impl Forwarder {
    pub(super) fn new(shape: Shape) -> io::Result<Forwarder> {
        let (poll, web, sip) = (Poll::new()?, open(QUEUE)?, open(QUEUE)?);
        if shape != Shape::Legs {
            poll.add(&web, WEB)?;
        }
        if shape == Shape::Shared {
            poll.add(&sip, SIP)?;
        }
        Ok(Forwarder {
            shape,
            poll,
            ways: Vec::new(),
            web,
            sip,
            web_legs: Vec::new(),
            sip_legs: Vec::new(),
            by_web: Table::new(),
            by_sip: Table::new(),
            one: Packet::default(),
            up: Rows::default(),
            down: Rows::default(),
        })
    }

    /// Another call; gives the addresses of its web leg and its SIP leg.
    pub(super) fn add(&mut self, call: &Call) -> io::Result<[SocketAddrV4; 2]> {
        let n = self.ways.len();
        let secret = call.keys.as_ref().map(|keys| {
            let receive = Receive::new(keys.profile, &keys.receive, 2);
            Box::new(Secret { receive, send: Send::new(keys.profile, &keys.send, 2), index: 0 })
        });
        let way = Way { web: Name::new(call.web), sip: Name::new(call.sip), secret };
        self.by_web.add(way.web.key(), n as u32);
        self.by_sip.add(way.sip.key(), n as u32);
        self.ways.push(way);
        let mut legs = [address(&self.web)?, address(&self.sip)?];
        if self.shape == Shape::Legs {
            self.web_legs.push(open(0)?);
            self.poll.add(&self.web_legs[n], 2 * n as u64)?;
            legs[0] = address(&self.web_legs[n])?;
        }
        if self.shape != Shape::Shared {
            self.sip_legs.push(open(0)?);
            self.poll.add(&self.sip_legs[n], 2 * n as u64 + 1)?;
            legs[1] = address(&self.sip_legs[n])?;
        }
        Ok(legs)
    }

    /// Waits for packets and forwards them.
    pub(super) fn pass(&mut self) {
        let ready = self.poll.wait();
        let mut filled = 0;
        for n in 0..ready {
            match self.poll.token(n) {
                WEB => self.web_batch(),
                SIP => self.sip_batch(),
                leg if self.shape == Shape::Legs => self.between_legs(leg),
                leg => filled += usize::from(self.sip_packet(leg as usize / 2, filled)),
            }
        }
        if filled > 0 {
            self.down.send(&self.web, filled);
        }
    }

    /// One packet of one leg, sent on from the other leg's socket.
    fn between_legs(&mut self, leg: u64) {
        let (n, packet) = (leg as usize / 2, &mut self.one);
        let way = &mut self.ways[n];
        if leg.is_multiple_of(2) {
            if sys::receive(&self.web_legs[n], packet).is_some() && way.open(packet) {
                sys::send(&self.sip_legs[n], packet, &way.sip);
            }
        } else if sys::receive(&self.sip_legs[n], packet).is_some() && way.close(packet) {
            sys::send(&self.web_legs[n], packet, &way.web);
        }
    }

    /// A batch from the web parties, sent on by the SIP legs' own sockets, or in one batch from theirs.
    fn web_batch(&mut self) {
        let got = self.up.receive(&self.web);
        let mut filled = 0;
        for n in 0..got {
            let Some(place) = self.by_web.find(self.up.names[n].key()) else { continue };
            let way = &mut self.ways[place];
            let packet = &mut self.up.packets[n];
            if !way.open(packet) {
                continue;
            }
            if self.shape == Shape::Web {
                sys::send(&self.sip_legs[place], packet, &way.sip);
            } else {
                self.up.names[filled] = way.sip;
                self.up.packets.swap(filled, n);
                filled += 1;
            }
        }
        if filled > 0 {
            self.up.send(&self.sip, filled);
        }
    }

    /// A batch from the SIP parties, to the web parties in one batch.
    fn sip_batch(&mut self) {
        let got = self.down.receive(&self.sip);
        let mut filled = 0;
        for n in 0..got {
            let Some(place) = self.by_sip.find(self.down.names[n].key()) else { continue };
            let way = &mut self.ways[place];
            if way.close(&mut self.down.packets[n]) {
                self.down.names[filled] = way.web;
                self.down.packets.swap(filled, n);
                filled += 1;
            }
        }
        if filled > 0 {
            self.down.send(&self.web, filled);
        }
    }

    /// One packet of a SIP leg, into place `slot` of the batch for the web parties. An epoll never reports more
    /// than [`BATCH`] legs.
    fn sip_packet(&mut self, n: usize, slot: usize) -> bool {
        debug_assert!(slot < BATCH);
        let (way, packet) = (&mut self.ways[n], &mut self.down.packets[slot]);
        if sys::receive(&self.sip_legs[n], packet).is_none() || !way.close(packet) {
            return false;
        }
        self.down.names[slot] = way.web;
        true
    }
}

fn open(queue: usize) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if queue > 0 {
        socket.set_recv_buffer_size(queue)?;
        socket.set_send_buffer_size(queue)?;
    }
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    Ok(socket)
}

fn address(socket: &Socket) -> io::Result<SocketAddrV4> {
    socket.local_addr()?.as_socket_ipv4().ok_or(io::ErrorKind::AddrNotAvailable.into())
}
