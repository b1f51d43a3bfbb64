//! Whoever follows a store where something is out of the ordinary: purges, files that are damaged or gone, holds that nobody
//! has any more, and a follower that is always behind.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use dotter_dot::{Dots, NamedDots, SeriesName, Shape, TimeRange, Timestamp};
use dotter_store::disk::{self, Disk};
use dotter_store::{
    Deletion, Error, Follow, Missed, Pattern, Position, Purge, Reader, Transaction, Writer, add,
    compact_major, seal_all, tidy,
};
use support::replica::{Replica, stored};

const WAL_FILE_BYTES: u64 = 4 << 10;

fn never() -> bool {
    false
}

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

/// A store and who writes its log.
struct Store {
    root: tempfile::TempDir,
    writer: Option<Writer>,
    count: u64,
}

impl Store {
    fn new() -> Store {
        let root = tempfile::tempdir().unwrap();
        let writer = Writer::open_with(&root.path().join("store"), WAL_FILE_BYTES).unwrap();
        Store { root, writer: Some(writer), count: 0 }
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("store")
    }

    /// Commits three dots of a series through the log.
    fn log(&mut self, series: &str) {
        let writer = self.writer.as_mut().unwrap();
        let key = writer.series(&SeriesName::new(series).unwrap(), &Shape::number());
        let mut dots = Dots::default();
        for _ in 0..3 {
            self.count += 1;
            dots.push_number(key, false, at(self.count), self.count as f64);
        }
        writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).unwrap();
        writer.sync().unwrap();
    }

    /// Commits two dots of a series past the log.
    fn add(&mut self, series: &str) {
        let name = SeriesName::new(series).unwrap();
        self.count += 2;
        let row = |number: u64| (name.clone(), at(number), number as f64);
        add(&self.dir(), (self.count - 2..self.count).map(row).collect::<NamedDots>()).unwrap();
    }

    /// Another writer takes over; what there was before is in closed files.
    fn restart(&mut self) {
        self.writer = None;
        self.writer = Some(Writer::open_with(&self.dir(), WAL_FILE_BYTES).unwrap());
    }

    fn seal(&mut self) {
        seal_all(&self.dir(), &never).unwrap();
    }

    fn merge(&mut self) {
        compact_major(&self.dir(), &never, &|_, _| ()).unwrap();
    }

    /// The files that are kept for those who follow the store.
    fn kept(&self) -> Vec<String> {
        files(&self.dir().join("kept"))
    }
}

