//! Compaction: neighbours of a level become one segment of the next, so that their number stays bounded.
//!
//! Always true: only neighbours in the order of commits are merged, and no commit can come to stand between
//! them any more. Nothing waits for it; what it replaces is unlinked a swap later.

use std::path::Path;
use std::sync::Arc;

use dotter_dot::SeriesName;

use crate::chunk::Columns;
use crate::error::Error;
use crate::layout::Layout;
use crate::manifest::{self, Manifest, SegmentEntry};
use crate::merge;
use crate::segment::{ChunkRef, Meta, Segment, SegmentWriter};
use crate::wal;

/// Neighbours of a level that are merged at once.
const TOGETHER: std::ops::RangeInclusive<usize> = 8..=16;

/// Dots of a chunk: larger in segments that are not soon merged again.
fn chunk_dots(level: u32) -> usize {
    if level < 2 { 4096 } else { 8192 }
}

/// One round of compaction.
///
/// Returns `false` where nothing is to be done. `cancel` is asked before each series; when it says `true` the
/// work is given up and nothing has changed.
///
/// # Errors
///
/// [`Error::Locked`] while another process compacts; [`Error::GivenUp`] after `cancel`.
pub fn compact(dir: &Path, cancel: &dyn Fn() -> bool) -> Result<bool, Error> {
    let layout = Layout::new(dir);
    let _lock = layout.try_lock("COMPACT.lock")?;
    let manifest = manifest::read(&layout)?;
    let first_live = wal::files(&layout, manifest.wal_first)?
        .first()
        .and_then(|file| file.header)
        .map_or(u64::MAX, |header| header.first_sequence);
    let Some(inputs) = neighbours(&manifest, first_live) else { return Ok(false) };
    let level = inputs[0].level + 1;
    let segments = inputs
        .iter()
        .map(|entry| Segment::open(&layout.segment(&entry.name), entry).map(Arc::new))
        .collect::<Result<Vec<_>, Error>>()?;
    let mut writer = SegmentWriter::create(&layout, chunk_dots(level))?;
    let (mut replaced, mut damaged) = (0, 0);
    let mut cursors: Vec<_> = segments.iter().map(|segment| segment.names("")).collect();
    let mut next: Vec<Option<SeriesName>> = cursors.iter_mut().map(|cursor| cursor.next()).collect();
    while let Some(name) = next.iter().flatten().min().cloned() {
        if cancel() {
            return Err(Error::GivenUp);
        }
        let mut chunks: Vec<(&Segment, Vec<ChunkRef>)> = Vec::new();
        for (index, segment) in segments.iter().enumerate() {
            if next[index].as_ref() == Some(&name) {
                chunks.push((segment, segment.chunks(name.as_str())?));
                next[index] = cursors[index].next();
            }
        }
        writer.begin(name)?;
        for clock in [false, true] {
            replaced += merge_series(&chunks, clock, chunk_dots(level), &mut writer, &mut damaged)?;
        }
    }
    drop((cursors, next));
    let order = inputs[inputs.len() - 1].order;
    let names: Vec<String> = inputs.iter().map(|entry| entry.name.clone()).collect();
    let meta = Meta { replaced: names.clone(), log: None };
    let unlisted = if writer.is_empty() { None } else { Some(writer.finish(&meta)?) };
    manifest::swap(&layout, |manifest| {
        let listed = |name: &String| manifest.segments.iter().any(|segment| segment.name == *name);
        if !names.iter().all(listed) {
            return Err(Error::GivenUp);
        }
        manifest.segments.retain(|segment| !names.contains(&segment.name));
        manifest.obsolete.extend(names.iter().map(|name| format!("seg/{name}")));
        manifest.ledger.totals.replaced += replaced;
        manifest.ledger.totals.damaged += damaged;
        unlisted.map_or(Ok(()), |segment| segment.list(manifest, order, level))
    })?;
    Ok(true)
}

