//! The media of a call to a number of ours: what its descriptions say, and its packets.

use super::g711::{FRAME, Law};
use super::numbers;
use super::sound::Sound;
use crate::base::Random;
use crate::rtp::{Header, TelephoneEvent};
use crate::sdp::{Codec, Direction, Kind, Media, Origin, Payload, Session, negotiate};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The packet time of what we send.
const PACE: Duration = Duration::from_millis(20);
/// A sound that is later than this goes on from now, instead of catching up.
const LATE: Duration = Duration::from_millis(200);
/// Bytes of an RTP payload that are sent back: no voice codec makes more in its longest packet.
const LONGEST: usize = 1_400;

fn allowed() -> [Codec; 3] {
    [Codec::new("pcmu", 8000, 1), Codec::new("pcma", 8000, 1), Codec::telephone_event(8000)]
}

/// Our offer, where the caller made none.
pub fn offer(local: SocketAddr, id: u64) -> Session {
    let payload = |(codec, number): (Codec, u8)| Payload {
        fmtp: if codec.is_telephone_event() { "0-15".into() } else { String::new() },
        number,
        codec,
    };
    let payloads: Vec<Payload> = allowed().into_iter().zip([0, 8, 101]).map(payload).collect();
    let mut media = Media { port: local.port(), ports: 1, ptime_ms: Some(20), ..Media::default() };
    media.set_payload_types(&payloads);
    let origin =
        Origin { id: id.to_string(), version: "1".into(), address: local.ip().into(), ..Origin::default() };
    let connection = Some(local.ip().into());
    Session { origin, connection, name: "-".into(), media: vec![media], ..Session::default() }
}

/// What answers an offer: its first audio that we can speak. `None`: nothing in common (488).
pub fn answer(offer: &Session, local: SocketAddr, id: u64) -> Option<Session> {
    let (place, offered, payloads) = offer.media.iter().enumerate().find_map(|(place, media)| {
        let plain = media.kind == Kind::Audio && media.protocol.is_rtp() && !media.protocol.is_secure();
        let payloads = negotiate::accept(&media.payload_types(), &allowed());
        (plain && !media.rejected() && !payloads.is_empty()).then_some((place, media, payloads))
    })?;
    let origin =
        Origin { id: id.to_string(), version: "1".into(), address: local.ip().into(), ..Origin::default() };
    let mut answer = Session::refusing(offer, origin);
    let media = answer.media.get_mut(place)?;
    media.port = local.port();
    media.direction = Some(offer.held_direction(offered).answer(Direction::SendRecv));
    media.rtcp_mux = offered.rtcp_mux;
    media.ptime_ms = Some(20);
    media.set_payload_types(&payloads);
    answer.connection = Some(local.ip().into());
    Some(answer)
}

/// Where the far side of an agreement wants its media, and what it speaks.
#[derive(Debug, Default)]
pub struct Agreed {
    remote: Option<SocketAddr>,
    /// The voice codec we send, and its number there.
    voice: Option<(Law, u8)>,
    /// Numbers that may come.
    numbers: Vec<u8>,
    /// That of telephone events among them.
    event: Option<u8>,
    /// We may send.
    send: bool,
    /// They may.
    pub receive: bool,
}

impl Agreed {
    /// From both descriptions; `ours` was the answer, or theirs was.
    pub fn new(ours: &Session, theirs: &Session) -> Agreed {
        let pairs = ours.media.iter().zip(&theirs.media);
        let Some((mine, other)) =
            pairs.into_iter().find(|(mine, other)| !mine.rejected() && !other.rejected())
        else {
            return Agreed::default();
        };
        let shared = negotiate::shared(&mine.payload_types(), &other.payload_types(), true);
        let ip = theirs.connection(other).and_then(|connection| connection.address.ip());
        let direction = theirs.held_direction(other);
        let own = ours.direction(mine);
        Agreed {
            remote: ip.filter(|ip| !ip.is_unspecified()).map(|ip| (ip, other.port).into()),
            voice: shared.iter().find_map(|codec| Some((Law::of(&codec.codec.name)?, codec.send))),
            numbers: shared.iter().map(|codec| codec.receive).collect(),
            event: shared.iter().find(|codec| codec.codec.is_telephone_event()).map(|codec| codec.receive),
            send: direction.receives() && own.sends(),
            receive: direction.sends() && own.receives(),
        }
    }

    /// The parts of a packet that was agreed on.
    fn read<'a>(&self, data: &'a [u8]) -> Result<(Header, &'a [u8]), ()> {
        let header = Header::parse(data).ok_or(())?;
        let payload = header.payload(data).and_then(|range| data.get(range)).ok_or(())?;
        let known = self.numbers.contains(&header.payload_type) && payload.len() <= LONGEST;
        if known { Ok((header, payload)) } else { Err(()) }
    }
}

