//! Files of processes that are killed, and of those that are not; what becomes of a file that somebody takes away, cuts
//! or replaces while it is made.

mod support;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use dotter_dot::{Dots, Incarnation, NamedDots, SeriesName, Shape, TimeRange, Timestamp};
use dotter_store::disk::{self, Disk, System};
use dotter_store::{Claim, ClaimName, Error, Reader, RingPart, Transaction, Writer, add, take_claim, verify};
use support::{add_with, machine, unlisted};

const CHILD: &str = "DOTTER_LITTER_CHILD";
/// So many that the segment is written in several pieces.
const ROWS: u64 = 60_000;

fn add_row(dir: &Path, name: &str, time: u64) -> Result<u64, Error> {
    let row = (SeriesName::new(name).unwrap(), Timestamp::from_nanos(time), time as f64);
    add(dir, [row].into_iter().collect::<NamedDots>())
}

fn rows(dir: &Path, name: &str) -> u64 {
    Reader::open(dir).unwrap().snapshot().read(name, TimeRange::ALL).unwrap().len() as u64
}

fn tidy(dir: &Path) {
    dotter_store::tidy(dir, &machine(Timestamp::from_nanos(1))).unwrap();
}

/// Not a test: a process in the middle of a commit.
#[test]
#[ignore = "started by other tests"]
fn child() {
    let dir = std::env::var(CHILD).expect("another test starts this one");
    let wait = |_: &Path| {
        println!("\nbegun");
        io::stdin().lines().next();
    };
    add_with(Path::new(&dir), "theirs", ROWS, wait).unwrap();
}

/// A process that has begun a commit and waits for a line to end it.
fn begin(dir: &Path) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "child", "--nocapture"])
        .env(CHILD, dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "begun"), "it ended before it had begun");
    child
}

#[test]
fn the_file_of_a_living_process_stays_and_that_of_a_killed_one_goes() {
    for by_opening in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let look = || match by_opening {
            true => drop(Writer::open(dir.path()).unwrap()),
            false => tidy(dir.path()),
        };
        add_row(dir.path(), "ours", 1).unwrap();
        let mut living = begin(dir.path());
        let made = unlisted(dir.path());
        assert_eq!(made.len(), 1);
        look();
        assert_eq!(unlisted(dir.path()), made);
        let mut killed = begin(dir.path());
        killed.kill().unwrap();
        killed.wait().unwrap();
        assert_eq!(unlisted(dir.path()).len(), 2, "a killed process clears nothing up");
        // A commit looks for nothing.
        add_row(dir.path(), "ours", 2).unwrap();
        assert_eq!(unlisted(dir.path()).len(), 2);
        look();
        assert_eq!(unlisted(dir.path()), made);
        living.stdin.take().unwrap().write_all(b"\n").unwrap();
        assert!(living.wait().unwrap().success());
        look();
        assert_eq!((rows(dir.path(), "theirs"), rows(dir.path(), "ours")), (ROWS, 2));
        assert!(unlisted(dir.path()).is_empty() && made[0].exists());
        assert!(verify(dir.path()).unwrap().damage.is_empty());
    }
}

#[test]
fn who_looks_for_litter_beside_commits_takes_nothing_that_counts() {
    const COMMITS: u64 = 200;
    let dir = tempfile::tempdir().unwrap();
    add_row(dir.path(), "ours", 0).unwrap();
    let adds = |name: &'static str| {
        let dir = dir.path();
        move || (1..=COMMITS).for_each(|time| _ = add_row(dir, name, time).unwrap())
    };
    std::thread::scope(|scope| {
        let adding = ["ours", "theirs"].map(|name| scope.spawn(adds(name)));
        while !adding.iter().all(|adding| adding.is_finished()) {
            tidy(dir.path());
        }
    });
    tidy(dir.path());
    assert_eq!((rows(dir.path(), "ours"), rows(dir.path(), "theirs")), (COMMITS + 1, COMMITS));
    assert!(verify(dir.path()).unwrap().damage.is_empty() && unlisted(dir.path()).is_empty());
}

