//! `/api/series`: all series, page by page, with their newest dot and how busy they are.
//!
//! `/api/series?q=cpu user&sort=rate&offset=0&limit=100` answers `{"total", "all", "series": [{"name", "time",
//! "value", "rate"}]}`: how many the search met, how many there are, and one page of them. Every word of `q`
//! must be in the name, upper and lower case being the same; a word with `*` or `?` is a path pattern that the
//! whole name must match. `sort` is `name` or `rate` (dots a second, busiest first, the quiet ones by name).

use std::collections::HashSet;

use dotter_dot::SeriesName;
use dotter_http::Response;
use dotter_query::{Budget, Error, Pattern, newest, write_number, write_seconds, write_string};

use crate::feed::View;
use crate::follower::Followed;
use crate::follows::COMPARISONS_MAX;
use crate::form::{Form, wrong};
use crate::pulse::{Beat, busiest_first};

const LIMIT: u64 = 100;
const LIMIT_MAX: u64 = 1_000;

/// The answer to `/api/series`.
pub(crate) fn answer(view: &View, followed: &Followed, form: &Form) -> Result<Response, Error> {
    let search = Search::new(form.get("q").unwrap_or_default());
    let comparisons = search.comparisons();
    if comparisons > COMPARISONS_MAX {
        let what = "patterns, braces with wildcards written out";
        return Err(Error::OverBudget { what, found: comparisons as u64, limit: COMPARISONS_MAX as u64 });
    }
    let offset = form.number("offset", u64::MAX)?.unwrap_or(0);
    let limit = form.number("limit", LIMIT_MAX)?.unwrap_or(LIMIT) as usize;
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    let all = view.catalogue.names();
    let met: Option<Vec<&SeriesName>> =
        (!search.is_empty()).then(|| all.iter().filter(|name| search.meets(name.as_str())).collect());
    let total = met.as_ref().map_or(all.len(), Vec::len);
    let by_name = || {
        // One of the two is empty.
        let unsearched = if met.is_none() { all } else { &[] };
        unsearched.iter().chain(met.iter().flatten().copied())
    };
    let page: Vec<SeriesName> = match form.get("sort").unwrap_or("name") {
        "name" | "" => by_name().skip(offset).take(limit).cloned().collect(),
        "rate" => {
            let active = followed.pulse().active();
            let mut busiest = busiest_first(active);
            busiest.retain(|name| search.meets(name.as_str()) && view.catalogue.contains(name.as_str()));
            let busy: HashSet<&SeriesName> = busiest.iter().collect();
            let quiet = by_name().filter(|name| !busy.contains(name));
            busiest.iter().chain(quiet).skip(offset).take(limit).cloned().collect()
        }
        other => return Err(wrong("sort", other, "name or rate")),
    };
    let mut out = format!("{{\"total\": {total}, \"all\": {}, \"series\": [", all.len()).into_bytes();
    let beats: Vec<Option<Beat>> = {
        let pulse = followed.pulse();
        page.iter().map(|name| pulse.get(name.as_str())).collect()
    };
    let quiet: Vec<&str> =
        page.iter().zip(&beats).filter(|(_, beat)| beat.is_none()).map(|(name, _)| name.as_str()).collect();
    let mut stored = newest(&*view.source, &quiet, 1, &mut Budget::start())?.into_iter();
    for (index, (name, beat)) in page.iter().zip(beats).enumerate() {
        let newest = match beat {
            Some(beat) => Some((beat.time, beat.value)),
            None => stored.next().and_then(|dots| Some((dots.first()?.time, dots.first()?.value))),
        };
        out.extend_from_slice(if index == 0 { b"{\"name\": " } else { b", {\"name\": " });
        write_string(name.as_str(), &mut out);
        out.extend_from_slice(b", \"time\": ");
        match newest {
            Some((time, _)) => write_seconds(time, &mut out),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b", \"value\": ");
        write_number(newest.map_or(f64::NAN, |(_, value)| value), &mut out);
        out.extend_from_slice(b", \"rate\": ");
        write_number((beat.map_or(0.0, |beat| beat.rate) * 1000.0).round() / 1000.0, &mut out);
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    Ok(Response::json(200, out))
}

/// Words that must all be in a name.
struct Search {
    words: Vec<Word>,
}

enum Word {
    /// In lower case.
    Part(String),
    Whole(Pattern),
}

impl Search {
    fn new(text: &str) -> Search {
        let word = |text: &str| match Pattern::new(text) {
            Ok(pattern) if text.contains(['*', '?']) => Word::Whole(pattern),
            _ => Word::Part(text.to_ascii_lowercase()),
        };
        Search { words: text.split_whitespace().take(16).map(word).collect() }
    }

    fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// With how many patterns a name is compared at most.
    fn comparisons(&self) -> usize {
        let patterns = self.words.iter().map(|word| match word {
            Word::Part(_) => 0,
            Word::Whole(pattern) => pattern.alternatives(),
        });
        patterns.sum()
    }

    fn meets(&self, name: &str) -> bool {
        self.words.iter().all(|word| match word {
            Word::Part(part) => contains_ignoring_case(name, part),
            Word::Whole(pattern) => pattern.matches(name),
        })
    }
}

/// - `part`: in lower case
fn contains_ignoring_case(name: &str, part: &str) -> bool {
    let (name, part) = (name.as_bytes(), part.as_bytes());
    let Some(first) = part.first() else { return true };
    let upper = first.to_ascii_uppercase();
    let Some(starts) = (name.len() + 1).checked_sub(part.len()) else { return false };
    (0..starts).any(|at| {
        (name[at] == *first || name[at] == upper) && name[at..at + part.len()].eq_ignore_ascii_case(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_must_be_there_and_a_pattern_must_match_the_whole_name() {
        let check = |search: &str, name: &str, expected: bool| {
            assert_eq!(Search::new(search).meets(name), expected, "{search} {name}");
        };
        check("", "a", true);
        check("CPU web", "host.Web1.cpu.user", true);
        check("cpu db", "host.web1.cpu.user", false);
        check("host.*.cpu.*", "host.web1.cpu.user", true);
        check("host.*", "host.web1.cpu.user", false);
        check("größe", "die größe", true);
        check("abcd", "abc", false);
        check("{", "a{b", true);
    }
}
