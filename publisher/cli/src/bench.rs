//! What a dot costs here, beside what it is compared with, measured in the same run.
//!
//! Always: through the public interface, numbers that the compiler cannot know, pages touched before. Each thing is
//! measured twice: while nobody reads, and while a thread on another core reads all of it and counts what it saw and
//! lost. What a page costs that nobody has touched is a row of its own.

mod cores;
mod counts;
mod measure;
mod paced;
mod queue;
mod reader;

use std::hint::black_box;
use std::path::Path;
use std::sync::Barrier;
use std::time::{Duration, SystemTime};

use dotter_publisher::{Clock, ClockKind, Lane, Publisher, Series, Timestamp};

use crate::{Error, Size};
use cores::{Cores, Role};
use measure::{Cost, QUICK, Row, Table, in_turns, measure, per_dot, run_of, timed};
use reader::{POLL, Reader};

/// Dots of a lane of 16 MiB.
const LARGE_LANE_DOTS: u64 = if QUICK { 4_032 } else { 1_032_192 };
const FIRST_LAPS: usize = 7;
const LINE: &str = "a line of 24 bytes, yes.";
const _: () = assert!(LINE.len() == 24, "it says so");

/// A ring to measure with; its file goes when this does.
struct Bench {
    publisher: Publisher,
    series: Series,
    clock: &'static str,
    cores: Cores,
    /// Dots a writer may be ahead of the reader when a run begins: with that run they fit into a lane, whatever
    /// is measured takes three granules at most.
    backlog: u64,
}

impl Bench {
    fn new(path: &Path, dots: u64, clock: Clock, cores: Cores) -> Result<Bench, Error> {
        let name = if clock.kind() == ClockKind::Tsc { "tsc" } else { "clock_gettime" };
        let options = Publisher::options().application("bench").path(path).lane_dots(dots).lanes_max(8);
        let publisher = options.clock(clock).open()?;
        let series = publisher.series("bench")?;
        Ok(Bench { publisher, series, clock: name, cores, backlog: dots / 16 })
    }

    /// Measures `run` while nobody reads, and while somebody does who is never far behind.
    fn row(&self, mut run: impl FnMut() -> Duration) -> Result<Row, Error> {
        let alone = measure(&mut run);
        let reader = Reader::start(&self.publisher, self.cores, POLL)?;
        let read = measure(|| {
            reader.catch_up(&self.publisher, self.backlog);
            run()
        });
        Ok(Row { alone, read: Some((read, reader.finish(&self.publisher))) })
    }

    fn dot_at(&self, lane: &mut Lane) -> Duration {
        let start = Timestamp::now().nanos();
        run_of(|number| lane.dot_at(&self.series, Timestamp::from_nanos(start + number), number as f64))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.publisher.path());
    }
}

/// Prints a line for each row.
pub(crate) fn run(path: &Path, size: Size) -> Result<(), Error> {
    let cores = Cores::find();
    cores.stay(Role::Writer);
    let clock_gettime = measure(clock_run);
    let push = queue::push(cores, message);
    let table = Table { clock_gettime, push };
    table.print("clock_gettime", "", clock_gettime);
    table.print("push into rtrb, 24 bytes", "", push);
    table.print("push into rtrb, 16 bytes", "", queue::push(cores, |number| (number, number as f64)));

    let bench = Bench::new(path, size.dots, Clock::best(), cores)?;
    numbers(&table, &bench)?;
    other_kinds(&table, &bench)?;
    threads(&table, &bench)?;
    reading(&table, &bench)?;
    drop(bench);

    let bench = Bench::new(path, size.dots, Clock::realtime(), cores)?;
    let mut lane = bench.publisher.lane()?;
    let row = bench.row(|| run_of(|number| lane.dot(&bench.series, number as f64)))?;
    table.print("dot, by lane, where no tsc can be trusted", bench.clock, row);
    drop(lane);
    drop(bench);

    table.print("dot_at, by lane, pages nobody has touched", "none", first_lap(path, cores)?);
    tails(&table, path, size, cores)?;
    sustained(path, cores)
}

