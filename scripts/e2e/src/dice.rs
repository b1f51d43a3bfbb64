//! Random choices that can be made again.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// A row of random numbers that follows from its seed.
///
/// Source: SplitMix64, by Sebastiano Vigna.
pub struct Dice(u64);

impl Dice {
    /// Takes the seed from `DOTTER_SEED`, or makes one up; prints it either way, so that a failed run can be repeated.
    ///
    /// # Panics
    ///
    /// Where `DOTTER_SEED` is no number.
    pub fn new() -> Dice {
        let seed = match std::env::var("DOTTER_SEED") {
            Ok(text) => text.parse().expect("DOTTER_SEED is a whole number below 2^64"),
            // The standard library keys its hash tables at random.
            Err(_) => RandomState::new().hash_one(0),
        };
        println!("DOTTER_SEED={seed}");
        Dice(seed)
    }

    /// Below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // Slightly uneven where `end` is enormous, which no test here notices.
        (z ^ (z >> 31)) % end
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }

    /// Shorter than `most`.
    pub fn moment(&mut self, most: Duration) -> Duration {
        Duration::from_micros(self.below(most.as_micros().max(1) as u64))
    }
}

impl Default for Dice {
    fn default() -> Dice {
        Dice::new()
    }
}
