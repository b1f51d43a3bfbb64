//! What a reader sees at one moment.
//!
//! A snapshot never changes and needs nobody: segments are mapped and stay so though their names go, the rest
//! is in memory.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use dotter_dot::{SeriesName, TimeRange, Timestamp};

use crate::chunk::Columns;
use crate::error::Error;
use crate::head::HeadPart;
use crate::ledger::Ledger;
use crate::manifest::{Manifest, Order, StoreId};
use crate::merge;
use crate::segment::Segment;

/// A moment of a store. Cheap to clone.
#[derive(Clone)]
pub struct Snapshot {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Clone)]
pub(crate) struct Inner {
    pub(crate) manifest: Arc<Manifest>,
    /// In the order of their commits; those that cannot be opened are missing.
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) head: Vec<Arc<HeadPart>>,
    pub(crate) names: Arc<BTreeSet<SeriesName>>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) sequence: u64,
    pub(crate) epoch: u64,
    pub(crate) wal_files: u64,
    pub(crate) wal_bytes: u64,
    /// What was found damaged, by this reader.
    pub(crate) damage: Arc<Damage>,
}

#[derive(Debug, Default)]
pub(crate) struct Damage {
    pub(crate) segments: AtomicU64,
    pub(crate) chunks: AtomicU64,
}

/// One measurement as it is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dot {
    /// When.
    pub time: Timestamp,
    /// How much.
    pub value: f64,
}

/// How large a store is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Series with at least one dot.
    pub series: u64,
    /// Dots in segments and in the live log; one that is replaced counts until a compaction finds it.
    pub dots: u64,
    /// Live segments.
    pub segments: u64,
    /// Their bytes.
    pub segment_bytes: u64,
    /// Their dots.
    pub segment_dots: u64,
    /// Live WAL files.
    pub wal_files: u64,
    /// Their bytes, as far as they are synced.
    pub wal_bytes: u64,
    /// Dots in them.
    pub wal_dots: u64,
    /// Per level, lowest first.
    pub levels: Vec<Level>,
    /// Generation of the manifest.
    pub generation: u64,
    /// Last sequence of the log.
    pub sequence: u64,
    /// Segments that could not be opened, since the reader was.
    pub damaged_segments: u64,
    /// Chunks that could not be read, since the reader was opened; each is counted as often as it was tried.
    pub damaged_chunks: u64,
}

/// The segments of one level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// How often their dots have been merged.
    pub level: u32,
    /// Segments.
    pub segments: u64,
    /// Bytes.
    pub bytes: u64,
    /// Dots.
    pub dots: u64,
}

/// Where dots of a series are to be found.
struct Place {
    first: u64,
    last: u64,
    dots: u64,
}

impl Snapshot {
    /// Every series, sorted by the bytes of its name.
    pub fn series(&self) -> impl ExactSizeIterator<Item = SeriesName> {
        self.inner.names.iter().cloned()
    }

    /// The series whose names begin with `prefix`, sorted.
    pub fn series_with_prefix(&self, prefix: &str) -> Vec<SeriesName> {
        let from = (std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded);
        self.inner
            .names
            .range::<str, _>(from)
            .take_while(|name| name.as_str().starts_with(prefix))
            .cloned()
            .collect()
    }

    /// Whether there is such a series.
    pub fn contains(&self, name: &str) -> bool {
        self.inner.names.contains(name)
    }

