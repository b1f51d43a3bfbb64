//! The head: the dots of the live log, which are in no segment yet, in memory and by series.
//!
//! The head is a list of parts. A part never changes once a snapshot has it. Where there are more than a few,
//! neighbours are merged when a new part comes, so that parts stay few however often a reader refreshes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;
use std::sync::Arc;

use dotter_dot::{Column, SeriesName, Shape};

use crate::format::listing::Order;
use crate::format::spans::Spans;
use crate::format::tombstone;
use crate::format::tombstones::Tombstones;
use crate::read::equal::Commits;

/// Up to so many parts are not merged: they slow a read hardly at all, while merging them took a third of the time of
/// opening a store with a long log.
const PARTS_FEW: usize = 4;

/// Dots of consecutive frames of one WAL file.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeadPart {
    pub(crate) first_sequence: u64,
    pub(crate) last_sequence: u64,
    pub(crate) dots: u64,
    places: HashMap<SeriesName, u32>,
    /// A series may have no dots, if its values made no sense.
    series: Vec<HeadSeries>,
}

/// The dots of one series in the order of their commits.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeadSeries {
    explicit: Column,
    /// Of the dots with explicit times, where the texts of each commit begin.
    commits: Commits,
    /// The sequence of the last of these commits.
    last_commit: u64,
    clock: Column,
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// The shape of the dot committed last.
    pub(crate) latest: Shape,
}

impl HeadSeries {
    pub(crate) fn len(&self) -> u64 {
        (self.explicit.len() + self.clock.len()) as u64
    }

    /// The dots that are all kept (those that the clock stamped, and texts of rings), or the others.
    pub(crate) fn run(&self, clock: bool) -> &Column {
        if clock { &self.clock } else { &self.explicit }
    }

    /// The dots with explicit times from one beginning of texts of a commit to the next, in the order of their commits;
    /// with each whether it begins with the texts of a commit.
    pub(crate) fn explicit_parts(&self) -> impl Iterator<Item = (Range<usize>, bool)> {
        let begins = self.commits.iter().map(|begin| *begin as usize);
        let before = 0..begins.clone().next().unwrap_or(self.explicit.len());
        let ends = begins.clone().skip(1).chain([self.explicit.len()]);
        let parts = begins.zip(ends).map(|(begin, end)| (begin..end, true));
        [(before, false)].into_iter().chain(parts).filter(|(part, _)| !part.is_empty())
    }

    /// Its dots with explicit times, with where the texts of each commit begin among them; its dots that are all kept;
    /// and the shape of the dot committed last.
    pub(crate) fn into_columns(self) -> ((Column, Commits), Column, Shape) {
        ((self.explicit, self.commits), self.clock, self.latest)
    }

    /// Reserves memory for so many further dots: with explicit times, and those that are all kept.
    pub(crate) fn reserve(&mut self, counts: [u32; 2]) {
        self.explicit.reserve(counts[0] as usize);
        self.clock.reserve(counts[1] as usize);
    }

    /// Calls `fill` with the column of a kind, to append dots of one commit and one shape.
    ///
    /// - `clock`: whether all of them are kept
    /// - `sequence`: of the commit
    pub(crate) fn fill<T>(
        &mut self,
        clock: bool,
        sequence: u64,
        shape: &Shape,
        fill: impl FnOnce(&mut Column) -> T,
    ) -> T {
        let was_empty = self.len() == 0;
        let run = if clock { &mut self.clock } else { &mut self.explicit };
        let before = run.len();
        let filled = fill(run);
        let new = &run.times()[before..];
        if let (Some(first), Some(last)) = (new.iter().min(), new.iter().max()) {
            self.first = if was_empty { *first } else { self.first.min(*first) };
            self.last = self.last.max(*last);
            if !self.latest.is(shape) {
                self.latest = shape.clone();
            }
            let is_begun = self.last_commit == sequence && !self.commits.is_empty();
            if !clock && !is_begun && shape.is_text() {
                self.commits.push(before as u32);
                self.last_commit = sequence;
            }
        }
        filled
    }

    /// Appends the dots that were committed right behind these.
    fn append(&mut self, later: &HeadSeries) {
        if later.len() == 0 {
            return;
        }
        self.first = if self.len() == 0 { later.first } else { self.first.min(later.first) };
        self.last = self.last.max(later.last);
        self.latest = later.latest.clone();
        let before = self.explicit.len() as u32;
        if !later.commits.is_empty() {
            self.commits.extend(later.commits.iter().map(|begin| before + begin));
            self.last_commit = later.last_commit;
        }
        self.explicit.extend(&later.explicit, 0..later.explicit.len());
        self.clock.extend(&later.clock, 0..later.clock.len());
    }
}

impl HeadPart {
    /// Its place in the order of commits.
    pub(crate) fn order(&self) -> Order {
        Order { sequence: self.last_sequence, generation: 0 }
    }

    /// The spans of time in which its dots of a series are hidden.
    pub(crate) fn hidden(&self, tombstones: &Tombstones, name: &str) -> Spans {
        tombstone::hidden(tombstones, name, self.order(), 0)
    }

    /// The dots of a series, if it has any.
    pub(crate) fn get(&self, name: &str) -> Option<&HeadSeries> {
        let place = self.places.get(name)?;
        Some(&self.series[*place as usize]).filter(|series| series.len() > 0)
    }

    /// The place of a series in the part; an unknown series is added.
    pub(crate) fn place(&mut self, name: &SeriesName) -> u32 {
        // The name is hashed once: this is most of what a part of many series with few dots each costs.
        match self.places.entry(name.clone()) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                self.series.push(HeadSeries::default());
                *new.insert(self.series.len() as u32 - 1)
            }
        }
    }

    /// The series at a place that [`HeadPart::place`] gave.
    pub(crate) fn at(&mut self, place: u32) -> &mut HeadSeries {
        &mut self.series[place as usize]
    }

    /// Appends the part that was committed right behind this one.
    fn append(&mut self, later: &HeadPart) {
        self.last_sequence = later.last_sequence;
        self.dots += later.dots;
        for (name, place) in &later.places {
            let theirs = &later.series[*place as usize];
            let place = self.place(name);
            self.at(place).append(theirs);
        }
    }
}

/// Adds a part behind the others. Where there are more than a few, merges the last two as long as the later one is
/// not much smaller.
///
/// - `splits`: sequences of foreign commits; parts on different sides of one are not merged
pub(crate) fn push(parts: &mut Vec<Arc<HeadPart>>, part: HeadPart, splits: &[u64]) {
    parts.push(Arc::new(part));
    while let [.., before, last] = &parts[..]
        && parts.len() > PARTS_FEW
    {
        let split = |commit: &u64| (before.last_sequence..last.first_sequence).contains(commit);
        if last.dots * 2 < before.dots || splits.iter().any(split) {
            return;
        }
        let last = parts.pop().expect("there are two");
        let before = parts.last_mut().expect("there are two");
        Arc::make_mut(before).append(&last);
    }
}
