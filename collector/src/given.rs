//! What the thread that commits is given, and each of its writers uses.

use std::path::PathBuf;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use dotter_daemon::Log;

use crate::ingest::Jobs;
use crate::metrics::Metrics;
use crate::reserve::Reserve;

/// What the thread is given.
pub(crate) struct Commit {
    pub(crate) dir: PathBuf,
    /// So many series that are new to the store may be made.
    pub(crate) series_max: usize,
    /// What the disk keeps free.
    pub(crate) reserve: Reserve,
    pub(crate) jobs: Jobs,
    /// Nothing is ever sent: once the other end is dropped, nothing more will be queued.
    pub(crate) last: Receiver<()>,
    /// Wakes the thread that seals.
    pub(crate) seal: Sender<()>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) log: Log,
}
