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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::chunk::times_column;
    use crate::format::earlier::Front;

    /// Jittered times, which no other seed has.
    fn times(seed: u64, count: u64) -> Vec<u64> {
        let late = |n: u64| (n + seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
        (0..count).map(|n| n * 1_000_000_000 + late(n)).collect()
    }

    /// The columns of chunks of these times, the first at 16 and each `apart` bytes behind the one before.
    fn columns(columns: &mut TimesColumns, all: &[Vec<u64>], apart: u64) -> Vec<Vec<u8>> {
        let of_next = |(index, times): (u64, &Vec<u64>)| {
            let at = 16 + index * apart;
            columns.of_next(times_column(times), times.len(), at, |_, _| Ok(true)).unwrap()
        };
        (0..).zip(all).map(of_next).collect()
    }

    fn reference(column: &[u8]) -> Option<Reference> {
        let chunk = [&[0, 0, 0, 0, 1, 0], column].concat();
        let front = Front::take(&chunk).unwrap();
        (front.tag == crate::format::codec::times::EARLIER)
            .then(|| Reference::take(&chunk[front.bytes..front.end]).unwrap())
    }

    #[test]
    fn equal_times_refer_to_the_first_and_after_so_many_uses_are_written_again() {
        let all = vec![times(1, 200); 3 * (USES_MAX as usize + 1)];
        for (index, column) in (0..).zip(columns(&mut TimesColumns::default(), &all, 1000)) {
            let use_of = index % (u64::from(USES_MAX) + 1);
            match reference(&column) {
                None => assert_eq!((use_of, column), (0, times_column(&all[0]))),
                Some(reference) => {
                    assert_eq!(reference.distance, use_of * 1000);
                    assert_eq!(reference.checksum, crc32c::crc32c(&times_column(&all[0])));
                }
            }
        }
    }

    #[test]
    fn what_is_too_far_back_is_written_again() {
        let all = vec![times(1, 200); 4];
        let found = columns(&mut TimesColumns::default(), &all, DISTANCE_MAX / 2);
        let distances: Vec<_> =
            found.iter().map(|column| reference(column).map(|found| found.distance)).collect();
        assert_eq!(distances, [None, Some(DISTANCE_MAX / 2), Some(DISTANCE_MAX), None]);
    }

    #[test]
    fn short_columns_and_those_of_another_count_stand_for_themselves() {
        let even: Vec<u64> = (0..4096).map(|n| n * 1_000_000_000).collect();
        let all = [even.clone(), even, times(1, 200), times(1, 199)];
        assert!(
            columns(&mut TimesColumns::default(), &all, 100).iter().all(|column| reference(column).is_none())
        );
    }

    #[test]
    fn a_column_with_the_same_checksum_and_other_bytes_is_no_equal_one() {
        let (mut columns, column) = (TimesColumns::default(), times_column(&times(1, 200)));
        for at in [16, 1016] {
            let found = columns.of_next(column.clone(), 200, at, |bytes, offset| {
                assert_eq!((bytes, offset), (&column[..], 16 + front_bytes(200) as u64));
                Ok(false)
            });
            assert_eq!(found.unwrap(), column);
        }
    }

    #[test]
    fn those_used_longest_ago_are_forgotten_and_no_more_are_kept() {
        let mut columns = TimesColumns::default();
        let mut at = 16;
        let mut next = |seed: u64| {
            at += 1000;
            let times = times(seed << 20, 20);
            let column = columns.of_next(times_column(&times), 20, at, |_, _| Ok(true)).unwrap();
            assert!(columns.young.len() <= COLUMNS_MAX && columns.old.len() <= COLUMNS_MAX);
            reference(&column).is_some()
        };
        assert!(!next(0) && !next(1));
        for seed in 2..3 * COLUMNS_MAX as u64 {
            assert!(!next(seed), "{seed}");
            if seed % 100 == 0 && seed < 100 * u64::from(USES_MAX) {
                assert!(next(0), "used lately");
            }
        }
        assert!(!next(1), "used long ago");
    }
}
