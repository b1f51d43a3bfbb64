//! What can go wrong with a store.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Carries what was being done, to what, and what was found.
#[derive(Debug)]
pub enum Error {
    /// The system refused; what was being done and to which file.
    Io {
        /// What was being done, as in "cannot ...".
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no store in this directory.
    NoStore(PathBuf),
    /// Another process holds this lock.
    Locked(PathBuf),
    /// A file whose bytes are not what they were.
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where in it, in bytes.
        offset: u64,
        /// What was found and what was expected.
        what: String,
    },
    /// A file of a version this build does not know.
    Version {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The latest this build reads.
        reads: u32,
    },
    /// A transaction of more bytes than a frame takes; it belongs into a segment.
    TooBig {
        /// Bytes of its payload.
        bytes: usize,
    },
    /// A lane's records do not begin where the account ends.
    Gap {
        /// The next record the account wants.
        wanted: u64,
        /// The first record given.
        found: u64,
    },
    /// The work was given up because it was asked to stop, or because its input is no longer listed.
    GivenUp,
}

impl Error {
    /// For `map_err`: wraps what the system said.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { doing, path: path.to_owned(), source }
    }

    pub(crate) fn damaged(path: &Path, offset: u64, what: impl Into<String>) -> Error {
        Error::Damaged { path: path.to_owned(), offset, what: what.into() }
    }

    /// Whether the disk has no room left: the one failure that passes when somebody frees some.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Error::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }

    /// Whether a file that was listed is not there: a sign to read the list again.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io { doing, path, .. } => write!(f, "cannot {doing} {}", path.display()),
            Error::NoStore(dir) => write!(f, "no store in {}: MANIFEST is missing", dir.display()),
            Error::Locked(path) => write!(f, "{} is locked by another process", path.display()),
            Error::Damaged { path, offset, what } => {
                write!(f, "{} at byte {offset}: {what}", path.display())
            }
            Error::Version { path, found, reads } => {
                write!(f, "{}: format version {found}, this build reads up to {reads}", path.display())
            }
            Error::TooBig { bytes } => write!(f, "a transaction of {bytes} bytes does not fit into a frame"),
            Error::Gap { wanted, found } => write!(f, "records begin at {found}, expected {wanted}"),
            Error::GivenUp => f.write_str("given up: what it worked on is no longer listed"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
