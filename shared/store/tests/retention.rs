//! Growing old by a clock that the test sets: dots go when they should, archives stay, and nothing goes by surprise.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use dotter_dot::{SeriesName, TimeRange, Timestamp};
use dotter_store::{
    Deletion, Machine, Pattern, Reader, Retained, Retention, Snapshot, compact_major, delete, retain,
};

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
/// Midnight.
const START: u64 = 1_710_460_800;

fn never() -> bool {
    false
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(START + seconds).unwrap()
}

/// So many seconds after the start, on a machine whose clocks agree.
fn pass(dir: &Path, seconds: u64) -> Retained {
    let machine = Machine { wall: at(seconds), boot: [1; 16], since_boot: Duration::from_secs(seconds) };
    retain(dir, &machine, &never).unwrap()
}

/// A dot a minute, its value the minute, for some hours.
fn fill(dir: &Path, series: &str, hours: std::ops::Range<u64>) {
    for hour in hours {
        let dot = |minute: u64| {
            let time = hour * HOUR + minute * 60;
            (SeriesName::new(series).unwrap(), at(time), (time / 60) as f64)
        };
        dotter_store::add(dir, (0..60).map(dot).collect::<Vec<_>>()).unwrap();
    }
}

fn rules(dir: &Path, text: &str) {
    std::fs::write(dir.join("retention.toml"), text).unwrap();
}

fn open(dir: &Path) -> Snapshot {
    Reader::open(dir).unwrap().snapshot()
}

fn range(from: u64, until: u64) -> TimeRange {
    TimeRange::new(at(from), at(until))
}

/// Begin in seconds, count and last of each step.
fn steps(snapshot: &Snapshot, series: &str, range: TimeRange, step: u64) -> Vec<(u64, u64, f64)> {
    let rollups = snapshot.rollups(series, range, Duration::from_secs(step)).unwrap();
    let mut last = None;
    for rollup in &rollups {
        assert!(last < Some(rollup.time), "in order, each once");
        last = Some(rollup.time);
        assert!(rollup.min <= rollup.last && rollup.last <= rollup.max && rollup.count > 0);
    }
    rollups
        .iter()
        .map(|rollup| (rollup.time.nanos() / 1_000_000_000 - START, rollup.count, rollup.last))
        .collect()
}

#[test]
fn dots_go_when_their_time_is_over_and_their_archives_stay() {
    let dir = tempfile::tempdir().unwrap();
    rules(dir.path(), "[[rule]]\npattern = \"old%\"\nkeep = \"1m:6h, 10m:2d, 1h:30d\"\n");
    fill(dir.path(), "old.a", 0..12);
    fill(dir.path(), "kept", 0..12);
    let first = pass(dir.path(), 12 * HOUR);
    assert!(first.only_reported && first.archives_made > 0);
    assert_eq!(open(dir.path()).ledger().totals.expired, 0);
    let before = steps(&open(dir.path()), "old.a", TimeRange::ALL, HOUR);
    assert_eq!(before, (0..12).map(|hour| (hour * HOUR, 60, (hour * 60 + 59) as f64)).collect::<Vec<_>>());
    let second = pass(dir.path(), 12 * HOUR + 60);
    // Each segment holds an hour of one series, and the newest dot is a minute short of twelve hours: five segments
    // go. The sixth hour is not over six hours old as a whole: it is one step of an archive and stays whole.
    assert_eq!((second.only_reported, second.segments, second.dots), (false, 5, 300));
    let snapshot = open(dir.path());
    assert_eq!(snapshot.read("old.a", TimeRange::ALL).unwrap().len(), 420);
    assert_eq!(snapshot.read("kept", TimeRange::ALL).unwrap().len(), 12 * 60);
    let (stat, totals) = (snapshot.stat(), snapshot.ledger().totals);
    assert_eq!((totals.expired, stat.dots + totals.expired), (300, totals.stored_other));
    assert_eq!(steps(&snapshot, "old.a", TimeRange::ALL, HOUR), before, "what went is in the archives");
    let fine = steps(&snapshot, "old.a", range(0, HOUR), 600);
    assert_eq!(fine, (0..6).map(|n| (n * 600, 10, (n * 10 + 9) as f64)).collect::<Vec<_>>());
    let coarse = steps(&snapshot, "old.a", range(0, 12 * HOUR), 6 * HOUR);
    assert_eq!(coarse, [(0, 360, 359.0), (6 * HOUR, 360, 719.0)]);
    let verified = dotter_store::verify(dir.path()).unwrap();
    assert!(verified.damage.is_empty(), "{:?}", verified.damage);
    // Much later, with newer dots, the ten-minute steps are gone too, and the hours are still there.
    fill(dir.path(), "old.a", 20 * 24..20 * 24 + 1);
    pass(dir.path(), 20 * DAY + 2 * HOUR);
    pass(dir.path(), 20 * DAY + 2 * HOUR + 60);
    let snapshot = open(dir.path());
    assert_eq!(snapshot.read("old.a", TimeRange::ALL).unwrap().len(), 60);
    assert_eq!(steps(&snapshot, "old.a", range(0, 12 * HOUR), HOUR), before);
    assert_eq!(steps(&snapshot, "old.a", range(0, HOUR), 600), []);
    assert!(dotter_store::verify(dir.path()).unwrap().damage.is_empty());
}

