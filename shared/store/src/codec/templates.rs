//! Texts as templates and the numbers in them.
//!
//! Lines a program prints differ in their numbers and little else: `GET /item 200 13 ms`. What is left without the
//! digits is one of few templates, kept once each; the numbers are columns as any other, the first of each text,
//! the second, and so on. Bytes: FORMAT.md, "Texts".

use std::collections::HashMap;

use dotter_dot::put_varint;

use super::{DOTS_MAX, numbers, texts};
use crate::bytes::Fields;

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

/// A piece of a template: what stands there, then a number of at least so many digits, if one follows.
struct Piece<'a> {
    text: &'a [u8],
    digits_min: Option<usize>,
}

fn pieces(template: &[u8]) -> Option<Vec<Piece<'_>>> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some(end) = rest.iter().position(|byte| matches!(*byte, NUMBER | PADDED)) {
        let (text, after) = rest.split_at(end);
        let (digits_min, after) = match after {
            [NUMBER, after @ ..] => (1, after),
            [PADDED, digits, after @ ..] if (*digits as usize) <= DIGITS_MAX => (*digits as usize, after),
            _ => return None,
        };
        // As many as there are columns: no more is allocated than a text can use.
        if pieces.len() == COLUMNS_MAX {
            return None;
        }
        pieces.push(Piece { text, digits_min: Some(digits_min) });
        rest = after;
    }
    pieces.push(Piece { text: rest, digits_min: None });
    Some(pieces)
}

/// Appends the lengths and bytes of the `count` texts that `bytes` hold.
pub(super) fn get(bytes: &[u8], count: usize, lens: &mut Vec<u32>, heap: &mut Vec<u8>) -> Option<()> {
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
    let list = texts::split(&list_lens, &list_heap).map(pieces).collect::<Option<Vec<_>>>()?;

    let mut counts = [0_usize; COLUMNS_MAX];
    for place in &places {
        let numbers = list.get(usize::try_from(*place).ok()?)?.len() - 1;
        counts.get_mut(..numbers)?.iter_mut().for_each(|count| *count += 1);
    }
    let mut fields = Fields(columns_bytes);
    let mut columns = Vec::with_capacity(columns_count);
    for count in &counts[..columns_count] {
        columns.push(get_column(b'I', &mut fields, *count)?.into_iter());
    }

    let start = heap.len();
    for place in places {
        let before = heap.len();
        for (column, piece) in list[place as usize].iter().enumerate() {
            heap.extend_from_slice(piece.text);
            if let Some(digits_min) = piece.digits_min {
                put_digits(columns.get_mut(column)?.next()?, digits_min, heap);
            }
            // Each piece is short enough that one too many does no harm.
            if heap.len() - start > texts::HEAP_BYTES_MAX {
                return None;
            }
        }
        lens.push((heap.len() - before) as u32);
    }
    Some(())
}

/// Appends `number` with zeros in front up to `digits_min`, at most [`DIGITS_MAX`], digits.
fn put_digits(mut number: u64, digits_min: usize, heap: &mut Vec<u8>) {
    // Twenty digits are what a u64 has at most.
    let mut digits = [b'0'; 20];
    let mut from = digits.len();
    while number >= 100 {
        let pair = (number % 100) as u8;
        number /= 100;
        from -= 2;
        digits[from] = b'0' + pair / 10;
        digits[from + 1] = b'0' + pair % 10;
    }
    from -= 1;
    digits[from] = b'0' + (number % 10) as u8;
    if number >= 10 {
        from -= 1;
        digits[from] = b'0' + (number / 10) as u8;
    }
    heap.extend_from_slice(&digits[from.min(digits.len() - digits_min)..]);
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
                let mut heap = Vec::new();
                put_digits(number, digits_min, &mut heap);
                assert_eq!(heap, format!("{number:0digits_min$}").into_bytes());
            }
        }
    }

    #[test]
    fn a_template_is_what_is_left_without_the_digits() {
        let parts = take_apart(&[b"GET 200 007 ms 12345678901234567890".as_slice(); 8]).unwrap();
        assert_eq!(parts.list, [b"GET \0 \x01\x03 ms 12345678901234567890"]);
        assert_eq!((&parts.columns[0][..2], &parts.columns[1][..2]), (&[200, 200][..], &[7, 7][..]));
    }
}
