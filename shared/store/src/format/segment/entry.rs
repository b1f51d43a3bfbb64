//! The entry of one series in the index of a segment: its shapes, and where its chunks are.
//!
//! Chunks are listed in groups, so that a reader who wants a part of a long series skips the rest of its entry.

use dotter_dot::{TimeRange, Timestamp, put_varint};

use crate::format::bytes::Fields;
use crate::format::summary::Summary;

/// How many chunks a group has.
const GROUP: usize = 64;

/// An entry that is being made.
#[derive(Default)]
pub(crate) struct Entry {
    /// The offset of the first chunk in the file; the others follow it without a gap.
    first_chunk: u64,
    /// The chunks with explicit times, and those with clock stamps.
    chunks: [Vec<Listed>; 2],
    /// The numbers of the chunks' shapes, each once.
    shapes: Vec<u32>,
}

/// A chunk in the index.
pub(crate) struct Listed {
    pub(crate) bytes: u64,
    pub(crate) dots: u64,
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// Number of its shape in the segment.
    pub(crate) shape: u32,
    pub(crate) summary: Option<Summary>,
}

/// Where a chunk is, and its first and last time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChunkRef {
    pub(crate) at: usize,
    pub(crate) bytes: usize,
    pub(crate) dots: u64,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) clock: bool,
    /// Number of its shape in the segment.
    pub(crate) shape: usize,
    pub(crate) summary: Option<Summary>,
}

impl Entry {
    pub(crate) fn new(first_chunk: u64) -> Entry {
        Entry { first_chunk, ..Entry::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.iter().all(Vec::is_empty)
    }

    /// Adds a chunk: those with explicit times first, each kind in time order.
    pub(crate) fn push(&mut self, chunk: Listed, clock: bool) {
        assert!(clock || self.chunks[1].is_empty(), "chunks with explicit times come first");
        if !self.shapes.contains(&chunk.shape) {
            self.shapes.push(chunk.shape);
        }
        self.chunks[clock as usize].push(chunk);
    }

    /// - `latest`: number of the shape of the dot committed last
    pub(crate) fn encode(&mut self, latest: u32, out: &mut Vec<u8>) {
        // The latest shape comes last, also where no chunk has it any more.
        self.shapes.retain(|shape| *shape != latest);
        self.shapes.push(latest);
        put_varint(out, self.shapes.len() as u64);
        self.shapes.iter().for_each(|shape| put_varint(out, *shape as u64));
        put_varint(out, self.first_chunk);
        for chunks in &self.chunks {
            put_varint(out, chunks.len() as u64);
            if chunks.len() <= GROUP {
                self.encode_chunks(chunks, 0, out);
                continue;
            }
            let mut bytes = Vec::new();
            let mut before = 0;
            for group in chunks.chunks(GROUP) {
                bytes.clear();
                self.encode_chunks(group, before, &mut bytes);
                let (first, last) = (group[0].first, group[group.len() - 1].last);
                let chunk_bytes = group.iter().map(|chunk| chunk.bytes).sum();
                for field in [bytes.len() as u64, chunk_bytes, first - before, last - first] {
                    put_varint(out, field);
                }
                out.extend_from_slice(&bytes);
                before = last;
            }
        }
    }

    fn encode_chunks(&self, chunks: &[Listed], mut before: u64, out: &mut Vec<u8>) {
        for chunk in chunks {
            if self.shapes.len() > 1 {
                let place = self.shapes.iter().position(|shape| *shape == chunk.shape);
                put_varint(out, place.expect("the shape of each chunk was noted") as u64);
            }
            let Listed { bytes, dots, first, last, summary, .. } = chunk;
            for field in [*bytes, *dots, first - before, last - first] {
                put_varint(out, field);
            }
            Summary::put(*summary, out);
            before = *last;
        }
    }
}

/// The shape of a series' dot that was committed last, by its number.
pub(crate) fn latest_shape(fields: &mut Fields<'_>, shapes: usize) -> Option<usize> {
    let mut latest = None;
    for _ in 0..fields.count(1)? {
        latest = Some(fields.number()?);
    }
    latest.filter(|number| *number < shapes)
}

/// Calls `each` with the chunks of an entry that overlap `range`; `None` where the entry makes no sense.
///
/// - `shapes`: how many shapes the segment has
/// - `end`: the offset at which the chunks of the file end
pub(crate) fn take_chunks(
    fields: &mut Fields<'_>,
    shapes: usize,
    end: usize,
    range: Option<TimeRange>,
    each: &mut impl FnMut(ChunkRef),
) -> Option<()> {
    let mut numbers = [0; 8];
    let count = fields.count(1)?;
    let mut more = Vec::new();
    for index in 0..count {
        let number = fields.number().filter(|number| *number < shapes)?;
        match numbers.get_mut(index) {
            Some(place) => *place = number,
            None => more.push(number),
        }
    }
    let mut at: usize = fields.number()?;
    for clock in [false, true] {
        let mut taking = Taking { fields, at, end, before: 0, clock, range };
        let shape = |place: usize| {
            let number = numbers.get(place).or_else(|| more.get(place - numbers.len()));
            number.copied().filter(|_| place < count)
        };
        taking.take(count > 1, shape, each)?;
        at = taking.at;
    }
    Some(())
}

struct Taking<'a, 'b> {
    fields: &'a mut Fields<'b>,
    at: usize,
    end: usize,
    /// Last time of the chunk before.
    before: u64,
    clock: bool,
    range: Option<TimeRange>,
}

impl Taking<'_, '_> {
    fn take(
        &mut self,
        shaped: bool,
        shape: impl Fn(usize) -> Option<usize>,
        each: &mut impl FnMut(ChunkRef),
    ) -> Option<()> {
        let count = self.fields.count(5)?;
        if count <= GROUP {
            return self.take_group(count, shaped, &shape, each);
        }
        let mut left = count;
        while left > 0 {
            let group = left.min(GROUP);
            left -= group;
            let (bytes, chunk_bytes): (usize, usize) = (self.fields.number()?, self.fields.number()?);
            let first = self.before.checked_add(self.fields.varint()?)?;
            let last = first.checked_add(self.fields.varint()?)?;
            let mut entry = Fields(self.fields.bytes(bytes)?);
            let after = self.at.checked_add(chunk_bytes).filter(|after| *after <= self.end)?;
            if self.meets(first, last) {
                let (at, before, end) = (self.at, self.before, after);
                let (clock, range) = (self.clock, self.range);
                Taking { fields: &mut entry, at, end, before, clock, range }
                    .take_group(group, shaped, &shape, each)?;
            }
            (self.at, self.before) = (after, last);
        }
        Some(())
    }

