//! A walk over the steps that segments of one tier have of a series.
//!
//! Always true:
//!
//! - the steps come oldest first, each time once, put together in the order of the commits
//! - in memory are the rows of those chunks alone that reach over the moment the walk has come to: at most one of each kind of
//!   each segment. A window may hold any number of steps: steps of a second that are kept for ever have windows of
//!   1,382,400 steps, and a window of late steps, or of those far ahead, has no bound

use dotter_dot::{Column, Kind, TimeRange, Timestamp};

use crate::error::Error;
use crate::format::segment::ChunkRef;
use crate::format::spans::Spans;
use crate::format::step::{Counting, Step, StepRow};
use crate::format::tombstones::Tombstones;
use crate::read::segment::Segment;

/// Told of a chunk that is damaged. What it returns is returned by whoever reads; `Ok` to go on without the chunk.
pub(crate) type LeftOut<'a> = &'a mut dyn FnMut(&ChunkRef, Error) -> Result<(), Error>;

/// For whoever cannot do without a chunk.
pub(crate) fn none_left_out(_: &ChunkRef, error: Error) -> Result<(), Error> {
    Err(error)
}

/// Which rows [`StepWalk::rows`] hands on, and how many at a time.
pub(crate) struct Batches<'a> {
    /// Those of dots that are kept beside all others, or those of dots with explicit times.
    pub(crate) clock: bool,
    /// The most at a time.
    pub(crate) rows_max: usize,
    /// The unit of the series.
    pub(crate) unit: &'a str,
    /// The kind of the series.
    pub(crate) kind: Kind,
    /// Whether the row of the second moment may be handed on together with that of the first.
    pub(crate) is_together: &'a dyn Fn(u64, u64) -> bool,
}

/// The walk.
#[derive(Default)]
pub(crate) struct StepWalk<'a> {
    /// Those that the walk has not come to, in any order while segments are added, then the one that begins first last.
    waiting: Vec<Source<'a>>,
    is_begun: bool,
    /// Those that have rows before and behind the moment that the walk has come to, in the order of the commits. Only these
    /// are looked at for each step.
    open: Vec<Source<'a>>,
    replaced: u64,
    scratch: Column,
}

/// What one segment has of the series.
struct Source<'a> {
    /// Its place in the order of the commits.
    rank: usize,
    segment: &'a Segment,
    hidden: Spans,
    range: TimeRange,
    /// Rows of dots that are kept beside all others, then rows of dots with explicit times.
    runs: [Run; 2],
}

/// The rows of one kind in one segment.
#[derive(Default)]
struct Run {
    /// Those that are not decoded yet, the latest first.
    chunks: Vec<ChunkRef>,
    /// The rows of the chunk that the walk has come to, the latest first.
    rows: Vec<(StepRow, Counting)>,
}

impl Run {
    /// A moment before which no further row is; `None` behind the last row.
    fn next_time(&self) -> Option<u64> {
        let of_row = self.rows.last().map(|(row, _)| row.time);
        of_row.or_else(|| self.chunks.last().map(|chunk| chunk.first.nanos()))
    }
}

