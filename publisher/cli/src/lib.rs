//! The dotter-publisher program: this machine's metrics, a random walk, standard input, a benchmark, a
//! workload that tests can check.

mod bench;
mod error;
mod host;
mod load;
mod pace;
mod stdin;
mod walk;

use std::path::{Path, PathBuf};

use dotter_publisher::Publisher;

pub use error::Error;
pub use host::Host;
pub use load::Load;
pub use stdin::{Aggregation, AggregationError, Function, Input, Pattern, PatternError, Stdin};
pub use walk::Walk;

/// What to do.
#[derive(Debug)]
pub enum Task {
    /// Publish what this machine does.
    Host(Host),
    /// Publish a random walk.
    Walk(Walk),
    /// Publish what standard input says.
    Stdin(Stdin),
    /// Publish what a test can check.
    Load(Load),
    /// Measure.
    Bench {
        /// Where the ring goes.
        path: PathBuf,
        /// How much a lane holds.
        size: Size,
    },
}

/// How much a lane holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    dots: u64,
}

impl Size {
    /// `None` where a lane cannot hold that many: none, or more than 2^32.
    pub fn of_dots(dots: u64) -> Option<Size> {
        (1..=1 << 32).contains(&dots).then_some(Size { dots })
    }
}

/// Does it.
///
/// # Errors
///
/// [`Error`] where the ring cannot be made, or the system refuses what the task needs.
pub fn run(task: Task) -> Result<(), Error> {
    match task {
        Task::Host(host) => host.run(),
        Task::Walk(walk) => walk.run(),
        Task::Stdin(stdin) => stdin.run(),
        Task::Load(load) => load.run(),
        Task::Bench { path, size } => bench::run(&path, size),
    }
}

/// A ring as most tasks want it: for one thread.
fn publisher(application: &str, path: Option<&Path>, size: Option<Size>) -> Result<Publisher, Error> {
    let mut options = Publisher::options().application(application).lanes_max(2);
    if let Some(path) = path {
        options = options.path(path);
    }
    if let Some(size) = size {
        options = options.lane_dots(size.dots);
    }
    Ok(options.open()?)
}
