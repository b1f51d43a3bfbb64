//! Measures what the newest dots of a series cost, against a read of all of it in the same run: ratios of medians.
//!
//! `newest DIR`: DIR is made.

use std::path::Path;
use std::time::Instant;

use dotter_dot::{Dots, SeriesName, Shape, TimeRange, Timestamp};
use dotter_store::{Reader, Transaction, Writer, seal_all};

type Failure = Box<dyn std::error::Error>;

/// Runs of each read.
const RUNS: usize = 31;

fn main() -> Result<(), Failure> {
    let dir = std::env::args_os().nth(1).ok_or("newest DIR")?;
    let dir = Path::new(&dir);
    let million: Vec<u64> = (0..1_000_000).map(|n| 1_000_000_000 + n * 1_000_000).collect();
    let equal = vec![1_000_000_000; 100_000];
    let before: Vec<u64> = (0..900_000).map(|n| n * 1000).collect();
    let behind = [before, equal.clone()].concat();
    for (what, times) in [("million", &million), ("equal", &equal), ("equal-behind", &behind)] {
        for sealed in [true, false] {
            let name = format!("{what}-{}", if sealed { "sealed" } else { "live" });
            measure(&dir.join(&name), &name, times, sealed)?;
        }
    }
    Ok(())
}

fn measure(dir: &Path, what: &str, times: &[u64], sealed: bool) -> Result<(), Failure> {
    let mut writer = Writer::open(dir)?;
    let key = writer.series(&SeriesName::new("x")?, &Shape::number());
    let mut dots = Dots::default();
    for part in times.chunks(10_000) {
        dots.clear();
        part.iter().for_each(|time| dots.push_number(key, true, Timestamp::from_nanos(*time), *time as f64));
        writer.append(&Transaction { ring: None, lanes: &[], dots: &dots })?;
    }
    writer.sync()?;
    drop(writer);
    if sealed {
        drop(Writer::open(dir)?);
        seal_all(dir, &|| false)?;
    }
    let snapshot = Reader::open(dir)?.snapshot();
    let all = median(|| {
        snapshot.read("x", TimeRange::ALL)?;
        Ok(())
    })?;
    println!("{what}-all {all:.3} ms");
    for count in [1, 100] {
        let taken = median(|| {
            snapshot.last("x", count)?;
            Ok(())
        })?;
        println!("{what}-last-{count} {taken:.4} ms, of a read of all {:.5}", taken / all);
    }
    Ok(())
}

/// In milliseconds.
fn median(mut read: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    let mut taken = Vec::new();
    for _ in 0..RUNS {
        let begun = Instant::now();
        read()?;
        taken.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    taken.sort_by(f64::total_cmp);
    Ok(taken[RUNS / 2])
}
