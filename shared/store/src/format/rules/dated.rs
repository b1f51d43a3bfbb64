//! When a rule changed how its series are kept, in running time. After a change nothing of those series goes for a while.
//!
//! Always true:
//!
//! - a series that is kept in another way than before has the time of the change. Some that are kept in the same way may
//!   have it too
//! - where any series has another time than before, the mark of the rules is another: by one mark a series is held to one
//!   time

use crate::format::listing::HOLD;
use crate::format::rules::{Entry, Rules};

impl Rules {
    /// Gives these rules the times of those that held before, and the time now where that cannot be.
    ///
    /// A rule that means the same series as before and keeps them as long, in the same steps, keeps its time as long as
    /// every rule in front of it still means what it meant, in the same order; new ones may have come between. One that
    /// keeps them in another way has the time now, and those behind it have not. From the first one on that is gone or
    /// stands elsewhere, what it meant may be any later rule's, so those have the time now.
    ///
    /// - `before`: `None` where the store is new; then nothing has changed
    /// - `running`: running time now, in nanoseconds
    pub(crate) fn dated(mut self, before: Option<&Rules>, running: u64) -> Rules {
        self.none_since = before.map_or(0, |before| before.none_since);
        let since = if before.is_some() { running } else { 0 };
        self.rules.iter_mut().for_each(|entry| entry.since = since);
        let mut from = 0;
        for old in before.iter().flat_map(|before| &before.rules) {
            let is_its = |entry: &Entry| entry.what.meaning() == old.what.meaning();
            let Some(further) = self.rules[from..].iter().position(is_its) else {
                self.none_since = running;
                break;
            };
            let entry = &mut self.rules[from + further];
            if entry.what.kept() == old.what.kept() {
                entry.since = old.since;
            }
            from += further + 1;
        }
        self
    }

    /// Running time, in nanoseconds, since which a series has had its rule, or none; 0 where that never changed.
    pub(crate) fn since(&self, name: &str) -> u64 {
        self.deciding(name).map_or(self.none_since, |entry| entry.since)
    }

