//! The summary of a chunk's numbers, so that a query over many dots need not decode them.

use std::ops::Range;

use dotter_dot::{Column, put_varint};

use crate::format::bytes::Fields;

/// Chunks of fewer dots have no summary: to decode them costs less than a summary in the index.
const DOTS_MIN: usize = 1024;

/// The summary of the finite numbers of a chunk. NaN, infinities and dots without a number are left out.
///
/// A number is the nearest f64; for a row it is that of its first number column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// How many; where this is zero, all other fields are zero.
    pub count: u64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// Their sum, added in the order of time; infinite where it is too large for an f64.
    pub sum: f64,
    /// The number of the earliest dot.
    pub first: f64,
    /// The number of the latest dot.
    pub last: f64,
}

impl Summary {
    /// The summary of dots that are sorted by time; `None` where they are fewer than [`DOTS_MIN`].
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

    /// Appends a summary: one more than the count, then five numbers if the count is not zero; a 0 for no summary.
    pub(crate) fn put(summary: Option<Summary>, out: &mut Vec<u8>) {
        let Some(Summary { count, min, max, sum, first, last }) = summary else { return out.push(0) };
        put_varint(out, count + 1);
        if count > 0 {
            // The low bytes of most numbers are zero; written as the high bits of a varint they cost nothing.
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
