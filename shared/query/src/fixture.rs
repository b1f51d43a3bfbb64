//! For tests: series in memory, and random texts that can be had again.

use std::collections::BTreeMap;
use std::fmt;

use dotter_dot::{SeriesName, TimeRange, Timestamp};

use crate::{
    Budget, Catalogue, Dot, Error, Known, Node, Pattern, Piece, Report, Sink, Source, SourceError, Stretch,
    Want, What,
};

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

impl Memory {
    fn dots(&self, name: &str) -> &[Dot] {
        self.series.get(name).map_or(&[], |dots| dots)
    }
}

impl Source for Memory {
    fn find(
        &self,
        pattern: &Pattern,
        live: Option<TimeRange>,
        budget: &Budget,
        visit: &mut dyn FnMut(Node) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let shows = |name: &SeriesName| {
            let span = self.known(&[name.as_str()]).unwrap()[0].span;
            live.is_none_or(|range| span.is_some_and(|(first, last)| range.meets(first, last)))
        };
        self.catalogue.find(pattern, budget, &shows, visit)
    }

    fn known(&self, names: &[&str]) -> Result<Vec<Known>, SourceError> {
        let span = |name: &&str| {
            let dots = self.dots(name);
            Some((dots.first()?.time, dots.last()?.time))
        };
        Ok(names.iter().map(|name| Known { span: span(name), ..Known::default() }).collect())
    }

    fn fetch(&self, wants: &[Want<'_>], mut sink: Sink<'_>) -> Result<Report, SourceError> {
        for (index, want) in wants.iter().enumerate() {
            let dots = self.dots(want.name);
            match want.what {
                What::Dots(range) => {
                    let dots: Vec<Dot> =
                        dots.iter().copied().filter(|dot| range.contains(dot.time)).collect();
                    for piece in dots.chunks(3) {
                        if sink.look_at(index, piece.len() as u64).is_break() {
                            return Ok(sink.report());
                        }
                        sink.put(index, Piece::Dots(piece));
                    }
                }
                What::Stretches(range) => {
                    let unread = Stretch { range, dots: dots.len() as u64, numbers: None };
                    sink.put(index, Piece::Stretches(&[unread]));
                }
                // Nothing expires here.
                What::Steps(..) => {}
                What::Newest(count) => {
                    sink.put(index, Piece::Dots(&dots[dots.len().saturating_sub(count)..]))
                }
            }
        }
        Ok(sink.report())
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
