//! The domain name system: names, records, a resolver machine with its cache, and what the host says of names.
//!
//! The wire format is hickory-proto's. [`Resolver`] is pure: it asks for sockets by [`Output`], and hears their datagrams
//! by [`Input`]. Whoever wants a name calls [`Resolver::lookup`], and again when [`Output::Answered`] says that it is
//! known.

mod cache;
mod host;
mod name;
mod resolver;
#[cfg(test)]
mod tests;
mod wire;

pub use host::{Hosts, Settings};
pub use name::Name;
pub use resolver::{Config, Counters, Input, Lookup, Output, Resolver, Socket};
pub use wire::{Data, Fault, Kind, Naptr, Reply, Srv, read};

use std::sync::Arc;
use std::time::Instant;

/// What is known of a name and a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The records, aliases followed; or why there are none.
    pub records: Result<Arc<[Data]>, Missing>,
    /// When it should be asked for again.
    pub expires: Instant,
}

/// Why there are no records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The name, or this type of it, does not exist.
    Absent,
    /// No name server answered, and nothing is known from before.
    Away,
    /// Aliases lead in circles, or too far.
    Circular,
}
