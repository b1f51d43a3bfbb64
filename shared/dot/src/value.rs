//! A value as text.

use std::fmt;

use crate::encoding::read_hex;
use crate::{Letter, Value};

/// Why a text is no value of a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueError {
    /// What was wanted.
    pub letter: Letter,
    /// It is a number, and greater than a float of that letter can be.
    pub is_too_large: bool,
    /// The text as found, cut short where it is long.
    pub found: String,
}

impl<'a> Value<'a> {
    /// Reads a text as a value of that letter: `-1.5e3`, `inf` and `NaN` for floats, whole numbers within their
    /// bounds for integers, texts as they are, and bytes as `0x` and two hex digits for each.
    ///
    /// - `scratch`: what bytes are read into; what was there is lost
    ///
    /// A float is the nearest there is, 0 where the number is very small. `1e400` is no infinity: that must be
    /// written as such.
    ///
    /// # Errors
    ///
    /// [`ValueError`] where it is none.
    pub fn parse(letter: Letter, text: &'a str, scratch: &'a mut Vec<u8>) -> Result<Value<'a>, ValueError> {
        let value = match letter {
            Letter::F32 => return parse_float(letter, text).map(Value::F32),
            Letter::F64 => return parse_float(letter, text).map(Value::F64),
            Letter::U32 => text.parse().ok().map(Value::U32),
            Letter::U64 => text.parse().ok().map(Value::U64),
            Letter::I32 => text.parse().ok().map(Value::I32),
            Letter::I64 => text.parse().ok().map(Value::I64),
            Letter::Text => Some(Value::Text(text)),
            Letter::Bytes => {
                scratch.clear();
                read_hex(text, scratch).map(|()| Value::Bytes(scratch))
            }
        };
        value.ok_or_else(|| ValueError::new(letter, text))
    }
}

/// Reads a plain number, as [`Value::parse`] does for [`Letter::F64`].
///
/// # Errors
///
/// [`ValueError`] where it is none, or too large for 64 bits.
pub fn parse_number(text: &str) -> Result<f64, ValueError> {
    parse_float(Letter::F64, text)
}

fn parse_float<T: std::str::FromStr + Copy + Into<f64>>(letter: Letter, text: &str) -> Result<T, ValueError> {
    let value: T = text.parse().map_err(|_| ValueError::new(letter, text))?;
    // The words for infinity have no digits.
    if value.into().is_infinite() && text.contains(|letter: char| letter.is_ascii_digit()) {
        return Err(ValueError { is_too_large: true, ..ValueError::new(letter, text) });
    }
    Ok(value)
}

impl ValueError {
    fn new(letter: Letter, text: &str) -> ValueError {
        ValueError { letter, is_too_large: false, found: text.chars().take(80).collect() }
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_too_large {
            let bits = if self.letter == Letter::F32 { 32 } else { 64 };
            return write!(f, "'{}' does not fit into {bits} bits of a float", self.found);
        }
        let wanted = match self.letter {
            Letter::F32 | Letter::F64 => "a number",
            Letter::U32 => "a whole number of 0 to 4294967295",
            Letter::U64 => "a whole number of 0 to 18446744073709551615",
            Letter::I32 => "a whole number of -2147483648 to 2147483647",
            Letter::I64 => "a whole number of -9223372036854775808 to 9223372036854775807",
            Letter::Text => "a text",
            Letter::Bytes => "bytes, expected 0x and two hex digits for each",
        };
        write!(f, "'{}' is not {wanted}", self.found)
    }
}

impl std::error::Error for ValueError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(letter: Letter, text: &str) -> Result<Value<'_>, ValueError> {
        Value::parse(letter, text, Box::leak(Box::default()))
    }

    #[test]
    fn texts_are_read_as_values_of_their_letter_alone() {
        assert_eq!(parse(Letter::I64, "-5"), Ok(Value::I64(-5)));
        assert_eq!(parse(Letter::F32, "-1.5e3"), Ok(Value::F32(-1500.0)));
        assert_eq!(parse(Letter::Text, "5"), Ok(Value::Text("5")));
        assert_eq!(parse(Letter::Bytes, "0x00fF"), Ok(Value::Bytes(&[0, 0xff])));
        assert_eq!(
            parse(Letter::Bytes, "0x0").unwrap_err().to_string(),
            "'0x0' is not bytes, expected 0x and two hex digits for each"
        );
        for (letter, text) in [(Letter::U32, "4294967296"), (Letter::U64, "-1"), (Letter::I32, "1.5")] {
            let error = parse(letter, text).unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
        }
    }

    #[test]
    fn a_number_too_large_for_its_float_is_no_infinity() {
        for (letter, text, bits) in [
            (Letter::F64, "1e400", 64),
            (Letter::F64, "-1e309", 64),
            (Letter::F64, "1.7976931348623159e308", 64),
            (Letter::F32, "1e39", 32),
            (Letter::F32, "-3.4028236e38", 32),
            (Letter::F32, "1e400", 32),
        ] {
            let error = parse(letter, text).unwrap_err();
            assert_eq!(error.to_string(), format!("'{text}' does not fit into {bits} bits of a float"));
        }
        let digits = "9".repeat(400);
        assert!(parse_number(&digits).unwrap_err().is_too_large);
        for text in ["inf", "-inf", "+Inf", "Infinity", "-INFINITY", "infinity"] {
            assert!(parse_number(text).unwrap().is_infinite(), "{text}");
            let value = parse(Letter::F32, text).unwrap();
            assert!(value.number().unwrap().is_infinite(), "{text}");
        }
        assert!(parse_number("NaN").unwrap().is_nan());
        // What is nearest, as everywhere.
        for (text, value) in
            [("1.7976931348623157e308", f64::MAX), ("1e-400", 0.0), ("0.1e-1", 0.01), ("4.9e-324", 5e-324)]
        {
            assert_eq!(parse_number(text), Ok(value), "{text}");
        }
        assert_eq!(parse(Letter::F32, "1e-60"), Ok(Value::F32(0.0)));
    }
}
