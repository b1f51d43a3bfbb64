//! Texts as templates and the numbers in them.
//!
//! Lines a program prints differ in their numbers and little else: `GET /item 200 13 ms`. What is left without the
//! digits is one of few templates, kept once each; the numbers are columns as any other, the first of each text,
//! the second, and so on. Bytes: FORMAT.md, "Texts".

use std::collections::HashMap;
use std::ops::Range;

use dotter_dot::put_varint;

use crate::format::bytes::Fields;
use crate::format::codec::{DOTS_MAX, TextTest, numbers, texts};

/// Stands in a template for a number without zeros in front.
const NUMBER: u8 = 0;

/// Stands for a number with zeros in front; the next byte says how many digits there are.
const PADDED: u8 = 1;

/// Longer runs of digits stay in the template: an i64 may not hold them.
const DIGITS_MAX: usize = 18;

/// The most numbers of one text.
const COLUMNS_MAX: usize = 64;

/// A template is worth it where it stands for this many texts on average.
const REPEATS_MIN: usize = 8;

/// What `texts` are made of: templates, for each text its template's place, and the columns of numbers.
struct Parts {
    list: Vec<Vec<u8>>,
    places: Vec<u64>,
    columns: Vec<Vec<u64>>,
}

/// Appends `texts` as templates, if those are few; `None`, and nothing appended, otherwise.
pub(super) fn put(texts: &[&[u8]], out: &mut Vec<u8>) -> Option<()> {
    let parts = take_apart(texts)?;
    put_column(b'U', &parts.places, out);
    put_varint(out, parts.columns.len() as u64);
    parts.columns.iter().for_each(|column| put_column(b'I', column, out));
    put_varint(out, parts.list.len() as u64);
    let list: Vec<&[u8]> = parts.list.iter().map(|template| &template[..]).collect();
    texts::put_heap(&list, out);
    Some(())
}

fn take_apart(texts: &[&[u8]]) -> Option<Parts> {
    let templates_max = texts.len() / REPEATS_MIN;
    let mut parts = Parts { list: Vec::new(), places: Vec::with_capacity(texts.len()), columns: Vec::new() };
    let mut known: HashMap<Vec<u8>, u64> = HashMap::new();
    let mut template = Vec::new();
    for text in texts {
        template.clear();
        let mut column = 0;
        let mut rest = *text;
        while let [byte, after @ ..] = rest {
            if !byte.is_ascii_digit() {
                if matches!(*byte, NUMBER | PADDED) {
                    return None;
                }
                template.push(*byte);
                rest = after;
                continue;
            }
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let (run, after) = rest.split_at(digits);
            rest = after;
            if digits > DIGITS_MAX {
                template.extend_from_slice(run);
                continue;
            }
            if run[0] == b'0' && digits > 1 {
                template.extend_from_slice(&[PADDED, digits as u8]);
            } else {
                template.push(NUMBER);
            }
            if column == parts.columns.len() {
                if column == COLUMNS_MAX {
                    return None;
                }
                parts.columns.push(Vec::with_capacity(texts.len()));
            }
            parts.columns[column]
                .push(run.iter().fold(0, |number, digit| number * 10 + (digit - b'0') as u64));
            column += 1;
        }
        let place = match known.get(&template) {
            Some(place) => *place,
            None if parts.list.len() == templates_max => return None,
            None => {
                let place = parts.list.len() as u64;
                known.insert(template.clone(), place);
                parts.list.push(template.clone());
                place
            }
        };
        parts.places.push(place);
    }
    Some(parts)
}

fn put_column(letter: u8, words: &[u64], out: &mut Vec<u8>) {
    let mut bytes = Vec::new();
    out.push(numbers::encode(letter, words, &mut bytes));
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(&bytes);
}

fn get_column(letter: u8, fields: &mut Fields<'_>, count: usize) -> Option<Vec<u64>> {
    let (tag, bytes) = (fields.byte()?, fields.number()?);
    let mut words = Vec::with_capacity(count);
    numbers::decode(letter, tag, fields.bytes(bytes)?, count, &mut words)?;
    Some(words)
}

/// Bytes that are copied at once, however few of them are wanted: what is too much the next piece overwrites.
const BLOCK_BYTES: usize = 16;
/// The most digits of a number.
const NUMBER_BYTES: usize = 20;
/// How far behind its end a text may be written to.
const SLACK: usize = if BLOCK_BYTES > NUMBER_BYTES { BLOCK_BYTES } else { NUMBER_BYTES };
/// The most bytes that say how long a text is.
const LENGTH_BYTES_MAX: usize = 4;
const _: () = assert!(texts::HEAP_BYTES_MAX < 1 << (LENGTH_BYTES_MAX * 7), "they can say it");
/// By how much the bytes of texts grow at least, so that they seldom do.
const GROWTH_BYTES: usize = 4096;