/// The neighbours to merge next: of the lowest level that has enough of them, the oldest.
///
/// - `first_live`: the first sequence that a coming seal may stand at
fn neighbours(manifest: &Manifest, first_live: u64) -> Option<Vec<SegmentEntry>> {
    let together = |a: &SegmentEntry, b: &SegmentEntry| {
        // A seal of the live log is split at each commit in it, so nothing comes between equal sequences.
        a.level == b.level && (a.order.sequence == b.order.sequence || b.order.sequence < first_live)
    };
    manifest
        .segments
        .chunk_by(together)
        .filter(|run| run.len() >= *TOGETHER.start())
        .min_by_key(|run| run[0].level)
        .map(|run| run[..run.len().min(*TOGETHER.end())].to_vec())
}

fn merge_series(
    chunks: &[(&Segment, Vec<ChunkRef>)],
    clock: bool,
    piece_dots: usize,
    writer: &mut SegmentWriter,
    damaged: &mut u64,
) -> Result<u64, Error> {
    let damaged = std::cell::Cell::from_mut(damaged);
    let mut inputs: Vec<_> = chunks
        .iter()
        .map(|(segment, chunks)| {
            let mut chunks = chunks.iter().filter(|chunk| chunk.clock == clock);
            move |out: &mut Columns| loop {
                let Some(chunk) = chunks.next() else { return Ok(false) };
                match segment.read(chunk, out) {
                    Ok(()) => return Ok(true),
                    // Its dots are gone whatever is done; what cannot be read is not carried along.
                    Err(Error::Damaged { .. }) => damaged.set(damaged.get() + chunk.dots),
                    Err(error) => return Err(error),
                }
            }
        })
        .collect();
    merge::merge(&mut inputs, !clock, piece_dots, |piece| writer.add(piece, clock))
}

#[cfg(test)]
mod tests {
    use dotter_dot::Timestamp;

    use super::*;
    use crate::manifest::{Order, StoreId};

    fn manifest(segments: &[(u32, u64, u64)]) -> Manifest {
        let entry = |(level, sequence, generation): &(u32, u64, u64)| SegmentEntry {
            name: format!("{sequence}-{generation}"),
            bytes: 1,
            first_time: Timestamp::MIN,
            last_time: Timestamp::MIN,
            order: Order { sequence: *sequence, generation: *generation },
            level: *level,
            dots: 1,
            series: 1,
        };
        Manifest {
            store: StoreId([0; 16]),
            generation: 1,
            wal_first: 1,
            segments: segments.iter().map(entry).collect(),
            obsolete: Vec::new(),
            ledger: Default::default(),
        }
    }

    fn chosen(segments: &[(u32, u64, u64)], first_live: u64) -> Vec<u64> {
        let inputs = neighbours(&manifest(segments), first_live);
        inputs.unwrap_or_default().iter().map(|entry| entry.order.sequence).collect()
    }

    #[test]
    fn eight_neighbours_of_a_level_are_merged_and_at_most_sixteen() {
        let sealed = |count: u64| (1..=count).map(|n| (0, n * 10, 0)).collect::<Vec<_>>();
        assert_eq!(chosen(&sealed(7), 1000), Vec::<u64>::new());
        assert_eq!(chosen(&sealed(8), 1000).len(), 8);
        assert_eq!(chosen(&sealed(40), 1000), (1..=16).map(|n| n * 10).collect::<Vec<_>>());
    }

    #[test]
    fn a_commit_that_a_seal_may_still_come_before_is_left_alone() {
        let mut segments: Vec<_> = (1..=7).map(|n| (0, n, 0)).collect();
        segments.push((0, 50, 9));
        assert_eq!(chosen(&segments, 20), Vec::<u64>::new());
        assert_eq!(chosen(&segments, 51).len(), 8);
        let same: Vec<_> = (1..=8).map(|n| (0, 50, n)).collect();
        assert_eq!(chosen(&same, 20).len(), 8);
    }
}