#[test]
fn whatever_has_no_name_of_ours_stays() {
    let dir = tempfile::tempdir().unwrap();
    add_row(dir.path(), "ours", 1).unwrap();
    let strangers = [
        "seg/notes.txt",
        "seg/0123456789abcdef",
        "seg/L0-20261120T00-000012.seg",
        "seg/L0-20261120T00-0123456789ABCDEF",
        "seg/L0-20261120T00-0123456789abcdef.bak",
        "seg/my copy-0123456789abcdef",
        "wal/0000000001.wal.bak",
        "wal/notes-1.txt",
        "ledger/20261120",
        "retention.toml-0123456789abcdef",
        "notes-0123456789abcdef",
    ];
    let litter = [
        "seg/L0-20261120T00-0123456789abcdef",
        "seg/spill-0123456789abcdef",
        "wal/0000000003.wal-0123456789abcdef",
        "ledger/20261120-0123456789abcdef",
        "MANIFEST-0123456789abcdef",
        "MANIFEST.2-0123456789abcdef",
    ];
    // A folder and a link under names of ours are nothing that was made here.
    fs::create_dir(dir.path().join("seg/L1-x-0123456789abcdef")).unwrap();
    std::os::unix::fs::symlink("notes.txt", dir.path().join("seg/L2-x-0123456789abcdef")).unwrap();
    for round in 0..2 {
        for name in strangers.iter().chain(&litter) {
            fs::write(dir.path().join(name), b"of somebody").unwrap();
        }
        match round {
            0 => drop(Writer::open(dir.path()).unwrap()),
            _ => tidy(dir.path()),
        }
        for name in strangers {
            assert_eq!(fs::read(dir.path().join(name)).unwrap(), b"of somebody", "{name}");
        }
        assert!(litter.iter().all(|name| !dir.path().join(name).exists()));
        assert!(dir.path().join("seg/L1-x-0123456789abcdef").is_dir());
        assert!(dir.path().join("seg/L2-x-0123456789abcdef").is_symlink());
        assert_eq!(rows(dir.path(), "ours"), 1);
    }
}

#[test]
fn a_copy_of_a_wal_file_under_a_like_name_is_neither_read_nor_removed() {
    let dir = tempfile::tempdir().unwrap();
    let wal = |name: &str| dir.path().join("wal").join(name);
    let commit = |writer: &mut Writer, time| {
        let key = writer.series(&SeriesName::new("log").unwrap(), &Shape::number());
        let mut dots = Dots::default();
        dots.push_number(key, false, Timestamp::from_nanos(time), 1.0);
        writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).unwrap();
        writer.sync().unwrap();
    };
    let mut writer = Writer::open(dir.path()).unwrap();
    commit(&mut writer, 1);
    let copies = ["1.wal", "+1.wal", "00000000001.wal"];
    copies.iter().for_each(|name| _ = fs::copy(wal("0000000001.wal"), wal(name)).unwrap());
    commit(&mut writer, 2);
    assert_eq!(rows(dir.path(), "log"), 2, "no copy stands for the file");
    drop(writer);
    drop(Writer::open(dir.path()).unwrap());
    dotter_store::seal_all(dir.path(), &|| false).unwrap();
    tidy(dir.path());
    assert!(!wal("0000000001.wal").exists(), "it is sealed");
    tidy(dir.path());
    drop(Writer::open(dir.path()).unwrap());
    assert!(copies.iter().all(|name| wal(name).exists()), "{copies:?}");
    assert_eq!(rows(dir.path(), "log"), 2);
}

#[test]
fn a_claim_is_litter_an_hour_after_it_was_made() {
    let dir = tempfile::tempdir().unwrap();
    add_row(dir.path(), "ours", 1).unwrap();
    let claims = dir.path().join("claim");
    fs::create_dir(&claims).unwrap();
    for (name, minutes) in [("0123456789abcdef", 61), ("0123456789abcdee", 58), ("of somebody", 100)] {
        let made = SystemTime::now() - Duration::from_secs(minutes * 60);
        File::create(claims.join(name)).unwrap().set_modified(made).unwrap();
    }
    tidy(dir.path());
    let mut left: Vec<_> = fs::read_dir(&claims).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["0123456789abcdee", "of somebody"]);
}

/// As where another user has made it, which the superuser who may run this test can list all the same.
#[test]
fn a_folder_of_claims_that_cannot_be_listed_keeps_nobody_from_writing() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("claim"), b"no folder").unwrap();
    drop(Writer::open(dir.path()).unwrap());
    fs::write(dir.path().join("seg/L0-20261120T00-0123456789abcdef"), b"of somebody").unwrap();
    tidy(dir.path());
    assert_eq!(fs::read_dir(dir.path().join("seg")).unwrap().count(), 0, "other litter goes");
    assert!(Claim::make(dir.path()).is_err());
    add_row(dir.path(), "ours", 1).unwrap();
    assert_eq!(rows(dir.path(), "ours"), 1);
}

