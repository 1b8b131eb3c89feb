//! One core's shard: everything that a call needs, on one thread.
//!
//! [`Core`] is pure: it owns the machines, hears datagrams, bytes and mail, and says what to send; simulations run it
//! on virtual time without a socket. `Loop` puts real sockets, clocks and mailboxes around it.

mod config;
mod core;
mod mail;

pub use config::{Caps, Config, Http, Realm, WebMedia};
pub use core::{Core, Counters, Output};
pub use mail::Mail;
