//! Sealing: closed WAL files become segments.
//!
//! The dots are read back from the log, so no process keeps them in memory between commit and seal, and a seal that
//! was killed is simply done again. It takes no lock that the writer needs while it writes.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dotter_dot::SeriesName;

use crate::disk::holds;
use crate::disk::layout::Layout;
use crate::disk::manifest;
use crate::disk::names::{NamesFiles, Wants};
use crate::disk::wal::{self, FILE_BYTES, LogFile, LogStart};
use crate::error::Error;
use crate::format::kept::KeptLog;
use crate::format::ledger::Totals;
use crate::format::listing::{Order, SegmentEntry};
use crate::format::manifest::Manifest;
use crate::format::rules::Rules;
use crate::format::segment::Meta;
use crate::format::tombstone;
use crate::format::wal::{Applied, HEADER_BYTES, Items, Names, apply};
use crate::read::equal;
use crate::write::condense;
use crate::write::gather::{Gathered, Runs};
use crate::write::names::{self, UnlistedNames};
use crate::write::segment::{SegmentWriter, Unlisted, list};
use crate::write::writer::SMALL_FILES_MAX;

/// The most dots of a chunk in a new segment.
const CHUNK_DOTS: usize = 4096;

/// Where a WAL file has fewer dots a series than this, those that wait behind it are sealed with it. A series costs
/// about as much as this many dots, in each segment anew and at each merge.
const SERIES_DOTS_FEW: u64 = 8;

/// The most bytes of WAL files that are sealed together for that.
const TOGETHER_BYTES_MAX: u64 = 4 * FILE_BYTES;

/// Where series had few dots in what was sealed last, closed files wait until they have so many bytes. The collector
/// takes nothing more in while more than 48 MiB wait.
const TOGETHER_BYTES_MIN: u64 = 2 * FILE_BYTES;

/// A dot of one number takes no fewer bytes in the log: a byte of its time, and its word.
const DOT_BYTES_MIN: usize = 9;

/// Turns all closed WAL files into segments.
///
/// Small files wait until there are enough of them. `cancel` is asked now and then; when it returns `true` the work
/// is given up and nothing has changed. Returns how many dots were sealed; 0 also where another process is sealing.
///
/// # Errors
///
/// [`Error::NoStore`], and the system's; then files that were begun are litter, and the log is as it was.
pub fn seal(dir: &Path, cancel: &dyn Fn() -> bool) -> Result<u64, Error> {
    seal_where(dir, cancel, &|manifest, closed, bytes| {
        let is_full = bytes >= FILE_BYTES && (bytes >= TOGETHER_BYTES_MIN || !was_few_dots(manifest));
        is_full || closed.len() as u64 >= SMALL_FILES_MAX || is_stale(closed)
    })
}

/// As [`seal`], but small files do not wait.
///
/// # Errors
///
/// As [`seal`].
pub fn seal_all(dir: &Path, cancel: &dyn Fn() -> bool) -> Result<u64, Error> {
    seal_where(dir, cancel, &|_, _, _| true)
}

fn seal_where(
    dir: &Path,
    cancel: &dyn Fn() -> bool,
    enough: &dyn Fn(&Manifest, &[LogFile], u64) -> bool,
) -> Result<u64, Error> {
    let layout = Layout::new(dir);
    // Before a lock is taken, since that would make a lock file where there is no store.
    manifest::stamp(&layout)?;
    let _lock = match layout.try_lock("SEAL.lock") {
        Err(Error::Locked(_)) => return Ok(0),
        other => other?,
    };
    let start = LogStart { first: 0, ..manifest::read(&layout)?.log_start() };
    let mut sealed = 0;
    let mut known = Known::default();
    let mut late = 0;
    loop {
        // The files are read before the list: so a foreign commit that is not in the list yet can only stand behind
        // every frame of a closed file.
        let files = wal::files(&layout, start)?;
        let manifest = manifest::read(&layout)?;
        let files: Vec<LogFile> = files.into_iter().filter(|file| file.id >= manifest.wal_first).collect();
        let closed = &files[..files.len().saturating_sub(1)];
        let mut together = 0;
        let mut bytes = 0;
        for file in closed {
            together += usize::from(bytes < FILE_BYTES);
            bytes += file.measured.map_or_else(|| file.size(), Ok)?;
        }
        if together == 0 || !enough(&manifest, closed, bytes) {
            return Ok(sealed);
        }
        // Where deletes come without end the log is sealed all the same, as it came.
        let rules = if late < LATE_MAX { manifest.rules.clone() } else { Arc::default() };
        let done = seal_files(&layout, &manifest, &files, together, &rules, &mut known, cancel)?;
        late = if done.is_none() { late + 1 } else { 0 };
        if done.is_none() {
            // What was declared is to be declared again.
            known = Known::default();
        }
        sealed += done.unwrap_or_default();
    }
}

