//! What Whisper files say of their archives, as rules of the store.
//!
//! Always true: a series that a rule means already keeps that rule, and nothing is written before it was told.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use dotter_dot::{SeriesName, Timestamp};
use dotter_store::{ListedRule, Rule, Rules, record_rules};

use crate::error::Error;
use crate::retain::take_rules;

/// After a change of the rules nothing goes for so long.
const HOLD: Duration = Duration::from_secs(86_400);

/// What one Whisper file says.
pub(super) struct Said {
    /// Seconds a point and points of each archive, finest first.
    pub(super) archives: Vec<(u64, u64)>,
    /// The number of the method.
    pub(super) method: u32,
    pub(super) factor: f32,
}

/// How long the dots of the file in hand are kept.
#[derive(Clone, Copy)]
struct Limits {
    /// As they came.
    raw: Duration,
    /// In any tier.
    longest: Duration,
    is_new: bool,
    /// A point that stands for a longer time than this is fewer values than x-files-factor asks of its step.
    single: Duration,
}

/// Dots that are older than their rule keeps them.
#[derive(Default)]
struct Old {
    /// Those of which nothing is left.
    gone: u64,
    /// Those that become steps.
    steps: u64,
    /// Points that will be steps without one number.
    without_number: u64,
    /// The shortest time after which any of them goes.
    soonest: Option<Duration>,
}

/// The rules of an import.
pub(super) struct WhisperRules {
    standing: Rules,
    /// Whether rules are added.
    adds: bool,
    now: Timestamp,
    /// By keep, method and factor as texts.
    groups: BTreeMap<(String, &'static str, String), Vec<SeriesName>>,
    /// By what is wrong, how many series have no rule for it, and the first of them.
    wrong: BTreeMap<String, (u64, String)>,
    current: Option<Limits>,
    old: Old,
}

impl WhisperRules {
    /// - `adds`: whether rules are added for series that no rule means
    pub(super) fn new(dir: &Path, adds: bool, now: Timestamp) -> WhisperRules {
        let (standing, groups, wrong) = (Rules::read(dir), BTreeMap::new(), BTreeMap::new());
        WhisperRules { standing, adds, now, groups, wrong, current: None, old: Old::default() }
    }

    /// Takes what a file says, before its points.
    pub(super) fn file(&mut self, name: &str, said: &Said) {
        // What is no name is told when it is taken.
        let Ok(name) = SeriesName::new(name) else { return };
        self.current = self.standing.of(name.as_str()).map(|rule| limits(rule, false));
        if !self.adds || self.standing.has(name.as_str()) {
            return;
        }
        match listed(said).and_then(|listed| listed.rule().map(|rule| (listed, rule))) {
            Ok((ListedRule { keep, x_files_factor, .. }, rule)) => {
                self.current = Some(limits(&rule, true));
                let method = method(said.method).unwrap_or_default();
                self.groups.entry((keep, method, format!("{x_files_factor:?}"))).or_default().push(name);
            }
            Err(what) => {
                let entry = self.wrong.entry(what).or_insert_with(|| (0, name.as_str().to_owned()));
                entry.0 += 1;
            }
        }
    }

    /// Takes a point of the file in hand.
    pub(super) fn point(&mut self, time: Timestamp) {
        let Some(Limits { raw, longest, is_new, .. }) = self.current else { return };
        let is_older = |keep: Duration| time.saturating_add(keep) < self.now;
        if !is_older(raw) {
            return;
        }
        let count = if is_older(longest) { &mut self.old.gone } else { &mut self.old.steps };
        *count += 1;
        let after = if is_new { raw.max(HOLD) } else { raw };
        self.old.soonest = Some(self.old.soonest.map_or(after, |soonest| soonest.min(after)));
    }

    /// Takes how many points of one archive of the file in hand there were.
    ///
    /// - `width`: for how long a point stands
    pub(super) fn archive(&mut self, width: Duration, points: u64) {
        if self.current.is_some_and(|limits| limits.single < width) {
            self.old.without_number += points;
        }
    }

