//! Packet streams between pairs of UDP endpoints: paced, stamped, and measured. Knows nothing of signalling, nor what
//! lies between the two ends of a pair.
//!
//! ```text
//!   End A --> [ whatever is measured ] --> End B      way Up
//!   End A <-- [ whatever is measured ] <-- End B      way Down
//! ```
//!
//! How to put something under load:
//! 1. [`Engine::open`] some ports (sockets). One port serves any number of ends: bound to an unspecified address, each
//!    end has a source address of its own (`127.x.y.z`, by `IP_PKTINFO`), so that thousands of peers cost two sockets and
//!    are sent and received in batches. Or open a port for each end.
//! 2. [`Engine::add`] the ends: port, source address, where to send, payload type, SSRC, and [`Keys`] where it is SRTP (as
//!    that end has them: `send` protects, `receive` opens).
//! 3. [`Engine::pair`] two ends. From then on each sends a packet of [`Settings::payload`] bytes every
//!    [`Settings::interval`], at a phase that spreads all streams evenly over the interval. [`Engine::remove`] ends a pair.
//! 4. [`Engine::pass`] and [`Engine::rest`] in a loop. Datagrams that are not RTP come out of [`Engine::poll_other`].
//! 5. [`Engine::window`] begins a new span of measurement, and [`Engine::take`] gives what was measured in one. A packet
//!    counts in the span in which it was sent, whenever it arrives: wait some 300 ms before taking a span that is over.
//!
//! Every payload begins with a [`Stamp`]: which stream, which number, which span, and when it was sent (read before each
//! batch of at most 32). Arrival is when the kernel took the packet in (`SO_TIMESTAMPNS`), so that delays measure what
//! lies between and not how soon the generator looks. What the generator itself is short of (late sends, refused sends,
//! drops at its own sockets, idle time) is in [`Own`].

mod end;
mod measure;
mod own;
mod port;
mod sys;
#[cfg(test)]
mod tests;
mod wheel;

pub use bridgehead::rtp::{Keys, Profile};
pub use end::{EndId, Stamp, Wanted};
pub use measure::{Figures, Span, Way};
pub use own::Own;
pub use port::PortId;
pub use sys::now;

use bridgehead::base::Packet;
use end::{Ends, Heard};
use measure::Measure;
use mio::{Events, Interest, Token};
use port::Port;
use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;
use sys::{Arrival, BATCH, Headers};
use wheel::Wheel;

/// How streams look.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Between two packets of a stream.
    pub interval: Duration,
    /// Between two passes: streams are spread over `interval / tick` phases.
    pub tick: Duration,
    /// Bytes of RTP payload.
    pub payload: usize,
    /// RTP timestamp units between two packets.
    pub timestamp: u32,
    /// A packet that takes longer than this counts as late.
    pub late: Duration,
    /// Between two RTCP reports of an end that has them ([`Wanted::rtcp`]).
    pub reports: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            // A little off 20 ms, as any clock is: were streams in step with the kernel's clock ticks, its accounting of
            // user and kernel time would see the gateway in the same place at each.
            interval: Duration::from_micros(20_007),
            tick: Duration::from_micros(250),
            payload: 160,
            timestamp: 160,
            late: Duration::from_millis(20),
            // RFC 3550 section 6.2: the least for two parties, unrandomised, for ends are spread anyway.
            reports: Duration::from_secs(5),
        }
    }
}

/// A datagram that is no RTP: STUN, DTLS.
#[derive(Clone, Debug)]
pub struct Other {
    /// The port that it came by.
    pub port: PortId,
    /// The address that it was sent to.
    pub to: Ipv4Addr,
    /// Who sent it.
    pub from: SocketAddrV4,
    /// The bytes.
    pub data: Vec<u8>,
    /// When the kernel took it in.
    pub at: u64,
}

/// Datagrams that wait for [`Engine::poll_other`]; more are dropped and counted in [`Own`].
const OTHERS: usize = 65_536;
/// Batches that one pass takes from one port before it looks at the next.
const TURNS: usize = 64;
/// Ticks that one pass may catch up with: beyond, the generator must receive too, or it would drown.
const CATCH_UP: usize = 8;

/// The engine. One thread drives it.
pub struct Engine {
    settings: Settings,
    poll: mio::Poll,
    events: Events,
    ports: Vec<Option<Port>>,
    ready: Vec<PortId>,
    ends: Ends,
    wheel: Wheel,
    measure: Measure,
    own: Own,
    others: VecDeque<Other>,
    headers: Headers,
    out: Vec<Packet>,
    ways: Vec<(Ipv4Addr, SocketAddrV4)>,
    packets: Vec<Packet>,
    arrivals: Vec<Arrival>,
    due: Vec<(PortId, EndId)>,
}

