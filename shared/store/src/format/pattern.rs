//! Patterns of series names: `%` stands for any run of characters, also for none; `\%` for a percent sign, `\\` for a
//! backslash. Every other character stands for itself, also a backslash before any other.

use std::borrow::Cow;
use std::fmt;

/// What does not stand for itself.
const SPECIAL: [char; 2] = ['%', '\\'];

/// A pattern of series names. Without a `%` that stands for anything it is one name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    text: Box<str>,
    /// What stands before, between and behind the `%`. No piece where the text is one name as it stands: of those a
    /// store may keep a million.
    pieces: Box<[Box<str>]>,
}

impl Pattern {
    /// Makes a pattern; any text is one.
    pub fn new(text: &str) -> Pattern {
        if !text.contains(SPECIAL) {
            return Pattern { text: text.into(), pieces: Box::default() };
        }
        let mut pieces = vec![String::new()];
        let mut letters = text.chars().peekable();
        while let Some(letter) = letters.next() {
            let piece = pieces.last_mut().expect("there is at least one");
            match letter {
                '%' => pieces.push(String::new()),
                '\\' => piece.push(letters.next_if(|next| SPECIAL.contains(next)).unwrap_or('\\')),
                other => piece.push(other),
            }
        }
        Pattern { text: text.into(), pieces: pieces.into_iter().map(String::into_boxed_str).collect() }
    }

    /// The pattern that matches this name and no other.
    ///
    /// ```
    /// # use dotter_store::Pattern;
    /// assert_eq!(Pattern::exactly("disk.used%").as_str(), r"disk.used\%");
    /// ```
    pub fn exactly(name: &str) -> Pattern {
        match escaped(name) {
            Cow::Borrowed(text) => Pattern { text: text.into(), pieces: Box::default() },
            Cow::Owned(text) => Pattern { text: text.into(), pieces: [name.into()].into() },
        }
    }

    /// The text of the pattern.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The one name that it matches; `None` where it may match others.
    pub fn name(&self) -> Option<&str> {
        match &*self.pieces {
            [] => Some(&self.text),
            [name] => Some(name),
            _ => None,
        }
    }

    /// The text that every matching name begins with.
    pub fn prefix(&self) -> &str {
        self.pieces.first().unwrap_or(&self.text)
    }

    /// Whether it matches every name.
    pub fn is_all(&self) -> bool {
        self.pieces.len() > 1 && self.pieces.iter().all(|piece| piece.is_empty())
    }

    /// How many bytes a name has at least that it matches.
    pub(crate) fn name_bytes_min(&self) -> usize {
        self.name().map_or_else(|| self.pieces.iter().map(|piece| piece.len()).sum(), str::len)
    }

    /// Whether it matches this name.
    ///
    /// ```
    /// # use dotter_store::Pattern;
    /// assert!(Pattern::new("host.%.load").matches("host.web1.cpu.load"));
    /// assert!(!Pattern::new("host").matches("host.web1"));
    /// assert!(!Pattern::new(r"disk.used\%").matches("disk.used.total"));
    /// ```
    pub fn matches(&self, name: &str) -> bool {
        let [first, middle @ .., last] = &*self.pieces else { return self.name() == Some(name) };
        let Some(mut rest) = name.strip_prefix(&**first) else { return false };
        for piece in middle {
            // The first place where a piece fits leaves the most text for the pieces behind it.
            let Some(at) = rest.find(&**piece) else { return false };
            rest = &rest[at + piece.len()..];
        }
        rest.ends_with(&**last)
    }
}

/// The text of the pattern that matches this name and no other.
pub(crate) fn escaped(name: &str) -> Cow<'_, str> {
    if !name.contains(SPECIAL) {
        return Cow::Borrowed(name);
    }
    let mut text = String::with_capacity(name.len() + 8);
    for letter in name.chars() {
        if SPECIAL.contains(&letter) {
            text.push('\\');
        }
        text.push(letter);
    }
    Cow::Owned(text)
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
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
            (r"a\%", "a%", true),
            (r"a\%", "ab", false),
            (r"a\%", r"a\%", false),
            (r"a\\%", r"a\b", true),
            (r"a\\%", "a%", false),
            (r"a\\\%", r"a\%", true),
            (r"a\b\", r"a\b\", true),
            (r"%\%%", "ab%c", true),
            (r"%\%%", "abc", false),
        ] {
            assert_eq!(Pattern::new(pattern).matches(name), expected, "{pattern} {name}");
        }
        assert_eq!(Pattern::new("ab%c").prefix(), "ab");
        assert_eq!(Pattern::new(r"a\%b%c").prefix(), "a%b");
        assert!(!Pattern::new(r"\%").is_all());
        assert_eq!((Pattern::new(r"a\%").name(), Pattern::new("a%").name()), (Some("a%"), None));
        assert!(Pattern::new("%%").is_all() && !Pattern::new("").is_all());
    }

    /// What it means, letter by letter.
    fn plainly(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern, name) {
            ([], name) => name.is_empty(),
            ([b'\\', p @ (b'%' | b'\\'), pattern @ ..], [n, name @ ..]) => p == n && plainly(pattern, name),
            ([b'\\', b'%' | b'\\', ..], []) => false,
            ([b'%', rest @ ..], name) => (0..=name.len()).any(|at| plainly(rest, &name[at..])),
            ([p, pattern @ ..], [n, name @ ..]) => p == n && plainly(pattern, name),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn every_pattern_means_what_it_says(pattern in r"[ab%\\]{0,8}", name in r"[ab%\\]{0,10}") {
            let found = Pattern::new(&pattern).matches(&name);
            prop_assert_eq!(found, plainly(pattern.as_bytes(), name.as_bytes()));
            prop_assert!(!found || name.starts_with(Pattern::new(&pattern).prefix()));
        }

        #[test]
        fn an_escaped_name_matches_itself_and_no_other(name in r"[ab%\\.]{0,10}", other in r"[ab%\\.]{0,10}") {
            let pattern = Pattern::exactly(&name);
            prop_assert_eq!(&Pattern::new(pattern.as_str()), &pattern);
            prop_assert_eq!(pattern.name(), Some(name.as_str()));
            prop_assert!(pattern.matches(&name));
            prop_assert_eq!(pattern.matches(&other), name == other);
            prop_assert_eq!(pattern.name_bytes_min(), name.len());
        }

        #[test]
        fn a_pattern_of_one_name_matches_that_alone(pattern in r"[ab%\\]{0,8}", name in r"[ab%\\]{0,8}") {
            let pattern = Pattern::new(&pattern);
            if let Some(only) = pattern.name() {
                prop_assert_eq!(pattern.matches(&name), only == name);
            }
            prop_assert!(!pattern.matches(&name) || pattern.name_bytes_min() <= name.len());
        }
    }
}
