//! Compressed dots of one series and one shape.
//!
//! Decoding gives the very bits that were encoded, also NaN payloads and -0. Decoding trusts nothing: a chunk that
//! does not match its checksum, or that makes no sense, is an error. Bytes: FORMAT.md, "Segment".

use std::ops::Range;
use std::rc::Rc;

use dotter_dot::{Buffers, Column, Letter, ROW_BYTES_MAX, Rows, Shape, get_varint, put_varint};

use crate::format::bytes::Fields;
use crate::format::codec::{self, Span, TextTest, numbers, texts, times};
use crate::format::earlier::{Front, Reference};

/// The most dots a chunk has.
pub(crate) const CHUNK_DOTS_MAX: usize = codec::DOTS_MAX;

/// A chunk ends when it has so many row bytes, however few dots it has.
const CHUNK_ROW_BYTES: usize = 1 << 20;
/// The most row bytes of a chunk: one row more than where it ends.
const ROW_BYTES_LIMIT: usize = CHUNK_ROW_BYTES + ROW_BYTES_MAX;
const _: () = assert!(ROW_BYTES_LIMIT <= texts::HEAP_BYTES_MAX, "a column's texts fit into a chunk");

/// Flag of a chunk or shared block: all dots are kept. The clock stamped them, or they are texts of a ring.
pub(crate) const CLOCK: u8 = 1;

/// How many of the first dots of `part`, which all have `shape`, fit into one chunk.
pub(crate) fn fitting(run: &Column, part: Range<usize>, shape: &Shape, dots_max: usize) -> usize {
    let most = part.len().min(dots_max).min(CHUNK_DOTS_MAX);
    if shape.word().is_some() {
        return most;
    }
    let mut bytes = 0;
    let within = |index: &usize| {
        bytes += run.row(*index).len();
        bytes <= CHUNK_ROW_BYTES
    };
    // At least one dot: a row always fits.
    (part.start..part.start + most).take_while(within).count().max(1)
}

/// Gives the times that a reference means, as many as the second argument says; an error says what is wrong.
pub(crate) type Earlier<'a> = &'a dyn Fn(Reference, usize) -> Result<Rc<Vec<u64>>, String>;

/// The times column of a chunk. Equal times have equal columns.
pub(crate) fn times_column(times: &[u64]) -> Vec<u8> {
    let mut column = Vec::new();
    put_column(&mut column, false, |out| times::encode(times, out));
    column
}

/// How many bytes a chunk of `count` dots has in front of its times column.
pub(crate) fn front_bytes(count: usize) -> usize {
    4 + varint_bytes(count) + 1
}

/// How many bytes the varint of a value has.
fn varint_bytes(value: usize) -> usize {
    (usize::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}

/// Appends one chunk.
///
/// - `part`: dots of `shape`, sorted by time, as many as [`fitting`] allows
/// - `times`: their [`times_column`], or a reference to one
pub(crate) fn encode(
    run: &Column,
    part: Range<usize>,
    shape: &Shape,
    clock: bool,
    times: &[u8],
    out: &mut Vec<u8>,
) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    put_varint(out, part.len() as u64);
    out.push(if clock { CLOCK } else { 0 });
    out.extend_from_slice(times);
    match shape.word() {
        Some(letter) => put_column(out, true, |out| numbers::encode(letter as u8, &run.words()[part], out)),
        None => encode_rows(run, part, shape, out),
    }
    put_checksum(start, out);
}

/// Appends a chunk with another times column, which stands for the same times.
///
/// - `front`: that of the chunk
pub(crate) fn encode_again(chunk: &[u8], front: &Front, times: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    for part in [&chunk[..front.column], times, &chunk[front.end..]] {
        out.extend_from_slice(part);
    }
    put_checksum(start, out);
}

/// Writes the checksum of a chunk that begins at `start`.
fn put_checksum(start: usize, out: &mut [u8]) {
    let checksum = crc32c::crc32c(&out[start + 4..]);
    out[start..start + 4].copy_from_slice(&checksum.to_le_bytes());
}

/// Appends a column as a codec encodes it: its tag, its size in bytes unless it is the last column, its bytes.
pub(crate) fn put_column(out: &mut Vec<u8>, last: bool, encode: impl FnOnce(&mut Vec<u8>) -> u8) {
    let at = out.len();
    out.push(0);
    if last {
        out[at] = encode(out);
    } else {
        let mut bytes = Vec::new();
        out[at] = encode(&mut bytes);
        put_varint(out, bytes.len() as u64);
        out.extend_from_slice(&bytes);
    }
}

