//! A mapped segment.
//!
//! Opening it compares the file with its listing, and checks index and fst against their checksum. A chunk is checked
//! when it is read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dotter_dot::{Column, SeriesName, Shape, TimeRange, Timestamp};
use fst::{IntoStreamer, Streamer};

use crate::disk::map::Map;
use crate::disk::segment::open;
use crate::error::Error;
use crate::format::bytes::Fields;
use crate::format::chunk;
use crate::format::listing::{Order, SegmentEntry};
use crate::format::segment::entry::{self, ChunkRef};
use crate::format::segment::tail::{TAIL_BYTES, Tail};
use crate::format::shapes::take_shape;
use crate::format::tombstone::{self, Spans, Tombstone};

/// One live segment, open for reading.
pub(crate) struct Segment {
    path: PathBuf,
    map: Arc<Map>,
    index_at: usize,
    /// The offset in the index at which the entries of series begin, behind the shapes.
    entries_at: usize,
    fst_at: usize,
    shapes: Vec<Shape>,
    keys: fst::Map<Part>,
    entry: SegmentEntry,
}

/// A part of a mapped file.
struct Part {
    map: Arc<Map>,
    from: usize,
    until: usize,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.map[self.from..self.until]
    }
}

/// Series names in order.
pub(crate) struct SegmentNames<'a> {
    stream: fst::map::Stream<'a>,
}

impl Iterator for SegmentNames<'_> {
    type Item = SeriesName;

    fn next(&mut self) -> Option<SeriesName> {
        loop {
            // A name was valid when it was written, and the checksum says its bytes are what they were then.
            if let Ok(name) = SeriesName::from_bytes(self.stream.next()?.0) {
                return Some(name);
            }
        }
    }
}

