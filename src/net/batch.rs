//! Datagrams in the slots where they were received, and from which they are sent.

use super::sys::Headers;
use crate::base::{Packet, SocketId};
use std::net::{Ipv4Addr, SocketAddr};

/// Slots of a batch.
pub const BATCH: usize = 64;

/// One datagram. What handled it either leaves it, or turns it round: a new `socket` and `remote`, and `send` set.
#[derive(Debug)]
#[repr(align(64))] // One cache line.
pub struct Slot {
    /// The bytes.
    pub packet: Packet,
    /// The socket that it came by, or leaves by.
    pub socket: SocketId,
    /// Who sent it, or gets it.
    pub remote: SocketAddr,
    /// Whether it is to be sent.
    pub send: bool,
    /// A note of whoever handles it; 0 when it comes.
    pub note: u32,
}

const _: () = assert!(size_of::<Slot>() == 64);

/// Up to [`BATCH`] datagrams: received together, changed in place, sent together.
#[derive(Debug)]
pub struct Batch {
    pub(super) slots: Vec<Slot>,
    pub(super) len: usize,
    pub(super) headers: Box<Headers>,
}

impl Default for Batch {
    fn default() -> Self {
        let slot = || Slot {
            packet: Packet::default(),
            socket: SocketId::from_bits(0),
            remote: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            send: false,
            note: 0,
        };
        Batch { slots: (0..BATCH).map(|_| slot()).collect(), len: 0, headers: Box::default() }
    }
}

impl Batch {
    /// How many datagrams it holds.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Free slots.
    pub fn room(&self) -> usize {
        BATCH - self.len
    }

    /// Forgets all datagrams; their slots are free again.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// The datagrams, in order of arrival.
    #[inline]
    pub fn slots(&mut self) -> &mut [Slot] {
        &mut self.slots[..self.len]
    }

    /// Those that are to be sent.
    pub fn sends(&self) -> impl Iterator<Item = &Slot> {
        self.slots[..self.len].iter().filter(|slot| slot.send)
    }

    /// Appends a copy of `bytes`, to be sent (`send`) or as if received. False where there is no room for it.
    pub fn push(&mut self, socket: SocketId, remote: SocketAddr, bytes: &[u8], send: bool) -> bool {
        let Some(slot) = self.slots.get_mut(self.len) else { return false };
        if !slot.packet.fill(bytes) {
            return false;
        }
        (slot.socket, slot.remote, slot.send, slot.note) = (socket, remote, send, 0);
        self.len += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_full_at_its_cap_and_refuses_what_is_too_long() {
        let mut batch = Batch::default();
        let (id, to) = (SocketId::from_bits(1), SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
        assert!(!batch.push(id, to, &[0; Packet::MAX + 1], true));
        for n in 0..BATCH {
            assert_eq!(batch.room(), BATCH - n);
            assert!(batch.push(id, to, &[n as u8], n % 2 == 0));
        }
        assert!(!batch.push(id, to, &[0], true));
        assert_eq!(batch.sends().count(), BATCH / 2);
        batch.clear();
        assert!(batch.is_empty());
    }
}
