//! Dots that were refused and are in no ring yet.
//!
//! Always true: every count belongs to the process that made it. A forked child finds its parent's counts here
//! and takes them for zero, as the parent counts them itself. Nothing here waits, so a signal handler may count.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use dotter_ring::{Refusals, fork_generation};

/// Why no lane was asked to take a dot; a lane counts itself what is too big for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The registry had no room for its series.
    Series,
    /// It came from a signal handler that interrupted another dot.
    SignalHandler,
    /// Anything else: there was no ring to write to.
    Other,
}

/// How many were refused, by reason.
#[derive(Debug, Default)]
pub(crate) struct Homeless {
    series: Count,
    signal_handler: Count,
    other: Count,
}

impl Homeless {
    /// Counts a dot.
    pub(crate) fn add(&self, refusal: Refusal) {
        match refusal {
            Refusal::Series => self.series.add(),
            Refusal::SignalHandler => self.signal_handler.add(),
            Refusal::Other => self.other.add(),
        }
    }

    /// What this process has counted and not taken.
    pub(crate) fn look(&self) -> Refusals {
        self.each(Count::look)
    }

    /// Takes all that this process has counted: the caller puts it where it belongs.
    pub(crate) fn take(&self) -> Refusals {
        self.each(Count::take)
    }

    fn each(&self, count: impl Fn(&Count) -> u64) -> Refusals {
        Refusals {
            series: count(&self.series),
            signal_handler: count(&self.signal_handler),
            too_big: 0,
            other: count(&self.other),
        }
    }
}

/// Bits of a word that count; those above say whose count it is.
const COUNT_BITS: u32 = 48;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;

/// A count, and the last bits of the fork generation of the process that made it, in one word: they change together.
#[derive(Debug, Default)]
struct Count(AtomicU64);

impl Count {
    /// This process's mark.
    fn mark() -> u64 {
        u64::from(fork_generation()) << COUNT_BITS
    }

    fn of_this_process(word: u64) -> u64 {
        if word & !COUNT_MASK == Count::mark() { word & COUNT_MASK } else { 0 }
    }

    // Relaxed throughout: one word that stands for itself.

    fn add(&self) {
        let more = |word| Some(Count::mark() | (Count::of_this_process(word) + 1) & COUNT_MASK);
        let _ = self.0.fetch_update(Relaxed, Relaxed, more);
    }

    fn look(&self) -> u64 {
        Count::of_this_process(self.0.load(Relaxed))
    }

    fn take(&self) -> u64 {
        Count::of_this_process(self.0.swap(Count::mark(), Relaxed))
    }
}