#[test]
fn neither_a_clock_ten_years_ahead_nor_data_from_years_ago_loses_anything() {
    let dir = tempfile::tempdir().unwrap();
    rules(dir.path(), "[[rule]]\npattern = \"%\"\nkeep = \"raw:2h\"\n");
    fill(dir.path(), "a", 0..2);
    pass(dir.path(), 2 * HOUR);
    // Ten years ahead, again and again, for less than a day.
    for minutes in 1..20 {
        let since_boot = Duration::from_secs(2 * HOUR + minutes * 60);
        let machine = Machine { wall: at(3650 * DAY), boot: [1; 16], since_boot };
        let retained = retain(dir.path(), &machine, &never).unwrap();
        assert_eq!((retained.only_reported, retained.dots), (minutes == 1, 0));
    }
    // Years have passed and nothing new has come: its own newest dot counts.
    let dir = tempfile::tempdir().unwrap();
    rules(dir.path(), "[[rule]]\npattern = \"%\"\nkeep = \"raw:2h\"\n");
    fill(dir.path(), "a", 0..2);
    for seconds in [3650 * DAY, 3651 * DAY, 3652 * DAY] {
        assert_eq!(pass(dir.path(), seconds).dots, 0);
    }
    assert_eq!(open(dir.path()).read("a", TimeRange::ALL).unwrap().len(), 120);
}

#[test]
fn a_late_dot_and_a_delete_reach_the_archives() {
    let dir = tempfile::tempdir().unwrap();
    rules(dir.path(), "[[rule]]\npattern = \"%\"\nkeep = \"1m:2d, 1h:30d\"\n");
    fill(dir.path(), "a", 0..30);
    pass(dir.path(), 30 * HOUR);
    assert_eq!(pass(dir.path(), 30 * HOUR + 60).archives_made, 0, "nothing has changed");
    let late = (SeriesName::new("a").unwrap(), at(HOUR + 30), -1.0);
    dotter_store::add(dir.path(), vec![late]).unwrap();
    assert!(pass(dir.path(), 30 * HOUR + 120).archives_made > 0);
    let snapshot = open(dir.path());
    assert_eq!(steps(&snapshot, "a", range(HOUR, 2 * HOUR), HOUR), [(HOUR, 61, 119.0)]);
    let cut = Deletion {
        pattern: Pattern::new("a"),
        first_key: None,
        last_key: None,
        range: range(HOUR, 2 * HOUR + 600),
    };
    delete(dir.path(), &cut).unwrap();
    let check = |what: &str| {
        let found = steps(&open(dir.path()), "a", range(0, 4 * HOUR), HOUR);
        assert_eq!(found, [(0, 60, 59.0), (2 * HOUR, 50, 179.0), (3 * HOUR, 60, 239.0)], "{what}");
    };
    check("hidden at once");
    pass(dir.path(), 30 * HOUR + 180);
    check("computed again");
    compact_major(dir.path(), &never, &|_, _| ()).unwrap();
    pass(dir.path(), 30 * HOUR + 240);
    check("purged");
}

