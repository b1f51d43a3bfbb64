//! Texts are a log: of lines at one time none replaces another, and a transaction that comes twice adds nothing.

mod support;

use std::ops::ControlFlow;
use std::path::Path;

use dotter_dot::{
    Cell, Dots, Format, NamedDots, Reason, SeriesName, Shape, TimeRange, Timestamp, Value, put_row,
};
use dotter_store::{
    Addition, Deletion, FilteredRow, LaneRecords, Lost, Pattern, Reader, RingPart, Row, Transaction, Writer,
};
use support::{incarnation, text, text_row};

const SECOND: u64 = 1_000_000_000;

fn never() -> bool {
    false
}

fn name(text: &str) -> SeriesName {
    SeriesName::new(text).unwrap()
}

/// So many lines, of which every second is like another of the same second.
fn lines(count: u64) -> Vec<(u64, String)> {
    (0..count)
        .map(|n| (n / 10_000 * SECOND, format!("line {}", if n % 2 == 0 { n } else { n % 100 })))
        .collect()
}

fn addition<'a>(dir: &Path, lines: impl IntoIterator<Item = &'a (u64, String)>) -> Addition {
    // Few enough bytes that many files are put aside.
    let mut addition = Addition::with_memory(dir, 100_000);
    for (time, line) in lines {
        let (time, row) = (Timestamp::from_nanos(*time), text_row(line));
        addition.push(&name("log"), &text(), time, Cell::Row(&row)).unwrap();
    }
    addition
}

fn add<'a>(dir: &Path, lines: impl IntoIterator<Item = &'a (u64, String)>) {
    addition(dir, lines).commit().unwrap();
}

fn dots<'a>(writer: &mut Writer, lines: impl IntoIterator<Item = &'a (u64, String)>, clock: bool) -> Dots {
    let key = writer.series(&name("log"), &text());
    let mut dots = Dots::default();
    for (time, line) in lines {
        dots.push(key, clock, Timestamp::from_nanos(*time), Cell::Row(&text_row(line)));
    }
    dots
}

/// Commits lines through the log, as those who post rows do.
fn post(dir: &Path, lines: &[(u64, String)]) {
    let mut writer = Writer::open(dir).unwrap();
    let dots = dots(&mut writer, lines, false);
    writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).unwrap();
    writer.sync().unwrap();
}

/// Commits lines of a ring.
fn publish(dir: &Path, lines: &[(u64, String)], clock: bool) {
    let mut writer = Writer::open(dir).unwrap();
    let dots = dots(&mut writer, lines, clock);
    let first = writer.ledger().next(incarnation(1), 0);
    let next = first + dots.len() as u64 + 1;
    let losses = vec![Lost { first: next - 1, next, reason: Reason::LAPPED, times: None }];
    let lanes = [LaneRecords { lane: 0, first, next, losses, ..LaneRecords::default() }];
    let ring = RingPart { incarnation: incarnation(1), application: "test", ..RingPart::default() };
    writer.append(&Transaction { ring: Some(ring), lanes: &lanes, dots: &dots }).unwrap();
    writer.sync().unwrap();
}

fn seal(dir: &Path) {
    drop(Writer::open(dir).unwrap());
    dotter_store::seal_all(dir, &never).unwrap();
}

fn merge(dir: &Path) {
    dotter_store::compact_major(dir, &never, &|_, _| {}).unwrap();
    assert!(dotter_store::verify(dir).unwrap().damage.is_empty());
}

fn values(row: &Row<'_>) -> String {
    row.cells().map(|value| format!("{value}")).collect::<Vec<_>>().join(" ")
}

fn read_in(dir: &Path, range: TimeRange) -> Vec<(u64, String)> {
    let mut found = Vec::new();
    let mut scan = Reader::open(dir).unwrap().snapshot().scan();
    scan.rows("log", range, |row| {
        found.push((row.time().nanos(), values(&row)));
        ControlFlow::Continue(())
    })
    .unwrap();
    found
}

fn read(dir: &Path) -> Vec<(u64, String)> {
    read_in(dir, TimeRange::ALL)
}

