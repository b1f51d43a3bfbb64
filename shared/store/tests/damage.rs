//! Files that are not what they were: torn, cut, flipped. Never a wrong value, always open, the damage named.

mod support;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use dotter_dot::{Dots, NamedDots, Reason, SeriesName, Shape, TimeRange, Timestamp};
use dotter_store::{LaneRecords, Reader, RingPart, Transaction, Writer, verify};
use support::{Random, copy, incarnation, machine};

/// The value of a record tells where it belongs.
fn value(record: u64) -> f64 {
    record as f64 * 3.0 + 0.5
}

fn append(writer: &mut Writer, records: std::ops::Range<u64>) {
    let key = writer.series(&SeriesName::new("ring.a").unwrap(), &Shape::number());
    let mut dots = Dots::default();
    for record in records.clone() {
        dots.push_number(key, true, Timestamp::from_nanos(record * 1000), value(record));
    }
    let lanes = [LaneRecords { first: records.start, next: records.end, ..LaneRecords::default() }];
    let ring = RingPart {
        incarnation: incarnation(1),
        application: "damage",
        now: Timestamp::from_nanos(5),
        ..RingPart::default()
    };
    writer.append(&Transaction { ring: Some(ring), lanes: &lanes, dots: &dots }).unwrap();
    writer.sync().unwrap();
}

/// What can be read, checked against what was written: nothing is wrong, whatever may be missing.
fn read_checked(dir: &Path) -> Vec<u64> {
    let snapshot = Reader::open(dir).unwrap().snapshot();
    let dots = snapshot.read("ring.a", TimeRange::ALL).unwrap();
    dots.iter()
        .map(|dot| {
            let record = dot.time.nanos() / 1000;
            assert_eq!(dot.value, value(record), "record {record}");
            record
        })
        .collect()
}

fn wal_files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(dir.join("wal")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Shows P9.
#[test]
fn a_torn_tail_is_cut_and_everything_before_it_stays() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    let mut writer = Writer::open(&dir).unwrap();
    for n in 0..10 {
        append(&mut writer, n * 10..n * 10 + 10);
    }
    let length = {
        let bytes = fs::read(&wal_files(&dir)[0]).unwrap();
        bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count()
    };
    for (number, cut) in (4096..length).rev().step_by(37).enumerate() {
        let torn = root.path().join(number.to_string());
        copy(&dir, &torn);
        let file = OpenOptions::new().write(true).open(&wal_files(&torn)[0]).unwrap();
        // Zeros to the end of what was set aside, as a power cut leaves it.
        file.set_len(cut as u64).unwrap();
        file.set_len(16 << 20).unwrap();
        let mut writer = Writer::open(&torn).unwrap();
        let next = writer.ledger().next(incarnation(1), 0);
        assert_eq!(next % 10, 0, "a transaction counts whole or not at all");
        append(&mut writer, next..next + 10);
        assert_eq!(read_checked(&torn), (0..next + 10).collect::<Vec<_>>());
        let account = writer.ledger().account(incarnation(1)).unwrap();
        assert_eq!((account.lost(), account.is_balanced()), (0, true));
        assert!(verify(&torn).unwrap().damage.is_empty());
    }
}