#[test]
fn the_claim_of_a_sender_that_lives_stays_however_old_it_is() {
    let dir = tempfile::tempdir().unwrap();
    add_row(dir.path(), "ours", 1).unwrap();
    let claim = Claim::make(dir.path()).unwrap();
    let path = dir.path().join(format!("claim/{}", claim.name()));
    let long_ago = SystemTime::now() - Duration::from_secs(2 * 3600);
    File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
    tidy(dir.path());
    assert!(path.exists());
    assert!(take_claim(dir.path(), claim.name()).unwrap(), "it is as good as before");
}

/// A disk on which the writer looks at a claim just before it is removed as litter.
#[derive(Debug)]
struct Taking {
    dir: PathBuf,
    taken: Mutex<Option<bool>>,
}

impl Disk for Taking {
    fn remove(&self, path: &Path) -> io::Result<()> {
        let name = path.file_name().unwrap().to_str().unwrap();
        if let Some(name) = ClaimName::parse(name) {
            let take = || take_claim(&self.dir, name).unwrap();
            *self.taken.lock().unwrap() = Some(disk::on(Arc::new(System), take));
        }
        System.remove(path)
    }
}

#[test]
fn a_claim_that_is_removed_as_litter_is_not_taken_for_one_whose_sender_lives() {
    let dir = tempfile::tempdir().unwrap();
    add_row(dir.path(), "ours", 1).unwrap();
    let path = dir.path().join("claim/0123456789abcdef");
    fs::create_dir(dir.path().join("claim")).unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(2 * 3600);
    File::create(&path).unwrap().set_modified(long_ago).unwrap();
    let disk = Arc::new(Taking { dir: dir.path().to_owned(), taken: Mutex::default() });
    disk::on(disk.clone(), || tidy(dir.path()));
    assert_eq!(*disk.taken.lock().unwrap(), Some(false), "its sender has ended");
    assert!(!path.exists());
}

#[test]
fn a_commit_whose_file_was_unlinked_or_replaced_is_written_anew() {
    for replaced in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let take_away = move |path: &Path| {
            fs::remove_file(path).unwrap();
            if replaced {
                fs::write(path, b"of somebody").unwrap();
            }
            tell.send(path.to_owned()).unwrap();
        };
        add_with(dir.path(), "a", ROWS, take_away).unwrap();
        let path = told.recv().unwrap();
        assert_eq!(rows(dir.path(), "a"), ROWS);
        assert!(verify(dir.path()).unwrap().damage.is_empty());
        assert_eq!(path.exists(), replaced, "it has another name now");
        assert_eq!(fs::read_dir(dir.path().join("seg")).unwrap().count(), 1 + replaced as usize);
    }
}

#[test]
fn a_commit_whose_file_was_cut_is_refused_by_name_and_nothing_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    add_row(dir.path(), "ours", 1).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let cut = move |path: &Path| {
        // What was written from here on would leave a hole before it; now there is nothing more to write.
        OpenOptions::new().write(true).open(path).unwrap().set_len(100).unwrap();
        tell.send(path.to_owned()).unwrap();
    };
    let error = add_with(dir.path(), "a", ROWS, cut).unwrap_err();
    let path = told.recv().unwrap();
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        source.starts_with("100 bytes, expected ") && source.contains("nothing is committed"),
        "{source}"
    );
    assert!(!path.exists());
    assert_eq!((rows(dir.path(), "a"), rows(dir.path(), "ours")), (0, 1));
    assert!(verify(dir.path()).unwrap().damage.is_empty());
}

/// A disk on which somebody unlinks each new file of a folder once, just before it is listed.
#[derive(Debug)]
struct Unlinking {
    folder: &'static str,
    unlinked: Mutex<Vec<PathBuf>>,
    most: usize,
}

impl Disk for Unlinking {
    fn sync_all(&self, file: &File, path: &Path) -> io::Result<()> {
        let mut unlinked = self.unlinked.lock().unwrap();
        if path.parent().is_some_and(|dir| dir.ends_with(self.folder)) && unlinked.len() < self.most {
            fs::remove_file(path)?;
            unlinked.push(path.to_owned());
        }
        System.sync_all(file, path)
    }
}

fn unlinking(folder: &'static str, most: usize) -> Arc<Unlinking> {
    Arc::new(Unlinking { folder, unlinked: Mutex::default(), most })
}

