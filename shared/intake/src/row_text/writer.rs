//! Rows written as lines.

use std::io::Write as _;

use dotter_dot::{Timestamp, Value, put_hex};

use super::TimeWriter;
use super::fields::EMPTY;

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
        Value::Bytes(bytes) => put_hex(bytes, out),
        // Writing to a vector cannot fail.
        number => _ = write!(out, "{number}"),
    }
}
