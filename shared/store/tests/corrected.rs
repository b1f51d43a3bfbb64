//! Dots that a later commit has replaced: they stay replaced while both grow old.

mod support;

use support::made::{HOUR, MINUTE, Made, START, range, rule};

/// A dot a minute of each series, all in one commit.
fn fill(made: &Made, series: &[&str], hours: std::ops::Range<u64>, value: f64) {
    let times = || (hours.start * 60..hours.end * 60).map(|minute| START + minute * MINUTE);
    let dots = series.iter().flat_map(|name| {
        let name = dotter_dot::SeriesName::new(name).unwrap();
        times().map(move |time| (name.clone(), support::made::at(time), value))
    });
    dotter_store::add(made.dir(), dots.collect::<Vec<_>>()).unwrap();
}

/// The values of the first hour, as dots and as the least of its minutes.
#[track_caller]
fn check(made: &Made) {
    let first = range(START, START + HOUR);
    let dots = made.snapshot().read("short", first).unwrap();
    assert!(dots.iter().all(|dot| dot.value == 2.0), "the value that was corrected is back");
    let minutes = made.steps("short", first, MINUTE);
    let is_right = minutes.iter().all(|minute| minute.min == 2.0 && minute.count == 1);
    assert!(minutes.len() == 60 && is_right, "{minutes:?}");
    made.check();
}

#[test]
fn a_value_that_was_corrected_does_not_come_back_when_its_correction_expires() {
    for merged in [false, true] {
        let mut made = Made::new(&rule("short", "raw:2h, 1m:1y"));
        fill(&made, &["short", "long.a", "long.b"], 0..6, 1.0);
        if merged {
            made.compact();
        }
        fill(&made, &["short"], 0..1, 2.0);
        for _ in 0..16 {
            made.live(HOUR);
            check(&made);
            if merged {
                made.compact();
                check(&made);
            }
        }
        // What was not merged by now is late.
        made.compact();
        made.live(8 * HOUR);
        check(&made);
        assert!(!made.times("short").iter().any(|time| *time < START + HOUR));
        assert_eq!(made.snapshot().ledger().totals.replaced, 60);
    }
}

#[test]
fn a_value_is_corrected_after_its_dot_has_become_a_step() {
    let mut made = Made::new(&rule("%", "raw:2h, 1m:1y"));
    fill(&made, &["short"], 0..6, 1.0);
    made.compact();
    made.live(12 * HOUR);
    assert_eq!(made.times("short"), []);
    fill(&made, &["short"], 0..1, 2.0);
    check(&made);
    made.compact();
    check(&made);
    made.live(12 * HOUR);
    assert_eq!(made.times("short"), []);
    check(&made);
    assert_eq!(made.counted("short", range(START, START + 6 * HOUR), MINUTE), 360);
}

#[test]
fn a_pass_that_ends_half_way_brings_no_value_back_that_was_corrected() {
    // Where it ends is counted in how often it asks.
    let mut ended = 0;
    for asked in (0..200).step_by(3) {
        let mut made = Made::new(&rule("short%", "raw:2h, 1m:1y"));
        fill(&made, &["short"], 0..1, 1.0);
        made.compact();
        fill(&made, &["short", "short.b", "long"], 0..1, 2.0);
        fill(&made, &["short.c", "short.d", "long"], 0..1, 2.0);
        made.compact();
        made.run(6 * HOUR);
        made.retain();
        made.run(6 * HOUR);
        let left = std::cell::Cell::new(asked);
        let cancel = || {
            left.set(left.get() - 1_i32);
            left.get() < 0
        };
        let limits = dotter_store::Limits::default();
        let outcome = dotter_store::retain(made.dir(), &made.machine(), &limits, &cancel);
        check(&made);
        if outcome.is_ok() {
            break;
        }
        ended += 1;
        made.retain();
        check(&made);
        assert_eq!(made.snapshot().ledger().totals.expired, 4 * 60);
    }
    assert!(ended > 1, "{ended}");
}

#[test]
fn a_pass_that_has_nothing_to_do_writes_nothing() {
    let mut made = Made::new(&rule("short", "raw:2h, 1m:1d"));
    fill(&made, &["short", "long"], 0..6, 1.0);
    made.compact();
    made.live(6 * HOUR);
    let generation = |made: &Made| made.snapshot().generation();
    let before = generation(&made);
    made.run(MINUTE);
    made.retain();
    assert_eq!(generation(&made), before);
    // A reading of the clocks is an edit of its own.
    made.run(HOUR / 2);
    assert_eq!(made.retain().segments, 0);
    assert!(generation(&made) <= before + 1);
}
