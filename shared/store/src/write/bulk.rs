//! Dots on their way to [`crate::write::add`]: by series, in the order they were given.

use std::collections::HashMap;

use dotter_dot::{RowError, SeriesName, Shape, Timestamp, Value, check_row, put_row_of};

use crate::format::run::Run;

/// Dots of any series and any shapes, in any order, all with explicit times.
#[derive(Debug, Default)]
pub struct Bulk {
    series: HashMap<SeriesName, Run>,
    /// Scratch for rows.
    row: Vec<u8>,
    dots: u64,
}

impl Bulk {
    /// None so far.
    pub fn new() -> Bulk {
        Bulk::default()
    }

    /// Adds a plain number: format `F`, no unit.
    pub fn push(&mut self, series: &SeriesName, time: Timestamp, value: f64) {
        self.run(series).push_word(&Shape::number(), time.nanos(), value.to_bits());
        self.dots += 1;
    }

    /// Adds the cells of one dot, one for each column of `shape`.
    ///
    /// # Errors
    ///
    /// [`RowError`] where they are not those of the shape; nothing is added then.
    pub fn push_cells<'a>(
        &mut self,
        series: &SeriesName,
        shape: &Shape,
        time: Timestamp,
        cells: impl IntoIterator<Item = Value<'a>>,
    ) -> Result<(), RowError> {
        let mut row = std::mem::take(&mut self.row);
        row.clear();
        let put = put_row_of(shape.format(), cells, &mut row);
        if put.is_ok() {
            self.push_checked(series, shape, time, &row);
        }
        self.row = row;
        put
    }

    /// Adds one dot as row bytes, whatever its format: a single number is 8 bytes too.
    ///
    /// # Errors
    ///
    /// [`RowError`] where the bytes are no row of the shape; nothing is added then.
    pub fn push_row(
        &mut self,
        series: &SeriesName,
        shape: &Shape,
        time: Timestamp,
        row: &[u8],
    ) -> Result<(), RowError> {
        check_row(shape.format(), row)?;
        self.push_checked(series, shape, time, row);
        Ok(())
    }

    /// Dots added.
    pub fn len(&self) -> u64 {
        self.dots
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.dots == 0
    }

    /// Names among them.
    pub fn series_count(&self) -> usize {
        self.series.len()
    }

    fn push_checked(&mut self, series: &SeriesName, shape: &Shape, time: Timestamp, row: &[u8]) {
        let run = self.run(series);
        match (shape.word(), row.first_chunk()) {
            (Some(_), Some(word)) => run.push_word(shape, time.nanos(), u64::from_le_bytes(*word)),
            _ => run.push_row(shape, time.nanos(), row),
        }
        self.dots += 1;
    }

    fn run(&mut self, series: &SeriesName) -> &mut Run {
        if !self.series.contains_key(series) {
            self.series.insert(series.clone(), Run::default());
        }
        self.series.get_mut(series).expect("it was just put there")
    }

    /// Series in the order of their names.
    pub(crate) fn into_series(self) -> impl Iterator<Item = (SeriesName, Run)> {
        let mut series: Vec<_> = self.series.into_iter().collect();
        series.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        series.into_iter()
    }
}

impl FromIterator<(SeriesName, Timestamp, f64)> for Bulk {
    fn from_iter<T: IntoIterator<Item = (SeriesName, Timestamp, f64)>>(rows: T) -> Bulk {
        let mut bulk = Bulk::new();
        rows.into_iter().for_each(|(series, time, value)| bulk.push(&series, time, value));
        bulk
    }
}

impl From<Vec<(SeriesName, Timestamp, f64)>> for Bulk {
    fn from(rows: Vec<(SeriesName, Timestamp, f64)>) -> Bulk {
        rows.into_iter().collect()
    }
}
