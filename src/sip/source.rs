//! Addresses from which somebody may speak, as blocks of a network.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

/// A block of addresses (RFC 4632, RFC 4291): `192.0.2.0/24`, or one address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Block {
    address: IpAddr,
    bits: u8,
}

impl Block {
    /// Whether an address is in it. An IPv4 address within IPv6 is the IPv4 address.
    pub fn has(self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                u32::from(own) & mask == u32::from(other) & mask
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                u128::from(own) & mask == u128::from(other) & mask
            }
            _ => false,
        }
    }

    /// How many bits all its addresses share.
    pub fn bits(self) -> u8 {
        self.bits
    }
}

impl Default for Block {
    fn default() -> Self {
        Block::from(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }
}

impl From<IpAddr> for Block {
    fn from(address: IpAddr) -> Block {
        let address = address.to_canonical();
        Block { address, bits: if address.is_ipv4() { 32 } else { 128 } }
    }
}

impl From<[u8; 4]> for Block {
    fn from(octets: [u8; 4]) -> Block {
        Block::from(IpAddr::from(octets))
    }
}

/// A text that is no block of addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoBlock;

impl FromStr for Block {
    type Err = NoBlock;

    fn from_str(text: &str) -> Result<Block, NoBlock> {
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let whole = Block::from(address.parse::<IpAddr>().map_err(|_| NoBlock)?);
        let Some(bits) = bits else { return Ok(whole) };
        let digits = !bits.is_empty() && bits.bytes().all(|b| b.is_ascii_digit());
        let bits = bits.parse().ok().filter(|bits| digits && *bits <= whole.bits).ok_or(NoBlock)?;
        Ok(Block { bits, ..whole })
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = Block::from(self.address).bits == self.bits;
        if whole { self.address.fmt(f) } else { write!(f, "{}/{}", self.address, self.bits) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_has_its_addresses_and_no_others() {
        for (block, inside, outside) in [
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("192.0.2.77/24", "::ffff:192.0.2.1", "::192.0.2.1"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("0.0.0.0/0", "203.0.113.1", "2001:db8::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("2001:db8::1", "2001:db8::1", "2001:db8::2"),
            ("::/0", "2001:db8::1", "192.0.2.1"),
        ] {
            let parsed: Block = block.parse().unwrap();
            assert!(parsed.has(inside.parse().unwrap()) && !parsed.has(outside.parse().unwrap()), "{block}");
            assert_eq!(parsed.to_string().parse::<Block>(), Ok(parsed));
        }
        for wrong in
            ["", "192.0.2.0/33", "::/129", "192.0.2.0/", "192.0.2.0/+8", "host", "192.0.2/24", "1.1.1.1/-1"]
        {
            assert_eq!(wrong.parse::<Block>(), Err(NoBlock), "{wrong}");
        }
    }
}
