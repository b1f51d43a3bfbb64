//! Fewer points than slots: what lies in neighbouring ones is averaged.

use std::time::Duration;

use dotter_dot::{TimeRange, Timestamp};

use crate::slots::nanos;
use crate::{Dot, Numbers, Rollup, Slots, Stretch};

/// The points of one series as they go out.
#[derive(Clone, Debug, PartialEq)]
pub struct Points {
    /// The moment of the first point.
    pub start: Timestamp,
    /// Time from point to point.
    pub step: Duration,
    /// The points; NaN where nothing is known.
    pub values: Vec<f64>,
}

/// How the points of `slots` come out when at most `points_max` may: as they are where they are few enough,
/// else averaged over a whole number of slots each: over all numbers in them, not only the latest of each slot.
///
/// - `span`: from the earliest start to the latest end of all series of the answer; all are merged as if
///   they spanned it
///
/// Points stand at multiples of their step, so that they do not move when the window does; what comes before
/// the first multiple is dropped but for one slot, as Graphite does.
///
/// Source: `renderViewJson` of graphite-web 1.1.8.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Merge {
    /// Slots left out in front.
    skip: u64,
    /// Slots per point.
    slots_per_point: u64,
    /// Points.
    pub(crate) count: u64,
    start: Timestamp,
    step: Duration,
}

impl Merge {
    pub(crate) fn new(slots: &Slots, span: (Timestamp, Timestamp), points_max: Option<u64>) -> Merge {
        let width = nanos(slots.step);
        let plain =
            Merge { skip: 0, slots_per_point: 1, count: slots.count, start: slots.start, step: slots.step };
        let span = span.1.nanos() - span.0.nanos();
        let Some(points_max) = points_max.filter(|max| *max > 0) else { return plain };
        if points_max == 1 {
            return Merge { slots_per_point: slots.count, count: 1, ..plain };
        }
        if span as f64 / width as f64 <= points_max as f64 {
            return plain;
        }
        let slots_per_point = span.div_ceil(width).div_ceil(points_max);
        let point_nanos = slots_per_point.saturating_mul(width);
        let nudge = (point_nanos + slots.start.nanos() % width) - slots.start.nanos() % point_nanos;
        let skip = (nudge / width).saturating_sub(1).min(slots.count);
        let start = slots.start.nanos().saturating_add(nudge);
        // Graphite counts moments from the nudged start up to the end, the end included.
        let moments = slots.end().nanos().checked_sub(start).map_or(0, |length| length / point_nanos + 1);
        Merge {
            skip,
            slots_per_point,
            count: (slots.count - skip).div_ceil(slots_per_point).min(moments),
            start: Timestamp::from_nanos(start),
            step: Duration::from_nanos(point_nanos),
        }
    }
}

/// The points of one series in the making.
#[derive(Debug)]
pub(crate) enum Drawing {
    /// A slot each.
    Plain(Slots),
    /// Several slots each.
    Merged(Averages),
}

/// Points that are averages.
#[derive(Debug)]
pub(crate) struct Averages {
    slots: Slots,
    merge: Merge,
    known_min: f64,
    points: Vec<Average>,
    /// The last slot found to hold a number.
    last_slot: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Average {
    sum: f64,
    count: u64,
    /// Slots that hold a number; of stretches taken whole that is not asked.
    slots: u64,
}

impl Drawing {
    /// - `known_min`: share of a point's slots that must hold a number; below it the point is empty
    pub(crate) fn new(slots: Slots, merge: Merge, known_min: f64) -> Drawing {
        if merge.slots_per_point == 1 {
            return Drawing::Plain(slots);
        }
        let count = usize::try_from(merge.count).expect("the budget bounds the points");
        let points = vec![Average::default(); count];
        Drawing::Merged(Averages { slots, merge, known_min, points, last_slot: None })
    }

    /// When the dots are that go into it.
    pub(crate) fn range(&self) -> TimeRange {
        match self {
            Drawing::Plain(slots) => slots.range(),
            Drawing::Merged(averages) => {
                let range = averages.slots.range();
                TimeRange::new(averages.begin(0).min(range.until), range.until)
            }
        }
    }

    /// Width of a slot.
    pub(crate) fn step(&self) -> Duration {
        match self {
            Drawing::Plain(slots) => slots.step,
            Drawing::Merged(averages) => averages.slots.step,
        }
    }