#[test]
fn a_damaged_frame_costs_its_own_records_and_these_are_counted() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    let mut writer = Writer::open(&dir).unwrap();
    append(&mut writer, 0..10);
    let before = fs::read(&wal_files(&dir)[0]).unwrap();
    append(&mut writer, 10..20);
    let after = fs::read(&wal_files(&dir)[0]).unwrap();
    append(&mut writer, 20..30);
    drop(writer);
    let flipped = (4096..after.len()).rfind(|at| before[*at] != after[*at]).unwrap();
    let file = OpenOptions::new().write(true).open(&wal_files(&dir)[0]).unwrap();
    file.write_all_at(&[!after[flipped]], flipped as u64).unwrap();

    assert_eq!(read_checked(&dir), (0..10).chain(20..30).collect::<Vec<_>>());
    let verified = verify(&dir).unwrap();
    assert_eq!(verified.damage.len(), 1);
    assert!(verified.damage[0].what.contains("checksum"), "{}", verified.damage[0].what);
    // The ledger says the same to a reader, to the next writer, and after a seal.
    for step in 0..3 {
        let ledger = match step {
            0 => Reader::open(&dir).unwrap().snapshot().ledger().clone(),
            1 => Writer::open(&dir).unwrap().ledger().clone(),
            _ => {
                assert_eq!(dotter_store::seal_all(&dir, &|| false).unwrap(), 20);
                Reader::open(&dir).unwrap().snapshot().ledger().clone()
            }
        };
        let account = ledger.account(incarnation(1)).unwrap();
        assert_eq!((account.published(), account.stored(), account.lost()), (30, 20, 10));
        assert_eq!(account.lost[&Reason::DAMAGE].count, 10);
        assert!(account.is_balanced());
    }
    assert_eq!(read_checked(&dir), (0..10).chain(20..30).collect::<Vec<_>>());
}

/// A store with two segments, one of them another process's, a live log, and a file of finished rings.
fn small_store(dir: &Path) -> BTreeMap<u64, u64> {
    let mut writer = Writer::open(dir).unwrap();
    append(&mut writer, 0..50);
    for number in 2..5 {
        let refusals = [(Reason::SIGNAL_HANDLER, u64::from(number))];
        let now = Timestamp::from_nanos(5);
        let part = RingPart {
            incarnation: incarnation(number),
            application: "over",
            refusals: &refusals,
            now,
            ..RingPart::default()
        };
        writer.finish(&part, &[(0, 0)], now).unwrap();
    }
    writer.sync().unwrap();
    drop(writer);
    let row = |n: u64| (SeriesName::new("rows.b").unwrap(), Timestamp::from_nanos(n), value(n));
    dotter_store::add(dir, (0..40).map(row).collect::<NamedDots>()).unwrap();
    let mut writer = Writer::open(dir).unwrap();
    dotter_store::seal_all(dir, &|| false).unwrap();
    append(&mut writer, 50..70);
    drop(writer);
    while dotter_store::tidy(dir, &machine(Timestamp::from_nanos(5))).unwrap() {}
    (0..40).map(|n| (n, value(n).to_bits())).collect()
}

/// Shows P16.
///
/// Flips bits at random, or with `DOTTER_FLIPS=all` each one in turn, which takes minutes.
#[test]
fn a_flipped_bit_never_gives_a_wrong_value_and_never_keeps_a_store_shut() {
    let mut random = Random::from_env();
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    let rows = small_store(&dir);
    let mut places = Vec::new();
    for folder in ["", "wal", "seg"] {
        for entry in fs::read_dir(dir.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() && fs::metadata(&path).unwrap().len() > 0 {
                places.push(path.strip_prefix(&dir).unwrap().to_owned());
            }
        }
    }
    places.sort();
    let bits_of = |place: &PathBuf| fs::metadata(dir.join(place)).unwrap().len() as usize * 8;
    let each = places.iter().flat_map(|place| (0..bits_of(place)).map(move |bit| (place, bit)));
    let some = std::iter::repeat_with(|| {
        let place = &places[random.below(places.len() as u64) as usize];
        (place, random.below(bits_of(place) as u64) as usize)
    });
    let all = std::env::var_os("DOTTER_FLIPS").is_some_and(|flips| flips == "all");
    let flips: Vec<_> = if all { each.collect() } else { some.take(600).collect() };
    println!("{} flips", flips.len());
    for (place, bit) in flips {
        let flipped = root.path().join("flipped");
        copy(&dir, &flipped);
        let path = flipped.join(place);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, bytes).unwrap();

        let told = format!("bit {bit} of {}", place.display());
        let opened = std::panic::catch_unwind(|| {
            let records = read_checked(&flipped);
            assert!(records.is_sorted(), "{records:?}");
            let snapshot = Reader::open(&flipped).unwrap().snapshot();
            for dot in snapshot.read("rows.b", TimeRange::ALL).unwrap() {
                assert_eq!(rows.get(&dot.time.nanos()), Some(&dot.value.to_bits()));
            }
            verify(&flipped).unwrap();
            let writer = Writer::open(&flipped).unwrap();
            for (incarnation, account) in writer.ledger().iter() {
                assert!(account.is_balanced());
                let number = u64::from(incarnation.0[0]);
                assert!(number == 1 || account.refused() == number, "{account:?}");
            }
        });
        assert!(opened.is_ok(), "{told}");
        fs::remove_dir_all(&flipped).unwrap();
    }
}

