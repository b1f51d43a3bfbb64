//! Dots laid into slots of equal width.

use std::time::Duration;

use dotter_dot::{TimeRange, Timestamp};

use crate::{Dot, Window};

/// The slots of one series over one window: the dot at `t` belongs to slot `t - t % step`, and of several in
/// one slot the latest wins, but for observations, which are averaged. Only slots with a number are held, so that a year of nothing costs nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Slots {
    /// The moment of the first slot.
    pub start: Timestamp,
    /// Width of a slot, above zero.
    pub step: Duration,
    /// How many slots there are, at least one.
    pub count: u64,
    /// (slot index, value), by index.
    filled: Vec<(u64, f64)>,
    /// The last slot that holds observations: its index, their sum, and how many they are.
    observed: Option<(u64, f64, u64)>,
}

impl Slots {
    /// The slots that lie in `(from, until]`, all empty: `from - from % step + step` is the first,
    /// `until - until % step` the last; a window without any still gets the first.
    ///
    /// Source: whisper's `fetch`, which Graphite answers with.
    pub fn new(window: Window, step: Duration) -> Slots {
        let width = nanos(step);
        let floor = |time: Timestamp| time.nanos() - time.nanos() % width;
        let start = floor(window.from).saturating_add(width);
        let count = (floor(window.until).saturating_sub(start) / width + 1).max(1);
        Slots { start: Timestamp::from_nanos(start), step, count, filled: Vec::new(), observed: None }
    }

    /// The dots that belong into these slots.
    pub fn range(&self) -> TimeRange {
        TimeRange::new(self.start, self.end())
    }

    /// One step past the last slot.
    pub fn end(&self) -> Timestamp {
        let length = nanos(self.step).saturating_mul(self.count);
        Timestamp::from_nanos(self.start.nanos().saturating_add(length))
    }

    /// Adds dots sorted by time, none earlier than those added before. NaN counts as nothing measured.
    pub fn add(&mut self, dots: &[Dot]) {
        for dot in dots {
            if let Some(index) = self.index(dot.time) {
                self.put(index, dot.value);
            }
        }
    }

    /// Adds observations of a histogram, sorted by time, none earlier than what was added before. A slot's value is
    /// the average of those in it. NaN counts as nothing measured.
    ///
    /// - `weights`: how many observations each dot stands for
    pub fn add_observations(&mut self, dots: &[Dot], weights: &[u64]) {
        for (dot, weight) in dots.iter().zip(weights) {
            let Some(index) = self.index(dot.time).filter(|_| *weight > 0 && !dot.value.is_nan()) else {
                continue;
            };
            let before = self.observed.filter(|(of, ..)| *of == index);
            let (_, sum, count) = before.unwrap_or((index, 0.0, 0));
            let (sum, count) = (sum + dot.value * *weight as f64, count.saturating_add(*weight));
            self.observed = Some((index, sum, count));
            self.put(index, sum / count as f64);
        }
    }

    /// The slot of a moment.
    fn index(&self, time: Timestamp) -> Option<u64> {
        let index = time.nanos().checked_sub(self.start.nanos())? / nanos(self.step);
        (index < self.count).then_some(index)
    }

    fn put(&mut self, index: u64, number: f64) {
        match self.filled.last_mut() {
            Some((last, value)) if *last == index => *value = number,
            _ => self.filled.push((index, number)),
        }
    }

    /// The numbers as (slot index, value), by index.
    pub fn filled(&self) -> impl Iterator<Item = (u64, f64)> {
        self.filled.iter().copied().filter(|(_, value)| !value.is_nan())
    }
}

pub(crate) fn nanos(step: Duration) -> u64 {
    u64::try_from(step.as_nanos()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_secs(seconds).unwrap()
    }

    fn slots(from: u64, until: u64, step: u64) -> Slots {
        Slots::new(Window { from: at(from), until: at(until) }, Duration::from_secs(step))
    }

    #[test]
    fn a_window_holds_the_slots_after_from_up_to_until() {
        let check = |from, until, step, start, count| {
            let slots = slots(from, until, step);
            assert_eq!((slots.start, slots.count), (at(start), count), "({from}, {until}] by {step}");
        };
        check(100, 160, 10, 110, 6);
        check(101, 169, 10, 110, 6);
        check(100, 100, 10, 110, 1);
        check(101, 109, 10, 110, 1);
        check(0, 60, 60, 60, 1);
        let last = Slots::new(Window { from: at(0), until: Timestamp::MAX }, Duration::from_secs(1));
        assert!(last.end() <= Timestamp::MAX);
    }

    #[test]
    fn a_slot_of_observations_is_their_average_however_they_come() {
        let dots: Vec<Dot> =
            [(105, 9.0), (110, 1.0), (110, 4.0), (115, 7.0), (119, f64::NAN), (125, 8.0), (130, 2.0)]
                .map(|(seconds, value)| Dot { time: at(seconds), value })
                .to_vec();
        let weights = [1, 3, 2, 1, 5, 0, 7];
        for pieces in 1..=dots.len() {
            let mut slots = slots(100, 130, 10);
            dots.chunks(pieces).zip(weights.chunks(pieces)).for_each(|(dots, weights)| {
                slots.add_observations(dots, weights);
            });
            assert_eq!(slots.filled().collect::<Vec<_>>(), [(0, 3.0), (2, 2.0)]);
        }
    }

    #[test]
    fn the_latest_dot_of_a_slot_wins_and_dots_outside_are_skipped() {
        let mut slots = slots(100, 130, 10);
        let dot = |seconds, value| Dot { time: at(seconds), value };
        slots.add(&[dot(105, 1.0), dot(110, 2.0), dot(119, 3.0)]);
        slots.add(&[dot(130, 4.0), dot(139, f64::INFINITY), dot(140, 5.0)]);
        assert_eq!(slots.filled().collect::<Vec<_>>(), [(0, 3.0), (2, f64::INFINITY)]);
        assert_eq!(slots.range(), TimeRange::new(at(110), at(140)));
    }
}
