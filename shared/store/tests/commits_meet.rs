//! What one process does in the middle of what another does, and steps on the disk that fail alone: at a chosen step the
//! disk of a commit runs something else, or fails.
//!
//! Nothing that was deleted comes back, no commit is refused without a reason, and what is said to have failed never counts.

mod support;

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use dotter_dot::{Dots, SeriesName, Shape, TimeRange, Timestamp};
use dotter_store::disk::{self, Disk, System};
use dotter_store::{Deletion, Error, Pattern, Reader, Transaction, Writer, add, delete, seal_all};

/// What a disk is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Allocate,
    Write(u64),
    Sync,
    Rename,
    SyncDir,
}

type Before = dyn FnMut(Step, &Path) -> io::Result<()> + Send;

/// The system's disk, with something done before each step.
struct Hooked(Mutex<Box<Before>>);

impl Hooked {
    fn on<T>(
        before: impl FnMut(Step, &Path) -> io::Result<()> + Send + 'static,
        run: impl FnOnce() -> T,
    ) -> T {
        disk::on(Arc::new(Hooked(Mutex::new(Box::new(before)))), run)
    }

    fn step(&self, step: Step, path: &Path) -> io::Result<()> {
        (self.0.lock().unwrap())(step, path)
    }
}

impl fmt::Debug for Hooked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hooked")
    }
}

impl Disk for Hooked {
    fn write(&self, file: &File, path: &Path, bytes: &[u8], at: u64) -> io::Result<()> {
        self.step(Step::Write(at), path)?;
        System.write(file, path, bytes, at)
    }

    fn allocate(&self, file: &File, path: &Path, bytes: u64) -> io::Result<()> {
        match self.step(Step::Allocate, path) {
            // Of a file system that sets no room aside.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
            Err(error) => Err(error),
            Ok(()) => System.allocate(file, path, bytes),
        }
    }

    fn sync_data(&self, file: &File, path: &Path) -> io::Result<()> {
        self.step(Step::Sync, path)?;
        System.sync_data(file, path)
    }

    fn sync_all(&self, file: &File, path: &Path) -> io::Result<()> {
        self.step(Step::Sync, path)?;
        System.sync_all(file, path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(Step::Rename, to)?;
        System.rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.step(Step::SyncDir, dir)?;
        System.sync_dir(dir)
    }
}

fn log(writer: &mut Writer, name: &str, times: std::ops::Range<u64>) -> Result<(), Error> {
    let key = writer.series(&SeriesName::new(name).unwrap(), &Shape::number());
    let mut dots = Dots::default();
    times.for_each(|time| dots.push_number(key, false, Timestamp::from_nanos(time), time as f64));
    writer.append(&Transaction { ring: None, lanes: &[], dots: &dots })?;
    writer.sync()
}

fn deletion(name: &str) -> Deletion {
    Deletion { pattern: Pattern::new(name), first_key: None, last_key: None, range: TimeRange::ALL }
}

fn count(dir: &Path, name: &str) -> usize {
    Reader::open(dir).unwrap().snapshot().read(name, TimeRange::ALL).unwrap().len()
}

/// The writer's file is full and closed, and a seal has read list and log, all while a delete is on its way to the list.
#[test]
fn a_seal_that_began_in_the_middle_of_a_delete_brings_nothing_back() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    let mut writer = Writer::open_with(&dir, 8 << 10).unwrap();
    log(&mut writer, "x", 0..10).unwrap();
    let sealing = Arc::new(Mutex::new(None::<JoinHandle<Result<u64, Error>>>));
    let (hook_dir, hook_sealing) = (dir.clone(), sealing.clone());
    let mut writer = Some(writer);
    let meet = move |step, path: &Path| {
        if step == Step::Sync
            && path.ends_with("MANIFEST")
            && let Some(mut writer) = writer.take()
        {
            log(&mut writer, "y", 0..2000).unwrap();
            let dir = hook_dir.clone();
            let seal = thread::spawn(move || seal_all(&dir, &|| false));
            // A file there is made once list and log have been read.
            while fs::read_dir(hook_dir.join("seg")).unwrap().next().is_none() {
                assert!(!seal.is_finished(), "there is something to seal");
                thread::yield_now();
            }
            *hook_sealing.lock().unwrap() = Some(seal);
        }
        Ok(())
    };
    Hooked::on(meet, || delete(&dir, &deletion("x"))).unwrap();
    assert_eq!((count(&dir, "x"), count(&dir, "y")), (0, 2000), "before the seal");
    let sealed = sealing.lock().unwrap().take().expect("the delete syncs MANIFEST").join().unwrap();
    assert_eq!(sealed.unwrap(), 2010);
    assert_eq!((count(&dir, "x"), count(&dir, "y")), (0, 2000), "behind the seal");
}

