//! The text that programs show to Prometheus, with times: what `promtool` takes to fill a database with.
//!
//! A sample becomes a dot of the series `name;label=value`, as Graphite writes tags. Metadata and exemplars are
//! left out.
//!
//! OpenMetrics ends with `# EOF`: a file without it was cut short, maybe within a number, and none of it is taken. In
//! the Prometheus text that is a comment like others, and no end can be missed.
//!
//! Source: OpenMetrics 1.0 and the Prometheus text format 0.0.4, with names in quotes as Prometheus 3 writes them.

use std::io::BufRead;

use dotter_dot::{Cell, Shape, Timestamp, parse_number};
use dotter_intake::row_text::TimeUnit;

use super::Import;
use crate::error::Error;
use crate::lines::{Line, Lines};

/// Labels of one sample.
const LABELS_MAX: usize = 256;

/// - `unit`: what times count
pub(super) fn read(import: &mut Import<'_>, input: &mut dyn BufRead, unit: TimeUnit) -> Result<(), Error> {
    let mut lines = Lines::new(input);
    let shape = Shape::number();
    let has_mark = import.options.openmetrics;
    let mut is_over = false;
    loop {
        let number = lines.number() + 1;
        let (text, has_end) = match lines.next().map_err(import.input_error())? {
            None if has_mark && !is_over => {
                let what = "the file ends before this line, expected '# EOF' as its last: it was cut short";
                return import.bad(number, what);
            }
            None => return Ok(()),
            Some(Line::Bad(what)) => {
                import.bad(number, what)?;
                continue;
            }
            Some(Line::Text { text, has_end }) => (text.trim_matches(is_blank), has_end),
        };
        if is_over && !text.is_empty() {
            import.bad(number, format!("'{}' behind '# EOF', expected the end of the file", clip(text)))?;
            continue;
        }
        if has_mark && text == "# EOF" {
            is_over = true;
            continue;
        }
        if has_mark && !has_end && !is_over {
            let what = "the file ends within this line, expected '# EOF' as its last: it was cut short";
            return import.bad(number, what);
        }
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        match sample(text, unit, import.options.at) {
            Ok((name, time, value)) => {
                import.row(number, &name, &shape, time, Cell::Word(value.to_bits()))?;
            }
            Err(what) => import.bad(number, what)?,
        }
    }
}

fn is_blank(letter: char) -> bool {
    matches!(letter, ' ' | '\t')
}

/// Reads a line such as `requests_total{code="200"} 7 1710504000`; what is wrong with it otherwise.
fn sample(line: &str, unit: TimeUnit, at: Option<Timestamp>) -> Result<(String, Timestamp, f64), String> {
    let name_end = line.find(|letter| letter == '{' || is_blank(letter)).unwrap_or(line.len());
    let (bare, rest) = line.split_at(name_end);
    let (name, rest) = match rest.trim_start_matches(is_blank).strip_prefix('{') {
        Some(labels) => series(bare, labels)?,
        None => (bare.to_owned(), rest),
    };
    if name.is_empty() {
        return Err("a sample without a name".to_owned());
    }
    // What follows `#` is an exemplar.
    let rest = rest.split_once(" #").map_or(rest, |(rest, _)| rest);
    let mut fields = rest.split(is_blank).filter(|field| !field.is_empty());
    let value = fields.next().ok_or("a sample without a value")?;
    let value = parse_number(value).map_err(|error| error.to_string())?;
    let time = match (fields.next(), at) {
        (Some(time), _) => unit.read(time)?,
        (None, Some(at)) => at,
        (None, None) => return Err("a sample without a time; --at says when such were measured".to_owned()),
    };
    if let Some(more) = fields.next() {
        return Err(format!("'{}' behind the time of a sample", clip(more)));
    }
    Ok((name, time, value))
}

