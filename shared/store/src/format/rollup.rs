//! A step of an archive: least, greatest, sum, count and last of the numbers in it.

use std::sync::LazyLock;
use std::time::Duration;

use dotter_dot::{Cell, Column, Format, Shape, Timestamp, Value};

/// The finite numbers of one step of a series, put together.
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
    /// From how many steps of archives it is made; 1 where it is made from dots.
    pub steps: u64,
    /// How much time these steps cover.
    pub width: Duration,
}

/// The shape of a step in a segment.
static SHAPE: LazyLock<Shape> = LazyLock::new(|| {
    let format = Format::new("FFFUF").expect("five letters");
    Shape::new(format, "", &["min", "max", "sum", "count", "last"]).expect("five columns")
});

impl Rollup {
    /// The shape of archives.
    pub(crate) fn shape() -> &'static Shape {
        &SHAPE
    }

    /// Appends it as a row.
    pub(crate) fn put(&self, run: &mut Column) {
        let words =
            [self.min.to_bits(), self.max.to_bits(), self.sum.to_bits(), self.count, self.last.to_bits()];
        let mut row = [0; 40];
        for (bytes, word) in row.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        run.push(&SHAPE, self.time, Cell::Row(&row));
    }

    /// Reads the row at `index`; `None` where it is of another shape.
    ///
    /// - `step`: the step of the archive, in nanoseconds
    pub(crate) fn take(run: &Column, index: usize, step: u64) -> Option<Rollup> {
        let shape = run.shape_at(index);
        let mut cells = run.values(index, shape);
        let mut float = || match cells.next() {
            Some(Value::F64(value)) => Some(value),
            _ => None,
        };
        let (min, max, sum) = (float()?, float()?, float()?);
        let (Some(Value::U64(count)), Some(Value::F64(last))) = (cells.next(), cells.next()) else {
            return None;
        };
        let (time, width) = (Timestamp::from_nanos(run.times()[index]), Duration::from_nanos(step));
        Some(Rollup { time, min, max, sum, count, last, steps: 1, width })
    }

    /// Adds a later step.
    pub(crate) fn absorb(&mut self, later: &Rollup) {
        self.min = self.min.min(later.min);
        self.max = self.max.max(later.max);
        self.sum += later.sum;
        self.count += later.count;
        self.last = later.last;
        self.steps += later.steps;
        self.width += later.width;
    }
}

/// Makes steps from numbers or finer steps, which come in the order of time.
pub(crate) struct Fold {
    step: u64,
    open: Option<Rollup>,
}

impl Fold {
    /// - `step`: in nanoseconds, at least one
    pub(crate) fn new(step: u64) -> Fold {
        Fold { step, open: None }
    }

    /// Adds a number; returns the step before, if this number begins a new one. Numbers that are not finite are left
    /// out.
    pub(crate) fn number(&mut self, time: Timestamp, number: f64) -> Option<Rollup> {
        let (min, max, sum, last) = (number, number, number, number);
        let own = Rollup { time, min, max, sum, count: 1, last, steps: 0, width: Duration::ZERO };
        if number.is_finite() { self.rollup(own) } else { None }
    }

    /// Adds a finer step, which lies in one coarse step; returns the coarse step before, if a new one begins.
    pub(crate) fn rollup(&mut self, mut finer: Rollup) -> Option<Rollup> {
        finer.time = Timestamp::from_nanos(finer.time.nanos() / self.step * self.step);
        match &mut self.open {
            Some(open) if open.time == finer.time => {
                open.absorb(&finer);
                None
            }
            open => open.replace(finer).map(|done| whole(done, self.step)),
        }
    }

    /// The last step.
    pub(crate) fn end(&mut self) -> Option<Rollup> {
        self.open.take().map(|done| whole(done, self.step))
    }
}

/// Finishes a step: one made from dots counts as one step, and no step covers more time than its width.
fn whole(done: Rollup, step: u64) -> Rollup {
    let step = Duration::from_nanos(step);
    match done.steps {
        0 => Rollup { steps: 1, width: step, ..done },
        _ => Rollup { width: done.width.min(step), ..done },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fold_into_steps_and_rows_come_back() {
        let mut fold = Fold::new(10);
        let mut run = Column::default();
        for (time, number) in [(3, 1.0), (5, f64::NAN), (9, -4.0), (10, 2.0), (35, 7.0), (36, f64::INFINITY)]
        {
            if let Some(done) = fold.number(Timestamp::from_nanos(time), number) {
                done.put(&mut run);
            }
        }
        fold.end().unwrap().put(&mut run);
        assert!(fold.end().is_none());
        let rows: Vec<_> = (0..run.len()).map(|index| Rollup::take(&run, index, 10).unwrap()).collect();
        let at = |time, min, max, sum, count, last| Rollup {
            time: Timestamp::from_nanos(time),
            min,
            max,
            sum,
            count,
            last,
            steps: 1,
            width: Duration::from_nanos(10),
        };
        let expected =
            [at(0, -4.0, 1.0, -3.0, 2, -4.0), at(10, 2.0, 2.0, 2.0, 1, 2.0), at(30, 7.0, 7.0, 7.0, 1, 7.0)];
        assert_eq!(rows, expected);
        let mut coarse = Fold::new(20);
        let two = Rollup { steps: 2, width: Duration::from_nanos(20), ..at(0, -4.0, 2.0, -1.0, 3, 2.0) };
        assert_eq!(coarse.rollup(rows[0]), None);
        assert_eq!(coarse.rollup(rows[1]), None);
        assert_eq!(coarse.rollup(rows[2]), Some(two));
        assert_eq!(coarse.end(), Some(at(20, 7.0, 7.0, 7.0, 1, 7.0)));
    }
}
