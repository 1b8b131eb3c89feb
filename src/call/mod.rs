//! The call machine (B2BUA): joins legs, whatever room speaks for them. Knows no SIP text and no JSON.
//!
//! A call has two halves: the leg that came in and the leg that goes out, each with its signalling side, its
//! media side and, for a browser, its transport. It is prepared (media and transports are opened), rings, talks, and
//! is over; `State` says what each of these knows. A renegotiation on one leg goes to the other only if the
//! other must know.

mod admit;
mod agree;
mod calls;
mod change;
mod config;
mod core;
mod describe;
mod early;
mod fax;
mod finish;
mod half;
mod joining;
mod limits;
mod live;
mod number;
mod pulse;
mod record;
mod redirect;
mod route;
mod setup;
mod state;
mod talk;
mod transfer;

#[cfg(test)]
mod tests;

use crate::{leg, media, webrtc};
pub use calls::Calls;
pub use config::{Config, Redirects, Transfers, Trunk, codecs};
pub use core::Counters;
pub use limits::{Full, Held, MOST_RATE, Quota};
pub use live::{Live, Stage};
pub use number::{Pattern, Plan as NumberPlan, Rewrite};
pub use record::Record;
pub use route::{Asked, Found, Hours, Member, Route, RouteFrom, RouteTo};

/// What is pushed in.
#[derive(Debug)]
pub enum Input {
    /// From a signalling room.
    Leg(leg::Event),
    /// From the WebRTC transports.
    Web(webrtc::Event),
    /// From the media plane.
    Media(media::Event),
    /// The core has no time left (`true`), or has again: new calls are refused meanwhile, running ones go on.
    Overload(bool),
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
    /// A call is over: its one and only record.
    Record(Box<Record>),
}
