//! What a dot costs here, beside what it is compared with, measured in the same run.

use std::hint::black_box;
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant, SystemTime};

use dotter_publisher::{Clock, ClockKind, Lane, Publisher, Series, Timestamp};
use dotter_ring::{Drained, LaneCursor, RingReader};

use crate::{Error, Size};

const RUNS: usize = 201;
/// Dots in a run: much longer than the clock around it takes, short enough that most runs are not interrupted.
/// A debug build measures nothing worth knowing, but is to be quick about it.
const RUN_DOTS: u64 = if cfg!(debug_assertions) { 1_000 } else { 50_000 };
const QUEUE_SLOTS: usize = 1 << 16;

/// Nanoseconds for one of something: least, median, most.
#[derive(Clone, Copy)]
struct Cost {
    least: f64,
    median: f64,
    most: f64,
}

/// Measures `run`, which does something [`RUN_DOTS`] times and says how long that took.
fn measure(mut run: impl FnMut() -> Duration) -> Cost {
    // Some without counting: caches, pages, branch predictors.
    for _ in 0..RUNS / 10 {
        run();
    }
    let mut all: Vec<f64> = (0..RUNS).map(|_| run().as_nanos() as f64 / RUN_DOTS as f64).collect();
    all.sort_by(f64::total_cmp);
    Cost { least: all[0], median: all[RUNS / 2], most: all[RUNS - 1] }
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// A ring to measure with; its file goes when this does.
struct Bench {
    publisher: Publisher,
    series: Series,
    clock: &'static str,
}

impl Bench {
    fn new(path: &Path, size: Size, clock: Clock) -> Result<Bench, Error> {
        let name = if clock.kind() == ClockKind::Tsc { "tsc" } else { "clock_gettime" };
        let options = Publisher::options().application("bench").path(path).lane_dots(size.dots).lanes_max(8);
        let publisher = options.clock(clock).open()?;
        Ok(Bench { series: publisher.series("bench")?, publisher, clock: name })
    }

    /// What a dot costs in `lane`, stamped by the clock.
    fn dot(&self, lane: &mut Lane) -> Duration {
        timed(|| (0..RUN_DOTS).for_each(|n| lane.dot(black_box(&self.series), black_box(n as f64))))
    }

    /// What a dot costs in `lane`, its time given.
    fn dot_at(&self, lane: &mut Lane) -> Duration {
        let start = Timestamp::now().nanos();
        timed(|| {
            (0..RUN_DOTS).for_each(|n| {
                let time = Timestamp::from_nanos(black_box(start + n));
                lane.dot_at(black_box(&self.series), time, black_box(n as f64));
            });
        })
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.publisher.path());
    }
}

