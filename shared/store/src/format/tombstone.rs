//! Deletes: a tombstone in the list hides dots that were committed before it; a seal or a compaction removes them.
//!
//! Always true:
//!
//! - a tombstone has a place in the order of commits like any other commit, and hides only dots that stand before it
//! - it stays until no segment and no live WAL file can hold a dot that it hides
//! - a seal and a merge leave out the dots that are hidden by then, and count them as deleted
//! - a step of an archive that is only partly inside stays, unless the delete was one with `purge`

use std::time::Duration;

use dotter_dot::{Timestamp, put_varint};

use crate::format::bytes::{Fields, put_text};
use crate::format::listing::{Order, SegmentEntry};
use crate::format::pattern::Pattern;
use crate::format::spans::Spans;
use crate::format::tombstones::Tombstones;

/// What a tombstone hides is written anew when the tombstone is so old, where nothing else has done it before. So its
/// bytes are gone within a day.
pub(crate) const PURGE_AGE: Duration = Duration::from_secs(20 * 3600);
/// A later tombstone that says the same takes the place of one that is younger than this, and its age.
const JOIN_AGE: Duration = Duration::from_secs(4 * 3600);

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
    /// Whether steps of archives go too that lie only partly between `first` and `last`.
    pub(crate) purge: bool,
    /// By the wall clock, when the first of the deletes was committed that it stands for.
    pub(crate) made: Timestamp,
    /// The number of the edit that lists it: that of its order, but for a rename, whose place in the order is an earlier one.
    pub(crate) edit: u64,
    /// The name that the dots have now, where a rename hides them under this one; else empty.
    pub(crate) renamed: String,
}

impl Tombstone {
    /// Whether it is one of a rename.
    pub(crate) fn is_rename(&self) -> bool {
        !self.renamed.is_empty()
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
        let steps = self.purge || !other.purge;
        from && until && pattern && steps && self.first <= other.first && self.last >= other.last
    }

    /// Whether it takes the place of an earlier one that says no more than this one does. It then becomes as old as that.
    ///
    /// One that is much older than this one stays: if a program deleted the same again and again, what it hides would
    /// otherwise be written anew each time, or never.
    pub(crate) fn takes_place_of(&self, before: &Tombstone) -> bool {
        // Whoever follows the store is to be told of a rename, whatever was deleted since.
        self.says_all_of(before) && before.age(self.made) < JOIN_AGE && !before.is_rename()
    }

    /// Whether what it hides is to be written anew now, so that its bytes go.
    ///
    /// - `now`: what the wall clock shows
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.age(now) >= PURGE_AGE
    }

    /// How far the wall clock has gone since. Where it has been set back, how far it is behind: a tombstone of the
    /// year 2100 becomes due like any other.
    fn age(&self, now: Timestamp) -> Duration {
        Duration::from_nanos(now.nanos().abs_diff(self.made.nanos()))
    }

    /// Whether a segment may hold a dot that it hides.
    pub(crate) fn concerns(&self, segment: &SegmentEntry) -> bool {
        segment.order < self.order
            && segment.purged < self.edit
            && self.meets(segment.first_time, segment.last_time, segment)
    }

    /// Whether dots or steps of a segment with times from `first` to `last` may lie in its span. The last step of an
    /// archive reaches beyond its time.
    pub(crate) fn meets(&self, first: Timestamp, last: Timestamp, segment: &SegmentEntry) -> bool {
        let step = segment.place.map_or(Duration::ZERO, |place| place.tier.step);
        first.nanos() <= self.last && self.first <= last.nanos().saturating_add(beyond(step))
    }

    /// A name before which it means no series.
    pub(crate) fn first_name(&self) -> &str {
        self.pattern.prefix().max(&self.first_key)
    }

    /// Whether it means no series from this name on, which is not before [`Tombstone::first_name`].
    pub(crate) fn is_behind(&self, name: &str) -> bool {
        self.last_key.as_ref().is_some_and(|last| last.as_str() < name)
            || name > self.pattern.prefix() && !name.starts_with(self.pattern.prefix())
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
        out.push(self.purge as u8);
        put_varint(out, self.made.nanos());
        put_varint(out, self.edit);
        put_text(out, &self.renamed);
    }

    pub(crate) fn decode(fields: &mut Fields<'_>) -> Option<Tombstone> {
        let Told { order, pattern, first_key, last_key, first, last, purge, made, edit, renamed } =
            Told::decode(fields)?;
        let (pattern, first_key) = (Pattern::new(pattern), first_key.to_owned());
        let last_key = last_key.map(str::to_owned);
        let renamed = renamed.to_owned();
        Some(Tombstone { order, pattern, first_key, last_key, first, last, purge, made, edit, renamed })
    }

    /// Whether it hides anything that was committed at `order` and purged up to an edit, of a series that it means.
    fn is_behind_commit(&self, order: Order, purged: u64) -> bool {
        order < self.order && purged < self.edit
    }
}

