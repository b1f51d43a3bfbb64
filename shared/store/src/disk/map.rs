//! The one place that maps files: segments, which never change once they are listed.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Deref;

use dotter_guard::Guard;
use memmap2::Mmap;

/// A whole file, mapped for reading.
pub(crate) struct Map {
    /// First field, so it is dropped before the mapping.
    guard: Option<Guard>,
    map: Mmap,
}

impl Map {
    pub(crate) fn new(file: &File) -> io::Result<Map> {
        // SAFETY: the file must not change while it is mapped. A segment has mode 0400; FORMAT.md forbids to write to
        // it or to shorten it, and it is only ever unlinked. If a process shortens it all the same, or the disk
        // cannot read a page, the guard below puts zeros there, and they stay: no byte is read with two values.
        let map = unsafe { Mmap::map(file) }?;
        // SAFETY: address and length are those of a read-only mapping of a whole file. The guard is dropped before
        // the mapping, since it is the first field. Whatever is read from the mapping is checked, also zeros.
        let guard = unsafe { Guard::new(map.as_ptr() as usize, map.len()) };
        Ok(Map { guard, map })
    }

    /// Whether a page could not be read and is zeros now.
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
