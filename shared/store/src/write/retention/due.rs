//! Choosing what goes: windows that have been over for as long as they are kept.
//!
//! Always true:
//!
//! - segments of one tier that lie at the same time go together, or the older ones first: so no dot goes before one that
//!   it has replaced
//! - what lies in one step of the next tier goes together
//! - nothing goes that lies in a tier by rules that are no longer in force, nor while an older segment of its time may
//!   have dots of its series

use crate::format::clock::Clock;
use crate::format::listing::SegmentEntry;
use crate::format::manifest::Manifest;
use crate::format::place::{Place, nanos};
use crate::write::compaction::plan::is_oldest;

/// The most segments that go together.
const TOGETHER_MAX: usize = 64;

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

    /// Segments to go together next, in the order of their commits; those that end first. Empty where nothing more is
    /// due.
    ///
    /// - `passed_over`: the numbers of segments that cannot go now
    pub(super) fn next(&self, passed_over: &[u64]) -> Vec<&'a SegmentEntry> {
        let mut due: Vec<_> = self.placed().filter(|(entry, _)| self.is_due(entry)).collect();
        due.sort_by_key(|(entry, place)| (place.window.last(), entry.order));
        let is_free = |entry: &SegmentEntry| !passed_over.contains(&entry.number());
        for (entry, _) in due.iter().filter(|(entry, _)| is_free(entry)) {
            let together = self.with_those_of_its_time(entry, &|other| self.is_due(other) && is_free(other));
            if self.may_go(&together) {
                return together;
            }
        }
        Vec::new()
    }

    /// The segment whose window ends first among all that are not the newest of their tier, with those that must go
    /// with it; empty where there is none.
    ///
    /// - `passed_over`: as for [`Self::next`]
    pub(super) fn oldest(&self, passed_over: &[u64]) -> Vec<&'a SegmentEntry> {
        let mut placed: Vec<_> = self.placed().collect();
        placed.sort_by_key(|(entry, place)| (place.window.last(), entry.order));
        let newest = |of: &Place| {
            placed
                .iter()
                .filter(|(_, place)| place.tier == of.tier)
                .map(|(_, place)| place.window.last())
                .max()
        };
        let is_free = |entry: &SegmentEntry| {
            let is_newest = entry.place.is_none_or(|place| Some(place.window.last()) == newest(&place));
            !is_newest && !passed_over.contains(&entry.number())
        };
        for (entry, _) in placed.iter().filter(|(entry, _)| is_free(entry)) {
            let together = self.with_those_of_its_time(entry, &is_free);
            if self.may_go(&together) {
                return together;
            }
        }
        Vec::new()
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
                let is_new = !together.iter().any(|one| one.number() == other.number());
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
        is_oldest(together.iter().copied(), &self.manifest.segments)
    }
}

/// Whether a segment stays for some time yet, because a rule has changed.
pub(super) fn is_held(entry: &SegmentEntry, clock: &Clock) -> bool {
    u128::from(entry.held) > clock.running().as_nanos()
}
