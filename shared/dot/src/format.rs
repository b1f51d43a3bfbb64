//! The shape of a value: one letter per column.

use std::fmt;

/// Letters a column may have: f32, f64, u32, u64, i32, i64, UTF-8 text.
const LETTERS: &[u8] = b"fFuUiIs";

/// One letter per column, 1 to 64 of them. A plain number is `F`.
///
/// All letters are known to every format from the first version on; what a part of Dotter does not yet
/// take, it refuses by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Format(Box<str>);

/// Why a text is no [`Format`]; the text as found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatError(pub String);

impl Format {
    /// Takes a text of letters.
    ///
    /// # Errors
    ///
    /// [`FormatError`] where it is empty, longer than 64, or has another letter.
    pub fn new(text: &str) -> Result<Format, FormatError> {
        let right = (1..=64).contains(&text.len()) && text.bytes().all(|b| LETTERS.contains(&b));
        if right { Ok(Format(text.into())) } else { Err(FormatError(text.chars().take(80).collect())) }
    }

    /// One f64 column.
    pub fn number() -> Format {
        Format("F".into())
    }

    /// Whether this is one f64 column.
    pub fn is_number(&self) -> bool {
        &*self.0 == "F"
    }

    /// The letters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "format '{}' is not 1 to 64 of the letters f F u U i I s", self.0)
    }
}

impl std::error::Error for FormatError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_one_to_sixty_four_known_letters() {
        assert!(Format::new("F").unwrap().is_number());
        assert_eq!(Format::new("fFuUiIs").unwrap().as_str(), "fFuUiIs");
        for text in ["", "x", "F ", &"F".repeat(65)] {
            assert!(Format::new(text).is_err(), "{text}");
        }
    }
}
