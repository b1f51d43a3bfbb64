//! Deletes: hidden at once, for good, whoever looks and whatever is damaged; bounded; and one compaction at a time.

use std::fs::{self, File};
use std::path::Path;

use dotter_dot::{SeriesName, TimeRange, Timestamp};
use dotter_store::{
    Deletion, Error, FullOf, Pattern, Reader, TOMBSTONES_MAX, Writer, add, compact, compact_major, delete,
};

fn never() -> bool {
    false
}

fn put(dir: &Path, name: &str, times: std::ops::Range<u64>) {
    let dot = |time| (SeriesName::new(name).unwrap(), Timestamp::from_nanos(time), time as f64);
    add(dir, times.map(dot).collect::<Vec<_>>()).unwrap();
}

fn deletion(pattern: &str, times: std::ops::Range<u64>) -> Deletion {
    let range = TimeRange::new(Timestamp::from_nanos(times.start), Timestamp::from_nanos(times.end));
    Deletion { pattern: Pattern::new(pattern), first_key: None, last_key: None, range }
}

fn times(dir: &Path, name: &str) -> Vec<u64> {
    let snapshot = Reader::open(dir).unwrap().snapshot();
    snapshot.read(name, TimeRange::ALL).unwrap().iter().map(|dot| dot.time.nanos()).collect()
}

#[test]
fn a_damaged_manifest_forgets_no_delete() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "a", 0..10);
    delete(dir.path(), &deletion("a", 2..9)).unwrap();
    fs::write(dir.path().join("MANIFEST"), "rubbish").unwrap();
    assert_eq!(times(dir.path(), "a"), [0, 1, 9]);
    put(dir.path(), "a", 5..6);
    assert_eq!(times(dir.path(), "a"), [0, 1, 5, 9]);
}

#[test]
fn a_reader_that_is_open_sees_it_when_it_looks() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "a", 0..10);
    put(dir.path(), "b", 0..10);
    let mut reader = Reader::open(dir.path()).unwrap();
    let before = reader.snapshot();
    delete(dir.path(), &deletion("a", 0..u64::MAX)).unwrap();
    assert!(reader.refresh(None).unwrap());
    let after = reader.snapshot();
    assert!(!after.contains("a") && after.contains("b"));
    assert_eq!(before.read("a", TimeRange::ALL).unwrap().len(), 10, "a snapshot stays what it was");
    compact_major(dir.path(), &never, &|_, _| ()).unwrap();
    assert!(reader.refresh(None).unwrap());
    assert_eq!(reader.snapshot().ledger().totals.deleted, 10);
}

#[test]
fn there_are_never_too_many_and_compaction_makes_room() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "a", 0..TOMBSTONES_MAX as u64 * 2 + 10);
    for number in 0..TOMBSTONES_MAX as u64 {
        delete(dir.path(), &deletion("a", number * 2..number * 2 + 1)).unwrap();
    }
    let one_more = deletion("a", 3000..3001);
    let error = delete(dir.path(), &one_more).unwrap_err();
    assert!(
        matches!(error, Error::TooManyDeletions { of: FullOf::OneName, count: TOMBSTONES_MAX }),
        "{error}"
    );
    assert!(error.to_string().contains("compact"));
    // Where nothing is to be merged, what waits to be purged is reason enough.
    assert!(compact(dir.path(), &never).unwrap());
    delete(dir.path(), &one_more).unwrap();
    assert_eq!(times(dir.path(), "a").len(), TOMBSTONES_MAX + 10);
    // One that says all of the others takes their place.
    delete(dir.path(), &deletion("%", 0..u64::MAX)).unwrap();
    assert_eq!(times(dir.path(), "a"), []);
}

/// What is left of so many series `s.N` with a dot each, as whoever opens the store sees it.
fn left(reader: &Reader) -> Vec<String> {
    let snapshot = reader.snapshot();
    let names: Vec<String> = snapshot.series().map(|name| name.as_str().to_owned()).collect();
    assert!(names.iter().all(|name| snapshot.contains(name)));
    names
}

