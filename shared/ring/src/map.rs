//! The mapped file as words.
//!
//! The one place that turns a mapping into a slice. Whatever the file holds, reading it is reading atomics.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use dotter_guard::Guard;
use memmap2::{MmapOptions, MmapRaw};

/// A file mapped as a whole; unmapped when the last [`Span`] of it is gone.
pub(crate) struct Map {
    /// Of a mapping to read. Stands first: it is gone before the mapping is.
    guard: Option<Guard>,
    raw: MmapRaw,
}

impl Map {
    /// Maps `bytes` of `file`, shared, for reading and writing.
    pub(crate) fn writable(file: &File, bytes: u64) -> io::Result<Arc<Map>> {
        let raw = MmapOptions::new().len(length(bytes)?).map_raw(file)?;
        Ok(Arc::new(Map { guard: None, raw }))
    }

    /// Maps `bytes` of `file`, shared, for reading; a store through it would be a fault.
    pub(crate) fn readable(file: &File, bytes: u64) -> io::Result<Arc<Map>> {
        let raw = MmapOptions::new().len(length(bytes)?).map_raw_read_only(file)?;
        // SAFETY: a mapping of a whole file, read-only, and unmapped after its guard is dropped, which stands before
        // it; what is read from it is atomics, of which zero is one, and nothing they say is believed unchecked.
        let guard = unsafe { Guard::new(raw.as_ptr() as usize, raw.len()) };
        Ok(Arc::new(Map { guard, raw }))
    }

    /// Whether a page was missing when it was read, and zeros were read instead; see [`dotter_guard`].
    #[inline]
    pub(crate) fn is_broken(&self) -> bool {
        self.guard.as_ref().is_some_and(Guard::is_broken)
    }

    /// Brings the pages of a part into memory, so that its first lap costs no page faults.
    ///
    /// Only for speed: an old kernel that cannot is no error.
    pub(crate) fn populate(&self, offset: u64, bytes: u64) {
        let _ = self.raw.advise_range(memmap2::Advice::PopulateWrite, offset as usize, bytes as usize);
    }
}

fn length(bytes: u64) -> io::Result<usize> {
    usize::try_from(bytes).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

/// Some whole words of a [`Map`], which it keeps mapped.
pub(crate) struct Span {
    words: NonNull<[AtomicU64]>,
    map: Arc<Map>,
}

// SAFETY: a span is a shared slice of atomics and the owner of their memory; both may be used from any thread.
unsafe impl Send for Span {}
// SAFETY: as above; no method gives out anything but `&[AtomicU64]`.
unsafe impl Sync for Span {}

impl Span {
    /// The words in `offset..offset + bytes`.
    ///
    /// # Panics
    ///
    /// Where these are no whole words, or leave the mapping.
    pub(crate) fn new(map: &Arc<Map>, offset: u64, bytes: u64) -> Span {
        assert!(offset.is_multiple_of(8));
        assert!(bytes.is_multiple_of(8));
        assert!(offset.checked_add(bytes).is_some_and(|end| end <= map.raw.len() as u64));
        // SAFETY: `offset` lies in the mapping, as just asserted.
        let first = unsafe { map.raw.as_mut_ptr().add(offset as usize) };
        let words = NonNull::slice_from_raw_parts(
            NonNull::new(first.cast::<AtomicU64>()).expect("no mapping lies at address zero"),
            bytes as usize / 8,
        );
        Span { words, map: Arc::clone(map) }
    }

    /// Whether what was read of it so far cannot be believed: see [`Map::is_broken`].
    #[inline]
    pub(crate) fn is_broken(&self) -> bool {
        self.map.is_broken()
    }
}

impl Deref for Span {
    type Target = [AtomicU64];

    #[inline(always)]
    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: the mapping starts on a page and the offset is a multiple of eight, so every word is
        // aligned; the words lie in the mapping, which lives as long as `self`; every bit pattern is an
        // `AtomicU64`. Other processes write here too: atomics allow that and plain references do not, so
        // nothing else ever views the file. A mapping made by `readable` is only ever loaded from, which
        // relaxed and acquire loads of a word do without a store. Shortening the file would raise SIGBUS,
        // which FORMAT.md forbids and `fault.rs` turns into zeros for a reader that asks for it.
        unsafe { self.words.as_ref() }
    }
}
