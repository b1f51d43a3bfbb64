//! One small ring file kept for the format's version: it still reads, and writing still gives its bytes.
//!
//! `DOTTER_GOLDEN=write cargo test -p dotter-ring --test golden` makes it anew, which only a change of the
//! format may do.
#![cfg(not(loom))]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use dotter_dot::{Incarnation, SeriesName, Timestamp};
use dotter_ring::directory::Place;
use dotter_ring::{
    BLOCK_DOTS, Clock, Drained, Identity, LANE_BYTES_MIN, LaneCursor, LaneWriter, Manual, Moved, Pair,
    Refusal, Ring, RingOptions, RingReader, SlowPath,
};

const START: u64 = 1_700_000_000_000_000_000;
const HZ: u64 = 2_500_000_000;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Writes a ring in which everything occurs that a version 0 writer writes.
fn write(dir: &Path) -> PathBuf {
    let inside = SlowPath::enter().unwrap();
    let at =
        |millis: u64| Pair { nanos: START + millis * 1_000_000, ticks: 7_000_000_000 + millis * (HZ / 1000) };
    let manual = Manual::new(at(0), HZ);
    let options = RingOptions {
        application: "golden".into(),
        lane_bytes: LANE_BYTES_MIN,
        lanes_max: 1,
        registry_bytes: 4096,
        clock: Clock::manual(&manual),
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
    let ring = Ring::create(&inside, &options, identity, &Place::Directory(dir.to_owned()), false).unwrap();
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
    ring.refuse(Refusal::SignalHandler);
    ring.refuse_series();
    ring.refuse_series();
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
            writeln!(text, "{number} {name} [{}] {stamp} {nanos} {:?}", series.unit, dot.value).unwrap();
        }
    }
    text
}

#[test]
fn the_kept_ring_still_reads_and_writing_still_gives_its_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path());
    let (ring, text) = (golden("ring-0.dots"), golden("ring-0.txt"));
    if std::env::var("DOTTER_GOLDEN").is_ok_and(|value| value == "write") {
        std::fs::copy(&path, &ring).unwrap();
        std::fs::write(&text, read(&path)).unwrap();
    }
    let (kept, written) = (std::fs::read(&ring).unwrap(), std::fs::read(&path).unwrap());
    let differs = kept.iter().zip(&written).position(|(kept, written)| kept != written);
    assert_eq!((differs, kept.len()), (None, written.len()), "the first byte that differs, and the length");
    assert_eq!(read(&ring), std::fs::read_to_string(&text).unwrap());
}
