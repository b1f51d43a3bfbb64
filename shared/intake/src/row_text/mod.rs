//! A row as a line of text: series, time, format, values, with blanks between.
//!
//! The format may be left out where the value is one plain number. Within a field a blank and a backslash have a
//! backslash before them. Line breaks and other control characters are written as `\n`, `\t`, `\u{1b}`, and a text
//! without characters as `""`. Raw bytes are `0x` and two hex digits for each, in either case. So any row is one
//! line, and a line that was written is read back as the same row.

mod body;
mod fields;
mod times;
mod writer;

use std::borrow::Cow;
use std::collections::HashMap;

use dotter_dot::{Cell, Format, Letter, ROW_BYTES_MAX, Shape, Timestamp, Value, put_row};

pub use body::read_body;
pub use fields::Fields;
pub use times::{TimeFormat, TimeReader, TimeUnit, TimeWriter, Times, parse_time};
pub use writer::{RowWriter, put_field, put_value};

/// How many formats are cached.
const SHAPES_MAX: usize = 1024;

/// Reads rows, all of one way to write times.
pub struct RowReader {
    times: TimeReader,
    /// The shape of rows that do not give their format.
    shape: Shape,
    /// Whether that format was given by the user; then a row that gives its own format too has a field too many.
    is_given: bool,
    unit: String,
    columns: Vec<String>,
    shapes: HashMap<Box<str>, Shape>,
    /// The shape of the row read last that gave its format: most rows have that of the one before.
    last: Shape,
    /// Row bytes of the row read last.
    bytes: Vec<u8>,
    /// Raw bytes of the value read last.
    scratch: Vec<u8>,
}

/// A row as it was read.
#[derive(Debug, PartialEq)]
pub struct Row<'a> {
    /// The series; not yet checked.
    pub name: Cow<'a, str>,
    /// Its time.
    pub time: Timestamp,
    /// Its shape.
    pub shape: &'a Shape,
    /// Its values.
    pub cell: Cell<'a>,
}

impl RowReader {
    /// - `format`: the format of rows that do not give theirs; `F` where it is `None`
    /// - `unit`, `columns`: the unit and column names of all rows; rows with another number of columns get only the
    ///   unit
    ///
    /// # Errors
    ///
    /// A sentence where unit or columns do not go with the format.
    pub fn new(
        times: TimeReader,
        format: Option<&Format>,
        unit: &str,
        columns: &[String],
    ) -> Result<RowReader, String> {
        let is_given = format.is_some();
        let format = format.cloned().unwrap_or_else(Format::number);
        let shape = if unit.is_empty() && columns.is_empty() && format.is_number() {
            Shape::number()
        } else {
            Shape::new(format, unit, columns).map_err(|error| error.to_string())?
        };
        let last = shape.clone();
        Ok(RowReader {
            times,
            shape,
            is_given,
            unit: unit.to_owned(),
            columns: columns.to_vec(),
            shapes: HashMap::new(),
            last,
            bytes: Vec::new(),
            scratch: Vec::new(),
        })
    }

    /// Reads a line, without its end.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong with it.
    pub fn read<'a>(&'a mut self, line: &'a str) -> Result<Row<'a>, String> {
        let mut fields = Fields::new(line);
        let expected = "expected series, time and value";
        let Some(name) = fields.take()? else { return Err(format!("0 fields, {expected}")) };
        let Some(time) = fields.take()? else { return Err(format!("1 fields, {expected}")) };
        // The time is parsed first: a line that is no row mostly fails there.
        let time = self.times.read(&time)?;
        let mut values = fields.clone();
        let Some(first) = fields.take()? else { return Err(format!("2 fields, {expected}")) };
        let columns = self.shape.format().len();
        let has_format = match self.is_given {
            false => !fields.is_empty(),
            true => fields.count()? + 1 == columns + 1,
        };
        if has_format {
            self.remember(&first)?;
            values = fields;
        }
        let shape = if has_format { &self.last } else { &self.shape };
        self.bytes.clear();
        let cell = read_values(shape.format(), values, &mut self.scratch, &mut self.bytes)?;
        let cell = match cell {
            Some(word) => Cell::Word(word),
            None => Cell::Row(&self.bytes),
        };
        Ok(Row { name, time, shape, cell })
    }

    /// Puts the shape of that format into `last`.
    fn remember(&mut self, format: &str) -> Result<(), String> {
        if self.last.format().as_str() == format {
            return Ok(());
        }
        if let Some(shape) = self.shapes.get(format) {
            self.last = shape.clone();
            return Ok(());
        }
        let parsed = Format::new(format).map_err(|error| error.to_string())?;
        let columns = if parsed.len() == self.columns.len() { &self.columns[..] } else { &[] };
        let shape = if parsed == *self.shape.format() {
            self.shape.clone()
        } else {
            Shape::new(parsed, &self.unit, columns).map_err(|error| error.to_string())?
        };
        if self.shapes.len() == SHAPES_MAX {
            self.shapes.clear();
        }
        self.shapes.insert(format.into(), shape.clone());
        self.last = shape;
        Ok(())
    }
}