/// Compares with what is read of the log, of segments, and once these are merged.
fn check(dir: &Path, expected: &[(u64, String)]) {
    for stage in ["as it was committed", "sealed", "merged", "merged again"] {
        match stage {
            "sealed" => seal(dir),
            "merged" | "merged again" => merge(dir),
            _ => {}
        }
        let found = read(dir);
        let at = found.iter().zip(expected).position(|(found, expected)| found != expected);
        assert_eq!((found.len(), at.map(|at| &found[at])), (expected.len(), None), "{stage}");
        let totals = Reader::open(dir).unwrap().snapshot().ledger().totals;
        assert_eq!((totals.deleted, totals.damaged), (0, 0));
    }
}

fn replaced(dir: &Path) -> u64 {
    Reader::open(dir).unwrap().snapshot().ledger().totals.replaced
}

/// Shows P33.
#[test]
fn ten_thousand_lines_of_one_second_come_back_line_for_line() {
    type Commit = fn(&Path, &[(u64, String)]);
    let ways: [(&str, Commit); 4] = [
        ("an addition", |dir, lines| add(dir, lines)),
        ("rows through the log", post),
        ("a ring, times given", |dir, lines| publish(dir, lines, false)),
        ("a ring, times of the clock", |dir, lines| publish(dir, lines, true)),
    ];
    for (way, commit) in ways {
        println!("{way}");
        let dir = tempfile::tempdir().unwrap();
        let lines = lines(10_000);
        commit(dir.path(), &lines);
        check(dir.path(), &lines);
        assert_eq!(replaced(dir.path()), 0);
    }
}

#[test]
fn lines_that_are_committed_twice_are_there_once() {
    let dir = tempfile::tempdir().unwrap();
    let lines = lines(30_000);
    add(dir.path(), &lines);
    post(dir.path(), &lines);
    post(dir.path(), &lines);
    add(dir.path(), &lines);
    check(dir.path(), &lines);
    assert_eq!(replaced(dir.path()), 90_000);
    // What has been merged counts as one transaction.
    add(dir.path(), &lines);
    check(dir.path(), &lines);
    assert_eq!(replaced(dir.path()), 120_000);
}

#[test]
fn lines_of_a_ring_are_kept_beside_equal_ones() {
    let dir = tempfile::tempdir().unwrap();
    let lines = lines(300);
    publish(dir.path(), &lines, false);
    publish(dir.path(), &lines, false);
    check(dir.path(), &[&lines[..], &lines].concat());
    // Of the other way first, since its times were given.
    post(dir.path(), &lines);
    check(dir.path(), &[&lines[..], &lines, &lines].concat());
    assert_eq!(replaced(dir.path()), 0);
}

#[test]
fn transactions_that_share_half_of_their_lines_give_each_line_once() {
    let dir = tempfile::tempdir().unwrap();
    let line = |n: u64| (7 * SECOND, format!("line {n}"));
    let all: Vec<_> = (0..9_000).map(line).collect();
    add(dir.path(), &all[..6_000]);
    post(dir.path(), &all[3_000..]);
    check(dir.path(), &all);
    assert_eq!(replaced(dir.path()), 3_000);
    // As often as the transaction that has it most often, those it has more often behind all others.
    post(dir.path(), &[line(5), line(8), line(5), line(9_000), line(5)]);
    add(dir.path(), &[line(5), line(5), line(8)]);
    check(dir.path(), &[&all[..], &[line(5), line(9_000), line(5)]].concat());
}

#[test]
fn rows_without_numbers_are_texts_and_rows_with_one_replace_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let shape = |letters: &str| Shape::from(Format::new(letters).unwrap());
    for _ in 0..2 {
        let mut rows = NamedDots::default();
        let time = Timestamp::from_nanos(5);
        let mut push = |letters, values: &[Value<'_>]| {
            rows.push_values(&name("log"), &shape(letters), time, values.iter().copied()).unwrap();
        };
        push("F", &[Value::F64(1.0)]);
        push("ss", &[Value::Text("a"), Value::Text("b")]);
        push("sF", &[Value::Text("host"), Value::F64(2.0)]);
        push("s", &[Value::Text("one")]);
        push("ss", &[Value::Text("a"), Value::Text("c")]);
        push("sF", &[Value::Text("host"), Value::F64(3.0)]);
        push("s", &[Value::Text("two")]);
        push("s", &[Value::Text("one")]);
        dotter_store::add(dir.path(), rows).unwrap();
    }
    let found: Vec<_> = ["a b", "one", "a c", "two", "one", "host 3"].map(|line| (5, line.to_owned())).into();
    check(dir.path(), &found);
    assert_eq!(replaced(dir.path()), 10);
}