/// Calls `each` with every series name of some segments that begins with `prefix`, once, in order.
pub(crate) fn names_of<'a>(
    segments: impl IntoIterator<Item = &'a Segment>,
    prefix: &str,
    mut each: impl FnMut(&str),
) {
    let mut union = fst::map::OpBuilder::new();
    for segment in segments {
        union.push(segment.keys.range().ge(prefix));
    }
    let mut names = union.union();
    while let Some((name, _)) = names.next() {
        if !name.starts_with(prefix.as_bytes()) {
            return;
        }
        // A name was valid when it was written, and the checksum says its bytes are what they were then.
        if let Ok(name) = std::str::from_utf8(name) {
            each(name);
        }
    }
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
        let file = open(path)?;
        let map = Arc::new(Map::new(&file).map_err(Error::io("map", path))?);
        let (Some((body, last)), length) = (map.split_last_chunk::<TAIL_BYTES>(), map.len() as u64) else {
            return Err(Error::damaged(path, 0, format!("{} bytes are too few for a segment", map.len())));
        };
        let (mut tail, checksum) = Tail::decode(last, path, length)?;
        tail.meta = tail.check(&body[tail.index_at as usize..], checksum, path)?;
        tail.compare(entry, path)?;
        let (fst_at, meta_at) = (tail.fst_at as usize, tail.meta_at as usize);
        let keys = fst::Map::new(Part { map: map.clone(), from: fst_at, until: meta_at })
            .map_err(|error| Error::damaged(path, tail.fst_at, format!("no series map: {error}")))?;
        let index_at = tail.index_at as usize;
        let mut fields = Fields(&body[index_at..fst_at]);
        let shapes = take_shapes(&mut fields)
            .ok_or_else(|| Error::damaged(path, tail.index_at, "shapes that make no sense"))?;
        let entries_at = fst_at - fields.0.len();
        let (path, entry) = (path.to_owned(), entry.clone());
        Ok(Segment { path, index_at, entries_at, fst_at, shapes, keys, entry, map })
    }

    pub(crate) fn order(&self) -> Order {
        self.entry.order
    }

    pub(crate) fn entry(&self) -> &SegmentEntry {
        &self.entry
    }

    /// Bytes of all chunks.
    pub(crate) fn chunk_bytes(&self) -> u64 {
        self.index_at as u64
    }

    /// The spans of time in which its dots of a series are hidden.
    pub(crate) fn hidden(&self, tombstones: &[Tombstone], name: &str) -> Spans {
        tombstone::hidden(tombstones, name, self.entry.order, self.entry.purged)
    }

    pub(crate) fn meets(&self, range: TimeRange) -> bool {
        range.meets(self.entry.first_time, self.entry.last_time)
    }

    /// Every series name from `start` on, in order.
    pub(crate) fn names(&self, start: &str) -> SegmentNames<'_> {
        SegmentNames { stream: self.keys.range().ge(start).into_stream() }
    }

    /// Whether it has dots of a series.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.keys.contains_key(name)
    }

    /// Calls `each` with the chunks of a series that overlap `range`: those with explicit times first, each kind in
    /// time order. An unknown series has none.
    pub(crate) fn chunks(
        &self,
        name: &str,
        range: Option<TimeRange>,
        mut each: impl FnMut(ChunkRef),
    ) -> Result<(), Error> {
        if let Some(at) = self.keys.get(name) {
            self.fields_at(at)
                .and_then(|mut fields| {
                    let (shapes, end) = (self.shapes.len(), self.index_at);
                    entry::take_chunks(&mut fields, shapes, end, range, &mut each)
                })
                .ok_or_else(|| self.senseless(at, name))?;
        }
        self.check_whole()
    }

    /// Fails where a page of the file could not be read: the index may then have been read as zeros.
    fn check_whole(&self) -> Result<(), Error> {
        match self.map.is_broken() {
            true => Err(Error::damaged(&self.path, 0, "bytes that the disk could not give")),
            false => Ok(()),
        }
    }

    /// All chunks of a series.
    pub(crate) fn all_chunks(&self, name: &str) -> Result<Vec<ChunkRef>, Error> {
        let mut chunks = Vec::new();
        self.chunks(name, None, |chunk| chunks.push(chunk))?;
        Ok(chunks)
    }

    /// The shape of the dot of a series that was committed last.
    pub(crate) fn latest_shape(&self, name: &str) -> Result<Option<&Shape>, Error> {
        let Some(at) = self.keys.get(name) else { return Ok(None) };
        let number =
            self.fields_at(at).and_then(|mut fields| entry::latest_shape(&mut fields, self.shapes.len()));
        Ok(Some(&self.shapes[number.ok_or_else(|| self.senseless(at, name))?]))
    }

    /// The shape of a chunk of this segment.
    pub(crate) fn shape(&self, chunk: &ChunkRef) -> &Shape {
        &self.shapes[chunk.shape]
    }

    fn fields_at(&self, at: u64) -> Option<Fields<'_>> {
        self.map[self.entries_at..self.fst_at].get(usize::try_from(at).ok()?..).map(Fields)
    }

    fn senseless(&self, at: u64, name: &str) -> Error {
        let what = format!("the index entry of {name} makes no sense");
        Error::damaged(&self.path, (self.entries_at as u64).saturating_add(at), what)
    }

    /// The bytes of a chunk.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] where its checksum does not match.
    pub(crate) fn bytes(&self, chunk: &ChunkRef) -> Result<&[u8], Error> {
        let bytes = &self.map[chunk.at..chunk.at + chunk.bytes];
        chunk::check(bytes).map_err(|what| Error::damaged(&self.path, chunk.at as u64, what))?;
        Ok(bytes)
    }

    /// Appends the dots of one chunk.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] where its checksum does not match; `out` is as before then.
    pub(crate) fn read(&self, chunk: &ChunkRef, out: &mut Column) -> Result<(), Error> {
        self.read_before(chunk, None, out)
    }

    /// As [`Segment::read`], but dots at `until` and later may be left out.
    ///
    /// # Errors
    ///
    /// As [`Segment::read`].
    pub(crate) fn read_before(
        &self,
        chunk: &ChunkRef,
        until: Option<Timestamp>,
        out: &mut Column,
    ) -> Result<(), Error> {
        #[cfg(test)]
        CHUNKS_DECODED.set(CHUNKS_DECODED.get() + 1);
        let bytes = &self.map[chunk.at..chunk.at + chunk.bytes];
        let until = until.map(Timestamp::nanos);
        chunk::decode(bytes, self.shape(chunk), chunk.clock, until, out)
            .map_err(|what| Error::damaged(&self.path, chunk.at as u64, what))
    }
}

fn take_shapes(fields: &mut Fields<'_>) -> Option<Vec<Shape>> {
    (0..fields.count(3)?).map(|_| take_shape(fields)).collect()
}