fn files(dir: &Path) -> Vec<String> {
    // The folder of what is kept is made with the first such file.
    let entries = fs::read_dir(dir).into_iter().flatten();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// A follower with a hold, and what it makes of the commits.
fn held(dir: &Path, name: &str) -> (Follow, Replica) {
    let mut follow = Follow::held(dir, name).unwrap();
    follow.tell_rows();
    (follow, Replica::default())
}

/// What a look says is missing; a look that does not end is a fault.
#[track_caller]
fn missed(follow: &mut Follow) -> Missed {
    let mut commits = Vec::new();
    for _ in 0..1000 {
        match follow.look(&mut commits) {
            Err(Error::Missed(missed)) => return missed,
            Ok(true) => {}
            other => panic!("nothing is missing: {:?}", other.map(|_| commits.len())),
        }
    }
    panic!("it looks for ever");
}

/// Shows P37.
#[test]
fn a_purge_that_drops_its_delete_with_the_last_file_leaves_that_file_to_nobody() {
    for is_logged in [true, false] {
        let mut store = Store::new();
        let (mut follow, _) = held(&store.dir(), "one");
        if is_logged {
            store.log("secret");
        } else {
            store.add("secret");
        }
        store.restart();
        store.log("other");
        store.writer = None;
        let deletion = Deletion {
            pattern: Pattern::new("secret"),
            first_key: None,
            last_key: None,
            range: TimeRange::ALL,
        };
        let purge = Purge::begin(&store.dir(), &deletion).unwrap();
        assert!(purge.seal(&never).unwrap());
        purge.run(&never, &|| ()).unwrap();
        for folder in ["seg", "wal", "kept"] {
            for name in files(&store.dir().join(folder)) {
                let bytes = fs::read(store.dir().join(folder).join(&name)).unwrap();
                let has = bytes.windows(6).any(|part| part == b"secret");
                assert!(!has || name.starts_with("names-"), "logged: {is_logged}: {folder}/{name}");
            }
        }
        missed(&mut follow);
    }
}

#[test]
fn a_segment_that_is_gone_before_it_was_told_of_is_said_to_be_missing() {
    let mut store = Store::new();
    let before = Follow::now(&store.dir()).unwrap().position();
    store.add("a");
    let mut follow = Follow::at(&store.dir(), before).unwrap();
    let name = files(&store.dir().join("seg")).remove(0);
    fs::remove_file(store.dir().join("seg").join(name)).unwrap();
    let found = missed(&mut follow);
    assert_eq!(found.from, before);
    follow.skip(&found);
    assert!(!follow.look(&mut Vec::new()).unwrap());
}

/// Its list is old each time it has caught up with the log, and what that names has been merged.
#[test]
fn a_follower_with_a_hold_that_is_always_behind_is_told_of_the_commits_of_others_too() {
    let mut store = Store::new();
    let (follow, _) = held(&store.dir(), "one");
    let began = follow.position();
    drop(follow);
    let work = |store: &mut Store| {
        store.log("a");
        store.add("b");
        store.restart();
        store.seal();
        store.merge();
        store.add("b");
    };
    (0..3).for_each(|_| work(&mut store));
    let (mut follow, mut replica) = held(&store.dir(), "one");
    assert_eq!(follow.position(), began);
    for _ in 0..16 {
        work(&mut store);
        follow.look(&mut replica.commits).unwrap();
    }
    assert!(follow.position().edit > began.edit, "{} of {began}", follow.position());
    replica.follow(&mut follow);
    assert_eq!(replica.rows(), stored(&store.dir()));
}

/// Time as a test sets it: how long the machine has run, in seconds.
#[derive(Debug, Default)]
struct Running(AtomicU64);

impl Disk for Running {
    fn since_boot(&self) -> std::io::Result<Duration> {
        Ok(Duration::from_secs(self.0.load(SeqCst)))
    }
}

/// Shows P41.
#[test]
fn whoever_comes_back_to_a_hold_that_is_over_is_told_what_is_missing() {
    let running = Arc::new(Running::default());
    let clock = running.clone();
    disk::on(running, move || {
        let mut store = Store::new();
        let dir = store.dir();
        let (mut follow, _) = held(&dir, "one");
        store.log("a");
        while follow.look(&mut Vec::new()).unwrap() {}
        follow.done().unwrap();
        let position = follow.position();
        drop(follow);
        clock.0.fetch_add(3601, SeqCst);
        store.log("a");
        store.restart();
        store.seal();
        store.merge();
        tidy(&dir, &support::machine(at(1))).unwrap();
        let (mut again, _) = held(&dir, "one");
        assert_eq!(again.position(), position);
        assert_eq!(missed(&mut again).from, position);
        drop(again);
        // Nobody comes back.
        clock.0.fetch_add(31 * 86_400, SeqCst);
        tidy(&dir, &support::machine(at(1))).unwrap();
        assert!(!dir.join("hold/one").exists());
    });
}

#[test]
fn files_in_the_folder_of_holds_that_are_damaged_or_of_somebody_else_are_no_litter() {
    let store = Store::new();
    let dir = store.dir();
    drop(held(&dir, "one"));
    for name in ["one", "README"] {
        fs::write(dir.join("hold").join(name), [0xA5; 1024]).unwrap();
    }
    tidy(&dir, &support::machine(at(1))).unwrap();
    assert_eq!(files(&dir.join("hold")), ["README", "one"]);
    // Nothing says how far its owner had come.
    assert_eq!(held(&dir, "one").0.position(), Position::default());
}

#[test]
fn what_is_kept_goes_without_another_commit_once_nobody_needs_it() {
    let mut store = Store::new();
    let (follow, _) = held(&store.dir(), "one");
    store.log("a");
    store.restart();
    store.seal();
    store.add("b");
    assert!(!store.kept().is_empty());
    follow.end().unwrap();
    let tidy = || tidy(&store.dir(), &support::machine(at(1))).unwrap();
    let times = (0..5).take_while(|_| tidy()).count();
    assert!(store.kept().is_empty(), "{:?}", store.kept());
    assert!((1..5).contains(&times), "it finds no end");
}

/// Damages the header of a WAL file.
fn damage_header(dir: &Path, id: u64) {
    let path = dir.join(format!("wal/{id:010}.wal"));
    support::flip(&path, 60);
}

#[test]
fn frames_before_a_file_whose_header_is_damaged_are_missed_and_not_passed_over() {
    for is_sealed in [true, false] {
        let mut store = Store::new();
        let before = Follow::now(&store.dir()).unwrap().position();
        store.log("a");
        store.restart();
        // Nobody needs this file.
        store.seal();
        store.add("b");
        let (_follow, _) = held(&store.dir(), "one");
        store.log("c");
        let logs = files(&store.dir().join("wal"));
        let id = logs[0][..10].parse().unwrap();
        store.restart();
        damage_header(&store.dir(), id);
        if is_sealed {
            store.seal();
        }
        let mut follow = Follow::at(&store.dir(), before).unwrap();
        let found = missed(&mut follow);
        assert_eq!(found.from, before, "sealed: {is_sealed}");
        follow.skip(&found);
        let mut replica = Replica::default();
        follow.tell_rows();
        replica.follow(&mut follow);
        assert_eq!(replica.rows().keys().map(String::as_str).collect::<Vec<_>>(), ["b", "c"]);
    }
}

/// A disk on which a sync of a WAL file fails once, just after another process has committed.
#[derive(Debug, Default)]
struct FailsOnce(std::sync::Mutex<Option<PathBuf>>);

impl Disk for FailsOnce {
    fn sync_data(&self, file: &fs::File, path: &Path) -> std::io::Result<()> {
        if path.extension().is_some_and(|extension| extension == "wal")
            && let Some(dir) = self.0.lock().unwrap().take()
        {
            let name = SeriesName::new("other").unwrap();
            add(&dir, [(name, at(9), 1.0)].into_iter().collect::<NamedDots>()).unwrap();
            return Err(std::io::Error::other("as the test wants it"));
        }
        disk::System.sync_data(file, path)
    }
}

#[test]
fn a_number_that_no_frame_has_is_not_missing() {
    let fails = Arc::new(FailsOnce::default());
    let armed = fails.clone();
    disk::on(fails, move || {
        let mut store = Store::new();
        let (follow, _) = held(&store.dir(), "one");
        drop(follow);
        store.log("a");
        *armed.0.lock().unwrap() = Some(store.dir());
        let writer = store.writer.as_mut().unwrap();
        let key = writer.series(&SeriesName::new("void").unwrap(), &Shape::number());
        let mut dots = Dots::default();
        dots.push_number(key, false, at(5), 1.0);
        let outcome =
            writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).and_then(|_| writer.sync());
        assert!(outcome.is_err());
        store.restart();
        store.log("c");
        store.restart();
        store.log("d");
        store.seal();
        let (mut follow, mut replica) = held(&store.dir(), "one");
        replica.follow(&mut follow);
        assert_eq!(replica.rows(), stored(&store.dir()));
        assert!(Reader::open(&store.dir()).unwrap().snapshot().sequence() > 0);
    });
}
