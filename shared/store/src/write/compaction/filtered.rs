//! Compaction through a command: the command gets every row as a line, and the lines that it writes replace all rows.
//!
//! Always true:
//!
//! - nothing changes unless the command has read every row, has ended with 0, and all lines of its output are in
//!   order. A shell without `pipefail` ends with 0 even if a stage of a pipeline is missing or has died, so the exit
//!   status alone says too little
//! - neither side waits for the other for ever: the command may write before it has read, or end without reading

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ChildStdin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use dotter_dot::{Cell, Column, SeriesName, Shape, TimeRange, Timestamp};

use crate::disk::manifest;
use crate::error::Error;
use crate::format::listing::SegmentEntry;
use crate::read::equal;
use crate::read::scan::Row;
use crate::read::segment::Segment;
use crate::read::snapshot::{Inner, Snapshot};
use crate::write::compaction::command::{ASK, PIPE_BYTES, Pipe, Running, drain};
use crate::write::compaction::cut::Cut;
use crate::write::compaction::outputs::{Outputs, Series};
use crate::write::compaction::plan::{LEVEL_TOP, View};
use crate::write::compaction::{Compaction, chunk_dots};
use crate::write::writer::Writer;

/// How many pieces of output may wait to be parsed.
const PIECES_MAX: usize = 16;
/// The longest line in bytes: the longest row with every character escaped has fewer.
const LINE_BYTES_MAX: usize = 8 << 20;

/// A row that was read from a line.
#[derive(Clone, Debug, PartialEq)]
pub struct FilteredRow {
    /// Its series.
    pub name: SeriesName,
    /// Its time, which is explicit from now on, also where it was a clock stamp.
    pub time: Timestamp,
    /// Its shape.
    pub shape: Shape,
    /// Its row bytes; for a single number the 8 bytes of its word.
    pub bytes: Vec<u8>,
}

/// What a compaction through a command did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filtered {
    /// Rows that were given to the command.
    pub rows_out: u64,
    /// Rows that it gave back, which replace those given to it.
    pub rows_in: u64,
    /// Dots that were committed too late to be given to it, and stay as they are: those of a collector's live log,
    /// and of foreign commits that stand among them.
    pub left: u64,
}

