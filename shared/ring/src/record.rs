//! The words of a record: series, kind and time delta in the first, what was measured behind it.

use std::fmt::Debug;

use dotter_dot::Format;

use crate::layout::{BLOCK_BYTES, BLOCK_HEAD_BYTES, BLOCK_WORDS, GRANULE_BYTES, SERIES_MAX};

/// A number, delta in ticks: the kind is this plus that of the number, 1 to 4.
pub(crate) const TICKS: u64 = 0;
/// A number, delta in nanoseconds: likewise.
pub(crate) const NANOS: u64 = 4;
const F64_TICKS: u64 = Kind::F64 as u64 + TICKS;
const F64_NANOS: u64 = Kind::F64 as u64 + NANOS;
/// A number with its whole time, two granules.
pub(crate) const ABSOLUTE: u64 = 9;
/// A text.
pub(crate) const TEXT: u64 = Kind::Text as u64;
/// A row.
pub(crate) const ROW: u64 = Kind::Row as u64;
/// Nothing more in this block.
pub(crate) const END_OF_BLOCK: u64 = 15;
/// The word that says so.
pub(crate) const END_MARK: u64 = END_OF_BLOCK << 20;

/// In the second word of texts and rows: the delta is in nanoseconds.
pub(crate) const FLAG_NANOS: u64 = 1 << 32;
/// In the second word of texts and rows: a third one with the whole time follows, the delta is zero.
pub(crate) const FLAG_ABSOLUTE: u64 = 1 << 33;

/// The longest text one record takes, in bytes.
pub const TEXT_BYTES_MAX: usize = (BLOCK_BYTES - BLOCK_HEAD_BYTES - GRANULE_BYTES) as usize;
/// The most columns a row has.
pub const COLUMNS_MAX: usize = 64;

const DELTA_HALF: i64 = 1 << 39;

/// What a series holds, and what a record of it is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// One f64, a plain number.
    F64 = 1,
    /// One i64.
    I64 = 2,
    /// One u64.
    U64 = 3,
    /// One f32.
    F32 = 4,
    /// One UTF-8 text, or raw bytes: the series' letter says which.
    Text = 10,
    /// Several numbers at once, each in a column.
    Row = 11,
}

impl Kind {
    /// The kind of that code; `None` where this build knows none.
    pub fn of_code(code: u8) -> Option<Kind> {
        let all = [Kind::F64, Kind::I64, Kind::U64, Kind::F32, Kind::Text, Kind::Row];
        all.into_iter().find(|kind| *kind as u8 == code)
    }

    /// The number in a word as an f64, the nearest there is; NaN for what is no number.
    #[inline(always)]
    pub(crate) fn number(self, word: u64) -> f64 {
        match self {
            Kind::F64 => f64::from_bits(word),
            Kind::I64 => word as i64 as f64,
            Kind::U64 => word as f64,
            Kind::F32 => f32::from_bits(word as u32).into(),
            Kind::Text | Kind::Row => f64::NAN,
        }
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A number a ring takes: f64, f32, i64, u64 as a series of its own; i32 and u32 in the columns of rows.
pub trait Cell: Copy + Debug + Send + Sync + sealed::Sealed + 'static {
    /// Its letter in a [`Format`].
    const LETTER: char;

    /// As it stands in a ring: integers with their sign carried on, floats by their bits.
    fn to_word(self) -> u64;
}

/// A [`Cell`] that can be a series of its own.
pub trait Number: Cell {
    /// The kind of its records.
    const KIND: Kind;
}

macro_rules! cells {
    ($($type:ident $letter:literal $to_word:expr),*) => {$(
        impl sealed::Sealed for $type {}
        impl Cell for $type {
            const LETTER: char = $letter;
            #[inline(always)]
            fn to_word(self) -> u64 {
                let to_word: fn($type) -> u64 = $to_word;
                to_word(self)
            }
        }
    )*};
}

cells! {
    f64 'F' f64::to_bits,
    f32 'f' |value| value.to_bits().into(),
    i64 'I' |value| value as u64,
    u64 'U' |value| value,
    i32 'i' |value| value as i64 as u64,
    u32 'u' |value| value.into()
}

impl Number for f64 {
    const KIND: Kind = Kind::F64;
}
impl Number for i64 {
    const KIND: Kind = Kind::I64;
}
impl Number for u64 {
    const KIND: Kind = Kind::U64;
}
impl Number for f32 {
    const KIND: Kind = Kind::F32;
}

/// What the records of a series look like.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// What a record is.
    pub kind: Kind,
    /// A letter per column; one where it is no row.
    pub format: Format,
    /// A name per column; none where they have none.
    pub columns: Vec<String>,
}

impl Shape {
    /// One number.
    pub fn number<N: Number>() -> Shape {
        Shape { kind: N::KIND, format: letters(&[N::LETTER]), columns: Vec::new() }
    }

