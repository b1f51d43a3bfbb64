//! A transaction from any process, of any size: a finished segment, listed by one swap.

use std::cmp::Ordering;
use std::path::Path;

use dotter_dot::{Cell, Column, NamedDots, SeriesName, Shape, Timestamp};

use crate::disk::layout::Layout;
use crate::disk::manifest;
use crate::error::Error;
use crate::format::segment::Meta;
use crate::write::segment::SegmentWriter;

/// Dots of a chunk in a fresh segment.
const CHUNK_DOTS: usize = 4096;
/// Rows in memory are written where they have come to so many bytes, however few they are.
const RUN_ROW_BYTES: usize = 4 << 20;

/// Commits dots with explicit times, in one transaction, whether or not a collector is running.
///
/// - `dots`: any order; of equal series and time the last counts, whatever its shape. All of them are held in
///   memory. A list of (series, time, number) will do where that is all there is.
///
/// Makes the store where there is none. Returns how many dots are stored, which is fewer than were given where
/// some replaced others.
///
/// # Errors
///
/// The system's; nothing is stored then.
pub fn add(dir: &Path, dots: impl Into<NamedDots>) -> Result<u64, Error> {
    let layout = Layout::new(dir);
    manifest::open_or_create(&layout, Timestamp::now())?;
    let dots = dots.into();
    let given = dots.len() as u64;
    if given == 0 {
        return Ok(0);
    }
    let mut segment = SegmentWriter::create(&layout, CHUNK_DOTS)?;
    let mut replaced = 0;
    for (name, mut run) in dots.columns() {
        let latest = run.last_shape().cloned().unwrap_or_default();
        run.sort();
        replaced += run.keep_last();
        segment.begin(name.clone(), latest)?;
        segment.add(&run, false)?;
    }
    commit(&layout, segment, given, replaced)?;
    Ok(given - replaced)
}

/// A transaction of rows that come in order, so that no more than a chunk of them is in memory.
///
/// Dropped without a commit, nothing has happened.
pub struct Addition {
    layout: Layout,
    segment: SegmentWriter,
    series: Option<SeriesName>,
    /// Dots of the series in hand that are in no chunk yet.
    run: Column,
    added: Added,
}

/// What an [`Addition`] came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// Dots that are stored.
    pub stored: u64,
    /// Dots of the same transaction that these replaced.
    pub replaced: u64,
}

impl Addition {
    /// Begins one; makes the store where there is none.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn begin(dir: &Path) -> Result<Addition, Error> {
        let layout = Layout::new(dir);
        manifest::open_or_create(&layout, Timestamp::now())?;
        let segment = SegmentWriter::create(&layout, CHUNK_DOTS)?;
        Ok(Addition { layout, segment, series: None, run: Column::default(), added: Added::default() })
    }

    /// Adds a dot.
    ///
    /// Dots come in the order of their series' names, of one series in that of time; of equal ones the last counts.
    ///
    /// # Errors
    ///
    /// [`Error::Row`] where the value is none of the shape, [`Error::Unsorted`] where the dot belongs before the one
    /// before; the system's.
    pub fn push(
        &mut self,
        series: &SeriesName,
        shape: &Shape,
        time: Timestamp,
        cell: Cell<'_>,
    ) -> Result<(), Error> {
        cell.check(shape.format()).map_err(|source| Error::Row { series: series.clone(), source })?;
        self.make_room(series, time)?;
        self.run.push(shape, time, cell);
        Ok(())
    }

    /// Makes all of it visible and durable.
    ///
    /// # Errors
    ///
    /// The system's; nothing is stored then.
    pub fn commit(mut self) -> Result<Added, Error> {
        self.end_series()?;
        let Added { stored, replaced } = self.added;
        if stored > 0 {
            commit(&self.layout, self.segment, stored + replaced, replaced)?;
        }
        Ok(self.added)
    }

    /// Sees to it that a dot can be put behind those of the run; of equal time it takes the place of the last.
    fn make_room(&mut self, series: &SeriesName, time: Timestamp) -> Result<(), Error> {
        let unsorted = || Error::Unsorted { series: series.clone(), time };
        if self.series.as_ref() != Some(series) {
            if self.series.as_ref().is_some_and(|before| before > series) {
                return Err(unsorted());
            }
            self.end_series()?;
            self.segment.begin(series.clone(), Shape::number())?;
            self.series = Some(series.clone());
        }
        let count = self.run.len();
        match self.run.times().last().map(|last| time.nanos().cmp(last)) {
            Some(Ordering::Less) => Err(unsorted()),
            Some(Ordering::Equal) => {
                self.run.truncate(count - 1);
                self.added.replaced += 1;
                Ok(())
            }
            // The last one stays back: the next dot may still replace it.
            _ if count > CHUNK_DOTS || self.run.row_bytes() > RUN_ROW_BYTES => self.write(count - 1),
            _ => Ok(()),
        }
    }

    /// Writes the first dots of the run.
    fn write(&mut self, count: usize) -> Result<(), Error> {
        let rest = self.run.split_off(count);
        self.segment.add(&self.run, false)?;
        self.added.stored += count as u64;
        self.run = rest;
        Ok(())
    }

    fn end_series(&mut self) -> Result<(), Error> {
        if let Some(latest) = self.run.last_shape().cloned() {
            self.segment.set_latest(latest);
            self.write(self.run.len())?;
        }
        Ok(())
    }
}

fn commit(layout: &Layout, segment: SegmentWriter, given: u64, replaced: u64) -> Result<(), Error> {
    let segment = segment.finish(&Meta::default())?;
    manifest::swap(layout, |manifest| {
        let order = manifest.next_order(layout)?;
        manifest.ledger.totals.stored_other += given;
        manifest.ledger.totals.replaced += replaced;
        segment.list(manifest, order, 0)
    })?;
    Ok(())
}