/// Compacts everything through `/bin/sh -c COMMAND`. The command gets all rows as lines, in the order of series and
/// time; the lines that it writes, in the same order, replace them.
///
/// - `write`: appends a row as one line, its end included
/// - `read`: makes a row of a line, without its end, or says what is wrong with it
/// - `progress`: gets the rows given out and about how many there are
///
/// A dot with the same time as the one before it in its series, which clock stamps may have, is given out a
/// nanosecond later, but texts keep their times. Of lines with equal series and time the last counts, but texts are all
/// kept. Afterwards all dots have explicit times. If
/// there are fewer dots than before, the missing ones count as deleted; if there are more, the others count as
/// stored.
///
/// # Errors
///
/// [`Error::Command`] where it does not end with 0; [`Error::Unread`] where it ends without having read every row;
/// [`Error::Line`] where a line is no row or out of order; [`Error::Damaged`] where a part of the store cannot be
/// read; else as [`super::compact`]. Nothing has changed then.
pub fn compact_filtered(
    dir: &Path,
    command: &str,
    write: &(dyn Fn(&str, &Row<'_>, &mut Vec<u8>) + Sync),
    read: &mut dyn FnMut(&str) -> Result<FilteredRow, String>,
    cancel: &dyn Fn() -> bool,
    progress: &dyn Fn(u64, u64),
) -> Result<Filtered, Error> {
    manifest::stamp(&crate::disk::layout::Layout::new(dir))?;
    match Writer::open(dir) {
        // No process writes the log: once a new file is begun, everything before it can be sealed.
        Ok(writer) => drop(writer),
        Err(Error::Locked(_)) => {}
        Err(error) => return Err(error),
    }
    crate::write::seal::seal_all(dir, cancel)?;
    let compaction = Compaction::begin(dir, cancel)?;
    let layout = &compaction.layout;
    let (manifest, first_live) = manifest::read_with(layout, |manifest| manifest.first_live(layout))?;
    let (damaged, age) = (BTreeSet::new(), |_: &SegmentEntry| Duration::ZERO);
    let view = View::new(&manifest, first_live, &damaged, &age);
    let inputs = view.oldest();
    if inputs.is_empty() {
        return Ok(Filtered::default());
    }
    let open = |entry: &SegmentEntry| Segment::open(&layout.segment(&entry.name), entry).map(Arc::new);
    let segments = inputs.iter().map(open).collect::<Result<Vec<_>, Error>>()?;
    // The times of what comes back are not known before, so it is a file of level 0, which the next compaction cuts.
    let replaced = (inputs.iter().map(SegmentEntry::number).collect(), manifest.generation);
    let mut intake = Intake {
        outputs: Outputs::new(layout, 0, chunk_dots(LEVEL_TOP), Cut::whole(None, 0), replaced),
        series: None,
        run: Column::default(),
        lines: 0,
        rows: 0,
        dots: 0,
    };
    let total: u64 = inputs.iter().map(|entry| entry.dots).sum();
    let left = manifest.with_dots().map(|entry| entry.dots).sum::<u64>() - total;
    let snapshot = Snapshot { inner: Arc::new(Inner::of_segments(manifest, segments)) };
    let rows_out =
        pipe(command, &snapshot, write, cancel, &|rows| progress(rows.min(total), total), &mut |line| {
            intake.take(line, read)
        })?;
    intake.end()?;
    if snapshot.stat().damaged_chunks > 0 {
        let what = format!("{} damaged chunks; verify says where", snapshot.stat().damaged_chunks);
        return Err(Error::damaged(dir, 0, what));
    }
    let (rows_in, dots) = (intake.rows, intake.dots);
    compaction.replace_filtered(&inputs, intake.outputs, dots)?;
    Ok(Filtered { rows_out, rows_in, left })
}

/// Runs the command and calls `take` with each line of its output. Returns how many rows the command was given.
fn pipe(
    command: &str,
    snapshot: &Snapshot,
    write: &(dyn Fn(&str, &Row<'_>, &mut Vec<u8>) + Sync),
    cancel: &dyn Fn() -> bool,
    progress: &dyn Fn(u64),
    take: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
) -> Result<u64, Error> {
    let mut running = Running::start(command)?;
    let (stdin, stdout) = running.pipes();
    let (rows, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (sender, pieces) = sync_channel(PIECES_MAX);
    let (fed, status) = std::thread::scope(|scope| {
        let feeding = scope.spawn(|| feed(snapshot, write, stdin, &rows, &stop));
        // The thread ends at the end of the command's output, or when the receiver is dropped.
        scope.spawn(|| drain(stdout, sender));
        let outcome = take_lines(pieces, cancel, &|| progress(rows.load(Relaxed)), take)
            .and_then(|()| running.wait(cancel));
        if outcome.is_err() {
            running.end();
        }
        // The command has ended and reads no more. Relaxed: the flag only makes the feeding thread end sooner.
        stop.store(true, Relaxed);
        let fed = feeding.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok::<_, Error>((fed, outcome?))
    })?;
    if !status.success() {
        return Err(Error::Command { status });
    }
    match fed? {
        Fed::All => Ok(rows.load(Relaxed)),
        Fed::Part { bytes } => Err(unread(snapshot, write, bytes, cancel)?),
    }
}

/// How many of the rows the command has read.
enum Fed {
    All,
    /// Only the first bytes of their lines.
    Part {
        bytes: u64,
    },
}

/// Writes all rows to the command and waits until it has read them. Ends early where no process can read any more, or
/// where `stop` is set.
fn feed(
    snapshot: &Snapshot,
    write: &(dyn Fn(&str, &Row<'_>, &mut Vec<u8>) + Sync),
    stdin: ChildStdin,
    rows: &AtomicU64,
    stop: &AtomicBool,
) -> Result<Fed, Error> {
    let failed =
        |error: std::io::Error| Error::io("write to the filter command in", Path::new("/bin/sh"))(error);
    let mut pipe = Pipe::new(stdin, stop).map_err(failed)?;
    let mut outcome = Ok(true);
    let mut out = Vec::with_capacity(PIPE_BYTES * 2);
    each_line(snapshot, write, &mut out, &mut |out| {
        rows.fetch_add(1, Relaxed);
        if out.len() < PIPE_BYTES {
            return ControlFlow::Continue(());
        }
        outcome = pipe.put(out);
        out.clear();
        if matches!(outcome, Ok(true)) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    if outcome.map_err(failed)? && pipe.put(&out).map_err(failed)? && pipe.is_read().map_err(failed)? {
        return Ok(Fed::All);
    }
    Ok(Fed::Part { bytes: pipe.read().map_err(failed)? })
}

/// Appends each row to `out` as a line, in the order of series, then time, and calls `each` after it.
fn each_line(
    snapshot: &Snapshot,
    write: &dyn Fn(&str, &Row<'_>, &mut Vec<u8>),
    out: &mut Vec<u8>,
    each: &mut dyn FnMut(&mut Vec<u8>) -> ControlFlow<()>,
) -> Result<(), Error> {
    let mut scan = snapshot.scan();
    let mut is_over = false;
    for name in snapshot.series() {
        let (mut before, mut number_before) = (Timestamp::MIN, None::<Timestamp>);
        scan.rows(name.as_str(), TimeRange::ALL, |row| {
            // All times are explicit when the rows come back, and of equal times only the last row that is no text would
            // be kept.
            let is_text = row.shape().is_text();
            let after = |time: Timestamp| time.saturating_add(Duration::from_nanos(1));
            let least = if is_text { before } else { number_before.map_or(before, after).max(before) };
            let row = row.not_before(least);
            before = row.time();
            if !is_text {
                number_before = Some(before);
            }
            write(name.as_str(), &row, out);
            let flow = each(out);
            is_over = flow.is_break();
            flow
        })?;
        if is_over {
            break;
        }
    }
    Ok(())
}

/// The error for a command that ended before it had read all rows: it says how many it has read.
///
/// - `bytes`: how much of their lines it has read
fn unread(
    snapshot: &Snapshot,
    write: &dyn Fn(&str, &Row<'_>, &mut Vec<u8>),
    bytes: u64,
    cancel: &dyn Fn() -> bool,
) -> Result<Error, Error> {
    let (mut rows, mut read, mut end) = (0_u64, 0, 0_u64);
    let mut given_up = false;
    each_line(snapshot, write, &mut Vec::new(), &mut |out| {
        rows += 1;
        end += out.len() as u64;
        out.clear();
        read += (end <= bytes) as u64;
        given_up = rows.is_multiple_of(1 << 16) && cancel();
        if given_up { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if given_up { Err(Error::GivenUp) } else { Ok(Error::Unread { read, rows }) }
}

fn take_lines(
    pieces: Receiver<std::io::Result<Vec<u8>>>,
    cancel: &dyn Fn() -> bool,
    progress: &dyn Fn(),
    take: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut begun: Vec<u8> = Vec::new();
    loop {
        let piece = pieces.recv_timeout(ASK);
        if cancel() {
            return Err(Error::GivenUp);
        }
        progress();
        let piece = match piece {
            Ok(piece) => piece.map_err(Error::io("read from the filter command in", Path::new("/bin/sh")))?,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let mut lines = piece.split(|byte| *byte == b'\n');
        let last = lines.next_back().unwrap_or_default();
        for line in lines {
            if begun.is_empty() {
                take(line)?;
            } else {
                begun.extend_from_slice(line);
                take(&begun)?;
                begun.clear();
            }
        }
        begun.extend_from_slice(last);
        if begun.len() > LINE_BYTES_MAX {
            // The error has the number of the line.
            return take(&begun);
        }
    }
    if begun.is_empty() { Ok(()) } else { take(&begun) }
}

/// Takes rows of the command and writes them to segments.
struct Intake {
    outputs: Outputs<'static>,
    series: Option<Series>,
    /// Rows of the current series; the last one waits, since the next line may replace it, or come before it.
    run: Column,
    lines: u64,
    rows: u64,
    dots: u64,
}

impl Intake {
    fn take(
        &mut self,
        line: &[u8],
        read: &mut dyn FnMut(&str) -> Result<FilteredRow, String>,
    ) -> Result<(), Error> {
        self.lines += 1;
        let number = self.lines;
        let wrong = |what: String| Error::Line { number, what };
        if line.len() > LINE_BYTES_MAX {
            return Err(wrong(format!("more than {LINE_BYTES_MAX} bytes")));
        }
        let text = std::str::from_utf8(line)
            .map_err(|error| wrong(format!("not UTF-8 from byte {} on", error.valid_up_to())))?;
        let FilteredRow { name, time, shape, bytes } = read(text).map_err(wrong)?;
        let cell = Cell::from_row(shape.format(), &bytes).map_err(|error| wrong(error.to_string()))?;
        let same = match &self.series {
            Some(series) if name < series.name => {
                return Err(wrong(format!("series {name} stands behind {}, which is greater", series.name)));
            }
            Some(series) => series.name == name,
            None => false,
        };
        if !same {
            self.end()?;
            self.series = self.outputs.series(name, shape.clone());
        }
        let series = self.series.as_mut().expect("it was just put there");
        let before = self.run.times().last().copied();
        if let Some(before) = before.filter(|before| time.nanos() < *before) {
            let what =
                format!("time {} of {} stands behind {before}, which is later", time.nanos(), series.name);
            return Err(wrong(what));
        }
        if !series.latest.is(&shape) {
            series.latest = shape.clone();
        }
        self.run.push(&shape, time, cell);
        self.rows += 1;
        let most = chunk_dots(LEVEL_TOP);
        if self.run.len() > most || self.run.row_bytes() > PIPE_BYTES * 64 {
            equal::settle(&mut self.run, &[]);
            let count = self.run.len() - 1;
            let rest = self.run.split_off(count);
            self.outputs.add(series, &self.run, false)?;
            self.dots += count as u64;
            self.run = rest;
        }
        Ok(())
    }

    /// Ends the current series.
    fn end(&mut self) -> Result<(), Error> {
        if let Some(series) = &self.series {
            equal::settle(&mut self.run, &[]);
            self.outputs.add(series, &self.run, false)?;
            self.dots += self.run.len() as u64;
        }
        self.run.clear();
        Ok(())
    }
}
