//! Series ids that outlive a WAL file: what the log declares once, and names files for what it declares no more.

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use dotter_dot::{Dots, Incarnation, Kind, SeriesName, Shape, TimeRange, Timestamp};
use dotter_store::disk::{self, Disk};
use dotter_store::{
    LaneRecords, Ledger, News, Reader, RingPart, Transaction, Writer, backup, rebuilt, seal_all, tidy, verify,
};
use support::{Random, commit_each, copy, flip, machine};

/// Every commit fills a file of this size.
const SMALL: u64 = 1;

fn series(number: u64) -> SeriesName {
    SeriesName::new(&format!("host.rack.machine-{number:05}.cpu")).unwrap()
}

/// Commits a dot of each of some series.
fn commit(writer: &mut Writer, series_of: impl Iterator<Item = u64>, time: u64) {
    commit_each(writer, series_of.map(|number| (number, series(number))), time);
}

fn seal(dir: &Path) -> u64 {
    seal_all(dir, &|| false).unwrap()
}

/// The times of the dots of a series, whose values are checked.
fn times(reader: &Reader, number: u64) -> Vec<u64> {
    let dots = reader.snapshot().read(series(number).as_str(), TimeRange::ALL).unwrap();
    dots.iter()
        .map(|dot| {
            assert_eq!(dot.value, (number * 1000 + dot.time.nanos()) as f64, "series {number}");
            dot.time.nanos()
        })
        .collect()
}

fn files(dir: &Path, folder: &str, begin: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> =
        entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(begin)).collect();
    found.sort();
    found
}

fn names_files(dir: &Path) -> Vec<PathBuf> {
    files(dir, "seg", "names-")
}

/// How often a text stands in each file of the log.
fn mentions(dir: &Path, text: &str) -> Vec<usize> {
    let count = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap();
        bytes.windows(text.len()).filter(|part| *part == text.as_bytes()).count()
    };
    files(dir, "wal", "").iter().map(count).collect()
}

fn tidy_up(dir: &Path) {
    while tidy(dir, &machine(Timestamp::from_nanos(1))).unwrap() {}
}

#[test]
fn a_name_is_declared_in_one_file_and_means_the_same_in_those_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open_with(dir.path(), SMALL).unwrap();
    let mut reader = Reader::open(dir.path()).unwrap();
    for time in 1..=5 {
        commit(&mut writer, 0..10 + time, time);
        reader.refresh(None).unwrap();
    }
    // Of names that begin alike, a frame has the first as a whole.
    assert_eq!(mentions(dir.path(), series(0).as_str()), [2, 0, 0, 0, 0, 0]);
    assert_eq!(mentions(dir.path(), series(14).as_str()), [0, 0, 0, 0, 2, 0]);
    for reader in [reader, Reader::open(dir.path()).unwrap()] {
        assert_eq!(times(&reader, 3), [1, 2, 3, 4, 5]);
        assert_eq!(times(&reader, 14), [5]);
    }
    // Another writer knows no id of this one.
    drop(writer);
    let mut writer = Writer::open_with(dir.path(), SMALL).unwrap();
    commit(&mut writer, 3..4, 6);
    assert_eq!(mentions(dir.path(), series(3).as_str()), [0, 0, 0, 0, 0, 0, 2, 0]);
    assert_eq!(times(&Reader::open(dir.path()).unwrap(), 3), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn what_no_live_file_declares_is_in_a_names_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open_with(dir.path(), SMALL).unwrap();
    let (mut follower, mut lazy) = (Reader::open(dir.path()).unwrap(), Reader::open(dir.path()).unwrap());
    let mut news: Vec<News> = Vec::new();
    for time in 1..=12 {
        commit(&mut writer, 0..40, time);
        if time % 3 == 0 {
            assert_eq!(seal(dir.path()), 120);
            tidy_up(dir.path());
        }
        follower.refresh(Some(&mut news)).unwrap();
        if time == 5 {
            lazy.refresh(None).unwrap();
        }
        assert_eq!(times(&Reader::open(dir.path()).unwrap(), 39), (1..=time).collect::<Vec<_>>());
    }
    assert_eq!(names_files(dir.path()).len(), 1, "one seal met names, and they are used still");
    let stat = Reader::open(dir.path()).unwrap().snapshot().stat();
    let bytes = fs::metadata(&names_files(dir.path())[0]).unwrap().len();
    assert_eq!((stat.names_files, stat.names_bytes), (1, bytes));
    lazy.refresh(None).unwrap();
    for reader in [&follower, &lazy] {
        for number in 0..40 {
            assert_eq!(times(reader, number), (1..=12).collect::<Vec<_>>());
        }
    }
    assert_eq!(news.iter().map(|news| news.dots.len()).sum::<usize>(), 12 * 40);
    assert!(verify(dir.path()).unwrap().damage.is_empty());
}

