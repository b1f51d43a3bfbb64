//! What the store does in a second: `cargo bench -p dotter-store [-- [--dir DIR] [long|wide|lines]...]`.
//!
//! Three kinds of work, each in a store of its own below DIR (the system's directory for temporary files):
//!
//! - `long`: 1,000 series of 10,000 dots each 10 s apart, arriving tick by tick: counters, gauges of two decimals,
//!   walks of full precision, constants
//! - `wide`: 100,000 series of 100 such dots
//! - `lines`: 3 million log lines of 54 characters over 5 hours
//!
//! Everything taken in is on disk before the next commit begins, and sealed by a thread beside it. Reading is done
//! by one thread, warm, and is the median of many times where no number of dots is said.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use dotter_dot::{Format, SeriesName, Shape, TimeRange, Timestamp, Value, put_row};
use dotter_store::{Dot, Dots, Reader, Snapshot, Transaction, Writer, compact, seal, seal_all};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

const BEGIN: u64 = 1_710_504_000_000_000_000;
const TICK: u64 = 10_000_000_000;

fn main() -> Outcome {
    let mut dir = std::env::temp_dir();
    let mut wanted = Vec::new();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--dir" => dir = args.next().ok_or("--dir wants a directory")?.into(),
            // Cargo says so to every benchmark.
            "--bench" => {}
            "long" | "wide" | "lines" => wanted.push(arg),
            other => return Err(format!("unknown work '{other}': long, wide or lines").into()),
        }
    }
    let is_wanted = |work: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == work);
    if is_wanted("long") {
        for dots_each in [10_000, 1_000] {
            let dir = tempfile::tempdir_in(&dir)?;
            numbers(dir.path(), "long", 1_000, 10_000, dots_each)?;
        }
    }
    if is_wanted("wide") {
        let dir = tempfile::tempdir_in(&dir)?;
        numbers(dir.path(), "wide", 100_000, 100, 10_000)?;
    }
    if is_wanted("lines") {
        let dir = tempfile::tempdir_in(&dir)?;
        lines(dir.path())?;
    }
    Ok(())
}

fn tell(work: &str, what: &str, value: f64, unit: &str) {
    println!("{work:6} {what:44} {value:9.3} {unit}");
}

/// Commits what `fill` gives until it gives nothing more; how long that took with a seal beside it.
fn take_in(
    dir: &Path,
    writer: &mut Writer,
    mut fill: impl FnMut(&mut Writer, &mut Dots) -> bool,
) -> Outcome<Duration> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sealing = scope.spawn(|| {
            while !done.load(Relaxed) {
                seal(dir, &|| false)?;
                std::thread::sleep(Duration::from_millis(10));
            }
            Ok::<(), dotter_store::Error>(())
        });
        let mut dots = Dots::default();
        let mut busy = Duration::ZERO;
        while fill(writer, &mut dots) {
            let begun = Instant::now();
            writer.append(&Transaction { ring: None, lanes: &[], dots: &dots })?;
            writer.sync()?;
            busy += begun.elapsed();
            dots.clear();
        }
        done.store(true, Relaxed);
        sealing.join().expect("the seal does not panic")?;
        Ok(busy)
    })
}

/// Seals what is left and merges as far as there is anything to merge.
fn settle(dir: &Path, work: &str, writer: Writer) -> Outcome<Snapshot> {
    drop(writer);
    // Once more, so that the last file is closed.
    drop(Writer::open(dir)?);
    let begun = Instant::now();
    seal_all(dir, &|| false)?;
    while compact(dir, &|| false)? {}
    tell(work, "seal of the rest, compaction", begun.elapsed().as_secs_f64() * 1e3, "ms");
    let snapshot = Reader::open(dir)?.snapshot();
    let stat = snapshot.stat();
    tell(work, "bytes a dot", stat.segment_bytes as f64 / stat.segment_dots as f64, "B");
    tell(work, "segments", stat.segments as f64, "");
    Ok(snapshot)
}

