//! Archives: each archive is a row of windows of one step. The segment of a window has the steps of all series whose
//! rule has this archive.
//!
//! Always true:
//!
//! - windows of one step never overlap
//! - a window was computed from every commit before its order
//! - a window that later commits or tombstones reach into is computed again: each step from its dots where they are
//!   still there, else the step stays as it was
//! - a window that lacks a series whose rule has changed is computed again too

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use dotter_dot::{Column, SeriesName, TimeRange, Timestamp};

use crate::disk::manifest;
use crate::error::Error;
use crate::format::archive::Archive;
use crate::format::manifest::Manifest;
use crate::format::rollup::{Fold, Rollup};
use crate::format::rules::Rule;
use crate::format::segment::Meta;
use crate::format::tombstone::Spans;
use crate::format::windows::WindowLevel;
use crate::read::segment::Segment;
use crate::write::compaction::Compaction;
use crate::write::retention::{Pass, View, lacking, overdue, unless_damaged};
use crate::write::segment::{SegmentWriter, Unlisted, place};

/// The most steps of a chunk.
const CHUNK_DOTS: usize = 4096;
/// A window is computed this long after its end; dots that come later cause it to be computed again.
const GRACE: Duration = Duration::from_secs(900);
/// The most windows computed in one pass, so that compaction has its turn too.
const WINDOWS_MAX: usize = 64;

impl Archive {
    /// Whether dots or tombstones that belong in it were committed since it was computed.
    fn is_dirty(&self, view: &View<'_>, cancel: &dyn Fn() -> bool) -> Result<bool, Error> {
        let manifest = &view.snapshot.inner.manifest;
        for segment in manifest.segments.iter().filter(|segment| segment.order > self.order) {
            if segment.first_time.nanos() < self.until
                && self.from <= segment.last_time.nanos()
                && view.occupied(segment, cancel)?.meets(self.from, self.until)
            {
                return Ok(true);
            }
        }
        Ok(manifest.tombstones.iter().any(|tombstone| self.misses(tombstone)))
    }
}

/// The level of the windows of a step: the coarsest whose windows are at most half as long as dots are kept, so that dots
/// are still there when a window closes; but no window is narrower than the step.
fn window_level(step: Duration, raw: Duration) -> WindowLevel {
    let widths = [
        (WindowLevel::Hour, 3_600),
        (WindowLevel::Day, 86_400),
        (WindowLevel::Month, 31 * 86_400),
        (WindowLevel::Year, 366 * 86_400),
    ];
    let least = widths
        .iter()
        .find(|(_, width)| *width >= step.as_secs())
        .map_or(WindowLevel::Year, |(level, _)| *level);
    let most = widths[..3].iter().rev().find(|(_, width)| width * 2 <= raw.as_secs());
    most.map_or(least, |(level, _)| (*level).max(least))
}

/// The first beginning of a step at or after `time`.
fn up(time: u64, step: u64) -> u64 {
    time.checked_next_multiple_of(step).unwrap_or(u64::MAX / step * step)
}

/// For each step of all rules, the shortest time that dots are kept and the longest time that steps are kept.
fn steps(view: &View<'_>) -> BTreeMap<u64, (Duration, Duration)> {
    let mut steps = BTreeMap::new();
    for rule in view.rules.all() {
        for archive in &rule.archives {
            let step = archive.step.as_nanos() as u64;
            let (raw, keep) = steps.entry(step).or_insert((rule.raw, archive.keep));
            (*raw, *keep) = ((*raw).min(rule.raw), (*keep).max(archive.keep));
        }
    }
    steps
}

