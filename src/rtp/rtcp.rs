//! RTCP: compound packets read by borrowing, reports written (RFC 3550 section 6, RFC 5506, RFC 4585 section 6).

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const DESCRIPTION: u8 = 202;
const BYE: u8 = 203;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;
const CNAME: u8 = 1;
/// Report blocks that one report has room for.
pub const MAX_BLOCKS: usize = 31;

/// What a sender says of its stream (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sending {
    /// The wall clock as a 64-bit NTP timestamp.
    pub ntp: u64,
    /// The RTP timestamp of the same moment.
    pub timestamp: u32,
    /// Packets sent since the stream began.
    pub packets: u32,
    /// Payload bytes sent since then, padding left out.
    pub octets: u32,
}

/// What a receiver says of one stream it hears (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Block {
    /// Whose stream.
    pub ssrc: u32,
    /// Share of packets lost since the last report, in 1/256.
    pub fraction: u8,
    /// Packets lost since the stream began; negative where duplicates outnumber losses. 24 bits.
    pub lost: i32,
    /// Highest sequence number received, with its wraps in the upper half.
    pub highest: u32,
    /// Interarrival jitter in timestamp units.
    pub jitter: u32,
    /// The middle 32 bits of the NTP timestamp of the last sender report; 0 where there was none.
    pub last_sr: u32,
    /// How long ago that was, in 1/65536 s.
    pub delay: u32,
}

/// What a feedback packet asks for (RFC 4585, RFC 5104, draft-alvestrand-rmcat-remb).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ask {
    /// Generic NACK: packets again, please.
    Nack,
    /// Picture Loss Indication: a key frame.
    Pli,
    /// Full Intra Request: a key frame, urgently.
    Fir,
    /// Transport-wide congestion control.
    TransportWide,
    /// REMB and other application-layer feedback.
    Application,
    /// Anything else, by its format number.
    Other(u8),
}

/// One packet of a compound.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Packet<'a> {
    /// SR, or RR where `sending` is none.
    Report {
        /// Who reports.
        ssrc: u32,
        /// What it sent itself.
        sending: Option<Sending>,
        /// What it heard.
        blocks: Blocks<'a>,
    },
    /// SDES: the CNAME of its first chunk that has one.
    Description {
        /// Whose.
        ssrc: u32,
        /// The name, as it came.
        cname: &'a [u8],
    },
    /// BYE: its first source, where there is one.
    Bye {
        /// Who leaves.
        ssrc: Option<u32>,
    },
    /// RTPFB or PSFB.
    Feedback {
        /// What it asks for.
        ask: Ask,
        /// Who asks.
        sender: u32,
        /// Of which stream.
        media: u32,
    },
    /// APP, XR, and what is not known; an SDES without a CNAME.
    Other {
        /// The packet type.
        kind: u8,
    },
}

/// The report blocks of one report.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Blocks<'a>(&'a [u8]);

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_be_bytes(*word))
}

impl Iterator for Blocks<'_> {
    type Item = Block;

    fn next(&mut self) -> Option<Block> {
        let (bytes, rest) = self.0.split_first_chunk::<24>()?;
        self.0 = rest;
        let losses = word(bytes, 4)?;
        Some(Block {
            ssrc: word(bytes, 0)?,
            fraction: (losses >> 24) as u8,
            // Sign-extended from 24 bits.
            lost: (losses << 8).cast_signed() >> 8,
            highest: word(bytes, 8)?,
            jitter: word(bytes, 12)?,
            last_sr: word(bytes, 16)?,
            delay: word(bytes, 20)?,
        })
    }
}

/// The packets of a compound, one after another.
#[derive(Clone, Debug)]
pub struct Compound<'a>(&'a [u8]);

