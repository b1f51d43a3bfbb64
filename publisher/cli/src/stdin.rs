//! Standard input: a dot a line.
//!
//! Always true: a bad line costs nobody but itself, and memory does not grow with what comes in.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use dotter_daemon::stop_on_signals;
use dotter_publisher::{Publisher, Series, Timestamp};

use crate::{Error, Size, publisher};

/// What is read at once.
const CHUNK_BYTES: usize = 64 << 10;
/// A longer line is thrown away.
const LINE_BYTES_MAX: usize = 64 << 10;

/// Lines of `series value [time]`.
#[derive(Debug)]
pub struct Stdin {
    /// Where the ring goes.
    pub path: Option<PathBuf>,
    /// How much a lane holds.
    pub size: Size,
}

/// What the publishing thread hears.
enum Event {
    Bytes(Vec<u8>),
    Failed(std::io::Error),
    End,
    Stop,
}

impl Stdin {
    pub(crate) fn run(self) -> Result<(), Error> {
        let stop = stop_on_signals().map_err(Error::io("cannot take signals"))?;
        let publisher = publisher("stdin", self.path.as_deref(), Some(self.size))?;
        eprintln!("dotter-publisher: publishing standard input in {}", publisher.path().display());
        // Reading cannot be interrupted, so it has a thread of its own, which may be left behind.
        let (to, events) = sync_channel(4);
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            let builder = std::thread::Builder::new().name(name.into());
            builder.spawn(work).map(|_| ()).map_err(Error::io("cannot start a thread"))
        };
        let told = to.clone();
        spawn("reader", Box::new(move || read(std::io::stdin().lock(), &to)))?;
        spawn(
            "stop",
            Box::new(move || {
                while !stop.wait(std::time::Duration::from_secs(3600)) {}
                let _ = told.send(Event::Stop);
            }),
        )?;
        let mut lines = Lines::new(publisher);
        let result = lines.take_all(&events);
        eprintln!("dotter-publisher: {}", lines.totals);
        result
    }
}

/// Sends what can be read, until nothing can or nobody listens.
fn read(mut input: impl Read, to: &SyncSender<Event>) {
    loop {
        let mut chunk = vec![0; CHUNK_BYTES];
        let event = match input.read(&mut chunk) {
            Ok(0) => Event::End,
            Ok(count) => {
                chunk.truncate(count);
                Event::Bytes(chunk)
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => Event::Failed(error),
        };
        let more = matches!(event, Event::Bytes(_));
        if to.send(event).is_err() || !more {
            return;
        }
    }
}

/// Why a line is no dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Bad {
    TooLong,
    NotUtf8,
    Fields,
    Name,
    Value,
    Time,
}

#[derive(Debug, Default)]
struct Totals {
    dots: u64,
    refused: u64,
    bad: BTreeMap<Bad, u64>,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bad: u64 = self.bad.values().sum();
        write!(f, "{} dots published, {} refused, {bad} bad lines", self.dots, self.refused)?;
        for (index, (reason, count)) in self.bad.iter().enumerate() {
            let word = match reason {
                Bad::TooLong => "longer than 64 KiB",
                Bad::NotUtf8 => "not UTF-8",
                Bad::Fields => "not 2 or 3 fields",
                Bad::Name => "no series name",
                Bad::Value => "no value",
                Bad::Time => "no time",
            };
            write!(f, "{} {count} {word}", if index == 0 { ":" } else { "," })?;
        }
        Ok(())
    }
}

/// Bytes become lines, lines become dots.
struct Lines {
    publisher: Publisher,
    series: HashMap<String, Series>,
    /// The beginning of a line whose end has not come yet.
    rest: Vec<u8>,
    /// The line is too long already; the rest of it is thrown away.
    skipping: bool,
    totals: Totals,
}

impl Lines {
    fn new(publisher: Publisher) -> Lines {
        let (series, rest) = (HashMap::new(), Vec::new());
        Lines { publisher, series, rest, skipping: false, totals: Totals::default() }
    }

    fn take_all(&mut self, events: &Receiver<Event>) -> Result<(), Error> {
        for event in events {
            match event {
                Event::Bytes(bytes) => self.take(&bytes),
                Event::Failed(error) => return Err(Error::io("cannot read standard input")(error)),
                Event::End => {
                    self.end();
                    break;
                }
                Event::Stop => break,
            }
        }
        Ok(())
    }

