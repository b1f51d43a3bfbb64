//! The new segments of a merge: one for each slot of its cut, several where a slot is large.
//!
//! Always true: at most [`OPEN_MAX`] segments are being written at a time, since each has buffers of its own. Where a
//! cut has more slots, the merge makes several passes over its series, each for some of the slots.

use std::ops::Range;

use std::time::Duration;

use dotter_dot::{Column, SeriesName, Shape, TimeRange, Timestamp};

use crate::disk::layout::Layout;
use crate::error::Error;
use crate::format::ledger::Totals;
use crate::format::segment::{ChunkRef, Meta};
use crate::format::step::Step;
use crate::read::segment::Segment;
use crate::write::compaction::cut::{Cut, Held, Slots};
use crate::write::segment::{SegmentWriter, Unlisted};

/// The most segments that are being written at a time.
const OPEN_MAX: usize = 12;
/// A segment with a place that has so many bytes is ended before the next series.
pub(super) const LARGE_BYTES: u64 = 1 << 30;

/// The new segments.
pub(crate) struct Outputs<'a> {
    layout: Layout,
    level: u32,
    pub(super) chunk_dots: usize,
    cut: Cut<'a>,
    /// The slots that are written in this pass.
    pass: Range<usize>,
    open: Vec<Option<Output>>,
    done: Vec<Unlisted>,
    /// The numbers of the segments that these replace, and the edit whose tombstones are applied.
    replaced: (Vec<u64>, u64),
    large_bytes: u64,
    scratch: Column,
}

struct Output {
    writer: SegmentWriter,
    /// The series that was added last.
    series: Option<SeriesName>,
}

/// The series that is being rewritten.
pub(crate) struct Series {
    pub(crate) name: SeriesName,
    /// The shape of its dot that was committed last.
    pub(super) latest: Shape,
    slots: Slots,
    /// First and last moment of this pass, both included.
    first: u64,
    last: u64,
}

impl Series {
    fn slot(&self, time: u64) -> usize {
        self.slots[self.slots.partition_point(|(from, _)| *from <= time) - 1].1
    }

    /// The time at which the slot behind that of `time` begins; `None` where there is none.
    fn next(&self, time: u64) -> Option<u64> {
        self.slots.get(self.slots.partition_point(|(from, _)| *from <= time)).map(|(from, _)| *from)
    }

    /// Whether a moment belongs to this pass.
    pub(super) fn is_now(&self, time: u64) -> bool {
        (self.first..=self.last).contains(&time)
    }

    /// Whether any moment between two belongs to this pass.
    pub(super) fn meets(&self, first: u64, last: u64) -> bool {
        first <= self.last && self.first <= last
    }

    /// Whether everything between two moments belongs to one slot of this pass.
    pub(super) fn is_one_slot(&self, first: u64, last: u64) -> bool {
        self.is_now(first) && self.is_now(last) && self.slot(first) == self.slot(last)
    }

    /// The stretch of time of this pass.
    pub(crate) fn range(&self) -> TimeRange {
        let until = Timestamp::from_nanos(self.last).saturating_add(Duration::from_nanos(1));
        TimeRange::new(Timestamp::from_nanos(self.first), until)
    }

    /// The places of those sorted times that belong to this pass.
    pub(super) fn now(&self, times: &[u64]) -> Range<usize> {
        times.partition_point(|time| *time < self.first)..times.partition_point(|time| *time <= self.last)
    }
}

