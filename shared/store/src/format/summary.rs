//! The summary of a chunk's numbers, so that a query over many dots need not decode them.

use std::ops::Range;

use dotter_dot::{Column, put_varint};

use crate::format::bytes::Fields;

/// Chunks of fewer dots have no summary: to decode them costs less than a summary in the index.
const DOTS_MIN: usize = 1024;
/// The greatest count: one more is written.
const COUNT_MAX: u64 = u64::MAX - 1;

/// The summary of the finite numbers of a chunk. NaN, infinities and dots without a number are left out.
///
/// A number is the nearest f64; for a row it is that of its first number column. A weighted row is as many equal numbers
/// as it says ([`dotter_dot::Shape::is_weighted`]).
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
    /// The summary of dots that are sorted by time; `None` where they are fewer than [`DOTS_MIN`], and where they are
    /// weighted and not all finite: nobody could tell from the count that some are left out.
    pub(crate) fn of(run: &Column, part: Range<usize>) -> Option<Summary> {
        if part.len() < DOTS_MIN {
            return None;
        }
        let mut all =
            Summary { count: 0, min: f64::INFINITY, max: f64::NEG_INFINITY, sum: 0.0, first: 0.0, last: 0.0 };
        let (is_weighted, mut all_finite) = (run.shape_at(part.start).is_weighted(), true);
        run.observations(part, |_, number, weight| {
            all_finite &= number.is_finite();
            if number.is_finite() && weight > 0 {
                all.first = if all.count == 0 { number } else { all.first };
                all.count = all.count.saturating_add(weight).min(COUNT_MAX);
                all.min = all.min.min(number);
                all.max = all.max.max(number);
                all.sum += number * weight as f64;
                all.last = number;
            }
        });
        if is_weighted && !all_finite {
            return None;
        }
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
    use dotter_dot::{Cell, Format, Kind, Shape, Timestamp, Value};

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
    fn a_weighted_row_counts_as_often_as_it_says() {
        let check = |weight: u64, value: f64, expected: Option<Summary>| {
            let shape = Shape::from(Format::new("FU").unwrap()).with_kind(Kind::Histogram);
            let mut run = Column::default();
            let mut push = |time: u64, value: f64, weight: u64| {
                let mut row = Vec::new();
                dotter_dot::put_row([Value::F64(value), Value::U64(weight)], &mut row);
                run.push(&shape, Timestamp::from_nanos(time), Cell::Row(&row));
            };
            push(0, -9.0, 0);
            (1..DOTS_MIN as u64).for_each(|time| push(time, 2.0, 3));
            push(DOTS_MIN as u64, value, weight);
            let found = Summary::of(&run, 0..run.len());
            assert_eq!(found, expected);
            let mut bytes = Vec::new();
            Summary::put(found, &mut bytes);
            assert_eq!(Summary::take(&mut Fields(&bytes)), Some(found));
        };
        let count = 3 * (DOTS_MIN as u64 - 1);
        let whole = Summary {
            count: count + 4,
            min: 2.0,
            max: 5.0,
            sum: 2.0 * count as f64 + 20.0,
            first: 2.0,
            last: 5.0,
        };
        check(4, 5.0, Some(whole));
        let sum = 2.0 * count as f64 + 5.0 * u64::MAX as f64;
        check(u64::MAX, 5.0, Some(Summary { count: u64::MAX - 1, sum, ..whole }));
        check(4, f64::NAN, None);
        check(4, f64::INFINITY, None);
    }

    #[test]
    fn texts_alone_count_nothing() {
        let mut run = Column::default();
        (0..DOTS_MIN as u64).for_each(|time| push(&mut run, 1, time, time));
        let none = Summary { count: 0, min: 0.0, max: 0.0, sum: 0.0, first: 0.0, last: 0.0 };
        assert_eq!(Summary::of(&run, 0..run.len()), Some(none));
    }
}
