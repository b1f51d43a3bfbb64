//! How wide the slots of a series are: the time between its dots, rounded to a width people use.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::Dot;

/// The narrowest slot a request takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// One second, as in Graphite.
    #[default]
    Seconds,
    /// One millisecond; times in the answer have a fraction.
    Millis,
}

/// Slots of a series that has too few dots to tell.
pub(crate) const UNKNOWN: Duration = Duration::from_secs(60);

/// Dots looked at: enough to tell, few enough to read at every request.
pub(crate) const SAMPLE_DOTS: usize = 512;

/// 1, 2, 5 of each decade up to ten seconds; from there on what clocks and calendars divide into. The last
/// ones are whole days.
const LADDER_MS: &[u64] = &[
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 15_000, 20_000, 30_000, 60_000, 120_000,
    300_000, 600_000, 900_000, 1_200_000, 1_800_000, 3_600_000, 7_200_000, 21_600_000, 43_200_000,
    86_400_000,
];

/// The time between neighbouring dots that half of them keep within; `None` for fewer than two moments.
pub fn median_gap(dots: &[Dot]) -> Option<Duration> {
    quantile_gap(dots, 0.5)
}

/// From which distance on two dots are not neighbours: nothing was measured in between, and no line joins
/// them. A regular series has missed two dots by then; dots less than 1.5 s apart are always neighbours.
///
/// - `dots`: a sample, sorted by time
///
/// `None` where the sample cannot tell.
pub fn gap_after(dots: &[Dot]) -> Option<Duration> {
    let usual = quantile_gap(dots, 0.9)?;
    Some(usual.mul_f64(2.2).max(Duration::from_millis(1_500)))
}

fn quantile_gap(dots: &[Dot], quantile: f64) -> Option<Duration> {
    let mut gaps: Vec<u64> = dots
        .windows(2)
        .map(|pair| pair[1].time.nanos() - pair[0].time.nanos())
        .filter(|nanos| *nanos > 0)
        .collect();
    let middle = ((gaps.len().checked_sub(1)?) as f64 * quantile) as usize;
    let (_, gap, _) = gaps.select_nth_unstable(middle);
    Some(Duration::from_nanos(*gap))
}

/// The width people use that `gap` comes nearest to from below: a slot is never much narrower than the gap,
/// or every few slots one would be empty. Five percent are forgiven.
pub fn step_for(gap: Option<Duration>, precision: Precision) -> Duration {
    let Some(gap) = gap else { return UNKNOWN };
    let least_ms = match precision {
        Precision::Seconds => 1_000,
        Precision::Millis => 1,
    };
    let gap_ms = gap.as_secs_f64() * 1e3 * 0.95;
    let millis = LADDER_MS
        .iter()
        .copied()
        .find(|millis| *millis >= least_ms && *millis as f64 >= gap_ms)
        .unwrap_or_else(|| (gap_ms / 86_400_000.0).ceil() as u64 * 86_400_000);
    Duration::from_millis(millis)
}

/// The step each series was given before, so that it stays while the series keeps its pace.
///
/// A gap right at the border of two widths would otherwise answer now with one, now with the other.
#[derive(Debug, Default)]
pub struct Steps {
    settled: HashMap<Box<str>, Settled>,
}

#[derive(Clone, Copy, Debug)]
struct Settled {
    seconds: Duration,
    millis: Duration,
    at: Instant,
}

impl Settled {
    fn step(&self, precision: Precision) -> Duration {
        match precision {
            Precision::Seconds => self.seconds,
            Precision::Millis => self.millis,
        }
    }
}

/// A step is good for so long before the series is looked at again.
const FRESH: Duration = Duration::from_secs(10);

/// Series remembered; past it all are forgotten, and found again at the next request.
const SETTLED_MAX: usize = 200_000;

impl Steps {
    /// The step of a series that was looked at just now.
    pub(crate) fn fresh(&self, name: &str, precision: Precision, now: Instant) -> Option<Duration> {
        let settled = self.settled.get(name)?;
        (now.saturating_duration_since(settled.at) < FRESH).then(|| settled.step(precision))
    }

