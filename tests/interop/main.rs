//! Real peers against the real binary, judged by what is heard at both ends.
//!
//! Each test has a [`scene::Scene`]: a folder under `target/interop` for its logs, and the processes that it started,
//! which end with it. Peers: Chromium, Firefox, SIPp, Kamailio, baresip, dnsmasq; `tests/run` installs them.
#![allow(clippy::disallowed_methods)] // These tests live in real time.

mod baresip;
mod browser;
mod calls;
mod dialogs;
mod embedded;
mod firefox;
mod gateway;
mod harness;
mod kamailio;
mod locating;
mod losing;
mod lossy;
mod netns;
mod networks;
mod operator;
mod page;
mod phone;
mod phones;
mod policy;
mod process;
mod registrar;
mod relay;
mod scene;
mod services;
mod session;
mod sipp;
mod softphone;
mod staying;
mod streams;
mod token;
mod tone;
mod tunnel;
mod wav;
mod web;
