//! A reader that follows the log is told of each commit once. Where it cannot be, since the commit was sealed and its file
//! unlinked before the reader came to it, [`Snapshot::epoch`](dotter_store::Snapshot::epoch) grows.

mod support;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use dotter_dot::{Cell, Dots, NamedDots, SeriesName, Shape, TimeRange, Timestamp};
use dotter_store::disk::{self, Disk, System};
use dotter_store::{Deletion, Pattern, Reader, Transaction, Writer, add, delete, seal_all, tidy};
use support::machine;

fn name() -> SeriesName {
    SeriesName::new("a").unwrap()
}

/// Commits a dot, which fills a file of the log.
fn commit(writer: &mut Writer, time: u64) {
    let key = writer.series(&name(), &Shape::number());
    let mut dots = Dots::default();
    dots.push_number(key, false, Timestamp::from_nanos(time), time as f64);
    writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).unwrap();
    writer.sync().unwrap();
}

/// Seals all closed files and unlinks them.
fn seal(dir: &Path) {
    seal_all(dir, &|| false).unwrap();
    while tidy(dir, &machine(Timestamp::from_nanos(1))).unwrap() {}
}

/// The times of the dots that a refresh tells of, and of all that are there.
fn refreshed(reader: &mut Reader) -> (Vec<u64>, Vec<u64>) {
    let mut news = Vec::new();
    reader.refresh(Some(&mut news)).unwrap();
    let told = news.iter().flat_map(|news| &news.dots).map(|dot| dot.1.nanos()).collect();
    let dots = reader.snapshot().read("a", TimeRange::ALL).unwrap();
    (told, dots.iter().map(|dot| dot.time.nanos()).collect())
}

fn wal_files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(dir.join("wal")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn frames_sealed_before_a_reader_has_found_any_file_are_missed_and_it_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mut dots = NamedDots::default();
    dots.push(&name(), &Shape::number(), Timestamp::from_nanos(0), Cell::number(0.0));
    add(dir, dots).unwrap();
    assert!(wal_files(dir).is_empty());
    let mut reader = Reader::open(dir).unwrap();
    let mut writer = Writer::open_with(dir, 1).unwrap();
    (1..=3).for_each(|time| commit(&mut writer, time));
    seal(dir);
    commit(&mut writer, 4);
    // The fourth is no news either: a file that is gone declares its name.
    assert_eq!(refreshed(&mut reader).1, [0, 1, 2, 3, 4]);
    assert_eq!(reader.snapshot().epoch(), 1);
    commit(&mut writer, 5);
    assert_eq!(refreshed(&mut reader), (vec![5], vec![0, 1, 2, 3, 4, 5]));
    assert_eq!(reader.snapshot().epoch(), 1);
}

#[test]
fn frames_sealed_unread_are_missed_where_the_header_of_the_last_file_is_damaged_and_the_reader_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mut writer = Writer::open_with(dir, 1).unwrap();
    let mut reader = Reader::open(dir).unwrap();
    let mut ahead = Reader::open(dir).unwrap();
    (1..=3).for_each(|time| commit(&mut writer, time));
    drop(writer);
    assert_eq!(refreshed(&mut ahead), (vec![1, 2, 3], vec![1, 2, 3]));
    seal(dir);
    let [last] = &wal_files(dir)[..] else { panic!("the others are sealed") };
    support::flip(last, 20);
    // The file that it has open is read to its end; no further one is left.
    assert_eq!(refreshed(&mut reader), (vec![1], vec![1, 2, 3]));
    assert_eq!(reader.snapshot().epoch(), 1);
    assert_eq!(refreshed(&mut ahead), (vec![], vec![1, 2, 3]));
    assert_eq!(ahead.snapshot().epoch(), 0, "it has read all");
}

/// A disk on which something happens before the first sync of a WAL file: its frames are written and not yet published.
struct Unpublished(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl std::fmt::Debug for Unpublished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Unpublished")
    }
}

impl Disk for Unpublished {
    fn sync_data(&self, file: &File, path: &Path) -> io::Result<()> {
        if path.extension().is_some_and(|extension| extension == "wal")
            && let Some(happens) = self.0.lock().unwrap().take()
        {
            happens();
        }
        System.sync_data(file, path)
    }
}

#[test]
fn a_frame_is_news_to_a_reader_opened_after_a_delete_that_stands_behind_it_and_before_it_was_published() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().to_owned();
    let opened = Arc::new(Mutex::new(None));
    let reader = opened.clone();
    let happens = move || {
        let pattern = Pattern::new("b");
        let deletion = Deletion { pattern, first_key: None, last_key: None, range: TimeRange::ALL };
        // On another thread, whose disk is the system's.
        let work = || {
            delete(&at, &deletion).unwrap();
            *reader.lock().unwrap() = Some(Reader::open(&at).unwrap());
        };
        std::thread::scope(|scope| _ = scope.spawn(work));
    };
    let disk = Unpublished(Mutex::new(Some(Box::new(happens))));
    let mut writer = disk::on(Arc::new(disk), || Writer::open(dir.path()).unwrap());
    commit(&mut writer, 1);
    let mut reader = opened.lock().unwrap().take().expect("it was opened before the frame was published");
    assert_eq!(refreshed(&mut reader), (vec![1], vec![1]));
    assert_eq!(reader.snapshot().epoch(), 0);
}
