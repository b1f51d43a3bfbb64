//! Steps: what their rows hold, how dots and finer steps become steps, how rows of one step become one.
//!
//! A step has a row for the dots that are kept beside all others (*clock*) and one for those with explicit times, or
//! only one of the two. Rings deliver exactly once, so clock rows of a step are added. Dots with explicit times may
//! come again, so a row of them may take the place of an earlier one.
//!
//! Always true of what a fold makes: a step has a row; `acc` and `known` are counted over both kinds of dots together
//! and stand in the clock row where there is one, and are 0 in the other then.
//!
//! Nothing here reads a file.

mod chain;
mod counting;
mod fold;
mod row;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::time::Duration;

use dotter_dot::{Column, Kind, Shape, Timestamp};

pub(crate) use chain::{Chain, Level, levels};
pub(crate) use counting::{Counting, Values};
pub(crate) use fold::{DotFold, DotIn, StepFold};
pub(crate) use row::StepRow;

/// The rows of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Step {
    /// Where it begins, in nanoseconds.
    pub(crate) time: u64,
    /// The dots that are kept beside all others.
    pub(crate) clock: Option<StepRow>,
    /// The dots with explicit times.
    pub(crate) explicit: Option<StepRow>,
    /// How its values become one number.
    pub(crate) counting: Counting,
}

/// Which of two rows of dots with explicit times stay.
enum Stays {
    Earlier,
    Later,
    Both,
}

impl Step {
    /// A step of one row.
    pub(crate) fn of_row(row: StepRow, counting: Counting, is_clock: bool) -> Step {
        let (clock, explicit) = if is_clock { (Some(row), None) } else { (None, Some(row)) };
        Step { time: row.time, clock, explicit, counting }
    }

    /// Its values, of both rows.
    pub(crate) fn values(&self) -> Values {
        let of = |row: &Option<StepRow>| row.map_or(Values::default(), |row| row.values());
        self.counting.join(of(&self.clock), of(&self.explicit))
    }

    /// Its one number; `None` where too little is known.
    pub(crate) fn value(&self) -> Option<f64> {
        self.counting.value(self.values())
    }

    /// The dots of both rows, and the values.
    pub(crate) fn row(&self) -> StepRow {
        let values = self.values();
        match (self.clock, self.explicit) {
            (Some(mut clock), Some(explicit)) => {
                clock.add_dots(&explicit);
                clock.with(values)
            }
            (Some(row), None) | (None, Some(row)) => row,
            (None, None) => StepRow::number(self.time, self.time, 0.0, 0),
        }
    }

    /// Puts together two steps of the same time, this one committed before `later`.
    ///
    /// Clock rows are added. Of explicit rows the later one takes the place of the earlier one where it has at least
    /// as many dots and known values; the earlier one stays, and the later one goes, where together more values would
    /// be known than a step has; otherwise they are added. Two kinds of rows are known better: a row like the one
    /// before is that one once more and changes nothing, and rows of which one ends before the other begins are added.
    ///
    /// Where the values are counted in two ways, because a rule was changed, those stay of which more are known, with
    /// their way.
    ///
    /// Returns the step, and how many dots are replaced.
    pub(crate) fn combine(mut self, mut later: Step) -> (Step, u64) {
        let mut replaced = 0;
        if let (Some(first), Some(second)) = (&self.explicit, &mut later.explicit) {
            match self.stays(first, second, later.counting, later.clock.is_some()) {
                Stays::Both => {}
                Stays::Earlier => {
                    replaced = second.count;
                    later.explicit = None;
                }
                Stays::Later => {
                    replaced = first.count;
                    let of_clock = self.clock.map_or(0, |clock| clock.known);
                    let possible = self.counting.possible();
                    // The values of the earlier dots were counted with the clock row and stay there.
                    if first.known == 0
                        && of_clock > 0
                        && possible > 0
                        && of_clock.saturating_add(second.known) > possible
                    {
                        *second = second.with(Values::default());
                    }
                    self.explicit = None;
                }
            }
        }
        if self.counting != later.counting {
            let (stay, go) = if self.values().known > later.values().known {
                (&self, &mut later)
            } else {
                (&later, &mut self)
            };
            go.counting = stay.counting;
            for row in [&mut go.clock, &mut go.explicit].into_iter().flatten() {
                *row = row.with(Values::default());
            }
        }
        let counting = self.counting;
        let add = |earlier: Option<StepRow>, later: Option<StepRow>| match (earlier, later) {
            (Some(mut earlier), Some(later)) => {
                earlier.add(&later, &counting);
                Some(earlier)
            }
            (earlier, later) => earlier.or(later),
        };
        let (clock, explicit) = (add(self.clock, later.clock), add(self.explicit, later.explicit));
        (Step { time: self.time, clock, explicit, counting }, replaced)
    }

