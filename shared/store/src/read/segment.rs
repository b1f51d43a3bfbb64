//! An open segment.
//!
//! Opening it compares the file with its listing, and checks tail, meta and top index. A key block, a shared block and
//! a chunk are each checked when they are read, so damage costs the series of that block or chunk and no other. Only
//! damaged times cost the chunks that refer to them too: see `earlier`.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use dotter_dot::{Column, SeriesName, Shape, TimeRange, Timestamp};

use crate::disk::content::{Bytes, Content};
use crate::disk::segment::{open, read_end};
use crate::error::Error;
use crate::format::bytes::Fields;
use crate::format::chunk;
use crate::format::codec::{Span, TextTest};
use crate::format::listing::{Order, SegmentEntry};
use crate::format::place::nanos;
use crate::format::segment::entry::{self, ChunkRef, Part, SharedRef, Within};
use crate::format::segment::keys::{self, Keyed, Top, Walk};
use crate::format::segment::shared::Shared;
use crate::format::segment::tail::TAIL_BYTES;
use crate::format::spans::Spans;
use crate::format::tombstone::{self, Tombstone};
use crate::format::tombstones::Tombstones;
use crate::read::lately;

/// How many bytes of a file are in memory while all of them are checked.
const PIECE_BYTES: usize = 1 << 20;

/// One live segment, open for reading.
pub(crate) struct Segment {
    path: PathBuf,
    content: Content,
    /// The number of this open segment in this process.
    number: u64,
    /// Where the chunks end.
    keys_at: usize,
    shapes: Vec<Shape>,
    top: Top,
    /// A bit for each key block: whether it matched its checksum.
    checked: Vec<AtomicU64>,
    entry: SegmentEntry,
}

