//! What every room stands on: the machine trait, time, ids, timers, randomness, counters, packets.
//!
//! Nothing here knows a protocol, and nothing here makes a system call.

mod counter;
mod hex;
mod id;
mod machine;
mod map;
mod packet;
mod random;
pub mod redact;
mod slab;
mod time;
mod wheel;

#[allow(unused_imports, reason = "rooms declare their counters with it")]
pub(crate) use counter::counters;
pub use hex::hex;
pub use id::{CallId, FlowId, LegId, Mint, PeerId, RealmId, RouteId, SessionId, ShardId, Side, SocketId};
pub use machine::Machine;
pub use map::{Endpoint, Map, Seeded, Set, seed_maps};
pub use packet::{HEADROOM, PACKET_SIZE, Packet, TAILROOM};
pub use random::Random;
pub use slab::{Key, Slab};
pub use time::{Deadline, Now};
pub use wheel::{TimerId, Wheel};
