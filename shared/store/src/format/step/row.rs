//! A row of a step as it stands in a column.

use dotter_dot::{Cell, Column, Shape, Timestamp, Value};

use crate::format::step::counting::{Counting, Values};

/// The dots of one kind in one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct StepRow {
    /// Where the step begins, in nanoseconds.
    pub(crate) time: u64,
    /// The least number.
    pub(crate) min: f64,
    /// The greatest number.
    pub(crate) max: f64,
    /// All numbers added up.
    pub(crate) sum: f64,
    /// How many dots.
    pub(crate) count: u64,
    /// The number of the latest dot.
    pub(crate) last: f64,
    /// The time of that dot, in nanoseconds.
    pub(crate) last_at: u64,
    /// The time of the earliest dot, in nanoseconds.
    pub(crate) first_at: u64,
    /// What the values come to; see [`Values::acc`].
    pub(crate) acc: f64,
    /// How many values are known.
    pub(crate) known: u64,
}

impl StepRow {
    /// One number, which stands for `weight` dots; no value is known of it yet.
    ///
    /// - `time`: where the step begins
    /// - `at`: the time of the dot
    pub(crate) fn number(time: u64, at: u64, number: f64, weight: u64) -> StepRow {
        StepRow {
            time,
            min: number,
            max: number,
            sum: number * weight as f64,
            count: weight,
            last: number,
            last_at: at,
            first_at: at,
            acc: 0.0,
            known: 0,
        }
    }

    /// Appends it to a column of its kind.
    ///
    /// - `shape`: as [`Counting::shape`] makes it
    ///
    /// # Panics
    ///
    /// Where the shape is that of one number.
    pub(crate) fn put(&self, shape: &Shape, out: &mut Column) {
        let words = [
            self.min.to_bits(),
            self.max.to_bits(),
            self.sum.to_bits(),
            self.count,
            self.last.to_bits(),
            self.last_at,
            self.first_at,
            self.acc.to_bits(),
            self.known,
        ];
        let mut row = [0; 72];
        for (bytes, word) in row.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        out.push(shape, Timestamp::from_nanos(self.time), Cell::Row(&row));
    }

    /// Reads the row at `index` and how its values are counted; `None` where it is of another shape. Where it cannot
    /// be read how values are counted, none is known.
    #[cfg(test)]
    pub(crate) fn take(column: &Column, index: usize) -> Option<(StepRow, Counting)> {
        let shape = column.shape_at(index);
        StepRow::take_counted(column, index, shape, Counting::of_shape(shape)?)
    }

    /// Every row of a column in turn, as [`StepRow::take`] reads it; those of other shapes are skipped.
    pub(crate) fn rows(column: &Column) -> impl Iterator<Item = (StepRow, Counting)> {
        column.parts(0..column.len()).flat_map(move |(part, shape)| {
            let counting = Counting::of_shape(shape);
            part.filter_map(move |index| StepRow::take_counted(column, index, shape, counting?))
        })
    }

    fn take_counted(
        column: &Column,
        index: usize,
        shape: &Shape,
        counting: Option<Counting>,
    ) -> Option<(StepRow, Counting)> {
        let mut cells = column.values(index, shape);
        let (min, max, sum) = (float(cells.next())?, float(cells.next())?, float(cells.next())?);
        let (count, last, last_at) = (whole(cells.next())?, float(cells.next())?, whole(cells.next())?);
        let first_at = whole(cells.next())?;
        let (acc, known) = (float(cells.next())?, whole(cells.next())?);
        let (acc, known) = if counting.is_some() { (acc, known) } else { (0.0, 0) };
        let time = *column.times().get(index)?;
        let row = StepRow { time, min, max, sum, count, last, last_at, first_at, acc, known };
        Some((row, counting.unwrap_or_default()))
    }

    /// Its values.
    pub(crate) fn values(&self) -> Values {
        Values { acc: self.acc, known: self.known, at: self.last_at }
    }

    /// The same dots with other values.
    pub(crate) fn with(self, values: Values) -> StepRow {
        StepRow { acc: values.acc, known: values.known, ..self }
    }

    /// Its one number; `None` where too little is known.
    #[cfg(test)]
    pub(crate) fn value(&self, counting: &Counting) -> Option<f64> {
        counting.value(self.values())
    }

    /// Adds dots that are none of its own. The values stay as they are.
    pub(crate) fn add_dots(&mut self, later: &StepRow) {
        self.min = self.min.min(later.min);
        self.max = self.max.max(later.max);
        self.sum += later.sum;
        self.count = self.count.saturating_add(later.count);
        if later.last_at >= self.last_at {
            (self.last, self.last_at) = (later.last, later.last_at);
        }
        self.first_at = self.first_at.min(later.first_at);
    }

    /// Adds dots that are none of its own, and their values.
    pub(crate) fn add(&mut self, later: &StepRow, counting: &Counting) {
        let values = counting.join(self.values(), later.values());
        self.add_dots(later);
        *self = self.with(values);
    }

    /// Whether both tell the same of their dots.
    pub(crate) fn has_dots_of(&self, other: &StepRow) -> bool {
        let of = |row: &StepRow| {
            let numbers = [row.min, row.max, row.sum, row.last].map(f64::to_bits);
            (row.count, row.first_at, row.last_at, numbers)
        };
        of(self) == of(other)
    }
}

fn float(value: Option<Value<'_>>) -> Option<f64> {
    match value {
        Some(Value::F64(value)) => Some(value),
        _ => None,
    }
}

fn whole(value: Option<Value<'_>>) -> Option<u64> {
    match value {
        Some(Value::U64(value)) => Some(value),
        _ => None,
    }
}
