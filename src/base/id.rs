//! Ids: who owns a thing, and which one it is. A stale id finds nothing.

use super::slab::Key;
use std::fmt;

/// One core's thread. Shards are numbered from 0 in the order of `--cores`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ShardId(pub u8);

/// A named interface (design, section 4). The first of the configuration is 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct RealmId(pub u8);

impl fmt::Debug for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shard{}", self.0)
    }
}

impl fmt::Debug for RealmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "realm{}", self.0)
    }
}

macro_rules! slab_id {
    ($($(#[$doc:meta])* $name:ident $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(u64);

        impl Key for $name {
            fn new(shard: ShardId, generation: u32, slot: u32) -> Self {
                debug_assert!(generation < 1 << 24);
                $name(u64::from(shard.0) << 56 | u64::from(generation & 0xff_ffff) << 32 | u64::from(slot))
            }
            fn shard(self) -> ShardId {
                ShardId((self.0 >> 56) as u8)
            }
            fn generation(self) -> u32 {
                (self.0 >> 32) as u32 & 0xff_ffff
            }
            fn slot(self) -> u32 {
                self.0 as u32
            }
        }

        impl $name {
            /// The id as one number, for wire formats and logs.
            pub fn to_bits(self) -> u64 {
                self.0
            }
            /// The id that [`Self::to_bits`] gave.
            pub fn from_bits(bits: u64) -> Self {
                $name(bits)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}.{}.{}"), self.shard().0, self.slot(), self.generation())
            }
        }
    )*};
}

slab_id! {
    /// Two legs joined.
    CallId "call";
    /// One WebRTC transport.
    PeerId "peer";
    /// One direction of one media stream.
    RouteId "route";
    /// A browser's signalling session.
    SessionId "session";
    /// A connection: TCP, TLS, WebSocket or HTTP, and a UDP listener.
    FlowId "flow";
    /// A UDP socket for media.
    SocketId "socket";
}

/// Which signalling room speaks for a leg.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Side {
    /// The `sip` room.
    Sip,
    /// The `signal` room.
    Web,
}

/// One party of a call.
///
/// Rooms mint leg ids independently (the signalling rooms for legs that come in, the call machine for legs that go
/// out), so an id carries who minted it and a number that is never used again: a stale one finds nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegId(u64);

impl LegId {
    /// The shard that owns the leg from birth to end.
    pub fn shard(self) -> ShardId {
        ShardId((self.0 >> 56) as u8)
    }

    /// The signalling room that speaks for it.
    pub fn side(self) -> Side {
        if self.0 >> 55 & 1 == 1 { Side::Web } else { Side::Sip }
    }

    /// The id as one number, for wire formats and logs.
    pub fn to_bits(self) -> u64 {
        self.0
    }
}

impl fmt::Debug for LegId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = if self.side() == Side::Web { "web" } else { "sip" };
        let way = if self.0 >> 54 & 1 == 1 { "out" } else { "in" };
        write!(f, "{side}-{way}{}.{}", self.shard().0, self.0 & ((1 << 54) - 1))
    }
}

/// Where new leg ids come from. Each room that begins legs has one.
#[derive(Debug)]
pub struct Mint {
    base: u64,
    next: u64,
}

impl Mint {
    /// `outbound` is true in the call machine, false in the signalling rooms, so that their numbers never meet.
    pub fn new(shard: ShardId, outbound: bool) -> Mint {
        Mint { base: u64::from(shard.0) << 56 | u64::from(outbound) << 54, next: 1 }
    }

    /// An id that was never given before.
    pub fn leg(&mut self, side: Side) -> LegId {
        let id = LegId(self.base | u64::from(side == Side::Web) << 55 | self.next);
        self.next += 1;
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leg_ids_carry_shard_side_and_origin() {
        let mut inbound = Mint::new(ShardId(3), false);
        let mut outbound = Mint::new(ShardId(3), true);
        let a = inbound.leg(Side::Web);
        let b = outbound.leg(Side::Web);
        assert_ne!(a, b);
        assert_eq!((a.shard(), a.side()), (ShardId(3), Side::Web));
        assert_eq!(format!("{a:?} {b:?}"), "web-in3.1 web-out3.1");
    }
}
