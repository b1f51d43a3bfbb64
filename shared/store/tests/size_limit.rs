//! A limit of size: the oldest windows go before their time, and never the newest of a tier.

mod support;

use std::collections::BTreeMap;

use dotter_dot::TimeRange;
use dotter_store::{Limits, Retained, retain};
use support::Random;
use support::made::{DAY, HOUR, MINUTE, Made, START, rule};

/// Twelve days of values that no codec makes small.
fn filled() -> Made {
    let mut random = Random::from_env();
    let mut made = Made::new(&(rule("a", "raw:30d, 1h:2y") + &rule("b", "raw:60d")));
    for _ in 0..12 {
        let from = made.wall;
        for series in ["a", "b"] {
            let values = (0..24 * 60).map(|minute| (from + minute * MINUTE, random.below(1 << 50) as f64));
            made.add(series, values.collect::<Vec<_>>());
        }
        made.run(DAY);
        made.compact();
        made.retain();
    }
    made
}

fn fit(made: &Made, bytes: u64) -> Retained {
    retain(made.dir(), &made.machine(), &Limits { max_bytes: Some(bytes) }, &|| false).unwrap()
}

/// The newest window of each tier of dots.
fn newest(made: &Made) -> BTreeMap<u64, u64> {
    let mut newest = BTreeMap::new();
    for placed in made.snapshot().stat().places {
        if placed.place.tier.step.is_zero() {
            let last: &mut u64 = newest.entry(placed.place.tier.keep.as_secs()).or_default();
            *last = placed.place.window.last().nanos().max(*last);
        }
    }
    newest
}

#[test]
fn above_the_limit_the_oldest_windows_go_and_become_steps_where_there_are_any() {
    let made = filled();
    assert_eq!((made.times("a").len(), made.times("b").len()), (12 * 24 * 60, 12 * 24 * 60));
    let size = |folder: &str| -> u64 {
        let files = std::fs::read_dir(made.dir().join(folder)).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
    };
    let room = fit(&made, u64::MAX);
    assert_eq!((room.for_size, room.above_limit), (0, 0));
    let before = newest(&made);
    let limit = size("wal") + size("seg") * 3 / 5;
    let retained = fit(&made, limit);
    assert!(retained.for_size > 0 && retained.above_limit == 0, "{retained:?}");
    let (a, b) = (made.times("a"), made.times("b"));
    assert!(a.len() < 12 * 24 * 60 || b.len() < 12 * 24 * 60);
    // What is left is the newest, without a hole.
    for times in [&a, &b] {
        assert!(times.windows(2).all(|pair| pair[0] + MINUTE == pair[1]));
        assert_eq!(times.last(), Some(&(START + 12 * DAY - MINUTE)));
    }
    assert_eq!(newest(&made), before);
    assert_eq!(made.counted("a", TimeRange::ALL, HOUR), 12 * 24 * 60);
    made.check();
    // A second pass has nothing to do.
    assert_eq!(fit(&made, limit).for_size, 0);
}

#[test]
fn the_newest_window_of_a_tier_never_goes_and_it_is_told_how_much_is_too_much() {
    let made = filled();
    let before = newest(&made);
    let retained = fit(&made, 1);
    assert!(retained.for_size > 0 && retained.above_limit > 0, "{retained:?}");
    assert_eq!(newest(&made), before);
    for series in ["a", "b"] {
        assert_eq!(made.times(series).last(), Some(&(START + 12 * DAY - MINUTE)), "{series}");
    }
    assert_eq!(made.counted("a", TimeRange::ALL, HOUR), 12 * 24 * 60);
    assert_eq!(fit(&made, 1).for_size, 0);
    made.check();
}