#[test]
fn names_of_an_epoch_that_is_over_are_kept_no_longer() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open_with(dir.path(), SMALL).unwrap();
    commit(&mut writer, 0..40, 1);
    commit(&mut writer, 0..40, 2);
    seal(dir.path());
    assert_eq!(names_files(dir.path()).len(), 1);
    drop(writer);
    let mut writer = Writer::open_with(dir.path(), SMALL).unwrap();
    commit(&mut writer, 0..40, 3);
    seal(dir.path());
    commit(&mut writer, 0..40, 4);
    tidy_up(dir.path());
    assert_eq!(names_files(dir.path()).len(), 1, "that of the new epoch");
    // The last file of an epoch is sealed: nobody needs its names.
    drop(writer);
    let _writer = Writer::open_with(dir.path(), SMALL).unwrap();
    seal(dir.path());
    tidy_up(dir.path());
    assert!(names_files(dir.path()).is_empty());
    assert_eq!(times(&Reader::open(dir.path()).unwrap(), 7), [1, 2, 3, 4]);
}

#[test]
fn many_small_names_files_become_few() {
    const SEALS: u64 = 60;
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open_with(dir.path(), SMALL).unwrap();
    let mut follower = Reader::open(dir.path()).unwrap();
    let mut most = 0;
    for time in 1..=SEALS {
        // Three names that are new, and old ones.
        commit(&mut writer, (time * 3..time * 3 + 3).chain(time / 2..time), time);
        seal(dir.path());
        tidy_up(dir.path());
        most = most.max(names_files(dir.path()).len());
        follower.refresh(None).unwrap();
    }
    assert!((8..16).contains(&most), "{most} names files");
    commit(&mut writer, 3..SEALS * 3 + 3, 100);
    follower.refresh(None).unwrap();
    for reader in [follower, Reader::open(dir.path()).unwrap()] {
        for number in 3..SEALS * 3 + 3 {
            assert_eq!(times(&reader, number).last(), Some(&100), "series {number}");
        }
    }
    assert!(verify(dir.path()).unwrap().damage.is_empty());
}

/// Which of ten commits of 40 series are there when the names file is damaged by `harm` before the sixth.
fn harmed(harm: impl Fn(&Path)) -> (tempfile::TempDir, Vec<usize>) {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open_with(dir.path(), SMALL).unwrap();
    for time in 1..=5 {
        commit(&mut writer, 0..40, time);
        seal(dir.path());
    }
    let [names] = &names_files(dir.path())[..] else { panic!("one seal met names") };
    harm(names);
    let damage = verify(dir.path()).unwrap().damage;
    assert!(damage.iter().any(|damage| damage.path == *names), "{damage:?}");
    for time in 6..=10 {
        commit(&mut writer, 0..40, time);
        // A reader that is opened with damage finds what there is.
        Reader::open(dir.path()).unwrap();
        seal(dir.path());
    }
    drop(writer);
    let reader = Reader::open(dir.path()).unwrap();
    let mut found = vec![0; 10];
    for number in 0..40 {
        times(&reader, number).iter().for_each(|time| found[*time as usize - 1] += 1);
    }
    let gone = 400 - found.iter().sum::<usize>() as u64;
    assert_eq!(reader.snapshot().ledger().totals.damaged, gone, "{found:?}");
    (dir, found)
}

