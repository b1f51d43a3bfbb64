//! A rule as people read it.

use crate::format::place::Length;
use crate::format::rules::{Aggregation, ArchiveRule, Meaning, Rules, Slot, What};

impl Rules {
    /// What becomes of a series, in one line: the pattern that means it, and what its rule says.
    pub fn told(&self, name: &str) -> String {
        let Some(entry) = self.deciding(name) else { return "no rule means it: kept for ever".to_owned() };
        let (meaning, rule) = match &entry.what {
            What::Rule(meaning, rule) if meaning.means(name).is_some() => (meaning, rule),
            What::Skipped(Some(meaning)) | What::Rule(meaning, _) => {
                return format!("{}: a rule that cannot be read: kept for ever", told(meaning));
            }
            What::Skipped(None) => return "a rule that cannot be read may mean it: kept for ever".to_owned(),
        };
        let first = rule.interval.map_or_else(|| "raw".to_owned(), |step| Length(step).to_string());
        let mut kept = format!("{first}:{}", Length(rule.raw));
        for ArchiveRule { step, keep } in &rule.archives {
            kept.push_str(&format!(", {}:{}", Length(*step), Length(*keep)));
        }
        let (aggregation, factor) = self.aggregation(name);
        let mut told = format!("{}: {kept}", told(meaning));
        if !rule.archives.is_empty() {
            let method = match aggregation {
                Aggregation::Average => "average",
                Aggregation::Min => "min",
                Aggregation::Max => "max",
                Aggregation::Sum => "sum",
                Aggregation::Last => "last",
                Aggregation::Count => "count",
                Aggregation::AverageZero => "avg_zero",
                Aggregation::AbsMax => "absmax",
                Aggregation::AbsMin => "absmin",
            };
            told.push_str(&format!("; {method}, x-files-factor {factor}"));
            if rule.slot == Slot::Average {
                told.push_str(", slots averaged");
            }
        }
        if let Some(step) = rule.condense {
            told.push_str(&format!("; histograms condensed to {}", Length(step)));
        }
        told
    }
}

fn told(meaning: &Meaning) -> String {
    match meaning {
        Meaning::Pattern(pattern) => format!("pattern {}", pattern.as_str()),
        Meaning::Regex(regex) => format!("regex {}", regex.as_str()),
        Meaning::Names(list) => format!("{} names of {}", list.len(), list.file()),
    }
}
