//! Which times columns a segment that is being made has already, so that chunks refer to them.
//!
//! Only where the columns lie is kept, not their bytes: whoever would refer to one compares it with what is in the file.
//! Memory is bounded by [`COLUMNS_MAX`], and those used longest ago are forgotten first.

use std::collections::HashMap;

use crate::error::Error;
use crate::format::chunk::front_bytes;
use crate::format::earlier::Reference;

/// A column of fewer bytes is not worth a reference: whoever reads it needs another part of the file.
const COLUMN_BYTES_MIN: usize = 32;
/// So many chunks refer to one column, then it is written again: so much may damage of one chunk cost.
const USES_MAX: u32 = 128;
/// A column further back than this is written again.
const DISTANCE_MAX: u64 = 64 << 20;
/// Twice as many columns are known at most, each with some 50 bytes.
const COLUMNS_MAX: usize = 4096;

/// The times columns that were written or referred to lately.
#[derive(Default)]
pub(crate) struct TimesColumns {
    young: HashMap<Key, Place>,
    /// Those that were the young ones before.
    old: HashMap<Key, Place>,
}

/// What equal columns have in common.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    checksum: u32,
    bytes: usize,
    /// How many times it has.
    count: usize,
}

#[derive(Clone, Copy)]
struct Place {
    /// Where its chunk begins.
    chunk_at: u64,
    /// How many chunks refer to it.
    uses: u32,
}

impl TimesColumns {
    /// What the next chunk has for a times column: the column, or a reference to an equal one.
    ///
    /// - `column`: of `count` times
    /// - `at`: where the chunk begins
    /// - `is_at`: whether the file has these bytes at an offset
    pub(crate) fn of_next(
        &mut self,
        column: Vec<u8>,
        count: usize,
        at: u64,
        is_at: impl FnOnce(&[u8], u64) -> Result<bool, Error>,
    ) -> Result<Vec<u8>, Error> {
        if column.len() < COLUMN_BYTES_MIN {
            return Ok(column);
        }
        let key = Key { checksum: crc32c::crc32c(&column), bytes: column.len(), count };
        let known = self.young.get(&key).or_else(|| self.old.get(&key)).copied();
        if let Some(Place { chunk_at, uses }) = known
            && uses < USES_MAX
            && at - chunk_at <= DISTANCE_MAX
            && is_at(&column, chunk_at + front_bytes(count) as u64)?
        {
            self.note(key, Place { chunk_at, uses: uses + 1 });
            return Ok(Reference { distance: at - chunk_at, checksum: key.checksum }.column());
        }
        self.note(key, Place { chunk_at: at, uses: 0 });
        Ok(column)
    }

    fn note(&mut self, key: Key, place: Place) {
        if self.young.len() >= COLUMNS_MAX && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, place);
    }
}
