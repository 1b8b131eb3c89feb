//! Hash maps whose order a simulation can replay and an attacker can't guess.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

static SEED: AtomicU64 = AtomicU64::new(0);

/// Sets the secret that all later maps of this process mix into their hashes. `node` calls it once at start-up;
/// simulations leave it alone.
pub fn seed_maps(seed: u64) {
    SEED.store(seed, Ordering::Relaxed);
}

/// SipHash behind the process's secret.
#[derive(Clone, Debug)]
pub struct Seeded(u64);

impl Default for Seeded {
    fn default() -> Self {
        Seeded(SEED.load(Ordering::Relaxed))
    }
}

impl BuildHasher for Seeded {
    type Hasher = DefaultHasher;
    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        hasher
    }
}

/// A map keyed by what the network may choose.
pub type Map<K, V> = HashMap<K, V, Seeded>;
/// A set keyed by what the network may choose.
pub type Set<K> = HashSet<K, Seeded>;

/// An address as the key of a map on a packet's way: hashed in one word (IPv4) or three, where the standard library's
/// feeds the hash field by field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Endpoint(pub SocketAddr);

impl Hash for Endpoint {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self.0 {
            SocketAddr::V4(v4) => state.write_u64(u64::from(v4.ip().to_bits()) << 16 | u64::from(v4.port())),
            SocketAddr::V6(v6) => {
                let bits = v6.ip().to_bits();
                state.write_u64((bits >> 64) as u64);
                state.write_u64(bits as u64);
                state.write_u64(u64::from(v6.scope_id()) << 16 | u64::from(v6.port()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_that_differ_anywhere_are_told_apart() {
        let texts =
            ["192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1", "[2001:db8::1]:1", "[2001:db8::1%3]:1", "[1::1]:1"];
        let all: Vec<Endpoint> = texts.map(|text| Endpoint(text.parse().unwrap())).into();
        let mut map: Map<Endpoint, usize> = Map::default();
        let mut hashes = Set::default();
        for (n, endpoint) in all.iter().enumerate() {
            assert_eq!(map.insert(*endpoint, n), None);
            assert!(hashes.insert(Seeded::default().hash_one(endpoint)));
        }
        assert!(all.iter().enumerate().all(|(n, endpoint)| map.get(endpoint) == Some(&n)));
    }
}
