//! Expiry: removing dots that are too old. A segment whose dots are all too old is removed from the list. All dots of a
//! segment that lies in a window are kept equally long, so such a segment goes once its window has been over for that
//! long. Some of its dots may have to stay for another reason: then the segment is written anew without the others,
//! once these are most of it or have been too old for long. So is a segment of level 0. Merges leave out dots by the
//! same rule.
//!
//! Always true: no dot is removed before those that it has replaced. Where names of a segment cannot be read, or those
//! of an archive of its time, it stays until they can be.

use std::collections::BTreeSet;

use dotter_dot::Timestamp;

use crate::disk::manifest;
use crate::error::Error;
use crate::format::archive::Archive;
use crate::format::listing::SegmentEntry;
use crate::format::place::Place;
use crate::format::rules::{Rule, Rules};
use crate::format::tombstone::Spans;
use crate::read::segment::Segment;
use crate::write::compaction::Compaction;
use crate::write::retention::lacking::lacking;
use crate::write::retention::replaced::Leaving;
use crate::write::retention::{Pass, Retained, View, overdue, unless_damaged};

/// Removes what is too old, or counts what it would remove.
pub(super) fn run(
    compaction: &Compaction<'_>,
    view: &View<'_>,
    pass: Pass,
    retained: &mut Retained,
) -> Result<(), Error> {
    let snapshot = view.snapshot;
    // In the order of their commits. A segment without series that stay is removed as a whole.
    let mut due: Vec<(SegmentEntry, Option<BTreeSet<String>>)> = Vec::new();
    let mut leaving = Leaving::default();
    let mark = view.rules.mark();
    for segment in &snapshot.inner.segments {
        let entry = segment.entry();
        // Everything that is too old is announced, though archives may not have it before the next pass.
        if !is_any_old(view.rules, view.now, std::slice::from_ref(entry))
            || pass == Pass::Remove && waits(entry, mark, view.now)
        {
            continue;
        }
        let looked = look(compaction, view, pass, segment, &leaving);
        let Some((all, held)) = unless_damaged(looked)?.flatten() else { continue };
        let is_whole = all.surely == entry.dots;
        if pass == Pass::Report {
            retained.segments += is_whole as u64;
            retained.dots += all.about;
        } else {
            due.push((entry.clone(), if is_whole && held.is_empty() { None } else { Some(held.clone()) }));
            leaving.add(segment, held);
        }
    }
    let is_foreign = |window: &Archive| {
        let open = snapshot.inner.archives.iter().find(|open| open.window == *window);
        window.segment.is_some() && open.is_some_and(|open| has_steps_without_rule(view, open))
    };
    let windows = snapshot.inner.manifest.archives.iter();
    let old: Vec<_> =
        windows.filter(|window| is_over(view, window) && !is_foreign(window)).cloned().collect();
    retained.archives_gone += old.len() as u64;
    if pass == Pass::Report {
        return Ok(());
    }
    // In the order of commits: wherever this pass is stopped, replaced dots were removed before the later ones.
    // Removing whole segments needs no room, so on a full disk the oldest make some.
    let mut gone = Vec::new();
    // What there was no room to write anew: it may hold dots that later segments of the same time have replaced.
    let mut left: Vec<SegmentEntry> = Vec::new();
    let mut full = None;
    for (entry, held) in due {
        let meets = |other: &SegmentEntry| {
            let is_then = other.first_time <= entry.last_time && entry.first_time <= other.last_time;
            is_then && other.names.0 <= entry.names.1 && entry.names.0 <= other.names.1
        };
        if left.iter().any(meets) {
            left.push(entry);
            continue;
        }
        let Some(held) = held else {
            gone.push(entry);
            continue;
        };
        remove(compaction, &std::mem::take(&mut gone), &[], retained)?;
        let cutoff = |name: &str| match view.rules.of(name) {
            Some(rule) if !held.contains(name) => view.dots_cutoff(name, rule),
            _ => 0,
        };
        match compaction.expire(&entry, &cutoff) {
            Err(error) if error.is_disk_full() => {
                full.get_or_insert(error);
                left.push(entry);
            }
            other => retained.dots += other?,
        }
    }
    remove(compaction, &gone, &old, retained)?;
    full.map_or(Ok(()), Err)
}

