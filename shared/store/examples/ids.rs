//! What the log takes where there are many series: bytes a dot, round by round, and the speed of many and of few series.
//!
//! `cargo run --release -p dotter-store --example ids -- [--series N] [--rounds N]`
//!
//! Each round has a dot of every series, in commits of 10,000; a seal runs beside the writer. Everything is synced.

use std::error::Error;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use dotter_dot::{Dots, SeriesKey, SeriesName, Shape, Timestamp};
use dotter_store::disk::{self, Disk, System};
use dotter_store::{Machine, Reader, Transaction, Writer, seal, seal_all, tidy, verify};

/// Dots of a commit.
const COMMIT: usize = 10_000;
/// Dots of the store of few series.
const FEW_DOTS: usize = 20_000_000;
const FEW_SERIES: usize = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let of = |flag: &str, usual: usize| -> Result<usize, Box<dyn Error>> {
        match args.iter().position(|arg| arg == flag) {
            Some(at) => Ok(args.get(at + 1).ok_or("a number is missing")?.parse()?),
            None => Ok(usual),
        }
    };
    let (series, rounds) = (of("--series", 1_000_000)?, of("--rounds", 20)?);
    for (series, rounds) in [(series, rounds), (FEW_SERIES, FEW_DOTS / FEW_SERIES)] {
        let dir = tempfile::tempdir()?;
        fill(dir.path(), series, rounds)?;
    }
    Ok(())
}

/// A disk that counts the bytes of frames in WAL files.
#[derive(Debug, Default)]
struct Counting(AtomicU64);

impl Disk for Counting {
    fn write(&self, file: &File, path: &Path, bytes: &[u8], at: u64) -> io::Result<()> {
        if at >= 4096 && path.extension().is_some_and(|extension| extension == "wal") {
            self.0.fetch_add(bytes.len() as u64, Relaxed);
        }
        System.write(file, path, bytes, at)
    }
}

fn fill(dir: &Path, series: usize, rounds: usize) -> Result<(), Box<dyn Error>> {
    let disk = Arc::new(Counting::default());
    let mut writer = disk::on(disk.clone(), || Writer::open(dir))?;
    let mut keys: Vec<SeriesKey> = Vec::with_capacity(series);
    for number in 0..series {
        let name = SeriesName::new(&format!(
            "cluster-7.rack-{:03}.host-{number:07}.cpu.user.percent0",
            number % 97
        ))?;
        keys.push(writer.series(&name, &Shape::number()));
    }
    let ended = AtomicBool::new(false);
    let begun = Instant::now();
    std::thread::scope(|scope| -> Result<(), Box<dyn Error>> {
        let sealing = scope.spawn(|| -> Result<(), dotter_store::Error> {
            // Relaxed: it orders nothing.
            while !ended.load(Relaxed) {
                if seal(dir, &|| false)? == 0 {
                    tidy(dir, &Machine::now()?)?;
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
            Ok(())
        });
        let written = rounds_of(&mut writer, &keys, rounds, &disk.0, series > FEW_SERIES);
        ended.store(true, Relaxed);
        sealing.join().map_err(|_| "the seal panicked")??;
        written
    })?;
    let (dots, took) = ((series * rounds) as f64, begun.elapsed().as_secs_f64());
    let log = disk.0.load(Relaxed);
    println!(
        "{series} series x {rounds}: log {:.2} bytes a dot, {:.2} M dots/s",
        log as f64 / dots,
        dots / took / 1e6
    );
    drop(writer);
    let begun = Instant::now();
    let writer = Writer::open(dir)?;
    println!("{series} series x {rounds}: opened in {:.0} ms", begun.elapsed().as_secs_f64() * 1e3);
    drop(writer);
    seal_all(dir, &|| false)?;
    let begun = Instant::now();
    let stat = Reader::open(dir)?.snapshot().stat();
    assert_eq!((stat.dots, stat.series), (dots as u64, series as u64));
    println!(
        "{series} series x {rounds}: segments {:.2} bytes a dot, read in {:.0} ms",
        stat.segment_bytes as f64 / dots,
        begun.elapsed().as_secs_f64() * 1e3
    );
    assert!(verify(dir)?.damage.is_empty());
    Ok(())
}

/// - `log`: the bytes of the log so far
fn rounds_of(
    writer: &mut Writer,
    keys: &[SeriesKey],
    rounds: usize,
    log: &AtomicU64,
    tells: bool,
) -> Result<(), Box<dyn Error>> {
    let mut dots = Dots::default();
    let mut place = 0;
    for round in 0..rounds {
        let before = log.load(Relaxed);
        for (index, key) in keys.iter().enumerate() {
            let time = 1_700_000_000_000_000_000 + round as u64 * 10_000_000_000;
            dots.push_number(*key, true, Timestamp::from_nanos(time), (round * 7 + index % 1000) as f64);
            place += 1;
            if place % COMMIT == 0 || place == keys.len() * rounds {
                writer.append(&Transaction { ring: None, lanes: &[], dots: &dots })?;
                writer.sync()?;
                dots.clear();
            }
        }
        if tells && round < 3 {
            let bytes = (log.load(Relaxed) - before) as f64;
            println!("round {}: log {:.2} bytes a dot", round + 1, bytes / keys.len() as f64);
        }
    }
    Ok(())
}
