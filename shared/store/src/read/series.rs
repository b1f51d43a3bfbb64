//! Which series a snapshot has.
//!
//! Each segment has its names in order, so opening a store walks over none of them. Only what segments do not say is
//! kept here. A set of all series is made when it is first asked for, and kept up to date from then on.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};

use dotter_dot::{Column, SeriesName};

use crate::format::tombstone::Tombstone;
use crate::format::tombstones::Tombstones;
use crate::read::head::HeadPart;
use crate::read::names::names_of;
use crate::read::segment::Segment;
use crate::read::snapshot::Inner;

/// The names of series, as far as segments do not say them.
#[derive(Clone, Default)]
pub(crate) struct SeriesNames {
    /// The series in the live log.
    head: Arc<BTreeSet<SeriesName>>,
    /// All series, made when they are first asked for.
    all: OnceLock<Arc<BTreeSet<SeriesName>>>,
    /// Those of `all` that were added since tombstones were last asked.
    new: Vec<SeriesName>,
}

impl SeriesNames {
    /// The names for a view that reads the list anew: those of segments are kept, those of the log are dropped.
    pub(crate) fn without_head(&self) -> SeriesNames {
        SeriesNames { head: Arc::default(), ..self.clone() }
    }

    /// Adds a series that has a new dot in the live log.
    pub(crate) fn add(&mut self, name: &SeriesName) {
        if !self.head.contains(name) {
            Arc::make_mut(&mut self.head).insert(name.clone());
        }
        self.add_to_all(name.as_str());
    }

    /// Adds the series of segments that were not open before.
    pub(crate) fn add_segments(&mut self, segments: &[Arc<Segment>]) {
        if self.all.get().is_none() {
            return;
        }
        for segment in segments.iter().filter(|segment| !segment.entry().has_steps()) {
            names_of([&**segment], "", |name| self.add_to_all(name));
        }
    }

    fn add_to_all(&mut self, name: &str) {
        if let Some(all) = self.all.get_mut()
            && !all.contains(name)
            && let Ok(name) = SeriesName::new(name)
        {
            self.new.push(name.clone());
            Arc::make_mut(all).insert(name);
        }
    }
}

impl Inner {
    /// Every series.
    pub(crate) fn series(&self) -> &BTreeSet<SeriesName> {
        self.names.all.get_or_init(|| Arc::new(self.look_up("").into_iter().collect()))
    }

    /// The series whose names begin with `prefix`, sorted.
    pub(crate) fn series_with_prefix(&self, prefix: &str) -> Vec<SeriesName> {
        match self.names.all.get() {
            Some(all) => beginning(all, prefix).cloned().collect(),
            None => self.look_up(prefix),
        }
    }

    /// Whether there is such a series.
    pub(crate) fn has_series(&self, name: &str) -> bool {
        let names = &self.names;
        if let Some(all) = names.all.get() {
            return all.contains(name);
        }
        let has_dots = names.head.contains(name) || self.segments.iter().any(|segment| is_in(segment, name));
        let has_steps = || self.steps.iter().any(|segment| is_in(segment, name));
        (has_dots || has_steps()) && !self.is_gone(name)
    }

    /// Forgets which series there are, since some may have lost their last dot; they are looked up again when asked
    /// for.
    pub(crate) fn forget_series(&mut self) {
        (self.names.all, self.names.new) = Default::default();
    }

    /// Leaves out of all series those that tombstones hide by now. Asked are the series that were added, and those that
    /// new tombstones mean.
    ///
    /// - `before`: the tombstones of which every series of before has been asked
    pub(crate) fn ask_tombstones(&mut self, before: &Tombstones) {
        let added = std::mem::take(&mut self.names.new);
        let Some(all) = self.names.all.get() else { return };
        let tombstones = &self.manifest.tombstones;
        let mut asked: BTreeSet<&SeriesName> =
            added.iter().filter(|name| tombstones.mean(name.as_str())).collect();
        let (_, new) = tombstones.since(before);
        new.iter().for_each(|tombstone| asked.extend(meant(all, tombstone)));
        let gone: Vec<SeriesName> =
            asked.into_iter().filter(|name| self.is_gone(name.as_str())).cloned().collect();
        if !gone.is_empty()
            && let Some(all) = self.names.all.get_mut()
        {
            let all = Arc::make_mut(all);
            for name in &gone {
                all.remove(name);
            }
        }
    }

