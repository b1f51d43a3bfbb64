//! Rows of every shape, from commit to reader: formats that change, long names, times to the end of the scale.

mod support;

use std::ops::ControlFlow;
use std::path::Path;

use dotter_dot::{
    Cell, Dots, Format, NAME_BYTES_MAX, NamedDots, RowError, SeriesName, Shape, TimeRange, Timestamp, Value,
    put_row,
};
use dotter_store::{
    Added, Addition, Error, Reader, Snapshot, Summary, Transaction, Writer, add, compact, seal_all,
};
use support::{SHAPES, push, row, rows, shape};

fn name(text: &str) -> SeriesName {
    SeriesName::new(text).unwrap()
}

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn open(dir: &Path) -> Snapshot {
    Reader::open(dir).unwrap().snapshot()
}

fn append(writer: &mut Writer, dots: &Dots) {
    writer.append(&Transaction { ring: None, lanes: &[], dots }).unwrap();
    writer.sync().unwrap();
}

/// Calls `check` with what a reader sees: of the log, of a segment, and once more after that is merged with others.
fn at_each_stage(dir: &Path, writer: Writer, check: impl Fn(&Snapshot, &str)) {
    check(&open(dir), "log");
    drop(writer);
    drop(Writer::open(dir).unwrap());
    seal_all(dir, &|| false).unwrap();
    assert_eq!(open(dir).stat().wal_dots, 0);
    check(&open(dir), "segment");
    for n in 0..8 {
        add(dir, vec![(name("other"), at(n), 1.0)]).unwrap();
    }
    while compact(dir, &|| false).unwrap() {}
    assert!(open(dir).stat().levels.iter().any(|level| level.level > 0));
    check(&open(dir), "merged");
    assert!(dotter_store::verify(dir).unwrap().damage.is_empty());
}

/// Shows P15.
#[test]
fn every_shape_comes_back_with_its_labels_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path()).unwrap();
    let longest = "x".repeat(NAME_BYTES_MAX);
    let bits =
        [0, 1, u64::MAX, (-0.0_f64).to_bits(), 0x7ff8_0000_dead_beef, 0xfff0_0000_0000_0001, 0x7fc0_beef];
    let mut dots = Dots::default();
    for of in 0..SHAPES {
        for name in [name(&format!("s.{of}")), name(&longest)] {
            let key = writer.series(&name, &shape(of));
            assert_eq!(writer.find_series(&name, &shape(of)), Some(key));
            for (n, bits) in (0..).zip(bits) {
                push(&mut dots, key, of, false, of * 1000 + n, bits);
            }
            push(&mut dots, key, of, false, u64::MAX - of, of);
        }
    }
    append(&mut writer, &dots);
    at_each_stage(dir.path(), writer, |snapshot, stage| {
        let mut scan = snapshot.scan();
        for of in 0..SHAPES {
            let times = (0..).zip(bits).map(|(n, bits)| (of * 1000 + n, bits)).chain([(u64::MAX - of, of)]);
            let expected: Vec<_> =
                times.map(|(time, bits)| (time, false, shape(of), row(of, bits))).collect();
            assert!(rows(&mut scan, &format!("s.{of}"), TimeRange::ALL) == expected, "{stage}, shape {of}");
            assert_eq!(snapshot.shape(&format!("s.{of}")).unwrap(), Some(shape(of)));
        }
        assert_eq!(rows(&mut scan, &longest, TimeRange::ALL).len(), SHAPES as usize * 8);
        assert_eq!(snapshot.shape(&longest).unwrap(), Some(shape(SHAPES - 1)));
        assert_eq!(snapshot.span(&longest), Some((at(0), at(u64::MAX))));
        let last = snapshot.last("s.0", 1).unwrap();
        assert_eq!((last[0].time, last[0].value.to_bits()), (at(u64::MAX), 0));
    });
}

