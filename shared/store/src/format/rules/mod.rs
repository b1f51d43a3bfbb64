//! Retention rules: how long series are kept and in which steps, by `retention.toml` and Graphite's files.
//!
//! The first rule that matches a series counts: those of `retention.toml` in their order, then those of
//! `storage-schemas.conf`. A series that no rule matches is kept for ever.
//!
//! Always true: a rule that cannot be read is skipped and named, and the other rules hold. Nothing is removed of a
//! series that the skipped rule matches, since a later rule that keeps less is not meant for it. Where the pattern
//! cannot be read either, nothing is removed of any series that no rule before it matches.

mod conf;
mod keep;
mod own;

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use regex::Regex;

use crate::format::pattern::Pattern;
use crate::format::place::Tier;
use crate::format::rollup::Rollup;

/// One step with one retention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArchiveRule {
    /// Width of a step.
    pub step: Duration,
    /// How long its steps are kept.
    pub keep: Duration,
}

/// What happens to the dots of a series as they grow old.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Time between dots, where the first retention has a step; it is not used while the dots are kept.
    pub interval: Option<Duration>,
    /// How long dots are kept as they came: the first retention, whatever its step.
    pub raw: Duration,
    /// The archives that are computed from the dots, finest first.
    pub archives: Vec<ArchiveRule>,
    /// How a step becomes one number where only one is asked for.
    pub aggregation: Aggregation,
    /// The part of a step, 0 to 1, that must be known for that number.
    pub x_files_factor: f64,
}

impl Rule {
    fn new(kept: keep::Kept) -> Rule {
        let keep::Kept { interval, raw, archives } = kept;
        Rule { interval, raw, archives, aggregation: Aggregation::Average, x_files_factor: 0.5 }
    }

    /// How long steps of that many nanoseconds are kept; `None` where it has no such archive.
    pub(crate) fn keep(&self, step: u64) -> Option<Duration> {
        let archive = self.archives.iter().find(|archive| archive.step.as_nanos() as u64 == step);
        archive.map(|archive| archive.keep)
    }
}

/// How several numbers become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Aggregation {
    /// Their mean.
    #[default]
    Average,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// Their sum.
    Sum,
    /// The latest.
    Last,
    /// How many.
    Count,
}

/// Which number stands for a step of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OneNumber {
    aggregation: Aggregation,
    factor: f64,
    interval: Option<Duration>,
}

impl OneNumber {
    /// How the number is made; `None` where less of the step is known than the rule wants. The rule's time between
    /// dots tells how many dots make a whole step; without one a single dot is enough.
    pub fn of(&self, step: &Rollup) -> Option<Aggregation> {
        let possible =
            self.interval.map_or(1.0, |interval| step.width.as_secs_f64() / interval.as_secs_f64());
        (step.count as f64 / possible >= self.factor).then_some(self.aggregation)
    }
}

/// All rules of a store.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    rules: Vec<Entry>,
    aggregations: Vec<(Meaning, Option<Aggregation>, Option<f64>)>,
    skipped: Vec<SkippedRule>,
}

/// A rule, or a rule that was skipped, in its place.
#[derive(Clone, Debug)]
enum Entry {
    Rule(Meaning, Rule),
    /// A rule that cannot be read, and the series that it is for, if that can be read.
    Skipped(Option<Meaning>),
}