/// The header of a new WAL file says no boot until it is on disk.
#[test]
fn a_commit_is_not_refused_while_the_writer_begins_a_file() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    drop(Writer::open(&dir).unwrap());
    let told = Arc::new(Mutex::new(Vec::new()));
    let (hook_dir, hook_told) = (dir.clone(), told.clone());
    let meet = move |step, path: &Path| {
        if step == Step::Sync && path.ends_with("wal/0000000003.wal") {
            let row = (SeriesName::new("x").unwrap(), Timestamp::from_nanos(1), 1.0);
            let outcome = disk::on(Arc::new(System), || add(&hook_dir, vec![row]));
            hook_told.lock().unwrap().push(outcome);
        }
        Ok(())
    };
    Hooked::on(meet, || {
        let mut writer = Writer::open_with(&dir, 8 << 10).unwrap();
        log(&mut writer, "y", 0..2000).unwrap();
    });
    let told = std::mem::take(&mut *told.lock().unwrap());
    assert!(matches!(told[..], [Ok(1), ..]), "{told:?}");
    assert_eq!(count(&dir, "x"), 1);
}

/// Each step of an add in turn fails, once, and the list is short, or so long that it is written anew.
#[test]
fn an_add_that_is_said_to_have_failed_never_counts_whichever_step_fails() {
    for is_long in [false, true] {
        let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let dir = root.path().join("store");
        add(&dir, vec![(SeriesName::new("base").unwrap(), Timestamp::from_nanos(1), 1.0)]).unwrap();
        if is_long {
            lengthen_list(&dir);
        }
        let mut failed = 0;
        for failing in 0.. {
            let name = format!("failing.{failing}");
            let copy = root.path().join(&name);
            support::copy(&dir, &copy);
            let row = (SeriesName::new(&name).unwrap(), Timestamp::from_nanos(1), 1.0);
            let steps = Arc::new(Mutex::new(Vec::new()));
            let seen = steps.clone();
            let fail = move |step, path: &Path| {
                let mut seen = seen.lock().unwrap();
                seen.push(format!("{step:?} {}", path.display()));
                if seen.len() == failing + 1 { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
            };
            let outcome = Hooked::on(fail, || add(&copy, vec![row]));
            let what = format!(
                "a long list: {is_long}, {} failed",
                steps.lock().unwrap().get(failing).cloned().unwrap_or_default()
            );
            for look in ["at once", "behind the next commit"] {
                match &outcome {
                    Ok(_) => assert_eq!(count(&copy, &name), 1, "{what}, {look}"),
                    Err(Error::Unknown(_)) => {}
                    Err(error) => assert_eq!(count(&copy, &name), 0, "{what}, {look}: {error}"),
                }
                delete(&copy, &deletion("nothing")).unwrap();
            }
            assert_eq!(count(&copy, "base"), 1, "{what}");
            failed += usize::from(outcome.is_err());
            if steps.lock().unwrap().len() <= failing {
                break;
            }
        }
        assert!(failed > 4, "{failed} adds failed");
    }
}

/// A commit that is published is told to have succeeded, whatever becomes of the file behind it.
#[test]
fn a_commit_stands_although_no_file_can_be_begun_behind_it() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    let fail = |step, path: &Path| {
        // Under a name of its own until its header is on disk.
        if step == Step::Sync && path.to_str().unwrap().contains("wal/0000000002.wal-") {
            return Err(io::Error::from_raw_os_error(5));
        }
        Ok(())
    };
    Hooked::on(fail, || {
        let mut writer = Writer::open_with(&dir, 8 << 10).unwrap();
        let outcome = log(&mut writer, "y", 0..2000);
        assert_eq!((outcome.is_ok(), count(&dir, "y")), (true, 2000), "{outcome:?}");
        // Nothing goes behind it.
        assert!(log(&mut writer, "z", 0..1).is_err());
        drop(writer);
    });
    drop(Writer::open(&dir).unwrap());
    assert_eq!((count(&dir, "y"), count(&dir, "z")), (2000, 0));
}

/// With more bytes of edits than this the list is written anew, while its base is small.
const EDITS_BYTES_MAX: u64 = 16 << 10;

