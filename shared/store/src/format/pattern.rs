//! Patterns of series names: `%` stands for any run of characters, also for none; every other character for itself.

use std::fmt;

/// A pattern of series names. Without a `%` it is one name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern(Box<str>);

impl Pattern {
    /// Makes a pattern; any text is one.
    pub fn new(text: &str) -> Pattern {
        Pattern(text.into())
    }

    /// The text of the pattern.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text that every matching name begins with.
    pub fn prefix(&self) -> &str {
        self.0.split('%').next().unwrap_or_default()
    }

    /// Whether it matches every name.
    pub fn is_all(&self) -> bool {
        !self.0.is_empty() && self.0.bytes().all(|byte| byte == b'%')
    }

    /// Whether it matches this name.
    ///
    /// ```
    /// # use dotter_store::Pattern;
    /// assert!(Pattern::new("host.%.load").matches("host.web1.cpu.load"));
    /// assert!(!Pattern::new("host").matches("host.web1"));
    /// ```
    pub fn matches(&self, name: &str) -> bool {
        let mut pieces = self.0.split('%');
        let Some(mut rest) = name.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
        let Some(last) = pieces.next_back() else { return rest.is_empty() };
        for piece in pieces {
            // The first place where a piece fits leaves the most text for the pieces behind it.
            let Some(at) = rest.find(piece) else { return false };
            rest = &rest[at + piece.len()..];
        }
        rest.ends_with(last)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_percent_sign_stands_for_anything() {
        for (pattern, name, expected) in [
            ("a.b", "a.b", true),
            ("a.b", "a.bc", false),
            ("a%", "a", true),
            ("a%", "abc", true),
            ("a%", "ba", false),
            ("%", "anything", true),
            ("%c", "abc", true),
            ("%c", "abcd", false),
            ("a%b%c", "a.b.b.c", true),
            ("a%b%c", "a.c.b", false),
            ("a%a", "a", false),
            ("ab%ba", "aba", false),
            ("a%%c", "ac", true),
            ("", "a", false),
        ] {
            assert_eq!(Pattern::new(pattern).matches(name), expected, "{pattern} {name}");
        }
        assert_eq!(Pattern::new("ab%c").prefix(), "ab");
        assert!(Pattern::new("%%").is_all() && !Pattern::new("").is_all());
    }

    /// What it means, letter by letter.
    fn plainly(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern, name) {
            ([], name) => name.is_empty(),
            ([b'%', rest @ ..], name) => (0..=name.len()).any(|at| plainly(rest, &name[at..])),
            ([p, pattern @ ..], [n, name @ ..]) => p == n && plainly(pattern, name),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn every_pattern_means_what_it_says(pattern in "[ab%]{0,8}", name in "[ab]{0,10}") {
            let found = Pattern::new(&pattern).matches(&name);
            prop_assert_eq!(found, plainly(pattern.as_bytes(), name.as_bytes()));
            prop_assert!(!found || name.starts_with(Pattern::new(&pattern).prefix()));
        }
    }
}
