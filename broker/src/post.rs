//! One collector behind one URL, and what it says to a post.
//!
//! Always true: only a status of 200 or 409 with a whole, well-formed [`Answer`] for the ring that was posted
//! comes back as one. Whatever else a server does, redirect, stream without end, speak HTML or fall silent, is a
//! [`Failure`] after bounded time and bounded memory, and moves nothing.

use std::fmt;
use std::io::{self, Read as _};
use std::time::Duration;

use dotter_dot::Incarnation;
use dotter_wire::{Answer, CONTENT_TYPE, DecodeError};
use ureq::{Agent, Body, http};

use crate::backoff::Cause;

/// The longest answer that is read: a ring has at most 4,096 lanes, each named in at most 27 bytes.
const ANSWER_BYTES_MAX: u64 = 256 << 10;
/// The longest head of an answer that is read.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// How much of a refusal is quoted.
const QUOTE_CHARS_MAX: usize = 160;

const TIMEOUT_CONNECT: Duration = Duration::from_secs(5);
const TIMEOUT_SEND: Duration = Duration::from_secs(20);
/// Long enough for a collector that waits for a slow disk.
const TIMEOUT_ANSWER: Duration = Duration::from_secs(20);
const TIMEOUT_BODY: Duration = Duration::from_secs(5);
const TIMEOUT_WHOLE: Duration = Duration::from_secs(40);
/// Below the time after which a collector closes a connection that is idle.
const IDLE_CONNECTION: Duration = Duration::from_secs(10);
/// No server sends the broker to sleep for longer.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// Posts to one URL over connections that are kept. Cheap to clone; clones share the connections.
#[derive(Clone)]
pub(crate) struct Poster {
    agent: Agent,
    url: String,
    authorization: Option<String>,
}

/// What the collector answered.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) answer: Answer,
    /// 409: nothing was stored, the answer says what is wanted.
    pub(crate) conflict: bool,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nobody there: no address, refused, no route, no connection in time.
    Unreachable(ureq::Error),
    /// The connection broke or fell silent after it was made.
    Broken(ureq::Error),
    /// The answer ended early or never ended.
    BrokenAnswer(io::Error),
    /// 429, 503 or 507: not now, whoever asks.
    Busy { status: u16, retry_after: Option<Duration>, text: String },
    /// 413: the message is too large for the collector or something before it.
    TooLarge { text: String },
    /// An answer to this batch longer than is read.
    LongAnswer,
    /// Another status.
    Status { status: u16, text: String },
    /// A head of an answer that is none or has no end, or a redirect.
    Http(ureq::Error),
    /// 200 or 409 with another thing than an answer in it.
    NotAnAnswer { status: u16, source: DecodeError },
    /// An answer about another ring.
    OtherRing(Incarnation),
    /// An answer that lacks a lane that was posted.
    LaneMissing(u32),
}

impl Poster {
    pub(crate) fn new(url: &str, token: Option<&str>, connections_max: usize) -> Poster {
        let config = Agent::config_builder()
            .timeout_resolve(Some(TIMEOUT_CONNECT))
            .timeout_connect(Some(TIMEOUT_CONNECT))
            .timeout_send_request(Some(TIMEOUT_SEND))
            .timeout_send_body(Some(TIMEOUT_SEND))
            .timeout_recv_response(Some(TIMEOUT_ANSWER))
            .timeout_recv_body(Some(TIMEOUT_BODY))
            .timeout_global(Some(TIMEOUT_WHOLE))
            // A redirect turns the POST into a GET, whose 200 would be no ack.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .http_status_as_error(false)
            .max_response_header_size(HEAD_BYTES_MAX)
            .max_idle_connections(connections_max)
            .max_idle_connections_per_host(connections_max)
            .max_idle_age(IDLE_CONNECTION)
            .user_agent(concat!("dotter-broker/", env!("CARGO_PKG_VERSION")))
            .build();
        let authorization = token.map(|token| format!("Bearer {token}"));
        Poster { agent: config.new_agent(), url: url.to_owned(), authorization }
    }

