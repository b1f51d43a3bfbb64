//! Deletes: a tombstone in the list hides dots that were committed before it; a seal or a compaction removes them.
//!
//! Always true:
//!
//! - a tombstone has a place in the order of commits like any other commit, and hides only dots that stand before it
//! - it stays until no segment and no live WAL file can hold a dot that it hides
//! - a seal and a merge leave out the dots that are hidden by then, and count them as deleted

use std::ops::Range;

use dotter_dot::{Column, put_varint};

use crate::format::bytes::{Fields, put_text};
use crate::format::listing::{Order, SegmentEntry};
use crate::format::pattern::Pattern;

/// The most tombstones a store has at a time: each is compared with every series that is read.
pub const TOMBSTONES_MAX: usize = 1024;

/// A delete, as the list keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tombstone {
    pub(crate) order: Order,
    pub(crate) pattern: Pattern,
    pub(crate) first_key: String,
    pub(crate) last_key: Option<String>,
    /// First and last moment, both included.
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// Spans of time: sorted, none of them overlapping or adjacent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spans(Vec<(u64, u64)>);

impl Tombstone {
    /// First and last moment it hides, both included.
    pub(crate) fn span(&self) -> (u64, u64) {
        (self.first, self.last)
    }

    /// Whether it hides dots of this series.
    pub(crate) fn names(&self, name: &str) -> bool {
        *self.first_key <= *name
            && self.last_key.as_ref().is_none_or(|last| name <= last.as_str())
            && self.pattern.matches(name)
    }

    /// Whether it hides every dot that `other` hides, given that it is the later of the two.
    pub(crate) fn says_all_of(&self, other: &Tombstone) -> bool {
        let from = self.first_key <= other.first_key;
        let until = match (&self.last_key, &other.last_key) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(ours), Some(theirs)) => ours >= theirs,
        };
        let pattern = self.pattern.is_all() || self.pattern == other.pattern;
        from && until && pattern && self.first <= other.first && self.last >= other.last
    }

    /// Whether a segment may hold a dot that it hides.
    pub(crate) fn concerns(&self, segment: &SegmentEntry) -> bool {
        segment.order < self.order
            && segment.purged < self.order.generation
            && segment.first_time.nanos() <= self.last
            && self.first <= segment.last_time.nanos()
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.order.sequence);
        put_varint(out, self.order.generation);
        put_text(out, self.pattern.as_str());
        put_text(out, &self.first_key);
        out.push(self.last_key.is_some() as u8);
        put_text(out, self.last_key.as_deref().unwrap_or_default());
        put_varint(out, self.first);
        put_varint(out, self.last - self.first);
    }

    pub(crate) fn decode(fields: &mut Fields<'_>) -> Option<Tombstone> {
        let order = Order { sequence: fields.varint()?, generation: fields.varint()? };
        let pattern = Pattern::new(fields.text()?);
        let first_key = fields.text()?.to_owned();
        let is_bounded = fields.byte()? == 1;
        let last_key = Some(fields.text()?.to_owned()).filter(|_| is_bounded);
        let first = fields.varint()?;
        let last = first.checked_add(fields.varint()?)?;
        Some(Tombstone { order, pattern, first_key, last_key, first, last })
    }
}

/// The spans of time in which dots of a series are hidden that were committed at `order`.
///
/// - `purged`: the number of the last edit whose tombstones have been applied to these dots already
pub(crate) fn hidden(tombstones: &[Tombstone], name: &str, order: Order, purged: u64) -> Spans {
    let mut spans = Spans::default();
    for tombstone in tombstones {
        if order < tombstone.order && purged < tombstone.order.generation && tombstone.names(name) {
            spans.add(tombstone.first, tombstone.last);
        }
    }
    spans
}

impl Spans {
    /// Adds the span from `first` to `last`, both included.
    pub(crate) fn add(&mut self, first: u64, last: u64) {
        let from = self.0.partition_point(|span| span.1.saturating_add(1) < first);
        let until = self.0.partition_point(|span| span.0 <= last.saturating_add(1));
        let (mut first, mut last) = (first, last);
        if from < until {
            first = first.min(self.0[from].0);
            last = last.max(self.0[until - 1].1);
        }
        self.0.splice(from..until, [(first, last)]);
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Calls `each` with the first and last moment of every span.
    pub(crate) fn each(&self, mut each: impl FnMut(u64, u64)) {
        self.0.iter().for_each(|(first, last)| each(*first, *last));
    }

    /// The parts of `from..until` outside of the spans, as half-open ranges.
    pub(crate) fn gaps(&self, from: u64, until: u64) -> Vec<(u64, u64)> {
        let mut gaps = Vec::new();
        let mut start = from;
        let at = self.0.partition_point(|span| span.1 < from);
        for (first, last) in self.0[at..].iter().take_while(|span| span.0 < until) {
            if start < *first {
                gaps.push((start, *first));
            }
            start = last.saturating_add(1);
        }
        if start < until {
            gaps.push((start, until));
        }
        gaps
    }

    /// Whether a moment lies in a span.
    pub(crate) fn contains(&self, time: u64) -> bool {
        self.covers(time, time)
    }

    /// Whether every moment from `first` to `last` lies in a span.
    pub(crate) fn covers(&self, first: u64, last: u64) -> bool {
        let at = self.0.partition_point(|span| span.1 < first);
        self.0.get(at).is_some_and(|span| span.0 <= first && last <= span.1)
    }

    /// Whether any moment from `first` to `last` lies in a span.
    pub(crate) fn meets(&self, first: u64, last: u64) -> bool {
        let at = self.0.partition_point(|span| span.1 < first);
        self.0.get(at).is_some_and(|span| span.0 <= last)
    }

    /// Removes from sorted dots those that lie in a span; returns how many it removed.
    pub(crate) fn remove(&self, dots: &mut Column) -> u64 {
        let (Some(first), Some(last)) = (dots.times().first(), dots.times().last()) else { return 0 };
        if !self.meets(*first, *last) {
            return 0;
        }
        let mut kept = Column::default();
        self.outside(dots.times()).into_iter().for_each(|places| kept.extend(dots, places));
        let removed = dots.len() - kept.len();
        *dots = kept;
        removed as u64
    }

    /// The places of those of the sorted times that lie outside of the spans, as ranges.
    pub(crate) fn outside(&self, times: &[u64]) -> Vec<Range<usize>> {
        let mut kept = Vec::new();
        let mut start = 0;
        for (first, last) in &self.0 {
            let from = start + times[start..].partition_point(|time| time < first);
            let until = from + times[from..].partition_point(|time| time <= last);
            if start < from {
                kept.push(start..from);
            }
            start = until;
        }
        if start < times.len() {
            kept.push(start..times.len());
        }
        kept
    }
}

#[cfg(test)]
pub(crate) mod tests {

