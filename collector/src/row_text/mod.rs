//! A row as a line of text: series, time, format, values, with blanks between.
//!
//! The format may be left out where the value is one plain number. Within a field a backslash stands before a
//! blank and a backslash; line breaks and other control characters are written with one (`\n`, `\t`, `\u{1b}`), and
//! a text without characters is `""`. So any row is one line, and every line that is written is read as what it was.

mod times;

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Write as _;

use dotter_dot::{Cells, Format, Letter, ROW_BYTES_MAX, Shape, Timestamp, Value, put_row};

pub use times::{TimeFormat, TimeReader, TimeUnit, TimeWriter, Times, parse_time};

/// A text without characters.
const EMPTY: &str = "\"\"";

/// Formats remembered at once.
const SHAPES_MAX: usize = 1024;

/// Reads rows, all of one way to write times.
pub struct RowReader {
    times: TimeReader,
    /// The shape of rows that do not give their format.
    shape: Shape,
    /// Whether that was asked for; a row that gives a format besides then has one field more.
    is_given: bool,
    unit: String,
    columns: Vec<String>,
    shapes: HashMap<Box<str>, Shape>,
    /// The shape of the row read last that gave its format: most rows have that of the one before.
    last: Shape,
    /// Row bytes of the row read last.
    bytes: Vec<u8>,
}

/// A row as it was read.
#[derive(Debug, PartialEq)]
pub struct Row<'a> {
    /// The series; not yet checked.
    pub name: Cow<'a, str>,
    /// When.
    pub time: Timestamp,
    /// What its values are.
    pub shape: &'a Shape,
    /// Its values.
    pub cell: Cell<'a>,
}

/// A value as it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell<'a> {
    /// Of a shape of one number.
    Word(u64),
    /// Of any other; row bytes.
    Row(&'a [u8]),
}

impl<'a> Cell<'a> {
    /// The values in turn.
    pub fn values(self, format: &'a Format) -> Cells<'a> {
        match self {
            Cell::Word(word) => Cells::of_word(format, word),
            Cell::Row(bytes) => Cells::new(format, bytes),
        }
    }
}

impl RowReader {
    /// - `format`: of rows that do not say; `F` where it is `None`
    /// - `unit`, `columns`: of all rows; of those with another number of columns only the unit
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
        })
    }

    /// Reads a line, without its end.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong with it.
    pub fn read<'a>(&'a mut self, line: &'a str) -> Result<Row<'a>, String> {
        let mut fields = Fields(line);
        let expected = "expected series, time and value";
        let Some(name) = fields.take()? else { return Err(format!("0 fields, {expected}")) };
        let Some(time) = fields.take()? else { return Err(format!("1 fields, {expected}")) };
        // Strings and series have their own checks; a time is looked at first, which is where lines differ.
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
        let cell = read_values(shape.format(), values, &mut self.bytes)?;
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
fn read_values(format: &Format, mut fields: Fields<'_>, out: &mut Vec<u8>) -> Result<Option<u64>, String> {
    let is_word = format.is_word();
    let mut word = None;
    for (column, letter) in format.letters().enumerate() {
        let Some(field) = fields.take()? else {
            return Err(format!("{column} values, expected {} of format {format}", format.len()));
        };
        match read_value(letter, &field)? {
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
/// # Errors
///
/// A sentence that says what was found.
pub fn read_value(letter: Letter, text: &str) -> Result<Value<'_>, String> {
    Value::parse(letter, text).map_err(|error| match letter {
        _ if error.is_too_large => error.to_string(),
        Letter::F64 => format!("'{}' is not a number", error.found),
        letter => format!("'{}' is not a value of format {letter}", error.found),
    })
}

/// The fields of a line, freed of their backslashes.
#[derive(Clone)]
pub struct Fields<'a>(&'a str);

impl<'a> Fields<'a> {
    /// Of a line without its end.
    pub fn new(line: &'a str) -> Fields<'a> {
        Fields(line)
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a str {
        self.0
    }

    /// The next field; `None` at the end of the line.
    ///
    /// # Errors
    ///
    /// A sentence that says which escape makes no sense.
    pub fn take(&mut self) -> Result<Option<Cow<'a, str>>, String> {
        let text = self.0.trim_start_matches(is_blank);
        let bytes = text.as_bytes();
        let Some(end) = bytes.iter().position(|byte| is_blank_byte(*byte) || *byte == b'\\') else {
            self.0 = "";
            return Ok(if text.is_empty() { None } else { Some(Cow::Borrowed(whole(text))) });
        };
        if bytes[end] != b'\\' {
            self.0 = &text[end + 1..];
            return Ok(Some(Cow::Borrowed(whole(&text[..end]))));
        }
        let mut field = text[..end].to_owned();
        let mut rest = &text[end..];
        loop {
            let run =
                rest.bytes().position(|byte| is_blank_byte(byte) || byte == b'\\').unwrap_or(rest.len());
            field.push_str(&rest[..run]);
            rest = &rest[run..];
            match rest.strip_prefix('\\') {
                Some(after) => rest = unescape(after, &mut field)?,
                None => break,
            }
        }
        // The blank that ends it goes with it.
        self.0 = rest.get(1..).unwrap_or_default();
        Ok(Some(Cow::Owned(field)))
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.0.trim_start_matches(is_blank).is_empty()
    }

    /// How many are left.
    ///
    /// # Errors
    ///
    /// As [`Fields::take`].
    pub fn count(&self) -> Result<usize, String> {
        let mut fields = self.clone();
        let mut count = 0;
        while fields.take()?.is_some() {
            count += 1;
        }
        Ok(count)
    }
}

fn is_blank(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\r')
}

fn is_blank_byte(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}

/// A field without a backslash.
fn whole(field: &str) -> &str {
    if field == EMPTY { "" } else { field }
}

/// Takes what stands behind a backslash; gives what is left.
///
/// Source: the escapes that Sonnerie writes, and Rust's `\u{...}` for the other control characters.
fn unescape<'a>(after: &'a str, field: &mut String) -> Result<&'a str, String> {
    let mut letters = after.chars();
    let letter = match letters.next().ok_or("a backslash at the end of the line")? {
        'a' => '\x07',
        'b' => '\x08',
        't' => '\t',
        'n' => '\n',
        'v' => '\x0b',
        'f' => '\x0c',
        'r' => '\r',
        'u' if letters.as_str().starts_with('{') => {
            let (digits, rest) = letters.as_str()[1..].split_once('}').ok_or("'\\u{' without its '}'")?;
            let letter = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
            field.push(letter.ok_or_else(|| format!("'\\u{{{}}}' is no character", clip(digits)))?);
            return Ok(rest);
        }
        other => other,
    };
    field.push(letter);
    Ok(letters.as_str())
}

fn clip(text: &str) -> String {
    text.chars().take(16).collect()
}

/// Writes rows as lines.
#[derive(Clone, Debug)]
pub struct RowWriter {
    times: TimeWriter,
    /// Whether a plain number gets its format too.
    with_format: bool,
    /// The series written last, and how it is written.
    name: String,
    field: Vec<u8>,
}

impl RowWriter {
    /// - `with_format`: whether a plain number gets its format too, which any other value gets in any case
    pub fn new(times: TimeWriter, with_format: bool) -> RowWriter {
        RowWriter { times, with_format, name: String::new(), field: Vec::new() }
    }

    /// Appends a line with its end; tabs stand between its fields, blanks between values.
    ///
    /// - `letters`: the format of `values`
    pub fn write<'a>(
        &mut self,
        name: &str,
        time: Timestamp,
        letters: &str,
        values: impl IntoIterator<Item = Value<'a>>,
        out: &mut Vec<u8>,
    ) {
        if self.name != name || self.field.is_empty() {
            name.clone_into(&mut self.name);
            self.field.clear();
            put_field(name, &mut self.field);
        }
        out.extend_from_slice(&self.field);
        out.push(b'\t');
        self.times.write(time, out);
        out.push(b'\t');
        if self.with_format || letters != "F" {
            out.extend_from_slice(letters.as_bytes());
            out.push(b'\t');
        }
        for (column, value) in values.into_iter().enumerate() {
            if column > 0 {
                out.push(b' ');
            }
            put_value(value, out);
        }
        out.push(b'\n');
    }
}

