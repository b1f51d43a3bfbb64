//! What the running collector is asked to do, through its socket file: to store a transaction, or to close the log's
//! file.
//!
//! The collector may be stopped, or its disk slow, so that it does not read the request. A claim goes with the
//! request, and the collector takes the claim just before it appends. Always true:
//!
//! - `false` is returned only after the claim was withdrawn or the collector has dropped the request, so the
//!   transaction is never committed by the collector later
//! - where the claim is taken and no answer tells the outcome, the result is an error, and the rows go no other way

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

/// How long the sender waits for an answer before it withdraws the claim.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// How much longer the sender waits for an answer where the claim is taken.
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

    /// Asks the collector to go on in a new file of the log, so that everything before it can be sealed.
    pub(crate) fn close_file(self) -> Closed {
        let mut exchange = Exchange { socket: self.socket, answer: Vec::new() };
        match exchange.ask("POST /-/close-file", "", &[], Instant::now() + ANSWER_WITHIN) {
            Ok((200, _)) => Closed::Yes,
            Ok((status @ 400..=499, text)) if status != 408 && status != 429 => Closed::Never(format!(
                "the collector cannot close the log's file, it answered {status}: {text}"
            )),
            Ok((status, text)) => Closed::NotNow(format!("the collector answered {status}: {text}")),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                Closed::NotNow(format!("the collector did not answer within {} s", ANSWER_WITHIN.as_secs()))
            }
            Err(error) => Closed::NotNow(format!("no answer from the collector: {error}")),
        }
    }

    /// Hands rows to the collector, as lines of text. `true`: it has stored them. `false`: it never will.
    ///
    /// # Errors
    ///
    /// - [`Error::Refused`] where the collector refuses the rows for good, or its disk has no room for them
    /// - [`Error::OutcomeUnknown`] where the collector has taken the claim and no answer says what became of the rows
    pub(crate) fn hand_over(self, rows: &[u8]) -> Result<bool, Error> {
        // Where no claim can be made, the next way fails too and says what is wrong.
        let Ok(claim) = Claim::make(&self.dir) else { return Ok(false) };
        let mut exchange = Exchange { socket: self.socket, answer: Vec::new() };
        let answer = exchange.put(claim.name(), rows, Instant::now() + ANSWER_WITHIN);
        match answer {
            Ok((201, _)) => return Ok(true),
            // The claim was removed by another process: the collector says that it has dropped the request.
            Ok((410, _)) => return Ok(false),
            _ => {}
        }
        match (claim.withdraw(), answer) {
            // The disk has no room, or its reserve is reached: another way would write to the same disk.
            (Ok(true), Ok((507, text))) => Err(Error::Refused { status: 507, text }),
            // The collector cannot store the rows now, or does not answer: take the next way.
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

/// Whether the collector has closed the file of the log.
pub(crate) enum Closed {
    Yes,
    /// It may the next time; why it has not.
    NotNow(String),
    /// It never will, as a collector of an earlier version; what it says.
    Never(String),
}

/// The outcome that an answer tells, where the claim is taken.
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

/// Connects within [`ANSWER_WITHIN`]. The queue of a collector that is stopped may be full, and then connecting
/// blocks.
fn open(path: &Path) -> io::Result<UnixStream> {
    let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&fd, sockopt::SendTimeout, &TimeVal::new(ANSWER_WITHIN.as_secs() as i64, 0))?;
    connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(UnixStream::from(fd))
}

/// One request and its answer.
struct Exchange {
    socket: UnixStream,
    /// The bytes of the answer that have come so far.
    answer: Vec<u8>,
}

impl Exchange {
    /// Sends rows with their claim and reads the answer.
    ///
    /// # Errors
    ///
    /// As [`Exchange::answer`].
    fn put(&mut self, claim: ClaimName, rows: &[u8], until: Instant) -> io::Result<(u16, String)> {
        self.ask("PUT /", &format!("Content-Type: text/plain\r\nDotter-Claim: {claim}\r\n"), rows, until)
    }

    /// Sends a request and reads the answer: its status and its text.
    ///
    /// - `what`: method and path
    /// - `headers`: further header lines, each with its end
    ///
    /// # Errors
    ///
    /// As [`Exchange::answer`].
    fn ask(&mut self, what: &str, headers: &str, body: &[u8], until: Instant) -> io::Result<(u16, String)> {
        let head = format!(
            "{what} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        // A collector that refuses a request may answer before it has read all of it.
        let sent = self.send(head.as_bytes(), until).and_then(|()| self.send(body, until));
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
    /// [`io::ErrorKind::TimedOut`] where no answer has come by `until`; other kinds where none will come.
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
/// [`io::ErrorKind::TimedOut`] where no time is left.
fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// Whether a system call must be made again, because its own timeout or a signal has ended it.
fn is_again(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
