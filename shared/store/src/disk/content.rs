//! The bytes of a file that never changes: mapped, or read piece by piece where many files are mapped already.

use std::fs::File;
use std::io;
use std::ops::{Deref, Range};
use std::os::unix::fs::FileExt;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::disk::map::Map;

/// How many files this process maps at once. A mapping beyond those that are guarded ends the process where its file
/// is cut short, and a process may have no more than about 65,000 mappings.
const MAPPED_MAX: usize = 512;

/// How many files are mapped now.
static MAPPED: AtomicUsize = AtomicUsize::new(0);

/// A whole file, open for reading.
pub(crate) enum Content {
    Mapped(Map, Counted),
    /// The file, and its length.
    Unmapped(File, u64),
}

/// One of the files that are counted as mapped.
pub(crate) struct Counted;

/// Bytes of a file.
pub(crate) enum Bytes<'a> {
    Mapped(&'a [u8]),
    Read(Vec<u8>),
}

impl Content {
    pub(crate) fn open(file: File) -> io::Result<Content> {
        // Relaxed, here and below: a count that nothing else depends on.
        let counted =
            MAPPED.fetch_update(Relaxed, Relaxed, |count| (count < MAPPED_MAX).then_some(count + 1));
        if counted.is_ok() {
            let counted = Counted;
            return Ok(Content::Mapped(Map::new(&file)?, counted));
        }
        let length = file.metadata()?.len();
        Ok(Content::Unmapped(file, length))
    }

    pub(crate) fn len(&self) -> u64 {
        match self {
            Content::Mapped(map, _) => map.len() as u64,
            Content::Unmapped(_, length) => *length,
        }
    }

    /// Bytes of the file.
    ///
    /// # Errors
    ///
    /// The system's, and one of kind `UnexpectedEof` where the file has no such bytes.
    pub(crate) fn get(&self, range: Range<usize>) -> io::Result<Bytes<'_>> {
        match self {
            Content::Mapped(map, _) => {
                map.get(range).map(Bytes::Mapped).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
            }
            Content::Unmapped(file, length) => {
                // The length is looked at first: no memory is taken for what is not there.
                if range.start > range.end || range.end as u64 > *length {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let mut bytes = vec![0; range.len()];
                file.read_exact_at(&mut bytes, range.start as u64)?;
                Ok(Bytes::Read(bytes))
            }
        }
    }

    /// Whether a page of a mapped file could not be read and is zeros now: what was checked before may be zeros too.
    pub(crate) fn is_broken(&self) -> bool {
        matches!(self, Content::Mapped(map, _) if map.is_broken())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        MAPPED.fetch_sub(1, Relaxed);
    }
}

impl Deref for Bytes<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(bytes) => bytes,
            Bytes::Read(bytes) => bytes,
        }
    }
}

/// Lets this process have as many open files as the system allows it.
///
/// A reader keeps a file open for every segment beyond the first 512, and systems begin with a limit of 1,024. For
/// programs: a library leaves the limits of its process alone. Where the system refuses, the limit stays as it is.
pub fn allow_many_files() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}
