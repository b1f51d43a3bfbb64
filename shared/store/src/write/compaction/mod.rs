//! Compaction: neighbours in the order of commits become fewer, larger segments; what is hidden by tombstones goes,
//! and what is too old where retention allows it.
//!
//! Always true:
//!
//! - only neighbours in the order of commits are merged, and no commit can come to stand between them any more
//! - dots that are merged 8 to 16 neighbours at a time are written four times in all: sealed, then once a level
//! - memory does not depend on how many series or dots there are: one series is in hand, a chunk of each input
//! - nothing waits for it; it can be given up at any moment, and what it replaces is unlinked a swap later

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

/// The one level that is not merged any further.
const LEVEL_TOP: u32 = 3;
/// Files that one merge gives at most; each has a buffer of its own while they are made.
const OUTPUTS_MAX: usize = 12;

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Segments that are gone.
    pub before: u64,
    /// Segments in their place.
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

/// Dots of a chunk: larger in segments that are not soon merged again.
fn chunk_dots(level: u32) -> usize {
    if level < 2 { 4096 } else { 8192 }
}

/// Bytes that a file of a level is meant to have: as far as windows allow, more are cut apart.
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

/// The right to compact, as long as it lives.
pub(crate) struct Compaction<'a> {
    layout: Layout,
    cancel: &'a dyn Fn() -> bool,
    _lock: File,
}

struct Round {
    compacted: Compacted,
    /// Names of the segments made.
    made: Vec<String>,
    is_last: bool,
}

/// Chooses what to do next: from the list, the first sequence the live log may hold, and what is damaged.
type Choose<'a> = &'a dyn Fn(&Manifest, u64, &BTreeSet<String>) -> Option<Job>;

/// The moment before which dots of a series are too old and may go; zero where none may.
pub(crate) type Cutoff<'a> = Box<dyn Fn(&str) -> u64 + 'a>;

/// What may go where these segments are merged; `None` where nothing may.
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
        // What one round made is not taken up again by the next, unless there was too much for one round.
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

    /// Segments that do not overlap as one, in the making; `None` where they hold nothing.
    ///
    /// - `cutoff`: the moment before which what a series has is left out
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

    /// Writes a segment anew without what is too old; returns how many dots that was.
    ///
    /// - `cutoff`: the moment before which dots of a series are
    pub(crate) fn expire(&self, entry: &SegmentEntry, cutoff: &dyn Fn(&str) -> u64) -> Result<u64, Error> {
        let manifest = manifest::read(&self.layout)?;
        let segment = match Segment::open(&self.layout.segment(&entry.name), entry) {
            Err(Error::Damaged { .. }) => return Ok(0),
            other => Arc::new(other?),
        };
        let job = Job { inputs: vec![entry.clone()], level: entry.level, is_last: true };
        self.run(&manifest, &job, &[segment], cutoff, &|_, _| ()).map(|round| round.compacted.expired)
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
            let open =
                |entry: &SegmentEntry| Segment::open(&self.layout.segment(&entry.name), entry).map(Arc::new);
            let mut segments = Vec::with_capacity(job.inputs.len());
            for entry in &job.inputs {
                match open(entry) {
                    Ok(segment) => segments.push(segment),
                    // It may be mended from a backup; until then its neighbours go on without it.
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

    /// As many dots as there are in the places of others: those a filter took out or put in.
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

    /// Puts segments in the place of others; gives their names.
    ///
    /// - `purged`: the generation whose tombstones have been applied
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
        let (_, made) = manifest::swap(&self.layout, |manifest| {
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