/// The fields of a [`Tombstone`] as they stand in the list.
pub(crate) struct Told<'a> {
    pub(crate) order: Order,
    pub(crate) pattern: &'a str,
    first_key: &'a str,
    last_key: Option<&'a str>,
    first: u64,
    last: u64,
    purge: bool,
    made: Timestamp,
    edit: u64,
    renamed: &'a str,
}

impl<'a> Told<'a> {
    /// Reads what [`Tombstone::encode`] wrote. `None` where it makes no sense.
    pub(crate) fn decode(fields: &mut Fields<'a>) -> Option<Told<'a>> {
        let order = Order { sequence: fields.varint()?, generation: fields.varint()? };
        let (pattern, first_key) = (fields.text()?, fields.text()?);
        let is_bounded = fields.byte()? == 1;
        let last_key = Some(fields.text()?).filter(|_| is_bounded);
        let first = fields.varint()?;
        let last = first.checked_add(fields.varint()?)?;
        let purge = fields.byte()? == 1;
        let made = Timestamp::from_nanos(fields.varint()?);
        let (edit, renamed) = (fields.varint()?, fields.text()?);
        Some(Told { order, pattern, first_key, last_key, first, last, purge, made, edit, renamed })
    }
}

/// How many nanoseconds lie between the first and the last moment of a step; none where there is no step.
fn beyond(step: Duration) -> u64 {
    u64::try_from(step.as_nanos()).unwrap_or(u64::MAX).saturating_sub(1)
}

/// The spans of time in which dots of a series are hidden that were committed at `order`.
///
/// - `purged`: the number of the last edit whose tombstones have been applied to these dots already
pub(crate) fn hidden(tombstones: &Tombstones, name: &str, order: Order, purged: u64) -> Spans {
    if tombstones.is_empty() { Spans::default() } else { hidden_by(tombstones.of(name), order, purged) }
}

/// As [`hidden`], by tombstones that mean the series.
pub(crate) fn hidden_by<'a>(
    tombstones: impl Iterator<Item = &'a Tombstone>,
    order: Order,
    purged: u64,
) -> Spans {
    let mut spans = Spans::default();
    for tombstone in tombstones.filter(|tombstone| tombstone.is_behind_commit(order, purged)) {
        spans.add(tombstone.first, tombstone.last);
    }
    spans
}

/// As [`hidden_by`], for steps of an archive: the spans in which steps *begin* that are hidden.
///
/// - `step`: the width of a step, in nanoseconds. A step ends just before the next one, the last one of all with time
///   itself.
///
/// A step is hidden if all of it lies in the spans of [`hidden`], or if any of it lies in the span of a tombstone with
/// `purge`.
pub(crate) fn hidden_steps_by<'a>(
    tombstones: impl Iterator<Item = &'a Tombstone> + Clone,
    order: Order,
    purged: u64,
    step: u64,
) -> Spans {
    let beyond = step.saturating_sub(1);
    let mut spans = Spans::default();
    hidden_by(tombstones.clone(), order, purged).each(|first, last| {
        let last_start = if last == u64::MAX { Some(last) } else { last.checked_sub(beyond) };
        if let Some(last_start) = last_start.filter(|last| first <= *last) {
            spans.add(first, last_start);
        }
    });
    let purging = tombstones.filter(|tombstone| tombstone.purge);
    for tombstone in purging.filter(|tombstone| tombstone.is_behind_commit(order, purged)) {
        spans.add(tombstone.first.saturating_sub(beyond), tombstone.last);
    }
    spans
}

#[cfg(test)]
pub(crate) mod tests {

    use proptest::prelude::*;

