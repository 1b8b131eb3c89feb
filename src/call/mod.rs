//! The call machine (B2BUA): joins legs, whatever room speaks for them. Knows no SIP text and no JSON.

use crate::{leg, media, webrtc};

/// What is pushed in.
#[derive(Debug)]
pub enum Input {
    /// From a signalling room.
    Leg(leg::Event),
    /// From the WebRTC transports.
    Web(webrtc::Event),
    /// From the media plane.
    Media(media::Event),
    /// Begin to drain: refuse new calls; at `Config::drain` end those that run.
    Drain,
}

/// What comes out.
#[derive(Debug)]
pub enum Output {
    /// To the signalling room of the leg.
    Leg(leg::Command),
    /// To the WebRTC transports.
    Web(webrtc::Command),
    /// To the media plane.
    Media(media::Command),
}
