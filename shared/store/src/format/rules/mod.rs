//! Retention rules: how long series are kept and in which steps, by `retention.toml` and Graphite's files.
//!
//! The first rule that matches a series counts: those of `retention.toml` in their order, then those of
//! `storage-schemas.conf`. A series that no rule matches is kept for ever.
//!
//! Always true: a rule that cannot be read is skipped and named, and the other rules hold. Nothing is removed of a
//! series that the skipped rule matches, since a later rule that keeps less is not meant for it. Where the pattern
//! cannot be read either, nothing is removed of any series that no rule before it matches.

mod conf;
mod dated;
mod keep;
mod names;
mod own;
mod stored;
mod tiers;
mod told;

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use regex::Regex;

use crate::format::pattern::Pattern;
use crate::format::rules::names::NameList;

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
    /// How the dots within one `interval` become the one value that they count as.
    pub slot: Slot,
    /// The step in which observations of histograms are put together as they are stored; `None` where they are kept
    /// one by one.
    pub condense: Option<Duration>,
}

/// How the dots within the step of the first retention become one value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Slot {
    /// The latest counts, as in Whisper.
    #[default]
    Last,
    /// Their mean counts.
    Average,
}

impl Rule {
    fn new(kept: keep::Kept) -> Rule {
        let keep::Kept { interval, raw, archives } = kept;
        Rule {
            interval,
            raw,
            archives,
            aggregation: Aggregation::Average,
            x_files_factor: 0.5,
            slot: Slot::Last,
            condense: None,
        }
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
    /// Their mean, where a value that is missing counts as zero.
    AverageZero,
    /// The one that is farthest from zero.
    AbsMax,
    /// The one that is nearest to zero.
    AbsMin,
}

/// All rules of a store.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    rules: Vec<Entry>,
    aggregations: Vec<(Meaning, Option<Aggregation>, Option<f64>)>,
    skipped: Vec<SkippedRule>,
    /// Running time, in nanoseconds, since which the series that no rule means have had none; 0 where that never
    /// changed.
    none_since: u64,
}

/// A rule, or a rule that was skipped, in its place.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    what: What,
    /// Running time, in nanoseconds, at which it last changed which rule its series have; 0 where it never did.
    since: u64,
}

#[derive(Clone, Debug, PartialEq)]
enum What {
    Rule(Meaning, Rule),
    /// A rule that cannot be read, and the series that it is for, if that can be read.
    Skipped(Option<Meaning>),
}

impl What {
    /// The series that it is for, if that can be read.
    fn meaning(&self) -> Option<&Meaning> {
        match self {
            What::Rule(meaning, _) => Some(meaning),
            What::Skipped(meaning) => meaning.as_ref(),
        }
    }

    /// For how long these are kept, and in which steps; `None` where that cannot be read.
    fn kept(&self) -> Option<(Duration, &[ArchiveRule])> {
        match self {
            What::Rule(_, rule) => Some((rule.raw, &rule.archives)),
            What::Skipped(_) => None,
        }
    }
}

/// A rule that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedRule {
    /// The file that it is in, in the directory of the store.
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
    Regex(Expression),
    Names(NameList),
}

/// A regular expression. It is compiled when it is first asked: many who read the list never ask.
#[derive(Clone, Debug)]
struct Expression {
    text: String,
    /// `None` where it cannot be read: another build has written it.
    compiled: OnceLock<Option<Regex>>,
}

impl Expression {
    fn new(text: &str) -> Result<Expression, regex::Error> {
        let compiled = OnceLock::from(Some(Regex::new(text)?));
        Ok(Expression { text: text.to_owned(), compiled })
    }

    /// One that has been compiled before, by whoever wrote it.
    fn stored(text: &str) -> Expression {
        Expression { text: text.to_owned(), compiled: OnceLock::new() }
    }

    fn as_str(&self) -> &str {
        &self.text
    }

    fn regex(&self) -> Option<&Regex> {
        self.compiled.get_or_init(|| Regex::new(&self.text).ok()).as_ref()
    }
}

impl Meaning {
    /// Whether it means a series; `None` where it cannot be read.
    fn means(&self, name: &str) -> Option<bool> {
        match self {
            Meaning::Pattern(pattern) => Some(pattern.matches(name)),
            Meaning::Regex(expression) => Some(expression.regex()?.is_match(name)),
            Meaning::Names(list) => Some(list.contains(name)),
        }
    }

    /// Whether it means a series or may mean it.
    fn matches(&self, name: &str) -> bool {
        self.means(name).unwrap_or(true)
    }
}

/// Two that are written alike.
impl PartialEq for Meaning {
    fn eq(&self, other: &Meaning) -> bool {
        match (self, other) {
            (Meaning::Pattern(a), Meaning::Pattern(b)) => a == b,
            (Meaning::Regex(a), Meaning::Regex(b)) => a.as_str() == b.as_str(),
            (Meaning::Names(a), Meaning::Names(b)) => a == b,
            _ => false,
        }
    }
}

