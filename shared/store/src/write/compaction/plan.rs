//! Choosing the segments to merge next.
//!
//! Segments with the same order are the pieces of one merge, disjoint in time. All of them are merged together or
//! none is.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use crate::format::listing::SegmentEntry;
use crate::format::manifest::Manifest;
use crate::write::compaction::LEVEL_TOP;

/// How many neighbours of a level are merged at once.
const TOGETHER: RangeInclusive<usize> = 8..=16;
/// The most orders merged at once by a major compaction, or where segments of lower levels lie between: each takes
/// the memory of a chunk.
const ORDERS_MAX: usize = 64;
/// Files smaller than this are merged on the highest level too, since else many small commits would leave many of
/// them.
const SMALL_BYTES: u64 = 4 << 20;
/// From so many tombstones on they are purged where there is nothing else to do.
const TOMBSTONES_LEFT: usize = 16;

/// One merge that is to be done.
#[derive(Debug)]
pub(super) struct Job {
    /// Neighbours, in the order of their commits.
    pub(super) inputs: Vec<SegmentEntry>,
    /// The level of the new segments.
    pub(super) level: u32,
    /// Whether the new segments are not merged again in the same compaction.
    pub(super) is_last: bool,
}

/// Splits the list into runs of groups, each group of one order; within a run no commit can get a place between two
/// groups any more.
///
/// - `first_live`: the first sequence that a later seal may have in its order
fn eras<'a>(
    manifest: &'a Manifest,
    first_live: u64,
    damaged: &BTreeSet<String>,
) -> Vec<Vec<&'a [SegmentEntry]>> {
    let mut eras: Vec<Vec<&[SegmentEntry]>> = Vec::new();
    let mut before: Option<&SegmentEntry> = None;
    for group in manifest.segments.chunk_by(|a, b| a.order == b.order) {
        if group.iter().any(|entry| damaged.contains(&entry.name)) {
            before = None;
            continue;
        }
        // A seal of the live log is split at each commit in it, so nothing comes between equal sequences.
        let (sequence, apart) = (group[0].order.sequence, group[0].order.sequence >= first_live);
        match (before, eras.last_mut()) {
            (Some(before), Some(era)) if !apart || before.order.sequence == sequence => era.push(group),
            _ => eras.push(vec![group]),
        }
        before = Some(&group[0]);
    }
    eras
}

fn level(group: &[SegmentEntry]) -> u32 {
    group.iter().map(|entry| entry.level).max().unwrap_or(0)
}

fn job(groups: &[&[SegmentEntry]], level: u32) -> Job {
    Job { inputs: groups.concat(), level: level.min(LEVEL_TOP), is_last: true }
}

/// The neighbours to merge next: the oldest of the lowest level that has enough of them.
///
/// Segments of lower levels that lie between are merged too, since they would never become enough by themselves.
pub(super) fn minor(manifest: &Manifest, first_live: u64, damaged: &BTreeSet<String>) -> Option<Job> {
    let eras = eras(manifest, first_live, damaged);
    for wanted in 0..LEVEL_TOP {
        for run in eras.iter().flat_map(|era| era.split(|group| level(group) > wanted)) {
            if let Some(groups) = enough(run, &|group| level(group) == wanted) {
                return Some(job(groups, wanted + 1));
            }
        }
    }
    let is_large = |group: &&[SegmentEntry]| group.iter().any(|entry| entry.bytes >= SMALL_BYTES);
    for run in eras.iter().flat_map(|era| era.split(is_large)) {
        if let Some(groups) = enough(run, &|group| level(group) == LEVEL_TOP) {
            return Some(job(groups, LEVEL_TOP));
        }
    }
    if manifest.tombstones.len() > TOMBSTONES_LEFT {
        let concerned = |group: &&&[SegmentEntry]| {
            let concerns = |entry: &SegmentEntry| manifest.tombstones.iter().any(|one| one.concerns(entry));
            group.iter().any(concerns)
        };
        let group = eras.iter().flatten().find(concerned)?;
        return Some(job(&[group], level(group)));
    }
    None
}

/// The first neighbours of a run that hold enough groups that count; `None` where there are too few.
fn enough<'a, 'b>(
    run: &'a [&'b [SegmentEntry]],
    counts: &dyn Fn(&[SegmentEntry]) -> bool,
) -> Option<&'a [&'b [SegmentEntry]]> {
    let (mut count, mut end) = (0, 0);
    for (index, group) in run.iter().enumerate().take(ORDERS_MAX) {
        if counts(group) {
            (count, end) = (count + 1, index + 1);
        }
        if count == *TOGETHER.end() {
            break;
        }
    }
    (count >= *TOGETHER.start()).then_some(&run[..end])
}

/// The neighbours to merge next until everything is merged.
///
/// - `done`: segments that need not be merged any more
pub(super) fn major(
    manifest: &Manifest,
    first_live: u64,
    damaged: &BTreeSet<String>,
    done: &BTreeSet<String>,
) -> Option<Job> {
    for era in eras(manifest, first_live, damaged) {
        if era.iter().copied().flatten().all(|entry| done.contains(&entry.name)) {
            continue;
        }
        let mut job = job(&era[..era.len().min(ORDERS_MAX)], LEVEL_TOP);
        job.is_last = era.len() <= ORDERS_MAX;
        return Some(job);
    }
    None
}

