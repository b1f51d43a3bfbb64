//! Passes of retention come to an end: one that has nothing new to look at makes no window.

use std::path::Path;
use std::time::Duration;

use dotter_dot::{SeriesName, Timestamp};
use dotter_store::{Machine, Retained, compact_major, retain};

const HOUR: u64 = 3600;
/// Midnight.
const START: u64 = 1_710_460_800;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(START + seconds).unwrap()
}

fn pass(dir: &Path, seconds: u64) -> Retained {
    let machine = Machine { wall: at(seconds), boot: [1; 16], since_boot: Duration::from_secs(seconds) };
    retain(dir, &machine, &|| false).unwrap()
}

/// A dot a minute of a series that is kept by the rule, and of one that has none.
fn fill(dir: &Path, hours: std::ops::Range<u64>) {
    let dots = (hours.start * 60..hours.end * 60)
        .flat_map(|minute| ["a", "kept"].map(|name| (SeriesName::new(name).unwrap(), at(minute * 60), 1.0)));
    dotter_store::add(dir, dots.collect::<Vec<_>>()).unwrap();
}

#[test]
fn a_window_that_is_over_is_not_made_again_by_each_pass() {
    let dir = tempfile::tempdir().unwrap();
    let rules = |raw: &str| {
        let text = format!("[[rule]]\npattern = \"a%\"\nkeep = \"raw:{raw}, 1m:3d\"\n");
        std::fs::write(dir.path().join("retention.toml"), text).unwrap();
    };
    // Windows of an hour from the tenth hour on, which become one of the rest of that day.
    rules("2h");
    fill(dir.path(), 0..82);
    (0..5).for_each(|minute| _ = pass(dir.path(), 82 * HOUR + minute * 60));
    // Then windows of a day, of which one begins before that, and dots without a rule at all times.
    rules("2d");
    fill(dir.path(), 82..87);
    compact_major(dir.path(), &|| false, &|_, _| ()).unwrap();
    (0..5).for_each(|minute| _ = pass(dir.path(), 87 * HOUR + minute * 60));
    let retained = pass(dir.path(), 87 * HOUR + 300);
    assert_eq!((retained.archives_made, retained.archives_gone), (0, 0));
}
