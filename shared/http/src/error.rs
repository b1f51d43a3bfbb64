//! What can go wrong while a server starts. Once it runs, a bad request is an answer, not an error.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a server did not start or a token was not taken.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The public address could not be bound.
    Bind {
        /// What was asked for.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The socket file could not be made.
    SocketFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An address that others can reach, and no token.
    NotLoopback {
        /// What was asked for.
        addr: SocketAddr,
    },
    /// A `Host` name that no client could send.
    HostName {
        /// The name as given.
        name: String,
    },
    /// The directory of the private socket could not be made.
    SocketDir {
        /// The directory, or where it was to be made.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The server behind the door did not start.
    Private {
        /// The socket it was to listen on.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The process may open too few files to serve anyone.
    Descriptors {
        /// The limit in force (`ulimit -n`).
        found: u64,
        /// The least that is enough.
        expected: u64,
    },
    /// A thread or the wake-up socket could not be made.
    Resources {
        /// What was being made.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The token can be guessed, or holds what `Authorization` cannot carry.
    TokenWeak {
        /// Why, in words that do not repeat the token.
        found: &'static str,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Bind { addr, .. } => write!(f, "cannot listen on {addr}"),
            Error::SocketFile { path, .. } => write!(f, "cannot listen at {}", path.display()),
            Error::NotLoopback { addr } => write!(
                f,
                "refused to listen on {addr}: others can reach it and no token is set; \
                 set a token or listen on 127.0.0.1"
            ),
            Error::HostName { name } => {
                write!(
                    f,
                    "host name {name:?} holds what a Host header cannot, expected a name without a port"
                )
            }
            Error::SocketDir { path, .. } => {
                write!(f, "cannot make a private socket directory at {}", path.display())
            }
            Error::Private { path, .. } => write!(f, "cannot serve requests at {}", path.display()),
            Error::Descriptors { found, expected } => {
                write!(f, "open file limit is {found}, expected at least {expected}; raise it with ulimit -n")
            }
            Error::Resources { what, .. } => write!(f, "cannot make {what}"),
            Error::TokenWeak { found } => write!(
                f,
                "token {found}, expected 128 random bits or more, such as from `openssl rand -hex 32`"
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Bind { source, .. }
            | Error::SocketFile { source, .. }
            | Error::SocketDir { source, .. }
            | Error::Private { source, .. }
            | Error::Resources { source, .. } => Some(source),
            Error::NotLoopback { .. }
            | Error::HostName { .. }
            | Error::Descriptors { .. }
            | Error::TokenWeak { .. } => None,
        }
    }
}
