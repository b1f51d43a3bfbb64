//! The rules as bytes of the list.
//!
//! A regular expression stands as its text. Where it cannot be read any more, its rule counts as one that is skipped.

use std::path::PathBuf;
use std::time::Duration;

use dotter_dot::put_varint;

use crate::format::bytes::{Fields, put_text};
use crate::format::pattern::Pattern;
use crate::format::rules::keep::{self, Kept};
use crate::format::rules::names::NameList;
use crate::format::rules::{
    Aggregation, ArchiveRule, Entry, Expression, Meaning, Rule, Rules, SkippedRule, Slot, What,
};

const PATTERN: u8 = 1;
const REGEX: u8 = 2;
const NAMES: u8 = 3;

/// The numbers of methods, as Whisper's files have them; `count` is not Whisper's.
const METHODS: [(u8, Aggregation); 9] = [
    (1, Aggregation::Average),
    (2, Aggregation::Sum),
    (3, Aggregation::Last),
    (4, Aggregation::Max),
    (5, Aggregation::Min),
    (6, Aggregation::AverageZero),
    (7, Aggregation::AbsMax),
    (8, Aggregation::AbsMin),
    (9, Aggregation::Count),
];

impl Rules {
    /// Appends all of it. A path is written as it is shown to people.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.rules.len() as u64);
        for Entry { what, since } in &self.rules {
            let (meaning, rule) = match what {
                What::Rule(meaning, rule) => (Some(meaning), Some(rule)),
                What::Skipped(meaning) => (meaning.as_ref(), None),
            };
            put_meaning(meaning, out);
            out.push(rule.is_some() as u8);
            if let Some(rule) = rule {
                put_rule(rule, out);
            }
            put_varint(out, *since);
        }
        put_varint(out, self.none_since);
        put_varint(out, self.aggregations.len() as u64);
        for (meaning, method, factor) in &self.aggregations {
            put_meaning(Some(meaning), out);
            out.push(method.map_or(0, number));
            out.push(factor.is_some() as u8);
            out.extend(factor.iter().flat_map(|factor| factor.to_le_bytes()));
        }
        put_varint(out, self.skipped.len() as u64);
        for SkippedRule { path, line, what } in &self.skipped {
            put_text(out, &path.to_string_lossy());
            put_varint(out, *line as u64);
            put_text(out, what);
        }
    }

    /// Reads what [`Rules::encode`] wrote; `None` where it makes no sense. Regular expressions are compiled when they are
    /// first asked.
    pub(crate) fn decode(fields: &mut Fields<'_>) -> Option<Rules> {
        let mut rules = Rules::default();
        for _ in 0..fields.count(3)? {
            let meaning = take_meaning(fields)?;
            let rule = match fields.byte()? {
                0 => None,
                1 => Some(take_rule(fields)?),
                _ => return None,
            };
            let what = match (meaning, rule) {
                (meaning, None) => What::Skipped(meaning),
                (meaning, Some(rule)) => What::Rule(meaning?, rule),
            };
            rules.rules.push(Entry { what, since: fields.varint()? });
        }
        rules.none_since = fields.varint()?;
        for _ in 0..fields.count(4)? {
            let meaning = take_meaning(fields)?;
            let method = match fields.byte()? {
                0 => None,
                number => Some(method(number)?),
            };
            let factor = match fields.byte()? {
                0 => None,
                1 => Some(take_factor(fields)?),
                _ => return None,
            };
            rules.aggregations.push((meaning?, method, factor));
        }
        for _ in 0..fields.count(3)? {
            let path = PathBuf::from(fields.text()?);
            let (line, what) = (fields.number()?, fields.text()?.to_owned());
            rules.skipped.push(SkippedRule { path, line, what });
        }
        Some(rules)
    }
}

fn number(method: Aggregation) -> u8 {
    METHODS.iter().find(|(_, known)| *known == method).map_or(0, |(number, _)| *number)
}

fn method(number: u8) -> Option<Aggregation> {
    METHODS.iter().find(|(known, _)| *known == number).map(|(_, method)| *method)
}

fn put_meaning(meaning: Option<&Meaning>, out: &mut Vec<u8>) {
    let (kind, text) = match meaning {
        Some(Meaning::Pattern(pattern)) => (PATTERN, pattern.as_str()),
        Some(Meaning::Regex(regex)) => (REGEX, regex.as_str()),
        Some(Meaning::Names(list)) => {
            out.push(NAMES);
            return list.encode(out);
        }
        None => return out.push(0),
    };
    out.push(kind);
    put_text(out, text);
}

