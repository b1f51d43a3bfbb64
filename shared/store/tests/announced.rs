//! Rules that are new: the first look by them only says what would go, whatever else it has to do.

use std::path::Path;
use std::time::Duration;

use dotter_dot::{SeriesName, TimeRange, Timestamp};
use dotter_store::{Machine, Reader, Retained, Retention};

const HOUR: u64 = 3600;
/// Midnight.
const START: u64 = 1_710_460_800;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(START + seconds).unwrap()
}

/// A dot a minute.
fn fill(dir: &Path, series: &str, hours: std::ops::Range<u64>) {
    let dot = |minute: u64| (SeriesName::new(series).unwrap(), at(minute * 60), 1.0);
    dotter_store::add(dir, (hours.start * 60..hours.end * 60).map(dot).collect::<Vec<_>>()).unwrap();
}

fn pass(retention: &mut Retention, dir: &Path, seconds: u64) -> Retained {
    let machine = Machine { wall: at(seconds), boot: [1; 16], since_boot: Duration::from_secs(seconds) };
    retention.pass(dir, &machine, &|| false).unwrap()
}

/// How many dots the minutes of the first hour are made of.
fn counted(dir: &Path, series: &str) -> u64 {
    let snapshot = Reader::open(dir).unwrap().snapshot();
    let range = TimeRange::new(at(0), at(HOUR));
    let minutes = snapshot.rollups(series, range, Duration::from_secs(60)).unwrap();
    minutes.iter().map(|minute| minute.count).sum()
}

#[test]
fn a_window_that_is_computed_again_keeps_steps_that_new_rules_would_remove() {
    let dir = tempfile::tempdir().unwrap();
    let rules = |keep: &str| {
        let text = format!("[[rule]]\npattern = \"%\"\nkeep = \"{keep}\"\n");
        std::fs::write(dir.path().join("retention.toml"), text).unwrap();
    };
    rules("raw:2h, 1m:1y");
    let mut retention = Retention::default();
    fill(dir.path(), "a", 0..6);
    pass(&mut retention, dir.path(), 7 * HOUR);
    assert!(pass(&mut retention, dir.path(), 7 * HOUR + 60).dots > 0);
    assert_eq!(counted(dir.path(), "a"), 60);
    // Somebody meant three years; and a dot comes late.
    rules("raw:2h, 1m:3h");
    fill(dir.path(), "late", 0..1);
    fill(dir.path(), "late", 5..6);
    let told = pass(&mut retention, dir.path(), 7 * HOUR + 120);
    assert!(told.only_reported && told.archives_made > 0 && told.archives_gone > 0, "{told:?}");
    assert_eq!(counted(dir.path(), "a"), 60);
    // By the next look they were announced.
    let removed = pass(&mut retention, dir.path(), 8 * HOUR);
    assert!(!removed.only_reported);
    assert_eq!(counted(dir.path(), "a"), 0);
}

#[test]
fn rules_of_which_a_file_is_gone_are_announced_anew() {
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join("retention.toml");
    std::fs::write(&own, "[[rule]]\npattern = \"a%\"\nkeep = \"raw:10y\"\n").unwrap();
    let schemas = "[all]\npattern = .*\nretentions = 60s:1h\n";
    std::fs::write(dir.path().join("storage-schemas.conf"), schemas).unwrap();
    fill(dir.path(), "a", 0..6);
    // The files are older than the first pass here, as they are once an hour has gone by.
    let first = Timestamp::now().saturating_add(Duration::from_secs(HOUR));
    let pass = |hours: u64| {
        let length = Duration::from_secs(hours * HOUR);
        let machine = Machine { wall: first.saturating_add(length), boot: [1; 16], since_boot: length };
        // Each is made by a process of its own.
        Retention::default().pass(dir.path(), &machine, &|| false).unwrap()
    };
    let done = |retained: Retained| (retained.only_reported, retained.dots);
    assert_eq!((done(pass(0)), done(pass(1))), ((true, 0), (false, 0)));
    std::fs::remove_file(&own).unwrap();
    assert_eq!(done(pass(2)), (true, 299));
    assert_eq!(done(pass(3)), (false, 299));
}
