//! How long which series are kept, and in which steps: `retention.toml`, and Graphite's files beside it.
//!
//! The first rule that means a series counts: those of `retention.toml` in their order, then those of
//! `storage-schemas.conf`. A series that none means is kept for ever.
//!
//! Always true: a rule that cannot be read is skipped and named, and the others hold; but nothing is removed of a series
//! that it means, or of one that no rule before it means where that cannot be read either: a later, shorter rule
//! is not what was meant for it.

mod conf;
mod keep;
mod own;
mod watch;

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use regex::Regex;

use super::Rollup;
use crate::pattern::Pattern;
pub(crate) use watch::Stamps;
pub use watch::WatchedRules;

/// Longer files are refused.
const FILE_BYTES_MAX: u64 = 1 << 20;
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
    /// Time between dots, where the first of the retentions says one; it is not looked at while they live.
    pub interval: Option<Duration>,
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

/// Which one number the steps of a series come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OneNumber {
    aggregation: Aggregation,
    factor: f64,
    interval: Option<Duration>,
}

impl OneNumber {
    /// How it is made; `None` where less of the step is known than the rule wants. How much can be known tells the time
    /// between dots that the rule says; without one a single dot is enough.
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

/// A rule in its place.
#[derive(Clone, Debug)]
enum Entry {
    Rule(Meaning, Rule),
    /// One that cannot be read, and which series it means where that can be.
    Skipped(Option<Meaning>),
}

/// A rule that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedRule {
    /// In which file.
    pub path: PathBuf,
    /// In which line, from 1.
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
    /// Reads those of a store; without files there are none. What cannot be read is skipped.
    pub fn read(dir: &Path) -> Rules {
        let mut rules = Rules::default();
        if let Some(text) = rules.text(&dir.join(RULES), true) {
            rules.take_own(&dir.join(RULES), &text);
        }
        if let Some(text) = rules.text(&dir.join(SCHEMAS), true) {
            rules.take_schemas(&dir.join(SCHEMAS), &text);
        }
        if let Some(text) = rules.text(&dir.join(AGGREGATION), false) {
            rules.take_aggregation(&dir.join(AGGREGATION), &text);
        }
        rules
    }

    /// The files they are read from, whether they are there or not.
    pub(crate) fn files(dir: &Path) -> impl Iterator<Item = PathBuf> {
        [RULES, SCHEMAS, AGGREGATION].into_iter().map(|name| dir.join(name))
    }

    /// Whether there are none, not even skipped ones.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// What could not be read, in the order of the files.
    pub fn skipped(&self) -> &[SkippedRule] {
        &self.skipped
    }

    /// The rule of a series; `None` where it is kept for ever, and where the rule that is meant for it, or may be, cannot
    /// be read.
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

    /// How one number is made of several of a series, and which part of them must be known.
    pub fn aggregation(&self, name: &str) -> (Aggregation, f64) {
        let own =
            self.of(name).map_or((Aggregation::Average, 0.5), |rule| (rule.aggregation, rule.x_files_factor));
        let other = self.aggregations.iter().find(|(meaning, ..)| meaning.matches(name));
        other.map_or(own, |(_, aggregation, factor)| (aggregation.unwrap_or(own.0), factor.unwrap_or(own.1)))
    }

    /// What says which one number a step of a series comes to.
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

    fn skip(&mut self, path: &Path, wrong: Wrong) {
        self.skipped.push(SkippedRule { path: path.to_owned(), line: wrong.line, what: wrong.what });
    }

    /// A file's text; `None` where it is not there, or cannot be read.
    ///
    /// - `keeps`: whether it says how long series are kept, which nobody knows then
    fn text(&mut self, path: &Path, keeps: bool) -> Option<String> {
        match read_text(path) {
            Ok(text) => text,
            Err(what) => {
                self.skip(path, Wrong { line: 1, what });
                self.rules.extend(keeps.then_some(Entry::Skipped(None)));
                None
            }
        }
    }