    fn listed(&self) -> Vec<ListedRule> {
        let rule =
            |((keep, aggregation, factor), names): (&(String, &'static str, String), &Vec<SeriesName>)| {
                ListedRule {
                    keep: keep.clone(),
                    aggregation: (*aggregation).to_owned(),
                    x_files_factor: factor.parse().unwrap_or_default(),
                    names: names.clone(),
                }
            };
        self.groups.iter().map(rule).collect()
    }

    /// Says on standard error which rules are added, and what goes by the rules.
    pub(super) fn tell(&self) {
        for rule in self.listed() {
            eprintln!("rule to be added to retention.toml: {rule}");
        }
        for (what, (count, first)) in &self.wrong {
            eprintln!("no rule for {count} series, such as {first}, which are kept for ever: {what}");
        }
        let Old { gone, steps, without_number, soonest } = self.old;
        if let Some(soonest) = soonest {
            eprintln!(
                "by the rules, {gone} dots are older than anything is kept of their series and go, and {steps} become \
                 steps, in {} at the earliest",
                length(soonest.as_secs())
            );
        }
        if without_number > 0 {
            eprintln!(
                "{without_number} points of coarser archives are less of a step than x-files-factor asks for: once they \
                 are steps, these have least, greatest, sum and count, but /render shows no value; a smaller \
                 x-files-factor in retention.toml before that gives them one"
            );
        }
    }

    /// Adds the rules.
    pub(super) fn record(&self, dir: &Path) -> Result<(), Error> {
        let rules = self.listed();
        if rules.is_empty() {
            return Ok(());
        }
        record_rules(dir, &rules)?;
        take_rules(dir)?;
        eprintln!("{} rules added to {}", rules.len(), dir.join("retention.toml").display());
        Ok(())
    }
}

fn limits(rule: &Rule, is_new: bool) -> Limits {
    let longest = rule.archives.last().map_or(rule.raw, |archive| archive.keep);
    let finest = rule.interval.or(rule.archives.first().map(|archive| archive.step));
    let single = match finest.filter(|_| rule.x_files_factor > 0.0 && !rule.archives.is_empty()) {
        Some(finest) => Duration::try_from_secs_f64(finest.as_secs_f64() / rule.x_files_factor),
        None => Ok(Duration::MAX),
    };
    Limits { raw: rule.raw, longest, is_new, single: single.unwrap_or(Duration::MAX) }
}

/// What a file says, as a rule without names; what of it no rule can say.
fn listed(said: &Said) -> Result<ListedRule, String> {
    let aggregation = method(said.method).ok_or_else(|| format!("method {} is not known", said.method))?;
    let archives = said
        .archives
        .iter()
        .map(|(seconds, points)| format!("{}:{}", length(*seconds), length(seconds.saturating_mul(*points))));
    let keep = archives.collect::<Vec<_>>().join(", ");
    // 0.3 as f32 is 0.30000001192092896 as f64.
    let x_files_factor = said.factor.to_string().parse().unwrap_or(f64::NAN);
    if !(0.0..=1.0).contains(&x_files_factor) {
        return Err(format!("x-files-factor {}, which lies between 0 and 1", said.factor));
    }
    Ok(ListedRule { keep, aggregation: aggregation.to_owned(), x_files_factor, names: Vec::new() })
}

/// Source: `aggregationTypeToMethod` of whisper.py.
fn method(number: u32) -> Option<&'static str> {
    let names = ["average", "sum", "last", "max", "min", "avg_zero", "absmax", "absmin"];
    names.get((number as usize).checked_sub(1)?).copied()
}

/// Seconds in the largest unit that they are a whole number of.
fn length(seconds: u64) -> String {
    let units = [("d", 86_400), ("h", 3_600), ("m", 60)];
    match units.into_iter().find(|(_, unit)| seconds > 0 && seconds.is_multiple_of(*unit)) {
        Some((letter, unit)) => format!("{}{letter}", seconds / unit),
        None => format!("{seconds}s"),
    }
}
