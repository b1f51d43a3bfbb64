//! What a line says.

use std::borrow::Cow;
use std::fmt;

use dotter_dot::{SeriesName, parse_number};
use dotter_publisher::Timestamp;
use regex::Regex;

use super::times::{parse_date, parse_time};

/// How lines are to be understood.
#[derive(Debug)]
pub enum Input {
    /// `series value [time]`.
    Lines,
    /// An access log of nginx, or of whatever writes the like: the last field is the value, the time stands
    /// in brackets.
    ///
    /// Several servers may have been asked for one answer, and nginx then names the time of each: with a
    /// comma between them, with a colon where it went on to another group. The answer took all of them, so
    /// the value is their sum; `-` stands for a server that gave no time and adds nothing.
    Nginx {
        /// What the values are.
        series: SeriesName,
    },
    /// Whatever the pattern finds.
    Regex {
        /// It names what it finds.
        pattern: Pattern,
        /// Where the pattern finds no series.
        series: Option<SeriesName>,
    },
}

/// A regular expression with a group `value`, and maybe groups `series` and `time`.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

/// Why a text is no [`Pattern`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum PatternError {
    /// It is no regular expression.
    Syntax(regex::Error),
    /// It would find no value.
    NoValue,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PatternError::Syntax(error) => write!(f, "{error}"),
            PatternError::NoValue => {
                f.write_str("no group (?<value>...) in it: the value would not be found")
            }
        }
    }
}

impl std::error::Error for PatternError {}

impl Pattern {
    /// Reads a pattern; searching takes time that is linear in the line, whatever the pattern.
    ///
    /// # Errors
    ///
    /// [`PatternError`], for no regular expression (or one of more than 10 MB) and one without a value.
    pub fn new(text: &str) -> Result<Pattern, PatternError> {
        let regex = Regex::new(text).map_err(PatternError::Syntax)?;
        if regex.capture_names().flatten().any(|name| name == "value") {
            Ok(Pattern(regex))
        } else {
            Err(PatternError::NoValue)
        }
    }

    /// Whether it can find the name of a series.
    pub fn finds_series(&self) -> bool {
        self.0.capture_names().flatten().any(|name| name == "series")
    }
}

/// Why a line is no dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Bad {
    TooLong,
    NotUtf8,
    Fields,
    Unmatched,
    Name,
    Value,
    Time,
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Bad::TooLong => "longer than 64 KiB",
            Bad::NotUtf8 => "not UTF-8",
            Bad::Fields => "not 2 or 3 fields",
            Bad::Unmatched => "not as the pattern says",
            Bad::Name => "no series name",
            Bad::Value => "no value",
            Bad::Time => "no time",
        })
    }
}

/// What a line says.
#[derive(Debug, PartialEq)]
pub(super) struct Reading<'a> {
    pub(super) series: Cow<'a, str>,
    /// `None` where the line says that there was nothing to measure.
    pub(super) value: Option<f64>,
    /// `None` where the line does not say.
    pub(super) time: Option<Timestamp>,
}

impl Input {
    /// What `line`, which has no blanks around it and is not empty, says.
    pub(super) fn read<'a>(&'a self, line: &'a str) -> Result<Reading<'a>, Bad> {
        match self {
            Input::Lines => read_fields(line),
            Input::Nginx { series } => {
                let value = measured(last_field(line))?;
                let time = Some(bracketed_time(line).ok_or(Bad::Time)?);
                Ok(Reading { series: series.as_str().into(), value, time })
            }
            Input::Regex { pattern: Pattern(regex), series } => {
                let found = regex.captures(line).ok_or(Bad::Unmatched)?;
                let group = |name: &str| found.name(name).map(|part| part.as_str());
                let value = measured(group("value").ok_or(Bad::Value)?)?;
                let name = group("series").or(series.as_ref().map(SeriesName::as_str)).ok_or(Bad::Name)?;
                let time = group("time").map(|time| parse_time(time).ok_or(Bad::Time)).transpose()?;
                Ok(Reading { series: name.into(), value, time })
            }
        }
    }
}

fn read_fields(line: &str) -> Result<Reading<'_>, Bad> {
    let (series, rest) = split_name(line);
    let mut fields = rest.split_ascii_whitespace();
    let value = fields.next().ok_or(Bad::Fields)?;
    let time = fields.next();
    if fields.next().is_some() {
        return Err(Bad::Fields);
    }
    let value = Some(parse_number(value).map_err(|_| Bad::Value)?);
    let time = time.map(|time| parse_time(time).ok_or(Bad::Time)).transpose()?;
    Ok(Reading { series, value, time })
}