/// A piece of a template: what stands there, then a number of at least so many digits, if one follows.
struct Piece {
    /// Where among all blocks its text is.
    blocks: Range<usize>,
    bytes: usize,
    digits_min: Option<usize>,
}

/// One template.
struct Template {
    /// Which pieces are its own.
    pieces: Range<usize>,
    /// The most bytes of its texts.
    bytes_max: usize,
    /// How many texts it stands for.
    uses: usize,
    /// Whether its texts are decoded.
    is_wanted: bool,
}

/// Templates ready to be copied from.
#[derive(Default)]
struct Templates {
    list: Vec<Template>,
    pieces: Vec<Piece>,
    blocks: Vec<[u8; BLOCK_BYTES]>,
}

impl Templates {
    /// - `utf8`: whether its texts must be
    /// - `test`: says whether its texts are decoded
    fn add(&mut self, template: &[u8], utf8: bool, test: Option<TextTest<'_>>) -> Option<()> {
        // What stands for numbers is ASCII itself, so that pieces are UTF-8 if all of it is, and with digits
        // between them still are.
        if utf8 && std::str::from_utf8(template).is_err() {
            return None;
        }
        let first = self.pieces.len();
        let (mut fixed, mut rest) = (Vec::new(), template);
        while let Some(end) = rest.iter().position(|byte| matches!(*byte, NUMBER | PADDED)) {
            let (text, after) = rest.split_at(end);
            let (digits_min, after) = match after {
                [NUMBER, after @ ..] => (1, after),
                [PADDED, digits, after @ ..] if (*digits as usize) <= DIGITS_MAX => (*digits as usize, after),
                _ => return None,
            };
            // As many as there are columns: no more is allocated than a text can use.
            if self.pieces.len() - first == COLUMNS_MAX {
                return None;
            }
            self.add_piece(text, Some(digits_min));
            fixed.push(text);
            rest = after;
        }
        self.add_piece(rest, None);
        fixed.push(rest);
        let pieces = first..self.pieces.len();
        let bytes_max = template.len() + pieces.len() * NUMBER_BYTES;
        let is_wanted = test.is_none_or(|test| test(&fixed));
        self.list.push(Template { bytes_max, pieces, uses: 0, is_wanted });
        Some(())
    }

    fn add_piece(&mut self, text: &[u8], digits_min: Option<usize>) {
        let first = self.blocks.len();
        self.blocks.extend(text.chunks(BLOCK_BYTES).map(|bytes| {
            let mut block = [0; BLOCK_BYTES];
            block[..bytes.len()].copy_from_slice(bytes);
            block
        }));
        self.pieces.push(Piece { blocks: first..self.blocks.len(), bytes: text.len(), digits_min });
    }
}

/// How texts are decoded.
#[derive(Clone, Copy)]
pub(super) enum Form<'a> {
    /// One behind the other.
    Texts,
    /// Each behind its length, as the row bytes of one text are; they must be UTF-8. A text that does not pass the
    /// test of its template is left out: its row has no bytes.
    Rows(Option<TextTest<'a>>),
}