    /// Posts one message about `incarnation`; the answer must name all of `lanes`.
    pub(crate) fn post(
        &self,
        message: &[u8],
        incarnation: Incarnation,
        lanes: impl IntoIterator<Item = u32>,
    ) -> Result<Reply, Failure> {
        let mut request = self.agent.post(&self.url).content_type(CONTENT_TYPE);
        if let Some(authorization) = &self.authorization {
            request = request.header(http::header::AUTHORIZATION, authorization);
        }
        let response = request.send(message).map_err(Failure::of_post)?;
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers());
        let body = read(response.into_body());
        if !matches!(status, 200 | 409) {
            let text = body.map(|body| quote(&body)).unwrap_or_default();
            return Err(match status {
                413 => Failure::TooLarge { text },
                429 | 503 | 507 => Failure::Busy { status, retry_after, text },
                _ => Failure::Status { status, text },
            });
        }
        let body = body?;
        if body.len() as u64 > ANSWER_BYTES_MAX {
            return Err(Failure::LongAnswer);
        }
        let answer = Answer::from_json(&String::from_utf8_lossy(&body))
            .map_err(|source| Failure::NotAnAnswer { status, source })?;
        if answer.incarnation != incarnation {
            return Err(Failure::OtherRing(answer.incarnation));
        }
        let is_kept = status == 200 && answer.is_kept();
        if let Some(lane) = lanes.into_iter().find(|lane| !is_kept && answer.next(*lane).is_none()) {
            return Err(Failure::LaneMissing(lane));
        }
        Ok(Reply { answer, conflict: status == 409 })
    }
}

/// Reads a body up to one byte past the longest answer.
fn read(body: Body) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let mut reader = body.into_reader().take(ANSWER_BYTES_MAX + 1);
    reader.read_to_end(&mut bytes).map_err(Failure::BrokenAnswer)?;
    Ok(bytes)
}

/// Whole seconds; a date is not understood and leaves the pause to us.
fn retry_after(headers: &http::HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

fn quote(body: &[u8]) -> String {
    // Four bytes hold any character.
    let head = &body[..body.len().min(4 * QUOTE_CHARS_MAX)];
    String::from_utf8_lossy(head).trim().chars().take(QUOTE_CHARS_MAX).collect()
}

impl Failure {
    fn of_post(error: ureq::Error) -> Failure {
        use io::ErrorKind::*;
        use ureq::{Error, Timeout};
        match &error {
            Error::Io(cause) => match cause.kind() {
                ConnectionReset | BrokenPipe | ConnectionAborted | UnexpectedEof | NotConnected
                | TimedOut | WouldBlock => Failure::Broken(error),
                _ => Failure::Unreachable(error),
            },
            Error::Timeout(Timeout::Resolve | Timeout::Connect)
            | Error::HostNotFound
            | Error::ConnectionFailed => Failure::Unreachable(error),
            Error::Timeout(_) => Failure::Broken(error),
            _ => Failure::Http(error),
        }
    }

    /// Whether the next ring would fare no better: the pause is the collector's, not this ring's.
    pub(crate) fn concerns_all(&self) -> bool {
        matches!(self, Failure::Unreachable(_) | Failure::Busy { .. })
    }

    /// Whether the connection failed or somebody said no.
    pub(crate) fn cause(&self) -> Cause {
        match self {
            Failure::Unreachable(_) | Failure::Broken(_) | Failure::BrokenAnswer(_) => Cause::Connection,
            _ => Cause::Refused,
        }
    }

    /// Whether a smaller message has a better chance: at once where the size was named, otherwise where it keeps
    /// happening.
    pub(crate) fn may_be_size(&self) -> Option<Size> {
        match self {
            Failure::TooLarge { .. } | Failure::LongAnswer => Some(Size::Named),
            Failure::Broken(ureq::Error::Timeout(_)) => Some(Size::Named),
            Failure::Broken(_) | Failure::BrokenAnswer(_) => Some(Size::Suspected),
            _ => None,
        }
    }

    /// The pause the collector asked for.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Failure::Busy { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// How likely it is that a message was too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    Named,
    Suspected,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Unreachable(error) | Failure::Broken(error) | Failure::Http(error) => {
                write!(f, "{error}")
            }
            Failure::BrokenAnswer(error) => write!(f, "the answer broke off: {error}"),
            Failure::Busy { status, text, .. } | Failure::Status { status, text } => {
                write!(f, "status {status}, expected 200: '{text}'")
            }
            Failure::TooLarge { text } => write!(f, "status 413, the message is too large: '{text}'"),
            Failure::LongAnswer => write!(f, "the answer has more than {ANSWER_BYTES_MAX} bytes"),
            Failure::NotAnAnswer { status, source } => {
                write!(f, "status {status} without an answer in it, is this a collector? {source}")?;
                std::error::Error::source(source).map_or(Ok(()), |cause| write!(f, ": {cause}"))
            }
            Failure::OtherRing(found) => write!(f, "the answer is about another ring, {found}"),
            Failure::LaneMissing(lane) => write!(f, "the answer lacks lane {lane}"),
        }
    }
}