/// What series ids mean, as far as the files of one call told; kept from one seal to the next.
#[derive(Default)]
struct Known {
    names: Names,
    files: NamesFiles,
}

/// So often files are sealed again with their observations condensed, where a commit of another process had come.
const LATE_MAX: u32 = 3;

/// A closed file this old is sealed however small it is.
const STALE: Duration = Duration::from_secs(600);

/// Whether a file has waited so long that it is sealed however small it is.
fn is_stale(closed: &[LogFile]) -> bool {
    closed.iter().any(|file| file.age() >= STALE)
}

/// Seals files together; returns how many dots, or `None` where it has to be done again: a commit of another process has
/// come that stands in the middle of what was made one segment, or that deletes dots whose times were moved.
///
/// - `files`: those of the log, the last of which is live
/// - `together`: how many of them are sealed; more are where these have few dots a series
/// - `rules`: which observations are condensed
fn seal_files(
    layout: &Layout,
    manifest: &Manifest,
    files: &[LogFile],
    mut together: usize,
    rules: &Rules,
    known: &mut Known,
    cancel: &dyn Fn() -> bool,
) -> Result<Option<u64>, Error> {
    let mut ledger = manifest.ledger.clone();
    // Id epochs below this are spent: an id of theirs has no meaning any more.
    let mut ids_from = 0;
    let splits = manifest.splits(0);
    let mut parts: Vec<Gathered> = Vec::new();
    let mut damaged = 0;
    let mut bytes = Vec::new();
    let needs = holds::needs(layout);
    let mut logs: Vec<KeptLog> = Vec::new();
    let mut ended: Vec<UnlistedNames> = Vec::new();
    let (mut taken, mut taken_bytes) = (0, 0);
    while taken < together {
        let file = &files[taken];
        file.read_all_into(&mut bytes)?;
        let Known { names, files: names_files } = known;
        let epoch = file.epoch(&bytes);
        if epoch.is_some_and(|epoch| epoch != names.epoch()) {
            if needs.is_some() {
                // Whoever reads the kept files of an epoch that has ended asks the names files too.
                ended.extend(names::of_declared(layout, names)?);
            }
            parts.iter_mut().for_each(Gathered::begin_epoch);
        }
        names.begin_file(epoch);
        let mut items = Items::new(&bytes, HEADER_BYTES as u64, file.id);
        // Only seals replace names files, and this is the one seal.
        let (frames, is_whole) =
            names_files.frames((layout, manifest), &mut items, names, Wants::All, || true)?;
        if !is_whole {
            ids_from = names.epoch() + 1;
        }
        if !file.is_foreign {
            let before = file.header.map(|header| header.first_sequence.saturating_sub(1));
            let of_frames = || frames.first().map(|frame| frame.sequence.saturating_sub(1));
            let before =
                before.or_else(|| logs.last().map(|log| log.last)).or_else(of_frames).unwrap_or_default();
            logs.push(KeptLog {
                id: file.id,
                epoch: epoch.unwrap_or_default(),
                before,
                last: frames.last().map_or(before, |frame| frame.sequence),
                bytes: HEADER_BYTES as u64 + bytes.len() as u64,
            });
        }
        let mut has_room = false;
        for frame in frames {
            let Applied::Dots { dots, count, .. } = apply(&frame, names, &mut ledger) else {
                continue;
            };
            let split = |part: &Gathered| {
                splits.iter().any(|commit| (part.last_sequence..frame.sequence).contains(commit))
            };
            if parts.last().is_none_or(split) {
                parts.push(Gathered::default());
            }
            let Some(part) = parts.last_mut() else { continue };
            if !has_room && splits.is_empty() {
                // The one part takes all dots of the file, and room that they do not need is never touched.
                part.reserve(bytes.len() / DOT_BYTES_MIN);
                has_room = true;
            }
            damaged += count - part.take(frame.sequence, dots, names);
        }
        if cancel() {
            return Err(Error::GivenUp);
        }
        (taken, taken_bytes) = (taken + 1, taken_bytes + bytes.len() as u64);
        let is_more = taken == together && taken + 1 < files.len() && taken_bytes < TOGETHER_BYTES_MAX;
        together += usize::from(is_more && has_few_dots(&parts));
    }
    drop(bytes);
    let (files, live) = files.split_at(together);
    let wal_first = live[0].id;
    let mut condensed: Vec<SeriesName> = Vec::new();
    let mut gone = Totals { damaged, ..Totals::default() };
    let mut written: Vec<(Unlisted, Order)> = Vec::new();
    let mut dots = 0;
    let mut segments: Vec<(SegmentWriter, Order)> = Vec::new();
    let spans: Vec<Range<u64>> = parts.iter().map(|part| part.first_sequence..part.last_sequence).collect();
    for part in parts {
        let order = part.order();
        let mut segment = SegmentWriter::new(layout, 0, CHUNK_DOTS);
        let mut series = part.into_series();
        while let Some((name, Runs { explicit, commits, clock }, latest)) = series.next() {
            if cancel() {
                return Err(Error::GivenUp);
            }
            dots += (explicit.len() + clock.len()) as u64;
            let hidden = tombstone::hidden(&manifest.tombstones, name.as_str(), order, 0);
            gone.replaced += equal::settle(explicit, commits);
            gone.deleted += hidden.remove(explicit);
            clock.sort();
            gone.deleted += hidden.remove(clock);
            // Dots with explicit times stay as they are: a later commit may replace them.
            if condense::has_observations(clock)
                && let Some(step) = rules.of(name.as_str()).and_then(|rule| rule.condense)
            {
                gone.condensed += condense::condense(clock, step);
                condensed.push(name.clone());
            }
            segment.begin(name, latest)?;
            segment.add(explicit, false)?;
            segment.add(clock, true)?;
        }
        if !segment.is_empty() {
            segments.push((segment, order));
        }
    }
    ledger.totals.add(&gone);
    let together = segments.len();
    for (index, (segment, order)) in segments.into_iter().enumerate() {
        let log = (index + 1 == together).then(|| (wal_first, ledger.clone()));
        // Where the list is rebuilt and the last segment is not there, the first one tells what became of dots.
        let gone = if index == 0 { gone } else { Totals::default() };
        let meta = Meta { purged: manifest.generation, log, gone, ..Meta::default() };
        written.push((segment.finish(&meta)?, order));
    }
    let is_needed = |log: &&KeptLog| log.epoch > 0 && needs.is_some_and(|needs| log.last > needs.sequence);
    let needed = manifest.kept.logs.iter().chain(&logs).filter(is_needed).map(|log| log.epoch).min();
    let used_from = first_epoch(live)?.min(needed.unwrap_or(u64::MAX));
    let mut names = names_files(layout, manifest, &known.names, used_from, &mut ids_from)?;
    let stored_other = ledger.totals.stored_other - manifest.ledger.totals.stored_other;
    let mut is_late = false;
    let changed = manifest::change(layout, |now| {
        // A commit may take its place in the order, then the log goes on and is closed, and the list is read above
        // before that commit is in it.
        is_late = now.splits(0).iter().any(|commit| spans.iter().any(|span| span.contains(commit)));
        // Rows have the time of their step: a delete that came meanwhile and begins within a step would hide none of
        // the observations in it.
        is_late |= now
            .tombstones
            .each()
            .filter(|delete| delete.order.generation > manifest.generation)
            .any(|delete| condensed.iter().any(|name| delete.names(name.as_str())));
        if now.wal_first != manifest.wal_first || is_late {
            return Err(Error::GivenUp);
        }
        let placed = list(now, written)?;
        let replaced = &names.replaced;
        now.drop_names(|entry| entry.epoch >= used_from && !replaced.contains(&entry.number()));
        let mut placed_names = Vec::new();
        // What nobody needs of these is let go of by the same commit.
        now.kept.logs.append(&mut logs);
        for made in ended.drain(..).chain(std::mem::take(&mut names.made)) {
            let made = made.place(layout, now)?;
            now.names.push(made.entry.clone());
            placed_names.push(made);
        }
        now.ids_from = now.ids_from.max(ids_from);
        now.wal_first = wal_first;
        // A file of another store's log stays: it may be the only copy.
        let ours = files.iter().filter(|file| !file.is_foreign);
        now.obsolete.extend(ours.map(|file| Layout::wal_name(file.id)));
        // Other commits may have changed the totals of replaced and damaged dots meanwhile; everything else in the
        // ledger of the list is changed by seals alone.
        now.ledger.take_over(&manifest.ledger, &ledger);
        now.ledger.totals.add(&Totals { stored_other, ..gone });
        let first_live = now.first_live(layout)?;
        now.drop_spent_tombstones(first_live);
        Ok((placed, placed_names))
    });
    known.names.declared.clear();
    match changed {
        Err(Error::GivenUp) if is_late => Ok(None),
        other => other.map(|_| Some(dots)),
    }
}

