//! Rows on their way into the store, whatever they came from: bad ones told or counted, good ones sorted, all of
//! them committed in one transaction.

use std::io;
use std::path::Path;

use dotter_dot::{Cell, Shape, Timestamp};

use crate::commit::{Committed, commit};
use crate::error::{Error, Place};
use crate::sort::Sorter;

/// Bad rows that are told one by one where they are skipped.
const TOLD_MAX: u64 = 10;

/// Rows of a transaction that is being made.
pub(crate) struct Intake<'a> {
    dir: &'a Path,
    skip_bad: bool,
    sorter: Sorter,
    bad: u64,
    /// What was left out though nothing is wrong with the input, and how often that was told.
    left_out: u64,
    left_out_told: u64,
    /// By all transactions, but for the series, which are those of the last.
    stored: Committed,
}

impl<'a> Intake<'a> {
    pub(crate) fn new(dir: &'a Path, skip_bad: bool) -> Intake<'a> {
        let stored = Committed::default();
        Intake { dir, skip_bad, sorter: Sorter::new(dir), bad: 0, left_out: 0, left_out_told: 0, stored }
    }

    /// Rows of the transaction so far.
    pub(crate) fn count(&self) -> u64 {
        self.sorter.count()
    }

    /// Takes a row; one whose series has no valid name is bad.
    pub(crate) fn push(
        &mut self,
        place: impl FnOnce() -> Place,
        name: &str,
        shape: &Shape,
        time: Timestamp,
        cell: Cell<'_>,
    ) -> Result<(), Error> {
        match self.sorter.push(name, shape, time, cell).map_err(Error::Sorting)? {
            Ok(()) => Ok(()),
            Err(what) => self.bad(place, what),
        }
    }

    /// Notes what was no row: an error unless bad ones are skipped.
    pub(crate) fn bad(
        &mut self,
        place: impl FnOnce() -> Place,
        what: impl Into<String>,
    ) -> Result<(), Error> {
        self.bad_rows(place, 1, what)
    }

    /// As [`Intake::bad`], for so many rows at once, which are told together.
    pub(crate) fn bad_rows(
        &mut self,
        place: impl FnOnce() -> Place,
        count: u64,
        what: impl Into<String>,
    ) -> Result<(), Error> {
        let what = what.into();
        if !self.skip_bad {
            return Err(Error::Line { place: place(), what, stored: self.stored.dots });
        }
        let told = self.bad;
        self.bad += count;
        // What takes many rows at once is always told.
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

    /// Stores what was taken since the last time, in one transaction.
    pub(crate) fn commit(&mut self) -> Result<(), Error> {
        let sorter = std::mem::replace(&mut self.sorter, Sorter::new(self.dir));
        let Committed { dots, series, replaced } = commit(self.dir, sorter)?;
        self.stored.dots += dots;
        self.stored.series = series;
        self.stored.replaced += replaced;
        Ok(())
    }

    /// Says on standard error what was stored.
    pub(crate) fn tell(&self) {
        let Committed { dots, series, replaced } = self.stored;
        eprintln!(
            "stored {dots} dots of {series} series, {replaced} replaced by later lines, {} skipped",
            self.bad + self.left_out
        );
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        Error::Sorting(error)
    }
}
