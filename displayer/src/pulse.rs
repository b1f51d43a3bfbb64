//! The newest value of every series that has had news, and how often it has them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use dotter_dot::{SeriesName, Timestamp};

/// How often rates are worked out.
const TICK: Duration = Duration::from_secs(1);
/// Weight of the last second in a rate: after ten quiet ones a twentieth is left.
const WEIGHT: f64 = 0.25;

/// What the displayer has seen live.
pub(crate) struct Pulse {
    series: HashMap<SeriesName, Beat>,
    ticked: Instant,
}

/// One series' newest dot and rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Beat {
    pub(crate) time: Timestamp,
    pub(crate) value: f64,
    /// Dots a second, smoothed over the last seconds.
    pub(crate) rate: f64,
    since_tick: u32,
    /// Whether a whole tick has passed since the first dot.
    settled: bool,
}

impl Pulse {
    pub(crate) fn new(now: Instant) -> Pulse {
        Pulse { series: HashMap::new(), ticked: now }
    }

    /// Takes in a dot that was committed just now; whether it is the first of its series here.
    pub(crate) fn add(&mut self, name: &SeriesName, time: Timestamp, value: f64) -> bool {
        match self.series.get_mut(name) {
            Some(beat) => {
                beat.since_tick += 1;
                if time >= beat.time {
                    (beat.time, beat.value) = (time, value);
                }
                false
            }
            None => {
                let beat = Beat { time, value, rate: 0.0, since_tick: 1, settled: false };
                self.series.insert(name.clone(), beat).is_none()
            }
        }
    }

    /// Works out the rates, where it is time to.
    pub(crate) fn tick(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.ticked);
        if passed < TICK {
            return;
        }
        self.ticked = now;
        let seconds = passed.as_secs_f64();
        for beat in self.series.values_mut() {
            let rate = f64::from(std::mem::take(&mut beat.since_tick)) / seconds;
            beat.rate += (rate - beat.rate) * if beat.settled { WEIGHT } else { 1.0 };
            beat.settled = true;
            if beat.rate < 1e-3 {
                beat.rate = 0.0;
            }
        }
    }

    /// Forgets series that are no more.
    pub(crate) fn retain(&mut self, exists: impl Fn(&str) -> bool) {
        self.series.retain(|name, _| exists(name.as_str()));
    }

    pub(crate) fn get(&self, name: &str) -> Option<Beat> {
        self.series.get(name).copied()
    }

    /// Series that have news these seconds with their dots a second, in no order: the follower waits meanwhile, so
    /// whoever wants them sorted does that with [`busiest_first`], when the pulse is let go.
    pub(crate) fn active(&self) -> Vec<(f64, SeriesName)> {
        let active = self.series.iter().filter(|(_, beat)| beat.rate > 0.0 || beat.since_tick > 0);
        active.map(|(name, beat)| (beat.rate.max(beat.since_tick.into()), name.clone())).collect()
    }
}

/// Busiest first, equals by name.
pub(crate) fn busiest_first(active: Vec<(f64, SeriesName)>) -> Vec<SeriesName> {
    // Rates that differ by less than a tenth count as equal, or the order would never rest.
    let class = |rate: f64| (rate.log10() * 10.0).round() as i64;
    let mut classed: Vec<_> = active.into_iter().map(|(rate, name)| (class(rate), name)).collect();
    classed.sort_unstable_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    classed.into_iter().map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_follows_the_dots_and_dies_away() {
        let start = Instant::now();
        let mut pulse = Pulse::new(start);
        let name = |text: &str| SeriesName::new(text).unwrap();
        let at = |seconds| Timestamp::from_secs(seconds).unwrap();
        for n in 0..10 {
            pulse.add(&name("fast"), at(n), n as f64);
        }
        pulse.add(&name("slow"), at(5), 1.0);
        pulse.add(&name("slow"), at(3), 2.0);
        assert_eq!(busiest_first(pulse.active()), [name("fast"), name("slow")]);
        pulse.tick(start + TICK);
        assert_eq!(pulse.get("fast").unwrap().rate, 10.0);
        let slow = pulse.get("slow").unwrap();
        assert_eq!((slow.time, slow.value), (at(5), 1.0));
        for n in 2..80 {
            pulse.tick(start + TICK * n);
        }
        assert_eq!(pulse.get("fast").unwrap().rate, 0.0);
        assert!(pulse.active().is_empty());
        pulse.retain(|name| name == "slow");
        assert_eq!(pulse.get("fast"), None);
    }
}
