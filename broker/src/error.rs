//! Why the broker does not start, or does not go on.

use std::fmt;
use std::io;

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
    /// A token is named and cannot be used.
    Token(dotter_daemon::TokenError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Lock(_) => f.write_str("cannot take the broker's lock"),
            Error::Thread(_) => f.write_str("cannot start a thread"),
            Error::Token(_) => f.write_str("cannot take the token"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Lock(source) => Some(source),
            Error::Thread(source) => Some(source),
            Error::Token(source) => Some(source),
        }
    }
}