impl<'a> StepWalk<'a> {
    /// A walk over the steps that these segments have.
    ///
    /// - `segments`: in the order of their commits
    /// - `range`: of the times at which steps begin
    ///
    /// # Errors
    ///
    /// As [`StepWalk::add`].
    pub(crate) fn new(
        segments: impl IntoIterator<Item = &'a Segment>,
        tombstones: &Tombstones,
        name: &str,
        range: TimeRange,
    ) -> Result<StepWalk<'a>, Error> {
        let mut walk = StepWalk::default();
        for segment in segments {
            walk.add(segment, tombstones, name, range)?;
        }
        Ok(walk)
    }

    /// Adds the steps of a segment that was committed after those added before, as long as no step was taken.
    ///
    /// - `range`: of the times at which steps begin
    ///
    /// # Errors
    ///
    /// As [`Segment::chunks`]; the walk is as before then.
    pub(crate) fn add(
        &mut self,
        segment: &'a Segment,
        tombstones: &Tombstones,
        name: &str,
        range: TimeRange,
    ) -> Result<(), Error> {
        if !segment.meets(range) {
            return Ok(());
        }
        let hidden = segment.hidden(tombstones, name);
        let mut runs = [Run::default(), Run::default()];
        segment.chunks(name, Some(range), |chunk| {
            if !hidden.covers(chunk.first.nanos(), chunk.last.nanos()) {
                runs[!chunk.clock as usize].chunks.push(chunk);
            }
        })?;
        if runs.iter().all(|run| run.chunks.is_empty()) {
            return Ok(());
        }
        // Of equal first times the chunk that stands behind the other comes later.
        for run in &mut runs {
            run.chunks.sort_by_key(|chunk| chunk.first);
            run.chunks.reverse();
        }
        self.waiting.push(Source { rank: self.waiting.len(), segment, hidden, range, runs });
        Ok(())
    }

    /// Whether it has any chunk of a kind.
    ///
    /// - `clock`: that of dots that are kept beside all others, or that of dots with explicit times
    pub(crate) fn has(&self, clock: bool) -> bool {
        let mut runs = self.sources().map(|source| &source.runs[!clock as usize]);
        runs.any(|run| run.next_time().is_some())
    }

    /// The next step; `None` behind the last.
    ///
    /// - `left_out`: told of each damaged chunk
    ///
    /// # Errors
    ///
    /// The system's, and those of `left_out`.
    pub(crate) fn next(&mut self, left_out: LeftOut<'_>) -> Result<Option<Step>, Error> {
        if !self.is_begun {
            self.waiting.sort_by_key(|source| (std::cmp::Reverse(source.next_time()), source.rank));
            self.is_begun = true;
        }
        while let Some(time) = self.next_time() {
            while let Some(source) = self.waiting.pop_if(|source| source.next_time() <= Some(time)) {
                let at = self.open.partition_point(|other| other.rank < source.rank);
                self.open.insert(at, source);
            }
            let mut all: Option<Step> = None;
            let mut is_over = false;
            for source in &mut self.open {
                let Some(step) = source.take(time, &mut self.scratch, &mut self.replaced, left_out)? else {
                    is_over |= source.next_time().is_none();
                    continue;
                };
                is_over |= source.next_time().is_none();
                all = Some(together(all, step, &mut self.replaced));
            }
            if is_over {
                self.open.retain(|source| source.next_time().is_some());
            }
            if all.is_some() {
                return Ok(all);
            }
        }
        Ok(None)
    }

    /// All further steps, and how many dots were replaced by later ones of the same step since the beginning.
    ///
    /// # Errors
    ///
    /// As [`StepWalk::next`].
    pub(crate) fn rest(mut self, left_out: LeftOut<'_>) -> Result<(Vec<Step>, u64), Error> {
        let mut steps = Vec::new();
        while let Some(step) = self.next(left_out)? {
            steps.push(step);
        }
        Ok((steps, self.replaced))
    }

    /// Hands on the rows of one kind of all further steps, as many at a time as [`Batches`] says.
    ///
    /// - `left_out`: told of each damaged chunk, of either kind
    ///
    /// # Errors
    ///
    /// As [`StepWalk::next`], and those of `out`.
    pub(crate) fn rows(
        mut self,
        batches: &Batches<'_>,
        left_out: LeftOut<'_>,
        out: &mut dyn FnMut(&Column) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Batches { clock, rows_max, unit, kind, is_together } = *batches;
        let mut batch: Vec<Step> = Vec::new();
        loop {
            let step = self.next(left_out)?;
            let ends = |step: &Step| {
                batch.len() >= rows_max
                    || batch.first().is_some_and(|first| !is_together(first.time, step.time))
            };
            if step.as_ref().is_none_or(ends) && !batch.is_empty() {
                let (of_clock, explicit) = Step::columns(&batch, unit, kind);
                out(if clock { &of_clock } else { &explicit })?;
                batch.clear();
            }
            let Some(step) = step else { return Ok(()) };
            let row = if clock { &step.clock } else { &step.explicit };
            if row.is_some() {
                batch.push(step);
            }
        }
    }

    /// A moment before which no further step is.
    fn next_time(&self) -> Option<u64> {
        let open = self.open.iter().filter_map(Source::next_time).min();
        let waiting = self.waiting.last().and_then(Source::next_time);
        open.into_iter().chain(waiting).min()
    }

    fn sources(&self) -> impl Iterator<Item = &Source<'a>> {
        self.open.iter().chain(&self.waiting)
    }

    /// How many rows are in memory.
    #[cfg(test)]
    fn held(&self) -> usize {
        self.sources().flat_map(|source| &source.runs).map(|run| run.rows.len()).sum()
    }
}