#[test]
fn a_lost_list_is_made_again_from_the_segments() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    let rows = small_store(&dir);
    let ledger = Reader::open(&dir).unwrap().snapshot().ledger().clone();
    // One of the two is enough.
    fs::write(dir.join("MANIFEST"), b"rubbish").unwrap();
    assert_eq!(read_checked(&dir), (0..70).collect::<Vec<_>>());
    assert_eq!(*Reader::open(&dir).unwrap().snapshot().ledger(), ledger);
    assert_eq!(dotter_store::rebuilt(&dir).unwrap(), None);
    fs::write(dir.join("MANIFEST.2"), b"rubbish").unwrap();
    assert_eq!(read_checked(&dir), (0..70).collect::<Vec<_>>());
    let snapshot = Reader::open(&dir).unwrap().snapshot();
    assert_eq!(snapshot.read("rows.b", TimeRange::ALL).unwrap().len(), rows.len());
    assert_eq!(*snapshot.ledger(), ledger);
    let verified = verify(&dir).unwrap();
    assert!(verified.damage[0].path.ends_with("MANIFEST"));
    drop(Writer::open(&dir).unwrap());
    dotter_store::seal_all(&dir, &|| false).unwrap();
    assert_eq!(read_checked(&dir), (0..70).collect::<Vec<_>>());
    // Until somebody has looked.
    let verified = verify(&dir).unwrap();
    assert!(verified.damage.iter().all(|damage| damage.path.ends_with("MANIFEST.damaged")));
    assert_eq!(fs::read(dir.join("MANIFEST.damaged")).unwrap(), b"rubbish");
    fs::remove_file(dir.join("MANIFEST.damaged")).unwrap();
    assert!(verify(&dir).unwrap().damage.is_empty());
}

/// Shows P17.
#[test]
fn a_segment_that_the_list_does_not_name_shows_nothing() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let add = |dir: &Path, value: f64| {
        let row = (SeriesName::new("a").unwrap(), Timestamp::from_nanos(value as u64), value);
        dotter_store::add(dir, vec![row]).unwrap();
    };
    add(dir.path(), 1.0);
    add(other.path(), 2.0);
    let segments = |dir: &Path| -> Vec<PathBuf> {
        fs::read_dir(dir.join("seg")).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let values = || -> Vec<f64> {
        let snapshot = Reader::open(dir.path()).unwrap().snapshot();
        snapshot.read("a", TimeRange::ALL).unwrap().iter().map(|dot| dot.value).collect()
    };
    // Another store's, and its own once more.
    let strays = segments(other.path()).into_iter().chain(segments(dir.path()));
    for (number, stray) in strays.collect::<Vec<_>>().into_iter().enumerate() {
        let name = stray.file_name().unwrap().to_str().unwrap().replace("L0-", &format!("L0-{number}"));
        fs::copy(&stray, dir.path().join("seg").join(name)).unwrap();
    }
    assert_eq!(segments(dir.path()).len(), 3);
    assert_eq!(values(), [1.0]);
    assert_eq!(verify(dir.path()).unwrap().damage.len(), 0);
}

/// Shorter than the header of a WAL file, and than each of its parts.
const SHORT: [u64; 6] = [0, 10, 71, 72, 300, 531];

fn shorten(path: &Path, bytes: u64) {
    OpenOptions::new().write(true).open(path).unwrap().set_len(bytes).unwrap();
}

