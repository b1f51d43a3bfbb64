//! The name of a series.
//!
//! Always true of a [`SeriesName`]: 1 to [`NAME_BYTES_MAX`] bytes of UTF-8 without control characters, and
//! its tags are canonical, so that one series has one name from the moment it enters.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What some programs write before a text to say that it is UTF-8. Whoever reads lines leaves it out of the first one:
/// it would become part of a name, where nobody sees it.
pub const BYTE_ORDER_MARK: &str = "\u{feff}";

/// The longest name there is, in bytes.
pub const NAME_BYTES_MAX: usize = 4096;

/// A valid name; cheap to clone. Names sort by their bytes, so all names under a prefix are neighbours.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesName(Arc<str>);

/// Why a text is no [`SeriesName`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameError {
    /// No characters at all, or nothing before the first tag.
    Empty,
    /// Longer than [`NAME_BYTES_MAX`]; how long.
    TooLong(usize),
    /// A control character; which, and at which byte.
    Control {
        /// The character found.
        found: char,
        /// Its place in the text, in bytes.
        at: usize,
    },
    /// Not UTF-8; the first byte that is not.
    NotUtf8(usize),
    /// A tag without `=`, without a name, or without a value; the tag as found.
    Tag(String),
}

impl SeriesName {
    /// Takes `text` as a name and makes its tags canonical: sorted by tag, the last of a repeated one wins.
    ///
    /// # Errors
    ///
    /// [`NameError`] says what is wrong with it, and where.
    ///
    /// ```
    /// # use dotter_dot::SeriesName;
    /// let name = SeriesName::new("disk.used;host=b;dc=x;host=a").unwrap();
    /// assert_eq!(name.as_str(), "disk.used;dc=x;host=a");
    /// ```
    pub fn new(text: &str) -> Result<SeriesName, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > NAME_BYTES_MAX {
            return Err(NameError::TooLong(text.len()));
        }
        if let Some((at, found)) = text.char_indices().find(|(_, c)| c.is_control()) {
            return Err(NameError::Control { found, at });
        }
        if !text.contains(';') {
            return Ok(SeriesName(text.into()));
        }
        let mut parts = text.split(';');
        let path = parts.next().unwrap_or_default();
        if path.is_empty() {
            return Err(NameError::Empty);
        }
        let mut tags = BTreeMap::new();
        for part in parts {
            match part.split_once('=') {
                Some((tag, value)) if !tag.is_empty() && !value.is_empty() => tags.insert(tag, value),
                _ => return Err(NameError::Tag(part.chars().take(64).collect())),
            };
        }
        let mut name = String::with_capacity(text.len());
        name.push_str(path);
        for (tag, value) in tags {
            name.extend([";", tag, "=", value]);
        }
        Ok(SeriesName(name.into()))
    }

    /// The same for bytes that may not be UTF-8.
    ///
    /// # Errors
    ///
    /// As [`SeriesName::new`], and [`NameError::NotUtf8`].
    pub fn from_bytes(bytes: &[u8]) -> Result<SeriesName, NameError> {
        match std::str::from_utf8(bytes) {
            Ok(text) => SeriesName::new(text),
            Err(error) => Err(NameError::NotUtf8(error.valid_up_to())),
        }
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the first tag.
    pub fn path(&self) -> &str {
        self.0.split(';').next().unwrap_or_default()
    }

    /// Tags in order, as (tag, value).
    pub fn tags(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.split(';').skip(1).filter_map(|part| part.split_once('='))
    }
}

impl fmt::Display for SeriesName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SeriesName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl Borrow<str> for SeriesName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for SeriesName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for SeriesName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<SeriesName, NameError> {
        SeriesName::new(text)
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::Empty => f.write_str("series name is empty"),
            NameError::TooLong(bytes) => {
                write!(f, "series name has {bytes} bytes, at most {NAME_BYTES_MAX} are kept")
            }
            NameError::Control { found, at } => {
                write!(f, "series name has the control character {found:?} at byte {at}")
            }
            NameError::NotUtf8(at) => write!(f, "series name is not UTF-8 from byte {at} on"),
            NameError::Tag(tag) => write!(f, "series name has the tag '{tag}', expected 'tag=value'"),
        }
    }
}

impl std::error::Error for NameError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_canonical_from_the_moment_a_name_enters() {
        let check =
            |text: &str, expected: &str| assert_eq!(SeriesName::new(text).unwrap().as_str(), expected);
        check("a.b", "a.b");
        check("a;z=1;b=2", "a;b=2;z=1");
        check("a;b=1;b=2", "a;b=2");
        check("a;b=c=d", "a;b=c=d");
        check("größe in mm", "größe in mm");
    }

    #[test]
    fn bad_names_say_what_is_wrong() {
        assert_eq!(SeriesName::new(""), Err(NameError::Empty));
        assert_eq!(SeriesName::new(";a=b"), Err(NameError::Empty));
        assert_eq!(SeriesName::new("a\nb"), Err(NameError::Control { found: '\n', at: 1 }));
        assert_eq!(SeriesName::new(&"x".repeat(4097)), Err(NameError::TooLong(4097)));
        assert!(SeriesName::new(&"x".repeat(4096)).is_ok());
        assert_eq!(SeriesName::new("a;b"), Err(NameError::Tag("b".into())));
        assert_eq!(SeriesName::new("a;"), Err(NameError::Tag("".into())));
        assert_eq!(SeriesName::from_bytes(b"ab\xff"), Err(NameError::NotUtf8(2)));
    }
}
