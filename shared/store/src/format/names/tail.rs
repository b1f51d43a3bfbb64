//! The index and the tail of a names file.

use std::path::Path;

use dotter_dot::{Shape, put_varint};

use crate::error::Error;
use crate::format::bytes::{Fields, u32_at, u64_at};
use crate::format::listing::StoreId;
use crate::format::log::header::VERSION;
use crate::format::names::NamesEntry;
use crate::format::shapes::{put_shape, take_shape};

const MAGIC: &[u8; 8] = b"DOTTRNAM";
const TAIL_MAGIC: &[u8; 8] = b"DOTTRNAT";
/// Bytes before the first block.
pub(crate) const HEADER_BYTES: usize = 16;
pub(crate) const TAIL_BYTES: usize = 88;

/// The bytes before the first block.
pub(crate) fn header() -> [u8; HEADER_BYTES] {
    let mut out = [0; HEADER_BYTES];
    out[..8].copy_from_slice(MAGIC);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    out
}

/// Where a block of names is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockRef {
    /// The first id in it.
    pub(crate) first: u32,
    /// Its offset in the file.
    pub(crate) at: u64,
    pub(crate) bytes: u64,
}

/// The shapes and the blocks of a file.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) shapes: Vec<Shape>,
    /// In the order of their ids.
    pub(crate) blocks: Vec<BlockRef>,
}

impl Index {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.shapes.len() as u64);
        self.shapes.iter().for_each(|shape| put_shape(out, shape));
        put_varint(out, self.blocks.len() as u64);
        let mut before = 0;
        for block in &self.blocks {
            put_varint(out, u64::from(block.first - before));
            put_varint(out, block.bytes);
            before = block.first;
        }
    }

    /// `None` where it makes no sense: its blocks fill the file from the header to the index.
    ///
    /// - `until`: the offset of the index
    pub(crate) fn decode(bytes: &[u8], until: u64) -> Option<Index> {
        let mut fields = Fields(bytes);
        let mut index = Index::default();
        for _ in 0..fields.count(4)? {
            index.shapes.push(take_shape(&mut fields)?);
        }
        let (mut first, mut at) = (0_u32, HEADER_BYTES as u64);
        for number in 0..fields.count(2)? {
            let step: u32 = fields.number()?;
            first = first.checked_add(step).filter(|_| step > 0 || number == 0)?;
            let bytes = fields.varint()?;
            index.blocks.push(BlockRef { first, at, bytes });
            at = at.checked_add(bytes)?;
        }
        (fields.0.is_empty() && at == until).then_some(index)
    }
}

/// The end of a names file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tail {
    pub(crate) store: StoreId,
    pub(crate) number: u64,
    pub(crate) epoch: u64,
    /// The offset of the index.
    pub(crate) index_at: u64,
    pub(crate) count: u64,
    pub(crate) first: u32,
    pub(crate) last: u32,
    /// Checksum of the index.
    pub(crate) checksum: u32,
    /// Size of the file.
    pub(crate) bytes: u64,
}

impl Tail {
    pub(crate) fn encode(&self) -> [u8; TAIL_BYTES] {
        let mut out = [0; TAIL_BYTES];
        out[..8].copy_from_slice(TAIL_MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[16..32].copy_from_slice(&self.store.0);
        for (place, word) in
            (32..72).step_by(8).zip([self.number, self.epoch, self.index_at, self.count, self.bytes])
        {
            out[place..place + 8].copy_from_slice(&word.to_le_bytes());
        }
        for (place, word) in (72..84).step_by(4).zip([self.first, self.last, self.checksum]) {
            out[place..place + 4].copy_from_slice(&word.to_le_bytes());
        }
        let checksum = crc32c::crc32c(&out[..84]);
        out[84..].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// - `length`: size of the file
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] where this is no tail of a whole names file; [`Error::Version`].
    pub(crate) fn decode(bytes: &[u8; TAIL_BYTES], path: &Path, length: u64) -> Result<Tail, Error> {
        let at = length.saturating_sub(TAIL_BYTES as u64);
        let damaged = |what: String| Error::damaged(path, at, what);
        if &bytes[..8] != TAIL_MAGIC {
            return Err(damaged("no tail of a names file".to_owned()));
        }
        let (found, expected) = (crc32c::crc32c(&bytes[..84]), u32_at(bytes, 84));
        if found != expected {
            return Err(damaged(format!("tail checksum {found:08x}, expected {expected:08x}")));
        }
        let version = u32_at(bytes, 8);
        if version != VERSION {
            return Err(Error::Version { path: path.to_owned(), found: version, reads: VERSION });
        }
        let mut store = [0; 16];
        store.copy_from_slice(&bytes[16..32]);
        let tail = Tail {
            store: StoreId(store),
            number: u64_at(bytes, 32),
            epoch: u64_at(bytes, 40),
            index_at: u64_at(bytes, 48),
            count: u64_at(bytes, 56),
            bytes: u64_at(bytes, 64),
            first: u32_at(bytes, 72),
            last: u32_at(bytes, 76),
            checksum: u32_at(bytes, 80),
        };
        if tail.bytes != length {
            return Err(damaged(format!("{length} bytes, expected {}", tail.bytes)));
        }
        if tail.index_at < HEADER_BYTES as u64 || tail.index_at > at {
            return Err(damaged(format!("an index at {}, in a file of {length} bytes", tail.index_at)));
        }
        Ok(tail)
    }

    /// Its listing.
    ///
    /// - `name`: the name of the file
    pub(crate) fn entry(&self, name: &str) -> NamesEntry {
        let Tail { epoch, bytes, first, last, count, .. } = *self;
        NamesEntry { name: name.to_owned(), epoch, bytes, first, last, count }
    }
}

#[cfg(test)]
mod tests {
    use dotter_dot::Format;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_tail_reads_as_what_was_written_and_every_flipped_bit_is_noticed() {
        let tail = Tail {
            store: StoreId([3; 16]),
            number: 7,
            epoch: 40,
            index_at: 900,
            count: 12,
            first: 5,
            last: 99,
            checksum: 0xc5c5,
            bytes: 1000,
        };
        let bytes = tail.encode();
        let path = Path::new("names-0000000000000007");
        assert_eq!(Tail::decode(&bytes, path, 1000).unwrap(), tail);
        assert!(Tail::decode(&bytes, path, 999).is_err());
        for bit in 0..TAIL_BYTES * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Tail::decode(&bytes, path, 1000).is_err(), "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn an_index_reads_as_what_was_written(
            steps in prop::collection::vec((1..1000_u32, 1..100_000_u64), 0..40),
            rubbish in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let shape = Shape::new(Format::new("us").unwrap(), "ms", &["a", "b"]).unwrap();
            let mut index = Index { shapes: vec![Shape::number(), shape], blocks: Vec::new() };
            let (mut first, mut at) = (0, HEADER_BYTES as u64);
            for (step, bytes) in steps {
                first += step;
                index.blocks.push(BlockRef { first, at, bytes });
                at += bytes;
            }
            let mut out = Vec::new();
            index.encode(&mut out);
            let found = Index::decode(&out, at).unwrap();
            prop_assert_eq!((&found.shapes, &found.blocks), (&index.shapes, &index.blocks));
            prop_assert!(Index::decode(&out, at + 1).is_none());
            for cut in 0..out.len() {
                prop_assert!(Index::decode(&out[..cut], at).is_none(), "cut at {}", cut);
            }
            let _ = Index::decode(&rubbish, at);
        }
    }
}