impl Source<'_> {
    /// A moment before which no further row is; `None` behind the last row.
    fn next_time(&self) -> Option<u64> {
        self.runs.iter().filter_map(Run::next_time).min()
    }

    /// Takes the rows that have a time, before which there is none.
    fn take(
        &mut self,
        time: u64,
        scratch: &mut Column,
        replaced: &mut u64,
        left_out: LeftOut<'_>,
    ) -> Result<Option<Step>, Error> {
        let mut step = None;
        for is_clock in [true, false] {
            let run = &mut self.runs[!is_clock as usize];
            while run.next_time() == Some(time) {
                if let Some((row, counting)) = run.rows.pop() {
                    step = Some(together(step, Step::of_row(row, counting, is_clock), replaced));
                } else if let Some(chunk) = run.chunks.pop() {
                    scratch.clear();
                    match self.segment.read(&chunk, scratch) {
                        Err(error @ Error::Damaged { .. }) => left_out(&chunk, error)?,
                        read => read?,
                    }
                    self.hidden.remove(scratch);
                    let is_within = |row: &(StepRow, Counting)| {
                        let time = Timestamp::from_nanos(row.0.time);
                        self.range.from <= time && time < self.range.until
                    };
                    run.rows.extend(StepRow::rows(scratch).filter(is_within));
                    run.rows.reverse();
                }
            }
        }
        Ok(step)
    }
}

