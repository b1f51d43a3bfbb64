//! Counters: the running total of one instance.
//!
//! Always true:
//!
//! - the totals of one counter are published in the order they were reached, so a later dot is never the smaller one,
//!   and equal to the one before only where somebody asked for it by counting zero
//! - when nobody counts, the last dot is the total
//! - nothing here waits: if another thread is publishing this counter, it will publish our count too, for it looks at the
//!   count again before it leaves

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use dotter_dot::SeriesName;
use dotter_ring::fork_generation;

use crate::Series;
use crate::total::Total;

/// Counts, and publishes the running total; see [`Publisher::counter`](crate::Publisher::counter).
#[derive(Clone, Debug)]
pub struct Counter {
    series: Series,
    total: Arc<Total>,
}

impl Counter {
    pub(crate) fn new(series: Series, total: Arc<Total>) -> Counter {
        Counter { series, total }
    }

    /// Says what is counted, for the page.
    #[must_use = "the counter with the unit is the one returned"]
    pub fn unit(self, unit: &str) -> Counter {
        Counter { series: self.series.unit(unit), ..self }
    }

    /// Counts `more` and publishes the total; zero publishes it once more.
    ///
    /// Where several threads count at once, one dot may stand for the counts of all of them.
    pub fn count(&self, more: u64) {
        // Relaxed would do for the sum; with SeqCst throughout, pair "counted or seen": either the one that is
        // publishing sees this count in its last look, or this one sees that it has left.
        self.total.count.fetch_add(more, SeqCst);
        self.publish(more == 0);
    }

    /// Counts up to `total`, where it is more than was counted so far, and publishes the total.
    #[cfg(feature = "metrics")]
    pub(crate) fn reach(&self, total: u64) {
        let before = self.total.count.fetch_max(total, SeqCst);
        self.publish(total <= before);
    }

    /// - `again`: the total was published already, and is to be once more
    fn publish(&self, mut again: bool) {
        let Total { count, published, publishing } = &*self.total;
        // Pair "counted or seen" as above.
        let ours = fork_generation().wrapping_add(1).max(1);
        loop {
            let other = publishing.load(SeqCst);
            if other == ours || publishing.compare_exchange(other, ours, SeqCst, SeqCst).is_err() {
                return;
            }
            let now = count.load(SeqCst);
            // Relaxed: `publishing` keeps all others out. Where another thread has published this total meanwhile, our
            // count was in its dot.
            if again || published.load(Relaxed) != now {
                published.store(now, Relaxed);
                again = false;
                self.series.dot(now as f64);
            }
            publishing.store(0, SeqCst);
            if count.load(SeqCst) == now {
                return;
            }
        }
    }

    /// What was counted so far, in this process and before it was forked.
    pub fn total(&self) -> u64 {
        self.total.count.load(SeqCst)
    }

    /// The name.
    pub fn name(&self) -> &SeriesName {
        self.series.name()
    }
}
