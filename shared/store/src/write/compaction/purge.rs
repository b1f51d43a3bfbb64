//! Writing segments anew for the sake of the bytes that tombstones hide.
//!
//! Always true: a segment is written anew only where a look into it finds a dot that is hidden. For any other the list
//! notes that the tombstones have been applied, so it is not looked into again.

use std::collections::BTreeSet;
use std::sync::Arc;

use dotter_dot::{Column, Timestamp};

use crate::disk::manifest;
use crate::error::Error;
use crate::format::listing::SegmentEntry;
use crate::format::manifest::Manifest;
use crate::format::tombstone::Tombstone;
use crate::format::tombstones::Tombstones;
use crate::read::segment::Segment;
use crate::write::compaction::{Compacted, Compaction};

/// The most segments that one commit notes something of.
const NOTED_MAX: usize = 256;

/// Segments that cannot be purged, by their names.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    /// Those of which not every series can be found.
    pub(crate) damaged: BTreeSet<String>,
    /// Those that other tombstones hide dots of, and not the ones in question.
    others: BTreeSet<String>,
}

impl Passed {
    fn has(&self, entry: &SegmentEntry) -> bool {
        self.damaged.contains(&entry.name) || self.others.contains(&entry.name)
    }
}

impl Compaction<'_> {
    /// Writes a segment anew that a tombstone hides dots of which is due by the wall clock; `false` where there is none.
    pub(super) fn purge_due(&self, now: Timestamp) -> Result<bool, Error> {
        let tombstones = manifest::read(self.layout())?.tombstones;
        let due: Vec<_> = tombstones.each().filter(|tombstone| tombstone.is_due(now)).cloned().collect();
        if due.is_empty() {
            return Ok(false);
        }
        let asking = |entry: &SegmentEntry| due.iter().any(|tombstone| tombstone.concerns(entry));
        // Tombstones that are not due are applied too. So a segment is written anew once in `PURGE_AGE` at the most.
        self.purge_next(&asking, &tombstones.iter().collect::<Vec<_>>(), &mut Passed::default())
            .map(|compacted| compacted.is_some())
    }

    /// Writes the next segment anew that this tombstone may hide dots of; `None` where there is no further one.
    ///
    /// - `passed`: what earlier calls have found
    pub(crate) fn purge(
        &self,
        tombstone: &Tombstone,
        passed: &mut Passed,
    ) -> Result<Option<Compacted>, Error> {
        let asking = |entry: &SegmentEntry| tombstone.concerns(entry);
        self.purge_next(&asking, &[tombstone], passed)
    }

    /// - `asking`: whether a segment is in question
    /// - `tombstones`: it is written anew where one of these may hide dots of it
    fn purge_next(
        &self,
        asking: &dyn Fn(&SegmentEntry) -> bool,
        tombstones: &[&Tombstone],
        passed: &mut Passed,
    ) -> Result<Option<Compacted>, Error> {
        loop {
            let manifest = manifest::read(self.layout())?;
            let mut spotless = BTreeSet::new();
            let mut found = None;
            for entry in manifest.segments.iter().filter(|entry| asking(entry)) {
                if passed.has(entry) {
                    continue;
                }
                if self.is_cancelled() {
                    return Err(Error::GivenUp);
                }
                let segment = match self.open(entry) {
                    Err(Error::Damaged { .. }) => {
                        passed.damaged.insert(entry.name.clone());
                        continue;
                    }
                    other => other?,
                };
                if self.hides(&segment, tombstones.iter().copied(), &manifest.tombstones)? {
                    found = Some(segment);
                    break;
                }
                if self.hides(&segment, manifest.tombstones.iter(), &manifest.tombstones)? {
                    passed.others.insert(entry.name.clone());
                } else {
                    spotless.insert(entry.number());
                }
                if spotless.len() >= NOTED_MAX {
                    break;
                }
            }
            let is_noted = !spotless.is_empty();
            if is_noted {
                self.note_purged(&manifest, &spotless)?;
            }
            match found {
                Some(segment) => match self.write_anew(segment.clone()) {
                    // What could be found a moment ago cannot be found any more.
                    Err(Error::Damaged { .. }) => {
                        passed.damaged.insert(segment.entry().name.clone());
                    }
                    written => return written.map(Some),
                },
                None if is_noted => {}
                None => return Ok(None),
            }
        }
    }

    /// Whether a dot or a step of a series that one of the tombstones means is hidden in a segment; also where a damaged
    /// chunk may have one. A step may be hidden by several tombstones together.
    ///
    /// - `all`: all tombstones of the list
    fn hides<'t>(
        &self,
        segment: &Arc<Segment>,
        tombstones: impl Iterator<Item = &'t Tombstone>,
        all: &Tombstones,
    ) -> Result<bool, Error> {
        let (mut chunks, mut dots) = (Vec::new(), Column::default());
        for tombstone in tombstones.filter(|tombstone| tombstone.concerns(segment.entry())) {
            let mut series = segment.series(tombstone.first_name());
            while let Some(step) = series.next() {
                step?;
                let name = series.name()?;
                if self.is_cancelled() {
                    return Err(Error::GivenUp);
                }
                if tombstone.is_behind(name.as_str()) {
                    break;
                }
                if !tombstone.names(name.as_str()) {
                    continue;
                }
                chunks.clear();
                series.chunks(|chunk| chunks.push(chunk))?;
                let hidden = segment.hidden(all, name.as_str());
                for chunk in &chunks {
                    if !hidden.meets(chunk.first.nanos(), chunk.last.nanos()) {
                        continue;
                    }
                    dots.clear();
                    match segment.read(chunk, &mut dots) {
                        // It is not known what it holds.
                        Err(Error::Damaged { .. }) => return Ok(true),
                        other => other?,
                    }
                    if dots.times().iter().any(|time| hidden.contains(*time)) {
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }

    /// Notes of segments that no tombstone of the list hides anything of them.
    fn note_purged(&self, seen: &Manifest, numbers: &BTreeSet<u64>) -> Result<(), Error> {
        manifest::change(self.layout(), |manifest| {
            manifest.segments.change(
                |entry| numbers.contains(&entry.number()),
                // Later tombstones were not looked at.
                |entry| entry.purged = entry.purged.max(seen.generation),
            );
            let first_live = manifest.first_live(self.layout())?;
            manifest.drop_spent_tombstones(first_live);
            Ok(())
        })
        .map(drop)
    }
}