#[test]
fn a_later_row_replaces_an_earlier_one_of_another_format_wherever_both_lie() {
    let dir = tempfile::tempdir().unwrap();
    let series = name("changing");
    let mut writer = Writer::open(dir.path()).unwrap();
    let mut model = std::collections::BTreeMap::new();
    let mut count = 0;
    for round in 0..6 {
        // Within one transaction, from one to the next, and past the log.
        let mut dots = Dots::default();
        let mut bulk = NamedDots::default();
        for n in 0..300_u64 {
            // Rows with a number: those without one are texts, which replace nothing.
            let of = [0, 2, 3, 4, 5][(n + round) as usize % 5];
            let (time, bits) = ((n * 7 + round) % 211, n << 32 | round);
            if round % 3 == 2 {
                let (shape, row) = (shape(of), row(of, bits));
                bulk.push(&series, &shape, at(time), Cell::from_row(shape.format(), &row).unwrap());
            } else {
                let key = writer.series(&series, &shape(of));
                push(&mut dots, key, of, false, time, bits);
            }
            model.insert(time, (of, bits));
            count += 1;
        }
        append(&mut writer, &dots);
        add(dir.path(), bulk).unwrap();
        if round == 3 {
            drop(writer);
            writer = Writer::open(dir.path()).unwrap();
            seal_all(dir.path(), &|| false).unwrap();
        }
    }
    let expected: Vec<_> =
        model.iter().map(|(time, (of, bits))| (*time, false, shape(*of), row(*of, *bits))).collect();
    at_each_stage(dir.path(), writer, |snapshot, stage| {
        assert!(rows(&mut snapshot.scan(), "changing", TimeRange::ALL) == expected, "{stage}");
    });
    let snapshot = open(dir.path());
    let replaced = snapshot.ledger().totals.replaced;
    assert_eq!(snapshot.stat().dots + replaced, count + 8);
}

#[test]
fn clock_stamps_of_changing_formats_are_all_kept_in_commit_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path()).unwrap();
    let mut dots = Dots::default();
    for n in 0..4000 {
        let key = writer.series(&name("log"), &shape(n % SHAPES));
        push(&mut dots, key, n % SHAPES, true, n / 20 * 1000, n);
    }
    append(&mut writer, &dots);
    // Numbers are spread, and texts stand where the number before them does.
    let mut numbers = 0;
    let expected: Vec<_> = (0..4000)
        .map(|n| {
            let (stamp, shape) = (n / 20 * 1000, shape(n % SHAPES));
            numbers = if n % 20 == 0 { 0 } else { numbers } + !shape.is_text() as u64;
            let time = stamp + u64::saturating_sub(numbers, 1);
            (time, true, shape, row(n % SHAPES, n))
        })
        .collect();
    at_each_stage(dir.path(), writer, |snapshot, stage| {
        assert!(rows(&mut snapshot.scan(), "log", TimeRange::ALL) == expected, "{stage}");
    });
}

