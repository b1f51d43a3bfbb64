//! Choosing what goes: windows that have been over for as long as they are kept.
//!
//! Always true:
//!
//! - segments of one tier that lie at the same time go together, or the older ones first: so no dot goes before one that
//!   it has replaced
//! - what lies in one step of the next tier goes together
//! - nothing goes that lies in a tier by rules that are no longer in force, nor while an older segment of its time may
//!   have dots of its series

use std::collections::{BTreeMap, HashSet};

use dotter_dot::Timestamp;

use crate::format::clock::Clock;
use crate::format::listing::SegmentEntry;
use crate::format::manifest::Manifest;
use crate::format::place::{Place, Tier, nanos};
use crate::write::compaction::plan::is_oldest;

/// The most segments that go together.
const TOGETHER_MAX: usize = 64;

/// What a pass leaves as it is, by numbers of segments.
#[derive(Debug, Default)]
pub(super) struct Passed {
    /// What cannot go now.
    pub(super) over: HashSet<u64>,
    /// What cannot go as long as nothing else has gone.
    pub(super) blocked: HashSet<u64>,
    /// How often something had come between.
    pub(super) changed: u32,
}

/// What is chosen from.
pub(super) struct View<'a> {
    pub(super) manifest: &'a Manifest,
    /// The mark of the rules in force.
    pub(super) mark: u64,
}

impl<'a> View<'a> {
    pub(super) fn new(manifest: &'a Manifest) -> View<'a> {
        View { manifest, mark: manifest.rules.mark() }
    }

    /// The segments that lie in a tier by the rules in force, each with its place.
    pub(super) fn placed(&self) -> impl Iterator<Item = (&'a SegmentEntry, Place)> {
        let mark = self.mark;
        let placed = move |entry: &'a SegmentEntry| Some((entry, entry.place?));
        self.manifest.segments.iter().filter_map(placed).filter(move |(_, place)| place.rules == mark)
    }

    /// Whether any segment lies in a tier by rules that are no longer in force, or ahead of a clock that has come to it.
    pub(super) fn has_stale(&self) -> bool {
        let newest = self.manifest.clock.newest();
        let is_stale = |place: Place| place.rules != self.mark || place.is_reached(newest);
        self.manifest.segments.iter().any(|entry| entry.place.is_some_and(is_stale))
    }

    /// Whether a segment is to go.
    pub(super) fn is_due(&self, entry: &SegmentEntry) -> bool {
        let clock = &self.manifest.clock;
        let is_over = |place: Place| place.is_over(clock.believed(place.tier.keep));
        entry.place.is_some_and(|place| place.rules == self.mark && is_over(place)) && !is_held(entry, clock)
    }

    /// Segments to go together next, in the order of their commits; those whose window ends first, and of these the finer
    /// ones. Empty where nothing more is due.
    pub(super) fn next(&self, passed: &mut Passed) -> Vec<&'a SegmentEntry> {
        let mut due: Vec<_> = self.placed().filter(|(entry, _)| self.is_due(entry)).collect();
        due.sort_by_key(|(entry, place)| (place.window.last(), place.tier.step, entry.order));
        self.first_that_may(&due, &|entry| self.is_due(entry), passed)
    }

    /// The segment whose window ends first among all that are not the newest of their tier, with those that must go
    /// with it; empty where there is none. What lies ahead of the wall clock is no newest.
    pub(super) fn oldest(&self, passed: &mut Passed) -> Vec<&'a SegmentEntry> {
        let mut placed: Vec<_> = self.placed().collect();
        placed.sort_by_key(|(entry, place)| (place.window.last(), place.tier.step, entry.order));
        let clock = self.manifest.clock.newest();
        let mut newest: BTreeMap<Tier, Timestamp> = BTreeMap::new();
        for (_, place) in placed.iter().filter(|(_, place)| place.window.from <= clock) {
            newest.insert(place.tier, place.window.last());
        }
        let may = |entry: &SegmentEntry| {
            let is_before =
                |place: Place| newest.get(&place.tier).is_some_and(|last| place.window.last() < *last);
            entry.place.is_some_and(is_before)
        };
        let candidates: Vec<_> = placed.into_iter().filter(|(entry, _)| may(entry)).collect();
        self.first_that_may(&candidates, &may, passed)
    }

    /// The first segment that may go, with those that go with it.
    fn first_that_may(
        &self,
        candidates: &[(&'a SegmentEntry, Place)],
        may: &dyn Fn(&SegmentEntry) -> bool,
        passed: &mut Passed,
    ) -> Vec<&'a SegmentEntry> {
        for (entry, _) in candidates {
            let number = entry.number();
            if passed.over.contains(&number) || passed.blocked.contains(&number) {
                continue;
            }
            let together =
                self.together(entry, &|other| may(other) && !passed.over.contains(&other.number()));
            if !together.is_empty() {
                return together;
            }
            // What is in its way may go in this pass, and then it is looked at again.
            passed.blocked.insert(number);
        }
        Vec::new()
    }

    /// A segment and those that go with it, where they may go: those at the same time, or, where these are too many, those
    /// of them that are older. Empty where an older one stays.
    fn together(
        &self,
        first: &'a SegmentEntry,
        may: &dyn Fn(&SegmentEntry) -> bool,
    ) -> Vec<&'a SegmentEntry> {
        let all = self.with_those_of_its_time(first, may);
        if self.may_go(&all) {
            return all;
        }
        let older = self.with_those_of_its_time(first, &|other| other.order <= first.order && may(other));
        if self.may_go(&older) { older } else { Vec::new() }
    }

    /// A segment and those of its tier that lie at the same time, or in the same steps of the next tier, as far as they
    /// may go: a step that is made in two parts is not the same.
    fn with_those_of_its_time(
        &self,
        first: &'a SegmentEntry,
        may: &dyn Fn(&SegmentEntry) -> bool,
    ) -> Vec<&'a SegmentEntry> {
        let mut together = vec![first];
        let tier = first.place.map(|place| place.tier);
        let step = tier.map_or(1, |tier| nanos(tier.next_step)).max(1);
        let steps_of = |entry: &SegmentEntry| {
            let [first, last] = [entry.first_time, entry.last_time].map(|time| time.nanos());
            (first - first % step, (last - last % step).saturating_add(step - 1))
        };
        let (mut from, mut until) = steps_of(first);
        loop {
            let before = together.len();
            for (other, place) in self.placed() {
                let (other_from, other_until) = steps_of(other);
                let meets = other_from <= until && from <= other_until;
                let is_new = !together.iter().any(|one| std::ptr::eq(*one, other));
                if is_new && meets && Some(place.tier) == tier && may(other) && together.len() < TOGETHER_MAX
                {
                    (from, until) = (from.min(other_from), until.max(other_until));
                    together.push(other);
                }
            }
            if together.len() == before {
                together.sort_by_key(|entry| entry.order);
                return together;
            }
        }
    }

    /// Whether no older segment of the same time stays that may have dots of the same series.
    pub(super) fn may_go(&self, together: &[&SegmentEntry]) -> bool {
        is_oldest(together.iter().copied(), self.manifest)
    }
}

/// Whether a segment stays for some time yet, because a rule has changed.
pub(super) fn is_held(entry: &SegmentEntry, clock: &Clock) -> bool {
    entry.held_now(nanos(clock.running())) > 0
}
