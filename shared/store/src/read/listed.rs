//! Opening the segments that a list names; those that are open already are reused.
//!
//! What changed between two lists is found by comparing only those parts that they do not share. So a look at a list
//! costs what has changed in it, and not how long it is.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::disk::layout::Layout;
use crate::error::Error;
use crate::format::listing::SegmentEntry;
use crate::format::manifest::{Listings, Manifest, by_order};
use crate::format::parts::{Parts, Sorted};
use crate::read::segment::Segment;
use crate::read::snapshot::{Damage, Inner};

/// The segments of a list, each kind in the order of their commits.
#[derive(Default)]
pub(crate) struct OpenSegments {
    /// Those that hold dots.
    pub(crate) dots: Parts<Segment>,
    /// Those that hold steps made from dots.
    pub(crate) steps: Parts<Segment>,
    /// Those of both kinds that were not open before.
    pub(crate) new: Vec<Arc<Segment>>,
    /// Whether other segments hold steps than before.
    pub(crate) has_other_steps: bool,
    /// Whether a segment was opened that was listed before and could not be opened: somebody has put the whole file there.
    pub(crate) has_mended: bool,
}

impl Sorted for Segment {
    fn place(&self, other: &Segment) -> Ordering {
        by_order(self.entry(), other.entry())
    }
}

impl OpenSegments {
    /// Opens the segments that a list names; those that are open already are reused.
    ///
    /// A damaged segment is left out and counted; the others can be read.
    ///
    /// - `before`: what is open already, of a list before this one
    pub(crate) fn of(
        layout: &Layout,
        manifest: &Manifest,
        before: Option<&Inner>,
        damage: &Damage,
    ) -> Result<OpenSegments, Error> {
        let mut segments = OpenSegments::default();
        let nothing = Listings::default();
        let before_listed = before.map_or(&nothing, |before| &before.manifest.segments);
        let mut listed = before_listed;
        let open: Listings;
        let mut damaged = HashSet::new();
        if let Some(before) = before {
            (segments.dots, segments.steps) = (before.segments.clone(), before.steps.clone());
            if before.segments.len() + before.steps.len() != listed.len() {
                // Some were damaged. They may have been mended.
                let both = before.segments.iter().chain(before.steps.iter());
                open = both.map(|segment| segment.entry().clone()).collect();
                damaged = listed.iter().map(SegmentEntry::number).collect();
                open.iter().for_each(|entry| _ = damaged.remove(&entry.number()));
                listed = &open;
            }
        }
        let difference = listed.difference(&manifest.segments);
        for entry in &difference.gone {
            let place = |segment: &Segment| by_order(segment.entry(), entry);
            segments.kind(entry).remove(place);
        }
        for entry in &difference.new {
            match Segment::open(&layout.segment(&entry.name), entry) {
                Ok(segment) => {
                    let segment = Arc::new(segment);
                    segments.kind(entry).insert(segment.clone());
                    segments.new.push(segment);
                    segments.has_mended |= damaged.contains(&entry.number());
                }
                // Relaxed: a count that nothing else depends on.
                Err(Error::Damaged { .. }) => drop(damage.segments.fetch_add(1, Relaxed)),
                Err(error) => return Err(error),
            }
        }
        let steps = |entries: &[&Arc<SegmentEntry>]| -> BTreeSet<u64> {
            entries.iter().filter(|entry| entry.has_steps()).map(|entry| entry.number()).collect()
        };
        let difference = before_listed.difference(&manifest.segments);
        segments.has_other_steps = steps(&difference.gone) != steps(&difference.new);
        Ok(segments)
    }

    fn kind(&mut self, entry: &SegmentEntry) -> &mut Parts<Segment> {
        if entry.has_steps() { &mut self.steps } else { &mut self.dots }
    }
}
