//! What logs may show of numbers, URIs and addresses.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};

static SHOWN: AtomicBool = AtomicBool::new(false);

/// Turns redaction off for the whole process (`--log-personal`); on is the default.
pub fn show_personal_data(shown: bool) {
    SHOWN.store(shown, Ordering::Relaxed);
}

/// A user name or number: the first and the last two characters.
pub struct User<'a>(pub &'a str);

impl fmt::Display for User<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if SHOWN.load(Ordering::Relaxed) {
            // Control characters never reach a log line.
            return self.0.chars().try_for_each(|c| write!(f, "{}", if c.is_control() { '?' } else { c }));
        }
        let printable = |c: char| if c.is_control() { '?' } else { c };
        let count = self.0.chars().count();
        if count > 4 {
            write!(f, "{}", self.0.chars().next().map_or('?', printable))?;
            f.write_str("…")?;
            return self.0.chars().skip(count - 2).try_for_each(|c| write!(f, "{}", printable(c)));
        }
        f.write_str("…")
    }
}

/// An address: the network part only (/16 of IPv4, /32 of IPv6), loopback whole.
pub struct Address(pub SocketAddr);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if SHOWN.load(Ordering::Relaxed) || self.0.ip().is_loopback() {
            return write!(f, "{}", self.0);
        }
        match self.0.ip() {
            IpAddr::V4(v4) => write!(f, "{}.{}.…:{}", v4.octets()[0], v4.octets()[1], self.0.port()),
            IpAddr::V6(v6) => {
                write!(f, "[{:x}:{:x}:…]:{}", v6.segments()[0], v6.segments()[1], self.0.port())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_the_middle() {
        assert_eq!(User("+493012345678").to_string(), "+…78");
        assert_eq!(User("bob").to_string(), "…");
        assert_eq!(Address("192.0.2.7:5060".parse().unwrap()).to_string(), "192.0.…:5060");
        assert_eq!(Address("127.0.0.1:5060".parse().unwrap()).to_string(), "127.0.0.1:5060");
    }
}
