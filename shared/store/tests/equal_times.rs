//! Series that have dots at the same times: each chunk says where the times are, and they are the right ones.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use dotter_dot::{Cell, Dots, NamedDots, SeriesName, Shape, TimeRange, Timestamp};
use dotter_store::{
    Deletion, Pattern, Reader, Snapshot, Transaction, Verified, Writer, add, compact, compact_major, delete,
    seal_all, verify,
};
use support::{Random, SHAPES, push, row, rows, shape};

/// Times of scrapes that are up to 40 ms late, so that they cost more than half a byte each.
fn late(random: &mut Random, scrapes: std::ops::Range<u64>) -> Vec<u64> {
    scrapes.map(|n| 1_700_000_000_000_000_000 + n * 15_000_000_000 + random.below(41) * 1_000_000).collect()
}

fn open(dir: &Path) -> Snapshot {
    Reader::open(dir).unwrap().snapshot()
}

fn name(text: impl AsRef<str>) -> SeriesName {
    SeriesName::new(text.as_ref()).unwrap()
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> =
        fs::read_dir(dir.join("seg")).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

fn major(dir: &Path) -> dotter_store::Compacted {
    compact_major(dir, &|| false, &|_, _| ()).unwrap()
}

#[test]
fn many_series_with_equal_times_cost_little_more_than_their_values() {
    let mut random = Random::from_env();
    let dir = tempfile::tempdir().unwrap();
    let mut dots = 0;
    let check = |dots: u64, when: &str| {
        let bytes = open(dir.path()).stat().segment_bytes;
        // Of times alone each dot would have more than half a byte.
        assert!(bytes * 10 < dots, "{bytes} bytes of {dots} dots {when}");
        let found: usize = (0..40)
            .map(|series| open(dir.path()).read(&format!("node.{series}"), TimeRange::ALL).unwrap().len())
            .sum();
        assert_eq!(found as u64, dots);
        assert!(verify(dir.path()).unwrap().damage.is_empty());
    };
    for round in 0..9 {
        let times = late(&mut random, round * 2_100..(round + 1) * 2_100);
        let mut named = NamedDots::default();
        for series in 0..40 {
            let name = name(format!("node.{series}"));
            for time in &times {
                named.push(&name, &Shape::number(), Timestamp::from_nanos(*time), Cell::number(1.5));
            }
        }
        dots += 40 * 2_100;
        add(dir.path(), named).unwrap();
        if round == 7 {
            check(dots, "as they came");
            // Chunks of so many dots are copied.
            while compact(dir.path(), &|| false).unwrap() {}
            check(dots, "merged");
            assert_eq!(open(dir.path()).stat().segments, 1);
        }
    }
    for _ in 0..2 {
        major(dir.path());
        check(dots, "merged all");
    }
}

/// Every dot of a store, by series: time, whether the clock stamped it, shape, row bytes.
type All = BTreeMap<String, Vec<(u64, bool, Shape, Vec<u8>)>>;

fn check(dir: &Path, all: &All, random: &mut Random, when: &str) {
    let snapshot = open(dir);
    let mut scan = snapshot.scan();
    for (name, expected) in all {
        assert!(rows(&mut scan, name, TimeRange::ALL) == *expected, "{name} {when}");
        // A part, which begins and ends within chunks.
        let (from, until) = (random.below(expected.len() as u64), random.below(expected.len() as u64));
        let (from, until) = (from.min(until) as usize, from.max(until) as usize);
        let range = TimeRange {
            from: Timestamp::from_nanos(expected[from].0),
            until: Timestamp::from_nanos(expected[until].0),
        };
        assert!(rows(&mut scan, name, range) == expected[from..until], "{name} {from}..{until} {when}");
    }
    assert_eq!(snapshot.stat().damaged_chunks, 0);
    assert!(verify(dir).unwrap().damage.is_empty());
}

#[test]
fn dots_of_every_shape_and_both_kinds_keep_their_times_through_merges() {
    let mut random = Random::from_env();
    let dir = tempfile::tempdir().unwrap();
    let mut all = All::new();
    let commit = |scrapes: std::ops::Range<u64>, random: &mut Random, all: &mut All| {
        // Some series are scraped by another one, and some alone.
        let groups: Vec<Vec<u64>> = (0..4).map(|_| late(random, scrapes.clone())).collect();
        let mut writer = Writer::open(dir.path()).unwrap();
        let mut dots = Dots::default();
        for series in 0..2 * SHAPES {
            let (of, clock) = (series % SHAPES, series < SHAPES);
            let name = name(format!("s{series:02}"));
            let key = writer.series(&name, &shape(of));
            let group = random.below(5) as usize;
            let alone = late(random, scrapes.clone());
            let times = groups.get(group).unwrap_or(&alone);
            let kept = all.entry(name.as_str().to_owned()).or_default();
            for time in times {
                let bits = random.below(1000);
                push(&mut dots, key, of, clock, *time, bits);
                kept.push((*time, clock, shape(of), row(of, bits)));
            }
        }
        writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).unwrap();
        writer.sync().unwrap();
        drop(writer);
        drop(Writer::open(dir.path()).unwrap());
        seal_all(dir.path(), &|| false).unwrap();
    };
    // Chunks that are copied, and small ones that are merged dot by dot.
    let mut next = 0;
    for round in 0..8 {
        let scrapes = if round % 3 == 2 { 150 } else { 2_048 };
        commit(next..next + scrapes, &mut random, &mut all);
        next += scrapes;
    }
    check(dir.path(), &all, &mut random, "as they came");
    while compact(dir.path(), &|| false).unwrap() {}
    check(dir.path(), &all, &mut random, "merged");
    for _ in 0..2 {
        commit(next..next + 500, &mut random, &mut all);
        next += 500;
        major(dir.path());
        check(dir.path(), &all, &mut random, "merged all");
    }
}

