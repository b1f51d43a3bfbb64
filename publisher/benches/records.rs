//! What each kind of record costs: `cargo bench -p dotter-publisher`.
//!
//! One thread, a lane of 4 MiB, touched before. Prints nanoseconds: least, median, most of 201 runs.
//! Whatever is stamped by the clock contains a look at it; the rest is what a record costs by itself.

use std::hint::black_box;
use std::time::Instant;

use dotter_publisher::{Clock, ClockKind, Publisher, Timestamp};

const RUNS: usize = 201;
const RUN_RECORDS: u64 = 50_000;

fn measure(what: &str, mut record: impl FnMut(u64)) {
    let mut run = || {
        let start = Instant::now();
        (0..RUN_RECORDS).for_each(|number| record(black_box(number)));
        start.elapsed().as_nanos() as f64 / RUN_RECORDS as f64
    };
    // Caches, pages, branch predictors.
    for _ in 0..RUNS / 10 {
        run();
    }
    let mut all: Vec<f64> = (0..RUNS).map(|_| run()).collect();
    all.sort_by(f64::total_cmp);
    println!("{what:40} {:6.2} {:6.2} {:6.2}", all[0], all[RUNS / 2], all[RUNS - 1]);
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::Builder::new().prefix("dotter-bench").tempdir_in("/dev/shm")?;
    let publisher = Publisher::options().application("bench").path(dir.path()).open()?;
    let clock = match Clock::best().kind() {
        ClockKind::Realtime => "clock_gettime",
        _ => "tsc",
    };
    println!("nanoseconds, least, median, most of {RUNS} runs; clock {clock}");

    let number = publisher.series("number")?;
    let integer = publisher.series_of::<i64>("integer")?;
    let log = publisher.lines("log")?;
    let row = publisher.row::<(f64, f64, u64, u32)>("row", &["a", "b", "c", "d"])?;
    let line = "a line of 24 bytes, yes.";
    assert_eq!(line.len(), 24);
    let start = Timestamp::now().nanos();
    let at = |number: u64| Timestamp::from_nanos(start + number);
    let columns = |number: u64| (number as f64, 1.0, number, 7);

    let mut lane = publisher.lane()?;
    measure("dot, by lane", |n| lane.dot(&number, n as f64));
    measure("dot_at, by lane", |n| lane.dot_at(&number, at(n), n as f64));
    measure("i64 at, by lane", |n| lane.dot_at(&integer, at(n), n as i64));
    measure("row of 4 at, by lane", |n| lane.row_at(&row, at(n), columns(n)));
    measure("row of 4, by lane", |n| lane.row(&row, columns(n)));
    measure("text of 24 bytes at, by lane", |n| lane.line_at(&log, at(n), black_box(line)));
    measure("text of 24 bytes, by lane", |_| lane.line(&log, black_box(line)));
    measure("dot, thread-local", |n| number.dot(n as f64));
    measure("dot_at, thread-local", |n| number.dot_at(at(n), n as f64));
    measure("row of 4 at, thread-local", |n| row.dot_at(at(n), columns(n)));
    measure("text of 24 bytes at, thread-local", |n| log.line_at(at(n), black_box(line)));
    let counter = publisher.counter("counter")?;
    measure("count", |_| counter.count(1));
    let latency = publisher.series("latency")?.unit("us");
    measure("timer", |_| drop(latency.timer()));
    Ok(())
}
