//! The one place that maps files: segments, which nobody writes to once they have their name.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Deref;

use dotter_guard::Guard;
use memmap2::Mmap;

/// A whole file, mapped for reading.
pub(crate) struct Map {
    /// Stands first: it is gone before the mapping is.
    guard: Option<Guard>,
    map: Mmap,
}

impl Map {
    pub(crate) fn new(file: &File) -> io::Result<Map> {
        // SAFETY: a segment has mode 0400 and is only ever unlinked, never written to or shortened: FORMAT.md
        // forbids it. Where a process does so all the same, or the disk cannot give a page, a guarded mapping has
        // zeros there from then on; nothing else ever changes what is read twice.
        let map = unsafe { Mmap::map(file) }?;
        // SAFETY: a mapping of a whole file, read-only, and unmapped after its guard is dropped, which stands before
        // it; whatever is read from it is checked, zeros as anything else.
        let guard = unsafe { Guard::new(map.as_ptr() as usize, map.len()) };
        Ok(Map { guard, map })
    }

    /// Whether a page was missing when it was read.
    pub(crate) fn is_broken(&self) -> bool {
        self.guard.as_ref().is_some_and(Guard::is_broken)
    }
}

impl Deref for Map {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.map
    }
}