#[test]
fn what_is_left_when_the_series_with_the_times_is_deleted_has_them() {
    let mut random = Random::from_env();
    let dir = tempfile::tempdir().unwrap();
    let times = late(&mut random, 0..4_096);
    let mut named = NamedDots::default();
    for series in 0..5 {
        let name = name(format!("s{series}"));
        for (number, time) in (0..).zip(&times) {
            let cell = Cell::number(f64::from(series * 10_000 + number));
            named.push(&name, &Shape::number(), Timestamp::from_nanos(*time), cell);
        }
    }
    add(dir.path(), named).unwrap();
    for deleted in 0..4 {
        let deletion = Deletion {
            pattern: Pattern::new(&format!("s{deleted}")),
            first_key: None,
            last_key: None,
            range: TimeRange::ALL,
        };
        delete(dir.path(), &deletion).unwrap();
        assert_eq!(major(dir.path()).damaged, 0);
        let snapshot = open(dir.path());
        for series in 0..5 {
            let dots = snapshot.read(&format!("s{series}"), TimeRange::ALL).unwrap();
            assert_eq!(dots.len(), if series > deleted { 4_096 } else { 0 });
            for (number, dot) in (0..).zip(dots) {
                let expected = f64::from(series * 10_000 + number);
                assert_eq!((dot.time.nanos(), dot.value), (times[number as usize], expected));
            }
        }
        assert!(verify(dir.path()).unwrap().damage.is_empty());
    }
}

/// A segment of six series of 300 dots each, all at the same times, and one of other dots.
fn two_segments(dir: &Path, random: &mut Random) -> (PathBuf, Vec<u64>) {
    let times = late(random, 0..300);
    let mut named = NamedDots::default();
    for series in 0..6 {
        // Two series of rows among them.
        let of = [0, 3, 0, 0, 7, 0][series as usize];
        let name = name(format!("s{series}"));
        for (bits, time) in (series..).zip(&times) {
            let row = row(of, bits);
            let cell = match shape(of).word() {
                Some(_) => Cell::Word(u64::from_le_bytes(row[..].try_into().unwrap())),
                None => Cell::Row(&row),
            };
            named.push(&name, &shape(of), Timestamp::from_nanos(*time), cell);
        }
    }
    add(dir, named).unwrap();
    let path = segments(dir).remove(0);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let later = late(random, 1_000..1_200);
    add(dir, later.iter().map(|time| (name("s0"), Timestamp::from_nanos(*time), 7.0)).collect::<Vec<_>>())
        .unwrap();
    (path, times)
}

