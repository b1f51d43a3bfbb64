//! Merging sorted dots of several commits.
//!
//! Of dots with equal series and explicit time the one of the later commit is kept; clock stamps are all kept.

use dotter_dot::Column;

/// A piece of rows is given out when it has so many bytes, however few rows it has.
const PIECE_ROW_BYTES: usize = 4 << 20;

/// Spreads sorted dots of equal time by a nanosecond each.
pub(crate) fn spread(times: &mut [u64]) {
    for index in 1..times.len() {
        if times[index] <= times[index - 1] {
            times[index] = times[index - 1].saturating_add(1);
        }
    }
}

/// Merges several inputs that are each sorted.
///
/// - `inputs`: in the order of their commits. Each gives its dots piece by piece, and `false` at its end; explicit
///   times of one input are distinct
/// - `explicit`: whether of equal times only the dot of the last commit is kept
/// - `out`: called with the merged dots, at most `piece_dots` at once
///
/// Memory: one piece of each input. Returns how many dots were replaced.
pub(crate) fn merge<E>(
    inputs: &mut [impl FnMut(&mut Column) -> Result<bool, E>],
    explicit: bool,
    piece_dots: usize,
    mut out: impl FnMut(&Column) -> Result<(), E>,
) -> Result<u64, E> {
    let mut heads: Vec<Head> = Vec::with_capacity(inputs.len());
    for (rank, input) in inputs.iter_mut().enumerate() {
        let mut head = Head { rank, place: 0, piece: Column::default() };
        if input(&mut head.piece)? {
            heads.push(head);
        }
    }
    let mut merged = Column::default();
    let mut replaced = 0;
    while let Some(least) = (0..heads.len()).min_by_key(|index| (heads[*index].time(), heads[*index].rank)) {
        // The dots of this input that come before all dots of the others are taken at once.
        let bound = (0..heads.len())
            .filter(|index| *index != least)
            .map(|index| (heads[index].time(), heads[index].rank))
            .min();
        let head = &mut heads[least];
        let times = &head.piece.times()[head.place..];
        let count = match bound {
            None => times.len(),
            Some((time, rank)) => times.partition_point(|own| (*own, head.rank) < (time, rank)),
        };
        let end = head.place + count;
        if explicit && merged.times().last() == Some(&times[0]) {
            merged.replace_last(&head.piece, head.place);
            head.place += 1;
            replaced += 1;
        }
        while head.place < end {
            // The last dot waits: the next one may still replace it.
            if merged.len() > piece_dots {
                flush(&mut merged, piece_dots, &mut out)?;
            }
            let room = (piece_dots + 1 - merged.len()).min(end - head.place);
            merged.extend(&head.piece, head.place..head.place + room);
            head.place += room;
        }
        if merged.row_bytes() > PIECE_ROW_BYTES && merged.len() > 1 {
            let count = merged.len() - 1;
            flush(&mut merged, count.min(piece_dots), &mut out)?;
        }
        if head.place == head.piece.len() {
            head.piece.clear();
            head.place = 0;
            if !inputs[head.rank](&mut head.piece)? {
                heads.swap_remove(least);
            }
        }
    }
    while merged.len() > piece_dots {
        flush(&mut merged, piece_dots, &mut out)?;
    }
    if !merged.is_empty() {
        out(&merged)?;
    }
    Ok(replaced)
}

/// Gives out the first `count` dots and keeps the rest.
fn flush<E>(run: &mut Column, count: usize, out: &mut impl FnMut(&Column) -> Result<(), E>) -> Result<(), E> {
    let rest = run.split_off(count);
    out(run)?;
    run.clear();
    run.extend(&rest, 0..rest.len());
    Ok(())
}

struct Head {
    rank: usize,
    place: usize,
    /// Never empty.
    piece: Column,
}

impl Head {
    fn time(&self) -> u64 {
        self.piece.times()[self.place]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;
    use crate::trial::column;

    type Dots = Vec<(u8, u64, u64)>;

    fn merged(runs: &[Dots], explicit: bool, piece_dots: usize) -> (Column, u64) {
        let mut inputs: Vec<_> = runs
            .iter()
            .map(|dots| {
                let mut pieces = dots.chunks(3);
                move |out: &mut Column| {
                    let Some(piece) = pieces.next() else { return Ok::<_, Infallible>(false) };
                    let piece = column(piece);
                    out.extend(&piece, 0..piece.len());
                    Ok(true)
                }
            })
            .collect();
        let mut all = Column::default();
        let replaced = merge(&mut inputs, explicit, piece_dots, |piece| {
            assert!((1..=piece_dots).contains(&piece.len()));
            all.extend(piece, 0..piece.len());
            Ok(())
        });
        (all, replaced.unwrap())
    }

    proptest! {
        #[test]
        fn a_merge_is_what_writing_one_after_the_other_gives(
            mut runs in prop::collection::vec(prop::collection::vec((0..crate::trial::SHAPES, 0..30_u64, any::<u64>()), 0..20), 0..6),
            piece_dots in 1..10_usize,
        ) {
            for run in &mut runs {
                run.sort_by_key(|dot| dot.1);
                run.dedup_by_key(|dot| dot.1);
            }
            let map: BTreeMap<u64, (u8, u64, u64)> = runs.iter().flatten().map(|dot| (dot.1, *dot)).collect();
            let dots: usize = runs.iter().map(Vec::len).sum();
            let (all, replaced) = merged(&runs, true, piece_dots);
            prop_assert_eq!(replaced as usize, dots - map.len());
            prop_assert_eq!(&all, &column(&map.into_values().collect::<Vec<_>>()));
        }

        #[test]
        fn clock_stamps_are_all_kept_in_the_order_of_their_commits(
            mut runs in prop::collection::vec(prop::collection::vec((0..crate::trial::SHAPES, 0..10_u64, any::<u64>()), 0..20), 0..6),
            piece_dots in 1..10_usize,
        ) {
            for run in &mut runs {
                run.sort_by_key(|dot| dot.1);
            }
            let mut expected: Vec<_> = runs.iter().flatten().copied().collect();
            expected.sort_by_key(|dot| dot.1);
            prop_assert_eq!(merged(&runs, false, piece_dots), (column(&expected), 0));
        }
    }

    #[test]
    fn equal_times_are_spread_and_push_their_neighbours() {
        let mut times = [5, 5, 5, 6, 6, 20];
        spread(&mut times);
        assert_eq!(times, [5, 6, 7, 8, 9, 20]);
    }
}