#[test]
fn a_wal_file_shorter_than_its_header_costs_its_own_frames_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    for n in 0..3 {
        append(&mut Writer::open(&dir).unwrap(), n * 10..n * 10 + 10);
    }
    let whole = Reader::open(&dir).unwrap().snapshot();
    assert_eq!(whole.read("ring.a", TimeRange::ALL).unwrap().len(), 30);
    for (lost, bytes) in (0..3).flat_map(|lost| SHORT.map(|bytes| (lost, bytes))) {
        let told = format!("file {lost} has {bytes} bytes");
        let short = root.path().join(format!("{lost}-{bytes}"));
        copy(&dir, &short);
        let path = wal_files(&short).remove(lost);
        shorten(&path, bytes);
        let left = (0..30).filter(|record| *record / 10 != lost as u64).collect::<Vec<_>>();
        let named = || {
            let damage = verify(&short).unwrap().damage;
            damage.iter().any(|damage| damage.path == path) && damage.iter().all(|damage| damage.path == path)
        };
        let mut reader = Reader::open(&short).unwrap();
        assert_eq!(read_checked(&short), left, "{told}");
        assert!(named(), "{told}");
        // Commits and deletes of other processes, and a backup.
        let row = |n: u64| (SeriesName::new("rows.b").unwrap(), Timestamp::from_nanos(n), value(n));
        dotter_store::add(&short, (0..40).map(row).collect::<NamedDots>()).unwrap();
        let deletion = dotter_store::Deletion {
            pattern: dotter_store::Pattern::new("rows.b"),
            first_key: None,
            last_key: None,
            range: TimeRange::new(Timestamp::MIN, Timestamp::from_nanos(30)),
        };
        dotter_store::delete(&short, &deletion).unwrap();
        dotter_store::backup(&short, &root.path().join(format!("{lost}-{bytes}.backup")), &|| false).unwrap();
        assert!(named(), "{told}");
        // The next writer goes on, and who reads sees what it commits.
        let mut writer = Writer::open(&short).unwrap();
        let next = writer.ledger().next(incarnation(1), 0);
        assert_eq!(next, if lost == 2 { 20 } else { 30 }, "{told}");
        append(&mut writer, next..40);
        assert!(path.exists(), "{told}");
        assert!(named(), "{told}");
        let expected: Vec<u64> = left.into_iter().filter(|record| *record < next).chain(next..40).collect();
        assert_eq!(read_checked(&short), expected, "{told}");
        let mut news = Vec::new();
        reader.refresh(Some(&mut news)).unwrap();
        assert_eq!(news.iter().map(|news| news.dots.len()).sum::<usize>(), (next..40).count(), "{told}");
        let account = writer.ledger().account(incarnation(1)).unwrap().clone();
        assert_eq!(account.lost(), if lost == 2 { 0 } else { 10 }, "{told}");
        assert!(account.is_balanced());
        drop(writer);
        drop(Writer::open(&short).unwrap());
        dotter_store::seal_all(&short, &|| false).unwrap();
        dotter_store::compact(&short, &|| false).unwrap();
        assert_eq!(read_checked(&short), expected, "{told}");
        let snapshot = Reader::open(&short).unwrap().snapshot();
        assert_eq!(snapshot.read("rows.b", TimeRange::ALL).unwrap().len(), 10, "{told}");
        assert_eq!(snapshot.ledger().account(incarnation(1)), Some(&account), "{told}");
    }
}

