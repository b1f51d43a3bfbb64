//! A mapped segment.
//!
//! Index and fst were checked against their checksum when it was opened; a chunk is checked when it is read.

use std::path::{Path, PathBuf};

use dotter_dot::{SeriesName, TimeRange, Timestamp};
use fst::{IntoStreamer, Streamer};
use memmap2::Mmap;

use super::tail::{self, TAIL_BYTES, Tail};
use crate::bytes::Fields;
use crate::chunk::{self, Columns};
use crate::error::Error;
use crate::manifest::{Order, SegmentEntry};

/// One live segment, open for reading.
pub(crate) struct Segment {
    path: PathBuf,
    map: Mmap,
    index_at: usize,
    fst_at: usize,
    keys: fst::Map<Vec<u8>>,
    entry: SegmentEntry,
}

/// Where a chunk lies, and what it spans.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChunkRef {
    pub(crate) at: usize,
    pub(crate) bytes: usize,
    pub(crate) dots: u64,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) clock: bool,
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

impl Segment {
    pub(crate) fn open(path: &Path, entry: &SegmentEntry) -> Result<Segment, Error> {
        let file = tail::open(path)?;
        let map = crate::map::map(&file).map_err(Error::io("map", path))?;
        let (Some((body, last)), length) = (map.split_last_chunk::<TAIL_BYTES>(), map.len() as u64) else {
            return Err(Error::damaged(path, 0, format!("{} bytes are too few for a segment", map.len())));
        };
        let (tail, checksum) = Tail::decode(last, path, length)?;
        tail.check(&body[tail.index_at as usize..], checksum, path)?;
        let (fst_at, meta_at) = (tail.fst_at as usize, tail.meta_at as usize);
        let keys = fst::Map::new(body[fst_at..meta_at].to_vec())
            .map_err(|error| Error::damaged(path, tail.fst_at, format!("no series map: {error}")))?;
        let index_at = tail.index_at as usize;
        Ok(Segment { path: path.to_owned(), index_at, fst_at, keys, entry: entry.clone(), map })
    }

    pub(crate) fn order(&self) -> Order {
        self.entry.order
    }

    pub(crate) fn name(&self) -> &str {
        &self.entry.name
    }

    pub(crate) fn meets(&self, range: TimeRange) -> bool {
        range.meets(self.entry.first_time, self.entry.last_time)
    }

    /// Every series name from `start` on, in order.
    pub(crate) fn names(&self, start: &str) -> SegmentNames<'_> {
        SegmentNames { stream: self.keys.range().ge(start).into_stream() }
    }

    /// The chunks of a series: explicit times first, each kind in time order; none where it is unknown.
    pub(crate) fn chunks(&self, name: &str) -> Result<Vec<ChunkRef>, Error> {
        let Some(at) = self.keys.get(name) else { return Ok(Vec::new()) };
        self.entry_at(at as usize).ok_or_else(|| {
            Error::damaged(
                &self.path,
                self.index_at as u64 + at,
                format!("the index entry of {name} makes no sense"),
            )
        })
    }

    fn entry_at(&self, at: usize) -> Option<Vec<ChunkRef>> {
        let mut fields = Fields(self.map[self.index_at..self.fst_at].get(at..)?);
        fields.byte()?;
        fields.text()?;
        fields.text()?;
        for _ in 0..fields.count(1)? {
            fields.text()?;
        }
        let explicit = fields.count(4)?;
        let clock = fields.count(4)?;
        let mut offset: usize = fields.number()?;
        let mut chunks = Vec::with_capacity(explicit + clock);
        for index in 0..explicit + clock {
            let bytes: usize = fields.number()?;
            let dots = fields.varint()?;
            let first = fields.varint()?;
            let last = first.checked_add(fields.varint()?)?;
            let end = offset.checked_add(bytes)?;
            if end > self.index_at {
                return None;
            }
            chunks.push(ChunkRef {
                at: offset,
                bytes,
                dots,
                first: Timestamp::from_nanos(first),
                last: Timestamp::from_nanos(last),
                clock: index >= explicit,
            });
            offset = end;
        }
        Some(chunks)
    }

    /// Appends the dots of one chunk.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] where its checksum does not match; `out` is as before then.
    pub(crate) fn read(&self, chunk: &ChunkRef, out: &mut Columns) -> Result<(), Error> {
        chunk::decode(&self.map[chunk.at..chunk.at + chunk.bytes], chunk.clock, out)
            .map_err(|what| Error::damaged(&self.path, chunk.at as u64, what))
    }
}