    use proptest::prelude::*;

    use super::*;

    pub(crate) fn tombstone(
        pattern: &str,
        keys: (&str, Option<&str>),
        times: (u64, u64),
        generation: u64,
    ) -> Tombstone {
        Tombstone {
            order: Order { sequence: 7, generation },
            pattern: Pattern::new(pattern),
            first_key: keys.0.to_owned(),
            last_key: keys.1.map(str::to_owned),
            first: times.0,
            last: times.1,
        }
    }

    #[test]
    fn a_tombstone_hides_what_stands_before_it_and_not_what_stands_behind() {
        let all =
            [tombstone("a%", ("", None), (10, 19), 5), tombstone("%", ("b", Some("c")), (0, u64::MAX), 6)];
        let at = |name, sequence, generation| hidden(&all, name, Order { sequence, generation }, 0);
        assert_eq!(at("a.x", 7, 4), Spans(vec![(10, 19)]));
        assert_eq!(at("a.x", 7, 0), Spans(vec![(10, 19)]));
        assert!(at("a.x", 7, 5).is_empty() && at("a.x", 8, 0).is_empty());
        assert_eq!(at("b.x", 7, 5), Spans(vec![(0, u64::MAX)]));
        assert_eq!(at("c", 1, 0), Spans(vec![(0, u64::MAX)]));
        assert!(at("c.x", 1, 0).is_empty());
        assert!(hidden(&all, "a.x", Order::default(), 5).is_empty());
    }

    #[test]
    fn a_later_tombstone_takes_the_place_of_one_it_says_all_of() {
        let small = tombstone("a%", ("b", Some("c")), (10, 19), 5);
        for (later, expected) in [
            (tombstone("a%", ("b", Some("c")), (10, 19), 6), true),
            (tombstone("%", ("", None), (0, 30), 6), true),
            (tombstone("a%", ("b", None), (11, 30), 6), false),
            (tombstone("a%", ("bb", None), (0, 30), 6), false),
            (tombstone("b%", ("", None), (0, 30), 6), false),
            (tombstone("a%", ("", Some("bz")), (0, 30), 6), false),
        ] {
            assert_eq!(later.says_all_of(&small), expected, "{later:?}");
        }
    }

    #[test]
    fn a_tombstone_round_trips_and_rubbish_is_refused() {
        for tombstone in
            [tombstone("a%", ("b", Some("c")), (10, 19), 5), tombstone("%", ("", None), (0, u64::MAX), 1)]
        {
            let mut bytes = Vec::new();
            tombstone.encode(&mut bytes);
            assert_eq!(Tombstone::decode(&mut Fields(&bytes)), Some(tombstone));
            for length in 0..bytes.len() {
                assert_eq!(Tombstone::decode(&mut Fields(&bytes[..length])), None);
            }
        }
    }

    proptest! {
        #[test]
        fn spans_hold_what_was_added(
            added in prop::collection::vec((0..60_u64, 0..10_u64), 0..12),
            mut times in prop::collection::vec(0..80_u64, 0..40),
        ) {
            let mut spans = Spans::default();
            added.iter().for_each(|(first, length)| spans.add(*first, first + length));
            let plainly = |time: u64| added.iter().any(|(first, length)| (*first..=first + length).contains(&time));
            prop_assert!(spans.0.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
            for first in 0..80 {
                prop_assert_eq!(spans.contains(first), plainly(first));
                for last in first..80 {
                    prop_assert_eq!(spans.covers(first, last), (first..=last).all(plainly));
                    prop_assert_eq!(spans.meets(first, last), (first..=last).any(plainly));
                }
            }
            for from in 0..80 {
                let until = from + 20;
                let gaps = spans.gaps(from, until);
                for time in from..until {
                    prop_assert_eq!(gaps.iter().any(|gap| (gap.0..gap.1).contains(&time)), !plainly(time));
                }
                prop_assert!(gaps.iter().all(|gap| from <= gap.0 && gap.0 < gap.1 && gap.1 <= until));
            }
            times.sort_unstable();
            let kept: Vec<u64> =
                spans.outside(&times).into_iter().flat_map(|places| times[places].iter().copied()).collect();
            prop_assert_eq!(kept, times.iter().copied().filter(|time| !plainly(*time)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn spans_reach_both_ends_of_time() {
        let mut spans = Spans::default();
        spans.add(0, 5);
        spans.add(u64::MAX - 1, u64::MAX);
        spans.add(u64::MAX, u64::MAX);
        assert_eq!(spans, Spans(vec![(0, 5), (u64::MAX - 1, u64::MAX)]));
        assert!(spans.contains(0) && spans.contains(u64::MAX) && !spans.contains(6));
    }
}
