//! What a datagram on a media socket is, told by its first two bytes (RFC 7983 section 7, RFC 5761 section 4).

/// The protocols that share a media socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// First byte 0 to 3: STUN (RFC 8489).
    Stun,
    /// First byte 20 to 63: a DTLS record.
    Dtls,
    /// First byte 128 to 191, and not RTCP: RTP or SRTP.
    Rtp,
    /// The same with a second byte of 192 to 223: RTCP or SRTCP.
    Rtcp,
    /// ZRTP, TURN channels, QUIC, noise, or nothing at all.
    Other,
}

/// Tells what a datagram is. One that is too short to hold the header of its protocol is [`Class::Other`].
#[inline]
pub fn classify(datagram: &[u8]) -> Class {
    match datagram {
        [128..=191, 192..=223, ..] if datagram.len() >= 8 => Class::Rtcp,
        [128..=191, 192..=223, ..] => Class::Other,
        [128..=191, ..] if datagram.len() >= super::FIXED => Class::Rtp,
        [0..=3, ..] if datagram.len() >= 20 => Class::Stun,
        [20..=63, ..] if datagram.len() >= 13 => Class::Dtls,
        _ => Class::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(first: u8, second: u8) -> Class {
        let mut datagram = [0; 20];
        datagram[..2].copy_from_slice(&[first, second]);
        classify(&datagram)
    }

    #[test]
    fn every_first_byte_has_the_class_of_rfc_7983() {
        for first in 0..=255 {
            let expected = match first {
                0..=3 => Class::Stun,
                20..=63 => Class::Dtls,
                128..=191 => Class::Rtp,
                _ => Class::Other,
            };
            assert_eq!(of(first, 0), expected, "{first}");
        }
    }

    #[test]
    fn rtcp_is_told_from_rtp_by_its_packet_type() {
        for second in 0..=255 {
            let expected = if (192..=223).contains(&second) { Class::Rtcp } else { Class::Rtp };
            assert_eq!(of(0x80, second), expected, "{second}");
        }
    }

    #[test]
    fn what_is_too_short_is_nothing() {
        assert_eq!(classify(&[]), Class::Other);
        assert_eq!(classify(&[0x80]), Class::Other);
        assert_eq!(classify(&[0x80; 11]), Class::Other);
        assert_eq!(classify(&[0x80, 200, 0, 0, 0, 0, 0]), Class::Other);
        assert_eq!(classify(&[0x80, 201, 0, 0, 0, 0, 0, 0]), Class::Rtcp);
        assert_eq!(classify(&[22; 12]), Class::Other);
        assert_eq!(classify(&[0; 19]), Class::Other);
    }
}
