//! What the numbers of a chunk come to, so that a question about many dots need not decode them.

use std::ops::Range;

use dotter_dot::{Column, put_varint};

use crate::format::bytes::Fields;

/// Chunks of fewer dots have none: decoding them costs less than it would take in the index.
const DOTS_MIN: usize = 1024;

/// Of the finite numbers of a chunk: NaN and infinities, and dots without a number, are left out of all of it.
///
/// A number is the nearest f64; of a row that of its first number column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// How many; the others are zero where this is.
    pub count: u64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// All of them, added up in the order of time; infinite where that is too much for an f64.
    pub sum: f64,
    /// That of the earliest dot.
    pub first: f64,
    /// That of the latest dot.
    pub last: f64,
}

impl Summary {
    /// Of dots in the order of time; `None` where they are too few to be worth it.
    pub(crate) fn of(run: &Column, part: Range<usize>) -> Option<Summary> {
        if part.len() < DOTS_MIN {
            return None;
        }
        let mut all =
            Summary { count: 0, min: f64::INFINITY, max: f64::NEG_INFINITY, sum: 0.0, first: 0.0, last: 0.0 };
        run.numbers(part, |_, number| {
            if number.is_finite() {
                all.first = if all.count == 0 { number } else { all.first };
                all.count += 1;
                all.min = all.min.min(number);
                all.max = all.max.max(number);
                all.sum += number;
                all.last = number;
            }
        });
        if all.count == 0 {
            (all.min, all.max) = (0.0, 0.0);
        }
        Some(all)
    }

    /// Appends it: the count and one, then five numbers where there are any; a zero where there is none of it.
    pub(crate) fn put(summary: Option<Summary>, out: &mut Vec<u8>) {
        let Some(Summary { count, min, max, sum, first, last }) = summary else { return out.push(0) };
        put_varint(out, count + 1);
        if count > 0 {
            // Numbers people use have their last bytes zero, which come first here and cost nothing.
            for number in [min, max, sum, first, last] {
                put_varint(out, number.to_bits().swap_bytes());
            }
        }
    }

    pub(crate) fn take(fields: &mut Fields<'_>) -> Option<Option<Summary>> {
        let Some(count) = fields.varint()?.checked_sub(1) else { return Some(None) };
        let mut numbers = [0.0; 5];
        if count > 0 {
            for number in &mut numbers {
                *number = f64::from_bits(fields.varint()?.swap_bytes());
            }
        }
        let [min, max, sum, first, last] = numbers;
        Some(Some(Summary { count, min, max, sum, first, last }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::push;

    #[test]
    fn only_finite_numbers_count() {
        let mut run = Column::default();
        push(&mut run, 1, 0, 7);
        push(&mut run, 0, 0, f64::NAN.to_bits());
        push(&mut run, 0, 1, f64::INFINITY.to_bits());
        (0..DOTS_MIN as u64).for_each(|time| push(&mut run, 0, time + 2, (time as f64 - 5.0).to_bits()));
        push(&mut run, 4, 9999, 3);
        push(&mut run, 0, 9999, f64::NEG_INFINITY.to_bits());
        let found = Summary::of(&run, 0..run.len()).unwrap();
        let (count, max) = (DOTS_MIN as u64 + 1, DOTS_MIN as f64 - 6.0);
        let sum = (0..DOTS_MIN).map(|n| n as f64 - 5.0).sum::<f64>() + 3.0;
        assert_eq!(found, Summary { count, min: -5.0, max, sum, first: -5.0, last: 3.0 });
        let mut bytes = Vec::new();
        Summary::put(Some(found), &mut bytes);
        Summary::put(None, &mut bytes);
        let mut fields = Fields(&bytes);
        assert_eq!(Summary::take(&mut fields), Some(Some(found)));
        assert_eq!(Summary::take(&mut fields), Some(None));
        assert_eq!(Summary::of(&run, 0..10), None);
    }

    #[test]
    fn texts_alone_count_nothing() {
        let mut run = Column::default();
        (0..DOTS_MIN as u64).for_each(|time| push(&mut run, 1, time, time));
        let none = Summary { count: 0, min: 0.0, max: 0.0, sum: 0.0, first: 0.0, last: 0.0 };
        assert_eq!(Summary::of(&run, 0..run.len()), Some(none));
    }
}
