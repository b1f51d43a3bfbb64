//! Renaming a series: its rows have another name and are otherwise what they were, whoever commits meanwhile and
//! wherever it is killed.

mod support;
mod trial;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use dotter_dot::{Cell, Dots, NamedDots, SeriesName, Shape, TimeRange, Timestamp};
use dotter_store::disk::{self, Disk};
use dotter_store::{
    Deletion, Error, LaneRecords, Pattern, Reader, Renamed, RingPart, Transaction, Writer, add, compact,
    compact_major, delete, rename, seal_all, verify,
};
use support::{Random, SHAPES, incarnation, push, row, rows, shape};
use trial::{Fault, Trial};

const HOUR: u64 = 3_600_000_000_000;

fn never() -> bool {
    false
}

fn name(text: &str) -> SeriesName {
    SeriesName::new(text).unwrap()
}

fn call(dir: &Path, old: &str, new: &str) -> Result<Renamed, Error> {
    rename(dir, &name(old), &name(new), &never, &|| ())
}

/// Everything of a series.
fn all(dir: &Path, series: &str) -> Vec<(u64, bool, Shape, Vec<u8>)> {
    rows(&mut Reader::open(dir).unwrap().snapshot().scan(), series, TimeRange::ALL)
}

fn deletion(pattern: &str, range: TimeRange) -> Deletion {
    Deletion { pattern: Pattern::new(pattern), first_key: None, last_key: None, range }
}

/// Nothing is damaged, and every dot that was stored is there or has been counted.
#[track_caller]
fn check(dir: &Path, stored: u64) {
    let damage = verify(dir).unwrap().damage;
    assert!(damage.is_empty(), "{damage:?}");
    let snapshot = Reader::open(dir).unwrap().snapshot();
    let (stat, totals) = (snapshot.stat(), snapshot.ledger().totals);
    let gone = totals.replaced + totals.deleted + totals.expired + totals.damaged;
    assert_eq!(stat.dots + gone, stored + totals.renamed, "{totals:?}");
}

/// Commits dots of some series in a way of chance; returns how many.
fn commit(dir: &Path, random: &mut Random, writer: &mut Option<Writer>, names: &[&str]) -> u64 {
    let count = 1 + random.below(60);
    let of = names[random.below(names.len() as u64) as usize];
    let begin = random.below(40) * HOUR + random.below(8);
    let number = random.below(SHAPES);
    let (clock, spread) = (random.below(2) == 0, 1 + random.below(HOUR / 4));
    let times: Vec<u64> = (0..count).map(|n| begin + n / 3 * spread).collect();
    if random.below(3) == 0 {
        let mut dots = NamedDots::default();
        let shape = shape(number);
        for time in &times {
            let (bytes, time) = (row(number, random.word()), Timestamp::from_nanos(*time));
            let word = || u64::from_le_bytes(bytes.clone().try_into().unwrap());
            let cell = shape.word().map_or(Cell::Row(&bytes), |_| Cell::Word(word()));
            dots.push(&name(of), &shape, time, cell);
        }
        add(dir, dots).unwrap();
        return count;
    }
    let writer = writer.get_or_insert_with(|| Writer::open_with(dir, 8 << 10).unwrap());
    let key = writer.series(&name(of), &shape(number));
    let mut dots = Dots::default();
    times.iter().for_each(|time| push(&mut dots, key, number, clock, *time, random.word()));
    let first = writer.ledger().next(incarnation(1), 0);
    let lanes = [LaneRecords { first, next: first + count, ..LaneRecords::default() }];
    let ring = RingPart { incarnation: incarnation(1), application: "app", ..RingPart::default() };
    writer.append(&Transaction { ring: Some(ring), lanes: &lanes, dots: &dots }).unwrap();
    writer.sync().unwrap();
    count
}

/// Changes nothing of what is read.
fn work(dir: &Path, random: &mut Random, writer: &mut Option<Writer>) {
    match random.below(6) {
        0 => *writer = None,
        1 => _ = seal_all(dir, &never).unwrap(),
        2 => _ = compact(dir, &never).unwrap(),
        3 => _ = compact_major(dir, &never, &|_, _| ()).unwrap(),
        _ => {}
    }
}

