//! A span of time, half-open.

use crate::Timestamp;

/// The moments `from <= t < until`; empty where `until <= from`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeRange {
    /// The first moment inside.
    pub from: Timestamp,
    /// The first moment past the end.
    pub until: Timestamp,
}

impl TimeRange {
    /// Every moment but the very last nanosecond of 2554, which no half-open range can hold.
    pub const ALL: TimeRange = TimeRange { from: Timestamp::MIN, until: Timestamp::MAX };

    /// `from <= t < until`.
    pub const fn new(from: Timestamp, until: Timestamp) -> TimeRange {
        TimeRange { from, until }
    }

    /// Whether `time` lies inside.
    pub fn contains(self, time: Timestamp) -> bool {
        self.from <= time && time < self.until
    }

    /// Whether a run of dots from `first` to `last`, both included, has a chance to lie inside.
    pub fn meets(self, first: Timestamp, last: Timestamp) -> bool {
        first < self.until && self.from <= last
    }

    /// Whether nothing can lie inside.
    pub fn is_empty(self) -> bool {
        self.until <= self.from
    }
}
