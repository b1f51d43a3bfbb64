//! Files of the log whose series have few dots each are sealed together; others are sealed one by one.

mod support;

use std::path::Path;

use dotter_dot::{Cell, Dots, SeriesName, Shape, TimeRange, Timestamp, Value, put_row};
use dotter_store::{Reader, Transaction, Writer, seal_all};
use support::text;

/// A file of the log is closed when it has so many bytes; at most four such files become one segment.
const FILE_BYTES: usize = 16 << 20;

fn commit(writer: &mut Writer, dots: &Dots) {
    writer.append(&Transaction { ring: None, lanes: &[], dots }).unwrap();
    writer.sync().unwrap();
}

/// Seals all; returns how many segments there are.
fn segments(dir: &Path) -> u64 {
    // Its file is the live one: all before it are closed.
    let _writer = Writer::open(dir).unwrap();
    seal_all(dir, &|| false).unwrap();
    Reader::open(dir).unwrap().snapshot().stat().segments
}

#[test]
fn files_whose_series_have_few_dots_each_are_sealed_together() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path()).unwrap();
    let filling = "x".repeat(4_000);
    let mut names: Vec<SeriesName> = Vec::new();
    let mut dots = Dots::default();
    let mut time = 0;
    // More files than are sealed together. Long names fill them.
    while names.len() * filling.len() < 4 * FILE_BYTES {
        dots.clear();
        for _ in 0..500 {
            names.push(SeriesName::new(&format!("{}.{filling}", names.len())).unwrap());
        }
        // A series that an earlier file has declared goes on in the next.
        for number in [0, names.len() / 2].into_iter().chain(names.len() - 500..names.len()) {
            let key = writer.series(&names[number], &Shape::number());
            dots.push_number(key, false, Timestamp::from_nanos(time), number as f64);
        }
        commit(&mut writer, &dots);
        time += 1;
    }
    drop(writer);
    assert_eq!(segments(dir.path()), 2, "four files together, and those behind them");
    let snapshot = Reader::open(dir.path()).unwrap().snapshot();
    assert_eq!(snapshot.read(names[0].as_str(), TimeRange::ALL).unwrap().len() as u64, time);
    for (number, name) in names.iter().enumerate() {
        let found = snapshot.read(name.as_str(), TimeRange::ALL).unwrap();
        assert!(!found.is_empty(), "series {number}");
        assert!(found.iter().all(|dot| dot.value == number as f64), "series {number}: {found:?}");
        assert!(
            found.iter().any(|dot| dot.time.nanos() == number as u64 / 500),
            "series {number}: {found:?}"
        );
    }
}

#[test]
fn files_whose_series_have_many_dots_each_are_sealed_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path()).unwrap();
    let text_bytes = 30_000;
    let key = writer.series(&SeriesName::new("log").unwrap(), &text());
    let (mut dots, mut row, mut lines) = (Dots::default(), Vec::new(), 0);
    while lines as usize * text_bytes < 7 * FILE_BYTES / 2 {
        dots.clear();
        for _ in 0..32 {
            row.clear();
            put_row([Value::Text(&"y".repeat(text_bytes))], &mut row);
            dots.push(key, false, Timestamp::from_nanos(lines), Cell::Row(&row));
            lines += 1;
        }
        commit(&mut writer, &dots);
    }
    drop(writer);
    assert_eq!(
        segments(dir.path()),
        4,
        "a segment of each of three full files, and one of what is behind them"
    );
    assert_eq!(Reader::open(dir.path()).unwrap().snapshot().stat().dots, lines);
}
