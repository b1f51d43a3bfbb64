//! The one place that maps files: segments, which nobody writes to once they have their name.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;

use memmap2::Mmap;

/// Maps a whole file for reading.
pub(crate) fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: a segment has mode 0400 and is only ever unlinked, never written to or shortened: FORMAT.md
    // forbids it. A process that does so all the same makes the next read end this process with SIGBUS; it
    // cannot make it read other memory.
    unsafe { Mmap::map(file) }
}
