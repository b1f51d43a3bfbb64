//! Rows over HTTP, as lines of text: `PUT /` keeps them, `GET /store/KEY` gives them out, `DELETE` takes them away.
//!
//! A body is one transaction. What is given out is made as it is sent: memory is a piece of a series and the queue
//! of one answer, however much is asked for.
//!
//! Source: the way `sonnerie-serve` speaks.

use std::ops::ControlFlow;

use dotter_daemon::chain;
use dotter_dot::{BYTE_ORDER_MARK, SeriesName, Shape, TimeRange, Timestamp};
use dotter_http::{ByteSender, Method, Request, Response, byte_stream};
use dotter_store::{Deletion, Pattern, Snapshot};

use crate::data::{PAGES, Site, not_now, wrong};
use crate::ingest::{NotNow, Place};
use crate::parameters;
use crate::row_text::{Cell, RowReader, RowWriter, TimeReader, TimeUnit, TimeWriter, Times, parse_time};
use crate::rows::Rows;

/// Answers that are being made at once.
pub(crate) const ANSWERS_AT_ONCE: usize = 8;
/// Lines are sent in pieces of this.
const PIECE_BYTES: usize = 64 << 10;
/// What waits for whoever reads slowly.
const QUEUE_BYTES: usize = 256 << 10;

impl Site {
    /// Keeps the rows of a body, all of them or none.
    pub(crate) fn put_rows(&self, request: &Request) -> Response {
        match parameters::check(&request.query, &[]) {
            Ok(()) => self.take_body(request, read_rows, 201),
            Err(text) => wrong(&text),
        }
    }

    /// As [`rows`](Self::rows), where there is such a series.
    pub(crate) fn rows_if_any(&self, key: &str, request: &Request) -> Response {
        match self.history.snapshot() {
            Ok(snapshot) if !key.contains('%') && !snapshot.contains(key) => Response::text(404, PAGES),
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
            Err(error) => not_now(&crate::commit::not_now(&error)),
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

/// The lines of a body.
fn read_rows(body: &[u8]) -> Result<Rows, String> {
    let text = std::str::from_utf8(body)
        .map_err(|error| format!("byte {} of the body is no UTF-8; nothing stored", error.valid_up_to()))?;
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let mut rows = Rows::default();
    let mut reader = RowReader::new(TimeReader::new(None, TimeUnit::Ns), None, "", &[])?;
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        read_row(&mut reader, line, &mut rows)
            .map_err(|error| format!("line {}: {error}; nothing stored", index + 1))?;
    }
    Ok(rows)
}

fn read_row(reader: &mut RowReader, line: &str, rows: &mut Rows) -> Result<(), String> {
    let row = reader.read(line)?;
    let name = || SeriesName::new(&row.name).map_err(|error| error.to_string());
    let known = if *row.shape == Shape::number() { rows.find(&row.name) } else { None };
    let series = match known {
        Some(series) => series,
        None => rows.series_of(name()?, row.shape.clone()),
    };
    match row.cell {
        Cell::Word(word) => rows.push_word(series, row.time, word),
        Cell::Row(bytes) => rows.push_row(series, row.time, bytes),
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_body_are_read_or_the_line_is_named() {
        let rows = read_rows(b"a 1 F 2.5\n\nb\\ c 2 Fs 1 a\\ line\n a  3\tU 7\r\nplain 4 1e3\n").unwrap();
        let found: Vec<_> =
            rows.all().into_iter().map(|(name, format, time, _)| (name, format, time)).collect();
        let expected = [("a", "F", 1), ("b c", "Fs", 2), ("a", "U", 3), ("plain", "F", 4)];
        assert_eq!(found, expected.map(|(name, format, time)| (name.to_owned(), format.to_owned(), time)));
        let marked = read_rows("\u{feff}a 1 F 2.5\n".as_bytes()).unwrap();
        assert_eq!(marked.all()[0].0, "a", "a byte order mark is no part of a name");
        let check = |body: &[u8], expected: &str| {
            let error = read_rows(body).unwrap_err();
            assert!(error.contains(expected) && error.ends_with("nothing stored"), "{error}");
        };
        check(b"a 1 2\nb 1\n", "line 2: ");
        check(b"a 1 i 2147483648\n", "line 1: ");
        check(b"a 1 2\n\xff\n", "byte 6 of the body is no UTF-8");
        check(b"a yesterday 2", "line 1: ");
    }
}