/// Appends the `count` texts or rows that `bytes` hold, and how many bytes each of them has.
///
/// Where no text passes its test, the numbers are not looked at, nor whether they make sense.
pub(super) fn get(
    bytes: &[u8],
    count: usize,
    form: Form<'_>,
    lens: &mut Vec<u32>,
    heap: &mut Vec<u8>,
) -> Option<()> {
    let mut fields = Fields(bytes);
    let places = get_column(b'U', &mut fields, count)?;
    let columns_count: usize = fields.number()?;
    if columns_count > COLUMNS_MAX {
        return None;
    }
    // How many numbers a column has, only the templates know: they come last, for the encoder's sake, and are
    // looked at first.
    let columns_bytes = fields.0;
    for _ in 0..columns_count {
        fields.byte()?;
        let bytes = fields.number()?;
        fields.bytes(bytes)?;
    }
    let list_count: usize = fields.number()?;
    if !(1..=count).contains(&list_count) {
        return None;
    }
    let (mut list_lens, mut list_heap) = (Vec::new(), Vec::new());
    texts::get_heap(fields, list_count, &mut list_lens, &mut list_heap)?;
    let (rows, test) = match form {
        Form::Texts => (false, None),
        Form::Rows(test) => (true, test),
    };
    let mut templates = Templates::default();
    for template in texts::split(&list_lens, &list_heap) {
        templates.add(template, rows, test)?;
    }
    let Templates { mut list, pieces, blocks } = templates;

    let mut counts = [0_usize; COLUMNS_MAX];
    for place in &places {
        list.get_mut(usize::try_from(*place).ok()?)?.uses += 1;
    }
    if !list.iter().any(|template| template.uses > 0 && template.is_wanted) {
        lens.extend(std::iter::repeat_n(0, count));
        return Some(());
    }
    for template in list.iter().filter(|template| template.uses > 0) {
        let numbers = template.pieces.len() - 1;
        counts.get_mut(..numbers)?.iter_mut().for_each(|count| *count += template.uses);
    }
    let mut fields = Fields(columns_bytes);
    let mut columns = Vec::with_capacity(columns_count);
    for count in &counts[..columns_count] {
        columns.push(get_column(b'I', &mut fields, *count)?.into_iter());
    }

    let (mut at, mut total) = (heap.len(), 0);
    for place in places {
        let template = &list[place as usize];
        if !template.is_wanted {
            for column in columns.get_mut(..template.pieces.len() - 1)? {
                column.next()?;
            }
            lens.push(0);
            continue;
        }
        let until = at + LENGTH_BYTES_MAX + template.bytes_max + SLACK;
        if heap.len() < until {
            heap.resize(until + GROWTH_BYTES, 0);
        }
        let text = &mut heap[at..until];
        // Nearly all lengths take one byte.
        let start = rows as usize;
        let mut end = start;
        for (column, piece) in pieces[template.pieces.clone()].iter().enumerate() {
            for (number, block) in blocks[piece.blocks.clone()].iter().enumerate() {
                let from = end + number * BLOCK_BYTES;
                text[from..from + BLOCK_BYTES].copy_from_slice(block);
            }
            end += piece.bytes;
            if let Some(digits_min) = piece.digits_min {
                end += put_digits(columns.get_mut(column)?.next()?, digits_min, &mut text[end..]);
            }
        }
        let len = end - start;
        // Each text is short enough that one too many does no harm.
        total += len;
        if total > texts::HEAP_BYTES_MAX {
            return None;
        }
        if rows {
            end = put_length(len, text);
        }
        lens.push(end as u32);
        at += end;
    }
    heap.truncate(at);
    Some(())
}

/// Puts the length of a text in front of it, which stands there from the second byte on; gives the bytes of both.
fn put_length(len: usize, text: &mut [u8]) -> usize {
    if len < 0x80 {
        text[0] = len as u8;
        return 1 + len;
    }
    let (mut length, mut count) = ([0; LENGTH_BYTES_MAX], 0);
    let mut rest = len;
    while rest > 0 {
        length[count] = (rest & 0x7F) as u8 | if rest > 0x7F { 0x80 } else { 0 };
        (rest, count) = (rest >> 7, count + 1);
    }
    text.copy_within(1..1 + len, count);
    text[..count].copy_from_slice(&length[..count]);
    count + len
}

/// Writes `number` with zeros in front up to `digits_min`, at most [`DIGITS_MAX`], digits, and gives how many those
/// are; what stands in the [`NUMBER_BYTES`] behind is lost.
#[inline(always)]
fn put_digits(number: u64, digits_min: usize, out: &mut [u8]) -> usize {
    if number >= 100_000_000 || digits_min > 8 {
        return put_many_digits(number, digits_min, out);
    }
    let least = digits_min.max(1) as u32;
    if number < 10_000 && least <= 4 {
        let digits = four_digits(number as u32);
        let zeros = (digits.trailing_zeros() / 8).min(4 - least);
        let ascii = digits | u32::from_le_bytes([b'0'; 4]);
        out[..4].copy_from_slice(&(ascii >> (zeros * 8)).to_le_bytes());
        return 4 - zeros as usize;
    }
    let digits = eight_digits(number);
    let zeros = (digits.trailing_zeros() / 8).min(8 - least);
    let ascii = digits | u64::from_le_bytes([b'0'; 8]);
    out[..8].copy_from_slice(&(ascii >> (zeros * 8)).to_le_bytes());
    8 - zeros as usize
}