/// The name up to the first blank without a backslash before it, and what follows.
fn split_name(text: &str) -> (Cow<'_, str>, &str) {
    let plain = text.find(|c: char| c == '\\' || c.is_ascii_whitespace()).unwrap_or(text.len());
    if !text[plain..].starts_with('\\') {
        return (text[..plain].into(), &text[plain..]);
    }
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => name.extend(chars.next().map(|(_, c)| c)),
            c if c.is_ascii_whitespace() => return (name.into(), &text[at..]),
            c => name.push(c),
        }
    }
    (name.into(), "")
}

/// What stands last in a line: in quotes, or without a blank but for those in a list of times.
fn last_field(line: &str) -> &str {
    if let Some(quoted) = line.strip_suffix('"') {
        return &quoted[quoted.rfind('"').map_or(0, |quote| quote + 1)..];
    }
    let mut rest = line;
    loop {
        let start = last_word(rest);
        // A name stands before the first of a list only.
        if without_key(&rest[start..]) != &rest[start..] {
            return &line[start..];
        }
        let before = rest[..start].trim_ascii_end();
        let separated = if let Some(before) = before.strip_suffix(" :") {
            Some(before.trim_ascii_end())
        } else {
            before.ends_with(',').then_some(before)
        };
        match separated {
            Some(list) if is_time(&list[last_word(list)..]) => rest = list,
            _ => return &line[start..],
        }
    }
}

/// Where the last word begins.
fn last_word(text: &str) -> usize {
    text.rfind(|c: char| c.is_ascii_whitespace()).map_or(0, |blank| blank + 1)
}

/// Whether a word is a time in a list of them, with the comma behind it and maybe the name before it.
fn is_time(word: &str) -> bool {
    let word = without_key(word.strip_suffix(',').unwrap_or(word));
    word == "-" || word.parse::<f64>().is_ok()
}

/// `rt=0.1` is `0.1`.
fn without_key(field: &str) -> &str {
    match field.split_once('=') {
        Some((key, value)) if key.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_') => value,
        _ => field,
    }
}

/// A number, or the sum of several; `None` where all are `-`.
fn measured(field: &str) -> Result<Option<f64>, Bad> {
    let mut sum = None;
    for part in without_key(field.trim_ascii()).split(", ").flat_map(|group| group.split(" : ")) {
        let part = part.trim_ascii();
        if part == "-" {
            continue;
        }
        let number = parse_number(part).map_err(|_| Bad::Value)?;
        sum = Some(sum.unwrap_or(0.0) + number);
    }
    if sum.is_none_or(f64::is_finite) { Ok(sum) } else { Err(Bad::Value) }
}

