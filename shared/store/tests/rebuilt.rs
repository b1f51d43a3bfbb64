//! The list of what counts is damaged or gone: what was acknowledged is there, nothing is there twice, nothing is
//! removed, and everybody is told.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dotter_dot::{Dots, Incarnation, NamedDots, SeriesName, Shape, TimeRange, Timestamp};
use dotter_store::{Reader, RingPart, Transaction, Writer, add, disk, rebuilt, seal_all, tidy, verify};
use support::{copy, machine};

/// Adds 40 rows of a series, from another process as it were; a day apart, their segments have names of their own.
fn add_rows(dir: &Path, name: &str, day: u64) {
    let row =
        |n: u64| (SeriesName::new(name).unwrap(), Timestamp::from_secs(day * 86_400 + n).unwrap(), n as f64);
    add(dir, (0..40).map(row).collect::<NamedDots>()).unwrap();
}

/// Commits clock stamps through the log: were they there twice, one would see it.
fn log(writer: &mut Writer, seconds: std::ops::Range<u64>) {
    let key = writer.series(&SeriesName::new("log").unwrap(), &Shape::number());
    let mut dots = Dots::default();
    seconds.for_each(|n| dots.push_number(key, true, Timestamp::from_secs(n).unwrap(), n as f64));
    writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).unwrap();
    writer.sync().unwrap();
}

