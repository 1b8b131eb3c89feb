//! A party's media: packets that say whose they are, and checks of those that arrive.

use crate::net::Net;

const MAGIC: &[u8; 8] = b"bridgesm";
/// How many odd packets are too many.
const ODD: u32 = 4;
/// Milliseconds between two packets.
pub const EVERY_MS: u64 = 60;
/// Samples, and bytes of PCMU, in a packet.
const SAMPLES: u32 = 480;

/// The caller's number among the parties of a call; callees have others.
pub const CALLER: u8 = 1;

/// A packet's payload: whose it is, and which one.
pub fn payload(call: u32, party: u8, count: u32) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(call.to_be_bytes());
    bytes.push(party);
    bytes.extend(count.to_be_bytes());
    bytes.resize(SAMPLES as usize, (call as u8) ^ (count as u8));
    bytes
}

/// One party's side of a call's media.
#[derive(Clone, Debug, Default)]
pub struct Media {
    pub call: u32,
    pub party: u8,
    /// RTP sequence number that its stream begins with.
    pub first: u16,
    pub ssrc: u32,
    /// It sends as if thousands of packets were lost on the way to us, so as to reach the edge soon.
    pub leaps: bool,
    pub sent: u32,
    /// How many arrived.
    pub heard: u32,
    /// SSRC, sequence number, party and count of the newest packet.
    newest: Option<(u32, u16, u8, u32)>,
    /// Packets that came again, or before those that they follow: a change of the call may do that to a few.
    odd: u32,
    /// Under which sequence number each packet came.
    seen: std::collections::BTreeMap<(u8, u32), u16>,
    /// What arrived crossed sequence number 0.
    pub crossed: bool,
}

/// An RTP packet's fields.
#[derive(Clone, Copy, Debug)]
pub struct Arrived<'a> {
    pub ssrc: u32,
    pub sequence: u16,
    pub timestamp: u32,
    pub payload_type: u8,
    pub payload: &'a [u8],
}

impl Media {
    pub fn new(net: &mut Net, call: u32, party: u8, secure: bool) -> Media {
        // SRTP streams begin in the lower half (RFC 3711 section 3.3.1); the others shortly before the edge.
        let first = if secure { 32_767 } else { 65_535 } - net.random.below(60) as u16;
        let leaps = net.random.chance(0.2);
        Media { call, party, first, ssrc: net.random.u32() | 1, leaps, ..Media::default() }
    }

    /// Sequence number, timestamp and payload of the next packet.
    pub fn next(&mut self) -> (u64, u32, Vec<u8>) {
        let count = self.sent;
        self.sent += 1;
        let payload = payload(self.call, self.party, count);
        (self.number(count), 1000_u32.wrapping_add(count.wrapping_mul(SAMPLES)), payload)
    }

    fn number(&self, count: u32) -> u64 {
        let leaps = if self.leaps { count.saturating_sub(120).min(24) } else { 0 };
        u64::from(self.first) + u64::from(count) + 2900 * u64::from(leaps)
    }

    /// Whether what it sent has crossed the edge of sequence numbers.
    pub fn sent_across(&self) -> bool {
        self.number(self.sent) > 65_540
    }

    /// Checks a packet that arrived at this party.
    pub fn hear(&mut self, net: &Net, arrived: &Arrived<'_>) {
        let Arrived { ssrc, sequence, payload, .. } = *arrived;
        let parts = (payload.get(..8), payload.get(8..12), payload.get(12), payload.get(13..17));
        let (Some(magic), Some(call), Some(&party), Some(count)) = parts else {
            net.fault(&format!("call {}: {} bytes of payload", self.call, payload.len()));
        };
        net.check(magic == MAGIC, || format!("call {}: foreign payload", self.call));
        let number = |bytes: &[u8]| bytes.iter().fold(0_u32, |n, byte| n << 8 | u32::from(*byte));
        let (call, count) = (number(call), number(count));
        net.check(call == self.call && (party == CALLER) != (self.party == CALLER), || {
            format!("call {} hears a packet of call {call}, party {party}", self.call)
        });
        net.check(payload == crate::media::payload(call, party, count), || {
            format!("call {call}: payload {count} was changed")
        });
        if let Some(before) = self.seen.insert((party, count), sequence) {
            self.odd += u32::from(before != sequence);
            return net.check(self.odd < ODD, || format!("call {call}: packet {count} was sent twice"));
        }
        self.heard += 1;
        let Some((old, last, talker, newest)) = self.newest else {
            self.newest = Some((ssrc, sequence, party, count));
            return;
        };
        net.check(old == ssrc, || format!("call {call}: SSRC changed from {old} to {ssrc}"));
        let ahead = sequence.wrapping_sub(last) as i16;
        self.odd += u32::from(talker == party && (ahead > 0) != (count > newest));
        net.check(self.odd < ODD, || {
            format!("call {call}: packets {newest} and {count} have sequence numbers {last} and {sequence}")
        });
        if ahead > 0 {
            self.crossed |= sequence < last;
            self.newest = Some((ssrc, sequence, party, count));
        }
    }
}

/// Reads an RTP packet without extensions or padding.
pub fn read(data: &[u8]) -> Option<Arrived<'_>> {
    let header = data.first_chunk::<12>()?;
    let word = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    (header[0] == 0x80).then(|| Arrived {
        ssrc: word(8),
        sequence: u16::from_be_bytes([header[2], header[3]]),
        timestamp: word(4),
        payload_type: header[1] & 0x7f,
        payload: data.get(12..).unwrap_or_default(),
    })
}

/// Writes one.
pub fn write(payload_type: u8, sequence: u16, timestamp: u32, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80, payload_type];
    bytes.extend(sequence.to_be_bytes());
    bytes.extend(timestamp.to_be_bytes());
    bytes.extend(ssrc.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Whether it is RTCP (RFC 5761 section 4).
pub fn is_rtcp(data: &[u8]) -> bool {
    matches!(data, [128..=191, 192..=223, ..])
}
