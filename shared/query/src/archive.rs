//! Which archive of its rule a series is read from, and which part of a range is read in steps.
//!
//! Source: Whisper's `fetch`. It departs from it past the longest retention: dots that are still there are shown.

use std::time::Duration;

use dotter_dot::{TimeRange, Timestamp};

use crate::slots::nanos;
use crate::{Known, Stepped, Window};

/// Where the widths of steps have no common multiple within this, the widest is taken.
const WIDEST: u64 = 366 * 86_400 * 1_000_000_000;

/// What a window is read from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Chosen {
    /// The dots as they came: the series has no rule, or its dots are kept for as long as the window reaches back.
    Dots,
    /// Steps of that width, over this part of the window.
    Steps(Duration, Window),
    /// Nothing: all of the window is older than what is kept.
    Nothing,
}

/// The finest archive that is kept for as long as the window reaches back. Where none is it is the coarsest, and what
/// is older than that is cut off, but as far back as there is anything of the series.
///
/// - `now`: from which the window reaches back; its whole seconds count
pub(crate) fn choose(known: &Known, window: Window, now: Timestamp) -> Chosen {
    let Some(rule) = &known.rule else { return Chosen::Dots };
    let seconds = |time: Timestamp| time.nanos() / 1_000_000_000;
    let age = Duration::from_secs(seconds(now).saturating_sub(seconds(window.from)));
    if age <= rule.raw {
        return Chosen::Dots;
    }
    if let Some(archive) = rule.archives.iter().find(|archive| age <= archive.keep) {
        return Chosen::Steps(archive.step, window);
    }
    let Some(last) = rule.archives.last() else { return Chosen::Dots };
    let begun = known.stepped.iter().map(|stepped| stepped.range.from);
    let oldest = now.saturating_sub(last.keep);
    let first = known.span.map(|(first, _)| first).into_iter().chain(begun).fold(oldest, Timestamp::min);
    if window.until < first {
        return Chosen::Nothing;
    }
    Chosen::Steps(last.step, Window { from: window.from.max(first), ..window })
}

/// The parts of `range` that are read in steps, oldest first, each with the width of its steps, and from when on the dots
/// themselves are read. No part cuts a step of another, and each begins and ends at multiples of its width. So every
/// number of the series is in exactly one step, or it is read as a dot.
///
/// - `stepped`: the steps that there are instead of dots
/// - `width`: the steps that are wanted; they are had where no step is in the way that is not a part of them. `None` for
///   the narrowest there are
/// - `whole`: whether all of the range is read in steps; else only what lies before the end of the last step there is
pub(crate) fn stages(
    stepped: &[Stepped],
    range: TimeRange,
    width: Option<Duration>,
    whole: bool,
) -> (Vec<(TimeRange, Duration)>, Timestamp) {
    let width = width.map(nanos);
    let is_part = |stepped: &&Stepped| width.is_some_and(|width| width.is_multiple_of(nanos(stepped.step)));
    let is_there = |stepped: &Stepped, from: Timestamp| {
        let own = stepped.range;
        own.from < own.until && own.from < range.until && from < own.until.min(range.until)
    };
    let there = |from: Timestamp| stepped.iter().filter(move |stepped| is_there(stepped, from));
    let mut stages = Vec::new();
    let mut from = range.from;
    let mut push = |from: &mut Timestamp, until: Timestamp, width: u64, border: u64| {
        let begin = Timestamp::from_nanos(from.nanos() / width * width);
        let until = until.min(range.until).nanos().checked_next_multiple_of(border);
        let until = until.map_or(Timestamp::MAX, Timestamp::from_nanos);
        stages.push((TimeRange::new(begin, until), Duration::from_nanos(width)));
        *from = until;
    };
    // Where those end that are the widest, the next ones begin.
    while let Some(widest) = there(from)
        .filter(|stepped| !is_part(stepped))
        .max_by_key(|stepped| (stepped.step, stepped.range.until))
    {
        let common = there(from).map(|stepped| nanos(stepped.step)).fold(1, common_width);
        push(&mut from, widest.range.until, common, common_width(common, width.unwrap_or(1)));
    }
    let end = there(from).map(|stepped| stepped.range.until).max();
    if let (Some(width), Some(until)) = (width, if whole { Some(range.until) } else { end })
        && from < until
    {
        push(&mut from, until, width, width);
    }
    (stages, from)
}

