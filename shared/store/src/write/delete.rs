//! Deletes: a tombstone in the list hides dots that were committed before it.

use std::path::Path;

use dotter_dot::{NAME_BYTES_MAX, TimeRange};

use crate::disk::layout::Layout;
use crate::disk::manifest;
use crate::error::Error;
use crate::format::manifest::Manifest;
use crate::format::pattern::Pattern;
use crate::format::tombstone::Tombstone;

/// What is to be deleted: the dots within `range` of every series that the pattern matches and that lies between the
/// keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// Which series; `%` for all.
    pub pattern: Pattern,
    /// Only series whose names are not below this one, by bytes.
    pub first_key: Option<String>,
    /// Only series whose names are not above this one, by bytes.
    pub last_key: Option<String>,
    /// Which of their dots; a range that ends at [`dotter_dot::Timestamp::MAX`] includes that moment.
    pub range: TimeRange,
}

/// Deletes dots, whether or not a collector is running. They are hidden from every reader that refreshes. Dots
/// committed later stay.
///
/// # Errors
///
/// [`Error::NoStore`]; [`Error::TooManyDeletions`] where a compaction has to purge earlier deletes first;
/// [`Error::Key`] where a key or pattern is longer than any name.
pub fn delete(dir: &Path, deletion: &Deletion) -> Result<(), Error> {
    commit(&Layout::new(dir), deletion, false).map(drop)
}

/// Commits a delete; returns its tombstone and the list with it, or no tombstone where it can mean nothing.
///
/// - `purge`: whether steps of archives go too that lie only partly inside
pub(super) fn commit(
    layout: &Layout,
    deletion: &Deletion,
    purge: bool,
) -> Result<(Manifest, Option<Tombstone>), Error> {
    // Before a lock is taken, since that would make a lock file where there is no store.
    manifest::stamp(layout)?;
    let Deletion { pattern, first_key, last_key, range } = deletion;
    let keys = [first_key, last_key].into_iter().flatten().map(String::len);
    // A pattern that escapes each letter of a name is twice as long.
    let text = Some(pattern.as_str().len()).filter(|bytes| *bytes > 2 * NAME_BYTES_MAX);
    for bytes in keys.chain([pattern.name_bytes_min()]).chain(text) {
        if bytes > NAME_BYTES_MAX {
            return Err(Error::Key { bytes });
        }
    }
    if range.is_empty() || last_key.as_ref().is_some_and(|last| Some(last) < first_key.as_ref()) {
        return Ok((manifest::read(layout)?, None));
    }
    let last = match range.until.nanos() {
        u64::MAX => u64::MAX,
        until => until - 1,
    };
    manifest::change(layout, |manifest| {
        let order = manifest.next_order(layout)?;
        let tombstone = Tombstone {
            order,
            pattern: pattern.clone(),
            first_key: first_key.clone().unwrap_or_default(),
            last_key: last_key.clone(),
            first: range.from.nanos(),
            last,
            purge,
            made: layout.disk.now(),
            edit: order.generation,
            renamed: String::new(),
        };
        push(manifest, tombstone.clone())?;
        Ok(Some(tombstone))
    })
}

/// Adds the last tombstone of all to the list, in the place of earlier ones that say no more.
fn push(manifest: &mut Manifest, mut tombstone: Tombstone) -> Result<(), Error> {
    manifest.tombstones.join(&mut tombstone);
    check_room(manifest, &tombstone.pattern)?;
    manifest.tombstones.push(tombstone);
    Ok(())
}

/// Whether the list has room for a further tombstone of this pattern.
pub(super) fn check_room(manifest: &Manifest, pattern: &Pattern) -> Result<(), Error> {
    let room = manifest.tombstones.room_for(pattern);
    room.map_err(|(of, count)| Error::TooManyDeletions { of, count })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dotter_dot::{SeriesName, Timestamp};

    use super::*;
    use crate::Reader;
    use crate::disk;
    use crate::disk::quick::Quick;

    const COUNT: u64 = 5000;

    /// Commits this many deletes, each of one series, while the list is read once. Commits of processes of their own differ
    /// in that each reads it.
    fn delete_by_name(layout: &Layout, numbers: std::ops::Range<u64>) {
        manifest::locked(layout, Timestamp::from_nanos(1), |list| {
            for number in numbers {
                list.change(|manifest| {
                    let order = manifest.next_order(layout)?;
                    push(
                        manifest,
                        Tombstone {
                            order,
                            pattern: Pattern::exactly(&format!("s.{number}")),
                            first_key: String::new(),
                            last_key: None,
                            first: 0,
                            last: u64::MAX,
                            purge: false,
                            made: Timestamp::from_nanos(1),
                            edit: order.generation,
                            renamed: String::new(),
                        },
                    )
                })?;
            }
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn a_store_keeps_thousands_of_deletes_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let name = |number: u64| SeriesName::new(&format!("s.{number}")).unwrap();
        let dot = |number: u64| (name(number), Timestamp::from_nanos(9), 1.0);
        crate::add(dir, (0..=COUNT).map(dot).collect::<Vec<_>>()).unwrap();
        delete_by_name(&disk::on(Arc::new(Quick), || Layout::new(dir)), 0..COUNT);
        let check = |reader: &Reader, tombstones: u64, left: &[u64]| {
            let snapshot = reader.snapshot();
            assert_eq!(snapshot.stat().tombstones, tombstones);
            assert!(snapshot.series().eq(left.iter().map(|number| name(*number))));
            assert!(!snapshot.contains("s.8") && snapshot.read("s.8", TimeRange::ALL).unwrap().is_empty());
        };
        let mut reader = Reader::open(dir).unwrap();
        check(&reader, COUNT, &[COUNT]);
        // What is committed later stays, and once everything is written anew no delete is left.
        crate::add(dir, vec![dot(7)]).unwrap();
        reader.refresh(None).unwrap();
        check(&reader, COUNT, &[COUNT, 7]);
        crate::compact_major(dir, &|| false, &|_, _| ()).unwrap();
        reader.refresh(None).unwrap();
        check(&reader, 0, &[COUNT, 7]);
        check(&Reader::open(dir).unwrap(), 0, &[COUNT, 7]);
    }
}
