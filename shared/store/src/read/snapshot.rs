//! A snapshot: what a reader sees at one moment.
//!
//! A snapshot never changes and depends on no other process: segments stay mapped though they may be unlinked, and
//! everything else is in memory.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use dotter_dot::{Column, SeriesName, Shape, TimeRange, Timestamp};

use crate::error::Error;
use crate::format::ledger::Ledger;
use crate::format::listing::{Order, StoreId};
use crate::format::manifest::Manifest;
use crate::format::parts::Parts;
use crate::format::pattern::Pattern;
use crate::format::position::Position;
use crate::format::rules::Rules;
use crate::format::spans::Spans;
use crate::format::summary::Summary;
use crate::format::tombstones::Tombstones;
use crate::format::wal::HEADER_BYTES;
use crate::read::head::HeadPart;
use crate::read::late::Late;
use crate::read::scan::Scan;
use crate::read::segment::Segment;
use crate::read::series::SeriesNames;

const NANOSECOND: Duration = Duration::from_nanos(1);

/// A store at one moment. Cheap to clone.
#[derive(Clone)]
pub struct Snapshot {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Clone)]
pub(crate) struct Inner {
    pub(crate) manifest: Arc<Manifest>,
    /// Those with dots, in the order of their commits, without those that cannot be opened.
    pub(crate) segments: Parts<Segment>,
    /// Those with steps made from dots, in the order of their commits, without those that cannot be opened.
    pub(crate) steps: Parts<Segment>,
    pub(crate) head: Vec<Arc<HeadPart>>,
    pub(crate) names: SeriesNames,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) sequence: u64,
    pub(crate) epoch: u64,
    pub(crate) late: Late,
    pub(crate) wal_files: u64,
    pub(crate) wal_bytes: u64,
    /// The damage that this reader has found.
    pub(crate) damage: Arc<Damage>,
}

#[derive(Debug, Default)]
pub(crate) struct Damage {
    pub(crate) segments: AtomicU64,
    pub(crate) chunks: AtomicU64,
}

/// One dot as it is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dot {
    /// Its time.
    pub time: Timestamp,
    /// Its number.
    pub value: f64,
}

/// A chunk of a series, or its dots in a part of the live log: what is known of them without decoding any.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk {
    /// Time of the first dot.
    pub first: Timestamp,
    /// Time of the last dot.
    pub last: Timestamp,
    /// How many dots; unless [`Chunk::is_alone`], some may be replaced or deleted.
    pub dots: u64,
    /// Its bytes in the segment; 0 for dots of the live log.
    pub bytes: u64,
    /// Whether all of them are kept, whatever others there are: the clock stamped them, or they are texts of a ring.
    pub is_clock: bool,
    /// Whether none of its dots can be replaced by those of another chunk and none is deleted, so that a reader gets
    /// all.
    pub is_alone: bool,
    /// The shape of its dots; for dots of the live log the shape of the last.
    pub shape: Shape,
    /// The summary of its numbers; `None` where the dots are few, or not in a segment yet.
    pub summary: Option<Summary>,
}

/// Where dots of a series are: one chunk, or a part of the live log.
pub(crate) struct Place {
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// How many dots have numbers, as far as that is known without decoding them.
    pub(crate) numbers: u64,
    /// How many dots are of the kind that is all kept, with numbers or without.
    pub(crate) stamps: u64,
}

impl Snapshot {
    /// Every series, sorted by the bytes of its name.
    pub fn series(&self) -> impl ExactSizeIterator<Item = SeriesName> {
        self.inner.series().iter().cloned()
    }

    /// The series whose names begin with `prefix`, sorted.
    pub fn series_with_prefix(&self, prefix: &str) -> Vec<SeriesName> {
        self.inner.series_with_prefix(prefix)
    }

    /// The series that a pattern matches, sorted.
    pub fn matching(&self, pattern: &Pattern) -> Vec<SeriesName> {
        let mut names = self.series_with_prefix(pattern.prefix());
        names.retain(|name| pattern.matches(name.as_str()));
        names
    }

    /// Whether there is such a series.
    pub fn contains(&self, name: &str) -> bool {
        self.inner.has_series(name)
    }

