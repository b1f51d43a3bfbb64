//! Shared blocks: the dots of neighbouring series that have few each, encoded together.
//!
//! All series of a block have one shape, and all its dots are kept or none is (`clock` in code; see FORMAT.md, "Equal
//! times"). Series that have dots at the very same times share one list of times. Bytes: FORMAT.md, "Segment".

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

/// Flag: the words of each series are a column of their own.
const APART: u8 = 2;

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
        let together = self.together();
        let apart = self.apart(together.len());
        let out = &mut vec![0; 4];
        put_varint(out, self.lists.len() as u64);
        put_varint(out, self.spans.len() as u64);
        out.push(if self.clock { CLOCK } else { 0 } | if apart.is_some() { APART } else { 0 });
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
        out.extend_from_slice(apart.as_ref().unwrap_or(&together));
        let checksum = crc32c::crc32c(&out[4..]);
        out[..4].copy_from_slice(&checksum.to_le_bytes());
        std::mem::take(out)
    }

    fn letter(&self) -> u8 {
        self.shape.word().expect("a shape of one number") as u8
    }

    /// The words of all series as one column: the smaller way where each series has a few dots.
    fn together(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_column(&mut out, true, |out| numbers::encode(self.letter(), &self.words, out));
        out
    }

    /// The words of each series as a column of its own: the smaller way where series differ. `None` where this takes
    /// `bytes` or more.
    fn apart(&self, bytes: usize) -> Option<Vec<u8>> {
        let (mut lengths, mut columns, mut at) = (Vec::new(), Vec::new(), 0);
        for list in &self.lists {
            let (start, count) = (columns.len(), self.spans[*list as usize].len());
            put_column(&mut columns, true, |out| {
                numbers::encode(self.letter(), &self.words[at..at + count], out)
            });
            at += count;
            lengths.push((columns.len() - start) as u64);
            if columns.len() >= bytes {
                return None;
            }
        }
        let mut out = Vec::new();
        put(&lengths, &mut out);
        out.extend_from_slice(&columns);
        (out.len() < bytes).then_some(out)
    }
}

/// Appends whole numbers as a column.
fn put(words: &[u64], out: &mut Vec<u8>) {
    put_column(out, false, |out| numbers::encode(WHOLE, words, out));
}

/// A hash of times; equal lists have equal ones.
fn hash_of(times: &[u64]) -> u64 {
    // The hash of Fowler, Noll and Vo, over words. Lists with equal hashes are compared.
    times.iter().fold(0xcbf2_9ce4_8422_2325, |hash, time| (hash ^ time).wrapping_mul(0x0100_0000_01b3))
}

/// A block as it was read.
#[derive(Debug)]
pub(crate) struct Shared {
    letter: u8,
    /// For each series the number of its list of times.
    lists: Vec<u64>,
    /// The times of all lists, one list behind the other.
    times: Vec<u64>,
    /// For each list the end of its times.
    ends: Vec<usize>,
    values: Values,
    /// How many dots all series have.
    dots: usize,
}

/// The words of the series, and for each series where they end.
#[derive(Debug)]
enum Values {
    Together {
        words: Vec<u64>,
        ends: Vec<usize>,
    },
    /// Columns, not decoded yet.
    Apart {
        columns: Vec<u8>,
        ends: Vec<usize>,
    },
}

impl Shared {
    /// Reads a block; where it is damaged, says what is wrong.
    ///
    /// - `shape`: the shape of its series
    /// - `clock`: whether its dots are all kept
    pub(crate) fn decode(bytes: &[u8], shape: &Shape, clock: bool) -> Result<Shared, String> {
        let mut fields = Fields(check(bytes)?);
        let letter = shape.word().map(|letter| letter as u8);
        letter
            .and_then(|letter| decode_rest(&mut fields, letter, clock))
            .ok_or_else(|| "a shared block whose fields make no sense".to_owned())
    }

    /// How many dots all series have.
    pub(crate) fn dots(&self) -> usize {
        self.dots
    }

    /// The times of a series; `None` where the block has no such place.
    pub(crate) fn times(&self, place: u32) -> Option<&[u64]> {
        Some(&self.times[part(&self.ends, *self.lists.get(place as usize)? as usize)?])
    }

