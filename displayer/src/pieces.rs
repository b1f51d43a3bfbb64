//! Reading a long range piece by piece, each of a size that fits into memory.

use std::ops::ControlFlow;
use std::time::Duration;

use dotter_dot::{TimeRange, Timestamp};
use dotter_query::Dot;

/// A piece is first as long as this; nobody knows yet how dense the dots lie.
const FIRST: Duration = Duration::from_secs(60);
/// Pieces with fewer dots are too short.
const DOTS_MIN: usize = 16_384;
/// Pieces with more are too long.
const DOTS_MAX: usize = 131_072;

/// Reads `range` from its start on, in pieces that grow and shrink with how dense the dots lie.
///
/// - `span`: the first and the last moment there is; outside of it nothing is read
pub(crate) fn read<E>(
    range: TimeRange,
    span: (Timestamp, Timestamp),
    mut read: impl FnMut(TimeRange) -> Result<Vec<Dot>, E>,
    visit: &mut dyn FnMut(&[Dot]) -> ControlFlow<()>,
) -> Result<(), E> {
    let until = range.until.min(Timestamp::from_nanos(span.1.nanos().saturating_add(1)));
    let mut from = range.from.max(span.0);
    let mut length = FIRST;
    while from < until {
        let next = until.min(from.saturating_add(length));
        let dots = read(TimeRange::new(from, next))?;
        if visit(&dots).is_break() {
            return Ok(());
        }
        length = match dots.len() {
            // Far too few: what comes is not likely to lie sixteen times as dense.
            count if count < DOTS_MIN / 16 => length.saturating_mul(16),
            count if count < DOTS_MIN => length.saturating_mul(2),
            count if count > DOTS_MAX => (length / 2).max(Duration::from_nanos(1)),
            _ => length,
        };
        from = next;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Dots at every `gap_ns` from 0 to `end_ns`; how many were read, in how many pieces, the longest.
    fn check(gap_ns: u64, end_ns: u64, range: TimeRange) -> (u64, usize, usize) {
        let (mut sum, mut pieces, mut longest) = (0, 0, 0);
        let mut last = None;
        let dots = |piece: TimeRange| -> Result<Vec<Dot>, ()> {
            let first = piece.from.nanos().div_ceil(gap_ns);
            let end = piece.until.nanos().div_ceil(gap_ns);
            Ok((first..end).map(|n| Dot { time: Timestamp::from_nanos(n * gap_ns), value: 0.0 }).collect())
        };
        read(range, (Timestamp::MIN, Timestamp::from_nanos(end_ns)), dots, &mut |dots| {
            assert!(dots.iter().all(|dot| last.replace(dot.time).is_none_or(|last| last < dot.time)));
            (sum, pieces, longest) = (sum + dots.len() as u64, pieces + 1, longest.max(dots.len()));
            ControlFlow::Continue(())
        })
        .unwrap();
        (sum, pieces, longest)
    }

    #[test]
    fn every_dot_is_read_once_in_pieces_of_a_fair_size() {
        const SECOND: u64 = 1_000_000_000;
        let day = 86_400 * SECOND;
        let (sum, pieces, _) = check(10 * SECOND, 30 * day, TimeRange::ALL);
        assert!(sum == 30 * 8640 + 1 && pieces < 40, "{sum} {pieces}");
        let (sum, _, longest) = check(SECOND / 10_000, 120 * SECOND, TimeRange::ALL);
        assert!(sum == 1_200_001 && longest <= 600_000, "{sum} {longest}");
        let hour = TimeRange::new(Timestamp::from_nanos(day), Timestamp::from_nanos(day + 3600 * SECOND));
        let (sum, pieces, _) = check(10 * SECOND, 30 * day, hour);
        assert!(sum == 360 && pieces <= 3, "{sum} {pieces}");
        let late = TimeRange::new(Timestamp::from_nanos(90 * day), Timestamp::MAX);
        assert_eq!(check(SECOND, day, late), (0, 0, 0));
    }

    #[test]
    fn who_has_enough_ends_it() {
        let mut pieces = 0;
        let result: Result<(), ()> =
            read(TimeRange::ALL, (Timestamp::MIN, Timestamp::MAX), |_| Ok(Vec::new()), &mut |_| {
                pieces += 1;
                ControlFlow::Break(())
            });
        assert_eq!((result, pieces), (Ok(()), 1));
    }
}
