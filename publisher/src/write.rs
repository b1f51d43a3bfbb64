//! What goes into a lane: one record of each kind, on its way there.
//!
//! Types and not closures, because these are to be inlined wherever a dot is published, and a closure cannot say so:
//! a call more doubles what a dot of a given time costs.

use dotter_ring::{LaneWriter, Moved, Number};

/// One record; written again where the ring has moved meanwhile.
pub(crate) trait Write {
    /// Writes it into a lane, for the series of that number.
    fn write(&self, writer: &mut LaneWriter, series: u32) -> Result<(), Moved>;
}

/// A number, now.
pub(crate) struct Dot<N>(pub(crate) N);
/// A number at a time, in nanoseconds since the epoch; likewise below.
pub(crate) struct DotAt<N>(pub(crate) u64, pub(crate) N);
/// A text, now.
pub(crate) struct Line<'a>(pub(crate) &'a str);
/// A text at a time.
pub(crate) struct LineAt<'a>(pub(crate) u64, pub(crate) &'a str);
/// Raw bytes, now.
pub(crate) struct Raw<'a>(pub(crate) &'a [u8]);
/// Raw bytes at a time.
pub(crate) struct RawAt<'a>(pub(crate) u64, pub(crate) &'a [u8]);
/// The words of a row, now.
pub(crate) struct Cells<W>(pub(crate) W);
/// The words of a row at a time.
pub(crate) struct CellsAt<W>(pub(crate) u64, pub(crate) W);

impl<N: Number> Write for Dot<N> {
    #[inline(always)]
    fn write(&self, writer: &mut LaneWriter, series: u32) -> Result<(), Moved> {
        writer.dot(series, self.0)
    }
}

impl<N: Number> Write for DotAt<N> {
    #[inline(always)]
    fn write(&self, writer: &mut LaneWriter, series: u32) -> Result<(), Moved> {
        writer.dot_at(series, self.0, self.1)
    }
}

impl Write for Line<'_> {
    #[inline(always)]
    fn write(&self, writer: &mut LaneWriter, series: u32) -> Result<(), Moved> {
        writer.text(series, self.0)
    }
}

impl Write for LineAt<'_> {
    #[inline(always)]
    fn write(&self, writer: &mut LaneWriter, series: u32) -> Result<(), Moved> {
        writer.text_at(series, self.0, self.1)
    }
}

impl Write for Raw<'_> {
    #[inline(always)]
    fn write(&self, writer: &mut LaneWriter, series: u32) -> Result<(), Moved> {
        writer.bytes(series, self.0)
    }
}

impl Write for RawAt<'_> {
    #[inline(always)]
    fn write(&self, writer: &mut LaneWriter, series: u32) -> Result<(), Moved> {
        writer.bytes_at(series, self.0, self.1)
    }
}

impl<W: AsRef<[u64]>> Write for Cells<W> {
    #[inline(always)]
    fn write(&self, writer: &mut LaneWriter, series: u32) -> Result<(), Moved> {
        writer.row(series, self.0.as_ref())
    }
}

impl<W: AsRef<[u64]>> Write for CellsAt<W> {
    #[inline(always)]
    fn write(&self, writer: &mut LaneWriter, series: u32) -> Result<(), Moved> {
        writer.row_at(series, self.0, self.1.as_ref())
    }
}
