//! How long which series are kept, and in which steps: `retention.toml`, and Graphite's files beside it.
//!
//! The first rule that means a series counts: those of `retention.toml` in their order, then those of
//! `storage-schemas.conf`. A series that none means is kept for ever.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use regex::Regex;

use crate::error::Error;
use crate::pattern::Pattern;

/// Longer files are refused.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Archives of one rule.
const ARCHIVES_MAX: usize = 16;

const RULES: &str = "retention.toml";
const SCHEMAS: &str = "storage-schemas.conf";
const AGGREGATION: &str = "storage-aggregation.conf";

/// One step with one retention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchiveRule {
    /// Width of a step.
    pub step: Duration,
    /// How long its steps are kept.
    pub keep: Duration,
}

/// What is to become of a series as it grows old.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// How long its dots are kept as they came: the first of the retentions, whatever its step.
    pub raw: Duration,
    /// What is computed from them, finest first.
    pub archives: Vec<ArchiveRule>,
    /// How one number is made of a step where only one is asked for.
    pub aggregation: Aggregation,
    /// Which part of a step must be known for that number to be.
    pub x_files_factor: f64,
}

impl Rule {
    /// How long steps of that many nanoseconds are kept; `None` where it has no such archive.
    pub(crate) fn keep(&self, step: u64) -> Option<Duration> {
        let archive = self.archives.iter().find(|archive| archive.step.as_nanos() as u64 == step);
        archive.map(|archive| archive.keep)
    }
}

/// How many numbers become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Aggregation {
    /// Their mean.
    #[default]
    Average,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// All added up.
    Sum,
    /// The latest.
    Last,
    /// How many.
    Count,
}

/// All rules of a store.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    rules: Vec<(Meaning, Rule)>,
    aggregations: Vec<(Meaning, Option<Aggregation>, Option<f64>)>,
}

#[derive(Clone, Debug)]
enum Meaning {
    Pattern(Pattern),
    Regex(Regex),
}

impl Meaning {
    fn matches(&self, name: &str) -> bool {
        match self {
            Meaning::Pattern(pattern) => pattern.matches(name),
            Meaning::Regex(regex) => regex.is_match(name),
        }
    }
}

/// What is wrong with a file of rules.
#[derive(Debug)]
struct Wrong {
    line: usize,
    what: String,
}

impl Rules {
    /// Reads those of a store; without files there are none.
    ///
    /// # Errors
    ///
    /// [`Error::Rules`] says which line is wrong.
    pub fn read(dir: &Path) -> Result<Rules, Error> {
        let mut rules = Rules::default();
        let take =
            |name: &str, take: &mut dyn FnMut(&str) -> Result<(), Wrong>| match read_text(&dir.join(name)) {
                Ok(Some(text)) => take(&text).map_err(|Wrong { line, what }| Error::Rules {
                    path: dir.join(name),
                    line,
                    what,
                }),
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
        take(RULES, &mut |text| rules.take_toml(text))?;
        take(SCHEMAS, &mut |text| rules.take_schemas(text))?;
        take(AGGREGATION, &mut |text| rules.take_aggregation(text))?;
        Ok(rules)
    }

    /// The files they are read from, whether they are there or not.
    pub(crate) fn files(dir: &Path) -> impl Iterator<Item = PathBuf> {
        [RULES, SCHEMAS, AGGREGATION].into_iter().map(|name| dir.join(name))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The rule of a series; `None` where it is kept for ever.
    pub fn of(&self, name: &str) -> Option<&Rule> {
        self.rules.iter().find(|(meaning, _)| meaning.matches(name)).map(|(_, rule)| rule)
    }

    /// How one number is made of several of a series, and which part of them must be known.
    pub fn aggregation(&self, name: &str) -> (Aggregation, f64) {
        let own =
            self.of(name).map_or((Aggregation::Average, 0.5), |rule| (rule.aggregation, rule.x_files_factor));
        let other = self.aggregations.iter().find(|(meaning, ..)| meaning.matches(name));
        other.map_or(own, |(_, aggregation, factor)| (aggregation.unwrap_or(own.0), factor.unwrap_or(own.1)))
    }

    /// Every rule.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().map(|(_, rule)| rule)
    }

    fn take_toml(&mut self, text: &str) -> Result<(), Wrong> {
        let line_at = |at: usize| {
            text.as_bytes()[..at.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1
        };
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| Wrong {
            line: error.span().map_or(1, |span| line_at(span.start)),
            what: error.message().to_owned(),
        })?;
        for (key, value) in table {
            let rules = match value {
                toml::Value::Array(rules) if key == "rule" => rules,
                _ => return Err(Wrong { line: 1, what: format!("'{key}' is not known, only [[rule]] is") }),
            };
            // Places are gone once it is read: a rule is told by its number.
            let headings =
                text.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with("[[rule]]"));
            let lines: Vec<usize> = headings.map(|(at, _)| at + 1).collect();
            for (index, rule) in rules.into_iter().enumerate() {
                let line = lines.get(index).copied().unwrap_or(1);
                let wrong = |what: String| Wrong { line, what };
                let toml::Value::Table(rule) = rule else {
                    return Err(wrong("a rule is a table, [[rule]]".to_owned()));
                };
                let rule = read_rule(rule).map_err(wrong)?;
                self.rules.push(rule);
            }
        }
        Ok(())
    }

