//! A damaged file of any tier holds up nothing else, and nothing else is lost; what can be restored goes on where it was.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use dotter_dot::TimeRange;
use dotter_store::{compact, compact_major, verify};
use support::made::{HOUR, MINUTE, Made, START, rule};

const TEN: u64 = 10 * MINUTE;

fn hour(made: &mut Made) {
    let from = made.wall;
    for series in ["a", "brief"] {
        made.add(series, (0..60).map(|minute| (from + minute * MINUTE, minute as f64)));
    }
    made.live(HOUR);
    made.compact();
}

/// By ten minutes, how many dots of `a` there are.
fn counts(made: &Made) -> Vec<(u64, u64)> {
    let steps = made.steps("a", TimeRange::ALL, TEN);
    steps.iter().map(|step| (step.time.nanos() / 1_000_000_000, step.count)).collect()
}

fn segments(made: &Made) -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        fs::read_dir(made.dir().join("seg")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn write(path: &Path, bytes: &[u8]) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn whichever_segment_is_damaged_the_others_grow_old_and_nothing_else_is_lost() {
    let mut made = Made::new(&(rule("brief", "raw:2h, 1m:4h") + &rule("%", "raw:2h, 1m:4h, 10m:30d")));
    (0..14).for_each(|_| hour(&mut made));
    let all: Vec<(u64, u64)> = (0..14 * 6).map(|n| (START + n * TEN, 10)).collect();
    assert_eq!(counts(&made), all);
    let tiers: BTreeSet<_> = made.snapshot().stat().places.iter().map(|placed| placed.place.tier).collect();
    assert!(tiers.len() >= 3, "{tiers:?}");
    let files = segments(&made);
    assert!(files.len() > 8, "{} segments", files.len());
    let mut lost_somewhere = 0;
    for file in &files {
        for of_names in [false, true] {
            let mut twin = made.twin();
            let path = twin.dir().join("seg").join(file.file_name().unwrap());
            let whole = fs::read(&path).unwrap();
            let keys_at =
                u64::from_le_bytes(whole[whole.len() - 80..whole.len() - 72].try_into().unwrap()) as usize;
            let mut bytes = whole.clone();
            bytes[if of_names { keys_at + 3 } else { 40 }] ^= 1;
            write(&path, &bytes);
            // What is in that file is not seen.
            let seen: BTreeSet<_> = counts(&twin).into_iter().collect();
            let lost: BTreeSet<u64> =
                all.iter().filter(|step| !seen.contains(*step)).map(|step| step.0).collect();
            lost_somewhere += lost.len();
            (0..9).for_each(|_| hour(&mut twin));
            let what = format!("{file:?} {of_names}");
            let now: BTreeSet<_> = counts(&twin).into_iter().collect();
            for n in 0..23 * 6 {
                let step = START + n * TEN;
                assert!(now.contains(&(step, 10)) || lost.contains(&step), "{what}: {} min", n * 10);
            }
            let times = twin.times("a").into_iter().filter(|time| !lost.contains(&(time / TEN * TEN)));
            assert!(
                times.min().is_some_and(|oldest| oldest + 7 * HOUR >= twin.wall),
                "{what}: others are held up"
            );
            let damage = verify(twin.dir()).unwrap().damage;
            assert!(damage.iter().all(|damage| damage.path == path), "{what}: {damage:?}");
            // Restored, it goes too, and all is there.
            if path.exists() {
                assert_eq!(fs::read(&path).unwrap(), bytes, "{what}: what cannot be judged stays as it is");
                write(&path, &whole);
                (0..8).for_each(|_| hour(&mut twin));
                let all: Vec<(u64, u64)> = (0..31 * 6).map(|n| (START + n * TEN, 10)).collect();
                assert_eq!(counts(&twin), all, "{what}");
                assert!(twin.times("a")[0] + 7 * HOUR >= twin.wall, "{what}");
                assert!(!path.exists() || verify(twin.dir()).unwrap().damage.is_empty(), "{what}");
            }
        }
    }
    assert!(lost_somewhere > 0);
}

/// So many hours with a dot each ten seconds of two series.
fn hours(made: &mut Made, count: u64) {
    for _ in 0..count {
        let from = made.wall;
        for series in ["a", "b"] {
            made.add(series, (0..360).map(|n| (from + n * 10, (n % 97) as f64)));
        }
        made.live(HOUR);
        made.compact();
    }
}

/// How many dots the steps of a series say they are made of, those of the dots that are still there among them.
fn counted(made: &Made, series: &str) -> u64 {
    made.counted(series, TimeRange::ALL, MINUTE)
}

/// Damages a chunk of the steps of `a`, and nothing else; returns how many dots these are made of.
fn harm_steps(made: &Made) -> u64 {
    let harm = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        // The first chunk of a segment is of its first series.
        bytes[40] ^= 1;
        write(path, &bytes);
    };
    for path in segments(made) {
        let twin = made.twin();
        harm(&twin.dir().join("seg").join(path.file_name().unwrap()));
        let lost = counted(made, "a") - counted(&twin, "a");
        if lost > 0 && twin.times("a") == made.times("a") {
            harm(&path);
            return lost;
        }
    }
    panic!("no segment begins with a chunk of steps of a");
}

