//! What counters have come to.

use std::sync::atomic::{AtomicU32, AtomicU64};

/// What all counters of one name have come to.
#[derive(Debug, Default)]
pub(crate) struct Total {
    pub(crate) count: AtomicU64,
    /// The total of the last dot; zero before the first. Only who is publishing reads or writes it.
    pub(crate) published: AtomicU64,
    /// Zero, or one more than the fork generation of the process that is publishing: what a forked child finds
    /// here from its parent holds nobody up.
    pub(crate) publishing: AtomicU32,
}
