//! Storing rows of any input: bad rows are reported or counted, good rows are sorted and committed in one
//! transaction.

use std::path::Path;

use dotter_dot::{Cell, SeriesName, Shape, Timestamp};
use dotter_store::{Added, Addition};

use crate::commit::commit;
use crate::error::{Error, Place};

/// How many bad rows are reported one by one where bad rows are skipped.
const TOLD_MAX: u64 = 10;

/// How many characters of an invalid series name an error shows.
const NAME_CHARS_MAX: usize = 64;

/// A transaction that is being made, row by row.
pub(crate) struct Intake<'a> {
    dir: &'a Path,
    skip_bad: bool,
    addition: Addition,
    /// The series of the row before.
    last: Option<SeriesName>,
    bad: u64,
    /// How many rows were left out though nothing is wrong with the input.
    left_out: u64,
    left_out_told: u64,
    /// The sum over all transactions; the count of series is that of the last one.
    stored: Added,
}

impl<'a> Intake<'a> {
    pub(crate) fn new(dir: &'a Path, skip_bad: bool) -> Intake<'a> {
        Intake {
            dir,
            skip_bad,
            addition: Addition::new(dir),
            last: None,
            bad: 0,
            left_out: 0,
            left_out_told: 0,
            stored: Added::default(),
        }
    }

    /// Rows of the transaction so far.
    pub(crate) fn count(&self) -> u64 {
        self.addition.len()
    }

    /// Adds a row. A row whose series has no valid name is bad.
    pub(crate) fn push(
        &mut self,
        place: impl FnOnce() -> Place,
        name: &str,
        shape: &Shape,
        time: Timestamp,
        cell: Cell<'_>,
    ) -> Result<(), Error> {
        let series = match self.last.take() {
            Some(last) if last.as_str() == name => last,
            _ => match SeriesName::new(name) {
                Ok(series) => series,
                Err(error) => {
                    let name: String = name.chars().take(NAME_CHARS_MAX).collect();
                    return self.bad(place, format!("series '{name}': {error}"));
                }
            },
        };
        self.addition.push(&series, shape, time, cell)?;
        self.last = Some(series);
        Ok(())
    }

    /// Reports a bad row: an error, unless bad rows are skipped.
    pub(crate) fn bad(
        &mut self,
        place: impl FnOnce() -> Place,
        what: impl Into<String>,
    ) -> Result<(), Error> {
        self.bad_rows(place, 1, what)
    }

    /// As [`Intake::bad`], for so many rows at once, with one message.
    pub(crate) fn bad_rows(
        &mut self,
        place: impl FnOnce() -> Place,
        count: u64,
        what: impl Into<String>,
    ) -> Result<(), Error> {
        let what = what.into();
        if !self.skip_bad {
            return Err(Error::Line { place: place(), what, stored: self.stored.stored });
        }
        let told = self.bad;
        self.bad += count;
        // Many bad rows at once are always reported.
        if told < TOLD_MAX || count > 1 {
            eprintln!("{}: {what}; skipped", place());
        }
        Ok(())
    }

    /// Counts what was left out with good reason, whether or not bad rows are skipped.
    pub(crate) fn left_out(&mut self, place: impl FnOnce() -> Place, count: u64, what: &str) {
        if count == 0 {
            return;
        }
        self.left_out += count;
        self.left_out_told += 1;
        if self.left_out_told <= TOLD_MAX {
            eprintln!("{}: {count} {what}; skipped", place());
        }
    }

    /// Stores the rows added since the last commit, in one transaction.
    pub(crate) fn commit(&mut self) -> Result<(), Error> {
        let addition = std::mem::replace(&mut self.addition, Addition::new(self.dir));
        let Added { stored, series, replaced } = commit(self.dir, addition)?;
        self.stored.stored += stored;
        self.stored.series = series;
        self.stored.replaced += replaced;
        Ok(())
    }

    /// Says on standard error what was stored.
    pub(crate) fn tell(&self) {
        let Added { stored, series, replaced } = self.stored;
        eprintln!(
            "stored {stored} dots of {series} series, {replaced} replaced by later lines, {} skipped",
            self.bad + self.left_out
        );
    }
}
