//! Condensing: the observations of a histogram become rows of a value and how often it was observed.
//!
//! An observation is a dot of kind histogram: one number of format `F`, or a weighted row `FU`. In each step of time
//! all observations whose first seven binary digits are the same, with unit and names of columns, become one row
//! `FU`. Its value is the middle of all numbers that begin so, which is wrong by 1/128 at most; its time is the
//! beginning of the step.
//!
//! Always true: the weights of all rows of a step add up to those of its observations, or to the greatest u64; rows
//! that are condensed again stay as they are; other dots stay as they are and in their order.

use std::collections::HashMap;
use std::time::Duration;

use dotter_dot::{Cell, Column, Format, Kind, Shape, Timestamp};

/// Digits of a number that are kept behind the first, which is one.
const DIGITS_KEPT: u32 = 6;
/// Digits of an f64 behind the first.
const DIGITS: u32 = f64::MANTISSA_DIGITS - 1;

/// Whether a column has dots that [`condense`] takes.
pub(crate) fn has_observations(column: &Column) -> bool {
    column.parts(0..column.len()).any(|(_, shape)| is_observation(shape))
}

fn is_observation(shape: &Shape) -> bool {
    shape.kind() == Kind::Histogram && (shape.format().is_number() || shape.is_weighted())
}

/// Condenses the observations of a column; returns how many dots fewer it has then.
///
/// - `column`: sorted by time, and is so afterwards; all of its dots are kept. In one step rows come first, by shape
///   and value
/// - `step`: at least a nanosecond; steps begin at its multiples since 1970
pub(crate) fn condense(column: &mut Column, step: Duration) -> u64 {
    let before = column.len();
    let step = u64::try_from(step.as_nanos()).unwrap_or(u64::MAX).max(1);
    let mut condensed = Condensed { step, ..Condensed::default() };
    for (part, shape) in column.parts(0..before) {
        if is_observation(shape) {
            let shape = condensed.shape(shape);
            column.observations(part, |time, number, weight| condensed.observe(time, shape, number, weight));
        } else {
            part.for_each(|index| condensed.keep(column, index));
        }
    }
    condensed.end_step();
    *column = condensed.out;
    before.saturating_sub(column.len()) as u64
}

/// A column that is being condensed, step by step.
#[derive(Default)]
struct Condensed {
    /// In nanoseconds.
    step: u64,
    /// Where the step begins that is gathered.
    begin: u64,
    /// By shape and bits of the value, how often it was observed in this step.
    weights: HashMap<(usize, u64), u64>,
    /// The other dots of this step.
    others: Column,
    /// Shapes of observations, each with that of its rows.
    shapes: Vec<(Shape, usize)>,
    /// Shapes of rows, each once.
    rows: Vec<Shape>,
    out: Column,
}

impl Condensed {
    /// The number of the shape that observations of `shape` become rows of.
    fn shape(&mut self, shape: &Shape) -> usize {
        if let Some((_, number)) = self.shapes.iter().find(|(of, _)| of.is(shape) || of == shape) {
            return *number;
        }
        let row = row_shape(shape);
        let number = self.rows.iter().position(|of| *of == row).unwrap_or_else(|| {
            self.rows.push(row);
            self.rows.len() - 1
        });
        self.shapes.push((shape.clone(), number));
        number
    }

    fn observe(&mut self, time: u64, shape: usize, number: f64, weight: u64) {
        self.go_to(time);
        let sum = self.weights.entry((shape, middle(number).to_bits())).or_default();
        *sum = sum.saturating_add(weight);
    }

    fn keep(&mut self, from: &Column, index: usize) {
        self.go_to(from.times()[index]);
        self.others.extend(from, index..index + 1);
    }

    /// Goes to the step of that time.
    fn go_to(&mut self, time: u64) {
        let begin = time - time % self.step;
        if begin != self.begin {
            self.end_step();
            self.begin = begin;
        }
    }

    fn end_step(&mut self) {
        let mut rows: Vec<((usize, u64), u64)> = self.weights.drain().collect();
        // The same rows come in the same order, however they were observed.
        rows.sort_unstable_by(|((a_shape, a), _), ((b_shape, b), _)| {
            a_shape.cmp(b_shape).then(f64::from_bits(*a).total_cmp(&f64::from_bits(*b)))
        });
        for ((shape, bits), weight) in rows {
            let mut row = [0; 16];
            row[..8].copy_from_slice(&bits.to_le_bytes());
            row[8..].copy_from_slice(&weight.to_le_bytes());
            self.out.push(&self.rows[shape], Timestamp::from_nanos(self.begin), Cell::Row(&row));
        }
        self.out.extend(&self.others, 0..self.others.len());
        self.others.clear();
    }
}

