//! Whether the list has changed, as whoever has read it asks each time.

use std::os::unix::fs::MetadataExt;

use super::{copies, rebuild};
use crate::disk::layout::Layout;
use crate::disk::log::{open, read_published_surely};
use crate::disk::old;
use crate::error::Error;
use crate::format::log::header::Published;

/// Tells whether the list has changed, without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(super) inode: u64,
    /// The published length; where the published words are damaged or of another boot, the length of the file.
    pub(super) until: u64,
    pub(super) boot: [u8; 16],
    /// Of the last edit: the inode of a list that was written anew twice may be the same again, and its length too.
    pub(super) sequence: u64,
}

/// The stamp of the list as it is now.
pub(crate) fn stamp(layout: &Layout) -> Result<Stamp, Error> {
    for path in copies::paths(layout) {
        let file = match open(&path) {
            Err(error) if error.is_not_found() => continue,
            other => other?,
        };
        let meta = file.metadata().map_err(Error::io("look at", &path))?;
        let published = read_published_surely(&file, &path)?;
        if published.is_none() || old::is_other(&file) {
            // A list of version 0 has no such words.
            old::refuse(layout)?;
        }
        let nothing = Published { bytes: meta.len(), sequence: 0, boot: [0; 16] };
        let Published { bytes: until, sequence, boot } = published.unwrap_or(nothing);
        return Ok(Stamp { inode: meta.ino(), until, boot, sequence });
    }
    old::refuse(layout)?;
    if rebuild::is_possible(layout) {
        // Somebody removed both: the list is rebuilt, until the next edit puts it there again.
        return Ok(Stamp { inode: 0, until: 0, boot: [0; 16], sequence: 0 });
    }
    Err(Error::NoStore(layout.dir.clone()))
}