/// Reads the fields that are left as values of a format; the word where it is one number, else row bytes in `out`.
fn read_values(
    format: &Format,
    mut fields: Fields<'_>,
    scratch: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<Option<u64>, String> {
    let is_word = format.is_word();
    let mut word = None;
    for (column, letter) in format.letters().enumerate() {
        let Some(field) = fields.take()? else {
            return Err(format!("{column} values, expected {} of format {format}", format.len()));
        };
        match read_value(letter, &field, scratch)? {
            value if is_word => word = value.to_word(),
            value => put_row([value], out),
        }
    }
    if !fields.is_empty() {
        let count = format.len() + fields.count()?;
        return Err(format!("{count} values, expected {} of format {format}", format.len()));
    }
    if out.len() > ROW_BYTES_MAX {
        return Err(format!("row has {} bytes, at most {ROW_BYTES_MAX} are kept", out.len()));
    }
    Ok(word)
}

/// Reads one value.
///
/// - `scratch`: what raw bytes are read into; what was there is lost
///
/// # Errors
///
/// A sentence that says what was found.
pub fn read_value<'a>(letter: Letter, text: &'a str, scratch: &'a mut Vec<u8>) -> Result<Value<'a>, String> {
    Value::parse(letter, text, scratch).map_err(|error| match letter {
        _ if error.is_too_large => error.to_string(),
        Letter::Bytes => error.to_string(),
        Letter::F64 => format!("'{}' is not a number", error.found),
        letter => format!("'{}' is not a value of format {letter}", error.found),
    })
}

#[cfg(test)]
mod tests {
    use dotter_dot::put_row;
    use proptest::prelude::*;

    use super::*;

    fn reader(format: Option<&str>) -> RowReader {
        let format = format.map(|text| Format::new(text).unwrap());
        RowReader::new(TimeReader::Plain(TimeUnit::Ns), format.as_ref(), "", &[]).unwrap()
    }

    /// The fields of a row as they were read.
    fn read(format: Option<&str>, line: &str) -> Result<String, String> {
        let mut reader = reader(format);
        let row = reader.read(line)?;
        let values: Vec<String> =
            row.cell.values(row.shape.format()).map(|value| format!("{value:?}")).collect();
        Ok(format!("{}|{}|{}|{}", row.name, row.time.nanos(), row.shape.format(), values.join("|")))
    }

    #[test]
    fn a_row_is_series_time_and_values() {
        let check =
            |line: &str, expected: &str| assert_eq!(read(None, line).as_deref(), Ok(expected), "{line}");
        check("a.b 5 1.5", "a.b|5|F|F64(1.5)");
        check("  a\\ b\\\\ \t 1970-01-01T00:00:01Z  F -inf\r", "a b\\|1000000000|F|F64(-inf)");
        check("a 1970-01-02 U 18446744073709551615", "a|86400000000000|U|U64(18446744073709551615)");
        check("a 5 suFI x\\ y 7 1e3 -9", "a|5|suFI|Text(\"x y\")|U32(7)|F64(1000.0)|I64(-9)");
        check("a 5 s \"\"", "a|5|s|Text(\"\")");
        check("a 5 bsbu 0x00fFa0 0x 0x 7", "a|5|bsbu|Bytes([0, 255, 160])|Text(\"0x\")|Bytes([])|U32(7)");
        check("a 5 s \\\"\"", "a|5|s|Text(\"\\\"\\\"\")");
        check("a 5 s \\n\\u{1b}\\u\\q", "a|5|s|Text(\"\\n\\u{1b}uq\")");
        for (line, told) in [
            ("", "0 fields"),
            ("a", "1 fields"),
            ("a 5", "2 fields"),
            ("a 5 F 2 3", "2 values, expected 1 of format F"),
            ("a 5 FF 2", "1 values, expected 2"),
            ("a 5 1 2 3", "format '1'"),
            ("a 5 u -1", "'-1' is not a value of format u"),
            ("a 5 i 2147483648", "not a value of format i"),
            ("a 5 Q 1", "Q"),
            ("a 5 x", "'x' is not a number"),
            ("a -5 1", "'-5'"),
            ("a 99999999999999999999 1", "outside 1970 to 2554"),
            ("a 5 b 00", "'00' is not bytes, expected 0x and two hex digits for each"),
            ("a 5 b 0x0g", "'0x0g' is not bytes"),
            ("a 5 b \"\"", "'' is not bytes"),
            ("a 5 bs 0x00", "1 values, expected 2 of format bs"),
            ("a 5 1\\", "backslash"),
            ("a 5 s \\u{110000}", "no character"),
            ("a 5 s \\u{1", "without its"),
        ] {
            let error = read(None, line).expect_err(line);
            assert!(error.contains(told), "{line:?}: {error}");
        }
        let long = format!("a 5 s {}", "x".repeat(ROW_BYTES_MAX));
        assert!(read(None, &long).unwrap_err().contains("at most"));
        let long = format!("a 5 b 0x{}", "00".repeat(ROW_BYTES_MAX));
        assert!(read(None, &long).unwrap_err().contains("at most"));
    }

    #[test]
    fn a_format_that_is_given_need_not_be_told_again() {
        let check = |format: &str, line: &str, expected: &str| {
            assert_eq!(read(Some(format), line).as_deref(), Ok(expected), "{format} {line}");
        };
        check("u", "fibonacci 5 8", "fibonacci|5|u|U32(8)");
        check("ss", "a 5 x y", "a|5|ss|Text(\"x\")|Text(\"y\")");
        check("ss", "a 5 s x", "a|5|ss|Text(\"s\")|Text(\"x\")");
        check("u", "a 5 u 8", "a|5|u|U32(8)");
        check("u", "a 5 F 8", "a|5|F|F64(8.0)");
        assert_eq!(read(Some("uu"), "a 5 1").unwrap_err(), "1 values, expected 2 of format uu");
        assert!(
            RowReader::new(TimeReader::Plain(TimeUnit::Ns), None, "", &["a".into(), "b".into()]).is_err()
        );
    }

    fn value() -> impl Strategy<Value = (Letter, u64, String, Vec<u8>)> {
        let letters = "fFuUiIsb".bytes().map(|byte| Letter::from_byte(byte).unwrap());
        (
            prop::sample::select(letters.collect::<Vec<_>>()),
            any::<u64>(),
            prop_oneof![any::<String>(), "[ \\\\\"\\n]{0,4}"],
            any::<Vec<u8>>(),
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_what_it_was(
            name in prop_oneof![any::<String>(), "[ \\\\\"u{}]{1,4}"], values in prop::collection::vec(value(), 1..5),
        ) {
            let values: Vec<Value<'_>> = values
                .iter()
                .map(|(letter, bits, text, raw)| match letter {
                    Letter::Text => Value::Text(text),
                    // Hardly ever UTF-8.
                    Letter::Bytes => Value::Bytes(raw),
                    Letter::F32 => Value::F32(f32::from_bits(*bits as u32)),
                    Letter::F64 => Value::F64(f64::from_bits(*bits)),
                    Letter::U32 => Value::U32(*bits as u32),
                    Letter::U64 => Value::U64(*bits),
                    Letter::I32 => Value::I32(*bits as i32),
                    Letter::I64 => Value::I64(*bits as i64),
                })
                .collect();
            let format: String = values.iter().map(|value| value.letter().to_string()).collect();
            let mut line = Vec::new();
            let times = TimeWriter::new(Times::Nanos, None);
            // An empty writer has written no name yet, which an empty name must not be taken for.
            RowWriter::new(times, true).write(&name, Timestamp::from_nanos(7), &format, values.iter().copied(), &mut line);
            let line = String::from_utf8(line).unwrap();
            let line = line.strip_suffix('\n').unwrap();
            prop_assert!(!line.replace('\t', " ").contains(|letter: char| letter.is_control()));
            let mut reader = reader(None);
            let row = reader.read(line).unwrap();
            prop_assert_eq!(&row.name, &name);
            let back: Vec<Value<'_>> = row.cell.values(row.shape.format()).collect();
            // NaN is not equal to itself: by their bits, but for those of a NaN, which text does not keep.
            let same = |(left, right): (&Value<'_>, &Value<'_>)| {
                left == right || left.number().is_some_and(f64::is_nan) && right.number().is_some_and(f64::is_nan)
            };
            prop_assert!(back.len() == values.len() && back.iter().zip(&values).all(same), "{:?} {:?}", back, values);
        }

        #[test]
        fn whatever_a_line_says_it_is_read_or_refused(line in any::<String>(), tail in "[a-z\\\\{} 0-9FsbuU\"]{0,40}") {
            let _ = reader(None).read(&line);
            let _ = reader(None).read(&tail);
            let _ = reader(Some("sF")).read(&format!("a 5 {tail}"));
            let _ = reader(Some("b")).read(&format!("a 5 0x{tail}"));
        }
    }

    #[test]
    fn row_bytes_are_those_of_the_values() {
        let mut reader = reader(None);
        let row = reader.read("a 5 sF x 2").unwrap();
        let mut expected = Vec::new();
        put_row([Value::Text("x"), Value::F64(2.0)], &mut expected);
        assert_eq!(row.cell, Cell::Row(&expected));
    }
}
