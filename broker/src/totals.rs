//! What the broker has done since it started.

use std::collections::BTreeMap;
use std::fmt;

use dotter_dot::Reason;

/// Counts since the start. Dots and losses count when they are acknowledged, once, however often they were posted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Batches acknowledged.
    pub batches: u64,
    /// Dots acknowledged.
    pub dots: u64,
    /// Records acknowledged as missing, by reason.
    pub lost: BTreeMap<Reason, u64>,
    /// Records the collector refused for good, by reason.
    pub refused: BTreeMap<Reason, u64>,
    /// Posts without an answer that counts.
    pub failures: u64,
    /// Answers that wanted other records than were sent.
    pub conflicts: u64,
    /// Records that were acknowledged once and are wanted again: the store went back, or is another.
    pub wanted_again: u64,
    /// Rings finished and forgotten.
    pub rings_finished: u64,
    /// Files that look like rings and are none.
    pub files_refused: u64,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} dots in {} batches acknowledged", self.dots, self.batches)?;
        for (what, by_reason) in [("lost", &self.lost), ("refused", &self.refused)] {
            for (reason, count) in by_reason {
                write!(f, ", {count} {what} ({reason})")?;
            }
        }
        for (count, what) in [
            (self.failures, "posts failed"),
            (self.conflicts, "conflicts"),
            (self.wanted_again, "records wanted again"),
            (self.rings_finished, "rings finished"),
            (self.files_refused, "files refused"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        Ok(())
    }
}
