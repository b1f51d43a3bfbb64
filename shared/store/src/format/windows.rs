//! Windows of time on four levels: hours, days, months, years, in UTC. Also where dots are cut into files, so that files
//! are neither too many nor too large.
//!
//! Always true: a window of a finer level lies within one window of a coarser level, and every moment lies in one window
//! of each level.

use std::collections::BTreeMap;

const HOUR: u64 = 3_600_000_000_000;
const DAY: u64 = 24 * HOUR;

/// A level of windows, which says how wide they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum WindowLevel {
    /// Sixty minutes.
    Hour,
    /// From midnight to midnight.
    Day,
    /// A month of the calendar.
    Month,
    /// A year of the calendar.
    Year,
}

/// Year and month (0 to 11) of a day since 1970.
///
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", for days that are not negative.
fn month_of(day: u64) -> (u64, u64) {
    let day = day + 719_468;
    let of_era = day % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months counted from March.
    let month = (5 * of_year + 2) / 153;
    let year = day / 146_097 * 400 + year_of_era + (month >= 10) as u64;
    (year, (month + 2) % 12)
}

/// The day since 1970 on which a month (0 to 11) begins.
fn day_of(year: u64, month: u64) -> u64 {
    let year_from_march = year - (month < 2) as u64;
    let of_era = year_from_march % 400;
    let of_year = (153 * ((month + 10) % 12) + 2) / 5;
    year_from_march / 400 * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

impl WindowLevel {
    /// The next finer level.
    pub(crate) fn finer(self) -> Option<WindowLevel> {
        match self {
            WindowLevel::Hour => None,
            WindowLevel::Day => Some(WindowLevel::Hour),
            WindowLevel::Month => Some(WindowLevel::Day),
            WindowLevel::Year => Some(WindowLevel::Month),
        }
    }

    /// The next coarser level.
    pub(crate) fn coarser(self) -> Option<WindowLevel> {
        match self {
            WindowLevel::Hour => Some(WindowLevel::Day),
            WindowLevel::Day => Some(WindowLevel::Month),
            WindowLevel::Month => Some(WindowLevel::Year),
            WindowLevel::Year => None,
        }
    }

    /// The beginning of the window that a moment lies in.
    pub(crate) fn start(self, time: u64) -> u64 {
        match self {
            WindowLevel::Hour => time / HOUR * HOUR,
            WindowLevel::Day => time / DAY * DAY,
            WindowLevel::Month => {
                let (year, month) = month_of(time / DAY);
                day_of(year, month) * DAY
            }
            WindowLevel::Year => day_of(month_of(time / DAY).0, 0) * DAY,
        }
    }

    /// The beginning of the window that follows the one `time` lies in; `None` where there is no such time.
    pub(crate) fn next(self, time: u64) -> Option<u64> {
        let start = self.start(time);
        match self {
            WindowLevel::Hour => start.checked_add(HOUR),
            WindowLevel::Day => start.checked_add(DAY),
            WindowLevel::Month => {
                let (year, month) = month_of(time / DAY);
                day_of(year + (month == 11) as u64, (month + 1) % 12).checked_mul(DAY)
            }
            WindowLevel::Year => day_of(month_of(time / DAY).0 + 1, 0).checked_mul(DAY),
        }
    }
}

/// How many bytes lie in which window, on the finest level that keeps the number of windows bounded.
pub(crate) struct Histogram {
    level: WindowLevel,
    weights: BTreeMap<u64, u64>,
}

/// The most windows of a histogram; with more it goes to the next coarser level.
const WINDOWS_MAX: usize = 50_000;
/// Over how many moments the bytes of one wide chunk are spread.
const SPREAD: u64 = 32;

impl Histogram {
    pub(crate) fn new() -> Histogram {
        Histogram { level: WindowLevel::Hour, weights: BTreeMap::new() }
    }

    /// Adds bytes that lie evenly between two moments, both included.
    pub(crate) fn add(&mut self, first: u64, last: u64, bytes: u64) {
        if self.level.start(first) == self.level.start(last) {
            self.put(first, bytes);
        } else {
            let width = (last - first) / (SPREAD - 1);
            (0..SPREAD).for_each(|place| self.put(first + width * place, bytes / SPREAD));
        }
    }

    fn put(&mut self, time: u64, bytes: u64) {
        *self.weights.entry(self.level.start(time)).or_default() += bytes;
        while self.weights.len() > WINDOWS_MAX
            && let Some(coarser) = self.level.coarser()
        {
            self.level = coarser;
            for (start, bytes) in std::mem::take(&mut self.weights) {
                *self.weights.entry(coarser.start(start)).or_default() += bytes;
            }
        }
    }

    /// The times at which another file begins, ascending.
    ///
    /// - `bytes_wanted`: a window that holds more is cut into windows of a finer level, if there is one
    /// - `pieces_max`: at most one cut fewer
    ///
    /// A window that holds less than an eighth of what is wanted shares a file with its neighbours, so that not each
    /// sparse hour gets a file of its own.
    pub(crate) fn cuts(&self, bytes_wanted: u64, pieces_max: usize) -> Vec<u64> {
        let mut windows = Vec::new();
        let mut begin = self.weights.keys().next().copied();
        while let Some(from) = begin {
            let until = WindowLevel::Year.next(from);
            self.split(WindowLevel::Year, from, until, bytes_wanted, &mut windows);
            begin = until.and_then(|until| self.weights.range(until..).next()).map(|(start, _)| *start);
        }
        let mut bytes_least = bytes_wanted / 8;
        loop {
            let mut cuts = Vec::new();
            let mut together = 0_u64;
            for (index, (start, bytes)) in windows.iter().enumerate() {
                let small = together < bytes_least || *bytes < bytes_least;
                if index == 0 || small && together + bytes <= bytes_wanted.max(bytes_least * 2) {
                    together += bytes;
                } else {
                    cuts.push(*start);
                    together = *bytes;
                }
            }
            if cuts.len() < pieces_max {
                return cuts;
            }
            bytes_least = bytes_least.saturating_mul(2).max(1);
        }
    }

    /// Adds the windows into which a window of `level` from `from` until `until` is cut, with their bytes.
    fn split(
        &self,
        level: WindowLevel,
        from: u64,
        until: Option<u64>,
        bytes_wanted: u64,
        out: &mut Vec<(u64, u64)>,
    ) {
        let within = (
            std::ops::Bound::Included(from),
            until.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded),
        );
        let mut bytes = 0;
        let mut first = None;
        for (start, weight) in self.weights.range(within) {
            first = first.or(Some(*start));
            bytes += weight;
        }
        let Some(mut begin) = first else { return };
        match level.finer().filter(|finer| bytes > bytes_wanted && *finer >= self.level) {
            None => out.push((level.start(begin), bytes)),
            Some(finer) => loop {
                let next = finer.next(begin);
                self.split(finer, finer.start(begin), next, bytes_wanted, out);
                let following = next
                    .and_then(|next| self.weights.range((std::ops::Bound::Included(next), within.1)).next());
                match following {
                    Some((start, _)) => begin = *start,
                    None => return,
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use dotter_dot::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> u64 {
        Timestamp::parse_rfc3339(text).unwrap().nanos()
    }

    #[test]
    fn windows_are_those_of_the_calendar() {
        let time = at("2024-02-29T13:14:15Z");
        for (level, start, next) in [
            (WindowLevel::Hour, "2024-02-29T13:00:00Z", "2024-02-29T14:00:00Z"),
            (WindowLevel::Day, "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z"),
            (WindowLevel::Month, "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"),
            (WindowLevel::Year, "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"),
        ] {
            assert_eq!((level.start(time), level.next(time)), (at(start), Some(at(next))), "{level:?}");
        }
        assert_eq!(WindowLevel::Month.next(at("1999-12-31T23:59:59Z")), Some(at("2000-01-01T00:00:00Z")));
        assert_eq!(WindowLevel::Year.next(u64::MAX), None);
        assert_eq!(WindowLevel::Year.start(0), 0);
    }

    proptest! {
        #[test]
        fn every_moment_lies_in_one_window_of_each_rung_and_finer_ones_lie_within(time in any::<u64>()) {
            let mut inner: Option<(u64, Option<u64>)> = None;
            for level in [WindowLevel::Hour, WindowLevel::Day, WindowLevel::Month, WindowLevel::Year] {
                let (start, next) = (level.start(time), level.next(time));
                prop_assert!(start <= time && next.is_none_or(|next| time < next));
                prop_assert_eq!(level.start(start), start);
                if let Some(next) = next {
                    prop_assert_eq!(level.start(next), next);
                    prop_assert_eq!(level.start(next - 1), start);
                }
                if let Some((from, until)) = inner {
                    prop_assert!(start <= from && next.is_none_or(|next| until.is_some_and(|until| until <= next)));
                }
                inner = Some((start, next));
            }
        }

        #[test]
        fn cuts_ascend_lie_on_the_ladder_and_are_few(
            chunks in prop::collection::vec((0..2_000_000_u64, 0..100_000_u64, 1..5_000_u64), 1..200),
            wanted in 1_000..100_000_u64,
            pieces_max in 1..20_usize,
        ) {
            let mut histogram = Histogram::new();
            for (first, length, bytes) in &chunks {
                histogram.add(first * 1_000_000_000_000, (first + length) * 1_000_000_000_000, *bytes);
            }
            let cuts = histogram.cuts(wanted, pieces_max);
            prop_assert!(cuts.len() < pieces_max);
            prop_assert!(cuts.is_sorted_by(|a, b| a < b));
            prop_assert!(cuts.iter().all(|cut| cut % HOUR == 0));
        }
    }

    #[test]
    fn sparse_hours_share_a_file_and_full_ones_get_their_own() {
        let hour = |n: u64| at("2026-11-20T00:00:00Z") + n * HOUR;
        let mut sparse = Histogram::new();
        (0..1000).for_each(|n| sparse.add(hour(n), hour(n) + 5, 10));
        assert_eq!(sparse.cuts(1_000_000, 16), []);
        let mut full = Histogram::new();
        (0..3).for_each(|n| full.add(hour(n), hour(n) + 5, 900_000));
        assert_eq!(full.cuts(1_000_000, 16), [hour(1), hour(2)]);
        // A busy hour among years of little.
        let mut mixed = Histogram::new();
        (0..100).for_each(|n| mixed.add(hour(n * 200), hour(n * 200), 1_000));
        mixed.add(hour(10), hour(10), 5_000_000);
        let cuts = mixed.cuts(1_000_000, 16);
        assert!(cuts.contains(&hour(10)) && cuts.len() <= 3, "{cuts:?}");
        // Five hundred years with a dot each hour stay bounded.
        let mut long = Histogram::new();
        (0..4_000_000).for_each(|n| long.put(n * HOUR, 100));
        assert!(long.weights.len() <= WINDOWS_MAX && long.level == WindowLevel::Month);
        assert!(long.cuts(1_000_000, 16).len() < 16);
    }
}