    fn take_own(&mut self, path: &Path, text: &str) {
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

    fn take_schemas(&mut self, path: &Path, text: &str) {
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

    fn take_aggregation(&mut self, path: &Path, text: &str) {
        for section in conf::sections(text) {
            match section.aggregation() {
                Ok(aggregation) => self.aggregations.push(aggregation),
                Err(wrong) => self.skip(path, wrong),
            }
        }
    }
}

/// `None` where there is no such file; else what is wrong with it.
fn read_text(path: &Path) -> Result<Option<String>, String> {
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|error| format!("cannot open it: {error}"))?,
    };
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("cannot read it: {error}"))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("more than {FILE_BYTES_MAX} bytes"));
    }
    let text = String::from_utf8(bytes)
        .map_err(|error| format!("not UTF-8 from byte {} on", error.utf8_error().valid_up_to()))?;
    // Editors of another system put a mark at the start that nobody sees.
    Ok(Some(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The rules of one file.
    fn read(file: &str, text: &str) -> Rules {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(file), text).unwrap();
        Rules::read(dir.path())
    }

    #[test]
    fn the_first_rule_that_means_a_series_counts() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Rules::read(dir.path()).is_empty());
        let own = "# ours\n[[rule]]\npattern = \"host.%\"\nkeep = \"raw:7d, 1m:90d\"\naggregation = \"max\"\n\n[[rule]]\nregex = \"^tmp\\\\.\"\nkeep = \"1s:1h\"\n";
        std::fs::write(dir.path().join(RULES), own).unwrap();
        let schemas = "[carbon]\npattern = ^carbon\\.\nretentions = 60:90d\n\n; all\n[default]\nPATTERN: .*\nretentions: 10s:6h,1m:6d\n";
        std::fs::write(dir.path().join(SCHEMAS), schemas).unwrap();
        let aggregation =
            "[min]\npattern = \\.min$\nxFilesFactor = 0.1\naggregationMethod = min\n[odd]\npattern=\\.odd$\n";
        std::fs::write(dir.path().join(AGGREGATION), aggregation).unwrap();
        let rules = Rules::read(dir.path());
        let raw = |name| rules.of(name).unwrap().raw.as_secs();
        assert_eq!(
            (raw("host.a"), raw("tmp.a"), raw("carbon.x"), raw("else")),
            (604_800, 3_600, 7_776_000, 21_600)
        );
        assert_eq!(rules.skipped(), []);
        assert_eq!(rules.aggregation("host.a"), (Aggregation::Max, 0.5));
        assert_eq!(rules.aggregation("x.min"), (Aggregation::Min, 0.1));
        assert_eq!(rules.aggregation("host.odd"), (Aggregation::Max, 0.5));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (file, text, told) in [
            (RULES, "x = 1", "line 1: 'x' is not known"),
            (RULES, "\n[[rules]]\npattern = \"a\"", "line 2: 'rules' is not known"),
            (RULES, "[[rule]]\npattern = \"a\"\nkeep = \"1d\"", "line 3: '1d' is no retention"),
            (RULES, "\n[[rule]]\nkeep = \"1s:1d\"", "line 2: a rule has a pattern or a regex"),
            (RULES, "[[rule]]\npattern = \"a\"\nregex = \"b\"\nkeep = \"1s:1d\"", "not both"),
            (RULES, "[[rule]]\nkeep = \"1s:1d\"\nregex = \"(\"", "line 3: '(' is no regular expression"),
            (RULES, "[[rule]]\nkeep = \"1s:1d\"\nregexp = \"a\"", "line 3: 'regexp' is not known"),
            (RULES, "[[rule]]\n\nx = = 1", "line 3: "),
            (RULES, "\n\n[rule]\npattern = \"a\"", "line 3: a rule is a table"),
            (SCHEMAS, "a = b", "line 1: 'a = b': expected a [section] first"),
            (SCHEMAS, "\n[a]\nretentions = 1s:1d", "line 2: [a] has no pattern"),
            (SCHEMAS, "[a]\nrubbish", "line 2: 'rubbish': expected key = value"),
            (SCHEMAS, "[a\npattern = a\nretentions = 1s:1d", "line 1: '[a': a section ends with ]"),
            (SCHEMAS, "[a]\npattern = a\nretention = 1s:1d", "line 3: 'retention' is not known in [a]"),
            (SCHEMAS, "[a]\npattern = a\nretentions = 1s:1d\n, 1m:2d", "line 4: ', 1m' is not known in [a]"),
            (SCHEMAS, "[a]\npattern = a\nretentions =\n", "line 3: '' is no retention"),
            (SCHEMAS, "[a]\nretentions = 1s:1d\npattern = ^(?!carbon\\.)", "line 3: '^(?!carbon"),
            (SCHEMAS, "[a]\npattern = a\n retentions = 1s:1d", "line 2: the pattern of [a] goes on"),
            (AGGREGATION, "[a]\npattern = .\nxFilesFactor = 2", "line 3: '2' is no x-files-factor"),
            (AGGREGATION, "[a]\npattern = .\naggregationMethod = best", "line 3: 'best' is no aggregation"),
        ] {
            let rules = read(file, text);
            let [skipped] = rules.skipped() else { panic!("{text}: {:?}", rules.skipped()) };
            let said = skipped.to_string();
            assert!(said.contains(told) && said.contains(file), "{text}: {said}");
        }
        let whole = "a".repeat(FILE_BYTES_MAX as usize + 1);
        assert!(read(RULES, &whole).skipped()[0].to_string().contains("more than 1048576 bytes"));
    }

    #[test]
    fn what_an_editor_or_configparser_makes_of_it_is_read_too() {
        for text in [
            "\u{feff}[a]\npattern = .*\nretentions = 10s:6h, 1m:7d\n",
            "[a]\npattern = .*\nretentions = 10s:6h,\n    1m:7d\n",
            "[a]\r\npattern = .*\r\nretentions =\r\n\t10s:6h\r\n\t,1m:7d\r\n",
            "[a]\npriority = 1\npattern = .*\nretentions = 10s:6h\n\n # both\n ,1m:7d\n[b]\npattern = b\nretentions = 1s:1d\n",
            "[a]\n  pattern = .*\n  retentions = 10s:6h, 1m:7d\n",
        ] {
            let rules = read(SCHEMAS, text);
            assert_eq!(rules.skipped(), [], "{text}");
            let rule = rules.of("x").unwrap();
            let archive =
                ArchiveRule { step: Duration::from_secs(60), keep: Duration::from_secs(7 * 86_400) };
            assert_eq!(
                (rule.raw, &rule.archives[..]),
                (Duration::from_secs(6 * 3_600), &[archive][..]),
                "{text}"
            );
        }
        let own = read(RULES, "\u{feff}[[rule]]\npattern = \"%\"\nkeep = \"1s:1d\"\n");
        assert!(own.skipped().is_empty() && own.of("x").is_some());
        let array = read(RULES, "rule = [{ pattern = \"%\", keep = \"1s:1d\" }]\n");
        assert!(array.skipped().is_empty() && array.of("x").is_some());
    }

    #[test]
    fn a_skipped_rule_leaves_the_others_and_no_later_one_takes_its_series() {
        let dir = tempfile::tempdir().unwrap();
        let own =
            "[[rule]]\npattern = \"a.%\"\nkeep = \"1s:1d\"\n\n[[rule]]\npattern = \"b.%\"\nkeep = \"1d\"\n";
        std::fs::write(dir.path().join(RULES), own).unwrap();
        let schemas = "[c]\npattern = ^[bc]\\.\nretentions = 1s:2d\n[d]\npattern = ^(?!e\\.)\nretentions = 1s:9y\n[all]\npattern = .*\nretentions = 1s:1h\n";
        std::fs::write(dir.path().join(SCHEMAS), schemas).unwrap();
        let rules = Rules::read(dir.path());
        let days = |name| rules.of(name).map(|rule| rule.raw.as_secs() / 86_400);
        assert_eq!((days("a.x"), days("c.x")), (Some(1), Some(2)));
        assert_eq!(days("b.x"), None, "its own rule was skipped");
        assert_eq!((days("d.x"), days("e.x")), (None, None), "nobody knows whom the skipped one means");
        assert_eq!((rules.skipped().len(), rules.all().count()), (2, 3));
        // Of a whole file that cannot be read nobody knows whom it means.
        std::fs::write(dir.path().join(RULES), b"[[rule]]\npattern = \"\xff\"\n").unwrap();
        let rules = Rules::read(dir.path());
        assert!(rules.of("c.x").is_none() && !rules.is_empty());
        assert!(rules.skipped()[0].to_string().contains("line 1: not UTF-8 from byte 20 on"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[\\[\\]=:a-z0-9\",. \n*(]{0,80}") {
            let (mut rules, path) = (Rules::default(), Path::new("rules"));
            rules.take_own(path, &text);
            rules.take_schemas(path, &text);
            rules.take_aggregation(path, &text);
        }
    }
}
