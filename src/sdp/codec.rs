//! Codec identity: what two payload types of two descriptions share, whatever their numbers.

use super::media::{Kind, Media};

/// A codec, independent of payload type numbers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Codec {
    /// The encoding's name in lower case.
    pub name: String,
    /// RTP clock rate in Hz.
    pub clock: u32,
    /// Channels. Opus has always 2 (RFC 7587 section 7).
    pub channels: u8,
}

/// A payload type of a media description, with what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The number.
    pub number: u8,
    /// What it is.
    pub codec: Codec,
    /// Its `a=fmtp`, empty where there is none.
    pub fmtp: String,
}

impl Codec {
    /// A codec by name, clock and channels.
    pub fn new(name: &str, clock: u32, channels: u8) -> Codec {
        let name = name.to_ascii_lowercase();
        // RFC 7587 section 7: clock 48000 and 2 channels, always; some write `/1` or nothing.
        let channels = if name == "opus" { 2 } else { channels };
        Codec { name, clock, channels }
    }

    /// The name as registered, where case tells readers who compare it wrongly.
    pub fn spelling(&self) -> &str {
        let known = AUDIO.iter().chain(VIDEO).map(|&(_, name, ..)| name);
        known
            .chain(["VP8", "VP9", "H264", "H265", "AV1", "AMR", "AMR-WB", "iLBC", "EVS", "L24"])
            .find(|name| name.eq_ignore_ascii_case(&self.name))
            .unwrap_or(&self.name)
    }

    /// The audio codec that a configuration names: `opus`, or a name of RFC 3551 (`pcmu`, `g722`).
    pub fn named(name: &str) -> Option<Codec> {
        if name.eq_ignore_ascii_case("opus") {
            return Some(Codec::new(name, 48000, 2));
        }
        let &(_, name, clock, channels) =
            AUDIO.iter().find(|(_, known, ..)| known.eq_ignore_ascii_case(name))?;
        Some(Codec::new(name, clock, channels))
    }

    /// `telephone-event` at a clock rate (RFC 4733).
    pub fn telephone_event(clock: u32) -> Codec {
        Codec::new("telephone-event", clock, 1)
    }

    /// Whether it is `telephone-event`.
    pub fn is_telephone_event(&self) -> bool {
        self.name == "telephone-event"
    }

    /// Whether it is comfort noise (RFC 3389).
    pub fn is_comfort_noise(&self) -> bool {
        self.name == "cn"
    }

    /// Whether it only goes along with a codec proper: events, comfort noise, redundancy, retransmission.
    pub fn is_auxiliary(&self) -> bool {
        matches!(
            self.name.as_str(),
            "telephone-event" | "cn" | "red" | "rtx" | "ulpfec" | "flexfec-03" | "flexfec"
        )
    }

    /// Redundant audio (RFC 2198) of Opus, as browsers offer it.
    pub fn redundant_opus() -> Codec {
        Codec::new("red", 48000, 2)
    }

    /// Whether it makes sense only where both parties of a call have it: nobody may be led to send what the other can't
    /// read, and both can do without.
    pub fn is_extra(&self) -> bool {
        self.is_comfort_noise() || self.name == "red"
    }

    /// The static payload type number (RFC 3551 section 6) of audio, where it has one.
    pub fn static_number(&self) -> Option<u8> {
        AUDIO
            .iter()
            .find(|(_, name, clock, channels)| {
                name.eq_ignore_ascii_case(&self.name) && *clock == self.clock && *channels == self.channels
            })
            .map(|&(number, ..)| number)
    }

    /// What a static payload type number means (RFC 3551 section 6).
    pub fn from_static(kind: &Kind, number: u8) -> Option<Codec> {
        let table: &[(u8, &str, u32, u8)] = match kind {
            Kind::Audio => AUDIO,
            Kind::Video => VIDEO,
            _ => return None,
        };
        let &(_, name, clock, channels) = table.iter().find(|&&(n, ..)| n == number)?;
        Some(Codec::new(name, clock, channels))
    }
}

/// RFC 3551 table 4. G.722 has clock 8000 by an old mistake that stands (section 4.5.2).
const AUDIO: &[(u8, &str, u32, u8)] = &[
    (0, "PCMU", 8000, 1),
    (3, "GSM", 8000, 1),
    (4, "G723", 8000, 1),
    (5, "DVI4", 8000, 1),
    (6, "DVI4", 16000, 1),
    (7, "LPC", 8000, 1),
    (8, "PCMA", 8000, 1),
    (9, "G722", 8000, 1),
    (10, "L16", 44100, 2),
    (11, "L16", 44100, 1),
    (12, "QCELP", 8000, 1),
    (13, "CN", 8000, 1),
    (14, "MPA", 90000, 1),
    (15, "G728", 8000, 1),
    (16, "DVI4", 11025, 1),
    (17, "DVI4", 22050, 1),
    (18, "G729", 8000, 1),
];

/// RFC 3551 table 5.
const VIDEO: &[(u8, &str, u32, u8)] = &[
    (25, "CelB", 90000, 1),
    (26, "JPEG", 90000, 1),
    (28, "nv", 90000, 1),
    (31, "H261", 90000, 1),
    (32, "MPV", 90000, 1),
    (33, "MP2T", 90000, 1),
    (34, "H263", 90000, 1),
];

impl Media {
    /// What a payload type number means here: its `a=rtpmap`, else the static table.
    pub fn codec(&self, number: u8) -> Option<Codec> {
        match self.rtpmaps.iter().find(|map| map.payload == number) {
            Some(map) => Some(Codec::new(&map.name, map.clock, map.channels)),
            None => Codec::from_static(&self.kind, number),
        }
    }

    /// The `a=fmtp` of a payload type number, empty where there is none.
    pub fn fmtp(&self, number: u8) -> &str {
        self.fmtps.iter().find(|fmtp| fmtp.payload == number).map_or("", |fmtp| &fmtp.value)
    }

    /// The payload types in order of preference. Those without a meaning are left out.
    pub fn payload_types(&self) -> Vec<Payload> {
        let meaning = |&number: &u8| {
            Some(Payload { number, codec: self.codec(number)?, fmtp: self.fmtp(number).to_string() })
        };
        self.payloads.iter().filter_map(meaning).collect()
    }
}