/// Prints a line for each way to publish.
pub(crate) fn run(path: &Path, size: Size) -> Result<(), Error> {
    let clock_gettime = measure(|| {
        timed(|| {
            (0..RUN_DOTS).for_each(|_| {
                black_box(SystemTime::now());
            });
        })
    });
    let push = measure(|| push_into_queue(RUN_DOTS));
    let print = |what: &str, clock: &str, cost: Cost| print_row(what, clock, cost, clock_gettime, push);
    print("clock_gettime", "", clock_gettime);
    print("push into rtrb, 24 bytes, one thread", "", push);

    let bench = Bench::new(path, size, Clock::best())?;
    let (mut lane, mut second) = (bench.publisher.lane()?, bench.publisher.lane()?);
    print("dot, by lane", bench.clock, measure(|| bench.dot(&mut lane)));
    let series = &bench.series;
    let cost = measure(|| timed(|| (0..RUN_DOTS).for_each(|n| series.dot(black_box(n as f64)))));
    print("dot, thread-local", bench.clock, cost);
    print("dot_at, by lane", "none", measure(|| bench.dot_at(&mut lane)));
    let start = Timestamp::now().nanos();
    let cost = measure(|| {
        timed(|| {
            (0..RUN_DOTS).for_each(|n| {
                series.dot_at(Timestamp::from_nanos(black_box(start + n)), black_box(n as f64));
            });
        })
    });
    print("dot_at, thread-local", "none", cost);
    let cost = measure(|| {
        let barrier = Barrier::new(2);
        let work = |lane: &mut Lane| {
            barrier.wait();
            bench.dot_at(lane)
        };
        std::thread::scope(|scope| {
            let other = scope.spawn(|| work(&mut second));
            work(&mut lane).max(other.join().expect("the loop above does not panic"))
        })
    });
    print("dot_at, two threads with a lane each, the slower one", "none", cost);
    drop((lane, second));
    drop(bench);

    let bench = Bench::new(path, size, Clock::realtime())?;
    let mut lane = bench.publisher.lane()?;
    print("dot, by lane, fallback clock", bench.clock, measure(|| bench.dot(&mut lane)));
    drop(lane);
    drop(bench);

    let bench = Bench::new(path, size, Clock::best())?;
    let (cost, seen, lost) = with_reader(&bench)?;
    print("dot_at, by lane, a reader draining", "none", cost);
    let written: u64 = bench.publisher.published().iter().sum();
    println!(r#"{{"what": "that reader", "written": {written}, "seen": {seen}, "lost": {lost}}}"#);
    Ok(())
}

/// What a writer pays while another core reads its lines; with it what the reader saw and lost.
fn with_reader(bench: &Bench) -> Result<(Cost, u64, u64), Error> {
    let mut lane = bench.publisher.lane()?;
    let mut ring = RingReader::open(&bench.publisher.path())?;
    let done = AtomicBool::new(false);
    Ok(std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut cursor, mut out) = (LaneCursor::start(0), Drained::default());
            let (mut seen, mut lost) = (0, 0);
            loop {
                let last = done.load(SeqCst);
                while cursor.drain(&mut ring, 32_768, &mut out) > 0 {
                    seen += out.dots.len() as u64;
                    lost += out.losses.iter().map(|loss| loss.next - loss.first).sum::<u64>();
                    black_box(&out.dots);
                    out.clear();
                }
                if last {
                    return (seen, lost);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let cost = measure(|| bench.dot_at(&mut lane));
        done.store(true, SeqCst);
        let (seen, lost) = reader.join().expect("the loop above does not panic");
        (cost, seen, lost)
    }))
}

/// Pushes until the queue is full and empties it outside the clock.
fn push_into_queue(count: u64) -> Duration {
    let (mut producer, mut consumer) = rtrb::RingBuffer::<(u64, u64, f64)>::new(QUEUE_SLOTS);
    let mut pushed = 0;
    let mut spent = Duration::ZERO;
    while pushed < count {
        let until = count.min(pushed + QUEUE_SLOTS as u64);
        spent += timed(|| {
            for number in pushed..until {
                // Field by field, as the arguments of a dot: a whole message would take a detour through memory.
                let full = producer.push((black_box(7), black_box(number), black_box(number as f64)));
                debug_assert!(full.is_ok());
            }
        });
        pushed = until;
        while let Ok(slot) = consumer.pop() {
            black_box(slot);
        }
    }
    spent
}

fn print_row(what: &str, clock: &str, cost: Cost, clock_gettime: Cost, push: Cost) {
    let clock = if clock.is_empty() { String::new() } else { format!(r#""clock": "{clock}", "#) };
    println!(
        r#"{{"what": "{what}", {clock}"ns_min": {:.2}, "ns_median": {:.2}, "ns_max": {:.2}, "per_second": {:.0}, "to_clock_gettime": {:.2}, "to_rtrb_push": {:.2}}}"#,
        cost.least,
        cost.median,
        cost.most,
        1e9 / cost.median,
        cost.median / clock_gettime.median,
        cost.median / push.median,
    );
}