    fn take_schemas(&mut self, text: &str) -> Result<(), Wrong> {
        for section in sections(text)? {
            let wrong = |what: String| Wrong { line: section.line, what };
            let meaning = section.pattern().map_err(wrong)?;
            let text = section
                .get("retentions")
                .ok_or_else(|| wrong(format!("[{}] has no retentions", section.name)))?;
            let (raw, archives) = retentions(text).map_err(wrong)?;
            let rule = Rule { raw, archives, aggregation: Aggregation::Average, x_files_factor: 0.5 };
            self.rules.push((meaning, rule));
        }
        Ok(())
    }

    fn take_aggregation(&mut self, text: &str) -> Result<(), Wrong> {
        for section in sections(text)? {
            let wrong = |what: String| Wrong { line: section.line, what };
            let meaning = section.pattern().map_err(wrong)?;
            let aggregation = section.get("aggregationmethod").map(aggregation).transpose().map_err(wrong)?;
            let read = |text: &str| factor(text.parse().ok(), text);
            let factor = section.get("xfilesfactor").map(read).transpose().map_err(wrong)?;
            self.aggregations.push((meaning, aggregation, factor));
        }
        Ok(())
    }
}

fn read_text(path: &Path) -> Result<Option<String>, Error> {
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(Error::io("open", path))?,
    };
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(Error::io("read", path))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        let what = format!("more than {FILE_BYTES_MAX} bytes");
        return Err(Error::Rules { path: PathBuf::from(path), line: 1, what });
    }
    Ok(Some(text))
}

fn read_rule(table: toml::Table) -> Result<(Meaning, Rule), String> {
    let mut meaning = None;
    let mut kept = None;
    let mut rule = Rule {
        raw: Duration::ZERO,
        archives: Vec::new(),
        aggregation: Aggregation::Average,
        x_files_factor: 0.5,
    };
    for (key, value) in table {
        let text = || value.as_str().ok_or_else(|| format!("{key} is a text"));
        match key.as_str() {
            "pattern" if meaning.is_none() => meaning = Some(Meaning::Pattern(Pattern::new(text()?))),
            "regex" if meaning.is_none() => meaning = Some(regex(text()?)?),
            "pattern" | "regex" => return Err("a rule has a pattern or a regex, not both".to_owned()),
            "keep" => kept = Some(retentions(text()?)?),
            "aggregation" => rule.aggregation = aggregation(text()?)?,
            "x-files-factor" => {
                let number = value.as_float().or_else(|| value.as_integer().map(|number| number as f64));
                rule.x_files_factor = factor(number, value.as_str().unwrap_or("what stands there"))?;
            }
            other => {
                return Err(format!(
                    "'{other}' is not known: pattern, regex, keep, aggregation and x-files-factor are"
                ));
            }
        }
    }
    (rule.raw, rule.archives) = kept.ok_or("a rule says how long to keep: keep = \"10s:1d, 1m:30d\"")?;
    Ok((meaning.ok_or("a rule has a pattern or a regex")?, rule))
}

