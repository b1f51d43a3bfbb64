//! The log is listed while its writer goes on from file to file, and a listing may lack a file that was made meanwhile and
//! have a later one. Nobody passes over a commit for that.

mod support;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use dotter_dot::{Dots, SeriesName, Shape, TimeRange, Timestamp};
use dotter_store::disk::{self, Disk, System};
use dotter_store::{Reader, Transaction, Writer, backup, seal_all, tidy, verify};
use support::machine;

/// Commits before anybody lists the log.
const BEFORE: u64 = 3;
/// Commits while somebody does.
const MEANWHILE: u64 = 4;

/// Commits a dot at the next time, which fills a file of the log.
fn commit(writer: &mut Writer, time: u64) {
    let key = writer.series(&SeriesName::new("a").unwrap(), &Shape::number());
    let mut dots = Dots::default();
    dots.push_number(key, false, Timestamp::from_nanos(time), time as f64);
    writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).unwrap();
    writer.sync().unwrap();
}

fn times(reader: &Reader) -> Vec<u64> {
    let dots = reader.snapshot().read("a", TimeRange::ALL).unwrap();
    dots.iter().map(|dot| dot.time.nanos()).collect()
}

fn all() -> Vec<u64> {
    (0..BEFORE + MEANWHILE).collect()
}

/// A disk on which a writer commits while the log is listed for the first time.
struct Listing {
    writer: Mutex<Writer>,
    is_listed: AtomicBool,
    /// Which of the files made meanwhile the listing has: the lowest bit is the first of them.
    has: u64,
}

impl std::fmt::Debug for Listing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Listing {:b}", self.has)
    }
}

impl Disk for Listing {
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let mut listed = System.list(dir)?;
        // Relaxed: all is on one thread.
        if self.is_listed.swap(true, Relaxed) {
            return Ok(listed);
        }
        let mut writer = self.writer.lock().unwrap();
        (BEFORE..BEFORE + MEANWHILE).for_each(|time| commit(&mut writer, time));
        let mut new: Vec<PathBuf> = System.list(dir)?;
        new.retain(|path| !listed.contains(path));
        new.sort();
        assert_eq!(new.len() as u64, MEANWHILE, "each commit begins a file");
        let chosen = new.into_iter().enumerate().filter(|(index, _)| self.has >> index & 1 == 1);
        listed.extend(chosen.map(|(_, path)| path));
        Ok(listed)
    }
}

/// Does `work` in a store whose log goes on while it is listed, once for every listing that the system may give; then
/// every commit is there, also where the store is opened later.
fn each_listing(work: impl Fn(&Path)) {
    for has in 0..1 << MEANWHILE {
        let scratch = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let dir = &scratch.path().join("store");
        let mut writer = Writer::open_with(dir, 1).unwrap();
        (0..BEFORE).for_each(|time| commit(&mut writer, time));
        let disk = Arc::new(Listing { writer: Mutex::new(writer), is_listed: AtomicBool::new(false), has });
        disk::on(disk.clone(), || work(dir));
        assert!(disk.is_listed.load(Relaxed));
        let check = || assert_eq!(times(&Reader::open(dir).unwrap()), all(), "listed: {has:b}");
        check();
        drop(disk);
        seal_all(dir, &|| false).unwrap();
        while tidy(dir, &machine(Timestamp::from_nanos(1))).unwrap() {}
        check();
        drop(Writer::open(dir).unwrap());
        check();
        assert!(verify(dir).unwrap().damage.is_empty());
    }
}

/// What is there is everything up to some commit.
#[track_caller]
fn check_prefix(times: &[u64]) {
    assert!(times.len() as u64 >= BEFORE, "{times:?}");
    assert_eq!(times, &all()[..times.len()]);
}

#[test]
fn a_reader_that_is_opened_while_the_log_goes_on_passes_over_no_commit() {
    each_listing(|dir| {
        let mut reader = Reader::open(dir).unwrap();
        let there = times(&reader);
        check_prefix(&there);
        let mut news = Vec::new();
        reader.refresh(Some(&mut news)).unwrap();
        assert_eq!(times(&reader), all());
        let told = news.iter().flat_map(|news| &news.dots).map(|dot| dot.1.nanos());
        assert!(there.into_iter().chain(told).eq(all()), "each is news once");
    });
}

/// P8.
#[test]
fn a_seal_while_the_log_goes_on_takes_no_file_for_sealed_that_it_has_not_read() {
    each_listing(|dir| _ = seal_all(dir, &|| false).unwrap());
}

#[test]
fn a_backup_while_the_log_goes_on_has_no_hole() {
    each_listing(|dir| {
        let copy = dir.with_file_name("copy");
        backup(dir, &copy, &|| false).unwrap();
        check_prefix(&times(&Reader::open(&copy).unwrap()));
    });
}
