//! Parsing a line of the Graphite plaintext protocol, and cutting a stream of bytes into lines.
//!
//! Source: carbon 1.1.7, `MetricLineReceiver` and `TaggedSeries`. It departs from carbon where no client relies on
//! carbon's behaviour: a name that carbon would store so that no query finds it is refused, a bad line never closes
//! the connection, and the fraction of a second is kept.

use std::borrow::Cow;
use std::ops::ControlFlow;

use dotter_dot::{BYTE_ORDER_MARK, Cell, NamedDots, SeriesName, Shape, Timestamp, parse_number};

/// The longest line, in bytes, without its end.
pub const LINE_BYTES_MAX: usize = 64 << 10;

/// Why a line was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineError {
    /// Longer than [`LINE_BYTES_MAX`].
    TooLong,
    /// Not three fields.
    Fields,
    /// The name is no series name.
    Name,
    /// The value is no number.
    Value,
    /// The time is none.
    Time,
}

/// A line taken apart.
#[derive(Clone, Debug, PartialEq)]
pub struct Line<'a> {
    /// The name, which is not checked yet.
    pub name: &'a str,
    /// A number that is not NaN.
    pub value: f64,
    /// When.
    pub time: Timestamp,
}

/// Reads `name value time`, fields separated by blanks; `None` for a line of blanks alone.
///
/// - `now`: the time of a line that says -1
///
/// # Errors
///
/// What is wrong with the line. A value that is not a number is, and so is one too large for a float; an infinite one
/// that is written as such is not.
pub fn read_line(line: &[u8], now: Timestamp) -> Result<Option<Line<'_>>, LineError> {
    if line.len() > LINE_BYTES_MAX {
        return Err(LineError::TooLong);
    }
    let mut fields = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
    let Some(name) = fields.next() else { return Ok(None) };
    let (Some(value), Some(time), None) = (fields.next(), fields.next(), fields.next()) else {
        return Err(LineError::Fields);
    };
    let text = |field| std::str::from_utf8(field);
    let value = parse_number(text(value).map_err(|_| LineError::Value)?).map_err(|_| LineError::Value)?;
    if value.is_nan() {
        return Err(LineError::Value);
    }
    let time = read_time(text(time).map_err(|_| LineError::Time)?, now)?;
    Ok(Some(Line { name: text(name).map_err(|_| LineError::Name)?, value, time }))
}

fn read_time(text: &str, now: Timestamp) -> Result<Timestamp, LineError> {
    match Timestamp::parse_seconds(text) {
        Ok(time) => Ok(time),
        // Whole seconds of -1 mean "now", however they are written.
        Err(_) if text.parse::<f64>().is_ok_and(|seconds| -2.0 < seconds && seconds <= -1.0) => Ok(now),
        Err(_) => Err(LineError::Time),
    }
}

/// The series a name of a line stands for: empty parts of its path collapse.
///
/// # Errors
///
/// [`LineError::Name`] for what is no series name, for a path that ends with a dot, and for tags that Graphite
/// refuses.
pub fn read_name(name: &str) -> Result<SeriesName, LineError> {
    let path_end = name.find(';').unwrap_or(name.len());
    let (path, tags) = name.split_at(path_end);
    if path.ends_with('.') {
        return Err(LineError::Name);
    }
    let name = if path.starts_with('.') || path.contains("..") {
        let parts: Vec<_> = path.split('.').filter(|part| !part.is_empty()).collect();
        Cow::Owned(parts.join(".") + tags)
    } else {
        Cow::Borrowed(name)
    };
    let name = SeriesName::new(&name).map_err(|_| LineError::Name)?;
    let refused = |(tag, value): (&str, &str)| tag.contains(['!', '^']) || value.starts_with('~');
    if name.tags().any(refused) { Err(LineError::Name) } else { Ok(name) }
}

/// Puts the dot of a line behind the others; a line of blanks alone has none.
///
/// - `now`: the time of a line that says -1
///
/// # Errors
///
/// As [`read_line`] and [`read_name`].
pub fn take_line(line: &[u8], now: Timestamp, dots: &mut NamedDots) -> Result<(), LineError> {
    let Some(line) = read_line(line, now)? else { return Ok(()) };
    let number = Shape::number();
    let series = match dots.find(line.name, &number) {
        Some(series) => series,
        None => dots.series(&read_name(line.name)?, &number),
    };
    dots.push_to(series, line.time, Cell::number(line.value));
    Ok(())
}

/// Cuts a stream of bytes into lines.
#[derive(Debug, Default)]
pub struct Lines {
    /// The line that has begun.
    begun: Vec<u8>,
    /// It is too long, and what follows of it is thrown away.
    skipping: bool,
    /// Whether the first line has ended, the only one that may begin with a byte order mark.
    has_line: bool,
}

