//! The part of the log that no segment holds yet, as a reader sees it: dots by series.
//!
//! Parts are never changed once a snapshot has them; where there are more than a few, neighbours are merged into one
//! as they come, so that they stay few however often a reader looks.

use std::collections::HashMap;
use std::sync::Arc;

use dotter_dot::{Column, SeriesName, Shape};

use crate::format::listing::Order;
use crate::format::tombstone::{self, Spans, Tombstone};

/// So many parts cost a read next to nothing, while to merge them costs opening a store with a long log a third.
const PARTS_FEW: usize = 4;

/// Dots of consecutive frames of one WAL file.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeadPart {
    pub(crate) first_sequence: u64,
    pub(crate) last_sequence: u64,
    pub(crate) dots: u64,
    places: HashMap<SeriesName, u32>,
    /// One may be empty: whose values made no sense.
    series: Vec<HeadSeries>,
}

/// One series' dots in the order of their commit.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeadSeries {
    explicit: Column,
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

    /// Dots by whether the clock stamped them.
    pub(crate) fn run(&self, clock: bool) -> &Column {
        if clock { &self.clock } else { &self.explicit }
    }

    /// Its dots of explicit times, its clock stamps, and the shape of the dot committed last.
    pub(crate) fn into_columns(self) -> (Column, Column, Shape) {
        (self.explicit, self.clock, self.latest)
    }

    /// Makes room for so many dots more, explicit ones and clock stamps.
    pub(crate) fn reserve(&mut self, counts: [u32; 2]) {
        self.explicit.reserve(counts[0] as usize);
        self.clock.reserve(counts[1] as usize);
    }

    /// Lets `fill` append dots, which give back how many they are, `shape` being that of the last of them.
    pub(crate) fn fill<T>(&mut self, clock: bool, shape: &Shape, fill: impl FnOnce(&mut Column) -> T) -> T {
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
        }
        filled
    }
}

impl HeadPart {
    /// Where it stands among the commits.
    pub(crate) fn order(&self) -> Order {
        Order { sequence: self.last_sequence, generation: 0 }
    }

    /// When its dots of a series are hidden.
    pub(crate) fn hidden(&self, tombstones: &[Tombstone], name: &str) -> Spans {
        tombstone::hidden(tombstones, name, self.order(), 0)
    }

    /// The dots of a series, if it has any.
    pub(crate) fn get(&self, name: &str) -> Option<&HeadSeries> {
        let place = self.places.get(name)?;
        Some(&self.series[*place as usize]).filter(|series| series.len() > 0)
    }

    /// Where the dots of a series go, with or without any so far.
    pub(crate) fn place(&mut self, name: &SeriesName) -> u32 {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        let place = self.series.len() as u32;
        self.places.insert(name.clone(), place);
        self.series.push(HeadSeries::default());
        place
    }

    /// The series at a place that [`HeadPart::place`] gave.
    pub(crate) fn at(&mut self, place: u32) -> &mut HeadSeries {
        &mut self.series[place as usize]
    }

    /// Every series that has dots, in the order of their names.
    pub(crate) fn into_series(mut self) -> impl Iterator<Item = (SeriesName, HeadSeries)> {
        let mut places: Vec<(SeriesName, u32)> = self.places.into_iter().collect();
        places.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        places.into_iter().filter_map(move |(name, place)| {
            let series = std::mem::take(&mut self.series[place as usize]);
            (series.len() > 0).then_some((name, series))
        })
    }

    /// Adds what was committed behind it.
    fn append(&mut self, later: &HeadPart) {
        self.last_sequence = later.last_sequence;
        self.dots += later.dots;
        for (name, place) in &later.places {
            let theirs = &later.series[*place as usize];
            let place = self.place(name);
            let ours = self.at(place);
            for clock in [false, true] {
                let run = theirs.run(clock);
                ours.fill(clock, &theirs.latest, |ours| ours.extend(run, 0..run.len()));
            }
        }
    }
}

/// Adds a part behind the others; where they are more than a few, merges neighbours as long as the one behind is
/// not much the smaller.
///
/// - `splits`: sequences of commits of other processes; what stands on both sides of one stays apart
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
