//! The clock of a ring: cheap ticks for every dot, now and then a pair that says what time they were.
//!
//! `clock_gettime` costs twice what reading the processor's counter does, so a dot carries ticks and the
//! reader makes times of them, between two [`Pair`]s. The counter is used only where the kernel itself
//! trusts it as its clock source.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::sys;

/// What the ticks of a ring are, as the header says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockKind {
    /// Nanoseconds of the wall clock.
    Realtime,
    /// The time stamp counter of x86.
    Tsc,
    /// The virtual counter of aarch64. Reserved: read, never written.
    Cntvct,
}

impl ClockKind {
    pub(crate) fn code(self) -> u32 {
        match self {
            ClockKind::Realtime => 0,
            ClockKind::Tsc => 1,
            ClockKind::Cntvct => 2,
        }
    }

    pub(crate) fn of_code(code: u32) -> Option<ClockKind> {
        [ClockKind::Realtime, ClockKind::Tsc, ClockKind::Cntvct].into_iter().find(|kind| kind.code() == code)
    }
}

/// One instant on both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pair {
    /// Nanoseconds since the epoch.
    pub nanos: u64,
    /// Ticks at the same instant.
    pub ticks: u64,
}

/// Where a writer's times come from.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    Tsc { hz: u64 },
    Realtime,
    Manual(Arc<Manual>),
}

/// A clock that shows what it is told: for tests, so that they need not wait.
#[derive(Debug)]
pub struct Manual {
    nanos: AtomicU64,
    ticks: AtomicU64,
    hz: u64,
}

impl Manual {
    /// A clock of `hz` ticks a second.
    pub fn new(start: Pair, hz: u64) -> Arc<Manual> {
        Arc::new(Manual { nanos: start.nanos.into(), ticks: start.ticks.into(), hz })
    }

    /// What it shows from now on.
    pub fn set(&self, now: Pair) {
        self.nanos.store(now.nanos, Relaxed);
        self.ticks.store(now.ticks, Relaxed);
    }
}

impl Clock {
    /// The cheapest one this machine can trust.
    pub fn best() -> Clock {
        match tsc_hz() {
            Some(hz) => Clock(Source::Tsc { hz }),
            None => Clock::realtime(),
        }
    }

    /// `clock_gettime`, everywhere.
    pub fn realtime() -> Clock {
        Clock(Source::Realtime)
    }

    /// The clock `manual`, as a time stamp counter.
    pub fn manual(manual: &Arc<Manual>) -> Clock {
        Clock(Source::Manual(Arc::clone(manual)))
    }

    /// What the ticks are.
    pub fn kind(&self) -> ClockKind {
        match self.0 {
            Source::Tsc { .. } | Source::Manual(_) => ClockKind::Tsc,
            Source::Realtime => ClockKind::Realtime,
        }
    }

    /// About how many ticks a second has.
    pub fn hz_hint(&self) -> u64 {
        match &self.0 {
            Source::Tsc { hz } => *hz,
            Source::Realtime => 1_000_000_000,
            Source::Manual(manual) => manual.hz,
        }
    }

    /// Ticks now.
    #[inline(always)]
    pub fn ticks(&self) -> u64 {
        match &self.0 {
            Source::Tsc { .. } => sys::tsc(),
            Source::Realtime => sys::realtime_ns(),
            Source::Manual(manual) => manual.ticks.load(Relaxed),
        }
    }

    /// Both clocks now.
    pub fn pair(&self) -> Pair {
        match &self.0 {
            Source::Tsc { .. } => tsc_pair(),
            Source::Realtime => {
                let nanos = sys::realtime_ns();
                Pair { nanos, ticks: nanos }
            }
            Source::Manual(manual) => {
                Pair { nanos: manual.nanos.load(Relaxed), ticks: manual.ticks.load(Relaxed) }
            }
        }
    }
}

/// What a reader on this machine, in this boot, can read itself for a ring of that kind.
pub(crate) fn own_pair(kind: ClockKind) -> Option<Pair> {
    match kind {
        ClockKind::Realtime => {
            let nanos = sys::realtime_ns();
            Some(Pair { nanos, ticks: nanos })
        }
        ClockKind::Tsc => tsc_hz().map(|_| tsc_pair()),
        ClockKind::Cntvct => None,
    }
}

/// The best of a few tries: the one whose two looks at the counter lie closest together.
fn tsc_pair() -> Pair {
    let mut best = (u64::MAX, Pair::default());
    for _ in 0..4 {
        let before = sys::tsc();
        let nanos = sys::realtime_ns();
        let width = sys::tsc().wrapping_sub(before);
        if width < best.0 {
            best = (width, Pair { nanos, ticks: before.wrapping_add(width / 2) });
        }
    }
    best.1
}

/// Ticks of the time stamp counter in a second, to about 20 in a million; `None` where the kernel does not
/// use it as its clock. Measured once, for two milliseconds.
///
/// Threads that ask at the same time may each measure, and the first answer counts for all. A lock that let only one
/// of them measure would be a lock that a forked child could find held for ever.
fn tsc_hz() -> Option<u64> {
    /// Zero before it was measured.
    static HZ: AtomicU64 = AtomicU64::new(0);
    /// In `HZ`: the counter is no clock. Not a rate that is sane.
    const NONE: u64 = 1;
    // Relaxed: one word that stands for itself.
    let known = match HZ.load(Relaxed) {
        0 => {
            let measured = measure_tsc_hz().unwrap_or(NONE);
            HZ.compare_exchange(0, measured, Relaxed, Relaxed).map_or_else(|first| first, |_| measured)
        }
        known => known,
    };
    (known != NONE).then_some(known)
}

fn measure_tsc_hz() -> Option<u64> {
    let source = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let trusted = cfg!(target_arch = "x86_64")
        && std::fs::read_to_string(source).is_ok_and(|name| name.trim() == "tsc");
    if !trusted {
        return None;
    }
    let start = tsc_pair();
    loop {
        let now = tsc_pair();
        // A wall clock that was set meanwhile makes nonsense of this try; the counter bounds the wait.
        let (nanos, ticks) = (now.nanos.saturating_sub(start.nanos), now.ticks.wrapping_sub(start.ticks));
        if ticks > 2_000_000_000 {
            return None;
        }
        if nanos >= 2_000_000 {
            let hz = (ticks as u128 * 1_000_000_000 / nanos as u128) as u64;
            return (HZ_SANE.contains(&hz)).then_some(hz);
        }
    }
}

/// What a tick rate can be.
pub(crate) const HZ_SANE: std::ops::RangeInclusive<u64> = 1_000_000..=100_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_clock_goes_forward_at_the_rate_it_names() {
        let clock = Clock::best();
        let (start, mut now) = (clock.pair(), clock.pair());
        while now.nanos < start.nanos + 2_000_000 {
            now = clock.pair();
        }
        let ticks = (now.ticks - start.ticks) as f64;
        let expected = (now.nanos - start.nanos) as f64 * clock.hz_hint() as f64 / 1e9;
        assert!((ticks / expected - 1.0).abs() < 0.01, "{ticks} ticks, expected {expected}");
    }
}
