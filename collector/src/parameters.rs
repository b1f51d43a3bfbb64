//! The parameters of a query: every one is known and stands there once, or the request is refused.
//!
//! A parameter that is merely passed over changes what a request means: without its `series` dots go to another
//! series, without its `before` a deletion takes everything.

use dotter_http::Query;

/// How much of a name is looked at and repeated.
const NAME_CHARS_MAX: usize = 40;

/// Finds a parameter that cannot be meant.
///
/// - `known`: what the page takes
///
/// # Errors
///
/// A sentence for whoever asked.
pub(crate) fn check(query: &Query, known: &[&str]) -> Result<(), String> {
    for (name, _) in query.iter() {
        if !known.contains(&name) {
            let name: String = name.chars().take(NAME_CHARS_MAX).collect();
            let nearest = known.iter().min_by_key(|known| distance(&name, known));
            return Err(match nearest {
                Some(nearest) => format!(
                    "parameter '{name}' is not known, the nearest is '{nearest}'; expected some of {}",
                    known.join(", ")
                ),
                None => format!("parameter '{name}' is not known, expected none"),
            });
        }
        let count = query.all(name).count();
        if count > 1 {
            return Err(format!("parameter '{name}' stands there {count} times, expected once"));
        }
    }
    Ok(())
}

/// Whether a parameter without a value is there.
///
/// # Errors
///
/// A sentence for whoever asked, where it has one: `human=no` would be taken for `human`.
pub(crate) fn flag(query: &Query, name: &str) -> Result<bool, String> {
    match query.get(name) {
        None => Ok(false),
        Some("") => Ok(true),
        Some(value) => {
            let value: String = value.chars().take(NAME_CHARS_MAX).collect();
            Err(format!("parameter '{name}' has the value '{value}', expected none"))
        }
    }
}

/// How many characters are put in, taken out or replaced on the way from one word to another.
///
/// Source: Wagner and Fischer, "The string-to-string correction problem", 1974.
fn distance(from: &str, to: &str) -> usize {
    // For what has been read of `from`: the distance to each beginning of `to`.
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (read, a) in from.chars().enumerate() {
        let mut left = read + 1;
        let mut above_left = std::mem::replace(&mut row[0], left);
        for (b, cell) in to.chars().zip(&mut row[1..]) {
            let here = (left + 1).min(*cell + 1).min(above_left + usize::from(a != b));
            above_left = std::mem::replace(cell, here);
            left = here;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_counts_what_has_to_be_changed() {
        for (from, to, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("series", "series", 0),
            ("serise", "series", 2),
            ("serie", "series", 1),
            ("form", "from", 2),
            ("kitten", "sitting", 3),
            ("\u{fc}ber", "uber", 1),
        ] {
            assert_eq!(distance(from, to), expected, "{from} {to}");
        }
    }

    #[test]
    fn what_is_unknown_or_there_twice_is_named() {
        const KNOWN: [&str; 4] = ["series", "last", "from", "until"];
        let check = |text: &str| check(&Query::parse(text), &KNOWN);
        assert_eq!(check(""), Ok(()));
        assert_eq!(check("until=2&series=a&from=1&last=3"), Ok(()));
        for (text, found, nearest) in [
            ("serise=a", "serise", "series"),
            ("series=a&form=1", "form", "from"),
            ("series=a&untl", "untl", "until"),
            ("Series=a", "Series", "series"),
            ("lats=3", "lats", "last"),
            ("series=a&=", "", "last"),
        ] {
            let expected = format!("parameter '{found}' is not known, the nearest is '{nearest}'");
            let error = check(text).unwrap_err();
            assert!(error.starts_with(&expected), "{text}: {error}");
        }
        let error = check("series=a&series=a").unwrap_err();
        assert_eq!(error, "parameter 'series' stands there 2 times, expected once");
        assert_eq!(
            super::check(&Query::parse("x=1"), &[]).unwrap_err(),
            "parameter 'x' is not known, expected none"
        );
        assert!(check(&"x".repeat(10_000)).unwrap_err().len() < 200);
    }
}
