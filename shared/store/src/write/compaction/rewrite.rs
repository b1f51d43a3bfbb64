//! Rewriting several segments into new ones, one series after the other.

use std::sync::Arc;

use dotter_dot::{Column, SeriesName, Shape};

use crate::disk::layout::Layout;
use crate::error::Error;
use crate::format::ledger::Totals;
use crate::format::segment::ChunkRef;
use crate::format::tombstone::{Spans, Tombstone};
use crate::format::windows::Histogram;
use crate::read::merge;
use crate::read::segment::{Segment, SegmentSeries};
use crate::write::segment::SegmentWriter;

/// A chunk of so many bytes is copied unchanged, however few dots it has.
const LARGE_BYTES: u64 = 64 << 10;

/// What is to be rewritten.
pub(super) struct Rewrite<'a> {
    /// In the order of their commits.
    pub(super) segments: &'a [Arc<Segment>],
    pub(super) tombstones: &'a [Tombstone],
    /// The moment before which dots of a series are too old; zero where they are kept for ever.
    pub(super) cutoff: &'a dyn Fn(&str) -> u64,
    pub(super) cancel: &'a dyn Fn() -> bool,
    /// Called with the bytes done and the bytes to do.
    pub(super) progress: &'a dyn Fn(u64, u64),
}

/// The new segments: one for each window.
pub(super) struct Outputs {
    layout: Layout,
    level: u32,
    chunk_dots: usize,
    /// The times at which the next segment begins.
    cuts: Vec<u64>,
    /// One more than there are cuts.
    outputs: Vec<Option<Output>>,
    scratch: Column,
}

struct Output {
    writer: SegmentWriter,
    /// The series that was added last.
    series: Option<SeriesName>,
}

/// The series that is being rewritten.
pub(super) struct Series {
    pub(super) name: SeriesName,
    /// The moment before which its dots are too old.
    pub(super) cutoff: u64,
    /// The shape of its dot that was committed last.
    pub(super) latest: Shape,
}

/// One chunk of the series.
#[derive(Clone, Copy)]
struct Piece<'a> {
    /// The index of its segment's order among all orders.
    rank: usize,
    segment: &'a Segment,
    chunk: ChunkRef,
    hidden: &'a Spans,
}

/// The times at which output is cut into segments; none where the inputs together have no more bytes than wanted.
pub(super) fn cuts(
    segments: &[Arc<Segment>],
    bytes_wanted: u64,
    pieces_max: usize,
    cancel: &dyn Fn() -> bool,
) -> Result<Vec<u64>, Error> {
    if segments.iter().map(|segment| segment.entry().bytes).sum::<u64>() <= bytes_wanted {
        return Ok(Vec::new());
    }
    let mut histogram = Histogram::new();
    for segment in segments {
        let mut series = segment.series("");
        while let Some(step) = series.next() {
            step?;
            if cancel() {
                return Err(Error::GivenUp);
            }
            series.chunks(|chunk| {
                histogram.add(chunk.first.nanos(), chunk.last.nanos(), chunk.bytes_alone());
            })?;
        }
    }
    Ok(histogram.cuts(bytes_wanted, pieces_max))
}

/// The name of the next series of a walk.
fn step(series: &mut SegmentSeries<'_>) -> Result<Option<SeriesName>, Error> {
    series.next().map(|step| step.and_then(|()| series.name())).transpose()
}