    /// The dots of a series within `range`, sorted by time; none where it is unknown.
    ///
    /// Of equal explicit times the last commit counts. Equal clock stamps are all there, spread by 1 ns each: the
    /// range is that of the stamps, so the last of them may lie a little beyond it. Chunks that are damaged are
    /// left out and counted ([`Stat::damaged_chunks`]).
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] where the index of a segment makes no sense.
    pub fn read(&self, name: &str, range: TimeRange) -> Result<Vec<Dot>, Error> {
        let [mut explicit, mut clock] = [Columns::default(), Columns::default()];
        for source in self.sources() {
            match source {
                Source::Segment(segment) => {
                    if segment.meets(range) {
                        self.read_segment(segment, name, range, &mut explicit, &mut clock)?;
                    }
                }
                Source::Head(part) => {
                    let Some(series) = part.series.get(name) else { continue };
                    if range.meets(Timestamp::from_nanos(series.first), Timestamp::from_nanos(series.last)) {
                        take_within(&series.explicit, range, &mut explicit);
                        take_within(&series.clock, range, &mut clock);
                    }
                }
            }
        }
        merge::sort(&mut explicit);
        merge::keep_last(&mut explicit);
        merge::sort(&mut clock);
        merge::spread(&mut clock.times);
        Ok(interleave(&explicit, &clock))
    }

    /// The newest `count` dots of a series, oldest of them first.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::read`].
    pub fn last(&self, name: &str, count: usize) -> Result<Vec<Dot>, Error> {
        let mut places = self.places(name)?;
        places.sort_unstable_by_key(|place| std::cmp::Reverse(place.last));
        let mut wanted = count as u64;
        loop {
            // Far enough back that the places behind hold what is wanted; replaced dots may make it fewer.
            let mut dots = 0;
            let mut from = u64::MAX;
            let mut taken = 0;
            for place in &places {
                if dots >= wanted && place.last < from {
                    break;
                }
                dots += place.dots;
                from = from.min(place.first);
                taken += 1;
            }
            let range = TimeRange::new(Timestamp::from_nanos(from), Timestamp::MAX);
            let mut found = self.read(name, range)?;
            if found.len() >= count || taken == places.len() {
                found.drain(..found.len().saturating_sub(count));
                return Ok(found);
            }
            wanted = wanted.saturating_mul(2).max(1);
        }
    }

    /// First and last time of a series.
    pub fn span(&self, name: &str) -> Option<(Timestamp, Timestamp)> {
        let places = self.places(name).ok()?;
        let first = places.iter().map(|place| place.first).min()?;
        let last = places.iter().map(|place| place.last).max()?;
        Some((Timestamp::from_nanos(first), Timestamp::from_nanos(last)))
    }

    /// What became of every dot.
    pub fn ledger(&self) -> &Ledger {
        &self.inner.ledger
    }

    /// The last sequence of the log it holds.
    pub fn sequence(&self) -> u64 {
        self.inner.sequence
    }

    /// The generation of the manifest.
    pub fn generation(&self) -> u64 {
        self.inner.generation()
    }

    /// How often its reader lost the thread of the log, so that dots came to be seen that were never news.
    pub fn epoch(&self) -> u64 {
        self.inner.epoch
    }

    /// The store's name.
    pub fn store(&self) -> StoreId {
        self.inner.manifest.store
    }

    /// How large the store is.
    pub fn stat(&self) -> Stat {
        let inner = &self.inner;
        let mut stat = Stat {
            series: inner.names.len() as u64,
            segments: inner.manifest.segments.len() as u64,
            wal_files: inner.wal_files,
            wal_bytes: inner.wal_bytes,
            wal_dots: inner.head.iter().map(|part| part.dots).sum(),
            generation: inner.generation(),
            sequence: inner.sequence,
            // Relaxed: counts that nothing else depends on.
            damaged_segments: inner.damage.segments.load(Relaxed),
            damaged_chunks: inner.damage.chunks.load(Relaxed),
            ..Stat::default()
        };
        for segment in &inner.manifest.segments {
            stat.segment_bytes += segment.bytes;
            stat.segment_dots += segment.dots;
            let at = stat.levels.partition_point(|level| level.level < segment.level);
            if stat.levels.get(at).is_none_or(|level| level.level != segment.level) {
                stat.levels.insert(at, Level { level: segment.level, ..Level::default() });
            }
            let level = &mut stat.levels[at];
            level.segments += 1;
            level.bytes += segment.bytes;
            level.dots += segment.dots;
        }
        stat.dots = stat.segment_dots + stat.wal_dots;
        stat
    }

    /// Segments and parts of the head in the order of their commits.
    fn sources(&self) -> impl Iterator<Item = Source<'_>> {
        let mut sources: Vec<Source<'_>> =
            Vec::with_capacity(self.inner.segments.len() + self.inner.head.len());
        sources.extend(self.inner.segments.iter().map(|segment| Source::Segment(segment)));
        sources.extend(self.inner.head.iter().map(|part| Source::Head(part)));
        sources.sort_by_key(Source::order);
        sources.into_iter()
    }

    fn read_segment(
        &self,
        segment: &Segment,
        name: &str,
        range: TimeRange,
        explicit: &mut Columns,
        clock: &mut Columns,
    ) -> Result<(), Error> {
        let mut scratch = Columns::default();
        for chunk in segment.chunks(name)? {
            if !range.meets(chunk.first, chunk.last) {
                continue;
            }
            let out = if chunk.clock { &mut *clock } else { &mut *explicit };
            let whole = range.contains(chunk.first) && range.contains(chunk.last);
            let target = if whole { &mut *out } else { &mut scratch };
            match segment.read(&chunk, target) {
                Ok(()) if whole => {}
                Ok(()) => {
                    take_within(&scratch, range, out);
                    scratch.clear();
                }
                Err(Error::Damaged { .. }) => _ = self.inner.damage.chunks.fetch_add(1, Relaxed),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn places(&self, name: &str) -> Result<Vec<Place>, Error> {
        let mut places = Vec::new();
        if !self.contains(name) {
            return Ok(places);
        }
        for segment in &self.inner.segments {
            let place = |chunk: &crate::segment::ChunkRef| Place {
                first: chunk.first.nanos(),
                last: chunk.last.nanos(),
                dots: chunk.dots,
            };
            places.extend(segment.chunks(name)?.iter().map(place));
        }
        for series in self.inner.head.iter().filter_map(|part| part.series.get(name)) {
            places.push(Place { first: series.first, last: series.last, dots: series.len() });
        }
        Ok(places)
    }
}

impl Inner {
    fn generation(&self) -> u64 {
        self.manifest.generation
    }
}

enum Source<'a> {
    Segment(&'a Segment),
    Head(&'a HeadPart),
}

impl Source<'_> {
    fn order(&self) -> Order {
        match self {
            Source::Segment(segment) => segment.order(),
            Source::Head(part) => Order { sequence: part.last_sequence, generation: 0 },
        }
    }
}

/// Appends those dots of `from` that lie within `range`.
fn take_within(from: &Columns, range: TimeRange, out: &mut Columns) {
    for (time, value) in from.times.iter().zip(&from.values) {
        if range.contains(Timestamp::from_nanos(*time)) {
            out.push(*time, *value);
        }
    }
}

/// Two sorted runs as one.
fn interleave(explicit: &Columns, clock: &Columns) -> Vec<Dot> {
    let dot = |(time, value): (&u64, &f64)| Dot { time: Timestamp::from_nanos(*time), value: *value };
    let mut left = explicit.times.iter().zip(&explicit.values).map(dot).peekable();
    let mut right = clock.times.iter().zip(&clock.values).map(dot).peekable();
    let mut out = Vec::with_capacity(explicit.len() + clock.len());
    loop {
        let left_first = match (left.peek(), right.peek()) {
            (Some(left), Some(right)) => left.time <= right.time,
            (left, _) => left.is_some(),
        };
        match if left_first { left.next() } else { right.next() } {
            Some(dot) => out.push(dot),
            None => return out,
        }
    }
}
