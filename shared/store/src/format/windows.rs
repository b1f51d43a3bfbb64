//! Windows of time on four levels: hours, days, months, years, in UTC. Archives have them.
//!
//! Always true: a window of a finer level lies within one window of a coarser level, and every moment lies in one window
//! of each level.

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
    }
}