#[test]
fn a_delete_takes_all_lines_of_its_times_and_those_added_later_stay() {
    let dir = tempfile::tempdir().unwrap();
    let lines = lines(30_000);
    add(dir.path(), &lines);
    post(dir.path(), &lines[..15_000]);
    let second = TimeRange::new(Timestamp::from_nanos(SECOND), Timestamp::from_nanos(2 * SECOND));
    let deletion = Deletion { pattern: Pattern::new("log"), first_key: None, last_key: None, range: second };
    dotter_store::delete(dir.path(), &deletion).unwrap();
    let left = [&lines[..10_000], &lines[20_000..]].concat();
    assert!(read(dir.path()) == left);
    let later: Vec<_> = lines[10_000..10_500].iter().rev().cloned().collect();
    post(dir.path(), &later);
    let expected = [&lines[..10_000], &later, &lines[20_000..]].concat();
    for _ in 0..2 {
        assert!(read(dir.path()) == expected);
        assert!(read_in(dir.path(), second) == later);
        seal(dir.path());
        merge(dir.path());
    }
}

#[test]
fn chunks_of_texts_with_a_time_in_common_are_copied_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let line = |n: u64| (n / 7_000 * SECOND, format!("{:x}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
    let lines: Vec<_> = (0..40_000).map(line).collect();
    add(dir.path(), &lines);
    let chunks = || Reader::open(dir.path()).unwrap().snapshot().chunks("log", TimeRange::ALL).unwrap();
    let before = chunks();
    assert!(before.windows(2).any(|pair| pair[0].last == pair[1].first));
    add(dir.path(), &[(1_000 * SECOND, "apart".to_owned())]);
    merge(dir.path());
    let after = chunks();
    // Where they were made anew they would be twice as long.
    let is_long = |chunk: &&dotter_store::Chunk| chunk.dots == 4096;
    let copied = before.iter().filter(is_long).filter(|chunk| after.contains(chunk)).count();
    assert!(copied >= 9, "{copied} of {} chunks", before.len());
    assert!(read(dir.path())[..40_000] == lines);
}

#[test]
fn a_command_gets_and_gives_back_all_lines_of_one_time() {
    let dir = tempfile::tempdir().unwrap();
    let lines = lines(12_000);
    add(dir.path(), &lines);
    publish(dir.path(), &lines[..5], true);
    seal(dir.path());
    let write = |name: &str, row: &Row<'_>, out: &mut Vec<u8>| {
        out.extend_from_slice(format!("{name} {} {}\n", row.time().nanos(), values(row)).as_bytes());
    };
    let mut parse = |line: &str| {
        let (series, rest) = line.split_once(' ').ok_or("no series")?;
        let (time, line) = rest.split_once(' ').ok_or("no time")?;
        let time = Timestamp::from_nanos(time.parse().map_err(|_| "no number")?);
        Ok(FilteredRow { name: name(series), time, shape: text(), bytes: text_row(line) })
    };
    let done =
        dotter_store::compact_filtered(dir.path(), "cat", &write, &mut parse, &never, &|_, _| {}).unwrap();
    assert_eq!((done.rows_out, done.rows_in), (12_005, 12_005));
    let expected = [&lines[..10_000], &lines[..5], &lines[10_000..]].concat();
    check(dir.path(), &expected);
}

#[test]
fn raw_bytes_and_a_text_with_the_same_bytes_are_two_dots() {
    let dir = tempfile::tempdir().unwrap();
    let (text, bytes) = (text(), Shape::from(Format::new("b").unwrap()));
    let time = Timestamp::from_nanos(SECOND);
    let mut value = Vec::new();
    put_row([Value::Bytes(b"a")], &mut value);
    assert_eq!(value, text_row("a"), "only the format tells them apart");
    for shape in [&text, &bytes, &text, &bytes] {
        let mut addition = Addition::new(dir.path());
        addition.push(&name("log"), shape, time, Cell::Row(&value)).unwrap();
        addition.commit().unwrap();
    }
    let (as_text, as_bytes) = ((SECOND, "a".to_owned()), (SECOND, "0x61".to_owned()));
    check(dir.path(), &[as_text, as_bytes]);
    assert_eq!(replaced(dir.path()), 2);
}
