//! Compaction through a command: what comes back stands in the place of what went out, or nothing has changed.

mod support;

use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

use dotter_dot::{Dots, SeriesName, Shape, TimeRange, Timestamp};
use dotter_store::{Error, Filtered, FilteredRow, Reader, Row, Transaction, Writer};

fn write(name: &str, row: &Row<'_>, out: &mut Vec<u8>) {
    let line = format!("{name} {} {}\n", row.time().nanos(), row.number().expect("all are numbers"));
    out.extend_from_slice(line.as_bytes());
}

fn read(line: &str) -> Result<FilteredRow, String> {
    let fields: Vec<&str> = line.split(' ').collect();
    let [name, time, value] = fields[..] else { return Err(format!("{} fields", fields.len())) };
    let value: f64 = value.parse().map_err(|_| format!("'{value}' is no number"))?;
    Ok(FilteredRow {
        name: SeriesName::new(name).map_err(|error| error.to_string())?,
        time: Timestamp::from_nanos(time.parse().map_err(|_| format!("'{time}' is no time"))?),
        shape: Shape::number(),
        bytes: value.to_bits().to_le_bytes().to_vec(),
    })
}

fn filter(dir: &Path, command: &str) -> Result<Filtered, Error> {
    filter_until(dir, command, &|| false)
}

fn filter_until(dir: &Path, command: &str, cancel: &dyn Fn() -> bool) -> Result<Filtered, Error> {
    unlocked(|| {
        let progress = |done, total| assert!(done <= total);
        dotter_store::compact_filtered(dir, command, &write, &mut read, cancel, &progress)
    })
}

/// Tries again while something is locked: a child that another test has just started holds the locks of this process
/// until its program begins.
fn unlocked<T>(mut attempt: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    loop {
        match attempt() {
            Err(Error::Locked(_)) => std::thread::yield_now(),
            outcome => return outcome,
        }
    }
}

/// Dots through the log, some stamped by the clock, and past it.
fn store(dots: u64) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path()).unwrap();
    let mut log = Dots::default();
    for n in 0..dots {
        let key = writer.series(&SeriesName::new(&format!("s.{}", n % 3)).unwrap(), &Shape::number());
        log.push_number(key, n % 2 == 0, Timestamp::from_nanos(n / 4 * 4), n as f64);
    }
    writer.append(&Transaction { ring: None, lanes: &[], dots: &log }).unwrap();
    writer.sync().unwrap();
    drop(writer);
    drop(unlocked(|| Writer::open(dir.path())).unwrap());
    let late = |n| (SeriesName::new("t").unwrap(), Timestamp::from_nanos(n), n as f64);
    dotter_store::add(dir.path(), (0..10).map(late).collect::<Vec<_>>()).unwrap();
    dir
}

/// All dots; one of the same time as the one before it a nanosecond later.
fn all(dir: &Path) -> Vec<(String, u64, f64)> {
    let snapshot = Reader::open(dir).unwrap().snapshot();
    let mut rows = Vec::new();
    for name in snapshot.series() {
        let dots = snapshot.read(name.as_str(), TimeRange::ALL).unwrap();
        let mut before = None;
        for dot in &dots {
            let time = dot.time.nanos().max(before.map_or(0, |before| before + 1));
            before = Some(time);
            rows.push((name.as_str().to_owned(), time, dot.value));
        }
    }
    rows
}

/// Nothing changed but the place of what was in the log.
fn unchanged(dir: &Path, command: &str) -> String {
    let before = all(dir);
    let error = filter(dir, command).unwrap_err();
    assert!(all(dir) == before, "{command}");
    let totals = Reader::open(dir).unwrap().snapshot().ledger().totals;
    assert_eq!(totals.deleted, 0);
    assert!(support::unlisted(dir).is_empty(), "nothing half done is left");
    error.to_string()
}

#[test]
fn what_passes_through_unchanged_is_what_it_was() {
    let dir = store(50_000);
    let before = all(dir.path());
    let done = filter(dir.path(), "cat").unwrap();
    let rows = before.len() as u64;
    assert_eq!(done, Filtered { rows_out: rows, rows_in: rows, left: 0 });
    assert!(all(dir.path()) == before);
    let snapshot = Reader::open(dir.path()).unwrap().snapshot();
    let (stat, totals) = (snapshot.stat(), snapshot.ledger().totals);
    assert_eq!((stat.segments, stat.dots), (1, rows));
    assert_eq!(stat.dots + totals.replaced + totals.deleted, totals.stored_other);
    assert!(dotter_store::verify(dir.path()).unwrap().damage.is_empty());
}

#[test]
fn rows_can_be_taken_out_changed_and_put_in() {
    let dir = store(300);
    filter(dir.path(), "grep '^t ' | sed 's/ 7$/ 70/'; printf 'u 1 5\\nu 1 6\\n'").unwrap();
    let mut expected: Vec<_> = (0..10).map(|n| ("t".to_owned(), n, n as f64)).collect();
    expected[7].2 = 70.0;
    expected.push(("u".to_owned(), 1, 6.0));
    assert_eq!(all(dir.path()), expected);
    filter(dir.path(), "cat >/dev/null").unwrap();
    assert_eq!(all(dir.path()), []);
    filter(dir.path(), "echo once more").unwrap();
    assert_eq!(all(dir.path()), [], "where there is nothing, no command is asked");
}