fn clock_run() -> Duration {
    run_of(|_| {
        black_box(SystemTime::now());
    })
}

/// What a dot is made of, for a queue.
fn message(number: u64) -> (u64, u64, f64) {
    (7, number, number as f64)
}

fn numbers(table: &Table, bench: &Bench) -> Result<(), Error> {
    let (mut lane, series) = (bench.publisher.lane()?, &bench.series);
    let row = bench.row(|| run_of(|number| lane.dot(series, number as f64)))?;
    table.print("dot, by lane", bench.clock, row);
    let row = bench.row(|| run_of(|number| series.dot(number as f64)))?;
    table.print("dot, thread-local", bench.clock, row);
    table.print("dot_at, by lane", "none", bench.row(|| bench.dot_at(&mut lane))?);
    let row = bench.row(|| {
        let start = Timestamp::now().nanos();
        run_of(|number| series.dot_at(Timestamp::from_nanos(start + number), number as f64))
    })?;
    table.print("dot_at, thread-local", "none", row);

    let ratio = in_turns(|| run_of(|number| lane.dot(series, number as f64)), clock_run);
    println!(r#"{{"what": "dot, by lane, to a clock_gettime, in turns", "ratio": {ratio:.2}}}"#);
    let ratio = in_turns(|| bench.dot_at(&mut lane), queue::alone(message));
    println!(r#"{{"what": "dot_at, by lane, to a push of 24 bytes, in turns", "ratio": {ratio:.2}}}"#);
    Ok(())
}

fn other_kinds(table: &Table, bench: &Bench) -> Result<(), Error> {
    let mut lane = bench.publisher.lane()?;
    let start = Timestamp::now().nanos();
    let at = |number: u64| Timestamp::from_nanos(start + number);
    let integers = bench.publisher.series_of::<i64>("integers")?;
    let row = bench.row(|| run_of(|number| lane.dot_at(&integers, at(number), number as i64)))?;
    table.print("dot_at of an i64, by lane", "none", row);
    let rows = bench.publisher.row::<(f64, f64, u64, u32)>("rows", &["a", "b", "c", "d"])?;
    let row =
        bench.row(|| run_of(|number| lane.row_at(&rows, at(number), (number as f64, 1.0, number, 7))))?;
    table.print("row_at of 4 columns, by lane", "none", row);
    let lines = bench.publisher.lines("lines")?;
    let row = bench.row(|| run_of(|number| lane.line_at(&lines, at(number), black_box(LINE))))?;
    table.print("line_at of 24 bytes, by lane", "none", row);
    Ok(())
}

/// One writer and two; one with a reader that never rests.
fn threads(table: &Table, bench: &Bench) -> Result<(), Error> {
    let (mut lane, mut second) = (bench.publisher.lane()?, bench.publisher.lane()?);
    let cores = bench.cores;
    // One and two alike in all but the second.
    let one = measure(|| both(cores, || bench.dot_at(&mut lane), || Duration::ZERO));
    let two = measure(|| both(cores, || bench.dot_at(&mut lane), || bench.dot_at(&mut second)));
    table.print("dot_at, a thread that was just started", "none", one);
    table.print("dot_at, two of these with a lane each, the slower", "none", two);
    let (ratio, two_cores) = (two.median / one.median, cores.are_two());
    println!(r#"{{"what": "two writers to one", "ratio": {ratio:.2}, "two_cores": {two_cores}}}"#);
    let reader = Reader::start(&bench.publisher, cores, Duration::ZERO)?;
    let read = measure(|| {
        reader.catch_up(&bench.publisher, bench.backlog);
        bench.dot_at(&mut lane)
    });
    let counts = reader.finish(&bench.publisher);
    let row = Row { alone: one, read: Some((read, counts)) };
    table.print("dot_at, by lane, a reader that never rests", "none", row);
    Ok(())
}

/// Does both at once; how long the slower one took.
fn both(
    cores: Cores,
    first: impl FnOnce() -> Duration + Send,
    second: impl FnOnce() -> Duration + Send,
) -> Duration {
    let barrier = Barrier::new(2);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            cores.stay(Role::Other);
            barrier.wait();
            second()
        });
        barrier.wait();
        first().max(other.join().expect("a run of dots does not panic"))
    })
}

