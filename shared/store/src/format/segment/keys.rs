//! Key blocks: the names of a segment's series in order, each with its entry.
//!
//! A name is stored as the count of bytes that it shares with the name before, and the further bytes. So a block is
//! read from its front. A block also says where the dots of its series are: their chunks follow each other without a
//! gap, and behind them the shared blocks. Bytes: FORMAT.md, "Segment".

use std::ops::Range;

use dotter_dot::put_varint;

use crate::format::bytes::Fields;
use crate::format::segment::entry::{Head, Placed};

/// A block ends with the entry that brings it to so many bytes.
pub(crate) const BLOCK_BYTES: usize = 16 << 10;
/// Bytes of the checksum at the end of a block.
const CHECKSUM_BYTES: usize = 4;

/// A key block that is being made.
#[derive(Default)]
pub(crate) struct KeyBlock {
    entries: Vec<u8>,
    first: Vec<u8>,
    last: Vec<u8>,
}

impl KeyBlock {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether it has as many bytes as a block should have.
    pub(crate) fn is_full(&self) -> bool {
        self.entries.len() >= BLOCK_BYTES
    }

    /// The name of its first series.
    pub(crate) fn first(&self) -> &[u8] {
        &self.first
    }

    /// Adds a series; names come in ascending order.
    pub(crate) fn push(&mut self, name: &[u8], entry: &[u8]) {
        assert!(
            self.is_empty() || self.last.as_slice() < name,
            "series come in the order of their names, each once"
        );
        let shared = if self.is_empty() { 0 } else { common(&self.last, name) };
        if self.is_empty() {
            self.first.clear();
            self.first.extend_from_slice(name);
        }
        put_key(shared, name, &mut self.entries);
        put_varint(&mut self.entries, entry.len() as u64);
        self.entries.extend_from_slice(entry);
        self.last.clear();
        self.last.extend_from_slice(name);
    }

    /// Appends the whole block, and begins the next one.
    ///
    /// - `chunks_at`: offset of the first chunk of its series
    /// - `own_bytes`: bytes of these chunks
    /// - `shared`: bytes of each shared block behind them
    pub(crate) fn end(
        &mut self,
        chunks_at: u64,
        own_bytes: u64,
        shared: impl ExactSizeIterator<Item = u64>,
        out: &mut Vec<u8>,
    ) {
        let start = out.len();
        for field in [chunks_at, own_bytes, shared.len() as u64] {
            put_varint(out, field);
        }
        shared.for_each(|bytes| put_varint(out, bytes));
        out.extend_from_slice(&self.entries);
        let checksum = crc32c::crc32c(&out[start..]);
        out.extend_from_slice(&checksum.to_le_bytes());
        self.entries.clear();
    }
}

/// How many bytes two names have in common at their beginning.
pub(crate) fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Appends how much a name shares with the name before, and the rest.
pub(crate) fn put_key(shared: usize, name: &[u8], out: &mut Vec<u8>) {
    put_varint(out, shared as u64);
    put_varint(out, (name.len() - shared) as u64);
    out.extend_from_slice(&name[shared..]);
}

/// Checks a block against its checksum.
pub(crate) fn check(block: &[u8]) -> Result<(), String> {
    let Some((rest, checksum)) = block.split_last_chunk::<CHECKSUM_BYTES>() else {
        return Err(format!("a key block of {} bytes", block.len()));
    };
    let (found, expected) = (crc32c::crc32c(rest), u32::from_le_bytes(*checksum));
    if found == expected { Ok(()) } else { Err(format!("checksum {found:08x}, expected {expected:08x}")) }
}

/// A walk over the series of one key block. It keeps places in the block only, so that whoever walks can hold the
/// block's bytes as well.
#[derive(Default)]
pub(crate) struct Walk {
    at: usize,
    end: usize,
    name: Vec<u8>,
    /// The series that it has come to.
    keyed: Option<Keyed>,
    common: Common,
}

/// What the header of a block says, and how much of it the entries so far have used.
#[derive(Default)]
struct Common {
    /// Offset of the next own chunk.
    chunks_at: usize,
    shared: Vec<Shared>,
}

