//! Growing old by a clock that the test sets: dots go when they should, their steps stay, and nothing goes by surprise.

mod support;

use dotter_dot::TimeRange;
use dotter_store::{Limits, compact_major, retain};
use support::made::{DAY, HOUR, MINUTE, Made, START, range, rule};

/// A dot a minute, its value the minute, for some hours.
fn fill(made: &Made, series: &str, hours: std::ops::Range<u64>) {
    for hour in hours {
        made.add(series, (hour * 60..hour * 60 + 60).map(|minute| (START + minute * MINUTE, minute as f64)));
    }
}

/// Begin in seconds after the start, count and last of each step.
fn steps(made: &Made, series: &str, range: TimeRange, step: u64) -> Vec<(u64, u64, f64)> {
    let steps = made.steps(series, range, step);
    let all = steps.iter().map(|step| {
        assert!(step.min <= step.last && step.last <= step.max && step.count > 0);
        (step.time.nanos() / 1_000_000_000 - START, step.count, step.last)
    });
    all.collect()
}

/// The hours of [`fill`].
fn hours(hours: std::ops::Range<u64>) -> Vec<(u64, u64, f64)> {
    hours.map(|hour| (hour * HOUR, 60, (hour * 60 + 59) as f64)).collect()
}

#[test]
fn dots_go_when_their_time_is_over_and_their_steps_stay() {
    let mut made = Made::new(&rule("old%", "1m:6h, 10m:2d, 1h:30d"));
    fill(&made, "old.a", 0..12);
    fill(&made, "kept", 0..12);
    made.compact();
    made.live(12 * HOUR);
    // The clock looks back to six hours after the start, and six hours before that nothing was.
    assert_eq!(made.snapshot().ledger().totals.expired, 0);
    let before = steps(&made, "old.a", TimeRange::ALL, HOUR);
    assert_eq!(before, hours(0..12));
    made.live(5 * HOUR);
    // Windows of an hour: five of them have been over for six hours of a clock that reads eleven.
    assert_eq!(made.times("old.a")[0], START + 5 * HOUR);
    assert_eq!((made.times("old.a").len(), made.times("kept").len()), (420, 12 * 60));
    assert_eq!(made.snapshot().ledger().totals.expired, 300);
    assert_eq!(steps(&made, "old.a", TimeRange::ALL, HOUR), before, "what went is in steps");
    let fine = steps(&made, "old.a", range(START, START + HOUR), 600);
    assert_eq!(fine, (0..6).map(|n| (n * 600, 10, (n * 10 + 9) as f64)).collect::<Vec<_>>());
    let coarse = steps(&made, "old.a", range(START, START + 12 * HOUR), 6 * HOUR);
    assert_eq!(coarse, [(0, 360, 359.0), (6 * HOUR, 360, 719.0)]);
    made.check();
    // Later the ten-minute steps are gone too, and the hours are still there.
    made.live(4 * DAY);
    assert_eq!(made.times("old.a"), []);
    assert_eq!(steps(&made, "old.a", TimeRange::ALL, HOUR), before);
    assert_eq!(steps(&made, "old.a", range(START, START + HOUR), 600), []);
    made.check();
    // And at last the hours.
    made.run(32 * DAY);
    made.live(2 * DAY);
    assert!(!made.snapshot().contains("old.a"));
    assert_eq!(made.times("kept").len(), 12 * 60);
    made.check();
}

#[test]
fn a_late_dot_and_a_delete_reach_the_steps() {
    let mut made = Made::new(&rule("%", "1m:2d, 1h:30d"));
    // Of the second hour the first minute is missing.
    made.add(
        "a",
        (0..30 * 60).filter(|minute| *minute != 60).map(|minute| (START + minute * MINUTE, minute as f64)),
    );
    made.compact();
    made.live(5 * DAY);
    assert_eq!(made.times("a"), []);
    made.add("a", [(START + HOUR + 30, -1.0)]);
    let found = |made: &Made| {
        let steps = made.steps("a", range(START + HOUR, START + 2 * HOUR), HOUR);
        (steps[0].count, steps[0].min, steps[0].last)
    };
    assert_eq!(found(&made), (60, -1.0, 119.0));
    made.compact();
    made.live(4 * DAY);
    assert_eq!((made.times("a").len(), found(&made)), (0, (60, -1.0, 119.0)));
    // A step that is partly inside stays; those that are wholly inside go.
    made.delete("a", range(START + HOUR, START + 2 * HOUR + 600));
    let check = |made: &Made, what: &str| {
        let found = steps(made, "a", range(START, START + 4 * HOUR), HOUR);
        assert_eq!(found, [(0, 60, 59.0), (2 * HOUR, 60, 179.0), (3 * HOUR, 60, 239.0)], "{what}");
    };
    check(&made, "hidden at once");
    made.live(HOUR);
    check(&made, "after a pass");
    compact_major(made.dir(), &|| false, &|_, _| ()).unwrap();
    check(&made, "after all was merged");
    made.check();
}