/// How many dots of a segment are too old, and the series that stay nevertheless; `None` where it stays as it is.
fn look(
    compaction: &Compaction<'_>,
    view: &View<'_>,
    pass: Pass,
    segment: &Segment,
    leaving: &Leaving,
) -> Result<Option<(Expired, BTreeSet<String>)>, Error> {
    let entry = segment.entry();
    let nobody = BTreeSet::new();
    if pass == Pass::Report {
        return Ok(Some((expired_dots(compaction, view, segment, &nobody)?, nobody)));
    }
    if !is_archived(entry, view, &|| compaction.is_cancelled())? {
        return Ok(None);
    }
    let all = expired_dots(compaction, view, segment, &nobody)?;
    if !all.is_due(entry.dots) {
        return Ok(None);
    }
    let held = leaving.held(view, segment)?;
    let is_due = held.is_empty() || expired_dots(compaction, view, segment, &held)?.is_due(entry.dots);
    Ok(is_due.then_some((all, held)))
}

/// Whether all of a segment will go at once, and not yet.
///
/// - `mark`: of the rules in force
fn waits(entry: &SegmentEntry, mark: u64, now: Timestamp) -> bool {
    // A window that wild stamps have made wide ends long after most of its dots are too old.
    let is_wide =
        |Place { tier, window, .. }: &Place| window.width > tier.width() && tier.eighth(window).is_none();
    entry
        .place
        .is_some_and(|place| !place.is_late && place.rules == mark && !is_wide(&place) && !place.is_over(now))
}

/// Removes whole segments and windows of archives from the list.
fn remove(
    compaction: &Compaction<'_>,
    gone: &[SegmentEntry],
    old: &[Archive],
    retained: &mut Retained,
) -> Result<(), Error> {
    if gone.is_empty() && old.is_empty() {
        return Ok(());
    }
    manifest::change(compaction.layout(), |manifest| {
        for entry in gone {
            let before = manifest.segments.len();
            manifest.segments.retain(|segment| segment.name != entry.name);
            if manifest.segments.len() < before {
                manifest.obsolete.push(format!("seg/{}", entry.name));
                manifest.ledger.totals.expired += entry.dots;
            }
        }
        manifest.archives.retain(|window| !old.contains(window));
        let files = old.iter().filter_map(|window| window.segment.as_ref());
        manifest.obsolete.extend(files.map(|entry| format!("seg/{}", entry.name)));
        Ok(())
    })?;
    retained.segments += gone.len() as u64;
    retained.dots += gone.iter().map(|entry| entry.dots).sum::<u64>();
    Ok(())
}

/// Whether dots that are older than they are kept may go where these segments are merged.
pub(super) fn may_expire(view: &View<'_>, entries: &[SegmentEntry]) -> Result<bool, Error> {
    let mut may = is_any_old(view.rules, view.now, entries);
    for entry in entries {
        may = may && unless_damaged(is_archived(entry, view, &|| false))?.unwrap_or(false);
    }
    Ok(may)
}

/// Whether any of these segments begins earlier than the rule that keeps dots the shortest allows.
pub(super) fn is_any_old(rules: &Rules, now: Timestamp, entries: &[SegmentEntry]) -> bool {
    let shortest = rules.all().map(|rule| rule.raw).min();
    let is_old =
        |shortest| entries.iter().any(|entry: &SegmentEntry| entry.first_time < now.saturating_sub(shortest));
    shortest.is_some_and(is_old)
}

/// How many dots of a segment are too old.
#[derive(Default)]
struct Expired {
    /// Those in chunks that are wholly too old.
    surely: u64,
    /// An estimate that includes chunks of which a part is too old, as if their dots were evenly spread.
    about: u64,
    /// Whether some dots have been too old for long.
    is_overdue: bool,
}

impl Expired {
    /// Whether a segment of so many dots is written anew without them, or removed.
    fn is_due(&self, dots: u64) -> bool {
        self.surely == dots || self.about * 2 >= dots && self.about > 0 || self.is_overdue
    }
}

