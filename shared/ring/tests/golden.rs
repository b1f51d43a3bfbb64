//! Two small ring files kept for the format's version: they still read, and writing still gives their bytes.
//!
//! `DOTTER_GOLDEN=write cargo test -p dotter-ring --test golden` makes them anew, which only a change of the
//! format may do.
#![cfg(not(loom))]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dotter_dot::{Format, Incarnation, SeriesName, Timestamp};
use dotter_ring::directory::Place;
use dotter_ring::{
    BLOCK_DOTS, Cell, Clock, Drained, Identity, LANE_BYTES_MIN, LaneCursor, LaneWriter, Manual, Moved, Pair,
    Refusals, Ring, RingOptions, RingReader, Shape, SlowPath, TEXT_BYTES_MAX, Value,
};

const START: u64 = 1_700_000_000_000_000_000;
const HZ: u64 = 2_500_000_000;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn at(millis: u64) -> Pair {
    Pair { nanos: START + millis * 1_000_000, ticks: 7_000_000_000 + millis * (HZ / 1000) }
}

/// A ring with the same bytes every time.
fn create(inside: &SlowPath, dir: &Path, manual: &Arc<Manual>) -> Ring {
    let options = RingOptions {
        application: "golden".into(),
        lane_bytes: LANE_BYTES_MIN,
        lanes_max: 1,
        registry_bytes: 4096,
        clock: Clock::manual(manual),
        dead_bytes_max: u64::MAX,
    };
    let identity = Identity {
        incarnation: Incarnation(std::array::from_fn(|index| index as u8)),
        boot_id: [0xb0; 16],
        created: Timestamp::from_nanos(START),
        pid: 4711,
        uid: 1000,
        start_ticks: 12_345,
        pid_namespace: 4_026_531_836,
    };
    Ring::create(inside, &options, identity, &Place::Directory(dir.to_owned()), false).unwrap()
}

/// Writes a ring in which everything occurs that a version 0 writer writes of plain numbers.
fn write_numbers(dir: &Path) -> PathBuf {
    let inside = SlowPath::enter().unwrap();
    let manual = Manual::new(at(0), HZ);
    let ring = create(&inside, dir, &manual);
    let series = |name: &str, unit: &str| {
        ring.series(&inside, &SeriesName::new(name).unwrap(), unit).expect("there is room")
    };
    let (plain, tagged) = (series("cpu.user", ""), series("latency;host=a;path=größe", "ms"));
    let put = |work: &mut dyn FnMut(&mut LaneWriter) -> Result<(), Moved>| {
        ring.shared(&inside, |lane| work(lane)).unwrap();
    };
    // A block of stamped and explicit dots, the last granule too small for a record of two: end mark.
    for number in 0..BLOCK_DOTS - 3 {
        manual.set(at(number / 10));
        match number % 3 {
            0 => put(&mut |lane| lane.dot_at(tagged, START - number, -(number as f64))),
            _ => put(&mut |lane| lane.dot(plain, number as f64 / 4.0)),
        }
    }
    for time in [0, u64::MAX] {
        put(&mut |lane| lane.dot_at(tagged, time, time as f64));
    }
    // A later pair, then a clock that has gone on too far for a delta: blocks of their own.
    manual.set(at(50));
    put(&mut |lane| lane.dot(plain, f64::INFINITY));
    manual.set(at(3_600_000));
    put(&mut |lane| lane.dot(plain, 1e300));
    put(&mut |lane| lane.dot_at(tagged, START, f64::MIN_POSITIVE));
    ring.add_refusals(&Refusals { series: 2, signal_handler: 1, ..Refusals::default() });
    ring.close();
    ring.path().to_owned()
}