/// Which series a rule is for, `None` where that was not known.
fn take_meaning(fields: &mut Fields<'_>) -> Option<Option<Meaning>> {
    Some(match fields.byte()? {
        0 => None,
        PATTERN => Some(Meaning::Pattern(Pattern::new(fields.text()?))),
        REGEX => Some(Meaning::Regex(Expression::stored(fields.text()?))),
        NAMES => Some(Meaning::Names(NameList::decode(fields)?)),
        _ => return None,
    })
}

fn put_duration(length: Option<Duration>, out: &mut Vec<u8>) {
    let nanos = length.map_or(0, |length| u64::try_from(length.as_nanos()).unwrap_or(u64::MAX));
    put_varint(out, nanos);
}

fn put_rule(rule: &Rule, out: &mut Vec<u8>) {
    put_duration(rule.interval, out);
    put_duration(Some(rule.raw), out);
    put_varint(out, rule.archives.len() as u64);
    for archive in &rule.archives {
        put_duration(Some(archive.step), out);
        put_duration(Some(archive.keep), out);
    }
    out.push(number(rule.aggregation));
    out.extend_from_slice(&rule.x_files_factor.to_le_bytes());
    out.push((rule.slot == Slot::Average) as u8);
    put_duration(rule.condense, out);
}

fn take_rule(fields: &mut Fields<'_>) -> Option<Rule> {
    let length = |fields: &mut Fields<'_>| fields.varint().map(Duration::from_nanos);
    let known = |length: Duration| Some(length).filter(|length| !length.is_zero());
    let (interval, raw) = (known(length(fields)?), length(fields)?);
    let mut archives = Vec::new();
    for _ in 0..fields.count(2)? {
        archives.push(ArchiveRule { step: length(fields)?, keep: length(fields)? });
    }
    let kept = Kept { interval, raw, archives };
    let mut rule = keep::is_sound(&kept).then(|| Rule::new(kept))?;
    rule.aggregation = method(fields.byte()?)?;
    rule.x_files_factor = take_factor(fields)?;
    rule.slot = match fields.byte()? {
        0 => Slot::Last,
        1 => Slot::Average,
        _ => return None,
    };
    rule.condense = known(length(fields)?);
    rule.condense.is_none_or(|step| keep::CONDENSE.contains(&step)).then_some(rule)
}

