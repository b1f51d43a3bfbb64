//! How finely the stamps of the clock are kept.
//!
//! A store keeps jitter in microseconds in half the bytes that nanoseconds take, and few look closer. A time that an
//! application gave is never touched.

use std::str::FromStr;

use dotter_dot::Timestamp;

/// The step that stamps are rounded down to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeUnit {
    /// As the clock gave them.
    Nanoseconds,
    /// Whole microseconds.
    #[default]
    Microseconds,
    /// Whole milliseconds.
    Milliseconds,
    /// Whole seconds.
    Seconds,
}

impl TimeUnit {
    /// The last whole unit at or before a time, in nanoseconds.
    #[inline(always)]
    pub(crate) fn floor(self, time: Timestamp) -> u64 {
        let nanos = time.nanos();
        // Each divisor stands here as a number: a division by one is a multiplication.
        match self {
            TimeUnit::Nanoseconds => nanos,
            TimeUnit::Microseconds => nanos - nanos % 1_000,
            TimeUnit::Milliseconds => nanos - nanos % 1_000_000,
            TimeUnit::Seconds => nanos - nanos % 1_000_000_000,
        }
    }
}

impl FromStr for TimeUnit {
    type Err = String;

    /// Takes `ns`, `us`, `ms` or `s`.
    fn from_str(text: &str) -> Result<TimeUnit, String> {
        match text {
            "ns" => Ok(TimeUnit::Nanoseconds),
            "us" => Ok(TimeUnit::Microseconds),
            "ms" => Ok(TimeUnit::Milliseconds),
            "s" => Ok(TimeUnit::Seconds),
            _ => Err(format!("'{text}' is no unit of time, expected ns, us, ms or s")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_rounded_down_to_its_unit() {
        let check = |unit: &str, expected: u64| {
            let unit: TimeUnit = unit.parse().unwrap();
            assert_eq!(unit.floor(Timestamp::from_nanos(1_710_504_000_987_654_321)), expected);
        };
        check("ns", 1_710_504_000_987_654_321);
        check("us", 1_710_504_000_987_654_000);
        check("ms", 1_710_504_000_987_000_000);
        check("s", 1_710_504_000_000_000_000);
        assert!("h".parse::<TimeUnit>().is_err());
        assert_eq!(TimeUnit::Microseconds.floor(Timestamp::from_nanos(999)), 0);
    }
}
