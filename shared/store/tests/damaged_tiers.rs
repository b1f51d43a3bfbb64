//! A damaged file of any tier holds up nothing else, and nothing else is lost; what can be restored goes on where it was.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use dotter_dot::TimeRange;
use dotter_store::verify;
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