/// Splits off the first packet: its count or format, its type, its body (padding left out), and what follows.
fn split(bytes: &[u8]) -> Option<(u8, u8, &[u8], &[u8])> {
    let head: &[u8; 4] = bytes.first_chunk()?;
    if head[0] >> 6 != 2 {
        return None;
    }
    let length = 4 + 4 * usize::from(u16::from_be_bytes([head[2], head[3]]));
    let (packet, rest) = bytes.split_at_checked(length)?;
    let mut body = packet.get(4..)?;
    if head[0] & 0x20 != 0 {
        let padding = usize::from(*body.last()?);
        // Only the last packet is padded, by whole words (RFC 3550 section 6.4.1).
        if !rest.is_empty() || padding == 0 || padding % 4 != 0 {
            return None;
        }
        body = body.get(..body.len().checked_sub(padding)?)?;
    }
    Some((head[0] & 0x1f, head[1], body, rest))
}

/// Reads a datagram, compound or reduced-size (RFC 5506). `None` unless its packets fill it exactly, so that what the
/// iterator gives is whole. A report whose count says more blocks than there are is [`Packet::Other`].
pub fn parse(datagram: &[u8]) -> Option<Compound<'_>> {
    let mut rest = datagram;
    while !rest.is_empty() {
        rest = split(rest)?.3;
    }
    (!datagram.is_empty()).then_some(Compound(datagram))
}

impl Compound<'_> {
    /// Whether it begins with a report, as it must where RFC 5506 was not agreed on.
    pub fn begins_with_report(&self) -> bool {
        matches!(self.0, [_, SENDER_REPORT | RECEIVER_REPORT, ..])
    }
}

impl<'a> Iterator for Compound<'a> {
    type Item = Packet<'a>;

    fn next(&mut self) -> Option<Packet<'a>> {
        let (count, kind, body, rest) = split(self.0)?;
        self.0 = rest;
        Some(read(count, kind, body).unwrap_or(Packet::Other { kind }))
    }
}

fn read(count: u8, kind: u8, body: &[u8]) -> Option<Packet<'_>> {
    Some(match kind {
        SENDER_REPORT | RECEIVER_REPORT => {
            let mut at = 4;
            let mut sending = None;
            if kind == SENDER_REPORT {
                sending = Some(Sending {
                    ntp: u64::from(word(body, 4)?) << 32 | u64::from(word(body, 8)?),
                    timestamp: word(body, 12)?,
                    packets: word(body, 16)?,
                    octets: word(body, 20)?,
                });
                at = 24;
            }
            let blocks = body.get(at..at + 24 * usize::from(count))?;
            Packet::Report { ssrc: word(body, 0)?, sending, blocks: Blocks(blocks) }
        }
        DESCRIPTION => {
            let (ssrc, cname) = cname(count, body)?;
            Packet::Description { ssrc, cname }
        }
        BYE => Packet::Bye { ssrc: if count > 0 { Some(word(body, 0)?) } else { None } },
        TRANSPORT_FEEDBACK | PAYLOAD_FEEDBACK => {
            let ask = match (kind, count) {
                (TRANSPORT_FEEDBACK, 1) => Ask::Nack,
                (TRANSPORT_FEEDBACK, 15) => Ask::TransportWide,
                (PAYLOAD_FEEDBACK, 1) => Ask::Pli,
                (PAYLOAD_FEEDBACK, 4) => Ask::Fir,
                (PAYLOAD_FEEDBACK, 15) => Ask::Application,
                _ => Ask::Other(count),
            };
            Packet::Feedback { ask, sender: word(body, 0)?, media: word(body, 4)? }
        }
        _ => return None,
    })
}

/// The first CNAME of an SDES packet and whose it is.
fn cname(chunks: u8, body: &[u8]) -> Option<(u32, &[u8])> {
    let mut at = 0;
    for _ in 0..chunks {
        let ssrc = word(body, at)?;
        at += 4;
        while let kind @ 1.. = *body.get(at)? {
            let length = usize::from(*body.get(at + 1)?);
            let text = body.get(at + 2..at + 2 + length)?;
            if kind == CNAME {
                return Some((ssrc, text));
            }
            at += 2 + length;
        }
        // A null ends the items, and the chunk is padded to whole words.
        at = (at + 4) & !3;
    }
    None
}

