//! Rules that change: for a day of running time nothing goes of what lies in another tier by them.

mod support;

use std::time::Duration;

use dotter_dot::TimeRange;
use dotter_store::{Outlook, outlook};
use support::made::{DAY, HOUR, MINUTE, Made, START, rule};

/// An hour goes by, with a dot a minute of each series.
fn hour(made: &mut Made, series: &[&str]) {
    let from = made.wall;
    for name in series {
        made.add(name, (0..60).map(|minute| (from + minute * MINUTE, 1.0)));
    }
    made.live(HOUR);
    made.compact();
}

fn rules(b: &str) -> String {
    rule("a", "raw:2h, 1m:1y") + &rule("b", b) + &rule("c", "raw:2h, 1m:1y")
}

/// How many dots there are of a series, in steps or as they came.
fn counted(made: &Made, series: &str) -> u64 {
    made.counted(series, TimeRange::ALL, MINUTE)
}

fn told(made: &Made) -> Outlook {
    outlook(made.dir(), &made.machine(), &|| false).unwrap()
}

/// Two days of three series by rules of which that of `b` is `before`, then by others: of `b` nothing goes for a day of
/// running time.
fn change(before: &str) {
    let mut made = Made::new("");
    let skipped = made.rules(&rules(before)).skipped.len();
    assert!(skipped <= 1);
    let all = ["a", "b", "c"];
    (0..40).for_each(|_| hour(&mut made, &all));
    let oldest = |made: &Made, series| made.times(series)[0];
    let b = oldest(&made, "b");
    assert_eq!(b, START);
    // It is told before it happens.
    std::fs::write(made.dir().join("retention.toml"), rules("raw:2h, 1m:1y")).unwrap();
    let before = told(&made);
    assert!(before.are_new && before.is_clock_known);
    let now: u64 = before.tiers.iter().map(|going| going.now).sum();
    assert!(now >= 30 * 60, "{before:?}");
    assert!(before.tiers.iter().any(|going| going.held > Duration::from_secs(23 * HOUR)), "{before:?}");
    assert!(made.rules(&rules("raw:2h, 1m:1y")).changed);
    assert!(!told(&made).are_new);
    for _ in 0..23 {
        hour(&mut made, &all);
        assert_eq!(oldest(&made, "b"), b);
    }
    // Time in which the machine is off does not count.
    made.off(3 * DAY);
    made.retain();
    assert_eq!(oldest(&made, "b"), b);
    (0..8).for_each(|_| hour(&mut made, &all));
    assert!(oldest(&made, "b") > b);
    (0..24).for_each(|_| hour(&mut made, &all));
    for series in all {
        assert!(oldest(&made, series) + 7 * HOUR >= made.wall, "{series}");
        assert_eq!(counted(&made, series), (40 + 23 + 8 + 24) * 60, "{series}");
    }
    made.check();
}

/// Shows P39.
#[test]
fn what_lies_in_the_same_tier_by_an_older_rule_goes_on() {
    let mut made = Made::new(&rules("raw:30d"));
    let all = ["a", "b", "c"];
    (0..12).for_each(|_| hour(&mut made, &all));
    assert!(made.rules(&rules("raw:2h, 1m:1y")).changed);
    for n in 0..23 {
        hour(&mut made, &all);
        assert_eq!(made.times("b")[0], START);
        for other in ["a", "c"] {
            let oldest = made.times(other)[0];
            assert!(oldest + 7 * HOUR >= made.wall, "{other}: {} h", (made.wall - oldest) / HOUR);
            assert_eq!(counted(&made, other), (12 + n + 1) * 60, "{other}");
        }
        made.check();
    }
    (0..8).for_each(|_| hour(&mut made, &all));
    for series in all {
        assert!(made.times(series)[0] + 7 * HOUR >= made.wall, "{series}");
        assert_eq!(counted(&made, series), (12 + 23 + 8) * 60, "{series}");
    }
    made.check();
}

