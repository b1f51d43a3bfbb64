//! Rewriting several segments into new ones, one series after the other.

use std::sync::Arc;

use dotter_dot::{Column, Shape};

use crate::error::Error;
use crate::format::ledger::Totals;
use crate::format::segment::ChunkRef;
use crate::format::spans::Spans;
use crate::format::tombstones::Tombstones;
use crate::read::merge;
use crate::read::segment::Segment;
use crate::read::step_walk::{Batches, StepWalk};
use crate::write::compaction::outputs::{Outputs, Series};
use crate::write::compaction::walks::Walks;

/// A chunk of so many bytes is copied, however few dots it has.
const LARGE_BYTES: u64 = 64 << 10;

/// What is to be rewritten.
pub(super) struct Rewrite<'a> {
    /// In the order of their commits.
    pub(super) segments: &'a [Arc<Segment>],
    /// Other segments that may have dots of the same series, committed between those, in the order of their commits:
    /// the shape of the dot committed last may be theirs.
    pub(super) others: &'a [Arc<Segment>],
    pub(super) tombstones: &'a Tombstones,
    /// Whether they hold steps made from dots: of one step, rows are combined, and none replaces another.
    pub(super) has_steps: bool,
    pub(super) cancel: &'a dyn Fn() -> bool,
    /// Called with the bytes done and the bytes to do.
    pub(super) progress: &'a dyn Fn(u64, u64),
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

