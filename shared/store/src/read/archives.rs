//! Reading steps: from the coarsest archive that has them, and from dots where no archive has.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use dotter_dot::{Column, TimeRange, Timestamp};

use crate::error::Error;
use crate::format::archive::Archive;
use crate::format::rollup::{Fold, Rollup};
use crate::format::tombstone::{self, Spans, Tombstone};
use crate::read::segment::Segment;
use crate::read::snapshot::Snapshot;

/// A window of an archive, open for reading.
#[derive(Clone)]
pub(crate) struct OpenArchive {
    pub(crate) window: Archive,
    pub(crate) segment: Arc<Segment>,
}

impl OpenArchive {
    /// Whether tombstones hide all its steps of a series.
    pub(crate) fn is_hidden(&self, tombstones: &[Tombstone], name: &str) -> bool {
        let window = &self.window;
        tombstone::hidden(tombstones, name, window.order, 0).covers(window.from, window.until - 1)
    }
}

impl Snapshot {
    /// The numbers of a series put together by steps, for every step of `range` that has a finite number, oldest
    /// first.
    ///
    /// - `range`: rounded outwards to whole steps
    /// - `step`: at least a nanosecond; steps begin at its multiples since 1970
    ///
    /// Each part of the range is read from the coarsest archive whose step divides `step`, else from the dots. A late
    /// dot of a window of an archive counts there once the window has been computed again. A step of which a part was
    /// deleted stays as it was if its dots had expired by then.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::read`].
    pub fn rollups(&self, name: &str, range: TimeRange, step: Duration) -> Result<Vec<Rollup>, Error> {
        let step = u64::try_from(step.as_nanos()).unwrap_or(u64::MAX).max(1);
        if range.is_empty() || !self.contains(name) {
            return Ok(Vec::new());
        }
        let from = range.from.nanos() / step * step;
        let until = range.until.nanos().checked_next_multiple_of(step).unwrap_or(u64::MAX);
        // The time that archives have covered, so that no dot counts twice.
        let mut taken = Spans::default();
        let mut found: Vec<Rollup> = Vec::new();
        let mut windows: Vec<&OpenArchive> = self
            .inner
            .archives
            .iter()
            .filter(|open| step.is_multiple_of(open.window.step))
            .filter(|open| open.window.from < until && from < open.window.until)
            .collect();
        windows.sort_by_key(|open| std::cmp::Reverse(open.window.step));
        for open in windows {
            self.take_window(open, name, (from, until), &mut taken, &mut found)?;
        }
        let mut scan = self.scan();
        for (from, until) in taken.gaps(from, until) {
            let range = TimeRange::new(Timestamp::from_nanos(from), Timestamp::from_nanos(until));
            let mut fold = Fold::new(step);
            // A step that begins before the gap comes behind the steps of archives that are in it.
            let within = |done: Rollup| Rollup { time: done.time.max(range.from), ..done };
            scan.rows(name, range, |row| {
                let done = row.number().and_then(|number| fold.number(row.time(), number));
                found.extend(done.map(within));
                ControlFlow::Continue(())
            })?;
            found.extend(fold.end().map(within));
        }
        found.sort_by_key(|rollup| rollup.time);
        let mut fold = Fold::new(step);
        let mut folded: Vec<Rollup> = found.into_iter().filter_map(|finer| fold.rollup(finer)).collect();
        folded.extend(fold.end());
        Ok(folded)
    }

    /// Adds those steps of one window that no coarser archive has.
    fn take_window(
        &self,
        open: &OpenArchive,
        name: &str,
        (from, until): (u64, u64),
        taken: &mut Spans,
        found: &mut Vec<Rollup>,
    ) -> Result<(), Error> {
        let OpenArchive { window, segment } = open;
        let hidden = tombstone::hidden(&self.inner.manifest.tombstones, name, window.order, 0);
        let mut rows = Column::default();
        // What is damaged is read from finer archives and from dots.
        let mut damaged = Spans::default();
        let listed = segment.chunks(name, None, |chunk| {
            if let Ok(None) | Err(_) = self.inner.or_left_out(segment.read(&chunk, &mut rows)) {
                damaged.add(chunk.first.nanos(), chunk.last.nanos().saturating_add(window.step - 1));
            }
        });
        self.inner.or_left_out(listed)?;
        if rows.is_empty() {
            return Ok(());
        }
        let mut fresh = Spans::default();
        for index in 0..rows.len() {
            let Some(rollup) = Rollup::take(&rows, index, window.step) else { continue };
            let (first, last) = (rows.times()[index], rows.times()[index].saturating_add(window.step - 1));
            if first < from || last >= until || taken.meets(first, last) || hidden.covers(first, last) {
                continue;
            }
            // A part of the step was deleted and the archive does not know which dots: read dots as long as they are
            // there.
            if hidden.meets(first, last) && self.lives(name, first) {
                continue;
            }
            fresh.add(first, last);
            found.push(rollup);
        }
        // A step that the window does not have had no number, except for those that are now read from dots.
        for (first, until) in taken.gaps(window.from.max(from), window.until.min(until)) {
            for (first, until) in damaged.gaps(first, until) {
                if !hidden.meets(first, until - 1) {
                    fresh.add(first, until - 1);
                }
            }
        }
        fresh.each(|first, last| taken.add(first, last));
        Ok(())
    }

    /// Whether the series still has a dot at this time or before.
    fn lives(&self, name: &str, time: u64) -> bool {
        self.span(name).is_some_and(|(first, _)| first.nanos() <= time)
    }
}
