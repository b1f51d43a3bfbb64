//! Why the displayer cannot start.

use std::fmt;
use std::io;

/// Why the displayer cannot start.
#[derive(Debug)]
pub enum Error {
    /// A token is named and cannot be used.
    Token(dotter_daemon::TokenError),
    /// The door cannot be opened, or the token can be guessed.
    Http(dotter_http::Error),
    /// The thread that follows the store cannot be started.
    Follower(io::Error),
    /// The signals cannot be taken.
    Signals(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::Token(_) => "cannot take the token",
            Error::Http(_) => "cannot serve",
            Error::Follower(_) => "cannot start the thread that follows the store",
            Error::Signals(_) => "cannot take signals",
        })
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Token(cause) => Some(cause),
            Error::Http(cause) => Some(cause),
            Error::Follower(cause) | Error::Signals(cause) => Some(cause),
        }
    }
}

impl From<dotter_http::Error> for Error {
    fn from(cause: dotter_http::Error) -> Error {
        Error::Http(cause)
    }
}