impl Lines {
    /// Gives out every line that ends within `bytes`, without its end; of one that is too long its beginning, as an
    /// error. Stops where `take` breaks off: what is behind is not looked at.
    pub fn feed<B>(
        &mut self,
        bytes: &[u8],
        mut take: impl FnMut(Result<&[u8], &[u8]>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            let line = &rest[..end];
            rest = &rest[end + 1..];
            let mark = if self.has_line { &[][..] } else { BYTE_ORDER_MARK.as_bytes() };
            self.has_line = true;
            let without_mark = |line| <[u8]>::strip_prefix(line, mark).unwrap_or(line);
            if self.skipping {
                self.skipping = false;
            } else if self.begun.is_empty() {
                take(Ok(without_mark(line)))?;
            } else {
                self.begun.extend_from_slice(line);
                take(Ok(without_mark(&self.begun)))?;
                self.begun.clear();
            }
        }
        if self.skipping {
            return ControlFlow::Continue(());
        }
        self.begun.extend_from_slice(rest);
        if self.begun.len() > LINE_BYTES_MAX {
            take(Err(&self.begun))?;
            self.skipping = true;
            self.begun = Vec::new();
        }
        ControlFlow::Continue(())
    }

    /// The line that was begun and has no end.
    pub fn unfinished(&self) -> &[u8] {
        self.begun.trim_ascii()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    const NOW: Timestamp = Timestamp::from_nanos(77_000_000_000);

    #[test]
    fn values_are_read_as_carbon_reads_them() {
        let check = |text: &str, expected: Result<f64, LineError>| {
            let line = format!("a {text} 5");
            let found = read_line(line.as_bytes(), NOW).map(|line| line.unwrap().value);
            assert_eq!(found.map(f64::to_bits), expected.map(f64::to_bits), "{text}");
        };
        check("1.5", Ok(1.5));
        check("-3.25", Ok(-3.25));
        check("1e10", Ok(1e10));
        check("1.5E-3", Ok(0.0015));
        check("+7", Ok(7.0));
        check(".5", Ok(0.5));
        check("5.", Ok(5.0));
        check("-0", Ok(-0.0));
        check("123456789012345678901234567890", Ok(1.2345678901234568e29));
        check("4.9e-324", Ok(5e-324));
        check("9007199254740993", Ok(9007199254740992.0));
        check("inf", Ok(f64::INFINITY));
        check("-Infinity", Ok(f64::NEG_INFINITY));
        for text in ["1e999", "-1e400", "nan", "NaN", "0x10", "abc", "true", "1,5", "\"\"", "1_000", "e", "."]
        {
            check(text, Err(LineError::Value));
        }
    }

    #[test]
    fn times_are_seconds_and_minus_one_is_now() {
        let check = |text: &str, expected: Result<u64, LineError>| {
            let line = format!("a 1 {text}");
            let found = read_line(line.as_bytes(), NOW).map(|line| line.unwrap().time.nanos());
            assert_eq!(found, expected, "{text}");
        };
        check("1710504000", Ok(1_710_504_000_000_000_000));
        check("1710504000.7", Ok(1_710_504_000_700_000_000));
        check("1.710504e9", Ok(1_710_504_000_000_000_000));
        check("0", Ok(0));
        for text in ["-1", "-1.0", "-1.5"] {
            check(text, Ok(NOW.nanos()));
        }
        for text in
            ["N", "now", "nan", "inf", "-inf", "\"\"", "-2", "99999999999999999999", "1e999", "2026-11-20"]
        {
            check(text, Err(LineError::Time));
        }
    }

    #[test]
    fn a_line_is_three_fields_between_any_blanks() {
        let line = Line { name: "a.b", value: 4.0, time: Timestamp::from_secs(9).unwrap() };
        for text in ["a.b 4 9", "a.b\t4\t9", "  a.b   4    9", "a.b 4 9   ", "a.b 4 9\r", "\ta.b 4 9 \r"] {
            assert_eq!(read_line(text.as_bytes(), NOW), Ok(Some(line.clone())), "{text:?}");
        }
        for text in ["", " ", "\r", "\t \r"] {
            assert_eq!(read_line(text.as_bytes(), NOW), Ok(None), "{text:?}");
        }
        for text in ["a", "a 1", "a 1 2 3", "# comment here x", "GET / HTTP/1.0 x", "\u{16}\u{3}\u{1}"] {
            assert_eq!(read_line(text.as_bytes(), NOW), Err(LineError::Fields), "{text:?}");
        }
        assert_eq!(read_line(b"GET / HTTP/1.0", NOW), Err(LineError::Value));
        assert_eq!(read_line(b"a\xff\xfe 1 9", NOW), Err(LineError::Name));
        assert_eq!(read_line(&[b'x'; LINE_BYTES_MAX + 1], NOW), Err(LineError::TooLong));
    }

    #[test]
    fn names_are_canonical_or_refused() {
        let check = |name: &str, expected: Option<&str>| {
            let found = read_name(name);
            assert_eq!(found.as_ref().ok().map(SeriesName::as_str), expected, "{name:?}: {found:?}");
        };
        check("conf.a-b_c:8080@x%y#z+w=v!~^&$", Some("conf.a-b_c:8080@x%y#z+w=v!~^&$"));
        check("conf.ü.x", Some("conf.ü.x"));
        check("conf.dd.a..b", Some("conf.dd.a.b"));
        check(".conf.a", Some("conf.a"));
        check("conf.a/b", Some("conf.a/b"));
        check("conft.tag;b=2;a=1", Some("conft.tag;a=1;b=2"));
        check("conft.tag;a=1;a=2", Some("conft.tag;a=2"));
        check("a..b;v=1..2", Some("a.b;v=1..2"));
        for name in [
            "conf.a.",
            "...",
            ".",
            "conf.nul\0x",
            "conft.a;a=",
            "conft.a;a",
            ";a=1",
            "..;a=1",
            "conft.a;",
            "conft.a;a=~b",
            "conft.a;a!b=1",
            "conft.a;a^b=1",
        ] {
            check(name, None);
        }
        check(&"x".repeat(4097), None);
    }

    #[test]
    fn lines_come_out_the_same_however_the_stream_is_cut() {
        let mut stream = b"one\ntwo\r\n\n".to_vec();
        stream.extend(vec![b'x'; LINE_BYTES_MAX + 1]);
        stream.extend(b"still too long\nthree\n");
        stream.extend(vec![b'y'; LINE_BYTES_MAX]);
        stream.extend(b"\nunfinished ");
        for cut in [1, 2, 3, 5, 1000, LINE_BYTES_MAX, LINE_BYTES_MAX + 1, stream.len()] {
            let mut lines = Lines::default();
            let mut found = Vec::new();
            for piece in stream.chunks(cut) {
                let whole = lines.feed(piece, |line| {
                    found.push(match line {
                        Ok(line) if line.len() <= LINE_BYTES_MAX => {
                            Ok(String::from_utf8_lossy(line).into_owned())
                        }
                        Ok(_) | Err(_) => Err(LineError::TooLong),
                    });
                    ControlFlow::<()>::Continue(())
                });
                assert!(whole.is_continue());
            }
            let longest = "y".repeat(LINE_BYTES_MAX);
            let expected = ["one", "two\r", "", "", "three", &longest].map(str::to_owned).map(Ok);
            let mut expected = expected.to_vec();
            expected[3] = Err(LineError::TooLong);
            assert_eq!(found, expected, "cut into pieces of {cut}");
            assert_eq!(lines.unfinished(), b"unfinished");
        }
    }

    #[test]
    fn a_byte_order_mark_before_the_first_line_is_no_part_of_it() {
        let stream = "\u{feff}one\n\u{feff}two\n".as_bytes();
        for cut in 1..=stream.len() {
            let mut lines = Lines::default();
            let mut found = Vec::new();
            for piece in stream.chunks(cut) {
                let whole = lines.feed(piece, |line| {
                    found.push(line.unwrap().to_vec());
                    ControlFlow::<()>::Continue(())
                });
                assert!(whole.is_continue());
            }
            assert_eq!(
                found,
                [b"one".to_vec(), "\u{feff}two".as_bytes().to_vec()],
                "cut into pieces of {cut}"
            );
        }
    }

    #[test]
    fn noise_comes_out_as_the_lines_it_has() {
        let alphabet = b"ab.;=1 \t\n\n\r-einf~\xff\0";
        let mut random = Random::new();
        for _ in 0..2000 {
            let count = random.below(300);
            let mut byte = || alphabet[random.below(alphabet.len() as u64) as usize];
            let bytes: Vec<u8> = (0..count).map(|_| byte()).collect();
            let mut lines = Lines::default();
            let mut found = Vec::new();
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (piece, behind) = rest.split_at(1 + random.below(rest.len() as u64) as usize);
                let whole = lines.feed(piece, |line| {
                    found.push(line.unwrap().to_vec());
                    ControlFlow::<()>::Continue(())
                });
                assert!(whole.is_continue());
                rest = behind;
            }
            let mut expected: Vec<_> = bytes.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
            let unfinished = expected.pop().unwrap();
            assert_eq!((found, lines.unfinished()), (expected.clone(), unfinished.trim_ascii()));
            for line in expected {
                if let Ok(Some(line)) = read_line(&line, NOW) {
                    assert!(!line.value.is_nan());
                    let name = read_name(line.name);
                    // What is canonical is found by its text from then on.
                    assert!(name.is_err() || read_name(name.as_ref().unwrap().as_str()) == name);
                }
            }
        }
    }
}
