//! What a cache needs to know of a series: whether its past may have changed.
//!
//! A reader sees every change of the store that it follows: frames of the log, and the list before and after. Of the
//! series that were asked about it keeps the time of the newest dot, and the view in which their past changed last. All of
//! it lives in memory, as long as the reader and its snapshots do.
//!
//! Always true, of two snapshots of one reader whose epochs are equal and that say the same number of a series: every
//! dot and step up to the time of the newest dot that the series had in the earlier one is the same in both.
//!
//! A number may change although nothing has: where a list does not tell what a commit did to which series, all change.
//! It never stays where anything did.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dotter_dot::SeriesName;

use crate::disk::layout::Layout;
use crate::error::Error;
use crate::format::ledger::Totals;
use crate::format::listing::SegmentEntry;
use crate::format::manifest::Manifest;
use crate::format::place::nanos;
use crate::format::segment::Tail;
use crate::format::tombstone::Tombstone;
use crate::read::fold::Taken;
use crate::read::listed::OpenSegments;
use crate::read::snapshot::{Inner, Snapshot, Source};

/// Series are kept in two maps, each of at most so many: those asked about lately, and those before them.
const SERIES_MAX: usize = 1 << 15;

impl Snapshot {
    /// A number that changes whenever the past of a series may have changed: a dot came that is not newer than its
    /// newest one, or rows were deleted, purged, folded, expired or replaced in bulk. Dots that come in the order of
    /// their times leave it as it is, but for the first dot of a series.
    ///
    /// It is for whoever keeps answers, and means something only beside [`Snapshot::store_epoch`]. As long as a later
    /// snapshot of the same reader gives the same two numbers, every dot and step of the series up to the time of the newest
    /// dot that it had in the earlier snapshot is the same in both. So an answer made from dots up to there stands.
    ///
    /// The number may change although nothing has. A snapshot that is not the latest of its reader may give a number
    /// that is never given again; so does one of a part of a store, and any where the system fails: such an answer
    /// is not to be kept. A reader remembers the 32,768 to 65,536 series asked about last; the others begin with a new
    /// number. The first time costs as much as looking the series up in each segment.
    pub fn late_writes(&self, name: &str) -> u64 {
        let late = &self.inner.late;
        {
            let mut state = late.state();
            if let Some(number) = state.number(name, late.version) {
                return number;
            }
            if state.version != late.version {
                return state.once();
            }
        }
        // Read without the lock, for which the reader may wait.
        let newest = self.inner.newest_listed(name);
        let mut state = late.state();
        match (newest, SeriesName::new(name)) {
            (Ok(newest), Ok(name)) if state.version == late.version => {
                let series = Series { newest, coming: None, seen: late.version, changed: late.version };
                state.remember(name, series);
                late.version
            }
            _ => state.once(),
        }
    }

    /// A number that changes whenever everything may have changed: the list was rebuilt, other retention rules are in
    /// force, another store or a backup has been put in the place of this one, or the reader has missed commits. No two
    /// readers of a process ever have the same.
    pub fn store_epoch(&self) -> u64 {
        self.inner.late.epoch
    }
}

/// One reader's knowledge, as of one of its views.
#[derive(Clone)]
pub(crate) struct Late {
    shared: Arc<Mutex<State>>,
    /// Which view of the reader this is; they are counted.
    version: u64,
    epoch: u64,
    /// The sequence of the last frame of the log that was read.
    read: u64,
}

/// What a reader and all its snapshots share.
#[derive(Default)]
pub(crate) struct State {
    /// The last view that was begun.
    version: u64,
    /// Series asked about lately.
    young: HashMap<SeriesName, Series>,
    /// Those asked about before.
    old: HashMap<SeriesName, Series>,
    /// How many numbers were given that are never given again.
    once: u64,
}

struct Series {
    /// The time of its newest dot before the view `seen`; `None` where it had none. It may be too late, never too early.
    newest: Option<u64>,
    /// The time of the newest dot that came in the view `seen`.
    coming: Option<u64>,
    seen: u64,
    /// The view in which its past changed last, or in which it was first asked about.
    changed: u64,
}

/// What shows that a list came from the one before by commits.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Link {
    /// Every edit between the two was read.
    Edits,
    /// The WAL file that the reader follows is still there. The list was written anew.
    Log,
    /// Another store may have been put in the place of this one.
    Nothing,
}

