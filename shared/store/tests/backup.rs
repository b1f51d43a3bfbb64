//! Copies of a store made while it is written to, sealed and compacted: each opens, is sound, and holds the
//! commits up to one of them and nothing behind it.

mod support;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use dotter_dot::{Dots, SeriesName, Shape, TimeRange, Timestamp};
use dotter_store::{Deletion, Error, Pattern, Reader, Transaction, Writer, add, backup};
use support::Random;

fn never() -> bool {
    false
}

fn name(number: u64) -> SeriesName {
    SeriesName::new(&format!("commit.{}", number % 3)).unwrap()
}

/// Commits dot after dot, through the log and past it, each with its number as time.
fn commit(dir: &Path, mut random: Random, committed: &AtomicU64, stop: &AtomicBool) {
    let mut writer = Some(Writer::open_with(dir, 8 << 10).unwrap());
    while !stop.load(SeqCst) {
        let number = committed.load(SeqCst);
        let time = Timestamp::from_nanos(number);
        match random.below(20) {
            0 => {
                // The log is closed and another file begun, as by a process that starts anew.
                drop(writer.take());
                writer = Some(Writer::open_with(dir, 8 << 10).unwrap());
                continue;
            }
            1..4 => _ = add(dir, vec![(name(number), time, number as f64)]).unwrap(),
            _ => {
                let writer = writer.as_mut().unwrap();
                let mut dots = Dots::default();
                let key = writer.series(&name(number), &Shape::number());
                dots.push_number(key, random.below(2) == 0, time, number as f64);
                writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).unwrap();
                writer.sync().unwrap();
            }
        }
        committed.store(number + 1, SeqCst);
    }
}

fn tidy(dir: &Path, stop: &AtomicBool) {
    while !stop.load(SeqCst) {
        dotter_store::seal_all(dir, &never).unwrap();
        dotter_store::compact(dir, &never).unwrap();
        std::thread::yield_now();
    }
}

#[test]
fn a_copy_made_meanwhile_holds_the_commits_up_to_one_of_them() {
    let random = Random::from_env();
    let (dir, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    drop(Writer::open(dir.path()).unwrap());
    let (committed, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| commit(dir.path(), random, &committed, &stop));
        scope.spawn(|| tidy(dir.path(), &stop));
        let mut sizes = BTreeSet::new();
        for round in 0..25 {
            let before = committed.load(SeqCst);
            let to = copies.path().join(round.to_string());
            let made = backup(dir.path(), &to, &never).unwrap();
            let after = committed.load(SeqCst);
            let verified = dotter_store::verify(&to).unwrap();
            assert!(verified.damage.is_empty(), "{:?}", verified.damage);
            // It reads as it is, and it can be gone on with.
            let snapshot = Reader::open(&to).unwrap().snapshot();
            assert_eq!((snapshot.sequence(), snapshot.generation()), (made.sequence, made.generation));
            let mut times = Vec::new();
            for name in snapshot.series() {
                let dots = snapshot.read(name.as_str(), TimeRange::ALL).unwrap();
                times.extend(dots.iter().map(|dot| (dot.time.nanos(), dot.value)));
            }
            times.sort_by_key(|dot| dot.0);
            assert!((before..=after + 1).contains(&(times.len() as u64)), "{before} {} {after}", times.len());
            assert!(times.iter().enumerate().all(|(at, dot)| *dot == (at as u64, at as f64)));
            assert_eq!(snapshot.ledger().totals.stored_other, times.len() as u64);
            sizes.insert(times.len());
            drop(Writer::open(&to).unwrap());
            dotter_store::seal_all(&to, &never).unwrap();
            assert_eq!(Reader::open(&to).unwrap().snapshot().stat().dots, times.len() as u64);
        }
        stop.store(true, SeqCst);
        assert!(sizes.len() > 5, "the writer went on meanwhile: {sizes:?}");
    });
}

