//! Segments that are not what they were: cut short, flipped, another file. Never a wrong value, and what is not hit is
//! read.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use dotter_dot::{NamedDots, SeriesName, TimeRange, Timestamp};
use dotter_store::{Reader, verify};
use support::copy;

#[test]
fn a_segment_that_is_cut_short_while_it_is_read_ends_no_process() {
    dotter_store::survive_truncation().unwrap();
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    let name = SeriesName::new("long").unwrap();
    let mut word = 1_u64;
    let mut rows = Vec::new();
    for time in 0..50_000 {
        // Values that no codec makes small.
        word = word.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23) ^ time;
        rows.push((name.clone(), Timestamp::from_nanos(time), f64::from_bits(word)));
    }
    dotter_store::add(&dir, rows).unwrap();
    let snapshot = Reader::open(&dir).unwrap().snapshot();
    assert_eq!(snapshot.read("long", TimeRange::ALL).unwrap().len(), 50_000);
    let segment = fs::read_dir(dir.join("seg")).unwrap().next().unwrap().unwrap().path();
    fs::set_permissions(&segment, fs::Permissions::from_mode(0o600)).unwrap();
    fs::File::options().write(true).open(&segment).unwrap().set_len(20_000).unwrap();
    // What had been read is no more; that there was a page of zeros in its place is noticed.
    let found = snapshot.read("long", TimeRange::ALL).map_or(0, |dots| dots.len());
    assert!(found < 50_000, "{found} dots of a file that has lost most of them");
    let again = snapshot.read("long", TimeRange::ALL).map_or(0, |dots| dots.len());
    assert!(again <= found, "what was zeros is not believed from then on");
    let verified = verify(&dir).unwrap();
    assert!(!verified.damage.is_empty());
}

/// Shows P16.
#[test]
fn a_damaged_key_block_costs_its_own_series_and_a_damaged_shared_block_too() {
    let dir = tempfile::tempdir().unwrap();
    let series = 6_000;
    let name = |n: u64| SeriesName::new(&format!("pod.{n:06}.cpu")).unwrap();
    dotter_store::add(
        dir.path(),
        (0..series).map(|n| (name(n), Timestamp::from_nanos(n % 7), n as f64)).collect::<Vec<_>>(),
    )
    .unwrap();
    let path = fs::read_dir(dir.path().join("seg")).unwrap().next().unwrap().unwrap().path();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let whole = fs::read(&path).unwrap();
    let word = |at: usize| u64::from_le_bytes(whole[at..at + 8].try_into().unwrap()) as usize;
    let tail = whole.len() - 144;
    // A byte in the middle of the key blocks, then one in the middle of the shared blocks.
    for at in [(word(tail + 64) + word(tail + 72)) / 2, word(tail + 64) / 2] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let snapshot = Reader::open(dir.path()).unwrap().snapshot();
        let mut missing = 0;
        for n in 0..series {
            match snapshot.read(name(n).as_str(), TimeRange::ALL).unwrap()[..] {
                [dot] => assert_eq!(dot.value, n as f64),
                [] => missing += 1,
                ref dots => panic!("{n}: {dots:?}"),
            }
        }
        assert!((1..3_000).contains(&missing), "{missing} of {series} series are missing");
        assert!(snapshot.stat().damaged_chunks >= missing);
        let verified = verify(dir.path()).unwrap();
        assert!(!verified.damage.is_empty() && verified.damage.iter().all(|damage| damage.path == path));
    }
}

