//! Shared blocks: the dots of neighbouring series that have few each, encoded together.
//!
//! All series of a block have one shape, and all its dots are clock stamps or none is. Series that have dots at the
//! very same times share one list of times. Bytes: FORMAT.md, "Segment".

use std::collections::HashMap;
use std::ops::Range;

use dotter_dot::{Column, Shape, put_varint};

use crate::format::bytes::Fields;
use crate::format::chunk::{CLOCK, check, put_column, take_column};
use crate::format::codec::{self, numbers};

/// Series with fewer dots than this lie in shared blocks.
pub(crate) const SERIES_DOTS: usize = 128;
/// A block ends with the series that brings it to so many dots.
pub(crate) const BLOCK_DOTS: usize = 4096;
const _: () = assert!(BLOCK_DOTS + SERIES_DOTS <= codec::DOTS_MAX, "a block is encoded at once");

/// The letter under which counts and times are encoded: u64.
const WHOLE: u8 = b'U';

/// Whether series of a shape can share a block: those of one number.
pub(crate) fn is_shared(shape: &Shape) -> bool {
    shape.word().is_some()
}

/// A block that is being made.
pub(crate) struct SharedBlock {
    shape: Shape,
    clock: bool,
    /// For each series the number of its list of times.
    lists: Vec<u64>,
    /// The distinct lists of times: where each is in `times`.
    spans: Vec<Range<usize>>,
    times: Vec<u64>,
    numbers: HashMap<u64, Vec<usize>>,
    words: Vec<u64>,
}

impl SharedBlock {
    pub(crate) fn new(shape: Shape, clock: bool) -> SharedBlock {
        let (lists, spans, times, words) = Default::default();
        SharedBlock { shape, clock, lists, spans, times, numbers: HashMap::new(), words }
    }

    /// Whether it has as many dots as a block should have.
    pub(crate) fn is_full(&self) -> bool {
        self.words.len() >= BLOCK_DOTS
    }

    /// Adds the dots of the next series: fewer than [`SERIES_DOTS`], of the block's shape and kind, sorted by time.
    pub(crate) fn push(&mut self, dots: &Column) {
        assert!((1..SERIES_DOTS).contains(&dots.len()), "a series of few dots");
        let times = dots.times();
        let known = self.numbers.entry(hash_of(times)).or_default();
        let list = known.iter().copied().find(|list| self.times[self.spans[*list].clone()] == *times);
        let list = list.unwrap_or_else(|| {
            known.push(self.spans.len());
            self.spans.push(self.times.len()..self.times.len() + times.len());
            self.times.extend_from_slice(times);
            self.spans.len() - 1
        });
        self.lists.push(list as u64);
        self.words.extend_from_slice(dots.words());
    }

    /// The bytes of the whole block.
    pub(crate) fn end(self) -> Vec<u8> {
        let out = &mut vec![0; 4];
        put_varint(out, self.lists.len() as u64);
        put_varint(out, self.spans.len() as u64);
        out.push(if self.clock { CLOCK } else { 0 });
        let put = |words: &[u64], out: &mut Vec<u8>| {
            put_column(out, false, |out| numbers::encode(WHOLE, words, out));
        };
        if self.lists.len() != self.spans.len() {
            put(&self.lists, out);
        }
        let counts: Vec<u64> = self.spans.iter().map(|span| span.len() as u64).collect();
        let firsts: Vec<u64> = self.spans.iter().map(|span| self.times[span.start]).collect();
        put(&counts, out);
        put(&firsts, out);
        let steps = |span: &Range<usize>| {
            self.times[span.clone()].windows(2).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>()
        };
        let steps: Vec<u64> = self.spans.iter().flat_map(steps).collect();
        if !steps.is_empty() {
            put(&steps, out);
        }
        let letter = self.shape.word().expect("a shape of one number");
        put_column(out, true, |out| numbers::encode(letter as u8, &self.words, out));
        let checksum = crc32c::crc32c(&out[4..]);
        out[..4].copy_from_slice(&checksum.to_le_bytes());
        std::mem::take(out)
    }
}

/// A hash of times; equal lists have equal ones.
fn hash_of(times: &[u64]) -> u64 {
    // Fowler, Noll and Vo's, over words: lists that differ are compared anyway.
    times.iter().fold(0xcbf2_9ce4_8422_2325, |hash, time| (hash ^ time).wrapping_mul(0x0100_0000_01b3))
}

/// A block as it was read.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    dots: Column,
    /// For each series the end of its dots.
    ends: Vec<usize>,
}

impl Shared {
    /// Reads a block; where it is damaged, says what is wrong.
    ///
    /// - `shape`: the shape of its series
    /// - `clock`: whether its dots are clock stamps
    pub(crate) fn decode(bytes: &[u8], shape: &Shape, clock: bool) -> Result<Shared, String> {
        let mut fields = Fields(check(bytes)?);
        decode_rest(&mut fields, shape, clock)
            .ok_or_else(|| "a shared block whose fields make no sense".to_owned())
    }

    /// The dots of all series, one behind the other.
    pub(crate) fn dots(&self) -> &Column {
        &self.dots
    }

    /// Where the dots of a series are; `None` where the block has no such place.
    pub(crate) fn series(&self, place: u32) -> Option<Range<usize>> {
        let place = place as usize;
        let start = place.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied())?;
        Some(start..*self.ends.get(place)?)
    }
}