impl Rewrite<'_> {
    /// Writes every dot that is neither replaced nor hidden; returns what became of the others.
    ///
    /// # Errors
    ///
    /// The system's. A damaged chunk is left out and counted, of dots and of steps.
    pub(super) fn run(&self, outputs: &mut Outputs<'_>) -> Result<Totals, Error> {
        let mut gone = Totals::default();
        let bytes: u64 = self.segments.iter().map(|segment| segment.chunk_bytes()).sum();
        let total = bytes * outputs.passes() as u64;
        for pass in 0.. {
            let before = bytes * pass;
            self.pass(outputs, &mut gone, &|done| (self.progress)(before + done, total))?;
            if !outputs.next_pass()? {
                break;
            }
        }
        (self.progress)(total, total);
        Ok(gone)
    }

    /// - `progress`: called with the bytes done in this pass
    fn pass(
        &self,
        outputs: &mut Outputs<'_>,
        gone: &mut Totals,
        progress: &dyn Fn(u64),
    ) -> Result<(), Error> {
        let mut done = 0;
        let mut walks = Walks::new(self.segments)?;
        let mut chunks: Vec<(usize, ChunkRef)> = Vec::new();
        // Segments with the same order are the pieces of one merge.
        let mut ranks = vec![0; self.segments.len()];
        for index in 1..ranks.len() {
            let same = self.segments[index].order() == self.segments[index - 1].order();
            ranks[index] = ranks[index - 1] + !same as usize;
        }
        loop {
            let Some(key) = walks.name() else { return Ok(()) };
            let Some(mut series) = outputs.series(key.clone(), Shape::default()) else {
                walks.pass()?;
                continue;
            };
            let name = series.name.as_str();
            let mut hidden = Vec::with_capacity(self.segments.len());
            chunks.clear();
            let mut latest = None;
            for (index, segment) in self.segments.iter().enumerate() {
                hidden.push(segment.hidden(self.tombstones, name));
                if let Some(series) = walks.at(index) {
                    series.chunks(|chunk| chunks.push((index, chunk)))?;
                    latest = Some((segment.order(), series.latest_shape()?));
                }
            }
            for other in self.others {
                if latest.is_some_and(|(order, _)| order < other.order())
                    // A segment that cannot be read says nothing about it.
                    && let Ok(Some(shape)) = other.latest_shape(name)
                {
                    latest = Some((other.order(), shape));
                }
            }
            let latest = latest.map(|(_, shape)| shape.clone()).unwrap_or_default();
            let mut pieces: [Vec<Piece<'_>>; 2] = [Vec::new(), Vec::new()];
            for (index, chunk) in &chunks {
                let index = *index;
                done += chunk.bytes_alone();
                if series.meets(chunk.first.nanos(), chunk.last.nanos()) {
                    let segment = &*self.segments[index];
                    let piece = Piece { rank: ranks[index], segment, chunk: *chunk, hidden: &hidden[index] };
                    pieces[chunk.clock as usize].push(piece);
                }
            }
            series.latest = latest;
            walks.pass()?;
            if self.has_steps {
                self.steps(&series, outputs, gone)?;
                progress(done);
                continue;
            }
            for pieces in &mut pieces {
                pieces.sort_by_key(|piece| (piece.chunk.first, piece.rank));
                self.series(&series, pieces, outputs, gone)?;
            }
            progress(done);
        }
    }

    /// Writes the steps of a series. Of `gone` only the steps in damaged chunks are counted.
    fn steps(&self, series: &Series, outputs: &mut Outputs<'_>, gone: &mut Totals) -> Result<(), Error> {
        // Rows with explicit times are written before all others, and what a row is depends on both: so a series that has
        // both kinds is walked twice.
        for clock in [false, true] {
            let segments = self.segments.iter().map(|segment| &**segment);
            let walk = StepWalk::new(segments, self.tombstones, series.name.as_str(), series.range())?;
            if !walk.has(clock) {
                continue;
            }
            let (unit, kind) = (series.latest.unit(), series.latest.kind());
            let is_together = |first: u64, time: u64| series.is_one_slot(first, time);
            let batches =
                Batches { clock, rows_max: outputs.chunk_dots, unit, kind, is_together: &is_together };
            let mut left_out = |chunk: &ChunkRef, _| {
                // Each walk of each pass that the chunk reaches into meets it.
                if chunk.clock == clock && series.is_now(chunk.first.nanos()) {
                    gone.damaged += chunk.dots;
                }
                Ok(())
            };
            walk.rows(&batches, &mut left_out, &mut |rows| {
                if (self.cancel)() {
                    return Err(Error::GivenUp);
                }
                outputs.add(series, rows, clock)
            })?;
        }
        Ok(())
    }

    /// - `pieces`: chunks of one kind, explicit times or all kept, sorted by their first time
    fn series(
        &self,
        series: &Series,
        pieces: &[Piece<'_>],
        outputs: &mut Outputs<'_>,
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
            // The pass that its first dot belongs to counts what is not written of a chunk as a whole.
            let counted = if series.is_now(from) { chunk.dots } else { 0 };
            if count == 1 && first.hidden.covers(from, until) {
                gone.deleted += counted;
                continue;
            }
            let full = outputs.chunk_dots as u64;
            // A batch of few dots would become a small chunk.
            let alone = batch_dots == 0 || batch_dots * 4 >= full;
            let whole =
                chunk.within.is_none() && !first.hidden.meets(from, until) && series.is_one_slot(from, until);
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

    /// The dots of chunks in shared blocks that lie one behind the other in time, none of them hidden, together no more
    /// than a chunk: this is what most series with few dots have. `None` where it is otherwise.
    fn behind_each_other(
        &self,
        series: &Series,
        batch: &[Piece<'_>],
        dots_max: usize,
        gone: &mut Totals,
    ) -> Result<Option<Column>, Error> {
        let is_simple = |piece: &Piece<'_>| {
            let (from, until) = (piece.chunk.first.nanos(), piece.chunk.last.nanos());
            let is_now = series.is_now(from) && series.is_now(until);
            piece.chunk.within.is_some() && is_now && !piece.hidden.meets(from, until)
        };
        let sum = batch.iter().map(|piece| piece.chunk.dots).sum::<u64>();
        let is_behind = batch.is_sorted_by(|a, b| a.chunk.last < b.chunk.first);
        if sum > dots_max as u64 || !is_behind || !batch.iter().all(is_simple) {
            return Ok(None);
        }
        let mut dots = Column::default();
        dots.reserve(sum as usize);
        for piece in batch {
            match piece.segment.read(&piece.chunk, &mut dots) {
                Err(Error::Damaged { .. }) => gone.damaged += piece.chunk.dots,
                other => other?,
            }
        }
        Ok(Some(dots))
    }

    /// Merges chunks dot by dot.
    fn merge(
        &self,
        series: &Series,
        batch: &[Piece<'_>],
        outputs: &mut Outputs<'_>,
        gone: &mut Totals,
    ) -> Result<(), Error> {
        let Some(clock) = batch.first().map(|piece| piece.chunk.clock) else { return Ok(()) };
        if let Some(dots) = self.behind_each_other(series, batch, outputs.chunk_dots, gone)? {
            return outputs.add(series, &dots, clock);
        }
        let mut ranks: Vec<usize> = batch.iter().map(|piece| piece.rank).collect();
        ranks.sort_unstable();
        ranks.dedup();
        let [deleted, damaged] = [(); 2].map(|()| std::cell::Cell::new(0));
        let mut inputs: Vec<_> = ranks
            .into_iter()
            .map(|rank| {
                let mut pieces = batch.iter().filter(move |piece| piece.rank == rank);
                let mut all = Column::default();
                let (deleted, damaged) = (&deleted, &damaged);
                move |out: &mut Column| loop {
                    let Some(piece) = pieces.next() else { return Ok(false) };
                    if (self.cancel)() {
                        return Err(Error::GivenUp);
                    }
                    let (from, until) = (piece.chunk.first.nanos(), piece.chunk.last.nanos());
                    let counted = if series.is_now(from) { piece.chunk.dots } else { 0 };
                    if piece.hidden.covers(from, until) {
                        deleted.set(deleted.get() + counted);
                        continue;
                    }
                    let is_now = series.is_now(from) && series.is_now(until);
                    let part = piece.hidden.meets(from, until) || !is_now;
                    let target = if part { &mut all } else { &mut *out };
                    match piece.segment.read(&piece.chunk, target) {
                        Ok(()) if !part => return Ok(true),
                        Ok(()) => {}
                        // The dots of a damaged chunk cannot be read; they are counted and left out.
                        Err(Error::Damaged { .. }) => {
                            damaged.set(damaged.get() + counted);
                            continue;
                        }
                        Err(error) => return Err(error),
                    }
                    if !is_now {
                        let mut now = Column::default();
                        now.extend(&all, series.now(all.times()));
                        all = now;
                    }
                    deleted.set(deleted.get() + piece.hidden.remove(&mut all));
                    out.extend(&all, 0..all.len());
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
            // Chunks of one commit have no more than one time in common, that of texts or of dots that are all kept,
            // and replace none of each other's dots. So they stay apart unless another commit has dots of that time.
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use dotter_dot::{SeriesName, TimeRange, Timestamp};

    use super::*;
    use crate::disk::layout::Layout;
    use crate::disk::manifest;
    use crate::format::listing::{Order, SegmentEntry};
    use crate::format::manifest::Manifest;
    use crate::format::rules::Rules;
    use crate::read::reader::Reader;
    use crate::read::snapshot::Dot;
    use crate::write::compaction::cut::{Cut, Sorting};

    fn all(dir: &Path) -> Vec<(SeriesName, Vec<Dot>)> {
        let snapshot = Reader::open(dir).unwrap().snapshot();
        let read = |name: SeriesName| {
            let dots = snapshot.read(name.as_str(), TimeRange::ALL).unwrap();
            (name, dots)
        };
        snapshot.series().map(read).collect()
    }

    /// Lists what `outputs` has made in the place of everything, and gives the new list.
    fn list_only(layout: &Layout, outputs: Outputs<'_>, gone: Totals, order: Order) -> Manifest {
        let unlisted = outputs.into_unlisted(gone, &|| false).unwrap();
        let unlisted = unlisted.into_iter().map(|segment| (segment, order)).collect();
        let (after, _placed) = manifest::change(layout, |manifest| {
            manifest.segments = Vec::new().into();
            crate::write::segment::list(manifest, unlisted)
        })
        .unwrap();
        after
    }

    #[test]
    fn what_is_cut_apart_reads_as_before_in_however_many_passes_and_pieces() {
        let dir = tempfile::tempdir().unwrap();
        for commit in 0..5_u64 {
            // Long runs that no window divides evenly, some over others, and a series of a dot here and there.
            let dot = |n: u64| {
                let name = if n.is_multiple_of(50) { "sparse" } else { ["a", "b", "c"][n as usize % 3] };
                let time = (commit * 20_000 + n * 3) * 36_000_000_001;
                (SeriesName::new(name).unwrap(), Timestamp::from_nanos(time), (commit * n) as f64)
            };
            crate::add(dir.path(), (0..12_000).map(dot).collect::<Vec<_>>()).unwrap();
        }
        let before = all(dir.path());
        let layout = Layout::new(dir.path());
        let mut rules = Rules::default();
        let text =
            "[[rule]]\npattern = \"a\"\nkeep = \"raw:30d\"\n[[rule]]\npattern = \"b\"\nkeep = \"raw:2h\"\n";
        rules.take_own(Path::new("rules"), text);
        let open = |list: &Manifest| -> Vec<Arc<Segment>> {
            let open = |entry: &SegmentEntry| Segment::open(&layout.segment(&entry.name), entry).unwrap();
            list.segments.iter().map(|entry| Arc::new(open(entry))).collect()
        };
        let mut listed = manifest::read(&layout).unwrap();
        let mut counts = Vec::new();
        for (now, large_bytes) in [(Timestamp::MIN, 1 << 30), (Timestamp::MAX, 1 << 30), (Timestamp::MIN, 1)]
        {
            let segments = open(&listed);
            let sorting =
                Sorting { rules: &rules, mark: 7, tier: None, now: &|_| now, newest: now, running: 0 };
            let cut = Cut::apart(&segments, sorting, &|| false).unwrap();
            let slots = cut.len();
            let mut outputs = Outputs::new(&layout, 1, 4096, cut, (Vec::new(), 0)).with_large(large_bytes);
            counts.push((slots, outputs.passes()));
            let rewrite = Rewrite {
                segments: &segments,
                others: &[],
                tombstones: &Tombstones::default(),
                has_steps: false,
                cancel: &|| false,
                progress: &|done, total| assert!(done <= total),
            };
            let gone = rewrite.run(&mut outputs).unwrap();
            let order = listed.segments.last().unwrap().order;
            let after = list_only(&layout, outputs, gone, order);
            let dots = |list: &Manifest| list.segments.iter().map(|entry| entry.dots).sum::<u64>();
            assert_eq!(dots(&after) + gone.replaced, dots(&listed));
            assert!(all(dir.path()) == before);
            for segment in open(&after) {
                let place = segment.entry().place.unwrap();
                for name in segment.names("") {
                    assert_eq!(rules.tier(name.unwrap().as_str(), std::time::Duration::ZERO), place.tier);
                    // A segment that is large at once has a series.
                    assert!(large_bytes > 1 || segment.entry().series == 1);
                }
            }
            assert!(dotter_verify(dir.path()).is_empty());
            listed = after;
        }
        // Of three tiers, many windows of an hour or a day share a slot. Later, all that may be late is.
        assert!((100..=256).contains(&counts[0].0) && counts[0].1 >= 4, "{counts:?}");
        assert_eq!(counts[1].1, 1, "{counts:?}");
    }

    fn dotter_verify(dir: &Path) -> Vec<crate::Damage> {
        crate::verify(dir).unwrap().damage
    }
}