    /// Looks up the series whose names begin with `prefix` in segments and live log; sorted.
    fn look_up(&self, prefix: &str) -> Vec<SeriesName> {
        let mut names = Vec::new();
        let damaged = names_of(self.all_segments(), prefix, |name| names.extend(SeriesName::new(name)));
        // Relaxed: a count that nothing else depends on.
        self.damage.chunks.fetch_add(damaged, Relaxed);
        names.extend(beginning(&self.names.head, prefix).cloned());
        if !names.is_sorted_by(|before, name| before < name) {
            names.sort();
            names.dedup();
        }
        self.leave_out_gone(&mut names);
        names
    }

    /// Removes from sorted names those of which tombstones hide every dot. Only names that a tombstone means are looked
    /// up.
    fn leave_out_gone(&self, names: &mut Vec<SeriesName>) {
        let tombstones = &self.manifest.tombstones;
        let mut asked = BTreeSet::new();
        let mut ask = |from: usize, until: usize, tombstone: &Tombstone| {
            let meant = (from..until).filter(|at| tombstone.names(names[*at].as_str()));
            asked.extend(meant);
        };
        if tombstones.named_count() <= names.len() {
            for tombstone in tombstones.named() {
                if let Ok(at) = names.binary_search_by(|name| name.as_str().cmp(tombstone.first_name())) {
                    ask(at, at + 1, tombstone);
                }
            }
            for tombstone in tombstones.patterns() {
                let from = names.partition_point(|name| name.as_str() < tombstone.first_name());
                let count = names[from..].partition_point(|name| !tombstone.is_behind(name.as_str()));
                ask(from, from + count, tombstone);
            }
        } else {
            asked.extend((0..names.len()).filter(|at| tombstones.mean(names[*at].as_str())));
        }
        asked.retain(|at| self.is_gone(names[*at].as_str()));
        if !asked.is_empty() {
            let mut index = 0..;
            names.retain(|_| index.next().is_none_or(|at| !asked.contains(&at)));
        }
    }

    /// The segments with dots, then those with steps.
    fn all_segments(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().chain(self.steps.iter()).map(|segment| &**segment)
    }

    /// Whether tombstones hide every dot and every step that the store has of a series.
    fn is_gone(&self, name: &str) -> bool {
        #[cfg(test)]
        NAMES_ASKED.set(NAMES_ASKED.get() + 1);
        self.manifest.tombstones.mean(name)
            && !self.head.iter().any(|part| self.is_left_of_part(part, name))
            && !self.segments.iter().any(|segment| self.is_left_of_segment(segment, name))
            && !self.steps.iter().any(|segment| self.is_left_of_segment(segment, name))
    }

    /// Whether a part of the live log has a dot of a series that no tombstone hides.
    fn is_left_of_part(&self, part: &HeadPart, name: &str) -> bool {
        let Some(series) = part.get(name) else { return false };
        let hidden = part.hidden(&self.manifest.tombstones, name);
        let mut times = [false, true].into_iter().flat_map(|clock| series.run(clock).times());
        !hidden.covers(series.first, series.last) && times.any(|time| !hidden.contains(*time))
    }