    fn meets(&self, first: u64, last: u64) -> bool {
        let (first, last) = (Timestamp::from_nanos(first), Timestamp::from_nanos(last));
        self.range.is_none_or(|range| range.meets(first, last))
    }

    fn take_group(
        &mut self,
        count: usize,
        shaped: bool,
        shape: &impl Fn(usize) -> Option<usize>,
        each: &mut impl FnMut(ChunkRef),
    ) -> Option<()> {
        for _ in 0..count {
            let shape = shape(if shaped { self.fields.number()? } else { 0 })?;
            let bytes: usize = self.fields.number()?;
            let dots = self.fields.varint()?;
            let first = self.before.checked_add(self.fields.varint()?)?;
            let last = first.checked_add(self.fields.varint()?)?;
            let summary = Summary::take(self.fields)?;
            let at = self.at;
            self.at = at.checked_add(bytes).filter(|after| *after <= self.end)?;
            self.before = last;
            if self.meets(first, last) {
                let (first, last) = (Timestamp::from_nanos(first), Timestamp::from_nanos(last));
                each(ChunkRef { at, bytes, dots, first, last, clock: self.clock, shape, summary });
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_long_series_is_found_and_what_is_cut_is_noticed() {
        let mut entry = Entry::new(16);
        let summary = Some(Summary { count: 7, min: -1.0, max: 2.5, sum: 0.1, first: 0.0, last: 1.0 });
        for n in 0..300_u64 {
            let listed =
                Listed { bytes: n + 1, dots: 10, first: n * 100, last: n * 100 + 90, shape: 3, summary };
            entry.push(listed, false);
        }
        for n in 0..5_u64 {
            let shape = 10 + n as u32;
            let listed = Listed { bytes: 9, dots: 1, first: n, last: n, shape, summary: None };
            entry.push(listed, true);
        }
        let mut bytes = Vec::new();
        entry.encode(11, &mut bytes);
        assert_eq!(latest_shape(&mut Fields(&bytes), 20), Some(11));
        let take = |bytes: &[u8], end, range| {
            let mut out = Vec::new();
            let mut fields = Fields(bytes);
            take_chunks(&mut fields, 20, end, range, &mut |chunk| out.push(chunk))
                .map(|()| (out, fields.0.len()))
        };
        let end = 16 + (1..=300).sum::<usize>() + 45;
        let (all, rest) = take(&bytes, end, None).unwrap();
        assert_eq!((all.len(), rest), (305, 0));
        assert_eq!(
            all.iter().map(|chunk| chunk.shape).skip(298).collect::<Vec<_>>(),
            [3, 3, 10, 11, 12, 13, 14]
        );
        for (index, chunk) in all.iter().enumerate() {
            let range = TimeRange::new(chunk.first, Timestamp::from_nanos(chunk.last.nanos() + 1));
            let (found, _) = take(&bytes, end, Some(range)).unwrap();
            let meets = |chunk: &&ChunkRef| range.meets(chunk.first, chunk.last);
            assert_eq!(found.len(), all.iter().filter(meets).count(), "{index}");
            assert!(found.iter().any(|found| found.at == chunk.at && found.summary == chunk.summary));
        }
        assert!(take(&bytes, end - 1, None).is_none());
        for length in 0..bytes.len() {
            assert!(take(&bytes[..length], end, None).is_none(), "{length}");
        }
    }
}
