//! Data from years ago: it lives as long as what is new, counted from when it came, and then lies where its time does.

mod support;

use dotter_dot::TimeRange;
use support::made::{DAY, HOUR, MINUTE, Made, START, rule};

/// A dot a minute.
fn fill(made: &Made, series: &str, from: u64, hours: u64) {
    made.add(series, (0..hours * 60).map(|minute| (from + minute * MINUTE, 1.0)));
}

/// Lives for six hours with new dots beside the old ones; merges each hour.
fn live(made: &mut Made, hours: u64) {
    for _ in 0..hours {
        fill(made, "new", made.wall, 1);
        made.live(HOUR);
        made.compact();
    }
}

#[test]
fn dots_from_years_ago_live_as_long_as_new_ones_and_then_become_the_steps_that_still_have_their_time() {
    let mut made = Made::new(&rule("%", "raw:6h, 1m:30d, 1h:9y"));
    live(&mut made, 24);
    fill(&made, "old", START - 700 * DAY, 240);
    made.compact();
    // Kept for six hours from the window in which they came.
    live(&mut made, 6);
    assert_eq!(made.times("old").len(), 240 * 60);
    live(&mut made, 10);
    assert_eq!(made.times("old"), []);
    // Minutes of that time are gone already, hours are not.
    let hours = made.steps("old", TimeRange::ALL, HOUR);
    assert!(hours.len() == 240 && hours.iter().all(|hour| hour.count == 60 && hour.sum == 60.0));
    let of_minutes =
        made.snapshot().stat().places.into_iter().filter(|placed| placed.place.tier.step.as_secs() == MINUTE);
    let oldest = of_minutes.map(|placed| placed.place.window.from.nanos() / 1_000_000_000).min();
    assert!(oldest >= Some(START), "{oldest:?}");
    // What is new has gone by its rule all the same.
    assert!(made.times("new")[0] >= made.wall - 14 * HOUR, "{} {}", made.times("new")[0], made.wall);
    assert_eq!(made.counted("new", TimeRange::ALL, MINUTE), 40 * 60);
    made.check();
}

#[test]
fn dots_older_than_every_tier_keeps_live_as_long_as_new_ones_and_then_go() {
    let mut made = Made::new(&rule("%", "raw:6h, 1m:30d"));
    live(&mut made, 24);
    fill(&made, "old", START - 700 * DAY, 10);
    live(&mut made, 6);
    assert_eq!(made.times("old").len(), 600);
    live(&mut made, 10);
    assert!(!made.snapshot().contains("old"));
    assert_eq!(made.counted("new", TimeRange::ALL, MINUTE), 40 * 60);
    made.check();
}

#[test]
fn an_import_into_a_new_store_reads_the_same_before_and_after_it_has_grown_old() {
    let mut made = Made::new(&rule("%", "raw:2h, 1m:30d"));
    fill(&made, "a", START - 20 * DAY, 30 * 24);
    let minutes = |made: &Made| {
        let steps = made.steps("a", TimeRange::ALL, MINUTE);
        steps.iter().map(|step| (step.time, step.count, step.sum, step.value)).collect::<Vec<_>>()
    };
    let before = minutes(&made);
    assert_eq!(before.len(), 30 * 24 * 60);
    made.compact();
    made.live(40 * HOUR);
    assert_eq!(minutes(&made), before);
    // Ten days of it are of days to come. Two hours it is kept, and as much the clock looks back.
    assert_eq!(made.times("a")[0], START + 36 * HOUR);
    made.check();
}
