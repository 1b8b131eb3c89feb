//! One datagram with room before and after it, so that headers grow and tags are added where it lies.

/// Free bytes before the payload of a packet just received: header extensions and CSRCs move into it.
pub const HEADROOM: usize = 64;
/// Free bytes that a full-size payload leaves behind it: authentication tag, SRTCP index, MKI.
pub const TAILROOM: usize = 64;
/// All bytes of a slot.
pub const PACKET_SIZE: usize = 2048;

/// A pooled buffer and the part of it that is the datagram.
#[derive(Clone)]
pub struct Packet {
    slot: Box<[u8; PACKET_SIZE]>,
    start: u16,
    end: u16,
}

impl Default for Packet {
    fn default() -> Self {
        Packet { slot: Box::new([0; PACKET_SIZE]), start: HEADROOM as u16, end: HEADROOM as u16 }
    }
}

impl std::fmt::Debug for Packet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Packet({} bytes)", self.len())
    }
}

impl Packet {
    /// The longest datagram that a slot receives.
    pub const MAX: usize = PACKET_SIZE - HEADROOM - TAILROOM;

    /// Where a receive writes: [`Packet::MAX`] bytes after the headroom. Call [`Packet::received`] afterwards.
    pub fn receive_area(&mut self) -> &mut [u8] {
        &mut self.slot[HEADROOM..HEADROOM + Self::MAX]
    }

    /// Says how many bytes of [`Packet::receive_area`] hold a datagram.
    pub fn received(&mut self, length: usize) {
        assert!(length <= Self::MAX);
        self.start = HEADROOM as u16;
        self.end = (HEADROOM + length) as u16;
    }

    /// Makes this packet hold a copy of `bytes`; false (and empty) where they don't fit.
    pub fn fill(&mut self, bytes: &[u8]) -> bool {
        let fits = bytes.len() <= Self::MAX;
        let length = if fits { bytes.len() } else { 0 };
        self.receive_area()[..length].copy_from_slice(&bytes[..length]);
        self.received(length);
        fits
    }

    /// The datagram.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.slot[usize::from(self.start)..usize::from(self.end)]
    }

    /// The datagram, to be changed in place.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.slot[usize::from(self.start)..usize::from(self.end)]
    }

    /// Its length in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        usize::from(self.end - self.start)
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Cuts the datagram to `length` bytes from its start.
    #[inline]
    pub fn truncate(&mut self, length: usize) {
        assert!(length <= self.len());
        self.end = self.start + length as u16;
    }

    /// Lengthens the datagram by `by` bytes at its end (contents undefined); false where the tail room is used up.
    #[inline]
    pub fn grow(&mut self, by: usize) -> bool {
        let end = usize::from(self.end) + by;
        if end > PACKET_SIZE {
            return false;
        }
        self.end = end as u16;
        true
    }

    /// Lengthens the datagram by `by` bytes at its front (contents undefined); false where the headroom is used up.
    #[inline]
    pub fn grow_front(&mut self, by: usize) -> bool {
        match usize::from(self.start).checked_sub(by) {
            Some(start) => {
                self.start = start as u16;
                true
            }
            None => false,
        }
    }

    /// Drops `by` bytes from its front.
    #[inline]
    pub fn shrink_front(&mut self, by: usize) {
        assert!(by <= self.len());
        self.start += by as u16;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_both_ways_and_no_further() {
        let mut packet = Packet::default();
        assert!(packet.fill(&[7; Packet::MAX]));
        assert!(!packet.grow(TAILROOM + 1));
        assert!(packet.grow(TAILROOM));
        assert!(packet.grow_front(HEADROOM));
        assert!(!packet.grow_front(1));
        packet.shrink_front(HEADROOM);
        packet.truncate(3);
        assert_eq!(packet.bytes(), [7; 3]);
        assert!(!packet.fill(&[0; Packet::MAX + 1]));
        assert!(packet.is_empty());
    }
}
