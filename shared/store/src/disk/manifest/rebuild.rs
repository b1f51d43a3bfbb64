//! Making the list again where MANIFEST is damaged or missing: where both of its files are of no use: from the edits
//! that can be read, and from the ends of the segments.
//!
//! A rebuilt list is a guess: of the last swap it knows only the segments that this one listed, not what it
//! deleted. So it says that it was rebuilt, keeps what it replaces as MANIFEST.damaged, and as long as that file is
//! there, nothing is unlinked for not being listed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::copies::Folded;
use crate::disk::layout::Layout;
use crate::disk::log::{open, read_header};
use crate::disk::manifest::read;
use crate::error::Error;
use crate::format::archive::Archive;
use crate::format::ledger::Finished;
use crate::format::ledger::Totals;
use crate::format::listing::{SegmentEntry, StoreId, words_and_number};
use crate::format::log::header::LogKind;
use crate::format::manifest::edit::deletes;
use crate::format::manifest::{LedgerFile, Manifest};
use crate::format::segment::{Meta, Tail};

/// A segment that the edits which can be read do not list.
struct Later {
    generation: u64,
    /// The number of the first of those that one swap listed.
    swap: u64,
    /// How many those were.
    together: u64,
    entry: SegmentEntry,
    meta: Meta,
}

/// Whether there is anything that a list could be made of: a segment or a WAL file of a store.
pub(super) fn is_possible(layout: &Layout) -> bool {
    store_id(layout).is_some()
}