/// The shape of the rows that observations become: unit and kind stay, and the name of the column does.
fn row_shape(shape: &Shape) -> Shape {
    if shape.is_weighted() {
        return shape.clone();
    }
    let format = Format::new("FU").expect("two letters");
    let columns: Vec<&str> = shape.columns().iter().map(|name| &**name).chain(["count"]).collect();
    let columns = if shape.columns().is_empty() { &[] } else { &columns[..] };
    let row = Shape::new(format, shape.unit(), columns).expect("its labels are those of a shape");
    row.with_kind(Kind::Histogram)
}

/// The middle of all numbers that have sign, size and the first seven binary digits in common with this one.
///
/// Zero, infinities and NaN stay as they are, to the bit, and so does what has no further digits: numbers so small
/// that an f64 holds seven digits of them or fewer.
///
/// Source: the cut is that of the log-linear buckets of HdrHistogram, with 64 to each power of two.
fn middle(number: f64) -> f64 {
    if !number.is_finite() || number == 0.0 {
        return number;
    }
    let bits = number.to_bits();
    let behind = bits & ((1 << DIGITS) - 1);
    // A number without its first digit, which is one, is subnormal: then the first digit is among these.
    let digits = if number.is_normal() { DIGITS } else { behind.ilog2() };
    match digits.saturating_sub(DIGITS_KEPT) {
        0 => number,
        cut => f64::from_bits(bits >> cut << cut | 1 << (cut - 1)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use dotter_dot::Value;
    use proptest::prelude::*;

    use super::*;
    use crate::trial;

    /// What a list of dots comes to.
    type Weights = BTreeMap<(u64, String, u64), u64>;

    const STEP: u64 = 100;

    fn shape(number: u8) -> Shape {
        let histogram = |letters: &str, unit: &str, columns: &[&str]| {
            let format = Format::new(letters).unwrap();
            Shape::new(format, unit, columns).unwrap().with_kind(Kind::Histogram)
        };
        match number {
            0 => histogram("F", "s", &[]),
            1 => histogram("FU", "s", &[]),
            2 => histogram("F", "ms", &["took"]),
            3 => histogram("FU", "ms", &["took", "count"]),
            // None of these is an observation.
            4 => histogram("f", "s", &[]),
            5 => histogram("FUU", "", &[]),
            6 => Shape::number(),
            _ => Shape::from(Format::new("FU").unwrap()),
        }
    }

    fn push(column: &mut Column, number: u8, time: u64, value: f64, weight: u64) {
        let shape = shape(number);
        let mut row = Vec::new();
        let put = |letter| match letter {
            dotter_dot::Letter::F64 => Value::F64(value),
            dotter_dot::Letter::F32 => Value::F32(value as f32),
            _ => Value::U64(weight),
        };
        dotter_dot::put_row(shape.format().letters().map(put), &mut row);
        column.push(&shape, Timestamp::from_nanos(time), Cell::from_row(shape.format(), &row).unwrap());
    }

    /// Observations: by step, unit and condensed value the sum of the weights. Other dots are asserted to be none.
    fn weights(column: &Column) -> Weights {
        let mut weights = Weights::new();
        for (part, shape) in column.parts(0..column.len()) {
            column.observations(part, |time, number, weight| {
                let key = (time / STEP, shape.unit().to_owned(), middle(number).to_bits());
                let sum: &mut u64 = weights.entry(key).or_default();
                *sum = sum.saturating_add(weight);
            });
        }
        weights
    }

    fn only(column: &Column, observations: bool) -> Column {
        let mut out = Column::default();
        for (part, _) in
            column.parts(0..column.len()).filter(|(_, shape)| is_observation(shape) == observations)
        {
            out.extend(column, part);
        }
        out
    }

    fn number() -> impl Strategy<Value = f64> {
        // Of a few values many, and of all there are some.
        prop_oneof![4 => (0..500_u64).prop_map(|n| n as f64 / 7.0), 1 => any::<u64>().prop_map(f64::from_bits)]
    }

    fn dots(shapes: u8) -> impl Strategy<Value = Column> {
        let weight = prop_oneof![20 => 0..9_u64, 1 => Just(u64::MAX)];
        let dot = (0..shapes, 0..10 * STEP, number(), weight);
        prop::collection::vec(dot, 0..200).prop_map(|mut dots| {
            dots.sort_by_key(|(_, time, ..)| *time);
            let mut column = Column::default();
            dots.iter().for_each(|(of, time, value, weight)| push(&mut column, *of, *time, *value, *weight));
            column
        })
    }

    fn condensed(column: &Column) -> Column {
        let mut column = column.clone();
        condense(&mut column, Duration::from_nanos(STEP));
        column
    }

    fn together(a: &Column, b: &Column) -> Column {
        let mut both = a.clone();
        both.extend(b, 0..b.len());
        both.sort();
        both
    }

    #[test]
    fn values_that_have_no_middle_stay_and_others_lie_within_a_hundredth_and_less() {
        for number in
            [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -f64::NAN, 5e-324, 127.0 * 5e-324]
        {
            assert_eq!(middle(number).to_bits(), number.to_bits(), "{number}");
        }
        assert_eq!(middle(1.0), 1.0 + 1.0 / 128.0);
        assert_eq!(middle(1.015), middle(1.0));
        assert_eq!(middle(1.016), 1.0 + 3.0 / 128.0);
        assert_eq!(middle(-3.0), -3.0 - 2.0 / 128.0);
        assert_eq!(middle(128.0 * 5e-324), 129.0 * 5e-324);
        assert!(middle(f64::MAX).is_finite());
    }

    #[test]
    fn a_step_becomes_a_row_for_each_value_and_other_dots_come_behind() {
        let mut column = Column::default();
        for (of, time, value, weight) in [
            (0, 101, 2.0, 0),
            (6, 101, 7.0, 0),
            (0, 150, 1.0, 0),
            (1, 180, 1.0, 5),
            (2, 199, 2.01, 0),
            (0, 200, 2.0, 0),
        ] {
            push(&mut column, of, time, value, weight);
        }
        assert_eq!(condense(&mut column, Duration::from_nanos(100)), 1);
        let mut expected = Column::default();
        for (of, time, value, weight) in [
            (1, 100, middle(1.0), 6),
            (1, 100, middle(2.0), 1),
            (3, 100, middle(2.0), 1),
            (6, 101, 7.0, 0),
            (1, 200, middle(2.0), 1),
        ] {
            // Rows of two units stand in the order in which these came.
            push(&mut expected, of, time, value, weight);
        }
        assert_eq!(column, expected);
    }

    #[test]
    fn a_column_without_observations_stays() {
        let mut column = Column::default();
        (0..8).for_each(|number| trial::push(&mut column, number, u64::from(number) * 60, 7));
        let before = column.clone();
        assert!(!has_observations(&column));
        assert_eq!(condense(&mut column, Duration::from_nanos(100)), 0);
        assert_eq!(column, before);
    }

    proptest! {
        #[test]
        fn a_value_is_within_a_hundred_and_twenty_eighth_and_its_middle_is_its_own(bits in any::<u64>(), other in any::<u64>()) {
            let (number, other) = (f64::from_bits(bits), f64::from_bits(other));
            let found = middle(number);
            prop_assert_eq!(middle(found).to_bits(), found.to_bits());
            prop_assert_eq!(found.is_sign_negative(), number.is_sign_negative());
            if number.is_finite() {
                // Halves, so that no difference is too small for an f64.
                prop_assert!((found - number).abs() <= number.abs() / 128.0 || (found - number).abs() == 0.0);
            } else {
                prop_assert_eq!(found.to_bits(), bits);
            }
            if number <= other {
                prop_assert!(found <= middle(other), "{} {}", number, other);
            }
        }

        #[test]
        fn small_numbers_are_as_near_as_great_ones(bits in 1..1_u64 << 53) {
            let number = f64::from_bits(bits);
            let (found, exact) = (middle(number).to_bits(), number.to_bits());
            // Subnormal numbers are whole multiples of the least one.
            if !number.is_normal() {
                prop_assert!(found.abs_diff(exact) * 128 <= exact);
            }
        }

        #[test]
        fn weights_add_up_and_no_other_dot_changes(column in dots(8)) {
            let found = condensed(&column);
            prop_assert_eq!(weights(&only(&found, true)), weights(&only(&column, true)));
            prop_assert_eq!(only(&found, false), only(&column, false));
            prop_assert!(found.times().is_sorted());
            let observed = only(&found, true);
            prop_assert!(observed.parts(0..observed.len()).all(|(_, shape)| shape.is_weighted()));
            // One row for each step, shape and value.
            prop_assert_eq!(observed.len(), weights(&observed).len());
            prop_assert!(observed.times().iter().all(|time| time % STEP == 0));
            let mut again = column.clone();
            prop_assert_eq!(condense(&mut again, Duration::from_nanos(STEP)), (column.len() - found.len()) as u64);
        }

        #[test]
        fn condensed_again_or_in_parts_it_comes_to_the_same(a in dots(4), b in dots(4)) {
            let (whole, parts) = (condensed(&together(&a, &b)), together(&condensed(&a), &condensed(&b)));
            prop_assert_eq!(&condensed(&whole), &whole);
            prop_assert_eq!(&condensed(&a), &condensed(&a));
            prop_assert_eq!(weights(&parts), weights(&whole));
            prop_assert_eq!(weights(&condensed(&parts)), weights(&whole));
        }

        #[test]
        fn any_step_and_any_time_will_do(step in 1..u64::MAX, times in prop::collection::vec(any::<u64>(), 0..20)) {
            let mut column = Column::default();
            times.iter().for_each(|time| push(&mut column, 0, *time, 1.5, 1));
            column.sort();
            condense(&mut column, Duration::from_nanos(step));
            let mut sum = 0;
            column.observations(0..column.len(), |_, _, weight| sum += weight);
            prop_assert_eq!(sum, times.len() as u64);
            prop_assert!(column.times().iter().all(|time| time % step == 0));
        }
    }
}
