//! Names files that contradict themselves or each other: no process dies of them, no dot gets the name of another series,
//! and `verify` names them.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use dotter_dot::{SeriesName, TimeRange, Timestamp};
use dotter_store::{Reader, Writer, rebuilt, seal_all, tidy, verify};
use support::{commit_each, copy, machine};

/// Series that each commit is the first to use: their names fill more than one block.
const EACH: u64 = 100;
/// So many names files of one epoch are never merged.
const FILES_FEW: u64 = 8;

/// Names that share so few bytes that a block has some 80.
fn series(number: u64) -> SeriesName {
    SeriesName::new(&format!("{number:05}.{}", "x".repeat(200))).unwrap()
}

/// Commits a dot of each of some series, into a WAL file of its own.
fn commit(writer: &mut Writer, series_of: impl Iterator<Item = u64>, time: u64) {
    commit_each(writer, series_of.map(|number| (number, series(number))), time);
}

fn open(dir: &Path) -> Writer {
    Writer::open_with(dir, 1).unwrap()
}

fn seal(dir: &Path) {
    seal_all(dir, &|| false).unwrap();
}

/// How many dots the first series have at a time; their values tell whose they are.
fn found(dir: &Path, series_until: u64, time: u64) -> u64 {
    let snapshot = Reader::open(dir).unwrap().snapshot();
    let at = TimeRange::new(Timestamp::from_nanos(time), Timestamp::from_nanos(time + 1));
    let mut count = 0;
    for number in 0..series_until {
        for dot in snapshot.read(series(number).as_str(), at).unwrap() {
            assert_eq!(dot.value, (number * 1000 + time) as f64, "series {number} has the dot of another");
            count += 1;
        }
    }
    count
}

fn damaged(dir: &Path) -> u64 {
    Reader::open(dir).unwrap().snapshot().ledger().totals.damaged
}

fn names_files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("seg")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("names-")).collect()
}

/// What `verify` says of a file.
fn verdict(dir: &Path, path: &Path) -> Vec<String> {
    let damage = verify(dir).unwrap().damage.into_iter();
    damage.filter(|damage| damage.path == path).map(|damage| damage.what).collect()
}

fn varint(bytes: &[u8], at: &mut usize) -> usize {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = bytes[*at];
        *at += 1;
        value |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

/// Makes the last id of the first block greater than the first one of the second, and the block's checksum right.
fn overlap(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let tail = bytes.len() - 88;
    let index_at = u64::from_le_bytes(bytes[tail + 48..tail + 56].try_into().unwrap()) as usize;
    let mut at = index_at;
    assert_eq!(varint(&bytes, &mut at), 1, "one shape");
    // Text format, text unit, kind, no names of columns.
    at += 2 + 1 + 1 + 1;
    assert!(varint(&bytes, &mut at) > 1, "more than one block");
    let _first = varint(&bytes, &mut at);
    let block = 16..16 + varint(&bytes, &mut at);
    let (mut at, mut last) = (block.start + 4, 0);
    while at < block.end {
        last = at;
        let (_step, _shared) = (varint(&bytes, &mut at), varint(&bytes, &mut at));
        let further = varint(&bytes, &mut at);
        at += further;
        let _shape = varint(&bytes, &mut at);
    }
    assert_eq!(bytes[last], 1, "ids without gaps");
    bytes[last] = 9;
    let checksum = crc32c::crc32c(&bytes[block.start + 4..block.end]);
    bytes[block.start..block.start + 4].copy_from_slice(&checksum.to_le_bytes());
    // Listed files have mode 0400.
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

/// As many names files as are not merged, one of which has a block with ids of the next block.
fn overlapping(dir: &Path) -> (Writer, PathBuf) {
    let mut writer = open(dir);
    commit(&mut writer, 0..EACH, 1);
    seal(dir);
    let [path] = &names_files(dir)[..] else { panic!("one seal met names") };
    for time in 2..=FILES_FEW {
        commit(&mut writer, (time - 1) * EACH..time * EACH, time);
        seal(dir);
    }
    assert_eq!(names_files(dir).len() as u64, FILES_FEW);
    overlap(path);
    assert_eq!(verdict(dir, path).len(), 1, "one block is damaged");
    (writer, path.clone())
}

/// P16.
#[test]
fn a_seal_that_would_merge_a_block_with_ids_of_the_next_one_spends_the_epoch_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (mut writer, path) = overlapping(dir);
    // This seal merges names files.
    let all = (FILES_FEW + 1) * EACH;
    commit(&mut writer, FILES_FEW * EACH..all, 9);
    seal(dir);
    assert!(path.exists(), "what is damaged is not replaced");
    for time in 10..=12 {
        commit(&mut writer, 0..all, time);
        seal(dir);
        assert_eq!(found(dir, all, time), all);
    }
    drop(writer);
    drop(open(dir));
    seal(dir);
    while tidy(dir, &machine(Timestamp::from_nanos(1))).unwrap() {}
    assert_eq!(damaged(dir), 0);
    assert!(verify(dir).unwrap().damage.is_empty());
    assert_eq!((1..=9).map(|time| found(dir, all, time)).sum::<u64>(), all);
}

/// P16.
#[test]
fn a_block_with_ids_of_the_next_one_costs_its_own_names_alone_and_their_dots_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (mut writer, _) = overlapping(dir);
    let all = FILES_FEW * EACH;
    commit(&mut writer, 0..all, 9);
    commit(&mut writer, 0..all, 10);
    let there = found(dir, all, 9);
    assert!((all - EACH..all).contains(&there), "a part of the first hundred names is gone: {there}");
    seal(dir);
    assert_eq!((found(dir, all, 9), found(dir, all, 10)), (there, there));
    assert_eq!(damaged(dir), 2 * (all - there));
    commit(&mut writer, 0..all, 11);
    commit(&mut writer, 0..all, 12);
    seal(dir);
    assert_eq!((found(dir, all, 11), found(dir, all, 12)), (all, all), "declared once more");
}