fn decode_rest(fields: &mut Fields<'_>, shape: &Shape, clock: bool) -> Option<Shared> {
    let (series, lists): (usize, usize) = (fields.number()?, fields.number()?);
    if !(1..=series).contains(&lists) || series > codec::DOTS_MAX || fields.byte()? != clock as u8 * CLOCK {
        return None;
    }
    let wholes = |fields: &mut Fields<'_>, count: usize| {
        let (tag, bytes) = take_column(fields, false)?;
        let mut out = Vec::new();
        numbers::decode(WHOLE, tag, bytes, count, &mut out)?;
        Some(out)
    };
    let of_series = if series == lists { (0..lists as u64).collect() } else { wholes(fields, series)? };
    let counts = wholes(fields, lists)?;
    let firsts = wholes(fields, lists)?;
    // Each list has a dot and fewer than may be in a block, so no sum of them is too large.
    if counts.iter().any(|count| !(1..SERIES_DOTS as u64).contains(count)) {
        return None;
    }
    let steps_count = counts.iter().sum::<u64>() as usize - lists;
    if steps_count > codec::DOTS_MAX {
        return None;
    }
    let steps = if steps_count == 0 { Vec::new() } else { wholes(fields, steps_count)? };
    let mut starts = Vec::with_capacity(lists);
    let mut at = 0;
    for count in &counts {
        starts.push(at);
        at += *count as usize - 1;
    }
    let mut ends = Vec::with_capacity(series);
    let mut dots = 0;
    for list in &of_series {
        dots += *counts.get(usize::try_from(*list).ok()?)? as usize;
        ends.push(dots);
    }
    if dots > codec::DOTS_MAX {
        return None;
    }
    let letter = shape.word()?;
    let mut column = Column::default();
    let filled = column.append_with(shape, |out| {
        out.times.reserve(dots);
        for list in &of_series {
            let list = *list as usize;
            let mut time = firsts[list];
            out.times.push(time);
            for step in &steps[starts[list]..starts[list] + counts[list] as usize - 1] {
                time = time.checked_add(*step).ok_or(())?;
                out.times.push(time);
            }
        }
        let (tag, bytes) = take_column(fields, true).ok_or(())?;
        numbers::decode(letter as u8, tag, bytes, dots, &mut out.words).ok_or(())
    });
    filled.ok().map(|()| Shared { dots: column, ends })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::trial::{push, shape};

    fn encoded(series: &[Column], number: u8, clock: bool) -> Vec<u8> {
        let mut block = SharedBlock::new(shape(number), clock);
        series.iter().for_each(|dots| block.push(dots));
        block.end()
    }

    proptest! {
        #[test]
        fn the_dots_of_every_series_come_back(
            lists in prop::collection::vec(prop::collection::vec(any::<u64>(), 1..SERIES_DOTS), 1..5),
            series in prop::collection::vec((0..5_usize, any::<u64>()), 1..50),
            clock in any::<bool>(),
        ) {
            let mut columns = Vec::new();
            let mut dots = 0;
            for (list, bits) in series {
                let mut times = lists[list % lists.len()].clone();
                times.sort_unstable();
                dots += times.len();
                if dots > BLOCK_DOTS {
                    break;
                }
                let mut column = Column::default();
                times.iter().enumerate().for_each(|(n, time)| push(&mut column, 0, *time, bits ^ n as u64));
                columns.push(column);
            }
            let bytes = encoded(&columns, 0, clock);
            let block = Shared::decode(&bytes, &shape(0), clock).unwrap();
            for (place, expected) in columns.iter().enumerate() {
                let mut dots = Column::default();
                dots.extend(block.dots(), block.series(place as u32).unwrap());
                prop_assert_eq!(&dots, expected);
            }
            prop_assert_eq!(block.series(columns.len() as u32), None);
            prop_assert!(Shared::decode(&bytes, &shape(0), !clock).is_err());
        }

        #[test]
        fn rubbish_with_a_right_checksum_never_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let checksum = crc32c::crc32c(&bytes);
            bytes.splice(0..0, checksum.to_le_bytes());
            let _ = Shared::decode(&bytes, &shape(0), false);
        }
    }

    #[test]
    fn series_with_the_same_times_share_them() {
        let series = |is_same: bool| -> Vec<Column> {
            let column = |n: u64| {
                let mut column = Column::default();
                let mut times: Vec<u64> =
                    (0..40_u64).map(|dot| hash_of(&[dot, if is_same { 0 } else { n }]) >> 8).collect();
                times.sort_unstable();
                times.iter().for_each(|time| push(&mut column, 0, *time, 0));
                column
            };
            (0..100).map(column).collect()
        };
        let (same, other) = (encoded(&series(true), 0, false).len(), encoded(&series(false), 0, false).len());
        assert!(other > 20 * same, "{same} and {other} bytes");
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let mut column = Column::default();
        [(1, 7), (5, u64::MAX), (9, 0)].into_iter().for_each(|(time, bits)| push(&mut column, 0, time, bits));
        let bytes = encoded(&[column.clone(), column], 0, true);
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Shared::decode(&bytes, &shape(0), true).is_err(), "bit {bit}");
        }
    }
}
