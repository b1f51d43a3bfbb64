//! Names that other libraries gave: made into names of series.

use crate::{Error, Publisher, Series};

/// The text of a series name: what cannot stand in it becomes `_`; a tag without a value is left out, as
/// where it comes from that means none.
pub(crate) fn name<'a>(path: &str, tags: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let clean = |text: &str, not: &[char]| -> String {
        text.chars().map(|c| if c.is_control() || not.contains(&c) { '_' } else { c }).collect()
    };
    let mut name = clean(path, &[';']);
    for (tag, value) in tags.filter(|(tag, value)| !tag.is_empty() && !value.is_empty()) {
        name.extend([";", &clean(tag, &[';', '=']), "=", &clean(value, &[';'])]);
    }
    name
}

/// The series of that name; one whose dots are counted as refused where it is still none: too long, or empty.
pub(crate) fn series(publisher: &Publisher, name: &str, unit: &str) -> Series {
    let named = publisher.series(name).map(|series| if unit.is_empty() { series } else { series.unit(unit) });
    named.unwrap_or_else(|_: Error| publisher.refused_series())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeriesName;

    #[test]
    fn whatever_comes_is_a_name_and_means_the_same() {
        let check = |path: &str, tags: &[(&str, &str)], expected: &str| {
            let name = name(path, tags.iter().copied());
            assert_eq!(SeriesName::new(&name).unwrap().as_str(), expected);
        };
        check("http.requests", &[], "http.requests");
        check("a;b\n", &[("k", "v")], "a_b_;k=v");
        check(
            "a",
            &[("z", "1"), ("k", "v=w;x"), ("none", ""), ("", "v"), ("b=;", "2")],
            "a;b__=2;k=v=w_x;z=1",
        );
    }
}