/// The least width that both are a part of.
fn common_width(a: u64, b: u64) -> u64 {
    let (mut divisor, mut rest) = (a.max(1), b.max(1));
    while rest > 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    let common = (a.max(1) / divisor).checked_mul(b.max(1));
    common.filter(|common| *common <= WIDEST).unwrap_or(a.max(b).max(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Archive, Method, Rule};

    const HOUR: u64 = 3_600;
    const DAY: u64 = 24 * HOUR;
    const NOW: u64 = 1_000 * DAY;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_secs(seconds).unwrap()
    }

    fn range(from: u64, until: u64) -> TimeRange {
        TimeRange::new(at(from), at(until))
    }

    fn stepped(step: u64, from: u64, until: u64) -> Stepped {
        Stepped { step: Duration::from_secs(step), range: range(from, until) }
    }

    fn known() -> Known {
        let archive =
            |step, keep| Archive { step: Duration::from_secs(step), keep: Duration::from_secs(keep) };
        let rule = Rule {
            interval: Some(Duration::from_secs(10)),
            raw: Duration::from_secs(6 * HOUR),
            archives: vec![archive(60, 7 * DAY), archive(600, 365 * DAY)],
            method: Method::Average,
            x_files_factor: 0.5,
        };
        Known { rule: Some(rule), ..Known::default() }
    }

    #[test]
    fn the_finest_archive_that_is_kept_for_so_long_answers() {
        let window = |age: u64| Window { from: at(NOW - age), until: at(NOW) };
        let check = |age: u64, expected: Chosen| {
            assert_eq!(choose(&known(), window(age), at(NOW)), expected, "{age}");
        };
        let steps = |secs: u64, from: u64| Chosen::Steps(Duration::from_secs(secs), window(from));
        check(6 * HOUR, Chosen::Dots);
        check(6 * HOUR + 1, steps(60, 6 * HOUR + 1));
        check(7 * DAY, steps(60, 7 * DAY));
        check(7 * DAY + 1, steps(600, 7 * DAY + 1));
        check(365 * DAY, steps(600, 365 * DAY));
        // What is older is cut off.
        check(400 * DAY, steps(600, 365 * DAY));
        let old = Window { from: at(0), until: at(NOW - 366 * DAY) };
        assert_eq!(choose(&known(), old, at(NOW)), Chosen::Nothing);
        assert_eq!(choose(&Known::default(), old, at(NOW)), Chosen::Dots);
        // Half a second later it is still within the same second.
        let later = Timestamp::from_nanos(at(NOW).nanos() + 500_000_000);
        assert_eq!(choose(&known(), window(6 * HOUR), later), Chosen::Dots);
    }

    #[test]
    fn what_is_there_is_shown_however_old_it_is() {
        let window = Window { from: at(0), until: at(NOW) };
        let from = |known: &Known| match choose(known, window, at(NOW)) {
            Chosen::Steps(_, Window { from, .. }) => from,
            other => panic!("{other:?}"),
        };
        let dots = Known { span: Some((at(500 * DAY), at(NOW))), ..known() };
        assert_eq!(from(&dots), at(500 * DAY));
        let both = Known { stepped: vec![stepped(600, 400 * DAY, 600 * DAY)], ..dots };
        assert_eq!(from(&both), at(400 * DAY));
        let old = Window { until: at(450 * DAY), ..window };
        assert!(matches!(choose(&both, old, at(NOW)), Chosen::Steps(..)));
        // A rule without archives has no step.
        let mut raw = both;
        raw.rule.iter_mut().for_each(|rule| rule.archives.clear());
        assert_eq!(choose(&raw, window, at(NOW)), Chosen::Dots);
    }

    #[test]
    fn steps_are_read_as_far_as_there_are_any() {
        let tiers = [stepped(60, 5_400, 9_000), stepped(600, 0, 5_400)];
        let check =
            |of: (u64, u64), width: Option<u64>, whole: bool, expected: &[(u64, u64, u64)], rest: u64| {
                let (found, dots) = stages(&tiers, range(of.0, of.1), width.map(Duration::from_secs), whole);
                let expected: Vec<_> = expected
                    .iter()
                    .map(|(from, until, step)| (range(*from, *until), Duration::from_secs(*step)))
                    .collect();
                assert_eq!((found, dots), (expected, at(rest)), "{of:?} {width:?} {whole}");
            };
        check((9_000, 9_999), None, false, &[], 9_000);
        check((6_010, 9_999), None, false, &[(6_000, 9_000, 60)], 9_000);
        check((6_010, 8_001), None, false, &[(6_000, 8_040, 60)], 8_040);
        check((1_010, 9_999), None, false, &[(600, 5_400, 600), (5_400, 9_000, 60)], 9_000);
        check((1_010, 9_999), Some(600), false, &[(600, 9_000, 600)], 9_000);
        check((1_010, 9_999), Some(60), false, &[(600, 5_400, 600), (5_400, 9_000, 60)], 9_000);
        check((1_010, 9_999), Some(600), true, &[(600, 10_200, 600)], 10_200);
        check((1_010, 9_999), Some(60), true, &[(600, 5_400, 600), (5_400, 10_020, 60)], 10_020);
        check((9_000, 9_999), Some(60), true, &[(9_000, 10_020, 60)], 10_020);
    }

    #[test]
    fn widths_have_a_common_one() {
        let check =
            |a, b, expected| assert_eq!((common_width(a, b), common_width(b, a)), (expected, expected));
        check(60, 600, 600);
        check(4, 6, 12);
        check(0, 7, 7);
        check(WIDEST - 1, WIDEST, WIDEST);
        check(u64::MAX, u64::MAX - 1, u64::MAX);
    }

    fn tiers() -> impl Strategy<Value = Vec<Stepped>> {
        let tier =
            (prop::sample::select(vec![1_u64, 10, 60, 90, 300, 600, 3_600]), 0..5_000_u64, 0..5_000_u64);
        prop::collection::vec(tier, 0..4).prop_map(|tiers| {
            let tier = |(step, from, length): &(u64, u64, u64)| {
                let from = from / step * step;
                stepped(*step, from, from + length.next_multiple_of(*step))
            };
            tiers.iter().map(tier).collect()
        })
    }

    proptest! {
        #[test]
        fn every_number_is_in_one_step_or_a_dot(
            tiers in tiers(),
            from in 0..8_000_u64,
            length in 1..8_000_u64,
            width in prop::option::of(prop::sample::select(vec![1_u64, 7, 60, 600])),
            whole in any::<bool>(),
        ) {
            let asked = range(from, from + length);
            let (found, rest) = stages(&tiers, asked, width.map(Duration::from_secs), whole);
            prop_assert!(found.len() <= tiers.len() + 1);
            let mut reached = asked.from;
            for (index, (range, step)) in found.iter().enumerate() {
                prop_assert!(range.from <= reached && (index == 0 || range.from == reached));
                prop_assert!(range.from < range.until);
                let step = nanos(*step);
                prop_assert!(range.from.nanos() % step == 0 && range.until.nanos() % step == 0);
                let meets = |tier: &&Stepped| tier.range.from < range.until && range.from < tier.range.until;
                let within = |tier: &&Stepped| tier.range.from < asked.until && asked.from < tier.range.until;
                for tier in tiers.iter().filter(meets).filter(within) {
                    prop_assert_eq!(step % nanos(tier.step), 0, "{:?} in {:?}", tier, range);
                }
                reached = range.until;
            }
            prop_assert_eq!(reached, rest);
            for tier in tiers.iter().filter(|tier| tier.range.from < asked.until && tier.range.from < tier.range.until) {
                prop_assert!(tier.range.until.min(asked.until) <= rest || tier.range.until <= asked.from);
            }
            if whole && width.is_some() {
                prop_assert!(rest >= asked.until);
            }
        }
    }
}
