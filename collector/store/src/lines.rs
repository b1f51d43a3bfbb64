//! Input line by line, none of them longer than what can be a row.

use std::io::{self, BufRead};

use dotter_dot::BYTE_ORDER_MARK;

/// The longest line: a row of a megabyte, each of whose letters is escaped, and its name.
pub(crate) const LINE_BYTES_MAX: usize = 8 << 20;

/// Lines of an input, with their numbers.
pub(crate) struct Lines<R> {
    input: R,
    line: Vec<u8>,
    /// Of the line read last, from 1.
    number: u64,
    /// Read so far.
    bytes: u64,
}

/// What was found where a line should be.
pub(crate) enum Line<'a> {
    /// Without its end.
    Text {
        text: &'a str,
        /// `false` of a last line that the input ends within.
        has_end: bool,
    },
    /// What is wrong with it.
    Bad(&'static str),
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(input: R) -> Lines<R> {
        Lines { input, line: Vec::new(), number: 0, bytes: 0 }
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next line; `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let limit = LINE_BYTES_MAX as u64;
        let read = io::Read::take(&mut self.input, limit).read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        self.bytes += read as u64;
        let has_end = self.line.pop_if(|byte| *byte == b'\n').is_some();
        let is_whole = has_end || read < LINE_BYTES_MAX;
        if !is_whole {
            self.bytes += self.input.skip_until(b'\n')? as u64;
            return Ok(Some(Line::Bad("longer than 8 MiB")));
        }
        self.line.pop_if(|byte| *byte == b'\r');
        let line = match self.number {
            1 => self.line.strip_prefix(BYTE_ORDER_MARK.as_bytes()).unwrap_or(&self.line),
            _ => &self.line,
        };
        Ok(Some(match std::str::from_utf8(line) {
            Ok(text) => Line::Text { text, has_end },
            Err(_) => Line::Bad("not UTF-8"),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_or_no_text_does_not_hide_the_next() {
        let mut input = b"\xef\xbb\xbfone\r\n\xff\n".to_vec();
        input.extend(std::iter::repeat_n(b'x', LINE_BYTES_MAX + 5));
        input.extend_from_slice(b"\nlast");
        let mut lines = Lines::new(&input[..]);
        let mut next = || match lines.next().unwrap() {
            Some(Line::Text { text, has_end }) => format!("{text}{}", if has_end { "" } else { ", cut" }),
            Some(Line::Bad(what)) => format!("bad: {what}"),
            None => "end".to_owned(),
        };
        let found: Vec<String> = (0..5).map(|_| next()).collect();
        assert_eq!(found, ["one", "bad: not UTF-8", "bad: longer than 8 MiB", "last, cut", "end"]);
        assert_eq!((lines.number(), lines.bytes()), (4, input.len() as u64));
    }
}
