//! `retention.toml`: each `[[rule]]` is read by itself, so that a mistake is named with its line and spoils only its
//! rule.

use crate::format::pattern::Pattern;
use crate::format::rules::names::NameList;
use crate::format::rules::{Meaning, Names, Rule, Slot, Wrong, aggregation, factor, keep, regex};

/// A rule, or what is wrong with it; then also which series it is for, if that can be known for sure.
pub(super) type Read = Result<(Meaning, Rule), (Option<Meaning>, Wrong)>;

/// The rules of a text, in their order.
pub(super) fn rules(text: &str, names: Names<'_>) -> Vec<Read> {
    tables(text).into_iter().flat_map(|(line, table)| read_table(line, table, names)).collect()
}

/// Cuts a text before each heading; returns the parts, each with the number of its first line.
fn tables(text: &str) -> Vec<(usize, &str)> {
    let mut tables = Vec::new();
    let (mut start, mut start_line, mut at) = (0, 1, 0);
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if line.trim_start().starts_with('[') {
            tables.push((start_line, &text[start..at]));
            (start, start_line) = (at, index + 1);
        }
        at += line.len();
    }
    tables.push((start_line, &text[start..]));
    tables
}

/// - `first`: the number of its first line
fn read_table(first: usize, text: &str, names: Names<'_>) -> Vec<Read> {
    let table: toml::Table = match text.parse() {
        Ok(table) => table,
        Err(error) => {
            let error: toml::de::Error = error;
            let at = error.span().map_or(0, |span| span.start.min(text.len()));
            let line = first + text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count();
            return vec![Err((None, Wrong { line, what: error.message().to_owned() }))];
        }
    };
    let line_of = |key: &str| {
        let is_it = |line: &str| {
            let rest = line.trim_start().strip_prefix(key);
            rest.is_some_and(|rest| rest.trim_start().starts_with('='))
        };
        first + text.lines().position(is_it).unwrap_or(0)
    };
    let mut rules = Vec::new();
    for (key, value) in table {
        let toml::Value::Array(array) = value else {
            let what = match key.as_str() {
                "rule" => "a rule is a table, [[rule]]".to_owned(),
                _ => format!("'{key}' is not known, only [[rule]] is"),
            };
            rules.push(Err((None, Wrong { line: line_of(&key), what })));
            continue;
        };
        if key != "rule" {
            let what = format!("'{key}' is not known, only [[rule]] is");
            rules.push(Err((None, Wrong { line: line_of(&key), what })));
            continue;
        }
        for rule in array {
            let toml::Value::Table(rule) = rule else {
                let what = "a rule is a table, [[rule]]".to_owned();
                rules.push(Err((None, Wrong { line: first, what })));
                continue;
            };
            rules.push(read_rule(&rule, names).map_err(|(key, what)| {
                let line = key.map_or(first, |key| line_of(&key));
                (meaning(&rule, names).ok().flatten(), Wrong { line, what })
            }));
        }
    }
    rules
}

/// Which series a rule means; `None` where it does not say.
fn meaning(table: &toml::Table, names: Names<'_>) -> Result<Option<Meaning>, (Option<String>, String)> {
    let text = |key: &str| match table.get(key) {
        Some(value) => {
            let text = value.as_str().ok_or_else(|| (Some(key.to_owned()), format!("{key} is a text")))?;
            Ok(Some(text))
        }
        None => Ok(None),
    };
    let wrong = |key: &str| {
        let key = key.to_owned();
        move |what| (Some(key), what)
    };
    match (text("pattern")?, text("regex")?, text("names")?) {
        (Some(pattern), None, None) => Ok(Some(Meaning::Pattern(Pattern::new(pattern)))),
        (None, Some(text), None) => regex(text).map(Some).map_err(wrong("regex")),
        (None, None, Some(file)) => {
            let list = names(file).and_then(|text| NameList::read(file, &text));
            list.map(|list| Some(Meaning::Names(list))).map_err(wrong("names"))
        }
        (None, None, None) => Ok(None),
        _ => Err((None, "a rule has one of a pattern, a regex and a file of names, not several".to_owned())),
    }
}

/// Reads a rule. An error is what is wrong, and the key that it is about.
fn read_rule(table: &toml::Table, names: Names<'_>) -> Result<(Meaning, Rule), (Option<String>, String)> {
    let (mut kept, mut method, mut known_min) = (None, None, None);
    let (mut slot, mut condense) = (None, None);
    for (key, value) in table {
        let wrong = |what: String| (Some(key.clone()), what);
        let text = || value.as_str().ok_or_else(|| wrong(format!("{key} is a text")));
        match key.as_str() {
            "pattern" | "regex" | "names" => {}
            "keep" => kept = Some(keep::retentions(text()?).map_err(wrong)?),
            "aggregation" => method = Some(aggregation(text()?).map_err(wrong)?),
            "x-files-factor" => {
                let number = value.as_float().or_else(|| value.as_integer().map(|number| number as f64));
                known_min =
                    Some(factor(number, value.as_str().unwrap_or("what stands there")).map_err(wrong)?);
            }
            "slot" => {
                slot = Some(match text()? {
                    "last" => Slot::Last,
                    "average" => Slot::Average,
                    other => return Err(wrong(format!("'{other}' is no slot: last and average are"))),
                });
            }
            "condense" => condense = Some(keep::condense(text()?).map_err(wrong)?),
            other => {
                return Err(wrong(format!(
                    "'{other}' is not known: pattern, regex, names, keep, aggregation, x-files-factor, slot and condense \
                     are"
                )));
            }
        }
    }
    let meaning = meaning(table, names)?
        .ok_or((None, "a rule has a pattern or a regex, or a file of names".to_owned()))?;
    let kept = kept.ok_or((None, "a rule says how long to keep: keep = \"10s:1d, 1m:30d\"".to_owned()))?;
    let mut rule = Rule::new(kept);
    rule.aggregation = method.unwrap_or(rule.aggregation);
    rule.x_files_factor = known_min.unwrap_or(rule.x_files_factor);
    rule.slot = slot.unwrap_or(rule.slot);
    rule.condense = condense;
    Ok((meaning, rule))
}
