//! A delete with purge: no file of the store has the bytes of what was deleted when it returns, and everything else
//! reads as before.

mod support;

use std::fs;
use std::path::Path;

use dotter_dot::{Cell, Dots, NamedDots, SeriesName, TimeRange, Timestamp};
use dotter_store::{
    Deletion, Error, Pattern, Purge, Purged, Reader, Transaction, Writer, add, compact, seal_all, verify,
};
use support::{Random, text, text_row};

fn never() -> bool {
    false
}

fn put(writer: &mut Writer, series: &str, time: u64, line: &str) {
    let key = writer.series(&SeriesName::new(series).unwrap(), &text());
    let mut dots = Dots::default();
    dots.push(key, false, Timestamp::from_nanos(time), Cell::Row(&text_row(line)));
    writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).unwrap();
    writer.sync().unwrap();
}

fn add_line(dir: &Path, series: &str, time: u64, line: &str) {
    let mut dots = NamedDots::default();
    let name = SeriesName::new(series).unwrap();
    dots.push(&name, &text(), Timestamp::from_nanos(time), Cell::Row(&text_row(line)));
    add(dir, dots).unwrap();
}

fn deletion(pattern: &str, from: u64, until: u64) -> Deletion {
    let range = TimeRange::new(Timestamp::from_nanos(from), Timestamp::from_nanos(until));
    Deletion { pattern: Pattern::new(pattern), first_key: None, last_key: None, range }
}

fn purge(dir: &Path, deletion: &Deletion) -> Purged {
    let purge = Purge::begin(dir, deletion).unwrap();
    assert!(purge.seal(&never).unwrap());
    purge.run(&never, &|| panic!("nobody else merges")).unwrap()
}

/// How many files of the store have a text in them.
fn having(dir: &Path, text: &str) -> usize {
    let has = |path: &Path| memchr::memmem::find(&fs::read(path).unwrap(), text.as_bytes()).is_some();
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { having(&path, text) } else { has(&path) as usize }).sum()
}

fn lines(dir: &Path, series: &str) -> Vec<(u64, Vec<u8>)> {
    let mut scan = Reader::open(dir).unwrap().snapshot().scan();
    support::rows(&mut scan, series, TimeRange::ALL).into_iter().map(|row| (row.0, row.3)).collect()
}

#[test]
fn no_file_has_what_was_deleted_without_a_process_that_writes() {
    const SECRET: &str = "Zq7_kW-pX4vT9";
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mut writer = Writer::open(dir).unwrap();
    put(&mut writer, "log", 1, "before");
    put(&mut writer, "log", 2, SECRET);
    put(&mut writer, "log", 3, "behind");
    drop(writer);
    assert_eq!(having(dir, SECRET), 1, "in the log");
    add_line(dir, "log", 2, &format!("{SECRET} too"));
    assert_eq!(having(dir, SECRET), 2, "and in a segment");
    dotter_store::delete(dir, &deletion("log", 2, 3)).unwrap();
    assert_eq!(having(dir, SECRET), 2, "a delete hides it");
    assert_eq!(purge(dir, &deletion("log", 2, 3)), Purged { rows: 2, segments: 1, damaged: 0 });
    assert_eq!(having(dir, SECRET), 0);
    assert_eq!(lines(dir, "log"), [(1, text_row("before")), (3, text_row("behind"))]);
    assert!(verify(dir).unwrap().damage.is_empty());
    assert_eq!(purge(dir, &deletion("log", 2, 3)), Purged::default(), "nothing is left to do");
    assert_eq!(purge(dir, &deletion("log", 3, 3)), Purged::default(), "no moment is meant");
}

#[test]
fn a_process_that_writes_closes_its_file_and_goes_on() {
    const SECRET: &str = "Zq7_kW-pX4vT9";
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mut writer = Writer::open(dir).unwrap();
    put(&mut writer, "log", 1, SECRET);
    let purge = Purge::begin(dir, &deletion("%", 0, 2)).unwrap();
    put(&mut writer, "log", 1, "committed behind it");
    assert!(!purge.seal(&never).unwrap(), "the file is open");
    writer.close_file().unwrap();
    writer.close_file().unwrap();
    let files = fs::read_dir(dir.join("wal")).unwrap().count();
    assert_eq!(files, 2, "a file without anything is not closed");
    assert_eq!(having(dir, SECRET), 1);
    assert!(purge.seal(&never).unwrap());
    purge.run(&never, &|| ()).unwrap();
    assert_eq!(having(dir, SECRET), 0);
    put(&mut writer, "log", 2, "and it goes on");
    drop(writer);
    assert_eq!(lines(dir, "log"), [(1, text_row("committed behind it")), (2, text_row("and it goes on"))]);
    assert!(verify(dir).unwrap().damage.is_empty());
}