fn regex(text: &str) -> Result<Meaning, String> {
    // The first line of its message repeats the expression.
    let last = |error: regex::Error| error.to_string().lines().last().unwrap_or_default().trim().to_owned();
    Regex::new(text)
        .map(Meaning::Regex)
        .map_err(|error| format!("'{text}' is no regular expression: {}", last(error)))
}

fn aggregation(text: &str) -> Result<Aggregation, String> {
    Ok(match text {
        "average" | "avg" => Aggregation::Average,
        "min" => Aggregation::Min,
        "max" => Aggregation::Max,
        "sum" => Aggregation::Sum,
        "last" => Aggregation::Last,
        "count" => Aggregation::Count,
        other => {
            return Err(format!("'{other}' is no aggregation: average, min, max, sum, last and count are"));
        }
    })
}

fn factor(number: Option<f64>, text: &str) -> Result<f64, String> {
    number
        .filter(|factor| (0.0..=1.0).contains(factor))
        .ok_or_else(|| format!("'{text}' is no x-files-factor, which lies between 0 and 1"))
}

/// Reads `10s:1d, 1m:30d, 1h:5y`: the first is how long dots are kept as they came, and may say `raw`.
///
/// Source: Graphite's `storage-schemas.conf`, with Whisper's demands on neighbouring archives: each step a multiple
/// of the one before, and kept for longer. A bare number before the colon is seconds, behind it steps.
fn retentions(text: &str) -> Result<(Duration, Vec<ArchiveRule>), String> {
    let mut found: Vec<ArchiveRule> = Vec::new();
    for part in text.split(',') {
        let part = part.trim();
        let (step_text, keep_text) = part
            .split_once(':')
            .ok_or_else(|| format!("'{part}' is no retention, expected as in '1m:30d'"))?;
        let step = match step_text.trim() {
            // Dots have no step of their own.
            "raw" if found.is_empty() => Duration::from_nanos(1),
            step => duration(step)?,
        };
        let keep = match keep_text.trim() {
            steps if steps.bytes().all(|byte| byte.is_ascii_digit()) => {
                let steps = steps.parse().map_err(|_| format!("'{steps}' steps are too many"))?;
                step.checked_mul(steps).ok_or_else(|| format!("'{steps}' steps are too many"))?
            }
            keep => duration(keep)?,
        };
        if step.is_zero() || keep < step || keep > LONGEST {
            return Err(format!("'{part}' keeps less than one step or more than 584 years"));
        }
        if let Some(before) = found.last() {
            if !step.as_nanos().is_multiple_of(before.step.as_nanos()) || step == before.step {
                return Err(format!("the step of '{part}' is no multiple of the one before it"));
            }
            if keep <= before.keep {
                return Err(format!("'{part}' is not kept longer than the one before it"));
            }
        }
        found.push(ArchiveRule { step, keep });
    }
    if found.len() > ARCHIVES_MAX {
        return Err(format!("{} archives, at most {ARCHIVES_MAX} are kept", found.len()));
    }
    let first = found.remove(0);
    Ok((first.keep, found))
}

/// All of time.
const LONGEST: Duration = Duration::from_nanos(u64::MAX);

