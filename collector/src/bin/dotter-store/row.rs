//! A dot as a line of text: series, time, value, with blanks between.

use std::borrow::Cow;

use dotter_dot::{Format, SeriesName, Timestamp};

/// Reads a time: whole nanoseconds since 1970, or RFC 3339.
pub(crate) fn parse_time(text: &str) -> Result<Timestamp, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let nanos = text.parse().map_err(|_| format!("'{text}' lies beyond the year 2554"))?;
        return Ok(Timestamp::from_nanos(nanos));
    }
    Timestamp::parse_rfc3339(text)
        .map_err(|error| format!("'{text}' is neither whole nanoseconds since 1970 nor RFC 3339: {error}"))
}

/// Reads a row `series time [format] value`; what is wrong with it otherwise.
pub(crate) fn parse(line: &str) -> Result<(SeriesName, Timestamp, f64), String> {
    let fields = split(line)?;
    let (name, time, value) = match &fields[..] {
        [name, time, value] => (name, time, value),
        [name, time, format, value] => match Format::new(format) {
            Ok(format) if format.is_number() => (name, time, value),
            Ok(format) => return Err(format!("format {format} is not stored yet, only F (f64) is")),
            Err(error) => return Err(error.to_string()),
        },
        fields => return Err(format!("{} fields, expected series, time and value", fields.len())),
    };
    let name = SeriesName::new(name).map_err(|error| format!("series '{name}': {error}"))?;
    let time = parse_time(time)?;
    let value = value.parse().map_err(|_| format!("'{value}' is not a number"))?;
    Ok((name, time, value))
}

/// The fields of a line, blanks within them freed of their backslash.
fn split(line: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut field: Option<String> = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            ' ' | '\t' | '\r' => fields.extend(field.take()),
            '\\' => {
                let escaped = letters.next().ok_or("a backslash at the end of the line")?;
                field.get_or_insert_default().push(escaped);
            }
            letter => field.get_or_insert_default().push(letter),
        }
    }
    fields.extend(field);
    Ok(fields)
}

/// A name with a backslash before its blanks and backslashes.
pub(crate) fn escape(name: &str) -> Cow<'_, str> {
    if !name.contains([' ', '\\']) {
        return Cow::Borrowed(name);
    }
    let mut escaped = String::with_capacity(name.len() + 8);
    for letter in name.chars() {
        if matches!(letter, ' ' | '\\') {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    Cow::Owned(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_series_time_and_value() {
        let row =
            |line| parse(line).map(|(name, time, value)| (name.as_str().to_owned(), time.nanos(), value));
        assert_eq!(row("a.b 5 1.5"), Ok(("a.b".into(), 5, 1.5)));
        assert_eq!(row("  a\\ b\\\\ \t 1970-01-01T00:00:01Z  F -inf\r"), {
            Ok(("a b\\".into(), 1_000_000_000, f64::NEG_INFINITY))
        });
        for (line, told) in [
            ("", "0 fields"),
            ("a 5", "2 fields"),
            ("a 5 1 2 3", "5 fields"),
            ("a 5 f 1", "format f"),
            ("a 5 Q 1", "Q"),
            ("a 5 x", "'x' is not a number"),
            ("a -5 1", "'-5'"),
            ("a 99999999999999999999 1", "beyond the year 2554"),
            ("a\u{1}b 5 1", "series"),
            ("a 5 1\\", "backslash"),
        ] {
            let error = row(line).unwrap_err();
            assert!(error.contains(told), "{line:?}: {error}");
        }
    }

    #[test]
    fn a_name_comes_back_from_its_row() {
        for name in ["a.b;c=d", "a b", "a\\", "\\ x"] {
            let line = format!("{} 7 1", escape(name));
            assert_eq!(split(&line).unwrap()[0], name);
        }
    }
}
