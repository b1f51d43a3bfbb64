//! A connection to tiny_http, kept open for one request after the other.
//!
//! tiny_http 0.12 gives a connection to a worker it believes idle and can be wrong when several come at
//! once; such a connection is never served. So a new one is *greeted* (a request of the door's own that
//! a handler thread answers) and used once the greeting is answered, and no two are greeted at a time.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::connection::Complete;
use crate::handlers::{BODY_IN_LINE_MAX, GREETING_TARGET, HEADER_BYTES_MAX};
use crate::response::HANDOVER_HEADER;

/// What handlers may make, and the lines that tiny_http adds.
const ANSWER_BYTES_MAX: usize = BODY_IN_LINE_MAX + HEADER_BYTES_MAX + 4096;
const HEADERS_MAX: usize = 256;
/// Far above what a busy machine needs; beyond it tiny_http no longer serves what is given to it.
const GREETING_MAX: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Private {
    pub(crate) socket: UnixStream,
    job: Option<Job>,
}

#[derive(Debug)]
struct Job {
    kind: Kind,
    request: Complete,
    written: usize,
    answer: Vec<u8>,
    begun: Instant,
}

#[derive(Debug)]
enum Kind {
    Greeting,
    /// The client's connection; none once it has gone, while the handler still runs.
    Client(Option<u64>),
}

/// What came of reading from a private connection.
#[derive(Debug)]
pub(crate) enum Outcome {
    Nothing,
    Greeted,
    Answered { client: Option<u64>, answer: Answer },
}

/// An answer of a handler, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Status line and the handler's header lines, without the empty line; framing is not among them.
    pub(crate) head: Vec<u8>,
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    pub(crate) content_length: usize,
    pub(crate) handover: Option<u64>,
    pub(crate) is_head: bool,
}

impl Private {
    /// Connects and greets.
    pub(crate) fn open(path: &Path, now: Instant) -> io::Result<Private> {
        let socket = UnixStream::connect(path)?;
        socket.set_nonblocking(true)?;
        let head = format!("OPTIONS {GREETING_TARGET} HTTP/1.1\r\n\r\n").into_bytes();
        let request = Complete { head, body: Vec::new(), is_head: false };
        let job = Job { kind: Kind::Greeting, request, written: 0, answer: Vec::new(), begun: now };
        let mut private = Private { socket, job: Some(job) };
        private.write()?;
        Ok(private)
    }

    pub(crate) fn is_free(&self) -> bool {
        self.job.is_none()
    }

    pub(crate) fn is_greeting(&self) -> bool {
        matches!(&self.job, Some(Job { kind: Kind::Greeting, .. }))
    }

    /// By when a greeting has to be answered. As many threads wait for requests as there are private
    /// connections, so one of them has nothing else to do.
    pub(crate) fn greeting_deadline(&self) -> Option<Instant> {
        let job = self.job.as_ref()?;
        matches!(job.kind, Kind::Greeting).then(|| job.begun + GREETING_MAX)
    }

    pub(crate) fn request_bytes(&self) -> usize {
        self.job.as_ref().map_or(0, |job| job.request.bytes())
    }

    pub(crate) fn wants_to_write(&self) -> bool {
        self.job.as_ref().is_some_and(|job| job.written < job.request.bytes())
    }

    pub(crate) fn begin(&mut self, client: u64, request: Complete, now: Instant) {
        let kind = Kind::Client(Some(client));
        self.job = Some(Job { kind, request, written: 0, answer: Vec::new(), begun: now });
    }

    /// Forgets a client that has gone. Its request still runs to its end: a handler cannot be stopped.
    pub(crate) fn forget(&mut self, gone: u64) {
        if let Some(Job { kind: Kind::Client(client), .. }) = &mut self.job
            && *client == Some(gone)
        {
            *client = None;
        }
    }

    /// The client to be told when this connection broke.
    pub(crate) fn client(&self) -> Option<u64> {
        match &self.job {
            Some(Job { kind: Kind::Client(client), .. }) => *client,
            _ => None,
        }
    }

    /// Writes what the socket takes of the request.
    pub(crate) fn write(&mut self) -> io::Result<()> {
        let Some(job) = &mut self.job else { return Ok(()) };
        loop {
            let head_bytes = job.request.head.len();
            let rest = match job.written.checked_sub(head_bytes) {
                None => &job.request.head[job.written..],
                Some(at) => &job.request.body[at..],
            };
            if rest.is_empty() {
                break;
            }
            match self.socket.write(rest) {
                Ok(count) => job.written += count,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        if job.written > 0 {
            job.request.head = Vec::new();
            job.request.body = Vec::new();
            job.written = 0;
        }
        Ok(())
    }

    /// Reads what is there of the answer.
    ///
    /// # Errors
    ///
    /// When tiny_http has closed the connection or sends what no handler asked it to.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Outcome> {
        let count = match self.socket.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(Outcome::Nothing);
            }
            Err(e) => return Err(e),
        };
        let Some(job) = &mut self.job else {
            return Err(io::Error::new(ErrorKind::InvalidData, "an answer without a request"));
        };
        job.answer.extend_from_slice(&buffer[..count]);
        let Some(answer) = take_apart(&job.answer, job.request.is_head)? else { return Ok(Outcome::Nothing) };
        let outcome = match job.kind {
            Kind::Greeting => Outcome::Greeted,
            Kind::Client(client) => Outcome::Answered { client, answer },
        };
        self.job = None;
        Ok(outcome)
    }
}

/// `None` while the answer is not whole.
fn take_apart(bytes: &[u8], is_head: bool) -> io::Result<Option<Answer>> {
    let invalid = |what: &'static str| io::Error::new(ErrorKind::InvalidData, what);
    if bytes.len() > ANSWER_BYTES_MAX {
        return Err(invalid("an answer above its limit"));
    }
    let mut lines = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut lines);
    let head_bytes = match response.parse(bytes) {
        Ok(httparse::Status::Complete(head_bytes)) => head_bytes,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(invalid("an answer that is not HTTP")),
    };
    let status = response.code.ok_or_else(|| invalid("an answer without a status"))?;
    let reason = response.reason.unwrap_or_default();
    let mut head = format!("HTTP/1.1 {status} {reason}\r\n").into_bytes();
    let (mut content_length, mut handover) = (0, None);
    for line in response.headers.iter() {
        let number = || std::str::from_utf8(line.value).ok().and_then(|value| value.parse::<u64>().ok());
        if line.name.eq_ignore_ascii_case("Content-Length") {
            content_length = number().ok_or_else(|| invalid("an answer without a length"))? as usize;
        } else if line.name.eq_ignore_ascii_case(HANDOVER_HEADER) {
            handover = number();
        } else if line.name.eq_ignore_ascii_case("Transfer-Encoding") {
            return Err(invalid("a chunked answer"));
        } else if !line.name.eq_ignore_ascii_case("Connection") {
            for part in [line.name.as_bytes(), b": ", line.value, b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
    }
    let bodyless = is_head || matches!(status, 204 | 304);
    let body = &bytes[head_bytes..];
    match body.len().cmp(&if bodyless { 0 } else { content_length }) {
        std::cmp::Ordering::Less => Ok(None),
        std::cmp::Ordering::Greater => Err(invalid("an answer longer than its length")),
        std::cmp::Ordering::Equal => {
            Ok(Some(Answer { head, status, body: body.to_vec(), content_length, handover, is_head }))
        }
    }
}
