//! What can go wrong on the command line.

use std::fmt;
use std::io;

/// Carries what was being done, and to which line.
#[derive(Debug)]
pub(crate) enum Error {
    Store(dotter_store::Error),
    Input(io::Error),
    Output(io::Error),
    /// A line that is no row; nothing was stored.
    Line {
        number: u64,
        what: String,
    },
}

impl From<dotter_store::Error> for Error {
    fn from(error: dotter_store::Error) -> Error {
        Error::Store(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // What the store says stands for itself.
            Error::Store(error) => error.fmt(f),
            Error::Input(_) => f.write_str("cannot read standard input; nothing was stored"),
            Error::Output(_) => f.write_str("cannot write to standard output"),
            Error::Line { number, what } => write!(f, "line {number}: {what}; nothing was stored"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Store(error) => error.source(),
            Error::Input(error) | Error::Output(error) => Some(error),
            Error::Line { .. } => None,
        }
    }
}
