//! One name of a call from end to end (RFC 7989), whatever gateways lie between.

use std::fmt;
use std::str::FromStr;

/// One party's half of it: a UUID that is not nil.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SessionId(u128);

/// A text that is no half, or the nil one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoSessionId;

impl SessionId {
    /// A half for a party that has none, of random bits (RFC 4122 section 4.4).
    pub fn random(high: u64, low: u64) -> SessionId {
        let bits = u128::from(high) << 64 | u128::from(low);
        let version = bits & !(0xf << 76) | 0x4 << 76;
        SessionId(version & !(0x3 << 62) | 0x2 << 62)
    }
}

impl FromStr for SessionId {
    type Err = NoSessionId;

    fn from_str(text: &str) -> Result<SessionId, NoSessionId> {
        let digits = text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let bits = u128::from_str_radix(text, 16).ok().filter(|bits| digits && *bits != 0);
        bits.map(SessionId).ok_or(NoSessionId)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_is_thirty_two_digits_and_not_nil() {
        let id = SessionId::random(0, 0);
        assert_eq!(id.to_string(), "00000000000040008000000000000000");
        assert_eq!(id.to_string().to_uppercase().parse(), Ok(id));
        let nil = "0".repeat(32);
        for wrong in ["", "ab", &nil, &"g".repeat(32), &"+".repeat(32), &"a".repeat(33)] {
            assert_eq!(wrong.parse::<SessionId>(), Err(NoSessionId), "{wrong}");
        }
    }
}
