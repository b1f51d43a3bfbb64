//! A lane in the hands of the application.

use std::sync::Arc;

use dotter_dot::Timestamp;
use dotter_ring::{Number, SlowPath};

use crate::handle::Handle;
use crate::home::Home;
use crate::local;
use crate::seat::Seat;
use crate::slowly::publish_slowly;
use crate::write::{Cells, CellsAt, Dot, DotAt, Line, LineAt, Raw, RawAt, Write};
use crate::{AnyRow, Bytes, Columns, Row, Series, Text};

/// A lane of its own for a thread with much to publish: the fastest way there is.
///
/// Goes back to the ring when dropped; another thread then continues in it.
pub struct Lane {
    home: Arc<Home>,
    /// `None` only while it is exchanged.
    seat: Option<Seat>,
}

impl Lane {
    pub(crate) fn take(inside: &SlowPath, home: &Arc<Home>) -> Lane {
        let seat = Seat::take(inside, home.ring(inside));
        Lane { home: Arc::clone(home), seat: Some(seat) }
    }

    /// Publishes a value, now.
    #[inline]
    pub fn dot<N: Number>(&mut self, series: &Series<N>, value: N) {
        self.publish(series.handle(), Dot(value));
    }

    /// Publishes a value of another time.
    #[inline]
    pub fn dot_at<N: Number>(&mut self, series: &Series<N>, time: Timestamp, value: N) {
        self.publish(series.handle(), DotAt(time.nanos(), value));
    }

    /// Publishes a line of text, now; see [`Text::line`].
    #[inline]
    pub fn line(&mut self, series: &Text, line: &str) {
        self.publish(series.handle(), Line(line));
    }

    /// Publishes a line of text of another time.
    #[inline]
    pub fn line_at(&mut self, series: &Text, time: Timestamp, line: &str) {
        self.publish(series.handle(), LineAt(time.nanos(), line));
    }

    /// Publishes raw bytes, now; see [`Bytes::dot`].
    #[inline]
    pub fn bytes(&mut self, series: &Bytes, bytes: &[u8]) {
        self.publish(series.handle(), Raw(bytes));
    }

    /// Publishes raw bytes of another time.
    #[inline]
    pub fn bytes_at(&mut self, series: &Bytes, time: Timestamp, bytes: &[u8]) {
        self.publish(series.handle(), RawAt(time.nanos(), bytes));
    }

    /// Publishes a row, now.
    #[inline]
    pub fn row<C: Columns>(&mut self, series: &Row<C>, values: C) {
        self.publish(series.handle(), Cells(values.to_words()));
    }

    /// Publishes a row of another time.
    #[inline]
    pub fn row_at<C: Columns>(&mut self, series: &Row<C>, time: Timestamp, values: C) {
        self.publish(series.handle(), CellsAt(time.nanos(), values.to_words()));
    }

    /// Publishes a row of columns that are known only now; see [`AnyRow::dot`].
    #[inline]
    pub fn any_row(&mut self, series: &AnyRow, words: &[u64]) {
        if series.fits(words) {
            self.publish(series.handle(), Cells(words));
        }
    }

    /// Publishes such a row of another time.
    #[inline]
    pub fn any_row_at(&mut self, series: &AnyRow, time: Timestamp, words: &[u64]) {
        if series.fits(words) {
            self.publish(series.handle(), CellsAt(time.nanos(), words));
        }
    }

    #[inline(always)]
    fn publish(&mut self, series: &Handle, write: impl Write) {
        if Arc::ptr_eq(&self.home, &series.home)
            && let Some(id) = series.id
            && let Some(writer) = self.seat.as_mut().and_then(Seat::writer)
            && write.write(writer, id).is_ok()
        {
            return;
        }
        self.publish_otherwise(series, write);
    }

    #[cold]
    #[inline(never)]
    fn publish_otherwise(&mut self, series: &Handle, write: impl Write) {
        if Arc::ptr_eq(&self.home, &series.home) {
            publish_slowly(series, &mut self.seat, &write);
        } else {
            // A series of another publisher knows its own way.
            local::publish(series, write);
        }
    }
}
