//! Comma-separated files with a head line.
//!
//! One column says when, one which series; a column `format` says the format of each row, as `export --csv` writes
//! it; the others are values. Where there is no column of formats they are all of the format that was given, by
//! default one plain number. With `--wide` each of the others is a series of its own.
//!
//! Every record has as many fields as the head line. One exception: where a column says the format, values that the
//! format does not have may be left out behind the last one, as `export --csv` leaves them out.
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
    /// The fewest fields of a record.
    least: usize,
    /// The most fields of a record: those of the head line.
    most: usize,
}

pub(super) fn read(import: &mut Import<'_>, input: &mut dyn BufRead) -> Result<(), Error> {
    let options = import.options;
    let mut records = Records::new(options.delimiter);
    let head = match records.next(input).map_err(import.input_error())? {
        None => return Ok(()),
        Some(Err(bad)) => return import.bad_lines(bad.line, bad.lines, bad.what),
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
            Some(Err(bad)) => {
                import.bad_lines(bad.line, bad.lines, bad.what)?;
                continue;
            }
        };
        if record.fields().all(str::is_empty) {
            continue;
        }
        if let Err(what) = head.check(&record) {
            import.bad(line, what)?;
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
    let (wanted, others) = head.values.split_at(format.len());
    for (place, name) in wanted {
        if *place >= record.ends.len() {
            return Err(format!(
                "{} fields, expected '{name}' and all others of format {format}",
                record.ends.len()
            ));
        }
    }
    if let Some((place, name)) = others.iter().find(|(place, _)| !record.field(*place).is_empty()) {
        let found = record.field(*place);
        return Err(format!("'{}' in column '{name}', expected nothing behind format {format}", clip(found)));
    }
    for (letter, (place, _)) in format.letters().zip(wanted) {
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
        let most = names.len();
        let places = [Some(time), series, format].into_iter().flatten().max();
        let least = if format.is_some() { places.map_or(most, |last| last + 1) } else { most };
        Ok(Head { series, time, format, values, are_named, least, most })
    }

    /// Whether a record has as many fields as it may have.
    fn check(&self, record: &Record<'_>) -> Result<(), String> {
        let found = record.ends.len();
        if (self.least..=self.most).contains(&found) {
            return Ok(());
        }
        let range = if found < self.least && self.least < self.most { "at least " } else { "" };
        let expected = if found < self.least { self.least } else { self.most };
        Err(format!("{found} fields, expected {range}{expected} as in the head line"))
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
    /// Whether the byte read last was one.
    is_after_end: bool,
    is_done: bool,
}

/// What is no record.
struct Bad {
    line: u64,
    /// How many lines cannot be read because of it; 1 for any record that has an end.
    lines: u64,
    what: String,
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
        Records {
            reader,
            out: vec![0; 4096],
            ends: vec![0; 64],
            line: 0,
            ends_of_lines: 0,
            is_after_end: true,
            is_done: false,
        }
    }

    /// The next record, or what is wrong with it; `None` at the end.
    fn next(&mut self, input: &mut dyn BufRead) -> std::io::Result<Option<Result<Record<'_>, Bad>>> {
        let (mut bytes, mut fields) = (0, 0);
        self.skip_ends(input)?;
        self.line = self.ends_of_lines + 1;
        let mut wrong = None;
        while !self.is_done {
            let buffer = input.fill_buf()?;
            let is_end = buffer.is_empty();
            // The reader would take the end of input for the end of a quote. A line's end ends everything else.
            let given = if is_end { b"\n" } else { buffer };
            let (result, read, written, ended) =
                self.reader.read_record(given, &mut self.out[bytes..], &mut self.ends[fields..]);
            if !is_end {
                self.ends_of_lines += buffer[..read].iter().filter(|byte| **byte == b'\n').count() as u64;
                self.is_after_end = buffer[..read].last().map_or(self.is_after_end, |byte| *byte == b'\n');
                input.consume(read);
            }
            if is_end && written > 0 {
                self.is_done = true;
                // Of a record that is too long what stood before is not known.
                let begun = match (wrong, fields) {
                    (Some(_), _) => None,
                    (None, 0) => Some(0),
                    (None, fields) => Some(self.ends[fields - 1]),
                };
                return Ok(Some(Err(self.open_quote(begun.map(|begun| &self.out[begun..bytes])))));
            }
            (bytes, fields) = (bytes + written, fields + ended);
            match result {
                ReadRecordResult::InputEmpty => self.is_done = is_end,
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
                        return Ok(Some(Err(self.bad(wrong))));
                    }
                    let Ok(text) = std::str::from_utf8(&self.out[..bytes]) else {
                        return Ok(Some(Err(self.bad("not UTF-8"))));
                    };
                    let ends = &self.ends[..fields];
                    // Quotes around part of a letter would cut it; no file has that.
                    if !ends.iter().all(|end| text.is_char_boundary(*end)) {
                        return Ok(Some(Err(self.bad("not UTF-8"))));
                    }
                    return Ok(Some(Ok(Record { text, ends, line: self.line })));
                }
            }
        }
        Ok(None)
    }

    /// The record in hand, where it has an end.
    fn bad(&self, what: &str) -> Bad {
        Bad { line: self.line, lines: 1, what: what.to_owned() }
    }

    /// A quote that the end of input does not close.
    ///
    /// - `text`: all of it; `None` where it is not known, and the line of its record has to do
    fn open_quote(&self, text: Option<&[u8]>) -> Bad {
        let line = match text {
            Some(text) => self.ends_of_lines + 1 - text.iter().filter(|byte| **byte == b'\n').count() as u64,
            None => self.line,
        };
        let last = self.ends_of_lines + !self.is_after_end as u64;
        let lines = last + 1 - self.line;
        let what = format!(
            "a quote that does not end begins here; the rest of the file, lines {} to {last}, cannot be read",
            self.line
        );
        Bad { line, lines, what }
    }

    /// Between records: the rest of a line's end, and lines without anything.
    fn skip_ends(&mut self, input: &mut dyn BufRead) -> std::io::Result<()> {
        while let Some(byte @ (b'\r' | b'\n')) = input.fill_buf()?.first() {
            self.ends_of_lines += (*byte == b'\n') as u64;
            self.is_after_end = *byte == b'\n';
            input.consume(1);
        }
        Ok(())
    }
}