    /// Whether a segment has a dot or a step of a series that no tombstone hides. Where its key block cannot be read it
    /// counts as there; a chunk that cannot be read has none.
    fn is_left_of_segment(&self, segment: &Segment, name: &str) -> bool {
        let hidden = segment.hidden(&self.manifest.tombstones, name);
        let (mut is_left, mut partly) = (false, Vec::new());
        let listed = segment.chunks(name, None, |chunk| {
            let (first, last) = (chunk.first.nanos(), chunk.last.nanos());
            if !hidden.meets(first, last) {
                is_left = true;
            } else if !hidden.covers(first, last) {
                partly.push(chunk);
            }
        });
        let has_left = |chunk| {
            let mut dots = Column::default();
            let read = segment.read(chunk, &mut dots);
            read.is_ok() && dots.times().iter().any(|time| !hidden.contains(*time))
        };
        listed.is_err() || is_left || partly.iter().any(has_left)
    }
}

/// Those of some series that a tombstone means.
fn meant<'a>(
    names: &'a BTreeSet<SeriesName>,
    tombstone: &'a Tombstone,
) -> impl Iterator<Item = &'a SeriesName> {
    let from = (Bound::Included(tombstone.first_name()), Bound::Unbounded);
    let names = names.range::<str, _>(from).take_while(|name| !tombstone.is_behind(name.as_str()));
    names.filter(|name| tombstone.names(name.as_str()))
}

