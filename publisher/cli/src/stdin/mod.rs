//! Standard input: lines that are dots, or that become dots second by second.
//!
//! Always true: a bad line costs nobody but itself, memory does not grow with what comes in, and what was
//! taken in is published when the input ends, the program is asked to stop, or nothing comes for a while.

mod aggregation;
mod cutter;
mod input;
mod percentile;
mod times;
mod totals;
mod windows;

use std::collections::HashMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use dotter_daemon::stop_on_signals;
use dotter_dot::BYTE_ORDER_MARK;
use dotter_publisher::{Publisher, Series};

use crate::{Error, Size, publisher};
use cutter::{Cutter, Line};
use input::{Bad, Reading};
use totals::{Talk, Totals};
use windows::{Late, Now, Windows};

pub use aggregation::{Aggregation, AggregationError, Function};
pub use input::{Input, Pattern, PatternError};

/// What is read at once.
const CHUNK_BYTES: usize = 64 << 10;

/// Dots from standard input.
#[derive(Debug)]
pub struct Stdin {
    /// Where the ring goes.
    pub path: Option<PathBuf>,
    /// How much a lane holds.
    pub size: Size,
    /// How lines are to be understood.
    pub input: Input,
    /// What becomes of the numbers in them.
    pub aggregation: Aggregation,
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
        let mut talk = Talk::new();
        talk.info(&format!("publishing standard input in {}", publisher.path().display()));
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
                while !stop.wait(Duration::from_secs(3600)) {}
                let _ = told.send(Event::Stop);
            }),
        )?;
        let mut dots = Dots::new(publisher, self.input, self.aggregation, talk);
        let result = dots.take_all(&events);
        dots.talk.info(&dots.totals.to_string());
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

/// Lines become dots.
struct Dots {
    cutter: Cutter,
    lines: Lines,
    windows: Option<Windows>,
    talk: Talk,
    totals: Totals,
}

/// What lines say, and about which series.
struct Lines {
    publisher: Publisher,
    input: Input,
    /// Whether values are seconds, whatever becomes of them.
    seconds: bool,
    /// Lines so far, empty ones too.
    count: u64,
    series: Vec<Series>,
    /// Where in `series` the one of a name is.
    places: HashMap<String, usize>,
}

impl Dots {
    fn new(publisher: Publisher, input: Input, aggregation: Aggregation, talk: Talk) -> Dots {
        let mut seconds = matches!(input, Input::Nginx { .. });
        let windows = match aggregation {
            Aggregation::None => None,
            Aggregation::Steps { function, step } => {
                seconds &= !function.counts();
                Some(Windows::new(function, step))
            }
        };
        let lines = Lines { publisher, input, seconds, count: 0, series: Vec::new(), places: HashMap::new() };
        Dots { cutter: Cutter::default(), lines, windows, talk, totals: Totals::default() }
    }

