//! Hash maps whose order a simulation can replay and an attacker can't guess.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, DefaultHasher, Hasher};
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
