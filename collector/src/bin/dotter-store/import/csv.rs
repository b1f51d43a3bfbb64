//! Comma-separated files with a head line.
//!
//! One column says when, one which series; a column `format` says the format of each row, as `export --csv` writes
//! it; the others are values. Where there is no column of formats they are all of the format that was given, by
//! default one plain number. With `--wide` each of the others is a series of its own.
//!
//! Source: RFC 4180.

use std::collections::HashMap;
use std::io::BufRead;

use csv_core::ReadRecordResult;
use dotter_collector::row_text::{Cell, TimeReader, TimeUnit, read_value};
use dotter_dot::{COLUMNS_MAX, Format, Letter, ROW_BYTES_MAX, Shape, Value, parse_number, put_row};

use super::Import;
use crate::error::Error;
use crate::lines::LINE_BYTES_MAX;

/// Fields of a record.
const FIELDS_MAX: usize = 16 << 10;

/// Formats remembered at once.
const SHAPES_MAX: usize = 1024;

const SERIES: [&str; 5] = ["series", "key", "name", "metric", "path"];
const TIMES: [&str; 5] = ["time", "timestamp", "date", "datetime", "ts"];

/// Where things stand in a record.
struct Head {
    /// `None` where all rows are of one series, or each column is one.
    series: Option<usize>,
    time: usize,
    format: Option<usize>,
    /// With their names.
    values: Vec<(usize, String)>,
    /// Whether the names are worth keeping.
    are_named: bool,
}

pub(super) fn read(import: &mut Import<'_>, input: &mut dyn BufRead) -> Result<(), Error> {
    let options = import.options;
    let mut records = Records::new(options.delimiter);
    let head = match records.next(input).map_err(import.input_error())? {
        None => return Ok(()),
        Some(Err(what)) => return import.bad(1, what),
        Some(Ok(record)) => record.fields().map(|field| field.trim().to_owned()).collect::<Vec<String>>(),
    };
    let head = Head::new(&head, import)?;
    let times =
        TimeReader::new(options.rows.timestamp_format.as_ref(), options.time_unit.unwrap_or(TimeUnit::S));
    let mut shapes = Shapes { head: &head, unit: &options.rows.unit, known: HashMap::new() };
    let given = options.rows.format.clone().unwrap_or_else(Format::number);
    if head.format.is_none() && !options.wide && given.len() != head.values.len() {
        let (columns, letters) = (head.values.len(), given.len());
        return Err(Error::Usage(format!(
            "{columns} columns of values, but format {given} has {letters}; --format says what they are, --wide that \
             each is a series"
        )));
    }
    let number = Shape::new::<&str>(Format::number(), &options.rows.unit, &[])
        .map_err(|error| Error::Usage(error.to_string()))?;
    let mut row = Vec::new();
    loop {
        let (line, record) = match records.next(input).map_err(import.input_error())? {
            None => return Ok(()),
            Some(Ok(record)) => (record.line, record),
            Some(Err(what)) => {
                let line = records.line;
                import.bad(line, what)?;
                continue;
            }
        };
        if record.fields().all(str::is_empty) {
            continue;
        }
        let time = match times.read(record.field(head.time)) {
            Ok(time) => time,
            Err(what) => {
                import.bad(line, what)?;
                continue;
            }
        };
        if options.wide {
            for (place, name) in &head.values {
                let text = record.field(*place);
                if text.is_empty() {
                    continue;
                }
                match parse_number(text) {
                    Ok(value) => import.row(line, name, &number, time, Cell::Word(value.to_bits()))?,
                    Err(error) => import.bad(line, error.to_string())?,
                }
            }
            continue;
        }
        let name = match head.series {
            Some(place) => record.field(place),
            None => options.series.as_deref().unwrap_or_default(),
        };
        let letters = head.format.map_or(given.as_str(), |place| record.field(place));
        row.clear();
        let read = shapes
            .of(letters)
            .and_then(|shape| values(shape.format(), &head, &record, &mut row).map(|word| (shape, word)));
        match read {
            Ok((shape, Some(word))) => import.row(line, name, &shape, time, Cell::Word(word))?,
            Ok((shape, None)) => import.row(line, name, &shape, time, Cell::Row(&row))?,
            Err(what) => import.bad(line, what)?,
        }
    }
}

