//! A span of time, half-open.

use crate::Timestamp;

/// The moments `from <= t < until`; empty where `until <= from`.
///
/// [`Timestamp::MAX`] as `until` means no end: the very last nanosecond of 2554 lies inside then, which no
/// half-open range could hold otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeRange {
    /// The first moment inside.
    pub from: Timestamp,
    /// The first moment past the end.
    pub until: Timestamp,
}

impl TimeRange {
    /// Every moment.
    pub const ALL: TimeRange = TimeRange { from: Timestamp::MIN, until: Timestamp::MAX };

    /// `from <= t < until`.
    pub const fn new(from: Timestamp, until: Timestamp) -> TimeRange {
        TimeRange { from, until }
    }

    /// Whether `time` lies inside.
    pub fn contains(self, time: Timestamp) -> bool {
        self.from <= time && self.begins_before_end(time)
    }

    /// Whether a run of dots from `first` to `last`, both included, has a chance to lie inside.
    pub fn meets(self, first: Timestamp, last: Timestamp) -> bool {
        self.begins_before_end(first) && self.from <= last
    }

    /// Whether nothing can lie inside.
    pub fn is_empty(self) -> bool {
        !self.begins_before_end(self.from)
    }

    fn begins_before_end(self, time: Timestamp) -> bool {
        time < self.until || self.until == Timestamp::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_moment_lies_in_ranges_without_an_end_alone() {
        let at = Timestamp::from_nanos;
        assert!(TimeRange::ALL.contains(Timestamp::MAX) && TimeRange::ALL.contains(Timestamp::MIN));
        assert!(!TimeRange::new(at(0), at(u64::MAX - 1)).contains(at(u64::MAX - 1)));
        assert!(TimeRange::new(at(5), Timestamp::MAX).meets(Timestamp::MAX, Timestamp::MAX));
        assert!(!TimeRange::new(Timestamp::MAX, Timestamp::MAX).is_empty());
        assert!(TimeRange::new(at(5), at(5)).is_empty() && !TimeRange::new(at(5), at(6)).is_empty());
        assert!(!TimeRange::new(at(5), at(9)).meets(at(9), at(12)));
    }
}