    /// The running time, in nanoseconds, until which a change of the rules holds a series; 0 where none does any more.
    ///
    /// - `running`: running time now, in nanoseconds
    pub(crate) fn held(&self, name: &str, running: u64) -> u64 {
        let since = self.since(name);
        let until = since.saturating_add(HOLD);
        if since > 0 && running < until { until } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    /// Rules for these series, each with what it keeps; the series `?` stands for a rule of which nothing can be read.
    fn rules(of: &[(&str, u64)]) -> Rules {
        let mut rules = Rules::default();
        for (name, days) in of {
            match *name {
                "?" => rules.skip_file(Path::new("retention.toml"), format!("{days}"), true),
                name => {
                    let text = format!("[[rule]]\npattern = \"{name}\"\nkeep = \"raw:{days}d\"\n");
                    rules.take_own(Path::new("retention.toml"), &text);
                }
            }
        }
        rules
    }

    fn check(before: &[(&str, u64)], after: &[(&str, u64)], expected: &[u64]) {
        // The rules before are from 1, 2 and so on, and from 100 on no rule was the others'.
        let mut before = rules(before);
        before.rules.iter_mut().zip(1..).for_each(|(entry, since)| entry.since = since);
        before.none_since = 100;
        let after = rules(after).dated(Some(&before), 500);
        let found: Vec<u64> = after.rules.iter().map(|entry| entry.since).chain([after.none_since]).collect();
        assert_eq!(found, expected, "{before:?} {after:?}");
    }

    #[test]
    fn a_rule_keeps_its_time_as_long_as_none_in_front_of_it_goes() {
        let (a, b, c, x) = (("a", 1), ("b", 1), ("c", 1), ("x", 1));
        check(&[], &[], &[100]);
        check(&[a, b, c], &[a, b, c], &[1, 2, 3, 100]);
        // A new one anywhere takes series from others and gives them none.
        check(&[a, b, c], &[x, a, b, c], &[500, 1, 2, 3, 100]);
        check(&[a, b, c], &[a, x, x, b, c], &[1, 500, 500, 2, 3, 100]);
        check(&[a, b, c], &[a, b, c, x], &[1, 2, 3, 500, 100]);
        check(&[], &[x], &[500, 100]);
        // One that is changed has the same series as before.
        check(&[a, b, c], &[a, ("b", 2), c], &[1, 500, 3, 100]);
        check(&[a, b, c], &[a, x, ("b", 2), c], &[1, 500, 500, 3, 100]);
        // One that is gone may leave its series to any behind it.
        check(&[a, b, c], &[a, b], &[1, 2, 500]);
        check(&[a, b, c], &[a, c], &[1, 500, 500]);
        check(&[a, b, c], &[], &[500]);
        // One that moved forward takes from those it passed, and leaves to those behind its old place.
        check(&[a, b, c], &[b, a, c], &[500, 1, 500, 500]);
        check(&[a, b, c], &[a, c, b], &[1, 500, 2, 500]);
        check(&[a, b, c], &[b, c, a], &[500, 500, 1, 500]);
        // Skipped ones are rules like others.
        check(&[a, ("?", 1), c], &[a, ("?", 2), c], &[1, 2, 3, 100]);
        check(&[a, ("?", 1), c], &[a, c], &[1, 500, 500]);
    }

    #[test]
    fn a_series_is_held_for_a_day_after_its_rule_has_changed() {
        let all = rules(&[("a", 1), ("b", 1)]).dated(Some(&rules(&[("a", 1), ("b", 2)])), 500);
        let held = |name, running| all.held(name, running);
        assert_eq!((held("a", 500), held("b", 500), held("c", 500)), (0, 500 + HOLD, 0));
        assert_eq!((held("b", 499 + HOLD), held("b", 500 + HOLD)), (500 + HOLD, 0));
        // A change that is taken back is another mark.
        let other = rules(&[("a", 1), ("b", 3)]).dated(Some(&all), 600);
        let again = rules(&[("a", 1), ("b", 1)]).dated(Some(&other), 700);
        assert_eq!(again.since("b"), 700);
        assert!(again.mark() != all.mark() && again.mark() != other.mark());
        // How values become one number is another matter.
        let mut other = rules(&[("a", 1)]);
        other.take_own(
            Path::new("retention.toml"),
            "[[rule]]\npattern = \"b\"\nkeep = \"raw:1d\"\naggregation = \"max\"\n",
        );
        let after = other.dated(Some(&all), 900);
        assert_eq!((after.since("b"), after.mark()), (500, all.mark()));
        assert_ne!(after, all);
    }

    #[test]
    fn in_a_new_store_nothing_has_changed() {
        let new = rules(&[("a", 1), ("?", 1)]).dated(None, 500);
        assert_eq!((new.since("a"), new.since("b"), Rules::default().dated(None, 500).since("b")), (0, 0, 0));
        assert_eq!(new, rules(&[("a", 1), ("?", 1)]));
        assert_eq!(new.dated(Some(&rules(&[])), 7).since("b"), 7);
    }

    proptest! {
        #[test]
        fn a_series_whose_rule_is_another_has_the_time_of_the_change(
            lists in prop::collection::vec(prop::collection::vec(("[ab%]{1,2}|\\?", 1..4_u64), 0..6), 1..5),
        ) {
            let mut before: Option<Rules> = None;
            for (list, running) in lists.iter().zip(1..) {
                let list: Vec<_> = list.iter().map(|(name, days)| (name.as_str(), *days)).collect();
                let after = rules(&list).dated(before.as_ref(), running);
                if let Some(before) = &before {
                    let is_same = |name: &&str| before.since(name) == after.since(name);
                    let all = ["a", "b", "aa", "ab", "ba", "bb", "c"];
                    prop_assert!(before.mark() != after.mark() || all.iter().all(is_same));
                }
                for name in ["a", "b", "aa", "ab", "ba", "bb", "c"] {
                    match &before {
                        None => prop_assert_eq!(after.since(name), 0),
                        Some(before) if before.of(name) != after.of(name) => {
                            prop_assert_eq!(after.since(name), running);
                        }
                        Some(before) => prop_assert!([before.since(name), running].contains(&after.since(name))),
                    }
                }
                // What has not changed at all keeps every time.
                prop_assert_eq!(&rules(&list).dated(Some(&after), running + 1), &after);
                before = Some(after);
            }
        }
    }
}