/// Shows P16.
#[test]
fn a_damaged_chunk_of_steps_is_left_out_of_a_merge_and_counted_once() {
    let mut made = Made::new(&rule("%", "raw:2h, 20s:30d"));
    hours(&mut made, 8);
    let whole = counted(&made, "a");
    assert_eq!(whole, 8 * 360);
    let lost = harm_steps(&made);
    // An hour of steps of twenty seconds, of two dots each.
    assert_eq!(lost, 360);
    compact_major(made.dir(), &|| false, &|_, _| ()).unwrap();
    assert!(verify(made.dir()).unwrap().damage.is_empty(), "the damaged segment is merged");
    assert_eq!(made.snapshot().ledger().totals.damaged, 180, "steps");
    assert_eq!((counted(&made, "a"), counted(&made, "b")), (whole - lost, whole));
    // Whatever comes after that finds nothing damaged.
    assert!(!compact(made.dir(), &|| false).unwrap());
    hours(&mut made, 12);
    compact_major(made.dir(), &|| false, &|_, _| ()).unwrap();
    assert_eq!(made.snapshot().ledger().totals.damaged, 180);
    assert_eq!((counted(&made, "a"), counted(&made, "b")), (20 * 360 - lost, 20 * 360));
    assert!(verify(made.dir()).unwrap().damage.is_empty());
}

#[test]
fn a_damaged_chunk_of_steps_that_many_windows_share_is_counted_once() {
    let mut made = Made::new(&rule("%", "raw:2h, 20s:30d"));
    hours(&mut made, 22);
    compact_major(made.dir(), &|| false, &|_, _| ()).unwrap();
    let lost = harm_steps(&made);
    // More windows of an hour than are written at a time.
    assert!(lost >= 14 * 360, "{lost} dots");
    let whole = counted(&made, "b");
    assert!(made.rules(&rule("%", "raw:2h, 20s:30h")).changed);
    made.retain();
    assert_eq!(made.snapshot().ledger().totals.damaged, lost / 2, "steps of two dots");
    assert_eq!((counted(&made, "a"), counted(&made, "b")), (whole - lost, whole));
    assert!(verify(made.dir()).unwrap().damage.is_empty());
}

#[test]
fn a_reader_leaves_out_one_chunk_of_steps_and_reads_the_others() {
    let mut made = Made::new(&rule("%", "raw:2h, 2s:60d"));
    for _ in 0..12 {
        let from = made.wall;
        made.add("a", (0..1_800).map(|n| (from + n * 2, (n % 97) as f64)));
        made.live(HOUR);
        made.compact();
    }
    compact_major(made.dir(), &|| false, &|_, _| ()).unwrap();
    let whole = counted(&made, "a");
    let lost = harm_steps(&made);
    assert!((1..=8_192).contains(&lost), "{lost} of {whole} dots");
    assert!(lost * 2 < whole, "{lost} of {whole} dots");
}
