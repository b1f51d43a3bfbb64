//! Dots as JSON: `[[time, value], ...]` and `[{"series": name, "format": "F", "dots": [[time, value], ...]}, ...]`,
//! where a format of several columns means as many values behind each time.
//!
//! Times are seconds since 1970 with an optional fraction, or RFC 3339 text. Values are numbers; for the letter `s`
//! they are texts, for `b` texts of base64 with padding. Numbers are read from their digits, not from a float that another program has rounded. A body is
//! taken whole or not at all; an error says what was found, what was expected, and where. JSON that is neither time
//! nor value is never built in memory, however deep it is nested.

mod value;

use std::fmt;

use dotter_dot::{Cell, Column, Format, NamedDots, SeriesName, Shape, Timestamp};
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use value::{clip, put_value, read_time, read_value};

const NO_SERIES: &str = "found a bare [time, value], expected ?series=NAME in the address, \
                         or {\"series\", \"dots\"}";

/// Reads a body.
///
/// - `series`: the series of bare pairs; `None` where bare pairs are refused
///
/// # Errors
///
/// A sentence for the sender.
pub fn read(body: &[u8], series: Option<&SeriesName>) -> Result<NamedDots, String> {
    let wrong = |error: serde_json::Error| format!("body is no JSON that holds dots: {error}");
    if body.starts_with(b"\xef\xbb\xbf") {
        return Err("body begins with a byte order mark, expected JSON without one".into());
    }
    let mut dots = NamedDots::default();
    let mut input = serde_json::Deserializer::from_slice(body);
    Body { dots: &mut dots, series }.deserialize(&mut input).map_err(wrong)?;
    input.end().map_err(wrong)?;
    Ok(dots)
}

/// The outer list.
struct Body<'a> {
    dots: &'a mut NamedDots,
    series: Option<&'a SeriesName>,
}

impl<'de> DeserializeSeed<'de> for Body<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        input.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Body<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of [time, value] or of {\"series\", \"dots\"}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Body { dots, series } = self;
        let mut column = Column::default();
        while let Some(()) = list.next_element_seed(Element { dots, series, column: &mut column })? {}
        Ok(())
    }
}

/// A bare pair, or the dots of a series.
struct Element<'a> {
    dots: &'a mut NamedDots,
    series: Option<&'a SeriesName>,
    /// Scratch for the dots of a series whose name comes after them.
    column: &'a mut Column,
}

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        input.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Element<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[time, value] or {\"series\", \"dots\"}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, pair: A) -> Result<(), A::Error> {
        let series = self.series.ok_or_else(|| A::Error::custom(NO_SERIES))?;
        let (time, value) = read_pair(pair)?;
        self.dots.push_number(series, time, value);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let Element { dots, column, .. } = self;
        column.clear();
        let mut series: Option<SeriesName> = None;
        let mut format: Option<Format> = None;
        let mut has_dots = false;
        let once = |seen: bool, field| if seen { Err(A::Error::duplicate_field(field)) } else { Ok(true) };
        while let Some(key) = object.next_key::<String>()? {
            match key.as_str() {
                "series" => {
                    once(series.is_some(), "series")?;
                    let name: String = object.next_value()?;
                    series = Some(SeriesName::new(&name).map_err(A::Error::custom)?);
                }
                "format" => {
                    once(format.is_some(), "format")?;
                    let text: String = object.next_value()?;
                    let found = format.insert(Format::new(&text).map_err(A::Error::custom)?);
                    if has_dots && !found.is_number() {
                        let text = format!("format '{found}' stands behind its dots, expected before them");
                        return Err(A::Error::custom(text));
                    }
                }
                "dots" => {
                    has_dots = once(has_dots, "dots")?;
                    let shape = format.clone().map_or_else(Shape::number, Shape::from);
                    let gather = match &series {
                        Some(name) => Gather::Named(dots, name),
                        None => Gather::Column(column),
                    };
                    object.next_value_seed(Dots { gather, shape: &shape })?;
                }
                other => return Err(A::Error::unknown_field(&clip(other), &["series", "format", "dots"])),
            }
        }
        let series = series.ok_or_else(|| A::Error::missing_field("series"))?;
        if !has_dots {
            return Err(A::Error::missing_field("dots"));
        }
        dots.extend(&series, column);
        Ok(())
    }
}

