//! Fewer points than slots: neighbours are averaged.

use std::time::Duration;

use dotter_dot::Timestamp;

use crate::Slots;
use crate::slots::nanos;

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
/// else averaged over a whole number of slots each.
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

/// Averages the slots as `merge` says.
///
/// - `known_min`: share of a point's slots that must hold a number; below it the point is empty
pub(crate) fn consolidate(slots: &Slots, merge: &Merge, known_min: f64) -> Points {
    let mut values = vec![f64::NAN; usize::try_from(merge.count).expect("the budget bounds the points")];
    let mut filled = slots.filled().skip_while(|(index, _)| *index < merge.skip).peekable();
    for (point, value) in values.iter_mut().enumerate() {
        let first = merge.skip + point as u64 * merge.slots_per_point;
        let end = slots.count.min(first.saturating_add(merge.slots_per_point));
        let (mut sum, mut known) = (0.0, 0_u64);
        while let Some((_, number)) = filled.next_if(|(index, _)| *index < end) {
            sum += number;
            known += 1;
        }
        // Of a whole point, as Graphite counts, even where the window ends inside it.
        if known > 0 && known as f64 / merge.slots_per_point as f64 >= known_min {
            *value = sum / known as f64;
        }
    }
    Points { start: merge.start, step: merge.step, values }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dot, Window};

    fn slots(from: u64, until: u64, step: u64, dots: &[(u64, f64)]) -> Slots {
        let at = |seconds| Timestamp::from_secs(seconds).unwrap();
        let window = Window { from: at(from), until: at(until) };
        let mut slots = Slots::new(window, Duration::from_secs(step));
        let dots: Vec<Dot> = dots.iter().map(|(t, value)| Dot { time: at(*t), value: *value }).collect();
        slots.add(&dots);
        slots
    }

    fn points(slots: &Slots, points_max: u64, known_min: f64) -> (u64, u64, Vec<Option<f64>>) {
        let merge = Merge::new(slots, (slots.start, slots.end()), Some(points_max));
        let points = consolidate(slots, &merge, known_min);
        let values = points.values.iter().map(|v| (!v.is_nan()).then_some(*v)).collect();
        (points.start.nanos() / 1_000_000_000, points.step.as_secs(), values)
    }

    #[test]
    fn few_enough_points_stay_as_they_are() {
        let slots = slots(100, 130, 10, &[(110, 1.0), (130, 3.0)]);
        assert_eq!(points(&slots, 3, 0.0), (110, 10, vec![Some(1.0), None, Some(3.0)]));
    }

    #[test]
    fn points_stand_at_multiples_of_their_step() {
        let dots: Vec<(u64, f64)> = (11..=40).map(|n| (n * 10, n as f64)).collect();
        let slots = slots(100, 400, 10, &dots);
        // 30 slots in at most 7 points: 5 slots each, 50 s. The next multiple of 50 after 110 is 150; of the
        // four slots before it the reference drops three.
        let (start, step, values) = points(&slots, 7, 0.0);
        assert_eq!((start, step), (150, 50));
        assert_eq!(values[..2], [Some((14 + 15 + 16 + 17 + 18) as f64 / 5.0), Some(21.0)]);
        assert_eq!(values.len(), 6);
        assert_eq!(values[5], Some((39 + 40) as f64 / 2.0));
    }

    #[test]
    fn a_gap_stays_a_gap_and_too_few_slots_are_one() {
        let slots = slots(0, 80, 10, &[(10, 1.0), (20, 2.0), (30, 3.0), (70, 7.0)]);
        let (_, _, values) = points(&slots, 4, 0.0);
        assert_eq!(values, [Some(1.5), Some(3.0), None, Some(7.0)]);
        let (_, _, values) = points(&slots, 4, 0.6);
        assert_eq!(values, [Some(1.5), None, None, None]);
    }

    #[test]
    fn one_point_is_the_average_of_all() {
        let slots = slots(100, 130, 10, &[(110, 1.0), (130, 3.0)]);
        assert_eq!(points(&slots, 1, 0.0).2, [Some(2.0)]);
    }
}