fn new_epoch() -> u64 {
    static EPOCHS: AtomicU64 = AtomicU64::new(1);
    // Relaxed: nothing but the number itself is shared.
    EPOCHS.fetch_add(1, Relaxed)
}

impl Late {
    pub(crate) fn new() -> Late {
        Late { shared: Arc::default(), version: 0, epoch: new_epoch(), read: 0 }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins another view. From here on older snapshots add no series.
    pub(crate) fn begin(&mut self) {
        let mut state = self.state();
        state.version += 1;
        let version = state.version;
        drop(state);
        self.version = version;
    }

    /// Another view, of which nothing is known that was known before.
    pub(crate) fn turn(&mut self) {
        self.begin();
        self.epoch = new_epoch();
        self.state().forget_all();
    }

    /// Tells of a frame of the log; returns where its dots are to be noted, or `None` where it was read before.
    pub(crate) fn frame(&mut self, sequence: u64) -> Option<MutexGuard<'_, State>> {
        let is_new = sequence > self.read;
        self.read = self.read.max(sequence);
        Some(self.state()).filter(|state| is_new && !state.is_empty())
    }

    /// Tells of another list, and begins another view.
    ///
    /// - `before`: the view that had the other list
    /// - `open`: the segments that `after` names
    /// - `link`: what shows that the list came from the other
    pub(crate) fn list(
        &mut self,
        layout: &Layout,
        before: &Inner,
        after: &Manifest,
        open: &OpenSegments,
        link: Link,
    ) {
        let before = &*before.manifest;
        let is_another = (before.store, before.lineage) != (after.store, after.lineage)
            || after.generation < before.generation
            || before.rebuilt.is_some()
            || after.rebuilt.is_some()
            || before.rules != after.rules;
        let is_sure = match link {
            Link::Edits => true,
            // A list that was rebuilt and written since may lack deletes.
            Link::Log => has_all_deletes(before, after),
            Link::Nothing => false,
        };
        if is_another || !is_sure {
            return self.turn();
        }
        self.begin();
        let read = self.read;
        let mut state = self.state();
        if state.is_empty() {
            return;
        }
        if open.has_mended
            || !tells_all(before, after, open)
            || !state.take_segments(layout, before, after, open, read)
        {
            return state.forget_all();
        }
        let (_, deletes) = after.tombstones.since(&before.tombstones);
        deletes.iter().for_each(|tombstone| state.forget(tombstone));
    }
}

/// Whether what the deletes of a list hide is hidden in a later list too.
fn has_all_deletes(before: &Manifest, after: &Manifest) -> bool {
    let (gone, _) = after.tombstones.since(&before.tombstones);
    let was = |delete: &&Tombstone| gone.binary_search(&delete.order).is_ok();
    gone.is_empty()
        || before
            .tombstones
            .each()
            .filter(was)
            .all(|delete| after.tombstones.each().any(|now| now.says_all_of(delete)))
}

/// Whether the difference between two lists is told by their segments with dots and their deletes.
fn tells_all(before: &Manifest, after: &Manifest, open: &OpenSegments) -> bool {
    let gone = |totals: &Totals| (totals.deleted, totals.expired, totals.damaged, totals.condensed);
    gone(&before.ledger.totals) == gone(&after.ledger.totals) && !open.has_other_steps
}

impl State {
    fn is_empty(&self) -> bool {
        self.young.is_empty() && self.old.is_empty()
    }

    fn forget_all(&mut self) {
        self.young.clear();
        self.old.clear();
    }

    fn forget(&mut self, tombstone: &Tombstone) {
        if let Some(name) = tombstone.pattern.name() {
            self.young.remove(name);
            self.old.remove(name);
            return;
        }
        self.young.retain(|name, _| !tombstone.names(name.as_str()));
        self.old.retain(|name, _| !tombstone.names(name.as_str()));
    }

    /// The number of a series as of a view; `None` where the series is not known.
    fn number(&mut self, name: &str, version: u64) -> Option<u64> {
        if let Some((name, series)) = self.old.remove_entry(name) {
            self.remember(name, series);
        }
        let changed = self.young.get(name)?.changed;
        Some(if changed <= version { changed } else { self.once() })
    }

    fn remember(&mut self, name: SeriesName, series: Series) {
        if self.young.len() >= SERIES_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(name, series);
    }

