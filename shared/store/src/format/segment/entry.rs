//! The entry of one series in a key block: its shapes, and where its dots are.
//!
//! Dots are of two kinds: those that are all kept (`clock` in code; see FORMAT.md, "Equal times"), and the others,
//! which are called those with explicit times. The dots of a kind are in chunks of their own or a part of a shared
//! block. Chunks are listed in groups, so that a reader who wants a part of a long series skips the rest of its entry.

use dotter_dot::{TimeRange, Timestamp, put_varint};

use crate::format::bytes::Fields;
use crate::format::summary::Summary;

/// How many chunks a group has.
const GROUP: usize = 64;
/// A chunk has at least so many bytes in an entry.
const LISTED_BYTES_MIN: usize = 5;

/// An entry that is being made.
#[derive(Default)]
pub(crate) struct Entry {
    /// Where the dots with explicit times are, and those that are all kept.
    kinds: [Kept; 2],
    /// The numbers of the shapes, each once.
    shapes: Vec<u32>,
}

/// Where the dots of one kind are.
#[derive(Default)]
enum Kept {
    #[default]
    Nowhere,
    /// The index of a shared block of the key block, and the number of their shape.
    Shared(usize, u32),
    Own(Vec<Listed>),
}

/// A chunk in the entry.
pub(crate) struct Listed {
    pub(crate) bytes: u64,
    pub(crate) dots: u64,
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// Number of its shape in the segment.
    pub(crate) shape: u32,
    pub(crate) summary: Option<Summary>,
}

/// A part of a series' dots, all of one kind and shape: a chunk, or a part of a shared block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ChunkRef {
    /// Offset of the chunk, or of the shared block.
    pub(crate) at: usize,
    /// Bytes of the chunk, or of the shared block.
    pub(crate) bytes: usize,
    /// Where the dots are in the shared block; `None` for a chunk.
    pub(crate) within: Option<Within>,
    pub(crate) dots: u64,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) clock: bool,
    /// Number of its shape in the segment.
    pub(crate) shape: usize,
    pub(crate) summary: Option<Summary>,
}

impl ChunkRef {
    /// The bytes of its dots: of a shared block the part that these dots are of all its dots.
    pub(crate) fn bytes_alone(&self) -> u64 {
        self.within.map_or(self.bytes as u64, |within| within.bytes)
    }
}

/// Dots of one series in a shared block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Within {
    /// The place of the series among those of the block.
    pub(crate) place: u32,
    /// The bytes of the block that the dots account for.
    pub(crate) bytes: u64,
}

/// A part of a shared block, of which only the block itself says how many dots it has and when.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SharedRef {
    pub(crate) at: usize,
    pub(crate) bytes: usize,
    /// The place of the series among those of the block.
    pub(crate) place: u32,
    pub(crate) clock: bool,
    pub(crate) shape: usize,
}

/// What an entry says: of chunks everything, of parts of shared blocks where they are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Part {
    Own(ChunkRef),
    Shared(SharedRef),
}

/// The first fields of an entry: how much of what is common to the key block it uses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Head {
    /// Bytes of its own chunks.
    pub(crate) own_bytes: u64,
    /// For each kind the index of the shared block in which its dots are.
    pub(crate) shared: [Option<usize>; 2],
}

impl Entry {
    pub(crate) fn is_empty(&self) -> bool {
        self.kinds.iter().all(|kind| matches!(kind, Kept::Nowhere))
    }

    /// Whether there is a chunk of this kind.
    pub(crate) fn has_own(&self, clock: bool) -> bool {
        matches!(self.kinds[clock as usize], Kept::Own(_))
    }

    /// Adds a chunk: those with explicit times first, each kind in time order.
    pub(crate) fn push(&mut self, chunk: Listed, clock: bool) {
        assert!(clock || !self.has_own(true), "chunks with explicit times come first");
        self.note_shape(chunk.shape);
        match &mut self.kinds[clock as usize] {
            Kept::Own(chunks) => chunks.push(chunk),
            kind => *kind = Kept::Own(vec![chunk]),
        }
    }

    /// Says that all dots of a kind are in a shared block.
    ///
    /// - `index`: that of the shared block in the key block
    pub(crate) fn share(&mut self, index: usize, shape: u32, clock: bool) {
        assert!(!self.has_own(clock), "dots of one kind are in chunks or in a shared block");
        self.note_shape(shape);
        self.kinds[clock as usize] = Kept::Shared(index, shape);
    }

    fn note_shape(&mut self, shape: u32) {
        if !self.shapes.contains(&shape) {
            self.shapes.push(shape);
        }
    }

