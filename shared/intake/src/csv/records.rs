//! A file cut into records of bounded size.

use csv_core::ReadRecordResult;

/// The longest record, in bytes: a row of a megabyte, each of whose letters is escaped, and its name.
pub const RECORD_BYTES_MAX: usize = 8 << 20;

/// Fields of a record.
pub const FIELDS_MAX: usize = 16 << 10;

/// Cuts bytes into records, however they come.
pub struct Records {
    reader: csv_core::Reader,
    out: Vec<u8>,
    ends: Vec<usize>,
    /// Of the record in hand: bytes in `out`, fields in `ends`, and why it is no record.
    bytes: usize,
    fields: usize,
    wrong: Option<&'static str>,
    /// Whether a record is in hand.
    has_begun: bool,
    /// Where the record read last begins, from 1.
    line: u64,
    /// Line ends read.
    ends_of_lines: u64,
    /// Whether the byte read last was one.
    is_after_end: bool,
    is_done: bool,
}

/// The result of reading some bytes.
#[derive(Debug)]
pub enum Fed<'a> {
    /// No record ends within the bytes.
    More,
    /// A record ends within the bytes.
    Record(Record<'a>),
    /// Lines that are no record end within the bytes.
    Bad(Bad),
    /// The input has ended, behind a whole record.
    End,
}

/// What is no record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    /// From 1.
    pub line: u64,
    /// How many lines cannot be read because of it; 1 for any record that has an end.
    pub lines: u64,
    /// What is wrong with it.
    pub what: String,
}

/// A record as it was read.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    text: &'a str,
    ends: &'a [usize],
    line: u64,
}

impl Record<'_> {
    /// Where it begins, from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// How many fields it has.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// A field; empty where there is none.
    pub fn field(&self, place: usize) -> &str {
        let Some(end) = self.ends.get(place) else { return "" };
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..*end]
    }

    /// Its fields in turn.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        (0..self.ends.len()).map(|place| self.field(place))
    }
}

impl Records {
    /// - `delimiter`: what stands between fields
    pub fn new(delimiter: u8) -> Records {
        Records {
            reader: csv_core::ReaderBuilder::new().delimiter(delimiter).build(),
            out: vec![0; 4096],
            ends: vec![0; 64],
            bytes: 0,
            fields: 0,
            wrong: None,
            has_begun: false,
            line: 0,
            ends_of_lines: 0,
            is_after_end: true,
            is_done: false,
        }
    }

    /// Reads bytes up to the end of a record; returns how many it has read, and the result. The caller gives the
    /// other bytes again.
    ///
    /// - `input`: empty at the end of input
    pub fn feed(&mut self, input: &[u8]) -> (usize, Fed<'_>) {
        let is_end = input.is_empty();
        let mut taken = 0;
        if !self.has_begun {
            taken = self.skip_ends(input);
            if taken == input.len() && !is_end {
                return (taken, Fed::More);
            }
            (self.bytes, self.fields, self.wrong) = (0, 0, None);
            self.line = self.ends_of_lines + 1;
            self.has_begun = true;
        }
        loop {
            if self.is_done {
                return (taken, Fed::End);
            }
            if taken == input.len() && !is_end {
                return (taken, Fed::More);
            }
            // The reader would take the end of input for the end of a quote. A line's end ends everything else.
            let given = if is_end { b"\n" } else { &input[taken..] };
            let (out, ends) = (&mut self.out[self.bytes..], &mut self.ends[self.fields..]);
            let (result, read, written, ended) = self.reader.read_record(given, out, ends);
            if !is_end {
                self.count_lines(&given[..read]);
                taken += read;
            }
            if is_end && written > 0 {
                self.is_done = true;
                return (taken, Fed::Bad(self.open_quote()));
            }
            (self.bytes, self.fields) = (self.bytes + written, self.fields + ended);
            match result {
                ReadRecordResult::InputEmpty => self.is_done = is_end,
                ReadRecordResult::OutputFull if self.out.len() >= RECORD_BYTES_MAX => {
                    self.wrong = Some("a record longer than 8 MiB");
                    self.bytes = 0;
                }
                ReadRecordResult::OutputFull => self.out.resize(self.out.len() * 2, 0),
                ReadRecordResult::OutputEndsFull if self.ends.len() >= FIELDS_MAX => {
                    self.wrong = Some("a record of more fields than 16,384");
                    self.fields = 0;
                }
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::End => self.is_done = true,
                ReadRecordResult::Record => {
                    self.has_begun = false;
                    return (taken, self.record());
                }
            }
        }
    }

    /// The record in hand, which has an end.
    fn record(&self) -> Fed<'_> {
        let bad = |what: &str| Fed::Bad(Bad { line: self.line, lines: 1, what: what.to_owned() });
        if let Some(wrong) = self.wrong {
            return bad(wrong);
        }
        let ends = &self.ends[..self.fields];
        match std::str::from_utf8(&self.out[..self.bytes]) {
            // Quotes around part of a letter would cut it; no file has that.
            Ok(text) if ends.iter().all(|end| text.is_char_boundary(*end)) => {
                Fed::Record(Record { text, ends, line: self.line })
            }
            _ => bad("not UTF-8"),
        }
    }

    /// A quote that the end of input does not close.
    fn open_quote(&self) -> Bad {
        // Of a record that is too long what stood before is not known, and its line has to do.
        let begun = match (self.wrong, self.fields) {
            (Some(_), _) => None,
            (None, 0) => Some(0),
            (None, fields) => Some(self.ends[fields - 1]),
        };
        let line = match begun {
            Some(begun) => self.ends_of_lines + 1 - line_ends(&self.out[begun..self.bytes]),
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

    /// Between records: the rest of a line's end, and lines without anything; how many bytes.
    fn skip_ends(&mut self, input: &[u8]) -> usize {
        let count = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        self.count_lines(&input[..count]);
        count
    }

    fn count_lines(&mut self, read: &[u8]) {
        self.ends_of_lines += line_ends(read);
        self.is_after_end = read.last().map_or(self.is_after_end, |byte| *byte == b'\n');
    }
}

fn line_ends(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(text: &[u8]) -> Vec<String> {
        let mut records = Records::new(b',');
        let mut all = Vec::new();
        let mut at = 0;
        loop {
            // Few bytes at a time, so that every record comes in pieces.
            let piece = &text[at..text.len().min(at + 3)];
            let (taken, fed) = records.feed(piece);
            all.push(match fed {
                Fed::More => String::new(),
                Fed::Record(record) => {
                    format!("{}: {}", record.line, record.fields().collect::<Vec<_>>().join("|"))
                }
                Fed::Bad(bad) => format!("{}, {}: {}", bad.line, bad.lines, bad.what),
                Fed::End => break,
            });
            at += taken;
        }
        all.retain(|found| !found.is_empty());
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
        text.extend(std::iter::repeat_n(b'x', 3 * RECORD_BYTES_MAX));
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
        long.extend(b"line\n".repeat(RECORD_BYTES_MAX / 4));
        check(&long, 2, 2, RECORD_BYTES_MAX as u64 / 4);
        // Ends of input that end a record all the same.
        for (text, last) in
            [(&b"a\n1,"[..], "2: 1|"), (b"a\n1,\"x\"", "2: 1|x"), (b"a\n1\r", "2: 1"), (b"a\n\"\"", "2: ")]
        {
            assert_eq!(records(text).last().map(String::as_str), Some(last));
        }
    }
}