#[test]
fn a_damaged_names_file_costs_dots_until_a_seal_sees_it_and_they_are_counted() {
    let ways: [&dyn Fn(&Path); 4] = [
        &|path| flip(path, 40),
        &|path| flip(path, fs::metadata(path).unwrap().len() as usize - 100),
        &|path| flip(path, fs::metadata(path).unwrap().len() as usize - 30),
        &|path| fs::remove_file(path).unwrap(),
    ];
    for (way, harm) in ways.into_iter().enumerate() {
        let (dir, found) = harmed(|path| {
            // Listed files have mode 0400.
            let bytes = fs::read(path).unwrap();
            fs::remove_file(path).unwrap();
            fs::write(path, bytes).unwrap();
            harm(path);
        });
        // The seal of the sixth asks for another epoch. The file that was begun by then declares all names at its end.
        assert_eq!(found[..5], [40; 5], "way {way}");
        assert_eq!(found[6..], [40; 4], "way {way}: {found:?}");
        assert!(found[5] < 40, "way {way}: the damage costs something: {found:?}");
        tidy_up(dir.path());
        let writer = Writer::open(dir.path()).unwrap();
        seal(dir.path());
        drop(writer);
        tidy_up(dir.path());
        assert!(verify(dir.path()).unwrap().damage.is_empty(), "way {way}");
    }
}

/// P16.
#[test]
fn a_flipped_bit_of_a_names_file_never_gives_a_name_the_dots_of_another() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open_with(dir.path(), SMALL).unwrap();
    commit(&mut writer, 0..40, 1);
    seal(dir.path());
    commit(&mut writer, 0..40, 2);
    drop(writer);
    let names = names_files(dir.path()).remove(0);
    let bytes = fs::read(&names).unwrap();
    for at in (0..bytes.len()).step_by(3) {
        let harmed = tempfile::tempdir().unwrap();
        copy(dir.path(), harmed.path());
        let path = harmed.path().join(names.strip_prefix(dir.path()).unwrap());
        let mut bytes = bytes.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::remove_file(&path).unwrap();
        fs::write(&path, bytes).unwrap();
        // Values tell whose they are.
        let count = || {
            let reader = Reader::open(harmed.path()).unwrap();
            (0..40).map(|number| times(&reader, number).len()).sum::<usize>()
        };
        let found = count();
        // The 16 bytes before the first block, and zeros in the tail, say nothing.
        assert!(found == 40 || found == 80, "byte {at}: {found} dots");
        disk::on(Arc::new(Quick), || drop(Writer::open(harmed.path()).unwrap()));
        disk::on(Arc::new(Quick), || seal(harmed.path()));
        assert_eq!(count(), found, "byte {at}");
        let gone = Reader::open(harmed.path()).unwrap().snapshot().ledger().totals.damaged;
        assert_eq!(gone, 80 - found as u64, "byte {at}");
    }
}

#[test]
fn a_damaged_header_costs_no_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open_with(dir.path(), SMALL).unwrap();
    commit(&mut writer, 0..40, 1);
    commit(&mut writer, 0..40, 2);
    seal(dir.path());
    commit(&mut writer, 0..40, 3);
    commit(&mut writer, 0..40, 4);
    drop(writer);
    for path in files(dir.path(), "wal", "") {
        let harmed = tempfile::tempdir().unwrap();
        copy(dir.path(), harmed.path());
        flip(&harmed.path().join(path.strip_prefix(dir.path()).unwrap()), 82);
        let check = || {
            let reader = Reader::open(harmed.path()).unwrap();
            (0..40).for_each(|number| assert_eq!(times(&reader, number), [1, 2, 3, 4], "{}", path.display()));
        };
        check();
        drop(Writer::open(harmed.path()).unwrap());
        seal(harmed.path());
        check();
    }
}