#[test]
fn what_is_deleted_after_its_dots_are_gone_leaves_the_archives_too() {
    let dir = tempfile::tempdir().unwrap();
    rules(dir.path(), "[[rule]]\npattern = \"%\"\nkeep = \"1m:2h, 10m:30d\"\n");
    fill(dir.path(), "a", 0..8);
    pass(dir.path(), 8 * HOUR);
    assert!(pass(dir.path(), 8 * HOUR + 60).dots > 0);
    assert_eq!(steps(&open(dir.path()), "a", range(0, HOUR), HOUR), [(0, 60, 59.0)]);
    let cut = Deletion { pattern: Pattern::new("%"), first_key: None, last_key: None, range: range(0, 1800) };
    delete(dir.path(), &cut).unwrap();
    let check = || assert_eq!(steps(&open(dir.path()), "a", range(0, HOUR), HOUR), [(0, 30, 59.0)]);
    check();
    pass(dir.path(), 8 * HOUR + 120);
    check();
    compact_major(dir.path(), &never, &|_, _| ()).unwrap();
    check();
}

#[test]
fn a_segment_that_is_mostly_too_old_is_written_anew_and_windows_stay_few() {
    let dir = tempfile::tempdir().unwrap();
    rules(dir.path(), "[[rule]]\npattern = \"short%\"\nkeep = \"1m:4h, 1h:400d\"\n");
    fill(dir.path(), "short", 0..72);
    fill(dir.path(), "long", 0..2);
    compact_major(dir.path(), &never, &|_, _| ()).unwrap();
    let mut retained = BTreeMap::new();
    for minutes in 0..12 {
        retained.insert(minutes, pass(dir.path(), 72 * HOUR + minutes * 60));
    }
    let snapshot = open(dir.path());
    let left = snapshot.read("short", TimeRange::ALL).unwrap();
    assert!((240..=300).contains(&left.len()), "{}: {retained:?}", left.len());
    assert_eq!(snapshot.read("long", TimeRange::ALL).unwrap().len(), 120);
    let totals = snapshot.ledger().totals;
    assert_eq!(snapshot.stat().dots + totals.expired, totals.stored_other);
    let hours = steps(&snapshot, "short", range(0, 72 * HOUR), HOUR);
    assert_eq!(hours, (0..72).map(|hour| (hour * HOUR, 60, (hour * 60 + 59) as f64)).collect::<Vec<_>>());
    // Hours of whole days have come together.
    let files = std::fs::read_dir(dir.path().join("seg")).unwrap().count();
    assert!(files < 40, "{files}");
    assert!(dotter_store::verify(dir.path()).unwrap().damage.is_empty());
}

/// Dots every ten seconds of a stretch, all 1.
fn fill_tens(dir: &Path, series: &str, seconds: std::ops::Range<u64>) {
    let dot = |second| (SeriesName::new(series).unwrap(), at(second), 1.0);
    dotter_store::add(dir, seconds.step_by(10).map(dot).collect::<Vec<_>>()).unwrap();
}

/// How many dots the minutes of a stretch say they are made of.
fn counted(dir: &Path, series: &str, range: TimeRange) -> u64 {
    steps(&open(dir), series, range, 60).iter().map(|(_, count, _)| count).sum()
}