/// Shows P40. `DOTTER_SEED` repeats a run.
#[test]
fn rows_of_every_kind_keep_everything_but_their_name() {
    let mut random = Random::from_env();
    let mut places = 0;
    for _ in 0..25 {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let mut writer = None;
        let mut stored = 0;
        for _ in 0..1 + random.below(30) {
            stored += commit(dir, &mut random, &mut writer, &["a", "a%", "ab"]);
            work(dir, &mut random, &mut writer);
            if random.below(6) == 0 {
                let from = random.below(40) * HOUR;
                let range = TimeRange::new(Timestamp::from_nanos(from), Timestamp::from_nanos(from + HOUR));
                delete(dir, &deletion("a%", range)).unwrap();
            }
        }
        let mut reader = Reader::open(dir).unwrap();
        let before = ["a", "a%", "ab"].map(|series| all(dir, series));
        let shape = reader.snapshot().shape("a%").unwrap();
        // A percent sign is a character like any other here.
        match call(dir, "a%", "new") {
            Err(Error::NoSeries(_)) => {
                assert!(before[1].is_empty());
                continue;
            }
            Err(error) => panic!("{error}"),
            Ok(renamed) => {
                assert_eq!(renamed.rows, before[1].len() as u64);
                places += renamed.segments - 1;
            }
        }
        reader.refresh(None).unwrap();
        for _ in 0..5 {
            for snapshot in [reader.snapshot(), Reader::open(dir).unwrap().snapshot()] {
                let mut scan = snapshot.scan();
                for (series, rows_before) in [("a", &before[0]), ("a%", &Vec::new()), ("ab", &before[2])] {
                    assert!(rows(&mut scan, series, TimeRange::ALL) == *rows_before, "{series}");
                }
                assert!(rows(&mut scan, "new", TimeRange::ALL) == before[1]);
                assert!(!snapshot.contains("a%") && snapshot.contains("new"));
                assert_eq!(snapshot.shape("new").unwrap(), shape);
            }
            check(dir, stored);
            work(dir, &mut random, &mut writer);
            reader.refresh(None).unwrap();
        }
    }
    assert!(places > 0, "some have rows in several places");
}

#[test]
fn rows_that_the_new_name_has_stay_and_of_equal_times_the_renamed_one_counts() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let put = |series: &str, time: u64, value: f64| {
        add(dir, vec![(name(series), Timestamp::from_nanos(time), value)]).unwrap();
    };
    put("old", 1, 1.0);
    put("old", 2, 2.0);
    put("new", 2, 20.0);
    put("new", 3, 30.0);
    assert_eq!(call(dir, "old", "new").unwrap(), Renamed { rows: 2, segments: 1 });
    let read = |series: &str| -> Vec<(u64, f64)> {
        let dots = Reader::open(dir).unwrap().snapshot().read(series, TimeRange::ALL).unwrap();
        dots.iter().map(|dot| (dot.time.nanos(), dot.value)).collect()
    };
    assert_eq!(read("new"), [(1, 1.0), (2, 2.0), (3, 30.0)]);
    // What comes later comes to the old name, and a second rename joins it.
    put("old", 1, 100.0);
    put("new", 3, 300.0);
    assert_eq!((read("old"), read("new").len()), (vec![(1, 100.0)], 3));
    call(dir, "old", "new").unwrap();
    assert_eq!((read("old"), read("new")), (vec![], vec![(1, 100.0), (2, 2.0), (3, 300.0)]));
    call(dir, "new", "old").unwrap();
    assert_eq!((read("old"), read("new")), (vec![(1, 100.0), (2, 2.0), (3, 300.0)], vec![]));
    compact_major(dir, &never, &|_, _| ()).unwrap();
    assert_eq!(read("old"), [(1, 100.0), (2, 2.0), (3, 300.0)]);
    check(dir, 6);
}

/// A store with a row in a segment and one in the open file of the log, which the writer goes on with.
fn with_log(dir: &Path) -> Writer {
    add(dir, vec![(name("old"), Timestamp::from_nanos(1), 1.0)]).unwrap();
    let mut writer = Writer::open(dir).unwrap();
    log(&mut writer, 2);
    writer
}

fn log(writer: &mut Writer, time: u64) {
    let key = writer.series(&name("old"), &Shape::number());
    let mut dots = Dots::default();
    dots.push_number(key, false, Timestamp::from_nanos(time), 1.0);
    writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).unwrap();
    writer.sync().unwrap();
}

fn times(dir: &Path, series: &str) -> Vec<u64> {
    all(dir, series).iter().map(|row| row.0).collect()
}