fn encode_rows(run: &Column, part: Range<usize>, shape: &Shape, out: &mut Vec<u8>) {
    let columns = shape.format().len();
    let mut rests: Vec<&[u8]> = part.map(|index| run.row(index)).collect();
    let (mut words, mut cells) = (Vec::new(), Vec::new());
    for (column, letter) in shape.format().letters().enumerate() {
        let last = column + 1 == columns;
        if letter.is_number() {
            words.clear();
            words.extend(rests.iter_mut().map(|rest| {
                let (word, after) = rest.split_first_chunk().expect("rows were checked as they came in");
                *rest = after;
                u64::from_le_bytes(*word)
            }));
            put_column(out, last, |out| numbers::encode(letter as u8, &words, out));
        } else {
            cells.clear();
            cells.extend(rests.iter_mut().map(|rest| {
                let count = get_varint(rest).expect("rows were checked as they came in");
                let (text, after) = rest.split_at(count as usize);
                *rest = after;
                text
            }));
            put_column(out, last, |out| texts::encode(&cells, out));
        }
    }
}

/// Appends the dots of one chunk to `out`. Where the chunk is damaged, returns what is wrong and leaves `out` as it
/// was.
///
/// - `span`: dots outside of it may be left out
/// - `earlier`: gives the times of an earlier chunk
/// - `test`: of rows that are one text, those that do not pass it may be there without their bytes
pub(crate) fn decode(
    bytes: &[u8],
    shape: &Shape,
    clock: bool,
    span: Span,
    earlier: Earlier<'_>,
    test: Option<TextTest<'_>>,
    out: &mut Column,
) -> Result<(), String> {
    let mut fields = Fields(check(bytes)?);
    out.append_with(shape, |out| {
        let senseless = || "a chunk whose fields make no sense".to_owned();
        let (count, tag, bytes) = take_times(&mut fields, clock).ok_or_else(senseless)?;
        // Rows are decoded whole.
        let span = if shape.word().is_some() { span } else { Span::default() };
        let wanted = if tag == times::EARLIER {
            let times = earlier(Reference::take(bytes).ok_or_else(senseless)?, count)?;
            if times.len() != count {
                return Err(senseless());
            }
            let wanted = span.of(&times);
            out.times.extend_from_slice(&times[wanted.clone()]);
            wanted
        } else {
            decode_times(tag, bytes, count, span, out).ok_or_else(senseless)?
        };
        decode_values(&mut fields, shape, count, wanted, test, out).ok_or_else(senseless)
    })
}

/// The bytes behind the checksum of a chunk; an error where the checksum does not match.
pub(crate) fn check(bytes: &[u8]) -> Result<&[u8], String> {
    let Some((checksum, rest)) = bytes.split_at_checked(4) else {
        return Err(format!("a chunk of {} bytes", bytes.len()));
    };
    let found = crc32c::crc32c(rest).to_le_bytes();
    if found != checksum {
        let word = |bytes: &[u8]| bytes.iter().rev().fold(0_u32, |word, byte| word << 8 | *byte as u32);
        return Err(format!("checksum {:08x}, expected {:08x}", word(&found), word(checksum)));
    }
    Ok(rest)
}

/// The count of dots, and tag and bytes of the times column.
fn take_times<'a>(fields: &mut Fields<'a>, clock: bool) -> Option<(usize, u8, &'a [u8])> {
    let count: usize = fields.number()?;
    if !(1..=CHUNK_DOTS_MAX).contains(&count) || fields.byte()? != clock as u8 * CLOCK {
        return None;
    }
    let (tag, bytes) = take_column(fields, false)?;
    Some((count, tag, bytes))
}

/// Appends the times within `span`, and gives the places that they have in the chunk.
fn decode_times(tag: u8, bytes: &[u8], count: usize, span: Span, out: &mut Buffers) -> Option<Range<usize>> {
    let start = out.times.len();
    let first = times::decode(tag, bytes, count, span, &mut out.times)?;
    let inside = span.of(&out.times[start..]);
    out.times.truncate(start + inside.end);
    out.times.drain(start..start + inside.start);
    Some(first + inside.start..first + inside.end)
}

/// Appends the values of the dots at the places `wanted`: of rows of all.
fn decode_values(
    fields: &mut Fields<'_>,
    shape: &Shape,
    count: usize,
    wanted: Range<usize>,
    test: Option<TextTest<'_>>,
    out: &mut Buffers,
) -> Option<()> {
    let Some(letter) = shape.word() else { return decode_rows(fields, shape, count, test, out) };
    let (tag, bytes) = take_column(fields, true)?;
    numbers::decode_part(letter as u8, tag, bytes, count, wanted, &mut out.words)
}

pub(crate) fn take_column<'a>(fields: &mut Fields<'a>, last: bool) -> Option<(u8, &'a [u8])> {
    let tag = fields.byte()?;
    let bytes = if last { fields.0.len() } else { fields.number()? };
    Some((tag, fields.bytes(bytes)?))
}

