//! A guard that publishes how long it lived.

use std::time::Instant;

use crate::Series;

/// Publishes the time from its making to its end; see [`Series::timer`].
#[derive(Debug)]
#[must_use = "it measures until it is dropped: bind it to a name, `let _timer`"]
pub struct Timer<'a> {
    /// `None` once it is told to publish nothing.
    series: Option<&'a Series>,
    per_second: f64,
    start: Instant,
}

impl<'a> Timer<'a> {
    pub(crate) fn new(series: &'a Series, per_second: f64, start: Instant) -> Timer<'a> {
        Timer { series: Some(series), per_second, start }
    }

    /// Ends without a dot: for what is not to count, such as a request that came to nothing.
    pub fn discard(mut self) {
        self.series = None;
    }
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        if let Some(series) = self.series {
            series.dot(self.start.elapsed().as_secs_f64() * self.per_second);
        }
    }
}

/// How many of a unit of time a second is; 1 where it is no unit of time.
pub(crate) fn per_second(unit: &str) -> f64 {
    match unit {
        "ms" => 1e3,
        // The micro sign, and the Greek letter that looks like it.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1e6,
        "ns" => 1e9,
        "min" => 1.0 / 60.0,
        "h" => 1.0 / 3600.0,
        _ => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_so_many_of_each_unit() {
        for (unit, expected) in [
            ("s", 1.0),
            ("ms", 1e3),
            ("us", 1e6),
            ("µs", 1e6),
            ("μs", 1e6),
            ("ns", 1e9),
            ("", 1.0),
            ("°C", 1.0),
        ] {
            assert_eq!(per_second(unit), expected, "{unit}");
        }
        assert_eq!((per_second("min") * 60.0, per_second("h") * 3600.0), (1.0, 1.0));
    }
}