fn clip(text: &str) -> String {
    text.chars().take(64).collect()
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
                Err(bad) => format!("{}, {}: {}", bad.line, bad.lines, bad.what),
            });
        }
        all
    }

    #[test]
    fn records_are_read_whatever_stands_in_their_quotes() {
        assert_eq!(records(b"a,b\r\n1,\"x, \"\"y\"\"\nz\"\n,\n"), ["1: a|b", "2: 1|x, \"y\"\nz", "4: |"]);
        assert_eq!(records(b"a,\xff\nb"), ["1, 1: not UTF-8", "2: b"]);
        assert_eq!(records(b"").len(), 0);
    }

    #[test]
    fn a_record_that_does_not_end_takes_bounded_memory() {
        let mut text = b"a,\"".to_vec();
        text.extend(std::iter::repeat_n(b'x', 3 * LINE_BYTES_MAX));
        text.extend_from_slice(b"\"\nb,c\n");
        assert_eq!(records(&text), ["1, 1: a record longer than 8 MiB", "2: b|c"]);
        let many = format!("{}\nb\n", ",".repeat(2 * FIELDS_MAX));
        assert_eq!(records(many.as_bytes()), ["1, 1: a record of more fields than 16,384", "2: b"]);
    }

    #[test]
    fn a_quote_that_does_not_end_is_told_by_its_line() {
        let check = |text: &[u8], line: u64, from: u64, lines: u64| {
            let told = format!(
                "{line}, {lines}: a quote that does not end begins here; the rest of the file, lines {from} to {}, \
                 cannot be read",
                from + lines - 1
            );
            assert_eq!(
                records(text).last(),
                Some(&told),
                "{}",
                String::from_utf8_lossy(&text[..text.len().min(99)])
            );
        };
        check(b"a,b\n1,\"x\n3,y\n", 2, 2, 2);
        check(b"a,b\n1,\"x\n3,y", 2, 2, 2);
        check(b"a,b\n1,\"", 2, 2, 1);
        check(b"\"", 1, 1, 1);
        check(b"a\n\n\"x\ny\",\"z\n\n", 4, 3, 3);
        check(b"a\r\n1,\"say \"\"x\r\n2,3\r\n", 2, 2, 2);
        let mut long = b"a\n1,\"".to_vec();
        long.extend(b"line\n".repeat(LINE_BYTES_MAX / 4));
        check(&long, 2, 2, LINE_BYTES_MAX as u64 / 4);
        // Ends of input that end a record all the same.
        for (text, last) in
            [(&b"a\n1,"[..], "2: 1|"), (b"a\n1,\"x\"", "2: 1|x"), (b"a\n1\r", "2: 1"), (b"a\n\"\"", "2: ")]
        {
            assert_eq!(records(text).last().map(String::as_str), Some(last));
        }
    }
}