#[test]
fn a_rebuilt_list_has_the_names_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open_with(dir.path(), SMALL).unwrap();
    for time in 1..=3 {
        commit(&mut writer, 0..10 * time, time);
        seal(dir.path());
    }
    commit(&mut writer, 0..30, 4);
    drop(writer);
    for file in ["MANIFEST", "MANIFEST.2"] {
        fs::remove_file(dir.path().join(file)).unwrap();
    }
    assert!(rebuilt(dir.path()).unwrap().is_some());
    let check = || {
        let reader = Reader::open(dir.path()).unwrap();
        (0..30).for_each(|number| assert_eq!(times(&reader, number).last(), Some(&4)));
    };
    check();
    let mut writer = Writer::open_with(dir.path(), SMALL).unwrap();
    seal(dir.path());
    check();
    commit(&mut writer, 0..30, 5);
    assert_eq!(times(&Reader::open(dir.path()).unwrap(), 29), [3, 4, 5]);
}

#[test]
fn a_backup_has_the_names_that_its_log_needs() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open_with(dir.path(), SMALL).unwrap();
    commit(&mut writer, 0..40, 1);
    seal(dir.path());
    commit(&mut writer, 0..40, 2);
    let copies = tempfile::tempdir().unwrap();
    let to = copies.path().join("copy");
    backup(dir.path(), &to, &|| false).unwrap();
    assert_eq!(names_files(&to).len(), 1);
    // The store goes on, and drops what the copy keeps.
    drop(writer);
    drop(Writer::open(dir.path()).unwrap());
    seal(dir.path());
    tidy_up(dir.path());
    assert!(names_files(dir.path()).is_empty());
    assert!(verify(&to).unwrap().damage.is_empty());
    let mut writer = Writer::open_with(&to, SMALL).unwrap();
    commit(&mut writer, 0..40, 3);
    seal(&to);
    assert_eq!(times(&Reader::open(&to).unwrap(), 39), [1, 2, 3]);
}

#[test]
fn the_totals_of_counters_are_known_by_names_that_were_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open_with(dir.path(), SMALL).unwrap();
    let shape = Shape::number().with_kind(Kind::Counter);
    let count = |writer: &mut Writer, total: u64| {
        let key = writer.series(&SeriesName::new("calls").unwrap(), &shape);
        let mut dots = Dots::default();
        dots.push_number(key, true, Timestamp::from_nanos(total), total as f64);
        let incarnation = Incarnation([4; 16]);
        let first = writer.ledger().next(incarnation, 0);
        let lanes = [LaneRecords { lane: 0, first, next: first + 1, ..LaneRecords::default() }];
        let counters = [(key, (total as f64).to_bits())];
        let now = Timestamp::from_nanos(1);
        let ring =
            RingPart { incarnation, application: "app", counters: &counters, now, ..RingPart::default() };
        writer.append(&Transaction { ring: Some(ring), lanes: &lanes, dots: &dots }).unwrap();
        writer.sync().unwrap();
    };
    count(&mut writer, 5);
    seal(dir.path());
    count(&mut writer, 9);
    let account = writer.ledger().account(Incarnation([4; 16])).cloned();
    assert!(account.is_some());
    let check = |ledger: &Ledger| assert_eq!(ledger.account(Incarnation([4; 16])).cloned(), account);
    drop(writer);
    let reader = Reader::open(dir.path()).unwrap();
    check(reader.snapshot().ledger());
    let writer = Writer::open(dir.path()).unwrap();
    check(writer.ledger());
    seal(dir.path());
    check(Reader::open(dir.path()).unwrap().snapshot().ledger());
}

/// A disk that syncs nothing: here no power is cut.
#[derive(Debug)]
struct Quick;

