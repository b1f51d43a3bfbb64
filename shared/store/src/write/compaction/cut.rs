//! Cutting the dots of a merge apart: by the tier of their series, by how long a change of the rules holds the series, and by
//! the window of their time.
//!
//! Always true: a dot belongs to one slot, and the slots of a tier follow each other in time, that of late dots first.
//! So of each tier the slots of one pass are one stretch of time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use dotter_dot::{Column, SeriesName, Timestamp};

use crate::error::Error;
use crate::format::place::{Place, Tier, Window, nanos};
use crate::format::rules::Rules;
use crate::read::segment::Segment;
use crate::write::compaction::walks::Walks;

/// The most slots of one merge. Where its dots lie in more windows, windows are made wider.
const SLOTS_MAX: usize = 256;
/// How many windows ahead of the wall clock each have a slot; what lies behind them, as wrong times do, has one. When the
/// clock has come that far, it is cut again.
pub(crate) const AHEAD_MAX: u64 = 8;
/// The most windows of a tier that are counted one by one.
const WINDOWS_MAX: usize = 4096;

/// By what dots, or steps, are cut apart.
#[derive(Clone, Copy)]
pub(super) struct Sorting<'a, 'b> {
    pub(super) rules: &'a Rules,
    /// The mark of these rules.
    pub(super) mark: u64,
    /// The tier that everything has lain in so far; `None` for what comes from level 0.
    pub(super) tier: Option<Tier>,
    /// What the retention clock shows for what is kept so long; zero where nothing is late.
    pub(super) now: &'b dyn Fn(Duration) -> Timestamp,
    /// The newest reading of the wall clock, from which on windows count as ahead; zero where there is none.
    pub(super) newest: Timestamp,
    /// Running time now, in nanoseconds.
    pub(super) running: u64,
}

/// What the series of a slot have in common: their tier, and until when a change of the rules holds them.
pub(crate) type Sort = (Tier, u64);

impl Sorting<'_, '_> {
    fn sort(&self, name: &str) -> Sort {
        let step = self.tier.map_or(Duration::ZERO, |tier| tier.step);
        (self.rules.tier(name, step), self.rules.held(name, self.running))
    }

    fn windows(&self, (tier, _): Sort) -> Windows {
        Windows::new(&tier, (self.now)(tier.keep), self.newest)
    }