/// All neighbours from the oldest on between which no commit can get a place any more.
pub(super) fn oldest(manifest: &Manifest, first_live: u64) -> Vec<SegmentEntry> {
    eras(manifest, first_live, &BTreeSet::new()).first().map_or_else(Vec::new, |era| era.concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::listing::Order;

    /// Level, sequence, generation.
    type Entry = (u32, u64, u64);

    fn manifest(segments: &[Entry]) -> Manifest {
        let entry = |(index, (level, sequence, generation)): (usize, &Entry)| SegmentEntry {
            name: format!("{index}"),
            bytes: SMALL_BYTES,
            order: Order { sequence: *sequence, generation: *generation },
            level: *level,
            ..SegmentEntry::default()
        };
        Manifest { segments: segments.iter().enumerate().map(entry).collect(), ..Manifest::default() }
    }

    fn chosen(segments: &[Entry], first_live: u64) -> (Vec<u64>, u32) {
        let job = minor(&manifest(segments), first_live, &BTreeSet::new());
        job.map(|job| (job.inputs.iter().map(|entry| entry.order.sequence).collect(), job.level))
            .unwrap_or_default()
    }

    #[test]
    fn eight_neighbours_of_a_level_are_merged_and_at_most_sixteen() {
        let sealed = |count: u64| (1..=count).map(|n| (0, n * 10, 0)).collect::<Vec<_>>();
        assert_eq!(chosen(&sealed(7), 1000), (vec![], 0));
        assert_eq!(chosen(&sealed(8), 1000).0.len(), 8);
        assert_eq!(chosen(&sealed(40), 1000), ((1..=16).map(|n| n * 10).collect(), 1));
    }

    #[test]
    fn a_commit_that_a_seal_may_still_come_before_is_left_alone() {
        let mut segments: Vec<_> = (1..=7).map(|n| (0, n, 0)).collect();
        segments.push((0, 50, 9));
        assert_eq!(chosen(&segments, 20).0.len(), 0);
        assert_eq!(chosen(&segments, 50).0.len(), 0);
        assert_eq!(chosen(&segments, 51).0.len(), 8);
        let same: Vec<_> = (1..=8).map(|n| (0, 50, n)).collect();
        assert_eq!(chosen(&same, 20).0.len(), 8);
    }

    #[test]
    fn pieces_of_one_merge_count_once_and_stay_together() {
        let pieces: Vec<_> = (0..16).map(|n| (1, n / 2, 0)).collect();
        assert_eq!(chosen(&pieces, 1000), ((0..16).map(|n| n / 2).collect(), 2));
        assert_eq!(chosen(&pieces[..14], 1000).0.len(), 0);
    }

    #[test]
    fn what_was_left_between_higher_levels_is_taken_along_and_younger_ones_wait() {
        let mut segments: Vec<Entry> = (0..7).map(|n| (0, n, 0)).collect();
        segments.extend((10..18).map(|n| (1, n, 0)));
        segments.extend((20..25).map(|n| (0, n, 0)));
        assert_eq!(chosen(&segments, 1000), ((0..7).chain(10..18).collect(), 2));
    }

    #[test]
    fn the_highest_level_is_merged_only_while_it_is_small() {
        let top: Vec<Entry> = (0..20).map(|n| (LEVEL_TOP, n, 0)).collect();
        assert_eq!(chosen(&top, 1000).0.len(), 0);
        let mut manifest = manifest(&top);
        manifest.segments.iter_mut().for_each(|entry| entry.bytes = SMALL_BYTES - 1);
        let job = minor(&manifest, 1000, &BTreeSet::new()).unwrap();
        assert_eq!((job.inputs.len(), job.level), (16, LEVEL_TOP));
        manifest.segments[10].bytes = SMALL_BYTES;
        assert_eq!(minor(&manifest, 1000, &BTreeSet::new()).unwrap().inputs.len(), 10);
    }

    #[test]
    fn nothing_is_merged_across_a_damaged_segment() {
        let segments: Vec<Entry> = (0..12).map(|n| (0, n, 0)).collect();
        let job = |damaged: &str| minor(&manifest(&segments), 1000, &BTreeSet::from([damaged.to_owned()]));
        assert_eq!(job("3").unwrap().inputs.len(), 8);
        assert_eq!(job("5").map(|job| job.inputs.len()), None);
    }

    #[test]
    fn a_major_compaction_takes_everything_that_may_be_merged() {
        let segments: Vec<Entry> = (0..100).map(|n| (n as u32 % 4, n, 0)).collect();
        let none = BTreeSet::new();
        let job = major(&manifest(&segments), 1000, &none, &none).unwrap();
        assert_eq!((job.inputs.len(), job.is_last), (ORDERS_MAX, false));
        let job = major(&manifest(&segments[..10]), 5, &none, &none).unwrap();
        assert_eq!((job.inputs.len(), job.is_last), (5, true));
        let done: BTreeSet<String> = (0..5).map(|n| n.to_string()).collect();
        assert_eq!(major(&manifest(&segments[..6]), 5, &none, &done).unwrap().inputs.len(), 1);
        assert!(major(&manifest(&segments[..5]), 5, &none, &done).is_none());
    }
}
