//! Compaction: many segments become fewer, larger ones. Dots that tombstones hide are removed.
//!
//! Always true:
//!
//! - level 0 mixes everything; from level 1 on a segment lies in one tier and one window
//! - dots and steps made from dots are never in one segment, and never merged with each other
//! - segments are merged only where none that stays as it is has dots in common with them and an order between theirs,
//!   and where no commit can get a place between them any more
//! - a dot is written five times at most behind the seal: once a level, and once when its window is over
//! - memory does not depend on how many series or dots there are: it holds one series, a chunk of each input, and the
//!   buffers of a few outputs
//! - room for what a merge writes is set aside first; where there is too little, a smaller merge is tried
//! - nothing waits for it; it can be given up at any moment, and the files it replaces are unlinked by the next
//!   commit

mod command;
pub(crate) mod cut;
mod filtered;
pub(crate) mod outputs;
pub(crate) mod plan;
mod purge;
mod rewrite;
mod stale;
pub(crate) mod walks;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use cut::{Cut, Sorting};
use dotter_dot::Timestamp;
use outputs::Outputs;
use plan::{Common, Goal, Job, View, may_merge};
use rewrite::Rewrite;

use crate::disk::layout::Layout;
use crate::disk::manifest;
use crate::disk::room::Room;
use crate::error::Error;
use crate::format::ledger::Totals;
use crate::format::listing::SegmentEntry;
use crate::format::manifest::Manifest;
use crate::format::place::nanos;
use crate::read::segment::Segment;
use crate::write::segment::list;

pub(crate) use purge::Passed;

pub use filtered::{Filtered, FilteredRow, compact_filtered};

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
    /// Dots, and steps, in damaged chunks.
    pub damaged: u64,
}

/// The most dots of a chunk: more in segments that are not soon merged again.
fn chunk_dots(level: u32) -> usize {
    if level < 2 { 4096 } else { 8192 }
}

/// One round of compaction.
///
/// Returns `false` where nothing is to be done. `cancel` is asked before each chunk; when it says `true` the work
/// is given up and nothing has changed. A segment of which not every series can be found is left alone, and nothing is
/// merged across it; a damaged chunk is left out, and its dots or steps are counted.
///
/// # Errors
///
/// [`Error::Locked`] while another process compacts; [`Error::GivenUp`] after `cancel`; the system's, where there is
/// no room for the smallest merge.
pub fn compact(dir: &Path, cancel: &dyn Fn() -> bool) -> Result<bool, Error> {
    Compaction::begin(dir, cancel)?.minor()
}

/// Compacts everything into as few segments as windows and sizes allow, whatever was merged before, and purges
/// all that is hidden. It goes window by window, so that it needs room for the largest of them and not for the store.
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
    Compaction::begin(dir, cancel)?.major(progress)
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
}