#[cold]
fn put_many_digits(mut number: u64, digits_min: usize, out: &mut [u8]) -> usize {
    let mut digits = [b'0'; NUMBER_BYTES];
    let mut from = digits.len();
    while number > 0 {
        from -= 1;
        digits[from] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    let digits = &digits[from.min(digits.len() - digits_min)..];
    out[..digits.len()].copy_from_slice(digits);
    digits.len()
}

/// As [`eight_digits`], of a number below 10,000.
fn four_digits(number: u32) -> u32 {
    let above = (number * 10_486) >> 20;
    let halves = above | (number - above * 100) << 16;
    let tens = (halves * 103) >> 10 & 0x000F_000F;
    tens | (halves - tens * 10) << 8
}

/// The digits of a number below 100,000,000, a byte each, the first of them in the lowest byte.
///
/// Source: Paul Khuong, "How to print integers really fast": both halves, then all four quarters, then all eight
/// digits are divided at once, by multiplying with the reciprocal.
fn eight_digits(number: u64) -> u64 {
    let halves = (number / 10_000) | (number % 10_000) << 32;
    let above = (halves * 10_486) >> 20 & 0x7F_0000_007F;
    let quarters = above | (halves - above * 100) << 16;
    let tens = (quarters * 103) >> 10 & 0x000F_000F_000F_000F;
    tens | (quarters - tens * 10) << 8
}

const _: () =
    assert!(DOTS_MAX * COLUMNS_MAX * 8 <= texts::HEAP_BYTES_MAX, "columns are no larger than texts may be");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_written_as_printed() {
        for number in [0, 1, 9, 10, 99, 100, 101, 12_345, 999_999, 1_000_000, u64::MAX] {
            for digits_min in 1..=DIGITS_MAX {
                let mut heap = [b'x'; NUMBER_BYTES];
                let count = put_digits(number, digits_min, &mut heap);
                assert_eq!(heap[..count], *format!("{number:0digits_min$}").into_bytes());
            }
        }
        for half in 0..10_000 {
            let digits = four_digits(half as u32).to_le_bytes().map(|digit| digit + b'0');
            assert_eq!(digits, *format!("{half:04}").into_bytes());
            for number in [half, half * 10_000, half * 10_001, 99_999_999 - half] {
                let digits = eight_digits(number).to_le_bytes().map(|digit| digit + b'0');
                assert_eq!(digits, *format!("{number:08}").into_bytes());
            }
        }
    }

    #[test]
    fn rows_are_texts_with_their_lengths() {
        for filling in [0, 1, 13, 14, 15, 16, 17, 125, 126, 127, 128, 200, 16_383, 16_400] {
            let text = |number: usize| format!("{number} \u{e4} {:03}{}", number % 7, "x".repeat(filling));
            let texts: Vec<String> = (0..64).map(|number| text(number * 1_003)).collect();
            let texts: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
            let (mut bytes, mut expected) = (Vec::new(), b"before".to_vec());
            let mut ends = Vec::new();
            put(&texts, &mut bytes).unwrap();
            for text in &texts {
                put_varint(&mut expected, text.len() as u64);
                expected.extend_from_slice(text);
                ends.push(expected.len());
            }
            let (mut lens, mut heap) = (Vec::new(), b"before".to_vec());
            get(&bytes, texts.len(), Form::Rows(None), &mut lens, &mut heap).unwrap();
            assert_eq!(heap, expected);
            let mut end = b"before".len();
            for (len, expected) in lens.iter().zip(&ends) {
                end += *len as usize;
                assert_eq!(end, *expected);
            }
        }
        let mut bytes = Vec::new();
        put(&[b"\xFF 1".as_slice(); 8], &mut bytes).unwrap();
        assert!(get(&bytes, 8, Form::Texts, &mut Vec::new(), &mut Vec::new()).is_some());
        assert!(get(&bytes, 8, Form::Rows(None), &mut Vec::new(), &mut Vec::new()).is_none());
    }

    #[test]
    fn texts_that_do_not_pass_the_test_of_their_template_are_left_out() {
        let line = |n: usize| format!("{} {n} ms", if n % 4 == 1 { "ERROR" } else { "INFO " });
        let texts: Vec<String> = (0..64).map(line).collect();
        let texts: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
        let mut bytes = Vec::new();
        put(&texts, &mut bytes).unwrap();
        let rows = |test: TextTest<'_>| {
            let (mut lens, mut heap) = (Vec::new(), Vec::new());
            get(&bytes, texts.len(), Form::Rows(Some(test)), &mut lens, &mut heap).unwrap();
            (lens, heap)
        };
        let (lens, heap) = rows(&|pieces| pieces == [b"ERROR ".as_slice(), b" ms"]);
        let mut expected = Vec::new();
        for (number, (len, text)) in lens.iter().zip(&texts).enumerate() {
            assert_eq!(*len as usize, if number % 4 == 1 { 1 + text.len() } else { 0 });
            if *len > 0 {
                put_varint(&mut expected, text.len() as u64);
                expected.extend_from_slice(text);
            }
        }
        assert_eq!(heap, expected);
        assert_eq!(rows(&|_| false), (vec![0; 64], vec![]));
    }

    #[test]
    fn a_template_is_what_is_left_without_the_digits() {
        let parts = take_apart(&[b"GET 200 007 ms 12345678901234567890".as_slice(); 8]).unwrap();
        assert_eq!(parts.list, [b"GET \0 \x01\x03 ms 12345678901234567890"]);
        assert_eq!((&parts.columns[0][..2], &parts.columns[1][..2]), (&[200, 200][..], &[7, 7][..]));
    }
}
