//! One dot as it is read, with all its columns.

use dotter_dot::{Cells, Column, Rows, Shape, Timestamp};

/// One dot with all its columns.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    pub(super) time: Timestamp,
    pub(super) clock: bool,
    pub(super) shape: &'a Shape,
    pub(super) run: &'a Column,
    pub(super) index: usize,
}

impl<'a> Row<'a> {
    /// The dots of a column, in its order.
    pub(crate) fn of_column(run: &'a Column, clock: bool) -> impl Iterator<Item = Row<'a>> {
        run.parts(0..run.len()).flat_map(move |(part, shape)| {
            part.map(move |index| Row {
                time: Timestamp::from_nanos(run.times()[index]),
                clock,
                shape,
                run,
                index,
            })
        })
    }

    /// Its time.
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// The same row, with its time moved to `time` if it is earlier.
    pub(crate) fn not_before(self, time: Timestamp) -> Row<'a> {
        Row { time: self.time.max(time), ..self }
    }

    /// Whether it is kept beside all others: the clock stamped it, or it is a text of a ring. Equal times of numbers among
    /// these are spread by 1 ns each.
    pub fn is_clock(&self) -> bool {
        self.clock
    }

    /// Its shape.
    pub fn shape(&self) -> &'a Shape {
        self.shape
    }

    /// The values of its columns.
    pub fn cells(&self) -> Cells<'a> {
        self.run.values(self.index, self.shape)
    }

    /// Its word, if its format is one number.
    pub fn word(&self) -> Option<u64> {
        self.shape.word().map(|_| self.run.words()[self.index])
    }

    /// Its row bytes; empty if its format is one number.
    pub fn row_bytes(&self) -> &'a [u8] {
        if self.shape.word().is_some() { &[] } else { self.run.row(self.index) }
    }

    /// Whether it is a text that did not pass the test of [`Scan::rows_tested`](crate::read::scan::Scan::rows_tested): then it has no cells.
    pub(crate) fn is_left_out(&self) -> bool {
        Rows::length(self.run.words()[self.index]) == 0 && self.shape.word().is_none()
    }

    /// How many observations it stands for: one, but in a weighted row ([`Shape::is_weighted`]) what that says, which
    /// may be none.
    pub fn weight(&self) -> u64 {
        self.run.weight(self.index, self.shape)
    }

    /// The f64 nearest to its first number; `None` where it has no number.
    pub fn number(&self) -> Option<f64> {
        self.cells().number()
    }
}
