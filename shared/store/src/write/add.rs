//! A transaction from any process, of any size: a finished segment, listed by one swap.
//!
//! Dots are gathered up to [`GATHER_BYTES`], sorted and put aside in a file. Whenever [`FILES_MAX`] files of a level
//! have come together they are merged into one of the next, so that no more than a few levels of files are read at the
//! end: memory is bounded by what is gathered and a block of each open file, whatever the number of dots, series or
//! shapes.

use std::ops::Range;
use std::path::Path;

use dotter_dot::{Cell, Column, NamedDots, SeriesName, Shape, Timestamp};

use crate::disk::layout::Layout;
use crate::disk::manifest;
use crate::disk::spill::Spill;
use crate::error::Error;
use crate::format::segment::Meta;
use crate::read::scan::Row;
use crate::write::aside::{AsideWriter, merge};
use crate::write::segment::{SegmentWriter, list};

/// Dots of a chunk in a fresh segment.
const CHUNK_DOTS: usize = 4096;
/// Rows in memory are written where they have come to so many bytes, however few they are.
const RUN_ROW_BYTES: usize = 4 << 20;
/// What gathering and sorting may take in memory, in bytes.
const GATHER_BYTES: usize = 64 << 20;
/// What sorting takes for each dot: its place, its time and its word in a column.
const SORT_BYTES: usize = 20;
/// Files of one level before they are merged.
const FILES_MAX: usize = 64;

/// Commits dots with explicit times, in one transaction, whether or not a collector is running.
///
/// - `dots`: any order; of equal series and time the last counts, whatever its shape. A list of (series, time, number)
///   will do where that is all there is. For more than memory holds there is [`Addition`].
///
/// Makes the store where there is none. Returns how many dots are stored, which is fewer than were given where
/// some replaced others.
///
/// # Errors
///
/// The system's; nothing is stored then.
pub fn add(dir: &Path, dots: impl Into<NamedDots>) -> Result<u64, Error> {
    let mut addition = Addition::new(dir);
    addition.gathered = dots.into();
    Ok(addition.commit()?.stored)
}

/// A transaction of dots with explicit times, of any number and in any order, in bounded memory.
///
/// Dropped without a commit, nothing has happened, but that there may be an empty store.
pub struct Addition {
    layout: Layout,
    gather_bytes: usize,
    gathered: NamedDots,
    /// By level; the later a file, the later its dots were given.
    files: Vec<Vec<Spill>>,
    /// Dots in files.
    filed: u64,
    /// Dots that were replaced by others of the same gathering, and are in no file.
    replaced: u64,
    /// Where all of it will stand; there from the first file on.
    segment: Option<SegmentWriter>,
    /// Whether dots were lost as they were put aside.
    has_failed: bool,
}

/// What an [`Addition`] came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// Dots that are stored.
    pub stored: u64,
    /// How many series they belong to.
    pub series: u64,
    /// Dots of the same transaction that these replaced.
    pub replaced: u64,
}

impl Addition {
    /// None so far.
    ///
    /// - `dir`: the store, which need not be there yet
    pub fn new(dir: &Path) -> Addition {
        Addition::with_memory(dir, GATHER_BYTES)
    }

    /// As [`Addition::new`], with another bound on memory.
    ///
    /// - `bytes`: what gathering and sorting take before dots are put aside, roughly; 64 MiB is usual
    pub fn with_memory(dir: &Path, bytes: usize) -> Addition {
        Addition {
            layout: Layout::new(dir),
            gather_bytes: bytes,
            gathered: NamedDots::default(),
            files: Vec::new(),
            filed: 0,
            replaced: 0,
            segment: None,
            has_failed: false,
        }
    }

    /// Dots that were given.
    pub fn len(&self) -> u64 {
        self.filed + self.replaced + self.gathered.len() as u64
    }

    /// Whether there were none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a dot; of equal series and time the last counts.
    ///
    /// # Errors
    ///
    /// [`Error::Row`] where the value is none of the shape. The system's, where dots have to be put aside; it cannot
    /// be committed any more then.
    pub fn push(
        &mut self,
        series: &SeriesName,
        shape: &Shape,
        time: Timestamp,
        cell: Cell<'_>,
    ) -> Result<(), Error> {
        cell.check(shape.format()).map_err(|source| Error::Row { series: series.clone(), source })?;
        self.gathered.push(series, shape, time, cell);
        if self.gathered.bytes() + self.gathered.len() * SORT_BYTES < self.gather_bytes {
            return Ok(());
        }
        let put_aside = self.put_aside();
        self.has_failed |= put_aside.is_err();
        put_aside
    }

    /// A copy in order, before the commit; `None` where dots were put aside.
    pub fn sorted(&self) -> Option<Sorted> {
        if !self.files.is_empty() {
            return None;
        }
        let mut sorted = Sorted { series: Vec::new(), added: Added::default() };
        for series in sort(&self.gathered, &mut sorted.added.replaced) {
            sorted.added.stored += series.column.len() as u64;
            sorted.added.series += 1;
            sorted.series.push(series);
        }
        Some(sorted)
    }