#[test]
fn segments_listed_together_belong_together_whatever_was_unlinked() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    let mut writer = Writer::open(&dir).unwrap();
    // A commit of another process in the middle of the file: its seal makes two segments.
    for n in 0..2 {
        let key = writer.series(&SeriesName::new("log").unwrap(), &Shape::number());
        let mut dots = Dots::default();
        (0..10).for_each(|at| dots.push_number(key, true, Timestamp::from_nanos(n * 10 + at), 1.0));
        writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).unwrap();
        writer.sync().unwrap();
        add_row(&dir, "other", n).unwrap();
    }
    drop(writer);
    drop(Writer::open(&dir).unwrap());
    let disk = unlinking("seg", 1);
    disk::on(disk.clone(), || dotter_store::seal_all(&dir, &|| false).unwrap());
    assert_eq!(disk.unlinked.lock().unwrap().len(), 1);
    assert!(verify(&dir).unwrap().damage.is_empty());
    // A list made from the tails has both of them, though the first was written anew.
    fs::remove_file(dir.join("MANIFEST")).unwrap();
    assert_eq!((rows(&dir, "log"), rows(&dir, "other")), (20, 2));
    assert_eq!(Reader::open(&dir).unwrap().snapshot().stat().wal_dots, 0);
}

#[test]
fn a_file_that_is_unlinked_whenever_it_is_made_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    add_row(dir.path(), "a", 1).unwrap();
    let disk = unlinking("seg", usize::MAX);
    let error = disk::on(disk.clone(), || add_row(dir.path(), "a", 2)).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    assert!(disk.unlinked.lock().unwrap().len() > 1);
    assert_eq!(rows(dir.path(), "a"), 1);
    assert!(unlisted(dir.path()).is_empty());
}

#[test]
fn the_file_of_finished_rings_is_written_anew_where_it_was_unlinked() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path()).unwrap();
    let now = Timestamp::from_nanos(1);
    let incarnation = Incarnation([4; 16]);
    let ring = RingPart { incarnation, application: "over", now, ..RingPart::default() };
    writer.finish(&ring, &[], now).unwrap();
    writer.sync().unwrap();
    drop(writer);
    drop(Writer::open(dir.path()).unwrap());
    dotter_store::seal_all(dir.path(), &|| false).unwrap();
    let disk = unlinking("ledger", usize::MAX);
    let machine = machine(Timestamp::from_nanos(1));
    let error = disk::on(disk, || dotter_store::tidy(dir.path(), &machine)).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    let disk = unlinking("ledger", 1);
    assert!(disk::on(disk.clone(), || dotter_store::tidy(dir.path(), &machine)).unwrap());
    assert_eq!(disk.unlinked.lock().unwrap().len(), 1);
    assert_eq!(fs::read_dir(dir.path().join("ledger")).unwrap().count(), 1);
    let snapshot = Reader::open(dir.path()).unwrap().snapshot();
    assert_eq!(snapshot.ledger().account(Incarnation([4; 16])).unwrap().finished, Some(now));
    assert!(verify(dir.path()).unwrap().damage.is_empty() && unlisted(dir.path()).is_empty());
}

/// A disk on which another process, that looks for litter, has just locked the first file of the list that is made.
#[derive(Debug, Default)]
struct Held(Mutex<Option<File>>);

impl Disk for Held {
    fn create(&self, path: &Path) -> io::Result<File> {
        let file = System.create(path)?;
        let mut held = self.0.lock().unwrap();
        if held.is_none() && path.to_str().unwrap().contains("MANIFEST-") {
            let other = File::open(path)?;
            other.lock()?;
            *held = Some(other);
        }
        Ok(file)
    }
}

/// Who looks for litter may be waiting for the lock that is held as the list is written anew.
#[test]
fn a_commit_does_not_wait_for_who_takes_its_new_file_for_litter() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    let held = Arc::new(Held::default());
    let (told, answer) = std::sync::mpsc::channel();
    let (add_dir, add_disk) = (dir.clone(), held.clone());
    std::thread::spawn(move || {
        let row = (SeriesName::new("a").unwrap(), Timestamp::from_nanos(1), 1.0);
        told.send(disk::on(add_disk, || add(&add_dir, vec![row]))).unwrap();
    });
    let added = answer.recv_timeout(Duration::from_secs(60)).expect("it takes another name");
    assert_eq!((added.unwrap(), held.0.lock().unwrap().is_some()), (1, true));
}