fn take_factor(fields: &mut Fields<'_>) -> Option<f64> {
    Some(f64::from_le_bytes(fields.array()?)).filter(|factor| (0.0..=1.0).contains(factor))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::format::rules::regex;

    fn keeps() -> impl Strategy<Value = Kept> {
        let archives = prop::collection::vec((2..100_u64, 1..1_000_u64), 0..4);
        (prop::option::of(1..100_u64), 100..100_000_u64, archives).prop_map(|(interval, raw, archives)| {
            let (mut step, mut keep) = (interval.unwrap_or(1), raw);
            let archives = archives.into_iter().map(|(factor, more)| {
                step *= factor;
                keep = (keep + more).max(step);
                ArchiveRule { step: Duration::from_secs(step), keep: Duration::from_secs(keep) }
            });
            let archives = archives.collect();
            Kept { interval: interval.map(Duration::from_secs), raw: Duration::from_secs(raw), archives }
        })
    }

    fn meanings() -> impl Strategy<Value = Meaning> {
        prop_oneof![
            ".{0,12}".prop_map(|text| Meaning::Pattern(Pattern::new(&text))),
            "[a-z.*^$]{1,8}".prop_filter_map("no regular expression", |text| regex(&text).ok()),
            prop::collection::vec("[a-c.]{1,6}", 0..9)
                .prop_map(|names| Meaning::Names(NameList::read("a.names", &names.join("\n")).unwrap())),
        ]
    }

    fn methods() -> impl Strategy<Value = Aggregation> {
        prop::sample::select(METHODS.map(|(_, method)| method).to_vec())
    }

    prop_compose! {
        fn rule()(kept in keeps(), aggregation in methods(), factor in 0.0..=1.0, average in any::<bool>(), condense in prop::option::of(1..=3_600_u64)) -> Rule {
            let slot = if average { Slot::Average } else { Slot::Last };
            let condense = condense.map(Duration::from_secs);
            Rule { aggregation, x_files_factor: factor, slot, condense, ..Rule::new(kept) }
        }
    }

    fn entries() -> impl Strategy<Value = Entry> {
        let what = prop_oneof![
            (meanings(), rule()).prop_map(|(meaning, rule)| What::Rule(meaning, rule)),
            prop::option::of(meanings()).prop_map(What::Skipped),
        ];
        (what, any::<u64>()).prop_map(|(what, since)| Entry { what, since })
    }

    prop_compose! {
        fn all()(
            rules in prop::collection::vec(entries(), 0..6),
            aggregations in prop::collection::vec((meanings(), prop::option::of(methods()), prop::option::of(0.0..=1.0)), 0..4),
            skipped in prop::collection::vec((".{0,20}", any::<usize>(), ".{0,20}"), 0..4),
            none_since in any::<u64>(),
        ) -> Rules {
            let skip = |(path, line, what): (String, _, _)| SkippedRule { path: PathBuf::from(path), line, what };
            Rules { rules, aggregations, skipped: skipped.into_iter().map(skip).collect(), none_since }
        }
    }

    fn encoded(rules: &Rules) -> Vec<u8> {
        let mut bytes = Vec::new();
        rules.encode(&mut bytes);
        bytes
    }

    #[test]
    fn every_method_has_a_number() {
        for text in ["average", "min", "max", "sum", "last", "count", "avg_zero", "absmax", "absmin"] {
            let known = super::super::aggregation(text).unwrap();
            assert_eq!(method(number(known)), Some(known), "{text}");
        }
        assert_eq!(encoded(&Rules::default()), [0; 4]);
    }

    #[test]
    fn what_cannot_be_read_any_more_keeps_its_series_for_ever() {
        let mut rules = Rules::default();
        let own = "[[rule]]\npattern = \"a\"\nkeep = \"raw:1d\"\n[[rule]]\nregex = \"bbbb\"\nkeep = \"raw:2d\"\n[[rule]]\npattern = \"%\"\nkeep = \"raw:3d\"\n";
        rules.take_own(Path::new("retention.toml"), own);
        rules.take_aggregation(
            Path::new("storage-aggregation.conf"),
            "[b]\npattern = bbbb\naggregationMethod = min\n",
        );
        let mut bytes = encoded(&rules);
        assert_eq!(Rules::decode(&mut Fields(&bytes)).as_ref(), Some(&rules));
        // As if the expression were one that this build does not know.
        for at in 0..bytes.len() - 4 {
            if &bytes[at..at + 4] == b"bbbb" {
                bytes[at..at + 4].copy_from_slice(b"(?!b");
            }
        }
        let found = Rules::decode(&mut Fields(&bytes)).unwrap();
        let days = |name| found.of(name).map(|rule| rule.raw.as_secs() / 86_400);
        assert_eq!((days("a"), days("bbbb"), days("x")), (Some(1), None, None));
        assert_eq!(found.aggregation("bbbb"), (Aggregation::Average, 0.5));
        assert_eq!(found.told("x"), "regex (?!b: a rule that cannot be read: kept for ever");
    }

    proptest! {
        #[test]
        fn rules_read_as_what_was_written(rules in all(), cut in any::<usize>()) {
            let bytes = encoded(&rules);
            let mut fields = Fields(&bytes);
            prop_assert_eq!(Rules::decode(&mut fields), Some(rules));
            prop_assert!(fields.0.is_empty());
            prop_assert_eq!(Rules::decode(&mut Fields(&bytes[..cut % bytes.len()])), None);
        }

        #[test]
        fn rubbish_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), rules in all(), at in any::<usize>(), byte in any::<u8>()) {
            let mut almost = encoded(&rules);
            let at = at % almost.len();
            almost[at] = byte;
            for bytes in [bytes, almost] {
                if let Some(rules) = Rules::decode(&mut Fields(&bytes)) {
                    let found = rules.tier("a.b", Duration::from_secs(10));
                    prop_assert_eq!(found.step, Duration::from_secs(10));
                    let factor = rules.of("a.b").map_or(0.5, |rule| rule.x_files_factor);
                    prop_assert!((0.0..=1.0).contains(&factor));
                    let again = encoded(&rules);
                    prop_assert_eq!(Rules::decode(&mut Fields(&again)), Some(rules));
                }
            }
        }
    }
}
