//! How fast a store takes dots in, durably, with seals beside it: dots a second, and bytes a dot afterwards.
//!
//! `cargo run --release -p dotter-store --example ingest [DIR] [DOTS_PER_COMMIT]`

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use dotter_dot::{Incarnation, SeriesName, Shape, Timestamp};
use dotter_store::{Dots, LaneRecords, Reader, RingPart, Transaction, Writer};

const SERIES: u64 = 1000;
const DOTS: u64 = 10_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let root = args.next().map_or_else(std::env::temp_dir, Into::into);
    let per_commit: u64 = args.next().map_or(Ok(10_000), |text| text.parse())?;
    let dir = root.join(format!("dotter-ingest-{}", std::process::id()));
    let mut writer = Writer::open(&dir)?;
    let keys: Vec<_> = (0..SERIES)
        .map(|n| {
            SeriesName::new(&format!("host.{n}.value")).map(|name| writer.series(&name, &Shape::number()))
        })
        .collect::<Result<_, _>>()?;
    let done = AtomicBool::new(false);
    let begun = Instant::now();
    let (mut append, mut sync) = (std::time::Duration::ZERO, std::time::Duration::ZERO);
    std::thread::scope(|scope| -> Result<(), dotter_store::Error> {
        let sealing = scope.spawn(|| {
            let (mut dots, mut busy) = (0, std::time::Duration::ZERO);
            while !done.load(Relaxed) {
                let begun = Instant::now();
                dots += dotter_store::seal(&dir, &|| false)?;
                busy += begun.elapsed();
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            println!("sealed {dots} dots in {busy:.2?}");
            Ok::<(), dotter_store::Error>(())
        });
        let mut dots = Dots::default();
        let mut next = 0;
        while next < DOTS {
            dots.clear();
            for record in next..next + per_commit {
                let (series, tick) = (record % SERIES, record / SERIES);
                let value = match series % 4 {
                    0 => (tick * 17 + series) as f64,
                    1 => ((tick * 31 + series * 7) % 1000) as f64 / 100.0,
                    2 => (tick as f64 * 0.1 + series as f64).sin(),
                    _ => 42.0,
                };
                let time = Timestamp::from_nanos(1_710_504_000_000_000_000 + tick * 10_000_000_000);
                dots.push(keys[series as usize], false, time, value);
            }
            let lanes = [LaneRecords { first: next, next: next + per_commit, ..LaneRecords::default() }];
            let ring = RingPart {
                incarnation: Incarnation([1; 16]),
                application: "ingest",
                refusals: &[],
                now: Timestamp::MIN,
            };
            let at = Instant::now();
            writer.append(&Transaction { ring: Some(ring), lanes: &lanes, dots: &dots })?;
            append += at.elapsed();
            let at = Instant::now();
            writer.sync()?;
            sync += at.elapsed();
            next += per_commit;
        }
        let elapsed = begun.elapsed();
        println!(
            "{:.2} M dots/s durable; append {append:.2?}, sync {sync:.2?}",
            DOTS as f64 / elapsed.as_secs_f64() / 1e6
        );
        done.store(true, Relaxed);
        sealing.join().expect("the seal does not panic")
    })?;
    let at = Instant::now();
    dotter_store::seal(&dir, &|| false)?;
    println!("seal of the rest {:.2?}", at.elapsed());
    let at = Instant::now();
    while dotter_store::compact(&dir, &|| false)? {}
    println!("compaction {:.2?}", at.elapsed());
    let at = Instant::now();
    let reader = Reader::open(&dir)?;
    println!("open {:.2?}", at.elapsed());
    let snapshot = reader.snapshot();
    let at = Instant::now();
    let read = snapshot.read("host.500.value", dotter_dot::TimeRange::ALL)?.len();
    println!("one series of {read} dots {:.2?}", at.elapsed());
    let at = Instant::now();
    let mut read = 0;
    for name in snapshot.series() {
        read += snapshot.read(name.as_str(), dotter_dot::TimeRange::ALL)?.len();
    }
    println!("scan of {read} dots: {:.1} M dots/s", read as f64 / at.elapsed().as_secs_f64() / 1e6);
    let stat = snapshot.stat();
    println!(
        "{:.2} bytes a dot in {} segments",
        stat.segment_bytes as f64 / stat.segment_dots as f64,
        stat.segments
    );
    drop(writer);
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