/// A store that was put back to an earlier day, and beside its names files one of the days that never were: its list is
/// rebuilt, and names all. Returns the file that is too many.
fn contradicting(scratch: &Path) -> (Writer, PathBuf) {
    let (dir, other) = (scratch.join("0"), scratch.join("1"));
    let mut writer = open(&dir);
    commit(&mut writer, 9999..10000, 1);
    drop(writer);
    copy(&dir, &other);
    // Both begin the same id epoch, and use its ids for different names.
    let mut writer = open(&other);
    commit(&mut writer, 5000..5000 + EACH, 2);
    seal(&other);
    let [foreign] = &names_files(&other)[..] else { panic!("one seal met names") };
    let mut writer = open(&dir);
    for time in 1..FILES_FEW {
        commit(&mut writer, (time - 1) * EACH..time * EACH, time);
        seal(&dir);
    }
    let here = dir.join("seg").join(foreign.file_name().unwrap());
    fs::copy(foreign, &here).unwrap();
    for file in ["MANIFEST", "MANIFEST.2"] {
        fs::remove_file(dir.join(file)).unwrap();
    }
    assert!(rebuilt(&dir).unwrap().is_some());
    let said: Vec<String> = names_files(&dir).iter().flat_map(|path| verdict(&dir, path)).collect();
    let [said] = &said[..] else { panic!("{said:?}") };
    assert!(said.contains("id 0 is "), "{said}");
    (writer, here)
}

/// P16.
#[test]
fn an_id_that_two_names_files_give_different_meanings_has_none() {
    let scratch = tempfile::tempdir().unwrap();
    let (mut writer, _) = contradicting(scratch.path());
    let dir = &scratch.path().join("0");
    let all = (FILES_FEW - 1) * EACH;
    commit(&mut writer, 0..all, 9);
    assert_eq!(found(dir, all, 9), all - EACH);
    seal(dir);
    assert_eq!((found(dir, all, 9), damaged(dir)), (all - EACH, EACH));
    commit(&mut writer, 0..all, 10);
    commit(&mut writer, 0..all, 11);
    seal(dir);
    assert_eq!((found(dir, all, 10), found(dir, all, 11)), (all, all), "declared once more");
}

/// P16.
#[test]
fn names_files_that_contradict_each_other_are_not_merged() {
    let scratch = tempfile::tempdir().unwrap();
    let (mut writer, foreign) = contradicting(scratch.path());
    let dir = &scratch.path().join("0");
    let all = FILES_FEW * EACH;
    // This seal merges names files.
    commit(&mut writer, all - EACH..all, 9);
    seal(dir);
    assert!(foreign.exists());
    for time in 10..=12 {
        commit(&mut writer, 0..all, time);
        seal(dir);
        assert_eq!(found(dir, all, time), all);
    }
    assert_eq!(damaged(dir), 0);
}
