//! A delete whose bytes go at once: it ends when no file of the store has them any more.
//!
//! 1. The delete is committed, like any other: from then on its rows are hidden.
//! 2. The log files that may have them are closed and sealed; a seal leaves hidden rows out.
//! 3. Every segment that may have them is written anew.
//! 4. The files that were replaced are unlinked, and so are files that a killed process has left.
//!
//! Nothing here lasts: a purge that was killed is a delete, and a second one does what is left.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::disk::layout::Layout;
use crate::disk::{litter, manifest, wal};
use crate::error::Error;
use crate::format::manifest::Manifest;
use crate::format::tombstone::Tombstone;
use crate::write::compaction::{Compaction, Passed};
use crate::write::delete::{self, Deletion};
use crate::write::seal::seal_all;
use crate::write::writer::Writer;

/// How long another process's merge is waited for.
const MERGE_WITHIN: Duration = Duration::from_secs(600);
/// Between two looks at whether it has ended.
const MERGE_LOOK: Duration = Duration::from_millis(20);

/// A delete that is committed, and whose bytes are to go.
#[derive(Debug)]
pub struct Purge {
    layout: Layout,
    /// `None` where it can mean nothing.
    tombstone: Option<Tombstone>,
    /// Rows that had been removed before.
    deleted_before: u64,
}

/// What a purge has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Rows that were removed meanwhile: those of this delete, and in the same segments those of earlier ones.
    pub rows: u64,
    /// Segments that were written anew.
    pub segments: u64,
    /// Segments that are damaged, so that they stay and may have some of the bytes.
    pub damaged: u64,
}

impl Purge {
    /// Commits the delete. Steps of archives go too that lie only partly inside.
    ///
    /// # Errors
    ///
    /// As [`crate::delete`].
    pub fn begin(dir: &Path, deletion: &Deletion) -> Result<Purge, Error> {
        let layout = Layout::new(dir);
        let (manifest, tombstone) = delete::commit(&layout, deletion, true)?;
        Ok(Purge { layout, tombstone, deleted_before: manifest.ledger.totals.deleted })
    }

    /// Closes the log's last file where no process writes the log, and seals all closed files. Returns whether every
    /// row that was committed before the delete is now in a segment.
    ///
    /// `false`: another process has to close its file first ([`Writer::close_file`]), or is sealing. Then call it again.
    ///
    /// # Errors
    ///
    /// As [`crate::seal`].
    pub fn seal(&self, cancel: &dyn Fn() -> bool) -> Result<bool, Error> {
        let Some(tombstone) = &self.tombstone else { return Ok(true) };
        let sequence = tombstone.order.sequence;
        if !self.is_closed(sequence)? {
            match Writer::open(&self.layout.dir) {
                Ok(writer) => drop(writer),
                Err(Error::Locked(_)) => {}
                Err(error) => return Err(error),
            }
        }
        seal_all(&self.layout.dir, cancel)?;
        let is_sealed = |manifest: &Manifest| Ok(manifest.first_live(&self.layout)? > sequence);
        manifest::read_with(&self.layout, is_sealed).map(|(_, is_sealed)| is_sealed)
    }

    /// Whether no row up to a sequence is in a file of the log that is still written.
    fn is_closed(&self, sequence: u64) -> Result<bool, Error> {
        let files = wal::files(&self.layout, manifest::read(&self.layout)?.log_start())?;
        let Some(last) = files.last() else { return Ok(true) };
        // A damaged header tells nothing.
        Ok(last.header.is_some_and(|header| header.first_sequence > sequence))
    }

