//! Why the broker does not start, or does not go on.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why [`run`](crate::run) ended without being asked to.
///
/// A collector that is away, a ring that is damaged or a directory that is not there yet are no errors: the broker
/// says so and waits.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// Another broker reads there, or the lock cannot be made.
    Lock(dotter_ring::Error),
    /// A thread could not be started.
    Thread(io::Error),
    /// The token's file cannot be read.
    TokenFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The token's file may be read by others; its mode.
    TokenFileOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The token is empty, too long, or holds what a header cannot carry.
    Token,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Lock(_) => f.write_str("cannot take the broker's lock"),
            Error::Thread(_) => f.write_str("cannot start a thread"),
            Error::TokenFile { path, .. } => write!(f, "cannot read token file {}", path.display()),
            Error::TokenFileOpen { path, mode } => write!(
                f,
                "token file {} has mode {mode:04o}, expected a regular file only its owner can read (0600)",
                path.display()
            ),
            Error::Token => f.write_str("token is empty or holds characters that no header can carry"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Lock(source) => Some(source),
            Error::Thread(source) | Error::TokenFile { source, .. } => Some(source),
            Error::TokenFileOpen { .. } | Error::Token => None,
        }
    }
}
