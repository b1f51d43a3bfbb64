//! Merging sorted dots of several commits.
//!
//! Dots that the clock stamped and texts of a ring are all kept. Of other dots of one series at one time,
//! `read/equal.rs` says which are kept.

use std::ops::Range;

use dotter_dot::Column;

use crate::read::equal::Seen;

/// A piece of rows is given out when it has so many bytes, however few rows it has.
const PIECE_ROW_BYTES: usize = 4 << 20;

/// Spreads sorted numbers of equal time by a nanosecond each. Texts keep their times, unless a number before them was
/// moved further.
///
/// - `least`: every number gets at least this time
pub(crate) fn spread(column: &mut Column, least: u64) {
    let parts: Vec<(Range<usize>, bool)> =
        column.parts(0..column.len()).map(|(part, shape)| (part, shape.is_text())).collect();
    let times = column.times_mut();
    let (mut before, mut least) = (least.saturating_sub(1), least);
    for (part, is_text) in parts {
        for time in &mut times[part] {
            *time = (*time).max(if is_text { before } else { least });
            before = before.max(*time);
            if !is_text {
                least = time.saturating_add(1);
            }
        }
    }
}

/// Merges several inputs that are each sorted.
///
/// - `inputs`: in the order of their commits. Each gives its dots piece by piece, and `false` at its end; those with
///   explicit times are settled
/// - `explicit`: whether of equal times only the dots are kept that `read/equal.rs` says
/// - `out`: called with the merged dots, at most `piece_dots` at once
///
/// Memory: one piece of each input, and the texts of one time that several inputs have. Returns how many dots were
/// replaced.
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
    let mut merged = Merged { dots: Column::default(), time: None, seen: Seen::default(), replaced: 0 };
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
        // One by one: the first, at a time that an input before it has too, and the last, at one that an input behind
        // it has too. Whoever has a time has come to it when its first dot is taken.
        let (mut first, mut last) = (0, end);
        if explicit {
            first = merged.time.map_or(0, |time| times[..count].partition_point(|own| *own <= time));
            if let Some((time, _)) = bound {
                last = head.place + times[..count].partition_point(|own| *own < time);
            }
        }
        first += head.place;
        while head.place < end {
            // The last dot waits: the next one may still replace it, or come before it.
            if merged.dots.len() > piece_dots {
                flush(&mut merged.dots, piece_dots, &mut out)?;
            }
            if head.place < first || head.place >= last {
                merged.take(head);
                continue;
            }
            let room = (piece_dots + 1 - merged.dots.len()).min(last - head.place);
            merged.dots.extend(&head.piece, head.place..head.place + room);
            head.place += room;
        }
        if merged.dots.row_bytes() > PIECE_ROW_BYTES && merged.dots.len() > 1 {
            let count = merged.dots.len() - 1;
            flush(&mut merged.dots, count.min(piece_dots), &mut out)?;
        }
        if head.place == head.piece.len() {
            head.piece.clear();
            head.place = 0;
            if !inputs[head.rank](&mut head.piece)? {
                heads.swap_remove(least);
            }
        }
    }
    while merged.dots.len() > piece_dots {
        flush(&mut merged.dots, piece_dots, &mut out)?;
    }
    if !merged.dots.is_empty() {
        out(&merged.dots)?;
    }
    Ok(merged.replaced)
}

/// What has been merged and not been given out.
struct Merged {
    dots: Column,
    /// The last time that several inputs have.
    time: Option<u64>,
    /// The texts of that time.
    seen: Seen,
    replaced: u64,
}

impl Merged {
    /// Takes the next dot of an input, at a time that others have too.
    fn take(&mut self, head: &mut Head) {
        let (place, time) = (head.place, head.time());
        head.place += 1;
        if self.time != Some(time) {
            self.time = Some(time);
            self.seen.clear();
        }
        let shape = head.piece.shape_at(place);
        let is_text = shape.is_text();
        if is_text && !self.seen.is_kept(shape, head.piece.row(place), head.rank) {
            self.replaced += 1;
            return;
        }
        // The dot of this time that is no text stands last.
        let last = self
            .dots
            .len()
            .checked_sub(1)
            .filter(|last| self.dots.times()[*last] == time && !self.dots.shape_at(*last).is_text());
        match last {
            None => self.dots.extend(&head.piece, place..place + 1),
            Some(_) if !is_text => {
                self.dots.replace_last(&head.piece, place);
                self.replaced += 1;
            }
            Some(last) => {
                let other = self.dots.split_off(last);
                self.dots.extend(&head.piece, place..place + 1);
                self.dots.extend(&other, 0..1);
            }
        }
    }
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
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;
    use crate::read::equal;
    use crate::trial::column;