#[test]
fn series_are_deleted_one_by_one_while_the_log_is_live() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let dot = |number: u64| (SeriesName::new(&format!("s.{number}")).unwrap(), Timestamp::from_nanos(9), 1.0);
    let writer = Writer::open(dir).unwrap();
    add(dir, (0..1200).map(dot).collect::<Vec<_>>()).unwrap();
    let mut open = Reader::open(dir).unwrap();
    assert_eq!(left(&open).len(), 1200);
    for number in 0..1100 {
        delete(dir, &deletion(&format!("s.{number}"), 0..u64::MAX)).unwrap();
    }
    open.refresh(None).unwrap();
    let mut expected: Vec<String> = (1100..1200).map(|number| format!("s.{number}")).collect();
    expected.sort();
    for reader in [&open, &Reader::open(dir).unwrap()] {
        assert_eq!(left(reader), expected);
        assert_eq!(reader.snapshot().stat().tombstones, 1100);
    }
    drop(writer);
    compact_major(dir, &never, &|_, _| ()).unwrap();
    open.refresh(None).unwrap();
    for reader in [&open, &Reader::open(dir).unwrap()] {
        assert_eq!(left(reader), expected);
        assert_eq!(reader.snapshot().ledger().totals.deleted, 1100);
    }
}

#[test]
fn patterns_have_a_limit_and_names_need_none_of_their_room() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "a", 0..3);
    for number in 0..TOMBSTONES_MAX {
        delete(dir.path(), &deletion(&format!("{number}.%"), 0..9)).unwrap();
    }
    let error = delete(dir.path(), &deletion("b%", 0..9)).unwrap_err();
    assert!(
        matches!(error, Error::TooManyDeletions { of: FullOf::Patterns, count: TOMBSTONES_MAX }),
        "{error}"
    );
    assert!(error.to_string().contains("delete series by their names"), "{error}");
    delete(dir.path(), &deletion("a", 0..2)).unwrap();
    assert_eq!(times(dir.path(), "a"), [2]);
}

#[test]
fn a_percent_sign_in_a_name_can_be_said() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let names = ["disk.used%", "disk.used.total", "disk.used%x", r"disk\used"];
    names.iter().for_each(|name| put(dir, name, 0..2));
    let matching = |pattern: &str| -> Vec<String> {
        let found = Reader::open(dir).unwrap().snapshot().matching(&Pattern::new(pattern));
        found.iter().map(|name| name.as_str().to_owned()).collect()
    };
    assert_eq!(matching(r"disk.used\%"), ["disk.used%"]);
    assert_eq!(matching(r"disk.used\%%"), ["disk.used%", "disk.used%x"]);
    assert_eq!(matching(r"disk\used"), [r"disk\used"]);
    assert_eq!(matching(r"disk\\used"), [r"disk\used"]);
    delete(dir, &deletion(r"disk.used\%", 0..9)).unwrap();
    assert_eq!(matching("%"), ["disk.used%x", "disk.used.total", r"disk\used"]);
    delete(dir, &deletion(r"disk\used", 0..9)).unwrap();
    assert_eq!(matching("%"), ["disk.used%x", "disk.used.total"]);
    // A name as long as names may be, of which each letter is escaped.
    let long = "%".repeat(dotter_dot::NAME_BYTES_MAX);
    put(dir, &long, 0..2);
    delete(dir, &deletion(Pattern::exactly(&long).as_str(), 0..9)).unwrap();
    assert_eq!(matching("%"), ["disk.used%x", "disk.used.total"]);
    let error = delete(dir, &deletion(&"%".repeat(9000), 0..9)).unwrap_err();
    assert!(matches!(error, Error::Key { bytes: 9000 }), "{error}");
}

#[test]
fn nothing_happens_where_there_is_nothing_to_do_and_wrong_keys_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(delete(dir.path(), &deletion("%", 0..9)), Err(Error::NoStore(_))));
    put(dir.path(), "a", 0..3);
    let generation = || Reader::open(dir.path()).unwrap().snapshot().generation();
    let before = generation();
    delete(dir.path(), &deletion("%", 9..9)).unwrap();
    let keys = (Some("b".to_owned()), Some("a".to_owned()));
    delete(dir.path(), &Deletion { first_key: keys.0, last_key: keys.1, ..deletion("%", 0..9) }).unwrap();
    assert_eq!(generation(), before);
    let long = "x".repeat(5000);
    let error = delete(dir.path(), &deletion(&long, 0..9)).unwrap_err();
    assert!(matches!(error, Error::Key { bytes: 5000 }), "{error}");
}

#[test]
fn one_compaction_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "a", 0..3);
    let lock = File::create(dir.path().join("COMPACT.lock")).unwrap();
    lock.lock().unwrap();
    assert!(matches!(compact(dir.path(), &never), Err(Error::Locked(_))));
    assert!(matches!(compact_major(dir.path(), &never, &|_, _| ()), Err(Error::Locked(_))));
    drop(lock);
    assert!(!compact(dir.path(), &never).unwrap());
}
