//! Texts, rows, integers, timers and counters, as a reader of the file finds them.

use std::sync::Barrier;

use dotter_publisher::{Publisher, Series, TEXT_BYTES_MAX, Timestamp};
use dotter_ring::{Drained, Kind, LaneCursor, RingDot, RingReader, Value};

/// The dots of one lane, and a reader that knows their names.
fn drain(publisher: &Publisher, lane: u32) -> (RingReader, Drained) {
    let mut ring = RingReader::open(&publisher.path()).unwrap();
    let (mut cursor, mut out) = (LaneCursor::start(lane), Drained::default());
    while cursor.drain(&mut ring, usize::MAX, &mut out) > 0 {}
    assert!(out.losses.is_empty());
    (ring, out)
}

fn name(ring: &mut RingReader, dot: &RingDot) -> String {
    ring.series(dot.series).unwrap().name.as_ref().unwrap().to_string()
}

#[test]
fn every_kind_arrives_as_it_was_published_by_handle_and_by_lane() {
    let dir = tempfile::tempdir().unwrap();
    let publisher = Publisher::create(dir.path(), 10_000).unwrap();
    let signed = publisher.series_of::<i64>("number").unwrap().unit("bytes");
    let unsigned = publisher.series_of::<u64>("number").unwrap();
    let short = publisher.series_of::<f32>("number").unwrap();
    let log = publisher.lines("log").unwrap();
    let mixed = publisher
        .row::<(f64, f32, i64, u64, i32, u32)>("row", &["a", "b", "c", "d", "e", "f"])
        .unwrap()
        .unit("pieces");
    let wide = publisher.row::<[u64; 64]>("wide", &["x"; 64]).unwrap();
    let row = (1.5, -0.5, i64::MIN, u64::MAX, -1, u32::MAX);
    let cells =
        [1.5_f64.to_bits(), u64::from((-0.5_f32).to_bits()), 1 << 63, u64::MAX, u64::MAX, 0xffff_ffff];
    let raw = publisher.bytes("log").unwrap();
    let far = Timestamp::from_nanos(5);
    let mut lane = publisher.lane().unwrap();
    signed.dot(i64::MIN);
    signed.dot_at(far, -1);
    unsigned.dot(u64::MAX);
    short.dot_at(far, 0.25);
    log.line("grüße");
    log.line_at(far, "");
    mixed.dot(row);
    mixed.dot_at(far, row);
    wide.dot([7; 64]);
    publisher.text("log", "once").unwrap();
    raw.dot(&[0xff, 0]);
    raw.dot_at(far, &[]);
    lane.dot(&signed, i64::MIN);
    lane.dot_at(&signed, far, -1);
    lane.dot(&unsigned, u64::MAX);
    lane.dot_at(&short, far, 0.25);
    lane.line(&log, "grüße");
    lane.line_at(&log, far, "");
    lane.row(&mixed, row);
    lane.row_at(&mixed, far, row);
    lane.row(&wide, [7; 64]);
    lane.line(&log, "once");
    lane.bytes(&raw, &[0xff, 0]);
    lane.bytes_at(&raw, far, &[]);
    // A handle takes the next free lane, and the one that was asked for was there first.
    for number in [0, 1] {
        let (mut ring, out) = drain(&publisher, number);
        let values: Vec<_> = out.dots.iter().map(|dot| out.value(dot)).collect();
        let expected = [
            Value::I64(i64::MIN),
            Value::I64(-1),
            Value::U64(u64::MAX),
            Value::F32(0.25),
            Value::Text("grüße".as_bytes()),
            Value::Text(b""),
            Value::Row(&cells),
            Value::Row(&cells),
            Value::Row(&[7; 64]),
            Value::Text(b"once"),
            Value::Text(&[0xff, 0]),
            Value::Text(b""),
        ];
        assert_eq!(values, expected);
        let given: Vec<bool> = out.dots.iter().map(|dot| !dot.clock && dot.time == far).collect();
        assert_eq!(given, [false, true, false, true, false, true, false, true, false, false, false, true]);
        let entry = ring.series(out.dots[6].series).unwrap();
        assert_eq!((entry.kind, entry.format.as_str(), &*entry.unit), (Some(Kind::Row), "FfIUiu", "pieces"));
        assert_eq!(entry.columns, ["a", "b", "c", "d", "e", "f"]);
        let entry = ring.series(out.dots[10].series).unwrap();
        assert_eq!(
            (entry.kind, entry.format.as_str()),
            (Some(Kind::Text), "b"),
            "one name, a text and bytes"
        );
        let entry = ring.series(out.dots[0].series).unwrap();
        assert_eq!((entry.kind, entry.format.as_str(), &*entry.unit), (Some(Kind::I64), "I", "bytes"));
        assert_ne!(out.dots[0].series, out.dots[2].series, "one name, two kinds");
        assert_eq!(name(&mut ring, &out.dots[0]), name(&mut ring, &out.dots[2]));
    }
}

#[test]
fn a_line_too_long_for_a_block_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let publisher = Publisher::options().lanes_max(1).path(dir.path()).open().unwrap();
    let log = publisher.lines("log").unwrap();
    log.line(&"x".repeat(TEXT_BYTES_MAX + 1));
    log.line(&"x".repeat(TEXT_BYTES_MAX));
    let raw = publisher.bytes("raw").unwrap();
    raw.dot(&[0xff; TEXT_BYTES_MAX + 1]);
    raw.dot(&[0xff; TEXT_BYTES_MAX]);
    assert_eq!((publisher.refused().too_big, publisher.published()), (2, vec![2]));
}