/// Computes windows that have closed since the last pass, and those into which something has come; returns how many.
pub(super) fn make(compaction: &Compaction<'_>, view: &View<'_>) -> Result<u64, Error> {
    let cancel = || compaction.is_cancelled();
    let mut dirty = Vec::new();
    // Also windows of steps that are in no rule any more: a delete must reach them too.
    let mut lacking = BTreeSet::new();
    for segment in &view.snapshot.inner.segments {
        let of = unless_damaged(lacking::lacking(view, segment.entry(), &cancel))?;
        lacking.append(&mut of.unwrap_or_default());
    }
    for window in &view.snapshot.inner.manifest.archives {
        let is_due = lacking.contains(&(window.step, window.from)) || window.is_dirty(view, &cancel)?;
        if is_due && is_whole(view, window)? {
            dirty.push(window.clone());
        }
    }
    let mut missing = Vec::new();
    for (step, (raw, keep)) in &steps(view) {
        missing.extend(self::missing(view, *step, *raw, *keep, &cancel)?);
    }
    let due = chosen(missing, dirty, WINDOWS_MAX);
    let made = due.len() as u64;
    due.into_iter().try_for_each(|window| compute(compaction, view, window))?;
    Ok(made)
}

/// Whether a window can be written anew from what it has: steps whose dots have gone are nowhere else, so where its file
/// is damaged it stays as it is until that is restored.
fn is_whole(view: &View<'_>, window: &Archive) -> Result<bool, Error> {
    let open = view.snapshot.inner.archives.iter().find(|open| open.window == *window);
    match open {
        Some(open) => Ok(unless_damaged(open.segment.check_all())?.is_some()),
        None => Ok(window.segment.is_none()),
    }
}

/// Chooses the windows that a pass computes: of the missing ones the newest, since no dots are removed before these
/// are there; of those to be computed again some of the newest and some of the oldest. Neither kind can hold up the
/// other.
fn chosen(mut missing: Vec<Archive>, mut dirty: Vec<Archive>, most: usize) -> Vec<Archive> {
    missing.sort_by_key(|window| std::cmp::Reverse(window.from));
    dirty.sort_by_key(|window| std::cmp::Reverse(window.from));
    let again = dirty.len().min(most.saturating_sub(missing.len()).max(most / 4));
    missing.truncate(most - again);
    let newest = again.div_ceil(2);
    missing.extend_from_slice(&dirty[..newest]);
    missing.extend_from_slice(&dirty[dirty.len() - (again - newest)..]);
    missing
}

/// The windows of a step that have closed, may have steps, and are missing. Their order is that before all commits.
fn missing(
    view: &View<'_>,
    step: u64,
    raw: Duration,
    keep: Duration,
    cancel: &dyn Fn() -> bool,
) -> Result<Vec<Archive>, Error> {
    let (manifest, now) = (&view.snapshot.inner.manifest, view.now);
    let level = window_level(Duration::from_nanos(step), raw);
    let mut due: Vec<Archive> = Vec::new();
    // Windows older than the archive keeps are left out: they would be removed at once. Age is judged by the newest
    // dot too, so of old data all windows are looked at.
    let oldest = view.oldest(keep);
    let mut done = Spans::default();
    for window in manifest.archives.iter().filter(|window| window.step == step && window.from < window.until)
    {
        done.add(window.from, window.until - 1);
    }
    let closed = now.saturating_sub(GRACE).nanos();
    for segment in &manifest.segments {
        let (first, last) = (segment.first_time.nanos().max(oldest), segment.last_time.nanos().min(closed));
        if first > last || done.covers(first, last) {
            continue;
        }
        let occupied = view.occupied(segment, cancel)?;
        let mut time = first;
        while let Some(at) = occupied.next(time).filter(|at| *at <= last) {
            // A step belongs to the window in which it begins.
            let begins = at / step * step;
            let Some(next) = level.next(begins).filter(|next| up(*next, step) <= closed) else { break };
            let (from, until) = (up(level.start(begins), step), up(next, step));
            // A window of which a part is too old would be removed by this pass and be missing again in the next.
            for (from, until) in done.gaps(from, until).into_iter().filter(|(_, until)| *until > oldest) {
                let window = Archive { step, from, until, ..Archive::default() };
                done.add(from, until - 1);
                due.push(window);
            }
            time = until;
        }
    }
    Ok(due)
}

