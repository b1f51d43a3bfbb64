//! Which series a snapshot has.
//!
//! Each segment has its names in order, so opening a store walks over none of them. Only what segments do not say is
//! kept here. A set of all series is made when it is first asked for, and kept up to date from then on.

use std::collections::{BTreeSet, HashSet};
use std::ops::Bound;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};

use dotter_dot::SeriesName;

use crate::read::names::names_of;
use crate::read::segment::Segment;
use crate::read::snapshot::Inner;

/// The names of series, as far as segments do not say them.
#[derive(Clone, Default)]
pub(crate) struct SeriesNames {
    /// The series in the live log.
    head: Arc<BTreeSet<SeriesName>>,
    /// The series in segments or the live log of which tombstones hide every dot. Made when all series are first
    /// asked for: it compares every name with every tombstone.
    gone: OnceLock<Arc<BTreeSet<SeriesName>>>,
    /// All series, made when they are first asked for.
    all: OnceLock<Arc<BTreeSet<SeriesName>>>,
}

impl SeriesNames {
    /// The names for a view that reads the list anew: those of segments are kept, those of the log are dropped.
    pub(crate) fn without_head(&self) -> SeriesNames {
        SeriesNames { head: Arc::default(), ..self.clone() }
    }

    /// Adds a series that has a new dot in the live log.
    pub(crate) fn add(&mut self, name: &SeriesName) {
        for names in std::iter::once(&mut self.head).chain(self.all.get_mut()) {
            if !names.contains(name) {
                Arc::make_mut(names).insert(name.clone());
            }
        }
        self.back(name.as_str());
    }

    /// Adds the series of segments that were not open before.
    pub(crate) fn add_segments(&mut self, segments: &[Arc<Segment>], open: &[Arc<Segment>]) {
        if self.all.get().is_none() && self.gone.get().is_none_or(|gone| gone.is_empty()) {
            return;
        }
        let open: HashSet<*const Segment> = open.iter().map(Arc::as_ptr).collect();
        for segment in segments.iter().filter(|segment| !open.contains(&Arc::as_ptr(segment))) {
            names_of([&**segment], "", |name| {
                if let Some(all) = self.all.get_mut()
                    && !all.contains(name)
                    && let Ok(name) = SeriesName::new(name)
                {
                    Arc::make_mut(all).insert(name);
                }
                self.back(name);
            });
        }
    }

    /// Notes that a series of which all dots were hidden has a dot again.
    fn back(&mut self, name: &str) {
        if let Some(gone) = self.gone.get_mut()
            && gone.contains(name)
        {
            Arc::make_mut(gone).remove(name);
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
        let is_gone = || names.gone.get().map_or_else(|| self.is_gone(name), |gone| gone.contains(name));
        (has_dots || has_steps()) && !is_gone()
    }

    /// Forgets which series there are, since some may have lost their last dot; they are looked up again when asked
    /// for.
    pub(crate) fn forget_series(&mut self) {
        self.names.all = OnceLock::new();
        self.names.gone = OnceLock::new();
    }

    /// Looks up the series whose names begin with `prefix` in segments and live log; sorted.
    fn look_up(&self, prefix: &str) -> Vec<SeriesName> {
        let gone = self.names.gone.get_or_init(|| Arc::new(self.gone()));
        let mut names = Vec::new();
        let damaged = names_of(self.all_segments(), prefix, |name| {
            if !gone.contains(name) {
                names.extend(SeriesName::new(name));
            }
        });
        // Relaxed: a count that nothing else depends on.
        self.damage.chunks.fetch_add(damaged, Relaxed);
        let head = beginning(&self.names.head, prefix);
        names.extend(head.filter(|name| !gone.contains(*name)).cloned());
        if !names.is_sorted_by(|before, name| before < name) {
            names.sort();
            names.dedup();
        }
        names
    }

    /// The series in segments and the live log of which tombstones hide every dot.
    fn gone(&self) -> BTreeSet<SeriesName> {
        let mut gone = BTreeSet::new();
        if self.manifest.tombstones.is_empty() {
            return gone;
        }
        let mut look = |name: &str| {
            if self.is_gone(name) {
                gone.extend(SeriesName::new(name));
            }
        };
        names_of(self.all_segments(), "", &mut look);
        self.names.head.iter().for_each(|name| look(name.as_str()));
        gone
    }

    /// The segments with dots, then those with steps.
    fn all_segments(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().chain(&self.steps).map(|segment| &**segment)
    }

    /// Whether tombstones hide every dot and every step that the store has of a series.
    fn is_gone(&self, name: &str) -> bool {
        let named = self.manifest.tombstones.iter().any(|tombstone| tombstone.names(name));
        named && self.places(name, true).is_ok_and(|places| places.is_empty()) && !self.has_steps_left(name)
    }

    /// Whether there is a step of a series that no tombstone hides. One that cannot be read counts as there.
    fn has_steps_left(&self, name: &str) -> bool {
        self.steps.iter().any(|segment| {
            let hidden = segment.hidden(&self.manifest.tombstones, name);
            let mut is_left = false;
            let listed = segment.chunks(name, None, |chunk| {
                is_left |= !hidden.covers(chunk.first.nanos(), chunk.last.nanos());
            });
            listed.is_err() || is_left
        })
    }
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
            assert!(snapshot.inner.names.gone.get().is_none(), "names were compared with tombstones");
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
