//! Readers that are opened or refreshed while a seal takes the place of WAL files and these are unlinked.

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use dotter_dot::{Dots, SeriesName, Shape, Timestamp};
use dotter_store::{Reader, Transaction, Writer, seal_all, tidy};
use support::machine;

/// Commits a dot, which fills a file of the log.
fn commit(writer: &mut Writer, name: &str, time: u64) {
    let key = writer.series(&SeriesName::new(name).unwrap(), &Shape::number());
    let mut dots = Dots::default();
    dots.push_number(key, false, Timestamp::from_nanos(time), time as f64);
    writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).unwrap();
    writer.sync().unwrap();
}

fn tidy_up(dir: &Path) {
    while tidy(dir, &machine(Timestamp::from_nanos(1))).unwrap() {}
}

#[test]
fn whoever_opens_a_store_while_files_of_its_log_are_unlinked_sees_every_dot() {
    const FILES: u64 = 60;
    let scratch = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    for round in 0..25 {
        let dir = scratch.path().join(round.to_string());
        let mut writer = Writer::open_with(&dir, 1).unwrap();
        (0..FILES).for_each(|time| commit(&mut writer, "a", time));
        let is_sealed = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    // Relaxed: it orders nothing.
                    while !is_sealed.load(Relaxed) {
                        let dots = Reader::open(&dir).unwrap().snapshot().stat().dots;
                        assert_eq!(dots, FILES, "round {round}");
                    }
                });
            }
            seal_all(&dir, &|| false).unwrap();
            tidy_up(&dir);
            is_sealed.store(true, Relaxed);
        });
    }
}

#[test]
fn what_a_refresh_that_failed_had_read_is_news_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open_with(dir.path(), 1).unwrap();
    let mut reader = Reader::open(dir.path()).unwrap();
    commit(&mut writer, "old", 1);
    commit(&mut writer, "old", 2);
    seal_all(dir.path(), &|| false).unwrap();
    tidy_up(dir.path());
    // The first of these declares its name, that of the second is in a names file, which cannot be opened.
    commit(&mut writer, "new", 3);
    commit(&mut writer, "old", 4);
    let mut entries = fs::read_dir(dir.path().join("seg")).unwrap().map(|entry| entry.unwrap().path());
    let is_names = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("names-");
    let names = entries.find(is_names).unwrap();
    let aside = dir.path().join("aside");
    fs::rename(&names, &aside).unwrap();
    symlink(&names, &names).unwrap();
    let mut news = Vec::new();
    assert!(reader.refresh(Some(&mut news)).is_err());
    fs::rename(&aside, &names).unwrap();
    reader.refresh(Some(&mut news)).unwrap();
    let told: Vec<u64> = news.iter().flat_map(|news| &news.dots).map(|dot| dot.1.nanos()).collect();
    assert_eq!(told, [1, 3, 4], "the second was sealed before it was read");
    assert_eq!(reader.snapshot().epoch(), 1);
}
