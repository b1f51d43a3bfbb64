//! For tests: series in memory, and random texts that can be had again.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;

use dotter_dot::{SeriesName, TimeRange, Timestamp};

use crate::{Catalogue, Dot, Source, SourceError};

/// Series in memory.
#[derive(Default)]
pub(crate) struct Memory {
    series: BTreeMap<String, Vec<Dot>>,
    catalogue: Catalogue,
}

impl Memory {
    /// - `dots`: sorted by time, in seconds
    pub(crate) fn with(mut self, name: &str, dots: &[(f64, f64)]) -> Memory {
        let dots = dots
            .iter()
            .map(|(t, value)| Dot { time: Timestamp::from_nanos((t * 1e9).round() as u64), value: *value });
        self.series.insert(name.to_owned(), dots.collect());
        self.catalogue.add([SeriesName::new(name).unwrap()]);
        self
    }
}

impl Source for Memory {
    fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    fn fetch(
        &self,
        name: &str,
        range: TimeRange,
        visit: &mut dyn FnMut(&[Dot], u64) -> ControlFlow<()>,
    ) -> Result<(), SourceError> {
        let dots = self.series.get(name).map_or(&[][..], |dots| dots);
        let dots: Vec<Dot> = dots.iter().copied().filter(|dot| range.contains(dot.time)).collect();
        for piece in dots.chunks(3) {
            if visit(piece, piece.len() as u64).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn newest(&self, name: &str, count: usize) -> Result<Vec<Dot>, SourceError> {
        let dots = self.series.get(name).map_or(&[][..], |dots| dots);
        Ok(dots[dots.len().saturating_sub(count)..].to_vec())
    }

    fn span(&self, name: &str) -> Option<(Timestamp, Timestamp)> {
        let dots = self.series.get(name)?;
        Some((dots.first()?.time, dots.last()?.time))
    }
}

/// Random numbers from a seed; shown in messages so that a failure can be had again with `DOTTER_SEED`.
pub(crate) struct Random {
    seed: u64,
    state: u64,
}

impl Random {
    /// From the environment's `DOTTER_SEED`, or a new seed.
    pub(crate) fn seeded() -> Random {
        let given = std::env::var("DOTTER_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| Timestamp::now().nanos());
        Random { seed, state: seed | 1 }
    }

    /// Below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        // Source: Marsaglia, "Xorshift RNGs", 2003.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state % bound as u64) as usize
    }

    /// Up to `length_max` characters of `alphabet`.
    pub(crate) fn text(&mut self, alphabet: &str, length_max: usize) -> String {
        let alphabet: Vec<char> = alphabet.chars().collect();
        let length = self.below(length_max + 1);
        (0..length).map(|_| alphabet[self.below(alphabet.len())]).collect()
    }
}

impl fmt::Display for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DOTTER_SEED={}", self.seed)
    }
}