/// The first time in brackets.
fn bracketed_time(line: &str) -> Option<Timestamp> {
    let mut parts = line.split('[');
    parts.next();
    parts.find_map(|part| parse_date(part.split_once(']')?.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nginx() -> Input {
        Input::Nginx { series: SeriesName::new("nginx.request_time").unwrap() }
    }

    #[test]
    fn the_last_field_of_an_access_log_is_the_value() {
        const HEAD: &str =
            r#"10.0.0.1 - - [20/Nov/2026:13:55:36 +0100] "GET /a?b=c HTTP/1.1" 200 612 "-" "curl/8 (x, y)""#;
        let check = |tail: &str, expected: Result<Option<f64>, Bad>| {
            let line = format!("{HEAD}{tail}");
            let input = nginx();
            let found = input.read(&line).map(|reading| {
                assert_eq!(reading.series, "nginx.request_time");
                assert_eq!(reading.time.unwrap().to_string(), "2026-11-20T12:55:36Z");
                reading.value
            });
            assert_eq!(found, expected, "{line}");
        };
        check(" 0.042", Ok(Some(0.042)));
        check("\t0.042", Ok(Some(0.042)));
        check(" 17", Ok(Some(17.0)));
        check(" 0.000", Ok(Some(0.0)));
        check(r#" "0.042""#, Ok(Some(0.042)));
        check(" rt=0.042", Ok(Some(0.042)));
        check(r#" rt="0.042""#, Ok(Some(0.042)));
        check(" 0.250 0.042", Ok(Some(0.042)));
        check(" -", Ok(None));
        check(r#" "-""#, Ok(None));
        check(" 0.5, 0.25", Ok(Some(0.75)));
        check(" 0.5, 0.25 : 1.0", Ok(Some(1.75)));
        check(" 0.5 : 0.25, 1.0", Ok(Some(1.75)));
        check(" 9 0.5, -, 0.25", Ok(Some(0.75)));
        check(" -, -", Ok(None));
        check(" - : 0.5", Ok(Some(0.5)));
        check(" urt=0.5, 0.25", Ok(Some(0.75)));
        check(r#" urt="0.5, 0.25 : 1.0""#, Ok(Some(1.75)));
        check(" status=200, rt=0.25", Ok(Some(0.25)));
        check(" total : 0.25", Ok(Some(0.25)));
        check("", Err(Bad::Value));
        check(" 0.042s", Err(Bad::Value));
        check(" 0,042", Err(Bad::Value));
        check(" nan", Err(Bad::Value));
        check(" inf", Err(Bad::Value));
        check(" 1e308, 1e308", Err(Bad::Value));
        check(r#" """#, Err(Bad::Value));
        check(" ,", Err(Bad::Value));
        check(" 0.1,", Err(Bad::Value));
    }

    #[test]
    fn a_value_too_large_for_a_float_is_no_infinity() {
        let value = |line| Input::Lines.read(line).map(|reading| reading.value);
        for line in ["a 1e400", "a -1e309 5"] {
            assert_eq!(value(line), Err(Bad::Value), "{line}");
        }
        assert_eq!(value("a inf"), Ok(Some(f64::INFINITY)));
        assert_eq!(value("a 1e-400"), Ok(Some(0.0)));
    }

    #[test]
    fn the_time_is_the_first_that_stands_in_brackets() {
        let check = |line: &str, expected: Result<&str, Bad>| {
            let input = nginx();
            let found = input.read(line).map(|reading| reading.time.unwrap().to_string());
            assert_eq!(found.as_deref().map_err(|bad| *bad), expected, "{line}");
        };
        check("[20/Nov/2026:13:55:36 +0100] 1", Ok("2026-11-20T12:55:36Z"));
        check("[2026-11-20T13:55:36+01:00] 1", Ok("2026-11-20T12:55:36Z"));
        check("[::1] [20/Nov/2026:13:55:36 +0000] /[x] 1", Ok("2026-11-20T13:55:36Z"));
        check("[[20/Nov/2026:13:55:36 +0000] 1", Ok("2026-11-20T13:55:36Z"));
        check("20/Nov/2026:13:55:36 +0100 1", Err(Bad::Time));
        check("[20/Nov/2026:13:55:36 +0100 1", Err(Bad::Time));
        check("[yesterday] 1", Err(Bad::Time));
        check("1", Err(Bad::Time));
        check("] [ 1", Err(Bad::Time));
        check("[] 1", Err(Bad::Time));
    }

    #[test]
    fn a_pattern_finds_what_it_names() {
        let check = |pattern: &str, line: &str, expected: Result<(&str, Option<f64>, Option<&str>), Bad>| {
            let series = Some(SeriesName::new("other").unwrap());
            let input = Input::Regex { pattern: Pattern::new(pattern).unwrap(), series };
            let found = input.read(line);
            let time = found.as_ref().ok().and_then(|found| found.time).map(|time| time.to_string());
            let found = found.as_ref().map(|found| (&*found.series, found.value, time.as_deref()));
            assert_eq!(found.map_err(|bad| *bad), expected, "{pattern} in {line}");
        };
        let pattern = r"^(?<time>\S+) (?<series>\w+) took (?<value>\S+) ms";
        check(
            pattern,
            "1710504000 query took 12.5 ms",
            Ok(("query", Some(12.5), Some("2024-03-15T12:00:00Z"))),
        );
        check(
            pattern,
            "2024-03-15T12:00:00Z query took - ms",
            Ok(("query", None, Some("2024-03-15T12:00:00Z"))),
        );
        check(pattern, "1710504000 query failed", Err(Bad::Unmatched));
        check(pattern, "noon query took 12.5 ms", Err(Bad::Time));
        check(pattern, "1710504000 query took long ms", Err(Bad::Value));
        check(r"\[(?P<time>[^\]]+)\].* (?P<value>\d+)$", "[20/Nov/2026:13:55:36 +0100] 7", {
            Ok(("other", Some(7.0), Some("2026-11-20T12:55:36Z")))
        });
        check(r"(?:(?<series>\w+)=)?(?<value>\d+)", "7", Ok(("other", Some(7.0), None)));
        check(r"(?<value>\d+)?x", "x", Err(Bad::Value));
        assert!(matches!(Pattern::new("("), Err(PatternError::Syntax(_))));
        assert!(matches!(Pattern::new(r"(?<val>\d+)"), Err(PatternError::NoValue)));
    }

    proptest! {
        #[test]
        fn no_line_is_too_strange(
            line in prop::collection::vec(
                prop_oneof![
                    Just("0.1"), Just("-"), Just(", "), Just(" : "), Just(":"), Just(","), Just(" "), Just("\""),
                    Just("["), Just("]"), Just("="), Just("rt="), Just("ä"), Just("20/Nov/2026:13:55:36 +0100"),
                ],
                1..20,
            ),
        ) {
            let line = line.concat();
            let _ = nginx().read(line.trim_ascii());
            let _ = Input::Lines.read(line.trim_ascii());
        }
    }
}
