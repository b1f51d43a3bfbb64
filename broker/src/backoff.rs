//! How long to wait before the next try.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// The first pause.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause while nobody is there: a restarted collector has its dots within a second.
const PAUSE_UNREACHABLE_MAX: Duration = Duration::from_secs(1);
/// The longest pause after an answer that says no.
const PAUSE_REFUSED_MAX: Duration = Duration::from_secs(30);

/// Why the last try failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// No connection, or it broke.
    Connection,
    /// An answer that says no.
    Refused,
}

/// Pauses that double from failure to failure, and begin anew after a success.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
    until: Option<Instant>,
}

impl Backoff {
    /// Notes a failure; the next try may come after the pause returned, which is `asked` where that is longer.
    pub(crate) fn fail(&mut self, now: Instant, cause: Cause, asked: Option<Duration>) -> Duration {
        let most = match cause {
            Cause::Connection => PAUSE_UNREACHABLE_MAX,
            Cause::Refused => PAUSE_REFUSED_MAX,
        };
        let pause = (PAUSE_MIN * (1 << self.failures.min(10))).min(most);
        // A quarter of jitter, so that many brokers do not come back in step.
        let pause = pause.mul_f64(0.75 + 0.25 * chance()).max(PAUSE_MIN).max(asked.unwrap_or_default());
        self.failures = self.failures.saturating_add(1);
        self.until = Some(now + pause);
        pause
    }

    /// Notes a success.
    pub(crate) fn succeed(&mut self) {
        *self = Backoff::default();
    }

    /// Whether a try is due.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until <= now)
    }

    /// When the next try is due; `None` where nothing holds it back.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Failures in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }
}

/// A number from 0 to 1. The standard library seeds its hasher anew for each; good enough for jitter.
fn chance() -> f64 {
    f64::from(RandomState::new().hash_one(0) as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_limit_and_begin_anew() {
        let now = Instant::now();
        for (cause, most) in [(Cause::Connection, 1_000), (Cause::Refused, 30_000)] {
            let mut backoff = Backoff::default();
            let mut expected: u64 = 100;
            for _ in 0..40 {
                let pause = backoff.fail(now, cause, None).as_millis() as u64;
                assert!(
                    pause >= 100 && pause * 4 >= expected * 3 && pause <= expected,
                    "{pause} of {expected}"
                );
                assert!(!backoff.is_over(now) && backoff.is_over(now + Duration::from_secs(31)));
                expected = (expected * 2).min(most);
            }
            backoff.succeed();
            assert!(backoff.is_over(now));
            assert!(backoff.fail(now, cause, None) <= Duration::from_millis(100));
        }
    }

    #[test]
    fn a_pause_asked_for_is_kept() {
        let mut backoff = Backoff::default();
        let asked = Duration::from_secs(7);
        assert_eq!(backoff.fail(Instant::now(), Cause::Refused, Some(asked)), asked);
    }
}
