//! Why the collector cannot start, or could not end in good order.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why the collector cannot start, or could not end in good order.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The store cannot be opened for writing.
    Open {
        /// Its directory.
        dir: PathBuf,
        /// What the store said.
        source: dotter_store::Error,
    },
    /// A token is named and cannot be used.
    Token(dotter_daemon::TokenError),
    /// The front door cannot be opened, or the token can be guessed.
    Http(dotter_http::Error),
    /// The Graphite port cannot be bound.
    Graphite {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A Graphite port that others can reach, and no token.
    GraphiteNotLoopback(SocketAddr),
    /// A thread or a signal cannot be had.
    Resources {
        /// What was being made.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// At the end, dots that were taken without a promise could not be written.
    NotWritten {
        /// How many.
        dots: u64,
        /// What the store said.
        source: dotter_store::Error,
    },
    /// At the end, the log could not be synced in time.
    NotDrained,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Open { dir, .. } => write!(f, "cannot open the store in {} for writing", dir.display()),
            Error::Token(_) => f.write_str("cannot take the token"),
            Error::Http(_) => f.write_str("cannot serve"),
            Error::Graphite { addr, .. } => write!(f, "cannot take graphite lines on {addr}"),
            Error::GraphiteNotLoopback(addr) => write!(
                f,
                "refused to take graphite lines on {addr}: others can reach it and no token is set; \
                 set a token or listen on 127.0.0.1"
            ),
            Error::Resources { what, .. } => write!(f, "cannot make {what}"),
            Error::NotWritten { dots, .. } => write!(f, "{dots} dots that were taken could not be written"),
            Error::NotDrained => f.write_str("the log was not synced in time; what was acknowledged is kept"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Open { source, .. } | Error::NotWritten { source, .. } => Some(source),
            Error::Token(source) => Some(source),
            Error::Http(source) => Some(source),
            Error::Graphite { source, .. } | Error::Resources { source, .. } => Some(source),
            Error::GraphiteNotLoopback(_) | Error::NotDrained => None,
        }
    }
}

impl From<dotter_http::Error> for Error {
    fn from(source: dotter_http::Error) -> Error {
        Error::Http(source)
    }
}