#[cfg(test)]
thread_local! {
    /// How many series this thread has looked up because of tombstones.
    static NAMES_ASKED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Whether a segment has a series. Where its key block cannot be read, the series counts as there.
fn is_in(segment: &Segment, name: &str) -> bool {
    segment.has(name).unwrap_or(true)
}

fn beginning<'a>(names: &'a BTreeSet<SeriesName>, prefix: &'a str) -> impl Iterator<Item = &'a SeriesName> {
    let from = (Bound::Included(prefix), Bound::Unbounded);
    names.range::<str, _>(from).take_while(move |name| name.as_str().starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use dotter_dot::{TimeRange, Timestamp};

    use super::*;
    use crate::{Deletion, Pattern, Reader, Snapshot, Writer};

    /// What a snapshot says of series before anybody has asked for all of them, and after.
    fn check(snapshot: &Snapshot, expected: &[&str]) {
        for _ in 0..2 {
            for prefix in ["", "b", "b.", "x"] {
                let found = snapshot.series_with_prefix(prefix);
                let named = expected.iter().filter(|name| name.starts_with(prefix));
                assert!(found.iter().map(|name| name.as_str()).eq(named.copied()), "{prefix}: {found:?}");
            }
            for name in ["a", "b", "b.c", "b.d", "c"] {
                assert_eq!(snapshot.contains(name), expected.contains(&name), "{name}");
            }
            assert_eq!(snapshot.stat().series, expected.len() as u64);
        }
    }

    #[test]
    fn series_are_the_same_looked_up_or_listed() {
        let dir = tempfile::tempdir().unwrap();
        let add = |names: &[&str], time: u64| {
            let row = |name: &&str| (SeriesName::new(name).unwrap(), Timestamp::from_nanos(time), 1.0);
            crate::add(dir.path(), names.iter().map(row).collect::<Vec<_>>()).unwrap();
        };
        add(&["b", "a"], 1);
        add(&["b.c", "b"], 2);
        drop(Writer::open(dir.path()).unwrap());
        crate::seal_all(dir.path(), &|| false).unwrap();
        add(&["b.d", "b"], 3);
        let opened = || Reader::open(dir.path()).unwrap();
        let (mut listed, mut looked_up) = (opened(), opened());
        check(&listed.snapshot(), &["a", "b", "b.c", "b.d"]);
        let b =
            Deletion { pattern: Pattern::new("b"), first_key: None, last_key: None, range: TimeRange::ALL };
        crate::delete(dir.path(), &b).unwrap();
        for reader in [&mut listed, &mut looked_up, &mut opened()] {
            reader.refresh(None).unwrap();
            check(&reader.snapshot(), &["a", "b.c", "b.d"]);
        }
        add(&["b", "c"], 4);
        for reader in [&mut listed, &mut looked_up, &mut opened()] {
            reader.refresh(None).unwrap();
            check(&reader.snapshot(), &["a", "b", "b.c", "b.d", "c"]);
        }
    }

    #[test]
    fn only_names_that_a_tombstone_means_are_looked_up_and_after_a_refresh_only_new_ones() {
        let dir = tempfile::tempdir().unwrap();
        let add = |numbers: std::ops::Range<u64>| {
            let name = |number| SeriesName::new(&format!("s.{number:04}")).unwrap();
            let row = |number| (name(number), Timestamp::from_nanos(number), 1.0);
            crate::add(dir.path(), numbers.map(row).collect::<Vec<_>>()).unwrap();
        };
        let delete = |pattern: &str| {
            let pattern = Pattern::new(pattern);
            let range = TimeRange::ALL;
            let deletion = Deletion { pattern, first_key: None, last_key: None, range };
            crate::delete(dir.path(), &deletion).unwrap();
        };
        let check = |reader: &Reader, expected: usize, asked: u64| {
            let snapshot = reader.snapshot();
            let found = snapshot.series().len();
            assert_eq!((found, NAMES_ASKED.take()), (expected, asked));
            assert_eq!(snapshot.inner.look_up("").len(), expected, "looked up anew");
            NAMES_ASKED.take();
        };
        let open = || {
            NAMES_ASKED.take();
            Reader::open(dir.path()).unwrap()
        };
        add(0..1000);
        (0..5).for_each(|number| delete(&format!("s.{:04}", number * 100)));
        delete("s.000%");
        delete("other.%");
        let mut reader = open();
        assert_eq!(NAMES_ASKED.take(), 0);
        // Four by name, and ten of a pattern.
        check(&reader, 986, 14);
        let refreshed = |reader: &mut Reader| {
            NAMES_ASKED.take();
            assert!(reader.refresh(None).unwrap());
        };
        // One of those that were deleted is there again, and so is a new one.
        add(400..401);
        add(1000..1001);
        refreshed(&mut reader);
        check(&reader, 988, 1);
        delete("s.0999");
        refreshed(&mut reader);
        check(&reader, 987, 1);
        check(&open(), 987, 16 - 1);
        // Deletes of which nothing is left are asked no more.
        crate::compact_major(dir.path(), &|| false, &|_, _| ()).unwrap();
        refreshed(&mut reader);
        check(&reader, 987, 0);
    }

    #[test]
    fn whether_a_series_is_there_is_found_out_without_a_walk_over_all() {
        let dir = tempfile::tempdir().unwrap();
        let add = |names: &[&str], time: u64| {
            let row = |name: &&str| (SeriesName::new(name).unwrap(), Timestamp::from_nanos(time), 1.0);
            crate::add(dir.path(), names.iter().map(row).collect::<Vec<_>>()).unwrap();
        };
        add(&["a", "b"], 1);
        let b =
            Deletion { pattern: Pattern::new("b"), first_key: None, last_key: None, range: TimeRange::ALL };
        let mut reader = Reader::open(dir.path()).unwrap();
        let check = |snapshot: &Snapshot, there: &[&str], not_there: &[&str]| {
            assert!(there.iter().all(|name| snapshot.contains(name)), "{there:?}");
            assert!(!not_there.iter().any(|name| snapshot.contains(name)), "{not_there:?}");
            assert!(snapshot.inner.names.all.get().is_none(), "all names were looked up");
        };
        check(&reader.snapshot(), &["a", "b"], &["c"]);
        crate::delete(dir.path(), &b).unwrap();
        for reader in [&mut reader, &mut Reader::open(dir.path()).unwrap()] {
            reader.refresh(None).unwrap();
            check(&reader.snapshot(), &["a"], &["b", "c"]);
        }
        add(&["b", "c"], 2);
        reader.refresh(None).unwrap();
        check(&reader.snapshot(), &["a", "b", "c"], &["d"]);
    }
}
