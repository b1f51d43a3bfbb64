//! What can go wrong with a ring.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use dotter_dot::NameError;

/// Why a ring cannot be made, opened or removed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The system said no.
    Io {
        /// What was being done: "cannot create ring".
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is no regular file, or belongs to somebody else.
    File {
        /// The file.
        path: PathBuf,
        /// What it is: "is a FIFO".
        found: String,
        /// What it should be.
        expected: String,
    },
    /// The file does not begin as a ring does.
    NotARing {
        /// The file.
        path: PathBuf,
    },
    /// A version this build does not know.
    Version {
        /// The file.
        path: PathBuf,
        /// The version in the file.
        found: u16,
        /// The highest version this build reads.
        known: u16,
    },
    /// A header field that makes no sense.
    Header {
        /// The file.
        path: PathBuf,
        /// Where in the header, in bytes.
        offset: usize,
        /// What is there.
        found: String,
        /// What should be.
        expected: String,
    },
    /// A living process publishes there.
    Owned {
        /// The ring.
        path: PathBuf,
        /// Its owner.
        pid: u32,
    },
    /// Another broker reads there.
    Broker {
        /// The lock file it holds.
        path: PathBuf,
        /// Whether it may hold it with others: brokers that read one exact name each.
        together: bool,
        /// Its number where it runs, as far as it is known.
        process: Option<u32>,
    },
    /// The text is no name of a series.
    Name {
        /// The text, at most its first 80 characters.
        name: String,
        /// What is wrong with it.
        source: NameError,
    },
    /// The names of a row's columns cannot be.
    Columns {
        /// The series.
        name: String,
        /// What they are: "2 names for 3 columns".
        found: String,
    },
    /// The text is no name of an application.
    Application {
        /// The text, at most its first 80 characters.
        name: String,
    },
    /// A size no ring can have.
    Size {
        /// Of what: "lane bytes".
        of: &'static str,
        /// The size asked for.
        found: u64,
        /// What is possible.
        expected: String,
    },
    /// This machine's byte order is not the file's.
    ByteOrder,
}

impl Error {
    /// For `map_err`: what was being done, to which file.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { doing, path, source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Io { doing, path, .. } => write!(f, "{doing} {}", path.display()),
            Error::File { path, found, expected } => {
                write!(f, "cannot use {}: it {found}, expected {expected}", path.display())
            }
            Error::NotARing { path } => {
                write!(f, "{} is not a ring: it does not begin with DOTRING1; left alone", path.display())
            }
            Error::Version { path, found, known } => write!(
                f,
                "cannot read ring {}: format version {found}, this build reads up to {known}",
                path.display()
            ),
            Error::Header { path, offset, found, expected } => write!(
                f,
                "cannot read ring {}: header at byte {offset} has {found}, expected {expected}",
                path.display()
            ),
            Error::Owned { path, pid } => {
                write!(f, "cannot make ring {}: process {pid} publishes there", path.display())
            }
            Error::Broker { path, together: true, .. } => write!(
                f,
                "another broker reads single rings here, by their exact names: it holds the lock {}, perhaps with \
                 others of its kind; stop them first ('fuser {0}' lists them), or name the rings that are left",
                path.display()
            ),
            Error::Broker { path, process, .. } => {
                let number = process.map(|number| format!(", process {number},")).unwrap_or_default();
                let path = path.display();
                write!(
                    f,
                    "another broker{number} reads here: it holds the lock {path}; stop it first, or leave its rings to it"
                )
            }
            Error::Name { name, .. } => write!(f, "cannot publish series '{name}'"),
            Error::Columns { name, found } => write!(
                f,
                "cannot publish rows of '{name}': {found}, expected one of 1 to 255 bytes without control characters for each"
            ),
            Error::Application { name } => write!(
                f,
                "application name '{name}' is not 1 to 64 bytes without '/', control characters or a dot in front"
            ),
            Error::Size { of, found, expected } => {
                write!(f, "cannot make a ring with {found} {of}, expected {expected}")
            }
            Error::ByteOrder => f.write_str("rings are little-endian, this machine is not"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source),
            Error::Name { source, .. } => Some(source),
            _ => None,
        }
    }
}
