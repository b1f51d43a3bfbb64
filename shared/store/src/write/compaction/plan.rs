//! Choosing the segments to merge next.
//!
//! Level 0 mixes everything; its oldest files become level 1, cut apart by tier and window. From then on only segments
//! of one tier and window are merged, so the order of commits has other segments between them. [`may_merge`] says
//! where that is no harm.
//!
//! Segments of one place with the same order are the pieces of one merge. All of them are merged together or none is.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use dotter_dot::Timestamp;

use crate::format::listing::{Order, SegmentEntry};
use crate::format::manifest::{Listings, Manifest};
use crate::format::place::{Place, Tier, Window, nanos};
use crate::write::compaction::outputs::LARGE_BYTES;

/// How many of a level are merged at once.
const TOGETHER: RangeInclusive<usize> = 8..=16;
/// The most orders merged at once by a major compaction, where segments of lower levels lie between, or where windows
/// are joined: each takes the memory of a chunk.
pub(super) const ORDERS_MAX: usize = 64;
/// Windows with fewer bytes than this are joined. Segments with fewer are merged on the highest level too, since else
/// many small commits would leave many of them.
const SMALL_BYTES: u64 = 4 << 20;
/// A file of level 0 waits for others no longer than this.
const WAIT: Duration = Duration::from_secs(3600);

/// The highest level that merges of one window lead to.
pub(super) const LEVEL_TOP: u32 = 4;
/// The level of what was put together once its window was over.
const LEVEL_JOINED: u32 = LEVEL_TOP + 1;

/// One merge that is to be done.
#[derive(Debug)]
pub(super) struct Job {
    /// In the order of their commits.
    pub(super) inputs: Vec<SegmentEntry>,
    /// The level of the new segments.
    pub(super) level: u32,
    pub(super) into: Goal,
}

/// Where the dots of a merge go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// One segment that mixes everything.
    Mixed,
    /// A segment for each window of each tier.
    Apart,
    /// One place, which all inputs lie in.
    Place(Place),
}

impl Job {
    /// Whether it merges steps made from dots.
    pub(super) fn has_steps(&self) -> bool {
        self.inputs.first().is_some_and(SegmentEntry::has_steps)
    }
}

/// What is chosen from.
pub(super) struct View<'a> {
    pub(super) manifest: &'a Manifest,
    /// The first sequence that a later seal may have in its order.
    pub(super) first_live: u64,
    /// The names of segments that cannot be opened.
    pub(super) damaged: &'a BTreeSet<String>,
    /// The mark of the rules in force.
    pub(super) mark: u64,
    /// How long ago a segment was made.
    pub(super) age: &'a dyn Fn(&SegmentEntry) -> Duration,
}

/// Segments of one order, and of one place or of level 0.
type Group<'a> = Vec<&'a SegmentEntry>;

/// The segments of one place that a change of the rules holds equally long.
struct Held<'a> {
    place: Place,
    /// Until when; zero where nothing holds them.
    until: u64,
    runs: Vec<Vec<Group<'a>>>,
}

/// Whether segments may be merged, which get the order of the last of them, with others that stay as they are.
///
/// Another segment whose order lies between may have replaced dots of the earlier ones, or been replaced by the later
/// ones. So it must have no dots in common with any: it lies in another stretch of time, or has other series by the same
/// rules. Steps are combined from the oldest on, and what comes of it depends on where it begins: so none that is older
/// may be left out either.
pub(super) fn may_merge<'a>(
    inputs: impl Iterator<Item = &'a SegmentEntry> + Clone,
    manifest: &Manifest,
) -> bool {
    let listed = &manifest.segments;
    let Some(first) = inputs.clone().map(|entry| entry.order).min() else { return true };
    let last = inputs.clone().map(|entry| entry.order).max().unwrap_or(first);
    if first == last {
        return true;
    }
    let has_steps = inputs.clone().any(SegmentEntry::has_steps);
    let running = nanos(manifest.clock.running());
    if has_steps {
        none_in_common(inputs, up_to(listed, last), running)
    } else {
        none_in_common(inputs, between(listed, first, last), running)
    }
}

