//! Blocks of a names file: ids in ascending order, each with its name and the number of its shape.
//!
//! A name is stored as the count of bytes that it shares with the name before, and the further bytes. The first name of
//! a block shares none, so a block is read by itself.

use std::ops::RangeInclusive;

use dotter_dot::{SeriesName, Shape, put_varint};

use crate::format::bytes::{Fields, put_shared};
use crate::format::names::{BlockRef, HEADER_BYTES, Index, header};
use crate::format::shapes::Shapes;

/// A block ends with the name that brings it to so many bytes.
const BLOCK_BYTES: usize = 16 << 10;

/// Encodes a names file up to its index; ids come in ascending order, each once.
pub(crate) struct Encoder {
    /// Bytes that were not taken yet.
    pub(crate) out: Vec<u8>,
    /// Where in the file the next block begins.
    at: u64,
    /// The block that is being filled, with room for its checksum.
    block: Vec<u8>,
    /// The first id in that block.
    block_first: u32,
    name: Vec<u8>,
    shapes: Shapes,
    blocks: Vec<BlockRef>,
    count: u64,
    first: u32,
    last: u32,
}

impl Encoder {
    pub(crate) fn new() -> Encoder {
        Encoder {
            out: header().to_vec(),
            at: HEADER_BYTES as u64,
            block: Vec::new(),
            block_first: 0,
            name: Vec::new(),
            shapes: Shapes::default(),
            blocks: Vec::new(),
            count: 0,
            first: 0,
            last: 0,
        }
    }

    /// Appends the meaning of an id.
    pub(crate) fn push(&mut self, id: u32, name: &SeriesName, shape: &Shape) {
        assert!(self.count == 0 || id > self.last, "ids ascend");
        if self.count == 0 {
            self.first = id;
        }
        let mut before = self.last;
        if self.block.is_empty() {
            self.block.extend_from_slice(&[0; 4]);
            self.block_first = id;
            self.name.clear();
            before = id;
        }
        let new = name.as_str().as_bytes();
        put_varint(&mut self.block, u64::from(id - before));
        put_shared(&mut self.block, &self.name, new);
        put_varint(&mut self.block, u64::from(self.shapes.number(shape)));
        self.name.clear();
        self.name.extend_from_slice(new);
        self.last = id;
        self.count += 1;
        if self.block.len() >= BLOCK_BYTES {
            self.end_block();
        }
    }

    fn end_block(&mut self) {
        if self.block.is_empty() {
            return;
        }
        let checksum = crc32c::crc32c(&self.block[4..]);
        self.block[..4].copy_from_slice(&checksum.to_le_bytes());
        let bytes = self.block.len() as u64;
        self.blocks.push(BlockRef { first: self.block_first, at: self.at, bytes });
        self.at += bytes;
        self.out.append(&mut self.block);
    }

    /// Ends the last block. Returns the index, how many ids there are, and the least and the greatest of them.
    pub(crate) fn finish(&mut self) -> (Index, u64, u32, u32) {
        self.end_block();
        let blocks = std::mem::take(&mut self.blocks);
        (Index { shapes: self.shapes.as_slice().to_vec(), blocks }, self.count, self.first, self.last)
    }
}

/// The last id of a block; `None` where the bytes make no sense.
fn last_id(mut fields: Fields<'_>, first: u32) -> Option<u32> {
    let mut id = first;
    loop {
        let step: u32 = fields.number()?;
        id = id.checked_add(step)?;
        let _shared = fields.varint()?;
        let further = fields.number()?;
        fields.bytes(further)?;
        let _shape = fields.varint()?;
        if fields.0.is_empty() {
            return Some(id);
        }
    }
}