/// Shows P40. The log is sealed while rows are copied, beyond where the rename stands.
#[test]
fn what_stands_behind_the_mark_stays_though_it_is_sealed_before_the_copies_are_listed() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().to_owned();
    let mut writer = with_log(&dir);
    let meanwhile = {
        let dir = dir.clone();
        move || {
            log(&mut writer, 3);
            writer.close_file().unwrap();
            log(&mut writer, 4);
            seal_all(&dir, &never).unwrap();
            add(&dir, vec![(name("old"), Timestamp::from_nanos(5), 1.0)]).unwrap();
            add(&dir, vec![(name("new"), Timestamp::from_nanos(2), 7.0)]).unwrap();
        }
    };
    let renamed = support::amid(meanwhile, || call(&dir, "old", "new")).unwrap();
    assert_eq!(renamed, Renamed { rows: 2, segments: 1 });
    for _ in 0..2 {
        assert_eq!((times(&dir, "old"), times(&dir, "new")), (vec![3, 4, 5], vec![1, 2]));
        let dots = Reader::open(&dir).unwrap().snapshot().read("new", TimeRange::ALL).unwrap();
        assert_eq!(dots[1].value, 7.0, "it was committed behind the mark");
        drop(Writer::open(&dir).unwrap());
        seal_all(&dir, &never).unwrap();
        compact_major(&dir, &never, &|_, _| ()).unwrap();
    }
    check(&dir, 6);
}

#[test]
fn a_series_that_is_deleted_meanwhile_is_not_brought_back_under_the_new_name() {
    for pattern in ["old", "%"] {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().to_owned();
        let mut writer = with_log(&dir);
        let meanwhile = {
            let (dir, deletion) = (dir.clone(), deletion(pattern, TimeRange::ALL));
            move || {
                delete(&dir, &deletion).unwrap();
                log(&mut writer, 9);
            }
        };
        let renamed = support::amid(meanwhile, || call(&dir, "old", "new")).unwrap();
        assert_eq!((renamed.rows, times(&dir, "new")), (1, vec![9]), "{pattern}");
        assert_eq!(times(&dir, "old"), []);
        check(&dir, 3);
    }
}

