//! Stamps from all over time in one merge with those of now.

mod support;

use dotter_dot::{SeriesName, TimeRange, Timestamp};
use dotter_store::{Reader, retain};
use support::{Random, machine};

const HOUR: u64 = 3_600_000_000_000;

#[test]
fn dots_merged_with_wild_stamps_go_when_their_rule_says() {
    let mut random = Random::from_env();
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let name = |text: &str| SeriesName::new(text).unwrap();
    let start = 20_000 * 24 * HOUR;
    let at = |time: u64| Timestamp::from_nanos(start + time);
    std::fs::write(dir.join("retention.toml"), "[[rule]]\npattern = \"%\"\nkeep = \"raw:2h\"\n").unwrap();
    let good = |from: u64| (0..60).map(move |minute| (name("good"), at(from + minute * (HOUR / 60)), 1.0));
    let pass = |hours: u64| retain(dir, &machine(at(hours * HOUR)), &|| false).unwrap();
    dotter_store::add(dir, good(0).collect::<Vec<_>>()).unwrap();
    pass(1);
    for _ in 0..8 {
        // More windows than a merge has segments.
        let wild = (0..40)
            .map(|_| (name("wild"), Timestamp::from_nanos(start + random.below(u64::MAX - start)), 2.0));
        dotter_store::add(dir, wild.collect::<Vec<_>>()).unwrap();
    }
    dotter_store::add(dir, good(HOUR).collect::<Vec<_>>()).unwrap();
    while dotter_store::compact(dir, &|| false).unwrap() {}
    dotter_store::add(dir, good(40 * HOUR).collect::<Vec<_>>()).unwrap();
    let times = || {
        let dots = Reader::open(dir).unwrap().snapshot().read("good", TimeRange::ALL).unwrap();
        (dots.len(), dots[0].time)
    };
    assert_eq!(times(), (180, at(0)));
    (2..41).for_each(|hours| _ = pass(hours));
    assert_eq!(times(), (60, at(40 * HOUR)), "thirty-eight hours after they should have gone");
}