impl Rewrite<'_> {
    /// Writes every dot that is neither replaced, hidden nor too old; returns what became of the others.
    pub(super) fn run(&self, outputs: &mut Outputs) -> Result<Totals, Error> {
        let mut gone = Totals::default();
        let total = self.segments.iter().map(|segment| segment.chunk_bytes()).sum();
        let mut done = 0;
        let mut cursors: Vec<_> = self.segments.iter().map(|segment| segment.series("")).collect();
        let mut next: Vec<Option<SeriesName>> = cursors.iter_mut().map(step).collect::<Result<_, _>>()?;
        // Segments with the same order are the pieces of one merge.
        let mut ranks = vec![0; self.segments.len()];
        for index in 1..ranks.len() {
            let same = self.segments[index].order() == self.segments[index - 1].order();
            ranks[index] = ranks[index - 1] + !same as usize;
        }
        while let Some(name) = next.iter().flatten().min().cloned() {
            let mut latest = None;
            let mut hidden = Vec::with_capacity(self.segments.len());
            let mut chunks = Vec::with_capacity(self.segments.len());
            for (index, segment) in self.segments.iter().enumerate() {
                hidden.push(segment.hidden(self.tombstones, name.as_str()));
                if next[index].as_ref() == Some(&name) {
                    let mut of = Vec::new();
                    cursors[index].chunks(|chunk| of.push(chunk))?;
                    chunks.push((index, of));
                    latest = Some(cursors[index].latest_shape()?);
                    next[index] = step(&mut cursors[index])?;
                }
            }
            let cutoff = (self.cutoff)(name.as_str());
            let series = Series { name, cutoff, latest: latest.cloned().unwrap_or_default() };
            let mut pieces: [Vec<Piece<'_>>; 2] = [Vec::new(), Vec::new()];
            for (index, chunk) in
                chunks.iter().flat_map(|(index, chunks)| chunks.iter().map(move |chunk| (*index, chunk)))
            {
                let segment = &*self.segments[index];
                let piece = Piece { rank: ranks[index], segment, chunk: *chunk, hidden: &hidden[index] };
                pieces[chunk.clock as usize].push(piece);
                done += chunk.bytes_alone();
            }
            for pieces in &mut pieces {
                pieces.sort_by_key(|piece| (piece.chunk.first, piece.rank));
                self.series(&series, pieces, outputs, &mut gone)?;
            }
            (self.progress)(done, total);
        }
        Ok(gone)
    }

    /// - `pieces`: chunks of one kind, explicit times or clock stamps, sorted by their first time
    fn series(
        &self,
        series: &Series,
        pieces: &[Piece<'_>],
        outputs: &mut Outputs,
        gone: &mut Totals,
    ) -> Result<(), Error> {
        let mut batch: Vec<Piece<'_>> = Vec::new();
        let mut batch_dots = 0;
        let mut rest = pieces;
        while let Some((first, _)) = rest.split_first() {
            if (self.cancel)() {
                return Err(Error::GivenUp);
            }
            let count = overlapping(rest);
            let (group, after) = rest.split_at(count);
            rest = after;
            let chunk = &first.chunk;
            let (from, until) = (chunk.first.nanos(), chunk.last.nanos());
            if count == 1 && first.hidden.covers(from, until) {
                gone.deleted += chunk.dots;
                continue;
            }
            if count == 1 && until < series.cutoff {
                gone.expired += chunk.dots;
                continue;
            }
            let full = outputs.chunk_dots as u64;
            // A batch of few dots would become a small chunk.
            let alone = batch_dots == 0 || batch_dots * 4 >= full;
            let whole = chunk.within.is_none()
                && series.cutoff <= from
                && !first.hidden.meets(from, until)
                && outputs.is_one_window(from, until);
            let large = chunk.dots * 2 >= full || chunk.bytes_alone() >= LARGE_BYTES;
            if count == 1 && whole && alone && large {
                self.merge(series, &batch, outputs, gone)?;
                batch.clear();
                batch_dots = 0;
                match outputs.copy(series, first.segment, chunk) {
                    Err(Error::Damaged { .. }) => gone.damaged += chunk.dots,
                    other => other?,
                }
                continue;
            }
            batch.extend(group);
            batch_dots += group.iter().map(|piece| piece.chunk.dots).sum::<u64>();
        }
        self.merge(series, &batch, outputs, gone)
    }

    /// Merges chunks dot by dot.
    fn merge(
        &self,
        series: &Series,
        batch: &[Piece<'_>],
        outputs: &mut Outputs,
        gone: &mut Totals,
    ) -> Result<(), Error> {
        let Some(clock) = batch.first().map(|piece| piece.chunk.clock) else { return Ok(()) };
        let mut ranks: Vec<usize> = batch.iter().map(|piece| piece.rank).collect();
        ranks.sort_unstable();
        ranks.dedup();
        let [deleted, damaged, expired] = [(); 3].map(|()| std::cell::Cell::new(0));
        let cutoff = series.cutoff;
        let mut inputs: Vec<_> = ranks
            .into_iter()
            .map(|rank| {
                let mut pieces = batch.iter().filter(move |piece| piece.rank == rank);
                let mut all = Column::default();
                let (deleted, damaged, expired) = (&deleted, &damaged, &expired);
                move |out: &mut Column| loop {
                    let Some(piece) = pieces.next() else { return Ok(false) };
                    if (self.cancel)() {
                        return Err(Error::GivenUp);
                    }
                    let (from, until) = (piece.chunk.first.nanos(), piece.chunk.last.nanos());
                    if piece.hidden.covers(from, until) {
                        deleted.set(deleted.get() + piece.chunk.dots);
                        continue;
                    }
                    let part = piece.hidden.meets(from, until) || from < cutoff;
                    let target = if part { &mut all } else { &mut *out };
                    match piece.segment.read(&piece.chunk, target) {
                        Ok(()) if !part => return Ok(true),
                        Ok(()) => {}
                        // The dots of a damaged chunk cannot be read; they are counted and left out.
                        Err(Error::Damaged { .. }) => {
                            damaged.set(damaged.get() + piece.chunk.dots);
                            continue;
                        }
                        Err(error) => return Err(error),
                    }
                    deleted.set(deleted.get() + piece.hidden.remove(&mut all));
                    let old = all.times().partition_point(|time| *time < cutoff);
                    expired.set(expired.get() + old as u64);
                    out.extend(&all, old..all.len());
                    all.clear();
                    if !out.is_empty() {
                        return Ok(true);
                    }
                }
            })
            .collect();
        let chunk_dots = outputs.chunk_dots;
        gone.replaced +=
            merge::merge(&mut inputs, !clock, chunk_dots, |piece| outputs.add(series, piece, clock))?;
        drop(inputs);
        gone.deleted += deleted.get();
        gone.damaged += damaged.get();
        gone.expired += expired.get();
        Ok(())
    }
}

/// How many of the first pieces have to be merged together, since their times overlap.
///
/// - `pieces`: not empty, sorted by their first time
fn overlapping(pieces: &[Piece<'_>]) -> usize {
    let (rank, mut last) = (pieces[0].rank, pieces[0].chunk.last);
    let mut count = 1;
    let mut is_one = true;
    while let Some(next) = pieces.get(count).filter(|next| next.chunk.first <= last) {
        if is_one && next.rank == rank {
            // Chunks of one commit have no more than one time in common, that of texts or of clock stamps, and replace
            // none of each other's dots. So they stay apart unless another commit has dots of that time.
            let mut equal = pieces[count..].iter().take_while(|piece| piece.chunk.first <= last);
            if equal.all(|piece| piece.rank == rank) {
                return count;
            }
        }
        is_one &= next.rank == rank;
        last = last.max(next.chunk.last);
        count += 1;
    }
    count
}

impl Outputs {
    /// - `level`: how often the dots of its segments have been merged
    /// - `cuts`: ascending times at which the next segment begins
    pub(super) fn new(layout: &Layout, level: u32, chunk_dots: usize, cuts: Vec<u64>) -> Outputs {
        let outputs = (0..=cuts.len()).map(|_| None).collect();
        Outputs { layout: layout.clone(), level, chunk_dots, cuts, outputs, scratch: Column::default() }
    }

    fn window(&self, time: u64) -> usize {
        self.cuts.partition_point(|cut| *cut <= time)
    }

    fn is_one_window(&self, first: u64, last: u64) -> bool {
        self.window(first) == self.window(last)
    }

    /// The segment of a window, with this series begun.
    fn at(&mut self, window: usize, series: &Series) -> Result<&mut SegmentWriter, Error> {
        let output = &mut self.outputs[window];
        if output.is_none() {
            *output = Some(Output {
                writer: SegmentWriter::new(&self.layout, self.level, self.chunk_dots).paced(),
                series: None,
            });
        }
        let output = output.as_mut().expect("it was just made");
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
            let window = self.window(dots.times()[start]);
            let end = match self.cuts.get(window) {
                Some(cut) => start + dots.times()[start..].partition_point(|time| time < cut),
                None => dots.len(),
            };
            if end - start == dots.len() {
                return self.at(window, series)?.add(dots, clock);
            }
            let mut part = std::mem::take(&mut self.scratch);
            part.clear();
            part.extend(dots, start..end);
            self.at(window, series)?.add(&part, clock)?;
            self.scratch = part;
            start = end;
        }
        Ok(())
    }

    /// Copies a chunk unchanged, which lies in one window.
    fn copy(&mut self, series: &Series, from: &Segment, chunk: &ChunkRef) -> Result<(), Error> {
        let bytes = from.bytes(chunk)?;
        let window = self.window(chunk.first.nanos());
        self.at(window, series)?.copy(&bytes, chunk, from.shape(chunk))
    }

    /// The segments that have any dots, in time order.
    pub(super) fn into_writers(self) -> Vec<SegmentWriter> {
        self.outputs
            .into_iter()
            .flatten()
            .map(|output| output.writer)
            .filter(|writer| !writer.is_empty())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use dotter_dot::{TimeRange, Timestamp};

    use super::*;
    use crate::disk::manifest;
    use crate::format::segment::Meta;
    use crate::read::reader::Reader;
    use crate::read::snapshot::Dot;

    fn all(dir: &Path) -> Vec<(SeriesName, Vec<Dot>)> {
        let snapshot = Reader::open(dir).unwrap().snapshot();
        let read = |name: SeriesName| {
            let dots = snapshot.read(name.as_str(), TimeRange::ALL).unwrap();
            (name, dots)
        };
        snapshot.series().map(read).collect()
    }

    #[test]
    fn what_is_cut_apart_reads_as_before_and_no_piece_reaches_into_another() {
        let dir = tempfile::tempdir().unwrap();
        for commit in 0..5_u64 {
            // Long runs that no cut divides evenly, some over others, and a series of a dot here and there.
            let dot = |n: u64| {
                let name = if n.is_multiple_of(50) { "sparse" } else { ["a", "b", "c"][n as usize % 3] };
                let time = commit * 20_000 + n * 3;
                (SeriesName::new(name).unwrap(), Timestamp::from_nanos(time), (commit * n) as f64)
            };
            crate::add(dir.path(), (0..12_000).map(dot).collect::<Vec<_>>()).unwrap();
        }
        let before = all(dir.path());
        let layout = Layout::new(dir.path());
        let listed = manifest::read(&layout).unwrap().segments;
        let segments: Vec<Arc<Segment>> = listed
            .iter()
            .map(|entry| Arc::new(Segment::open(&layout.segment(&entry.name), entry).unwrap()))
            .collect();
        let cuts = vec![7_001, 40_000, 40_001, 77_777, 1_000_000];
        let mut outputs = Outputs::new(&layout, 1, 4096, cuts.clone());
        let rewrite = Rewrite {
            segments: &segments,
            tombstones: &[],
            cutoff: &|_| 0,
            cancel: &|| false,
            progress: &|done, total| assert!(done <= total),
        };
        let gone = rewrite.run(&mut outputs).unwrap();
        let writers = outputs.into_writers();
        assert_eq!(writers.len(), 5, "nothing lies behind the last cut");
        let order = listed.last().unwrap().order;
        let unlisted: Vec<_> =
            writers.into_iter().map(|writer| (writer.finish(&Meta::default()).unwrap(), order)).collect();
        let (after, _placed) = manifest::change(&layout, |manifest| {
            manifest.segments.clear();
            crate::write::segment::list(manifest, unlisted)
        })
        .unwrap();
        let mut from = 0;
        for (entry, until) in after.segments.iter().zip(cuts) {
            assert!((from..until).contains(&entry.first_time.nanos()), "{entry:?}");
            assert!((from..until).contains(&entry.last_time.nanos()), "{entry:?}");
            from = until;
        }
        let dots = |entries: &[crate::format::listing::SegmentEntry]| {
            entries.iter().map(|entry| entry.dots).sum::<u64>()
        };
        assert_eq!(dots(&after.segments) + gone.replaced, dots(&listed));
        assert!(all(dir.path()) == before);
    }
}