/// The store that the files beside the list are of, as most of them say; `None` where there are none.
fn store_id(layout: &Layout) -> Option<(StoreId, Option<StoreId>)> {
    let mut found: BTreeMap<[u8; 16], (usize, Option<StoreId>)> = BTreeMap::new();
    for path in entries(&layout.dir.join("wal")) {
        if let Ok(header) = open(&path).and_then(|file| read_header(LogKind::Wal, &file, &path)) {
            let store = found.entry(header.store.0).or_default();
            (store.0, store.1) = (store.0 + 1, Some(header.lineage));
        }
    }
    for path in entries(&layout.dir.join("seg")) {
        if let Ok(tail) = Tail::read(&path) {
            found.entry(tail.store.0).or_default().0 += 1;
        }
    }
    let (store, (_, lineage)) = found.into_iter().max_by_key(|(_, (count, _))| *count)?;
    Some((StoreId(store), lineage))
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// Makes the list of what is left: of the edits that stand one behind the other, then of the ends of the segments that
/// later edits listed, and of the deletes among these edits.
///
/// # Errors
///
/// [`Error::Damaged`] where no file says of which store it is.
pub(super) fn rebuild(layout: &Layout, folded: Folded) -> Result<Manifest, Error> {
    let Folded { mut manifest, broken, later: edits } = folded;
    let why = broken.unwrap_or_default();
    if manifest.generation == 0 {
        let Some((store, lineage)) = store_id(layout) else {
            return Err(Error::damaged(&layout.manifest(), 0, why));
        };
        let lineage = lineage.unwrap_or(store);
        manifest = Manifest { store, lineage, wal_first: 1, next_series: 1, ..Manifest::default() };
    }
    if manifest.ledger_file.as_ref().is_none_or(|file| !layout.ledger(&file.name).exists()) {
        // An edit that cannot be read may have put another in its place.
        manifest.ledger_file = newest_ledger(layout, manifest.store).or(manifest.ledger_file);
    }
    let is_there = super::read_finished(layout, &mut manifest)?;
    if !is_there && let Some(newest) = newest_ledger(layout, manifest.store) {
        // An edit that is lost has put it in the place of the one that was listed before.
        manifest.ledger_file = Some(newest);
        super::read_finished(layout, &mut manifest)?;
    }
    let mut later = Vec::new();
    let mut last = manifest.generation;
    for path in entries(&layout.dir.join("seg")) {
        if let Ok(tail) = Tail::read(&path)
            && tail.store == manifest.store
            && tail.edit > manifest.generation
            && let Some(name) = path.file_name().and_then(|name| name.to_str())
            // Not a copy under another name.
            && words_and_number(name).is_some_and(|(_, number)| number == tail.number)
        {
            last = last.max(tail.edit);
            later.push(Later {
                generation: tail.edit,
                swap: tail.first_number,
                together: tail.together.into(),
                entry: tail.entry(name),
                meta: tail.meta,
            });
        }
    }
    later.sort_by_key(|later| (later.generation, later.swap));
    let swaps: Vec<_> = later.chunk_by(|a, b| a.swap == b.swap).collect();
    let left: BTreeSet<_> = (0..swaps.len())
        .filter(|at| swaps[at + 1..].iter().any(|after| was_never_listed(swaps[*at], after)))
        .map(|at| swaps[at][0].swap)
        .collect();
    later.retain(|later| !left.contains(&later.swap));
    for generation in later.chunk_by(|a, b| a.generation == b.generation) {
        manifest.take_generation(layout, generation);
    }
    // A seal without a segment leaves no end that would tell of a finish, but the file of finished rings may.
    manifest.ledger.prefer_finished();
    for (number, payload) in &edits {
        last = last.max(*number);
        manifest.tombstones.extend(deletes(payload));
    }
    manifest.tombstones.sort_by_key(|tombstone| tombstone.order);
    manifest.segments.sort_by_key(|segment| segment.order);
    manifest.obsolete.clear();
    // What a lost edit listed keeps its number.
    manifest.generation = last;
    manifest.rebuilt = Some(why);
    Ok(manifest)
}

/// The file of finished rings that was made last: the one that knows of the most rings, by themselves or in sums, which
/// never become fewer.
fn newest_ledger(layout: &Layout, store: StoreId) -> Option<LedgerFile> {
    let read = |path: PathBuf| {
        let name = path.file_name()?.to_str().filter(|name| words_and_number(name).is_some())?.to_owned();
        let bytes = path.metadata().ok()?.len();
        let finished = Finished::read(&path, bytes, store).ok()??;
        finished.damage().is_empty().then(|| (finished.rings(), LedgerFile { name, bytes }))
    };
    let found = entries(&layout.dir.join("ledger")).into_iter().filter_map(read);
    found.max_by_key(|(rings, _)| *rings).map(|(_, file)| file)
}

/// Whether a swap that came after shows that this one never happened: a segment is replaced once, and a log is sealed
/// once, so whoever does it again has not found it done.
fn was_never_listed(swap: &[Later], after: &[Later]) -> bool {
    let replaces = |number: &u64| after[0].meta.replaced.contains(number);
    let sealed = |swap: &[Later]| swap.iter().find_map(|later| Some(later.meta.log.as_ref()?.0));
    after[0].generation > swap[0].generation
        && after.len() as u64 == after[0].together
        && (swap[0].meta.replaced.iter().any(replaces)
            || sealed(swap).is_some() && sealed(swap) == sealed(after))
}

impl Manifest {
    /// Lists what the swaps of one generation listed.
    ///
    /// There are several where a crash came before a list was in its place: the next one has the same generation.
    ///
    /// - `later`: by swap
    fn take_generation(&mut self, layout: &Layout, later: &[Later]) {
        // A swap that lists several segments counts when all of them are there; before, it had not happened.
        let whole = |swap: &&[Later]| swap.len() as u64 == swap[0].together;
        let swaps: Vec<_> = later.chunk_by(|a, b| a.swap == b.swap).filter(whole).collect();
        let is_one = swaps.len() == 1;
        for later in swaps.into_iter().flatten() {
            // Of several swaps one at most was listed, and none says which. What replaces something is not needed as
            // long as that is there, and two of them might hold the same dots; what replaces nothing may be all
            // there is of a commit.
            if is_one || !self.has_what_it_replaces(layout, &later.meta) {
                self.take_over(later);
            }
        }
    }

    /// Whether all that a segment was made from is still there.
    fn has_what_it_replaces(&self, layout: &Layout, meta: &Meta) -> bool {
        let is_made_from = meta.archive.is_some() || meta.log.is_some() || !meta.replaced.is_empty();
        let has_segment = |number: &u64| {
            self.files().any(|listed| listed.number() == *number && layout.segment(&listed.name).exists())
        };
        let has_log = meta.log.is_none() || layout.wal(self.wal_first).exists();
        is_made_from && has_log && meta.replaced.iter().all(has_segment)
    }

    /// Lists a segment that a lost list had, and drops what it stands for.
    fn take_over(&mut self, later: &Later) {
        let Later { generation, entry, meta, .. } = later;
        self.segments.retain(|segment| !meta.replaced.contains(&segment.number()));
        let totals = &mut self.ledger.totals;
        if entry.order.generation == *generation && meta.archive.is_none() {
            // Another process's commit: MANIFEST had counted it when it listed it.
            totals.stored_other += entry.dots;
        }
        totals.add(&meta.gone);
        self.generation = *generation;
        if let Some(window) = &meta.archive {
            self.archives.retain(|old| !old.meets(window));
            self.archives.push(Archive { segment: Some(entry.clone()), ..window.clone() });
            self.archives.sort_by_key(|window| (window.step, window.from));
            return;
        }
        self.segments.push(entry.clone());
        if let Some((wal_first, ledger)) = &meta.log
            && *wal_first > self.wal_first
        {
            self.wal_first = *wal_first;
            let stored_other = ledger.totals.stored_other.max(self.ledger.totals.stored_other);
            self.ledger.replace_accounts(ledger);
            self.ledger.totals = Totals { stored_other, ..ledger.totals };
        }
    }
}

/// Keeps what MANIFEST was before a rebuilt list takes its place.
pub(super) fn mark(layout: &Layout) -> Result<(), Error> {
    let mark = layout.rebuilt_mark();
    let made = match layout.disk.link(&layout.manifest(), &mark) {
        Err(error) if error.kind() == ErrorKind::NotFound => layout.disk.create(&mark).map(drop),
        other => other,
    };
    match made {
        // It has been rebuilt before, and nobody has looked.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        other => other.map_err(Error::io("keep the damaged MANIFEST as", &mark))?,
    }
    layout.sync_dir(&layout.dir)
}

/// What to tell an operator where the list of what counts had to be rebuilt, now or since somebody last looked;
/// `None` where it is as it was written.
///
/// # Errors
///
/// Those of reading a store.
pub fn rebuilt(dir: &Path) -> Result<Option<String>, Error> {
    let layout = Layout::new(dir);
    let mark = layout.rebuilt_mark();
    let found = read(&layout)?.rebuilt;
    let is_marked = mark.exists();
    let why = match found {
        Some(why) => why,
        None if is_marked => format!("{} is there", mark.display()),
        None => return Ok(None),
    };
    let then = match is_marked {
        true => "look at the store with verify, then remove",
        false => "the next commit keeps it as",
    };
    Ok(Some(format!(
        "the list of what counts in {} was rebuilt: {why}; the last deletes may be missing, and no file is removed \
         for not being listed; {then} {}",
        dir.display(),
        mark.display()
    )))
}