    /// Takes out the numbers of those stretches that must be read.
    pub(crate) fn choose(&self, stretches: &mut [Stretch]) {
        for stretch in stretches {
            let whole = match self {
                Drawing::Plain(_) => false,
                Drawing::Merged(averages) => averages.holds(stretch.range),
            };
            if !whole && stretch.numbers.is_some_and(|numbers| numbers.count > 0) {
                stretch.numbers = None;
            }
        }
    }

    /// Adds dots sorted by time, none earlier than those added before. NaN counts as nothing measured.
    pub(crate) fn add(&mut self, dots: &[Dot]) {
        match self {
            Drawing::Plain(slots) => slots.add(dots),
            Drawing::Merged(averages) => averages.add(dots, |_| 1),
        }
    }

    /// As [`Drawing::add`] of dots that stand for some observations each.
    pub(crate) fn add_observations(&mut self, dots: &[Dot], weights: &[u64]) {
        match self {
            Drawing::Plain(slots) => slots.add_observations(dots, weights),
            Drawing::Merged(averages) => {
                averages.add(dots, |index| weights.get(index).copied().unwrap_or_default());
            }
        }
    }

    /// Adds what dots that begin at `time` came to, which all belong to one point.
    pub(crate) fn add_numbers(&mut self, time: Timestamp, numbers: Numbers) {
        let Numbers { count, sum, .. } = numbers;
        match self {
            Drawing::Plain(_) if count == 0 => {}
            Drawing::Plain(slots) => slots.add(&[Dot { time, value: sum / count as f64 }]),
            Drawing::Merged(averages) => averages.add_sum(time, sum, count),
        }
    }

    /// Adds a step, where it has a number: it counts as one dot where the step begins.
    pub(crate) fn add_step(&mut self, step: &Rollup) {
        if let Some(value) = step.value {
            self.add(&[Dot { time: step.time, value }]);
        }
    }

    pub(crate) fn finish(self) -> Points {
        match self {
            Drawing::Plain(slots) => {
                let count = usize::try_from(slots.count).expect("the budget bounds the points");
                let mut values = vec![f64::NAN; count];
                slots.filled().for_each(|(index, value)| values[index as usize] = value);
                Points { start: slots.start, step: slots.step, values }
            }
            Drawing::Merged(Averages { merge, known_min, points, .. }) => {
                let value = |point: &Average| {
                    // Of a whole point, as Graphite counts, even where the window ends inside it.
                    let known = point.slots as f64 / merge.slots_per_point as f64 >= known_min;
                    if point.count > 0 && known { point.sum / point.count as f64 } else { f64::NAN }
                };
                let values = points.iter().map(value).collect();
                Points { start: merge.start, step: merge.step, values }
            }
        }
    }
}

impl Averages {
    /// Where the slots of a point begin.
    fn begin(&self, point: u64) -> Timestamp {
        let slot = self.merge.skip.saturating_add(point.saturating_mul(self.merge.slots_per_point));
        let offset = slot.min(self.slots.count).saturating_mul(nanos(self.slots.step));
        Timestamp::from_nanos(self.slots.start.nanos().saturating_add(offset))
    }

    /// The slot of a moment and its point.
    fn place(&self, time: Timestamp) -> Option<(u64, usize)> {
        let slot = time.nanos().checked_sub(self.slots.start.nanos())? / nanos(self.slots.step);
        if slot >= self.slots.count {
            return None;
        }
        let point = slot.checked_sub(self.merge.skip)? / self.merge.slots_per_point;
        usize::try_from(point).ok().filter(|point| *point < self.points.len()).map(|point| (slot, point))
    }

    /// Whether all of a range goes into one point, and nobody asks how many slots it fills.
    fn holds(&self, range: TimeRange) -> bool {
        let last = range.until.saturating_sub(Duration::from_nanos(1));
        let point = |time| self.place(time).map(|(_, point)| point);
        self.known_min == 0.0 && point(range.from).is_some() && point(range.from) == point(last)
    }

