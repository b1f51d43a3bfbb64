//! The first 4,096 bytes of a WAL file: which file it is, what it says of the one before, and how far it is synced.

use std::path::Path;

use crate::error::Error;
use crate::format::bytes::{u32_at, u64_at};
use crate::format::listing::StoreId;

pub(crate) const HEADER_BYTES: usize = 4096;
const MAGIC: &[u8; 8] = b"DOTTRWAL";
const VERSION: u32 = 0;
pub(crate) const SYNCED_AT: u64 = 512;
pub(crate) const SYNCED_BYTES: usize = 20;

/// The part written once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) store: StoreId,
    pub(crate) file_id: u64,
    pub(crate) first_sequence: u64,
    /// The file before this one; 0 for none.
    pub(crate) before_id: u64,
    /// How many bytes of it count.
    pub(crate) before_bytes: u64,
}

/// The part rewritten after each fdatasync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Synced {
    /// Bytes of the file.
    pub(crate) bytes: u64,
    /// Sequence of the last frame within them.
    pub(crate) sequence: u64,
}

impl Header {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; HEADER_BYTES];
        out[..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[16..32].copy_from_slice(&self.store.0);
        let words = [self.file_id, self.first_sequence, self.before_id, self.before_bytes];
        for (index, word) in words.into_iter().enumerate() {
            out[32 + index * 8..40 + index * 8].copy_from_slice(&word.to_le_bytes());
        }
        let checksum = checksum(&out);
        out[12..16].copy_from_slice(&checksum.to_le_bytes());
        let synced = Synced { bytes: HEADER_BYTES as u64, sequence: self.first_sequence - 1 };
        out[SYNCED_AT as usize..SYNCED_AT as usize + SYNCED_BYTES].copy_from_slice(&synced.encode());
        out
    }

    /// - `bytes`: the first 72 of the file
    pub(crate) fn decode(bytes: &[u8], path: &Path) -> Result<Header, Error> {
        if &bytes[..8] != MAGIC {
            return Err(Error::damaged(path, 0, "no header of a WAL file"));
        }
        let (version, found, expected) = (u32_at(bytes, 8), checksum(bytes), u32_at(bytes, 12));
        if found != expected {
            let what = format!("header checksum {found:08x}, expected {expected:08x}");
            return Err(Error::damaged(path, 12, what));
        }
        if version > VERSION {
            return Err(Error::Version { path: path.to_owned(), found: version, reads: VERSION });
        }
        let mut store = [0; 16];
        store.copy_from_slice(&bytes[16..32]);
        Ok(Header {
            store: StoreId(store),
            file_id: u64_at(bytes, 32),
            first_sequence: u64_at(bytes, 40),
            before_id: u64_at(bytes, 48),
            before_bytes: u64_at(bytes, 56),
        })
    }
}

/// Of the first 72 bytes but itself.
fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..72])
}

impl Synced {
    pub(crate) fn encode(&self) -> [u8; SYNCED_BYTES] {
        let mut out = [0; SYNCED_BYTES];
        out[..8].copy_from_slice(&self.bytes.to_le_bytes());
        out[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        let checksum = crc32c::crc32c(&out[..16]);
        out[16..].copy_from_slice(&checksum.to_le_bytes());
        out
    }
}