fn rows(dir: &Path, name: &str) -> usize {
    Reader::open(dir).unwrap().snapshot().read(name, TimeRange::ALL).unwrap().len()
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        fs::read_dir(dir.join("seg")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// A store, and the segment that an add would leave there which is killed just before it is listed.
fn store_and_leftover(root: &Path) -> (PathBuf, PathBuf) {
    let (dir, killed) = (root.join("store"), root.join("killed"));
    add_rows(&dir, "base", 1);
    copy(&dir, &killed);
    add_rows(&killed, "killed", 2);
    let leftover =
        segments(&killed).into_iter().find(|path| !dir.join("seg").join(path.file_name().unwrap()).exists());
    (dir, leftover.unwrap())
}

fn leave(leftover: &Path, dir: &Path) -> PathBuf {
    let path = dir.join("seg").join(leftover.file_name().unwrap());
    fs::copy(leftover, &path).unwrap();
    path
}

/// Damages the whole list in both of its files.
fn spoil_list(dir: &Path) {
    for name in ["MANIFEST", "MANIFEST.2"] {
        let mut bytes = fs::read(dir.join(name)).unwrap();
        bytes[4096..].iter_mut().for_each(|byte| *byte ^= 0xff);
        fs::write(dir.join(name), bytes).unwrap();
    }
}

#[test]
fn a_commit_beside_what_a_killed_one_left_survives_a_damaged_list() {
    let root = tempfile::tempdir().unwrap();
    let (dir, leftover) = store_and_leftover(root.path());
    // Both have one edit number, which the list had not come to when the first was killed.
    leave(&leftover, &dir);
    add_rows(&dir, "acked", 3);
    spoil_list(&dir);
    for _ in 0..2 {
        assert_eq!((rows(&dir, "base"), rows(&dir, "acked")), (40, 40));
        // The next commit makes the rebuilt list the list, and a writer that begins removes litter.
        add_rows(&dir, "more", 4);
        drop(Writer::open(&dir).unwrap());
    }
    assert_eq!(rows(&dir, "more"), 40);
}

#[test]
fn a_rebuilt_list_is_told_of_and_nothing_is_swept_until_somebody_has_looked() {
    for missing in [false, true] {
        let root = tempfile::tempdir().unwrap();
        let (dir, leftover) = store_and_leftover(root.path());
        add_rows(&dir, "acked", 3);
        add_rows(&dir, "acked too", 4);
        // It has no end yet, so it is not listed.
        let unlisted = leave(&leftover, &dir);
        let bytes = fs::read(&unlisted).unwrap();
        fs::remove_file(&unlisted).unwrap();
        fs::write(&unlisted, &bytes[..bytes.len() - 40]).unwrap();
        assert_eq!(rebuilt(&dir).unwrap(), None);
        assert!(verify(&dir).unwrap().damage.is_empty());
        if missing {
            fs::remove_file(dir.join("MANIFEST")).unwrap();
            fs::remove_file(dir.join("MANIFEST.2")).unwrap();
        } else {
            spoil_list(&dir);
        }
        let named =
            |place: &str| verify(&dir).unwrap().damage.iter().any(|damage| damage.path.ends_with(place));
        assert!(named("MANIFEST"));
        assert!(rebuilt(&dir).unwrap().unwrap().contains("was rebuilt: no "));
        assert_eq!((rows(&dir, "acked"), rows(&dir, "acked too")), (40, 40));
        drop(Writer::open(&dir).unwrap());
        add_rows(&dir, "more", 5);
        drop(Writer::open(&dir).unwrap());
        assert!(!named("MANIFEST") && named("MANIFEST.damaged"));
        assert!(rebuilt(&dir).unwrap().unwrap().contains("MANIFEST.damaged"));
        assert!(unlisted.exists(), "nothing is removed for not being listed");
        let backup = root.path().join("backup");
        dotter_store::backup(&dir, &backup, &|| false).unwrap();
        assert!(rebuilt(&backup).unwrap().is_some(), "a copy of it may miss the same deletes");
        fs::remove_file(dir.join("MANIFEST.damaged")).unwrap();
        assert_eq!(rebuilt(&dir).unwrap(), None);
        assert!(verify(&dir).unwrap().damage.is_empty());
        drop(Writer::open(&dir).unwrap());
        assert!(!unlisted.exists(), "what a killed commit left goes as ever");
        assert_eq!((rows(&dir, "acked"), rows(&dir, "more")), (40, 40));
    }
}

/// A WAL file with a commit of another process in its middle: its seal makes two segments, listed together.
fn seal_in_two(dir: &Path) -> Vec<PathBuf> {
    let mut writer = Writer::open(dir).unwrap();
    log(&mut writer, 0..10);
    add_rows(dir, "other", 1);
    log(&mut writer, 10..20);
    drop(writer);
    drop(Writer::open(dir).unwrap());
    let before = segments(dir);
    seal_all(dir, &|| false).unwrap();
    let made: Vec<_> = segments(dir).into_iter().filter(|path| !before.contains(path)).collect();
    assert_eq!(made.len(), 2);
    made
}

#[test]
fn half_of_a_swap_that_listed_several_segments_is_not_listed_again() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    let made = seal_in_two(&dir);
    let ledger = Reader::open(&dir).unwrap().snapshot().ledger().clone();
    for lost in &made {
        let spoiled = root.path().join(lost.file_name().unwrap());
        copy(&dir, &spoiled);
        fs::remove_file(spoiled.join("seg").join(lost.file_name().unwrap())).unwrap();
        spoil_list(&spoiled);
        // The log they were made from is still there: all its dots, each once.
        for _ in 0..2 {
            assert_eq!((rows(&spoiled, "log"), rows(&spoiled, "other")), (20, 40), "{}", lost.display());
            assert_eq!(*Reader::open(&spoiled).unwrap().snapshot().ledger(), ledger);
            drop(Writer::open(&spoiled).unwrap());
            seal_all(&spoiled, &|| false).unwrap();
        }
    }
    // With both of them there, the commit counts.
    spoil_list(&dir);
    assert_eq!((rows(&dir, "log"), rows(&dir, "other")), (20, 40));
    assert_eq!(Reader::open(&dir).unwrap().snapshot().stat().wal_dots, 0);
}

#[test]
fn of_segments_that_were_listed_together_those_count_that_are_left_when_others_were_merged_or_grew_old() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    let days = |days: u64| std::time::Duration::from_secs(days * 86_400);
    let rules =
        |dir: &Path| fs::write(dir.join("retention.toml"), "[[rule]]\npattern = \"%\"\nkeep = \"raw:40d\"\n");
    // Merged to a segment for each window; then those of the last window with others.
    (0..8).for_each(|day| add_rows(&dir, "a", day * 4));
    rules(&dir).unwrap();
    assert!(dotter_store::take_rules(&dir).unwrap().changed);
    assert!(dotter_store::compact(&dir, &|| false).unwrap());
    let apart = segments(&dir).len();
    assert!(apart > 2, "{apart} segments");
    (0..8).for_each(|_| add_rows(&dir, "b", 28));
    while dotter_store::compact(&dir, &|| false).unwrap() {}
    // And the first window goes.
    let pass = |day: u64| {
        let wall = Timestamp::from_secs(0).unwrap().saturating_add(days(day));
        dotter_store::retain(
            &dir,
            &dotter_store::Machine { wall, boot: [1; 16], since_boot: days(day) },
            &dotter_store::Limits::default(),
            &|| false,
        )
    };
    add_rows(&dir, "a", 50);
    // The rules are new to what was there: nothing goes for a day.
    pass(50).unwrap();
    assert_eq!(pass(51).unwrap().segments, 0);
    assert!(pass(52).unwrap().segments > 0);
    add_rows(&dir, "c", 50);
    let before = (rows(&dir, "a"), rows(&dir, "b"), rows(&dir, "c"));
    assert!(before.0 > 60, "{before:?}");
    spoil_list(&dir);
    for _ in 0..2 {
        assert_eq!((rows(&dir, "a"), rows(&dir, "b"), rows(&dir, "c")), before);
        drop(Writer::open(&dir).unwrap());
    }
}