struct Shared {
    at: usize,
    bytes: usize,
    /// How many series have their place in it already.
    used: u32,
}

/// A series of a key block.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Keyed {
    /// The bytes of its entry, within the block.
    pub(crate) entry: Range<usize>,
    pub(crate) placed: Placed,
}

impl Walk {
    /// Begins a walk; `None` where the block makes no sense.
    ///
    /// - `block`: a block that matches its checksum
    /// - `chunks_end`: offset at which the chunks of the file end
    pub(crate) fn begin(&mut self, block: &[u8], chunks_end: usize) -> Option<()> {
        self.end = block.len().checked_sub(CHECKSUM_BYTES)?;
        let mut fields = Fields(&block[..self.end]);
        let (chunks_at, own_bytes): (usize, usize) = (fields.number()?, fields.number()?);
        let mut at = chunks_at.checked_add(own_bytes).filter(|at| *at <= chunks_end)?;
        self.common.chunks_at = chunks_at;
        self.common.shared.clear();
        for _ in 0..fields.count(1)? {
            let bytes = fields.number()?;
            self.common.shared.push(Shared { at, bytes, used: 0 });
            at = at.checked_add(bytes).filter(|at| *at <= chunks_end)?;
        }
        self.at = self.end - fields.0.len();
        self.name.clear();
        self.keyed = None;
        Some(())
    }

    /// Makes it a walk that has not begun; it keeps its memory.
    pub(crate) fn reset(&mut self) {
        (self.at, self.end) = (0, 0);
    }

    /// The name of the series that [`Self::next`] gave last.
    pub(crate) fn name(&self) -> &[u8] {
        &self.name
    }

    /// Where the shared blocks of the key block are in the file.
    pub(crate) fn shared(&self) -> impl Iterator<Item = Range<usize>> {
        self.common.shared.iter().map(|shared| shared.at..shared.at + shared.bytes)
    }

    /// The next series: `Some(None)` at the end of the block, `None` where the block makes no sense.
    pub(crate) fn next(&mut self, block: &[u8]) -> Option<Option<Keyed>> {
        if self.at == self.end {
            return Some(None);
        }
        let mut fields = Fields(block.get(self.at..self.end)?);
        let (shared, further): (usize, usize) = (fields.number()?, fields.number()?);
        let rest = fields.bytes(further)?;
        if shared > self.name.len() {
            return None;
        }
        self.name.truncate(shared);
        self.name.extend_from_slice(rest);
        self.entry(&mut fields).map(Some)
    }

    /// Whether the walk has not begun, or has come behind a name.
    pub(crate) fn has_passed(&self, name: &[u8]) -> bool {
        self.end == 0 || self.name.as_slice() > name
    }

    /// The series of a name: `Some(None)` where the block does not have it, `None` where the block makes no sense.
    ///
    /// The walk must not have come behind the name. It goes on from where it is, so names that are looked up in their
    /// order cost one walk.
    pub(crate) fn find(&mut self, block: &[u8], name: &[u8]) -> Option<Option<Keyed>> {
        if self.name == name && self.keyed.is_some() {
            return Some(self.keyed.clone());
        }
        // How many bytes of `name` the key before begins with; that key is before `name`.
        let mut matched = common(&self.name, name);
        while self.at < self.end {
            let mut fields = Fields(block.get(self.at..self.end)?);
            let (shared, further): (usize, usize) = (fields.number()?, fields.number()?);
            let rest = fields.bytes(further)?;
            // A key that shares more with the one before differs from `name` where that one did; one that shares less
            // is behind `name`.
            if shared < matched {
                return Some(None);
            }
            let mut is_found = false;
            if shared == matched {
                let wanted = &name[matched..];
                let more = common(rest, wanted);
                match (rest.get(more), wanted.get(more)) {
                    (None, None) => is_found = true,
                    (None, Some(_)) => {}
                    (Some(_), None) => return Some(None),
                    (Some(key), Some(wanted)) if key > wanted => return Some(None),
                    _ => {}
                }
                matched += more;
            }
            if shared > self.name.len() {
                return None;
            }
            self.name.truncate(shared);
            self.name.extend_from_slice(rest);
            let keyed = self.entry(&mut fields)?;
            if is_found {
                return Some(Some(keyed));
            }
        }
        Some(None)
    }