    /// A number that is no view's and was never given before.
    fn once(&mut self) -> u64 {
        self.once += 1;
        u64::MAX - self.once
    }

    /// Notes dots of a frame of the log.
    pub(crate) fn take(&mut self, taken: &Taken<'_>) {
        let version = self.version;
        if let Some(series) = self.young.get_mut(taken.name).or_else(|| self.old.get_mut(taken.name)) {
            let (run, range) = taken.dots();
            let times = &run.times()[range];
            if let Some((first, last)) = times.iter().min().zip(times.iter().max()) {
                series.note(version, *first, *last);
            }
        }
    }

    /// Takes the segments with dots that came and went. `false` where that does not tell to which series something
    /// was done.
    ///
    /// - `read`: the sequence of the last frame of the log that was read
    fn take_segments(
        &mut self,
        layout: &Layout,
        before: &Manifest,
        after: &Manifest,
        open: &OpenSegments,
        read: u64,
    ) -> bool {
        let listed = before.segments.difference(&after.segments);
        let with_dots = |entries: &[&Arc<SegmentEntry>]| -> BTreeSet<u64> {
            entries.iter().filter(|entry| !entry.has_steps()).map(|entry| entry.number()).collect()
        };
        // One of which the listing has changed is in both.
        let (mut gone, new) = (with_dots(&listed.gone), with_dots(&listed.new));
        let both: Vec<u64> = gone.intersection(&new).copied().collect();
        both.iter().for_each(|number| _ = gone.remove(number));
        let mut replaced = BTreeSet::new();
        for entry in listed.new.iter().filter(|entry| !entry.has_steps() && !both.contains(&entry.number())) {
            let Ok(tail) = Tail::read(&layout.segment(&entry.name)) else { return false };
            let from = tail.meta.replaced;
            if from.is_empty() {
                // A seal of frames that were read brings nothing new.
                let is_sealed = entry.order.generation == 0 && entry.order.sequence <= read;
                if !is_sealed && self.take_new(entry, open).is_err() {
                    return false;
                }
                continue;
            }
            // A merge brings nothing new where all that it replaces was there. What a filter command gave back is of level 0.
            if entry.level == 0 || from.iter().any(|number| !gone.contains(number)) {
                return false;
            }
            replaced.extend(from);
        }
        gone.is_subset(&replaced)
    }

    /// Notes the dots of a segment that were not there before.
    fn take_new(&mut self, entry: &SegmentEntry, open: &OpenSegments) -> Result<(), Error> {
        let segment = open.new.iter().find(|segment| segment.entry().number() == entry.number());
        let segment = segment.ok_or(Error::GivenUp)?;
        let (version, names) = (self.version, &entry.names);
        for (name, series) in self.young.iter_mut().chain(&mut self.old) {
            if (names.0.as_str()..=names.1.as_str()).contains(&name.as_str()) {
                segment.chunks(name.as_str(), None, |chunk| {
                    series.note(version, chunk.first.nanos(), chunk.last.nanos());
                })?;
            }
        }
        Ok(())
    }
}

impl Series {
    fn note(&mut self, version: u64, first: u64, last: u64) {
        if self.seen != version {
            self.newest = self.newest.max(self.coming.take());
            self.seen = version;
        }
        if self.newest.is_none_or(|newest| first <= newest) {
            self.changed = version;
        }
        self.coming = self.coming.max(Some(last));
    }
}

impl Inner {
    /// The time of the newest dot of a series, or of the end of its last step; deleted ones count too.
    fn newest_listed(&self, name: &str) -> Result<Option<u64>, Error> {
        let mut newest = None;
        for source in self.sources() {
            match source {
                Source::Segment(segment) => {
                    segment.chunks(name, None, |chunk| newest = newest.max(Some(chunk.last.nanos())))?;
                }
                Source::Head(part) => newest = newest.max(part.get(name).map(|series| series.last)),
            }
        }
        for segment in self.steps.iter() {
            let step = segment.entry().place.map_or(0, |place| nanos(place.tier.step));
            let end = |last: u64| last.saturating_add(step.saturating_sub(1));
            segment.chunks(name, None, |chunk| newest = newest.max(Some(end(chunk.last.nanos()))))?;
        }
        Ok(newest)
    }
}