/// Whether series had few dots each in what was sealed last, as far as the list says it.
fn was_few_dots(manifest: &Manifest) -> bool {
    // What another process added says nothing of the log.
    let is_sealed = |entry: &&SegmentEntry| entry.place.is_none() && entry.order.generation == 0;
    let last = manifest.segments.iter().rev().find(is_sealed);
    last.is_some_and(|entry| entry.dots < entry.series * SERIES_DOTS_FEW)
}

/// Whether series have few dots each, in what was read of the log.
fn has_few_dots(parts: &[Gathered]) -> bool {
    let sum = |of: fn(&Gathered) -> u64| parts.iter().map(of).sum::<u64>();
    sum(Gathered::dots) < sum(Gathered::series_count) * SERIES_DOTS_FEW
}

/// The least id epoch that a live file may use; 0 where nothing says it.
fn first_epoch(live: &[LogFile]) -> Result<u64, Error> {
    for file in live {
        let bytes = if file.header.is_some() { Vec::new() } else { file.read_all()? };
        if let Some(epoch) = file.epoch(&bytes) {
            return Ok(epoch);
        }
    }
    Ok(0)
}

/// The names files that a seal makes, and the numbers of those that they replace.
#[derive(Default)]
struct NewNames {
    made: Vec<UnlistedNames>,
    replaced: Vec<u64>,
}