    /// The shape of a series; where it has several, that of the dot committed last.
    ///
    /// # Errors
    ///
    /// The system's. What is damaged is left out and counted.
    pub fn shape(&self, name: &str) -> Result<Option<Shape>, Error> {
        let mut latest = None;
        for source in self.inner.sources() {
            match source {
                Source::Segment(segment) => {
                    latest = self.inner.or_left_out(segment.latest_shape(name))?.flatten().or(latest);
                }
                Source::Head(part) => latest = part.get(name).map(|series| &series.latest).or(latest),
            }
        }
        Ok(latest.cloned())
    }

    /// Every shape that dots of a series within `range` have, each once. There may also be shapes of dots outside of
    /// the range, or of dots that were replaced.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::chunks`].
    pub fn shapes(&self, name: &str, range: TimeRange) -> Result<Vec<Shape>, Error> {
        let mut shapes: Vec<Shape> = Vec::new();
        let mut add = |shape: &Shape| {
            if !shapes.contains(shape) {
                shapes.push(shape.clone());
            }
        };
        self.chunks(name, range)?.iter().for_each(|chunk| add(&chunk.shape));
        // Dots in a part of the live log may have several shapes.
        for source in self.inner.sources() {
            let Source::Head(part) = source else { continue };
            for run in part.get(name).into_iter().flat_map(|series| [series.run(false), series.run(true)]) {
                for (dots, shape) in run.parts(0..run.len()) {
                    if run.times()[dots].iter().any(|time| range.contains(Timestamp::from_nanos(*time))) {
                        add(shape);
                    }
                }
            }
        }
        Ok(shapes)
    }

    /// The chunks of a series that overlap `range`, described without decoding any, in the order of their first
    /// times. Chunks that begin or end outside of the range are described as a whole.
    ///
    /// # Errors
    ///
    /// The system's. What is damaged is left out and counted.
    pub fn chunks(&self, name: &str, range: TimeRange) -> Result<Vec<Chunk>, Error> {
        let mut chunks = self.chunks_meeting(name, range)?;
        let first = chunks.first().map_or(range.from, |chunk| chunk.first);
        let last = chunks.iter().map(|chunk| chunk.last).max().unwrap_or(range.from);
        if first < range.from || !range.contains(last) {
            // A chunk outside of the range may still replace dots of a chunk that reaches into the range.
            chunks = self.chunks_meeting(name, TimeRange::new(first, last.saturating_add(NANOSECOND)))?;
        }
        let mut latest: Option<usize> = None;
        for index in 0..chunks.len() {
            if chunks[index].is_clock {
                continue;
            }
            match latest {
                Some(before) if chunks[index].first <= chunks[before].last => {
                    chunks[index].is_alone = false;
                    chunks[before].is_alone = false;
                    if chunks[index].last > chunks[before].last {
                        latest = Some(index);
                    }
                }
                _ => latest = Some(index),
            }
        }
        chunks.retain(|chunk| range.meets(chunk.first, chunk.last));
        Ok(chunks)
    }

    /// The chunks that overlap `range`, in the order of their first times.
    fn chunks_meeting(&self, name: &str, range: TimeRange) -> Result<Vec<Chunk>, Error> {
        let mut chunks = Vec::new();
        for source in self.inner.sources() {
            let hidden = source.hidden(&self.inner.manifest.tombstones, name);
            match source {
                Source::Segment(segment) => {
                    let listed = segment.chunks(name, Some(range), |chunk| {
                        let (first, last) = (chunk.first.nanos(), chunk.last.nanos());
                        let part = hidden.meets(first, last);
                        if part && hidden.covers(first, last) {
                            return;
                        }
                        chunks.push(Chunk {
                            first: chunk.first,
                            last: chunk.last,
                            dots: chunk.dots,
                            bytes: chunk.bytes_alone(),
                            is_clock: chunk.clock,
                            is_alone: !part,
                            shape: segment.shape(&chunk).clone(),
                            summary: chunk.summary.filter(|_| !part),
                        })
                    });
                    self.inner.or_left_out(listed)?;
                }
                Source::Head(part) => {
                    let visible = |chunk: &Chunk| !hidden.covers(chunk.first.nanos(), chunk.last.nanos());
                    let runs = part
                        .get(name)
                        .into_iter()
                        .flat_map(|series| [false, true].map(|clock| (clock, series.run(clock))));
                    let before = chunks.len();
                    chunks
                        .extend(runs.filter_map(|(clock, run)| in_memory(run, clock, range)).filter(visible));
                    for chunk in &mut chunks[before..] {
                        chunk.is_alone &= !hidden.meets(chunk.first.nanos(), chunk.last.nanos());
                    }
                }
            }
        }
        chunks.sort_by_key(|chunk| chunk.first);
        Ok(chunks)
    }

