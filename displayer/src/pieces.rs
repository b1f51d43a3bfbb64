//! Which parts of a long series are read at once, and which need not be: known from the chunks' index alone.
//!
//! Equal clock stamps are given out spread by a nanosecond each, so a chunk's dots may come to lie behind its last
//! stamp, by as many nanoseconds as it has stamps at most. As far as that a chunk *reaches*; one that begins before
//! that is pushed on, by no more than its own stamps.

use std::time::Duration;

use dotter_dot::{TimeRange, Timestamp};
use dotter_query::{Numbers, Stretch};
use dotter_store::Chunk;

/// A piece ends at the next chunk that nothing reaches into once it has so many dots.
const DOTS_WANTED: u64 = 32 << 10;
/// At a chunk that something reaches into it ends only when it has so many.
const DOTS_MAX: u64 = 256 << 10;

/// How far the chunks so far reach.
#[derive(Default)]
struct Reach {
    until: Option<u64>,
}

impl Reach {
    /// Whether that chunk lies behind everything before it.
    fn ends_before(&self, chunk: &Chunk) -> bool {
        self.until.is_none_or(|until| until < chunk.first.nanos())
    }

    fn take(&mut self, chunk: &Chunk) {
        let last = self.until.unwrap_or_default().max(chunk.last.nanos());
        self.until = Some(if chunk.is_clock { last.saturating_add(chunk.dots) } else { last });
    }
}

/// Ranges that together are `range`, few enough dots in each to be read at once, and how many are looked at for it.
///
/// - `chunks`: those that meet `range`, by their first times
///
/// No chunk is cut unless others lie across it.
pub(crate) fn pieces(range: TimeRange, chunks: &[Chunk]) -> Vec<(TimeRange, u64)> {
    let mut pieces = Vec::new();
    let (mut from, mut begun, mut reach) = (range.from, 0_u64, Reach::default());
    // Chunks of this piece that may lie in the next one too.
    let mut open: Vec<(Timestamp, u64)> = Vec::new();
    for chunk in chunks {
        let most = if reach.ends_before(chunk) { DOTS_WANTED } else { DOTS_MAX };
        if begun > 0 && chunk.first > from && begun.saturating_add(chunk.dots) > most {
            pieces.push((TimeRange::new(from, chunk.first), open.iter().map(|(_, dots)| dots).sum()));
            (from, begun) = (chunk.first, 0);
            open.retain(|(last, _)| *last >= chunk.first);
        }
        begun = begun.saturating_add(chunk.dots);
        open.push((chunk.last, chunk.dots));
        reach.take(chunk);
    }
    if !open.is_empty() {
        pieces.push((TimeRange::new(from, range.until), open.iter().map(|(_, dots)| dots).sum()));
    }
    pieces
}

/// Steps that are put together at once.
const STEPS_AT_ONCE: u64 = 64 << 10;

/// Ranges that together are `range`, each of so few steps that these are read at once. None cuts a step.
///
/// - `step`: above zero
pub(crate) fn step_pieces(range: TimeRange, step: Duration) -> impl Iterator<Item = TimeRange> {
    let piece = u64::try_from(step.as_nanos()).unwrap_or(u64::MAX).max(1).saturating_mul(STEPS_AT_ONCE);
    let mut from = range.from;
    std::iter::from_fn(move || {
        if range.until <= from {
            return None;
        }
        let end = (from.nanos() / piece).checked_add(1).and_then(|pieces| pieces.checked_mul(piece));
        let until = end.map_or(range.until, Timestamp::from_nanos).min(range.until);
        let piece = TimeRange::new(from, until);
        from = until;
        Some(piece)
    })
}

/// What is known of chunks, those that reach into each other taken together.
///
/// - `chunks`: those that meet `range`, by their first times
pub(crate) fn stretches(range: TimeRange, chunks: &[Chunk]) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    let mut reach = Reach::default();
    for chunk in chunks {
        let apart = reach.ends_before(chunk);
        reach.take(chunk);
        let until = Timestamp::from_nanos(reach.until.unwrap_or_default().saturating_add(1));
        if let Some(stretch) = stretches.last_mut().filter(|_| !apart) {
            stretch.range.until = until.min(range.until);
            stretch.dots = stretch.dots.saturating_add(chunk.dots);
            stretch.numbers = None;
            continue;
        }
        let whole = range.from <= chunk.first && until <= range.until;
        let own = TimeRange::new(chunk.first.max(range.from), until.min(range.until));
        stretches.push(Stretch { range: own, dots: chunk.dots, numbers: numbers(chunk).filter(|_| whole) });
    }
    stretches
}