    /// Writes all segments anew that may have deleted rows, and unlinks the files that were replaced. To be called once
    /// [`Purge::seal`] has returned `true`.
    ///
    /// A reader that has such a file open keeps it as long as it does.
    ///
    /// - `cancel`: asked now and then; when it says `true` the work is given up
    /// - `waits`: called once, where another process's merge has to end first
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] where another process merges for longer than 10 minutes; [`Error::GivenUp`] after `cancel`;
    /// [`Error::Rebuilt`] where the list was rebuilt, since then no file is removed that it does not name; the system's,
    /// where there is no room for a segment. The rows are hidden all the same.
    pub fn run(self, cancel: &dyn Fn() -> bool, waits: &dyn Fn()) -> Result<Purged, Error> {
        let Some(tombstone) = &self.tombstone else { return Ok(Purged::default()) };
        let compaction = begin_compaction(&self.layout, cancel, waits)?;
        let mut purged = Purged::default();
        let mut passed = Passed::default();
        loop {
            match compaction.purge(tombstone, &mut passed) {
                Ok(Some(_)) => purged.segments += 1,
                Ok(None) => break,
                // Another commit has replaced the segment meanwhile.
                Err(Error::GivenUp) if !cancel() => {}
                Err(error) => return Err(error),
            }
        }
        drop(compaction);
        // What one edit replaces is unlinked by the next.
        let manifest = manifest::read(&self.layout)?;
        if !manifest.obsolete.is_empty() {
            manifest::change(&self.layout, |_| Ok(()))?;
        }
        if litter::is_kept(&self.layout)? {
            return Err(Error::Rebuilt(self.layout.dir));
        }
        litter::remove(&self.layout)?;
        purged.damaged = passed.damaged.len() as u64;
        let deleted = manifest::read(&self.layout)?.ledger.totals.deleted;
        purged.rows = deleted.saturating_sub(self.deleted_before);
        Ok(purged)
    }
}