/// Whether no other segment that is older than the last of some has dots in common with any of them.
pub(crate) fn is_oldest<'a>(
    inputs: impl Iterator<Item = &'a SegmentEntry> + Clone,
    manifest: &Manifest,
) -> bool {
    let Some(last) = inputs.clone().map(|entry| entry.order).max() else { return true };
    none_in_common(inputs, up_to(&manifest.segments, last), nanos(manifest.clock.running()))
}

/// Whether no other segment than some has dots in common with any of them.
fn none_in_common<'a, 'b>(
    inputs: impl Iterator<Item = &'a SegmentEntry> + Clone,
    mut others: impl Iterator<Item = &'b SegmentEntry>,
    running: u64,
) -> bool {
    let from = inputs.clone().map(|entry| entry.first_time).min();
    let until = inputs.clone().map(|entry| entry.last_time).max();
    let mut all = inputs.clone().map(|entry| Common::of(entry, running));
    let common = all.next().flatten().filter(|common| all.all(|other| other == Some(*common)));
    let has_steps = inputs.clone().any(SegmentEntry::has_steps);
    let numbers: HashSet<u64> = inputs.map(SegmentEntry::number).collect();
    others.all(|other| {
        let is_apart = Some(other.last_time) < from || until < Some(other.first_time);
        is_apart || has_no_dots_of(common, has_steps, other, running) || numbers.contains(&other.number())
    })
}

/// The segments behind one order, up to another.
pub(super) fn between(listed: &Listings, first: Order, last: Order) -> impl Iterator<Item = &SegmentEntry> {
    listed.behind(first).take_while(move |entry| entry.order <= last)
}

/// The segments up to an order.
fn up_to(listed: &Listings, last: Order) -> impl Iterator<Item = &SegmentEntry> {
    listed.iter().take_while(move |entry| entry.order <= last)
}

/// What all series of a segment have in common by the rules it was placed by. By the same rules, segments that differ in
/// tier or hold have no series in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Common {
    tier: Tier,
    /// The mark of the rules.
    rules: u64,
    /// Until when a change of the rules holds them; zero where nothing holds them any more.
    held: u64,
}

impl Common {
    /// - `running`: running time now, in nanoseconds
    pub(super) fn of(entry: &SegmentEntry, running: u64) -> Option<Common> {
        let place = entry.place?;
        Some(Common { tier: place.tier, rules: place.rules, held: entry.held_now(running) })
    }
}

/// Whether a segment has no dots in common with others at any time: one has dots and the others steps, or it has none
/// of their series.
///
/// - `common`: what the series of the others have in common
/// - `has_steps`: whether the others have steps
/// - `running`: running time now, in nanoseconds
pub(super) fn has_no_dots_of(
    common: Option<Common>,
    has_steps: bool,
    other: &SegmentEntry,
    running: u64,
) -> bool {
    let has_others = || {
        let both = common.zip(Common::of(other, running));
        both.is_some_and(|(one, other)| one.rules == other.rules && one != other)
    };
    other.has_steps() != has_steps || has_others()
}

fn level(group: &[&SegmentEntry]) -> u32 {
    group.iter().map(|entry| entry.level).max().unwrap_or(0)
}

fn bytes(group: &[&SegmentEntry]) -> u64 {
    group.iter().map(|entry| entry.bytes).sum()
}