/// Reads the values of a record; the word where it is one number, else row bytes in `out`.
fn values(
    format: &Format,
    head: &Head,
    record: &Record<'_>,
    out: &mut Vec<u8>,
) -> Result<Option<u64>, String> {
    if format.len() > head.values.len() {
        return Err(format!(
            "{} columns of values, expected {} of format {format}",
            head.values.len(),
            format.len()
        ));
    }
    for (letter, (place, _)) in format.letters().zip(&head.values) {
        let text = record.field(*place);
        // Blanks belong to texts, and to nothing else.
        let text = if letter == Letter::Text { text } else { text.trim() };
        match read_value(letter, text)? {
            value if format.is_word() => return Ok(value.to_word()),
            Value::Text(text) => put_row([Value::Text(text)], out),
            value => put_row([value], out),
        }
    }
    if out.len() > ROW_BYTES_MAX {
        return Err(format!("row has {} bytes, at most {ROW_BYTES_MAX} are kept", out.len()));
    }
    Ok(None)
}

struct Shapes<'a> {
    head: &'a Head,
    unit: &'a str,
    known: HashMap<Box<str>, Shape>,
}

impl Shapes<'_> {
    fn of(&mut self, letters: &str) -> Result<Shape, String> {
        if let Some(shape) = self.known.get(letters) {
            return Ok(shape.clone());
        }
        let format = Format::new(letters).map_err(|error| error.to_string())?;
        let names: Vec<&str> = match self.head.are_named && format.len() == self.head.values.len() {
            true => self.head.values.iter().map(|(_, name)| name.as_str()).collect(),
            false => Vec::new(),
        };
        let shape = Shape::new(format, self.unit, &names).map_err(|error| error.to_string())?;
        if self.known.len() == SHAPES_MAX {
            self.known.clear();
        }
        self.known.insert(letters.into(), shape.clone());
        Ok(shape)
    }
}

impl Head {
    fn new(names: &[String], import: &Import<'_>) -> Result<Head, Error> {
        let options = import.options;
        let find = |wanted: &str| names.iter().position(|name| name.eq_ignore_ascii_case(wanted));
        let column = |given: &Option<String>, usual: &[&str], hint: &str| match given {
            Some(name) => {
                find(name).ok_or_else(|| Error::Usage(format!("no column '{name}' in the head line")))
            }
            None => usual.iter().find_map(|name| find(name)).ok_or_else(|| {
                Error::Usage(format!("the head line has none of {}; {hint}", usual.join(", ")))
            }),
        };
        let time = column(&options.time_column, &TIMES, "--time-column names the column of times")?;
        let series = if options.wide || options.series.is_some() {
            None
        } else {
            let hint = "--series-column names the column of series, --series one for all rows, --wide makes each column one";
            Some(column(&options.series_column, &SERIES, hint)?)
        };
        let format = if options.wide || options.rows.format.is_some() { None } else { find("format") };
        let values: Vec<(usize, String)> = names
            .iter()
            .enumerate()
            .filter(|(place, _)| *place != time && Some(*place) != series && Some(*place) != format)
            .map(|(place, name)| (place, name.clone()))
            .collect();
        let limit = if options.wide { FIELDS_MAX } else { COLUMNS_MAX };
        if values.is_empty() || values.len() > limit {
            return Err(Error::Usage(format!(
                "{} columns of values in the head line, expected 1 to {limit}",
                values.len()
            )));
        }
        // What export calls columns that have no name.
        let is_plain = |(number, (_, name)): (usize, &(usize, String))| match number {
            0 => name == "value",
            number => *name == format!("c{}", number + 1),
        };
        let are_named = !values.iter().enumerate().all(is_plain);
        Ok(Head { series, time, format, values, are_named })
    }
}

/// Records of bounded size.
struct Records {
    reader: csv_core::Reader,
    out: Vec<u8>,
    ends: Vec<usize>,
    /// Where the record read last begins, from 1.
    line: u64,
    /// Line ends read.
    ends_of_lines: u64,
    is_done: bool,
}

struct Record<'a> {
    text: &'a str,
    ends: &'a [usize],
    line: u64,
}