    /// - `latest`: number of the shape of the dot committed last
    pub(crate) fn encode(&mut self, latest: u32, out: &mut Vec<u8>) {
        // The latest shape comes last, also where no chunk has it any more.
        self.shapes.retain(|shape| *shape != latest);
        self.shapes.push(latest);
        for (index, shape) in self.shapes.iter().enumerate() {
            let more = index + 1 < self.shapes.len();
            put_varint(out, (*shape as u64) << 1 | more as u64);
        }
        let mut own_bytes = None;
        for kind in &self.kinds {
            put_varint(
                out,
                match kind {
                    Kept::Nowhere => 0,
                    Kept::Shared(index, _) => (*index as u64) << 1 | 1,
                    Kept::Own(chunks) => {
                        *own_bytes.get_or_insert(0) += chunks.iter().map(|chunk| chunk.bytes).sum::<u64>();
                        (chunks.len() as u64) << 1
                    }
                },
            );
        }
        own_bytes.iter().for_each(|bytes| put_varint(out, *bytes));
        for kind in &self.kinds {
            match kind {
                Kept::Nowhere => {}
                Kept::Shared(_, shape) => self.put_place(*shape, out),
                Kept::Own(chunks) => self.encode_kind(chunks, out),
            }
        }
    }

    fn encode_kind(&self, chunks: &[Listed], out: &mut Vec<u8>) {
        if chunks.len() <= GROUP {
            return self.encode_chunks(chunks, 0, out);
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

    fn encode_chunks(&self, chunks: &[Listed], mut before: u64, out: &mut Vec<u8>) {
        for chunk in chunks {
            self.put_place(chunk.shape, out);
            let Listed { bytes, dots, first, last, summary, .. } = chunk;
            for field in [*bytes, *dots, first - before, last - first] {
                put_varint(out, field);
            }
            Summary::put(*summary, out);
            before = *last;
        }
    }

    /// Appends the place of a shape among those of the series, where there are several.
    fn put_place(&self, shape: u32, out: &mut Vec<u8>) {
        if self.shapes.len() > 1 {
            let place = self.shapes.iter().position(|of| *of == shape);
            put_varint(out, place.expect("the shape of each part was noted") as u64);
        }
    }
}

impl Head {
    /// Reads the first fields of an entry; `None` where they make no sense.
    pub(crate) fn take(fields: &mut Fields<'_>) -> Option<Head> {
        while fields.varint()? & 1 == 1 {}
        let mut shared = [None; 2];
        let mut is_own = false;
        for kind in &mut shared {
            let count: usize = fields.number()?;
            match count & 1 {
                1 => *kind = Some(count >> 1),
                _ => is_own |= count > 0,
            }
        }
        Some(Head { own_bytes: if is_own { fields.varint()? } else { 0 }, shared })
    }
}

/// The shape of a series' dot that was committed last, by its number.
pub(crate) fn latest_shape(fields: &mut Fields<'_>, shapes: usize) -> Option<usize> {
    loop {
        let number: usize = fields.number()?;
        if number & 1 == 0 {
            return Some(number >> 1).filter(|number| *number < shapes);
        }
    }
}

/// What is common to the entries of a key block, as far as one entry needs it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Placed {
    /// Offset of the series' first own chunk; the others follow it without a gap.
    pub(crate) chunks_at: usize,
    /// For each kind: offset and bytes of the shared block that has its dots, and the place of the series in it.
    pub(crate) shared: [Option<(usize, usize, u32)>; 2],
}

/// Calls `each` with the parts of an entry; chunks that do not overlap `range` are left out. `None` where the entry
/// makes no sense.
///
/// - `shapes`: how many shapes the segment has
/// - `end`: the offset at which the chunks of the file end
pub(crate) fn take_parts(
    fields: &mut Fields<'_>,
    placed: Placed,
    shapes: usize,
    end: usize,
    range: Option<TimeRange>,
    each: &mut impl FnMut(Part),
) -> Option<()> {
    let mut numbers = [0; 8];
    let mut count = 0;
    let mut more = Vec::new();
    loop {
        let number: usize = fields.number()?;
        let shape = Some(number >> 1).filter(|number| *number < shapes)?;
        match numbers.get_mut(count) {
            Some(place) => *place = shape,
            None => more.push(shape),
        }
        count += 1;
        if number & 1 == 0 {
            break;
        }
    }
    let kinds: [usize; 2] = [fields.number()?, fields.number()?];
    let is_own = |count: usize| count > 0 && count & 1 == 0;
    let own_bytes: usize = if kinds.into_iter().any(is_own) { fields.number()? } else { 0 };
    let end = placed.chunks_at.checked_add(own_bytes).filter(|own| *own <= end)?;
    let shape = |fields: &mut Fields<'_>| {
        let place: usize = if count > 1 { fields.number()? } else { 0 };
        let number = numbers.get(place).or_else(|| more.get(place - numbers.len()));
        number.copied().filter(|_| place < count)
    };
    let mut at = placed.chunks_at;
    for (clock, kind) in [false, true].into_iter().zip(kinds) {
        if kind & 1 == 1 {
            let (at, bytes, place) = placed.shared[clock as usize]?;
            each(Part::Shared(SharedRef { at, bytes, place, clock, shape: shape(fields)? }));
            continue;
        }
        let mut taking = Taking { fields, at, end, before: 0, clock, range };
        taking.take(kind >> 1, &shape, &mut |chunk| each(Part::Own(chunk)))?;
        at = taking.at;
    }
    (at == end && fields.0.is_empty()).then_some(())
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
        count: usize,
        shape: &impl Fn(&mut Fields<'_>) -> Option<usize>,
        each: &mut impl FnMut(ChunkRef),
    ) -> Option<()> {
        if count.checked_mul(LISTED_BYTES_MIN)? > self.fields.0.len() {
            return None;
        }
        if count <= GROUP {
            return self.take_group(count, shape, each);
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
                    .take_group(group, shape, each)?;
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
        shape: &impl Fn(&mut Fields<'_>) -> Option<usize>,
        each: &mut impl FnMut(ChunkRef),
    ) -> Option<()> {
        for _ in 0..count {
            let shape = shape(self.fields)?;
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
                let (within, clock) = (None, self.clock);
                each(ChunkRef { at, bytes, within, dots, first, last, clock, shape, summary });
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(n: u64, shape: u32, summary: Option<Summary>) -> Listed {
        Listed { bytes: n + 1, dots: 10, first: n * 100, last: n * 100 + 90, shape, summary }
    }

    /// The parts of an entry whose own chunks begin at 16.
    fn parts(bytes: &[u8], placed: Placed, end: usize, range: Option<TimeRange>) -> Option<Vec<Part>> {
        let mut out = Vec::new();
        take_parts(&mut Fields(bytes), placed, 20, end, range, &mut |part| out.push(part)).map(|()| out)
    }

    fn own(parts: Vec<Part>) -> Vec<ChunkRef> {
        let chunk = |part| match part {
            Part::Own(chunk) => chunk,
            Part::Shared(part) => panic!("{part:?} is not a chunk"),
        };
        parts.into_iter().map(chunk).collect()
    }

    #[test]
    fn a_part_of_a_long_series_is_found_and_what_is_cut_is_noticed() {
        let mut entry = Entry::default();
        let summary = Some(Summary { count: 7, min: -1.0, max: 2.5, sum: 0.1, first: 0.0, last: 1.0 });
        (0..300).for_each(|n| entry.push(listed(n, 3, summary), false));
        (0..5).for_each(|n| entry.push(listed(n, 10 + n as u32, None), true));
        let mut bytes = Vec::new();
        entry.encode(11, &mut bytes);
        assert_eq!(latest_shape(&mut Fields(&bytes), 20), Some(11));
        let own_bytes = (1..=300).sum::<usize>() + 15;
        let head = Head { own_bytes: own_bytes as u64, shared: [None; 2] };
        assert_eq!(Head::take(&mut Fields(&bytes)), Some(head));
        let placed = Placed { chunks_at: 16, shared: [None; 2] };
        let take = |range| parts(&bytes, placed, 16 + own_bytes, range).map(own).unwrap();
        let all = take(None);
        assert_eq!(all.len(), 305);
        assert_eq!(
            all.iter().map(|chunk| chunk.shape).skip(298).collect::<Vec<_>>(),
            [3, 3, 10, 11, 12, 13, 14]
        );
        for (index, chunk) in all.iter().enumerate() {
            let range = TimeRange::new(chunk.first, Timestamp::from_nanos(chunk.last.nanos() + 1));
            let found = take(Some(range));
            let meets = |chunk: &&ChunkRef| range.meets(chunk.first, chunk.last);
            assert_eq!(found.len(), all.iter().filter(meets).count(), "{index}");
            assert!(found.iter().any(|found| found.at == chunk.at && found.summary == chunk.summary));
        }
        assert!(parts(&bytes, placed, 16 + own_bytes - 1, None).is_none());
        for length in 0..bytes.len() {
            assert!(parts(&bytes[..length], placed, 16 + own_bytes, None).is_none(), "{length}");
        }
    }

    #[test]
    fn an_entry_says_which_shared_blocks_have_its_dots() {
        let mut entry = Entry::default();
        entry.share(70, 4, false);
        let (mut explicit, mut both) = (Vec::new(), Vec::new());
        entry.encode(4, &mut explicit);
        assert_eq!(explicit.len(), 4, "shape, two bytes of the index, no dots that are all kept");
        entry.share(2, 5, true);
        entry.encode(4, &mut both);
        let head = Head { own_bytes: 0, shared: [Some(70), Some(2)] };
        assert_eq!(Head::take(&mut Fields(&both)), Some(head));
        let placed = Placed { chunks_at: 16, shared: [Some((100, 20, 3)), Some((200, 30, 0))] };
        let shared =
            |at, bytes, place, clock, shape| Part::Shared(SharedRef { at, bytes, place, clock, shape });
        let expected = vec![shared(100, 20, 3, false, 4), shared(200, 30, 0, true, 5)];
        assert_eq!(parts(&both, placed, 16, None), Some(expected));
        assert_eq!(parts(&both, Placed { chunks_at: 16, shared: [None; 2] }, 16, None), None);
        for length in 0..both.len() {
            assert!(parts(&both[..length], placed, 16, None).is_none(), "{length}");
        }
    }
}
