//! Arithmetic on RTP sequence numbers and timestamps, which wrap (RFC 3550 section 5.1, RFC 1982).

/// How far `to` lies after `from`: negative where it lies before. Half the range apart counts as before.
#[inline]
pub fn distance(from: u16, to: u16) -> i16 {
    to.wrapping_sub(from).cast_signed()
}

/// Whether sequence number `a` comes after `b`.
#[inline]
pub fn newer(a: u16, b: u16) -> bool {
    distance(b, a) > 0
}

/// The highest sequence number of a stream with its wraps counted, so that numbers compare as they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extended(u64);

impl Extended {
    /// The stream begins here. It stands one wrap above zero, so that packets from before the first one have a place.
    #[inline]
    pub fn new(sequence: u16) -> Extended {
        Extended(1 << 16 | u64::from(sequence))
    }

    /// The highest number so far.
    #[inline]
    pub fn highest(self) -> u64 {
        self.0
    }

    /// The number that `sequence` stands for: the one nearest to the highest so far.
    #[inline]
    pub fn unwrap(self, sequence: u16) -> u64 {
        self.0.saturating_add_signed(i64::from(distance(self.0 as u16, sequence)))
    }

    /// Takes note of a number that [`Extended::unwrap`] gave; one that is not higher changes nothing.
    #[inline]
    pub fn advance(&mut self, number: u64) {
        self.0 = self.0.max(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_survives_the_wrap() {
        assert!(newer(0, 65535) && !newer(65535, 0));
        assert!(newer(10, 9) && !newer(9, 9));
        assert_eq!(distance(65534, 3), 5);
        assert_eq!(distance(3, 65534), -5);
        assert_eq!(distance(0, 0x8000), i16::MIN);
    }

    #[test]
    fn an_extended_number_counts_wraps_in_any_order() {
        let mut number = Extended::new(65534);
        let first = number.highest();
        for (sequence, offset) in [(0_u16, 2), (65535, 1), (1, 3), (65533, -1)] {
            let value = number.unwrap(sequence);
            assert_eq!(value, first.saturating_add_signed(offset), "{sequence}");
            number.advance(value);
        }
        assert_eq!(number.highest(), first + 3);
        assert_eq!(Extended::new(0).unwrap(65535), 65535, "before the first packet, without an underflow");
    }
}
