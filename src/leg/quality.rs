//! What is known of how well a leg's media goes: counted by the media plane, shown to people and in records.

use std::time::Duration;

/// Both directions of a leg's media, from the call's beginning on. No floating point, so that it can be compared.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Quality {
    /// The codec, as in SDP; empty where nothing was heard or said.
    pub codec: String,
    /// Packets from the party.
    pub packets_received: u64,
    /// Their payload bytes.
    pub octets_received: u64,
    /// Packets of theirs that never came.
    pub lost: u64,
    /// Jitter of what comes.
    pub jitter: Duration,
    /// Packets to the party.
    pub packets_sent: u64,
    /// Their payload bytes.
    pub octets_sent: u64,
    /// What the party says that it lost of them.
    pub remote_lost: u64,
    /// The jitter that it reports.
    pub remote_jitter: Duration,
    /// Time to the party and back.
    pub round_trip: Option<Duration>,
    /// Estimated opinion (MOS) of what comes from the party, in hundredths: 100 to 450. 0: nothing came.
    pub mos_received: u16,
    /// The same of what the party gets from us. 0: nothing was sent, or it reports nothing.
    pub mos_sent: u16,
}

/// How a call sounds, in plain words.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// Words get lost.
    Poor,
    /// Flaws are heard.
    Fair,
    /// As it should be.
    Good,
}

impl Level {
    /// The level of an estimated opinion in hundredths (ITU-T G.107 annex B: 4.03 is where all are satisfied, below 3.1
    /// nearly all are not).
    pub fn of(mos: u16) -> Level {
        match mos {
            400.. => Level::Good,
            310.. => Level::Fair,
            _ => Level::Poor,
        }
    }

    /// The name that clients see. Stable.
    pub fn name(self) -> &'static str {
        match self {
            Level::Poor => "poor",
            Level::Fair => "fair",
            Level::Good => "good",
        }
    }
}

/// How a call sounds to a browser user at this moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sound {
    /// In plain words.
    pub level: Level,
    /// The estimated opinion, in hundredths, of the worse direction; 0 where nothing is heard.
    pub mos: u16,
    /// One party has not been heard for a while, and should be.
    pub one_way: bool,
}