#[test]
fn dots_that_were_deleted_are_in_no_step() {
    for is_merged in [false, true] {
        let mut made = Made::new(&rule("%", "1m:2h, 10m:30d"));
        fill(&made, "a", 0..8);
        if is_merged {
            made.compact();
        }
        made.delete("%", range(START + 5 * MINUTE, START + 15 * MINUTE));
        let check = |made: &Made| {
            let found = steps(made, "a", range(START, START + HOUR / 2), 600);
            assert_eq!(found, [(0, 5, 4.0), (600, 5, 19.0), (1200, 10, 29.0)]);
        };
        check(&made);
        made.compact();
        made.live(20 * HOUR);
        assert_eq!(made.times("a"), []);
        check(&made);
        made.check();
        assert_eq!(made.snapshot().ledger().totals.deleted, 10);
    }
}

/// Twelve hours in commits of ten minutes, a pass after each; ten minutes are missing and come at `late`.
fn late_dots_are_counted(late: u64) {
    let mut made = Made::new(&rule("%", "raw:2h, 1m:1y"));
    let tens = |made: &Made, from: u64| made.add("a", (0..60).map(|n| (from + n * 10, 1.0)));
    let hole = START + 5 * HOUR + 40 * MINUTE;
    let mut came = 0;
    for from in (START..START + 14 * HOUR).step_by(600) {
        if from != hole {
            tens(&made, from);
            came += 60;
        }
        if from == START + late {
            tens(&made, hole);
            came += 60;
        }
        made.run(600);
        assert_eq!(made.counted("a", TimeRange::ALL, MINUTE), came, "at {}", from - START);
        if from % HOUR == 0 {
            made.compact();
        }
        made.retain();
        assert_eq!(made.counted("a", TimeRange::ALL, MINUTE), came, "at {}", from - START);
    }
    made.live(8 * HOUR);
    made.compact();
    made.live(8 * HOUR);
    assert_eq!(made.times("a"), [], "all of it is old enough to go");
    for hour in 0..14 {
        let from = START + hour * HOUR;
        assert_eq!(made.counted("a", range(from, from + HOUR), MINUTE), 360, "hour {hour}");
    }
    made.check();
}

/// The program `late`, inverted.
#[test]
fn late_dots_that_are_younger_than_raw_become_steps() {
    late_dots_are_counted(7 * HOUR + 30 * MINUTE);
}

/// The program `late2`, inverted.
#[test]
fn dots_that_come_into_a_hole_older_than_raw_become_steps() {
    late_dots_are_counted(11 * HOUR);
}

#[test]
fn a_rule_that_becomes_longer_keeps_the_steps_whose_dots_are_gone() {
    let mut made = Made::new(&rule("%", "raw:2h, 1m:1y"));
    fill(&made, "a", 0..6);
    made.compact();
    made.live(7 * HOUR);
    assert!(made.times("a")[0] > START);
    made.rules(&rule("%", "raw:7d, 1m:1y"));
    made.live(40 * HOUR);
    assert_eq!(made.counted("a", TimeRange::ALL, MINUTE), 360);
    // The same dots once more are no more dots.
    fill(&made, "a", 0..1);
    assert_eq!(made.counted("a", TimeRange::ALL, MINUTE), 360);
    made.compact();
    made.run(12 * DAY);
    made.live(2 * DAY);
    assert_eq!((made.times("a").len(), made.counted("a", TimeRange::ALL, MINUTE)), (0, 360));
    made.check();
}

#[test]
fn a_pass_that_is_given_up_has_changed_nothing_or_let_windows_go_as_a_whole() {
    let mut made = Made::new(&rule("%", "raw:2h, 1m:1y"));
    fill(&made, "a", 0..6);
    made.compact();
    made.run(6 * HOUR);
    made.retain();
    made.run(6 * HOUR);
    let mut given_up = 0;
    for asked in 0_u64..1_000 {
        let left = std::cell::Cell::new(asked);
        let cancel = || left.replace(left.get().saturating_sub(1)) == 0;
        let outcome = retain(made.dir(), &made.machine(), &Limits::default(), &cancel);
        assert_eq!(made.counted("a", TimeRange::ALL, MINUTE), 360, "asked {asked} times");
        assert_eq!(made.times("a").len() % 60, 0);
        given_up += outcome.is_err() as u64;
        if outcome.is_ok() {
            break;
        }
    }
    assert!(given_up > 3 && made.times("a")[0] == START + 4 * HOUR, "{given_up} times");
    made.check();
}

#[test]
fn the_first_dots_of_a_store_go_though_their_step_begins_before_them() {
    let mut made = Made::new(&rule("%", "raw:6h, 1w:9y"));
    fill(&made, "a", 0..1);
    // Weeks begin on Thursdays, as 1970 did.
    let thursday = START - START % (7 * DAY);
    assert!(thursday < START);
    made.compact();
    made.live(14 * DAY);
    assert_eq!(made.times("a"), []);
    let weeks = made.steps("a", TimeRange::ALL, 7 * DAY);
    let begin = weeks[0].time.nanos() / 1_000_000_000;
    assert_eq!((weeks.len(), weeks[0].count, begin), (1, 60, thursday));
    made.check();
}
