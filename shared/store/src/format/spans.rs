//! Spans of time in which dots are hidden.

use std::ops::Range;

use dotter_dot::Column;

/// Spans of time: sorted, none of them overlapping or adjacent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spans(pub(super) Vec<(u64, u64)>);

impl Spans {
    /// Adds the span from `first` to `last`, both included.
    pub(crate) fn add(&mut self, first: u64, last: u64) {
        let from = self.0.partition_point(|span| span.1.saturating_add(1) < first);
        let until = self.0.partition_point(|span| span.0 <= last.saturating_add(1));
        let (mut first, mut last) = (first, last);
        if from < until {
            first = first.min(self.0[from].0);
            last = last.max(self.0[until - 1].1);
        }
        self.0.splice(from..until, [(first, last)]);
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Calls `each` with the first and last moment of every span.
    pub(crate) fn each(&self, mut each: impl FnMut(u64, u64)) {
        self.0.iter().for_each(|(first, last)| each(*first, *last));
    }

    /// Whether a moment lies in a span.
    pub(crate) fn contains(&self, time: u64) -> bool {
        self.covers(time, time)
    }

    /// Whether every moment from `first` to `last` lies in a span.
    pub(crate) fn covers(&self, first: u64, last: u64) -> bool {
        let at = self.0.partition_point(|span| span.1 < first);
        self.0.get(at).is_some_and(|span| span.0 <= first && last <= span.1)
    }

    /// Whether any moment from `first` to `last` lies in a span.
    pub(crate) fn meets(&self, first: u64, last: u64) -> bool {
        let at = self.0.partition_point(|span| span.1 < first);
        self.0.get(at).is_some_and(|span| span.0 <= last)
    }

    /// Removes from sorted dots those that lie in a span; returns how many it removed.
    pub(crate) fn remove(&self, dots: &mut Column) -> u64 {
        let (Some(first), Some(last)) = (dots.times().first(), dots.times().last()) else { return 0 };
        if !self.meets(*first, *last) {
            return 0;
        }
        let mut kept = Column::default();
        self.outside(dots.times()).into_iter().for_each(|places| kept.extend(dots, places));
        let removed = dots.len() - kept.len();
        *dots = kept;
        removed as u64
    }

    /// The places of those of the sorted times that lie outside of the spans, as ranges.
    pub(crate) fn outside(&self, times: &[u64]) -> Vec<Range<usize>> {
        let mut kept = Vec::new();
        let mut start = 0;
        for (first, last) in &self.0 {
            let from = start + times[start..].partition_point(|time| time < first);
            let until = from + times[from..].partition_point(|time| time <= last);
            if start < from {
                kept.push(start..from);
            }
            start = until;
        }
        if start < times.len() {
            kept.push(start..times.len());
        }
        kept
    }
}