impl Engine {
    /// An engine without ports. Sets the calling thread's timer slack: make it on the thread that drives it.
    pub fn new(settings: Settings) -> io::Result<Engine> {
        sys::sleep_exactly();
        let now = sys::now();
        let arrival =
            Arrival { from: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0), to: Ipv4Addr::UNSPECIFIED, at: 0 };
        Ok(Engine {
            poll: mio::Poll::new()?,
            events: Events::with_capacity(1024),
            ports: Vec::new(),
            ready: Vec::new(),
            ends: Ends::default(),
            wheel: Wheel::new(now, settings.interval, settings.tick),
            measure: Measure::new(settings.late),
            own: Own::new(now),
            others: VecDeque::new(),
            headers: Headers::default(),
            out: (0..BATCH).map(|_| Packet::default()).collect(),
            ways: Vec::with_capacity(BATCH),
            packets: (0..BATCH).map(|_| Packet::default()).collect(),
            arrivals: vec![arrival; BATCH],
            due: Vec::new(),
            settings,
        })
    }

    /// Opens a socket at `address`; port 0 takes any. An unspecified address serves ends with addresses of their own.
    pub fn open(&mut self, address: SocketAddrV4) -> io::Result<PortId> {
        let port = Port::open(address)?;
        let free = self.ports.iter().position(Option::is_none).unwrap_or(self.ports.len());
        let id = PortId(free as u32);
        port.register(self.poll.registry(), Token(free))?;
        if free == self.ports.len() {
            self.ports.push(None);
        }
        self.ports[free] = Some(port);
        Ok(id)
    }

    /// Where a port is bound.
    pub fn address(&self, port: PortId) -> Option<SocketAddrV4> {
        Some(self.ports.get(port.0 as usize)?.as_ref()?.address())
    }

    /// Closes a port.
    pub fn close(&mut self, port: PortId) {
        if let Some(port) = self.ports.get_mut(port.0 as usize).and_then(Option::take) {
            self.own.drops_of_closed += u64::from(port.drops());
        }
    }

    /// A new end. It sends nothing before it is paired.
    pub fn add(&mut self, wanted: &Wanted) -> EndId {
        self.ends.add(wanted)
    }

    /// Lets two ends stream to each other: what `a` sends is on its way [`Way::Up`], what `b` sends [`Way::Down`].
    pub fn pair(&mut self, a: EndId, b: EndId) {
        self.ends.pair(a, b);
        for end in [a, b] {
            if let Some(port) = self.ends.port(end) {
                self.wheel.add(end, port);
            }
        }
    }

    /// Stops an end's stream; it goes on hearing.
    pub fn pause(&mut self, end: EndId) {
        self.wheel.remove(end);
    }

    /// Stops an end's stream and forgets the end; packets of it that are on their way are no longer heard.
    pub fn remove(&mut self, end: EndId) {
        self.wheel.remove(end);
        self.ends.remove(end);
    }

    /// When an end first heard a packet of its partner.
    pub fn first_heard(&self, end: EndId) -> Option<u64> {
        self.ends.first_heard(end)
    }

    /// Streams that are being sent.
    pub fn streams(&self) -> usize {
        self.wheel.len()
    }

    /// Begins a new span of measurement.
    pub fn window(&mut self) -> Span {
        self.measure.begin(sys::now())
    }

    /// What was measured in a span, which is forgotten.
    pub fn take(&mut self, span: Span) -> Option<[Figures; 2]> {
        self.measure.take(span)
    }

    /// What the generator itself is short of, since it was last asked.
    pub fn take_own(&mut self) -> Own {
        let drops = self.ports.iter().flatten().map(|port| u64::from(port.drops())).sum();
        self.own.take(sys::now(), drops)
    }

    /// Sends a datagram of the caller's own from a port; from the port's own address where `from` is unspecified.
    pub fn send(&mut self, port: PortId, from: Ipv4Addr, to: SocketAddrV4, data: &[u8]) {
        let Some(Some(port)) = self.ports.get(port.0 as usize) else { return };
        if !self.out[0].fill(data) {
            return;
        }
        if self.headers.send(port.fd(), &mut self.out[..1], &[(from, to)]).is_err() {
            self.own.unsent += 1;
        }
    }

    /// The next datagram that was no RTP.
    pub fn poll_other(&mut self) -> Option<Other> {
        self.others.pop_front()
    }

    /// Sends what is due and receives what is there. Never waits.
    pub fn pass(&mut self) -> io::Result<()> {
        for _ in 0..CATCH_UP {
            let now = sys::now();
            let Some(scheduled) = self.wheel.turn(now, &mut self.due) else { break };
            self.send_due(scheduled);
        }
        self.receive()
    }

    /// Sleeps until the next tick; gives how long.
    pub fn rest(&mut self) -> Duration {
        let before = sys::now();
        let wait = Duration::from_nanos(self.wheel.next().saturating_sub(before));
        if wait.is_zero() {
            return wait;
        }
        std::thread::sleep(wait);
        let slept = Duration::from_nanos(sys::now().saturating_sub(before));
        self.own.idle += slept.min(wait);
        slept
    }

    /// The streams in `due` are sorted by port.
    fn send_due(&mut self, scheduled: u64) {
        let due = std::mem::take(&mut self.due);
        for run in due.chunk_by(|(a, _), (b, _)| a == b) {
            for chunk in run.chunks(BATCH) {
                self.send_chunk(scheduled, chunk);
            }
        }
        self.due = due;
        self.due.clear();
    }

    /// Sends the next packets of streams of one port.
    fn send_chunk(&mut self, scheduled: u64, chunk: &[(PortId, EndId)]) {
        let port = chunk.first().and_then(|(port, _)| self.ports.get(port.0 as usize));
        let Some(Some(port)) = port else { return };
        self.ways.clear();
        let now = sys::now();
        for (_, end) in chunk {
            let packet = &mut self.out[self.ways.len()];
            let span = self.measure.current();
            if let Some((way, from, to)) = self.ends.write(*end, now, span, &self.settings, packet) {
                self.ways.push((from, to));
                self.measure.on_sent(way);
            }
        }
        let count = self.ways.len();
        self.own.on_sent(now.saturating_sub(scheduled), count as u64);
        let mut from = 0;
        while from < count {
            match self.headers.send(port.fd(), &mut self.out[from..count], &self.ways[from..]) {
                Ok(sent) => from += sent.max(1),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => self.own.refused += 1,
                Err(_) => {
                    self.own.unsent += 1;
                    from += 1;
                }
            }
        }
        self.send_reports(chunk);
    }

    /// Sends the reports of those streams whose turn it is.
    fn send_reports(&mut self, chunk: &[(PortId, EndId)]) {
        let unix = Duration::from_nanos(sys::now());
        for (port, end) in chunk {
            let packet = &mut self.out[0];
            if let Some((from, to)) = self.ends.report(*end, unix, &self.settings, packet)
                && let Some(Some(port)) = self.ports.get(port.0 as usize)
            {
                let sent = self.headers.send(port.fd(), &mut self.out[..1], &[(from, to)]).is_ok();
                self.own.reports += u64::from(sent);
            }
        }
    }

    fn receive(&mut self) -> io::Result<()> {
        match self.poll.poll(&mut self.events, Some(Duration::ZERO)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.events.clear(),
            result => result?,
        }
        for event in &self.events {
            let id = PortId(event.token().0 as u32);
            if let Some(Some(port)) = self.ports.get_mut(id.0 as usize)
                && !std::mem::replace(&mut port.ready, true)
            {
                self.ready.push(id);
            }
        }
        let ready = std::mem::take(&mut self.ready);
        for id in ready {
            if self.drain(id) {
                self.ready.push(id);
            } else if let Some(Some(port)) = self.ports.get_mut(id.0 as usize) {
                port.ready = false;
            }
        }
        Ok(())
    }

    /// Takes what a port has; true where there may be more.
    fn drain(&mut self, id: PortId) -> bool {
        for _ in 0..TURNS {
            let Some(Some(port)) = self.ports.get(id.0 as usize) else { return false };
            let own = *port.address().ip();
            let got = match self.headers.receive(port.fd(), &mut self.packets, &mut self.arrivals) {
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                // An ICMP error of an earlier datagram, spent now; or a signal.
                Err(_) => {
                    self.own.refused += 1;
                    continue;
                }
            };
            self.own.received += got as u64;
            for n in 0..got {
                if self.arrivals[n].to.is_unspecified() {
                    self.arrivals[n].to = own;
                }
                self.on_packet(id, n);
            }
            if got < BATCH {
                return false;
            }
        }
        true
    }

    fn on_packet(&mut self, port: PortId, n: usize) {
        let (packet, arrival) = (&mut self.packets[n], self.arrivals[n]);
        match packet.bytes() {
            // RFC 7983, RFC 5761.
            [128..=191, 64..=95 | 192..=223, ..] => self.own.rtcp += 1,
            [128..=191, ..] => match self.ends.hear(port, arrival, packet) {
                Ok(heard) => self.measure.on_heard(&heard, arrival.at),
                Err(why) => self.own.on_strange(why),
            },
            [] => {}
            bytes if self.others.len() < OTHERS => self.others.push_back(Other {
                port,
                to: arrival.to,
                from: arrival.from,
                data: bytes.to_vec(),
                at: arrival.at,
            }),
            _ => self.own.shed += 1,
        }
    }
}

/// What a port is heard for.
const READABLE: Interest = Interest::READABLE;

impl Heard {
    fn transit(&self, at: u64) -> u64 {
        at.saturating_sub(self.stamp.sent)
    }
}