/// Where the dots of a series go.
enum Gather<'a> {
    Named(&'a mut NamedDots, &'a SeriesName),
    /// Its name is not known yet.
    Column(&'a mut Column),
}

impl Gather<'_> {
    fn push(&mut self, shape: &Shape, time: Timestamp, cell: Cell<'_>) {
        match self {
            Gather::Named(dots, name) => dots.push(name, shape, time, cell),
            Gather::Column(column) => column.push(shape, time, cell),
        }
    }
}

/// The pairs of a series.
struct Dots<'a> {
    gather: Gather<'a>,
    shape: &'a Shape,
}

impl<'de> DeserializeSeed<'de> for Dots<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        input.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Dots<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of [time, value]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Dots { mut gather, shape } = self;
        let mut row = Vec::new();
        while let Some(()) = list.next_element_seed(Pair { gather: &mut gather, shape, row: &mut row })? {}
        Ok(())
    }
}

/// `[time, value]`, or with a value for each column.
struct Pair<'a, 'b> {
    gather: &'a mut Gather<'b>,
    shape: &'a Shape,
    /// Scratch.
    row: &'a mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Pair<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        input.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Pair<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[time, value]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, pair: A) -> Result<(), A::Error> {
        let Pair { gather, shape, row } = self;
        if shape.format().is_number() {
            let (time, value) = read_pair(pair)?;
            gather.push(shape, time, Cell::number(value));
        } else {
            let time = read_row(shape.format(), pair, row)?;
            let cell = Cell::from_row(shape.format(), row).map_err(A::Error::custom)?;
            gather.push(shape, time, cell);
        }
        Ok(())
    }
}

/// `[time, value]`.
fn read_pair<'de, A: SeqAccess<'de>>(mut pair: A) -> Result<(Timestamp, f64), A::Error> {
    let too_short = |found| A::Error::invalid_length(found, &"[time, value]");
    let time = next_time(&mut pair)?.ok_or_else(|| too_short(0))?;
    let value: &RawValue = pair.next_element()?.ok_or_else(|| too_short(1))?;
    let value = read_value(value.get()).map_err(A::Error::custom)?;
    if pair.next_element::<IgnoredAny>()?.is_some() {
        return Err(A::Error::custom(
            "found more than [time, value]; of several columns the format comes first",
        ));
    }
    Ok((time, value))
}

/// `[time, value, ...]` with a value for each letter of the format; puts their bytes into `row`.
fn read_row<'de, A: SeqAccess<'de>>(
    format: &Format,
    mut pair: A,
    row: &mut Vec<u8>,
) -> Result<Timestamp, A::Error> {
    let wrong = |found| {
        let expected = format!("[time, {} values] for format '{format}'", format.len());
        A::Error::invalid_length(found, &expected.as_str())
    };
    let time = next_time(&mut pair)?.ok_or_else(|| wrong(0))?;
    row.clear();
    for (column, letter) in format.letters().enumerate() {
        let raw: &RawValue = pair.next_element()?.ok_or_else(|| wrong(column + 1))?;
        put_value(letter, raw.get(), row).map_err(A::Error::custom)?;
    }
    if pair.next_element::<IgnoredAny>()?.is_some() {
        return Err(wrong(format.len() + 2));
    }
    Ok(time)
}

fn next_time<'de, A: SeqAccess<'de>>(pair: &mut A) -> Result<Option<Timestamp>, A::Error> {
    let Some(raw) = pair.next_element::<&RawValue>()? else { return Ok(None) };
    read_time(raw.get()).map(Some).map_err(A::Error::custom)
}