#[test]
fn a_part_of_a_seal_counts_when_the_other_was_merged_and_the_log_is_gone() {
    for is_first in [false, true] {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("store");
        drop(Writer::open(&dir).unwrap());
        // A merge takes sixteen files of level 0, the last of them the first part of the seal.
        (0..if is_first { 15 } else { 0 }).for_each(|day| add_rows(&dir, "before", day));
        let made = seal_in_two(&dir);
        if is_first {
            assert!(dotter_store::compact(&dir, &|| false).unwrap());
        }
        (2..4).for_each(|day| add_rows(&dir, "after", day));
        let left = made.iter().filter(|path| path.exists()).count();
        assert_eq!(left, if is_first { 1 } else { 2 });
        let counts = || ["before", "log", "other", "after"].map(|name| rows(&dir, name));
        let expected = counts();
        assert_eq!((expected[1], expected[2]), (20, 40));
        spoil_list(&dir);
        for _ in 0..2 {
            assert_eq!(counts(), expected);
            drop(Writer::open(&dir).unwrap());
        }
    }
}

#[test]
fn what_a_killed_merge_left_is_not_listed_beside_the_merge_that_came_after_it() {
    let root = tempfile::tempdir().unwrap();
    let (dir, killed) = (root.path().join("store"), root.path().join("killed"));
    for seconds in [0..10, 10..20] {
        log(&mut Writer::open(&dir).unwrap(), seconds);
        drop(Writer::open(&dir).unwrap());
        seal_all(&dir, &|| false).unwrap();
    }
    // One that is killed just before its segment is listed, while a collector is there that sweeps at its start only.
    copy(&dir, &killed);
    dotter_store::compact_major(&killed, &|| false, &|_, _| ()).unwrap();
    let made =
        segments(&killed).into_iter().find(|path| !dir.join("seg").join(path.file_name().unwrap()).exists());
    leave(&made.unwrap(), &dir);
    dotter_store::compact_major(&dir, &|| false, &|_, _| ()).unwrap();
    assert_eq!(rows(&dir, "log"), 20);
    spoil_list(&dir);
    for _ in 0..2 {
        assert_eq!(rows(&dir, "log"), 20);
        drop(Writer::open(&dir).unwrap());
        add_rows(&dir, "more", 5);
    }
}

