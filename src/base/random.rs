//! Randomness as an argument: unguessable in production, the same again in simulation.

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};

/// A seeded, cryptographically strong source.
#[derive(Debug)]
pub struct Random(ChaCha12Rng);

impl Random {
    /// A source that repeats itself for the same seed. In production the seed comes from the system.
    pub fn new(seed: [u8; 32]) -> Random {
        Random(ChaCha12Rng::from_seed(seed))
    }

    /// A source for simulations and tests.
    pub fn from_number(seed: u64) -> Random {
        Random(ChaCha12Rng::seed_from_u64(seed))
    }

    /// A new source, independent of what this one gives later.
    pub fn fork(&mut self) -> Random {
        let mut seed = [0; 32];
        self.fill(&mut seed);
        Random::new(seed)
    }

    /// Any 32 bits.
    pub fn u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// Any 64 bits.
    pub fn u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number from 0 to `bound - 1`; 0 where `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The multiply-shift bias is under 2^-64 * bound.
        ((u128::from(self.u64()) * u128::from(bound)) >> 64) as u64
    }

    /// True with the given chance (0.0 to 1.0).
    pub fn chance(&mut self, probability: f64) -> bool {
        ((self.u64() >> 11) as f64) < probability * (1_u64 << 53) as f64
    }

    /// Fills the buffer.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        self.0.fill_bytes(buffer);
    }

    /// `length` letters and digits (5.9 bits each): tags, branches, Call-IDs, ICE credentials.
    pub fn token(&mut self, length: usize) -> String {
        const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        (0..length).map(|_| char::from(LETTERS[self.below(62) as usize])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_tokens() {
        let (mut a, mut b) = (Random::from_number(7), Random::from_number(7));
        assert_eq!(a.token(24), b.token(24));
        assert_ne!(a.token(24), a.token(24));
        assert!((0..1000).all(|_| a.below(3) < 3));
        let heads = (0..10_000).filter(|_| a.chance(0.25)).count();
        assert!((2_200..2_800).contains(&heads), "{heads}");
    }
}