fn job(groups: &[Group<'_>], level: u32, into: Goal) -> Job {
    let mut inputs: Vec<SegmentEntry> = groups.iter().flatten().map(|entry| (*entry).clone()).collect();
    inputs.sort_by_key(|entry| entry.order);
    Job { inputs, level, into }
}

impl<'a> View<'a> {
    /// - `age`: how long ago a segment was made
    pub(super) fn new(
        manifest: &'a Manifest,
        first_live: u64,
        damaged: &'a BTreeSet<String>,
        age: &'a dyn Fn(&SegmentEntry) -> Duration,
    ) -> View<'a> {
        View { manifest, first_live, damaged, mark: manifest.rules.mark(), age }
    }

    /// What orders have in common between which no commit can get a place any more. A seal of the live log is split at
    /// each commit in it, so nothing comes between equal sequences. Nothing comes from the log between steps.
    fn era(&self, entry: &SegmentEntry) -> u64 {
        let is_settled = entry.order.sequence < self.first_live || entry.has_steps();
        if is_settled { 0 } else { entry.order.sequence.saturating_add(1) }
    }

    /// Splits segments, sorted by order, into runs of groups that may be merged with each other, all of them together.
    fn runs(&self, entries: &[&'a SegmentEntry]) -> Vec<Vec<Group<'a>>> {
        let mut runs: Vec<Vec<Group<'a>>> = Vec::new();
        let mut is_begun = false;
        for group in entries.chunk_by(|a, b| a.order == b.order) {
            if group.iter().any(|entry| self.damaged.contains(&entry.name)) {
                is_begun = false;
                continue;
            }
            let goes_on = is_begun
                && runs.last().is_some_and(|run| {
                    let all = || run.iter().flatten().chain(group).copied();
                    run.len() < ORDERS_MAX
                        && self.era(run[0][0]) == self.era(group[0])
                        && may_merge(all(), self.manifest)
                });
            is_begun = true;
            match runs.last_mut().filter(|_| goes_on) {
                Some(run) => run.push(group.to_vec()),
                None => runs.push(vec![group.to_vec()]),
            }
        }
        runs
    }

    /// Runs of level 0.
    fn mixed(&self) -> Vec<Vec<Group<'a>>> {
        let mixed: Vec<_> = self.manifest.segments.iter().filter(|entry| entry.place.is_none()).collect();
        self.runs(&mixed)
    }

    /// By place, runs of segments by the rules in force. What a change of the rules holds is apart, and behind what it
    /// does not hold.
    fn places(&self) -> Vec<Held<'a>> {
        let running = nanos(self.manifest.clock.running());
        let mut places: BTreeMap<(u64, Place), Vec<&SegmentEntry>> = BTreeMap::new();
        for entry in &self.manifest.segments {
            if let Some(place) = entry.place.filter(|place| place.rules == self.mark) {
                places.entry((entry.held_now(running), place)).or_default().push(entry);
            }
        }
        let held = |((until, place), entries): ((u64, Place), Vec<_>)| Held {
            place,
            until,
            runs: self.runs(&entries),
        };
        places.into_iter().map(held).collect()
    }

    /// The time up to which windows of a tier count as over: the retention clock, or where it was never set, the newest
    /// dot.
    fn now(&self, tier: &Tier) -> Timestamp {
        let newest = || self.manifest.segments.iter().map(|entry| entry.last_time).max();
        let clock = self.manifest.clock.arrival(tier.keep);
        if clock > Timestamp::MIN { clock } else { newest().unwrap_or_default() }
    }

    /// The merge to do next in everyday work.
    pub(super) fn minor(&self) -> Option<Job> {
        if let Some(job) = self.mixed_enough() {
            return Some(job);
        }
        let places = self.places();
        for wanted in 1..LEVEL_TOP {
            for Held { place, runs, .. } in &places {
                let is_done = |group: &Group<'_>| level(group) > wanted || bytes(group) >= LARGE_BYTES;
                let parts = runs.iter().flat_map(|run| run.split(is_done).map(move |part| (run, part)));
                for (run, part) in parts {
                    if let Some(groups) = enough(part, &|group| level(group) == wanted)
                        && let Some(groups) = self.whole(place, run, groups)
                    {
                        return Some(job(groups, wanted + 1, Goal::Place(*place)));
                    }
                }
            }
        }
        for Held { place, runs, .. } in &places {
            let is_large = |group: &Group<'_>| bytes(group) >= SMALL_BYTES || level(group) > LEVEL_TOP;
            let parts = runs.iter().flat_map(|run| run.split(is_large).map(move |part| (run, part)));
            for (run, part) in parts {
                if let Some(groups) = enough(part, &|group| level(group) == LEVEL_TOP)
                    && let Some(groups) = self.whole(place, run, groups)
                {
                    return Some(job(groups, LEVEL_TOP, Goal::Place(*place)));
                }
            }
        }
        self.join(&places, false).or_else(|| self.purge(&places))
    }

    /// The groups of a run to merge where some of its level are enough. Of steps those that are older must come along
    /// where they lie at the same time, whatever their level; `None` where these are not in the run.
    fn whole<'b>(
        &self,
        place: &Place,
        run: &'b [Group<'a>],
        groups: &'b [Group<'a>],
    ) -> Option<&'b [Group<'a>]> {
        let may = |groups: &[Group<'_>]| {
            place.tier.step.is_zero() || may_merge(groups.iter().flatten().copied(), self.manifest)
        };
        let last = groups.last()?[0].order;
        let until = run.partition_point(|group| group[0].order <= last);
        [groups, &run[..until]].into_iter().find(|groups| may(groups))
    }

    /// The oldest files of level 0: as soon as there are enough, or one of them has waited long.
    fn mixed_enough(&self) -> Option<Job> {
        for run in self.mixed() {
            let waited = || run.iter().flatten().any(|entry| (self.age)(entry) >= WAIT);
            if run.len() >= *TOGETHER.start() || waited() {
                let count = run.len().min(*TOGETHER.end());
                return Some(job(&run[..count], 1, Goal::Apart));
            }
        }
        None
    }

    /// Windows that are over and small, together with their neighbours in the same eighth.
    ///
    /// - `at_once`: two are enough; else of what is kept for ever, and where some are joined already, as many are
    ///   needed as for any merge
    fn join(&self, places: &[Held<'a>], at_once: bool) -> Option<Job> {
        let mut windows = places.iter().filter(|held| !held.place.is_late).peekable();
        while let Some(first) = windows.peek() {
            let (tier, until) = (first.place.tier, first.until);
            let now = self.now(&tier);
            let mut window = first.place.window;
            let eighth = tier.eighth(&window);
            let mut groups: Vec<Group<'a>> = Vec::new();
            while let Some(Held { place, runs, until: next }) = windows.peek() {
                let new: Vec<&Group<'a>> = runs.iter().flatten().collect();
                let new_bytes: u64 = new.iter().map(|group| bytes(group)).sum();
                let all = || groups.iter().chain(new.iter().copied()).flatten().copied();
                let fits = place.tier == tier
                    && *next == until
                    && tier.eighth(&place.window) == eighth
                    && place.window.last() < now
                    && new_bytes < SMALL_BYTES
                    && groups.len() + new.len() <= ORDERS_MAX
                    && groups.iter().map(|group| bytes(group)).sum::<u64>() < SMALL_BYTES
                    && !all().any(|entry| self.damaged.contains(&entry.name))
                    && all().all(|entry| all().next().is_some_and(|one| self.era(one) == self.era(entry)))
                    && may_merge(all(), self.manifest);
                if !fits {
                    break;
                }
                window = window.and(&place.window);
                groups.extend(runs.iter().flatten().cloned());
                windows.next();
            }
            let is_over = |number| at_once || tier.keep.is_zero() || tier.eighth_end(number) <= now;
            let is_settled = eighth.is_some_and(is_over);
            let is_joined = groups.iter().any(|group| level(group) > LEVEL_TOP);
            let least = if !at_once && (is_joined || tier.keep.is_zero()) { *TOGETHER.start() } else { 2 };
            if is_settled && groups.len() >= least {
                let place = Place { tier, window, rules: self.mark, is_late: false };
                return Some(job(&groups, LEVEL_JOINED, Goal::Place(place)));
            }
            if groups.is_empty() {
                windows.next();
            }
        }
        None
    }

    /// A segment that tombstones hide dots of, where there are many tombstones.
    fn purge(&self, places: &[Held<'a>]) -> Option<Job> {
        let tombstones = &self.manifest.tombstones;
        if !tombstones.are_many() {
            return None;
        }
        let concerned = |group: &&Group<'a>| {
            let concerns = |entry: &&SegmentEntry| tombstones.each().any(|one| one.concerns(entry));
            group.iter().any(concerns)
        };
        let mixed = self.mixed();
        if let Some(group) = mixed.iter().flatten().find(concerned) {
            return Some(job(std::slice::from_ref(group), level(group), Goal::Mixed));
        }
        places.iter().find_map(|Held { place, runs, .. }| {
            let group = runs.iter().flatten().find(concerned)?;
            Some(job(std::slice::from_ref(group), level(group), Goal::Place(*place)))
        })
    }

    /// The merge to do next until everything is merged.
    ///
    /// - `done`: segments that need not be merged alone any more
    pub(super) fn major(&self, done: &BTreeSet<String>) -> Option<Job> {
        let mixed = self.mixed();
        if let Some(run) = mixed.first() {
            let count = run.len().min(*TOGETHER.end());
            // The last of level 0: what is alone in its window afterwards is not merged again.
            let is_last = count == run.len() && mixed.len() == 1;
            return Some(job(&run[..count], if is_last { LEVEL_TOP } else { 1 }, Goal::Apart));
        }
        let places = self.places();
        for Held { place, runs, .. } in &places {
            let is_one = |run: &&Vec<Group<'a>>| run.len() == 1;
            let is_made =
                |run: &&Vec<Group<'a>>| run.iter().flatten().all(|entry| done.contains(&entry.name));
            let is_done = |run: &&Vec<Group<'a>>| is_one(run) && is_made(run);
            let may = |run: &&Vec<Group<'a>>| self.whole(place, run, run).is_some();
            if let Some(run) = runs.iter().find(|run| !is_done(run) && may(run)) {
                let level = run.iter().map(|group| level(group)).max().unwrap_or(1).max(LEVEL_TOP);
                return Some(job(&run[..run.len().min(ORDERS_MAX)], level, Goal::Place(*place)));
            }
        }
        self.join(&places, true)
    }

    /// All neighbours with dots from the oldest on between which no commit can get a place any more.
    pub(super) fn oldest(&self) -> Vec<SegmentEntry> {
        let Some(first) = self.manifest.with_dots().next() else { return Vec::new() };
        let is_of_it = |entry: &&SegmentEntry| self.era(entry) == self.era(first);
        self.manifest.with_dots().take_while(is_of_it).cloned().collect()
    }

    /// Segments that lie in a tier by other rules than those in force, or ahead of a clock that has come to them.
    pub(super) fn stale(&self) -> impl Iterator<Item = &'a SegmentEntry> {
        let (mark, newest) = (self.mark, self.manifest.clock.newest());
        let is_stale = move |place: Place| place.rules != mark || place.is_reached(newest);
        let is_stale = move |entry: &&SegmentEntry| entry.place.is_some_and(is_stale);
        let damaged = self.damaged;
        self.manifest.segments.iter().filter(is_stale).filter(|entry| !damaged.contains(&entry.name))
    }
}

