//! Why a request has no answer.

use std::fmt;

use crate::{SourceError, TimeFormError};

/// Why a request has no answer. All but [`Error::Source`] are the asker's to mend.
#[derive(Debug)]
pub enum Error {
    /// A target that cannot be read.
    Target {
        /// The target, clipped.
        target: String,
        /// Where, in characters, the first one being 1.
        column: usize,
        /// What was found there and what was expected.
        reason: String,
    },
    /// A time that cannot be read.
    Time {
        /// The parameter: `from`, `until` or `now`.
        parameter: &'static str,
        /// Why.
        cause: TimeFormError,
    },
    /// `from` and `until` are the same moment.
    EmptyWindow,
    /// Another parameter that cannot be used.
    Parameter {
        /// Its name.
        name: &'static str,
        /// What was found.
        found: String,
        /// What would do.
        expected: &'static str,
    },
    /// More than a request may cost.
    OverBudget {
        /// What there was too much of.
        what: &'static str,
        /// How much the request came to, or had come to when it was stopped.
        found: u64,
        /// How much is allowed.
        limit: u64,
    },
    /// The deadline passed.
    OutOfTime,
    /// The source failed.
    Source(SourceError),
}

impl Error {
    /// The HTTP status that says so: 400, 413 or 500.
    pub fn status(&self) -> u16 {
        match self {
            Error::Target { .. } | Error::Time { .. } | Error::EmptyWindow | Error::Parameter { .. } => 400,
            Error::OverBudget { .. } | Error::OutOfTime => 413,
            Error::Source(_) => 500,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Target { target, column, reason } => {
                write!(f, "cannot read target '{target}' at column {column}: {reason}")
            }
            Error::Time { parameter, cause } => write!(f, "cannot read '{parameter}': {cause}"),
            Error::EmptyWindow => {
                f.write_str("'from' and 'until' are the same moment, expected a range of time")
            }
            Error::Parameter { name, found, expected } => {
                write!(f, "cannot use {name}='{found}': expected {expected}")
            }
            Error::OverBudget { what, found, limit } => write!(
                f,
                "over budget: {found} {what}, at most {limit} are allowed; narrow the range or the pattern, or \
                 ask for fewer points with maxDataPoints"
            ),
            Error::OutOfTime => {
                f.write_str("over budget: the request took too long; narrow the range or the pattern")
            }
            Error::Source(_) => f.write_str("cannot read the series"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Source(cause) => Some(cause.as_ref()),
            Error::Time { .. } => None,
            _ => None,
        }
    }
}

impl From<SourceError> for Error {
    fn from(cause: SourceError) -> Error {
        Error::Source(cause)
    }
}

/// At most 80 characters of what was found, so that an error stays a line.
pub(crate) fn clip(text: &str) -> String {
    let mut clipped: String = text.chars().take(80).collect();
    if clipped.len() < text.len() {
        clipped.push('…');
    }
    clipped
}
