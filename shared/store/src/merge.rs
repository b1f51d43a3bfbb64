//! Putting dots of several commits into one order.
//!
//! On equal series and explicit time the later commit wins; clock stamps are all kept.

use crate::chunk::Columns;

/// Sorts by time; dots of equal time stay in the order they are in.
pub(crate) fn sort(columns: &mut Columns) {
    if columns.times.is_sorted() {
        return;
    }
    let mut order: Vec<u32> = (0..columns.len() as u32).collect();
    // Stable, and quick on runs that are sorted already, which is what commits one after the other give.
    order.sort_by_key(|index| columns.times[*index as usize]);
    columns.times = order.iter().map(|index| columns.times[*index as usize]).collect();
    columns.values = order.iter().map(|index| columns.values[*index as usize]).collect();
}

/// Of sorted dots of equal time keeps the last; returns how many went.
pub(crate) fn keep_last(columns: &mut Columns) -> u64 {
    let Columns { times, values } = columns;
    let mut kept = 0;
    for index in 0..times.len() {
        if kept > 0 && times[kept - 1] == times[index] {
            values[kept - 1] = values[index];
        } else {
            times[kept] = times[index];
            values[kept] = values[index];
            kept += 1;
        }
    }
    let replaced = times.len() - kept;
    times.truncate(kept);
    values.truncate(kept);
    replaced as u64
}

/// Spreads sorted dots of equal time by a nanosecond each.
pub(crate) fn spread(times: &mut [u64]) {
    for index in 1..times.len() {
        if times[index] <= times[index - 1] {
            times[index] = times[index - 1].saturating_add(1);
        }
    }
}

/// One order out of several that are each sorted.
///
/// - `inputs`: in the order of their commits, each gives its dots piece by piece, `None` at its end
/// - `explicit`: whether of equal times only the last commit's counts
/// - `out`: gets the merged dots, at most `piece_dots` at once
///
/// Memory: one piece of each input. Returns how many dots were replaced.
pub(crate) fn merge<E>(
    inputs: &mut [impl FnMut(&mut Columns) -> Result<bool, E>],
    explicit: bool,
    piece_dots: usize,
    mut out: impl FnMut(&Columns) -> Result<(), E>,
) -> Result<u64, E> {
    let mut heads: Vec<Head> = Vec::with_capacity(inputs.len());
    for (rank, input) in inputs.iter_mut().enumerate() {
        let mut head = Head { rank, place: 0, piece: Columns::default() };
        if input(&mut head.piece)? {
            heads.push(head);
        }
    }
    let mut merged = Columns::default();
    let mut replaced = 0;
    while let Some(least) = (0..heads.len()).min_by_key(|index| (heads[*index].time(), heads[*index].rank)) {
        // As far as this input's dots stand before all others' they are taken at once.
        let bound = (0..heads.len())
            .filter(|index| *index != least)
            .map(|index| (heads[index].time(), heads[index].rank))
            .min()
            .unwrap_or((u64::MAX, usize::MAX));
        let head = &mut heads[least];
        loop {
            let (time, value) = (head.piece.times[head.place], head.piece.values[head.place]);
            if (time, head.rank) > bound {
                break;
            }
            if explicit && merged.times.last() == Some(&time) {
                *merged.values.last_mut().expect("as many values as times") = value;
                replaced += 1;
            } else {
                // The last one stays back: the next dot may still replace it.
                if merged.len() > piece_dots {
                    let last = merged.len() - 1;
                    let (time, value) = (merged.times[last], merged.values[last]);
                    merged.times.truncate(last);
                    merged.values.truncate(last);
                    out(&merged)?;
                    merged.clear();
                    merged.push(time, value);
                }
                merged.push(time, value);
            }
            head.place += 1;
            if head.place == head.piece.len() {
                head.piece.clear();
                head.place = 0;
                if !inputs[head.rank](&mut head.piece)? {
                    heads.swap_remove(least);
                    break;
                }
            }
        }
    }
    while merged.len() > piece_dots {
        let rest = Columns {
            times: merged.times.split_off(piece_dots),
            values: merged.values.split_off(piece_dots),
        };
        out(&merged)?;
        merged = rest;
    }
    if !merged.is_empty() {
        out(&merged)?;
    }
    Ok(replaced)
}

struct Head {
    rank: usize,
    place: usize,
    /// Never empty.
    piece: Columns,
}

impl Head {
    fn time(&self) -> u64 {
        self.piece.times[self.place]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    fn merged(runs: &[Vec<(u64, u32)>], explicit: bool, piece_dots: usize) -> (Vec<(u64, u32)>, u64) {
        let mut inputs: Vec<_> = runs
            .iter()
            .map(|run| {
                let mut pieces = run.chunks(3);
                move |out: &mut Columns| {
                    let Some(piece) = pieces.next() else { return Ok::<_, Infallible>(false) };
                    piece.iter().for_each(|(time, value)| out.push(*time, *value as f64));
                    Ok(true)
                }
            })
            .collect();
        let mut all = Vec::new();
        let replaced = merge(&mut inputs, explicit, piece_dots, |piece| {
            assert!((1..=piece_dots).contains(&piece.len()));
            all.extend(piece.times.iter().zip(&piece.values).map(|(time, value)| (*time, *value as u32)));
            Ok(())
        });
        (all, replaced.unwrap())
    }

    proptest! {
        #[test]
        fn a_merge_is_what_writing_one_after_the_other_gives(
            mut runs in prop::collection::vec(prop::collection::vec((0..30_u64, any::<u32>()), 0..20), 0..6),
            piece_dots in 1..10_usize,
        ) {
            for run in &mut runs {
                run.sort_by_key(|dot| dot.0);
                run.dedup_by_key(|dot| dot.0);
            }
            let map: BTreeMap<u64, u32> = runs.iter().flatten().copied().collect();
            let dots: usize = runs.iter().map(Vec::len).sum();
            let (all, replaced) = merged(&runs, true, piece_dots);
            prop_assert_eq!(all, map.clone().into_iter().collect::<Vec<_>>());
            prop_assert_eq!(replaced as usize, dots - map.len());
        }

        #[test]
        fn clock_stamps_are_all_kept_in_the_order_of_their_commits(
            mut runs in prop::collection::vec(prop::collection::vec((0..10_u64, any::<u32>()), 0..20), 0..6),
            piece_dots in 1..10_usize,
        ) {
            for run in &mut runs {
                run.sort_by_key(|dot| dot.0);
            }
            let mut expected: Vec<_> = runs.iter().flatten().copied().collect();
            expected.sort_by_key(|dot| dot.0);
            prop_assert_eq!(merged(&runs, false, piece_dots), (expected, 0));
        }

        #[test]
        fn sorting_and_keeping_the_last_is_what_a_map_gives(
            dots in prop::collection::vec((0..50_u64, any::<u32>()), 0..200),
        ) {
            let mut columns = Columns::default();
            dots.iter().for_each(|(time, value)| columns.push(*time, *value as f64));
            sort(&mut columns);
            let replaced = keep_last(&mut columns);
            let map: BTreeMap<u64, u32> = dots.iter().copied().collect();
            prop_assert_eq!(replaced as usize, dots.len() - map.len());
            prop_assert!(columns.times.iter().eq(map.keys()));
            prop_assert!(columns.values.iter().map(|value| *value as u32).eq(map.values().copied()));
        }
    }

    #[test]
    fn equal_times_are_spread_and_push_their_neighbours() {
        let mut times = [5, 5, 5, 6, 6, 20];
        spread(&mut times);
        assert_eq!(times, [5, 6, 7, 8, 9, 20]);
    }
}