/// Flips a bit of the last edit that is published.
fn spoil_last_edit(list: &Path) {
    let mut bytes = fs::read(list).unwrap();
    let until = u64::from_le_bytes(bytes[512..520].try_into().unwrap()) as usize;
    bytes[until - 16] ^= 1;
    fs::write(list, bytes).unwrap();
}

#[test]
fn a_last_edit_that_is_damaged_is_missed_in_whichever_boot_and_read_from_the_other_file() {
    for in_both in [false, true] {
        for boot in [None, Some([7; 16])] {
            let root = tempfile::tempdir().unwrap();
            let dir = root.path().join("store");
            add_rows(&dir, "base", 1);
            add_rows(&dir, "acked", 2);
            spoil_last_edit(&dir.join("MANIFEST"));
            if in_both {
                spoil_last_edit(&dir.join("MANIFEST.2"));
            }
            let look = || {
                assert_eq!((rows(&dir, "base"), rows(&dir, "acked")), (40, 40), "{in_both} {boot:?}");
                assert_eq!(rebuilt(&dir).unwrap().is_some(), in_both, "{boot:?}");
                let damage = verify(&dir).unwrap().damage;
                assert_eq!(damage.len(), 1 + usize::from(in_both), "{boot:?}: {damage:?}");
                add_rows(&dir, "more", 3);
                assert_eq!((rows(&dir, "acked"), rows(&dir, "more")), (40, 40), "{in_both} {boot:?}");
            };
            match boot {
                Some(boot) => disk::in_boot(boot, look),
                None => look(),
            }
        }
    }
}

#[test]
fn rings_that_moved_to_a_file_which_a_lost_edit_named_are_known() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    let now = Timestamp::from_secs(1_710_504_000).unwrap();
    let ring = |number| Incarnation([number; 16]);
    let files = || -> Vec<String> {
        let entries = fs::read_dir(dir.join("ledger")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let mut named = Vec::new();
    for number in [1, 2] {
        let mut writer = Writer::open(&dir).unwrap();
        let part = RingPart { incarnation: ring(number), application: "a", now, ..RingPart::default() };
        writer.finish(&part, &[], now).unwrap();
        writer.sync().unwrap();
        log(&mut writer, 0..1);
        drop(writer);
        drop(Writer::open(&dir).unwrap());
        seal_all(&dir, &|| false).unwrap();
        // What the one before named goes with the second of these.
        while tidy(&dir, &machine(now)).unwrap() {}
        named.extend(files());
    }
    assert_eq!(files(), named[1..], "the second took the place of the first");
    let look = || {
        let ledger = Reader::open(&dir).unwrap().snapshot().ledger().clone();
        assert!(ledger.damage().is_empty(), "{:?}", ledger.damage());
        [1, 2].map(|number| ledger.account(ring(number)).is_some_and(|account| account.finished.is_some()))
    };
    assert_eq!(look(), [true, true]);
    for list in ["MANIFEST", "MANIFEST.2"] {
        let mut bytes = fs::read(dir.join(list)).unwrap();
        let name = named[1].as_bytes();
        let at = bytes.windows(name.len()).position(|part| part == name).unwrap();
        bytes[at] ^= 1;
        fs::write(dir.join(list), bytes).unwrap();
    }
    assert_eq!(look(), [true, true], "rebuilt");
    add_rows(&dir, "more", 3);
    assert_eq!(look(), [true, true], "rebuilt and written");
    // Without any such file, and with a list whose last edit is in one of its files alone, a reader says so.
    fs::remove_file(dir.join("ledger").join(&named[1])).unwrap();
    spoil_last_edit(&dir.join("MANIFEST"));
    let (told, answer) = std::sync::mpsc::channel();
    let dir = dir.clone();
    std::thread::spawn(move || told.send(Reader::open(&dir).unwrap().snapshot().ledger().damage()).unwrap());
    let damage = answer.recv_timeout(Duration::from_secs(60)).expect("it does not read for ever");
    assert!(damage[0].contains("missing"), "{damage:?}");
}