/// Puts a step together with what was committed before it.
fn together(earlier: Option<Step>, later: Step, replaced: &mut u64) -> Step {
    let Some(earlier) = earlier else { return later };
    let (both, gone) = earlier.combine(later);
    *replaced = replaced.saturating_add(gone);
    both
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use dotter_dot::{SeriesName, Shape};

    use super::*;
    use crate::disk::layout::Layout;
    use crate::disk::manifest;
    use crate::format::listing::Order;
    use crate::format::place::{Place, Tier};
    use crate::format::rules::Aggregation;
    use crate::format::segment::Meta;
    use crate::write::segment::{SegmentWriter, list};

    const SECOND: u64 = 1_000_000_000;
    const CHUNK: usize = 4096;

    /// A segment of the store in `dir` with these steps of the series `a`.
    fn segment(dir: &std::path::Path, number: u64, steps: &[Step]) -> Segment {
        let layout = Layout::new(dir);
        let mut writer = SegmentWriter::new(&layout, 1, CHUNK);
        writer.begin(SeriesName::new("a").unwrap(), Shape::default()).unwrap();
        let (clock, explicit) = Step::columns(steps, "", Kind::Gauge);
        writer.add(&explicit, false).unwrap();
        writer.add(&clock, true).unwrap();
        let tier = Tier { step: Duration::from_secs(1), ..Tier::default() };
        let window = tier.window(Timestamp::MIN);
        let place = Some(Place { tier, window, ..Place::default() });
        let unlisted = writer.finish(&Meta { place, ..Meta::default() }).unwrap();
        let order = Order { sequence: number, generation: 0 };
        let (_, placed) =
            manifest::change(&layout, |manifest| list(manifest, vec![(unlisted, order)])).unwrap();
        Segment::open(&layout.segment(&placed[0].entry.name), &placed[0].entry).unwrap()
    }

    #[test]
    fn a_walk_holds_a_chunk_of_each_kind_of_each_segment_however_many_steps_there_are() {
        let dir = tempfile::tempdir().unwrap();
        crate::add(dir.path(), vec![(SeriesName::new("x").unwrap(), Timestamp::MIN, 1.0)]).unwrap();
        let counting = Counting::new(Aggregation::Sum, 0.0, 0);
        let mut expected: BTreeMap<u64, Step> = BTreeMap::new();
        let mut segments = Vec::new();
        for number in 0..4_u64 {
            let mut steps = Vec::new();
            for n in 0..40_000_u64 {
                // Some have both kinds, some steps are in all segments and some in one.
                let time = (n * (number + 1) % 60_000 / (number + 1) * (number + 1)) * SECOND;
                if steps.last().is_some_and(|last: &Step| last.time >= time) {
                    break;
                }
                let row = |more: u64| {
                    let at = time + number * 1_000 + more;
                    StepRow::number(time, at, (n + more) as f64, 1).with(counting.number(1.0, 1, at))
                };
                let clock = (n % 3 > 0).then(|| row(0));
                let explicit = (n % 3 < 2).then(|| row(500));
                steps.push(Step { time, clock, explicit, counting });
            }
            for step in &steps {
                let both = match expected.get(&step.time) {
                    Some(earlier) => earlier.combine(*step).0,
                    None => *step,
                };
                expected.insert(step.time, both);
            }
            segments.push(segment(dir.path(), number, &steps));
        }
        let rows: u64 = segments.iter().map(|segment| segment.entry().dots).sum();
        assert!(rows > 100_000, "{rows} rows");
        let tombstones = Tombstones::default();
        let walk = |range| StepWalk::new(&segments, &tombstones, "a", range).unwrap();
        let (mut steps, mut most) = (Vec::new(), 0);
        let mut all = walk(TimeRange::ALL);
        while let Some(step) = all.next(&mut none_left_out).unwrap() {
            most = most.max(all.held());
            steps.push(step);
        }
        assert!(steps.iter().eq(expected.values()));
        assert!((CHUNK..=segments.len() * 2 * CHUNK).contains(&most), "{most} of {rows} rows in memory");
        // A part of it.
        let [from, until] = [7_001, 30_500].map(|time| Timestamp::from_nanos(time * SECOND));
        let (part, _) = walk(TimeRange::new(from, until)).rest(&mut none_left_out).unwrap();
        assert!(part.iter().eq(expected.range(from.nanos()..until.nanos()).map(|(_, step)| step)));
        // Rows of one kind, in columns that no minute's end is in.
        let minute = |time: u64| time / (60 * SECOND);
        for clock in [false, true] {
            let is_together = |first, time| minute(first) == minute(time);
            let batches =
                Batches { clock, rows_max: 50, unit: "", kind: Kind::Gauge, is_together: &is_together };
            let mut found = Vec::new();
            walk(TimeRange::ALL)
                .rows(&batches, &mut none_left_out, &mut |rows| {
                    let times = rows.times();
                    assert!((1..=50).contains(&rows.len()) && is_together(times[0], times[times.len() - 1]));
                    found.extend(StepRow::rows(rows).map(|(row, _)| row));
                    Ok(())
                })
                .unwrap();
            let of = |step: &Step| if clock { step.clock } else { step.explicit };
            assert!(found.into_iter().eq(expected.values().filter_map(of)));
        }
    }
}
