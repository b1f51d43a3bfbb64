//! Compaction: neighbours in the order of commits become fewer, larger segments. Dots that tombstones hide are
//! removed, and dots that are too old where retention allows it.
//!
//! Always true:
//!
//! - only neighbours in the order of commits are merged, and only where no commit can get a place between them any
//!   more
//! - a dot is written four times in all, if 8 to 16 neighbours are merged at a time: at the seal, then once a level
//! - memory does not depend on how many series or dots there are: it holds one series, and a chunk of each input
//! - nothing waits for it; it can be given up at any moment, and the files it replaces are unlinked by the next
//!   commit

mod command;
mod filtered;
mod plan;
mod rewrite;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use plan::Job;
use rewrite::{Outputs, Rewrite};

use crate::disk::layout::Layout;
use crate::disk::manifest;
use crate::error::Error;
use crate::format::ledger::Totals;
use crate::format::listing::SegmentEntry;
use crate::format::manifest::Manifest;
use crate::format::segment::Meta;
use crate::read::segment::Segment;
use crate::write::segment::{SegmentWriter, list};

pub use filtered::{Filtered, FilteredRow, compact_filtered};

/// The highest level, which is not merged any further.
const LEVEL_TOP: u32 = 3;
/// The most files that one merge makes; each has its own buffer while it is made.
const OUTPUTS_MAX: usize = 12;

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Segments that were replaced.
    pub before: u64,
    /// Segments that replaced them.
    pub after: u64,
    /// Dots that a later commit had replaced.
    pub replaced: u64,
    /// Dots that tombstones had hidden.
    pub deleted: u64,
    /// Dots older than their rule keeps them.
    pub expired: u64,
    /// Dots in damaged chunks.
    pub damaged: u64,
}

/// The most dots of a chunk: more in segments that are not soon merged again.
fn chunk_dots(level: u32) -> usize {
    if level < 2 { 4096 } else { 8192 }
}

/// How many bytes a file of a level should have. Larger ones are cut at the ends of windows.
fn bytes_wanted(level: u32) -> u64 {
    (32 << 20) << (level.min(LEVEL_TOP) * 2)
}

/// One round of compaction.
///
/// Returns `false` where nothing is to be done. `cancel` is asked before each chunk; when it says `true` the work
/// is given up and nothing has changed. A damaged segment is left alone, and nothing is merged across it.
///
/// # Errors
///
/// [`Error::Locked`] while another process compacts; [`Error::GivenUp`] after `cancel`.
pub fn compact(dir: &Path, cancel: &dyn Fn() -> bool) -> Result<bool, Error> {
    Compaction::begin(dir, cancel)?.minor(&|_, _| Ok(None))
}

/// Compacts everything into as few segments as windows and sizes allow, whatever was merged before, and purges
/// all that is hidden.
///
/// - `cancel`: as in [`compact`]
/// - `progress`: called now and then with the bytes done and the bytes to do
///
/// # Errors
///
/// As [`compact`]. Rounds that were finished by then stay.
pub fn compact_major(
    dir: &Path,
    cancel: &dyn Fn() -> bool,
    progress: &dyn Fn(u64, u64),
) -> Result<Compacted, Error> {
    Compaction::begin(dir, cancel)?.major(&|_, _| Ok(None), progress)
}

/// Holds COMPACT.lock as long as it lives, so that no other process compacts.
pub(crate) struct Compaction<'a> {
    layout: Layout,
    cancel: &'a dyn Fn() -> bool,
    _lock: File,
}

struct Round {
    compacted: Compacted,
    /// The names of the segments that it has made.
    made: Vec<String>,
    is_last: bool,
}

/// Chooses the next merge, given the list, the first sequence that the live log may hold, and the damaged segments.
type Choose<'a> = &'a dyn Fn(&Manifest, u64, &BTreeSet<String>) -> Option<Job>;

/// Gives the moment before which dots of a series are too old and may be removed; zero where none may.
pub(crate) type Cutoff<'a> = Box<dyn Fn(&str) -> u64 + 'a>;

