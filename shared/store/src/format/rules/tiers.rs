//! The tiers of a series, by its rule: what is kept equally long in equal steps.

use std::time::Duration;

use crate::format::place::Tier;
use crate::format::rules::{ArchiveRule, Rule, Rules};

impl Rules {
    /// The tiers of a series, in the order in which its dots go through them: first the dots as they came, then each
    /// archive. A series without a rule has one, in which dots are kept for ever.
    pub(crate) fn tiers(&self, name: &str) -> Vec<Tier> {
        self.of(name).map_or_else(|| vec![Tier::default()], Rule::tiers)
    }

    /// The tier for what a series has in steps of this width.
    ///
    /// Where its rule has no such step, the steps wait for the finest archive whose step is a whole multiple, as long as
    /// what lies in the tier before that archive; where there is none, they stay as long as anything of the series.
    /// Without a rule they are kept for ever.
    ///
    /// - `step`: zero for dots as they came
    pub(crate) fn tier(&self, name: &str, step: Duration) -> Tier {
        self.of(name).map_or(Tier { step, ..Tier::default() }, |rule| rule.tier(step))
    }
}

impl Rule {
    fn tiers(&self) -> Vec<Tier> {
        let steps = self.archives.iter().map(|archive| archive.step);
        let next = steps.chain([Duration::ZERO]);
        let raw = ArchiveRule { step: Duration::ZERO, keep: self.raw };
        let kept = [raw].into_iter().chain(self.archives.iter().copied());
        kept.zip(next).map(|(ArchiveRule { step, keep }, next_step)| Tier { step, keep, next_step }).collect()
    }

    fn tier(&self, step: Duration) -> Tier {
        let mut keep = self.raw;
        for tier in self.tiers() {
            if tier.step == step {
                return tier;
            }
            // Dots as they came are in no step, so none is a multiple of theirs.
            let is_coarser = !step.is_zero() && tier.step > step;
            if is_coarser && tier.step.as_nanos().is_multiple_of(step.as_nanos()) {
                return Tier { step, keep, next_step: tier.step };
            }
            keep = tier.keep;
        }
        Tier { step, keep, next_step: Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    fn tier(step: u64, keep: u64, next_step: u64) -> Tier {
        let [step, keep, next_step] = [step, keep, next_step].map(Duration::from_secs);
        Tier { step, keep, next_step }
    }

    fn rules(keep: &str) -> Rules {
        let mut rules = Rules::default();
        let text = format!("[[rule]]\npattern = \"a%\"\nkeep = \"{keep}\"\n");
        rules.take_own(Path::new("retention.toml"), &text);
        assert_eq!(rules.skipped(), []);
        rules
    }

    #[test]
    fn a_rule_has_its_dots_and_its_archives_as_tiers_in_a_row() {
        let (hour, day) = (3_600, 86_400);
        let all = rules("10s:6h, 1m:7d, 10m:365d");
        let [raw, minutes, tens] = [tier(0, 6 * hour, 60), tier(60, 7 * day, 600), tier(600, 365 * day, 0)];
        assert_eq!(all.tiers("a.b"), [raw, minutes, tens]);
        assert_eq!(all.tiers("b"), [Tier::default()]);
        assert_eq!(rules("raw:1d").tiers("a"), [tier(0, day, 0)]);
        let check =
            |step, expected| assert_eq!(all.tier("a.b", Duration::from_secs(step)), expected, "{step}");
        check(0, raw);
        check(60, minutes);
        check(600, tens);
        // Steps that no archive has go with what the archive is made of that they fit.
        check(10, tier(10, 6 * hour, 60));
        check(1, tier(1, 6 * hour, 60));
        check(120, tier(120, 7 * day, 600));
        check(50, tier(50, 7 * day, 600));
        check(7, tier(7, 365 * day, 0));
        check(3_600, tier(3_600, 365 * day, 0));
        assert_eq!(all.tier("b", Duration::from_secs(60)), tier(60, 0, 0));
        assert_eq!(all.tier("b", Duration::ZERO), Tier::default());
        assert_eq!(rules("raw:1d").tier("a", Duration::from_secs(60)), tier(60, day, 0));
    }

    proptest! {
        #[test]
        fn every_step_has_a_tier_that_leads_into_one_of_the_rule(
            first in 1..5_u64,
            factors in prop::collection::vec(2..7_u64, 0..5),
            step in 0..4_000_u64,
        ) {
            let (mut width, mut keep, mut text) = (first, 10_000, "raw:10000s".to_owned());
            for factor in factors {
                (width, keep) = (width * factor, keep * 2);
                text = format!("{text}, {width}s:{}s", keep.max(width));
                keep = keep.max(width);
            }
            let (rules, step) = (rules(&text), Duration::from_secs(step));
            let (all, found) = (rules.tiers("a"), rules.tier("a", step));
            prop_assert_eq!(found.step, step);
            prop_assert!(all.iter().any(|tier| tier.keep == found.keep));
            for tier in &all {
                prop_assert_eq!(rules.tier("a", tier.step), *tier);
            }
            if !all.contains(&found) {
                let fitting = all.iter().position(|tier| tier.step > step && tier.step.as_nanos() % step.as_nanos() == 0);
                match fitting {
                    Some(next) => prop_assert_eq!((found.next_step, found.keep), (all[next].step, all[next - 1].keep)),
                    None => prop_assert_eq!((found.next_step, found.keep), (Duration::ZERO, all.last().unwrap().keep)),
                }
            }
        }
    }
}