/// A whole number and a unit: s, m, h, d, w, y, or the beginning of the word for it; a bare number is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is no length of time, expected as in 10s, 5m, 1h, 30d, 2w or 5y");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let units = [
        ("seconds", 1),
        ("minutes", 60),
        ("hours", 3_600),
        ("days", 86_400),
        ("weeks", 7 * 86_400),
        ("years", 365 * 86_400),
    ];
    let seconds = match unit {
        "" => 1,
        unit => units.iter().find(|(word, _)| word.starts_with(unit)).ok_or_else(wrong)?.1,
    };
    number.checked_mul(seconds).map(Duration::from_secs).filter(|length| *length <= LONGEST).ok_or_else(wrong)
}

/// A part of one of Graphite's files.
struct Section<'a> {
    name: &'a str,
    line: usize,
    keys: Vec<(String, &'a str)>,
}

impl<'a> Section<'a> {
    fn get(&self, key: &str) -> Option<&'a str> {
        self.keys.iter().rev().find(|(name, _)| name == key).map(|(_, value)| *value)
    }

    fn pattern(&self) -> Result<Meaning, String> {
        regex(self.get("pattern").ok_or_else(|| format!("[{}] has no pattern", self.name))?)
    }
}

/// Source: Graphite's `.conf` files: `[name]`, then `key = value` or `key: value`; `#` and `;` begin a comment line.
fn sections(text: &str) -> Result<Vec<Section<'_>>, Wrong> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let (line, number) = (line.trim(), index + 1);
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let wrong = |what: &str| Wrong { line: number, what: format!("'{}': {what}", Short(line)) };
        if let Some(rest) = line.strip_prefix('[') {
            let name = rest.strip_suffix(']').ok_or_else(|| wrong("a section ends with ]"))?;
            sections.push(Section { name, line: number, keys: Vec::new() });
            continue;
        }
        let (key, value) = line.split_once(['=', ':']).ok_or_else(|| wrong("expected key = value"))?;
        let section = sections.last_mut().ok_or_else(|| wrong("expected a [section] first"))?;
        section.keys.push((key.trim().to_ascii_lowercase(), value.trim()));
    }
    Ok(sections)
}