/// Appends a series' name or a text as a field.
pub fn put_field(text: &str, out: &mut Vec<u8>) {
    match text {
        "" => return out.extend_from_slice(EMPTY.as_bytes()),
        EMPTY => return out.extend_from_slice(b"\\\"\\\""),
        _ => {}
    }
    let bytes = text.as_bytes();
    let mut done = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let is_plain = *byte > b' ' && !matches!(*byte, b'\\' | 0x7F | 0xC2);
        if is_plain {
            continue;
        }
        let letter = match byte {
            b' ' | b'\\' => *byte,
            0x07 => b'a',
            0x08 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            0x0B => b'v',
            0x0C => b'f',
            b'\r' => b'r',
            // U+0080 to U+009F, which a terminal takes for commands; other letters begin with that byte too.
            0xC2 if bytes[at + 1] >= 0xA0 => continue,
            _ => 0,
        };
        out.extend_from_slice(&bytes[done..at]);
        done = at + 1;
        if letter == 0 {
            let code = if *byte == 0xC2 { bytes[at + 1] } else { *byte };
            done += (*byte == 0xC2) as usize;
            // Writing to a vector cannot fail.
            let _ = write!(out, "\\u{{{code:x}}}");
        } else {
            out.extend_from_slice(&[b'\\', letter]);
        }
    }
    out.extend_from_slice(&bytes[done..]);
}

/// Appends a value as a field.
pub fn put_value(value: Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Text(text) => put_field(text, out),
        // Writing to a vector cannot fail.
        number => _ = write!(out, "{number}"),
    }
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
            ("a 5 1\\", "backslash"),
            ("a 5 s \\u{110000}", "no character"),
            ("a 5 s \\u{1", "without its"),
        ] {
            let error = read(None, line).expect_err(line);
            assert!(error.contains(told), "{line:?}: {error}");
        }
        let long = format!("a 5 s {}", "x".repeat(ROW_BYTES_MAX));
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

    fn value() -> impl Strategy<Value = (Letter, u64, String)> {
        let letters =
            [Letter::F32, Letter::F64, Letter::U32, Letter::U64, Letter::I32, Letter::I64, Letter::Text];
        (
            prop::sample::select(letters.to_vec()),
            any::<u64>(),
            prop_oneof![any::<String>(), "[ \\\\\"\\n]{0,4}"],
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_what_it_was(
            name in prop_oneof![any::<String>(), "[ \\\\\"u{}]{1,4}"], values in prop::collection::vec(value(), 1..5),
        ) {
            let values: Vec<Value<'_>> = values
                .iter()
                .map(|(letter, bits, text)| match letter {
                    Letter::Text => Value::Text(text),
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
        fn whatever_a_line_says_it_is_read_or_refused(line in any::<String>(), tail in "[a-z\\\\{} 0-9FsuU\"]{0,40}") {
            let _ = reader(None).read(&line);
            let _ = reader(None).read(&tail);
            let _ = reader(Some("sF")).read(&format!("a 5 {tail}"));
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