/// The first groups of a run that hold enough that count; `None` where there are too few.
///
/// Segments of lower levels that lie between are merged too, since they would never become enough by themselves.
fn enough<'a, 'b>(run: &'a [Group<'b>], counts: &dyn Fn(&Group<'b>) -> bool) -> Option<&'a [Group<'b>]> {
    let (mut count, mut end) = (0, 0);
    for (index, group) in run.iter().enumerate().take(ORDERS_MAX) {
        if counts(group) {
            (count, end) = (count + 1, index + 1);
        }
        if count == *TOGETHER.end() {
            break;
        }
    }
    (count >= *TOGETHER.start()).then_some(&run[..end])
}

impl Job {
    /// The same with about half of the inputs, for a disk that has no room for all; `None` where that is not possible.
    pub(super) fn smaller(&self) -> Option<Job> {
        let orders: BTreeSet<_> = self.inputs.iter().map(|entry| entry.order).collect();
        // A file of level 0 gets further by itself; another segment does not.
        let least = if self.into == Goal::Apart { 1 } else { 2 };
        let count = orders.len().div_ceil(2).max(least);
        let last = *orders.iter().nth(count - 1).filter(|_| count < orders.len())?;
        let inputs: Vec<_> = self.inputs.iter().filter(|entry| entry.order <= last).cloned().collect();
        let into = match self.into {
            // Of joined windows only some are left.
            Goal::Place(place) => {
                let windows = inputs.iter().filter_map(|entry| entry.place).map(|place| place.window);
                let window = windows.reduce(|a: Window, b| a.and(&b)).unwrap_or(place.window);
                Goal::Place(Place { window, ..place })
            }
            other => other,
        };
        Some(Job { inputs, level: self.level, into })
    }
}

#[cfg(test)]
mod tests;
