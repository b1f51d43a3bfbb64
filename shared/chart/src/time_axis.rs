//! The time axis: ticks where clocks and calendars have them.

use dotter_dot::Timestamp;

/// A moment on the axis.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeTick {
    /// Seconds since 1970.
    pub seconds: f64,
    /// What is written below it.
    pub text: String,
}

const MINUTE: f64 = 60.0;
const HOUR: f64 = 3600.0;
const DAY: f64 = 86_400.0;

/// From tick to tick, in seconds.
const STEPS: &[f64] = &[
    0.001,
    0.002,
    0.005,
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.5,
    1.0,
    2.0,
    5.0,
    10.0,
    15.0,
    30.0,
    MINUTE,
    2.0 * MINUTE,
    5.0 * MINUTE,
    10.0 * MINUTE,
    15.0 * MINUTE,
    30.0 * MINUTE,
    HOUR,
    2.0 * HOUR,
    3.0 * HOUR,
    6.0 * HOUR,
    12.0 * HOUR,
    DAY,
    2.0 * DAY,
    7.0 * DAY,
    14.0 * DAY,
    28.0 * DAY,
    91.0 * DAY,
    182.0 * DAY,
    365.0 * DAY,
];

/// At most `ticks_max` ticks from `from` to `until`, both in seconds since 1970.
///
/// - `offset`: seconds east of UTC; labels and round hours are those of that clock
///
/// The first tick of a day says which day it is.
pub fn time_ticks(from: f64, until: f64, offset: i64, ticks_max: u32) -> Vec<TimeTick> {
    if !(from.is_finite() && until.is_finite() && from < until) {
        return Vec::new();
    }
    let least = (until - from) / f64::from(ticks_max.max(1));
    let step = STEPS
        .iter()
        .copied()
        .find(|step| *step >= least)
        .unwrap_or_else(|| (least / (365.0 * DAY)).ceil() * 365.0 * DAY);
    let offset = offset as f64;
    let first = ((from + offset) / step).ceil() as i64;
    let last = ((until + offset) / step).floor() as i64;
    (first..=last)
        .map(|index| {
            let local = index as f64 * step;
            TimeTick { seconds: local - offset, text: label(local, step) }
        })
        .collect()
}

fn label(local: f64, step: f64) -> String {
    // A float of this size tells microseconds apart, not nanoseconds.
    let nanos = ((local.max(0.0) * 1e6).round() as u64).saturating_mul(1000);
    // `2024-03-15T12:34:56[.789]Z`
    let shown = Timestamp::from_nanos(nanos).to_string();
    let (date, time) = (&shown[..10], &shown[11..]);
    let midnight = &time[..8] == "00:00:00" && !time.contains('.');
    if step >= 28.0 * DAY {
        return date[..7].to_owned();
    }
    if step >= DAY || midnight {
        return day(date);
    }
    if step >= MINUTE {
        return time[..5].to_owned();
    }
    if step >= 1.0 {
        return time[..8].to_owned();
    }
    time.trim_end_matches('Z')[3..].to_owned()
}

fn day(date: &str) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month: usize = date[5..7].parse().unwrap_or(1);
    let month = MONTHS.get(month.wrapping_sub(1)).unwrap_or(&MONTHS[0]);
    format!("{} {month}", date[8..].trim_start_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2024-03-15T12:00:00Z
    const NOON: f64 = 1_710_504_000.0;

    #[test]
    fn ticks_stand_where_the_clock_has_them() {
        let check = |from: f64, until: f64, offset: i64, expected: &[&str]| {
            let texts: Vec<String> = time_ticks(from, until, offset, 6).into_iter().map(|t| t.text).collect();
            assert_eq!(texts, expected);
        };
        check(
            NOON,
            NOON + 60.0,
            0,
            &["12:00:00", "12:00:10", "12:00:20", "12:00:30", "12:00:40", "12:00:50", "12:01:00"],
        );
        check(NOON + 1.0, NOON + 3601.0, 0, &["12:10", "12:20", "12:30", "12:40", "12:50", "13:00"]);
        check(NOON, NOON + DAY, 0, &["12:00", "18:00", "16 Mar", "06:00", "12:00"]);
        check(NOON, NOON + DAY, 19_800, &["18:00", "16 Mar", "06:00", "12:00"]);
        check(NOON, NOON + 7.0 * DAY, 0, &["16 Mar", "18 Mar", "20 Mar", "22 Mar"]);
        check(NOON, NOON + 1.0, 0, &["00:00", "00:00.2", "00:00.4", "00:00.6", "00:00.8", "00:01"]);
    }

    #[test]
    fn there_are_never_many_and_nonsense_has_none() {
        for length in [0.01, 1.0, 59.0, 4000.0, 1e5, 1e7, 1e9, 1.8e10] {
            let ticks = time_ticks(0.0, length, 0, 8);
            assert!(ticks.len() <= 9 && (ticks.len() > 1 || length > 1e7), "{length}: {}", ticks.len());
        }
        assert!(time_ticks(5.0, 5.0, 0, 8).is_empty());
        assert!(time_ticks(f64::NAN, 5.0, 0, 8).is_empty());
    }
}
