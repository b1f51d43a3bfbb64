//! Runs, taken in turns, and the table that comes of them.

pub(crate) use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Numbers in a run: far more than the clock around it costs, few enough that most runs are undisturbed.
pub(crate) const RUN_DOTS: u64 = 50_000;
/// What is run and thrown away first: caches, pages, branch predictors, the first of a thread.
const WARM_UP_ROUNDS: usize = 10;

/// One way to publish.
pub(crate) struct Row {
    what: &'static str,
    includes: &'static str,
    dots: u64,
    run: Box<dyn FnMut() -> Duration>,
    /// Nanoseconds for one number.
    costs: Vec<f64>,
}

impl Row {
    /// `run` publishes [`RUN_DOTS`] numbers and says how long that took.
    pub(crate) fn new(
        what: &'static str,
        includes: &'static str,
        run: impl FnMut() -> Duration + 'static,
    ) -> Row {
        Row { what, includes, dots: RUN_DOTS, run: Box::new(run), costs: Vec::new() }
    }

    /// For what is so slow that fewer will do.
    pub(crate) fn dots(mut self, dots: u64) -> Row {
        self.dots = dots;
        self
    }

    fn run(&mut self) -> f64 {
        (self.run)().as_nanos() as f64 / self.dots as f64
    }

    fn median(&self) -> f64 {
        self.costs.get(self.costs.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

pub(crate) fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// Does something [`RUN_DOTS`] times.
pub(crate) fn repeat(work: impl FnMut(u64)) {
    (0..RUN_DOTS).for_each(work);
}

/// Does `work` while another thread is at `other`, which goes on until it is done.
pub(crate) fn beside(other: impl FnOnce(&AtomicBool) + Send, work: impl FnOnce() -> Duration) -> Duration {
    let (started, done) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            started.store(true, SeqCst);
            other(&done);
        });
        while !started.load(SeqCst) {
            std::thread::yield_now();
        }
        let spent = work();
        done.store(true, SeqCst);
        spent
    })
}

/// One run of each in every round.
pub(crate) fn take_turns(rows: &mut [Row], rounds: usize) {
    for row in rows.iter_mut() {
        for _ in 0..WARM_UP_ROUNDS {
            row.run();
        }
    }
    for _ in 0..rounds {
        for row in rows.iter_mut() {
            // What the others left in the caches is not this one's cost.
            row.run();
            let cost = row.run();
            row.costs.push(cost);
        }
    }
    rows.iter_mut().for_each(|row| row.costs.sort_by(f64::total_cmp));
}

pub(crate) fn print(rows: &mut [Row], units: [&str; 2]) {
    let units = units.map(|unit| rows.iter().find(|row| row.what == unit).map_or(f64::NAN, Row::median));
    println!(
        "{:<52} {:>9} {:>9} {:>10} {:>9} {:>7}  includes",
        "ns for one number", "min", "median", "max", "x dot_at", "x dot"
    );
    for row in rows {
        let (median, [dot_at, dot]) = (row.median(), units);
        let (least, most) = (row.costs[0], row.costs[row.costs.len() - 1]);
        println!(
            "{:<52} {least:>9.2} {median:>9.2} {most:>10.2} {:>9.2} {:>7.2}  {}",
            row.what,
            median / dot_at,
            median / dot,
            row.includes
        );
    }
}
