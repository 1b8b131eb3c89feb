//! One core's shard: everything that a call needs, on one thread.
//!
//! [`Core`] is pure: it owns the machines, hears datagrams, bytes and mail, and says what to send; simulations run it
//! on virtual time without a socket. [`Loop`] puts real sockets, clocks and mailboxes around it.

mod carry;
mod clock;
mod config;
mod connections;
mod control;
mod core;
mod demux;
mod exchanges;
mod flows;
mod locating;
mod mail;
mod mailbox;
mod open;
mod pace;
mod queries;
mod ready;
mod run;
mod shed;
mod site;
mod streams;
mod switchboard;
mod tally;
mod taps;
#[cfg(test)]
mod tests;
mod trace;

pub use self::core::{Core, Counters, Output, Places, SipPlace, WebPlace};
pub use clock::clock;
pub use config::{Caps, Config, Http, Realm, SipTls, WebMedia, slice};
pub use control::{BOUNDS, Control, Order, Passes, Snapshot};
pub use mail::Mail;
pub use open::{Bound, OpenError, Opened, Seat, open};
pub use queries::Queries;
pub use run::Loop;
pub use tally::TrunkState;
pub use trace::{Entry, Ladder, TraceCaps, Way};