impl<'a> Outputs<'a> {
    /// - `level`: how often the dots of its segments have been merged
    /// - `replaced`: the numbers of the segments that these replace, and the edit whose tombstones are applied
    pub(crate) fn new(
        layout: &Layout,
        level: u32,
        chunk_dots: usize,
        cut: Cut<'a>,
        replaced: (Vec<u64>, u64),
    ) -> Outputs<'a> {
        let open = (0..cut.len()).map(|_| None).collect();
        let pass = 0..cut.len().min(OPEN_MAX);
        let (layout, done, large_bytes) = (layout.clone(), Vec::new(), LARGE_BYTES);
        let scratch = Column::default();
        Outputs { layout, level, chunk_dots, cut, pass, open, done, replaced, large_bytes, scratch }
    }

    #[cfg(test)]
    pub(super) fn with_large(mut self, bytes: u64) -> Self {
        self.large_bytes = bytes;
        self
    }

    /// How many passes over all series it takes.
    pub(super) fn passes(&self) -> usize {
        self.cut.len().div_ceil(OPEN_MAX).max(1)
    }

    /// Ends a pass; `false` where it was the last one.
    pub(crate) fn next_pass(&mut self) -> Result<bool, Error> {
        if self.pass.end == self.cut.len() {
            return Ok(false);
        }
        for slot in self.pass.clone() {
            if let Some(output) = self.open[slot].take() {
                self.finish(output.writer, slot, Totals::default())?;
            }
        }
        self.pass = self.pass.end..self.cut.len().min(self.pass.end + OPEN_MAX);
        Ok(true)
    }

    /// A series to be written; `None` where none of it belongs to this pass.
    ///
    /// - `cutoff`: the moment before which its dots are too old
    /// - `latest`: the shape of its dot that was committed last
    pub(crate) fn series(&self, name: SeriesName, latest: Shape) -> Option<Series> {
        let slots = self.cut.slots(&name);
        let mut now = slots.iter().filter(|(_, slot)| self.pass.contains(slot));
        let first = now.next()?.0;
        let next = slots.iter().find(|(_, slot)| *slot >= self.pass.end);
        let last = next.map_or(u64::MAX, |(from, _)| from - 1);
        Some(Series { name, latest, slots, first, last })
    }

    /// The segment of a slot, with this series begun.
    fn at(&mut self, slot: usize, series: &Series) -> Result<&mut SegmentWriter, Error> {
        let is_full = |output: &Output| {
            output.series.as_ref() != Some(&series.name) && output.writer.bytes() >= self.large_bytes
        };
        if self.cut.place(slot).place.is_some()
            && let Some(full) = self.open[slot].take_if(|output| is_full(output))
        {
            self.finish(full.writer, slot, Totals::default())?;
        }
        let output = self.open[slot].get_or_insert_with(|| Output {
            writer: SegmentWriter::new(&self.layout, self.level, self.chunk_dots).paced(),
            series: None,
        });
        if output.series.as_ref() != Some(&series.name) {
            output.writer.begin(series.name.clone(), series.latest.clone())?;
            output.series = Some(series.name.clone());
        }
        output.writer.latest(&series.latest);
        Ok(&mut output.writer)
    }

    /// Adds sorted dots. Series come in the order of their names, and of a series the dots with explicit times come
    /// first.
    pub(super) fn add(&mut self, series: &Series, dots: &Column, clock: bool) -> Result<(), Error> {
        let mut start = 0;
        while start < dots.len() {
            let time = dots.times()[start];
            let end = match series.next(time) {
                Some(next) => start + dots.times()[start..].partition_point(|time| *time < next),
                None => dots.len(),
            };
            let slot = series.slot(time);
            if end - start == dots.len() {
                return self.at(slot, series)?.add(dots, clock);
            }
            let mut part = std::mem::take(&mut self.scratch);
            part.clear();
            part.extend(dots, start..end);
            self.at(slot, series)?.add(&part, clock)?;
            self.scratch = part;
            start = end;
        }
        Ok(())
    }

    /// Copies a chunk, which lies in one slot; its values stay the bytes that they are.
    pub(super) fn copy(&mut self, series: &Series, from: &Segment, chunk: &ChunkRef) -> Result<(), Error> {
        let copied = from.copy(chunk)?;
        let slot = series.slot(chunk.first.nanos());
        self.at(slot, series)?.copy(copied, chunk, from.shape(chunk))
    }

    fn finish(&mut self, writer: SegmentWriter, slot: usize, gone: Totals) -> Result<(), Error> {
        if writer.is_empty() {
            return Ok(());
        }
        let meta = self.meta(self.cut.place(slot), gone);
        self.done.push(writer.finish(&meta)?);
        Ok(())
    }

    fn meta(&self, Held { place, held }: Held, gone: Totals) -> Meta {
        let (replaced, purged) = (self.replaced.0.clone(), self.replaced.1);
        Meta { replaced, purged, gone, place, held, ..Meta::default() }
    }

    /// Adds steps of a series, oldest first, all of this pass.
    pub(crate) fn add_steps(&mut self, series: &Series, steps: &[Step]) -> Result<(), Error> {
        let (clock, explicit) = Step::columns(steps, series.latest.unit(), series.latest.kind());
        self.add(series, &explicit, false)?;
        self.add(series, &clock, true)
    }

    /// Whether the slot of a moment of a series may hold it.
    pub(crate) fn holds(&self, series: &Series, time: u64) -> bool {
        let time = Timestamp::from_nanos(time);
        let place = self.cut.place(series.slot(time.nanos())).place;
        place.is_none_or(|place| place.holds(time, time))
    }

    /// Whether there is no slot at all.
    pub(crate) fn is_nothing(&self) -> bool {
        self.cut.len() == 0
    }

    /// Finishes all segments that have any dots.
    ///
    /// - `gone`: what has become of the other dots; the first segment that is finished here tells it
    /// - `cancel`: asked after each
    pub(crate) fn into_unlisted(
        mut self,
        gone: Totals,
        cancel: &dyn Fn() -> bool,
    ) -> Result<Vec<Unlisted>, Error> {
        let mut gone = Some(gone);
        for slot in 0..self.open.len() {
            let Some(output) = self.open[slot].take().filter(|output| !output.writer.is_empty()) else {
                continue;
            };
            self.finish(output.writer, slot, gone.take().unwrap_or_default())?;
            if cancel() {
                return Err(Error::GivenUp);
            }
        }
        Ok(self.done)
    }
}
