//! The ends of pairs: what each sends next, what it heard, and what it reports of both (RTCP).

use super::measure::{Span, Way};
use super::own::Strange;
use super::port::PortId;
use super::sys::Arrival;
use super::{Keys, Settings};
use bridgehead::base::Packet;
use bridgehead::media::srtp::{Receive, Send};
use bridgehead::rtp::rtcp::{Block, Sending, write_cname, write_report};
use bridgehead::rtp::{FIXED, Header};
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

/// Names an end. One that was removed names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EndId {
    place: u32,
    generation: u16,
}

/// What an end is to be.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its port.
    pub port: PortId,
    /// Its own address, where the port is bound to none in particular; else unspecified.
    pub address: Ipv4Addr,
    /// Where it sends to.
    pub remote: SocketAddrV4,
    /// Its SRTP keys; `None` for plain RTP.
    pub keys: Option<Keys>,
    /// RTP payload type of what it sends.
    pub payload_type: u8,
    /// SSRC of what it sends.
    pub ssrc: u32,
    /// Where its RTCP reports go, every [`Settings::reports`]; `None` for an end that reports nothing.
    pub rtcp: Option<SocketAddrV4>,
}

/// What a payload begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    end: EndId,
    span: Span,
    number: u64,
    /// When it was sent.
    pub(super) sent: u64,
}

const MAGIC: u32 = 0x6c6f_6164;

impl Stamp {
    /// Bytes of a stamp: payloads are no shorter.
    pub const SIZE: usize = 32;

    fn write(self, out: &mut [u8; Stamp::SIZE]) {
        out[..4].copy_from_slice(&MAGIC.to_be_bytes());
        out[4..8].copy_from_slice(&self.end.place.to_be_bytes());
        out[8..10].copy_from_slice(&self.end.generation.to_be_bytes());
        out[12..16].copy_from_slice(&self.span.0.to_be_bytes());
        out[16..24].copy_from_slice(&self.number.to_be_bytes());
        out[24..].copy_from_slice(&self.sent.to_be_bytes());
    }

    fn read(payload: &[u8]) -> Option<Stamp> {
        let word = |at: usize| Some(u32::from_be_bytes(*payload.get(at..)?.first_chunk()?));
        let long = |at: usize| Some(u64::from_be_bytes(*payload.get(at..)?.first_chunk()?));
        let generation = (word(8)? >> 16) as u16;
        (word(0)? == MAGIC).then_some(())?;
        let end = EndId { place: word(4)?, generation };
        Some(Stamp { end, span: Span(word(12)?), number: long(16)?, sent: long(24)? })
    }
}

/// A packet that arrived where it should.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    pub(super) way: Way,
    pub(super) span: Span,
    pub(super) stamp: Stamp,
    /// It arrived before.
    pub(super) repeated: bool,
    /// A later one arrived before it.
    pub(super) overtaken: bool,
    /// By how much its transit differs from that of the packet before (RFC 3550 section 6.4.1, the D there).
    pub(super) jitter: Option<u64>,
}

struct End {
    wanted: Wanted,
    send: Option<Box<Send>>,
    receive: Option<Box<Receive>>,
    partner: Option<EndId>,
    way: Way,
    /// Number of the next packet; the low 16 bits are its RTP sequence number.
    next: u64,
    // What its partner heard of it.
    highest: u64,
    heard: u64,
    seen: u64,
    transit: Option<u64>,
    // What it heard of its partner.
    first: Option<u64>,
    /// The SSRC of what it hears.
    source: u32,
    /// Packets that it expected and had, as its last report said.
    reported: (u64, u64),
}

#[derive(Default)]
struct Place {
    generation: u16,
    end: Option<Box<End>>,
}

/// All ends.
#[derive(Default)]
pub(super) struct Ends {
    places: Vec<Place>,
    free: Vec<u32>,
    /// SRTP ends, by port and own address; the remote address tells those apart that share both.
    keyed: HashMap<(PortId, Ipv4Addr), Vec<(SocketAddrV4, EndId)>>,
}

impl Ends {
    fn find(&self, id: EndId) -> Option<&End> {
        let place = self.places.get(id.place as usize)?;
        (place.generation == id.generation).then_some(place.end.as_deref()).flatten()
    }

