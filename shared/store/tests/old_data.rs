//! Data from years ago: its dots do not go before archives have them, whatever else is in the store.

use std::path::Path;
use std::time::Duration;

use dotter_dot::{SeriesName, TimeRange, Timestamp};
use dotter_store::{Machine, Reader, Retention};

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
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

/// How many dots there are of a series, in archives or as they came.
fn counted(dir: &Path, series: &str) -> u64 {
    let snapshot = Reader::open(dir).unwrap().snapshot();
    let hours = snapshot.rollups(series, TimeRange::ALL, Duration::from_secs(HOUR)).unwrap();
    hours.iter().map(|hour| hour.count).sum()
}

fn raw(dir: &Path, series: &str) -> usize {
    Reader::open(dir).unwrap().snapshot().read(series, TimeRange::ALL).unwrap().len()
}

/// Ten days of a series, two years before the first pass; passes until nothing happens.
fn grow_old(dir: &Path, others: &dyn Fn()) {
    std::fs::write(dir.join("retention.toml"), "[[rule]]\npattern = \"%\"\nkeep = \"raw:2h, 1m:30d\"\n")
        .unwrap();
    fill(dir, "old", 0..240);
    others();
    let mut retention = Retention::default();
    let mut removed = 0;
    for hour in 6.. {
        let seconds = 700 * DAY + hour * HOUR;
        let machine = Machine { wall: at(seconds), boot: [1; 16], since_boot: Duration::from_secs(seconds) };
        let retained = retention.pass(dir, &machine, &|| false).unwrap();
        assert_eq!(counted(dir, "old"), 240 * 60, "{retained:?}");
        if !retained.only_reported {
            removed += retained.dots;
            while retention.compact(dir, &|| false).unwrap() {}
            assert_eq!(counted(dir, "old"), 240 * 60, "{retained:?}");
        }
        if retained.archives_made == 0 && retained.dots == 0 {
            break;
        }
    }
    retention.compact_major(dir, &|| false, &|_, _| ()).unwrap();
    assert_eq!(counted(dir, "old"), 240 * 60);
    assert!(removed > 0);
}

#[test]
fn dots_from_years_ago_stay_until_archives_have_them() {
    let dir = tempfile::tempdir().unwrap();
    grow_old(dir.path(), &|| ());
    assert_eq!(raw(dir.path(), "old"), 121);
}

#[test]
fn dots_from_years_ago_beside_new_ones_stay_where_no_archive_looks() {
    let dir = tempfile::tempdir().unwrap();
    grow_old(dir.path(), &|| fill(dir.path(), "new", 700 * 24..700 * 24 + 5));
    // What is new goes by its rule all the same, also where one segment holds both.
    assert_eq!((raw(dir.path(), "old"), raw(dir.path(), "new")), (240 * 60, 121));
}

#[test]
fn dots_do_not_go_in_the_pass_in_which_their_windows_go() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("retention.toml"),
        "[[rule]]\npattern = \"%\"\nkeep = \"raw:2h, 1m:30d\"\n",
    )
    .unwrap();
    fill(dir.path(), "old", 0..20);
    let mut retention = Retention::default();
    for hour in 6..10 {
        let seconds = 700 * DAY + hour * HOUR;
        let machine = Machine { wall: at(seconds), boot: [1; 16], since_boot: Duration::from_secs(seconds) };
        let retained = retention.pass(dir.path(), &machine, &|| false).unwrap();
        assert_eq!(counted(dir.path(), "old"), 20 * 60, "{retained:?}");
        if retained.only_reported {
            // Its windows are there, and from now on older than any is kept.
            assert_eq!(retained.archives_made, 20);
            fill(dir.path(), "new", 700 * 24..700 * 24 + 5);
        }
    }
}
