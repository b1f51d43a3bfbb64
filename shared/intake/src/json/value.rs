//! One time and one value of JSON, read from their text.

use dotter_dot::{Letter, Timestamp, Value, parse_number, put_row, read_base64};

/// How many characters of the input an error shows.
const QUOTE_CHARS_MAX: usize = 40;

/// Appends one column's value.
pub(super) fn put_value(letter: Letter, raw: &str, row: &mut Vec<u8>) -> Result<(), String> {
    match (letter, raw.as_bytes()[0]) {
        (Letter::Text, b'"') => {
            let text: String = serde_json::from_str(raw).map_err(|error| error.to_string())?;
            put_row([Value::Text(&text)], row);
        }
        (Letter::Bytes, b'"') => {
            let text: String = serde_json::from_str(raw).map_err(|error| error.to_string())?;
            let mut bytes = Vec::new();
            read_base64(&text, &mut bytes).ok_or_else(|| no_bytes(raw))?;
            put_row([Value::Bytes(&bytes)], row);
        }
        (Letter::F64, _) => put_row([Value::F64(read_value(raw)?)], row),
        (letter, b'-' | b'0'..=b'9') if letter.is_number() => {
            let mut scratch = Vec::new();
            let value = Value::parse(letter, raw, &mut scratch).map_err(|error| error.to_string())?;
            put_row([value], row);
        }
        (Letter::Bytes, _) => return Err(no_bytes(raw)),
        (Letter::Text, _) => return Err(format!("found {} as a value, expected a text", kind(raw))),
        _ => return Err(format!("found {} as a value, expected a number", kind(raw))),
    }
    Ok(())
}

fn no_bytes(raw: &str) -> String {
    format!("found {} as a value, expected bytes as base64 text with padding", kind(raw))
}

/// `raw` is one JSON value, already found well-formed.
pub(super) fn read_time(raw: &str) -> Result<Timestamp, String> {
    match raw.as_bytes()[0] {
        b'-' | b'0'..=b'9' => Timestamp::parse_seconds(raw).map_err(|error| error.to_string()),
        b'"' => {
            let text: String = serde_json::from_str(raw).map_err(|error| error.to_string())?;
            Timestamp::parse_rfc3339(&text).map_err(|error| error.to_string())
        }
        _ => Err(format!("found {} as a time, expected seconds since 1970 or RFC 3339 text", kind(raw))),
    }
}

pub(super) fn read_value(raw: &str) -> Result<f64, String> {
    if !matches!(raw.as_bytes()[0], b'-' | b'0'..=b'9') {
        return Err(format!("found {} as a value, expected a number", kind(raw)));
    }
    parse_number(raw).map_err(|error| error.to_string())
}

fn kind(raw: &str) -> String {
    match raw.as_bytes()[0] {
        b'[' => "a list".into(),
        b'{' => "an object".into(),
        b'"' => format!("the text {}", clip(raw)),
        _ => clip(raw),
    }
}

pub(super) fn clip(text: &str) -> String {
    match text.char_indices().nth(QUOTE_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