/// Takes the lock of compaction, once another process's merge has ended.
///
/// - `waits`: called once, where one is at work
///
/// # Errors
///
/// [`Error::Locked`] after 10 minutes; [`Error::GivenUp`] after `cancel`.
pub(super) fn begin_compaction<'a>(
    layout: &Layout,
    cancel: &'a dyn Fn() -> bool,
    waits: &dyn Fn(),
) -> Result<Compaction<'a>, Error> {
    let began = Instant::now();
    let mut is_told = false;
    loop {
        match Compaction::begin(&layout.dir, cancel) {
            Err(Error::Locked(_)) if began.elapsed() < MERGE_WITHIN => {
                if cancel() {
                    return Err(Error::GivenUp);
                }
                if !std::mem::replace(&mut is_told, true) {
                    waits();
                }
                std::thread::sleep(MERGE_LOOK);
            }
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use dotter_dot::{NamedDots, SeriesName, TimeRange, Timestamp};

    use super::*;
    use crate::format::tombstone::PURGE_AGE;
    use crate::{Pattern, add, compact, delete};

    fn put(dir: &Path, series: &str, times: std::ops::Range<u64>) {
        let mut dots = NamedDots::default();
        let name = SeriesName::new(series).unwrap();
        times.for_each(|time| dots.push_number(&name, Timestamp::from_nanos(time), 1.5));
        add(dir, dots).unwrap();
    }

    fn remove(dir: &Path, series: &str, from: u64, until: u64) {
        let range = TimeRange::new(Timestamp::from_nanos(from), Timestamp::from_nanos(until));
        let deletion = Deletion { pattern: Pattern::new(series), first_key: None, last_key: None, range };
        delete(dir, &deletion).unwrap();
    }

    /// Sets all tombstones back to when they would be due in so long.
    fn age(layout: &Layout, left: Duration) {
        let change = |manifest: &mut Manifest| {
            let made = Timestamp::now().saturating_sub(PURGE_AGE - left);
            manifest.tombstones =
                manifest.tombstones.iter().map(|one| Tombstone { made, ..one.clone() }).collect();
            Ok(())
        };
        manifest::change(layout, change).unwrap();
    }

    #[test]
    fn what_was_deleted_is_written_anew_within_a_day_and_only_where_it_may_be() {
        let dir = tempfile::tempdir().unwrap();
        let (dir, layout) = (dir.path(), Layout::new(dir.path()));
        put(dir, "a", 0..100);
        put(dir, "b", 0..100);
        put(dir, "a", 200..300);
        remove(dir, "a", 10, 20);
        let dots = || -> Vec<u64> {
            manifest::read(&layout).unwrap().segments.iter().map(|entry| entry.dots).collect()
        };
        age(&layout, Duration::from_secs(600));
        assert!(!compact(dir, &|| false).unwrap(), "it is not due");
        assert_eq!(dots(), [100, 100, 100]);
        let names = |manifest: &Manifest| -> Vec<String> {
            manifest.segments.iter().map(|entry| entry.name.clone()).collect()
        };
        let before = names(&manifest::read(&layout).unwrap());
        age(&layout, Duration::ZERO);
        assert!(compact(dir, &|| false).unwrap());
        assert!(!compact(dir, &|| false).unwrap(), "nothing is left to do");
        assert_eq!(dots(), [90, 100, 100]);
        let after = manifest::read(&layout).unwrap();
        assert_ne!(names(&after)[0], before[0]);
        assert_eq!(names(&after)[1..], before[1..], "they have nothing of it");
        assert!(after.tombstones.is_empty(), "{:?}", after.tombstones);
        assert_eq!(after.ledger.totals.deleted, 10);
        assert!(crate::verify(dir).unwrap().damage.is_empty());
    }

    #[test]
    fn a_segment_without_anything_of_a_delete_is_noted_and_other_deletes_hide_on() {
        let dir = tempfile::tempdir().unwrap();
        let (dir, layout) = (dir.path(), Layout::new(dir.path()));
        put(dir, "a", 0..100);
        put(dir, "b", 0..100);
        remove(dir, "b", 0, 50);
        let range = TimeRange::new(Timestamp::from_nanos(20), Timestamp::from_nanos(30));
        let deletion = Deletion { pattern: Pattern::new("a"), first_key: None, last_key: None, range };
        let purge = Purge::begin(dir, &deletion).unwrap();
        assert!(purge.seal(&|| false).unwrap());
        let purged = purge.run(&|| false, &|| ()).unwrap();
        assert_eq!(purged, Purged { rows: 10, segments: 1, damaged: 0 });
        let left = manifest::read(&layout).unwrap();
        assert_eq!(left.segments.iter().map(|entry| entry.dots).collect::<Vec<_>>(), [90, 100]);
        let hidden: Vec<&str> = left.tombstones.iter().map(|one| one.pattern.as_str()).collect();
        assert!(hidden.contains(&"b"), "{hidden:?}");
        let snapshot = crate::Reader::open(dir).unwrap().snapshot();
        assert_eq!(snapshot.read("a", TimeRange::ALL).unwrap().len(), 90);
        assert_eq!(snapshot.read("b", TimeRange::ALL).unwrap().len(), 50);
    }

    #[test]
    fn a_merge_of_another_process_is_waited_for_and_a_purge_can_be_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let (dir, layout) = (dir.path(), Layout::new(dir.path()));
        put(dir, "a", 0..100);
        let deletion =
            Deletion { pattern: Pattern::new("a"), first_key: None, last_key: None, range: TimeRange::ALL };
        let merging = layout.try_lock("COMPACT.lock").unwrap();
        let waits = std::cell::Cell::new(0);
        let told = || waits.set(waits.get() + 1);
        let given_up = Purge::begin(dir, &deletion).unwrap().run(&|| waits.get() > 0, &told);
        assert!(matches!(given_up, Err(Error::GivenUp)), "{given_up:?}");
        // The other process ends once this one says that it waits.
        let (waits, merging) = (std::cell::Cell::new(0), std::cell::RefCell::new(Some(merging)));
        let told = || {
            waits.set(waits.get() + 1);
            drop(merging.borrow_mut().take());
        };
        let purge = Purge::begin(dir, &deletion).unwrap();
        assert!(purge.seal(&|| false).unwrap());
        let purged = purge.run(&|| false, &told).unwrap();
        assert_eq!((purged.rows, waits.get()), (100, 1));
        assert_eq!(std::fs::read_dir(dir.join("seg")).unwrap().count(), 0);
    }
}
