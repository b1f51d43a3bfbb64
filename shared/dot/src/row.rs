//! A value as bytes: the columns one behind the other.
//!
//! A number is 8 bytes, little-endian, its *word*: floats by their bits (f32 zero-extended), signed integers
//! sign-extended, unsigned ones zero-extended. A text is a varint of its bytes, then UTF-8; raw bytes
//! are a varint of how many, then they themselves. Nothing else stands between them or behind them. A value of one number travels as its word, any other as its *row bytes*.

use std::fmt;

use crate::encoding::write_hex;
use crate::{Cell, Format, Letter, get_varint, put_varint};

/// The longest row, in bytes.
pub const ROW_BYTES_MAX: usize = 1 << 20;

/// What stands in one column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// `f`
    F32(f32),
    /// `F`
    F64(f64),
    /// `u`
    U32(u32),
    /// `U`
    U64(u64),
    /// `i`
    I32(i32),
    /// `I`
    I64(i64),
    /// `s`
    Text(&'a str),
    /// `b`
    Bytes(&'a [u8]),
}

/// Why bytes are no row of a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowError {
    /// They end within a column; which, from 0.
    Short(usize),
    /// So many bytes stand behind the last column.
    Long(usize),
    /// A text that is not UTF-8.
    NotUtf8 {
        /// The column, from 0.
        column: usize,
        /// The first byte of the text that is not.
        at: usize,
    },
    /// A word that the column's letter cannot hold.
    Word {
        /// The column, from 0.
        column: usize,
        /// What the column holds.
        letter: Letter,
        /// The word found.
        word: u64,
    },
    /// More than [`ROW_BYTES_MAX`] bytes; how many.
    TooBig(usize),
    /// A value given for a column of another letter, or for a column there is none of.
    Letters {
        /// What the row should hold.
        expected: Format,
        /// The column, from 0, that is first wrong.
        column: usize,
    },
}

impl<'a> Value<'a> {
    /// The number of that letter and word; `None` where the letter cannot hold it or is no number's.
    #[inline]
    pub fn from_word(letter: Letter, word: u64) -> Option<Value<'static>> {
        if !letter.holds(word) {
            return None;
        }
        Some(match letter {
            Letter::F32 => Value::F32(f32::from_bits(word as u32)),
            Letter::F64 => Value::F64(f64::from_bits(word)),
            Letter::U32 => Value::U32(word as u32),
            Letter::U64 => Value::U64(word),
            Letter::I32 => Value::I32(word as i32),
            Letter::I64 => Value::I64(word as i64),
            Letter::Text | Letter::Bytes => return None,
        })
    }

    /// Which letter it is of.
    pub const fn letter(self) -> Letter {
        match self {
            Value::F32(_) => Letter::F32,
            Value::F64(_) => Letter::F64,
            Value::U32(_) => Letter::U32,
            Value::U64(_) => Letter::U64,
            Value::I32(_) => Letter::I32,
            Value::I64(_) => Letter::I64,
            Value::Text(_) => Letter::Text,
            Value::Bytes(_) => Letter::Bytes,
        }
    }

    /// The word of a number; `None` of a text or bytes.
    #[inline]
    pub const fn to_word(self) -> Option<u64> {
        Some(match self {
            Value::F32(value) => value.to_bits() as u64,
            Value::F64(value) => value.to_bits(),
            Value::U32(value) => value as u64,
            Value::U64(value) => value,
            Value::I32(value) => value as i64 as u64,
            Value::I64(value) => value as u64,
            Value::Text(_) | Value::Bytes(_) => return None,
        })
    }

    /// The nearest f64 of a number; `None` of a text or bytes.
    #[inline]
    pub fn number(self) -> Option<f64> {
        self.to_word().map(|word| self.letter().number(word))
    }
}

/// Floats as short as they come back to the same bits, texts as they are, bytes as [`hex`](crate::put_hex).
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::F32(value) => value.fmt(f),
            Value::F64(value) => value.fmt(f),
            Value::U32(value) => value.fmt(f),
            Value::U64(value) => value.fmt(f),
            Value::I32(value) => value.fmt(f),
            Value::I64(value) => value.fmt(f),
            Value::Text(value) => f.write_str(value),
            Value::Bytes(value) => write_hex(value, f),
        }
    }
}

/// Appends the row bytes of `values`, whatever their letters.
pub fn put_row<'a>(values: impl IntoIterator<Item = Value<'a>>, out: &mut Vec<u8>) {
    for value in values {
        match value {
            Value::Text(text) => put_string(text.as_bytes(), out),
            Value::Bytes(bytes) => put_string(bytes, out),
            number => out.extend_from_slice(&number.to_word().expect("it is a number").to_le_bytes()),
        }
    }
}