/// Shows P34.
#[test]
fn a_merge_leaves_a_segment_whose_names_are_damaged_alone_until_it_is_restored() {
    let dir = tempfile::tempdir().unwrap();
    let name = SeriesName::new("a").unwrap();
    for time in 0..20 {
        dotter_store::add(dir.path(), vec![(name.clone(), Timestamp::from_nanos(time), 1.0)]).unwrap();
    }
    let segments = || fs::read_dir(dir.path().join("seg")).unwrap().map(|entry| entry.unwrap().path());
    let path = segments().next().unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let whole = fs::read(&path).unwrap();
    let keys_at = u64::from_le_bytes(whole[whole.len() - 80..whole.len() - 72].try_into().unwrap()) as usize;
    // In the key block, then in the shared block.
    for at in [keys_at + 3, 20] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&path, &bytes).unwrap();
        dotter_store::compact_major(dir.path(), &|| false, &|_, _| ()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), bytes, "it is still there");
        assert!(segments().count() < 20, "its neighbours are merged");
        let dots =
            |dir: &Path| Reader::open(dir).unwrap().snapshot().read("a", TimeRange::ALL).unwrap().len();
        assert_eq!(dots(dir.path()), 19);
        fs::write(&path, &whole).unwrap();
        assert_eq!(dots(dir.path()), 20);
        assert!(verify(dir.path()).unwrap().damage.is_empty());
    }
}

#[test]
fn verify_names_a_flipped_bit_that_no_read_looks_at() {
    let dir = tempfile::tempdir().unwrap();
    let name = SeriesName::new("a").unwrap();
    dotter_store::add(dir.path(), vec![(name, Timestamp::from_nanos(1), 1.0)]).unwrap();
    let path = fs::read_dir(dir.path().join("seg")).unwrap().next().unwrap().unwrap().path();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[12] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let verified = verify(dir.path()).unwrap();
    assert_eq!(verified.damage.len(), 1);
    assert!(verified.damage[0].what.starts_with("checksum of the file"), "{}", verified.damage[0].what);
}

#[test]
fn another_segment_under_a_listed_name_is_damage_and_never_gives_its_rows() {
    let root = tempfile::tempdir().unwrap();
    let dir = |name: &str| root.path().join(name);
    let add = |to: &Path, from: u64| {
        let row = |n: u64| (SeriesName::new("rows.b").unwrap(), Timestamp::from_nanos(n), n as f64);
        dotter_store::add(to, (from..from + 40).map(row).collect::<NamedDots>()).unwrap();
    };
    let segments = |of: &Path| -> BTreeSet<PathBuf> {
        fs::read_dir(of.join("seg")).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
    };
    let added = |to: &str, from: u64| {
        let before = segments(&dir(to));
        add(&dir(to), from);
        segments(&dir(to)).difference(&before).next().unwrap().clone()
    };
    // Two stores with the same history, but for their names and their rows; of one, a later moment as well.
    let first = &added("one", 0);
    let other = &added("other", 1000);
    copy(&dir("one"), &dir("later"));
    copy(&dir("one"), &dir("again"));
    let second = &added("one", 2000);
    let same = &added("again", 2000);
    let twin = &added("later", 3000);
    let last = &added("later", 4000);
    // Another store's; one of the same store: with the same rows at the same place in the order, with others there, of
    // another place, listed under another name.
    for (from, to) in
        [(other, first), (same, second), (twin, second), (last, second), (first, second), (second, first)]
    {
        let told = format!("{} as {}", from.display(), to.display());
        let spoiled = tempfile::tempdir().unwrap();
        copy(&dir("one"), spoiled.path());
        let path = spoiled.path().join("seg").join(to.file_name().unwrap());
        fs::remove_file(&path).unwrap();
        fs::copy(from, &path).unwrap();
        let snapshot = Reader::open(spoiled.path()).unwrap().snapshot();
        let times = snapshot.read("rows.b", TimeRange::ALL).unwrap();
        let kept = if to == first { 2000..2040 } else { 0..40 };
        assert!(times.iter().map(|dot| dot.time.nanos()).eq(kept), "{told}");
        assert_eq!(snapshot.stat().damaged_segments, 1, "{told}");
        let damage = verify(spoiled.path()).unwrap().damage;
        assert_eq!(damage.len(), 1, "{told}");
        assert_eq!(damage[0].path, path);
        let what = &damage[0].what;
        assert!(what.contains("number ") && what.contains(", expected "), "{what}");
        assert_eq!(what.contains(';'), from != same, "{what}");
        // A compaction leaves it where it is: it may be needed to see what happened.
        dotter_store::compact_major(spoiled.path(), &|| false, &|_, _| ()).unwrap();
        assert!(path.exists(), "{told}");
        assert_eq!(verify(spoiled.path()).unwrap().damage[0].path, path);
    }
}