    use super::*;
    use crate::format::place::{Place, Tier};

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
            purge: false,
            made: Timestamp::from_nanos(1_800_000_000_000_000_000 + generation),
            edit: generation,
            renamed: String::new(),
        }
    }

    #[test]
    fn a_tombstone_hides_what_stands_before_it_and_not_what_stands_behind() {
        let all: Tombstones =
            [tombstone("a%", ("", None), (10, 19), 5), tombstone("%", ("b", Some("c")), (0, u64::MAX), 6)]
                .into_iter()
                .collect();
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
        let purge =
            |generation| Tombstone { purge: true, ..tombstone("a%", ("b", Some("c")), (10, 19), generation) };
        assert!(purge(6).says_all_of(&small) && purge(6).says_all_of(&purge(5)));
        let later = tombstone("%", ("", None), (0, 30), 6);
        assert!(!later.says_all_of(&purge(5)), "it leaves steps that are partly inside");
    }

    #[test]
    fn deletes_of_the_same_are_one_tombstone_for_a_while_and_it_is_as_old_as_the_first() {
        const MINUTE: u64 = 60_000_000_000;
        let start = 1_000_000 * MINUTE;
        for pattern in ["a%", "a", "%"] {
            let mut list = Tombstones::default();
            for minute in 0..60 * 24 {
                let made = Timestamp::from_nanos(start + minute * MINUTE);
                let mut new = Tombstone { made, ..tombstone(pattern, ("", None), (0, 9), minute) };
                list.join(&mut new);
                list.push(new);
            }
            let made: Vec<u64> = list.iter().map(|one| (one.made.nanos() - start) / MINUTE).collect();
            assert_eq!(made, [0, 240, 480, 720, 960, 1200]);
            let list: Vec<&Tombstone> = list.iter().collect();
            let due = |minute| list[0].is_due(Timestamp::from_nanos(start + minute * MINUTE));
            assert!(!due(20 * 60 - 1) && due(20 * 60));
            let set_back = Timestamp::from_nanos(start - 20 * 60 * MINUTE);
            assert!(list[0].is_due(set_back), "the clock was wrong when it was made");
        }
    }

    #[test]
    fn a_tombstone_concerns_the_last_step_of_a_segment_to_its_end() {
        let at = |step: u64, last_time: u64| SegmentEntry {
            last_time: Timestamp::from_nanos(last_time),
            place: Some(Place {
                tier: Tier { step: Duration::from_nanos(step), ..Tier::default() },
                ..Place::default()
            }),
            ..SegmentEntry::default()
        };
        let one = tombstone("a", ("", None), (10, 19), 5);
        for (step, last_time, expected) in
            [(0, 10, true), (0, 9, false), (1, 9, false), (2, 9, true), (10, 1, true), (10, 0, false)]
        {
            assert_eq!(one.concerns(&at(step, last_time)), expected, "{step} {last_time}");
        }
    }

    #[test]
    fn a_tombstone_round_trips_and_rubbish_is_refused() {
        for tombstone in [
            tombstone("a%", ("b", Some("c")), (10, 19), 5),
            tombstone("%", ("", None), (0, u64::MAX), 1),
            Tombstone { purge: true, made: Timestamp::MAX, edit: 9, ..tombstone("", ("", None), (0, 0), 0) },
            Tombstone { renamed: "b".to_owned(), ..tombstone("a", ("", None), (0, u64::MAX), 3) },
        ] {
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
            times.sort_unstable();
            let kept: Vec<u64> =
                spans.outside(&times).into_iter().flat_map(|places| times[places].iter().copied()).collect();
            prop_assert_eq!(kept, times.iter().copied().filter(|time| !plainly(*time)).collect::<Vec<_>>());
        }
    }

    proptest! {
        #[test]
        fn names_before_the_first_and_from_one_behind_on_are_not_meant(
            pattern in "[a-c%]{0,4}",
            first in "[a-c]{0,3}",
            last in prop::option::of("[a-c]{0,3}"),
            mut names in prop::collection::vec("[a-c]{1,4}", 0..40),
        ) {
            let one = tombstone(&pattern, (&first, last.as_deref()), (0, 9), 5);
            names.sort_unstable();
            let from = names.partition_point(|name| name.as_str() < one.first_name());
            let until = names[from..].iter().position(|name| one.is_behind(name));
            let until = until.map_or(names.len(), |count| from + count);
            for (index, name) in names.iter().enumerate() {
                prop_assert!((from..until).contains(&index) || !one.names(name), "{}", name);
            }
        }

        #[test]
        fn a_step_is_hidden_where_all_of_it_is_or_a_purge_meets_it(
            deleted in prop::collection::vec((0..60_u64, 0..20_u64, any::<bool>()), 0..8),
            step in 0..12_u64,
            at_the_end in any::<bool>(),
        ) {
            // The same at both ends of time.
            let base = if at_the_end { u64::MAX - 79 } else { 0 };
            let tombstones: Vec<Tombstone> = deleted.iter().map(|(first, length, purge)| {
                Tombstone { purge: *purge, ..tombstone("%", ("", None), (base + first, base + first + length), 5) }
            }).collect();
            let spans = hidden_steps_by(tombstones.iter(), Order::default(), 0, step);
            for start in base..=base + 79 {
                let moments = || start..=start.saturating_add(step.saturating_sub(1));
                let in_one = |moment: u64, one: &Tombstone| (one.first..=one.last).contains(&moment);
                let is_covered = moments().all(|moment| tombstones.iter().any(|one| in_one(moment, one)));
                let is_purged = moments()
                    .any(|moment| tombstones.iter().any(|one| one.purge && in_one(moment, one)));
                prop_assert_eq!(spans.contains(start), is_covered || is_purged, "{}", start - base);
            }
            prop_assert!(hidden_steps_by(tombstones.iter(), Order::default(), 5, step).is_empty());
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
