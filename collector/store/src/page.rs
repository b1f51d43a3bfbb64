//! Printing rows: as lines, comma-separated, or JSON.
//!
//! A [`Printer`] has the style. A [`Page`] holds the text of one task, by series, so that several threads print at
//! the same time; one thread puts the pages together.

use std::io::{self, Write};

use dotter_dot::{SeriesName, Shape, Timestamp, Value, put_base64};
use dotter_intake::row_text::{RowWriter, TimeFormat, TimeWriter, Times, put_value};
use dotter_store::Row;

use crate::columns::Columns;

/// How rows are printed.
pub(crate) struct Printer {
    pub(crate) style: Style,
    pub(crate) times: Times,
    pub(crate) format: Option<TimeFormat>,
    pub(crate) columns: Option<Columns>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Lines that can be added.
    Rows {
        /// Whether plain numbers get their format too.
        with_format: bool,
    },
    /// Lines to be looked at.
    Plain,
    Csv {
        with_format: bool,
    },
    Json,
}

/// What was printed of one task.
#[derive(Default)]
pub(crate) struct Page {
    parts: Vec<Part>,
    tools: Option<Tools>,
    /// Of the shape printed last, which columns and their letters.
    shown: Option<Shown>,
}

impl Page {
    /// Whether nothing was printed.
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }
}

/// What was printed of one series.
struct Part {
    name: SeriesName,
    text: Vec<u8>,
}

/// What printing keeps from row to row.
struct Tools {
    rows: RowWriter,
    times: TimeWriter,
    /// The name printed last, as the style has it.
    name: Vec<u8>,
}

struct Shown {
    shape: Shape,
    letters: String,
    /// All where it is `None`.
    places: Option<Vec<usize>>,
}

impl Printer {
    /// Prints a row on a page.
    pub(crate) fn row(&self, name: &SeriesName, row: &Row<'_>, page: &mut Page) {
        self.values(name, row.time(), row.shape(), row.cells(), page);
    }

    pub(crate) fn values<'a>(
        &self,
        name: &SeriesName,
        time: Timestamp,
        shape: &Shape,
        values: impl Iterator<Item = Value<'a>>,
        page: &mut Page,
    ) {
        let tools = page.tools.get_or_insert_with(|| self.tools());
        if !page.shown.as_ref().is_some_and(|shown| shown.shape.is(shape)) {
            page.shown = Some(self.shown(shape));
        }
        let shown = page.shown.as_ref().expect("it was just put there");
        if shown.letters.is_empty() {
            // The row has none of the wanted columns.
            return;
        }
        if page.parts.last().is_none_or(|part| part.name != *name) {
            page.parts.push(Part { name: name.clone(), text: Vec::new() });
            tools.name.clear();
            put_name(self.style, name.as_str(), &mut tools.name);
        }
        let out = &mut page.parts.last_mut().expect("it was just put there").text;
        let Some(places) = &shown.places else {
            return put_row(self.style, tools, &shown.letters, name.as_str(), time, values, out);
        };
        let all: Vec<Value<'_>> = values.collect();
        let chosen = places.iter().filter_map(|place| all.get(*place)).copied();
        put_row(self.style, tools, &shown.letters, name.as_str(), time, chosen, out);
    }

    fn tools(&self) -> Tools {
        let times = TimeWriter::new(self.times, self.format.as_ref());
        let with_format = matches!(self.style, Style::Rows { with_format: true });
        Tools { rows: RowWriter::new(times.clone(), with_format), times, name: Vec::new() }
    }

    fn shown(&self, shape: &Shape) -> Shown {
        let all = shape.format().as_str();
        let places = self.columns.as_ref().map(|columns| columns.places(shape));
        let letters = match &places {
            None => all.to_owned(),
            Some(places) => places.iter().map(|place| &all[*place..=*place]).collect(),
        };
        Shown { shape: shape.clone(), letters, places }
    }

    /// Prints the head line, if the style has one.
    ///
    /// - `shapes`: those of the series that will be printed
    pub(crate) fn head(&self, shapes: &[Shape], out: &mut impl Write) -> io::Result<()> {
        let Style::Csv { with_format } = self.style else { return Ok(()) };
        let mut head = b"series,time".to_vec();
        if with_format {
            head.extend_from_slice(b",format");
        }
        for name in value_names(shapes, self.columns.as_ref()) {
            head.push(b',');
            put_quoted(&name, &mut head);
        }
        head.push(b'\n');
        out.write_all(&head)
    }
}