#[test]
fn what_cannot_be_renamed_is_refused_and_nothing_changes() {
    let dir = tempfile::tempdir().unwrap();
    let missing = call(dir.path(), "a", "b");
    assert!(matches!(missing, Err(Error::NoStore(_))), "{missing:?}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    let dir = dir.path();
    add(dir, vec![(name("a"), Timestamp::from_nanos(1), 1.0)]).unwrap();
    add(dir, vec![(name("gone"), Timestamp::from_nanos(1), 1.0)]).unwrap();
    delete(dir, &deletion("gone", TimeRange::ALL)).unwrap();
    let generation = Reader::open(dir).unwrap().snapshot().generation();
    assert!(matches!(call(dir, "a", "a"), Err(Error::SameName(_))));
    assert!(matches!(call(dir, "b", "c"), Err(Error::NoSeries(_))));
    assert!(matches!(call(dir, "gone", "c"), Err(Error::NoSeries(_))));
    let stopped = rename(dir, &name("a"), &name("b"), &|| true, &|| ());
    assert!(matches!(stopped, Err(Error::GivenUp)), "{stopped:?}");
    assert_eq!(all(dir, "a").len(), 1);
    assert!(Reader::open(dir).unwrap().snapshot().generation() <= generation + 1, "at most its mark");
    // A segment that cannot be opened may have rows that would stay behind.
    let first = fs::read_dir(dir.join("seg")).unwrap().map(|entry| entry.unwrap().path());
    for path in first {
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    }
    assert!(call(dir, "a", "b").is_err());
}

/// Shows P40. Processes that commit to the old name all the time, through the log and with segments of their own.
#[test]
fn rows_that_come_meanwhile_have_one_of_both_names_and_are_there_once() {
    const RENAMES: usize = 12;
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mut writer = Writer::open_with(dir, 8 << 10).unwrap();
    add(dir, vec![(name("old"), Timestamp::from_nanos(0), 0.0)]).unwrap();
    let is_over = AtomicBool::new(false);
    let (logged, added, renamed) = std::thread::scope(|scope| {
        let log = scope.spawn(|| {
            let mut count = 0_u64;
            while !is_over.load(SeqCst) {
                count += 1;
                let key = writer.series(&name("old"), &Shape::number());
                let mut dots = Dots::default();
                dots.push_number(key, false, Timestamp::from_nanos(2 * count), 1.0);
                writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).unwrap();
                writer.sync().unwrap();
            }
            count
        });
        let foreign = scope.spawn(|| {
            let mut count = 0_u64;
            while !is_over.load(SeqCst) {
                count += 1;
                add(dir, vec![(name("old"), Timestamp::from_nanos(2 * count + 1), 1.0)]).unwrap();
            }
            count
        });
        let upkeep = scope.spawn(|| {
            while !is_over.load(SeqCst) {
                seal_all(dir, &never).unwrap();
                match compact(dir, &never) {
                    Ok(_) | Err(Error::Locked(_) | Error::GivenUp) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
        let mut renamed = 0;
        let mut tries = 0;
        while tries < RENAMES {
            match call(dir, "old", "new") {
                Ok(Renamed { rows, .. }) => (renamed, tries) = (renamed + rows, tries + 1),
                // Nothing has come since the last one.
                Err(Error::NoSeries(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        is_over.store(true, SeqCst);
        upkeep.join().unwrap();
        (log.join().unwrap(), foreign.join().unwrap(), renamed)
    });
    let (old, new) = (times(dir, "old"), times(dir, "new"));
    assert!(new.len() as u64 == renamed && renamed > 0, "{renamed}");
    let mut both = [old, new].concat();
    both.sort_unstable();
    let mut expected: Vec<u64> = (0..=logged).map(|n| 2 * n).chain((1..=added).map(|n| 2 * n + 1)).collect();
    expected.sort_unstable();
    assert!(both == expected, "{} rows, expected {}", both.len(), expected.len());
    drop(writer);
    check(dir, expected.len() as u64);
    compact_major(dir, &never, &|_, _| ()).unwrap();
    check(dir, expected.len() as u64);
    println!("{logged} through the log, {added} beside it, {renamed} renamed");
}

/// Shows P40. Killed at each step on the disk in turn, and with a power cut then.
#[test]
fn a_rename_that_is_killed_has_happened_or_not() {
    let mut random = Random::from_env();
    let seed = random.word();
    let (mut done, mut undone) = (0, 0);
    for step in 0.. {
        let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let (dir, cut) = (root.path().join("store"), root.path().join("cut"));
        let disk = Arc::new(Trial::new(Fault::Later));
        let (before, outcome) = disk::on(disk.clone() as Arc<dyn Disk>, || {
            prepare(&dir, &mut Random::new(seed));
            let before = all(&dir, "old");
            disk.dies_in(step);
            (before, call(&dir, "old", "new"))
        });
        let mut look = |dir: &Path, when: &str| {
            let (old, new) = (all(dir, "old"), all(dir, "new"));
            let is_done = old.is_empty();
            assert!((if is_done { &new } else { &old }) == &before, "step {step}, {when}");
            assert!(is_done || new.is_empty(), "step {step}, {when}");
            assert!(is_done || outcome.is_err(), "step {step}, {when}: it was said to be done");
            if is_done { done += 1 } else { undone += 1 }
        };
        look(&dir, "at once");
        disk.cut(&dir, &cut, &mut |below| random.below(below));
        disk::in_boot([9; 16], || {
            look(&cut, "after a power cut");
            drop(Writer::open(&cut).unwrap());
            seal_all(&cut, &never).unwrap();
            look(&cut, "after a power cut, and the log was sealed");
        });
        // A second one does what is left.
        match call(&dir, "old", "new") {
            Ok(renamed) => assert_eq!(renamed.rows, before.len() as u64),
            Err(error) => assert!(matches!(error, Error::NoSeries(_)), "step {step}: {error}"),
        }
        assert!(all(&dir, "old").is_empty() && all(&dir, "new") == before, "step {step}");
        if outcome.is_ok() {
            break;
        }
    }
    assert!(done > 3 && undone > 30, "{done} {undone}");
}

/// Rows in the log, in a segment of level 0, and in several places of higher levels.
fn prepare(dir: &Path, random: &mut Random) {
    let mut writer = None;
    for count in 0..12 {
        commit(dir, random, &mut writer, &["old", "other"]);
        if count == 8 {
            writer = None;
            seal_all(dir, &never).unwrap();
            compact_major(dir, &never, &|_, _| ()).unwrap();
        }
    }
    add(dir, vec![(name("old"), Timestamp::from_nanos(7), 1.0)]).unwrap();
}