#[cfg(test)]
mod tests {
    use dotter_dot::{Value, put_row};

    use super::*;
    use crate::random::Random;
    use crate::trial::{all, numbers};

    fn read(body: &[u8]) -> Result<Vec<(String, u64, f64)>, String> {
        let rows = super::read(body, Some(&SeriesName::new("data").unwrap()))?;
        Ok(numbers(&rows))
    }

    #[test]
    fn bodies_that_are_taken() {
        let check = |body: &str, expected: &[(&str, u64, f64)]| {
            let expected: Vec<_> = expected.iter().map(|(n, t, v)| ((*n).to_owned(), *t, *v)).collect();
            assert_eq!(read(body.as_bytes()).as_ref(), Ok(&expected), "{body}");
        };
        check("[]", &[]);
        check(" [ ] \n", &[]);
        check("[[1, 2]]", &[("data", 1_000_000_000, 2.0)]);
        check(
            "[[1710504000.000000001,-0.5],[0,1e3]]",
            &[("data", 1_710_504_000_000_000_001, -0.5), ("data", 0, 1000.0)],
        );
        check(
            "[[1.5e3, 123456789012345678901234567890]]",
            &[("data", 1_500_000_000_000, 1.2345678901234568e29)],
        );
        check(
            "[[1, 9007199254740993], [1, 0.1]]",
            &[("data", 1_000_000_000, 9007199254740992.0), ("data", 1_000_000_000, 0.1)],
        );
        // One that a fast reader of floats gets wrong in the last bit.
        check("[[1, 1.2345678901234567e-7]]", &[("data", 1_000_000_000, 1.2345678901234567e-7)]);
        check("[[\"2024-03-15T12:00:00.25Z\", 1]]", &[("data", 1_710_504_000_250_000_000, 1.0)]);
        check(
            "[{\"series\": \"b;y=1;x=2\", \"dots\": [[1, 2], [2, 3]]}, {\"series\": \"a\", \"dots\": [[3, 4]]}]",
            &[
                ("b;x=2;y=1", 1_000_000_000, 2.0),
                ("b;x=2;y=1", 2_000_000_000, 3.0),
                ("a", 3_000_000_000, 4.0),
            ],
        );
        check(
            "[{\"dots\": [[1, 2]], \"format\": \"F\", \"series\": \"a\\u00e9\"}]",
            &[("aé", 1_000_000_000, 2.0)],
        );
        check("[{\"series\": \"a\", \"dots\": []}]", &[]);
    }

    #[test]
    fn values_of_every_format_are_taken_to_the_bit() {
        let check = |format: &str, dot: &str, cells: &[Value<'_>]| {
            let mut row = Vec::new();
            put_row(cells.iter().copied(), &mut row);
            let expected = [("a".to_owned(), format.to_owned(), 1_000_000_000, row)];
            let (name, dots) = ("\"series\": \"a\"", format!("\"format\": \"{format}\", \"dots\": [{dot}]"));
            // The name may come behind the dots.
            for body in [format!("[{{{name}, {dots}}}]"), format!("[{{{dots}, {name}}}]")] {
                let dots = super::read(body.as_bytes(), None).unwrap();
                assert_eq!(all(&dots), expected, "{body}");
            }
        };
        check("U", "[1, 18446744073709551615]", &[Value::U64(u64::MAX)]);
        check("I", "[1, -9223372036854775808]", &[Value::I64(i64::MIN)]);
        check("i", "[1, -7]", &[Value::I32(-7)]);
        check("f", "[1, 0.1]", &[Value::F32(0.1)]);
        check("s", "[1, \"a line \\u00e9\"]", &[Value::Text("a line é")]);
        check("b", "[1, \"\"]", &[Value::Bytes(&[])]);
        check(
            "bs",
            "[1, \"AP\\/\\u002bgA==\", \"AP/+gA==\"]",
            &[Value::Bytes(&[0, 0xff, 0xfe, 0x80]), Value::Text("AP/+gA==")],
        );
        check("Fsu", "[1, -0.0, \"\", 4]", &[Value::F64(-0.0), Value::Text(""), Value::U32(4)]);
    }