#[test]
fn a_row_of_any_columns_arrives_and_one_of_the_wrong_length_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let publisher = Publisher::create(dir.path(), 1000).unwrap();
    let letters = &"FfIUiu".repeat(11)[..64];
    let row = publisher.any_row("row", letters, &["x"; 64]).unwrap().unit("ms");
    let words: Vec<u64> = (0..64).collect();
    row.dot(&words);
    row.dot_at(Timestamp::from_nanos(5), &words);
    row.dot(&words[1..]);
    row.dot_at(Timestamp::from_nanos(5), &[]);
    let mut lane = publisher.lane().unwrap();
    lane.any_row(&row, &words);
    lane.any_row_at(&row, Timestamp::from_nanos(6), &words);
    lane.any_row(&row, &words[1..]);
    let (_, by_lane) = drain(&publisher, 1);
    let found: Vec<_> = by_lane.dots.iter().map(|dot| (by_lane.value(dot), dot.clock)).collect();
    assert_eq!(found, [(Value::Row(&words), true), (Value::Row(&words), false)]);
    let (mut ring, out) = drain(&publisher, 0);
    let values: Vec<_> = out.dots.iter().map(|dot| out.value(dot)).collect();
    assert_eq!(values, [Value::Row(&words), Value::Row(&words)]);
    let entry = ring.series(out.dots[0].series).unwrap();
    assert_eq!((entry.format.as_str(), entry.columns.len(), &*entry.unit), (letters, 64, "ms"));
    assert_eq!(publisher.refused().other, 3);
    for (letters, expected) in
        [("Fs", "a column of text"), ("Fx", "format 'Fx'"), ("", "2 names for 0 columns")]
    {
        let error = publisher.any_row("row", letters, &["a", "b"]).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn columns_that_cannot_be_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let publisher = Publisher::create(dir.path(), 1).unwrap();
    let check = |columns: &[&str], expected: &str| {
        let error = publisher.row::<(f64, f64)>("row", columns).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(&["a"], "'row': 1 names for 2 columns");
    check(&["a", ""], r#"the name """#);
    check(&["a\n", "b"], r#"the name "a\n""#);
    check(&["a", &"x".repeat(256)], "the name \"xxx");
}

#[test]
fn a_timer_measures_in_its_series_unit_and_a_discarded_one_says_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let publisher = Publisher::create(dir.path(), 1).unwrap();
    let pause = std::time::Duration::from_millis(2);
    for (unit, per_second) in [("", 1.0), ("ms", 1e3), ("ns", 1e9)] {
        let series = publisher.series("latency").unwrap().unit(unit);
        let (start, timer) = (std::time::Instant::now(), series.timer());
        while start.elapsed() < pause {}
        drop(timer);
        let most = start.elapsed().as_secs_f64() * per_second;
        series.timer().discard();
        let value = drain(&publisher, 0).1.dots.last().unwrap().value;
        assert!((most * 0.1..=most).contains(&value), "{value} {unit}, at most {most}");
    }
    assert_eq!(publisher.published()[0], 3);
}

#[test]
fn a_counter_publishes_its_running_total_and_never_a_smaller_one() {
    let dir = tempfile::tempdir().unwrap();
    let publisher = Publisher::create(dir.path(), 100_000).unwrap();
    let (threads, each) = (4, 5000_u64);
    let barrier = Barrier::new(threads);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                // Handles of their own: they count together all the same.
                let counter = publisher.counter("requests").unwrap().unit("requests");
                barrier.wait();
                (0..each).for_each(|_| counter.count(1));
            });
        }
    });
    let total = threads as u64 * each;
    assert_eq!(publisher.counter("requests").unwrap().total(), total);
    let mut dots: Vec<RingDot> =
        (0..threads as u32).flat_map(|lane| drain(&publisher, lane).1.dots).collect();
    dots.sort_by(|a, b| a.value.total_cmp(&b.value));
    assert_eq!(dots.last().unwrap().value, total as f64);
    assert!(dots.windows(2).all(|pair| pair[0].value < pair[1].value), "each total once");
    // Each lane's ticks become times by the same pairs to within the clocks' own agreement.
    let slack = std::time::Duration::from_micros(20);
    assert!(dots.windows(2).all(|pair| pair[0].time <= pair[1].time.saturating_add(slack)));
}

#[test]
fn an_instance_tags_what_it_publishes_unless_the_name_says_another() {
    let dir = tempfile::tempdir().unwrap();
    let publisher = Publisher::create(dir.path(), 1).unwrap();
    let plain = publisher.series("a").unwrap();
    let worker = publisher.clone().instance("worker-3");
    let name = |series: Result<Series, _>| series.unwrap().name().to_string();
    assert_eq!(plain.name().as_str(), "a");
    assert_eq!(name(worker.series("a")), "a;instance=worker-3");
    assert_eq!(name(worker.series("a;z=1;b=2")), "a;b=2;instance=worker-3;z=1");
    assert_eq!(name(worker.series("a;instance=other")), "a;instance=other");
    worker.counter("c").unwrap().count(2);
    publisher.counter("c").unwrap().count(5);
    assert_eq!(worker.counter("c").unwrap().total(), 2, "a counter of its own");
    let (mut ring, out) = drain(&publisher, 0);
    let found: Vec<_> = out.dots.iter().map(|dot| (self::name(&mut ring, dot), dot.value)).collect();
    assert_eq!(found, [("c;instance=worker-3".to_owned(), 2.0), ("c".to_owned(), 5.0)]);
    assert!(publisher.instance("two\nlines").series("a").is_err());
}
