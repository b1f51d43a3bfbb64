//! What can go wrong on the command line.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Carries what was being done, and to which line.
#[derive(Debug)]
pub(crate) enum Error {
    Store(dotter_store::Error),
    Input(io::Error),
    Output(io::Error),
    /// A file that cannot be read or written.
    File {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// A line that is no row.
    Line {
        place: Place,
        what: String,
        /// Rows of transactions before it, which are stored.
        stored: u64,
    },
    /// The collector refuses the rows.
    Refused {
        status: u16,
        text: String,
    },
    /// The collector has taken the rows, and did not say what became of them.
    OutcomeUnknown(String),
    /// Rows are deleted, and files of the store may still have them; why.
    NotPurged(String),
    /// The directory holds a Sonnerie database.
    Sonnerie(PathBuf),
    /// What was asked for makes no sense.
    Usage(String),
    /// A Parquet file could not be made.
    #[cfg(feature = "parquet")]
    Parquet(parquet::errors::ParquetError),
    /// The system does not let it be stopped in good order.
    Signals(io::Error),
}

/// Where in the input something stands.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// `None` for standard input.
    pub(crate) file: Option<PathBuf>,
    /// From 1; 0 where the file has no lines.
    pub(crate) line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            None => write!(f, "line {}", self.line),
            Some(file) if self.line == 0 => write!(f, "{}", file.display()),
            Some(file) => write!(f, "{} line {}", file.display(), self.line),
        }
    }
}

impl From<dotter_store::Error> for Error {
    fn from(error: dotter_store::Error) -> Error {
        Error::Store(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The store's own error says everything.
            Error::Store(error) => error.fmt(f),
            Error::Input(_) => f.write_str("cannot read standard input; nothing was stored"),
            Error::Output(_) => f.write_str("cannot write to standard output"),
            Error::File { doing, path, .. } => write!(f, "cannot {doing} {}", path.display()),
            Error::Line { place, what, stored: 0 } => write!(f, "{place}: {what}; nothing was stored"),
            Error::Line { place, what, stored } => {
                write!(f, "{place}: {what}; {stored} rows before it were stored, nothing after them")
            }
            Error::Refused { status, text } => {
                write!(f, "the collector refused the rows with status {status}: {text}; nothing was stored")
            }
            Error::OutcomeUnknown(why) => {
                write!(f, "handed over, outcome unknown: {why}; all of the rows are stored, or none")
            }
            Error::NotPurged(why) => write!(
                f,
                "the rows are deleted and nobody can read them, but their bytes are not all gone: {why}; repeat this \
                 command to go on. A compaction removes them within a day"
            ),
            Error::Sonnerie(dir) => write!(
                f,
                "{} is a Sonnerie database, not a store of Dotter's; to import it into another directory: sonnerie -d \
                 {} read % --print-format --timestamp-nanos | dotter-store -d DIR import --sonnerie",
                dir.display(),
                dir.display()
            ),
            Error::Usage(what) => f.write_str(what),
            #[cfg(feature = "parquet")]
            Error::Parquet(_) => f.write_str("cannot write the Parquet file"),
            Error::Signals(_) => f.write_str("cannot take signals"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Store(error) => error.source(),
            Error::Input(error) | Error::Output(error) | Error::Signals(error) => Some(error),
            Error::File { source, .. } => Some(source),
            #[cfg(feature = "parquet")]
            Error::Parquet(error) => Some(error),
            Error::Line { .. }
            | Error::Refused { .. }
            | Error::OutcomeUnknown(_)
            | Error::NotPurged(_)
            | Error::Sonnerie(_)
            | Error::Usage(_) => None,
        }
    }
}
