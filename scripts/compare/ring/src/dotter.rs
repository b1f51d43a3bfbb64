//! Dotter: into a ring.

use std::error::Error;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dotter_publisher::{Clock, ClockKind, Lane, Publisher, Series, Timestamp};
use dotter_ring::{Drained, LaneCursor, RingReader};

use crate::measure::{Row, beside, black_box, repeat, timed};

pub(crate) const DOT_AT: &str = "dotter dot_at, by lane";
pub(crate) const DOT: &str = "dotter dot, thread-local";

/// The last row's reader adds to `seen`.
pub(crate) fn rows(dir: &Path, seen: &Arc<Mutex<Seen>>) -> Result<Vec<Row>, Box<dyn Error>> {
    let directory = dir.join("rings");
    std::fs::create_dir(&directory)?;
    let publisher = Publisher::options().application("compare").path(&directory).lanes_max(8).open()?;
    let series = publisher.series("compare.value")?;
    let clock = match Clock::best().kind() {
        ClockKind::Tsc => "time read (tsc), named series, into the shared file",
        _ => "time read (clock_gettime), named series, into the shared file",
    };
    let given = "time given, named series, into the shared file";

    let (mut lane, own) = (publisher.lane()?, series.clone());
    let by_lane = Row::new(DOT_AT, given, move || dot_at(&mut lane, &own));
    let own = series.clone();
    let local = Row::new("dotter dot_at, thread-local", given, move || {
        let start = Timestamp::now().nanos();
        timed(|| {
            repeat(|n| own.dot_at(Timestamp::from_nanos(black_box(start + n)), black_box(n as f64)));
        })
    });
    let (mut lane, own) = (publisher.lane()?, series.clone());
    let stamped_by_lane = Row::new("dotter dot, by lane", clock, move || {
        timed(|| repeat(|n| lane.dot(black_box(&own), black_box(n as f64))))
    });
    let own = series.clone();
    let stamped = Row::new(DOT, clock, move || timed(|| repeat(|n| own.dot(black_box(n as f64)))));

    let fallback = Publisher::options().application("compare-fallback").path(&directory).lanes_max(2);
    let fallback = fallback.clock(Clock::realtime()).open()?;
    let (mut lane, own) = (fallback.lane()?, fallback.series("compare.value")?);
    let unaided =
        Row::new("dotter dot, by lane, no usable tsc", "time read (clock_gettime), the rest the same", {
            move || timed(|| repeat(|n| lane.dot(black_box(&own), black_box(n as f64))))
        });

    let watched = Publisher::options().application("compare-watched").path(&directory).lanes_max(2).open()?;
    let (mut lane, own) = (watched.lane()?, watched.series("compare.value")?);
    let mut reader = Reader::open(&watched, seen)?;
    let read =
        Row::new("dotter dot_at, by lane, a reader at it", "the same, while another thread drains it", {
            move || beside(|done| reader.read(done), || dot_at(&mut lane, &own))
        });
    Ok(vec![by_lane, local, stamped_by_lane, stamped, unaided, read])
}

/// What a reader of the ring came to see.
#[derive(Clone, Copy, Default)]
pub(crate) struct Seen {
    pub(crate) dots: u64,
    pub(crate) lost: u64,
    /// Those it saw while the writer was at it.
    pub(crate) live: u64,
}

/// Reads what a broker would.
struct Reader {
    ring: RingReader,
    cursor: LaneCursor,
    out: Drained,
    seen: Arc<Mutex<Seen>>,
}

impl Reader {
    fn open(publisher: &Publisher, seen: &Arc<Mutex<Seen>>) -> Result<Reader, Box<dyn Error>> {
        let ring = RingReader::open(&publisher.path())?;
        Ok(Reader { ring, cursor: LaneCursor::start(0), out: Drained::default(), seen: seen.clone() })
    }

    /// Drains without a pause until the writer is done, and then what is left.
    fn read(&mut self, done: &AtomicBool) {
        let mut seen = self.seen.lock().expect("nobody panics with it");
        loop {
            let last = done.load(SeqCst);
            while self.cursor.drain(&mut self.ring, 32_768, &mut self.out) > 0 {
                seen.dots += self.out.dots.len() as u64;
                seen.live += if last { 0 } else { self.out.dots.len() as u64 };
                seen.lost += self.out.losses.iter().map(|loss| loss.next - loss.first).sum::<u64>();
                black_box(&self.out.dots);
                self.out.clear();
            }
            if last {
                return;
            }
        }
    }
}

fn dot_at(lane: &mut Lane, series: &Series) -> Duration {
    let start = Timestamp::now().nanos();
    timed(|| {
        repeat(|n| {
            let time = Timestamp::from_nanos(black_box(start + n));
            lane.dot_at(black_box(series), time, black_box(n as f64));
        });
    })
}