/// Computes a window, which replaces those that it overlaps.
fn compute(compaction: &Compaction<'_>, view: &View<'_>, window: Archive) -> Result<(), Error> {
    let layout = compaction.layout();
    let snapshot = view.snapshot.without_head();
    let manifest = &snapshot.inner.manifest;
    let last = manifest.segments.iter().map(|segment| segment.order);
    let order =
        last.chain(manifest.tombstones.iter().map(|tombstone| tombstone.order)).max().unwrap_or_default();
    let old = match &window.segment {
        Some(entry) => match Segment::open(&layout.segment(&entry.name), entry) {
            Ok(segment) => Some(Arc::new(segment)),
            Err(Error::Damaged { .. }) => return Ok(()),
            Err(error) => return Err(error),
        },
        None => None,
    };
    let mut writer = SegmentWriter::new(layout, 0, CHUNK_DOTS);
    let mut scan = snapshot.scan();
    let range = TimeRange::new(Timestamp::from_nanos(window.from), Timestamp::from_nanos(window.until));
    let mut run = Column::default();
    let theirs: Vec<SeriesName> = old.iter().flat_map(|old| old.names("")).collect::<Result<_, _>>()?;
    let mut theirs = theirs.into_iter().peekable();
    let mut ours = snapshot.series().peekable();
    while let Some(name) = next_name(&mut ours, &mut theirs) {
        if compaction.is_cancelled() {
            return Err(Error::GivenUp);
        }
        let has_step = |rule: &&Rule| rule.keep(window.step).is_some();
        let rule = view.rules.of(name.as_str()).filter(has_step);
        let keep = rule.and_then(|rule| rule.keep(window.step));
        // Steps older than they are kept are not computed; those that are there are removed once that was announced.
        let is_over = keep.is_none_or(|keep| window.until <= view.cutoff(name.as_str(), keep));
        let mut steps = BTreeMap::new();
        if !is_over {
            let mut fold = Fold::new(window.step);
            scan.rows(name.as_str(), range, |row| {
                let done = row.number().and_then(|number| fold.number(row.time(), number));
                steps.extend(done.map(|done| (done.time, done)));
                std::ops::ControlFlow::Continue(())
            })?;
            steps.extend(fold.end().map(|done| (done.time, done)));
        }
        if let Some(old) = &old {
            let cutoff = rule.map_or(u64::MAX, |rule| view.dots_cutoff(name.as_str(), rule));
            keep_old(old, &name, &window, manifest, cutoff, &mut steps)?;
        }
        run.clear();
        steps.values().for_each(|step| step.put(&mut run));
        if !run.is_empty() {
            writer.begin(name, Rollup::shape().clone())?;
            writer.add(&run, false)?;
        }
    }
    let window = Archive { order, ..window };
    let unlisted = if writer.is_empty() { None } else { Some(writer.finish(&meta(&window))?) };
    replace(compaction, window, unlisted)
}

fn next_name(
    ours: &mut std::iter::Peekable<impl Iterator<Item = SeriesName>>,
    theirs: &mut std::iter::Peekable<impl Iterator<Item = SeriesName>>,
) -> Option<SeriesName> {
    let least = ours.peek().into_iter().chain(theirs.peek()).min()?.clone();
    ours.next_if_eq(&least);
    theirs.next_if_eq(&least);
    Some(least)
}

/// Puts back the old steps of a series whose dots have expired. These are the steps that were made from more dots
/// than there are now, without a delete that explains it.
///
/// A dot that comes late into a step whose dots have expired is not added to it. Importing the same dots once more
/// changes nothing.
///
/// - `cutoff`: the dots of steps that begin from here on have not expired
/// - `steps`: the steps computed from the dots that are there
fn keep_old(
    old: &Segment,
    name: &SeriesName,
    window: &Archive,
    manifest: &Manifest,
    cutoff: u64,
    steps: &mut BTreeMap<Timestamp, Rollup>,
) -> Result<(), Error> {
    let hidden = crate::format::tombstone::hidden(&manifest.tombstones, name.as_str(), window.order, 0);
    let mut all = Column::default();
    for chunk in old.all_chunks(name.as_str())? {
        match old.read(&chunk, &mut all) {
            Ok(()) => {}
            Err(error) => return Err(error),
        }
    }
    for index in 0..all.len() {
        let Some(step) = Rollup::take(&all, index, window.step) else { continue };
        let (first, last) = (all.times()[index], all.times()[index].saturating_add(window.step - 1));
        let is_deleted = hidden.covers(first, last) || hidden.meets(first, last) && first >= cutoff;
        let count = steps.get(&step.time).map_or(0, |now| now.count);
        if !is_deleted && count < step.count {
            steps.insert(step.time, step);
        }
    }
    Ok(())
}

