//! What publishing costs a program that has something else to do: the same work with and without dots, in turns.
//!
//! The work is hashing a buffer of 16 KiB, some microseconds; with dots each piece of it publishes how many bytes were
//! hashed, by the clock, as an application would. A reader drains the ring meanwhile, as a broker does.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher as _;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use dotter_publisher::{Publisher, Series};
use dotter_ring::{Drained, LaneCursor, RingReader};

const BUFFER_BYTES: usize = 16 << 10;
/// One turn of work without dots and one with them, so often.
const TURNS: usize = 41;
const TURN: Duration = Duration::from_millis(250);
const POLL: Duration = Duration::from_millis(100);
/// Dots a second.
const RATE: u32 = 100_000;

/// Pieces of work a second, in one turn.
fn work(buffer: &[u8], series: Option<&Series>) -> f64 {
    let begun = Instant::now();
    let gap = Duration::from_secs(1) / RATE;
    let mut pieces = 0_u64;
    let mut due = Duration::ZERO;
    loop {
        let mut hasher = DefaultHasher::new();
        hasher.write(black_box(buffer));
        black_box(hasher.finish());
        pieces += 1;
        // Both turns look at the clock; only one publishes.
        let elapsed = begun.elapsed();
        while due <= elapsed {
            due += gap;
            if let Some(series) = series {
                series.dot(black_box(pieces as f64));
            }
        }
        if elapsed >= TURN {
            return pieces as f64 / elapsed.as_secs_f64();
        }
    }
}

fn drain(publisher: &Publisher, done: &AtomicBool) -> Result<u64, dotter_ring::Error> {
    let mut ring = RingReader::open(&publisher.path())?;
    let mut cursor = LaneCursor::start(0);
    let mut seen = 0;
    loop {
        let last = done.load(Relaxed);
        let mut out = Drained::default();
        while cursor.drain(&mut ring, 10_000, &mut out) > 0 {
            seen += out.dots.len() as u64;
            out = Drained::default();
        }
        if last {
            return Ok(seen);
        }
        std::thread::sleep(POLL);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())?;
    let publisher = Publisher::create(&dir.path().join("overhead.ring"), 1 << 20)?;
    let series = publisher.series("bytes.hashed")?;
    let buffer: Vec<u8> = (0..BUFFER_BYTES).map(|n| (n * 31) as u8).collect();
    let done = AtomicBool::new(false);
    let (mut ratios, seen) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| drain(&publisher, &done));
        let mut ratios = Vec::with_capacity(TURNS);
        for turn in 0..=TURNS {
            // Who goes first changes, so that a machine that grows slower or faster favours nobody.
            let first = turn % 2 == 0;
            let a = work(&buffer, first.then_some(&series));
            let b = work(&buffer, (!first).then_some(&series));
            let (with, without) = if first { (a, b) } else { (b, a) };
            // The first turn warms up.
            if turn > 0 {
                ratios.push((without / with - 1.0) * 100.0);
            }
        }
        done.store(true, Relaxed);
        (ratios, reader.join().expect("the reader does not panic"))
    });
    let (seen, published) = (seen?, publisher.published().iter().sum::<u64>());
    ratios.sort_unstable_by(f64::total_cmp);
    let quartile = |part: usize| ratios[(ratios.len() - 1) * part / 4];
    println!(
        "work of 16 KiB hashed, with {RATE} dots a second beside the same without, {TURNS} turns of {TURN:?} each"
    );
    println!(
        "slower by: lower quartile {:.2} %, median {:.2} %, upper quartile {:.2} %",
        quartile(1),
        quartile(2),
        quartile(3)
    );
    println!("{published} published, {seen} seen, {} lost", published - seen);
    Ok(())
}
