//! Rules of which some cannot be read: the others hold, and nothing goes of what a skipped one may mean.

mod support;

use dotter_dot::TimeRange;
use dotter_store::take_rules;
use support::made::{HOUR, MINUTE, Made, START, range, rule};

/// A dot a minute of each series, for an hour.
fn fill(made: &Made, series: &[&str], hour: u64) {
    for name in series {
        made.add(name, (0..60).map(|minute| (START + hour * HOUR + minute * MINUTE, 1.0)));
    }
}

#[test]
fn nothing_goes_of_a_series_whose_rule_is_skipped_and_the_others_go() {
    let rules = |long: &str| rule("short", "raw:2h, 1m:4h") + &rule("long", long) + &rule("%", "raw:2h");
    let mut made = Made::new(&rules("raw:2h, 1m:1y"));
    let all = ["short", "long", "other"];
    let live = |made: &mut Made, hours: std::ops::Range<u64>| {
        for hour in hours {
            fill(made, &all, hour);
            made.live(HOUR);
            made.compact();
        }
    };
    live(&mut made, 0..12);
    let counted = |made: &Made, series| made.counted(series, TimeRange::ALL, MINUTE);
    assert!(made.times("long")[0] > START && counted(&made, "long") == 12 * 60);
    assert!(counted(&made, "short") < 12 * 60 && counted(&made, "other") < 8 * 60);
    let oldest = made.times("long")[0];
    // Somebody mistypes the longest one.
    let taken = made.rules(&rules("raw:2h, 1m:1year1"));
    assert!(taken.changed && taken.skipped.len() == 1 && taken.skipped[0].line == 6, "{taken:?}");
    live(&mut made, 12..60);
    // All steps of what had gone, and all dots since.
    assert_eq!((made.times("long")[0], counted(&made, "long")), (oldest, 60 * 60));
    // The rule in front goes on as ever; the one behind may have been meant for others, and waits for a day.
    for series in ["short", "other"] {
        let oldest = made.times(series)[0];
        assert!(oldest >= START + 54 * HOUR, "{series}: {} h", (oldest - START) / HOUR);
    }
    assert!(made.steps("short", TimeRange::ALL, MINUTE)[0].time.nanos() / 1_000_000_000 >= START + 44 * HOUR);
    made.check();
}

#[test]
fn a_rule_in_front_of_a_skipped_one_goes_on_as_ever() {
    let mut made = Made::new(&(rule("short", "raw:2h") + &rule("%", "raw:1y")));
    for hour in 0..30 {
        if hour == 12 {
            assert!(made.rules(&(rule("short", "raw:2h") + &rule("%", "raw 1y"))).changed);
        }
        fill(&made, &["short", "long"], hour);
        made.live(HOUR);
        made.compact();
        let oldest = made.times("short")[0];
        assert!(oldest + 7 * HOUR >= made.wall, "hour {hour}: {} h", (oldest - START) / HOUR);
    }
    assert_eq!(made.times("long").len(), 30 * 60);
}

#[test]
fn nothing_goes_by_rules_behind_one_of_which_nobody_knows_whom_it_means() {
    let mut made = Made::new("");
    let text =
        "[most]\npattern = ^(?!carbon\\.)\nretentions = 10s:2y\n[all]\npattern = .*\nretentions = 10s:1h\n";
    std::fs::write(made.dir().join("storage-schemas.conf"), text).unwrap();
    assert_eq!(take_rules(made.dir()).unwrap().skipped.len(), 1);
    (0..6).for_each(|hour| fill(&made, &["a", "carbon.x"], hour));
    made.compact();
    made.live(48 * HOUR);
    assert_eq!((made.times("a").len(), made.times("carbon.x").len()), (360, 360));
    assert_eq!(made.counted("a", range(START, START + 6 * HOUR), MINUTE), 360);
}
