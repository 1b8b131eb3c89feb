//! Payload types: what a number means on one leg, and which number it becomes on the other.

use super::timeline::Beat;
use super::{Agreed, Codec, Format};
use crate::rtp::redundancy::{Broken, renumber};
use smallvec::SmallVec;

/// The name of DTMF among codecs (RFC 4733).
pub(super) const EVENT: &str = "telephone-event";
/// Comfort noise (RFC 3389) is no codec that a call could be made of.
const NOISE: &str = "cn";
/// Redundant audio (RFC 2198), of other payload types of the same leg.
const REDUNDANT: &str = "red";
const NONE: u8 = 0xff;

/// What a payload type means, and what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Payload {
    pub(super) beat: Beat,
    /// The number on the other leg; `None` where it has not agreed on the codec.
    pub(super) send: Option<u8>,
    /// Clocks of a telephone-event here and there, where they differ.
    pub(super) rescale: Option<(u32, u32)>,
    /// The clock of its own units: of durations, where it is an event.
    pub(super) units: u32,
    /// Redundant audio: the blocks inside have payload types of their own.
    pub(super) redundant: bool,
}

/// The payload types of one leg's party.
#[derive(Debug)]
pub(super) struct Formats {
    places: [u8; 128],
    payloads: SmallVec<[Payload; 4]>,
}

impl Default for Formats {
    fn default() -> Self {
        Formats { places: [NONE; 128], payloads: SmallVec::new() }
    }
}

/// The first format that is a codec of its own.
pub(super) fn main(agreed: &Agreed) -> Option<&Codec> {
    let proper = |codec: &&Codec| ![EVENT, NOISE, REDUNDANT].contains(&&*codec.name);
    agreed.formats.iter().map(|format| &format.codec).find(proper)
}

/// The clock of a leg's timestamps.
pub(super) fn clock(agreed: &Agreed) -> u32 {
    main(agreed).map_or(8000, |codec| codec.clock.max(1))
}

/// The other leg's format of the same codec. An event may change its clock: the one of the call's codec is best.
fn counterpart<'a>(codec: &Codec, to: &'a Agreed) -> Option<&'a Format> {
    let exact = to.formats.iter().find(|format| format.codec == *codec);
    if exact.is_some() || codec.name != EVENT {
        return exact;
    }
    let mut events = to.formats.iter().filter(|format| format.codec.name == EVENT);
    events.clone().find(|format| format.codec.clock == clock(to)).or_else(|| events.next())
}

impl Formats {
    /// What the party of `from` sends, and what of it the party of `to` understands.
    pub(super) fn new(from: &Agreed, to: Option<&Agreed>) -> Formats {
        let mut formats = Formats::default();
        for format in from.formats.iter().take(128) {
            let Some(place) = formats.places.get_mut(usize::from(format.receive)) else { continue };
            if *place != NONE {
                continue;
            }
            *place = formats.payloads.len() as u8;
            let counterpart =
                to.and_then(|to| counterpart(&format.codec, to)).filter(|other| other.send < 128);
            let event = format.codec.name == EVENT;
            let rescale = counterpart
                .map(|other| (format.codec.clock, other.codec.clock))
                .filter(|(here, there)| event && here != there);
            // Events lie on the timeline of the call's codec (RFC 4733 section 2.6).
            let clock = if event { clock(from) } else { format.codec.clock.max(1) };
            let step = u64::from(clock) * u64::from(from.ptime_ms.clamp(1, 200)) / 1000;
            formats.payloads.push(Payload {
                beat: Beat { clock, step: step as u32, event, scaled: rescale.is_some() },
                send: counterpart.map(|other| other.send),
                rescale,
                units: format.codec.clock.max(1),
                redundant: format.codec.name == REDUNDANT,
            });
        }
        formats
    }

    /// What a number means.
    #[inline]
    pub(super) fn payload(&self, number: u8) -> Option<Payload> {
        let place = *self.places.get(usize::from(number))?;
        self.payloads.get(usize::from(place)).copied()
    }

    /// Gives the blocks of redundant audio the other leg's numbers.
    pub(super) fn renumber(&self, clock: u32, payload: &mut [u8]) -> Result<(), Broken> {
        renumber(payload, |number| {
            let block = self.payload(number)?;
            let proper = !block.redundant && !block.beat.event && block.beat.clock == clock;
            block.send.filter(|_| proper)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(name: &str, clock: u32, receive: u8, send: u8) -> Format {
        Format { codec: Codec { name: name.into(), clock, channels: 1 }, receive, send }
    }

    fn agreed(formats: Vec<Format>) -> Agreed {
        Agreed {
            remote: None,
            remote_rtcp: None,
            rtcp_mux: false,
            send: true,
            receive: true,
            raw: false,
            formats,
            ptime_ms: 20,
        }
    }

    #[test]
    fn numbers_are_mapped_from_what_arrives_here_to_what_is_sent_there() {
        let a = agreed(vec![format("opus", 48_000, 111, 109), format("pcmu", 8000, 0, 0)]);
        let b = agreed(vec![format("opus", 48_000, 96, 97)]);
        let formats = Formats::new(&a, Some(&b));
        assert_eq!(formats.payload(111).unwrap().send, Some(97));
        assert_eq!(formats.payload(0).unwrap().send, None);
        assert_eq!(formats.payload(109), None);
        assert_eq!(formats.payload(255), None);
        assert_eq!(Formats::new(&a, None).payload(111).unwrap().send, None);
    }

    #[test]
    fn events_change_their_clock_where_they_must() {
        let a = agreed(vec![
            format("opus", 48_000, 111, 111),
            format("telephone-event", 48_000, 110, 110),
            format("telephone-event", 8000, 126, 126),
        ]);
        let b = agreed(vec![format("opus", 48_000, 96, 96), format("telephone-event", 8000, 101, 101)]);
        let formats = Formats::new(&a, Some(&b));
        let wide = formats.payload(110).unwrap();
        assert_eq!((wide.send, wide.rescale), (Some(101), Some((48_000, 8000))));
        assert!(wide.beat.event && wide.beat.scaled);
        let narrow = formats.payload(126).unwrap();
        assert_eq!((narrow.send, narrow.rescale), (Some(101), None));
        // The other way, the event that has the codec's clock is exact for none: the narrow one is.
        let back = Formats::new(&b, Some(&a));
        assert_eq!((back.payload(101).unwrap().send, back.payload(101).unwrap().rescale), (Some(126), None));
        let only_wide = agreed(a.formats[..2].to_vec());
        assert_eq!(Formats::new(&b, Some(&only_wide)).payload(101).unwrap().rescale, Some((8000, 48_000)));
    }

    #[test]
    fn numbers_out_of_range_and_doubled_are_ignored() {
        let a = agreed(vec![
            format("pcmu", 8000, 200, 0),
            format("pcma", 8000, 8, 8),
            format("g722", 8000, 8, 9),
        ]);
        let b = agreed(vec![format("pcma", 8000, 8, 200), format("g722", 8000, 9, 9)]);
        let formats = Formats::new(&a, Some(&b));
        assert_eq!(formats.payload(8).unwrap().send, None, "the first of the two, whose number is no number");
        assert_eq!(formats.payload(72), None);
    }
}