    fn stays(&self, first: &StepRow, second: &StepRow, counting: Counting, has_clock: bool) -> Stays {
        let is_same_way = self.counting == counting;
        if first.has_dots_of(second) && is_same_way {
            return Stays::Earlier;
        }
        // None of the dots of the one can be among those of the other.
        if first.last_at < second.first_at || second.last_at < first.first_at {
            return Stays::Both;
        }
        let is_its_last = second.last_at == first.last_at && second.last.to_bits() == first.last.to_bits();
        if second.count == 1 && first.count > 1 && is_its_last {
            return Stays::Earlier;
        }
        let possible = counting.possible();
        let known = first.known.saturating_add(second.known);
        let is_more_than_all = is_same_way && possible > 0 && known > possible;
        if second.count < first.count {
            return if is_more_than_all { Stays::Earlier } else { Stays::Both };
        }
        // Values that are counted in two ways do not compare, nor those that stand in a clock row.
        let is_elsewhere = second.known == 0 && (has_clock || self.clock.is_some());
        if second.known >= first.known || is_elsewhere || !is_same_way {
            Stays::Later
        } else {
            Stays::Earlier
        }
    }

    /// Appends its rows, each to the column of its kind.
    ///
    /// - `shape`: of its way of counting, as [`Counting::shape`] makes it
    ///
    /// # Panics
    ///
    /// As [`StepRow::put`].
    pub(crate) fn put(&self, shape: &Shape, clock: &mut Column, explicit: &mut Column) {
        for (row, column) in [(&self.clock, clock), (&self.explicit, explicit)] {
            if let Some(row) = row {
                row.put(shape, column);
            }
        }
    }

    /// The rows of steps, those of dots that are kept beside all others and those of the other dots.
    ///
    /// - `unit`, `kind`: of the series
    pub(crate) fn columns(steps: &[Step], unit: &str, kind: Kind) -> (Column, Column) {
        let (mut clock, mut explicit) = (Column::default(), Column::default());
        let mut known: Option<(Counting, Shape)> = None;
        for step in steps {
            let same = known.take_if(|(counting, _)| *counting == step.counting);
            let (_, shape) =
                known.insert(same.unwrap_or_else(|| (step.counting, step.counting.shape(unit, kind))));
            step.put(shape, &mut clock, &mut explicit);
        }
        (clock, explicit)
    }

    /// The steps of two columns of rows, in the order of time; rows of other shapes are skipped. And how many dots
    /// are replaced.
    ///
    /// - `clock`, `explicit`: in the order of time, rows of one step in the order of their commits
    #[cfg(test)]
    pub(crate) fn gather(clock: &Column, explicit: &Column) -> (Vec<Step>, u64) {
        let (mut clock, mut explicit) = (StepRow::rows(clock).peekable(), StepRow::rows(explicit).peekable());
        let (mut steps, mut replaced): (Vec<Step>, u64) = (Vec::new(), 0);
        loop {
            let is_clock = match (clock.peek(), explicit.peek()) {
                (Some((clock, _)), Some((explicit, _))) => clock.time <= explicit.time,
                (Some(_), None) => true,
                (None, _) => false,
            };
            let next = if is_clock { clock.next() } else { explicit.next() };
            let Some((row, counting)) = next else { return (steps, replaced) };
            let step = Step::of_row(row, counting, is_clock);
            match steps.last_mut() {
                Some(last) if last.time == step.time => {
                    let (both, gone) = last.combine(step);
                    *last = both;
                    replaced = replaced.saturating_add(gone);
                }
                _ => steps.push(step),
            }
        }
    }
}

/// The numbers of one step of a series, put together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rollup {
    /// Where the step begins.
    pub time: Timestamp,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// All of them added up.
    pub sum: f64,
    /// How many.
    pub count: u64,
    /// The latest.
    pub last: f64,
    /// The time of the latest.
    pub last_at: Timestamp,
    /// What the values of the finer tier come to by the rule's method: for average their sum.
    pub acc: f64,
    /// How many of these values are known.
    pub known: u64,
    /// How many of them a whole step has; 0 where that is not known.
    pub possible: u64,
    /// The one number that stands for the step; `None` where less of it is known than the rule wants.
    pub value: Option<f64>,
    /// How wide the step is.
    pub width: Duration,
}

impl Rollup {
    /// - `width`: of the step, in nanoseconds
    pub(crate) fn of(step: &Step, width: u64) -> Rollup {
        let StepRow { time, min, max, sum, count, last, last_at, .. } = step.row();
        let Values { acc, known, .. } = step.counting.settled(step.values());
        Rollup {
            time: Timestamp::from_nanos(time),
            min,
            max,
            sum,
            count,
            last,
            last_at: Timestamp::from_nanos(last_at),
            acc,
            known,
            possible: step.counting.possible(),
            value: step.value(),
            width: Duration::from_nanos(width),
        }
    }
}