#[cfg(test)]
thread_local! {
    /// How many chunks this thread has decoded. Tests count them to tell what a read costs.
    pub(crate) static CHUNKS_DECODED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

impl Segment {
    /// Opens the segment that `entry` lists.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] where the file is not whole, or is another segment than the one listed.
    pub(crate) fn open(path: &Path, entry: &SegmentEntry) -> Result<Segment, Error> {
        static OPENED: AtomicU64 = AtomicU64::new(0);
        let content = Content::open(open(path)?).map_err(Error::io("map", path))?;
        let (tail, shapes, top) = read_end(content.len(), path, &|bytes, at| {
            let at = at as usize;
            bytes.copy_from_slice(&content.get(at..at + bytes.len())?);
            Ok(())
        })?;
        tail.compare(entry, path)?;
        Ok(Segment {
            path: path.to_owned(),
            // Relaxed, here and below: counts and marks that nothing else depends on.
            number: OPENED.fetch_add(1, Relaxed),
            keys_at: tail.keys_at as usize,
            shapes,
            checked: (0..top.len().div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
            top,
            entry: entry.clone(),
            content,
        })
    }

    pub(crate) fn order(&self) -> Order {
        self.entry.order
    }

    pub(crate) fn entry(&self) -> &SegmentEntry {
        &self.entry
    }

    /// Bytes of all chunks.
    pub(crate) fn chunk_bytes(&self) -> u64 {
        self.keys_at as u64
    }

    /// The spans of time in which its dots of a series are hidden, or the steps that begin in them.
    pub(crate) fn hidden(&self, tombstones: &Tombstones, name: &str) -> Spans {
        if tombstones.is_empty() { Spans::default() } else { self.hidden_by(tombstones.of(name)) }
    }

    /// As [`Segment::hidden`], by tombstones that mean the series.
    pub(crate) fn hidden_by<'a>(&self, tombstones: impl Iterator<Item = &'a Tombstone> + Clone) -> Spans {
        let (order, purged) = (self.entry.order, self.entry.purged);
        match self.entry.place.filter(|place| !place.tier.step.is_zero()) {
            Some(place) => tombstone::hidden_steps_by(tombstones, order, purged, nanos(place.tier.step)),
            None => tombstone::hidden_by(tombstones, order, purged),
        }
    }

    pub(crate) fn meets(&self, range: TimeRange) -> bool {
        range.meets(self.entry.first_time, self.entry.last_time)
    }

    /// Every series from the name `start` on, in order. A key block that is damaged is an error, and the walk goes on
    /// behind it.
    pub(crate) fn series(&self, start: &str) -> SegmentSeries<'_> {
        SegmentSeries {
            next: self.top.find(start.as_bytes()).unwrap_or(0),
            ..SegmentSeries::new(self, start)
        }
    }

    /// The names of every series from `start` on, in order.
    pub(crate) fn names(&self, start: &str) -> impl Iterator<Item = Result<SeriesName, Error>> + use<'_> {
        let mut series = self.series(start);
        std::iter::from_fn(move || Some(series.next()?.and_then(|()| series.name())))
    }

    /// Whether it has dots of a series.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] where the key block that would have the series does not match its checksum.
    pub(crate) fn has(&self, name: &str) -> Result<bool, Error> {
        Ok(self.find(name)?.is_some())
    }

    /// Calls `each` with the chunks of a series that overlap `range`: those with explicit times first, each kind in
    /// time order. An unknown series has none.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] where the key block or a shared block of the series does not match its checksum, or makes no
    /// sense.
    pub(crate) fn chunks(
        &self,
        name: &str,
        range: Option<TimeRange>,
        each: impl FnMut(ChunkRef),
    ) -> Result<(), Error> {
        match self.find(name)? {
            Some((block, bytes, keyed)) => self.chunks_of(block, &bytes, &keyed, range, each),
            None => Ok(()),
        }
    }

    /// Whether it has a series that a tombstone means.
    pub(crate) fn has_any(&self, tombstone: &Tombstone) -> Result<bool, Error> {
        let mut series = self.series(tombstone.first_name());
        while let Some(step) = series.next() {
            step?;
            let name = series.name()?;
            if tombstone.is_behind(name.as_str()) {
                return Ok(false);
            }
            if tombstone.names(name.as_str()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The shape of the dot of a series that was committed last.
    pub(crate) fn latest_shape(&self, name: &str) -> Result<Option<&Shape>, Error> {
        match self.find(name)? {
            Some((block, bytes, keyed)) => self.latest_of(block, &bytes, &keyed).map(Some),
            None => Ok(None),
        }
    }

    /// The shape of a chunk of this segment.
    pub(crate) fn shape(&self, chunk: &ChunkRef) -> &Shape {
        &self.shapes[chunk.shape]
    }

    /// Appends the dots of one chunk.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] where its checksum does not match; `out` is as before then.
    pub(crate) fn read(&self, chunk: &ChunkRef, out: &mut Column) -> Result<(), Error> {
        self.read_within(chunk, Span::default(), None, out)
    }

    /// As [`Segment::read`], but dots outside of `span` may be left out. So may texts that do not pass `test`: their
    /// dots are there, but without row bytes.
    ///
    /// # Errors
    ///
    /// As [`Segment::read`].
    pub(crate) fn read_within(
        &self,
        chunk: &ChunkRef,
        span: Span,
        test: Option<TextTest<'_>>,
        out: &mut Column,
    ) -> Result<(), Error> {
        #[cfg(test)]
        CHUNKS_DECODED.set(CHUNKS_DECODED.get() + 1);
        if let Some(Within { place, .. }) = chunk.within {
            let ChunkRef { at, bytes, clock, shape, .. } = *chunk;
            let block = self.shared(&SharedRef { at, bytes, place, clock, shape })?;
            return block
                .append(place, &self.shapes[shape], out)
                .ok_or_else(|| self.damaged(at, format!("place {place} of a shared block makes no sense")));
        }
        let bytes = self.get(chunk.at..chunk.at + chunk.bytes)?;
        let before = out.len();
        let earlier = |reference, count| self.earlier_times(chunk.at, reference, count);
        chunk::decode(&bytes, self.shape(chunk), chunk.clock, span, &earlier, test, out)
            .and_then(|()| self.check_again(|| chunk::check(&bytes).map(|_| ())))
            .map_err(|what| {
                out.truncate(before);
                self.damaged(chunk.at, what)
            })
    }

    /// A shared block that has dots of a series.
    fn shared(&self, part: &SharedRef) -> Result<Rc<Shared>, Error> {
        lately::block(self.key(part.at), || {
            let bytes = self.get(part.at..part.at + part.bytes)?;
            Shared::decode(&bytes, &self.shapes[part.shape], part.clock)
                .and_then(|block| self.check_again(|| chunk::check(&bytes).map(|_| ())).map(|()| block))
                .map_err(|what| self.damaged(part.at, what))
        })
    }

    /// Checks all key blocks and shared blocks: then every series is found, and only dots of chunks may be damaged.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] for the first one that does not match its checksum, or that makes no sense.
    pub(crate) fn check_index(&self) -> Result<(), Error> {
        let mut walk = Walk::default();
        for block in 0..self.top.len() {
            let bytes = self.block(block)?;
            walk.begin(&bytes, self.keys_at).ok_or_else(|| self.senseless(block))?;
            for shared in walk.shared() {
                let at = shared.start;
                let bytes = self.get(shared)?;
                chunk::check(&bytes).map_err(|what| self.damaged(at, what))?;
            }
        }
        Ok(())
    }

    /// Checks the whole file against the checksum in its listing, also the bytes that no read looks at.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`].
    pub(crate) fn check_all(&self) -> Result<(), Error> {
        let end = (self.content.len() as usize).saturating_sub(TAIL_BYTES);
        let mut found = 0;
        for at in (0..end).step_by(PIECE_BYTES) {
            found = crc32c::crc32c_append(found, &self.get(at..end.min(at + PIECE_BYTES))?);
        }
        let expected = self.entry.checksum;
        if found == expected {
            return Ok(());
        }
        Err(self.damaged(0, format!("checksum of the file {found:08x}, expected {expected:08x}")))
    }

    /// Checks bytes once more where a page of the file has become zeros: that may have been after the first check.
    fn check_again(&self, check: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
        if self.content.is_broken() { check() } else { Ok(()) }
    }

    /// As [`Self::check_again`], for a key block: a page of zeros reads as a block without the series.
    fn check_block_again(&self, block: usize, bytes: &[u8]) -> Result<(), Error> {
        self.check_again(|| keys::check(bytes))
            .map_err(|what| self.damaged(self.top.place(block).start, format!("key block: {what}")))
    }

    /// A key block that matches its checksum.
    fn block(&self, block: usize) -> Result<Bytes<'_>, Error> {
        let place = self.top.place(block);
        let at = place.start;
        let bytes = self.get(place)?;
        let (word, bit) = (&self.checked[block / 64], 1 << (block % 64));
        let is_checked = matches!(bytes, Bytes::Mapped(_)) && !self.content.is_broken();
        if !(is_checked && word.load(Relaxed) & bit != 0) {
            keys::check(&bytes).map_err(|what| self.damaged(at, format!("key block: {what}")))?;
            word.fetch_or(bit, Relaxed);
        }
        Ok(bytes)
    }

    /// The series of a name: its key block, the bytes of that block, and its place in it.
    fn find(&self, name: &str) -> Result<Option<(usize, Bytes<'_>, Keyed)>, Error> {
        let Some(block) = self.top.find(name.as_bytes()) else { return Ok(None) };
        let bytes = self.block(block)?;
        let keyed = lately::walk(self.key(block), |walk| {
            if walk.has_passed(name.as_bytes()) {
                walk.begin(&bytes, self.keys_at)?;
            }
            walk.find(&bytes, name.as_bytes())
        });
        let keyed = keyed.ok_or_else(|| self.senseless(block))?;
        self.check_block_again(block, &bytes)?;
        Ok(keyed.map(|keyed| (block, bytes, keyed)))
    }

    fn chunks_of(
        &self,
        block: usize,
        bytes: &[u8],
        keyed: &Keyed,
        range: Option<TimeRange>,
        mut each: impl FnMut(ChunkRef),
    ) -> Result<(), Error> {
        let mut failed = None;
        let mut fields = Fields(&bytes[keyed.entry.clone()]);
        let (shapes, end) = (self.shapes.len(), self.keys_at);
        let taken =
            entry::take_parts(&mut fields, keyed.placed, shapes, end, range, &mut |part| match part {
                Part::Own(chunk) => each(chunk),
                Part::Shared(part) => match self.chunk_of(&part) {
                    Ok(chunk) if range.is_none_or(|range| range.meets(chunk.first, chunk.last)) => {
                        each(chunk)
                    }
                    Ok(_) => {}
                    Err(error) => failed = Some(error),
                },
            });
        taken.ok_or_else(|| self.senseless(block))?;
        self.check_block_again(block, bytes)?;
        failed.map_or(Ok(()), Err)
    }

    /// Describes a part of a shared block as a chunk.
    fn chunk_of(&self, part: &SharedRef) -> Result<ChunkRef, Error> {
        let block = self.shared(part)?;
        let SharedRef { at, bytes, place, clock, shape } = *part;
        let times = block.times(place);
        let times = times.ok_or_else(|| self.damaged(at, format!("no place {place} in a shared block")))?;
        let [first, last] = [times[0], times[times.len() - 1]].map(Timestamp::from_nanos);
        let (dots, summary) = (times.len() as u64, None);
        let within = Some(Within { place, bytes: bytes as u64 * dots / block.dots() as u64 });
        Ok(ChunkRef { at, bytes, within, dots, first, last, clock, shape, summary })
    }

    fn latest_of(&self, block: usize, bytes: &[u8], keyed: &Keyed) -> Result<&Shape, Error> {
        let number = entry::latest_shape(&mut Fields(&bytes[keyed.entry.clone()]), self.shapes.len());
        Ok(&self.shapes[number.ok_or_else(|| self.senseless(block))?])
    }

    /// What `lately` knows a place of this open segment by.
    pub(super) fn key(&self, place: usize) -> lately::Key {
        (self.number, place)
    }

    pub(super) fn get(&self, range: Range<usize>) -> Result<Bytes<'_>, Error> {
        let at = range.start;
        self.content
            .get(range)
            .map_err(|error| self.damaged(at, format!("bytes that cannot be read: {error}")))
    }

    fn senseless(&self, block: usize) -> Error {
        self.damaged(self.top.place(block).start, "a key block that makes no sense")
    }

    pub(super) fn damaged(&self, at: usize, what: impl Into<String>) -> Error {
        Error::damaged(&self.path, at as u64, what)
    }
}