fn meta(window: &Archive) -> Meta {
    Meta { archive: Some(Archive { segment: None, ..window.clone() }), ..Meta::default() }
}

/// Lists a window in place of those that it overlaps.
fn replace(compaction: &Compaction<'_>, window: Archive, unlisted: Option<Unlisted>) -> Result<(), Error> {
    manifest::change(compaction.layout(), |manifest| {
        let (gone, kept) =
            std::mem::take(&mut manifest.archives).into_iter().partition(|old| old.meets(&window));
        manifest.archives = kept;
        let gone: Vec<Archive> = gone;
        let files = gone.iter().filter_map(|old| old.segment.as_ref());
        manifest.obsolete.extend(files.map(|entry| format!("seg/{}", entry.name)));
        let order = window.order;
        let placed = place(manifest, unlisted.into_iter().map(|segment| (segment, order)).collect())?;
        let segment = placed.first().map(|placed| placed.entry.clone());
        manifest.archives.push(Archive { segment, ..window });
        manifest.archives.sort_by_key(|window| (window.step, window.from));
        Ok(placed)
    })?;
    Ok(())
}

/// Writes windows anew without steps that are too old, where other series keep the same step for longer; returns how
/// many windows it wrote.
///
/// - `exactly`: remove every step that is too old; else only where all steps that a series has in a window are, or
///   where they have been so for long
/// - `pass`: where it only reports, nothing changes
pub(super) fn thin(
    compaction: &Compaction<'_>,
    view: &View<'_>,
    exactly: bool,
    pass: Pass,
) -> Result<u64, Error> {
    let mut thinned = 0;
    for (step, shortest) in shortest(view) {
        let oldest = view.now.saturating_sub(shortest).nanos();
        let windows = &view.snapshot.inner.archives;
        for open in windows.iter().filter(|open| open.window.step == step && open.window.from < oldest) {
            if compaction.is_cancelled() {
                return Err(Error::GivenUp);
            }
            let cutoff = |name: &str| {
                let keep = view.rules.of(name).and_then(|rule| rule.keep(step))?;
                Some((view.cutoff(name, keep), keep))
            };
            let is_due = |name: &SeriesName| -> Result<bool, Error> {
                let Some((cutoff, keep)) = cutoff(name.as_str()) else { return Ok(false) };
                let chunks = open.segment.all_chunks(name.as_str())?;
                let first = chunks.iter().map(|chunk| chunk.first.nanos()).min();
                let last = chunks.iter().map(|chunk| chunk.last.nanos()).max();
                let (Some(first), Some(last)) = (first, last) else { return Ok(false) };
                Ok(last < cutoff || first < if exactly { cutoff } else { overdue(cutoff, keep) })
            };
            let looked =
                open.segment.names("").try_fold(false, |due, name| Ok::<_, Error>(due || is_due(&name?)?));
            if !unless_damaged(looked)?.unwrap_or(false) || !is_whole(view, &open.window)? {
                continue;
            }
            thinned += 1;
            if pass == Pass::Report {
                continue;
            }
            let before = |name: &str| cutoff(name).map_or(0, |(cutoff, _)| cutoff);
            let writer = compaction.concatenate(std::slice::from_ref(&open.segment), CHUNK_DOTS, &before)?;
            let window = Archive { segment: None, ..open.window.clone() };
            let unlisted = writer.map(|writer| writer.finish(&meta(&window))).transpose()?;
            replace(compaction, window, unlisted)?;
            if thinned >= WINDOWS_MAX as u64 && !exactly {
                return Ok(thinned);
            }
        }
    }
    Ok(thinned)
}

/// The shortest time that the steps of each width are kept.
fn shortest(view: &View<'_>) -> BTreeMap<u64, Duration> {
    let mut shortest = BTreeMap::new();
    for archive in view.rules.all().flat_map(|rule| &rule.archives) {
        let keep = shortest.entry(archive.step.as_nanos() as u64).or_insert(archive.keep);
        *keep = archive.keep.min(*keep);
    }
    shortest
}