#[test]
fn a_copy_hides_what_the_store_hides_and_outlives_it() {
    let (dir, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let rows = (0..10).map(|n| (name(n), Timestamp::from_nanos(n), n as f64)).collect::<Vec<_>>();
    dotter_store::add(dir.path(), rows).unwrap();
    let pattern = Pattern::new("commit.1");
    let deletion = Deletion { pattern, first_key: None, last_key: None, range: TimeRange::ALL };
    dotter_store::delete(dir.path(), &deletion).unwrap();
    std::fs::create_dir_all(dir.path().join("displayer/deep")).unwrap();
    std::fs::write(dir.path().join("displayer/deep/board.json"), "{}").unwrap();
    let to = copies.path().join("copy");
    let made = backup(dir.path(), &to, &never).unwrap();
    assert_eq!((made.linked, made.copied, made.copied_bytes), (1, 1, 2));
    drop(dir);
    let snapshot = Reader::open(&to).unwrap().snapshot();
    assert_eq!(snapshot.series().collect::<Vec<_>>(), [name(0), name(2)]);
    assert_eq!(std::fs::read(to.join("displayer/deep/board.json")).unwrap(), b"{}");
}

#[test]
fn a_place_that_holds_something_is_left_alone_and_what_is_given_up_leaves_nothing() {
    let (dir, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let missing = backup(dir.path(), &copies.path().join("a"), &never).unwrap_err();
    assert!(matches!(missing, Error::NoStore(_)), "{missing}");
    dotter_store::add(dir.path(), vec![(name(0), Timestamp::from_nanos(1), 1.0)]).unwrap();
    std::fs::write(copies.path().join("file"), "mine").unwrap();
    let full = backup(dir.path(), copies.path(), &never).unwrap_err();
    assert!(matches!(full, Error::NotEmpty(_)), "{full}");
    let given_up = backup(dir.path(), &copies.path().join("a"), &|| true).unwrap_err();
    assert!(matches!(given_up, Error::GivenUp), "{given_up}");
    assert_eq!(std::fs::read_dir(copies.path()).unwrap().count(), 1);
}

#[test]
fn onto_another_file_system_it_is_copied() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let device = |path: &Path| std::fs::metadata(path).unwrap().dev();
    let copies = tempfile::tempdir_in("/dev/shm").ok();
    let Some(copies) = copies.filter(|copies| device(copies.path()) != device(dir.path())) else {
        // Past the test runner, to where scripts/test counts it.
        let line = "skipped: onto_another_file_system_it_is_copied: /dev/shm is no other file system here\n";
        std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).unwrap();
        return;
    };
    dotter_store::add(dir.path(), vec![(name(0), Timestamp::from_nanos(1), 1.5)]).unwrap();
    let to = copies.path().join("copy");
    let made = backup(dir.path(), &to, &never).unwrap();
    assert_eq!((made.linked, made.copied), (0, 1));
    let dots = Reader::open(&to).unwrap().snapshot().read("commit.0", TimeRange::ALL).unwrap();
    assert_eq!(dots.iter().map(|dot| dot.value).collect::<Vec<_>>(), [1.5]);
}

/// Whoever holds the lock may be stopped, and where nothing may be written there is none to take.
#[test]
fn a_backup_takes_no_lock() {
    let root = tempfile::tempdir().unwrap();
    let (dir, to) = (root.path().join("store"), root.path().join("copy"));
    add(&dir, vec![(SeriesName::new("a").unwrap(), Timestamp::from_nanos(1), 1.0)]).unwrap();
    let lock = File::open(dir.join("MANIFEST.lock")).unwrap();
    lock.lock().unwrap();
    backup(&dir, &to, &|| false).unwrap();
    let dots = Reader::open(&to).unwrap().snapshot().read("a", TimeRange::ALL).unwrap();
    assert_eq!(dots.len(), 1);
}

/// What each of several committers has begun and ended, by a count that all of them share.
#[derive(Default)]
struct Times {
    clock: AtomicU64,
    /// Those of each committer, in order.
    commits: [Mutex<Vec<Commit>>; COMMITTERS],
}

/// When a commit was begun, and when it was acknowledged, if it was.
type Commit = (u64, Option<u64>);

/// One writes the log, the others add past it.
const COMMITTERS: usize = 4;

impl Times {
    fn now(&self) -> u64 {
        self.clock.fetch_add(1, SeqCst)
    }

