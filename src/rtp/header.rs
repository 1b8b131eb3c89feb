//! The RTP header, read and changed where it lies (RFC 3550 section 5.1).

/// Bytes of the header without CSRCs and extension.
pub const FIXED: usize = 12;

/// A header as it stands in a datagram. Lengths are proven to lie inside it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// The marker bit: the first packet of a talkspurt, the last of a video frame.
    pub marker: bool,
    /// The padding bit. How much padding there is shows only in the clear ([`Header::payload`]).
    pub padding: bool,
    /// 0 to 127.
    pub payload_type: u8,
    /// The sequence number.
    pub sequence: u16,
    /// The timestamp.
    pub timestamp: u32,
    /// The synchronisation source.
    pub ssrc: u32,
    /// How many contributing sources follow the fixed header.
    pub csrcs: u8,
    /// Whether an extension follows the contributing sources.
    pub extended: bool,
    /// All bytes before the payload.
    pub length: usize,
}

#[inline]
fn word(bytes: &[u8; FIXED], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

impl Header {
    /// Reads the header of a datagram; `None` where it is no RTP version 2 or ends within its header.
    #[inline]
    pub fn parse(datagram: &[u8]) -> Option<Header> {
        let fixed: &[u8; FIXED] = datagram.first_chunk()?;
        if fixed[0] >> 6 != 2 {
            return None;
        }
        let csrcs = fixed[0] & 0x0f;
        let extended = fixed[0] & 0x10 != 0;
        let mut length = FIXED + 4 * usize::from(csrcs);
        if extended {
            let words: &[u8; 4] = datagram.get(length..)?.first_chunk()?;
            length += 4 + 4 * usize::from(u16::from_be_bytes([words[2], words[3]]));
        }
        if length > datagram.len() {
            return None;
        }
        Some(Header {
            marker: fixed[1] & 0x80 != 0,
            padding: fixed[0] & 0x20 != 0,
            payload_type: fixed[1] & 0x7f,
            sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: word(fixed, 4),
            ssrc: word(fixed, 8),
            csrcs,
            extended,
            length,
        })
    }

    /// Where the payload of a clear datagram lies, padding left out; `None` where the padding is longer than what
    /// there is, or says that it has no bytes.
    #[inline]
    pub fn payload(&self, datagram: &[u8]) -> Option<std::ops::Range<usize>> {
        let mut end = datagram.len();
        if self.padding {
            let padding = usize::from(*datagram.last()?);
            if padding == 0 || padding > end.checked_sub(self.length)? {
                return None;
            }
            end -= padding;
        }
        (self.length <= end).then_some(self.length..end)
    }

    /// The contributing sources.
    pub fn contributors<'a>(&self, datagram: &'a [u8]) -> impl Iterator<Item = u32> + use<'a> {
        let bytes = datagram.get(FIXED..FIXED + 4 * usize::from(self.csrcs)).unwrap_or_default();
        bytes.chunks_exact(4).map(|csrc| u32::from_be_bytes([csrc[0], csrc[1], csrc[2], csrc[3]]))
    }

    /// The header extension: what its profile defines in the first 16 bits, and its data (RFC 3550 section 5.3.1).
    pub fn extension<'a>(&self, datagram: &'a [u8]) -> Option<(u16, &'a [u8])> {
        if !self.extended {
            return None;
        }
        let whole = datagram.get(FIXED + 4 * usize::from(self.csrcs)..self.length)?;
        let (head, data) = whole.split_first_chunk::<4>()?;
        Some((u16::from_be_bytes([head[0], head[1]]), data))
    }

    /// Writes a fixed header: no CSRC, no extension, no padding.
    #[inline]
    pub fn write(&self) -> [u8; FIXED] {
        let mut bytes = [0; FIXED];
        bytes[0] = 0x80;
        bytes[1] = u8::from(self.marker) << 7 | self.payload_type & 0x7f;
        bytes[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        bytes
    }
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident($type:ty) |$value:ident, $head:ident| $change:expr;)*) => {$(
        $(#[$doc])*
        /// Does nothing to what is shorter than a header.
        #[inline]
        pub fn $name(datagram: &mut [u8], $value: $type) {
            if let Some($head) = datagram.first_chunk_mut::<FIXED>() {
                $change;
            }
        }
    )*};
}