    /// Appends the dots of a series; `None`, and `out` as before, where the block has no such place, or where its words
    /// make no sense.
    pub(crate) fn append(&self, place: u32, shape: &Shape, out: &mut Column) -> Option<()> {
        let times = self.times(place)?;
        let appended = out.append_with(shape, |out| {
            out.times.extend_from_slice(times);
            match &self.values {
                Values::Together { words, ends } => {
                    out.words.extend_from_slice(&words[part(ends, place as usize).ok_or(())?]);
                    Ok(())
                }
                Values::Apart { columns, ends } => {
                    let mut fields = Fields(&columns[part(ends, place as usize).ok_or(())?]);
                    let (tag, bytes) = take_column(&mut fields, true).ok_or(())?;
                    numbers::decode(self.letter, tag, bytes, times.len(), &mut out.words).ok_or(())
                }
            }
        });
        appended.ok()
    }
}

/// The range of one of several parts that lie one behind the other.
fn part(ends: &[usize], index: usize) -> Option<Range<usize>> {
    let start = index.checked_sub(1).map_or(Some(0), |before| ends.get(before).copied())?;
    Some(start..*ends.get(index)?)
}

/// The ends of parts of these lengths, as long as all of them together are at most `most`.
fn ends_of(lengths: impl Iterator<Item = u64>, most: usize) -> Option<Vec<usize>> {
    let mut end = 0_usize;
    let next = |length| {
        end = end.checked_add(usize::try_from(length).ok()?).filter(|end| *end <= most)?;
        Some(end)
    };
    lengths.map(next).collect()
}

/// Whole numbers that [`put`] wrote.
fn take(fields: &mut Fields<'_>, count: usize) -> Option<Vec<u64>> {
    let (tag, bytes) = take_column(fields, false)?;
    let mut out = Vec::new();
    numbers::decode(WHOLE, tag, bytes, count, &mut out)?;
    Some(out)
}

fn decode_rest(fields: &mut Fields<'_>, letter: u8, clock: bool) -> Option<Shared> {
    let (series, distinct): (usize, usize) = (fields.number()?, fields.number()?);
    let flags = fields.byte()?;
    if !(1..=series).contains(&distinct)
        || series > codec::DOTS_MAX
        || flags & !APART != if clock { CLOCK } else { 0 }
    {
        return None;
    }
    let lists = if series == distinct { (0..distinct as u64).collect() } else { take(fields, series)? };
    let counts = take(fields, distinct)?;
    let firsts = take(fields, distinct)?;
    if counts.iter().any(|count| !(1..SERIES_DOTS as u64).contains(count)) {
        return None;
    }
    let ends = ends_of(counts.iter().copied(), codec::DOTS_MAX)?;
    let steps_count = *ends.last()? - distinct;
    let steps = if steps_count == 0 { Vec::new() } else { take(fields, steps_count)? };
    let mut times = Vec::with_capacity(steps_count + distinct);
    let mut steps = steps.iter();
    for (first, count) in firsts.iter().zip(&counts) {
        let mut time = *first;
        times.push(time);
        for step in steps.by_ref().take(*count as usize - 1) {
            time = time.checked_add(*step)?;
            times.push(time);
        }
    }
    let count_of = |list: &u64| counts.get(usize::try_from(*list).ok()?).copied();
    let of_series: Vec<u64> = lists.iter().map(count_of).collect::<Option<_>>()?;
    let of_dots = ends_of(of_series.into_iter(), codec::DOTS_MAX)?;
    let dots = *of_dots.last()?;
    let values = if flags & APART == 0 {
        let (tag, bytes) = take_column(fields, true)?;
        let mut words = Vec::new();
        numbers::decode(letter, tag, bytes, dots, &mut words)?;
        Values::Together { words, ends: of_dots }
    } else {
        let lengths = take(fields, series)?;
        let ends = ends_of(lengths.into_iter(), fields.0.len())?;
        if *ends.last()? != fields.0.len() {
            return None;
        }
        Values::Apart { columns: fields.0.to_vec(), ends }
    };
    Some(Shared { letter, lists, times, ends, values, dots })
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
            prop_assert_eq!(block.dots(), columns.iter().map(Column::len).sum::<usize>());
            for (place, expected) in columns.iter().enumerate() {
                let mut dots = Column::default();
                block.append(place as u32, &shape(0), &mut dots).unwrap();
                prop_assert_eq!(&dots, expected);
                prop_assert_eq!(block.times(place as u32), Some(expected.times()));
            }
            prop_assert_eq!(block.times(columns.len() as u32), None);
            prop_assert!(Shared::decode(&bytes, &shape(0), !clock).is_err());
        }

        #[test]
        fn rubbish_with_a_right_checksum_never_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let checksum = crc32c::crc32c(&bytes);
            bytes.splice(0..0, checksum.to_le_bytes());
            if let Ok(block) = Shared::decode(&bytes, &shape(0), false) {
                (0..=block.lists.len() as u32).for_each(|place| _ = block.append(place, &shape(0), &mut Column::default()));
            }
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
