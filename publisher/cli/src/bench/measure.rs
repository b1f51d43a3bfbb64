//! Many short runs of one thing, and the lines that say what they took.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::bench::counts::Counts;

/// A debug build measures nothing worth knowing, but is to be quick about it.
pub(super) const QUICK: bool = cfg!(debug_assertions);
/// Runs of each row.
pub(super) const RUNS: usize = if QUICK { 21 } else { 201 };
/// Dots in a run: much longer than the clock around it takes, short enough that most runs are not interrupted.
pub(super) const RUN_DOTS: u64 = if QUICK { 500 } else { 50_000 };

/// Nanoseconds for one of something: least, median, most.
#[derive(Clone, Copy)]
pub(super) struct Cost {
    pub(super) least: f64,
    pub(super) median: f64,
    pub(super) most: f64,
}

impl Cost {
    /// Of at least one figure.
    pub(super) fn of(mut all: Vec<f64>) -> Cost {
        all.sort_by(f64::total_cmp);
        Cost { least: all[0], median: all[all.len() / 2], most: all[all.len() - 1] }
    }
}

/// Measures `run`, which does something [`RUN_DOTS`] times and says how long that took.
pub(super) fn measure(mut run: impl FnMut() -> Duration) -> Cost {
    // Some without counting: caches, pages, branch predictors.
    for _ in 0..RUNS / 10 {
        run();
    }
    Cost::of((0..RUNS).map(|_| per_dot(run(), RUN_DOTS)).collect())
}

/// What a run of `one` takes as a multiple of a run of `other`: medians of runs in turns, so that whatever disturbs the
/// machine disturbs both alike.
pub(super) fn in_turns(mut one: impl FnMut() -> Duration, mut other: impl FnMut() -> Duration) -> f64 {
    let mut others = Vec::with_capacity(RUNS);
    let cost = measure(|| {
        others.push(per_dot(other(), RUN_DOTS));
        one()
    });
    cost.median / Cost::of(others).median
}

/// How long it takes to do `one` with each number of a run, none of which the compiler can know.
#[inline(always)]
pub(super) fn run_of(mut one: impl FnMut(u64)) -> Duration {
    timed(|| (0..RUN_DOTS).for_each(|number| one(black_box(number))))
}

#[inline(always)]
pub(super) fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// Nanoseconds for one of `dots`.
pub(super) fn per_dot(took: Duration, dots: u64) -> f64 {
    took.as_nanos() as f64 / dots as f64
}

/// What one thing costs the thread that does it.
#[derive(Clone, Copy)]
pub(super) struct Row {
    /// While nobody reads.
    pub(super) alone: Cost,
    /// While a thread on another core reads all of it.
    pub(super) read: Option<(Cost, Counts)>,
}

impl From<Cost> for Row {
    fn from(alone: Cost) -> Row {
        Row { alone, read: None }
    }
}

/// Prints a line for each row, as JSON, beside what all are compared with.
pub(super) struct Table {
    pub(super) clock_gettime: Cost,
    pub(super) push: Row,
}

impl Table {
    /// `clock`: where the time of each dot came from; empty where it is no dot.
    pub(super) fn print(&self, what: &str, clock: &str, row: impl Into<Row>) {
        let row = row.into();
        let clock = if clock.is_empty() { String::new() } else { format!(r#", "clock": "{clock}""#) };
        let read = row.read.zip(self.push.read).map(|((cost, counts), (push, _))| {
            format!(
                r#", "read_ns_min": {:.2}, "read_ns_median": {:.2}, "read_ns_max": {:.2}, "read_to_rtrb_push": {:.2}, {}"#,
                cost.least,
                cost.median,
                cost.most,
                cost.median / push.median,
                counts.json(),
            )
        });
        println!(
            r#"{{"what": "{what}"{clock}, "ns_min": {:.2}, "ns_median": {:.2}, "ns_max": {:.2}, "to_clock_gettime": {:.2}, "to_rtrb_push": {:.2}{}}}"#,
            row.alone.least,
            row.alone.median,
            row.alone.most,
            row.alone.median / self.clock_gettime.median,
            row.alone.median / self.push.alone.median,
            read.unwrap_or_default(),
        );
    }
}