/// Gives the text of a file of names, or says why not.
pub(crate) type Names<'a> = &'a dyn Fn(&str) -> Result<String, String>;

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
        match &self.deciding(name)?.what {
            What::Rule(meaning, rule) => meaning.means(name).map(|_| rule),
            What::Skipped(_) => None,
        }
    }

    /// Whether any rule means a series, or may mean it.
    pub fn has(&self, name: &str) -> bool {
        self.deciding(name).is_some()
    }

    /// The files of the lists of series that rules mean, in the directory of the store.
    pub(crate) fn files_of_names(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().filter_map(|entry| match entry.what.meaning() {
            Some(Meaning::Names(list)) => Some(list.file()),
            _ => None,
        })
    }

    /// Every rule that can be read.
    #[cfg(test)]
    pub(crate) fn all(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter_map(|entry| match &entry.what {
            What::Rule(_, rule) => Some(rule),
            What::Skipped(_) => None,
        })
    }

    /// The first rule, read or skipped, that means a series or may mean it.
    fn deciding(&self, name: &str) -> Option<&Entry> {
        self.rules.iter().find(|entry| match &entry.what {
            What::Rule(meaning, _) => meaning.matches(name),
            What::Skipped(meaning) => meaning.as_ref().is_none_or(|meaning| meaning.matches(name)),
        })
    }

    /// A number that differs where the rules put any series into another tier, and where they did so since another time;
    /// it says nothing about how steps become one number. Where there are no rules and never were any it is 0.
    ///
    /// Source: FNV-1a, 64 bits.
    pub(crate) fn mark(&self) -> u64 {
        let mut text = String::new();
        for entry in &self.rules {
            let rule = entry.what.kept();
            let names;
            let meaning = match entry.what.meaning() {
                Some(Meaning::Pattern(pattern)) => ("pattern", pattern.as_str()),
                Some(Meaning::Regex(regex)) => ("regex", regex.as_str()),
                Some(Meaning::Names(list)) => {
                    names = format!("{:016x}", list.mark());
                    ("names", names.as_str())
                }
                None => ("unknown", ""),
            };
            // Writing to a string never fails.
            let _ = writeln!(text, "{meaning:?} {rule:?}");
            if entry.since > 0 {
                let _ = writeln!(text, "since {}", entry.since);
            }
        }
        if self.none_since > 0 {
            let _ = writeln!(text, "none since {}", self.none_since);
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
        let other = self.aggregations.iter().find(|(meaning, ..)| meaning.means(name) == Some(true));
        other.map_or(own, |(_, aggregation, factor)| (aggregation.unwrap_or(own.0), factor.unwrap_or(own.1)))
    }

    /// Notes a file that cannot be read.
    ///
    /// - `keeps`: whether the file says how long series are kept; then nothing is removed as long as it cannot be
    ///   read
    pub(crate) fn skip_file(&mut self, path: &Path, what: String, keeps: bool) {
        self.skip(path, Wrong { line: 1, what });
        if keeps {
            self.push(What::Skipped(None));
        }
    }

    fn push(&mut self, what: What) {
        self.rules.push(Entry { what, since: 0 });
    }

    fn skip(&mut self, path: &Path, wrong: Wrong) {
        self.skipped.push(SkippedRule { path: path.to_owned(), line: wrong.line, what: wrong.what });
    }

    /// Takes the rules of a text that names no lists of series.
    #[cfg(test)]
    pub(crate) fn take_own(&mut self, path: &Path, text: &str) {
        self.take_own_with(path, text, &|file| Err(format!("{file}: no such file")));
    }

    /// - `names`: gives the text of a file of names, or says why not
    pub(crate) fn take_own_with(&mut self, path: &Path, text: &str, names: Names<'_>) {
        for rule in own::rules(text, names) {
            match rule {
                Ok((meaning, rule)) => self.push(What::Rule(meaning, rule)),
                Err((meaning, wrong)) => {
                    self.skip(path, wrong);
                    self.push(What::Skipped(meaning));
                }
            }
        }
    }

    pub(crate) fn take_schemas(&mut self, path: &Path, text: &str) {
        for section in conf::sections(text) {
            match section.schema() {
                Ok((meaning, rule)) => self.push(What::Rule(meaning, rule)),
                Err(wrong) => {
                    self.skip(path, wrong);
                    self.push(What::Skipped(section.meaning().ok()));
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
    Expression::new(text)
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
        "avg_zero" => Aggregation::AverageZero,
        "absmax" => Aggregation::AbsMax,
        "absmin" => Aggregation::AbsMin,
        other => {
            return Err(format!(
                "'{other}' is no aggregation: average, min, max, sum, last, count, avg_zero, absmax and absmin are"
            ));
        }
    })
}

fn factor(number: Option<f64>, text: &str) -> Result<f64, String> {
    number
        .filter(|factor| (0.0..=1.0).contains(factor))
        .ok_or_else(|| format!("'{text}' is no x-files-factor, which lies between 0 and 1"))
}