/// What the numbers of a chunk come to, where all of them are known to be there and to be finite.
fn numbers(chunk: &Chunk) -> Option<Numbers> {
    if !chunk.is_alone {
        return None;
    }
    if !chunk.shape.format().letters().any(|letter| letter.is_number()) {
        // The shape of a part of the live log is only that of its last dot.
        return (chunk.bytes > 0).then_some(Numbers::NONE);
    }
    // Of weighted rows there is a summary only where all are finite.
    let is_whole = |count: u64| count == chunk.dots || chunk.shape.is_weighted();
    let summary = chunk.summary.filter(|summary| is_whole(summary.count) && summary.sum.is_finite())?;
    let dotter_store::Summary { count, min, max, sum, .. } = summary;
    Some(Numbers { count, min, max, sum })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dotter_dot::{Format, Kind, Shape};
    use dotter_store::Summary;

    fn at(nanos: u64) -> Timestamp {
        Timestamp::from_nanos(nanos)
    }

    fn range(from: u64, until: u64) -> TimeRange {
        TimeRange::new(at(from), at(until))
    }

    fn chunk(first: u64, last: u64, dots: u64) -> Chunk {
        let summary = Summary { count: dots, min: 1.0, max: 2.0, sum: 3.0, first: 1.0, last: 2.0 };
        Chunk {
            first: at(first),
            last: at(last),
            dots,
            bytes: 1,
            is_clock: false,
            is_alone: true,
            shape: Shape::number(),
            summary: Some(summary),
        }
    }

    #[test]
    fn pieces_end_between_chunks_and_hold_a_fair_number_of_dots() {
        let chunks: Vec<Chunk> = (0..100).map(|n| chunk(n * 10, n * 10 + 9, 4096)).collect();
        let found = pieces(range(5, 995), &chunks);
        assert!(found.len() == 13 && found[0] == (range(5, 80), 8 * 4096), "{found:?}");
        assert!(found.windows(2).all(|pair| pair[0].0.until == pair[1].0.from));
        assert_eq!(found[12], (range(960, 995), 4 * 4096));
        assert_eq!(pieces(range(5, 995), &[]), []);
    }

    #[test]
    fn chunks_across_others_are_cut_only_when_they_must_be_and_count_in_each_piece() {
        let mut chunks = vec![chunk(0, 1000, 4096)];
        chunks.extend((0..80).map(|n| chunk(n * 10 + 1, n * 10 + 9, 4096)));
        let found = pieces(range(0, 1001), &chunks);
        assert_eq!(found, [(range(0, 631), 64 * 4096), (range(631, 1001), 18 * 4096)]);
    }

    #[test]
    fn steps_are_read_so_many_at_a_time_and_none_is_cut() {
        let piece = 10 * STEPS_AT_ONCE;
        let check = |from: u64, until: u64, expected: &[(u64, u64)]| {
            let found: Vec<_> = step_pieces(range(from, until), Duration::from_nanos(10)).collect();
            let expected: Vec<_> = expected.iter().map(|(from, until)| range(*from, *until)).collect();
            assert_eq!(found, expected);
        };
        check(5, 95, &[(5, 95)]);
        check(95, 95, &[]);
        check(95, 5, &[]);
        check(5, 2 * piece + 3, &[(5, piece), (piece, 2 * piece), (2 * piece, 2 * piece + 3)]);
        check(u64::MAX - 3, u64::MAX, &[(u64::MAX - 3, u64::MAX)]);
        let all: Vec<_> = step_pieces(TimeRange::ALL, Duration::MAX).collect();
        assert_eq!(all, [TimeRange::ALL]);
    }

    #[test]
    fn what_reaches_into_another_is_one_stretch_of_which_nothing_is_known() {
        let clock = |chunk: Chunk| Chunk { is_clock: true, ..chunk };
        // Twenty equal stamps at 100 are given out up to 119, and push five more up to 124.
        let chunks = [
            chunk(0, 50, 9),
            clock(chunk(90, 100, 20)),
            clock(chunk(110, 115, 5)),
            chunk(200, 300, 7),
            chunk(301, 400, 8),
        ];
        let found = stretches(range(0, 350), &chunks);
        let spans: Vec<_> = found.iter().map(|stretch| (stretch.range, stretch.dots)).collect();
        let (first, second) = ((range(0, 51), 9), (range(90, 126), 25));
        assert_eq!(spans, [first, second, (range(200, 301), 7), (range(301, 350), 8)]);
        let known: Vec<bool> = found.iter().map(|stretch| stretch.numbers.is_some()).collect();
        assert_eq!(known, [true, false, true, false]);
    }

    #[test]
    fn stamps_as_dense_as_can_be_reach_no_further_than_they_lie() {
        let clock = |first: u64, last: u64| Chunk { is_clock: true, ..chunk(first, last, 4096) };
        // A thousand chunks of a dot a microsecond, then ten of a dot in a hundred.
        let mut chunks: Vec<Chunk> =
            (0..1000).map(|n| clock(n * 4_096_000, n * 4_096_000 + 4_095_000)).collect();
        let slow = 1000 * 4_096_000;
        chunks.extend((0..10).map(|n| slow + n * 409_600_000).map(|first| clock(first, first + 409_500_000)));
        let found = stretches(range(0, 10_000_000_000), &chunks);
        assert_eq!((found.len(), found[0].dots), (10, 1001 * 4096));
        assert!(found[1..].iter().all(|stretch| stretch.numbers.is_some()));
    }

    #[test]
    fn numbers_are_known_only_of_chunks_whose_every_dot_is_a_finite_one() {
        let whole = chunk(0, 50, 9);
        assert_eq!(numbers(&whole), Some(Numbers { count: 9, min: 1.0, max: 2.0, sum: 3.0 }));
        assert_eq!(numbers(&Chunk { dots: 10, ..whole.clone() }), None);
        assert_eq!(numbers(&Chunk { is_alone: false, ..whole.clone() }), None);
        assert_eq!(numbers(&Chunk { summary: None, ..whole.clone() }), None);
        let weighted = Shape::from(Format::new("FU").unwrap()).with_kind(Kind::Histogram);
        let weighted = Chunk { dots: 4, shape: weighted, ..whole.clone() };
        assert_eq!(numbers(&weighted).map(|numbers| numbers.count), Some(9), "as many as were observed");
        let text = Chunk { shape: Shape::from(Format::new("s").unwrap()), summary: None, ..whole };
        assert_eq!(numbers(&text), Some(Numbers::NONE));
        assert_eq!(numbers(&Chunk { bytes: 0, ..text }), None);
    }
}