#[test]
fn long_series_are_read_in_pieces_that_fit_without_a_seam() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path()).unwrap();
    let key = writer.series(&name("long"), &Shape::number());
    // Clock stamps so dense that spreading carries them past where a piece ends, explicit times among them.
    let count = 900_000;
    let mut dots = Dots::default();
    for n in 0..count {
        dots.push_number(key, true, at(n / 5_000 * 4_000), n as f64);
        if dots.len() == 100_000 {
            append(&mut writer, &dots);
            dots.clear();
        }
    }
    drop(writer);
    drop(Writer::open(dir.path()).unwrap());
    seal_all(dir.path(), &|| false).unwrap();
    add(dir.path(), (0..count / 2).map(|n| (name("long"), at(n * 2), -1.0)).collect::<NamedDots>()).unwrap();
    let snapshot = open(dir.path());
    let (mut before, mut stamps, mut explicit) = (0, 0, 0);
    snapshot
        .scan()
        .rows("long", TimeRange::ALL, |row| {
            assert!(row.time().nanos() >= before);
            before = row.time().nanos();
            let number = row.number().unwrap();
            if row.is_clock() {
                assert_eq!((number, row.time().nanos()), (stamps as f64, stamps));
                stamps += 1;
            } else {
                assert_eq!((number, row.time().nanos()), (-1.0, explicit * 2));
                explicit += 1;
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!((stamps, explicit), (count, count / 2));
    let dots = snapshot.read("long", TimeRange::ALL).unwrap();
    assert_eq!(dots.len() as u64, count + count / 2);
    assert!(dots.is_sorted_by_key(|dot| dot.time));
}

#[test]
fn chunks_say_what_their_numbers_come_to_without_decoding() {
    let dir = tempfile::tempdir().unwrap();
    let rows = |n: u64| (name("n"), at(n * 10), if n == 7 { f64::NAN } else { n as f64 / 4.0 });
    add(dir.path(), (0..10_000).map(rows).collect::<Vec<_>>()).unwrap();
    let snapshot = open(dir.path());
    let chunks = snapshot.chunks("n", TimeRange::ALL).unwrap();
    assert_eq!(chunks.iter().map(|chunk| chunk.dots).collect::<Vec<_>>(), [4096, 4096, 1808]);
    assert!(chunks.iter().all(|chunk| chunk.is_alone && chunk.bytes > 0 && chunk.shape == Shape::number()));
    let sum = (0..4096).filter(|n| *n != 7).map(|n| n as f64 / 4.0).sum();
    let summary = Summary { count: 4095, min: 0.0, max: 1023.75, sum, first: 0.0, last: 1023.75 };
    assert_eq!(chunks[0].summary, Some(summary));
    assert_eq!(snapshot.chunks("n", TimeRange::new(at(50_000), at(50_001))).unwrap(), chunks[1..2]);
    // A later dot within the second chunk: its summary no longer is what a reader gets.
    add(dir.path(), vec![(name("n"), at(50_000), 1.0)]).unwrap();
    let chunks = open(dir.path()).chunks("n", TimeRange::ALL).unwrap();
    assert_eq!(chunks.iter().map(|chunk| chunk.is_alone).collect::<Vec<_>>(), [true, false, false, true]);
}

#[test]
fn long_texts_and_wide_rows_fit_and_longer_ones_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let text = Shape::from(Format::new("s").unwrap());
    let wide = Shape::from(Format::new(&"Fs".repeat(32)).unwrap());
    let mut bulk = NamedDots::default();
    let longest = "ü".repeat((1 << 19) - 2);
    for n in 0..5 {
        bulk.push_values(&name("text"), &text, at(n), [Value::Text(&longest)]).unwrap();
        let cells = (0..64).map(|c| if c % 2 == 0 { Value::F64(c as f64) } else { Value::Text("cell") });
        bulk.push_values(&name("wide"), &wide, at(n), cells).unwrap();
    }
    let error =
        bulk.push_values(&name("text"), &text, at(9), [Value::Text(&"x".repeat(1 << 20))]).unwrap_err();
    assert!(matches!(error, RowError::TooBig(_)), "{error}");
    assert_eq!(add(dir.path(), bulk).unwrap(), 10);
    let snapshot = open(dir.path());
    let mut scan = snapshot.scan();
    let mut seen = 0;
    scan.rows("text", TimeRange::ALL, |row| {
        assert_eq!(row.cells().next(), Some(Value::Text(&longest)));
        seen += 1;
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(seen, 5);
    assert_eq!(rows(&mut scan, "wide", TimeRange::new(at(2), at(4))).len(), 2);
    // Numeric readers see no texts, and of a row its first number.
    assert!(snapshot.read("text", TimeRange::ALL).unwrap().is_empty());
    assert!(snapshot.last("text", 3).unwrap().is_empty());
    assert_eq!(snapshot.last("wide", 1).unwrap()[0].value, 0.0);
}

#[test]
fn a_row_that_is_none_is_refused_and_nothing_has_happened() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path()).unwrap();
    let key = writer.series(&name("text"), &shape(1));
    let mut dots = Dots::default();
    dots.push(key, true, at(1), Cell::Row(&row(1, 5)));
    dots.push(key, true, at(2), Cell::Row(&[2, b'a', 0xff]));
    let error = writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).unwrap_err();
    assert!(matches!(&error, Error::Row { source: RowError::NotUtf8 { column: 0, at: 1 }, .. }), "{error}");
    dots.clear();
    dots.push(key, true, at(3), Cell::Row(&row(1, 6)));
    append(&mut writer, &dots);
    let snapshot = open(dir.path());
    assert_eq!(rows(&mut snapshot.scan(), "text", TimeRange::ALL), [(3, true, shape(1), row(1, 6))]);
}

