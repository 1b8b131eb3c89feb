//! The virtual network: one queue of events on virtual time, and links that lose, repeat, delay and so reorder.

use crate::states::States;
use bridgehead::base::{Now, Random};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// The gateway's one address.
pub const GATEWAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

pub fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// The gateway's SIP listener, shared by all shards.
pub fn gateway_sip() -> SocketAddr {
    SocketAddr::new(GATEWAY, 5060)
}

/// A datagram under way.
#[derive(Clone, Debug)]
pub struct Datagram {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub data: Vec<u8>,
}

/// What a stream's reader finds.
#[derive(Clone, Debug)]
pub enum Stream {
    Bytes(Vec<u8>),
    /// No more will come; the far side still reads.
    End,
    /// The connection failed.
    Reset,
}

/// Something that happens at a moment.
#[derive(Debug)]
pub enum Event {
    Datagram(Datagram),
    /// A browser's connection reaches the gateway.
    Connect {
        connection: usize,
    },
    /// To the gateway.
    Up {
        connection: usize,
        stream: Stream,
    },
    /// To the browser.
    Down {
        connection: usize,
        stream: Stream,
    },
    /// A connection takes bytes again.
    Writable {
        connection: usize,
    },
    /// Mail between shards arrives: the oldest of the pair.
    Mail {
        from: usize,
        to: usize,
    },
    /// A shard's deadline.
    Shard(usize),
    Phone(usize, crate::phone::Due),
    Browser(usize, crate::browser::Due),
    Step(crate::scenario::Step),
}

struct Entry {
    at: Instant,
    serial: u64,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.serial == other.serial
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.serial).cmp(&(other.at, other.serial))
    }
}

/// How a way through the network behaves.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    pub loss: f64,
    pub twice: f64,
    pub delay_ms: u64,
    pub jitter_ms: u64,
}

impl Link {
    pub const CLEAN: Link = Link { loss: 0.0, twice: 0.0, delay_ms: 5, jitter_ms: 0 };

    pub fn random(random: &mut Random) -> Link {
        Link {
            loss: random.below(20) as f64 / 100.0,
            twice: random.below(10) as f64 / 100.0,
            delay_ms: 1 + random.below(60),
            jitter_ms: random.below(120),
        }
    }
}

/// What a test does with a datagram instead of the link.
pub type Filter = Box<dyn FnMut(&Datagram) -> Fate + Send>;

/// See [`Filter`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    AsTheLinkSays,
    Lost,
    Twice,
}

/// The network and the clock.
pub struct Net {
    pub now: Now,
    pub start: Instant,
    pub random: Random,
    pub states: States,
    /// Whether ways differ and lose; else all are [`Link::CLEAN`].
    pub faulty: bool,
    pub filter: Option<Filter>,
    /// Addresses as the gateway sees them, of those behind a NAT.
    pub nat: BTreeMap<SocketAddr, SocketAddr>,
    /// Addresses whose cable is cut.
    pub dark: Vec<IpAddr>,
    pub seed: u64,
    /// Print everything as it happens.
    pub verbose: bool,
    queue: BinaryHeap<Reverse<Entry>>,
    serial: u64,
    links: BTreeMap<(IpAddr, IpAddr), Link>,
    /// Chances of each kind of traffic on each way. DTLS has randomness of its own, which must not reach the rest.
    dice: BTreeMap<(IpAddr, IpAddr, u8), Random>,
}

impl Net {
    pub fn new(seed: u64, faulty: bool, verbose: bool) -> Net {
        #[expect(clippy::disallowed_methods, reason = "virtual time begins somewhere")]
        let start = Instant::now();
        Net {
            now: Now { instant: start, unix: Duration::from_hours(500_000) },
            start,
            random: Random::from_number(seed),
            states: States::default(),
            faulty,
            filter: None,
            nat: BTreeMap::new(),
            dark: Vec::new(),
            seed,
            verbose,
            queue: BinaryHeap::new(),
            serial: 0,
            links: BTreeMap::new(),
            dice: BTreeMap::new(),
        }
    }

    /// Virtual time since the start.
    pub fn clock(&self) -> Duration {
        self.now.instant - self.start
    }

    /// Notes what happens, for whoever has to find out why a seed failed.
    pub fn note(&mut self, what: impl FnOnce() -> String) {
        if self.verbose {
            println!("{:>10.4} {}", self.clock().as_secs_f64(), what());
        }
    }

    /// The gateway, or a peer, did wrong.
    #[track_caller]
    pub fn fault(&self, what: &str) -> ! {
        panic!("at {:.4} s: {what}", self.clock().as_secs_f64())
    }

