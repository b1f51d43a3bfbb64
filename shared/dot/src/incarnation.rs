//! One life of one ring.

use std::fmt;

/// The random name of one life of one ring: a process that starts anew has a new one.
///
/// Shown and read as 32 lower-case hex digits.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub [u8; 16]);

/// A text that is not 32 hex digits; the text as found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncarnationError(pub String);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Incarnation {
    type Err = IncarnationError;

    fn from_str(text: &str) -> Result<Incarnation, IncarnationError> {
        let wrong = || IncarnationError(text.chars().take(64).collect());
        let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != 32 || !text.bytes().all(lower_hex) {
            return Err(wrong());
        }
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        Ok(Incarnation(bytes))
    }
}

impl fmt::Display for IncarnationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "incarnation '{}' is not 32 lower-case hex digits", self.0)
    }
}

impl std::error::Error for IncarnationError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incarnation_is_its_thirty_two_digits() {
        let text = "000102030405060708090a0b0c0d0eff";
        let incarnation: Incarnation = text.parse().unwrap();
        assert_eq!(incarnation.to_string(), text);
        assert_eq!(incarnation.0[15], 255);
        for text in ["", "00", "000102030405060708090A0B0C0D0EFF", "+00102030405060708090a0b0c0d0eff"] {
            assert!(text.parse::<Incarnation>().is_err(), "{text}");
        }
    }
}
