//! Handing a transaction to the collector that is running, through its socket file.
//!
//! The collector may be stopped, or its disk slow, so that the request lies unread. A claim goes with the request, and
//! the collector takes the claim just before it appends. Always true:
//!
//! - "not taken" is said only after the claim was withdrawn, or the collector has dropped the request: it is never
//!   committed later
//! - where the claim is taken and no answer tells the outcome, that is an error, and the rows go no other way

use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dotter_daemon::chain;
use dotter_store::{Claim, ClaimName};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt};
use nix::sys::time::TimeVal;

use crate::error::Error;

/// The collector's socket file, below the store's directory.
const SOCKET: &str = "collector.sock";

/// How long the collector may take to answer, before the rows go another way if the claim is still there.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// How much longer the answer is waited for where the claim is taken.
const OUTCOME_WITHIN: Duration = Duration::from_secs(30);

/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// The collector that is running.
pub(crate) struct Collector {
    dir: PathBuf,
    socket: UnixStream,
}

impl Collector {
    /// Connects to the collector of the store at `dir`; `None` where there is none, or too many wait for it.
    pub(crate) fn reach(dir: &Path) -> Option<Collector> {
        let socket = open(&dir.join(SOCKET)).ok()?;
        Some(Collector { dir: dir.to_owned(), socket })
    }

    /// Hands it rows, as lines of text; whether it has stored them. `false` says that it never will.
    ///
    /// # Errors
    ///
    /// - [`Error::Refused`] where it will not have them at all
    /// - [`Error::OutcomeUnknown`] where they were handed over, and nobody says what became of them
    pub(crate) fn hand_over(self, rows: &[u8]) -> Result<bool, Error> {
        // Where no claim can be made, the ways that are left say what is wrong.
        let Ok(claim) = Claim::make(&self.dir) else { return Ok(false) };
        let mut exchange = Exchange { socket: self.socket, answer: Vec::new() };
        let answer = exchange.put(claim.name(), rows, Instant::now() + ANSWER_WITHIN);
        match answer {
            Ok((201, _)) => return Ok(true),
            // Somebody else had removed the claim, or the rows could not be kept: the collector has dropped the request.
            Ok((410, _)) => return Ok(false),
            _ => {}
        }
        match (claim.withdraw(), answer) {
            // It could not be kept now, or nobody answers: the next way is as good.
            (Ok(true), Ok((408 | 411 | 413 | 429 | 500..=599, _)) | Err(_)) => Ok(false),
            (Ok(true), Ok((status, text))) => Err(Error::Refused { status, text }),
            (Ok(false), Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
                outcome(exchange.answer(Instant::now() + OUTCOME_WITHIN))
            }
            (Ok(false), answer) => outcome(answer),
            (Err(error), _) => Err(Error::OutcomeUnknown(chain(&error))),
        }
    }
}

/// What an answer says where the claim is taken.
fn outcome(answer: io::Result<(u16, String)>) -> Result<bool, Error> {
    let why = match answer {
        Ok((201, _)) => return Ok(true),
        // It could not be kept, and the collector says so for good.
        Ok((410, _)) => return Ok(false),
        Ok((status, text)) => format!("the collector answered {status}: {text}"),
        Err(error) => format!("no answer from the collector: {error}"),
    };
    Err(Error::OutcomeUnknown(why))
}

/// Connects within [`ANSWER_WITHIN`]. The queue of a collector that is stopped may be full, and then a connection is
/// waited for.
fn open(path: &Path) -> io::Result<UnixStream> {
    let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&fd, sockopt::SendTimeout, &TimeVal::new(ANSWER_WITHIN.as_secs() as i64, 0))?;
    connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(UnixStream::from(fd))
}

/// One request and its answer.
struct Exchange {
    socket: UnixStream,
    /// As much of the answer as has come.
    answer: Vec<u8>,
}

impl Exchange {
    /// Sends rows and reads the answer: its status and its text.
    ///
    /// # Errors
    ///
    /// As [`Exchange::answer`].
    fn put(&mut self, claim: ClaimName, rows: &[u8], until: Instant) -> io::Result<(u16, String)> {
        let head = format!(
            "PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nDotter-Claim: {claim}\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            rows.len()
        );
        // One that refuses early answers before it has read everything.
        let sent = self.send(head.as_bytes(), until).and_then(|()| self.send(rows, until));
        self.answer(until).map_err(|error| sent.err().unwrap_or(error))
    }

    fn send(&mut self, mut bytes: &[u8], until: Instant) -> io::Result<()> {
        while !bytes.is_empty() {
            self.socket.set_write_timeout(Some(left(until)?))?;
            match self.socket.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if is_again(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads the rest of the answer, which ends with the connection.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::TimedOut`] where there is none by `until`; others where none will come.
    fn answer(&mut self, until: Instant) -> io::Result<(u16, String)> {
        let ended = self.read(until);
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut headers);
        if let Ok(httparse::Status::Complete(length)) = response.parse(&self.answer) {
            let text = String::from_utf8_lossy(&self.answer[length..]).trim().to_owned();
            return Ok((response.code.unwrap_or_default(), text));
        }
        ended?;
        Err(io::Error::new(io::ErrorKind::InvalidData, "connection closed"))
    }

    /// Reads until the end.
    fn read(&mut self, until: Instant) -> io::Result<()> {
        let mut piece = [0; 4096];
        while self.answer.len() < ANSWER_BYTES_MAX {
            self.socket.set_read_timeout(Some(left(until)?))?;
            match self.socket.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => self.answer.extend_from_slice(&piece[..count]),
                Err(error) if is_again(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// How much time is left.
///
/// # Errors
///
/// [`io::ErrorKind::TimedOut`] where none is.
fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// Whether a system call has only to be made again: its own timeout, or a signal, ended it.
fn is_again(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