    #[test]
    fn bodies_that_are_refused_say_what_was_found_and_where() {
        let check = |body: &[u8], expected: &str| {
            let error = read(body).unwrap_err();
            assert!(error.contains(expected), "{}: {error}", String::from_utf8_lossy(body));
            assert!(error.len() < 300, "{error}");
        };
        check(b"", "EOF while parsing a value at line 1 column 0");
        check(b"\xef\xbb\xbf[[1, 2]]", "byte order mark");
        check(b"<html>", "expected value at line 1 column 1");
        check(b"null", "invalid type: null, expected a list of [time, value] or of {\"series\", \"dots\"}");
        check(b"{\"series\": \"a\", \"dots\": []}", "invalid type: map, expected a list");
        check(
            b"[1]",
            "invalid type: integer `1`, expected [time, value] or {\"series\", \"dots\"} at line 1 column 2",
        );
        check(b"[[1]]", "invalid length 1, expected [time, value]");
        check(b"[[]]", "invalid length 0, expected [time, value]");
        check(b"[[1, 2, 3]]", "found more than [time, value]");
        check(b"[[1, null]]", "found null as a value, expected a number at line 1 column 10");
        check(b"[[1, true]]", "found true as a value");
        check(b"[[1, \"2\"]]", "found the text \"2\" as a value");
        check(b"[[1, [2]]]", "found a list as a value");
        check(b"[[1, {}]]", "found an object as a value");
        check(b"[[null, 1]]", "found null as a time, expected seconds since 1970 or RFC 3339 text");
        check(b"[[\"yesterday\", 1]]", "time 'yesterday' is not of the form");
        check(b"[[-1, 1]]", "time '-1' lies outside 1970 to 2554");
        check(b"[[1e400, 1]]", "lies outside 1970 to 2554");
        check(b"[[1, 1e400]]", "'1e400' does not fit into 64 bits of a float");
        check(b"[[1, NaN]]", "expected value at line 1 column 6");
        check(b"[[1, 01]]", "at line 1 column 7");
        check(b"[[1, 2]] x", "trailing characters at line 1 column 10");
        check(b"[[1, 2]][[1, 2]]", "trailing characters");
        check(b"[[1, 2],]", "trailing comma");
        check(b"[[1, 2]", "EOF while parsing a list");
        check(b"[{\"dots\": []}]", "missing field `series`");
        check(b"[{\"series\": \"a\"}]", "missing field `dots`");
        check(b"[{\"series\": \"a\", \"series\": \"b\", \"dots\": []}]", "duplicate field `series`");
        check(b"[{\"series\": \"a\", \"dots\": [], \"dots\": []}]", "duplicate field `dots`");
        check(b"[{\"serie\": \"a\"}]", "unknown field `serie`, expected one of `series`, `format`, `dots`");
        check(b"[{\"series\": \"\", \"dots\": []}]", "series name is empty");
        check(b"[{\"series\": 7, \"dots\": []}]", "invalid type: integer `7`, expected a string");
        check(b"[{\"series\": \"a\\n\", \"dots\": []}]", "control character");
        check(b"[{\"series\": \"\\ud800\", \"dots\": []}]", "unexpected end of hex escape");
        check(b"[{\"series\": \"\xff\", \"dots\": []}]", "invalid unicode code point");
        let typed = |format: &str, dot: &str| {
            format!("[{{\"series\": \"a\", \"format\": \"{format}\", \"dots\": [{dot}]}}]").into_bytes()
        };
        check(&typed("s", "[1, 2]"), "found 2 as a value, expected a text");
        check(&typed("b", "[1, 2]"), "found 2 as a value, expected bytes as base64 text");
        for text in ["0x0", "AA", "AB==", "AA==\\n", "_-8="] {
            let found =
                format!("found the text \"{text}\" as a value, expected bytes as base64 text with padding");
            check(&typed("b", &format!("[1, \"{text}\"]")), &found);
        }
        check(&typed("U", "[1, \"2\"]"), "found the text \"2\" as a value, expected a number");
        check(&typed("U", "[1, -2]"), "-2");
        check(&typed("i", "[1, 2147483648]"), "2147483648");
        check(&typed("I", "[1, 1.5]"), "1.5");
        check(&typed("f", "[1, 1e39]"), "does not fit into 32 bits");
        check(&typed("FU", "[1, 1]"), "invalid length 2, expected [time, 2 values] for format 'FU'");
        check(&typed("FU", "[1, 1, 1, 1]"), "invalid length 4, expected [time, 2 values]");
        check(
            b"[{\"series\": \"a\", \"dots\": [[1, 2]], \"format\": \"U\"}]",
            "format 'U' stands behind its dots, expected before them",
        );
        check(b"[{\"series\": \"a\", \"format\": \"x\", \"dots\": []}]", "format 'x' is not 1 to 64 of");
        check(b"[{\"series\": \"a\", \"dots\": [[1, 2], [3]]}]", "invalid length 1, expected [time, value]");
        check(b"[{\"series\": \"a\", \"dots\": {}}]", "invalid type: map, expected a list of [time, value]");
    }

