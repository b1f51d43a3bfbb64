//! Reading many dots: series after series, each piece by piece, in memory that is reused.
//!
//! Always true: dots come in the order of their times, and dots of equal time in the order of their commits. Not more
//! than about [`PIECE_DOTS_MAX`] dots are in memory, or [`PIECE_CHUNKS`] chunks where these hold long rows; but all dots
//! of one time are in memory together.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use dotter_dot::{Column, Letter, Shape, TimeRange, Timestamp};

use crate::error::Error;
use crate::format::codec::{Span, TextTest};
use crate::format::segment::ChunkRef;
use crate::format::spans::Spans;
use crate::read::equal::{self, Commits};
use crate::read::head::HeadPart;
use crate::read::merge;
use crate::read::newest::LOG_DOTS;
pub use crate::read::row::Row;
use crate::read::segment::Segment;
use crate::read::snapshot::{Dot, Snapshot, Source};

/// How many dots a piece has for each segment that has dots of the series: few enough for the processor's cache, and
/// so many that it costs little to decode the chunks at both ends of a piece twice.
const PIECE_DOTS: u64 = 32 << 10;
/// The most dots of a piece, from however many segments.
const PIECE_DOTS_MAX: u64 = 256 << 10;
/// The most chunks of a piece, however few dots they have: chunks of long rows.
const PIECE_CHUNKS: usize = 64;

/// Reads series of a snapshot. It reuses its memory from one series to the next, so each thread needs its own.
pub struct Scan {
    snapshot: Snapshot,
    /// In the order of their commits.
    sources: Vec<Place>,
    explicit: Column,
    /// Where the texts of each commit begin among the dots with explicit times, while these are gathered.
    commits: Commits,
    clock: Column,
    /// Scratch for chunks that lie partly outside of the range.
    partial: Column,
    listed: Vec<(usize, ChunkRef)>,
    /// By source, when dots of the current series are hidden; empty where no tombstone is for it.
    hidden: Vec<Spans>,
    left_out: LeftOut,
}

/// Clock stamps of a series that a scan does not read, and that move those that it reads.
#[derive(Default)]
pub(crate) struct LeftOut {
    /// The number of the source, with the offset of the chunk, or with the first of [`LOG_DOTS`] dots of the live log.
    pub(crate) parts: Vec<(usize, usize)>,
    /// Every stamp that is read gets at least this time.
    pub(crate) least: u64,
}

#[derive(Clone)]
enum Place {
    Segment(Arc<Segment>),
    Head(Arc<HeadPart>),
}

/// Says whether texts of a shape and a template may be wanted; see [`TextTest`].
pub(crate) type RowTest<'a> = &'a dyn Fn(&Shape, &[&[u8]]) -> bool;

impl Scan {
    pub(crate) fn new(snapshot: Snapshot) -> Scan {
        let inner = &snapshot.inner;
        let mut sources: Vec<(crate::format::listing::Order, Place)> = Vec::new();
        sources
            .extend(inner.segments.iter().map(|segment| (segment.order(), Place::Segment(segment.clone()))));
        sources.extend(inner.head.iter().map(|part| (Source::Head(part).order(), Place::Head(part.clone()))));
        sources.sort_by_key(|(order, _)| *order);
        let sources = sources.into_iter().map(|(_, place)| place).collect();
        let [explicit, clock, partial] = [(); 3].map(|()| Column::default());
        let commits = Commits::new();
        Scan {
            snapshot,
            sources,
            explicit,
            commits,
            clock,
            partial,
            listed: Vec::new(),
            hidden: Vec::new(),
            left_out: LeftOut::default(),
        }
    }

    /// The snapshot that is read.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// From now on these are not read.
    pub(crate) fn leave_out(&mut self, left_out: LeftOut) {
        self.left_out = left_out;
    }

