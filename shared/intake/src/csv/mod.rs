//! Comma-separated records with a head line.
//!
//! One column has the time, one the series. A column `format` has the format of each row, as `dotter-store export
//! --csv` writes it. The other columns are values. Without a column of formats all rows have the format that was
//! given, by default one plain number. In a *wide* file each column of values is a series of its own.
//!
//! Raw bytes are `0x` and two hex digits for each, as in row text.
//!
//! Every record has as many fields as the head line, with one exception: where a column says the format, fields
//! behind the last value of the format may be missing, as the export leaves them out.
//!
//! Source: RFC 4180.

mod head;
mod records;

use std::borrow::Cow;
use std::collections::HashMap;

use dotter_dot::{Cell, Format, Letter, ROW_BYTES_MAX, Shape, Timestamp, parse_number, put_row};

use crate::row_text::{Row, TimeReader, read_value};
use head::Head;

pub use head::HeadError;
pub use records::{Bad, FIELDS_MAX, Fed, RECORD_BYTES_MAX, Record, Records};

/// Formats remembered at once.
const SHAPES_MAX: usize = 1024;

/// How to read a file: what its head line does not say.
#[derive(Clone, Debug)]
pub struct Layout<'a> {
    /// How times are written.
    pub times: TimeReader,
    /// Of all rows; `None` where a column says it, or all are plain numbers.
    pub format: Option<&'a Format>,
    /// Of all values; may be empty.
    pub unit: &'a str,
    /// The series of all rows.
    pub series: Option<&'a str>,
    /// The column that names the series; `None` for one of the usual.
    pub series_column: Option<&'a str>,
    /// The column of times; `None` for one of the usual.
    pub time_column: Option<&'a str>,
    /// Whether each column is a series of its own, named by the head line.
    pub is_wide: bool,
}

/// Reads the records below a head line as rows.
pub struct Table<'a> {
    layout: Layout<'a>,
    head: Head,
    /// Of records that do not say theirs.
    given: Format,
    /// The shape of each column of a wide file.
    number: Shape,
    shapes: Shapes<'a>,
    /// Row bytes of the record read last.
    row: Vec<u8>,
    /// Raw bytes of the value read last.
    scratch: Vec<u8>,
}

/// Shapes by their formats.
struct Shapes<'a> {
    unit: &'a str,
    known: HashMap<Box<str>, Shape>,
}

