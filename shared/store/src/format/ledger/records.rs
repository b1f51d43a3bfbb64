//! A range of records of one lane, and what became of each.

use dotter_dot::{Reason, TimeRange};

use crate::format::ledger::account::total;

/// Records of a lane, `first <= r < next`, and what became of some of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LaneRecords {
    /// The lane.
    pub lane: u32,
    /// First record.
    pub first: u64,
    /// One past the last record.
    pub next: u64,
    /// Lost records: sorted, disjoint, within `first..next`.
    pub losses: Vec<Lost>,
    /// Refused records: sorted, disjoint, within `first..next`, and disjoint from the losses.
    pub refused: Vec<Refused>,
    /// How many of the other records another store of the cluster keeps. Where a lost range has such records in it,
    /// its entry in `losses` has only as many records as are lost.
    pub elsewhere: u64,
}

/// Records that are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// First record.
    pub first: u64,
    /// One past the last record.
    pub next: u64,
    /// Why.
    pub reason: Reason,
    /// When they would have been, where that is known.
    pub times: Option<TimeRange>,
}

/// Records that the collector refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// First record.
    pub first: u64,
    /// One past the last record.
    pub next: u64,
    /// Why.
    pub reason: Reason,
}

impl LaneRecords {
    /// Records that are lost.
    pub fn lost_len(&self) -> u64 {
        total(self.losses.iter().map(|lost| lost.next - lost.first))
    }

    /// Records that are refused.
    pub fn refused_len(&self) -> u64 {
        total(self.refused.iter().map(|refused| refused.next - refused.first))
    }

    /// Records that are dots of this transaction.
    pub fn stored_len(&self) -> u64 {
        let others = total([self.lost_len(), self.refused_len(), self.elsewhere]);
        (self.next - self.first).saturating_sub(others)
    }
}