    /// The entry that comes next in `fields`, and where the dots of its series are.
    fn entry(&mut self, fields: &mut Fields<'_>) -> Option<Keyed> {
        let count = fields.number()?;
        let entry = fields.bytes(count)?;
        let until = self.end - fields.0.len();
        self.at = until;
        let head = Head::take(&mut Fields(entry))?;
        let Common { chunks_at, shared } = &mut self.common;
        let mut placed = Placed { chunks_at: *chunks_at, shared: [None; 2] };
        *chunks_at = chunks_at.checked_add(usize::try_from(head.own_bytes).ok()?)?;
        for (index, placed) in head.shared.into_iter().zip(&mut placed.shared) {
            let Some(index) = index else { continue };
            let shared = shared.get_mut(index)?;
            *placed = Some((shared.at, shared.bytes, shared.used));
            shared.used = shared.used.checked_add(1)?;
        }
        self.keyed = Some(Keyed { entry: until - count..until, placed });
        self.keyed.clone()
    }
}

/// The top index of a segment: for each key block its first name and its bytes.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Top {
    firsts: Vec<u8>,
    /// For each block the end of its first name in `firsts`, and its offset in the file.
    blocks: Vec<(usize, usize)>,
    /// Where the key blocks end.
    end: usize,
}

impl Top {
    /// Begins an index of key blocks, the first of which is at `keys_at`.
    pub(crate) fn new(keys_at: usize) -> Top {
        Top { firsts: Vec::new(), blocks: Vec::new(), end: keys_at }
    }

    /// Adds the next block; `None` where it has no place in a file.
    pub(crate) fn push(&mut self, first: &[u8], bytes: usize) -> Option<()> {
        self.firsts.extend_from_slice(first);
        self.blocks.push((self.firsts.len(), self.end));
        self.end = self.end.checked_add(bytes)?;
        Some(())
    }

    pub(crate) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// The name of the first series of a block.
    fn first(&self, block: usize) -> &[u8] {
        let start = block.checked_sub(1).map_or(0, |before| self.blocks[before].0);
        &self.firsts[start..self.blocks[block].0]
    }

    /// Where a block is in the file.
    pub(crate) fn place(&self, block: usize) -> Range<usize> {
        let end = self.blocks.get(block + 1).map_or(self.end, |next| next.1);
        self.blocks[block].1..end
    }

    /// The block that has a name, if any block has it; before the first name there is none.
    pub(crate) fn find(&self, name: &[u8]) -> Option<usize> {
        let (mut low, mut high) = (0, self.blocks.len());
        while low < high {
            let middle = (low + high) / 2;
            if self.first(middle) <= name { low = middle + 1 } else { high = middle }
        }
        low.checked_sub(1)
    }

