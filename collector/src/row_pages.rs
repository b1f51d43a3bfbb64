//! Rows over HTTP, as lines of text: `PUT /` keeps them, `GET /store/KEY` gives them out, `DELETE` takes them away.
//!
//! A body is one transaction. What is given out is made as it is sent: memory is a piece of a series and the queue
//! of one answer, however much is asked for.
//!
//! Source: the way `sonnerie-serve` speaks.

use std::ops::ControlFlow;

use dotter_daemon::chain;
use dotter_dot::{SeriesName, TimeRange, Timestamp};
use dotter_http::{ByteSender, Method, Request, Response, byte_stream};
use dotter_intake::row_text::{RowWriter, TimeWriter, Times, parse_time, read_body};
use dotter_store::{ClaimName, Deletion, Pattern, Snapshot};

use crate::data::{PAGES, Site, not_now, wrong};
use crate::ingest::{NotNow, Place};
use crate::parameters;

/// Names a file in `claim/` of the store: the rows are stored by whoever unlinks it.
const CLAIM_HEADER: &str = "Dotter-Claim";
/// Answers that are being made at once.
pub(crate) const ANSWERS_AT_ONCE: usize = 8;
/// Lines are sent in pieces of this.
const PIECE_BYTES: usize = 64 << 10;
/// What waits for whoever reads slowly.
const QUEUE_BYTES: usize = 256 << 10;

impl Site {
    /// Keeps the rows of a body, all of them or none.
    pub(crate) fn put_rows(&self, request: &Request) -> Response {
        let read = |body: &[u8]| read_body(body).map_err(|error| format!("{error}; nothing stored"));
        match parameters::check(&request.query, &[]).and_then(|()| read_claim(request)) {
            Ok(claim) => self.take_body(request, read, claim, 201),
            Err(text) => wrong(&text),
        }
    }

    /// As [`rows`](Self::rows), where there is such a series.
    pub(crate) fn rows_if_any(&self, key: &str, request: &Request) -> Response {
        match self.history.snapshot() {
            Ok(snapshot) if Pattern::new(key).name().is_some_and(|name| !snapshot.contains(name)) => {
                Response::text(404, PAGES)
            }
            _ => self.rows(key, request),
        }
    }

    /// The rows of the series that `key` means, one by its name, or some by a pattern with `%`; no lines where
    /// there is none.
    pub(crate) fn rows(&self, key: &str, request: &Request) -> Response {
        let asked = || -> Result<_, String> {
            let range = read_range(request, &["after", "before", "human", "format"])?;
            let flag = |name| parameters::flag(&request.query, name);
            Ok((range, flag("human")?, flag("format")?))
        };
        let (range, is_human, has_format) = match asked() {
            Ok(asked) => asked,
            Err(text) => return wrong(&text),
        };
        let snapshot = match self.history.snapshot() {
            Ok(snapshot) => snapshot,
            Err(error) => return self.unreadable(key, &chain(&error)),
        };
        let times = if is_human { Times::Rfc3339 } else { Times::Nanos };
        let answer = Answer {
            names: snapshot.matching(&Pattern::new(key)),
            snapshot,
            range,
            writer: RowWriter::new(TimeWriter::new(times, None), has_format),
        };
        if request.method == Method::Head {
            return Response::text(200, "");
        }
        let Some(place) = self.answers.try_take() else { return self.put_off() };
        let (sender, response) = byte_stream("text/plain; charset=utf-8", QUEUE_BYTES);
        let log = self.log.clone();
        let making = std::thread::Builder::new().name("rows".into()).spawn(move || {
            if let Err(error) = answer.send(sender, place) {
                log.warn("read", &format!("an answer was broken off: {}", chain(&error)));
            }
        });
        match making {
            Ok(_) => response,
            Err(error) => self.unreadable(key, &format!("no thread for it: {error}")),
        }
    }

    /// Deletes dots of the series that `key` means.
    pub(crate) fn delete_rows(&self, key: &str, request: &Request) -> Response {
        let range = match read_range(request, &["after", "before"]) {
            Ok(range) => range,
            Err(text) => return wrong(&text),
        };
        let deletion = Deletion { pattern: Pattern::new(key), first_key: None, last_key: None, range };
        // It waits for the disk in a thread of the front door.
        let Some(_place) = self.large.try_take() else { return not_now(&NotNow::QueueFull) };
        match dotter_store::delete(&self.dir, &deletion) {
            Ok(()) => Response::text(200, "deleted\n"),
            Err(error @ (dotter_store::Error::Key { .. } | dotter_store::Error::TooManyDeletions { .. })) => {
                wrong(&chain(&error))
            }
            Err(error) => not_now(&NotNow::of(&error)),
        }
    }

    fn unreadable(&self, key: &str, text: &str) -> Response {
        self.log.warn("read", &format!("series {key} could not be read: {text}"));
        Response::text(503, format!("{text}\n")).header("Retry-After", "1")
    }
}

/// What is to be given out.
struct Answer {
    names: Vec<SeriesName>,
    snapshot: Snapshot,
    range: TimeRange,
    writer: RowWriter,
}

impl Answer {
    /// - `_place`: held until the last line is queued
    fn send(mut self, sender: ByteSender, _place: Place) -> Result<(), dotter_store::Error> {
        let mut scan = self.snapshot.scan();
        let mut lines = Vec::with_capacity(PIECE_BYTES + 4096);
        let mut is_gone = false;
        for name in &self.names {
            scan.rows(name.as_str(), self.range, |row| {
                let letters = row.shape().format().as_str();
                self.writer.write(name.as_str(), row.time(), letters, row.cells(), &mut lines);
                if lines.len() >= PIECE_BYTES {
                    is_gone = !sender.send(std::mem::take(&mut lines));
                }
                if is_gone { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            if is_gone {
                return Ok(());
            }
        }
        if sender.send(lines) {
            sender.finish();
        }
        Ok(())
    }
}

/// The claim that goes with the rows, if one does.
fn read_claim(request: &Request) -> Result<Option<ClaimName>, String> {
    let Some(text) = request.headers.get(CLAIM_HEADER) else { return Ok(None) };
    let wrong =
        || format!("found '{text}' in the header {CLAIM_HEADER}, expected 16 hex digits; nothing stored");
    ClaimName::parse(text).map(Some).ok_or_else(wrong)
}

/// From `after` on, up to `before`, as on the command line.
///
/// - `known`: every parameter there may be
fn read_range(request: &Request, known: &[&str]) -> Result<TimeRange, String> {
    parameters::check(&request.query, known)?;
    let moment = |key: &str, without| match request.query.get(key) {
        Some(text) => parse_time(text).map_err(|error| format!("{key}: {error}")),
        None => Ok(without),
    };
    Ok(TimeRange::new(moment("after", Timestamp::MIN)?, moment("before", Timestamp::MAX)?))
}
