//! The list of what counts, in memory: live segments, the first live WAL file, tombstones, the ledger.
//!
//! Bytes: FORMAT.md, "MANIFEST".

pub(crate) mod edit;
pub(crate) mod form;
pub(crate) mod listings;
pub(crate) mod names;

use std::cmp::Ordering;
use std::sync::Arc;

use crate::format::clock::Clock;
use crate::format::kept::Kept;
use crate::format::ledger::Ledger;
use crate::format::ledger::files::LedgerFile;
use crate::format::listing::{SegmentEntry, StoreId};
use crate::format::names::NamesEntry;
use crate::format::rules::Rules;
use crate::format::tombstones::Tombstones;

pub(crate) use self::listings::Listings;

/// The list of what counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Manifest {
    /// The store id.
    pub(crate) store: StoreId,
    /// The lineage: an id that a store shares with its restored backups.
    pub(crate) lineage: StoreId,
    /// Number of the last edit.
    pub(crate) generation: u64,
    /// The first live WAL file: files from this id on count.
    pub(crate) wal_first: u64,
    /// The length of the last WAL file, where no file could be made behind it whose header says it: its id, and how
    /// many of its bytes count.
    pub(crate) fixed: Option<(u64, u64)>,
    /// Id epochs below this are spent: a writer that is in one begins another with its next file.
    pub(crate) ids_from: u64,
    /// Names files, by epoch, then number.
    pub(crate) names: Vec<NamesEntry>,
    /// Live segments in the order of their commits.
    pub(crate) segments: Listings,
    /// Files that the next commit unlinks, as paths below the store.
    pub(crate) obsolete: Vec<String>,
    /// The retention clock.
    pub(crate) clock: Clock,
    /// The retention rules in force.
    pub(crate) rules: Arc<Rules>,
    /// Tombstones that may still hide dots.
    pub(crate) tombstones: Tombstones,
    /// What is kept for those who follow the store.
    pub(crate) kept: Kept,
    /// The files of finished rings, oldest first.
    pub(crate) ledger_files: Vec<LedgerFile>,
    /// The ledger at the start of the first live WAL file, with `ledger_files` open.
    pub(crate) ledger: Ledger,
    /// What was wrong with MANIFEST, where this list was rebuilt. It is not written to disk.
    pub(crate) rebuilt: Option<String>,
}

/// How listings are sorted: by the order of their commits, those of one order by name.
pub(crate) fn by_order(a: &SegmentEntry, b: &SegmentEntry) -> Ordering {
    a.order.cmp(&b.order).then_with(|| a.name.cmp(&b.name))
}

/// What a list says of the log.
type Log<'a> = (u64, Option<(u64, u64)>, u64, &'a [LedgerFile]);

impl Manifest {
    /// Whether both lists are equal; the content of the files of finished rings is not compared.
    pub(crate) fn says_what(&self, other: &Manifest) -> bool {
        (self.store, self.lineage, self.generation) == (other.store, other.lineage, other.generation)
            && self.log() == other.log()
            && self.segments == other.segments
            && self.names == other.names
            && self.obsolete == other.obsolete
            && self.clock == other.clock
            && self.rules == other.rules
            && self.tombstones == other.tombstones
            && self.kept == other.kept
            && self.ledger.says_what(&other.ledger)
    }

    /// Puts names files in their order.
    pub(crate) fn sort(&mut self) {
        self.names.sort_by_key(NamesEntry::place);
    }

    fn log(&self) -> Log<'_> {
        (self.wal_first, self.fixed, self.ids_from, &self.ledger_files)
    }

    /// The listings of the segments that hold dots, and not steps made from dots.
    pub(crate) fn with_dots(&self) -> impl Iterator<Item = &SegmentEntry> {
        self.segments.iter().filter(|entry| !entry.has_steps())
    }

    /// Sequences at which a foreign commit stands or a segment ends. Dots of the log before and behind such a
    /// sequence are not put together.
    ///
    /// - `from`: only those from this sequence on, in order
    pub(crate) fn splits(&self, from: u64) -> Vec<u64> {
        let segments = self.segments.since(from).map(|segment| segment.order.sequence);
        let mut splits: Vec<u64> = segments.chain(self.tombstones.sequences_since(from)).collect();
        splits.sort_unstable();
        splits.dedup();
        splits
    }

    /// The greatest sequence of anything listed.
    pub(crate) fn last_sequence(&self) -> u64 {
        let segment = self.segments.last().map_or(0, |segment| segment.order.sequence);
        segment.max(self.tombstones.last_sequence())
    }

    /// Drops the tombstones that have nothing left to hide.
    ///
    /// - `first_live`: the first sequence that the live log may hold
    pub(crate) fn drop_spent_tombstones(&mut self, first_live: u64) {
        let Manifest { tombstones, segments, .. } = self;
        tombstones.retain(|tombstone| {
            tombstone.order.sequence >= first_live
                || segments.iter().any(|segment| tombstone.concerns(segment))
        });
    }
}

#[cfg(test)]
mod tests {
    use dotter_dot::Timestamp;

    use super::*;
    use crate::format::listing::Order;
    use crate::format::tombstone::tests::tombstone;

    #[test]
    fn a_tombstone_is_spent_when_nothing_older_is_left() {
        let segment = |sequence, purged, times: (u64, u64)| SegmentEntry {
            order: Order { sequence, generation: 0 },
            purged,
            first_time: Timestamp::from_nanos(times.0),
            last_time: Timestamp::from_nanos(times.1),
            ..SegmentEntry::default()
        };
        let left = |segments: Vec<SegmentEntry>, first_live| {
            let tombstones = [tombstone("a", ("", None), (10, 19), 5)].into_iter().collect();
            let mut manifest = Manifest { segments: segments.into(), tombstones, ..Manifest::default() };
            manifest.drop_spent_tombstones(first_live);
            manifest.tombstones.len()
        };
        assert_eq!(left(vec![], 8), 0);
        assert_eq!(left(vec![], 7), 1);
        assert_eq!(left(vec![segment(7, 0, (19, 30))], 8), 1);
        assert_eq!(left(vec![segment(8, 0, (19, 30))], 8), 0);
        assert_eq!(left(vec![segment(7, 5, (19, 30))], 8), 0);
        assert_eq!(left(vec![segment(7, 4, (20, 30)), segment(3, 0, (0, 9))], 8), 0);
    }
}