impl Record<'_> {
    /// A field; empty where there is none.
    fn field(&self, place: usize) -> &str {
        let Some(end) = self.ends.get(place) else { return "" };
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..*end]
    }

    fn fields(&self) -> impl Iterator<Item = &str> {
        (0..self.ends.len()).map(|place| self.field(place))
    }
}

impl Records {
    fn new(delimiter: u8) -> Records {
        let reader = csv_core::ReaderBuilder::new().delimiter(delimiter).build();
        Records { reader, out: vec![0; 4096], ends: vec![0; 64], line: 0, ends_of_lines: 0, is_done: false }
    }

    /// The next record, or what is wrong with it; `None` at the end.
    fn next(&mut self, input: &mut dyn BufRead) -> std::io::Result<Option<Result<Record<'_>, String>>> {
        let (mut bytes, mut fields) = (0, 0);
        self.skip_ends(input)?;
        self.line = self.ends_of_lines + 1;
        let mut wrong = None;
        while !self.is_done {
            let buffer = input.fill_buf()?;
            let (result, read, written, ended) =
                self.reader.read_record(buffer, &mut self.out[bytes..], &mut self.ends[fields..]);
            self.ends_of_lines += buffer[..read].iter().filter(|byte| **byte == b'\n').count() as u64;
            input.consume(read);
            (bytes, fields) = (bytes + written, fields + ended);
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.out.len() >= LINE_BYTES_MAX => {
                    wrong = Some("a record longer than 8 MiB");
                    bytes = 0;
                }
                ReadRecordResult::OutputFull => self.out.resize(self.out.len() * 2, 0),
                ReadRecordResult::OutputEndsFull if self.ends.len() >= FIELDS_MAX => {
                    wrong = Some("a record of more fields than 16,384");
                    fields = 0;
                }
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::End => self.is_done = true,
                ReadRecordResult::Record => {
                    if let Some(wrong) = wrong {
                        return Ok(Some(Err(wrong.to_owned())));
                    }
                    let Ok(text) = std::str::from_utf8(&self.out[..bytes]) else {
                        return Ok(Some(Err("not UTF-8".to_owned())));
                    };
                    let ends = &self.ends[..fields];
                    // Quotes around part of a letter would cut it; no file has that.
                    if !ends.iter().all(|end| text.is_char_boundary(*end)) {
                        return Ok(Some(Err("not UTF-8".to_owned())));
                    }
                    return Ok(Some(Ok(Record { text, ends, line: self.line })));
                }
            }
        }
        Ok(None)
    }

    /// Between records: the rest of a line's end, and lines without anything.
    fn skip_ends(&mut self, input: &mut dyn BufRead) -> std::io::Result<()> {
        while let Some(byte @ (b'\r' | b'\n')) = input.fill_buf()?.first() {
            self.ends_of_lines += (*byte == b'\n') as u64;
            input.consume(1);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(text: &[u8]) -> Vec<String> {
        let mut input = std::io::BufReader::with_capacity(3, text);
        let mut records = Records::new(b',');
        let mut all = Vec::new();
        while let Some(record) = records.next(&mut input).unwrap() {
            all.push(match record {
                Ok(record) => format!("{}: {}", record.line, record.fields().collect::<Vec<_>>().join("|")),
                Err(what) => what,
            });
        }
        all
    }

    #[test]
    fn records_are_read_whatever_stands_in_their_quotes() {
        assert_eq!(records(b"a,b\r\n1,\"x, \"\"y\"\"\nz\"\n,\n"), ["1: a|b", "2: 1|x, \"y\"\nz", "4: |"]);
        assert_eq!(records(b"a,\xff\nb"), ["not UTF-8", "2: b"]);
        assert_eq!(records(b"").len(), 0);
    }

    #[test]
    fn a_record_that_does_not_end_takes_bounded_memory() {
        let mut text = b"a,\"".to_vec();
        text.extend(std::iter::repeat_n(b'x', 3 * LINE_BYTES_MAX));
        text.extend_from_slice(b"\"\nb,c\n");
        assert_eq!(records(&text), ["a record longer than 8 MiB", "2: b|c"]);
        let many = format!("{}\nb\n", ",".repeat(2 * FIELDS_MAX));
        assert_eq!(records(many.as_bytes()), ["a record of more fields than 16,384", "2: b"]);
    }
}
