//! Retention of a store in which some clocks are wrong: the others grow old as ever.

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

fn add(dir: &Path, rows: impl Iterator<Item = (&'static str, Timestamp)>) {
    let row = |(name, time)| (SeriesName::new(name).unwrap(), time, 1.0);
    dotter_store::add(dir, rows.map(row).collect::<Vec<_>>()).unwrap();
}

fn pass(retention: &mut Retention, dir: &Path, seconds: u64) -> Retained {
    let machine = Machine { wall: at(seconds), boot: [1; 16], since_boot: Duration::from_secs(seconds) };
    let retained = retention.pass(dir, &machine, &|| false).unwrap();
    while retention.compact(dir, &|| false).unwrap() {}
    retained
}

/// Dots of `a` every ten minutes, a commit and a pass every six hours, and with each commit what `wrong` gives.
/// Returns how many dots are left, and how many windows were computed.
fn left(days: u64, wrong: &dyn Fn(u64) -> Vec<(&'static str, Timestamp)>) -> (usize, u64) {
    let dir = tempfile::tempdir().unwrap();
    // The first rule means nothing. While any rule keeps dots for so long, windows are not made fewer.
    let rules = "[[rule]]\npattern = \"none\"\nkeep = \"raw:9y\"\n\
                 [[rule]]\npattern = \"%\"\nkeep = \"raw:6h, 10m:10y, 1h:20y\"\n";
    std::fs::write(dir.path().join("retention.toml"), rules).unwrap();
    let mut retention = Retention::default();
    let mut made = 0;
    for hour in (0..days * 24).step_by(6) {
        let own = (0..36).map(|n| ("a", at(hour * HOUR + n * 600)));
        add(dir.path(), own.chain(wrong(hour)));
        made += pass(&mut retention, dir.path(), (hour + 6) * HOUR + 1200).archives_made;
    }
    let snapshot = Reader::open(dir.path()).unwrap().snapshot();
    let range = TimeRange::new(at(0), at((days * 24 - 6) * HOUR));
    let steps = snapshot.rollups("a", range, Duration::from_secs(HOUR)).unwrap();
    assert!(steps.iter().all(|step| step.count == 6));
    assert_eq!(steps.len() as u64, days * 24 - 6);
    (snapshot.read("a", TimeRange::ALL).unwrap().len(), made)
}

#[test]
fn dots_of_long_ago_do_not_stop_the_retention_of_others() {
    let days = 6;
    let (clean, made) = left(days, &|_| Vec::new());
    assert!(clean <= 7 * 6 + 1, "{clean} dots are left");
    // A series that always sends one of five moments of the first day, and one that does so beside right times.
    let stuck = |hour: u64| vec![("stuck", at(hour % 5))];
    let mixed =
        |hour: u64| (1..36).map(move |n| ("mixed", at(if n == 1 { 7 } else { hour * HOUR + n * 600 })));
    let (left, made_then) = left(days, &|hour| stuck(hour).into_iter().chain(mixed(hour)).collect());
    assert_eq!(left, clean);
    // The windows of its moments are computed again for each commit, and no others.
    assert!(made_then <= made + days * 4 * 4, "{made_then} windows were computed, {made} without it");
}

#[test]
fn a_dot_of_1970_needs_no_windows_of_the_years_between() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("retention.toml"),
        "[[rule]]\npattern = \"%\"\nkeep = \"raw:6h, 1h:90y\"\n",
    )
    .unwrap();
    let dots = (0..24 * 6).map(|n| ("a", at(n * 600)));
    add(dir.path(), dots.chain([("a", Timestamp::from_secs(60).unwrap())]));
    let mut retention = Retention::default();
    assert_eq!(pass(&mut retention, dir.path(), 25 * HOUR).archives_made, 25);
    pass(&mut retention, dir.path(), 26 * HOUR);
    let snapshot = Reader::open(dir.path()).unwrap().snapshot();
    assert_eq!(snapshot.read("a", TimeRange::ALL).unwrap().len(), 7 * 6);
    let hours = snapshot.rollups("a", TimeRange::ALL, Duration::from_secs(HOUR)).unwrap();
    assert_eq!(hours.iter().map(|hour| hour.count).sum::<u64>(), 24 * 6 + 1);
}