    /// One text.
    pub fn text() -> Shape {
        Shape { kind: Kind::Text, format: letters(&['s']), columns: Vec::new() }
    }

    /// Raw bytes, whose records are those of a text.
    pub fn bytes() -> Shape {
        Shape { kind: Kind::Text, format: letters(&['b']), columns: Vec::new() }
    }

    /// A number in each column; `None` where a column is a text or raw bytes, or the names are neither none nor one for
    /// each column, or a name is longer than 255 bytes.
    pub fn row(format: Format, columns: Vec<String>) -> Option<Shape> {
        let named = columns.is_empty() || columns.len() == format.as_str().len();
        let right =
            named && !format.as_str().contains(['s', 'b']) && columns.iter().all(|name| name.len() < 256);
        right.then_some(Shape { kind: Kind::Row, format, columns })
    }
}

fn letters(letters: &[char]) -> Format {
    Format::new(&letters.iter().collect::<String>()).expect("these are letters of a format")
}

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

/// Words of a text or row with so many in front of so many bytes: whole granules.
#[inline(always)]
pub(crate) fn long_words(front: usize, bytes: usize) -> usize {
    (front + bytes.div_ceil(8)).next_multiple_of(2)
}

/// Reads the record at word `index` where it is an f64 of one granule: its series, its time, its bits.
#[inline(always)]
pub(crate) fn plain(words: &[u64; BLOCK_WORDS], index: usize) -> Option<(u32, When, u64)> {
    let first = words[index & (BLOCK_WORDS - 1)];
    let (series, delta) = (first as u32 & (SERIES_MAX - 1), first as i64 >> 24);
    let when = match first >> 20 & 15 {
        F64_TICKS => When::Ticks(delta),
        F64_NANOS => When::Nanos(delta),
        _ => return None,
    };
    Some((series, when, words[(index + 1) & (BLOCK_WORDS - 1)]))
}

/// When a record happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum When {
    /// Stamped by the clock; ticks since the block's base.
    Ticks(i64),
    /// Given by the application; nanoseconds since the block's base.
    Nanos(i64),
    /// Given by the application; the time itself.
    Absolute(u64),
}

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Body {
    /// The word of a number.
    Number(u64),
    /// So many bytes, from word `at` of the block on.
    Text { at: usize, bytes: usize },
    /// So many cells, from word `at` of the block on.
    Row { at: usize, columns: usize },
}