    /// The step of a series whose newest dots are `sample`, sorted by time.
    pub fn settle(&mut self, name: &str, precision: Precision, sample: &[Dot], now: Instant) -> Duration {
        let Some(gap) = median_gap(sample) else { return UNKNOWN };
        let before = self.settled.get(name).copied();
        let step = |precision: Precision| {
            // The old one stays while the gap, ten percent either way, could still mean it.
            let could_mean =
                |step| [0.9, 1.1].map(|f| step_for(Some(gap.mul_f64(f)), precision)).contains(&step);
            let old = before.map(|settled| settled.step(precision));
            old.filter(|old| could_mean(*old)).unwrap_or_else(|| step_for(Some(gap), precision))
        };
        let settled = Settled { seconds: step(Precision::Seconds), millis: step(Precision::Millis), at: now };
        if self.settled.len() >= SETTLED_MAX {
            self.settled.clear();
        }
        self.settled.insert(name.into(), settled);
        settled.step(precision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dotter_dot::Timestamp;

    fn dots(gaps_ms: &[u64]) -> Vec<Dot> {
        let mut millis = 1_000_000;
        std::iter::once(0)
            .chain(gaps_ms.iter().copied())
            .map(|gap| {
                millis += gap;
                Dot { time: Timestamp::from_nanos(millis * 1_000_000), value: 0.0 }
            })
            .collect()
    }

    #[test]
    fn a_step_is_a_width_people_use() {
        let check = |gap_ms: u64, seconds_ms: u64, millis: u64| {
            let gap = Some(Duration::from_millis(gap_ms));
            assert_eq!(step_for(gap, Precision::Seconds), Duration::from_millis(seconds_ms), "{gap_ms}");
            assert_eq!(step_for(gap, Precision::Millis), Duration::from_millis(millis), "{gap_ms}");
        };
        check(1, 1_000, 1);
        check(90, 1_000, 100);
        check(100, 1_000, 100);
        check(104, 1_000, 100);
        check(1_000, 1_000, 1_000);
        check(10_030, 10_000, 10_000);
        check(11_000, 15_000, 15_000);
        check(60_000, 60_000, 60_000);
        check(3_600_000, 3_600_000, 3_600_000);
        check(2 * 86_400_000, 2 * 86_400_000, 2 * 86_400_000);
        assert_eq!(step_for(None, Precision::Seconds), UNKNOWN);
    }

    #[test]
    fn the_median_passes_over_outliers_and_repeats() {
        assert_eq!(median_gap(&dots(&[1000, 1000, 0, 0, 0, 0, 90_000, 1000])), Some(Duration::from_secs(1)));
        assert_eq!(median_gap(&dots(&[0])), None);
        assert_eq!(median_gap(&[]), None);
    }

    #[test]
    fn a_gap_is_more_than_two_missed_dots_but_never_less_than_a_second_and_a_half() {
        assert_eq!(gap_after(&dots(&[1000; 20])), Some(Duration::from_millis(2_200)));
        assert_eq!(gap_after(&dots(&[1; 20])), Some(Duration::from_millis(1_500)));
        assert_eq!(gap_after(&[]), None);
    }

    #[test]
    fn a_step_stays_while_the_series_keeps_its_pace() {
        let mut steps = Steps::default();
        let seconds = |steps: &mut Steps, gap_ms| {
            steps.settle("a", Precision::Seconds, &dots(&[gap_ms; 9]), Instant::now()).as_secs()
        };
        assert_eq!(seconds(&mut steps, 10_000), 10);
        assert_eq!(seconds(&mut steps, 10_600), 10);
        assert_eq!(seconds(&mut steps, 30_000), 30);
        assert_eq!(seconds(&mut steps, 10_600), 15);
        let now = Instant::now();
        assert_eq!(steps.fresh("a", Precision::Seconds, now), Some(Duration::from_secs(15)));
        assert_eq!(steps.fresh("a", Precision::Seconds, now + 2 * FRESH), None);
        assert_eq!(steps.fresh("b", Precision::Seconds, now), None);
    }
}