impl Disk for Quick {
    fn sync_data(&self, _: &File, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_all(&self, _: &File, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn names_that_are_used_no_more_are_kept_for_4096_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = disk::on(Arc::new(Quick), || Writer::open_with(dir.path(), SMALL).unwrap());
    commit(&mut writer, 0..40, 1);
    seal(dir.path());
    tidy_up(dir.path());
    assert_eq!(names_files(dir.path()).len(), 1);
    for time in 2..=4096 {
        commit(&mut writer, 0..1, time);
    }
    let declared = |file: usize| mentions(dir.path(), series(0).as_str())[file];
    // The first file is sealed, so that these are the files 2, 4,096 and 4,097.
    assert_eq!((declared(0), declared(4094), declared(4095)), (0, 0, 0));
    commit(&mut writer, 0..1, 4097);
    assert_eq!((declared(4094), declared(4095)), (0, 2), "file 4,097 begins an epoch");
    commit(&mut writer, 0..1, 4098);
    disk::on(Arc::new(Quick), || seal(dir.path()));
    tidy_up(dir.path());
    assert_eq!(names_files(dir.path()).len(), 1, "that of the new epoch");
    let stat = Reader::open(dir.path()).unwrap().snapshot().stat();
    assert_eq!((stat.series, stat.dots, stat.wal_dots), (40, 40 + 4097, 0));
    commit(&mut writer, 0..40, 5000);
    let reader = Reader::open(dir.path()).unwrap();
    assert_eq!((times(&reader, 0).len(), times(&reader, 39)), (4099, vec![1, 5000]));
}

/// Readers that follow, and readers that are opened now, beside a writer, seals, and what unlinks names files.
#[test]
fn whoever_reads_while_names_files_come_and_go_sees_every_commit() {
    const COMMITS: u64 = 150;
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random::from_env();
    let mut writer = Writer::open_with(dir.path(), 2000).unwrap();
    let (done, mut follower) = (AtomicBool::new(false), Reader::open(dir.path()).unwrap());
    let mut expected: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Relaxed: it orders nothing.
            while !done.load(Relaxed) {
                seal(dir.path());
                tidy_up(dir.path());
            }
        });
        let following = scope.spawn(|| {
            let (mut news, mut seen) = (Vec::new(), 0);
            while !done.load(Relaxed) {
                follower.refresh(Some(&mut news)).unwrap();
                let now = follower.snapshot().stat().dots as usize;
                assert!(now >= seen, "{now} dots after {seen}");
                seen = now;
            }
            follower.refresh(Some(&mut news)).unwrap();
            (&follower, news)
        });
        let opening = scope.spawn(|| {
            let mut seen = 0;
            while !done.load(Relaxed) {
                let now = Reader::open(dir.path()).unwrap().snapshot().stat().dots;
                assert!(now >= seen, "{now} dots after {seen}");
                seen = now;
            }
        });
        for time in 1..=COMMITS {
            let from = random.below(200);
            let until = from + 1 + random.below(30);
            commit(&mut writer, from..until, time);
            (from..until).for_each(|number| expected.entry(number).or_default().push(time));
            if random.below(40) == 0 {
                drop(writer);
                writer = Writer::open_with(dir.path(), 2000).unwrap();
            }
        }
        done.store(true, Relaxed);
        opening.join().unwrap();
        let (follower, news) = following.join().unwrap();
        for (number, expected) in &expected {
            assert_eq!(times(follower, *number), *expected, "series {number}");
        }
        // Each dot was news once; where a seal was faster than the reader, some were not.
        let mut told: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for (name, time, value) in news.iter().flat_map(|news| &news.dots) {
            let number = (*value as u64 - time.nanos()) / 1000;
            assert_eq!(*name, series(number));
            told.entry(number).or_default().push(time.nanos());
        }
        assert!(told.values().all(|times| times.is_sorted_by(|a, b| a < b)), "{told:?}");
        assert!(follower.snapshot().epoch() > 0 || told == expected);
    });
    seal(dir.path());
    let reader = Reader::open(dir.path()).unwrap();
    for (number, expected) in &expected {
        assert_eq!(times(&reader, *number), *expected, "series {number}");
    }
    assert_eq!(reader.snapshot().ledger().totals.damaged, 0);
    assert!(verify(dir.path()).unwrap().damage.is_empty());
}
