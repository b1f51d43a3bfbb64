//! Deletes: a tombstone in the list hides at once what was committed before it.

use std::path::Path;

use dotter_dot::{NAME_BYTES_MAX, TimeRange};

use crate::disk::layout::Layout;
use crate::disk::manifest;
use crate::error::Error;
use crate::format::pattern::Pattern;
use crate::format::tombstone::{TOMBSTONES_MAX, Tombstone};

/// What is to be deleted: the dots of `range` of every series that the pattern means and that lies between the
/// keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// Which series; `%` for all.
    pub pattern: Pattern,
    /// The first of them, by the bytes of its name; from the very first where there is none.
    pub first_key: Option<String>,
    /// The last of them, itself included.
    pub last_key: Option<String>,
    /// Which of their dots; one that reaches to [`dotter_dot::Timestamp::MAX`] holds that moment too.
    pub range: TimeRange,
}

/// Deletes dots, whether or not a collector is running; they are hidden from every reader that looks at the list
/// again. What is committed later stays.
///
/// # Errors
///
/// [`Error::NoStore`]; [`Error::TooManyDeletions`] where a compaction has to take away earlier ones first;
/// [`Error::Key`] where a key or pattern is longer than any name.
pub fn delete(dir: &Path, deletion: &Deletion) -> Result<(), Error> {
    let layout = Layout::new(dir);
    // Before any lock, which would be a file made where there is no store.
    manifest::stamp(&layout)?;
    let Deletion { pattern, first_key, last_key, range } = deletion;
    for text in [Some(pattern.as_str()), first_key.as_deref(), last_key.as_deref()].into_iter().flatten() {
        if text.len() > NAME_BYTES_MAX {
            return Err(Error::Key { bytes: text.len() });
        }
    }
    if range.is_empty() || last_key.as_ref().is_some_and(|last| Some(last) < first_key.as_ref()) {
        return manifest::read(&layout).map(drop);
    }
    let last = match range.until.nanos() {
        u64::MAX => u64::MAX,
        until => until - 1,
    };
    manifest::swap(&layout, |manifest| {
        let order = manifest.next_order(&layout)?;
        let tombstone = Tombstone {
            order,
            pattern: pattern.clone(),
            first_key: first_key.clone().unwrap_or_default(),
            last_key: last_key.clone(),
            first: range.from.nanos(),
            last,
        };
        manifest.tombstones.retain(|before| !tombstone.says_all_of(before));
        if manifest.tombstones.len() >= TOMBSTONES_MAX {
            return Err(Error::TooManyDeletions { count: manifest.tombstones.len() });
        }
        manifest.tombstones.push(tombstone);
        Ok(())
    })
    .map(drop)
}