    /// A [`Scan`] of this snapshot, to read many dots series after series.
    pub fn scan(&self) -> Scan {
        Scan::new(self.clone())
    }

    /// The numbers of a series within `range`, sorted by time; none where it is unknown.
    ///
    /// A number is the nearest f64; for a row it is that of its first number column; texts have none and are left
    /// out. Of numbers with equal explicit times the last commit counts. Those with equal clock stamps are all there,
    /// spread by 1 ns each. The range is that of the stamps, so the last of them may get times a little beyond it.
    /// Damaged chunks are left out and counted ([`crate::Stat::damaged_chunks`]).
    ///
    /// # Errors
    ///
    /// The system's. What is damaged is left out and counted.
    pub fn read(&self, name: &str, range: TimeRange) -> Result<Vec<Dot>, Error> {
        let mut dots = Vec::new();
        self.scan().read(name, range, &mut dots)?;
        Ok(dots)
    }

    /// First and last time of a series.
    pub fn span(&self, name: &str) -> Option<(Timestamp, Timestamp)> {
        let places = self.places(name).ok()?;
        let first = places.iter().map(|place| place.first).min()?;
        let last = places.iter().map(|place| place.last).max()?;
        Some((Timestamp::from_nanos(first), Timestamp::from_nanos(last)))
    }

    /// The retention rules in force, as the store has them.
    pub fn rules(&self) -> &Arc<Rules> {
        &self.inner.manifest.rules
    }

    /// The ledger: what became of every dot.
    pub fn ledger(&self) -> &Ledger {
        &self.inner.ledger
    }

    /// The last sequence of the log it holds.
    pub fn sequence(&self) -> u64 {
        self.inner.sequence
    }

    /// The number of the last edit of the list.
    pub fn generation(&self) -> u64 {
        self.inner.generation()
    }

    /// What somebody who follows the store from here on has been told: all that this holds.
    pub fn position(&self) -> Position {
        Position { sequence: self.sequence(), edit: self.generation() }
    }

    /// How often its reader has fallen so far behind the log that dots became visible without being news.
    pub fn epoch(&self) -> u64 {
        self.inner.epoch
    }

    /// The store id.
    pub fn store(&self) -> StoreId {
        self.inner.manifest.store
    }

    /// The places of those dots of a series that have numbers.
    fn places(&self, name: &str) -> Result<Vec<Place>, Error> {
        if self.contains(name) { self.inner.places(name, false) } else { Ok(Vec::new()) }
    }
}

/// The place of dots with these times, all of one kind; `None` where there are no dots.
fn place(times: impl Iterator<Item = u64>, is_clock: bool, has_numbers: bool) -> Option<Place> {
    times.fold(None, |place: Option<Place>, time| {
        let place = place.unwrap_or(Place { first: time, last: time, numbers: 0, stamps: 0 });
        Some(Place {
            first: place.first.min(time),
            last: place.last.max(time),
            numbers: place.numbers + has_numbers as u64,
            stamps: place.stamps + is_clock as u64,
        })
    })
}

/// Describes dots of the live log as a chunk.
fn in_memory(run: &Column, clock: bool, range: TimeRange) -> Option<Chunk> {
    let first = Timestamp::from_nanos(*run.times().iter().min()?);
    let last = Timestamp::from_nanos(*run.times().iter().max()?);
    range.meets(first, last).then(|| Chunk {
        first,
        last,
        dots: run.len() as u64,
        bytes: 0,
        is_clock: clock,
        // Dots of the live log may replace each other.
        is_alone: clock,
        shape: run.last_shape().cloned().unwrap_or_default(),
        summary: None,
    })
}

impl Inner {
    /// A snapshot of some segments with dots, without the log and without steps.
    pub(crate) fn of_segments(manifest: Manifest, segments: Vec<Arc<Segment>>) -> Inner {
        let mut inner = Inner {
            ledger: Arc::new(manifest.ledger.clone()),
            manifest: Arc::new(manifest),
            segments: segments.into_iter().collect(),
            steps: Parts::default(),
            head: Vec::new(),
            names: SeriesNames::default(),
            sequence: 0,
            epoch: 0,
            late: Late::new(),
            wal_files: 0,
            wal_bytes: 0,
            damage: Arc::default(),
        };
        inner.forget_series();
        inner
    }

