//! The dots of a seal: taken in the order of their commits, given back series by series.
//!
//! All dots lie one behind the other in one column until they are given back, with a few bytes for each group of them.
//! So a series costs its name and a few numbers, however few dots it has: a column of its own would cost more than
//! they do.

use dotter_dot::{Column, SeriesName, Shape};

use crate::format::listing::Order;
use crate::format::wal::{ById, DotGroups, Names};
use crate::read::equal::Commits;
use crate::read::fold::each_group;

/// Dots of consecutive frames.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) first_sequence: u64,
    pub(super) last_sequence: u64,
    dots: Column,
    groups: Vec<Group>,
    /// Of each frame with dots its sequence, and which group is its first.
    frames: Vec<(u64, u32)>,
    series: Vec<(SeriesName, Shape)>,
    /// By series id, its place among these series.
    places: ById<u32>,
}

/// Dots of one series in one frame. They end where those of the next group begin.
#[derive(Clone, Copy)]
struct Group {
    /// Twice the place of the series, and one more where all of its dots are kept.
    key: u32,
    /// The first dot.
    from: u32,
}

impl Group {
    fn place(self) -> usize {
        (self.key >> 1) as usize
    }

    fn clock(self) -> bool {
        self.key & 1 == 1
    }
}

impl Gathered {
    /// Its place in the order of commits.
    pub(super) fn order(&self) -> Order {
        Order { sequence: self.last_sequence, generation: 0 }
    }

    /// How many dots it has.
    pub(super) fn dots(&self) -> u64 {
        self.dots.len() as u64
    }

    /// How many series it has, those without dots among them. A name counts once for each shape.
    pub(super) fn series_count(&self) -> u64 {
        self.series.len() as u64
    }

    /// Makes room for so many further dots.
    pub(super) fn reserve(&mut self, dots: usize) {
        self.dots.reserve(dots);
    }

    /// From here on an id may mean another series.
    pub(super) fn begin_epoch(&mut self) {
        self.places.clear();
    }

    /// Adds the dots of one frame; returns how many it added, as [`each_group`] does.
    pub(super) fn take(&mut self, sequence: u64, dots: DotGroups<'_>, names: &Names) -> u64 {
        if self.dots.is_empty() {
            self.first_sequence = sequence;
        }
        self.last_sequence = sequence;
        let first = self.groups.len() as u32;
        let taken = each_group(dots, names, |group, dots| {
            let known = self.places.get(group.id).copied();
            let place = known.unwrap_or_else(|| {
                self.series.push((group.name.clone(), group.shape.clone()));
                let place = self.series.len() as u32 - 1;
                self.places.put(group.id, place);
                place
            });
            let from = self.dots.len() as u32;
            let count = dots.take(Some(group.shape), &mut self.dots)?;
            if count > 0 {
                self.groups.push(Group { key: place << 1 | group.clock as u32, from });
            }
            Some(count)
        });
        if self.groups.len() as u32 > first {
            self.frames.push((sequence, first));
        }
        taken
    }

    /// Puts the series in the order of their names.
    pub(super) fn into_series(self) -> BySeries {
        let Gathered { dots, groups, frames, series, .. } = self;
        let mut places: Vec<u32> = (0..series.len() as u32).collect();
        // Series often come in runs that ascend by name, which a stable sort merges: to compare names is to look for
        // them all over the memory.
        places.sort_by(|a, b| series[*a as usize].0.cmp(&series[*b as usize].0));
        let mut ranks = vec![0; series.len()];
        let mut rank = 0;
        for equal in places.chunk_by(|a, b| series[*a as usize].0 == series[*b as usize].0) {
            equal.iter().for_each(|place| ranks[*place as usize] = rank);
            rank += 1;
        }
        let mut ends = vec![0; rank as usize];
        groups.iter().for_each(|group| ends[ranks[group.place()] as usize] += 1);
        let mut sum = 0;
        for end in &mut ends {
            (*end, sum) = (sum, sum + *end);
        }
        // What begins where the groups of a name do ends where they end, once each has its place.
        let mut sorted = vec![0; groups.len()];
        for (index, group) in groups.iter().enumerate() {
            let end = &mut ends[ranks[group.place()] as usize];
            sorted[*end as usize] = index as u32;
            *end += 1;
        }
        let runs = Default::default();
        BySeries { dots, groups, frames, series, sorted, ends, next: 0, runs }
    }
}

/// The series of [`Gathered`], in the order of their names.
pub(super) struct BySeries {
    dots: Column,
    groups: Vec<Group>,
    frames: Vec<(u64, u32)>,
    series: Vec<(SeriesName, Shape)>,
    /// The groups, name by name, those of a name in the order of their commits.
    sorted: Vec<u32>,
    /// Of each name, where its groups end among these.
    ends: Vec<u32>,
    /// The name that comes next.
    next: usize,
    runs: Runs,
}

/// The dots of one series in the order of their commits.
#[derive(Default)]
pub(super) struct Runs {
    /// With explicit times.
    pub(super) explicit: Column,
    /// Where the texts of each commit begin among these.
    pub(super) commits: Commits,
    /// Those that are all kept: the clock stamped them, or they are texts of a ring.
    pub(super) clock: Column,
}