setters! {
    /// Changes the marker bit.
    set_marker(bool) |marker, head| head[1] = head[1] & 0x7f | u8::from(marker) << 7;
    /// Changes the payload type (its low seven bits).
    set_payload_type(u8) |number, head| head[1] = head[1] & 0x80 | number & 0x7f;
    /// Changes the sequence number.
    set_sequence(u16) |sequence, head| head[2..4].copy_from_slice(&sequence.to_be_bytes());
    /// Changes the timestamp.
    set_timestamp(u32) |timestamp, head| head[4..8].copy_from_slice(&timestamp.to_be_bytes());
    /// Changes the SSRC.
    set_ssrc(u32) |ssrc, head| head[8..12].copy_from_slice(&ssrc.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Random;

    // V=2 P=1 X=1 CC=2, M=1 PT=111, an extension of one word, four bytes of payload, two of padding.
    const FULL: [u8; 34] = [
        0xb2, 0xef, 0x12, 0x34, 0, 0, 1, 0, 0xaa, 0xbb, 0xcc, 0xdd, 0, 0, 0, 1, 0, 0, 0, 2, 0xbe, 0xde, 0, 1,
        0x10, 0x83, 0, 0, 9, 8, 7, 6, 0, 2,
    ];

    #[test]
    fn reads_sources_extension_and_padding() {
        let header = Header::parse(&FULL).unwrap();
        assert!(header.marker && header.padding && header.extended);
        assert_eq!((header.payload_type, header.sequence, header.timestamp), (111, 0x1234, 256));
        assert_eq!((header.ssrc, header.length), (0xaabb_ccdd, 28));
        assert_eq!(header.contributors(&FULL).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(header.extension(&FULL), Some((0xbede, &[0x10, 0x83, 0, 0][..])));
        assert_eq!(header.payload(&FULL), Some(28..32));
    }

    #[test]
    fn a_datagram_cut_anywhere_in_its_header_is_no_rtp() {
        for length in 0..28 {
            assert_eq!(Header::parse(&FULL[..length]), None, "{length}");
        }
        assert!(Header::parse(&FULL[..28]).is_some());
        let mut other = FULL;
        other[0] = 0x72;
        assert_eq!(Header::parse(&other), None, "version 1");
    }

    #[test]
    fn padding_that_says_too_much_or_nothing_is_refused() {
        let mut packet = FULL;
        for (last, payload) in [(0, None), (6, Some(28..28)), (7, None), (255, None)] {
            packet[33] = last;
            assert_eq!(Header::parse(&packet).unwrap().payload(&packet), payload, "{last}");
        }
    }

    #[test]
    fn setters_change_one_field_each() {
        let mut packet = FULL;
        set_marker(&mut packet, false);
        set_payload_type(&mut packet, 0x80 | 8);
        set_sequence(&mut packet, 5);
        set_timestamp(&mut packet, 6);
        set_ssrc(&mut packet, 7);
        let header = Header::parse(&packet).unwrap();
        assert_eq!((header.marker, header.payload_type, header.sequence), (false, 8, 5));
        assert_eq!((header.timestamp, header.ssrc, header.csrcs, header.length), (6, 7, 2, 28));
        assert_eq!(packet[12..], FULL[12..]);
        set_ssrc(&mut packet[..11], 9);
        let plain = Header { csrcs: 0, extended: false, padding: false, length: FIXED, ..header };
        assert_eq!(Header::parse(&plain.write()), Some(plain));
    }

    #[test]
    fn a_hundred_thousand_random_datagrams_never_panic() {
        let mut random = Random::from_number(1);
        let mut bytes = [0; 64];
        for _ in 0..100_000 {
            random.fill(&mut bytes);
            bytes[0] = bytes[0] & 0x3f | 0x80;
            let datagram = &bytes[..random.below(65) as usize];
            super::super::classify(datagram);
            if let Some(header) = Header::parse(datagram) {
                assert!(header.length <= datagram.len());
                header.payload(datagram).inspect(|range| assert!(range.end <= datagram.len()));
                header.contributors(datagram).count();
                header.extension(datagram);
            }
        }
    }
}