    #[track_caller]
    pub fn check(&self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.fault(&what());
        }
    }

    pub fn at(&mut self, at: Instant, event: Event) {
        self.serial += 1;
        self.queue.push(Reverse(Entry { at, serial: self.serial, event }));
    }

    pub fn after(&mut self, delay: Duration, event: Event) {
        self.at(self.now.instant + delay, event);
    }

    /// The next event up to `end`, with the clock at its moment; without one, the clock at `end`.
    pub fn next(&mut self, end: Instant) -> Option<Event> {
        if self.queue.peek().is_none_or(|entry| entry.0.at > end) {
            self.now = self.now.after(end.saturating_duration_since(self.now.instant));
            return None;
        }
        let Reverse(entry) = self.queue.pop()?;
        self.now = self.now.after(entry.at.saturating_duration_since(self.now.instant));
        Some(entry.event)
    }

    fn link(&mut self, a: IpAddr, b: IpAddr) -> Link {
        if !self.faulty {
            return Link::CLEAN;
        }
        if let Some(link) = self.links.get(&(a, b)) {
            return *link;
        }
        let link = Link::random(&mut self.random);
        self.links.insert((a, b), link);
        link
    }

    /// A datagram leaves its sender.
    pub fn send(&mut self, from: SocketAddr, to: SocketAddr, data: Vec<u8>) {
        let from = self.nat.get(&from).copied().unwrap_or(from);
        let datagram = Datagram { from, to, data };
        let fate = self.filter.as_mut().map_or(Fate::AsTheLinkSays, |filter| filter(&datagram));
        let link = self.link(from.ip(), to.ip());
        let dice = self.dice(&datagram);
        let lost = dice.chance(link.loss) || fate == Fate::Lost;
        let twice = dice.chance(link.twice) || fate == Fate::Twice;
        let delays = [0; 2].map(|_| ms(link.delay_ms + dice.below(link.jitter_ms + 1)));
        let note = if lost {
            " LOST"
        } else if twice {
            " TWICE"
        } else {
            ""
        };
        self.note(|| show(&datagram, note));
        if lost || self.dark.contains(&from.ip()) || self.dark.contains(&to.ip()) {
            if matches!(datagram.data.first(), Some(20..=63)) && lost {
                self.states.reach("dtls_packet_lost");
            }
            return;
        }
        for delay in delays.into_iter().take(1 + usize::from(twice)) {
            self.after(delay, Event::Datagram(datagram.clone()));
        }
    }

    fn dice(&mut self, datagram: &Datagram) -> &mut Random {
        let class = match datagram.data.first() {
            Some(0..=3) => 0,
            Some(20..=63) => 1,
            Some(128..=191) => 2,
            _ => 3,
        };
        let key = (datagram.from.ip(), datagram.to.ip(), class);
        let seed = self.seed;
        self.dice.entry(key).or_insert_with(|| {
            let text = format!("{seed} {key:?}");
            let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
            Random::from_number(hash)
        })
    }

    /// Whom an address means on this side of the NATs.
    pub fn inside(&self, to: SocketAddr) -> SocketAddr {
        self.nat.iter().find(|(_, outside)| **outside == to).map_or(to, |(inside, _)| *inside)
    }

    /// How long bytes take on a stream: loss below shows as delay.
    pub fn stream_delay(&mut self) -> Duration {
        let slow = self.faulty && self.random.chance(0.05);
        ms(if slow { 200 + self.random.below(800) } else { 5 + self.random.below(20) })
    }
}

/// One line about a datagram.
fn show(datagram: &Datagram, note: &str) -> String {
    let Datagram { from, to, data } = datagram;
    let what = match data.first() {
        Some(0..=3) => "STUN".to_owned(),
        Some(20..=63) => "DTLS".to_owned(),
        Some(b'A'..=b'Z') => sip_line(data),
        Some(128..=191) if crate::media::is_rtcp(data) => "RTCP".to_owned(),
        Some(128..=191) => crate::media::read(data).map_or_else(String::new, |rtp| {
            let count = rtp.payload.get(12..17).map(<[u8]>::to_vec);
            format!("RTP {} {} {} {count:?}", rtp.ssrc, rtp.sequence, rtp.timestamp)
        }),
        _ => "?".to_owned(),
    };
    format!("{from} > {to} {what}{note}")
}

fn sip_line(data: &[u8]) -> String {
    let text = String::from_utf8_lossy(data);
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.map(|line| line[name.len()..].trim().to_owned()).unwrap_or_default()
    };
    let branch =
        field("Via:").split("branch=").nth(1).unwrap_or("").split(';').next().unwrap_or("").to_owned();
    let tag = |value: String| value.split("tag=").nth(1).unwrap_or("-").to_owned();
    let first = text.lines().next().unwrap_or("");
    let (call, cseq) = (field("Call-ID:"), field("CSeq:"));
    format!("{first} | {cseq} | {call} | {} > {} | {branch}", tag(field("From:")), tag(field("To:")))
}
