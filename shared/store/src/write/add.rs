//! A foreign commit of any size: a transaction from any process becomes a segment that one edit lists.
//!
//! Dots are gathered up to [`GATHER_BYTES`], sorted and put aside in a file. When there are [`FILES_MAX`] files of a
//! level, they are merged into one file of the next level, so that only a few files are read at the end. Memory is
//! bounded by the gathered dots and a block of each open file, whatever the number of dots, series or shapes.

use std::ops::Range;
use std::path::Path;

use dotter_dot::{Cell, Column, NamedDots, SeriesName, Shape, Timestamp};

use crate::disk::layout::Layout;
use crate::disk::manifest;
use crate::disk::spill::Spill;
use crate::error::Error;
use crate::format::segment::Meta;
use crate::read::equal;
use crate::read::scan::Row;
use crate::write::aside::{AsideWriter, merge};
use crate::write::segment::{SegmentWriter, list};

/// The most dots of a chunk in a new segment.
const CHUNK_DOTS: usize = 4096;
/// Rows are written when they have so many bytes, however few rows they are.
const RUN_ROW_BYTES: usize = 4 << 20;
/// How many bytes of memory gathering and sorting may take.
const GATHER_BYTES: usize = 64 << 20;
/// How many bytes sorting takes for each dot: its place, its time and its word in a column.
const SORT_BYTES: usize = 20;
/// How many files of one level there are before they are merged.
const FILES_MAX: usize = 64;

/// Commits dots with explicit times, in one transaction, whether or not a collector is running.
///
/// - `dots`: in any order; of equal series and time the last counts, whatever its shape, but texts (rows without a
///   number) are all kept, in the given order. For plain numbers a list of (series, time, number) will do. For more dots
///   than memory holds there is [`Addition`].
///
/// Where other transactions have the same text at the same time, it is kept as often as the one transaction has it that
/// has it most often. So adding the same lines again adds nothing.
///
/// Makes the store where there is none. Returns how many dots are stored; they are fewer than given where some
/// replaced others.
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
/// Where it is dropped without a commit, nothing is stored; there may be a new, empty store.
pub struct Addition {
    layout: Layout,
    gather_bytes: usize,
    gathered: NamedDots,
    /// Files by level; within a level a later file has dots that were given later.
    files: Vec<Vec<Spill>>,
    /// How many dots are in files.
    filed: u64,
    /// Dots that were replaced before they went to a file.
    replaced: u64,
    /// The segment that will hold all dots; made with the first file.
    segment: Option<SegmentWriter>,
    /// Whether putting dots aside has failed, so that some are lost.
    has_failed: bool,
}

/// What an [`Addition`] has stored.
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
    /// An addition without dots.
    ///
    /// - `dir`: the store, which need not exist yet
    pub fn new(dir: &Path) -> Addition {
        Addition::with_memory(dir, GATHER_BYTES)
    }

    /// As [`Addition::new`], with another bound on memory.
    ///
    /// - `bytes`: about how much memory gathering and sorting take before dots are put aside; the default is 64 MiB
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

    /// How many dots were given.
    pub fn len(&self) -> u64 {
        self.filed + self.replaced + self.gathered.len() as u64
    }

    /// Whether there were none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a dot; of equal series and time the last counts, but texts are all kept.
    ///
    /// # Errors
    ///
    /// [`Error::Row`] where the value does not fit the shape. The system's, where dots could not be put aside; then
    /// the addition cannot be committed any more.
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

    /// A sorted copy of the dots, before the commit; `None` where dots were put aside.
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
    /// The system's; [`Error::GivenUp`] where [`Addition::push`] had failed. Nothing is stored then.
    pub fn commit(mut self) -> Result<Added, Error> {
        if self.has_failed {
            return Err(Error::GivenUp);
        }
        if self.is_empty() {
            manifest::make(&self.layout, Timestamp::now())?;
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
            // Files of higher levels have dots that were given earlier.
            let files = self.files.into_iter().rev().flatten().collect();
            merge(&self.layout, files, |name, latest, from, range| joined.take(name, latest, from, range))?;
            joined.end_series()?;
        }
        let Joined { segment, added, .. } = joined;
        let segment = segment.finish(&Meta::default())?;
        manifest::change(&self.layout, |manifest| {
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

/// The dots of a series in memory: sorted, of equal times all texts, and only the last other dot.
struct Series {
    name: SeriesName,
    /// The shape of the dot that was given last.
    latest: Shape,
    column: Column,
}

/// Sorts the gathered dots: series in the order of their names, each with its dots in the order of time.
fn sort<'a>(gathered: &'a NamedDots, replaced: &'a mut u64) -> impl Iterator<Item = Series> + 'a {
    gathered.columns().map(|(name, mut column)| {
        let latest = column.last_shape().cloned().unwrap_or_default();
        *replaced += equal::settle(&mut column, &[]);
        Series { name: name.clone(), latest, column }
    })
}

fn begin(layout: &Layout) -> Result<SegmentWriter, Error> {
    manifest::make(layout, Timestamp::now())?;
    Ok(SegmentWriter::new(layout, 0, CHUNK_DOTS))
}

/// The dots of an [`Addition`], sorted.
pub struct Sorted {
    series: Vec<Series>,
    added: Added,
}

impl Sorted {
    /// What a commit of these dots stores.
    pub fn added(&self) -> Added {
        self.added
    }

    /// Every dot in the order of series and time; of equal series and time all texts, then only the last other dot.
    pub fn rows(&self) -> impl Iterator<Item = (&SeriesName, Row<'_>)> {
        self.series
            .iter()
            .flat_map(|Series { name, column, .. }| Row::of_column(column, false).map(move |row| (name, row)))
    }
}

/// Writes sorted dots to a segment, with no more than a chunk in memory.
struct Joined {
    segment: SegmentWriter,
    series: Option<SeriesName>,
    /// Dots of the current series that are in no chunk yet.
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
            self.added.replaced += equal::settle(&mut self.column, &[]);
            // The last dot waits: the next one may still replace it. Where it is no text, texts of its time come first.
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
        self.added.replaced += equal::settle(&mut self.column, &[]);
        self.write(self.column.len())
    }
}