/// A walk over the series of a segment.
pub(crate) struct SegmentSeries<'a> {
    segment: &'a Segment,
    /// The first name that is wanted.
    start: String,
    /// The key block that comes next.
    next: usize,
    block: Option<Bytes<'a>>,
    walk: Walk,
    keyed: Keyed,
}

impl<'a> SegmentSeries<'a> {
    fn new(segment: &'a Segment, start: &str) -> SegmentSeries<'a> {
        let (next, block, walk, keyed) = Default::default();
        SegmentSeries { segment, start: start.to_owned(), next, block, walk, keyed }
    }

    /// Goes to the next series; `None` behind the last.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] for each key block that cannot be read: its series are passed over.
    pub(crate) fn next(&mut self) -> Option<Result<(), Error>> {
        loop {
            let Some(block) = &self.block else {
                if self.next == self.segment.top.len() {
                    return None;
                }
                self.next += 1;
                let begun = self.segment.block(self.next - 1).and_then(|block| {
                    let begun = self.walk.begin(&block, self.segment.keys_at);
                    begun.map(|()| block).ok_or_else(|| self.segment.senseless(self.next - 1))
                });
                match begun {
                    Ok(block) => self.block = Some(block),
                    Err(error) => return Some(Err(error)),
                }
                continue;
            };
            let step = self.walk.next(block);
            if let Err(error) = self.segment.check_block_again(self.next - 1, block) {
                self.block = None;
                return Some(Err(error));
            }
            match step {
                Some(Some(_)) if self.walk.name() < self.start.as_bytes() => {}
                Some(Some(keyed)) => {
                    self.keyed = keyed;
                    return Some(Ok(()));
                }
                Some(None) => self.block = None,
                None => {
                    self.block = None;
                    return Some(Err(self.segment.senseless(self.next - 1)));
                }
            }
        }
    }

    /// The bytes of the series' name; empty before [`Self::next`] has given a series.
    pub(crate) fn name_bytes(&self) -> &[u8] {
        self.walk.name()
    }

    /// The name of the series.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] where it is none.
    pub(crate) fn name(&self) -> Result<SeriesName, Error> {
        SeriesName::from_bytes(self.walk.name()).map_err(|_| self.segment.senseless(self.next - 1))
    }

    fn at(&self) -> (usize, &[u8], &Keyed) {
        (self.next - 1, self.block.as_ref().expect("the walk has come to a series"), &self.keyed)
    }

    /// As [`Segment::chunks`], of the series that the walk has come to.
    ///
    /// # Errors
    ///
    /// As [`Segment::chunks`].
    pub(crate) fn chunks(&self, each: impl FnMut(ChunkRef)) -> Result<(), Error> {
        let (block, bytes, keyed) = self.at();
        self.segment.chunks_of(block, bytes, keyed, None, each)
    }

    /// As [`Segment::latest_shape`], of the series that the walk has come to.
    ///
    /// # Errors
    ///
    /// As [`Segment::latest_shape`].
    pub(crate) fn latest_shape(&self) -> Result<&'a Shape, Error> {
        let (block, bytes, keyed) = self.at();
        self.segment.latest_of(block, bytes, keyed)
    }
}
