//! The records of a hold: how far its owner has come, and when it said so.

use std::time::Duration;

use crate::format::bytes::{u32_at, u64_at};
use crate::format::listing::StoreId;
use crate::format::position::Position;

const MAGIC: &[u8; 8] = b"DOTTRHLD";
pub(crate) const RECORD_BYTES: usize = 76;
/// Where each of the two records stands.
pub(crate) const PLACES: [u64; 2] = [0, 512];

/// What a file of a hold says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// How many were written before it.
    pub(crate) number: u64,
    /// Commits up to here are not needed any more.
    pub(crate) position: Position,
    /// The boot of the machine in which it was written.
    pub(crate) boot: [u8; 16],
    /// How long after the start of the machine.
    pub(crate) since_boot: Duration,
    /// The store that is followed.
    pub(crate) store: StoreId,
}

impl Record {
    pub(crate) fn encode(&self) -> [u8; RECORD_BYTES] {
        let mut out = [0; RECORD_BYTES];
        out[..8].copy_from_slice(MAGIC);
        out[12..20].copy_from_slice(&self.number.to_le_bytes());
        out[20..28].copy_from_slice(&self.position.sequence.to_le_bytes());
        out[28..36].copy_from_slice(&self.position.edit.to_le_bytes());
        out[36..52].copy_from_slice(&self.boot);
        let nanos = u64::try_from(self.since_boot.as_nanos()).unwrap_or(u64::MAX);
        out[52..60].copy_from_slice(&nanos.to_le_bytes());
        out[60..76].copy_from_slice(&self.store.0);
        let checksum = crc32c::crc32c(&out[12..]);
        out[8..12].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8; RECORD_BYTES]) -> Option<Record> {
        let is_whole = &bytes[..8] == MAGIC && crc32c::crc32c(&bytes[12..]) == u32_at(bytes, 8);
        is_whole.then(|| Record {
            number: u64_at(bytes, 12),
            position: Position { sequence: u64_at(bytes, 20), edit: u64_at(bytes, 28) },
            boot: bytes[36..52].try_into().expect("sixteen bytes"),
            since_boot: Duration::from_nanos(u64_at(bytes, 52)),
            store: StoreId(bytes[60..76].try_into().expect("sixteen bytes")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_as_what_was_written_and_a_flipped_bit_is_noticed() {
        let record = Record {
            number: 4,
            position: Position { sequence: 7, edit: u64::MAX },
            boot: [9; 16],
            since_boot: Duration::from_nanos(3),
            store: StoreId([5; 16]),
        };
        let bytes = record.encode();
        assert_eq!(Record::decode(&bytes), Some(record));
        for bit in 0..RECORD_BYTES * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Record::decode(&bytes), None, "bit {bit}");
        }
    }
}