    fn find_mut(&mut self, id: EndId) -> Option<&mut End> {
        let place = self.places.get_mut(id.place as usize)?;
        (place.generation == id.generation).then_some(place.end.as_deref_mut()).flatten()
    }

    pub(super) fn port(&self, id: EndId) -> Option<PortId> {
        Some(self.find(id)?.wanted.port)
    }

    pub(super) fn first_heard(&self, id: EndId) -> Option<u64> {
        self.find(id)?.first
    }

    pub(super) fn add(&mut self, wanted: &Wanted) -> EndId {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            self.places.len() as u32 - 1
        });
        let keys = wanted.keys.as_ref();
        let end = End {
            send: keys.map(|keys| Box::new(Send::new(keys.profile, &keys.send, 2))),
            receive: keys.map(|keys| Box::new(Receive::new(keys.profile, &keys.receive, 4))),
            wanted: Wanted { keys: None, ..wanted.clone() },
            partner: None,
            way: Way::Up,
            next: 1,
            highest: 0,
            heard: 0,
            seen: 0,
            transit: None,
            first: None,
            source: 0,
            reported: (0, 0),
        };
        let entry = &mut self.places[place as usize];
        entry.end = Some(Box::new(end));
        let id = EndId { place, generation: entry.generation };
        if keys.is_some() {
            self.keyed.entry((wanted.port, wanted.address)).or_default().push((wanted.remote, id));
        }
        id
    }

    pub(super) fn pair(&mut self, a: EndId, b: EndId) {
        for (end, partner, way) in [(a, b, Way::Up), (b, a, Way::Down)] {
            if let Some(end) = self.find_mut(end) {
                (end.partner, end.way) = (Some(partner), way);
            }
        }
    }

    pub(super) fn remove(&mut self, id: EndId) {
        let Some(end) = self.find(id) else { return };
        let key = (end.wanted.port, end.wanted.address);
        if let Some(sharers) = self.keyed.get_mut(&key) {
            sharers.retain(|(_, other)| *other != id);
            if sharers.is_empty() {
                self.keyed.remove(&key);
            }
        }
        let place = &mut self.places[id.place as usize];
        place.end = None;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(id.place);
    }

    /// Writes an end's next packet. Gives which way it goes, from where, to whom.
    pub(super) fn write(
        &mut self,
        id: EndId,
        now: u64,
        span: Span,
        settings: &Settings,
        packet: &mut Packet,
    ) -> Option<(Way, Ipv4Addr, SocketAddrV4)> {
        let end = self.find_mut(id)?;
        let number = end.next;
        end.next += 1;
        let length = FIXED + settings.payload.max(Stamp::SIZE);
        packet.received(length);
        let bytes = packet.bytes_mut();
        bytes[0] = 0x80;
        bytes[1] = end.wanted.payload_type | if number == 1 { 0x80 } else { 0 };
        bytes[2..4].copy_from_slice(&(number as u16).to_be_bytes());
        let timestamp = (number as u32).wrapping_mul(settings.timestamp);
        bytes[4..8].copy_from_slice(&timestamp.to_be_bytes());
        bytes[8..12].copy_from_slice(&end.wanted.ssrc.to_be_bytes());
        let stamp = Stamp { end: id, span, number, sent: now };
        if let Some(place) = bytes[FIXED..].first_chunk_mut() {
            stamp.write(place);
        }
        if let Some(send) = &mut end.send {
            send.protect(number, packet).ok()?;
        }
        Some((end.way, end.wanted.address, end.wanted.remote))
    }

    /// Writes an end's report, where one is due after the packet that [`Ends::write`] wrote: the ends' reports are
    /// spread evenly, as their packets are. Gives from where it goes, to whom.
    pub(super) fn report(
        &mut self,
        id: EndId,
        unix: Duration,
        settings: &Settings,
        packet: &mut Packet,
    ) -> Option<(Ipv4Addr, SocketAddrV4)> {
        let every = (settings.reports.as_nanos() / settings.interval.as_nanos().max(1)).max(1) as u64;
        let end = self.find(id)?;
        let to = end.wanted.rtcp?;
        if (end.next + u64::from(id.place) * 7) % every != 0 {
            return None;
        }
        let (expected, heard) =
            end.partner.and_then(|partner| self.find(partner)).map_or((0, 0), |end| (end.highest, end.heard));
        let end = self.find_mut(id)?;
        let mut text = Vec::with_capacity(128);
        end.write_report(&mut text, unix, settings, (expected, heard));
        packet.fill(&text).then_some(())?;
        if let Some(send) = &mut end.send {
            send.protect_rtcp(packet).ok()?;
        }
        Some((end.wanted.address, to))
    }

    /// A packet arrives at a port.
    pub(super) fn hear(
        &mut self,
        port: PortId,
        arrival: Arrival,
        packet: &mut Packet,
    ) -> Result<Heard, Strange> {
        let header = match self.keyed_end(port, arrival) {
            Some(id) => {
                let receive = self.find_mut(id).and_then(|end| end.receive.as_mut());
                receive.ok_or(Strange::Nobody)?.unprotect(packet).map_err(|_| Strange::Refused)?
            }
            None => Header::parse(packet.bytes()).ok_or(Strange::Unstamped)?,
        };
        let stamp = packet.bytes().get(header.length..).and_then(Stamp::read).ok_or(Strange::Unstamped)?;
        let partner = self.find(stamp.end).and_then(|end| end.partner).ok_or(Strange::Nobody)?;
        let hearer = self.find_mut(partner).ok_or(Strange::Nobody)?;
        let own = hearer.wanted.address;
        if hearer.wanted.port != port || !own.is_unspecified() && own != arrival.to {
            return Err(Strange::Misled);
        }
        hearer.first.get_or_insert(arrival.at);
        hearer.source = header.ssrc;
        let sender = self.find_mut(stamp.end).ok_or(Strange::Nobody)?;
        Ok(sender.on_heard(stamp, arrival.at))
    }

    fn keyed_end(&self, port: PortId, arrival: Arrival) -> Option<EndId> {
        let own = self.keyed.get(&(port, arrival.to));
        let sharers = own.or_else(|| self.keyed.get(&(port, Ipv4Addr::UNSPECIFIED)))?;
        match sharers.as_slice() {
            [(_, one)] => Some(*one),
            many => many.iter().find(|(remote, _)| *remote == arrival.from).map(|(_, id)| *id),
        }
    }
}

