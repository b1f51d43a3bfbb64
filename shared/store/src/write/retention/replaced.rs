//! Replaced dots that are still in an earlier segment. They must not become visible again, so the dots that replaced
//! them must not expire before them.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Error;
use crate::format::listing::Order;
use crate::read::segment::Segment;
use crate::write::retention::expiry::is_out_of_reach;
use crate::write::retention::{View, unless_damaged};

/// What this pass removes: by segment, the series whose dots stay in it.
#[derive(Default)]
pub(super) struct Leaving(BTreeMap<String, BTreeSet<String>>);

impl Leaving {
    /// - `held`: the series of the segment that stay
    pub(super) fn add(&mut self, segment: &Segment, held: BTreeSet<String>) {
        self.0.insert(segment.entry().name.clone(), held);
    }

    /// Whether this pass removes the dots of a series in a segment that are too old.
    fn takes(&self, segment: &Segment, name: &str) -> bool {
        self.0.get(&segment.entry().name).is_some_and(|held| !held.contains(name))
    }

    /// The series of a segment whose old dots stay: those whose dots may have replaced dots that are not removed yet,
    /// and those that archives do not reach back to.
    pub(super) fn held(&self, view: &View<'_>, segment: &Segment) -> Result<BTreeSet<String>, Error> {
        let mut held = BTreeSet::new();
        let (order, first, last) = (segment.order(), segment.entry().first_time, segment.entry().last_time);
        let meets = |before: &&std::sync::Arc<Segment>| {
            before.order() < order && before.entry().first_time <= last && first <= before.entry().last_time
        };
        let before: Vec<_> = view.snapshot.inner.segments.iter().filter(meets).collect();
        for name in segment.names("") {
            let name = name?;
            let Some(rule) = view.rules.of(name.as_str()) else { continue };
            if is_out_of_reach(view, segment, name.as_str(), rule)? {
                held.insert(name.as_str().to_owned());
                continue;
            }
            let cutoff = view.dots_cutoff(name.as_str(), rule);
            let Some((first, last)) = explicit(segment, name.as_str(), 0, cutoff)? else { continue };
            for before in before.iter().filter(|before| !self.takes(before, name.as_str())) {
                if has_explicit(before, name.as_str(), first, last.saturating_add(1))? {
                    held.insert(name.as_str().to_owned());
                    break;
                }
            }
        }
        Ok(held)
    }
}

/// Whether dots of a series in `from..until` may have replaced dots in a segment before `order`.
pub(super) fn may_replace(
    view: &View<'_>,
    order: Order,
    name: &str,
    from: u64,
    until: u64,
) -> Result<bool, Error> {
    for before in view.snapshot.inner.segments.iter().filter(|segment| segment.order() < order) {
        if from <= before.entry().last_time.nanos() && has_explicit(before, name, from, until)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a segment has explicit times of a series in `from..until`. One whose names cannot be read may have.
fn has_explicit(segment: &Segment, name: &str, from: u64, until: u64) -> Result<bool, Error> {
    Ok(unless_damaged(explicit(segment, name, from, until))?.is_none_or(|found| found.is_some()))
}

/// First and last moment of the chunks with explicit times of a series that overlap `from..until`, the last moment
/// cut off at `until`. Clock stamps replace no dots.
fn explicit(segment: &Segment, name: &str, from: u64, until: u64) -> Result<Option<(u64, u64)>, Error> {
    let mut found: Option<(u64, u64)> = None;
    segment.chunks(name, None, |chunk| {
        let (first, last) = (chunk.first.nanos(), chunk.last.nanos());
        if !chunk.clock && first < until && from <= last {
            let (least, most) = found.unwrap_or((first, last));
            found = Some((least.min(first), most.max(last).min(until.saturating_sub(1))));
        }
    })?;
    Ok(found)
}