/// What stands at one place of a block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Record {
    /// A measurement; `next` is the word behind it.
    Some { series: u32, kind: Kind, when: When, body: Body, next: usize },
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
        let number =
            |kind, when| Record::Some { series, kind, when, body: Body::Number(second), next: index + 2 };
        match first >> 20 & 15 {
            1 => number(Kind::F64, When::Ticks(delta)),
            5 => number(Kind::F64, When::Nanos(delta)),
            2 => number(Kind::I64, When::Ticks(delta)),
            3 => number(Kind::U64, When::Ticks(delta)),
            4 => number(Kind::F32, When::Ticks(delta)),
            6 => number(Kind::I64, When::Nanos(delta)),
            7 => number(Kind::U64, When::Nanos(delta)),
            8 => number(Kind::F32, When::Nanos(delta)),
            END_OF_BLOCK => Record::End,
            _ => Record::decode_long(words, index, end),
        }
    }

    /// Those of more than one granule, which must lie in the committed bytes as a whole.
    fn decode_long(words: &[u64; BLOCK_WORDS], index: usize, end: usize) -> Record {
        let (Some(&[first, second]), true) = (words.get(index..index + 2), end <= BLOCK_WORDS) else {
            return Record::Unknown;
        };
        let series = first as u32 & (SERIES_MAX - 1);
        let some = |kind, when, body, words: usize| {
            let next = index + words;
            if next <= end { Record::Some { series, kind, when, body, next } } else { Record::Unknown }
        };
        let number = |code: u64| Kind::of_code(code as u8).filter(|kind| code < 5 && (*kind as u8) < 5);
        let kind = match first >> 20 & 15 {
            ABSOLUTE if index + 4 <= end => {
                let Some(kind) = number(words[index + 3]) else { return Record::Unknown };
                return some(kind, When::Absolute(second), Body::Number(words[index + 2]), 4);
            }
            TEXT => Kind::Text,
            ROW => Kind::Row,
            _ => return Record::Unknown,
        };
        let (count, flags) = (second as u32 as usize, second & !(u32::MAX as u64));
        let (when, front) = match flags {
            0 => (When::Ticks(first as i64 >> 24), 2),
            FLAG_NANOS => (When::Nanos(first as i64 >> 24), 2),
            FLAG_ABSOLUTE if index + 3 <= end => (When::Absolute(words[index + 2]), 3),
            _ => return Record::Unknown,
        };
        let at = index + front;
        match kind {
            Kind::Text if count <= TEXT_BYTES_MAX => {
                some(kind, when, Body::Text { at, bytes: count }, long_words(front, count))
            }
            Kind::Row if (1..=COLUMNS_MAX).contains(&count) => {
                some(kind, when, Body::Row { at, columns: count }, long_words(front, count * 8))
            }
            _ => Record::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(record: &[u64], end: usize) -> Record {
        let mut words = [0; BLOCK_WORDS];
        words[8..8 + record.len()].copy_from_slice(record);
        Record::decode(&words, 8, end)
    }

    #[test]
    fn deltas_of_forty_bits_survive_and_longer_ones_are_seen() {
        for delta in [0, 1, -1, DELTA_HALF - 1, -DELTA_HALF] {
            assert!(fits(delta), "{delta}");
            let found =
                decode(&[head(SERIES_MAX - 1, Kind::F64 as u64 + TICKS, delta), 1.5_f64.to_bits()], 10);
            let expected = Record::Some {
                series: SERIES_MAX - 1,
                kind: Kind::F64,
                when: When::Ticks(delta),
                body: Body::Number(1.5_f64.to_bits()),
                next: 10,
            };
            assert_eq!(found, expected);
        }
        for delta in [DELTA_HALF, -DELTA_HALF - 1, i64::MAX, i64::MIN] {
            assert!(!fits(delta), "{delta}");
        }
    }

    #[test]
    fn every_number_keeps_its_kind_and_its_bits() {
        let check = |kind: Kind, word: u64, expected: f64| {
            for (code, when) in [(TICKS, When::Ticks(-7)), (NANOS, When::Nanos(-7))] {
                let found = decode(&[head(3, kind as u64 + code, -7), word], 10);
                let body = Body::Number(word);
                assert_eq!(found, Record::Some { series: 3, kind, when, body, next: 10 });
            }
            let found = decode(&[head(3, ABSOLUTE, 0), 77, word, kind as u64], 12);
            let (when, body) = (When::Absolute(77), Body::Number(word));
            assert_eq!(found, Record::Some { series: 3, kind, when, body, next: 12 });
            assert_eq!(kind.number(word), expected);
        };
        check(Kind::F64, 2.5_f64.to_word(), 2.5);
        check(Kind::F32, (-0.25_f32).to_word(), -0.25);
        check(Kind::I64, (-3_i64).to_word(), -3.0);
        check(Kind::U64, u64::MAX.to_word(), 18_446_744_073_709_551_615.0);
    }

    #[test]
    fn texts_and_rows_lie_in_the_committed_bytes_or_are_unknown() {
        let check = |record: &[u64], expected: Option<(When, Body)>| {
            let end = 8 + record.len();
            match (decode(record, end), expected) {
                (Record::Some { series: 3, when, body, next, .. }, Some(expected)) => {
                    assert_eq!((when, body, next), (expected.0, expected.1, end));
                }
                (Record::Unknown, None) => {}
                (found, expected) => panic!("{found:?}, expected {expected:?}"),
            }
            assert_eq!(decode(record, end - 2), Record::Unknown, "cut short");
        };
        let (text, row) = (head(3, TEXT, 9), head(3, ROW, 9));
        check(&[text, 0], Some((When::Ticks(9), Body::Text { at: 10, bytes: 0 })));
        check(&[text, 9, 1, 2], Some((When::Ticks(9), Body::Text { at: 10, bytes: 9 })));
        check(&[text, 8 | FLAG_NANOS, 1, 0], Some((When::Nanos(9), Body::Text { at: 10, bytes: 8 })));
        check(&[text, 8 | FLAG_ABSOLUTE, 77, 1], Some((When::Absolute(77), Body::Text { at: 11, bytes: 8 })));
        check(&[row, 1, 5, 0], Some((When::Ticks(9), Body::Row { at: 10, columns: 1 })));
        check(
            &[row, 2 | FLAG_ABSOLUTE, 77, 1, 2, 0],
            Some((When::Absolute(77), Body::Row { at: 11, columns: 2 })),
        );
        for count in [17, 1 << 20, u32::MAX as u64] {
            check(&[text, count, 1, 2], None);
        }
        for second in [0, 3, 65, 1 | 1 << 34, 1 | FLAG_NANOS | FLAG_ABSOLUTE, u64::MAX] {
            check(&[row, second, 1, 2], None);
        }
        check(&[text, 1 | 1 << 63, 1, 2], None);
    }

    #[test]
    fn unknown_kinds_are_unknown() {
        for kind in [0, 12, 13, 14] {
            assert_eq!(decode(&[head(0, kind, 0), 0], BLOCK_WORDS), Record::Unknown, "{kind}");
        }
        for kind in [0, 5, 10, 11, 1 << 8 | 1, u64::MAX] {
            assert_eq!(decode(&[head(0, ABSOLUTE, 0), 0, 0, kind], BLOCK_WORDS), Record::Unknown, "{kind}");
        }
    }
}