impl<'a> Table<'a> {
    /// - `head`: the first record
    ///
    /// # Errors
    ///
    /// What is missing in the head line, or does not go with the layout.
    pub fn new(head: &Record<'_>, layout: Layout<'a>) -> Result<Table<'a>, HeadError> {
        let names: Vec<String> = head.fields().map(|field| field.trim().to_owned()).collect();
        let head = Head::new(&names, &layout)?;
        let given = layout.format.cloned().unwrap_or_else(Format::number);
        if head.format.is_none() && !layout.is_wide && given.len() != head.values.len() {
            return Err(HeadError::Format { columns: head.values.len(), format: given });
        }
        let number = Shape::new::<&str>(Format::number(), layout.unit, &[]).map_err(HeadError::Shape)?;
        let shapes = Shapes { unit: layout.unit, known: HashMap::new() };
        Ok(Table { layout, head, given, number, shapes, row: Vec::new(), scratch: Vec::new() })
    }

    /// Gives each row of a record to `take`, or a sentence that says what is wrong with it. One without any text has
    /// no rows.
    ///
    /// # Errors
    ///
    /// What `take` returns; the rest of the record is passed over.
    pub fn read<E>(
        &mut self,
        record: &Record<'_>,
        mut take: impl FnMut(Result<Row<'_>, String>) -> Result<(), E>,
    ) -> Result<(), E> {
        if record.fields().all(str::is_empty) {
            return Ok(());
        }
        let time =
            self.head.check(record).and_then(|()| self.layout.times.read(record.field(self.head.time)));
        let time = match time {
            Ok(time) => time,
            Err(what) => return take(Err(what)),
        };
        if self.layout.is_wide {
            return self.read_wide(record, time, take);
        }
        let name = match self.head.series {
            Some(place) => record.field(place),
            None => self.layout.series.unwrap_or_default(),
        };
        let letters = self.head.format.map_or(self.given.as_str(), |place| record.field(place));
        let shape = self.shapes.of(letters, &self.head);
        self.row.clear();
        let read = shape.and_then(|shape| {
            let word = read_values(shape.format(), &self.head, record, &mut self.scratch, &mut self.row)?;
            Ok((shape, word))
        });
        let (shape, word) = match read {
            Ok(read) => read,
            Err(what) => return take(Err(what)),
        };
        let cell = word.map_or(Cell::Row(&self.row), Cell::Word);
        take(Ok(Row { name: Cow::Borrowed(name), time, shape: &shape, cell }))
    }

    fn read_wide<E>(
        &self,
        record: &Record<'_>,
        time: Timestamp,
        mut take: impl FnMut(Result<Row<'_>, String>) -> Result<(), E>,
    ) -> Result<(), E> {
        for (place, name) in &self.head.values {
            let text = record.field(*place);
            if text.is_empty() {
                continue;
            }
            let row = |value: f64| Row {
                name: Cow::Borrowed(name),
                time,
                shape: &self.number,
                cell: Cell::Word(value.to_bits()),
            };
            take(parse_number(text).map(row).map_err(|error| error.to_string()))?;
        }
        Ok(())
    }
}

impl Shapes<'_> {
    fn of(&mut self, letters: &str, head: &Head) -> Result<Shape, String> {
        if let Some(shape) = self.known.get(letters) {
            return Ok(shape.clone());
        }
        let format = Format::new(letters).map_err(|error| error.to_string())?;
        let names: Vec<&str> = match head.are_named && format.len() == head.values.len() {
            true => head.values.iter().map(|(_, name)| name.as_str()).collect(),
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

/// Reads the values of a record; the word where it is one number, else row bytes in `out`.
fn read_values(
    format: &Format,
    head: &Head,
    record: &Record<'_>,
    scratch: &mut Vec<u8>,
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
        if *place >= record.len() {
            return Err(format!(
                "{} fields, expected '{name}' and all others of format {format}",
                record.len()
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
        match read_value(letter, text, scratch)? {
            value if format.is_word() => return Ok(value.to_word()),
            value => put_row([value], out),
        }
    }
    if out.len() > ROW_BYTES_MAX {
        return Err(format!("row has {} bytes, at most {ROW_BYTES_MAX} are kept", out.len()));
    }
    Ok(None)
}

fn clip(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::row_text::TimeUnit;

    fn layout(is_wide: bool) -> Layout<'static> {
        Layout {
            times: TimeReader::Plain(TimeUnit::S),
            format: None,
            unit: "",
            series: None,
            series_column: None,
            time_column: None,
            is_wide,
        }
    }

    /// Every row of a file, or what is wrong with it, as text.
    fn rows(text: &[u8], is_wide: bool) -> Vec<String> {
        let (mut records, mut table) = (Records::new(b','), None);
        let (mut at, mut all) = (0, Vec::new());
        loop {
            let (taken, fed) = records.feed(&text[at..]);
            at += taken;
            match (fed, &mut table) {
                (Fed::More, _) => {}
                (Fed::End, _) => return all,
                (Fed::Bad(bad), _) => all.push(bad.what),
                (Fed::Record(record), None) => match Table::new(&record, layout(is_wide)) {
                    Ok(new) => table = Some(new),
                    Err(error) => return vec![error.to_string()],
                },
                (Fed::Record(record), Some(table)) => {
                    let read = table.read(&record, |row| {
                        all.push(row.map_or_else(
                            |what| what,
                            |row| {
                                let values = row.cell.values(row.shape.format());
                                let values: Vec<String> = values.map(|value| value.to_string()).collect();
                                format!("{} {} {}", row.name, row.time.seconds_text(), values.join(" "))
                            },
                        ));
                        Ok::<(), std::convert::Infallible>(())
                    });
                    read.unwrap();
                }
            }
        }
    }

    #[test]
    fn the_head_line_says_what_the_columns_are() {
        let check = |text: &str, is_wide: bool, expected: &[&str]| {
            assert_eq!(rows(text.as_bytes(), is_wide), expected, "{text}");
        };
        check("Time,name,took\n5,a,1.5\n\n6,b,2\n", false, &["a 5 1.5", "b 6 2"]);
        check("time,series,format,value,c2\n5,a,Us,7,x\n6,a,F,1\n", false, &["a 5 7 x", "a 6 1"]);
        check(
            "time,series,format,value,c2\n5,a,bu, 0x00fF ,7\n6,a,b,00\n",
            false,
            &["a 5 0x00ff 7", "'00' is not bytes, expected 0x and two hex digits for each"],
        );
        check("cpu,time,mem\n1,5,2\n,6,x\n", true, &["cpu 5 1", "mem 5 2", "'x' is not a number"]);
        check(
            "time,series,value\nx,a,1\n5,a\n",
            false,
            &["'x' is not a number that says a time", "2 fields, expected 3 as in the head line"],
        );
        check(
            "series,value\na,1\n",
            false,
            &["the head line has none of time, timestamp, date, datetime, ts"],
        );
        check("time,value\n5,1\n", false, &["the head line has none of series, key, name, metric, path"]);
        check("time,series\n5,a\n", false, &["0 columns of values in the head line, expected 1 to 64"]);
        check("time,series,x,y\n5,a,1,2\n", false, &["2 columns of values, but format F has 1"]);
    }

    proptest! {
        #[test]
        fn whatever_a_file_says_it_is_read_or_refused(bytes in any::<Vec<u8>>(), tail in "[a0-9xFsbU,\"\\r\\n.]{0,60}") {
            for is_wide in [false, true] {
                rows(&bytes, is_wide);
                rows(format!("time,series,format,value,c2\n{tail}").as_bytes(), is_wide);
            }
        }
    }
}