#[test]
fn named_dots_come_into_the_log_and_into_a_segment_as_they_are() {
    let mut dots = NamedDots::default();
    for n in 0..60 {
        let (shape, row) = (shape(n), row(n, n));
        let cell = Cell::from_row(shape.format(), &row).unwrap();
        dots.push(&name(["a", "b"][n as usize % 2]), &shape, at(n), cell);
    }
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path()).unwrap();
    let series = dots.series_list().iter();
    let keys: Vec<_> = series.map(|(name, shape)| Some(writer.series(name, shape))).collect();
    let mut copied = Dots::default();
    assert_eq!(dots.copy_to(&keys, &mut copied), 0);
    writer.append(&Transaction { ring: None, lanes: &[], dots: &copied }).unwrap();
    writer.sync().unwrap();
    let added = tempfile::tempdir().unwrap();
    assert_eq!(add(added.path(), dots).unwrap(), 60);
    for of in ["a", "b"] {
        let found = rows(&mut open(added.path()).scan(), of, TimeRange::ALL);
        assert_eq!(found.len(), 30);
        assert_eq!(rows(&mut open(dir.path()).scan(), of, TimeRange::ALL), found);
    }
}

fn cell<'a>(shape: &Shape, row: &'a [u8]) -> Cell<'a> {
    Cell::from_row(shape.format(), row).unwrap()
}

/// As much memory as there are files: none, one, some of one level, of two.
#[test]
fn an_addition_takes_what_comes_in_any_order_and_keeps_the_last_of_equal_times() {
    for (count, bytes) in [(20_000_u64, usize::MAX), (20_000, 1 << 20), (20_000, 20_000), (6_000, 1)] {
        let dir = tempfile::tempdir().unwrap();
        let mut addition = Addition::with_memory(dir.path(), bytes);
        let of = |n: u64| if n / 5_000 == 2 { 3 } else { 0 };
        // Pairs of equal times, the later halves of them first.
        for n in (count / 2..count).chain(0..count / 2) {
            addition.push(&name("a"), &shape(of(n)), at(n / 2), cell(&shape(of(n)), &row(of(n), n))).unwrap();
        }
        addition.push(&name("b"), &shape(5), at(7), Cell::Word((-1_i64) as u64)).unwrap();
        addition.push(&name("a"), &shape(0), at(0), cell(&shape(0), &row(0, 77))).unwrap();
        let refused = addition.push(&name("b"), &shape(1), at(8), Cell::Row(&[2, b'a', 0xff]));
        assert!(matches!(refused, Err(Error::Row { .. })));
        assert_eq!(addition.len(), count + 2);
        let expected = Added { stored: count / 2 + 1, series: 2, replaced: count / 2 + 1 };
        assert_eq!(addition.commit().unwrap(), expected, "{bytes} bytes");
        let snapshot = open(dir.path());
        let found = rows(&mut snapshot.scan(), "a", TimeRange::ALL);
        assert_eq!(found.len() as u64, count / 2);
        assert_eq!(found[0], (0, false, shape(0), row(0, 77)));
        let kept = (3..).step_by(2).map(|n| (n / 2, false, shape(of(n)), row(of(n), n)));
        assert!(found.into_iter().skip(1).eq(kept.take(count as usize / 2 - 1)), "{bytes} bytes");
        assert_eq!(snapshot.last("b", 1).unwrap()[0].value, -1.0);
        assert_eq!(snapshot.stat().segments, 1);
        // Nothing is left behind, whatever becomes of one.
        drop(snapshot);
        let mut dropped = Addition::with_memory(dir.path(), 1);
        (0..9).for_each(|n| dropped.push(&name("c"), &Shape::number(), at(n), Cell::Word(0)).unwrap());
        drop(dropped);
        assert_eq!(Addition::new(dir.path()).commit().unwrap(), Added::default());
        assert_eq!(open(dir.path()).stat().segments, 1);
        assert!(support::unlisted(dir.path()).is_empty());
    }
}