impl BySeries {
    /// The next series that has dots: its name, its dots, and the shape of the dot committed last.
    pub(super) fn next(&mut self) -> Option<(SeriesName, &mut Runs, Shape)> {
        let (from, until) = loop {
            let from = self.next.checked_sub(1).map_or(0, |before| self.ends[before]);
            let until = *self.ends.get(self.next)?;
            self.next += 1;
            if from < until {
                break (from as usize, until as usize);
            }
        };
        let BySeries { dots, groups, frames, series, sorted, runs, .. } = self;
        let sorted = &sorted[from..until];
        let last = groups[sorted[sorted.len() - 1] as usize];
        runs.explicit.clear();
        runs.commits.clear();
        runs.clock.clear();
        let mut last_commit = 0;
        let mut counts = [0, 0];
        // Where one series has all dots, as a log of texts may, they are not copied.
        let is_all = sorted.len() == groups.len() && groups.iter().all(|group| group.clock() == last.clock());
        for index in sorted.iter().map(|index| *index as usize) {
            let group = groups[index];
            let end = groups.get(index + 1).map_or(dots.len(), |next| next.from as usize);
            let range = group.from as usize..end;
            let before = counts[group.clock() as usize];
            counts[group.clock() as usize] += range.len();
            if !is_all {
                runs.run(group.clock()).extend(dots, range);
            }
            if !group.clock() && series[group.place()].1.is_text() {
                let (sequence, _) = frames[frames.partition_point(|(_, first)| *first <= index as u32) - 1];
                if last_commit != sequence || runs.commits.is_empty() {
                    runs.commits.push(before as u32);
                    last_commit = sequence;
                }
            }
        }
        if is_all {
            std::mem::swap(runs.run(last.clock()), dots);
        }
        let (name, latest) = &series[last.place()];
        Some((name.clone(), runs, latest.clone()))
    }
}

impl Runs {
    fn run(&mut self, clock: bool) -> &mut Column {
        if clock { &mut self.clock } else { &mut self.explicit }
    }
}

#[cfg(test)]
mod tests {
    use dotter_dot::{Dots, SeriesKey, Timestamp};
    use proptest::prelude::*;

    use super::*;
    use crate::format::bytes::Fields;
    use crate::format::wal::{Grouping, encode_dots};
    use crate::read::fold::FrameFold;
    use crate::read::head::HeadPart;
    use crate::trial::{cell, shape};

    /// Series 0 to 11, of the six shapes in turn; 0 to 5 share one name.
    fn names() -> Names {
        let mut names = Names::default();
        names.begin_file(Some(1));
        for id in 0..12 {
            let name = format!("s{}", 9 - if id < 6 { 0 } else { id % 9 });
            names.look_up(id, SeriesName::new(&name).unwrap(), &shape(id as u8));
        }
        names
    }

    fn encoded(dots: &[(u32, u64, u64)], cut: usize) -> Vec<u8> {
        let mut given = Dots::default();
        for (key, time, bits) in dots {
            let (id, mut row) = (key >> 1, Vec::new());
            let value = cell(id as u8, *bits, &mut row);
            given.push(
                SeriesKey::new(id, &shape(id as u8)),
                key & 1 == 1,
                Timestamp::from_nanos(*time),
                value,
            );
        }
        let siblings = |id: u32| (id < 6).then_some(0);
        let mut out = Vec::new();
        encode_dots(&given, siblings, true, |_| false, &mut Grouping::default(), &mut out);
        out.truncate(out.len() - cut.min(out.len()));
        out
    }

    fn values(column: &Column) -> Vec<String> {
        column.iter().map(|dot| format!("{dot:?}")).collect()
    }

    proptest! {
        #[test]
        fn a_seal_sees_the_dots_that_a_reader_sees(
            frames in prop::collection::vec(
                (
                    prop::collection::vec((0..24_u32, 0..50_u64, any::<u64>()), 0..20),
                    prop_oneof![4 => Just(0), 1 => 1..40_usize],
                ),
                0..8,
            ),
            epoch_at in 0..8_usize,
            one in prop_oneof![3 => Just(None), 1 => (0..24_u32).prop_map(Some)],
        ) {
            let mut names = names();
            // Not declared, so it is left out.
            names.series.remove(11);
            let (mut part, mut fold) = (HeadPart::default(), FrameFold::default());
            let mut gathered = Gathered::default();
            for (index, (mut dots, cut)) in frames.into_iter().enumerate() {
                if let Some(one) = one {
                    dots.iter_mut().for_each(|dot| dot.0 = one);
                }
                let bytes = encoded(&dots, cut);
                let groups = || DotGroups::decode(Fields(&bytes));
                let (Some(a), Some(b)) = (groups(), groups()) else { continue };
                if index == epoch_at {
                    fold = FrameFold::default();
                    gathered.begin_epoch();
                }
                let sequence = index as u64 + 7;
                let expected = fold.take(sequence, a, &names, &mut part, |_| {});
                prop_assert_eq!(gathered.take(sequence, b, &names), expected);
            }
            let found = (gathered.first_sequence, gathered.last_sequence);
            prop_assert_eq!(found, (part.first_sequence, part.last_sequence));
            prop_assert_eq!(gathered.dots(), part.dots);
            let (mut series, mut before, mut dots) = (gathered.into_series(), None, 0);
            while let Some((name, runs, latest)) = series.next() {
                prop_assert!(before.as_ref() < Some(&name));
                let ((explicit, commits), clock, expected) = part.get(name.as_str()).unwrap().clone().into_columns();
                prop_assert_eq!(values(&runs.explicit), values(&explicit));
                prop_assert_eq!(values(&runs.clock), values(&clock));
                prop_assert_eq!(&runs.commits, &commits);
                prop_assert_eq!(latest, expected);
                dots += (runs.explicit.len() + runs.clock.len()) as u64;
                before = Some(name);
            }
            prop_assert_eq!(dots, part.dots);
        }
    }
}