/// How many of the dots at `times` each series has; none is wrong.
fn found(dir: &Path, times: &[u64]) -> Vec<usize> {
    let snapshot = open(dir);
    let mut scan = snapshot.scan();
    let found = (0..6).map(|series: u64| {
        let of = [0, 3, 0, 0, 7, 0][series as usize];
        let mut dots = rows(&mut scan, &format!("s{series}"), TimeRange::ALL);
        dots.retain(|(time, ..)| *time <= times[times.len() - 1]);
        for (time, _, _, bytes) in &dots {
            let place = times.binary_search(time).expect("a time of the scrapes");
            assert_eq!(*bytes, row(of, series + place as u64), "series {series}, dot {place}");
        }
        dots.len()
    });
    found.collect()
}

fn named(verified: &Verified) -> Vec<&str> {
    verified.damage.iter().map(|damage| &*damage.what).collect()
}

#[test]
fn damaged_times_cost_the_chunks_that_refer_to_them_and_damaged_values_no_other() {
    let mut random = Random::from_env();
    let dir = tempfile::tempdir().unwrap();
    let (path, times) = two_segments(dir.path(), &mut random);
    let whole = fs::read(&path).unwrap();
    assert_eq!(found(dir.path(), &times), [300; 6]);
    // The first chunk: checksum, count (2 bytes), flags, tag, bytes of its times (2 bytes), its times, its values.
    let column = 16 + 4 + 2 + 1;
    assert_eq!(whole[16 + 4..column], [0xAC, 0x02, 0]);
    let length = (whole[column + 1] & 0x7F) as usize + ((whole[column + 2] as usize) << 7);
    let values = column + 3 + length;
    assert!(length > 150 && whole[column + 1] & 0x80 != 0, "two bytes of length {length}");
    for at in (column - 3..values).chain([values + 1]) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << random.below(8);
        fs::write(&path, &bytes).unwrap();
        let verified = verify(dir.path()).unwrap();
        let told = named(&verified);
        if at >= values || at == column - 1 {
            assert_eq!(found(dir.path(), &times), [0, 300, 300, 300, 300, 300], "byte {at}");
            assert!(told.len() == 1 && told[0].contains("of s0"), "{told:?}");
        } else {
            assert_eq!(found(dir.path(), &times), [0; 6], "byte {at}");
            for series in 0..6 {
                let series = format!("of s{series}");
                assert!(told.iter().any(|what| what.contains(&series)), "byte {at}: {told:?}");
            }
        }
    }
}

#[test]
fn a_merge_counts_dots_whose_times_are_damaged_and_never_makes_them_up() {
    let mut random = Random::from_env();
    let dir = tempfile::tempdir().unwrap();
    let (path, times) = two_segments(dir.path(), &mut random);
    support::flip(&path, 16 + 40);
    let compacted = major(dir.path());
    assert_eq!(compacted.damaged, 6 * 300);
    assert_eq!(found(dir.path(), &times), [0; 6]);
    assert_eq!(open(dir.path()).read("s0", TimeRange::ALL).unwrap().len(), 200, "of the other segment");
    assert!(verify(dir.path()).unwrap().damage.is_empty());
}

#[test]
fn any_flipped_bit_of_chunks_with_equal_times_never_gives_a_wrong_dot() {
    let mut random = Random::from_env();
    let dir = tempfile::tempdir().unwrap();
    let (path, times) = two_segments(dir.path(), &mut random);
    let whole = fs::read(&path).unwrap();
    for _ in 0..400 {
        let mut bytes = whole.clone();
        // The last four bytes are zeros that nobody reads.
        let bit = random.below((bytes.len() as u64 - 4) * 8) as usize;
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &bytes).unwrap();
        found(dir.path(), &times);
        assert!(!verify(dir.path()).unwrap().damage.is_empty(), "bit {bit}");
    }
}