    /// Makes all of it visible and durable; makes the store where there is none.
    ///
    /// # Errors
    ///
    /// The system's, and [`Error::GivenUp`] after one; nothing is stored then.
    pub fn commit(mut self) -> Result<Added, Error> {
        if self.has_failed {
            return Err(Error::GivenUp);
        }
        if self.is_empty() {
            manifest::open_or_create(&self.layout, Timestamp::now())?;
            return Ok(Added::default());
        }
        if !self.files.is_empty() {
            self.put_aside()?;
        }
        let segment = match self.segment {
            Some(segment) => segment,
            None => begin(&self.layout)?,
        };
        let mut joined = Joined { segment, series: None, column: Column::default(), added: Added::default() };
        joined.added.replaced = self.replaced;
        if self.files.is_empty() {
            for Series { name, latest, column } in sort(&self.gathered, &mut joined.added.replaced) {
                joined.segment.begin(name, latest)?;
                joined.segment.add(&column, false)?;
                joined.added.stored += column.len() as u64;
                joined.added.series += 1;
            }
        } else {
            // Higher levels hold what was given earlier.
            let files = self.files.into_iter().rev().flatten().collect();
            merge(&self.layout, files, |name, latest, from, range| joined.take(name, latest, from, range))?;
            joined.end_series()?;
        }
        let Joined { segment, added, .. } = joined;
        let segment = segment.finish(&Meta::default())?;
        manifest::swap(&self.layout, |manifest| {
            let order = manifest.next_order(&self.layout)?;
            manifest.ledger.totals.stored_other += added.stored + added.replaced;
            manifest.ledger.totals.replaced += added.replaced;
            list(manifest, vec![(segment, order)])
        })?;
        Ok(added)
    }

    fn put_aside(&mut self) -> Result<(), Error> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        if self.segment.is_none() {
            self.segment = Some(begin(&self.layout)?);
        }
        let mut file = AsideWriter::new(&self.layout);
        let gathered = std::mem::take(&mut self.gathered);
        for Series { name, latest, column } in sort(&gathered, &mut self.replaced) {
            file.take(&name, &latest, &column, 0..column.len())?;
            self.filed += column.len() as u64;
        }
        let mut file = file.finish()?;
        for level in 0.. {
            if self.files.len() == level {
                self.files.push(Vec::new());
            }
            self.files[level].push(file);
            if self.files[level].len() < FILES_MAX {
                break;
            }
            let mut merged = AsideWriter::new(&self.layout);
            merge(&self.layout, std::mem::take(&mut self.files[level]), |name, latest, run, range| {
                merged.take(name, latest, run, range)
            })?;
            file = merged.finish()?;
        }
        Ok(())
    }
}

/// Dots of a series in memory: sorted, of equal times the last alone.
struct Series {
    name: SeriesName,
    /// The shape of the dot that was given last.
    latest: Shape,
    column: Column,
}

/// Series in the order of their names.
fn sort<'a>(gathered: &'a NamedDots, replaced: &'a mut u64) -> impl Iterator<Item = Series> + 'a {
    gathered.columns().map(|(name, mut column)| {
        let latest = column.last_shape().cloned().unwrap_or_default();
        column.sort();
        *replaced += column.keep_last();
        Series { name: name.clone(), latest, column }
    })
}

fn begin(layout: &Layout) -> Result<SegmentWriter, Error> {
    manifest::open_or_create(layout, Timestamp::now())?;
    Ok(SegmentWriter::new(layout, 0, CHUNK_DOTS))
}

/// What an [`Addition`] holds, in order.
pub struct Sorted {
    series: Vec<Series>,
    added: Added,
}

impl Sorted {
    /// What a commit comes to.
    pub fn added(&self) -> Added {
        self.added
    }

    /// Every dot in the order of series and time, of equal ones the last.
    pub fn rows(&self) -> impl Iterator<Item = (&SeriesName, Row<'_>)> {
        self.series
            .iter()
            .flat_map(|Series { name, column, .. }| Row::of_column(column, false).map(move |row| (name, row)))
    }
}

/// Sorted dots on their way into a segment, of which no more than a chunk is in memory.
struct Joined {
    segment: SegmentWriter,
    series: Option<SeriesName>,
    /// Dots of the series in hand that are in no chunk yet.
    column: Column,
    added: Added,
}

impl Joined {
    fn take(
        &mut self,
        name: &SeriesName,
        latest: &Shape,
        from: &Column,
        range: Range<usize>,
    ) -> Result<(), Error> {
        if self.series.as_ref() != Some(name) {
            self.end_series()?;
            self.segment.begin(name.clone(), latest.clone())?;
            self.series = Some(name.clone());
            self.added.series += 1;
        }
        self.column.extend(from, range);
        let is_long = self.column.row_bytes() > RUN_ROW_BYTES;
        if self.column.len() > CHUNK_DOTS || is_long {
            self.added.replaced += self.column.keep_last();
            // The last one stays back: the next dot may still replace it.
            let count = self.column.len() - 1;
            self.write(if is_long { count } else { count / CHUNK_DOTS * CHUNK_DOTS })?;
        }
        Ok(())
    }

    /// Writes the first dots of the column.
    fn write(&mut self, count: usize) -> Result<(), Error> {
        let rest = self.column.split_off(count);
        self.segment.add(&self.column, false)?;
        self.added.stored += count as u64;
        self.column = rest;
        Ok(())
    }

    fn end_series(&mut self) -> Result<(), Error> {
        self.added.replaced += self.column.keep_last();
        self.write(self.column.len())
    }
}