fn put_string(bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends the row bytes of `values` where they are a row of `format`; nothing otherwise.
///
/// # Errors
///
/// [`RowError::Letters`] where number or letters of the columns are others, [`RowError::TooBig`].
pub fn put_row_of<'a>(
    format: &Format,
    values: impl IntoIterator<Item = Value<'a>>,
    out: &mut Vec<u8>,
) -> Result<(), RowError> {
    let before = out.len();
    let mut letters = format.letters();
    let mut column = 0;
    for value in values {
        if letters.next() != Some(value.letter()) {
            out.truncate(before);
            return Err(RowError::Letters { expected: format.clone(), column });
        }
        put_row([value], out);
        column += 1;
    }
    let bytes = out.len() - before;
    if letters.next().is_some() {
        out.truncate(before);
        return Err(RowError::Letters { expected: format.clone(), column });
    }
    if bytes > ROW_BYTES_MAX {
        out.truncate(before);
        return Err(RowError::TooBig(bytes));
    }
    Ok(())
}

/// Whether bytes are a row of `format`, and all of them.
///
/// # Errors
///
/// [`RowError`] says what is wrong, and where.
pub fn check_row(format: &Format, bytes: &[u8]) -> Result<(), RowError> {
    if bytes.len() > ROW_BYTES_MAX {
        return Err(RowError::TooBig(bytes.len()));
    }
    let mut rest = bytes;
    for (column, letter) in format.letters().enumerate() {
        match take_column(letter, &mut rest).ok_or(RowError::Short(column))? {
            Taken::Word(word) if !letter.holds(word) => return Err(RowError::Word { column, letter, word }),
            Taken::Word(_) => {}
            Taken::String(text) if letter == Letter::Text => {
                std::str::from_utf8(text)
                    .map_err(|error| RowError::NotUtf8 { column, at: error.valid_up_to() })?;
            }
            Taken::String(_) => {}
        }
    }
    if rest.is_empty() { Ok(()) } else { Err(RowError::Long(rest.len())) }
}

/// The cells of a row, or of a word, in turn.
///
/// Of bytes that are no row of the format it ends where they go wrong: see [`check_row`].
#[derive(Clone, Debug)]
pub struct Cells<'a> {
    letters: &'a [u8],
    rest: Cell<'a>,
}

impl<'a> Cells<'a> {
    /// - `bytes`: row bytes of `format`
    pub fn new(format: &'a Format, bytes: &'a [u8]) -> Cells<'a> {
        Cells::of(format, Cell::Row(bytes))
    }

    /// - `word`: that of a value of `format`, which is one number
    pub fn of_word(format: &'a Format, word: u64) -> Cells<'a> {
        Cells::of(format, Cell::Word(word))
    }

    #[inline]
    pub(crate) fn of(format: &'a Format, cell: Cell<'a>) -> Cells<'a> {
        Cells { letters: format.as_str().as_bytes(), rest: cell }
    }

    /// The first number among the cells that are left, as the nearest f64; `None` where there is none.
    pub fn number(mut self) -> Option<f64> {
        while let Some((letter, rest)) = self.letters.split_first() {
            let letter = Letter::from_byte(*letter)?;
            let bytes = match &mut self.rest {
                Cell::Word(word) => return letter.is_number().then(|| letter.number(*word)),
                Cell::Row(bytes) => bytes,
            };
            if let Taken::Word(word) = take_column(letter, bytes)? {
                return Some(letter.number(word));
            }
            self.letters = rest;
        }
        None
    }
}

impl<'a> Iterator for Cells<'a> {
    type Item = Value<'a>;

    #[inline]
    fn next(&mut self) -> Option<Value<'a>> {
        let (letter, letters) = self.letters.split_first()?;
        let letter = Letter::from_byte(*letter)?;
        let value = match &mut self.rest {
            Cell::Word(word) => Value::from_word(letter, *word),
            Cell::Row(bytes) => match take_column(letter, bytes) {
                Some(Taken::Word(word)) => Value::from_word(letter, word),
                Some(Taken::String(bytes)) if letter == Letter::Bytes => Some(Value::Bytes(bytes)),
                Some(Taken::String(text)) => std::str::from_utf8(text).ok().map(Value::Text),
                None => None,
            },
        };
        self.letters = if value.is_some() { letters } else { &[] };
        value
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.letters.len()))
    }
}

enum Taken<'a> {
    Word(u64),
    /// A text, which need not be UTF-8, or bytes.
    String(&'a [u8]),
}

