//! For tests: series in memory, and random texts that can be had again.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use dotter_dot::{SeriesName, TimeRange, Timestamp};

use crate::slots::nanos;
use crate::{
    Budget, Catalogue, Dot, Error, Known, Node, Numbers, Pattern, Piece, Report, Rollup, Rule, Sink, Source,
    SourceError, Stretch, Want, What,
};

/// Series in memory. Nothing expires here.
#[derive(Default)]
pub(crate) struct Memory {
    series: BTreeMap<String, Vec<Dot>>,
    rule: Option<Rule>,
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
    /// A rule for all series.
    pub(crate) fn ruled(self, rule: Rule) -> Memory {
        Memory { rule: Some(rule), ..self }
    }

    /// Steps that are the averages of their dots.
    fn steps(&self, name: &str, range: TimeRange, step: Duration) -> Vec<Rollup> {
        let step = nanos(step);
        let mut steps: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        let whole = TimeRange::new(
            Timestamp::from_nanos(range.from.nanos() / step * step),
            Timestamp::from_nanos(range.until.nanos().next_multiple_of(step)),
        );
        for dot in self.dots(name).iter().filter(|dot| whole.contains(dot.time)) {
            steps.entry(dot.time.nanos() / step * step).or_default().push(dot.value);
        }
        let rollup = |(time, values): (u64, Vec<f64>)| {
            let (count, sum) = (values.len() as u64, values.iter().sum::<f64>());
            let extreme = |of: fn(f64, f64) -> f64| values.iter().copied().reduce(of).unwrap();
            let numbers = Numbers { count, min: extreme(f64::min), max: extreme(f64::max), sum };
            let value = Some(sum / count as f64);
            Rollup { time: Timestamp::from_nanos(time), numbers, last: values[values.len() - 1], value }
        };
        steps.into_iter().map(rollup).collect()
    }

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
        let known = |name| Known { span: span(name), rule: self.rule.clone(), ..Known::default() };
        Ok(names.iter().map(known).collect())
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
                What::Steps(range, step) => {
                    let steps = self.steps(want.name, range, step);
                    if sink.look_at(index, steps.len() as u64).is_break() {
                        return Ok(sink.report());
                    }
                    sink.put(index, Piece::Steps(&steps));
                }
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