fn head(out: &mut Vec<u8>, count: usize, kind: u8, words: usize) {
    out.extend_from_slice(&[0x80 | count as u8 & 0x1f, kind]);
    out.extend_from_slice(&(words as u16).to_be_bytes());
}

/// Appends an SR, or an RR where nothing was sent. Blocks beyond [`MAX_BLOCKS`] are left out.
pub fn write_report(out: &mut Vec<u8>, ssrc: u32, sending: Option<&Sending>, blocks: &[Block]) {
    let blocks = &blocks[..blocks.len().min(MAX_BLOCKS)];
    let (kind, own) = if sending.is_some() { (SENDER_REPORT, 6) } else { (RECEIVER_REPORT, 1) };
    head(out, blocks.len(), kind, own + 6 * blocks.len());
    out.extend_from_slice(&ssrc.to_be_bytes());
    if let Some(sending) = sending {
        out.extend_from_slice(&sending.ntp.to_be_bytes());
        for word in [sending.timestamp, sending.packets, sending.octets] {
            out.extend_from_slice(&word.to_be_bytes());
        }
    }
    for block in blocks {
        // The sum of losses saturates at 24 bits (RFC 3550 section A.3).
        let lost = block.lost.clamp(-0x80_0000, 0x7f_ffff).cast_unsigned() & 0xff_ffff;
        let losses = u32::from(block.fraction) << 24 | lost;
        for word in [block.ssrc, losses, block.highest, block.jitter, block.last_sr, block.delay] {
            out.extend_from_slice(&word.to_be_bytes());
        }
    }
}

/// Appends an SDES with one chunk: the CNAME, which every compound carries. It is cut at 255 bytes.
pub fn write_cname(out: &mut Vec<u8>, ssrc: u32, cname: &str) {
    let text = &cname.as_bytes()[..cname.len().min(255)];
    // SSRC, item head and text, at least one null, whole words.
    let items = (2 + text.len() + 1).next_multiple_of(4);
    head(out, 1, DESCRIPTION, 1 + items / 4);
    out.extend_from_slice(&ssrc.to_be_bytes());
    out.extend_from_slice(&[CNAME, text.len() as u8]);
    out.extend_from_slice(text);
    out.resize(out.len() + items - 2 - text.len(), 0);
}

