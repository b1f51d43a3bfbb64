//! Where a series has steps instead of dots: every dot that has gone lies there, and nothing is told of what is deleted.

use std::path::Path;
use std::time::Duration;

use dotter_dot::{SeriesName, TimeRange, Timestamp};
use dotter_store::{
    Deletion, Limits, Machine, Pattern, Reader, Snapshot, Stepped, Writer, add, compact_major, delete,
    retain, take_rules,
};

const HOUR: u64 = 3_600;
/// Midnight.
const START: u64 = 1_710_460_800;
const NAME: &str = "a.b";

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(START + seconds).unwrap()
}

fn range(from: u64, until: u64) -> TimeRange {
    TimeRange::new(at(from), at(until))
}

fn open(dir: &Path) -> Snapshot {
    Reader::open(dir).unwrap().snapshot()
}

/// A pass each half hour, from one hour after the start to another.
fn live_through(dir: &Path, hours: std::ops::Range<u64>) {
    for seconds in (hours.start * HOUR..hours.end * HOUR).step_by(1_800) {
        let machine = Machine { wall: at(seconds), boot: [1; 16], since_boot: Duration::from_secs(seconds) };
        retain(dir, &machine, &Limits::default(), &|| false).unwrap();
    }
}

/// A dot a minute for twelve hours, kept as `keep` says.
fn store(keep: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let rule = format!("[[rule]]\npattern = \"a%\"\nkeep = \"{keep}\"\n");
    std::fs::write(dir.path().join("retention.toml"), rule).unwrap();
    drop(Writer::open(dir.path()).unwrap());
    assert!(take_rules(dir.path()).unwrap().changed);
    let name = SeriesName::new(NAME).unwrap();
    let dots: Vec<_> = (0..12 * 60).map(|minute| (name.clone(), at(minute * 60), minute as f64)).collect();
    add(dir.path(), dots).unwrap();
    compact_major(dir.path(), &|| false, &|_, _| ()).unwrap();
    dir
}

fn stepped(snapshot: &Snapshot) -> Vec<Stepped> {
    snapshot.stepped(NAME).unwrap()
}

#[test]
fn every_dot_that_has_gone_lies_where_there_are_steps() {
    let dir = store("1m:6h, 10m:2d, 1h:30d");
    assert_eq!(stepped(&open(dir.path())), []);
    let mut widths = Vec::new();
    for hours in (0..96).step_by(4) {
        live_through(dir.path(), hours..hours + 4);
        let snapshot = open(dir.path());
        let found = stepped(&snapshot);
        assert!(found.is_sorted_by_key(|stepped| stepped.step));
        let dots = snapshot.read(NAME, TimeRange::ALL).unwrap();
        for minute in 0..12 * 60 {
            let time = at(minute * 60);
            let is_there = dots.iter().any(|dot| dot.time == time);
            let is_stepped = found.iter().any(|stepped| stepped.range.contains(time));
            assert!(is_there != is_stepped, "minute {minute} after {hours} hours: {found:?}");
        }
        for Stepped { step, range } in &found {
            let step = step.as_nanos() as u64;
            assert!(range.from.nanos() % step == 0 && range.until.nanos() % step == 0 && !range.is_empty());
        }
        let new: Vec<u64> = found.iter().map(|stepped| stepped.step.as_secs()).collect();
        if widths.last() != Some(&new) {
            widths.push(new);
        }
    }
    assert_eq!(widths, [vec![], vec![600], vec![600, HOUR], vec![HOUR]]);
    assert_eq!(open(dir.path()).stepped("nosuch").unwrap(), []);
}

#[test]
fn what_is_deleted_has_no_steps() {
    let dir = store("1m:6h, 10m:30d");
    live_through(dir.path(), 0..48);
    let all = Stepped { step: Duration::from_secs(600), range: range(0, 12 * HOUR) };
    assert_eq!(stepped(&open(dir.path())), [all]);
    let hide = |from: u64, until: u64| {
        let range = range(from, until);
        let deletion = Deletion { pattern: Pattern::new(NAME), first_key: None, last_key: None, range };
        delete(dir.path(), &deletion).unwrap();
    };
    // A part of a chunk tells nothing; once it is rewritten the rest begins later.
    hide(0, 3 * HOUR);
    assert_eq!(stepped(&open(dir.path()))[0].range.until, at(12 * HOUR));
    compact_major(dir.path(), &|| false, &|_, _| ()).unwrap();
    assert_eq!(stepped(&open(dir.path())), [Stepped { range: range(3 * HOUR, 12 * HOUR), ..all }]);
    hide(3 * HOUR, 12 * HOUR);
    assert_eq!(stepped(&open(dir.path())), []);
}