    fn take_all(&mut self, events: &Receiver<Event>) -> Result<(), Error> {
        let mut result = Ok(());
        loop {
            let due = self.windows.as_ref().and_then(Windows::next_due);
            let due = due.into_iter().chain(self.talk.next_progress()).min();
            let event = match due {
                // Without anything due, a long wait is as good as one for ever.
                None => events.recv_timeout(Duration::from_secs(3600)),
                Some(due) => events.recv_timeout(due.saturating_duration_since(Instant::now())),
            };
            match event {
                Ok(Event::Bytes(bytes)) => self.take(&bytes),
                // What came first of a line may say something else than all of it: it is no line.
                Ok(Event::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(Event::End) => {
                    self.end_line();
                    break;
                }
                Ok(Event::Failed(error)) => {
                    result = Err(Error::io("cannot read standard input")(error));
                    break;
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = Instant::now();
            if let Some(windows) = &mut self.windows {
                windows.pass(now);
            }
            self.publish_ready();
            self.talk.progress(now, &self.totals);
        }
        if let Some(windows) = &mut self.windows {
            windows.finish();
        }
        self.publish_ready();
        result
    }

    fn take(&mut self, bytes: &[u8]) {
        let now = Now::read();
        let Dots { cutter, lines, windows, talk, totals } = self;
        cutter.take(bytes, |line| lines.take(line, now, windows.as_mut(), talk, totals));
    }

    /// Finishes the unfinished line.
    fn end_line(&mut self) {
        let now = Now::read();
        let Dots { cutter, lines, windows, talk, totals } = self;
        cutter.end(|line| lines.take(line, now, windows.as_mut(), talk, totals));
    }

    fn publish_ready(&mut self) {
        for dot in self.windows.iter_mut().flat_map(Windows::ready) {
            self.lines.series[dot.series].dot_at(dot.time, dot.value);
            self.totals.dots += 1;
        }
    }
}

impl Lines {
    fn take(
        &mut self,
        line: Line<'_>,
        now: Now,
        windows: Option<&mut Windows>,
        talk: &mut Talk,
        totals: &mut Totals,
    ) {
        self.count += 1;
        let line = match line {
            Line::Whole(line) if self.count == 1 => {
                Line::Whole(line.strip_prefix(BYTE_ORDER_MARK.as_bytes()).unwrap_or(line))
            }
            line => line,
        };
        let (bytes, read) = match line {
            Line::Whole(line) if line.trim_ascii().is_empty() => return,
            Line::Whole(line) => (line, std::str::from_utf8(line).map_err(|_| Bad::NotUtf8)),
            Line::TooLong(start) => (start, Err(Bad::TooLong)),
        };
        totals.lines += 1;
        let taken = read.and_then(|text| self.take_text(text.trim_ascii(), now, windows, totals));
        if let Err(bad) = taken {
            *totals.bad.entry(bad).or_default() += 1;
            talk.sample(&bad.to_string(), self.count, bytes);
        }
    }

    fn take_text(
        &mut self,
        text: &str,
        now: Now,
        windows: Option<&mut Windows>,
        totals: &mut Totals,
    ) -> Result<(), Bad> {
        let Reading { series: name, value, time } = self.input.read(text)?;
        let Some(value) = value else {
            totals.unmeasured += 1;
            return Ok(());
        };
        let place = match self.places.get(&*name) {
            Some(place) => *place,
            None => {
                let mut series = self.publisher.series(&name).map_err(|_| Bad::Name)?;
                if series.is_refused() {
                    // A name that the ring has no room for is not kept here either, so this cannot outgrow
                    // the ring; the ring counts the dot.
                    series.dot(value);
                    totals.refused += 1;
                    return Ok(());
                }
                if self.seconds {
                    series = series.unit("s");
                }
                self.series.push(series);
                self.places.insert(name.into_owned(), self.series.len() - 1);
                self.series.len() - 1
            }
        };
        match (windows, time) {
            (Some(_), _) if !value.is_finite() => return Err(Bad::Value),
            (Some(windows), time) => {
                match windows.add(now, place, time.unwrap_or(now.wall), value) {
                    Ok(()) => {}
                    Err(Late) => totals.late += 1,
                }
                return Ok(());
            }
            (None, Some(time)) => self.series[place].dot_at(time, value),
            (None, None) => self.series[place].dot(value),
        }
        totals.dots += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::cutter::LINE_BYTES_MAX;
    use super::*;

    fn dots(dir: &std::path::Path, aggregation: &str) -> Dots {
        let options = Publisher::options().path(dir).registry_bytes(4096).lane_dots(1);
        Dots::new(options.open().unwrap(), Input::Lines, aggregation.parse().unwrap(), Talk::new())
    }

    #[test]
    fn a_bad_line_costs_nobody_but_itself() {
        let dir = tempfile::tempdir().unwrap();
        let mut dots = dots(dir.path(), "none");
        let mut input = b"a 1\n\n  b 2 1710504000.25  \nc\nd x\ne 5 yesterday\nf 6 7 8\n".to_vec();
        input.extend_from_slice(b"\xff 1\n\x01 1\ng\\ h 1e3 2024-03-15T12:00:00Z\r\n");
        input.extend(std::iter::repeat_n(b'x', LINE_BYTES_MAX + 1));
        input.extend_from_slice(b"\nlast nan");
        // However it is cut.
        for chunk in input.chunks(7) {
            dots.take(chunk);
        }
        dots.end_line();
        assert_eq!((dots.totals.lines, dots.totals.dots), (11, 4));
        let expected = [
            (Bad::TooLong, 1),
            (Bad::NotUtf8, 1),
            (Bad::Fields, 2),
            (Bad::Name, 1),
            (Bad::Value, 1),
            (Bad::Time, 1),
        ];
        assert_eq!(dots.totals.bad, BTreeMap::from(expected));
        let mut names: Vec<&str> = dots.lines.places.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["a", "b", "g h", "last"]);
        assert_eq!(dots.lines.publisher.published()[0], 4);
    }

    #[test]
    fn names_beyond_the_registry_are_refused_and_not_kept() {
        for aggregation in ["none", "mean:1s"] {
            let dir = tempfile::tempdir().unwrap();
            let mut dots = dots(dir.path(), aggregation);
            for number in 0..1000 {
                dots.take(format!("series.{number} 1 1710504000\n").as_bytes());
            }
            let (to, events) = sync_channel(1);
            to.send(Event::End).unwrap();
            dots.take_all(&events).unwrap();
            assert!(dots.lines.series.len() < 200, "{}", dots.lines.series.len());
            assert_eq!(dots.totals.dots + dots.totals.refused, 1000);
            assert_eq!(dots.lines.publisher.refused().series, dots.totals.refused);
        }
    }

    #[test]
    fn what_is_no_number_has_no_mean() {
        let dir = tempfile::tempdir().unwrap();
        let mut dots = dots(dir.path(), "mean:1s");
        dots.take(b"a nan 1710504000\na inf 1710504000\na 1 1710504000\na 2 1710504000\n");
        assert_eq!(dots.totals.bad, BTreeMap::from([(Bad::Value, 2)]));
    }

    #[test]
    fn input_that_fails_is_an_error_after_what_came_before_it_was_published() {
        let dir = tempfile::tempdir().unwrap();
        let mut dots = dots(dir.path(), "sum:1s");
        let (to, events) = sync_channel(2);
        to.send(Event::Bytes(b"a 1 1710504000\n".to_vec())).unwrap();
        to.send(Event::Failed(std::io::ErrorKind::Other.into())).unwrap();
        assert!(dots.take_all(&events).is_err());
        assert_eq!(dots.lines.publisher.published()[0], 1);
    }
}