    /// - `weight`: of the dot with that index, how many observations it stands for
    fn add(&mut self, dots: &[Dot], weight: impl Fn(usize) -> u64) {
        let mut done = 0;
        while let Some(first) = dots.get(done) {
            let Some((slot, point)) = self.place(first.time) else {
                done += 1;
                continue;
            };
            let rest = &dots[done..];
            let end = nanos(self.slots.step).saturating_mul(slot + 1);
            let end = self.slots.start.nanos().saturating_add(end);
            let own = rest.iter().position(|dot| dot.time.nanos() >= end).unwrap_or(rest.len()).max(1);
            let average = &mut self.points[point];
            let before = average.count;
            for (index, dot) in (done..).zip(&rest[..own]).filter(|(_, dot)| !dot.value.is_nan()) {
                let weight = weight(index);
                if weight > 0 {
                    average.sum += dot.value * weight as f64;
                    average.count = average.count.saturating_add(weight);
                }
            }
            if average.count > before && self.last_slot != Some(slot) {
                average.slots += 1;
                self.last_slot = Some(slot);
            }
            done += own;
        }
    }

    fn add_sum(&mut self, time: Timestamp, sum: f64, count: u64) {
        let Some((slot, point)) = self.place(time).filter(|_| count > 0) else { return };
        let average = &mut self.points[point];
        average.sum += sum;
        average.count = average.count.saturating_add(count);
        // As many as there are dots, at most.
        average.slots += count.min(self.merge.slots_per_point);
        self.last_slot = Some(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dot, Window};

    fn window(from: u64, until: u64) -> Window {
        Window { from: Timestamp::from_secs(from).unwrap(), until: Timestamp::from_secs(until).unwrap() }
    }

    /// Dots in slots of ten seconds, as at most `points_max` points: start, step, values.
    fn points(
        window: Window,
        dots: &[(u64, f64)],
        points_max: u64,
        known_min: f64,
    ) -> (u64, u64, Vec<Option<f64>>) {
        let slots = Slots::new(window, Duration::from_secs(10));
        let merge = Merge::new(&slots, (slots.start, slots.end()), Some(points_max));
        let mut drawing = Drawing::new(slots, merge, known_min);
        let at = |seconds| Timestamp::from_secs(seconds).unwrap();
        let dots: Vec<Dot> = dots.iter().map(|(t, value)| Dot { time: at(*t), value: *value }).collect();
        dots.chunks(3).for_each(|piece| drawing.add(piece));
        let points = drawing.finish();
        let values = points.values.iter().map(|v| (!v.is_nan()).then_some(*v)).collect();
        (points.start.nanos() / 1_000_000_000, points.step.as_secs(), values)
    }

    #[test]
    fn few_enough_points_stay_as_they_are() {
        let dots = [(110, 1.0), (130, 3.0)];
        assert_eq!(points(window(100, 130), &dots, 3, 0.0), (110, 10, vec![Some(1.0), None, Some(3.0)]));
    }

    #[test]
    fn points_stand_at_multiples_of_their_step() {
        let dots: Vec<(u64, f64)> = (11..=40).map(|n| (n * 10, n as f64)).collect();
        // 30 slots in at most 7 points: 5 slots each, 50 s. The next multiple of 50 after 110 is 150; of the
        // four slots before it the reference drops three.
        let (start, step, values) = points(window(100, 400), &dots, 7, 0.0);
        assert_eq!((start, step), (150, 50));
        assert_eq!(values[..2], [Some((14 + 15 + 16 + 17 + 18) as f64 / 5.0), Some(21.0)]);
        assert_eq!(values.len(), 6);
        assert_eq!(values[5], Some((39 + 40) as f64 / 2.0));
    }

    /// Shows P19.
    #[test]
    fn a_gap_stays_a_gap_and_too_few_slots_are_one() {
        let dots = [(10, 1.0), (20, 2.0), (30, 3.0), (70, 7.0)];
        let (_, _, values) = points(window(0, 80), &dots, 4, 0.0);
        assert_eq!(values, [Some(1.5), Some(3.0), None, Some(7.0)]);
        let (_, _, values) = points(window(0, 80), &dots, 4, 0.6);
        assert_eq!(values, [Some(1.5), None, None, None]);
    }

    #[test]
    fn one_point_is_the_average_of_all() {
        assert_eq!(points(window(100, 130), &[(110, 1.0), (130, 3.0)], 1, 0.0).2, [Some(2.0)]);
    }

    #[test]
    fn all_dots_of_a_merged_slot_count_and_fill_it_once() {
        let dots = [(10, 1.0), (12, 2.0), (14, 9.0), (19, f64::NAN), (20, 4.0)];
        let (_, _, values) = points(window(0, 80), &dots, 4, 0.0);
        assert_eq!(values, [Some(4.0), None, None, None]);
        let (_, _, values) = points(window(0, 80), &dots[..3], 4, 0.6);
        assert_eq!(values[0], None);
    }
}