fn median(times: usize, mut work: impl FnMut() -> Outcome) -> Outcome<f64> {
    work()?;
    let mut all = Vec::with_capacity(times);
    for _ in 0..times {
        let begun = Instant::now();
        work()?;
        all.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    all.sort_by(f64::total_cmp);
    Ok(all[times / 2])
}

fn numbers(dir: &Path, work: &str, series: u64, each: u64, dots_each: u64) -> Outcome {
    let mut writer = Writer::open(dir)?;
    let keys: Vec<_> = (0..series)
        .map(|n| {
            SeriesName::new(&format!("host.{n:05}.value")).map(|name| writer.series(&name, &Shape::number()))
        })
        .collect::<Result<_, _>>()?;
    let mut walks: Vec<f64> = (0..series).map(|n| n as f64).collect();
    let (mut next, total) = (0, series * each);
    let mut random = 1_u64;
    let took = take_in(dir, &mut writer, |_, dots| {
        let until = total.min(next + dots_each);
        for dot in next..until {
            let (n, tick) = ((dot % series) as usize, dot / series);
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let noise = (random >> 11) as f64 / (1_u64 << 53) as f64;
            let value = match n % 4 {
                0 => (tick * 17 + (random >> 60)) as f64,
                1 => (5_000.0 + noise * 1_000.0).round() / 100.0,
                2 => {
                    walks[n] += noise - 0.5;
                    walks[n]
                }
                _ => 42.0,
            };
            dots.push(keys[n], false, Timestamp::from_nanos(BEGIN + tick * TICK), value);
        }
        next = until;
        !dots.is_empty()
    })?;
    let rate = total as f64 / took.as_secs_f64() / 1e6;
    tell(work, &format!("durable, {dots_each} dots a commit"), rate, "M dots/s");
    let snapshot = settle(dir, work, writer)?;

    let opened = median(10, || {
        let snapshot = Reader::open(dir)?.snapshot();
        black_box(snapshot.last("host.00007.value", 10)?);
        Ok(())
    })?;
    tell(work, "open and first read", opened, "ms");
    let one = format!("host.{:05}.value", series / 2 + 2);
    let read = median(200, || {
        black_box(snapshot.read(&one, TimeRange::ALL)?);
        Ok(())
    })?;
    tell(work, &format!("one series of {each} dots"), read, "ms");
    let middle = BEGIN + each / 2 * TICK;
    let range =
        TimeRange::new(Timestamp::from_nanos(middle), Timestamp::from_nanos(middle + each / 100 * TICK));
    let read = median(200, || {
        black_box(snapshot.read(&one, range)?);
        Ok(())
    })?;
    tell(work, "1 % of it", read, "ms");
    let prefix = if series > 1_000 { "host.007" } else { "host.0007" };
    let mut count = 0;
    let read = median(50, || {
        count = scan(&snapshot, &snapshot.series_with_prefix(prefix))?;
        Ok(())
    })?;
    tell(work, &format!("prefix of {count} dots"), read, "ms");
    let names: Vec<SeriesName> = snapshot.series().collect();
    let all = median(3, || {
        scan(&snapshot, &names)?;
        Ok(())
    })?;
    tell(work, "scan", total as f64 / all / 1e3, "M dots/s");
    let all = median(3, || {
        std::thread::scope(|scope| {
            let halves: Vec<_> = names
                .chunks(names.len().div_ceil(2))
                .map(|part| scope.spawn(|| scan(&snapshot, part).expect("a store that was just written")))
                .collect();
            halves.into_iter().for_each(|half| _ = half.join());
        });
        Ok(())
    })?;
    tell(work, "scan by two threads", total as f64 / all / 1e3, "M dots/s");
    Ok(())
}

fn scan(snapshot: &Snapshot, names: &[SeriesName]) -> Result<usize, dotter_store::Error> {
    let mut scan = snapshot.scan();
    let mut dots: Vec<Dot> = Vec::new();
    let mut count = 0;
    for name in names {
        dots.clear();
        scan.read(name.as_str(), TimeRange::ALL, &mut dots)?;
        count += black_box(&dots).len();
    }
    Ok(count)
}

fn lines(dir: &Path) -> Outcome {
    const LINES: u64 = 3_000_000;
    let mut writer = Writer::open(dir)?;
    let text = Shape::from(Format::new("s")?);
    let key = writer.series(&SeriesName::new("web.access")?, &text);
    let (mut next, mut random, mut row) = (0, 1_u64, Vec::new());
    let took = take_in(dir, &mut writer, |_, dots| {
        let until = LINES.min(next + 10_000);
        for n in next..until {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (path, status, took) = (random >> 40 & 1023, random >> 50 & 7, random >> 53 & 1023);
            let host = random >> 33 & 127;
            let line = format!(
                "10.0.{host:03}.{:03} GET /api/items/{path:05} HTTP/1.1 {} {took:04} ms",
                host / 2,
                200 + status
            );
            row.clear();
            put_row([Value::Text(&line)], &mut row);
            dots.push_row(key, false, Timestamp::from_nanos(BEGIN + n * 6_000_000), &row);
        }
        next = until;
        !dots.is_empty()
    })?;
    tell("lines", "durable, 10000 lines a commit", LINES as f64 / took.as_secs_f64() / 1e6, "M rows/s");
    let snapshot = settle(dir, "lines", writer)?;
    let scanned = median(3, || {
        let mut bytes = 0;
        snapshot.scan().rows("web.access", TimeRange::ALL, |row| {
            if let Some(Value::Text(text)) = row.cells().next() {
                bytes += text.len();
            }
            ControlFlow::Continue(())
        })?;
        black_box(bytes);
        Ok(())
    })?;
    tell("lines", "scan", LINES as f64 / scanned / 1e3, "M rows/s");
    Ok(())
}
