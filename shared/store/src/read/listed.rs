//! Opening the segments and archives that a list names; those that are open already are reused.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::disk::layout::Layout;
use crate::error::Error;
use crate::format::manifest::Manifest;
use crate::read::archives::OpenArchive;
use crate::read::segment::Segment;
use crate::read::snapshot::Damage;

/// Opens the segments that a list names; those that are open already are reused.
///
/// A damaged segment is left out and counted; the others can be read.
pub(crate) fn open_segments(
    layout: &Layout,
    manifest: &Manifest,
    open: &[Arc<Segment>],
    damage: &Damage,
) -> Result<Vec<Arc<Segment>>, Error> {
    let mut segments = Vec::with_capacity(manifest.segments.len());
    let open: HashMap<u64, &Arc<Segment>> =
        open.iter().map(|segment| (segment.entry().number(), segment)).collect();
    for entry in &manifest.segments {
        if let Some(segment) = open.get(&entry.number()).filter(|segment| segment.entry() == entry) {
            segments.push(Arc::clone(segment));
            continue;
        }
        match Segment::open(&layout.segment(&entry.name), entry) {
            Ok(segment) => segments.push(Arc::new(segment)),
            // Relaxed: a count that nothing else depends on.
            Err(Error::Damaged { .. }) => _ = damage.segments.fetch_add(1, Relaxed),
            Err(error) => return Err(error),
        }
    }
    Ok(segments)
}

/// As [`open_segments`], for archives.
pub(crate) fn open_archives(
    layout: &Layout,
    manifest: &Manifest,
    open: &[OpenArchive],
    damage: &Damage,
) -> Result<Vec<OpenArchive>, Error> {
    let mut archives = Vec::with_capacity(manifest.archives.len());
    let open: HashMap<u64, &Arc<Segment>> =
        open.iter().map(|open| (open.segment.entry().number(), &open.segment)).collect();
    for window in &manifest.archives {
        let Some(entry) = &window.segment else { continue };
        let segment = match open.get(&entry.number()).filter(|segment| segment.entry() == entry) {
            Some(segment) => Arc::clone(segment),
            None => match Segment::open(&layout.segment(&entry.name), entry) {
                Ok(segment) => Arc::new(segment),
                Err(Error::Damaged { .. }) => {
                    // Relaxed: a count that nothing else depends on.
                    damage.segments.fetch_add(1, Relaxed);
                    continue;
                }
                Err(error) => return Err(error),
            },
        };
        archives.push(OpenArchive { window: window.clone(), segment });
    }
    Ok(archives)
}