impl End {
    fn on_heard(&mut self, stamp: Stamp, at: u64) -> Heard {
        let mut heard = Heard {
            way: self.way,
            span: stamp.span,
            stamp,
            repeated: false,
            overtaken: stamp.number < self.highest,
            jitter: None,
        };
        let transit = heard.transit(at);
        heard.jitter = self.transit.replace(transit).map(|before| transit.abs_diff(before));
        self.heard += 1;
        if stamp.number > self.highest {
            let step = stamp.number - self.highest;
            self.seen = if step < 64 { self.seen << step | 1 } else { 1 };
            self.highest = stamp.number;
        } else {
            let bit = 1_u64.checked_shl((self.highest - stamp.number) as u32).unwrap_or(0);
            heard.repeated = self.seen & bit != 0;
            self.seen |= bit;
        }
        heard
    }

    /// A sender report with what it heard of its partner, and its name (RFC 3550 section 6.4.1). Reports are not read
    /// here, so that no block tells of the last one; jitter is in the generator's own report.
    fn write_report(&mut self, out: &mut Vec<u8>, unix: Duration, settings: &Settings, all: (u64, u64)) {
        let sent = self.next - 1;
        let sending = Sending {
            // Seconds since 1900, and 1/2^32 s.
            ntp: ((unix.as_secs() + 2_208_988_800) << 32)
                | ((u64::from(unix.subsec_nanos()) << 32) / 1_000_000_000),
            timestamp: (sent as u32).wrapping_mul(settings.timestamp),
            packets: sent as u32,
            octets: (sent * settings.payload as u64) as u32,
        };
        let (expected, heard) = (all.0 - self.reported.0.min(all.0), all.1 - self.reported.1.min(all.1));
        self.reported = all;
        let block = Block {
            ssrc: self.source,
            fraction: (expected.saturating_sub(heard) * 256 / expected.max(1)).min(255) as u8,
            lost: (all.0 as i64 - all.1 as i64) as i32,
            highest: all.0 as u32,
            ..Block::default()
        };
        let blocks = if self.first.is_some() { &[block][..] } else { &[] };
        write_report(out, self.wanted.ssrc, Some(&sending), blocks);
        write_cname(out, self.wanted.ssrc, "load");
    }
}