/// - `held`: series that stay
fn expired_dots(
    compaction: &Compaction<'_>,
    view: &View<'_>,
    segment: &Segment,
    held: &BTreeSet<String>,
) -> Result<Expired, Error> {
    let mut expired = Expired::default();
    for name in segment.names("") {
        if compaction.is_cancelled() {
            return Err(Error::GivenUp);
        }
        let name = name?;
        let Some(rule) = view.rules.of(name.as_str()) else { continue };
        if held.contains(name.as_str()) || is_out_of_reach(view, segment, name.as_str(), rule)? {
            continue;
        }
        let cutoff = Timestamp::from_nanos(view.dots_cutoff(name.as_str(), rule));
        let overdue = Timestamp::from_nanos(overdue(cutoff.nanos(), rule.raw));
        segment.chunks(name.as_str(), None, |chunk| {
            expired.is_overdue |= chunk.first < overdue;
            if chunk.last < cutoff {
                expired.surely += chunk.dots;
                expired.about += chunk.dots;
            } else if chunk.first < cutoff {
                let (old, all) = (cutoff.since(chunk.first), chunk.last.since(chunk.first));
                expired.about += (chunk.dots as f64 * (old.as_secs_f64() / all.as_secs_f64())) as u64;
            }
        })?;
    }
    Ok(expired)
}

/// Whether the archives have the windows of everything in a segment that is old enough to be removed.
fn is_archived(entry: &SegmentEntry, view: &View<'_>, cancel: &dyn Fn() -> bool) -> Result<bool, Error> {
    let archives = &view.snapshot.inner.manifest.archives;
    if !lacking(view, entry, cancel)?.is_empty() {
        return Ok(false);
    }
    for rule in view.rules.all() {
        for archive in &rule.archives {
            let step = archive.step.as_nanos() as u64;
            let last = entry.last_time.min(view.now.saturating_sub(rule.raw)).nanos();
            // Steps older than they are kept need no window.
            let first = entry.first_time.nanos().max(view.oldest(archive.keep));
            let mut time = first / step * step;
            while time <= last {
                let holds = |window: &&crate::format::archive::Archive| {
                    window.step == step
                        && window.order >= entry.order
                        && (window.from..window.until).contains(&time)
                };
                if let Some(window) = archives.iter().find(holds) {
                    time = window.until;
                    continue;
                }
                // Where the segment has no dots, no window is needed.
                match view.occupied(entry, cancel)?.next(time) {
                    None => break,
                    Some(next) if next / step * step <= time => return Ok(false),
                    Some(next) => time = next / step * step,
                }
            }
        }
    }
    Ok(true)
}

/// Whether a segment has dots that are too old, judged by the newest dot of their series, and that no archive has,
/// though an archive would still keep their steps. Archives look back from the newest dot of the store. Such dots
/// stay.
pub(super) fn is_out_of_reach(
    view: &View<'_>,
    segment: &Segment,
    name: &str,
    rule: &Rule,
) -> Result<bool, Error> {
    for archive in &rule.archives {
        let from = view.cutoff(name, archive.keep);
        let until = view.oldest(archive.keep).min(view.dots_cutoff(name, rule));
        if from >= until {
            continue;
        }
        let step = archive.step.as_nanos() as u64;
        let mut held = Spans::default();
        let windows = view.snapshot.inner.manifest.archives.iter();
        let holds = |window: &&Archive| {
            // A window that is over is removed by this pass.
            window.step == step && window.order >= segment.order() && !is_over(view, window)
        };
        for window in windows.filter(holds) {
            held.add(window.from, window.until.saturating_sub(1));
        }
        let mut is_missing = false;
        segment.chunks(name, None, |chunk| {
            let (first, last) = (chunk.first.nanos().max(from), chunk.last.nanos().min(until - 1));
            is_missing |= first <= last && !held.covers(first / step * step, last);
        })?;
        if is_missing {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a window has steps of a series whose rule does not say how long to keep them: the series has no rule any
/// more, or its rule is skipped. Then only the steps of the other series are removed from the window.
fn has_steps_without_rule(view: &View<'_>, open: &crate::read::archives::OpenArchive) -> bool {
    let keep = |name: &str| view.rules.of(name).and_then(|rule| rule.keep(open.window.step));
    // A series whose name cannot be read stays too.
    open.segment.names("").any(|name| !name.is_ok_and(|name| keep(name.as_str()).is_some()))
}

/// Whether a window is older than any rule keeps its step.
fn is_over(view: &View<'_>, window: &crate::format::archive::Archive) -> bool {
    let archives = view.rules.all().flat_map(|rule| &rule.archives);
    let keep = archives
        .filter(|archive| archive.step.as_nanos() as u64 == window.step)
        .map(|archive| archive.keep)
        .max();
    // By the store's newest dot: where no dots come any more, nothing is removed.
    keep.is_some_and(|keep| window.until <= view.oldest(keep))
}
