//! Where a datagram is heard, found once; and the memory that forwarding it will touch, fetched before it is needed.
//!
//! A call's state is some 25 cache lines, and between two of its packets thousands of others pass through the caches:
//! taken one after the other where the code happens to need them, the misses cost more than all its instructions do. So
//! the loop finds the ears of a whole batch first and has their lines fetched, in three steps, since each step's
//! addresses lie in the lines of the one before; meanwhile it goes on with the other datagrams, or with system calls.

use super::leg::{Inbound, Outbound};
use super::plane::{Plane, Use};
use super::srtp;
use crate::base::{Endpoint, Key, SocketId};
use std::mem::size_of;
use std::net::SocketAddr;
use std::ptr::from_ref;

/// Where a datagram is heard. Good for one [`Plane::edition`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ear(u32);

/// How far the memory of an ear is fetched: each step reads what the one before has fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// What the leg that speaks has.
    Speaker,
    /// Its SRTP, and what the leg that hears it has.
    Hearer,
    /// The hearer's SRTP.
    Cipher,
}

impl Ear {
    /// Nobody's.
    pub const NONE: Ear = Ear(0);

    pub(super) fn new(what: Use) -> Ear {
        let slot =
            |slot: usize| u32::try_from(slot).ok().filter(|slot| *slot < 1 << 29).map(|slot| slot << 3);
        match what {
            Use::None => Ear::NONE,
            Use::Stock => Ear(1),
            Use::Shared => Ear(2),
            Use::Rtp(of) => slot(of).map_or(Ear::NONE, |slot| Ear(slot | 3)),
            Use::Rtcp(of) => slot(of).map_or(Ear::NONE, |slot| Ear(slot | 4)),
            Use::Raw(of) => slot(of).map_or(Ear::NONE, |slot| Ear(slot | 5)),
        }
    }

    #[inline]
    pub(super) fn what(self) -> Use {
        match self.0 & 7 {
            1 => Use::Stock,
            2 => Use::Shared,
            3 => Use::Rtp((self.0 >> 3) as usize),
            4 => Use::Rtcp((self.0 >> 3) as usize),
            5 => Use::Raw((self.0 >> 3) as usize),
            _ => Use::None,
        }
    }

    /// The ear as a number, to be kept beside its datagram.
    #[inline]
    pub fn to_bits(self) -> u32 {
        self.0
    }

    /// The ear that [`Ear::to_bits`] gave.
    #[inline]
    pub fn from_bits(bits: u32) -> Ear {
        Ear(bits)
    }
}

impl Plane {
    /// Changes whenever ears may have.
    #[inline]
    pub fn edition(&self) -> u64 {
        self.edition
    }

    /// Who hears SRTP and SRTCP from this address.
    #[inline]
    pub fn web_ear(&self, from: SocketAddr) -> Ear {
        self.paths.get(&Endpoint(from)).map_or(Ear::NONE, |&slot| Ear::new(Use::Rtp(slot)))
    }

    /// Who hears what comes by one of the sockets that [`super::Output::Bind`] asked for.
    #[inline]
    pub fn rtp_ear(&self, socket: SocketId, from: SocketAddr) -> Ear {
        let what = self.socket_use(socket);
        let party =
            if what == Use::Shared { self.parties.get(&(socket, Endpoint(from))).copied() } else { None };
        Ear::new(party.unwrap_or(what))
    }

    /// The same before anything came by it: nobody, where that depends on the sender.
    #[inline]
    pub fn socket_ear(&self, socket: SocketId) -> Ear {
        Ear::new(self.socket_use(socket))
    }

    #[inline]
    fn socket_use(&self, socket: SocketId) -> Use {
        match self.sockets.get(socket.slot() as usize) {
            Some(&(Some(known), what)) if known == socket => what,
            _ => Use::None,
        }
    }

    /// Has `fetch` bring the memory of a step into the caches: it is given the start of each piece, which begins a cache
    /// line, and its length.
    #[inline]
    pub fn fetch(&self, ear: Ear, step: Step, fetch: impl Fn(*const u8, usize)) {
        let Use::Rtp(slot) = ear.what() else { return };
        let Some(Some(leg)) = self.legs.get(slot) else { return };
        if step == Step::Speaker {
            return fetch(from_ref(&leg.inbound).cast(), Inbound::HOT);
        }
        let partner = leg.inbound.partner.and_then(|partner| self.legs.get(partner)?.as_deref());
        if step == Step::Hearer {
            if let Some(srtp) = &leg.inbound.srtp {
                fetch(from_ref::<srtp::Receive>(srtp).cast(), srtp::Receive::HOT);
            }
            if let Some(partner) = partner {
                fetch(from_ref(&partner.outbound).cast(), Outbound::HOT);
            }
        } else if let Some(srtp) = partner.and_then(|partner| partner.outbound.srtp.as_deref()) {
            fetch(from_ref(srtp).cast(), srtp::Send::HOT);
        }
    }
}

const _: () = assert!(size_of::<Ear>() == 4);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ear_is_what_it_was_made_of() {
        for what in [Use::None, Use::Stock, Use::Shared, Use::Rtp(0), Use::Rtp(70_000), Use::Rtcp(3)] {
            assert_eq!(Ear::from_bits(Ear::new(what).to_bits()).what(), what);
        }
        assert_eq!(Ear::new(Use::Rtp(1 << 29)), Ear::NONE);
    }
}
