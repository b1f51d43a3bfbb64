//! Deletes: a tombstone in the list hides dots that were committed before it.

use std::path::Path;

use dotter_dot::{NAME_BYTES_MAX, TimeRange};

use crate::disk::layout::Layout;
use crate::disk::manifest;
use crate::error::Error;
use crate::format::manifest::Manifest;
use crate::format::pattern::Pattern;
use crate::format::tombstone::{TOMBSTONES_MAX, Tombstone};

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
    for text in [Some(pattern.as_str()), first_key.as_deref(), last_key.as_deref()].into_iter().flatten() {
        if text.len() > NAME_BYTES_MAX {
            return Err(Error::Key { bytes: text.len() });
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
        };
        push(manifest, tombstone.clone())?;
        Ok(Some(tombstone))
    })
}

/// Adds the last tombstone of all to the list, in the place of earlier ones that say no more.
fn push(manifest: &mut Manifest, mut tombstone: Tombstone) -> Result<(), Error> {
    tombstone.join(&mut manifest.tombstones);
    check_room(manifest)?;
    manifest.tombstones.push(tombstone);
    Ok(())
}

/// Whether the list has room for a further tombstone.
pub(super) fn check_room(manifest: &Manifest) -> Result<(), Error> {
    if manifest.tombstones.len() >= TOMBSTONES_MAX {
        return Err(Error::TooManyDeletions { count: manifest.tombstones.len() });
    }
    Ok(())
}