    /// Runs `commit` with the number of the next commit of a committer.
    fn commit(&self, of: usize, commit: impl FnOnce(u64)) {
        let number = {
            let mut commits = self.commits[of].lock().unwrap();
            commits.push((self.now(), None));
            commits.len() as u64 - 1
        };
        commit(number);
        self.commits[of].lock().unwrap()[number as usize].1 = Some(self.now());
    }
}

fn own(of: usize) -> SeriesName {
    SeriesName::new(&format!("of.{of}")).unwrap()
}

fn log_on(dir: &Path, mut random: Random, times: &Times, stop: &AtomicBool) {
    let mut writer = Writer::open_with(dir, 8 << 10).unwrap();
    while !stop.load(SeqCst) {
        if random.below(40) == 0 {
            drop(writer);
            writer = Writer::open_with(dir, 8 << 10).unwrap();
        }
        times.commit(0, |number| {
            let mut dots = Dots::default();
            let key = writer.series(&own(0), &Shape::number());
            dots.push_number(key, true, Timestamp::from_nanos(number), 0.0);
            writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).unwrap();
            writer.sync().unwrap();
        });
    }
}

/// Every copy is a state that was: with a commit it has every commit that was acknowledged before that one began.
#[test]
fn copies_made_while_many_commit_hold_with_each_commit_all_that_were_there_before_it() {
    let random = Random::from_env();
    let (dir, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    drop(Writer::open(dir.path()).unwrap());
    let (times, stop) = (Times::default(), AtomicBool::new(false));
    let (times, stop, dir) = (&times, &stop, dir.path());
    std::thread::scope(|scope| {
        scope.spawn(move || log_on(dir, random, times, stop));
        for of in 1..COMMITTERS {
            scope.spawn(move || {
                while !stop.load(SeqCst) {
                    let row = |number| vec![(own(of), Timestamp::from_nanos(number), 0.0)];
                    times.commit(of, |number| _ = add(dir, row(number)).unwrap());
                }
            });
        }
        scope.spawn(move || tidy(dir, stop));
        let mut has_grown = 0;
        for round in 0..30 {
            let begun = times.now();
            let to = copies.path().join(round.to_string());
            backup(dir, &to, &never).unwrap();
            let snapshot = Reader::open(&to).unwrap().snapshot();
            let counts: Vec<usize> = (0..COMMITTERS)
                .map(|of| {
                    let dots = snapshot.read(own(of).as_str(), TimeRange::ALL).unwrap();
                    let is_prefix = dots.iter().enumerate().all(|(at, dot)| dot.time.nanos() == at as u64);
                    assert!(is_prefix, "round {round}: of {of}: {dots:?}");
                    dots.len()
                })
                .collect();
            let commits = times.commits.each_ref().map(|commits| commits.lock().unwrap().clone());
            let last_begun = (0..COMMITTERS)
                .filter_map(|of| Some(commits[of][counts[of].checked_sub(1)?].0))
                .fold(begun, u64::max);
            for of in 0..COMMITTERS {
                let missing = commits[of][counts[of]..].iter().filter_map(|(_, ended)| *ended);
                let earlier = missing.filter(|ended| *ended < last_begun).count();
                assert_eq!(earlier, 0, "round {round}: of {of} after {counts:?}, until {last_begun}");
            }
            let total: usize = counts.iter().sum();
            assert_eq!(snapshot.ledger().totals.stored_other, total as u64, "round {round}");
            has_grown += usize::from(commits.iter().map(Vec::len).sum::<usize>() > total);
            assert!(dotter_store::verify(&to).unwrap().damage.is_empty());
            // It can be gone on with, and a later commit comes behind all others.
            drop(Writer::open(&to).unwrap());
            add(&to, vec![(own(0), Timestamp::from_nanos(u64::MAX / 2), 1.0)]).unwrap();
            let after = Reader::open(&to).unwrap().snapshot();
            assert_eq!(after.read(own(0).as_str(), TimeRange::ALL).unwrap().len(), counts[0] + 1);
        }
        stop.store(true, SeqCst);
        assert!(has_grown > 5, "they went on meanwhile: {has_grown}");
    });
}
