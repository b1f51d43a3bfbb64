//! The listings of all live segments, in the order of their commits.

use std::cmp::Ordering;
use std::sync::Arc;

use super::by_order;
use crate::format::listing::{Order, SegmentEntry};
use crate::format::parts::{Difference, Parts, Sorted};

/// Listings in the order of their commits. Copies share what they have in common.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Listings(Parts<SegmentEntry>);

impl Sorted for SegmentEntry {
    fn place(&self, other: &SegmentEntry) -> Ordering {
        by_order(self, other)
    }
}

impl Listings {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn last(&self) -> Option<&SegmentEntry> {
        self.0.last().map(|entry| &**entry)
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &SegmentEntry> + Clone {
        self.0.iter().map(|entry| &**entry)
    }

    /// Adds one at its place.
    pub(crate) fn push(&mut self, entry: SegmentEntry) {
        self.0.insert(Arc::new(entry));
    }

    pub(crate) fn retain(&mut self, is_kept: impl FnMut(&SegmentEntry) -> bool) {
        self.0.retain(is_kept);
    }

    /// Changes those for which `which` holds.
    pub(crate) fn change(
        &mut self,
        which: impl Fn(&SegmentEntry) -> bool,
        mut how: impl FnMut(&mut SegmentEntry),
    ) {
        let chosen: Vec<SegmentEntry> = self.iter().filter(|entry| which(entry)).cloned().collect();
        for mut entry in chosen {
            self.0.remove(|other| other.place(&entry));
            how(&mut entry);
            self.push(entry);
        }
    }

    /// Those behind an order.
    pub(crate) fn behind(&self, order: Order) -> impl Iterator<Item = &SegmentEntry> + Clone {
        self.0.from(move |entry| entry.order <= order).map(|entry| &**entry)
    }

    /// Those from a sequence on.
    pub(crate) fn since(&self, sequence: u64) -> impl Iterator<Item = &SegmentEntry> + Clone {
        self.0.from(move |entry| entry.order.sequence < sequence).map(|entry| &**entry)
    }

    /// What tells these from later ones.
    pub(crate) fn difference<'a>(&'a self, after: &'a Listings) -> Difference<'a, SegmentEntry> {
        self.0.difference(&after.0)
    }
}

impl Extend<SegmentEntry> for Listings {
    fn extend<I: IntoIterator<Item = SegmentEntry>>(&mut self, entries: I) {
        entries.into_iter().for_each(|entry| self.push(entry));
    }
}

impl FromIterator<SegmentEntry> for Listings {
    fn from_iter<I: IntoIterator<Item = SegmentEntry>>(entries: I) -> Listings {
        Listings(entries.into_iter().map(Arc::new).collect())
    }
}

impl From<Vec<SegmentEntry>> for Listings {
    fn from(entries: Vec<SegmentEntry>) -> Listings {
        entries.into_iter().collect()
    }
}

impl<'a> IntoIterator for &'a Listings {
    type Item = &'a SegmentEntry;
    type IntoIter = Box<dyn Iterator<Item = &'a SegmentEntry> + 'a>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.iter())
    }
}