#[test]
fn a_damaged_segment_stays_and_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    add_line(dir, "a", 1, "a line");
    add_line(dir, "b", 1, "another");
    let first = fs::read_dir(dir.join("seg")).unwrap().next().unwrap().unwrap().path();
    let mut permissions = fs::metadata(&first).unwrap().permissions();
    #[expect(clippy::permissions_set_readonly_false, reason = "it is removed with its directory")]
    permissions.set_readonly(false);
    fs::set_permissions(&first, permissions).unwrap();
    let length = fs::metadata(&first).unwrap().len() as usize;
    support::flip(&first, length - 10);
    assert_eq!(purge(dir, &deletion("%", 0, 9)), Purged { rows: 1, segments: 1, damaged: 1 });
    assert!(first.exists());
}

/// A second delete, and what a killed process has left, change nothing of it.
#[test]
fn files_of_killed_processes_go_too() {
    const SECRET: &str = "Zq7_kW-pX4vT9";
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    add_line(dir, "a", 1, SECRET);
    let listed = fs::read_dir(dir.join("seg")).unwrap().next().unwrap().unwrap().path();
    fs::copy(&listed, dir.join("seg/L1-19700101T00-00000000000000c5")).unwrap();
    assert_eq!(having(dir, SECRET), 2);
    purge(dir, &deletion("a", 0, 9));
    assert_eq!(having(dir, SECRET), 0);
}

/// What `purge` says while the list is one that was rebuilt: no file is removed then.
#[test]
fn a_rebuilt_list_keeps_files_and_purge_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    add_line(dir, "a", 1, "a line");
    fs::remove_file(dir.join("MANIFEST")).unwrap();
    fs::remove_file(dir.join("MANIFEST.2")).unwrap();
    let purge = Purge::begin(dir, &deletion("a", 0, 9)).unwrap();
    assert!(purge.seal(&never).unwrap());
    let said = purge.run(&never, &|| ());
    assert!(matches!(said, Err(Error::Rebuilt(_))), "{said:?}");
}

/// Random commits, deletes, seals, merges and purges: what is read follows a list of lines, and after a purge no file
/// has a line that it deleted. `DOTTER_SEED` repeats a run.
#[test]
fn random_stores_read_on_and_have_nothing_of_what_was_purged() {
    let mut random = Random::from_env();
    let mut found_before = 0;
    for _ in 0..12 {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        // Small files, since they are searched.
        let open = || Writer::open_with(dir, 64 << 10).unwrap();
        let mut writer = Some(open());
        let mut model: Vec<(String, u64, String)> = Vec::new();
        for _ in 0..60 {
            let series = format!("log.{}", random.below(3));
            let time = random.below(40);
            let line = format!("{:016x}", random.word());
            match random.below(16) {
                0..7 => {
                    put(writer.get_or_insert_with(open), &series, time, &line);
                    model.push((series, time, line));
                }
                7..11 => {
                    add_line(dir, &series, time, &line);
                    model.push((series, time, line));
                }
                11 => writer = None,
                12 => _ = seal_all(dir, &never).unwrap(),
                13 => _ = compact(dir, &never).unwrap(),
                _ => {
                    let pattern = if random.below(3) == 0 { "log.%".to_owned() } else { series };
                    let until = time + random.below(20);
                    let of = deletion(&pattern, time, until);
                    let is_of = |(series, at, _): &(String, u64, String)| {
                        of.pattern.matches(series) && (time..until).contains(at)
                    };
                    let gone: Vec<_> = model.extract_if(.., |line| is_of(line)).collect();
                    if random.below(2) == 0 {
                        dotter_store::delete(dir, &of).unwrap();
                        continue;
                    }
                    found_before += gone.iter().filter(|line| having(dir, &line.2) > 0).count();
                    let purge = Purge::begin(dir, &of).unwrap();
                    if !purge.seal(&never).unwrap() {
                        writer.as_mut().expect("a process has the log open").close_file().unwrap();
                        assert!(purge.seal(&never).unwrap());
                    }
                    purge.run(&never, &|| panic!("nobody else merges")).unwrap();
                    for line in &gone {
                        assert_eq!(having(dir, &line.2), 0, "{line:?}");
                    }
                }
            }
        }
        for series in ["log.0", "log.1", "log.2"] {
            let mut expected: Vec<_> = model.iter().filter(|line| line.0 == series).collect();
            expected.sort_by_key(|line| line.1);
            let mut times: Vec<(u64, Vec<u8>)> =
                expected.iter().map(|line| (line.1, text_row(&line.2))).collect();
            let mut read = lines(dir, series);
            // In which order texts of one time come is for other tests.
            times.sort();
            read.sort();
            assert_eq!(read, times, "{series}");
        }
        assert!(verify(dir).unwrap().damage.is_empty());
    }
    assert!(found_before > 0, "what is looked for afterwards could be found before");
}