/// The names of value columns, as many as the widest shape has: the name that all shapes give, else `value`, `c2`,
/// ...
fn value_names(shapes: &[Shape], columns: Option<&Columns>) -> Vec<String> {
    let chosen =
        |shape: &Shape| columns.map_or_else(|| (0..shape.format().len()).collect(), |c| c.places(shape));
    let names = |shape: &Shape| -> Vec<String> {
        let places: Vec<usize> = chosen(shape);
        places.iter().filter_map(|place| shape.columns().get(*place)).map(|name| name.to_string()).collect()
    };
    let widest = shapes.iter().map(|shape| chosen(shape).len()).max().unwrap_or(1);
    if let [first, others @ ..] = shapes {
        let named = names(first);
        if named.len() == widest && others.iter().all(|shape| names(shape) == named) {
            return named;
        }
    }
    (1..=widest).map(|number| if number == 1 { "value".to_owned() } else { format!("c{number}") }).collect()
}

fn put_row<'a>(
    style: Style,
    tools: &mut Tools,
    letters: &str,
    name: &str,
    time: Timestamp,
    values: impl IntoIterator<Item = Value<'a>>,
    out: &mut Vec<u8>,
) {
    match style {
        Style::Rows { .. } => return tools.rows.write(name, time, letters, values, out),
        Style::Plain => {
            out.extend_from_slice(&tools.name);
            out.push(b'\t');
            tools.times.write(time, out);
            for value in values {
                out.push(b'\t');
                put_plain(value, out);
            }
        }
        Style::Csv { with_format } => {
            out.extend_from_slice(&tools.name);
            out.push(b',');
            tools.times.write(time, out);
            if with_format {
                out.push(b',');
                out.extend_from_slice(letters.as_bytes());
            }
            for value in values {
                out.push(b',');
                match value {
                    Value::Text(text) => put_quoted(text, out),
                    value => put_value(value, out),
                }
            }
        }
        Style::Json => {
            if !out.is_empty() {
                out.push(b',');
            }
            out.push(b'[');
            tools.times.write(time, out);
            for value in values {
                out.push(b',');
                put_json(value, out);
            }
            return out.push(b']');
        }
    }
    out.push(b'\n');
}

fn put_name(style: Style, name: &str, out: &mut Vec<u8>) {
    match style {
        Style::Csv { .. } => put_quoted(name, out),
        _ => out.extend_from_slice(name.as_bytes()),
    }
}

fn put_plain(value: Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Text(text) => out.extend_from_slice(text.as_bytes()),
        value => put_value(value, out),
    }
}

/// Source: RFC 4180.
fn put_quoted(text: &str, out: &mut Vec<u8>) {
    if !text.contains([',', '"', '\n', '\r']) {
        return out.extend_from_slice(text.as_bytes());
    }
    out.push(b'"');
    out.extend_from_slice(text.replace('"', "\"\"").as_bytes());
    out.push(b'"');
}

/// Appends a value; NaN, for which JSON has no number, is null, and raw bytes are a text of base64.
fn put_json(value: Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Text(text) => put_json_text(text, out),
        Value::Bytes(bytes) => {
            out.push(b'"');
            put_base64(bytes, out);
            out.push(b'"');
        }
        Value::F32(number) if !number.is_finite() => out.extend_from_slice(b"null"),
        Value::F64(number) if !number.is_finite() => out.extend_from_slice(b"null"),
        // The shortest text that reads back as the same number, with an exponent where it would be long.
        Value::F64(number) => put_json_number(number.into(), out),
        number => put_value(number, out),
    }
}

fn put_json_number(number: serde_json::Value, out: &mut Vec<u8>) {
    // Writing to a vector cannot fail.
    let _ = write!(out, "{number}");
}

fn put_json_text(text: &str, out: &mut Vec<u8>) {
    let _ = serde_json::to_writer(out, text);
}

/// Puts pages together.
pub(crate) struct Binder<'a, W> {
    style: Style,
    out: &'a mut W,
    /// The series whose JSON object is open.
    open: Option<SeriesName>,
}