    /// What was read of a segment; `None` where it is damaged, which is counted: those dots are left out.
    pub(crate) fn or_left_out<T>(&self, read: Result<T, Error>) -> Result<Option<T>, Error> {
        match read {
            Err(Error::Damaged { .. }) => {
                // Relaxed: a count that nothing else depends on.
                self.damage.chunks.fetch_add(1, Relaxed);
                Ok(None)
            }
            other => other.map(Some),
        }
    }

    /// The places of those dots of a series that no tombstone hides.
    ///
    /// - `texts`: whether dots without numbers are included
    pub(crate) fn places(&self, name: &str, texts: bool) -> Result<Vec<Place>, Error> {
        let mut places = Vec::new();
        for source in self.sources() {
            let hidden = source.hidden(&self.manifest.tombstones, name);
            match source {
                Source::Segment(segment) => {
                    let mut partly = Vec::new();
                    let listed = segment.chunks(name, None, |chunk| {
                        let (first, last) = (chunk.first.nanos(), chunk.last.nanos());
                        let mut letters = segment.shape(&chunk).format().letters();
                        let has_numbers = letters.any(|letter| letter.is_number());
                        if hidden.covers(first, last) || !(texts || has_numbers) {
                        } else if hidden.meets(first, last) {
                            partly.push((chunk, has_numbers));
                        } else {
                            let numbers = if has_numbers { chunk.dots } else { 0 };
                            let stamps = if chunk.clock { chunk.dots } else { 0 };
                            places.push(Place { first, last, numbers, stamps });
                        }
                    });
                    self.or_left_out(listed)?;
                    for (chunk, has_numbers) in partly {
                        let mut run = Column::default();
                        match segment.read(&chunk, &mut run) {
                            Err(Error::Damaged { .. }) => continue,
                            other => other?,
                        }
                        hidden.remove(&mut run);
                        places.extend(place(run.times().iter().copied(), chunk.clock, has_numbers));
                    }
                }
                Source::Head(part) => {
                    let Some(series) = part.get(name) else { continue };
                    let (first, last) = (series.first, series.last);
                    if !hidden.meets(first, last) {
                        let stamps = series.run(true).len() as u64;
                        places.push(Place { first, last, numbers: series.len(), stamps });
                    } else if !hidden.covers(first, last) {
                        for clock in [false, true] {
                            let times = series.run(clock).times().iter().copied();
                            places.extend(place(times.filter(|time| !hidden.contains(*time)), clock, true));
                        }
                    }
                }
            }
        }
        Ok(places)
    }

    fn generation(&self) -> u64 {
        self.manifest.generation
    }

    /// Counts a file of the log that nothing was read of yet.
    pub(crate) fn has_another_file(&mut self) {
        self.wal_files += 1;
        self.wal_bytes += HEADER_BYTES as u64;
    }

    /// Segments and parts of the head in the order of their commits.
    pub(crate) fn sources(&self) -> impl Iterator<Item = Source<'_>> {
        let mut sources: Vec<Source<'_>> = Vec::with_capacity(self.segments.len() + self.head.len());
        sources.extend(self.segments.iter().map(|segment| Source::Segment(segment)));
        sources.extend(self.head.iter().map(|part| Source::Head(part)));
        sources.sort_by_key(Source::order);
        sources.into_iter()
    }
}

/// A segment, or a part of the head: dots of one place in the order of commits.
pub(crate) enum Source<'a> {
    Segment(&'a Segment),
    Head(&'a HeadPart),
}

impl Source<'_> {
    /// The spans of time in which its dots of a series are hidden.
    pub(crate) fn hidden(&self, tombstones: &Tombstones, name: &str) -> Spans {
        match self {
            Source::Segment(segment) => segment.hidden(tombstones, name),
            Source::Head(part) => part.hidden(tombstones, name),
        }
    }

    pub(crate) fn order(&self) -> Order {
        match self {
            Source::Segment(segment) => segment.order(),
            Source::Head(part) => part.order(),
        }
    }
}
