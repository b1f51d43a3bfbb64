//! Five years of dots with explicit times, imported into a new store, and imported once more.

mod support;

use std::collections::BTreeMap;

use dotter_dot::TimeRange;
use support::Random;
use support::made::{DAY, HOUR, MINUTE, Made, START, range, rule};

const TEN: u64 = 10 * MINUTE;
/// Of these the dots are ten seconds apart; of the years before, an hour.
const DENSE: u64 = 2 * DAY;

/// Five years up to [`START`], with holes.
fn dots(random: &mut Random) -> BTreeMap<u64, f64> {
    let mut dots: BTreeMap<u64, f64> = BTreeMap::new();
    for time in (START - 5 * 365 * DAY..START - DENSE).step_by(HOUR as usize) {
        dots.insert(time + random.below(HOUR), random.below(100) as f64);
    }
    let mut hole_until = 0;
    for time in (START - DENSE..START).step_by(10) {
        if random.below(400) == 0 {
            hole_until = time + random.below(12) * MINUTE;
        }
        if time >= hole_until && random.below(20) > 0 {
            dots.insert(time + random.below(10), random.below(100) as f64);
        }
    }
    dots
}

fn import(made: &Made, dots: &BTreeMap<u64, f64>) {
    let all: Vec<(u64, f64)> = dots.iter().map(|(time, value)| (*time, *value)).collect();
    for part in all.chunks(20_000) {
        made.add("a", part.iter().copied());
    }
    made.compact();
}

/// Whisper's value of each step of ten minutes: the newest dot of each ten seconds, their mean over a minute, and the
/// mean of these, each where half of them are known.
fn whisper(dots: &BTreeMap<u64, f64>) -> BTreeMap<u64, f64> {
    let slots: BTreeMap<u64, f64> = dots.iter().map(|(time, value)| (time / 10 * 10, *value)).collect();
    let mean = |finer: &BTreeMap<u64, f64>, step: u64, half: usize| {
        let mut groups: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        for (time, value) in finer {
            groups.entry(time / step * step).or_default().push(*value);
        }
        groups.retain(|_, known| known.len() >= half);
        groups
            .into_iter()
            .map(|(time, known)| (time, known.iter().sum::<f64>() / known.len() as f64))
            .collect()
    };
    let minutes: BTreeMap<u64, f64> = mean(&slots, MINUTE, 3);
    mean(&minutes, TEN, 5)
}

/// Of each step of ten minutes: how many dots, their sum, and the value.
fn found(made: &Made, from: u64) -> BTreeMap<u64, (u64, f64, Option<f64>)> {
    let steps = made.steps("a", range(from, START), TEN);
    steps.iter().map(|step| (step.time.nanos() / 1_000_000_000, (step.count, step.sum, step.value))).collect()
}

#[track_caller]
fn check(made: &Made, dots: &BTreeMap<u64, f64>, from: u64) {
    let values = whisper(dots);
    let mut expected: BTreeMap<u64, (u64, f64)> = BTreeMap::new();
    for (time, value) in dots.range(from..) {
        let (count, sum) = expected.entry(time / TEN * TEN).or_default();
        (*count, *sum) = (*count + 1, *sum + value);
    }
    let found = found(made, from);
    assert_eq!(found.len(), expected.len());
    for ((step, (count, sum, value)), (expected_step, (expected_count, expected_sum))) in
        found.iter().zip(&expected)
    {
        assert_eq!((step, count, sum), (expected_step, expected_count, expected_sum), "{} s", START - step);
        match (value, values.get(step)) {
            (Some(value), Some(expected)) => {
                assert!((value - expected).abs() < 1e-9, "{value} and {expected}")
            }
            (value, expected) => assert_eq!(*value, expected.copied(), "{} s", START - step),
        }
    }
    made.check();
}

/// Two days and a half go by.
fn grow_old(made: &mut Made) {
    for _ in 0..5 {
        made.run(DAY / 2);
        made.retain();
    }
}

#[test]
fn five_years_come_and_come_again_and_nothing_is_doubled() {
    let mut random = Random::from_env();
    let dots = dots(&mut random);
    let mut made = Made::new(&rule("%", "10s:6h, 1m:7d, 10m:1y"));
    made.retain();
    let five_years = START - 5 * 365 * DAY;
    import(&made, &dots);
    check(&made, &dots, five_years);
    grow_old(&mut made);
    assert_eq!(made.times("a"), []);
    // What is older than every tier is gone; it lay in windows of 16 days.
    let year = START - 300 * DAY;
    check(&made, &dots, year);
    let oldest = made.steps("a", TimeRange::ALL, TEN)[0].time.nanos() / 1_000_000_000;
    assert!(oldest + 365 * DAY + 64 * DAY >= made.wall, "{} days", (made.wall - oldest) / DAY);
    let before = found(&made, year);
    import(&made, &dots);
    assert_eq!(found(&made, year), before);
    grow_old(&mut made);
    assert_eq!(made.times("a"), []);
    assert_eq!(found(&made, year), before);
    check(&made, &dots, year);
    made.compact();
    assert_eq!(found(&made, year), before);
    let segments = made.snapshot().stat().segments;
    assert!(segments <= 80, "{segments} segments");
    // Days later the minutes go too.
    made.run(9 * DAY);
    grow_old(&mut made);
    check(&made, &dots, year);
    assert!(made.snapshot().stat().places.iter().all(|placed| placed.place.tier.step.as_secs() == TEN));
}

#[test]
fn what_comes_into_a_store_whose_clock_has_just_begun_lies_in_few_windows() {
    let mut made = Made::new(&rule("%", "10s:6h, 1m:7d, 10m:4y"));
    for is_first in [true, false] {
        if !is_first {
            made.retain();
        }
        let from = START - 3 * 365 * DAY + is_first as u64 * MINUTE;
        made.add("a", (from..START).step_by(3 * HOUR as usize).map(|time| (time, 1.0)));
        made.compact();
    }
    for _ in 0..60 {
        made.run(HOUR / 2);
        made.retain();
        let segments = made.snapshot().stat().segments;
        assert!(segments < 500, "{segments} segments");
    }
    // Before there was a reading of the clock, windows were cut as wide as needed to be few: the last ends days from now.
    (0..3).for_each(|_| grow_old(&mut made));
    assert_eq!(made.times("a"), []);
    made.compact();
    let segments = made.snapshot().stat().segments;
    assert!(segments < 150, "{segments} segments");
    assert_eq!(made.counted("a", TimeRange::ALL, TEN), 2 * 3 * 365 * 8);
    made.check();
}