    /// Appends first names and bytes of all blocks.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.blocks.len() as u64);
        for block in 0..self.blocks.len() {
            let shared =
                block.checked_sub(1).map_or(0, |before| common(self.first(before), self.first(block)));
            put_key(shared, self.first(block), out);
            put_varint(out, self.place(block).len() as u64);
        }
    }

    /// Reads what [`Self::encode`] wrote; `None` where it makes no sense.
    pub(crate) fn decode(fields: &mut Fields<'_>, keys_at: usize) -> Option<Top> {
        let mut top = Top::new(keys_at);
        let mut name = Vec::new();
        for index in 0..fields.count(3)? {
            let (shared, further): (usize, usize) = (fields.number()?, fields.number()?);
            let rest = fields.bytes(further)?;
            let is_behind = index == 0 || rest > name.get(shared..)?;
            name.truncate(shared);
            name.extend_from_slice(rest);
            top.push(&name, fields.number()?).filter(|()| is_behind)?;
        }
        Some(top)
    }

    /// Where the key blocks end.
    pub(crate) fn end(&self) -> usize {
        self.end
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::format::segment::entry::Entry;

    /// A block of these names; every third series is in a shared block.
    fn block(names: &[Vec<u8>]) -> (Vec<u8>, Vec<Vec<u8>>) {
        let mut block = KeyBlock::default();
        let mut entries = Vec::new();
        for (index, name) in names.iter().enumerate() {
            let mut entry = Entry::default();
            if index % 3 == 0 {
                entry.share(index % 2, 0, false);
            } else {
                let listed = crate::format::segment::entry::Listed {
                    bytes: 10,
                    dots: 1,
                    first: 0,
                    last: 0,
                    shape: 0,
                    summary: None,
                };
                entry.push(listed, false);
            }
            let mut bytes = Vec::new();
            entry.encode(0, &mut bytes);
            block.push(name, &bytes);
            entries.push(bytes);
        }
        let own = names.len() - names.len().div_ceil(3);
        let mut out = Vec::new();
        block.end(16, own as u64 * 10, [100, 200].into_iter(), &mut out);
        (out, entries)
    }

    proptest! {
        #[test]
        fn every_name_is_found_and_no_other(
            names in prop::collection::btree_set(prop::collection::vec(0..3_u8, 0..5), 1..40),
            others in prop::collection::vec(prop::collection::vec(0..4_u8, 0..6), 0..40),
        ) {
            let names: Vec<Vec<u8>> = names.into_iter().collect();
            let (block, entries) = block(&names);
            check(&block).unwrap();
            let end = 16 + 10 * names.len() + 300;
            let mut walk = Walk::default();
            walk.begin(&block, end).unwrap();
            let mut walked = BTreeMap::new();
            while let Some(keyed) = walk.next(&block).unwrap() {
                prop_assert_eq!(&block[keyed.entry.clone()], &entries[walked.len()][..]);
                walked.insert(walk.name().to_vec(), keyed);
            }
            prop_assert!(walked.keys().eq(&names));
            for name in names.iter().chain(&others) {
                walk.begin(&block, end).unwrap();
                let found = walk.find(&block, name).unwrap();
                prop_assert_eq!(found.as_ref(), walked.get(name));
            }
            // In their order, in one walk.
            let mut sorted: Vec<_> = names.iter().chain(&others).collect();
            sorted.sort();
            sorted.dedup();
            walk.begin(&block, end).unwrap();
            for name in sorted {
                let found = walk.find(&block, name).unwrap();
                prop_assert_eq!(found.as_ref(), walked.get(name));
            }
        }

        #[test]
        fn a_block_of_rubbish_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut walk = Walk::default();
            if walk.begin(&bytes, 1000).is_some() {
                while let Some(Some(_)) = walk.next(&bytes) {}
            }
            if walk.begin(&bytes, 1000).is_some() {
                let _ = walk.find(&bytes, b"abc");
            }
            let _ = Top::decode(&mut Fields(&bytes), 16);
        }

        #[test]
        fn the_top_index_finds_the_block_of_a_name(
            firsts in prop::collection::btree_map(prop::collection::vec(0..3_u8, 0..5), 5..1000_usize, 0..40),
            name in prop::collection::vec(0..4_u8, 0..6),
        ) {
            let mut top = Top::new(16);
            firsts.iter().for_each(|(first, bytes)| top.push(first, *bytes).unwrap());
            let mut bytes = Vec::new();
            top.encode(&mut bytes);
            let mut fields = Fields(&bytes);
            let decoded = Top::decode(&mut fields, 16);
            prop_assert_eq!(decoded.as_ref(), Some(&top));
            prop_assert!(fields.0.is_empty());
            let expected = firsts.keys().take_while(|first| **first <= name).count().checked_sub(1);
            prop_assert_eq!(top.find(&name), expected);
            let mut at = 16;
            for (block, bytes) in firsts.values().enumerate() {
                prop_assert_eq!(top.place(block), at..at + bytes);
                at += bytes;
            }
            prop_assert_eq!(top.end(), at);
        }
    }

    #[test]
    fn every_flipped_bit_of_a_block_is_noticed() {
        let names: Vec<Vec<u8>> = (0..20).map(|n| format!("host.{n:02}").into_bytes()).collect();
        let (block, _) = block(&names);
        for bit in 0..block.len() * 8 {
            let mut block = block.clone();
            block[bit / 8] ^= 1 << (bit % 8);
            assert!(check(&block).is_err(), "bit {bit}");
        }
    }
}