#[test]
fn an_addition_that_fits_into_memory_shows_its_rows_before_its_commit() {
    let dir = tempfile::tempdir().unwrap();
    let fill = |mut addition: Addition| {
        for (series, time, word) in [("b", 2, 1), ("a", 2, 2), ("b", 1, 3), ("b", 2, 4)] {
            addition.push(&name(series), &Shape::number(), at(time), Cell::Word(word)).unwrap();
        }
        addition
    };
    let addition = fill(Addition::new(&dir.path().join("none")));
    let sorted = addition.sorted().unwrap();
    assert_eq!(sorted.added(), Added { stored: 3, series: 2, replaced: 1 });
    let found: Vec<_> = sorted.rows().map(|(name, row)| (name.as_str(), row.time(), row.word())).collect();
    assert_eq!(found, [("a", at(2), Some(2)), ("b", at(1), Some(3)), ("b", at(2), Some(4))]);
    drop(addition);
    assert!(!dir.path().join("none").exists(), "what is not committed makes no store");
    let addition = fill(Addition::with_memory(dir.path(), 1));
    assert!(addition.sorted().is_none());
    assert_eq!(addition.commit().unwrap(), sorted.added());
}

#[test]
fn many_threads_scan_one_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let rows =
        (0..64_u64).flat_map(|s| (0..500).map(move |n| (name(&format!("s.{s}")), at(n), (s * n) as f64)));
    add(dir.path(), rows.collect::<NamedDots>()).unwrap();
    let snapshot = open(dir.path());
    let names = snapshot.series_with_prefix("s.");
    let sums: Vec<f64> = std::thread::scope(|scope| {
        let work = |part: &[SeriesName]| {
            let mut scan = snapshot.scan();
            let (mut sum, mut dots) = (0.0, Vec::new());
            for name in part {
                dots.clear();
                scan.read(name.as_str(), TimeRange::ALL, &mut dots).unwrap();
                sum += dots.iter().map(|dot| dot.value).sum::<f64>();
            }
            sum
        };
        let threads: Vec<_> = names.chunks(16).map(|part| scope.spawn(move || work(part))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let expected = (0..64).map(|s| s as f64).sum::<f64>() * (0..500).map(|n| n as f64).sum::<f64>();
    assert_eq!(sums.iter().sum::<f64>(), expected);
}

#[test]
fn news_tell_rows_of_every_shape_where_they_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::open(dir.path()).unwrap();
    let mut reader = Reader::open(dir.path()).unwrap();
    reader.tell_rows();
    let mut dots = Dots::default();
    for of in 0..SHAPES {
        let key = writer.series(&name("s"), &shape(of));
        push(&mut dots, key, of, true, of, of);
    }
    append(&mut writer, &dots);
    let mut news = Vec::new();
    assert!(reader.refresh(Some(&mut news)).unwrap());
    assert_eq!(news.len(), 1);
    assert_eq!(news[0].dots.len(), SHAPES as usize - 2, "a text is no number, nor are raw bytes");
    let found: Vec<_> = news[0]
        .rows()
        .map(|(name, told)| {
            let mut bytes = Vec::new();
            put_row(told.cells(), &mut bytes);
            (name.as_str().to_owned(), told.time().nanos(), told.shape().clone(), bytes)
        })
        .collect();
    let expected: Vec<_> = (0..SHAPES).map(|of| ("s".to_owned(), of, shape(of), row(of, of))).collect();
    assert_eq!(found, expected);
}
