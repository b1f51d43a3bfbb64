//! What can go wrong in the program.

use std::fmt;
use std::io;

/// Why the program ends with 1.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The ring.
    Ring(dotter_publisher::Error),
    /// The system said no.
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { doing, source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Ring(_) => f.write_str("cannot publish"),
            Error::Io { doing, .. } => f.write_str(doing),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Ring(source) => Some(source),
            Error::Io { source, .. } => Some(source),
        }
    }
}

impl From<dotter_publisher::Error> for Error {
    fn from(error: dotter_publisher::Error) -> Error {
        Error::Ring(error)
    }
}
