//! A fixed beat that does not drift.

use std::time::{Duration, Instant};

use dotter_daemon::StopFlag;

/// Beats at `start + n * interval`.
pub(crate) struct Pace {
    start: Instant,
    interval: Duration,
    /// Beats due so far, missed ones included.
    beats: u64,
}

impl Pace {
    pub(crate) fn new(start: Instant, interval: Duration) -> Pace {
        Pace { start, interval, beats: 0 }
    }

    /// How long to wait at `now` for the next beat; those already missed are left out, never made up for.
    fn until_next(&mut self, now: Instant) -> Duration {
        let since = now.saturating_duration_since(self.start);
        let due = (since.as_nanos() / self.interval.as_nanos().max(1)) as u64 + 1;
        self.beats = due.max(self.beats + 1);
        let next = self.interval.as_nanos().saturating_mul(self.beats as u128);
        let next = u64::try_from(next).map_or(Duration::MAX, Duration::from_nanos);
        next.saturating_sub(since)
    }

    /// Waits for the next beat; true where it is time to go instead.
    pub(crate) fn wait(&mut self, stop: &StopFlag) -> bool {
        stop.wait(self.until_next(Instant::now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_keep_to_their_grid_and_missed_ones_are_left_out() {
        let start = Instant::now();
        let mut pace = Pace::new(start, Duration::from_millis(100));
        let mut check = |now_ms: u64, wait_ms: u64| {
            let wait = pace.until_next(start + Duration::from_millis(now_ms));
            assert_eq!(wait, Duration::from_millis(wait_ms), "at {now_ms} ms");
        };
        check(0, 100);
        check(103, 97);
        check(201, 99);
        check(770, 30);
        check(801, 99);
        // Woken a little early: that beat is done, the next one is meant.
        check(899, 101);
    }
}