#[inline]
fn take_column<'a>(letter: Letter, bytes: &mut &'a [u8]) -> Option<Taken<'a>> {
    if letter.is_number() {
        let (word, rest) = bytes.split_first_chunk()?;
        *bytes = rest;
        return Some(Taken::Word(u64::from_le_bytes(*word)));
    }
    let count = usize::try_from(get_varint(bytes)?).ok()?;
    let (string, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(Taken::String(string))
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RowError::Short(column) => write!(f, "row ends within column {}", column + 1),
            RowError::Long(bytes) => write!(f, "row has {bytes} bytes behind its last column"),
            RowError::NotUtf8 { column, at } => {
                write!(f, "text in column {} is not UTF-8 from byte {at} on", column + 1)
            }
            RowError::Word { column, letter, word } => {
                write!(f, "column {} holds {word:#x}, which is no value of letter {letter}", column + 1)
            }
            RowError::TooBig(bytes) => {
                write!(f, "row has {bytes} bytes, at most {ROW_BYTES_MAX} are kept")
            }
            RowError::Letters { expected, column } => {
                write!(f, "row differs from format {expected} in column {}", column + 1)
            }
        }
    }
}

impl std::error::Error for RowError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(letters: &str) -> Format {
        Format::new(letters).unwrap()
    }

    #[test]
    fn every_letter_comes_back_from_its_row() {
        let values = [
            Value::F32(-0.0),
            Value::F64(1e300),
            Value::U32(u32::MAX),
            Value::U64(u64::MAX),
            Value::I32(i32::MIN),
            Value::I64(i64::MIN),
            Value::Text("größe"),
            Value::Text(""),
            Value::Bytes(&[0, 0xff, b'a', 0x80]),
            Value::Bytes(&[]),
        ];
        let mut bytes = Vec::new();
        put_row_of(&format("fFuUiIssbb"), values, &mut bytes).unwrap();
        assert_eq!(bytes.len(), 6 * 8 + 8 + 1 + 5 + 1);
        check_row(&format("fFuUiIssbb"), &bytes).unwrap();
        assert_eq!(Cells::new(&format("fFuUiIssbb"), &bytes).collect::<Vec<_>>(), values);
        for value in values.into_iter().filter(|value| value.letter().is_number()) {
            let word = value.to_word().unwrap();
            assert_eq!(Value::from_word(value.letter(), word), Some(value));
            let format = format(&value.letter().to_string());
            assert_eq!(Cells::of_word(&format, word).collect::<Vec<_>>(), [value]);
            assert_eq!(Cells::of_word(&format, word).number(), value.number());
        }
    }

    #[test]
    fn what_is_no_row_is_said_and_gives_no_false_cell() {
        let check = |letters: &str, bytes: &[u8], expected: RowError, cells: usize| {
            assert_eq!(check_row(&format(letters), bytes), Err(expected), "{letters} {bytes:?}");
            assert_eq!(Cells::new(&format(letters), bytes).count(), cells);
        };
        let over = (1_u64 << 32).to_le_bytes();
        check("F", &[0; 7], RowError::Short(0), 0);
        check("F", &[0; 9], RowError::Long(1), 1);
        check("ss", &[1, b'a'], RowError::Short(1), 1);
        check("s", &[0xff; 11], RowError::Short(0), 0);
        check("s", &[2, b'a', 0xff], RowError::NotUtf8 { column: 0, at: 1 }, 0);
        check("bs", &[2, b'a', 0xff, 1, 0xff], RowError::NotUtf8 { column: 1, at: 0 }, 1);
        check("b", &[2, 0xff], RowError::Short(0), 0);
        check("b", &[1, 0xff, 0], RowError::Long(1), 1);
        for letter in [Letter::F32, Letter::U32, Letter::I32] {
            let expected = RowError::Word { column: 0, letter, word: 1 << 32 };
            check(&letter.to_string(), &over, expected, 0);
        }
        let mut big = Vec::new();
        put_row([Value::Text(&"x".repeat(ROW_BYTES_MAX))], &mut big);
        check("s", &big, RowError::TooBig(ROW_BYTES_MAX + 3), 1);
        check("b", &big, RowError::TooBig(ROW_BYTES_MAX + 3), 1);
    }

    #[test]
    fn values_of_other_letters_are_no_row_and_leave_nothing() {
        let mut out = vec![7];
        for (values, column) in [
            (&[Value::F64(1.0)][..], 1),
            (&[Value::U32(1), Value::Text("")], 0),
            (&[Value::F64(1.0), Value::Bytes(&[])], 1),
            (&[Value::F64(1.0), Value::Text(""), Value::Text("")], 2),
        ] {
            let error = put_row_of(&format("Fs"), values.iter().copied(), &mut out).unwrap_err();
            assert_eq!(error, RowError::Letters { expected: format("Fs"), column });
            assert_eq!(out, [7]);
        }
    }

    #[test]
    fn the_number_of_a_row_is_that_of_its_first_number_column() {
        let mut bytes = Vec::new();
        put_row([Value::Text("GET /"), Value::U32(200), Value::F64(0.5)], &mut bytes);
        assert_eq!(Cells::new(&format("suF"), &bytes).number(), Some(200.0));
        assert_eq!(Cells::new(&format("buF"), &bytes).number(), Some(200.0));
        assert_eq!(Cells::new(&format("b"), &bytes[..6]).number(), None);
        assert_eq!(Cells::new(&format("s"), &bytes[..6]).number(), None);
    }
}