/// One column of rows, decoded.
enum Cells {
    Words(Vec<u64>),
    Texts { lengths: Vec<u32>, heap: Vec<u8>, next: usize },
}

/// Decodes rows that are a single text or raw bytes: the codec writes their row bytes directly.
///
/// - `utf8`: whether they must be
/// - `test`: which of them may be left out
fn decode_texts(
    fields: &mut Fields<'_>,
    count: usize,
    utf8: bool,
    test: Option<TextTest<'_>>,
    out: &mut Buffers,
) -> Option<()> {
    let (tag, encoded) = take_column(fields, true)?;
    let mut lengths = Vec::with_capacity(count);
    let texts = |rows: &mut Vec<u8>| texts::decode_rows(tag, encoded, count, utf8, test, &mut lengths, rows);
    let (mut at, decoded) = out.rows.append_with(texts);
    decoded?;
    let mut bytes = 0;
    for length in lengths {
        let row = length as usize;
        bytes += row;
        if row > ROW_BYTES_MAX || bytes > ROW_BYTES_LIMIT {
            return None;
        }
        out.words.push(Rows::word(at, row));
        at += row;
    }
    Some(())
}

fn decode_rows(
    fields: &mut Fields<'_>,
    shape: &Shape,
    count: usize,
    test: Option<TextTest<'_>>,
    out: &mut Buffers,
) -> Option<()> {
    let mut letters = shape.format().letters();
    let columns = letters.len();
    if columns == 1 {
        return decode_texts(fields, count, letters.next() == Some(Letter::Text), test, out);
    }
    let mut cells = Vec::with_capacity(columns);
    let mut bytes = 0;
    for (column, letter) in letters.enumerate() {
        let (tag, encoded) = take_column(fields, column + 1 == columns)?;
        if letter.is_number() {
            let mut words = Vec::new();
            numbers::decode(letter as u8, tag, encoded, count, &mut words)?;
            bytes += words.len() * 8;
            cells.push(Cells::Words(words));
        } else {
            let (mut lengths, mut heap) = (Vec::new(), Vec::new());
            texts::decode(tag, encoded, count, &mut lengths, &mut heap)?;
            bytes += heap.len();
            if letter == Letter::Text && !texts::are_texts(&lengths, &heap) {
                return None;
            }
            cells.push(Cells::Texts { lengths, heap, next: 0 });
        }
        // A codec bounds each column; here all columns together are bounded.
        if bytes > ROW_BYTES_LIMIT {
            return None;
        }
    }
    for index in 0..count {
        let word = out.rows.push_with(|row| {
            for column in &mut cells {
                match column {
                    Cells::Words(words) => row.extend_from_slice(&words[index].to_le_bytes()),
                    Cells::Texts { lengths, heap, next } => {
                        let length = lengths[index] as usize;
                        put_varint(row, length as u64);
                        row.extend_from_slice(&heap[*next..*next + length]);
                        *next += length;
                    }
                }
            }
        });
        if Rows::length(word) > ROW_BYTES_MAX {
            return None;
        }
        out.words.push(word);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use dotter_dot::{Cell, Format, Timestamp, Value, put_row};
    use proptest::prelude::*;

    use super::*;
    use crate::trial::{SHAPES, push, shape};

    /// Of a chunk that is no part of a segment.
    fn none(_: Reference, _: usize) -> Result<Rc<Vec<u64>>, String> {
        Err("no chunk is before this one".to_owned())
    }

    fn encode_whole(run: &Column, shape: &Shape, clock: bool, out: &mut Vec<u8>) {
        encode(run, 0..run.len(), shape, clock, &times_column(run.times()), out);
    }

    fn round_trip(run: &Column, shape: &Shape, clock: bool) -> usize {
        let mut bytes = vec![0xAA];
        encode_whole(run, shape, clock, &mut bytes);
        let mut back = Column::default();
        decode(&bytes[1..], shape, clock, Span::default(), &none, None, &mut back).unwrap();
        assert_eq!(&back, run);
        assert!(decode(&bytes[1..], shape, !clock, Span::default(), &none, None, &mut back).is_err());
        assert_eq!(&back, run);
        bytes.len() - 1
    }

    fn numbers_at(times: impl Iterator<Item = u64>, values: impl Iterator<Item = f64>) -> Column {
        let mut run = Column::default();
        times.zip(values).for_each(|(time, value)| {
            run.push(&Shape::number(), Timestamp::from_nanos(time), Cell::number(value))
        });
        run
    }

    #[test]
    fn regular_times_and_a_constant_cost_next_to_nothing() {
        let times = || (0..4096).map(|n| 1_710_504_000_000_000_000 + n * 1_000_000_000);
        assert!(round_trip(&numbers_at(times(), std::iter::repeat(1.5)), &Shape::number(), true) < 40);
        let counter = numbers_at(times(), (0..).map(|n| (n * 17) as f64));
        assert!(round_trip(&counter, &Shape::number(), false) < 4096 + 40);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        for number in 0..SHAPES {
            let mut run = Column::default();
            for (time, bits) in [(1, 0), (5, (-0.0_f64).to_bits()), (9, f64::NAN.to_bits()), (1000, 7)] {
                push(&mut run, number, time, bits);
            }
            let mut bytes = Vec::new();
            encode_whole(&run, &shape(number), false, &mut bytes);
            for bit in 0..bytes.len() * 8 {
                let mut bytes = bytes.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert!(
                    decode(
                        &bytes,
                        &shape(number),
                        false,
                        Span::default(),
                        &none,
                        None,
                        &mut Column::default()
                    )
                    .is_err(),
                    "bit {bit}"
                );
            }
        }
    }

    #[test]
    fn large_rows_end_a_chunk_early() {
        let shape = Shape::from(Format::new("s").unwrap());
        let mut run = Column::default();
        for time in 0..40 {
            let text = format!("{time}").repeat(50_000);
            let mut row = Vec::new();
            put_row([Value::Text(&text)], &mut row);
            run.push(&shape, Timestamp::from_nanos(time), Cell::Row(&row));
        }
        let count = fitting(&run, 0..40, &shape, 4096);
        assert!((10..30).contains(&count), "{count}");
        let mut bytes = Vec::new();
        let times = times_column(&run.times()[..count]);
        encode(&run, 0..count, &shape, false, &times, &mut bytes);
        let mut back = Column::default();
        decode(&bytes, &shape, false, Span::default(), &none, None, &mut back).unwrap();
        run.truncate(count);
        assert_eq!(back, run);
    }

    #[test]
    fn bytes_of_every_codec_need_not_be_utf8_and_texts_must() {
        let formats = ["b", "s", "bF", "sF"].map(|letters| Shape::from(Format::new(letters).unwrap()));
        let [bytes, texts, bytes_rows, texts_rows] = &formats;
        // One value, few, numbers in a template, short ones, long ones.
        let kinds: [fn(u64) -> Vec<u8>; 5] = [
            |_| vec![0xff, 0xfe],
            |n| vec![0xff, n as u8 % 3],
            |n| [b"\xff line ", n.to_string().as_bytes(), b" of \xfe"].concat(),
            |n| vec![n as u8; n as usize % 3],
            |n| (n * 7..n * 7 + 90).map(|byte| (byte * byte) as u8).collect(),
        ];
        for (kind, make) in kinds.iter().enumerate() {
            for (shape, as_texts) in [(bytes, texts), (bytes_rows, texts_rows)] {
                let mut run = Column::default();
                for time in 0..300 {
                    let mut row = Vec::new();
                    put_row(
                        [Value::Bytes(&make(time)), Value::F64(1.0)].into_iter().take(shape.format().len()),
                        &mut row,
                    );
                    run.push(shape, Timestamp::from_nanos(time), Cell::Row(&row));
                }
                round_trip(&run, shape, false);
                let mut encoded = Vec::new();
                encode_whole(&run, shape, false, &mut encoded);
                assert!(
                    decode(&encoded, as_texts, false, Span::default(), &none, None, &mut Column::default())
                        .is_err(),
                    "{kind} as texts"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn any_times_and_bits_of_any_shape_come_back(
            mut times in prop::collection::vec(any::<u64>(), 1..200),
            bits in prop::collection::vec(any::<u64>(), 200),
            number in 0..SHAPES,
            whole in any::<bool>(),
            clock in any::<bool>(),
        ) {
            times.sort_unstable();
            let mut run = Column::default();
            for (time, bits) in times.iter().zip(bits) {
                let bits = if whole { ((bits as i32) as f64).to_bits() } else { bits };
                push(&mut run, number, *time, bits);
            }
            round_trip(&run, &shape(number), clock);
        }

        #[test]
        fn rubbish_with_a_right_checksum_never_panics(
            mut bytes in prop::collection::vec(any::<u8>(), 0..100),
            number in 0..SHAPES,
            refers in any::<bool>(),
        ) {
            if refers {
                // The front of a chunk of 3 dots that refers to an earlier one.
                bytes.splice(0..0, [3, 0, times::EARLIER, 5 + bytes.len() as u8 % 2]);
            }
            let checksum = crc32c::crc32c(&bytes);
            bytes.splice(0..0, checksum.to_le_bytes());
            let mut out = Column::default();
            let earlier = |_, count: usize| Ok(Rc::new((0..count as u64).collect()));
            let _ = decode(&bytes, &shape(number), false, Span::default(), &earlier, None, &mut out);
            prop_assert_eq!(out.times().len(), out.words().len());
        }
    }
}
