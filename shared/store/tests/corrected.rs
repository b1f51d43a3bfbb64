//! Dots that a later commit has replaced: they stay replaced while both grow old.

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

/// A dot a minute of each series, all in one commit.
fn fill(dir: &Path, series: &[&str], hours: std::ops::Range<u64>, value: f64) {
    let dots = (hours.start * 60..hours.end * 60).flat_map(|minute| {
        series.iter().map(move |name| (SeriesName::new(name).unwrap(), at(minute * 60), value))
    });
    dotter_store::add(dir, dots.collect::<Vec<_>>()).unwrap();
}

fn pass(retention: &mut Retention, dir: &Path, seconds: u64) {
    let machine = Machine { wall: at(seconds), boot: [1; 16], since_boot: Duration::from_secs(seconds) };
    retention.pass(dir, &machine, &|| false).unwrap();
}

/// The values of the first hour, as dots and as the least of its minutes.
fn check(dir: &Path, may_be_gone: bool) {
    let snapshot = Reader::open(dir).unwrap().snapshot();
    let range = TimeRange::new(at(0), at(HOUR));
    let dots = snapshot.read("short", range).unwrap();
    assert!(dots.iter().all(|dot| dot.value == 2.0), "the value that was corrected is back");
    assert!(may_be_gone || dots.len() == 60);
    let minutes = snapshot.rollups("short", range, Duration::from_secs(60)).unwrap();
    assert!(minutes.len() == 60 && minutes.iter().all(|minute| minute.min == 2.0), "{minutes:?}");
}

#[test]
fn a_value_that_was_corrected_does_not_come_back_when_its_correction_expires() {
    let dir = tempfile::tempdir().unwrap();
    let rule = "[[rule]]\npattern = \"short\"\nkeep = \"raw:2h, 1m:1y\"\n";
    std::fs::write(dir.path().join("retention.toml"), rule).unwrap();
    let mut retention = Retention::default();
    // Less than half of this segment grows old, so that it stays as it is for a day.
    fill(dir.path(), &["short", "long.a", "long.b"], 0..6, 1.0);
    fill(dir.path(), &["short"], 0..1, 2.0);
    for minutes in 0..4 {
        pass(&mut retention, dir.path(), 7 * HOUR + minutes * 60);
        check(dir.path(), false);
    }
    // Merges of later commits, of which the first segment is no part: it is of the highest level.
    let dots = |range| Reader::open(dir.path()).unwrap().snapshot().read("short", range).unwrap().len();
    fill(dir.path(), &["short"], 30..31, 1.0);
    for minutes in 0..4 {
        pass(&mut retention, dir.path(), 32 * HOUR + minutes * 60);
        check(dir.path(), true);
    }
    assert_eq!(dots(TimeRange::new(at(0), at(6 * HOUR))), 0, "all of it has been too old for a day");
}

#[test]
fn a_merge_does_not_take_a_correction_before_what_it_corrects() {
    let dir = tempfile::tempdir().unwrap();
    let rule = "[[rule]]\npattern = \"short%\"\nkeep = \"raw:2h, 1m:1y\"\n";
    std::fs::write(dir.path().join("retention.toml"), rule).unwrap();
    let mut retention = Retention::default();
    // Two series have nothing newer, so that their dots stay, and with them the segment of the first hour for a day.
    fill(dir.path(), &["short", "long"], 0..6, 1.0);
    fill(dir.path(), &["short.a", "short.b"], 0..1, 1.0);
    dotter_store::compact_major(dir.path(), &|| false, &|_, _| ()).unwrap();
    pass(&mut retention, dir.path(), 7 * HOUR);
    fill(dir.path(), &["short", "long.a", "long.c"], 0..1, 2.0);
    for series in ["b", "c", "d", "e", "f", "g", "h", "i"] {
        fill(dir.path(), &[series], 5..6, 1.0);
    }
    pass(&mut retention, dir.path(), 7 * HOUR + 60);
    check(dir.path(), false);
    let expired = || Reader::open(dir.path()).unwrap().snapshot().ledger().totals.expired;
    assert_eq!(expired(), 179, "what is too old behind the first hour has gone");
    assert!(retention.compact(dir.path(), &|| false).unwrap());
    check(dir.path(), false);
    retention.compact_major(dir.path(), &|| false, &|_, _| ()).unwrap();
    check(dir.path(), true);
    assert_eq!(expired(), 239 + 60);
}

#[test]
fn a_pass_that_ends_half_way_brings_no_value_back_that_was_corrected() {
    let dir = tempfile::tempdir().unwrap();
    let rule = "[[rule]]\npattern = \"short%\"\nkeep = \"raw:2h\"\n";
    std::fs::write(dir.path().join("retention.toml"), rule).unwrap();
    let mut retention = Retention::default();
    // The first goes as a whole; of the others stays a part, which is written anew.
    fill(dir.path(), &["short"], 0..1, 1.0);
    fill(dir.path(), &["short", "short.b", "long"], 0..1, 2.0);
    fill(dir.path(), &["short.c", "short.d", "long"], 0..1, 2.0);
    fill(dir.path(), &["short", "short.b", "short.c", "short.d"], 5..6, 2.0);
    pass(&mut retention, dir.path(), 6 * HOUR);
    let expired = || Reader::open(dir.path()).unwrap().snapshot().ledger().totals.expired;
    let machine =
        Machine { wall: at(6 * HOUR + 60), boot: [1; 16], since_boot: Duration::from_secs(6 * HOUR + 60) };
    let outcome = retention.pass(dir.path(), &machine, &|| expired() > 0);
    assert!(outcome.is_err() && expired() > 0);
    let dots = Reader::open(dir.path()).unwrap().snapshot().read("short", TimeRange::ALL).unwrap();
    assert!(dots.iter().all(|dot| dot.value == 2.0), "the value that was corrected is back");
    pass(&mut retention, dir.path(), 6 * HOUR + 120);
    assert_eq!(expired(), 60 + 2 * 60 + 2 * 60);
}

#[test]
fn a_segment_of_which_nothing_may_go_yet_is_not_written_anew_by_each_pass() {
    let dir = tempfile::tempdir().unwrap();
    let rule = "[[rule]]\npattern = \"short\"\nkeep = \"raw:2h\"\n";
    std::fs::write(dir.path().join("retention.toml"), rule).unwrap();
    let mut retention = Retention::default();
    // Less than half of the first grows old, so that it stays as it is for a day, and half of the second.
    fill(dir.path(), &["short", "long.a", "long.b"], 0..6, 1.0);
    fill(dir.path(), &["short", "long.c"], 0..1, 2.0);
    let segments = || {
        let entries = std::fs::read_dir(dir.path().join("seg")).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect::<std::collections::BTreeSet<_>>()
    };
    let before = segments();
    (0..4).for_each(|minutes| pass(&mut retention, dir.path(), 7 * HOUR + minutes * 60));
    assert_eq!(segments(), before);
    check(dir.path(), false);
}