    /// Looks at every series, and notes in `sorts` which windows its dots lie in.
    fn look(
        &self,
        segments: &[Arc<Segment>],
        sorts: &mut BTreeMap<Sort, Windows>,
        cancel: &dyn Fn() -> bool,
    ) -> Result<(), Error> {
        let mut walks = Walks::new(segments)?;
        let (mut wide, mut run) = (Vec::new(), Column::default());
        while let Some(name) = walks.name() {
            if cancel() {
                return Err(Error::GivenUp);
            }
            let sort = self.sort(name.as_str());
            let windows = sorts.entry(sort).or_insert_with(|| self.windows(sort));
            for (index, segment) in segments.iter().enumerate() {
                let Some(series) = walks.at(index) else { continue };
                if windows.take_all(segment) {
                    continue;
                }
                series.chunks(|chunk| {
                    if !windows.take(chunk.first.nanos(), chunk.last.nanos()) {
                        wide.push(chunk);
                    }
                })?;
                for chunk in wide.drain(..) {
                    run.clear();
                    match segment.read(&chunk, &mut run) {
                        Ok(()) => run.times().iter().for_each(|time| _ = windows.take(*time, *time)),
                        // The merge counts its dots as damaged and leaves them out, with the slot of the first.
                        Err(Error::Damaged { .. }) => {
                            windows.take(chunk.first.nanos(), chunk.first.nanos());
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
            walks.pass()?;
        }
        Ok(())
    }
}

/// Where the dots of a slot lie, and how long they are held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) place: Option<Place>,
    pub(crate) held: u64,
}

/// The slots of a tier: the time at which each begins, and its number among all slots. The first begins at zero, but
/// for those of a fold, where nothing is left of what is earlier.
pub(crate) type Slots = Arc<[(u64, usize)]>;

/// Which slots a merge has, each of which becomes a segment, or several where it is large.
pub(crate) enum Cut<'a> {
    /// One, for everything.
    Whole(Held, Slots),
    /// One for each window of each sort.
    Apart(SlotsOf<'a>),
    /// One for each window that steps made from something finer lie in.
    Folded(SlotsOf<'a>),
}

/// The slots of each series, and where each lies.
pub(crate) struct SlotsOf<'a> {
    pub(crate) of: Box<dyn Fn(&str) -> Slots + 'a>,
    pub(crate) places: Vec<Held>,
}

impl<'a> Cut<'a> {
    /// Everything together.
    ///
    /// - `place`: where all of it lies; `None` where it mixes everything
    /// - `held`: how long it is held
    pub(super) fn whole(place: Option<Place>, held: u64) -> Cut<'a> {
        Cut::Whole(Held { place, held }, Arc::new([(0, 0)]))
    }

    /// By tier and window. It looks at all chunks of segments that reach over the end of a window, and decodes those
    /// chunks that do.
    pub(super) fn apart(
        segments: &[Arc<Segment>],
        sorting: Sorting<'a, '_>,
        cancel: &dyn Fn() -> bool,
    ) -> Result<Cut<'a>, Error> {
        let mut sorts: BTreeMap<Sort, Windows> = BTreeMap::new();
        // Without rules all series are of one sort.
        let is_one_sort = sorting.rules.is_empty();
        let mut windows = sorting.windows(sorting.sort(""));
        if is_one_sort && segments.iter().all(|segment| windows.take_all(segment)) {
            sorts.insert(sorting.sort(""), windows);
        } else {
            sorting.look(segments, &mut sorts, cancel)?;
        }
        bound(&mut sorts);
        let mut places = Vec::new();
        let slots =
            sorts.iter().map(|(sort, windows)| (*sort, windows.slots(*sort, sorting.mark, &mut places)));
        let slots: BTreeMap<Sort, Slots> = slots.collect();
        // What late dots are is known by now.
        let Sorting { rules, tier, running, mark, newest, .. } = sorting;
        let of = move |name: &str| {
            let sorting = Sorting { rules, tier, running, mark, newest, now: &|_| Timestamp::MIN };
            slots.get(&sorting.sort(name)).cloned().unwrap_or_else(|| Arc::new([]))
        };
        Ok(Cut::Apart(SlotsOf { of: Box::new(of), places }))
    }

    /// How many slots.
    pub(super) fn len(&self) -> usize {
        match self {
            Cut::Whole(..) => 1,
            Cut::Apart(slots) | Cut::Folded(slots) => slots.places.len(),
        }
    }

    /// Where the dots of a slot lie.
    pub(super) fn place(&self, slot: usize) -> Held {
        match self {
            Cut::Whole(place, _) => *place,
            Cut::Apart(slots) | Cut::Folded(slots) => slots.places[slot],
        }
    }

    /// The slots of a series, of which it may have no dots in some.
    pub(super) fn slots(&self, name: &SeriesName) -> Slots {
        match self {
            Cut::Whole(_, slots) => slots.clone(),
            Cut::Apart(slots) | Cut::Folded(slots) => (slots.of)(name.as_str()),
        }
    }
}

/// The windows of a tier that dots were seen in.
struct Windows {
    width: u64,
    late_before: u64,
    has_late: bool,
    starts: BTreeSet<u64>,
    /// Where the windows begin that lie far ahead; they are one.
    ahead_from: u64,
    has_ahead: bool,
    /// What the retention clock shows.
    now: Timestamp,
}

impl Windows {
    fn new(tier: &Tier, now: Timestamp, newest: Timestamp) -> Windows {
        let width = nanos(tier.width());
        let last = tier.window(newest).last().nanos();
        // Of what is kept for ever no window is waited for, and without a clock nothing lies ahead.
        let has_end = !tier.keep.is_zero() && newest > Timestamp::MIN;
        let ahead = last.saturating_add(width.saturating_mul(AHEAD_MAX)).saturating_add(1);
        Windows {
            width,
            late_before: tier.late_before(now),
            has_late: false,
            starts: BTreeSet::new(),
            ahead_from: if has_end { ahead } else { u64::MAX },
            has_ahead: false,
            now,
        }
    }

    fn start(&self, time: u64) -> u64 {
        if self.width == u64::MAX { 0 } else { time / self.width * self.width }
    }