/// Twelve hours in commits of ten minutes, a pass after each; ten minutes are missing and come at `late`.
fn late_dots_are_counted(late: u64) {
    let dir = tempfile::tempdir().unwrap();
    rules(dir.path(), "[[rule]]\npattern = \"%\"\nkeep = \"raw:2h, 1m:1y\"\n");
    let hole = 5 * HOUR + 40 * 60..5 * HOUR + 50 * 60;
    for from in (0..12 * HOUR).step_by(600) {
        if from != hole.start {
            fill_tens(dir.path(), "a", from..from + 600);
        }
        if from == late {
            fill_tens(dir.path(), "a", hole.clone());
            assert_eq!(counted(dir.path(), "a", range(hole.start, hole.end)), 60 * (late < 6 * HOUR) as u64);
        }
        pass(dir.path(), from + 600);
        if from >= late {
            assert_eq!(counted(dir.path(), "a", range(hole.start, hole.end)), 60, "at {from}");
        }
    }
    let snapshot = open(dir.path());
    let left = snapshot.read("a", range(0, hole.end)).unwrap();
    assert_eq!(left, [], "all of it is old enough to go");
    for hour in 0..12 {
        assert_eq!(counted(dir.path(), "a", range(hour * HOUR, (hour + 1) * HOUR)), 360, "hour {hour}");
    }
}

#[test]
fn late_dots_that_are_younger_than_raw_reach_a_window_that_has_begun_to_expire() {
    // The moment before which dots go is 5:35 by then, in the middle of the hour.
    late_dots_are_counted(7 * HOUR + 30 * 60);
}

#[test]
fn dots_imported_into_a_hole_older_than_raw_reach_the_archive_before_they_go() {
    late_dots_are_counted(9 * HOUR);
}

#[test]
fn a_window_computed_again_under_a_longer_rule_keeps_the_steps_whose_dots_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    rules(dir.path(), "[[rule]]\npattern = \"%\"\nkeep = \"raw:2h, 1m:1y\"\n");
    fill_tens(dir.path(), "a", 0..6 * HOUR);
    pass(dir.path(), 7 * HOUR);
    assert!(pass(dir.path(), 7 * HOUR + 60).dots > 0);
    rules(dir.path(), "[[rule]]\npattern = \"%\"\nkeep = \"raw:7d, 1m:1y\"\n");
    fill_tens(dir.path(), "b", 0..HOUR);
    assert!(pass(dir.path(), 7 * HOUR + 120).archives_made > 0);
    assert_eq!(counted(dir.path(), "a", range(0, HOUR)), 360);
    // The same dots once more are no more dots.
    fill_tens(dir.path(), "a", 0..HOUR);
    pass(dir.path(), 7 * HOUR + 180);
    assert_eq!(counted(dir.path(), "a", range(0, HOUR)), 360);
}

#[test]
fn dots_added_after_their_window_was_made_stay_until_it_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    // More windows than one pass makes; while any rule keeps dots for longer, they are not made fewer.
    let longer = "[[rule]]\npattern = \"none\"\nkeep = \"raw:1y\"\n";
    rules(dir.path(), &format!("{longer}[[rule]]\npattern = \"%\"\nkeep = \"1m:2h, 1h:400d\"\n"));
    let hours = 100;
    let dots = |series: &'static str, hours: std::ops::Range<u64>| {
        let name = SeriesName::new(series).unwrap();
        (hours.start * 60..hours.end * 60).map(move |minute| (name.clone(), at(minute * 60), 1.0))
    };
    dotter_store::add(dir.path(), dots("a", 0..hours).collect::<Vec<_>>()).unwrap();
    let mut now = hours * HOUR;
    while pass(dir.path(), now).archives_made > 0 {
        now += 60;
    }
    for hour in 0..hours {
        dotter_store::add(dir.path(), dots("b", hour..hour + 1).collect::<Vec<_>>()).unwrap();
    }
    let mut gone = 0;
    loop {
        now += 60;
        let retained = pass(dir.path(), now);
        gone += retained.dots;
        let hours = steps(&open(dir.path()), "b", range(0, (hours - 1) * HOUR), HOUR);
        let counted: u64 = hours.iter().map(|(_, count, _)| count).sum();
        let snapshot = open(dir.path());
        // What no window holds yet is still there as dots.
        let dots = snapshot.read("b", TimeRange::ALL).unwrap();
        let held =
            |time: Timestamp| hours.iter().any(|(hour, ..)| at(*hour) <= time && time < at(hour + HOUR));
        let alone = dots.iter().filter(|dot| dot.time < at(99 * HOUR) && !held(dot.time)).count() as u64;
        assert_eq!(counted + alone, 99 * 60, "{retained:?}");
        if retained.archives_made == 0 {
            break;
        }
    }
    assert!(gone > 90 * 60, "{gone}");
}

