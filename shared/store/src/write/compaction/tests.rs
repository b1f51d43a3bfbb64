//! Tests of compaction that look at what a merge chooses, writes and leaves.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use dotter_dot::SeriesName;

use super::*;
use crate::disk;
use crate::disk::quick::Quick;
use crate::write::retention::take_rules;

/// A disk that sets no more room aside than this, and notes the most that was asked for.
#[derive(Debug)]
struct Narrow(u64, AtomicU64);

impl disk::Disk for Narrow {
    fn allocate(&self, _: &File, path: &Path, bytes: u64) -> std::io::Result<()> {
        if !path.to_string_lossy().contains("/seg/room-") {
            return Ok(());
        }
        self.1.fetch_max(bytes, Relaxed);
        if bytes > self.0 { Err(std::io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

/// A commit of a thousand dots in each of some months.
fn fill(dir: &Path, months: std::ops::Range<u64>) {
    for month in months {
        let time = |n: u64| Timestamp::from_nanos((month * 30 * 86_400 + n * 10) * 1_000_000_000);
        let name = SeriesName::new("a").unwrap();
        let dots = (0..1000).map(|n| (name.clone(), time(n), (n * n % 7919) as f64 / 7.0));
        crate::write::add::add(dir, dots.collect::<Vec<_>>()).unwrap();
    }
}

#[test]
fn where_there_is_no_room_for_a_merge_a_smaller_one_is_made() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 600..608);
    let list = || manifest::read(&Layout::new(dir.path())).unwrap().segments;
    let each = list().iter().next().unwrap().bytes;
    let with_room =
        |bytes| disk::on(Arc::new(Narrow(bytes, AtomicU64::new(0))), || compact(dir.path(), &|| false));
    let refused = with_room(each / 2).unwrap_err();
    assert!(refused.is_disk_full(), "{refused}");
    assert_eq!(list().len(), 8);
    assert!(with_room(each * 5).unwrap());
    let (mixed, placed): (Vec<_>, Vec<_>) = list().iter().cloned().partition(|entry| entry.place.is_none());
    assert_eq!((mixed.len(), placed.len()), (4, 4), "half of them, each in a window of its own");
}

#[test]
fn a_major_compaction_needs_room_for_a_window_and_not_for_the_store() {
    let dir = tempfile::tempdir().unwrap();
    // Windows of 64 days, of which each is an eighth of that: none are joined, small as they are.
    let rule = "[[rule]]\npattern = \"%\"\nkeep = \"raw:512d\"\n";
    std::fs::write(dir.path().join("retention.toml"), rule).unwrap();
    for _ in 0..3 {
        fill(dir.path(), 600..620);
        take_rules(dir.path()).unwrap();
        compact_major(dir.path(), &|| false, &|_, _| ()).unwrap();
        let bytes: u64 =
            manifest::read(&Layout::new(dir.path())).unwrap().segments.iter().map(|entry| entry.bytes).sum();
        let disk = Arc::new(Narrow(u64::MAX, AtomicU64::new(0)));
        disk::on(disk.clone(), || compact_major(dir.path(), &|| false, &|_, _| ())).unwrap();
        let asked = disk.1.load(Relaxed);
        assert!(asked > 0 && asked * 3 < bytes, "{asked} of {bytes}");
    }
}

/// So many commits of a dot for each of four series over 96 hours; returns how often a dot was written again on
/// average, by the level that it was written on, and how many segments are left.
fn rewrites(commits: u64) -> (BTreeMap<u32, f64>, usize) {
    let dir = tempfile::tempdir().unwrap();
    let rule = "[[rule]]\npattern = \"short%\"\nkeep = \"raw:2d\"\n";
    std::fs::write(dir.path().join("retention.toml"), rule).unwrap();
    let names = ["a", "b", "short.a", "short.b"].map(|name| SeriesName::new(name).unwrap());
    let layout = Layout::new(dir.path());
    let mut known = BTreeSet::new();
    let mut written: BTreeMap<u32, u64> = BTreeMap::new();
    let mut left = 0;
    for commit in 0..commits {
        let time = 1_710_460_800_000_000_000 + commit * (96 * 3_600_000_000_000 / commits);
        let dots = names.iter().map(|name| (name.clone(), Timestamp::from_nanos(time), commit as f64));
        crate::write::add::add(dir.path(), dots.collect::<Vec<_>>()).unwrap();
        if commit == 0 {
            take_rules(dir.path()).unwrap();
        }
        if commit % 8 != 7 {
            continue;
        }
        while compact(dir.path(), &|| false).unwrap() {
            let listed = manifest::read(&layout).unwrap().segments;
            left = listed.len();
            for entry in listed.iter().filter(|entry| entry.place.is_some()) {
                if known.insert(entry.number()) {
                    *written.entry(entry.level).or_default() += entry.dots;
                }
            }
        }
    }
    let dots = (commits * names.len() as u64) as f64;
    (written.into_iter().map(|(level, written)| (level, written as f64 / dots)).collect(), left)
}

#[test]
fn small_commits_are_written_again_once_a_level_at_most() {
    let (written, left) = disk::on(Arc::new(Quick), || rewrites(600));
    assert!(written.values().all(|times| *times <= 1.0) && written.len() <= 5, "{written:?}");
    assert!(written.contains_key(&3), "{written:?}");
    assert!(left < 100, "{left} segments");
}
