//! The list as it was when its last commit stood at or before a place in the log.

use super::list::read_copies;
use super::{open_finished, read};
use crate::disk::layout::Layout;
use crate::error::Error;
use crate::format::manifest::Manifest;

/// Reads on from `before`, edit by edit, up to the first commit that stands behind `sequence`; takes no lock. So commits
/// of other processes are there in their order, and none that stands behind a frame of the log which the caller leaves
/// out.
///
/// - `before`: the list as [`read`] gave it a moment ago; nothing in it stands behind `sequence`
///
/// Returns `None` where not every edit between the two can be read, as when the list was written anew meanwhile: then
/// the caller looks again.
///
/// # Errors
///
/// As [`read`].
pub(crate) fn read_until(
    layout: &Layout,
    before: Manifest,
    sequence: u64,
) -> Result<Option<Manifest>, Error> {
    if before.rebuilt.is_some() {
        // A guess has no edits to go on with.
        let now = read(layout)?;
        return Ok((now.last_sequence() <= sequence).then_some(now));
    }
    let copies = read_copies(layout, false)?;
    let payload = |number| copies.iter().find_map(|copy| copy.payload(number));
    let is_of_this_list =
        |copy: &super::copies::Copy| copy.header.is_none_or(|header| header.store == before.store);
    if !copies.iter().all(is_of_this_list) || payload(before.generation).is_none() {
        return Ok(None);
    }
    let published = copies.iter().filter_map(|copy| copy.published).map(|published| published.sequence);
    let last = copies.iter().filter_map(|copy| copy.last_edit()).chain(published).max().unwrap_or(0);
    let mut manifest = before.clone();
    while manifest.generation < last {
        let number = manifest.generation + 1;
        let Some(payload) = payload(number) else { return Ok(None) };
        let mut next = manifest.clone();
        if next.apply(number, payload).is_none() {
            return Ok(None);
        }
        if next.last_sequence() > sequence {
            break;
        }
        manifest = next;
    }
    let is_there = open_finished(layout, &mut manifest, before.ledger.files())?;
    Ok(is_there.then_some(manifest))
}
