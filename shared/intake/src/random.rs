//! Numbers for tests that follow from a seed, which is printed; the environment variable DOTTER_SEED gives one.

/// A source of numbers.
pub(crate) struct Random(u64);

impl Random {
    /// Prints its seed.
    pub(crate) fn new() -> Random {
        let given =
            std::env::var("DOTTER_SEED").ok().map(|text| text.parse().expect("DOTTER_SEED is a number"));
        let seed = given.unwrap_or_else(|| dotter_dot::Timestamp::now().nanos());
        println!("DOTTER_SEED={seed}");
        Random(seed)
    }

    /// A number below `end`.
    ///
    /// Source: splitmix64, Steele and others, 2014.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}