/// Writes a ring in which every kind of record occurs, with every way to say its time.
fn write_kinds(dir: &Path) -> PathBuf {
    let inside = SlowPath::enter().unwrap();
    let manual = Manual::new(at(0), HZ);
    let ring = create(&inside, dir, &manual);
    let series = |name: &str, shape: &Shape| {
        ring.series_of(&inside, &SeriesName::new(name).unwrap(), shape, "").expect("there is room")
    };
    let columns = ["a", "b", "c", "d", "größe", ""].map(str::to_owned).to_vec();
    let f64s = series("f64", &Shape::number::<f64>());
    let i64s = series("i64", &Shape::number::<i64>());
    let u64s = series("u64", &Shape::number::<u64>());
    let f32s = series("f32", &Shape::number::<f32>());
    let texts = series("text", &Shape::text());
    let rows = series("row", &Shape::row(Format::new("FfIUiu").unwrap(), columns).unwrap());
    let row = [
        (-2.5_f64).to_word(),
        0.5_f32.to_word(),
        i64::MIN.to_word(),
        u64::MAX.to_word(),
        (-3_i32).to_word(),
        u32::MAX.to_word(),
    ];
    let wide: Vec<u64> = (0..64).collect();
    ring.shared(&inside, |lane| {
        for millis in 0..4 {
            manual.set(at(millis));
            lane.dot(f64s, 1.5)?;
            lane.dot(i64s, i64::MIN + millis as i64)?;
            lane.dot(u64s, u64::MAX - millis)?;
            lane.dot(f32s, -0.25_f32)?;
            for length in 0..16 {
                lane.text(texts, &"Grüße an alle, die lesen"[..length + length.min(6)])?;
            }
            lane.row(rows, &row)?;
            lane.row(rows, &wide)?;
            // Near the block's base, and far from it.
            for time in [START + millis, millis, u64::MAX - millis] {
                lane.dot_at(f64s, time, 1.5)?;
                lane.dot_at(i64s, time, -7_i64)?;
                lane.dot_at(u64s, time, 7_u64)?;
                lane.dot_at(f32s, time, 0.125_f32)?;
                lane.text_at(texts, time, "a line")?;
                lane.row_at(rows, time, &row)?;
                lane.row_at(rows, time, &row[..5])?;
            }
        }
        lane.text(texts, &"x".repeat(TEXT_BYTES_MAX))?;
        lane.text(texts, &"x".repeat(TEXT_BYTES_MAX + 1))
    })
    .unwrap();
    ring.close();
    ring.path().to_owned()
}

/// Every dot, as text.
fn read(path: &Path) -> String {
    let mut ring = RingReader::open(path).unwrap();
    let mut text = String::new();
    writeln!(text, "{} {} closed={}", ring.application(), ring.incarnation(), ring.is_closed()).unwrap();
    writeln!(text, "{:?} {:?}", ring.refusals(), ring.owner()).unwrap();
    for lane in 0..ring.lanes_used() {
        let (mut cursor, mut out) = (LaneCursor::start(lane), Drained::default());
        cursor.drain(&mut ring, usize::MAX, &mut out);
        writeln!(text, "lane {lane}: {} to {}, lost {:?}", out.first, out.next, out.losses).unwrap();
        for (number, dot) in (out.first..).zip(&out.dots) {
            let series = ring.series(dot.series).unwrap();
            let name = series.name.as_ref().unwrap();
            let (nanos, stamp) = (dot.time.nanos(), if dot.clock { "clock" } else { "given" });
            let (unit, value) = (&series.unit, out.value(dot));
            match value {
                Value::F64(value) => writeln!(text, "{number} {name} [{unit}] {stamp} {nanos} {value:?}"),
                Value::Text(value) => {
                    let value = std::str::from_utf8(value).unwrap();
                    writeln!(text, "{number} {name} {stamp} {nanos} {value:?}")
                }
                value => writeln!(text, "{number} {name} {} {stamp} {nanos} {value:?}", series.format),
            }
            .unwrap();
        }
    }
    text
}

fn check(name: &str, write: fn(&Path) -> PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path());
    let (ring, text) = (golden(&format!("{name}.dots")), golden(&format!("{name}.txt")));
    if std::env::var("DOTTER_GOLDEN").is_ok_and(|value| value == "write") {
        std::fs::copy(&path, &ring).unwrap();
        std::fs::write(&text, read(&path)).unwrap();
    }
    let (kept, written) = (std::fs::read(&ring).unwrap(), std::fs::read(&path).unwrap());
    let differs = kept.iter().zip(&written).position(|(kept, written)| kept != written);
    assert_eq!((differs, kept.len()), (None, written.len()), "the first byte that differs, and the length");
    assert_eq!(read(&ring), std::fs::read_to_string(&text).unwrap());
}

#[test]
fn the_kept_ring_of_numbers_still_reads_and_writing_still_gives_its_bytes() {
    check("ring-0", write_numbers);
}

#[test]
fn the_kept_ring_of_every_kind_still_reads_and_writing_still_gives_its_bytes() {
    check("ring-0-kinds", write_kinds);
}