#[test]
fn a_command_that_fails_or_says_nonsense_changes_nothing() {
    let dir = store(20_000);
    for (command, told) in [
        ("cat; exit 3", "exit status: 3"),
        ("cat; kill -9 $$", "signal: 9"),
        ("exec no-such-command-anywhere 2>/dev/null", "exit status: 127"),
        ("cat; echo a 1 1", "stands behind t, which is greater"),
        ("cat; echo t 3 1", "time 3 of t stands behind 9, which is later"),
        ("echo 'a 1'; cat", "line 1 of the filter command's output: 2 fields"),
        ("cat; printf 't 10 x'", "'x' is no number"),
        ("printf '\\377\\n'; cat", "not UTF-8 from byte 0 on"),
        ("head -c 9000000 /dev/zero", "more than 8388608 bytes"),
    ] {
        let error = unchanged(dir.path(), command);
        assert!(error.contains(told) && error.ends_with("nothing has changed"), "{command}: {error}");
    }
}

#[test]
fn a_command_that_ends_well_without_having_read_all_rows_changes_nothing() {
    // All of the small store's rows fit into the pipe.
    for dots in [300, 60_000] {
        let dir = store(dots);
        let rows = all(dir.path()).len();
        let of_all = format!(" of {rows} rows; nothing has changed");
        for command in [
            "true",
            "exec <&-; echo only 1 1",
            "no-such-command-anywhere 2>/dev/null | cat",
            "(exec <&-; exit 1) | sort",
            // A job in the background reads nothing of what the shell is given.
            "cat & wait",
            "{ sleep 600 <&3 >/dev/null 3<&- & } 3<&0; kill $!",
        ] {
            let error = unchanged(dir.path(), command);
            assert_eq!(error, format!("the filter command read 0{of_all}"), "{command}");
        }
        // The shell reads byte for byte.
        let error = unchanged(dir.path(), "read one; read two; read three; echo a 1 1");
        assert_eq!(error, format!("the filter command read 3{of_all}"));
        for command in ["sed -n 1,5p", "grep -v nothing-like-it | sort >/dev/null; echo a 1 1"] {
            let same = store(dots);
            assert_eq!(filter(same.path(), command).unwrap().rows_out, rows as u64, "{command}");
        }
    }
    // They read ahead, though never so far.
    let dir = store(60_000);
    for command in ["head -1", "sed 5q", "grep -m 3 s", "head -1 | cat"] {
        let error = unchanged(dir.path(), command);
        assert!(error.ends_with(" of 60010 rows; nothing has changed"), "{command}: {error}");
        assert!(error.starts_with("the filter command read "), "{command}: {error}");
    }
}

#[test]
fn neither_side_waits_for_the_other_for_ever() {
    let dir = store(60_000);
    // More output than a pipe holds before anything is read.
    let flood = "i=0; while [ $i -lt 20000 ]; do echo \"a $i 1\"; i=$((i+1)); done; cat";
    let rows = all(dir.path()).len();
    filter(dir.path(), flood).unwrap();
    assert_eq!(all(dir.path()).len(), rows + 20_000);
    // Its output ends before it reads.
    filter(dir.path(), "exec >&-; cat >/dev/null").unwrap();
    assert_eq!(all(dir.path()), []);
}

#[test]
fn it_is_given_up_at_once_though_the_command_neither_reads_nor_writes() {
    let dir = store(60_000);
    let before = all(dir.path());
    let asked = Cell::new(0);
    let cancel = || {
        asked.set(asked.get() + 1);
        asked.get() > 20
    };
    let begun = Instant::now();
    // The shell has a child that holds the pipes; or nothing more can come of it, and it has not ended.
    for command in ["sleep 600; cat", "exec >&-; sleep 600"] {
        asked.set(0);
        let outcome = filter_until(dir.path(), command, &cancel);
        assert!(matches!(outcome, Err(Error::GivenUp)), "{command}: {outcome:?}");
        assert!(begun.elapsed() < Duration::from_secs(120));
        assert!(all(dir.path()) == before);
    }
}

#[test]
fn what_a_running_writer_has_not_closed_is_left_and_said_so() {
    let dir = store(100);
    let mut writer = Writer::open(dir.path()).unwrap();
    let mut dots = Dots::default();
    let key = writer.series(&SeriesName::new("live").unwrap(), &Shape::number());
    dots.push_number(key, true, Timestamp::from_nanos(5), 5.0);
    writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).unwrap();
    writer.sync().unwrap();
    let late = (SeriesName::new("late").unwrap(), Timestamp::from_nanos(5), 5.0);
    dotter_store::add(dir.path(), vec![late]).unwrap();
    let done = filter(dir.path(), "cat >/dev/null").unwrap();
    assert_eq!(done.left, 1, "what was added beside the live log stays with it");
    assert_eq!(all(dir.path()), [("late".to_owned(), 5, 5.0), ("live".to_owned(), 5, 5.0)]);
}
