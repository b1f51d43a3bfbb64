//! What a request asks for.

use crate::error::clip;
use crate::{Error, Pattern};

/// One `target=` of a request: a series or a pattern.
///
/// Functions are read far enough to say which one is not served.
#[derive(Clone, Debug)]
pub struct Target {
    /// The series meant.
    pub pattern: Pattern,
}

/// Graphite gives these a meaning outside of names; a name that has one escapes it with a backslash.
const RESERVED: &str = "()\"'|,}";

impl Target {
    /// Reads a target; blanks around it do not count.
    ///
    /// # Errors
    ///
    /// [`Error::Target`] with the column and the reason.
    pub fn new(text: &str) -> Result<Target, Error> {
        let trimmed = text.trim();
        let skipped = text.chars().take_while(|c| c.is_whitespace()).count();
        let fail = |column: usize, reason: String| Error::Target {
            target: clip(trimmed),
            column: skipped + column,
            reason,
        };
        if let Some((column, reason)) = reserved(trimmed) {
            return Err(fail(column, reason));
        }
        match Pattern::new(trimmed) {
            Ok(pattern) => Ok(Target { pattern }),
            Err(error) => Err(fail(error.column, error.reason)),
        }
    }
}

/// The first character that cannot stand in a path, as column and reason.
fn reserved(text: &str) -> Option<(usize, String)> {
    let mut chars = text.chars().enumerate();
    let mut braces = 0_usize;
    while let Some((index, c)) = chars.next() {
        match c {
            '\\' => _ = chars.next(),
            '{' => braces += 1,
            '}' if braces > 0 => braces -= 1,
            ',' if braces > 0 => {}
            '(' => {
                let name: String = text.chars().take(index).collect();
                let before = name.char_indices().rev().find(|(_, c)| !c.is_alphanumeric() && *c != '_');
                let start = before.map_or(0, |(at, c)| at + c.len_utf8());
                let column = name[..start].chars().count() + 1;
                let call = clip(&name[start..]);
                return Some((column, format!("functions are not served by this version: found '{call}('")));
            }
            c if RESERVED.contains(c) || c.is_whitespace() || c.is_control() => {
                let found = c.escape_debug();
                return Some((
                    index + 1,
                    format!(
                        "found '{found}', expected a path or pattern; a name that has it writes '\\{found}'"
                    ),
                ));
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Random;

    #[test]
    fn a_target_is_a_series_or_a_pattern() {
        for text in [
            "servers.web01.cpu.user",
            "  servers.*.cpu ",
            "edge.user@host:8080.v",
            "edge.100pct%.v#1",
            "disk.used;datacenter=dc1;rack=a1",
            "a.{b,c}.d",
            r"a\ b.c\(d\)",
            "größe",
            "3.14",
            "$x",
        ] {
            assert!(Target::new(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn anything_else_says_what_and_where() {
        let check = |text: &str, expected: &str| {
            assert_eq!(Target::new(text).unwrap_err().to_string(), expected);
        };
        check(
            "sumSeries(a.*)",
            "cannot read target 'sumSeries(a.*)' at column 1: functions are not served by this version: found \
             'sumSeries('",
        );
        check(
            " a.b extra",
            "cannot read target 'a.b extra' at column 5: found ' ', expected a path or pattern; a name that has \
             it writes '\\ '",
        );
        for (text, column) in [
            ("a.b,c.d", 4),
            ("\"a\"", 1),
            ("a.b}", 4),
            ("a..b", 3),
            ("a.{b,c", 3),
            ("a|b(c)", 2),
            ("größe,b", 6),
            ("a\u{5a5}b(c)", 3),
            ("", 1),
        ] {
            match Target::new(text) {
                Err(Error::Target { column: found, .. }) => assert_eq!(found, column, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn any_text_is_read_or_refused() {
        let mut random = Random::seeded();
        for _ in 0..20_000 {
            let text = random.text("ab.*?[]{},!-\\;=ü ()\"'|\t\n\u{0}", 14);
            let columns = text.chars().count() + 1;
            if let Err(error) = Target::new(&text) {
                let Error::Target { column, .. } = error else { panic!("{text:?}: {error}, {random}") };
                assert!((1..=columns).contains(&column), "{text:?} {column}, {random}");
            }
        }
    }
}