    /// Notes that there are dots at both times and none outside of them; `false` where a window ends between them.
    fn take(&mut self, first: u64, last: u64) -> bool {
        if last < self.late_before {
            self.has_late = true;
            return true;
        }
        if self.ahead_from <= first {
            self.has_ahead = true;
            return true;
        }
        let start = self.start(first);
        let is_one = self.late_before <= first && start == self.start(last) && last < self.ahead_from;
        if is_one && self.starts.insert(start) && self.starts.len() > WINDOWS_MAX {
            self.widen();
        }
        is_one
    }

    /// As [`Windows::take`], of all dots of a segment: where this gives `true`, none of its chunks needs a look.
    fn take_all(&mut self, segment: &Segment) -> bool {
        let entry = segment.entry();
        self.take(entry.first_time.nanos(), entry.last_time.nanos())
    }

    /// Puts two neighbouring windows together, and so on.
    fn widen(&mut self) {
        self.width = self.width.saturating_mul(2);
        self.starts = std::mem::take(&mut self.starts).into_iter().map(|start| self.start(start)).collect();
    }

    fn len(&self) -> usize {
        self.starts.len() + self.has_late as usize + self.has_ahead as usize
    }

    /// - `mark`: of the rules
    fn slots(&self, (tier, held): Sort, mark: u64, places: &mut Vec<Held>) -> Slots {
        let mut slots = Vec::with_capacity(self.len());
        let mut push = |from: u64, is_late: bool, window: Window| {
            // Before the first slot there are no dots.
            slots.push((if slots.is_empty() { 0 } else { from }, places.len()));
            places.push(Held { place: Some(Place { tier, is_late, window, rules: mark }), held });
        };
        if self.has_late {
            push(0, true, tier.window(self.now));
        }
        for start in &self.starts {
            let window =
                Window { from: Timestamp::from_nanos(*start), width: Duration::from_nanos(self.width) };
            push((*start).max(self.late_before), false, window);
        }
        if self.has_ahead {
            let from = Timestamp::from_nanos(self.ahead_from);
            push(self.ahead_from, false, Window { from, width: Duration::from_nanos(u64::MAX) });
        }
        slots.into()
    }
}

/// Makes windows wider until all sorts together have few enough: first those of what is kept for ever.
fn bound(sorts: &mut BTreeMap<Sort, Windows>) {
    while sorts.values().map(Windows::len).sum::<usize>() > SLOTS_MAX
        && let Some((_, most)) = sorts
            .iter_mut()
            .filter(|(_, windows)| windows.starts.len() > 1)
            .max_by_key(|((tier, _), windows)| (tier.keep.is_zero(), windows.starts.len()))
    {
        most.widen();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: u64 = 3_600_000_000_000;

    fn tier(keep: u64) -> Tier {
        Tier { keep: Duration::from_nanos(keep), ..Tier::default() }
    }

    proptest! {
        #[test]
        fn every_dot_has_one_slot_that_holds_it(
            near in prop::collection::vec(0..90 * 24 * HOUR, 0..40),
            wild in prop::collection::vec(any::<u64>(), 0..300),
            now in 0..90 * 24 * HOUR,
        ) {
            let now = Timestamp::from_nanos(now);
            let times: Vec<u64> = near.into_iter().chain(wild).collect();
            let mut tiers = BTreeMap::new();
            for tier in [tier(0), tier(2 * HOUR), tier(30 * 24 * HOUR)] {
                let windows = tiers.entry((tier, 0)).or_insert_with(|| Windows::new(&tier, now, now));
                times.iter().for_each(|time| assert!(windows.take(*time, *time)));
            }
            bound(&mut tiers);
            let mut places = Vec::new();
            for (sort @ (tier, _), windows) in &tiers {
                let slots = windows.slots(*sort, 0, &mut places);
                prop_assert!(slots.is_sorted_by(|a, b| a.0 < b.0 && a.1 + 1 == b.1));
                prop_assert!(slots.first().is_none_or(|slot| slot.0 == 0));
                for time in &times {
                    let (_, slot) = slots[slots.partition_point(|slot| slot.0 <= *time) - 1];
                    let (place, at) = (places[slot].place.unwrap(), Timestamp::from_nanos(*time));
                    prop_assert!(place.holds(at, at), "{time} {place:?}");
                    prop_assert_eq!(place.is_late, *time < tier.late_before(now));
                    prop_assert!(place.is_late || place.window.width >= tier.width());
                }
            }
            prop_assert!(places.len() <= SLOTS_MAX, "{}", places.len());
        }
    }
}
