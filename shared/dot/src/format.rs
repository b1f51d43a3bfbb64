//! The letters of a value: one per column.

use std::fmt;

/// What a column holds. As text one character each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Letter {
    /// `f`, an f32.
    F32 = b'f',
    /// `F`, an f64.
    F64 = b'F',
    /// `u`, a u32.
    U32 = b'u',
    /// `U`, a u64.
    U64 = b'U',
    /// `i`, an i32.
    I32 = b'i',
    /// `I`, an i64.
    I64 = b'I',
    /// `s`, UTF-8 text.
    Text = b's',
    /// `b`, raw bytes, whatever they are.
    Bytes = b'b',
}

/// One letter per column, 1 to [`COLUMNS_MAX`] of them. A plain number is `F`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Format(Box<str>);

/// The most columns a row has.
pub const COLUMNS_MAX: usize = 64;

/// Why a text is no [`Format`]; the text as found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatError(pub String);

impl Letter {
    /// The letter of that byte; `None` where it is none.
    #[inline]
    pub const fn from_byte(byte: u8) -> Option<Letter> {
        Some(match byte {
            b'f' => Letter::F32,
            b'F' => Letter::F64,
            b'u' => Letter::U32,
            b'U' => Letter::U64,
            b'i' => Letter::I32,
            b'I' => Letter::I64,
            b's' => Letter::Text,
            b'b' => Letter::Bytes,
            _ => return None,
        })
    }

    /// Whether it stands for a number.
    #[inline]
    pub const fn is_number(self) -> bool {
        !matches!(self, Letter::Text | Letter::Bytes)
    }

    /// Whether `word` is the word of a number of this letter: floats by their bits (f32 zero-extended), signed
    /// integers sign-extended, unsigned ones zero-extended. Never for a text or bytes.
    #[inline]
    pub const fn holds(self, word: u64) -> bool {
        match self {
            Letter::F64 | Letter::U64 | Letter::I64 => true,
            Letter::F32 | Letter::U32 => word <= u32::MAX as u64,
            Letter::I32 => word as i32 as i64 as u64 == word,
            Letter::Text | Letter::Bytes => false,
        }
    }

    /// The f64 nearest to the number whose word this is; NaN for a text or bytes.
    #[inline]
    pub const fn number(self, word: u64) -> f64 {
        match self {
            Letter::F64 => f64::from_bits(word),
            Letter::F32 => f32::from_bits(word as u32) as f64,
            Letter::U32 | Letter::U64 => word as f64,
            Letter::I32 | Letter::I64 => word as i64 as f64,
            Letter::Text | Letter::Bytes => f64::NAN,
        }
    }
}

impl Format {
    /// Takes a text of letters.
    ///
    /// # Errors
    ///
    /// [`FormatError`] where it is empty, longer than 64, or has another letter.
    pub fn new(text: &str) -> Result<Format, FormatError> {
        let right = (1..=COLUMNS_MAX).contains(&text.len())
            && text.bytes().all(|byte| Letter::from_byte(byte).is_some());
        if right { Ok(Format(text.into())) } else { Err(FormatError(text.chars().take(80).collect())) }
    }

    /// One f64 column.
    pub fn number() -> Format {
        Format("F".into())
    }

    /// Whether this is one f64 column.
    pub fn is_number(&self) -> bool {
        &*self.0 == "F"
    }

    /// The letter of a format of one number, whatever its kind: a value of it is one word, of any other format
    /// it is row bytes.
    #[inline]
    pub fn word(&self) -> Option<Letter> {
        match self.0.as_bytes() {
            [byte] => Letter::from_byte(*byte).filter(|letter| letter.is_number()),
            _ => None,
        }
    }

    /// Whether a value of it is one word, which is where it has one column and that is a number.
    pub fn is_word(&self) -> bool {
        self.word().is_some()
    }

    /// Whether a value of it is a text, a line of a log: no column is a number.
    pub fn is_text(&self) -> bool {
        self.letters().all(|letter| !letter.is_number())
    }

    /// The columns' letters in turn.
    pub fn letters(&self) -> impl ExactSizeIterator<Item = Letter> + Clone + '_ {
        self.0.bytes().map(|byte| Letter::from_byte(byte).expect("a format holds letters alone"))
    }

    /// How many columns.
    #[expect(clippy::len_without_is_empty, reason = "a format has one column at least")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The letters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Write::write_char(f, *self as u8 as char)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "format '{}' is not 1 to 64 of the letters f F u U i I s b", self.0)
    }
}

impl std::error::Error for FormatError {}

impl std::str::FromStr for Format {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Format, FormatError> {
        Format::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_one_to_sixty_four_known_letters() {
        assert!(Format::new("F").unwrap().is_number());
        assert_eq!(Format::new("fFuUiIsb").unwrap().as_str(), "fFuUiIsb");
        for text in ["", "x", "F ", &"F".repeat(65)] {
            assert!(Format::new(text).is_err(), "{text}");
        }
    }

    #[test]
    fn one_number_is_a_word_and_nothing_else_is() {
        let check = |text: &str, expected| assert_eq!(Format::new(text).unwrap().word(), expected, "{text}");
        for letter in [Letter::F32, Letter::F64, Letter::U32, Letter::U64, Letter::I32, Letter::I64] {
            check(&letter.to_string(), Some(letter));
        }
        check("s", None);
        check("b", None);
        check("FF", None);
        check("Fs", None);
    }
}
