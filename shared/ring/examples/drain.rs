//! What reading a lane costs: copy, validate, decode, convert times. `cargo run --release --example drain`
//!
//! One writer fills a lane, one reader drains it, in turns and in one thread: nothing here depends on
//! scheduling. Prints nanoseconds per dot: least, median, most of 51 laps.

use std::hint::black_box;
use std::time::Instant;

use dotter_dot::SeriesName;
use dotter_ring::directory::Place;
use dotter_ring::{Clock, Drained, Identity, LaneCursor, Ring, RingOptions, RingReader, SlowPath};

const LAPS: usize = 51;
/// Most of a lane of 4 MiB.
const LAP_DOTS: u64 = 250_000;
/// What fits into a batch.
const BATCH_DOTS: usize = 32_768;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let inside = SlowPath::enter().expect("nothing is interrupted here");
    let options = RingOptions { clock: Clock::best(), ..RingOptions::new("drain") };
    let place = Place::Directory(dotter_ring::directory::default_directory());
    let ring = Ring::create(&inside, &options, Identity::of_this_process()?, &place, false)?;
    ring.series(&inside, &SeriesName::new("a")?, "");
    let mut writer = ring.take(&inside).ok_or("no lane")?;
    drop(inside);
    let mut reader = RingReader::open(ring.path())?;
    let (mut cursor, mut out) = (LaneCursor::start(0), Drained::default());
    for (what, clocked) in [("clock stamps", true), ("given times", false)] {
        let mut laps = Vec::new();
        for _ in 0..LAPS {
            for number in 0..LAP_DOTS {
                let done = match clocked {
                    true => writer.dot(0, number as f64),
                    false => writer.dot_at(0, 1_700_000_000_000_000_000 + number, number as f64),
                };
                done.map_err(|_| "the ring has moved")?;
            }
            let (start, mut dots) = (Instant::now(), 0);
            while cursor.drain(&mut reader, BATCH_DOTS, &mut out) > 0 {
                dots += out.dots.len();
                black_box(&out);
                out.clear();
            }
            assert_eq!(dots as u64, LAP_DOTS);
            laps.push(start.elapsed().as_nanos() as f64 / dots as f64);
        }
        laps.sort_by(f64::total_cmp);
        println!("{what}: {:.2} / {:.2} / {:.2} ns a dot", laps[0], laps[LAPS / 2], laps[LAPS - 1]);
    }
    std::fs::remove_file(ring.path())?;
    Ok(())
}