/// Gives what a merge of some segments may remove; `None` where it may remove nothing.
pub(crate) type Expiry<'a> = &'a dyn Fn(&Manifest, &[SegmentEntry]) -> Result<Option<Cutoff<'a>>, Error>;

impl<'a> Compaction<'a> {
    pub(crate) fn begin(dir: &Path, cancel: &'a dyn Fn() -> bool) -> Result<Compaction<'a>, Error> {
        let layout = Layout::new(dir);
        // Before any lock, which would be a file made where there is no store.
        manifest::stamp(&layout)?;
        let _lock = layout.try_lock("COMPACT.lock")?;
        Ok(Compaction { layout, cancel, _lock })
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        (self.cancel)()
    }

    /// One round of [`compact`].
    pub(crate) fn minor(&self, expiry: Expiry<'_>) -> Result<bool, Error> {
        Ok(self.round(&plan::minor, expiry, &|_, _| ())?.is_some())
    }

    /// All of [`compact_major`].
    pub(crate) fn major(&self, expiry: Expiry<'_>, progress: &dyn Fn(u64, u64)) -> Result<Compacted, Error> {
        let mut compacted = Compacted::default();
        // A segment that one round has made is not merged by the next, unless the work was too much for one round.
        let done = std::cell::RefCell::new(BTreeSet::new());
        let choose = |manifest: &Manifest, first_live, damaged: &BTreeSet<String>| {
            plan::major(manifest, first_live, damaged, &done.borrow())
        };
        while let Some(round) = self.round(&choose, expiry, progress)? {
            compacted.before += round.compacted.before;
            compacted.after += round.compacted.after;
            compacted.replaced += round.compacted.replaced;
            compacted.deleted += round.compacted.deleted;
            compacted.expired += round.compacted.expired;
            compacted.damaged += round.compacted.damaged;
            if round.is_last {
                done.borrow_mut().extend(round.made);
            }
        }
        Ok(compacted)
    }

    /// Joins segments that do not overlap; returns the segment that is being made, `None` where no dots are left.
    ///
    /// - `cutoff`: the moment before which dots of a series are left out
    pub(crate) fn concatenate(
        &self,
        segments: &[Arc<Segment>],
        chunk_dots: usize,
        cutoff: &dyn Fn(&str) -> u64,
    ) -> Result<Option<SegmentWriter>, Error> {
        let mut outputs = Outputs::new(&self.layout, 0, chunk_dots, Vec::new());
        let (cancel, progress) = (self.cancel, &|_, _| ());
        Rewrite { segments, tombstones: &[], cutoff, cancel, progress }.run(&mut outputs)?;
        Ok(outputs.into_writers().pop())
    }

    /// Writes a segment anew without dots that are too old; returns how many dots those were.
    ///
    /// - `cutoff`: the moment before which dots of a series are too old
    pub(crate) fn expire(&self, entry: &SegmentEntry, cutoff: &dyn Fn(&str) -> u64) -> Result<u64, Error> {
        let manifest = manifest::read(&self.layout)?;
        let segment = match self.open(entry) {
            Err(Error::Damaged { .. }) => return Ok(0),
            other => other?,
        };
        let job = Job { inputs: vec![entry.clone()], level: entry.level, is_last: true };
        self.run(&manifest, &job, &[segment], cutoff, &|_, _| ()).map(|round| round.compacted.expired)
    }

    /// A segment of which every series can be found: a merge must not pass any over.
    fn open(&self, entry: &SegmentEntry) -> Result<Arc<Segment>, Error> {
        let segment = Segment::open(&self.layout.segment(&entry.name), entry)?;
        segment.check_index()?;
        Ok(Arc::new(segment))
    }

    fn round(
        &self,
        choose: Choose<'_>,
        expiry: Expiry<'_>,
        progress: &dyn Fn(u64, u64),
    ) -> Result<Option<Round>, Error> {
        let (manifest, first_live) =
            manifest::read_with(&self.layout, |manifest| manifest.first_live(&self.layout))?;
        let mut damaged = BTreeSet::new();
        loop {
            let Some(job) = choose(&manifest, first_live, &damaged) else { return Ok(None) };
            let mut segments = Vec::with_capacity(job.inputs.len());
            for entry in &job.inputs {
                match self.open(entry) {
                    Ok(segment) => segments.push(segment),
                    // A damaged segment may be restored from a backup; until then its neighbours are merged without
                    // it.
                    Err(Error::Damaged { .. }) => _ = damaged.insert(entry.name.clone()),
                    Err(error) => return Err(error),
                }
            }
            if segments.len() == job.inputs.len() {
                let cutoff = expiry(&manifest, &job.inputs)?.unwrap_or_else(|| Box::new(|_| 0));
                return self.run(&manifest, &job, &segments, &*cutoff, progress).map(Some);
            }
        }
    }

    fn run(
        &self,
        manifest: &Manifest,
        job: &Job,
        segments: &[Arc<Segment>],
        cutoff: &dyn Fn(&str) -> u64,
        progress: &dyn Fn(u64, u64),
    ) -> Result<Round, Error> {
        let cuts = rewrite::cuts(segments, bytes_wanted(job.level), OUTPUTS_MAX, self.cancel)?;
        let mut outputs = Outputs::new(&self.layout, job.level, chunk_dots(job.level), cuts);
        let tombstones = &manifest.tombstones;
        let rewrite = Rewrite { segments, tombstones, cutoff, cancel: self.cancel, progress };
        let gone = rewrite.run(&mut outputs)?;
        let made = self.replace(&job.inputs, outputs, gone, manifest.generation)?;
        Ok(Round {
            compacted: Compacted {
                before: job.inputs.len() as u64,
                after: made.len() as u64,
                replaced: gone.replaced,
                deleted: gone.deleted,
                expired: gone.expired,
                damaged: gone.damaged,
            },
            made,
            is_last: job.is_last,
        })
    }

    /// As [`Compaction::replace`], and counts the dots that a filter command has removed or added.
    fn replace_filtered(
        &self,
        inputs: &[SegmentEntry],
        outputs: Outputs,
        written: u64,
        purged: u64,
    ) -> Result<Vec<String>, Error> {
        let before: u64 = inputs.iter().map(|entry| entry.dots).sum();
        let (deleted, stored_other) = (before.saturating_sub(written), written.saturating_sub(before));
        let gone = Totals { deleted, stored_other, ..Totals::default() };
        self.replace(inputs, outputs, gone, purged)
    }

    /// Replaces segments by others in one commit; returns the names of the new ones.
    ///
    /// - `purged`: tombstones up to this edit number have been applied
    fn replace(
        &self,
        inputs: &[SegmentEntry],
        outputs: Outputs,
        gone: Totals,
        purged: u64,
    ) -> Result<Vec<String>, Error> {
        let order = inputs.last().expect("a job has inputs").order;
        let names: Vec<String> = inputs.iter().map(|entry| entry.name.clone()).collect();
        let numbers: Vec<u64> = inputs.iter().map(SegmentEntry::number).collect();
        let writers = outputs.into_writers();
        let mut unlisted = Vec::with_capacity(writers.len());
        for (index, writer) in writers.into_iter().enumerate() {
            let gone = if index == 0 { gone } else { Totals::default() };
            let meta = Meta { replaced: numbers.clone(), purged, gone, ..Meta::default() };
            unlisted.push((writer.finish(&meta)?, order));
            if (self.cancel)() {
                return Err(Error::GivenUp);
            }
        }
        let (_, made) = manifest::change(&self.layout, |manifest| {
            let listed = |name: &String| manifest.segments.iter().any(|segment| segment.name == *name);
            if !names.iter().all(listed) {
                return Err(Error::GivenUp);
            }
            manifest.segments.retain(|segment| !names.contains(&segment.name));
            manifest.obsolete.extend(names.iter().map(|name| format!("seg/{name}")));
            manifest.ledger.totals.add(&gone);
            let placed = list(manifest, unlisted)?;
            let first_live = manifest.first_live(&self.layout)?;
            manifest.drop_spent_tombstones(first_live);
            Ok(placed)
        })?;
        Ok(made.iter().map(|placed| placed.entry.name.clone()).collect())
    }
}
