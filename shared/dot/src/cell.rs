//! The value of a dot as it travels: a word, or row bytes.

use crate::{Cells, Format, Letter, ROW_BYTES_MAX, RowError, check_row};

/// The value of a dot: of a format of one number its word, of any other format its row bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell<'a> {
    /// The word of one number.
    Word(u64),
    /// Row bytes, at most [`ROW_BYTES_MAX`].
    Row(&'a [u8]),
}

impl<'a> Cell<'a> {
    /// The value of format `F`.
    #[inline]
    pub const fn number(value: f64) -> Cell<'static> {
        Cell::Word(value.to_bits())
    }

    /// Takes row bytes of any format; those of one number are its word in 8 bytes.
    ///
    /// # Errors
    ///
    /// [`RowError`] where the bytes are no row of `format`.
    pub fn from_row(format: &Format, row: &'a [u8]) -> Result<Cell<'a>, RowError> {
        check_row(format, row)?;
        match (format.word(), row.first_chunk()) {
            (Some(_), Some(word)) => Ok(Cell::Word(u64::from_le_bytes(*word))),
            _ => Ok(Cell::Row(row)),
        }
    }

    /// Whether it is a value of `format`.
    ///
    /// # Errors
    ///
    /// [`RowError`] where it is not.
    pub fn check(self, format: &Format) -> Result<(), RowError> {
        match (format.word(), self) {
            (Some(letter), Cell::Word(word)) if letter.holds(word) => Ok(()),
            (Some(letter), Cell::Word(word)) => Err(RowError::Word { column: 0, letter, word }),
            (None, Cell::Row(row)) => check_row(format, row),
            _ => Err(RowError::Letters { expected: format.clone(), column: 0 }),
        }
    }

    /// Appends the row bytes, which of one number are its word in 8 bytes.
    pub fn put_row(self, out: &mut Vec<u8>) {
        match self {
            Cell::Word(word) => out.extend_from_slice(&word.to_le_bytes()),
            Cell::Row(row) => out.extend_from_slice(row),
        }
    }

    /// The values of the columns in turn.
    #[inline]
    pub fn values(self, format: &'a Format) -> Cells<'a> {
        Cells::of(format, self)
    }

    /// Whether values of such a format travel so; what row bytes say is not looked at.
    ///
    /// - `letter`: that of a format of one number, `None` of any other, as [`Format::word`] gives it
    #[inline]
    pub fn is_of(self, letter: Option<Letter>) -> bool {
        match (letter, self) {
            (Some(letter), Cell::Word(word)) => letter.holds(word),
            (None, Cell::Row(row)) => row.len() <= ROW_BYTES_MAX,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Value, put_row};

    fn format(letters: &str) -> Format {
        Format::new(letters).unwrap()
    }

    #[test]
    fn row_bytes_are_a_word_where_the_format_is_one_number_and_come_back() {
        let check = |letters: &str, values: &[Value<'_>], is_word: bool| {
            let mut row = Vec::new();
            put_row(values.iter().copied(), &mut row);
            let format = format(letters);
            let cell = Cell::from_row(&format, &row).unwrap();
            assert_eq!(matches!(cell, Cell::Word(_)), is_word, "{letters}");
            assert!(cell.is_of(format.word()) && cell.check(&format).is_ok(), "{letters}");
            assert_eq!(cell.values(&format).collect::<Vec<_>>(), values);
            let mut back = Vec::new();
            cell.put_row(&mut back);
            assert_eq!(back, row);
        };
        check("F", &[Value::F64(-0.0)], true);
        check("i", &[Value::I32(-7)], true);
        check("s", &[Value::Text("größe")], false);
        check("FF", &[Value::F64(1.0), Value::F64(2.0)], false);
        assert_eq!(Cell::from_row(&format("F"), &1.5_f64.to_le_bytes()), Ok(Cell::number(1.5)));
    }

    #[test]
    fn a_value_that_the_format_cannot_hold_is_refused() {
        let wide = (1_u64 << 32).to_le_bytes();
        let expected = RowError::Word { column: 0, letter: Letter::U32, word: 1 << 32 };
        assert_eq!(Cell::from_row(&format("u"), &wide), Err(expected.clone()));
        assert_eq!(Cell::Word(1 << 32).check(&format("u")), Err(expected));
        assert_eq!(Cell::Row(&[1]).check(&format("s")), Err(RowError::Short(0)));
        for (cell, of) in [(Cell::Word(1), "s"), (Cell::Row(&[0; 8]), "F")] {
            assert_eq!(cell.check(&format(of)), Err(RowError::Letters { expected: format(of), column: 0 }));
        }
        assert_eq!(Cell::from_row(&format("F"), &[0; 7]), Err(RowError::Short(0)));
        assert!(!Cell::Word(1 << 32).is_of(Some(Letter::U32)));
        assert!(!Cell::Word(1).is_of(None));
        assert!(!Cell::Row(&[0; 8]).is_of(Some(Letter::F64)));
        assert!(!Cell::Row(&[0; ROW_BYTES_MAX + 1]).is_of(None));
    }
}
