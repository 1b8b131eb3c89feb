//! Bridgehead: a WebRTC-to-SIP gateway and session border controller.
//!
//! The rooms, lowest floor first. A room names only rooms on lower floors; `tests/tidy.rs` holds it to that.
//!
//! | Floor | Rooms |
//! |---|---|
//! | 0 | [`base`], and the crate `sip_codec` |
//! | 1 | [`sdp`], [`rtp`], [`http`], [`dns`] |
//! | 2 | [`leg`] |
//! | 3 | [`sip`], [`signal`], [`webrtc`], [`media`] |
//! | 4 | [`call`] |
//! | 5 | [`net`], [`demo`] |
//! | 6 | [`shard`] |
//! | 7 | [`config`], [`metrics`], [`cdr`], [`admin`], [`trace`] |
//! | 8 | [`node`] |
//!
//! [`web`], the SDK and the softphone page, is a table of files and names no room.
//!
//! Machines below floor 5 are pure: time and bytes go in, outputs come out. Only [`net`] makes system calls.

pub mod admin;
pub mod base;
pub mod call;
pub mod cdr;
pub mod config;
pub mod demo;
pub mod dns;
pub mod http;
pub mod leg;
pub mod media;
pub mod metrics;
pub mod net;
pub mod node;
pub mod rtp;
pub mod sdp;
pub mod shard;
pub mod signal;
pub mod sip;
pub mod trace;
pub mod web;
pub mod webrtc;
