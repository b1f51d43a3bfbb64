//! Rules of which some cannot be read: the others hold, and nothing goes of what a skipped one may mean.

use std::path::Path;
use std::time::Duration;

use dotter_dot::{SeriesName, TimeRange, Timestamp};
use dotter_store::{Machine, Reader, Retained, Retention, Rules};

const HOUR: u64 = 3600;
/// Midnight.
const START: u64 = 1_710_460_800;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(START + seconds).unwrap()
}

/// A dot a minute of each series.
fn fill(dir: &Path, series: &[&str], hours: std::ops::Range<u64>) {
    let dots = (hours.start * 60..hours.end * 60).flat_map(|minute| {
        series.iter().map(move |name| (SeriesName::new(name).unwrap(), at(minute * 60), 1.0))
    });
    dotter_store::add(dir, dots.collect::<Vec<_>>()).unwrap();
}

fn pass(retention: &mut Retention, dir: &Path, seconds: u64) -> Retained {
    let machine = Machine { wall: at(seconds), boot: [1; 16], since_boot: Duration::from_secs(seconds) };
    retention.pass(dir, &machine, &|| false).unwrap()
}

/// Dots that are left of a series, and how many its minutes before `until` are made of.
fn left(dir: &Path, series: &str, until: u64) -> (usize, u64) {
    let snapshot = Reader::open(dir).unwrap().snapshot();
    let minutes =
        snapshot.rollups(series, TimeRange::new(at(0), at(until)), Duration::from_secs(60)).unwrap();
    let dots = snapshot.read(series, TimeRange::ALL).unwrap().len();
    (dots, minutes.iter().map(|minute| minute.count).sum())
}

#[test]
fn nothing_goes_of_a_series_whose_rule_is_skipped_and_the_others_go() {
    let dir = tempfile::tempdir().unwrap();
    let rules = |long: &str| {
        let text = format!(
            "[[rule]]\npattern = \"short\"\nkeep = \"raw:2h, 1m:4h\"\n\
             [[rule]]\npattern = \"long\"\nkeep = \"{long}\"\n\
             [[rule]]\npattern = \"%\"\nkeep = \"raw:2h\"\n"
        );
        std::fs::write(dir.path().join("retention.toml"), text).unwrap();
    };
    rules("raw:2h, 1m:1y");
    let (all, mut retention) = (["short", "long", "other"], Retention::default());
    fill(dir.path(), &all, 0..6);
    pass(&mut retention, dir.path(), 7 * HOUR);
    assert!(pass(&mut retention, dir.path(), 7 * HOUR + 60).dots > 0);
    assert_eq!((left(dir.path(), "short", 4 * HOUR).1, left(dir.path(), "long", 4 * HOUR).1), (180, 240));
    // Somebody mistypes the longest one.
    rules("raw:2h, 1m:1year1");
    let skipped = Rules::read(dir.path()).skipped().to_vec();
    assert!(matches!(&skipped[..], [rule] if rule.line == 6), "{skipped:?}");
    for hour in 6..40 {
        fill(dir.path(), &all, hour..hour + 1);
        pass(&mut retention, dir.path(), (hour + 2) * HOUR);
    }
    retention.compact_major(dir.path(), &|| false, &|_, _| ()).unwrap();
    let minutes = |series| left(dir.path(), series, 4 * HOUR);
    assert_eq!((minutes("short").1, minutes("other").1), (0, 0));
    assert!(minutes("short").0 <= 180 && minutes("other").0 <= 180);
    // All steps of what had gone, and all dots since.
    assert_eq!(minutes("long").1, 4 * 60);
    assert!(minutes("long").0 > 34 * 60, "{}", minutes("long").0);
}

#[test]
fn nothing_goes_by_rules_behind_one_of_which_nobody_knows_whom_it_means() {
    let dir = tempfile::tempdir().unwrap();
    let text =
        "[most]\npattern = ^(?!carbon\\.)\nretentions = 10s:2y\n[all]\npattern = .*\nretentions = 10s:1h\n";
    std::fs::write(dir.path().join("storage-schemas.conf"), text).unwrap();
    fill(dir.path(), &["a", "carbon.x"], 0..6);
    let mut retention = Retention::default();
    for seconds in [7 * HOUR, 7 * HOUR + 60, 8 * HOUR] {
        assert_eq!(pass(&mut retention, dir.path(), seconds).dots, 0);
    }
    assert_eq!(left(dir.path(), "a", HOUR).0, 6 * 60);
}