/// Chooses the next merge.
type Choose<'a> = &'a dyn Fn(&View<'_>) -> Option<Job>;

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
    pub(crate) fn minor(&self) -> Result<bool, Error> {
        let is_merged = self.round(&|view| view.minor(), &|_, _| ())?.is_some();
        Ok(is_merged || self.purge_due(Timestamp::now())?)
    }

    /// All of [`compact_major`].
    pub(crate) fn major(&self, progress: &dyn Fn(u64, u64)) -> Result<Compacted, Error> {
        let mut compacted = Compacted::default();
        // A segment that one round has made is not written anew by the next unless others are merged with it.
        let done = std::cell::RefCell::new(BTreeSet::new());
        let choose = |view: &View<'_>| view.major(&done.borrow());
        while let Some(round) = self.round(&choose, progress)? {
            compacted.before += round.compacted.before;
            compacted.after += round.compacted.after;
            compacted.replaced += round.compacted.replaced;
            compacted.deleted += round.compacted.deleted;
            compacted.damaged += round.compacted.damaged;
            done.borrow_mut().extend(round.made);
        }
        Ok(compacted)
    }

    /// Marks segments anew, or writes them apart, that lie in a tier by rules that are no longer in force, as long as there
    /// are any that can be read.
    pub(crate) fn bring_up_to_date(&self) -> Result<(), Error> {
        while self.round(&|_| None, &|_, _| ())?.is_some() {}
        Ok(())
    }

    /// Writes a segment anew without dots that tombstones hide.
    fn write_anew(&self, segment: Arc<Segment>) -> Result<Compacted, Error> {
        let manifest = manifest::read(&self.layout)?;
        let entry = segment.entry();
        let into = match entry.place {
            None => Goal::Mixed,
            Some(place) if place.rules == manifest.rules.mark() => Goal::Place(place),
            Some(_) => Goal::Apart,
        };
        let job = Job { inputs: vec![entry.clone()], level: entry.level, into };
        self.run(&manifest, &job, &[segment], &|_, _| ()).map(|round| round.compacted)
    }

    /// A segment of which every series can be found: a merge must not pass any over.
    pub(crate) fn open(&self, entry: &SegmentEntry) -> Result<Arc<Segment>, Error> {
        let segment = Segment::open(&self.layout.segment(&entry.name), entry)?;
        segment.check_index()?;
        Ok(Arc::new(segment))
    }

    fn round(&self, choose: Choose<'_>, progress: &dyn Fn(u64, u64)) -> Result<Option<Round>, Error> {
        let mut damaged = BTreeSet::new();
        let mut full = None;
        'choose: loop {
            let (manifest, first_live) =
                manifest::read_with(&self.layout, |manifest| manifest.first_live(&self.layout))?;
            let age = |entry: &SegmentEntry| self.layout.segment_age(&entry.name);
            let view = View::new(&manifest, first_live, &damaged, &age);
            let (job, is_stale) = match self.stale(&view)? {
                stale::Found::Job(job) => (Some(job), true),
                stale::Found::Tagged => continue,
                stale::Found::Nothing => (choose(&view), false),
            };
            let Some(mut job) = job else { return full.map_or(Ok(None), Err) };
            loop {
                let Some(segments) = self.open_all(&job, &mut damaged)? else { continue 'choose };
                match self.run(&manifest, &job, &segments, progress) {
                    Err(error) if error.is_disk_full() => match job.smaller() {
                        Some(smaller) => job = smaller,
                        // It cannot be made smaller, and no other merge has to wait for it.
                        None if is_stale => {
                            damaged.extend(job.inputs.into_iter().map(|entry| entry.name));
                            full = Some(error);
                            continue 'choose;
                        }
                        None => return Err(error),
                    },
                    other => return other.map(Some),
                }
            }
        }
    }

    /// Opens the inputs of a merge; `None` where one is damaged, which is then named in `damaged`.
    ///
    /// A damaged segment may be restored from a backup; until then others are merged without it.
    fn open_all(
        &self,
        job: &Job,
        damaged: &mut BTreeSet<String>,
    ) -> Result<Option<Vec<Arc<Segment>>>, Error> {
        let mut segments = Vec::with_capacity(job.inputs.len());
        for entry in &job.inputs {
            match self.open(entry) {
                Ok(segment) => segments.push(segment),
                Err(Error::Damaged { .. }) => _ = damaged.insert(entry.name.clone()),
                Err(error) => return Err(error),
            }
        }
        Ok((segments.len() == job.inputs.len()).then_some(segments))
    }

    fn run(
        &self,
        manifest: &Manifest,
        job: &Job,
        segments: &[Arc<Segment>],
        progress: &dyn Fn(u64, u64),
    ) -> Result<Round, Error> {
        let bytes = job.inputs.iter().map(|entry| entry.bytes).sum();
        let room = std::cell::RefCell::new(Room::set_aside(&self.layout, bytes)?);
        let held = job.inputs.iter().map(|entry| entry.held).max().unwrap_or(0);
        let cut = match job.into {
            Goal::Mixed => Cut::whole(None, held),
            Goal::Place(place) => Cut::whole(Some(place), held),
            Goal::Apart => {
                let place = job.inputs.first().and_then(|entry| entry.place);
                let rules = &manifest.rules;
                // What a change of rules puts into another tier is late where it was.
                let now = |keep| match place {
                    None => manifest.clock.arrival(keep),
                    Some(place) if place.is_late => place.window.from,
                    Some(_) => Timestamp::MIN,
                };
                let tier = place.map(|place| place.tier);
                let newest = manifest.clock.newest();
                let running = nanos(manifest.clock.running());
                let sorting = Sorting { rules, mark: rules.mark(), tier, now: &now, newest, running };
                Cut::apart(segments, sorting, self.cancel)?
            }
        };
        let numbers = job.inputs.iter().map(SegmentEntry::number).collect();
        let replaced = (numbers, manifest.generation);
        let mut outputs = Outputs::new(&self.layout, job.level, chunk_dots(job.level), cut, replaced);
        let others = self.others(manifest, job)?;
        // As much as is read is about what is written.
        let told = |done: u64, total: u64| {
            let left = bytes
                .saturating_sub((u128::from(bytes) * u128::from(done) / u128::from(total.max(1))) as u64);
            // Where room cannot be given back, it is when the merge is done.
            let _ = room.borrow_mut().leave(left);
            progress(done, total);
        };
        let rewrite = Rewrite {
            segments,
            others: &others,
            tombstones: &manifest.tombstones,
            has_steps: job.has_steps(),
            cancel: self.cancel,
            progress: &told,
        };
        let mut gone = rewrite.run(&mut outputs)?;
        drop(room);
        if job.has_steps() {
            // The ledger counts dots, and these were counted when they expired. But what is damaged is said.
            gone = Totals { damaged: gone.damaged, ..Totals::default() };
        }
        let made = self.replace(&job.inputs, outputs, gone, false)?;
        Ok(Round {
            compacted: Compacted {
                before: job.inputs.len() as u64,
                after: made.len() as u64,
                replaced: gone.replaced,
                deleted: gone.deleted,
                damaged: gone.damaged,
            },
            made,
        })
    }

    /// Segments that may have dots of the same series as the inputs of a merge and an order between theirs.
    fn others(&self, manifest: &Manifest, job: &Job) -> Result<Vec<Arc<Segment>>, Error> {
        let (Some(first), Some(last)) = (job.inputs.first(), job.inputs.last()) else {
            return Ok(Vec::new());
        };
        let running = nanos(manifest.clock.running());
        let common = match job.into {
            Goal::Place(_) => Common::of(first, running),
            _ => None,
        };
        let mut others = Vec::new();
        for entry in plan::between(&manifest.segments, first.order, last.order) {
            if plan::has_no_dots_of(common, job.has_steps(), entry, running) || job.inputs.contains(entry) {
                continue;
            }
            match Segment::open(&self.layout.segment(&entry.name), entry) {
                Ok(segment) => others.push(Arc::new(segment)),
                Err(Error::Damaged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(others)
    }

    /// As [`Compaction::replace`], and counts the dots that a filter command has removed or added.
    fn replace_filtered(
        &self,
        inputs: &[SegmentEntry],
        outputs: Outputs<'_>,
        written: u64,
    ) -> Result<Vec<String>, Error> {
        let before: u64 = inputs.iter().map(|entry| entry.dots).sum();
        let (deleted, stored_other) = (before.saturating_sub(written), written.saturating_sub(before));
        let gone = Totals { deleted, stored_other, ..Totals::default() };
        // Nobody can be told what came instead of what.
        self.replace(inputs, outputs, gone, true)
    }

    /// Replaces segments by others in one commit; returns the names of the new ones.
    ///
    /// - `are_others`: whether their dots are others too
    fn replace(
        &self,
        inputs: &[SegmentEntry],
        outputs: Outputs<'_>,
        gone: Totals,
        are_others: bool,
    ) -> Result<Vec<String>, Error> {
        let order = inputs.last().expect("a job has inputs").order;
        let names: BTreeSet<&str> = inputs.iter().map(|entry| entry.name.as_str()).collect();
        let unlisted = outputs.into_unlisted(gone, self.cancel)?;
        let unlisted: Vec<_> = unlisted.into_iter().map(|segment| (segment, order)).collect();
        let (_, made) = manifest::change(&self.layout, |manifest| {
            let there = manifest.segments.iter().filter(|segment| names.contains(segment.name.as_str()));
            // The list may have changed since the merge was chosen.
            if there.count() < names.len() || !may_merge(inputs.iter(), manifest) {
                return Err(Error::GivenUp);
            }
            manifest.segments.retain(|segment| !names.contains(segment.name.as_str()));
            manifest.obsolete.extend(names.iter().map(|name| format!("seg/{name}")));
            manifest.ledger.totals.add(&gone);
            if are_others {
                manifest.kept.forgotten = manifest.generation;
            }
            let placed = list(manifest, unlisted)?;
            let first_live = manifest.first_live(&self.layout)?;
            manifest.drop_spent_tombstones(first_live);
            Ok(placed)
        })?;
        Ok(made.iter().map(|placed| placed.entry.name.clone()).collect())
    }
}

#[cfg(test)]
mod tests;