    /// The number of the shape, time, bits.
    type Dots = Vec<(u8, u64, u64)>;

    /// The number of the shape of one text.
    const TEXT: u8 = 1;

    /// Dots of one commit: texts and times so few that equal ones are common.
    fn commit() -> impl Strategy<Value = Dots> {
        let shape = prop_oneof![Just(TEXT), 0..6_u8];
        prop::collection::vec((shape, 0..8_u64, 0..3_u64), 0..30)
    }

    /// What is kept of commits, in order: at each time the texts, each as often as the commit has it that has it most
    /// often, and the other dot that came last.
    fn naive(commits: &[Dots]) -> Dots {
        let mut kept = Dots::new();
        for commit in commits {
            let mut own = Dots::new();
            for dot in commit {
                if dot.0 == TEXT {
                    own.push(*dot);
                    let count = |dots: &Dots| dots.iter().filter(|other| *other == dot).count();
                    if count(&own) > count(&kept) {
                        kept.push(*dot);
                    }
                } else {
                    kept.retain(|other| other.1 != dot.1 || other.0 == TEXT);
                    kept.push(*dot);
                }
            }
        }
        kept.sort_by_key(|dot| (dot.1, dot.0 != TEXT));
        kept
    }

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
            runs in prop::collection::vec(commit(), 0..6),
            piece_dots in 1..10_usize,
        ) {
            let dots: usize = runs.iter().map(Vec::len).sum();
            let runs: Vec<Dots> = runs.iter().map(|run| naive(std::slice::from_ref(run))).collect();
            let settled: usize = runs.iter().map(Vec::len).sum();
            let expected = naive(&runs);
            let (all, replaced) = merged(&runs, true, piece_dots);
            prop_assert_eq!(&all, &column(&expected));
            prop_assert_eq!(replaced as usize, settled - expected.len());
            prop_assert!(settled <= dots);
        }

        #[test]
        fn settling_is_what_counting_gives_in_whatever_steps(
            commits in prop::collection::vec(commit(), 0..6),
            from in 0..6_usize,
            count in 0..6_usize,
        ) {
            let expected = column(&naive(&commits));
            let settled = |commits: &[Dots]| {
                let begins: Vec<u32> = commits
                    .iter()
                    .scan(0, |sum, commit| Some(std::mem::replace(sum, *sum + commit.len() as u32)))
                    .collect();
                let mut all = column(&commits.concat());
                let before = all.len();
                let gone = equal::settle(&mut all, &begins);
                assert_eq!(gone as usize, before - all.len());
                all
            };
            prop_assert_eq!(&settled(&commits), &expected);
            // Neighbours first, and then what they gave as one commit with the others.
            let from = from.min(commits.len());
            let until = (from + count).min(commits.len());
            let joined = naive(&commits[from..until]);
            let steps = [&commits[..from], std::slice::from_ref(&joined), &commits[until..]].concat();
            prop_assert_eq!(&settled(&steps), &expected);
            prop_assert_eq!(&column(&naive(&steps)), &expected);
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
        let spread_times = |dots: &[(u8, u64)]| {
            let mut column = column(&dots.iter().map(|(shape, time)| (*shape, *time, 7)).collect::<Vec<_>>());
            spread(&mut column, 0);
            column.times().to_vec()
        };
        assert_eq!(spread_times(&[5, 5, 5, 6, 6, 20].map(|time| (0, time))), [5, 6, 7, 8, 9, 20]);
        // Texts stay, and move no number; but none comes before what it came behind.
        assert_eq!(spread_times(&[5, 5, 5, 6, 6, 20].map(|time| (TEXT, time))), [5, 5, 5, 6, 6, 20]);
        let mixed = [(TEXT, 5), (0, 5), (TEXT, 5), (0, 5), (TEXT, 5), (TEXT, 6), (0, 6), (TEXT, 20)];
        assert_eq!(spread_times(&mixed), [5, 5, 5, 6, 6, 6, 7, 20]);
        assert_eq!(spread_times(&[(0, u64::MAX), (0, u64::MAX), (TEXT, u64::MAX)]), [u64::MAX; 3]);
    }
}