impl<'a, W: Write> Binder<'a, W> {
    pub(crate) fn new(style: Style, out: &'a mut W) -> Binder<'a, W> {
        Binder { style, out, open: None }
    }

    pub(crate) fn page(&mut self, page: Page) -> io::Result<()> {
        for part in page.parts {
            if self.style != Style::Json {
                self.out.write_all(&part.text)?;
                continue;
            }
            if self.open.as_ref() == Some(&part.name) {
                self.out.write_all(b",")?;
            } else {
                self.end()?;
                let mut head = b"{\"series\":".to_vec();
                put_json_text(part.name.as_str(), &mut head);
                head.extend_from_slice(b",\"dots\":[");
                self.out.write_all(&head)?;
                self.open = Some(part.name);
            }
            self.out.write_all(&part.text)?;
        }
        Ok(())
    }

    /// After the last page.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        if self.open.take().is_some() { self.out.write_all(b"]}\n") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use dotter_dot::Format;

    use super::*;

    type PrintedRow<'a> = (&'a str, u64, &'a Shape, &'a [Value<'a>]);

    fn printed(style: Style, columns: Option<&str>, pages: &[&[PrintedRow<'_>]]) -> String {
        let printer = Printer {
            style,
            times: if style == Style::Json { Times::Seconds } else { Times::Nanos },
            format: None,
            columns: columns.map(|text| text.parse().unwrap()),
        };
        let mut out = Vec::new();
        let shapes: Vec<Shape> = pages.iter().flat_map(|rows| rows.iter()).map(|row| row.2.clone()).collect();
        printer.head(&shapes, &mut out).unwrap();
        let mut binder = Binder::new(style, &mut out);
        for rows in pages {
            let mut page = Page::default();
            for (name, time, shape, values) in *rows {
                let name = SeriesName::new(name).unwrap();
                printer.values(&name, Timestamp::from_nanos(*time), shape, values.iter().copied(), &mut page);
            }
            binder.page(page).unwrap();
        }
        binder.end().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_style_says_the_same() {
        let log = Shape::new(Format::new("sU").unwrap(), "", &["path", "code"]).unwrap();
        let number = Shape::number();
        let line = [Value::Text("/a b,\"c\"\n"), Value::U64(u64::MAX)];
        let pages: &[&[PrintedRow<'_>]] = &[
            &[("a b", 5, &number, &[Value::F64(1.5)]), ("log", 6, &log, &line)],
            &[("log", 7, &log, &line)],
        ];
        let check = |style: Style, columns: Option<&str>, expected: &str| {
            assert_eq!(printed(style, columns, pages), expected, "{style:?}");
        };
        check(
            Style::Rows { with_format: false },
            None,
            concat!(
                "a\\ b\t5\t1.5\n",
                "log\t6\tsU\t/a\\ b,\"c\"\\n 18446744073709551615\n",
                "log\t7\tsU\t/a\\ b,\"c\"\\n 18446744073709551615\n",
            ),
        );
        check(
            Style::Rows { with_format: true },
            Some("1"),
            concat!("a\\ b\t5\tF\t1.5\n", "log\t6\ts\t/a\\ b,\"c\"\\n\n", "log\t7\ts\t/a\\ b,\"c\"\\n\n",),
        );
        check(
            Style::Plain,
            Some("code,path"),
            concat!(
                "log\t6\t18446744073709551615\t/a b,\"c\"\n\n",
                "log\t7\t18446744073709551615\t/a b,\"c\"\n\n",
            ),
        );
        check(
            Style::Csv { with_format: true },
            None,
            concat!(
                "series,time,format,value,c2\n",
                "a b,5,F,1.5\n",
                "log,6,sU,\"/a b,\"\"c\"\"\n\",18446744073709551615\n",
                "log,7,sU,\"/a b,\"\"c\"\"\n\",18446744073709551615\n",
            ),
        );
        check(
            Style::Json,
            None,
            concat!(
                "{\"series\":\"a b\",\"dots\":[[0.000000005,1.5]]}\n",
                "{\"series\":\"log\",\"dots\":[[0.000000006,\"/a b,\\\"c\\\"\\n\",18446744073709551615],",
                "[0.000000007,\"/a b,\\\"c\\\"\\n\",18446744073709551615]]}\n",
            ),
        );
    }

    #[test]
    fn raw_bytes_are_hex_in_lines_and_base64_in_json() {
        let shape = Shape::from(Format::new("bs").unwrap());
        let row = [Value::Bytes(&[0, b',', 0xff]), Value::Text("0x00")];
        let empty = [Value::Bytes(&[]), Value::Text("x")];
        let pages: &[&[PrintedRow<'_>]] = &[&[("a", 5, &shape, &row), ("a", 6, &shape, &empty)]];
        let check =
            |style: Style, expected: &str| assert_eq!(printed(style, None, pages), expected, "{style:?}");
        check(Style::Rows { with_format: false }, "a\t5\tbs\t0x002cff 0x00\na\t6\tbs\t0x x\n");
        check(Style::Plain, "a\t5\t0x002cff\t0x00\na\t6\t0x\tx\n");
        check(
            Style::Csv { with_format: true },
            "series,time,format,value,c2\na,5,bs,0x002cff,0x00\na,6,bs,0x,x\n",
        );
        check(
            Style::Json,
            "{\"series\":\"a\",\"dots\":[[0.000000005,\"ACz/\",\"0x00\"],[0.000000006,\"\",\"x\"]]}\n",
        );
    }

    #[test]
    fn a_head_has_the_names_that_all_agree_on() {
        let log = Shape::new(Format::new("sU").unwrap(), "", &["path", "code"]).unwrap();
        let number = Shape::number();
        assert_eq!(value_names(&[log.clone(), log.clone()], None), ["path", "code"]);
        assert_eq!(value_names(&[log.clone(), number.clone()], None), ["value", "c2"]);
        assert_eq!(value_names(std::slice::from_ref(&log), Some(&"2".parse().unwrap())), ["code"]);
        assert_eq!(value_names(&[number], None), ["value"]);
        assert_eq!(value_names(&[], None), ["value"]);
    }
}