    #[test]
    fn bombs_are_refused_in_bounded_time() {
        for (open, close) in
            [("[", "]"), ("[[1,", "]]"), ("{\"a\":", "}"), ("[[", "]]"), ("[{\"dots\":", "}]")]
        {
            let bomb = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
            read(bomb.as_bytes()).unwrap_err();
            read(open.repeat(100_000).as_bytes()).unwrap_err();
        }
        let long = format!("[[1, \"{}\"]]", "x".repeat(4 << 20));
        assert!(read(long.as_bytes()).unwrap_err().len() < 300);
        let long = format!("[{{\"{}\": 1}}]", "x".repeat(4 << 20));
        assert!(read(long.as_bytes()).unwrap_err().len() < 300);
        let long = format!("[[{}, 1]]", "1".repeat(4 << 20));
        assert!(read(long.as_bytes()).unwrap_err().len() < 300);
        let long = format!("[{{\"series\": \"{}\", \"dots\": []}}]", "x".repeat(4 << 20));
        assert!(read(long.as_bytes()).unwrap_err().contains("4194304 bytes"));
    }

    #[test]
    fn noise_is_refused_or_taken_whole() {
        let whole = br#"[[1710504000.25, -1.5e3], {"series": "a;b=1", "format": "F", "dots": [["2024-03-15T12:00:00Z", 7]]}]"#;
        let inserted = b"[]{},:\"0e.- ";
        let mut random = Random::new();
        let mut taken = 0;
        for _ in 0..20_000 {
            let mut body = whole.to_vec();
            for _ in 0..=random.below(3) {
                let at = random.below(body.len() as u64) as usize;
                match random.below(4) {
                    0 => body[at] = random.below(256) as u8,
                    1 => body.truncate(at.max(1)),
                    2 => _ = body.remove(at),
                    _ => body.insert(at, inserted[random.below(inserted.len() as u64) as usize]),
                }
                if body.is_empty() {
                    break;
                }
            }
            if let Ok(dots) = read(&body) {
                taken += 1;
                assert!(dots.len() <= 2 && dots.iter().all(|(_, _, value)| value.is_finite()));
            }
        }
        assert!(taken > 100, "some noise is harmless: {taken}");
    }
}
