//! Many dots drawn in few columns without losing a spike.

use std::time::Duration;

use dotter_dot::{TimeRange, Timestamp};

use crate::archive::stages;
use crate::fetch::{Part, fetch_parts, fetch_steps, fetch_stretches, known};
use crate::{Budget, Dot, Error, Numbers, Source, Stretch};

/// What is left of dots when each column of a drawing keeps its first, its smallest, its largest and its last.
///
/// As long as there are no more dots than that would be, all are kept as they are.
#[derive(Clone, Debug)]
pub struct Envelope {
    range: TimeRange,
    columns: u64,
    is_exact: bool,
    /// Every dot, while there are few.
    few: Vec<Dot>,
    kept: Vec<Dot>,
    column: Option<Column>,
    count: u64,
}

#[derive(Clone, Copy, Debug)]
struct Column {
    /// Where the next one begins.
    until: Timestamp,
    first: Dot,
    min: Dot,
    max: Dot,
    last: Dot,
}

/// The envelope of a series, the same as that of all its dots inside `range`, though only those are read that may be
/// seen in it: of the stretches within a column that of its first, its smallest, its largest and its last.
///
/// As far as there are steps instead of dots, each step is there with its smallest, largest and last, all at the moment
/// the step begins.
///
/// # Errors
///
/// Past the budget, or where the source fails.
pub fn envelope(
    source: &dyn Source,
    name: &str,
    range: TimeRange,
    columns: u32,
    budget: &mut Budget,
) -> Result<Envelope, Error> {
    let mut envelope = Envelope::new(range, columns);
    let (stages, live) = stages(&known(source, name)?.stepped, range, None, false);
    fetch_steps(source, name, &stages, budget, |rollup| {
        let time = rollup.time.max(range.from);
        let Numbers { count, min, max, .. } = rollup.numbers;
        let before = envelope.count;
        if count > 1 {
            envelope.spill();
            envelope.add(&[Dot { time, value: min }, Dot { time, value: max }]);
        }
        envelope.add(&[Dot { time, value: rollup.last }]);
        envelope.count = before + count;
    })?;
    let range = TimeRange::new(live, range.until);
    if range.is_empty() {
        return Ok(envelope);
    }
    let mut stretches = fetch_stretches(source, name, range, budget)?;
    envelope.choose(&mut stretches);
    fetch_parts(source, name, &stretches, budget, |part| match part {
        Part::Dots(dots) => envelope.add(dots),
        Part::Observations(dots, weights) => envelope.add_observations(dots, weights),
        Part::Known(_, numbers) => envelope.skip(numbers.count),
    })?;
    Ok(envelope)
}

impl Envelope {
    /// - `columns`: of equal width over `range`; at least one
    pub fn new(range: TimeRange, columns: u32) -> Envelope {
        let columns = u64::from(columns.max(1));
        Envelope { range, columns, is_exact: true, few: Vec::new(), kept: Vec::new(), column: None, count: 0 }
    }

    /// Adds dots sorted by time, none earlier than those added before.
    pub fn add(&mut self, dots: &[Dot]) {
        self.count += dots.len() as u64;
        if !self.is_exact {
            return self.sort_in(dots);
        }
        self.few.extend_from_slice(dots);
        if self.few.len() as u64 > self.columns * 4 {
            self.spill();
        }
    }

    /// As [`Envelope::add`] of dots that stand for some observations each, which are what is counted.
    fn add_observations(&mut self, dots: &[Dot], weights: &[u64]) {
        let before = self.count;
        self.add(dots);
        self.count = weights.iter().fold(before, |count, weight| count.saturating_add(*weight));
    }

    /// Passes over dots that neither begin nor end their column nor are an extreme of it.
    fn skip(&mut self, count: u64) {
        self.count = self.count.saturating_add(count);
        if count > 0 && self.is_exact {
            self.spill();
        }
    }

    /// Takes out the numbers of those stretches that must be read, the others being nowhere seen.
    fn choose(&self, stretches: &mut [Stretch]) {
        let has_numbers = |stretch: &&Stretch| stretch.numbers.is_some_and(|numbers| numbers.count > 0);
        let known = stretches.iter().filter(has_numbers).map(|stretch| stretch.dots);
        // Else all dots might have to be kept as they are. A dot may stand for many numbers.
        let are_many = known.fold(0, u64::saturating_add) > self.columns * 4;
        let last = |stretch: &Stretch| stretch.range.until.saturating_sub(Duration::from_nanos(1));
        let column = |stretch: &Stretch| {
            let (from, until) = (self.index(stretch.range.from), self.index(last(stretch)));
            (are_many && from == until).then_some(from)
        };
        let mut rest = stretches;
        while !rest.is_empty() {
            let of = column(&rest[0]);
            let end = rest.iter().position(|stretch| column(stretch) != of).unwrap_or(rest.len());
            let (group, behind) = rest.split_at_mut(end);
            rest = behind;
            let mut seen = [None::<usize>; 4];
            if of.is_some() {
                let mut known: Option<Numbers> = None;
                for (index, stretch) in group.iter().enumerate() {
                    let Some(numbers) = stretch.numbers.filter(|numbers| numbers.count > 0) else { continue };
                    seen[0] = seen[0].or(Some(index));
                    // Of equal extremes the earliest is kept.
                    if known.is_none_or(|known| numbers.min < known.min) {
                        seen[1] = Some(index);
                    }
                    if known.is_none_or(|known| numbers.max > known.max) {
                        seen[2] = Some(index);
                    }
                    seen[3] = Some(index);
                    known = Some(known.map_or(numbers, |known| Numbers {
                        min: known.min.min(numbers.min),
                        max: known.max.max(numbers.max),
                        ..numbers
                    }));
                }
            }
            for (index, stretch) in group.iter_mut().enumerate() {
                if (of.is_none() || seen.contains(&Some(index)))
                    && stretch.numbers.is_some_and(|numbers| numbers.count > 0)
                {
                    stretch.numbers = None;
                }
            }
        }
    }