/// Our side of an RTP session: one SSRC and one timeline, whatever comes in.
#[derive(Debug)]
pub struct Stream {
    pub agreed: Agreed,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    /// What is sent back: its source, and how far our numbers are from its.
    echo: Option<Source>,
    /// What is heard from us, and when it goes on.
    sound: Sound,
    next: Option<Instant>,
    /// The last packet went out: the next one begins no talk spurt (RFC 3551 section 4.1).
    talking: bool,
    /// The source and the timestamp of the last key that was heard.
    key: Option<(u32, u32)>,
}

#[derive(Clone, Copy, Debug)]
struct Source {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
}

impl Stream {
    /// With random beginnings (RFC 3550 section 5.1).
    pub fn new(random: &mut Random, kind: numbers::Kind) -> Stream {
        Stream {
            agreed: Agreed::default(),
            ssrc: random.u32(),
            sequence: random.u32() as u16,
            timestamp: random.u32(),
            echo: None,
            sound: Sound::of(kind),
            next: None,
            talking: false,
            key: None,
        }
    }

    /// Whether a packet may be one of the caller's; if so it tells that the caller is there.
    pub fn is_from_caller(&self, from: SocketAddr) -> bool {
        self.agreed.remote == Some(from)
    }

    /// What goes back for a packet; `Err` where it is none that was agreed on.
    pub fn echo(&mut self, data: &[u8]) -> Result<Option<(SocketAddr, Vec<u8>)>, ()> {
        let (header, payload) = self.agreed.read(data)?;
        let Some(to) = self.agreed.remote.filter(|_| self.agreed.send) else { return Ok(None) };
        let source = match self.echo {
            Some(source) if source.ssrc == header.ssrc => source,
            // A new source goes on where the old one ended, so that the caller hears one timeline.
            _ => Source {
                ssrc: header.ssrc,
                sequence: self.sequence.wrapping_sub(header.sequence),
                timestamp: self.timestamp.wrapping_add(FRAME as u32).wrapping_sub(header.timestamp),
            },
        };
        self.echo = Some(source);
        let sequence = header.sequence.wrapping_add(source.sequence);
        if crate::rtp::newer(sequence.wrapping_add(1), self.sequence) {
            self.sequence = sequence.wrapping_add(1);
            self.timestamp = header.timestamp.wrapping_add(source.timestamp);
        }
        let timestamp = header.timestamp.wrapping_add(source.timestamp);
        Ok(Some((to, self.packet(header.payload_type, header.marker, sequence, timestamp, payload))))
    }

    /// A key that a packet is the first to tell of; `Err` where it is none that was agreed on. All packets of a key
    /// have one timestamp (RFC 4733 section 2.3.3), so a lost one does no harm, and a late one is no other key.
    pub fn digit(&mut self, data: &[u8]) -> Result<Option<char>, ()> {
        let (header, payload) = self.agreed.read(data)?;
        if self.agreed.event != Some(header.payload_type) {
            return Ok(None);
        }
        let ahead = |at: u32| (header.timestamp.wrapping_sub(at) as i32) > 0;
        if self.key.is_some_and(|(ssrc, at)| ssrc == header.ssrc && !ahead(at)) {
            return Ok(None);
        }
        let digit = TelephoneEvent::parse(payload).ok_or(())?.digit();
        self.key = Some((header.ssrc, header.timestamp));
        Ok(digit)
    }

    /// Lets the sound know of a key.
    pub fn on_digit(&mut self, digit: char) {
        if let Sound::Ivr(ivr) = &mut self.sound {
            ivr.on_digit(digit);
        }
    }

    /// Whether the sound has come to its end and nothing is left to be heard.
    pub fn is_over(&self) -> bool {
        matches!(&self.sound, Sound::Ivr(ivr) if ivr.is_over())
    }

    fn packet(&self, number: u8, marker: bool, sequence: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
        let header = Header {
            marker,
            padding: false,
            payload_type: number,
            sequence,
            timestamp,
            ssrc: self.ssrc,
            csrcs: 0,
            extended: false,
            length: crate::rtp::FIXED,
        };
        [&header.write()[..], payload].concat()
    }

    /// When the sound goes on.
    pub fn deadline(&self) -> Option<Instant> {
        self.next
    }

    /// Begins the sound, or lets it go on.
    pub fn start(&mut self, now: Instant) {
        self.next.get_or_insert(now);
    }

    /// The next packet of the sound that is due. Where nothing may be sent its clock goes on and the sound waits.
    pub fn play(&mut self, now: Instant) -> Option<(SocketAddr, Vec<u8>)> {
        while let Some(next) = self.next.filter(|next| *next <= now) {
            self.next = Some(if now - next > LATE { now + PACE } else { next + PACE });
            let timestamp = self.timestamp;
            self.timestamp = timestamp.wrapping_add(FRAME as u32);
            let (Some(to), Some((law, number)), true) =
                (self.agreed.remote, self.agreed.voice, self.agreed.send)
            else {
                self.talking = false;
                continue;
            };
            let payload = self.sound.frame().map(|sample| law.encode(sample));
            let sequence = self.sequence;
            self.sequence = sequence.wrapping_add(1);
            let first = !std::mem::replace(&mut self.talking, true);
            return Some((to, self.packet(number, first, sequence, timestamp, &payload)));
        }
        None
    }
}