/// Joins windows that lie in the same wider window and can no longer change, so that files stay few.
pub(super) fn gather(compaction: &Compaction<'_>, view: &View<'_>) -> Result<(), Error> {
    for (step, (raw, keep)) in steps(view) {
        let longest = view.rules.all().map(|rule| rule.raw).max().unwrap_or(raw);
        let mut wider = window_level(Duration::from_nanos(step), raw);
        // Not so wide that many steps would be kept for much longer than their rule says.
        while let Some(level) = wider.coarser()
            && level != WindowLevel::Year
        {
            wider = level;
            let settled = view.now.saturating_sub(longest).saturating_sub(GRACE).nanos();
            let manifest = &view.snapshot.inner.manifest;
            let of_step: Vec<&Archive> =
                manifest.archives.iter().filter(|window| window.step == step).collect();
            for windows in
                of_step.chunk_by(|a, b| a.until == b.from && wider.start(a.from) == wider.start(b.from))
            {
                let (first, last) = (windows[0], windows[windows.len() - 1]);
                let whole = wider.next(first.from).is_some_and(|next| up(next, step) <= settled);
                if windows.len() < 2 || !whole || keep.as_nanos() < 2 * (last.until - first.from) as u128 {
                    continue;
                }
                let mut is_dirty = false;
                for window in windows {
                    is_dirty |= window.is_dirty(view, &|| compaction.is_cancelled())?;
                }
                if !is_dirty {
                    join(compaction, windows)?;
                }
            }
        }
    }
    Ok(())
}

/// Puts neighbouring windows into one file.
fn join(compaction: &Compaction<'_>, windows: &[&Archive]) -> Result<(), Error> {
    let (first, last) = (windows[0], windows[windows.len() - 1]);
    let layout = compaction.layout();
    let segments = windows
        .iter()
        .filter_map(|window| window.segment.as_ref())
        .map(|entry| {
            let segment = Segment::open(&layout.segment(&entry.name), entry)?;
            segment.check_all().map(|()| Arc::new(segment))
        })
        .collect::<Result<Vec<_>, Error>>();
    let segments = match segments {
        // A window that was joined meanwhile, or is damaged, stays as it is.
        Err(Error::Damaged { .. }) => return Ok(()),
        Err(error) if error.is_not_found() => return Ok(()),
        other => other?,
    };
    let order = windows.iter().map(|window| window.order).min().unwrap_or_default();
    let window = Archive { step: first.step, from: first.from, until: last.until, order, segment: None };
    let writer = compaction.concatenate(&segments, CHUNK_DOTS, &|_| 0)?;
    let unlisted = writer.map(|writer| writer.finish(&meta(&window))).transpose()?;
    replace(compaction, window, unlisted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_as_wide_as_dots_live_twice() {
        let check = |step: u64, raw: u64, expected| {
            assert_eq!(
                window_level(Duration::from_secs(step), Duration::from_secs(raw)),
                expected,
                "{step} {raw}"
            );
        };
        check(60, 3_600, WindowLevel::Hour);
        check(60, 86_400, WindowLevel::Hour);
        check(60, 2 * 86_400, WindowLevel::Day);
        check(60, 400 * 86_400, WindowLevel::Month);
        check(86_400, 3_600, WindowLevel::Day);
        check(7 * 86_400, 86_400, WindowLevel::Month);
    }

    #[test]
    fn neither_missing_nor_changed_windows_hold_up_the_others() {
        let windows = |range: std::ops::Range<u64>| -> Vec<Archive> {
            range.map(|from| Archive { from, ..Archive::default() }).collect()
        };
        let check = |missing, dirty, expected: &[u64]| {
            let found = chosen(windows(missing), windows(dirty), 8);
            assert_eq!(found.iter().map(|window| window.from).collect::<Vec<_>>(), expected);
        };
        check(0..0, 0..0, &[]);
        check(0..3, 100..102, &[2, 1, 0, 101, 100]);
        check(0..50, 100..150, &[49, 48, 47, 46, 45, 44, 149, 100]);
        check(0..2, 100..150, &[1, 0, 149, 148, 147, 102, 101, 100]);
        check(0..50, 100..101, &[49, 48, 47, 46, 45, 44, 43, 100]);
    }
}
