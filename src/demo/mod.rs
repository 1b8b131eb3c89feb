//! The embedded SIP server: registrar, proxy between its users, and numbers that answer calls.
//!
//! A real SIP server over loopback, so that the demo calls through the same trunk code as any other SIP server's. It
//! authenticates by digest (RFC 3261 section 22, RFC 8760), keeps where users are (section 10), forwards calls between
//! them as a stateless proxy (section 16.11), and answers its own numbers: `echo`
//! (what comes goes back), `delay` (the same, after some ringing), `tone`, `music`, `ivr` (reacts to keys), and `busy` and
//! `decline`, which refuse.
//! A stateless proxy needs no memory of a call: retransmissions, CANCEL and ACK follow their INVITE because the branch
//! that it adds is a function of theirs. Of several contacts of a user the newest is called.
//!
//! Pure: [`Server`] has no socket and no clock. `node` runs it on a thread of its own.

mod auth;
mod call;
mod config;
mod g711;
pub mod hold;
mod ivr;
mod location;
mod media;
mod music;
mod numbers;
mod phone;
mod proxy;
mod reply;
mod server;
mod sound;
#[cfg(test)]
mod tests;

pub use config::{Config, Counters, User};
pub use numbers::NUMBERS;
pub use server::Server;

use crate::base::CallId;
use std::net::SocketAddr;

/// What is pushed in.
#[derive(Debug)]
pub enum Input<'a> {
    /// A datagram on the SIP socket.
    Sip {
        /// Whence.
        from: SocketAddr,
        /// The bytes.
        data: &'a [u8],
    },
    /// A datagram on the RTP socket of a call.
    Rtp {
        /// The call.
        call: CallId,
        /// Whence.
        from: SocketAddr,
        /// The bytes.
        data: &'a [u8],
    },
    /// The RTP socket of a call stands.
    Opened {
        /// The call.
        call: CallId,
        /// Its address.
        address: SocketAddr,
    },
    /// No RTP socket could be had for a call.
    Unopened {
        /// The call.
        call: CallId,
    },
}

/// What comes out.
#[derive(Debug)]
pub enum Output {
    /// Send on the SIP socket.
    Sip {
        /// To whom.
        to: SocketAddr,
        /// The bytes.
        data: Vec<u8>,
    },
    /// Send on the RTP socket of a call.
    Rtp {
        /// The call.
        call: CallId,
        /// To whom.
        to: SocketAddr,
        /// The bytes.
        data: Vec<u8>,
    },
    /// Open an RTP socket for a call, on any free port of the SIP address.
    Open {
        /// The call.
        call: CallId,
    },
    /// Close it.
    Close {
        /// The call.
        call: CallId,
    },
}
