//! The errors of the store.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use dotter_dot::{Incarnation, RowError, SeriesName};

use crate::format::position::Missed;
use crate::format::tombstones::FullOf;

/// An error says what was being done, to which file, and what was found.
#[derive(Debug)]
pub enum Error {
    /// A system call failed.
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
    /// Another process has held this lock for 10 s, which is as long as a process waits.
    Waited {
        /// The lock file.
        path: PathBuf,
        /// Who holds it, as far as the system says.
        holder: String,
    },
    /// A commit failed, and voiding it failed too. The next process that opens the store decides whether it counts.
    Unknown(Box<Error>),
    /// A process of another machine, or of another boot of this one, holds this lock.
    OtherKernel(PathBuf),
    /// A store of a version that this build does not read; nothing was changed.
    OtherStore {
        /// Its directory.
        dir: PathBuf,
        /// Its version.
        found: u32,
        /// The version that this build reads.
        reads: u32,
    },
    /// A file whose bytes are not those that were written.
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
    /// Bytes that are no row of their series' format.
    Row {
        /// Which series.
        series: SeriesName,
        /// What is wrong with them.
        source: RowError,
    },
    /// A lane's records do not begin where the account ends.
    Gap {
        /// The next record the account wants.
        wanted: u64,
        /// The first record given.
        found: u64,
    },
    /// A ring has finished, and nothing more of it is booked.
    Finished {
        /// Which ring.
        incarnation: Incarnation,
    },
    /// A ring has more counters than its account keeps.
    TooManyCounters {
        /// Which ring.
        incarnation: Incarnation,
        /// Bytes that its further counters would take.
        wanted: usize,
        /// Bytes that are left for them.
        room: usize,
    },
    /// As many deletes as a store keeps wait to be purged.
    TooManyDeletions {
        /// Which of them are too many.
        of: FullOf,
        /// How many wait.
        count: usize,
    },
    /// There is no row of a series.
    NoSeries(SeriesName),
    /// A series cannot be renamed to its own name.
    SameName(SeriesName),
    /// The list of the store in this directory was rebuilt, so files that it does not name are kept.
    Rebuilt(PathBuf),
    /// A filter command that did not end with 0; nothing has changed.
    Command {
        /// How it ended.
        status: std::process::ExitStatus,
    },
    /// A filter command that ended without having read every row; nothing has changed.
    Unread {
        /// Rows that it has read.
        read: u64,
        /// Rows there are.
        rows: u64,
    },
    /// A line of a filter command that is no row, or out of order; nothing has changed.
    Line {
        /// Its number, from 1.
        number: u64,
        /// What is wrong with it.
        what: String,
    },
    /// A directory that should be empty is not.
    NotEmpty(PathBuf),
    /// A commit was written to a WAL file and has not been published for 10 s; nothing has changed.
    Unpublished(PathBuf),
    /// A hold cannot have this name.
    HoldName(String),
    /// Whoever follows the store can no longer be told of each commit: some are not kept any more.
    Missed(Missed),
    /// A key or pattern longer than any name.
    Key {
        /// Its bytes.
        bytes: usize,
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
            Error::NoStore(dir) => {
                write!(f, "no store in {}: neither MANIFEST nor MANIFEST.2 is there", dir.display())
            }
            Error::Locked(path) => write!(f, "{} is locked by another process", path.display()),
            Error::Waited { path, holder } => {
                write!(f, "{} has been locked for 10 s by {holder}; given up", path.display())
            }
            Error::Unknown(_) => {
                f.write_str("it is not known whether this was stored: look before you do it again")
            }
            Error::OtherKernel(path) => {
                write!(
                    f,
                    "{} is held by another machine: a store is written from one machine at a time",
                    path.display()
                )
            }
            Error::OtherStore { dir, found, reads } => {
                let dir = dir.display();
                write!(
                    f,
                    "{dir}: store format {found}, this build reads {reads}: with the build that made it 'dotter-store -d \
                     {dir} export', then 'dotter-store -d NEW import'"
                )
            }
            Error::Damaged { path, offset, what } => {
                write!(f, "{} at byte {offset}: {what}", path.display())
            }
            Error::Version { path, found, reads } => {
                write!(f, "{}: format version {found}, this build reads {reads}", path.display())
            }
            Error::TooBig { bytes } => write!(f, "a transaction of {bytes} bytes does not fit into a frame"),
            Error::Row { series, .. } => write!(f, "cannot take a row of series {series}"),
            Error::Gap { wanted, found } => write!(f, "records begin at {found}, expected {wanted}"),
            Error::Finished { incarnation } => {
                write!(f, "ring {incarnation} has finished, expected an open one; nothing of it is stored")
            }
            Error::TooManyCounters { incarnation, wanted, room } => {
                write!(
                    f,
                    "further counters of ring {incarnation} want {wanted} bytes of its account, {room} are left"
                )
            }
            Error::TooManyDeletions { of, count } => {
                let (kind, other) = match of {
                    FullOf::Patterns => ("deletes by patterns", "delete series by their names"),
                    FullOf::OneName => {
                        ("deletes of this series", "delete a span that holds those of earlier deletes")
                    }
                    FullOf::Names => ("deletes of single series", "delete many at once by a pattern"),
                };
                write!(
                    f,
                    "{count} {kind} wait to be purged and no more are kept; {other}, or compact the store and delete \
                     again: that helps once the log file is closed which was written when they came"
                )
            }
            Error::NoSeries(name) => write!(f, "there is no row of series {name}"),
            Error::SameName(name) => write!(f, "series {name} has this name already"),
            Error::Rebuilt(dir) => {
                write!(
                    f,
                    "the list of {} was rebuilt: files that it does not name are kept, and may have rows of any time",
                    dir.display()
                )
            }
            Error::Command { status } => {
                write!(f, "the filter command ended with {status}; nothing has changed")
            }
            Error::Unread { read, rows } => {
                write!(f, "the filter command read {read} of {rows} rows; nothing has changed")
            }
            Error::Line { number, what } => {
                write!(f, "line {number} of the filter command's output: {what}; nothing has changed")
            }
            Error::NotEmpty(dir) => {
                write!(f, "{} is not empty; a backup goes into a directory of its own", dir.display())
            }
            Error::Key { bytes } => {
                write!(
                    f,
                    "a key or pattern of {bytes} bytes, at most {} are in any name",
                    dotter_dot::NAME_BYTES_MAX
                )
            }
            Error::Unpublished(path) => write!(
                f,
                "a commit in {} was written and not published for 10 s: is its writer stopped? Nothing has changed",
                path.display()
            ),
            Error::HoldName(name) => write!(
                f,
                "{name:?} is no name of a hold; expected 1 to 64 letters, digits, '-', '_' and '.', and no '.' first"
            ),
            Error::Missed(missed) => missed.fmt(f),
            Error::GivenUp => f.write_str("given up: what it worked on is no longer listed"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            Error::Row { source, .. } => Some(source),
            Error::Unknown(source) => Some(source),
            _ => None,
        }
    }
}