/// Makes the names files of a seal. Only those of the epoch that the live log goes on with are of use.
///
/// - `used_from`: the least epoch that a live file may use
/// - `ids_from`: grows where names files of the epoch are damaged
fn names_files(
    layout: &Layout,
    manifest: &Manifest,
    known: &Names,
    used_from: u64,
    ids_from: &mut u64,
) -> Result<NewNames, Error> {
    let mut new = NewNames::default();
    let epoch = known.epoch();
    if epoch < used_from {
        return Ok(new);
    }
    new.made.extend(names::of_declared(layout, known)?);
    match names::merged(layout, manifest, epoch, new.made.len()) {
        // They stay as they are, and with another epoch their names are of no use.
        Err(Error::Damaged { .. }) => *ids_from = (*ids_from).max(epoch + 1),
        Err(error) if error.is_not_found() => *ids_from = (*ids_from).max(epoch + 1),
        Err(error) => return Err(error),
        Ok(None) => {}
        Ok(Some((merged, replaced))) => {
            new.made.push(merged);
            new.replaced = replaced;
        }
    }
    Ok(new)
}

#[cfg(test)]
mod tests {
    use dotter_dot::{Dots, Shape, Timestamp};

    use super::*;
    use crate::write::writer::{Transaction, Writer};

    #[test]
    fn what_was_sealed_last_says_whether_series_have_few_dots() {
        let dir = tempfile::tempdir().unwrap();
        let name = SeriesName::new("a").unwrap();
        let was_few = || was_few_dots(&manifest::read(&Layout::new(dir.path())).unwrap());
        assert!(!was_few_dots(&Manifest::default()));
        for (count, expected) in [(SERIES_DOTS_FEW - 1, true), (SERIES_DOTS_FEW, false), (1, true)] {
            let mut writer = Writer::open(dir.path()).unwrap();
            let (key, mut dots) = (writer.series(&name, &Shape::number()), Dots::default());
            (0..count).for_each(|time| dots.push_number(key, false, Timestamp::from_nanos(time), 1.0));
            writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).unwrap();
            writer.sync().unwrap();
            drop(writer);
            // The next writer begins a file of its own, so that all before it can be sealed.
            let _writer = Writer::open(dir.path()).unwrap();
            assert_eq!(seal_all(dir.path(), &|| false).unwrap(), count);
            assert_eq!(was_few(), expected, "{count}");
            // What another process adds says nothing of the log.
            for added in [1, SERIES_DOTS_FEW] {
                let dot = |time| (name.clone(), Timestamp::from_nanos(time), 1.0);
                crate::add(dir.path(), (0..added).map(dot).collect::<Vec<_>>()).unwrap();
                assert_eq!(was_few(), expected, "{count}, {added} added");
            }
        }
    }
}
