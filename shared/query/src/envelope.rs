//! Many dots drawn in few columns without losing a spike.

use dotter_dot::{TimeRange, Timestamp};

use crate::Dot;

/// What is left of dots when each column of a drawing keeps its first, its smallest, its largest and its last.
///
/// As long as there are no more dots than that would be, all are kept as they are.
#[derive(Clone, Debug)]
pub struct Envelope {
    range: TimeRange,
    columns: u64,
    /// Every dot, while there are few.
    few: Vec<Dot>,
    kept: Vec<Dot>,
    column: Option<Column>,
    count: u64,
}

#[derive(Clone, Copy, Debug)]
struct Column {
    index: u64,
    first: Dot,
    min: Dot,
    max: Dot,
    last: Dot,
}

impl Envelope {
    /// - `columns`: of equal width over `range`; at least one
    pub fn new(range: TimeRange, columns: u32) -> Envelope {
        let columns = u64::from(columns.max(1));
        Envelope { range, columns, few: Vec::new(), kept: Vec::new(), column: None, count: 0 }
    }

    /// Adds dots sorted by time, none earlier than those added before.
    pub fn add(&mut self, dots: &[Dot]) {
        self.count += dots.len() as u64;
        if self.column.is_none() {
            self.few.extend_from_slice(dots);
            if self.few.len() as u64 > self.columns * 4 {
                for dot in std::mem::take(&mut self.few) {
                    self.sort_in(dot);
                }
            }
            return;
        }
        dots.iter().for_each(|dot| self.sort_in(*dot));
    }

    /// How many dots were added.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether every dot added is still there.
    pub fn is_exact(&self) -> bool {
        self.column.is_none()
    }

    /// The dots kept, sorted by time, at most four a column.
    pub fn finish(mut self) -> Vec<Dot> {
        match self.column {
            None => self.few,
            Some(column) => {
                column.keep(&mut self.kept);
                self.kept
            }
        }
    }

    fn sort_in(&mut self, dot: Dot) {
        let index = self.index(dot.time);
        match &mut self.column {
            Some(column) if column.index == index => column.take(dot),
            other => {
                if let Some(column) =
                    other.replace(Column { index, first: dot, min: dot, max: dot, last: dot })
                {
                    column.keep(&mut self.kept);
                }
            }
        }
    }

    fn index(&self, time: Timestamp) -> u64 {
        let length = self.range.until.since(self.range.from).as_nanos().max(1);
        let offset = time.since(self.range.from).as_nanos();
        (offset * u128::from(self.columns) / length) as u64
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
