//! Rules that change: what a series has not had in archives so far is there before its dots go.

use std::path::Path;
use std::time::Duration;

use dotter_dot::{SeriesName, TimeRange, Timestamp};
use dotter_store::{Machine, Reader, Retention};

const HOUR: u64 = 3600;
/// Midnight.
const START: u64 = 1_710_460_800;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(START + seconds).unwrap()
}

/// A dot a minute of each series; those of one are no numbers, which are in no archive.
fn fill(dir: &Path, hours: std::ops::Range<u64>) {
    let dots = (hours.start * 60..hours.end * 60).flat_map(|minute| {
        [("a", 1.0), ("b", 1.0), ("b.nan", f64::NAN)]
            .map(|(name, value)| (SeriesName::new(name).unwrap(), at(minute * 60), value))
    });
    dotter_store::add(dir, dots.collect::<Vec<_>>()).unwrap();
}

fn rules(dir: &Path, of_b: &str) {
    let text = format!(
        "[[rule]]\npattern = \"a%\"\nkeep = \"raw:2h, 1m:1y\"\n[[rule]]\npattern = \"b%\"\nkeep = \"{of_b}\"\n"
    );
    std::fs::write(dir.join("retention.toml"), text).unwrap();
}

/// How many dots there are of a series, in archives or as they came.
fn counted(dir: &Path, series: &str) -> u64 {
    let snapshot = Reader::open(dir).unwrap().snapshot();
    let minutes = snapshot.rollups(series, TimeRange::ALL, Duration::from_secs(60)).unwrap();
    minutes.iter().map(|minute| minute.count).sum()
}

/// Twelve hours of the series by rules of which that of `b` is `before`, then passes by other rules until nothing
/// happens; returns how many dots went.
fn change(before: &str) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let mut retention = Retention::default();
    let mut hour = 12;
    let mut pass = |retention: &mut Retention| {
        hour += 1;
        let machine =
            Machine { wall: at(hour * HOUR), boot: [1; 16], since_boot: Duration::from_secs(hour * HOUR) };
        let retained = retention.pass(dir.path(), &machine, &|| false).unwrap();
        while retention.compact(dir.path(), &|| false).unwrap() {}
        for series in ["a", "b"] {
            assert_eq!(counted(dir.path(), series), 12 * 60, "{series}: {retained:?}");
        }
        retained
    };
    rules(dir.path(), before);
    fill(dir.path(), 0..12);
    (0..3).for_each(|_| _ = pass(&mut retention));
    rules(dir.path(), "raw:2h, 1m:1y");
    let mut removed = 0;
    loop {
        let retained = pass(&mut retention);
        removed += if retained.only_reported { 0 } else { retained.dots };
        if !retained.only_reported && retained.archives_made == 0 && retained.dots == 0 {
            return removed;
        }
    }
}

#[test]
fn a_series_whose_rule_could_not_be_read_is_in_archives_before_its_dots_go() {
    assert_eq!(change("raw 2h, 1m:1y"), 3 * 599);
}

#[test]
fn a_series_whose_rule_had_no_archive_is_in_archives_before_its_dots_go() {
    assert_eq!(change("raw:30d"), 3 * 599);
}
