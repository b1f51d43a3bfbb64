//! Series patterns: `%` stands for any run of characters, none included.

use dotter_dot::SeriesName;
use dotter_store::Snapshot;

/// The series a pattern means, in order.
pub(crate) fn series(snapshot: &Snapshot, pattern: &str) -> Vec<SeriesName> {
    let prefix = pattern.split('%').next().unwrap_or_default();
    let mut series = snapshot.series_with_prefix(prefix);
    series.retain(|name| matches(pattern, name.as_str()));
    series
}

fn matches(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split('%');
    let Some(mut rest) = name.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    for piece in pieces {
        // The first place a piece fits leaves the most for the others.
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
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
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