/// The beginning of a text that may be long.
struct Short<'a>(&'a str);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().take(60).try_for_each(|letter| fmt::Write::write_char(f, letter))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(rule: &Rule) -> (u64, Vec<(u64, u64)>) {
        let archives = rule.archives.iter().map(|archive| (archive.step.as_secs(), archive.keep.as_secs()));
        (rule.raw.as_secs(), archives.collect())
    }

    #[test]
    fn retentions_are_read_as_graphite_reads_them() {
        let read = |text| {
            let (raw, archives) = retentions(text)?;
            Ok::<_, String>(seconds(&Rule {
                raw,
                archives,
                aggregation: Aggregation::Average,
                x_files_factor: 0.0,
            }))
        };
        assert_eq!(read("10s:1d,1m:30d, 1h:5y"), Ok((86_400, vec![(60, 2_592_000), (3_600, 157_680_000)])));
        assert_eq!(read("60:1440"), Ok((86_400, vec![])));
        assert_eq!(read("raw:2weeks,5min:1years"), Ok((1_209_600, vec![(300, 31_536_000)])));
        assert_eq!(read("1m:60,15m:96"), Ok((3_600, vec![(900, 86_400)])));
        for (text, told) in [
            ("", "no retention"),
            ("10s", "no retention"),
            ("10q:1d", "'10q' is no length of time"),
            ("x:1d", "'x' is no length"),
            ("0s:1d", "less than one step"),
            ("1h:1m", "less than one step"),
            ("10s:1d,15s:2d", "no multiple"),
            ("10s:1d,10s:2d", "no multiple"),
            ("10s:1d,1m:1d", "not kept longer"),
            ("10s:1d,raw:2d", "'raw' is no length"),
            ("1s:999999999999999999999", "too many"),
            ("1y:999y", "'999y' is no length of time"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn the_first_rule_that_means_a_series_counts() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Rules::read(dir.path()).unwrap().is_empty());
        let own = "# ours\n[[rule]]\npattern = \"host.%\"\nkeep = \"raw:7d, 1m:90d\"\naggregation = \"max\"\n\n[[rule]]\nregex = \"^tmp\\\\.\"\nkeep = \"1s:1h\"\n";
        std::fs::write(dir.path().join(RULES), own).unwrap();
        let schemas = "[carbon]\npattern = ^carbon\\.\nretentions = 60:90d\n\n; all\n[default]\nPATTERN: .*\nretentions: 10s:6h,1m:6d\n";
        std::fs::write(dir.path().join(SCHEMAS), schemas).unwrap();
        let aggregation =
            "[min]\npattern = \\.min$\nxFilesFactor = 0.1\naggregationMethod = min\n[odd]\npattern=\\.odd$\n";
        std::fs::write(dir.path().join(AGGREGATION), aggregation).unwrap();
        let rules = Rules::read(dir.path()).unwrap();
        let raw = |name| rules.of(name).unwrap().raw.as_secs();
        assert_eq!(
            (raw("host.a"), raw("tmp.a"), raw("carbon.x"), raw("else")),
            (604_800, 3_600, 7_776_000, 21_600)
        );
        assert_eq!(rules.aggregation("host.a"), (Aggregation::Max, 0.5));
        assert_eq!(rules.aggregation("x.min"), (Aggregation::Min, 0.1));
        assert_eq!(rules.aggregation("host.odd"), (Aggregation::Max, 0.5));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let dir = tempfile::tempdir().unwrap();
        for (file, text, told) in [
            (RULES, "x = 1", "line 1: 'x' is not known"),
            (RULES, "[[rule]]\npattern = \"a\"\nkeep = \"1d\"", "line 1: '1d' is no retention"),
            (RULES, "\n[[rule]]\nkeep = \"1s:1d\"", "line 2: a rule has a pattern or a regex"),
            (RULES, "[[rule]]\npattern = \"a\"\nregex = \"b\"\nkeep = \"1s:1d\"", "not both"),
            (RULES, "[[rule]]\nregex = \"(\"\nkeep = \"1s:1d\"", "no regular expression"),
            (RULES, "[[rule]]\n\nx = = 1", "line 3: "),
            (SCHEMAS, "a = b", "line 1: 'a = b': expected a [section] first"),
            (SCHEMAS, "\n[a]\nretentions = 1s:1d", "line 2: [a] has no pattern"),
            (SCHEMAS, "[a]\nrubbish", "line 2: 'rubbish': expected key = value"),
            (AGGREGATION, "[a]\npattern = .\nxFilesFactor = 2", "'2' is no x-files-factor"),
            (AGGREGATION, "[a]\npattern = .\naggregationMethod = best", "'best' is no aggregation"),
        ] {
            std::fs::write(dir.path().join(file), text).unwrap();
            let error = Rules::read(dir.path()).unwrap_err().to_string();
            assert!(error.contains(told) && error.contains(file), "{text}: {error}");
            std::fs::remove_file(dir.path().join(file)).unwrap();
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[\\[\\]=:a-z0-9\",. \n*(]{0,80}") {
            let _ = Rules::default().take_toml(&text);
            let _ = Rules::default().take_schemas(&text);
            let _ = Rules::default().take_aggregation(&text);
            let _ = retentions(&text);
        }

        #[test]
        fn whatever_is_read_keeps_whispers_demands(parts in prop::collection::vec((0..5_000_u64, 0..100_000_u64), 1..6)) {
            let text: Vec<String> = parts.iter().map(|(step, keep)| format!("{step}s:{keep}s")).collect();
            if let Ok((raw, archives)) = retentions(&text.join(",")) {
                let mut kept = raw;
                for archive in archives {
                    prop_assert!(archive.keep > kept && !archive.step.is_zero());
                    kept = archive.keep;
                }
            }
        }
    }
}