/// Appends a BYE of one source, without a reason.
pub fn write_bye(out: &mut Vec<u8>, ssrc: u32) {
    head(out, 1, BYE, 1);
    out.extend_from_slice(&ssrc.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Random;

    const SENDING: Sending = Sending { ntp: 0x1122_3344_5566_7788, timestamp: 9, packets: 10, octets: 11 };

    fn blocks(count: u32) -> Vec<Block> {
        let lost = |n: u32| if n == 0 { -5 } else { n as i32 };
        (0..count)
            .map(|n| Block {
                ssrc: n,
                fraction: 7,
                lost: lost(n),
                highest: n << 16,
                jitter: 3,
                last_sr: 4,
                delay: 5,
            })
            .collect()
    }

    #[test]
    fn a_compound_survives_its_own_writing() {
        let mut out = Vec::new();
        write_report(&mut out, 77, Some(&SENDING), &blocks(2));
        write_cname(&mut out, 77, "somebody");
        write_bye(&mut out, 77);
        let compound = parse(&out).unwrap();
        assert!(compound.begins_with_report());
        let packets: Vec<_> = compound.collect();
        let [Packet::Report { ssrc: 77, sending, blocks: read }, rest @ ..] = &packets[..] else {
            panic!("{packets:?}")
        };
        assert_eq!(*sending, Some(SENDING));
        assert_eq!(read.clone().collect::<Vec<_>>(), blocks(2));
        assert_eq!(
            rest,
            [Packet::Description { ssrc: 77, cname: b"somebody" }, Packet::Bye { ssrc: Some(77) }]
        );
    }

    #[test]
    fn cnames_of_every_length_end_on_a_word() {
        for length in 0..300 {
            let name = "x".repeat(length);
            let mut out = Vec::new();
            write_cname(&mut out, 1, &name);
            assert_eq!(out.len() % 4, 0);
            let Some(Packet::Description { cname, .. }) = parse(&out).unwrap().next() else { panic!() };
            assert_eq!(cname, &name.as_bytes()[..length.min(255)]);
        }
    }

    #[test]
    fn losses_saturate_at_24_bits_and_blocks_at_31() {
        let mut out = Vec::new();
        let lost = |lost| Block { lost, ..Block::default() };
        write_report(&mut out, 1, None, &[lost(i32::MAX), lost(i32::MIN)]);
        let Some(Packet::Report { sending: None, blocks: mut read, .. }) = parse(&out).unwrap().next() else {
            panic!()
        };
        assert_eq!((read.next().unwrap().lost, read.next().unwrap().lost), (0x7f_ffff, -0x80_0000));
        out.clear();
        write_report(&mut out, 1, None, &blocks(40));
        let Some(Packet::Report { blocks: read, .. }) = parse(&out).unwrap().next() else { panic!() };
        assert_eq!(read.count(), 31);
    }

    #[test]
    fn feedback_is_recognised_alone_and_in_a_compound() {
        // A reduced-size PLI, then NACK, FIR and a format nobody knows.
        let of = |kind: u8, format: u8| [0x80 | format, kind, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2];
        for (kind, format, ask) in [
            (206, 1, Ask::Pli),
            (206, 4, Ask::Fir),
            (206, 15, Ask::Application),
            (205, 1, Ask::Nack),
            (205, 15, Ask::TransportWide),
            (205, 9, Ask::Other(9)),
        ] {
            let datagram = of(kind, format);
            let compound = parse(&datagram).unwrap();
            assert!(!compound.begins_with_report());
            let packets: Vec<_> = compound.collect();
            assert_eq!(packets, [Packet::Feedback { ask, sender: 1, media: 2 }]);
        }
    }

    #[test]
    fn lengths_that_do_not_fill_the_datagram_are_refused() {
        let mut out = Vec::new();
        write_report(&mut out, 1, Some(&SENDING), &blocks(1));
        for length in 0..out.len() {
            assert!(parse(&out[..length]).is_none(), "{length}");
        }
        out.push(0);
        assert!(parse(&out).is_none());
        // A count of two blocks where one is there.
        out.pop();
        out[0] = 0x82;
        assert_eq!(parse(&out).unwrap().next(), Some(Packet::Other { kind: 200 }));
        // Padding before the last packet, and padding of no bytes.
        assert!(parse(&[0xa0, 201, 0, 1, 0, 0, 0, 4, 0x80, 203, 0, 0]).is_none());
        assert!(parse(&[0xa0, 201, 0, 1, 0, 0, 0, 0]).is_none());
        assert!(parse(&[0xa0, 203, 0, 1, 0, 0, 0, 4]).is_some());
    }

    #[test]
    fn a_hundred_thousand_random_datagrams_never_panic() {
        let mut random = Random::from_number(2);
        let mut bytes = [0; 96];
        for _ in 0..100_000 {
            random.fill(&mut bytes);
            let mut at = 0;
            // Mostly lengths that fit, so that the bodies are reached.
            while at + 4 <= bytes.len() {
                let words = random.below(12) as usize;
                bytes[at] = bytes[at] & 0x1f | 0x80;
                bytes[at + 1] = 200 + random.below(8) as u8;
                bytes[at + 2..at + 4].copy_from_slice(&(words as u16).to_be_bytes());
                at += 4 + 4 * words;
            }
            let datagram = &bytes[..(random.below(25) * 4) as usize];
            if let Some(compound) = parse(datagram) {
                for packet in compound {
                    if let Packet::Report { blocks, .. } = packet {
                        blocks.count();
                    }
                }
            }
        }
    }
}
