//! The words of a record: series, kind and time delta in the first, the value in the second.

use crate::layout::{BLOCK_WORDS, SERIES_MAX};

/// An f64, delta in ticks.
pub(crate) const F64_TICKS: u64 = 1;
/// An f64, delta in nanoseconds.
pub(crate) const F64_NANOS: u64 = 5;
/// A value with its whole time, two granules.
pub(crate) const ABSOLUTE: u64 = 9;
/// Nothing more in this block.
pub(crate) const END_OF_BLOCK: u64 = 15;
/// The word that says so.
pub(crate) const END_MARK: u64 = END_OF_BLOCK << 20;

const DELTA_HALF: i64 = 1 << 39;

/// The first word; `delta` must fit, see [`fits`].
#[inline(always)]
pub(crate) fn head(series: u32, kind: u64, delta: i64) -> u64 {
    debug_assert!(series < SERIES_MAX);
    series as u64 | kind << 20 | (delta as u64) << 24
}

/// Whether a delta fits into its 40 bits.
#[inline(always)]
pub(crate) fn fits(delta: i64) -> bool {
    (delta.wrapping_add(DELTA_HALF) as u64) < 1 << 40
}

/// What stands at one place of a block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Record {
    /// Stamped by the clock; ticks since the block's base.
    Ticks { series: u32, delta: i64, value: f64 },
    /// Stamped by the application; nanoseconds since the block's base.
    Nanos { series: u32, delta: i64, value: f64 },
    /// Stamped by the application; the time itself, two granules long.
    Absolute { series: u32, nanos: u64, value: f64 },
    /// The block ends here.
    End,
    /// A kind this build does not read, or no record at all.
    Unknown,
}

impl Record {
    /// Reads the record at word `index`; `words` is a block as far as it was copied, `end` the words committed.
    #[inline(always)]
    pub(crate) fn decode(words: &[u64; BLOCK_WORDS], index: usize, end: usize) -> Record {
        let first = words[index & (BLOCK_WORDS - 1)];
        let second = words[(index + 1) & (BLOCK_WORDS - 1)];
        let series = first as u32 & (SERIES_MAX - 1);
        let delta = first as i64 >> 24;
        match first >> 20 & 15 {
            F64_TICKS => Record::Ticks { series, delta, value: f64::from_bits(second) },
            F64_NANOS => Record::Nanos { series, delta, value: f64::from_bits(second) },
            // The fourth word is the kind of the value; only f64 is written.
            ABSOLUTE if index + 4 <= end && words[index + 3] == 1 => {
                Record::Absolute { series, nanos: second, value: f64::from_bits(words[index + 2]) }
            }
            END_OF_BLOCK => Record::End,
            _ => Record::Unknown,
        }
    }

    /// Words it takes.
    pub(crate) fn words(self) -> usize {
        if matches!(self, Record::Absolute { .. }) { 4 } else { 2 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deltas_of_forty_bits_survive_and_longer_ones_are_seen() {
        for delta in [0, 1, -1, DELTA_HALF - 1, -DELTA_HALF] {
            assert!(fits(delta), "{delta}");
            let mut words = [0; BLOCK_WORDS];
            words[8] = head(SERIES_MAX - 1, F64_TICKS, delta);
            words[9] = 1.5_f64.to_bits();
            let expected = Record::Ticks { series: SERIES_MAX - 1, delta, value: 1.5 };
            assert_eq!(Record::decode(&words, 8, 10), expected);
        }
        for delta in [DELTA_HALF, -DELTA_HALF - 1, i64::MAX, i64::MIN] {
            assert!(!fits(delta), "{delta}");
        }
    }

    #[test]
    fn reserved_kinds_are_unknown() {
        for kind in [0, 2, 3, 4, 6, 7, 8, 10, 11, 12, 13, 14] {
            let mut words = [0; BLOCK_WORDS];
            words[8] = head(0, kind, 0);
            assert_eq!(Record::decode(&words, 8, BLOCK_WORDS), Record::Unknown, "{kind}");
        }
    }

    #[test]
    fn an_absolute_record_that_leaves_the_committed_bytes_is_unknown() {
        let mut words = [0; BLOCK_WORDS];
        words[8..12].copy_from_slice(&[head(3, ABSOLUTE, 0), 77, 2.5_f64.to_bits(), 1]);
        let expected = Record::Absolute { series: 3, nanos: 77, value: 2.5 };
        assert_eq!(Record::decode(&words, 8, 12), expected);
        assert_eq!(Record::decode(&words, 8, 10), Record::Unknown);
        words[11] = 2;
        assert_eq!(Record::decode(&words, 8, 12), Record::Unknown);
    }
}