/// A rule that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedRule {
    /// The file that it is in.
    pub path: PathBuf,
    /// Its line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for SkippedRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} line {}: {}", self.path.display(), self.line, self.what)
    }
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
    /// Whether there are none, not even skipped ones.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// What could not be read, in the order of the files.
    pub fn skipped(&self) -> &[SkippedRule] {
        &self.skipped
    }

    /// The rule of a series; `None` where the series is kept for ever, and where the rule that matches it, or may
    /// match it, cannot be read.
    pub fn of(&self, name: &str) -> Option<&Rule> {
        for entry in &self.rules {
            match entry {
                Entry::Rule(meaning, rule) if meaning.matches(name) => return Some(rule),
                Entry::Skipped(meaning) if meaning.as_ref().is_none_or(|meaning| meaning.matches(name)) => {
                    return None;
                }
                _ => {}
            }
        }
        None
    }

    /// The tier that the dots of a series lie in as they came.
    pub(crate) fn tier(&self, name: &str) -> Tier {
        let Some(rule) = self.of(name) else { return Tier::default() };
        let next_step = rule.archives.first().map_or(Duration::ZERO, |archive| archive.step);
        Tier { step: Duration::ZERO, keep: rule.raw, next_step }
    }

    /// A number that differs where the rules put any series into another tier; it says nothing about how steps become
    /// one number. Without rules it is 0.
    ///
    /// Source: FNV-1a, 64 bits.
    pub(crate) fn mark(&self) -> u64 {
        let mut text = String::new();
        for entry in &self.rules {
            let (meaning, rule) = match entry {
                Entry::Rule(meaning, rule) => (Some(meaning), Some((rule.raw, &rule.archives))),
                Entry::Skipped(meaning) => (meaning.as_ref(), None),
            };
            let meaning = match meaning {
                Some(Meaning::Pattern(pattern)) => ("pattern", pattern.as_str()),
                Some(Meaning::Regex(regex)) => ("regex", regex.as_str()),
                None => ("unknown", ""),
            };
            // Writing to a string never fails.
            let _ = writeln!(text, "{meaning:?} {rule:?}");
        }
        if text.is_empty() {
            return 0;
        }
        text.bytes()
            .fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
    }

    /// How several numbers of a series become one, and which part of them must be known.
    pub fn aggregation(&self, name: &str) -> (Aggregation, f64) {
        let own =
            self.of(name).map_or((Aggregation::Average, 0.5), |rule| (rule.aggregation, rule.x_files_factor));
        let other = self.aggregations.iter().find(|(meaning, ..)| meaning.matches(name));
        other.map_or(own, |(_, aggregation, factor)| (aggregation.unwrap_or(own.0), factor.unwrap_or(own.1)))
    }

    /// How a step of a series becomes one number.
    pub fn one_number(&self, name: &str) -> OneNumber {
        let (aggregation, factor) = self.aggregation(name);
        OneNumber { aggregation, factor, interval: self.of(name).and_then(|rule| rule.interval) }
    }

    /// Every rule that can be read.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter_map(|entry| match entry {
            Entry::Rule(_, rule) => Some(rule),
            Entry::Skipped(_) => None,
        })
    }

    /// Notes a file that cannot be read.
    ///
    /// - `keeps`: whether the file says how long series are kept; then nothing is removed as long as it cannot be
    ///   read
    pub(crate) fn skip_file(&mut self, path: &Path, what: String, keeps: bool) {
        self.skip(path, Wrong { line: 1, what });
        self.rules.extend(keeps.then_some(Entry::Skipped(None)));
    }

    fn skip(&mut self, path: &Path, wrong: Wrong) {
        self.skipped.push(SkippedRule { path: path.to_owned(), line: wrong.line, what: wrong.what });
    }

    pub(crate) fn take_own(&mut self, path: &Path, text: &str) {
        for rule in own::rules(text) {
            match rule {
                Ok((meaning, rule)) => self.rules.push(Entry::Rule(meaning, rule)),
                Err((meaning, wrong)) => {
                    self.skip(path, wrong);
                    self.rules.push(Entry::Skipped(meaning));
                }
            }
        }
    }

    pub(crate) fn take_schemas(&mut self, path: &Path, text: &str) {
        for section in conf::sections(text) {
            match section.schema() {
                Ok((meaning, rule)) => self.rules.push(Entry::Rule(meaning, rule)),
                Err(wrong) => {
                    self.skip(path, wrong);
                    self.rules.push(Entry::Skipped(section.meaning().ok()));
                }
            }
        }
    }

    pub(crate) fn take_aggregation(&mut self, path: &Path, text: &str) {
        for section in conf::sections(text) {
            match section.aggregation() {
                Ok(aggregation) => self.aggregations.push(aggregation),
                Err(wrong) => self.skip(path, wrong),
            }
        }
    }
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