#[test]
fn all_that_goes_is_announced_where_more_windows_are_due_than_one_pass_makes() {
    let dir = tempfile::tempdir().unwrap();
    rules(dir.path(), "[[rule]]\npattern = \"%\"\nkeep = \"1m:2h, 1h:400d\"\n");
    let name = SeriesName::new("a").unwrap();
    for hours in [0..60, 60..100] {
        let minutes = hours.start * 60..hours.end * 60;
        let dots = minutes.map(|minute| (name.clone(), at(minute * 60), 1.0));
        dotter_store::add(dir.path(), dots.collect::<Vec<_>>()).unwrap();
    }
    let first = pass(dir.path(), 100 * HOUR);
    assert_eq!((first.only_reported, first.archives_made, first.segments), (true, 64, 1));
    let mut removed = 0;
    for minute in 1.. {
        let retained = pass(dir.path(), 100 * HOUR + minute * 60);
        removed += retained.dots;
        if retained.archives_made == 0 {
            break;
        }
    }
    // The newest dot is at 99:59, so all before 97:00 goes.
    assert_eq!(removed, 97 * 60);
    // Of the segment that stays in part it was said as if its dots were even.
    assert!(first.dots.abs_diff(removed) <= 1, "{} were announced", first.dots);
}

#[test]
fn nothing_goes_by_rules_that_were_not_announced() {
    let dir = tempfile::tempdir().unwrap();
    let pass = |retention: &mut Retention, seconds: u64| {
        let machine = Machine { wall: at(seconds), boot: [1; 16], since_boot: Duration::from_secs(seconds) };
        retention.pass(dir.path(), &machine, &never).unwrap()
    };
    rules(dir.path(), "[[rule]]\npattern = \"%\"\nkeep = \"raw:6h\"\n");
    fill(dir.path(), "a", 0..12);
    let mut retention = Retention::default();
    // Of the segment that stays in part it is said as if its dots were even, which may be one more.
    let told = pass(&mut retention, 12 * HOUR);
    assert_eq!((told.only_reported, told.dots), (true, 360));
    let removed = pass(&mut retention, 13 * HOUR);
    assert_eq!((removed.only_reported, removed.dots), (false, 359));
    // Somebody meant a year and wrote an hour.
    rules(dir.path(), "[[rule]]\npattern = \"%\"\nkeep = \"raw:1h\"\n");
    let told = pass(&mut retention, 14 * HOUR);
    assert_eq!((told.only_reported, told.dots), (true, 301));
    // Another process finds files that are younger than the last pass: the test's clock is years behind.
    let mut another = Retention::default();
    let told = pass(&mut another, 15 * HOUR);
    assert_eq!((told.only_reported, told.dots), (true, 301));
    let removed = pass(&mut another, 16 * HOUR);
    assert_eq!((removed.only_reported, removed.dots), (false, 300));
}

#[test]
fn a_process_that_starts_goes_on_by_rules_that_another_has_announced() {
    let dir = tempfile::tempdir().unwrap();
    rules(dir.path(), "[[rule]]\npattern = \"%\"\nkeep = \"raw:2h\"\n");
    fill(dir.path(), "a", 0..6);
    // The files are older than the first pass here, as they are once an hour has gone by.
    let later = Timestamp::now().saturating_add(Duration::from_secs(HOUR));
    for (seconds, only_reported, dots) in [(0, true, 240), (HOUR, false, 239)] {
        let length = Duration::from_secs(seconds);
        let machine = Machine { wall: later.saturating_add(length), boot: [1; 16], since_boot: length };
        let retained = Retention::default().pass(dir.path(), &machine, &never).unwrap();
        assert_eq!((retained.only_reported, retained.dots), (only_reported, dots));
    }
}