    fn take(&mut self, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, after) = (&bytes[..end], &bytes[end + 1..]);
            bytes = after;
            if self.rest.is_empty() && !self.skipping {
                self.line(line);
            } else {
                self.keep(line);
                self.end();
            }
        }
        self.keep(bytes);
    }

    /// Adds to the unfinished line, as far as it may grow.
    fn keep(&mut self, bytes: &[u8]) {
        self.skipping |= self.rest.len() + bytes.len() > LINE_BYTES_MAX;
        if self.skipping {
            self.rest.clear();
        } else {
            self.rest.extend_from_slice(bytes);
        }
    }

    /// Finishes the unfinished line.
    fn end(&mut self) {
        let line = std::mem::take(&mut self.rest);
        if std::mem::take(&mut self.skipping) {
            *self.totals.bad.entry(Bad::TooLong).or_default() += 1;
        } else {
            self.line(&line);
        }
        self.rest = line;
        self.rest.clear();
    }

    fn line(&mut self, line: &[u8]) {
        if line.trim_ascii().is_empty() {
            return;
        }
        let done = if line.len() > LINE_BYTES_MAX { Err(Bad::TooLong) } else { self.dot(line) };
        if let Err(bad) = done {
            *self.totals.bad.entry(bad).or_default() += 1;
        }
    }

    fn dot(&mut self, line: &[u8]) -> Result<(), Bad> {
        let text = std::str::from_utf8(line).map_err(|_| Bad::NotUtf8)?;
        let (name, rest) = split_name(text.trim_ascii());
        let mut fields = rest.split_ascii_whitespace();
        let value = fields.next().ok_or(Bad::Fields)?;
        let time = fields.next();
        if fields.next().is_some() {
            return Err(Bad::Fields);
        }
        let value: f64 = value.parse().map_err(|_| Bad::Value)?;
        let time = time.map(parse_time).transpose()?;
        let known = self.series.get(&name).cloned();
        let series = match known {
            Some(series) => series,
            None => {
                let series = self.publisher.series(&name).map_err(|_| Bad::Name)?;
                // A name the ring has no room for is not kept here either, so this cannot outgrow the ring.
                if !series.is_refused() {
                    self.series.insert(name, series.clone());
                }
                series
            }
        };
        match time {
            Some(time) => series.dot_at(time, value),
            None => series.dot(value),
        }
        let count = if series.is_refused() { &mut self.totals.refused } else { &mut self.totals.dots };
        *count += 1;
        Ok(())
    }
}

/// The name up to the first blank without a backslash before it, and what follows.
fn split_name(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => name.extend(chars.next().map(|(_, c)| c)),
            c if c.is_ascii_whitespace() => return (name, &text[at..]),
            c => name.push(c),
        }
    }
    (name, "")
}

fn parse_time(text: &str) -> Result<Timestamp, Bad> {
    // Only a date has a colon; a number may have a minus in its exponent.
    let time =
        if text.contains(':') { Timestamp::parse_rfc3339(text) } else { Timestamp::parse_seconds(text) };
    time.map_err(|_| Bad::Time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(dir: &std::path::Path) -> Lines {
        let options = Publisher::options().path(dir).registry_bytes(4096).lane_dots(1);
        Lines::new(options.open().unwrap())
    }

    #[test]
    fn a_bad_line_costs_nobody_but_itself() {
        let dir = tempfile::tempdir().unwrap();
        let mut lines = lines(dir.path());
        let mut input = b"a 1\n\n  b 2 1710504000.25  \nc\nd x\ne 5 yesterday\nf 6 7 8\n".to_vec();
        input.extend_from_slice(b"\xff 1\n\x01 1\ng\\ h 1e3 2024-03-15T12:00:00Z\r\n");
        input.extend(std::iter::repeat_n(b'x', LINE_BYTES_MAX + 1));
        input.extend_from_slice(b"\nlast nan");
        // However it is cut.
        for chunk in input.chunks(7) {
            lines.take(chunk);
        }
        lines.end();
        assert_eq!(lines.totals.dots, 4);
        let expected = [
            (Bad::TooLong, 1),
            (Bad::NotUtf8, 1),
            (Bad::Fields, 2),
            (Bad::Name, 1),
            (Bad::Value, 1),
            (Bad::Time, 1),
        ];
        assert_eq!(lines.totals.bad, BTreeMap::from(expected));
        let mut names: Vec<&str> = lines.series.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["a", "b", "g h", "last"]);
        assert_eq!(lines.publisher.published()[0], 4);
    }

    #[test]
    fn names_beyond_the_registry_are_refused_and_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut lines = lines(dir.path());
        for number in 0..1000 {
            lines.take(format!("series.{number} 1\n").as_bytes());
        }
        assert!(lines.series.len() < 200, "{}", lines.series.len());
        assert_eq!(lines.totals.dots + lines.totals.refused, 1000);
        assert_eq!(lines.publisher.refused().series, lines.totals.refused);
    }
}
