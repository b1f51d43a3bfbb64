//! The header of a log, 4,096 bytes: which file it is, how much of the file before counts, and how much of this file
//! is published.

use std::path::Path;

use crate::error::Error;
use crate::format::bytes::{u32_at, u64_at};
use crate::format::listing::StoreId;

pub(crate) const HEADER_BYTES: usize = 4096;
/// The version of store, logs and segments that this build writes, and the only one that it reads.
pub(crate) const VERSION: u32 = 3;
/// Bytes of the part of the header that is written once.
pub(crate) const FIXED_BYTES: usize = 96;
/// Where the words of the part that is written once end.
const WORDS_UNTIL: usize = 88;
const _: () = assert!(WORDS_UNTIL <= FIXED_BYTES, "the checksum covers every word");
pub(crate) const PUBLISHED_AT: u64 = 512;
pub(crate) const PUBLISHED_BYTES: usize = 36;

/// To which of the two logs a file belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogKind {
    Wal,
    Manifest,
}

impl LogKind {
    const fn magic(self) -> &'static [u8; 8] {
        match self {
            LogKind::Wal => b"DOTTRWAL",
            LogKind::Manifest => b"DOTTRMAN",
        }
    }

    /// What messages call a file of it.
    const fn name(self) -> &'static str {
        match self {
            LogKind::Wal => "a WAL file",
            LogKind::Manifest => "a manifest of a Dotter store",
        }
    }
}

/// The part of the header that is written once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) store: StoreId,
    /// The lineage: an id that a store shares with its restored backups.
    pub(crate) lineage: StoreId,
    /// The id of a WAL file, a random number for MANIFEST; each frame of the file carries it too.
    pub(crate) number: u64,
    /// Sequence of the first frame.
    pub(crate) first_sequence: u64,
    /// The WAL file before this one; 0 for none.
    pub(crate) before_id: u64,
    /// How many bytes of that file count.
    pub(crate) before_bytes: u64,
    /// The id epoch of a WAL file: the id of the file in which the epoch began; 0 for MANIFEST.
    pub(crate) epoch: u64,
}

/// The published words: the part of the header that is rewritten after each fdatasync and before any ack. It is not
/// synced itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Published {
    /// Bytes of the file that have been through fdatasync.
    pub(crate) bytes: u64,
    /// Sequence of the last frame within them.
    pub(crate) sequence: u64,
    /// The boot of the machine that published it.
    pub(crate) boot: [u8; 16],
}

impl Header {
    /// The whole header.
    ///
    /// - `published`: the published words of a new file
    pub(crate) fn encode(&self, kind: LogKind, published: &Published) -> Vec<u8> {
        let mut out = vec![0; HEADER_BYTES];
        out[..8].copy_from_slice(kind.magic());
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[16..32].copy_from_slice(&self.store.0);
        out[32..48].copy_from_slice(&self.lineage.0);
        let words = [self.number, self.first_sequence, self.before_id, self.before_bytes, self.epoch];
        for (place, word) in (48..WORDS_UNTIL).step_by(8).zip(words) {
            out[place..place + 8].copy_from_slice(&word.to_le_bytes());
        }
        let checksum = checksum(&out);
        out[12..16].copy_from_slice(&checksum.to_le_bytes());
        out[PUBLISHED_AT as usize..][..PUBLISHED_BYTES].copy_from_slice(&published.encode());
        out
    }

    /// - `bytes`: the first [`FIXED_BYTES`] of the file
    pub(crate) fn decode(kind: LogKind, bytes: &[u8], path: &Path) -> Result<Header, Error> {
        if &bytes[..8] != kind.magic() {
            return Err(Error::damaged(path, 0, format!("no header of {}", kind.name())));
        }
        let (version, found, expected) = (u32_at(bytes, 8), checksum(bytes), u32_at(bytes, 12));
        if found != expected {
            let what = format!("header checksum {found:08x}, expected {expected:08x}");
            return Err(Error::damaged(path, 12, what));
        }
        if version != VERSION {
            return Err(Error::Version { path: path.to_owned(), found: version, reads: VERSION });
        }
        let id = |at: usize| {
            let mut id = [0; 16];
            id.copy_from_slice(&bytes[at..at + 16]);
            StoreId(id)
        };
        Ok(Header {
            store: id(16),
            lineage: id(32),
            number: u64_at(bytes, 48),
            first_sequence: u64_at(bytes, 56),
            before_id: u64_at(bytes, 64),
            before_bytes: u64_at(bytes, 72),
            epoch: u64_at(bytes, 80),
        })
    }
}

/// The checksum of the part that is written once, without the checksum's own bytes.
fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..FIXED_BYTES])
}

impl Published {
    pub(crate) fn encode(&self) -> [u8; PUBLISHED_BYTES] {
        let mut out = [0; PUBLISHED_BYTES];
        out[..8].copy_from_slice(&self.bytes.to_le_bytes());
        out[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        out[16..32].copy_from_slice(&self.boot);
        let checksum = crc32c::crc32c(&out[..32]);
        out[32..].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// `None` where the bytes do not match their checksum.
    pub(crate) fn decode(bytes: &[u8; PUBLISHED_BYTES]) -> Option<Published> {
        let mut boot = [0; 16];
        boot.copy_from_slice(&bytes[16..32]);
        let published = Published { bytes: u64_at(bytes, 0), sequence: u64_at(bytes, 8), boot };
        (crc32c::crc32c(&bytes[..32]) == u32_at(bytes, 32)).then_some(published)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        let (store, lineage) = (StoreId([9; 16]), StoreId([8; 16]));
        Header { store, lineage, number: 7, first_sequence: 30, before_id: 6, before_bytes: 5000, epoch: 4 }
    }

    #[test]
    fn every_flipped_bit_of_what_is_written_once_is_noticed() {
        let published = Published { bytes: 4096, sequence: 29, boot: [3; 16] };
        let bytes = header().encode(LogKind::Wal, &published);
        let path = Path::new("1.wal");
        assert_eq!(Header::decode(LogKind::Wal, &bytes, path).unwrap(), header());
        assert!(Header::decode(LogKind::Manifest, &bytes, path).is_err());
        for bit in 0..FIXED_BYTES * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::decode(LogKind::Wal, &bytes, path).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn another_version_is_refused_by_name() {
        let mut bytes =
            header().encode(LogKind::Manifest, &Published { bytes: 0, sequence: 0, boot: [0; 16] });
        bytes[8] = 4;
        let checksum = checksum(&bytes);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        let error = Header::decode(LogKind::Manifest, &bytes, Path::new("MANIFEST")).unwrap_err();
        assert_eq!(error.to_string(), "MANIFEST: format version 4, this build reads 3");
    }

    #[test]
    fn half_a_published_word_is_none() {
        let published = Published { bytes: 9000, sequence: 31, boot: [3; 16] };
        let bytes = published.encode();
        assert_eq!(Published::decode(&bytes), Some(published));
        for bit in 0..PUBLISHED_BYTES * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Published::decode(&bytes), None, "bit {bit}");
        }
    }
}