#[test]
fn a_first_look_that_was_given_up_is_followed_by_another_first_look() {
    let dir = tempfile::tempdir().unwrap();
    rules(dir.path(), "[[rule]]\npattern = \"%\"\nkeep = \"raw:2h\"\n");
    fill(dir.path(), "a", 0..6);
    let machine = Machine { wall: at(6 * HOUR), boot: [1; 16], since_boot: Duration::from_secs(HOUR) };
    assert!(retain(dir.path(), &machine, &|| true).is_err());
    assert!(pass(dir.path(), 7 * HOUR).only_reported);
    assert!(!pass(dir.path(), 8 * HOUR).only_reported);
}

/// Sixty hours, a commit, compaction and a pass each: four series that are kept for two hours, and for four in
/// minutes, among five that `long` keeps.
fn what_a_rule_says_holds_for_a_minority_too(long: &str) {
    let dir = tempfile::tempdir().unwrap();
    let rule = |pattern: &str, keep: &str| format!("[[rule]]\npattern = \"{pattern}\"\nkeep = \"{keep}\"\n");
    rules(dir.path(), &(rule("short.%", "raw:2h, 1m:4h") + &rule("long.%", long)));
    let names: Vec<SeriesName> = (0..9)
        .map(|n| SeriesName::new(&format!("{}.{n}", if n < 4 { "short" } else { "long" })).unwrap())
        .collect();
    let mut retention = Retention::default();
    let mut pass = |seconds: u64| {
        let machine = Machine { wall: at(seconds), boot: [1; 16], since_boot: Duration::from_secs(seconds) };
        retention.pass(dir.path(), &machine, &never).unwrap();
        while retention.compact(dir.path(), &never).unwrap() {}
    };
    let hours = 60;
    for hour in 0..hours {
        let minutes = hour * 60..(hour + 1) * 60;
        let dots =
            minutes.flat_map(|minute| names.iter().map(move |name| (name.clone(), at(minute * 60), 1.0)));
        dotter_store::add(dir.path(), dots.collect::<Vec<_>>()).unwrap();
        pass((hour + 1) * HOUR + 1000);
    }
    let oldest = |series: &str| {
        let dots = open(dir.path()).read(series, TimeRange::ALL).unwrap();
        (dots[0].time.nanos() / 1_000_000_000 - START) / HOUR
    };
    let check_ledger = || {
        let snapshot = open(dir.path());
        let (stat, totals) = (snapshot.stat(), snapshot.ledger().totals);
        assert_eq!(stat.dots + totals.expired, totals.stored_other);
    };
    // No more than two hours, and a day in which a segment may wait to be written anew.
    assert!(oldest("short.0") >= hours - 2 - 24 - 1, "dots of hour {} are still there", oldest("short.0"));
    let kept_steps = |until: u64| counted(dir.path(), "short.0", range(0, until * HOUR));
    assert_eq!(kept_steps(hours - 4 - 24 - 1), 0, "steps that were kept for four hours are still there");
    check_ledger();
    let long_before = counted(dir.path(), "long.5", range(0, hours * HOUR));
    let progress = |_, _| ();
    retention.compact_major(dir.path(), &never, &progress).unwrap();
    assert!(oldest("short.0") >= hours - 3, "dots of hour {} are still there", oldest("short.0"));
    assert_eq!(kept_steps(hours - 5), 0);
    assert_eq!(counted(dir.path(), "long.5", range(0, hours * HOUR)), long_before);
    assert_eq!(long_before, hours * 60);
    check_ledger();
    assert!(dotter_store::verify(dir.path()).unwrap().damage.is_empty());
}