#[test]
fn values_that_are_corrected_while_a_series_is_held_and_after_stay_the_last() {
    let mut made = Made::new(&rules("raw:30d"));
    let all = ["a", "b", "c"];
    (0..6).for_each(|_| hour(&mut made, &all));
    let mut b = "raw:30d";
    // A change that is taken back before any pass has seen it, and one that is taken back hours later.
    for (hours, next) in [(3, "raw:1d, 1m:1y"), (0, "raw:30d"), (2, "raw:1d, 1m:1y"), (30, "raw:30d")] {
        assert_ne!(b, next);
        b = next;
        assert!(made.rules(&rules(b)).changed);
        for n in 0..hours {
            // The hour before is corrected, in another commit.
            let from = made.wall - HOUR;
            for name in all {
                made.add(name, (0..60).map(|minute| (from + minute * MINUTE, 100.0 + n as f64)));
            }
            hour(&mut made, &all);
            for name in all {
                let steps = made.steps(name, support::made::range(from, from + HOUR), MINUTE);
                let is_last = |step: &dotter_store::Rollup| step.last == 100.0 + n as f64;
                assert!(steps.len() == 60 && steps.iter().all(is_last), "{name}, hour {n} by {b}: {steps:?}");
            }
            made.check();
        }
    }
    assert_eq!(made.times("b").len() as u64, (6 + 3 + 2 + 30) * 60);
}

/// Shows P36.
#[test]
fn what_was_kept_longer_waits_for_a_day_and_loses_nothing() {
    change("raw:30d");
}

#[test]
fn what_had_other_steps_waits_for_a_day_and_loses_nothing() {
    change("raw:60d, 10s:80d, 5m:1y");
}

#[test]
fn a_series_whose_rule_could_not_be_read_waits_for_a_day_and_loses_nothing() {
    change("raw 2h, 1m:1y");
}

/// Shows P36.
#[test]
fn a_rule_that_was_mistyped_and_corrected_within_a_day_loses_nothing() {
    let mut made = Made::new(&rules("raw:1y"));
    (0..48).for_each(|_| hour(&mut made, &["b"]));
    // Somebody meant a year and wrote an hour.
    assert!(made.rules(&rules("raw:1h")).changed);
    (0..22).for_each(|_| hour(&mut made, &["b"]));
    assert_eq!(made.times("b").len(), 70 * 60);
    assert!(made.rules(&rules("raw:1y")).changed);
    (0..48).for_each(|_| hour(&mut made, &["b"]));
    assert_eq!(made.times("b").len(), 118 * 60);
    made.check();
    // The control: uncorrected it goes.
    assert!(made.rules(&rules("raw:1h")).changed);
    (0..32).for_each(|_| hour(&mut made, &["b"]));
    assert!(made.times("b").len() < 6 * 60);
}

#[test]
fn rules_of_which_a_file_is_gone_wait_for_a_day() {
    let mut made = Made::new("");
    let conf = "[all]\npattern = .*\nretentions = 60s:2h\n";
    std::fs::write(made.dir().join("storage-schemas.conf"), conf).unwrap();
    assert!(made.rules(&rule("a%", "raw:10y")).changed);
    (0..30).for_each(|_| hour(&mut made, &["a", "z"]));
    assert!(made.times("z")[0] > START);
    std::fs::remove_file(made.dir().join("retention.toml")).unwrap();
    assert!(dotter_store::take_rules(made.dir()).unwrap().changed);
    (0..23).for_each(|_| hour(&mut made, &["a", "z"]));
    assert_eq!(made.times("a").len(), 53 * 60);
    (0..9).for_each(|_| hour(&mut made, &["a", "z"]));
    assert!(made.times("a").len() < 8 * 60, "{}", made.times("a").len());
    made.check();
}

#[test]
fn steps_that_no_rule_has_any_more_join_those_that_follow() {
    let mut made = Made::new(&rule("a", "raw:2h, 1m:30d, 1h:1y"));
    (0..20).for_each(|_| hour(&mut made, &["a"]));
    let minutes = |made: &Made| {
        let of_minutes = |placed: &&dotter_store::Placed| placed.place.tier.step.as_secs() == MINUTE;
        made.snapshot().stat().places.iter().filter(of_minutes).map(|placed| placed.dots).sum::<u64>()
    };
    assert!(minutes(&made) > 12 * 60);
    assert!(made.rules(&rule("a", "raw:2h, 1h:1y")).changed);
    (0..32).for_each(|_| hour(&mut made, &["a"]));
    assert_eq!(minutes(&made), 0);
    let hours = made.steps("a", TimeRange::ALL, HOUR);
    assert!(
        hours.len() == 52 && hours.iter().all(|hour| hour.count == 60 && hour.value == Some(1.0)),
        "{hours:?}"
    );
    made.check();
}