    /// Calls `visit` with every dot of a series within `range`, in the order of time, until it breaks off.
    ///
    /// The dots are those of [`Snapshot::read`], and texts too, with all columns.
    ///
    /// # Errors
    ///
    /// The system's. What is damaged is left out and counted.
    pub fn rows(
        &mut self,
        name: &str,
        range: TimeRange,
        visit: impl FnMut(Row<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        self.rows_tested(name, range, None, visit)
    }

    /// As [`Scan::rows`]. Texts that do not pass `test` may come as rows without bytes, as many and at the same times:
    /// see [`Row::is_left_out`].
    pub(crate) fn rows_tested(
        &mut self,
        name: &str,
        range: TimeRange,
        test: Option<RowTest<'_>>,
        mut visit: impl FnMut(Row<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        self.pieces(name, range, test, |explicit, clock, until| {
            let mut left = Shaped::new(explicit);
            let mut right = Shaped::new(clock);
            while let (Some(at), is_clock) = earlier(left.time(), right.time(), until) {
                let of = if is_clock { &mut right } else { &mut left };
                let row = Row {
                    time: Timestamp::from_nanos(at),
                    clock: is_clock,
                    shape: of.shape,
                    run: of.run,
                    index: of.index,
                };
                visit(row)?;
                of.step();
            }
            ControlFlow::Continue(right.index)
        })
    }

    /// Appends the numbers of a series within `range`, as [`Snapshot::read`] gives them.
    ///
    /// # Errors
    ///
    /// The system's; numbers read by then have been appended. What is damaged is left out and counted.
    pub fn read(&mut self, name: &str, range: TimeRange, out: &mut Vec<Dot>) -> Result<(), Error> {
        self.pieces(name, range, None, |explicit, clock, until| {
            let end = until.map_or(clock.len(), |until| clock.times().partition_point(|time| *time < until));
            let begun = out.len();
            append(explicit, explicit.len(), out);
            let middle = out.len();
            append(clock, end, out);
            if begun < middle && middle < out.len() {
                // Each kind is sorted already. The sort is stable, so a dot with an explicit time comes before one that
                // is kept of the same time.
                out[begun..].sort_by_key(|dot| dot.time);
            }
            ControlFlow::Continue(end)
        })
    }

    /// As [`Scan::read`], and appends to `weights` how many observations each number stands for, as [`Row::weight`] does.
    ///
    /// # Errors
    ///
    /// As [`Scan::read`].
    pub fn read_weighted(
        &mut self,
        name: &str,
        range: TimeRange,
        out: &mut Vec<Dot>,
        weights: &mut Vec<u64>,
    ) -> Result<(), Error> {
        self.rows(name, range, |row| {
            if let Some(value) = row.number() {
                out.push(Dot { time: row.time(), value });
                weights.push(row.weight());
            }
            ControlFlow::Continue(())
        })
    }

    /// Calls `each` with the dots of a series piece by piece: those with explicit times, those that are all kept, and
    /// the end of the piece where another follows. It returns how many of those that are all kept it has used; the
    /// others are in the next piece.
    fn pieces(
        &mut self,
        name: &str,
        range: TimeRange,
        test: Option<RowTest<'_>>,
        mut each: impl FnMut(&Column, &Column, Option<u64>) -> ControlFlow<(), usize>,
    ) -> Result<(), Error> {
        self.list(name, range)?;
        self.clock.clear();
        let mut from = range.from;
        let mut cuts = self.cuts(range).into_iter();
        loop {
            let until = cuts.next();
            let piece = TimeRange::new(from, until.unwrap_or(range.until));
            self.gather(name, piece, test)?;
            let taken = match each(&self.explicit, &self.clock, until.map(Timestamp::nanos)) {
                ControlFlow::Continue(taken) => taken,
                ControlFlow::Break(()) => return Ok(()),
            };
            let Some(until) = until else { return Ok(()) };
            // Stamps that spreading has moved behind the end come first in the next piece.
            if taken == self.clock.len() {
                self.clock.clear();
            } else {
                self.clock = self.clock.split_off(taken);
            }
            from = until;
        }
    }

    /// Lists the chunks of all sources that overlap the range.
    fn list(&mut self, name: &str, range: TimeRange) -> Result<(), Error> {
        self.listed.clear();
        self.hidden.clear();
        let tombstones = &self.snapshot.inner.manifest.tombstones;
        if tombstones.mean(name) {
            self.hidden.extend(self.sources.iter().map(|source| match source {
                Place::Segment(segment) => segment.hidden(tombstones, name),
                Place::Head(part) => part.hidden(tombstones, name),
            }));
        }
        for (number, source) in self.sources.iter().enumerate() {
            if let Place::Segment(segment) = source
                && segment.meets(range)
            {
                let hidden = self.hidden.get(number);
                let listed = segment.chunks(name, Some(range), |chunk| {
                    let is_left_out = chunk.clock && self.left_out.parts.contains(&(number, chunk.at));
                    let is_hidden = || {
                        hidden.is_some_and(|hidden| hidden.covers(chunk.first.nanos(), chunk.last.nanos()))
                    };
                    if !is_left_out && !is_hidden() {
                        self.listed.push((number, chunk));
                    }
                });
                self.snapshot.inner.or_left_out(listed)?;
            }
        }
        Ok(())
    }

    /// The times at which one piece ends and the next begins, which are beginnings of chunks.
    fn cuts(&self, range: TimeRange) -> Vec<Timestamp> {
        let dots: u64 = self.listed.iter().map(|(_, chunk)| chunk.dots).sum();
        let segments = self.listed.chunk_by(|a, b| a.0 == b.0).count() as u64;
        let piece_dots = (PIECE_DOTS * segments).min(PIECE_DOTS_MAX);
        if self.listed.len() <= PIECE_CHUNKS && dots <= piece_dots {
            return Vec::new();
        }
        let mut begins: Vec<_> =
            self.listed.iter().map(|(_, chunk)| (chunk.first.max(range.from), chunk.dots)).collect();
        begins.sort_unstable_by_key(|(first, _)| *first);
        let mut cuts = Vec::new();
        let (mut before, mut dots, mut chunks) = (range.from, 0, 0);
        for (first, more) in begins {
            if first > before && (dots + more > piece_dots || chunks >= PIECE_CHUNKS) {
                cuts.push(first);
                (before, dots, chunks) = (first, 0, 0);
            }
            (dots, chunks) = (dots + more, chunks + 1);
        }
        cuts
    }

    /// Whether the dots of a piece come from one source.
    fn is_of_one(&self, name: &str, piece: TimeRange) -> bool {
        let meets = |chunk: &ChunkRef| piece.meets(chunk.first, chunk.last);
        let mut segments = self.listed.iter().filter(|(_, chunk)| meets(chunk)).map(|(source, _)| source);
        let first = segments.next();
        segments.all(|source| Some(source) == first)
            && !self.sources.iter().any(|source| match source {
                Place::Segment(_) => false,
                Place::Head(part) => part.get(name).is_some(),
            })
    }

    /// Fills both columns with the dots within `piece`, in order; those that are all kept come behind such dots left
    /// from the piece before.
    fn gather(&mut self, name: &str, piece: TimeRange, test: Option<RowTest<'_>>) -> Result<(), Error> {
        // Whether two commits have the same text is seen in its bytes.
        let test = test.filter(|_| self.is_of_one(name, piece));
        self.explicit.clear();
        self.commits.clear();
        let kept = self.clock.len();
        let mut listed = self.listed.iter().peekable();
        for (number, source) in self.sources.iter().enumerate() {
            let hidden = self.hidden.get(number);
            match source {
                Place::Segment(segment) => {
                    let begin = self.explicit.len();
                    while let Some((_, chunk)) = listed.next_if(|(of, _)| *of == number) {
                        if !piece.meets(chunk.first, chunk.last) {
                            continue;
                        }
                        let out = if chunk.clock { &mut self.clock } else { &mut self.explicit };
                        let (first, last) = (chunk.first.nanos(), chunk.last.nanos());
                        let whole = piece.contains(chunk.first)
                            && piece.contains(chunk.last)
                            && !hidden.is_some_and(|hidden| hidden.meets(first, last));
                        let target = if whole { &mut *out } else { &mut self.partial };
                        let span = Span {
                            from: if piece.contains(chunk.first) { 0 } else { piece.from.nanos() },
                            until: (!piece.contains(chunk.last)).then_some(piece.until.nanos()),
                        };
                        let shape = segment.shape(chunk);
                        let test = test.map(|test| move |pieces: &[&[u8]]| test(shape, pieces));
                        let test = test.as_ref().map(|test| test as TextTest<'_>);
                        match segment.read_within(chunk, span, test, target) {
                            Ok(()) if whole => {}
                            Ok(()) => {
                                if let Some(hidden) = hidden {
                                    hidden.remove(&mut self.partial);
                                }
                                take_sorted(&self.partial, piece, out);
                                self.partial.clear();
                            }
                            // Relaxed: a count that nothing else depends on.
                            Err(Error::Damaged { .. }) => {
                                self.snapshot.inner.damage.chunks.fetch_add(1, Relaxed);
                            }
                            Err(error) => return Err(error),
                        }
                    }
                    if self.explicit.len() > begin {
                        self.commits.push(begin as u32);
                    }
                }
                Place::Head(part) => {
                    let Some(series) = part.get(name) else { continue };
                    let (first, last) =
                        (Timestamp::from_nanos(series.first), Timestamp::from_nanos(series.last));
                    if piece.meets(first, last) {
                        let within = |time: u64| {
                            piece.contains(Timestamp::from_nanos(time))
                                && !hidden.is_some_and(|hidden| hidden.contains(time))
                        };
                        for (part, begins) in series.explicit_parts() {
                            let begin = self.explicit.len();
                            take_within(series.run(false), part, within, &mut self.explicit);
                            if begins && self.explicit.len() > begin {
                                self.commits.push(begin as u32);
                            }
                        }
                        let clock = series.run(true);
                        for part in kept_parts(&self.left_out, number, clock.len()) {
                            take_within(clock, part, within, &mut self.clock);
                        }
                    }
                }
            }
        }
        equal::settle(&mut self.explicit, &self.commits);
        if kept == 0 {
            self.clock.sort();
        } else {
            // The stamps left from the piece before are earlier than all new ones, however far spreading has moved
            // them.
            let mut new = self.clock.split_off(kept);
            new.sort();
            self.clock.extend(&new, 0..new.len());
        }
        merge::spread(&mut self.clock, self.left_out.least);
        Ok(())
    }
}

/// The dots of the live log that are not left out.
fn kept_parts(left_out: &LeftOut, source: usize, count: usize) -> impl Iterator<Item = Range<usize>> {
    let step = if left_out.parts.is_empty() { count.max(1) } else { LOG_DOTS };
    let begins = (0..count).step_by(step).filter(move |begin| !left_out.parts.contains(&(source, *begin)));
    begins.map(move |begin| begin..count.min(begin + step))
}

/// A column that is read from its front, with the shape of the current dots.
struct Shaped<'a> {
    run: &'a Column,
    shape: &'a Shape,
    index: usize,
    /// The index of the first dot with another shape.
    until: usize,
}

impl<'a> Shaped<'a> {
    fn new(run: &'a Column) -> Shaped<'a> {
        static NONE: std::sync::LazyLock<Shape> = std::sync::LazyLock::new(Shape::number);
        let mut of = Shaped { run, shape: &NONE, index: 0, until: 0 };
        of.look();
        of
    }

    fn look(&mut self) {
        if let Some((part, shape)) = self.run.parts(self.index..self.run.len()).next() {
            (self.shape, self.until) = (shape, part.end);
        }
    }

    fn time(&self) -> Option<u64> {
        self.run.times().get(self.index).copied()
    }

    fn step(&mut self) {
        self.index += 1;
        if self.index == self.until {
            self.look();
        }
    }
}

/// The earlier of an explicit time and the time of a dot that is kept, and whether it is the latter; `None` where no
/// explicit time is left and the kept dot is not before `until`.
fn earlier(explicit: Option<u64>, clock: Option<u64>, until: Option<u64>) -> (Option<u64>, bool) {
    let clock = clock.filter(|time| until.is_none_or(|until| *time < until));
    match (explicit, clock) {
        (Some(explicit), Some(clock)) if clock < explicit => (Some(clock), true),
        (Some(explicit), _) => (Some(explicit), false),
        (None, clock) => (clock, true),
    }
}

/// Appends the numbers of the first `count` dots.
fn append(run: &Column, count: usize, out: &mut Vec<Dot>) {
    let dot = |(time, value): (&u64, f64)| Dot { time: Timestamp::from_nanos(*time), value };
    for (part, shape) in run.parts(0..count) {
        let (times, words) = (&run.times()[part.clone()], &run.words()[part.clone()]);
        match shape.word() {
            Some(Letter::F64) => {
                out.extend(times.iter().zip(words.iter().map(|word| f64::from_bits(*word))).map(dot));
            }
            Some(letter) => {
                out.extend(times.iter().zip(words.iter().map(|word| letter.number(*word))).map(dot))
            }
            None => run.numbers(part, |time, value| {
                out.push(Dot { time: Timestamp::from_nanos(time), value });
            }),
        }
    }
}

/// Appends those dots of a sorted column that lie within `range`.
fn take_sorted(from: &Column, range: TimeRange, out: &mut Column) {
    let first = from.times().partition_point(|time| *time < range.from.nanos());
    let within = |time: &u64| range.contains(Timestamp::from_nanos(*time));
    let count = from.times()[first..].partition_point(within);
    out.extend(from, first..first + count);
}

/// Appends those dots of a part of a column for whose times `within` holds.
fn take_within(from: &Column, part: Range<usize>, within: impl Fn(u64) -> bool, out: &mut Column) {
    let within = |time: &u64| within(*time);
    let (mut start, times) = (part.start, &from.times()[..part.end]);
    while start < part.end {
        let Some(skipped) = times[start..].iter().position(within) else { return };
        start += skipped;
        let times = &times[start..];
        let count = times.iter().position(|time| !within(time)).unwrap_or(times.len());
        out.extend(from, start..start + count);
        start += count;
    }
}