#[test]
fn a_minority_of_a_segment_goes_when_its_rule_says() {
    what_a_rule_says_holds_for_a_minority_too("raw:1y, 1m:2y");
}

#[test]
fn of_an_archive_that_two_rules_share_each_series_goes_by_its_own() {
    what_a_rule_says_holds_for_a_minority_too("raw:2h, 1m:1y");
}

#[test]
fn merges_leave_out_what_is_too_old_only_when_a_pass_was_allowed_to_remove_it() {
    let dir = tempfile::tempdir().unwrap();
    rules(dir.path(), "[[rule]]\npattern = \"short%\"\nkeep = \"raw:2h, 1m:1y\"\n");
    for hour in 0..6 {
        fill(dir.path(), "short", hour..hour + 1);
        fill(dir.path(), "long", hour..hour + 1);
    }
    let pass = |retention: &mut Retention, seconds: u64| {
        let machine = Machine { wall: at(seconds), boot: [1; 16], since_boot: Duration::from_secs(seconds) };
        retention.pass(dir.path(), &machine, &never).unwrap()
    };
    let major =
        |retention: &Retention| retention.compact_major(dir.path(), &never, &|_, _| ()).unwrap().expired;
    let mut retention = Retention::default();
    assert!(pass(&mut retention, 6 * HOUR).only_reported);
    assert_eq!(major(&retention), 0, "it was only announced");
    assert_eq!(pass(&mut retention, 7 * HOUR).dots, 239);
    // Late dots that no archive has yet stay.
    fill(dir.path(), "short.late", 1..2);
    fill(dir.path(), "short.late", 5..6);
    assert_eq!(major(&retention), 0);
    assert_eq!(open(dir.path()).read("short.late", TimeRange::ALL).unwrap().len(), 120);
    assert_eq!(pass(&mut retention, 7 * HOUR + 60).dots, 60);
    fill(dir.path(), "short.few", 3..6);
    // Rules that have changed since are not those that were announced.
    rules(dir.path(), "[[rule]]\npattern = \"%\"\nkeep = \"raw:1y\"\n");
    assert_eq!(major(&retention), 0);
    rules(dir.path(), "[[rule]]\npattern = \"short%\"\nkeep = \"raw:2h, 1m:1y\"\n");
    pass(&mut retention, 7 * HOUR + 120);
    assert_eq!(major(&retention), 0);
    assert_eq!(pass(&mut retention, 7 * HOUR + 180).dots, 59);
    // A minority of a file is too old: it waits for a merge.
    fill_tens(dir.path(), "short.more", 3 * HOUR..6 * HOUR);
    assert_eq!(pass(&mut retention, 7 * HOUR + 240).dots, 0);
    assert_eq!(major(&retention), 59 * 6);
    assert_eq!(open(dir.path()).ledger().totals.expired, 239 + 60 + 59 + 59 * 6);
    assert_eq!(counted(dir.path(), "short.more", range(0, 6 * HOUR)), 3 * 360);
    assert_eq!(counted(dir.path(), "short", range(0, 6 * HOUR)), 360);
    assert_eq!(counted(dir.path(), "short.late", range(0, 6 * HOUR)), 120);
    assert_eq!(counted(dir.path(), "short.few", range(0, 6 * HOUR)), 180);
}

#[test]
fn the_first_dots_of_a_store_go_though_their_step_begins_in_the_month_before() {
    let dir = tempfile::tempdir().unwrap();
    rules(dir.path(), "[[rule]]\npattern = \"%\"\nkeep = \"raw:6h, 1w:9y\"\n");
    // The second of April; its week began in March.
    fill(dir.path(), "a", 18 * 24..18 * 24 + 1);
    fill(dir.path(), "a", 36 * 24..36 * 24 + 1);
    pass(dir.path(), 37 * DAY);
    assert_eq!(pass(dir.path(), 37 * DAY + 60).dots, 60);
    assert_eq!(steps(&open(dir.path()), "a", range(13 * DAY, 20 * DAY), 7 * DAY)[0].1, 60);
}