fn reading(table: &Table, bench: &Bench) -> Result<(), Error> {
    let mut lane = bench.publisher.lane()?;
    let number = number_of(bench, &mut lane);
    let cost = reader::drain(&bench.publisher, number, || {
        run_of(|number| lane.dot(&bench.series, number as f64));
    })?;
    table.print("drain and decode, stamped dots", "", cost);
    let cost = reader::drain(&bench.publisher, number, || {
        bench.dot_at(&mut lane);
    })?;
    table.print("drain and decode, given times", "", cost);
    Ok(())
}

/// The number of a lane in the ring.
fn number_of(bench: &Bench, lane: &mut Lane) -> u32 {
    let before = bench.publisher.published();
    lane.dot(&bench.series, 0.0);
    let after = bench.publisher.published();
    let moved = before.iter().zip(&after).position(|(before, after)| before != after);
    moved.expect("a dot goes into a lane") as u32
}

/// What a dot costs in the first lap of a lane that is not the first: that one is touched when the ring is made.
fn first_lap(path: &Path, cores: Cores) -> Result<Cost, Error> {
    let mut all = Vec::new();
    for _ in 0..FIRST_LAPS {
        let bench = Bench::new(path, LARGE_LANE_DOTS, Clock::best(), cores)?;
        let (_first, mut lane) = (bench.publisher.lane()?, bench.publisher.lane()?);
        let start = Timestamp::now().nanos();
        let took = timed(|| {
            for number in 0..LARGE_LANE_DOTS {
                let number = black_box(number);
                lane.dot_at(&bench.series, Timestamp::from_nanos(start + number), number as f64);
            }
        });
        all.push(per_dot(took, LARGE_LANE_DOTS));
    }
    Ok(Cost::of(all))
}

/// The slowest of paced stores, between two looks at the clock; and of nothing, between the same two.
fn tails(table: &Table, path: &Path, size: Size, cores: Cores) -> Result<(), Error> {
    let bench = Bench::new(path, size.dots, Clock::best(), cores)?;
    let nothing = paced::tail(|number| {
        black_box(number);
    });
    let (mut lane, start) = (bench.publisher.lane()?, Timestamp::now().nanos());
    let mut store = |number| lane.dot_at(&bench.series, Timestamp::from_nanos(start + number), number as f64);
    let alone = paced::tail(&mut store);
    let reader = Reader::start(&bench.publisher, cores, POLL)?;
    let read = paced::tail(&mut store);
    let counts = reader.finish(&bench.publisher);
    for (part, nothing, alone, read) in
        [("p99.9", nothing.p999, alone.p999, read.p999), ("p99.99", nothing.p9999, alone.p9999, read.p9999)]
    {
        table.print(&format!("{part} of two looks at the clock, 1.9 M/s"), bench.clock, nothing);
        let row = Row { alone, read: Some((read, counts)) };
        table.print(&format!("{part} of the same and a dot_at between"), bench.clock, row);
    }
    Ok(())
}

fn sustained(path: &Path, cores: Cores) -> Result<(), Error> {
    let bench = Bench::new(path, LARGE_LANE_DOTS, Clock::best(), cores)?;
    let counts = paced::sustained(&bench.publisher, &bench.series, cores)?;
    println!(
        r#"{{"what": "2 M dots/s in each of 2 threads, 16 MiB lanes, fixed 0.1 s poll, drain only", {}}}"#,
        counts.json()
    );
    Ok(())
}