#[test]
fn an_old_or_stray_wal_file_that_holds_nothing_never_makes_the_live_one_look_closed() {
    for (stray, bytes) in [2, 3, 7].into_iter().flat_map(|stray| [0, 300, 5000].map(|bytes| (stray, bytes))) {
        let told = format!("file {stray} has {bytes} bytes");
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("store");
        append(&mut Writer::open(&dir).unwrap(), 0..10);
        // Each transaction fills a file.
        let mut writer = Writer::open_with(&dir, 1).unwrap();
        dotter_store::seal_all(&dir, &|| false).unwrap();
        let mut reader = Reader::open(&dir).unwrap();
        // One that a seal has done with, the one that comes next, and one of later.
        let path = dir.join(format!("wal/{:010}.wal", if stray == 2 { 1 } else { stray }));
        fs::write(&path, vec![1; bytes]).unwrap();
        let mut all = 10;
        for _ in 0..8 {
            append(&mut writer, all..all + 10);
            all += 10;
            let mut news = Vec::new();
            reader.refresh(Some(&mut news)).unwrap();
            assert_eq!(news.iter().map(|news| news.dots.len()).sum::<usize>(), 10, "{told}, {all}");
            dotter_store::seal_all(&dir, &|| false).unwrap();
            assert_eq!(read_checked(&dir), (0..all).collect::<Vec<_>>(), "{told}");
        }
        drop(writer);
        let writer = Writer::open(&dir).unwrap();
        assert_eq!(writer.ledger().next(incarnation(1), 0), all, "{told}");
        assert_eq!(read_checked(&dir), (0..all).collect::<Vec<_>>(), "{told}");
    }
}

#[test]
fn a_wal_file_that_the_system_cannot_read_is_an_error_and_no_damage() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("store");
    append(&mut Writer::open(&dir).unwrap(), 0..10);
    fs::create_dir(dir.join("wal/0000000009.wal")).unwrap();
    for outcome in [Reader::open(&dir).map(|_| ()), Writer::open(&dir).map(|_| ()), verify(&dir).map(|_| ())]
    {
        assert!(matches!(outcome, Err(dotter_store::Error::Io { .. })), "{outcome:?}");
    }
}

#[test]
fn a_wal_file_of_another_store_or_name_is_damage_and_never_gives_its_rows() {
    let root = tempfile::tempdir().unwrap();
    let dir = |name: &str| root.path().join(name);
    for n in 0..9 {
        append(&mut Writer::open(&dir("other")).unwrap(), n * 10..n * 10 + 10);
    }
    for n in 0..3 {
        append(&mut Writer::open(&dir("one")).unwrap(), n * 10..n * 10 + 10);
    }
    let (one, other) = (wal_files(&dir("one")), wal_files(&dir("other")));
    // In place of the file of that name, in the middle or at the end; behind the last; and one under a name not its own.
    for (from, to) in [(&other[1], 2), (&other[2], 3), (&other[8], 9), (&one[0], 3), (&one[2], 9)] {
        let told = format!("{} as {to}", from.display());
        let spoiled = tempfile::tempdir().unwrap();
        copy(&dir("one"), spoiled.path());
        let path = spoiled.path().join(format!("wal/{to:010}.wal"));
        fs::copy(from, &path).unwrap();
        let mut records: Vec<u64> = (0..30).filter(|record| record / 10 + 1 != to).collect();
        assert_eq!(read_checked(spoiled.path()), records, "{told}");
        let damage = verify(spoiled.path()).unwrap().damage;
        assert_eq!(damage.iter().map(|damage| &damage.path).collect::<Vec<_>>(), [&path], "{told}");
        assert!(damage[0].what.contains(" of store "), "{}", damage[0].what);
        // Each transaction fills a file, and each but the last is sealed.
        let mut writer = Writer::open_with(spoiled.path(), 1).unwrap();
        let mut reader = Reader::open(spoiled.path()).unwrap();
        for _ in 0..8 {
            let next = writer.ledger().next(incarnation(1), 0);
            append(&mut writer, next..next + 10);
            records.extend(next..next + 10);
            let mut news = Vec::new();
            reader.refresh(Some(&mut news)).unwrap();
            assert_eq!(news.iter().map(|news| news.dots.len()).sum::<usize>(), 10, "{told}");
            dotter_store::seal_all(spoiled.path(), &|| false).unwrap();
            assert_eq!(read_checked(spoiled.path()), records, "{told}");
        }
        drop(writer);
        drop(Writer::open(spoiled.path()).unwrap());
        assert!(path.exists(), "{told}: it may be all there is of the other store's rows");
    }
}
