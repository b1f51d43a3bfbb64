//! Opening the segments that a list names; those that are open already are reused.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::disk::layout::Layout;
use crate::error::Error;
use crate::format::manifest::Manifest;
use crate::read::segment::Segment;
use crate::read::snapshot::{Damage, Inner};

/// The segments of a list, each kind in the order of their commits.
#[derive(Clone, Default)]
pub(crate) struct OpenSegments {
    /// Those that hold dots.
    pub(crate) dots: Vec<Arc<Segment>>,
    /// Those that hold steps made from dots.
    pub(crate) steps: Vec<Arc<Segment>>,
}

impl OpenSegments {
    /// Opens the segments that a list names; those that are open already are reused.
    ///
    /// A damaged segment is left out and counted; the others can be read.
    ///
    /// - `before`: what is open already
    pub(crate) fn of(
        layout: &Layout,
        manifest: &Manifest,
        before: Option<&Inner>,
        damage: &Damage,
    ) -> Result<OpenSegments, Error> {
        let open = before.into_iter().flat_map(|before| before.segments.iter().chain(&before.steps));
        let open: HashMap<u64, &Arc<Segment>> =
            open.map(|segment| (segment.entry().number(), segment)).collect();
        let mut segments = OpenSegments::default();
        for entry in &manifest.segments {
            let known = open.get(&entry.number()).filter(|segment| segment.entry() == entry);
            let segment = match known {
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
            if entry.has_steps() { &mut segments.steps } else { &mut segments.dots }.push(segment);
        }
        Ok(segments)
    }
}
