//! Drains rings, posts batches, moves on after the ack.
//!
//! [`run`] is the program: it finds the rings at one place, asks the collector what it wants of each, and from then
//! on reads every ring at an interval and posts what is new. A ring is read from where the collector's last answer
//! ends, nowhere else; so a post may be repeated, its answer lost, the broker or the collector killed, and every dot
//! is still stored once or counted as lost. Rings that have ended are finished at the collector and removed.
//!
//! The broker keeps no state of its own, on disk or elsewhere: a new one learns everything from the rings and the
//! collector. A cursor file would only be a hint that spares a question.
//!
//! What counts as an ack: status 200 with a well-formed answer about the ring and all lanes that were posted, and about
//! no record that the ring never had. With anything else no cursor moves, and what was posted is read from the ring
//! again for the next try.
//!
//! | answer | what happens |
//! |---|---|
//! | 200 | each lane goes on at the answered record, wherever that is |
//! | 409 | the same; nothing of the batch counts |
//! | no connection | all rings pause, 0.1 to 1 s; one knocks for all |
//! | 429, 503, 507 | all rings pause, 0.1 to 30 s or as long as `Retry-After` says |
//! | broken connection | this ring pauses, 0.1 to 1 s; again: its batches are halved |
//! | 413, silence | this ring pauses, its batches are halved |
//! | 413 to a dot alone, 4 times | that dot is counted as refused for being too big, the ring goes on |
//! | anything else | this ring pauses, 0.1 to 30 s |
//!
//! Where the collector wants records that it once acknowledged, its store went back: what the ring still has is sent
//! again, the rest is counted as lost for that reason. Where another store answers, every ring asks anew.

mod after;
mod backoff;
mod broker;
mod error;
mod fill;
mod follow;
mod lane;
mod post;
mod posted;
mod time_unit;
mod totals;
mod watch;

use std::path::{Path, PathBuf};
use std::time::Duration;

use dotter_daemon::{Log, Secret, StopFlag};
use dotter_ring::directory::{self, Place};

pub use error::Error;
pub use time_unit::TimeUnit;
pub use totals::Totals;

/// What to read, how often, and where to post.
#[derive(Clone, Debug)]
pub struct Options {
    /// A ring file or a directory of rings; `None` for the default directory.
    pub path: Option<PathBuf>,
    /// The longest interval between two looks at the rings.
    pub poll: Duration,
    /// Where the collector takes batches.
    pub url: String,
    /// Who posts, as the collector sees it.
    pub name: String,
    /// How finely the stamps of the clock are kept.
    pub time_unit: TimeUnit,
    /// Return as soon as all that is there at the start is acknowledged.
    pub once: bool,
    /// What the collector asks for before it takes anything.
    pub token: Option<Secret>,
}

impl Options {
    /// Where the rings are.
    fn place(&self) -> Place {
        match &self.path {
            Some(path) => Place::of(path),
            None => Place::Directory(directory::default_directory()),
        }
    }
}

/// The name of this machine, for [`Options::name`].
pub fn host_name() -> String {
    let name = std::fs::read_to_string(Path::new("/proc/sys/kernel/hostname")).unwrap_or_default();
    let name: String = name.trim().chars().filter(|c| !c.is_control()).take(63).collect();
    if name.is_empty() { "broker".to_owned() } else { name }
}

/// Reads and posts until `stop` is set, then for a few seconds more until what is in the rings is acknowledged.
///
/// Waits where there is nothing yet, and tries again for ever where the collector is away or says no.
///
/// # Errors
///
/// [`Error::Lock`] where another broker reads the same rings, [`Error::Thread`] where no thread can be started.
pub fn run(options: &Options, stop: &StopFlag, log: &Log) -> Result<Totals, Error> {
    // Without it a ring that is cut short is still noticed, unless that happens in the very moment it is read.
    if let Err(error) = dotter_ring::survive_truncation() {
        log.info(&format!("cannot guard against rings that are cut short: {error}"));
    }
    broker::Broker::new(options, stop, log)?.run()
}