    /// How many dots were added; of a histogram how many observations.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether every dot added is still there.
    pub fn is_exact(&self) -> bool {
        self.is_exact
    }

    /// The dots kept, sorted by time, at most four a column.
    pub fn finish(mut self) -> Vec<Dot> {
        if let Some(column) = self.column {
            column.keep(&mut self.kept);
        }
        self.kept.append(&mut self.few);
        self.kept
    }

    fn spill(&mut self) {
        self.is_exact = false;
        let few = std::mem::take(&mut self.few);
        self.sort_in(&few);
    }

    fn sort_in(&mut self, mut dots: &[Dot]) {
        while let Some(dot) = dots.first().copied() {
            if self.column.is_none_or(|column| dot.time >= column.until) {
                let until = self.end(self.index(dot.time));
                let next = Column { until, first: dot, min: dot, max: dot, last: dot };
                if let Some(done) = self.column.replace(next) {
                    done.keep(&mut self.kept);
                }
            }
            let column = self.column.as_mut().expect("one begins at the first dot");
            let later = dots.iter().position(|dot| dot.time >= column.until).unwrap_or(dots.len()).max(1);
            dots[..later].iter().for_each(|dot| column.take(*dot));
            dots = &dots[later..];
        }
    }

    fn length(&self) -> u128 {
        self.range.until.since(self.range.from).as_nanos().max(1)
    }

    /// The column that holds a moment.
    fn index(&self, time: Timestamp) -> u64 {
        let offset = time.since(self.range.from).as_nanos();
        (offset * u128::from(self.columns) / self.length()) as u64
    }

    /// Where the column behind one begins.
    fn end(&self, index: u64) -> Timestamp {
        let offset = ((u128::from(index) + 1) * self.length()).div_ceil(u128::from(self.columns));
        let nanos = u64::try_from(offset).ok().and_then(|offset| self.range.from.nanos().checked_add(offset));
        Timestamp::from_nanos(nanos.unwrap_or(u64::MAX))
    }
}

impl Column {
    fn take(&mut self, dot: Dot) {
        // A comparison with NaN is false: NaN is kept only where there is nothing else.
        if dot.value < self.min.value || self.min.value.is_nan() {
            self.min = dot;
        }
        if dot.value > self.max.value || self.max.value.is_nan() {
            self.max = dot;
        }
        self.last = dot;
    }

    fn keep(&self, kept: &mut Vec<Dot>) {
        let (early, late) =
            if self.min.time <= self.max.time { (self.min, self.max) } else { (self.max, self.min) };
        let start = kept.len();
        for dot in [self.first, early, late, self.last] {
            let repeated = kept[start..].last().is_some_and(|before| {
                before.time == dot.time && before.value.to_bits() == dot.value.to_bits()
            });
            if !repeated {
                kept.push(dot);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Random;

    fn dot(nanos: u64, value: f64) -> Dot {
        Dot { time: Timestamp::from_nanos(nanos), value }
    }

    fn range(nanos: u64) -> TimeRange {
        TimeRange::new(Timestamp::MIN, Timestamp::from_nanos(nanos))
    }

    #[test]
    fn few_dots_are_all_kept() {
        let mut envelope = Envelope::new(range(100), 2);
        let dots: Vec<Dot> = (0..8).map(|n| dot(n, n as f64)).collect();
        envelope.add(&dots);
        assert!(envelope.is_exact());
        assert_eq!(envelope.finish(), dots);
    }

    #[test]
    fn a_column_keeps_its_first_extremes_and_last() {
        let mut envelope = Envelope::new(range(100), 1);
        envelope.add(&[dot(0, 5.0), dot(1, 6.0), dot(2, 9.0), dot(3, 4.0)]);
        envelope.add(&[dot(4, f64::NAN), dot(5, 1.0), dot(6, 7.0), dot(7, 5.0)]);
        assert_eq!((envelope.count(), envelope.is_exact()), (8, false));
        assert_eq!(envelope.finish(), [dot(0, 5.0), dot(2, 9.0), dot(5, 1.0), dot(7, 5.0)]);
    }

    #[test]
    fn no_extreme_is_lost_and_no_more_than_four_a_column_stay() {
        let mut random = Random::seeded();
        for _ in 0..300 {
            let (columns, count) = (1 + random.below(20) as u32, random.below(400));
            let mut times: Vec<u64> = (0..count).map(|_| random.below(1000) as u64).collect();
            times.sort_unstable();
            let dots: Vec<Dot> = times.iter().map(|t| dot(*t, random.below(1000) as f64)).collect();
            let mut envelope = Envelope::new(range(1000), columns);
            dots.chunks(7).for_each(|piece| envelope.add(piece));
            let kept = envelope.finish();
            assert!(kept.len() <= columns as usize * 4, "{random}");
            assert!(kept.is_sorted_by_key(|dot| dot.time), "{random}");
            let extremes = |dots: &[Dot]| {
                let values = || dots.iter().map(|dot| dot.value);
                (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max))
            };
            assert_eq!(extremes(&kept), extremes(&dots), "{random}");
            assert_eq!(kept.first(), dots.first(), "{random}");
            assert_eq!(kept.last(), dots.last(), "{random}");
        }
    }
}
