//! When a segment has dots. That is not all the time from its first dot to its last: a single dot of long ago, as a
//! stuck clock sends, must not count as years of dots.

use crate::error::Error;
use crate::format::tombstone::Spans;
use crate::read::segment::Segment;
use dotter_dot::Column;

const HOUR: u64 = 3_600_000_000_000;
/// A chunk whose dots are further apart than this on average is decoded, to look at each dot: such chunks are small.
const FAR: u64 = HOUR / 4;

/// The stretches of time in which there may be dots, sorted and disjoint. A dot that was looked at counts as its
/// whole hour, since no window is narrower.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Occupied(Vec<(u64, u64)>);

impl Occupied {
    /// One stretch, both ends included.
    pub(super) fn all(first: u64, last: u64) -> Occupied {
        Occupied(vec![(first, last)])
    }

    /// - `cancel`: asked before each series
    pub(super) fn of(segment: &Segment, cancel: &dyn Fn() -> bool) -> Result<Occupied, Error> {
        let (first, last) = (segment.entry().first_time.nanos(), segment.entry().last_time.nanos());
        if last - first < HOUR {
            return Ok(Occupied::all(first, last));
        }
        let mut spans = Spans::default();
        let mut run = Column::default();
        let mut series = segment.series("");
        while let Some(step) = series.next() {
            step?;
            if cancel() {
                return Err(Error::GivenUp);
            }
            let mut chunks = Vec::new();
            series.chunks(|chunk| chunks.push(chunk))?;
            for chunk in chunks {
                let (first, last) = (chunk.first.nanos(), chunk.last.nanos());
                if spans.covers(first, last) {
                    continue;
                }
                run.clear();
                match is_far(chunk.dots, first, last).then(|| segment.read(&chunk, &mut run)) {
                    Some(Ok(())) => add_hours(run.times(), &mut spans),
                    None | Some(Err(Error::Damaged { .. })) => spans.add(first, last),
                    Some(Err(error)) => return Err(error),
                }
            }
        }
        let mut all = Vec::new();
        spans.each(|first, last| all.push((first, last)));
        Ok(Occupied(all))
    }

    /// The first moment from `time` on at which there may be a dot.
    pub(super) fn next(&self, time: u64) -> Option<u64> {
        let at = self.0.partition_point(|(_, last)| *last < time);
        self.0.get(at).map(|(first, _)| time.max(*first))
    }

    /// Whether there may be a dot in `from..until`.
    pub(super) fn meets(&self, from: u64, until: u64) -> bool {
        self.next(from).is_some_and(|time| time < until)
    }
}

fn is_far(dots: u64, first: u64, last: u64) -> bool {
    last - first > dots.saturating_mul(FAR)
}

fn add_hours(times: &[u64], spans: &mut Spans) {
    let mut before = None;
    for time in times {
        let hour = time / HOUR * HOUR;
        if before.replace(hour) != Some(hour) {
            spans.add(hour, hour.saturating_add(HOUR - 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_far_apart_count_as_their_hours() {
        let mut spans = Spans::default();
        add_hours(&[5, 7, HOUR + 1, 9 * HOUR], &mut spans);
        let mut all = Vec::new();
        spans.each(|first, last| all.push((first, last)));
        let occupied = Occupied(all);
        assert_eq!(occupied, Occupied(vec![(0, 2 * HOUR - 1), (9 * HOUR, 10 * HOUR - 1)]));
        assert_eq!((occupied.next(3), occupied.next(2 * HOUR)), (Some(3), Some(9 * HOUR)));
        assert_eq!(occupied.next(10 * HOUR), None);
        assert!(occupied.meets(9 * HOUR - 1, 9 * HOUR + 1) && !occupied.meets(2 * HOUR, 9 * HOUR));
        assert!(is_far(3, 0, HOUR) && !is_far(4, 0, HOUR));
    }
}
