//! Windows of archives that lack a series which belongs in them, since the rule of the series was another when they
//! were computed, or could not be read. They are computed again, and the dots stay until then.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use dotter_dot::{TimeRange, Timestamp};

use crate::error::Error;
use crate::format::archive::Archive;
use crate::format::listing::SegmentEntry;
use crate::read::scan::Scan;
use crate::write::retention::View;
use crate::write::retention::expiry::is_any_old;

/// The windows, by step and start, that lack a series of a segment where dots of that series are too old.
///
/// Always true: such a window has the series once it was computed again by the same rules. So steps that are older
/// than they are kept, and values that are no finite numbers, do not count as lacking.
///
/// - `cancel`: asked before each series
pub(super) fn lacking(
    view: &View<'_>,
    entry: &SegmentEntry,
    cancel: &dyn Fn() -> bool,
) -> Result<BTreeSet<(u64, u64)>, Error> {
    let mut lacking = BTreeSet::new();
    let inner = &view.snapshot.inner;
    let meets =
        |window: &&Archive| window.from <= entry.last_time.nanos() && entry.first_time.nanos() < window.until;
    let windows: Vec<&Archive> = inner.manifest.archives.iter().filter(meets).collect();
    let open = inner.segments.iter().find(|segment| segment.entry() == entry);
    let Some(segment) =
        open.filter(|_| !windows.is_empty() && is_any_old(view.rules, view.now, std::slice::from_ref(entry)))
    else {
        return Ok(lacking);
    };
    let mut scan = view.snapshot.without_head().scan();
    for name in segment.names("") {
        if cancel() {
            return Err(Error::GivenUp);
        }
        let name = name?;
        let name = name.as_str();
        let Some(rule) = view.rules.of(name).filter(|rule| !rule.archives.is_empty()) else { continue };
        let cutoff = view.dots_cutoff(name, rule);
        let mut old = Vec::new();
        segment.chunks(name, None, |chunk| {
            let (first, last) = (chunk.first.nanos(), chunk.last.nanos());
            if first < cutoff && segment.shape(&chunk).format().letters().any(|letter| letter.is_number()) {
                old.push((first, last.min(cutoff - 1)));
            }
        })?;
        for window in &windows {
            if lacking.contains(&(window.step, window.from)) {
                continue;
            }
            let Some(keep) = rule.keep(window.step) else { continue };
            let kept = view.cutoff(name, keep).checked_next_multiple_of(window.step).unwrap_or(u64::MAX);
            let from = window.from.max(kept);
            let meets = |(first, last): &(u64, u64)| *first < window.until && from <= *last;
            if from < window.until
                && old.iter().any(meets)
                && !has(view, window, name)?
                && has_number(&mut scan, name, from, window.until)?
            {
                lacking.insert((window.step, window.from));
            }
        }
    }
    Ok(lacking)
}

/// Whether a window has steps of a series; also `true` for a window that cannot be opened.
fn has(view: &View<'_>, window: &Archive, name: &str) -> Result<bool, Error> {
    if window.segment.is_none() {
        return Ok(false);
    }
    let open = view.snapshot.inner.archives.iter().find(|open| open.window == *window);
    open.map_or(Ok(true), |open| open.segment.has(name))
}

fn has_number(scan: &mut Scan, name: &str, from: u64, until: u64) -> Result<bool, Error> {
    let mut found = false;
    let range = TimeRange::new(Timestamp::from_nanos(from), Timestamp::from_nanos(until));
    scan.rows(name, range, |row| {
        found = row.number().is_some_and(f64::is_finite);
        if found { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(found)
}