/// So many deletes that the next edit makes the list be written anew.
fn lengthen_list(dir: &Path) {
    let edits = || {
        let bytes = fs::read(dir.join("MANIFEST")).unwrap();
        let published = u64::from_le_bytes(bytes[512..520].try_into().unwrap());
        let base = u32::from_le_bytes(bytes[4096 + 24..4096 + 28].try_into().unwrap());
        published - 4096 - 40 - u64::from(base).next_multiple_of(8)
    };
    let name = |length: u64| "x".repeat(length as usize);
    let (mut before, mut length) = (edits(), 400);
    loop {
        delete(dir, &deletion(&name(length))).unwrap();
        let (now, room) = (edits(), EDITS_BYTES_MAX - edits());
        let besides = now - before - length;
        if room < 1500 {
            delete(dir, &deletion(&name(room - besides - 16))).unwrap();
            break;
        }
        (before, length) = (now, length + 1);
    }
    assert!((EDITS_BYTES_MAX - 64..=EDITS_BYTES_MAX).contains(&edits()), "{}", edits());
}

#[test]
fn deletes_go_on_where_there_is_room_for_one_of_the_two_files_of_the_list_alone() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    for name in ["a", "b", "c", "d"] {
        add(&dir, vec![(SeriesName::new(name).unwrap(), Timestamp::from_nanos(1), 1.0)]).unwrap();
    }
    lengthen_list(&dir);
    let full = |step, path: &Path| {
        let is_second = path.to_str().unwrap().contains("MANIFEST.2-");
        if step == Step::Allocate && is_second { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    };
    let inode = || std::os::unix::fs::MetadataExt::ino(&dir.join("MANIFEST").metadata().unwrap());
    let before = inode();
    Hooked::on(full, || ["a", "b", "c"].map(|name| delete(&dir, &deletion(name)).unwrap()));
    assert_ne!(inode(), before, "the list was written anew");
    for lost in ["", "MANIFEST", "MANIFEST.2"] {
        let copy = root.path().join(format!("copy.{lost}"));
        support::copy(&dir, &copy);
        if !lost.is_empty() {
            fs::remove_file(copy.join(lost)).unwrap();
        }
        assert_eq!(["a", "b", "c", "d"].map(|name| count(&copy, name)), [0, 0, 0, 1], "without {lost:?}");
    }
}

/// Where no room can be set aside, a full disk shows when the edit is written: then nothing has happened.
#[test]
fn a_commit_for_which_there_is_no_room_is_known_to_have_failed() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    let never = |step, _: &Path| match step {
        Step::Allocate => Err(io::ErrorKind::Unsupported.into()),
        _ => Ok(()),
    };
    Hooked::on(never, || drop(Writer::open(&dir).unwrap()));
    let full = move |step, path: &Path| match step {
        Step::Allocate => never(step, path),
        Step::Write(4096..) => Err(io::ErrorKind::StorageFull.into()),
        _ => Ok(()),
    };
    let error = Hooked::on(full, || delete(&dir, &deletion("a"))).unwrap_err();
    assert!(error.is_disk_full(), "{error:?}");
    delete(&dir, &deletion("b")).unwrap();
}

/// What a writer begins and cannot put on disk it takes away, and the next writer's file has the same id.
#[test]
fn a_reader_that_has_seen_a_file_which_was_not_begun_misses_nothing() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    log(&mut Writer::open(&dir).unwrap(), "x", 0..10).unwrap();
    let reader = Arc::new(Mutex::new(Reader::open(&dir).unwrap()));
    let looking = reader.clone();
    let fail = move |step, path: &Path| {
        // Under a name of its own until its header is on disk.
        if step == Step::Sync && path.to_str().unwrap().contains("wal/0000000002.wal-") {
            looking.lock().unwrap().refresh(None).unwrap();
            return Err(io::Error::from_raw_os_error(5));
        }
        Ok(())
    };
    assert!(Hooked::on(fail, || Writer::open(&dir)).is_err());
    let mut reader = reader.lock().unwrap();
    let mut writer = Writer::open_with(&dir, 8 << 10).unwrap();
    for round in 1..3 {
        log(&mut writer, "y", (round - 1) * 2000..round * 2000).unwrap();
        reader.refresh(None).unwrap();
        let found = reader.snapshot().read("y", TimeRange::ALL).unwrap().len() as u64;
        assert_eq!(found, round * 2000);
    }
}