/// Calls `each` with every id of a block in ascending order, its name and its shape, until that returns `false`.
/// `None` where the bytes are not those that were written; then some ids may have been told. Where they are those of a
/// block that belongs in another place, as far as its ids show that, none were.
///
/// - `ids`: the first id of the block, and the greatest that it may have
pub(crate) fn walk(
    bytes: &[u8],
    ids: RangeInclusive<u32>,
    shapes: &[Shape],
    mut each: impl FnMut(u32, &[u8], &Shape) -> bool,
) -> Option<()> {
    let (checksum, rest) = bytes.split_first_chunk()?;
    let is_whole = u32::from_le_bytes(*checksum) == crc32c::crc32c(rest);
    if !is_whole || last_id(Fields(rest), *ids.start())? > *ids.end() {
        return None;
    }
    let mut fields = Fields(rest);
    let mut name = Vec::new();
    let mut id = *ids.start();
    let mut is_first = true;
    while !fields.0.is_empty() {
        let step: u32 = fields.number()?;
        // The first id stands in the index, and no id stands twice.
        if is_first != (step == 0) {
            return None;
        }
        is_first = false;
        id = id.checked_add(step)?;
        fields.shared(&mut name)?;
        let number: usize = fields.number()?;
        if !each(id, &name, shapes.get(number)?) {
            return Some(());
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::trial::shape;

    type Meanings = BTreeMap<u32, (SeriesName, Shape)>;

    fn encoded(meanings: &Meanings) -> (Vec<u8>, Index) {
        let mut encoder = Encoder::new();
        for (id, (name, shape)) in meanings {
            encoder.push(*id, name, shape);
        }
        let (index, count, first, last) = encoder.finish();
        assert_eq!(count, meanings.len() as u64);
        let ids = meanings.first_key_value().zip(meanings.last_key_value());
        assert_eq!((first, last), ids.map_or((0, 0), |(first, last)| (*first.0, *last.0)));
        (encoder.out, index)
    }

    fn decoded(bytes: &[u8], index: &Index) -> Option<Meanings> {
        let mut found = Meanings::new();
        for block in &index.blocks {
            let bytes = &bytes[block.at as usize..(block.at + block.bytes) as usize];
            let mut wrong = false;
            walk(bytes, block.first..=u32::MAX, &index.shapes, |id, name, shape| {
                let name = SeriesName::from_bytes(name);
                wrong |= name.is_err();
                found.extend(name.ok().map(|name| (id, (name, shape.clone()))));
                true
            })?;
            if wrong {
                return None;
            }
        }
        Some(found)
    }

    proptest! {
        #[test]
        fn names_come_back_under_their_ids(
            names in prop::collection::btree_map(
                any::<u32>(), ("[a-c.é]{1,6}", 0..3_usize, 0..6_u8), 0..60),
            bit in any::<prop::sample::Index>(),
        ) {
            let meanings: Meanings = names
                .into_iter()
                .filter_map(|(id, (text, repeats, kind))| {
                    let name = SeriesName::new(&text.repeat(1 + repeats * 300)).ok()?;
                    Some((id, (name, shape(kind))))
                })
                .collect();
            let (mut bytes, index) = encoded(&meanings);
            prop_assert_eq!(decoded(&bytes, &index), Some(meanings.clone()));
            prop_assert!(index.blocks.iter().all(|block| block.bytes <= (BLOCK_BYTES + 4200) as u64));
            if !meanings.is_empty() {
                let bit = HEADER_BYTES * 8 + bit.index((bytes.len() - HEADER_BYTES) * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
                prop_assert!(decoded(&bytes, &index).is_none());
            }
        }

        #[test]
        fn rubbish_never_panics(rubbish in prop::collection::vec(any::<u8>(), 0..200), first in any::<u32>()) {
            let mut bytes = crc32c::crc32c(&rubbish).to_le_bytes().to_vec();
            bytes.extend_from_slice(&rubbish);
            let mut before = None;
            let _ = walk(&bytes, first..=u32::MAX, &[Shape::number()], |id, _, _| {
                assert!(before.is_none_or(|before| before < id));
                before = Some(id);
                true
            });
            let _ = walk(&rubbish, first..=u32::MAX, &[], |_, _, _| true);
        }
    }

    #[test]
    fn a_block_with_ids_of_the_next_one_tells_nothing() {
        let name = |id: u32| SeriesName::new(&format!("machine-{id}")).unwrap();
        let (bytes, index) = encoded(&(5..25).map(|id| (id, (name(id), Shape::number()))).collect());
        let block = &bytes[HEADER_BYTES..];
        let count = |last| {
            let mut count = 0;
            let walked = walk(block, 5..=last, &index.shapes, |_, _, _| {
                count += 1;
                true
            });
            (walked.is_some(), count)
        };
        assert_eq!([24, 25, u32::MAX].map(count), [(true, 20); 3]);
        assert_eq!([23, 5, 0].map(count), [(false, 0); 3]);
    }

    #[test]
    fn names_alike_take_few_bytes() {
        let name =
            |id: u32| SeriesName::new(&format!("host.rack-17.machine-{id:06}.cpu.user.percent")).unwrap();
        let meanings: Meanings = (0..20_000).map(|id| (id, (name(id), Shape::number()))).collect();
        let (bytes, index) = encoded(&meanings);
        assert!(bytes.len() < 20_000 * 26, "{} bytes", bytes.len());
        assert!(index.blocks.len() > 20);
        assert_eq!(decoded(&bytes, &index), Some(meanings));
    }
}