/// Reads labels up to their `}`; gives the series' name and what stands behind.
fn series<'a>(bare: &str, labels: &'a str) -> Result<(String, &'a str), String> {
    let mut name = bare.to_owned();
    let mut tags = String::new();
    // The last of a tag twice would win, and two series would be one.
    let mut seen: Vec<String> = Vec::new();
    let mut rest = labels;
    for _ in 0..=LABELS_MAX {
        rest = rest.trim_start_matches(|letter| is_blank(letter) || letter == ',');
        if let Some(rest) = rest.strip_prefix('}') {
            return Ok((name + &tags, rest));
        }
        let label;
        (label, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_text(quoted)?,
            None => {
                let end = rest.find(['=', ',', '}', '"']).ok_or("labels without their '}'")?;
                (rest[..end].trim_matches(is_blank).to_owned(), &rest[end..])
            }
        };
        let Some(value) = rest.trim_start_matches(is_blank).strip_prefix('=') else {
            // A name in quotes among the labels is that of the metric.
            if !name.is_empty() || label.is_empty() {
                return Err(format!("label '{}' without a value", clip(&label)));
            }
            name = label;
            continue;
        };
        let value = value.trim_start_matches(is_blank).strip_prefix('"');
        let value =
            value.ok_or_else(|| format!("label '{}' without quotes around its value", clip(&label)))?;
        let text;
        (text, rest) = quoted_text(value)?;
        if label.is_empty() || label.contains([';', '=']) || text.contains(';') {
            return Err(format!("label '{}' of '{}' cannot be a tag", clip(&label), clip(&text)));
        }
        if seen.contains(&label) {
            return Err(format!("label '{}' twice, expected each once", clip(&label)));
        }
        // A label without a value is one that is not there.
        if !text.is_empty() {
            tags.extend([";", &label, "=", &text]);
        }
        seen.push(label);
    }
    Err(format!("more than {LABELS_MAX} labels"))
}

/// Reads up to the closing quote.
fn quoted_text(text: &str) -> Result<(String, &str), String> {
    let mut out = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Ok((out, &text[at + 1..])),
            '\\' => match letters.next() {
                Some((_, 'n')) => out.push('\n'),
                Some((_, other)) => out.push(other),
                None => break,
            },
            other => out.push(other),
        }
    }
    Err("quotes that do not end".to_owned())
}

fn clip(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_sample_is_a_series_with_tags() {
        let check = |line: &str, name: &str, nanos: u64, value: f64| {
            let found = sample(line, TimeUnit::S, None).unwrap_or_else(|what| panic!("{line}: {what}"));
            assert_eq!(found, (name.to_owned(), Timestamp::from_nanos(nanos), value), "{line}");
        };
        check("up 1 5", "up", 5_000_000_000, 1.0);
        check("up{} 1 5.5", "up", 5_500_000_000, 1.0);
        check(
            "a_total{code=\"200\",path=\"/a b\"} 7e3\t5",
            "a_total;code=200;path=/a b",
            5_000_000_000,
            7000.0,
        );
        check("a { x = \"1\" , } +Inf 5", "a;x=1", 5_000_000_000, f64::INFINITY);
        check("a{x=\"a\\\"b\\\\\",y=\"\"} 1 5", "a;x=a\"b\\", 5_000_000_000, 1.0);
        check("{\"my.metric\",x=\"1\"} 1 5", "my.metric;x=1", 5_000_000_000, 1.0);
        check("a_bucket{le=\"0.1\"} 8 5 # {trace=\"x\"} 0.05 4", "a_bucket;le=0.1", 5_000_000_000, 8.0);
        let millis = sample("up 1 1500", TimeUnit::Ms, None).unwrap();
        assert_eq!(millis.1, Timestamp::from_nanos(1_500_000_000));
        assert_eq!(sample("up 1", TimeUnit::S, Some(Timestamp::MIN)).unwrap().1, Timestamp::MIN);
        for (line, told) in [
            ("up", "without a value"),
            ("up 1", "--at"),
            ("up x 5", "'x' is not a number"),
            ("up 1e400 5", "'1e400' does not fit into 64 bits"),
            ("up 1 x", "'x' is not a number that says a time"),
            ("up 1 5 6", "'6' behind"),
            ("up{x=\"1\" 1 5", "without their '}'"),
            ("up{x=\"1} 1 5", "quotes that do not end"),
            ("up{x=1} 1 5", "without quotes"),
            ("up{x} 1 5", "without a value"),
            ("up{x=\"a;b\"} 1 5", "cannot be a tag"),
            ("up{x=\"1\",y=\"1\",x=\"2\"} 1 5", "label 'x' twice"),
            ("up{x=\"1\",\"x\"=\"1\"} 1 5", "label 'x' twice"),
            ("up{x=\"\",x=\"1\"} 1 5", "label 'x' twice"),
            ("{} 1 5", "without a name"),
        ] {
            let what = sample(line, TimeUnit::S, None).expect_err(line);
            assert!(what.contains(told), "{line}: {what}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_line_says_it_is_read_or_refused(line in any::<String>(), tail in "[a-c{}\"=,\\\\ 1.#]{0,30}") {
            let _ = sample(&line, TimeUnit::S, None);
            let _ = sample(&tail, TimeUnit::S, None);
        }
    }
}
