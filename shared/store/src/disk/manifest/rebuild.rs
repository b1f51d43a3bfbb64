//! Rebuilding the list where neither MANIFEST nor MANIFEST.2 has all of it: from the edits that can be read, and from
//! the tails of segments and names files.
//!
//! A rebuilt list is a guess: of an edit that is lost it knows the segments that the edit listed, but not what the
//! edit deleted. So it says that it was rebuilt. The next commit keeps the old MANIFEST as MANIFEST.damaged, and as
//! long as that file is there, no file is unlinked for not being listed. `dotter-store repair` removes it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::copies::Folded;
use crate::disk::finished;
use crate::disk::layout::Layout;
use crate::disk::log::{open, read_header};
use crate::disk::manifest::read;
use crate::error::Error;
use crate::format::clock::Clock;
use crate::format::ledger::Totals;
use crate::format::ledger::files::{FinishedFiles, LedgerFile};
use crate::format::listing::{HOLD, SegmentEntry, StoreId, words_and_number};
use crate::format::log::header::LogKind;
use crate::format::manifest::Manifest;
use crate::format::manifest::edit::deletes;
use crate::format::names::{NamesEntry, Tail as NamesTail};
use crate::format::segment::{Meta, Tail};

/// A segment that the edits which can be read do not list.
struct Later {
    generation: u64,
    /// The number of the first segment that the same commit listed.
    commit: u64,
    /// How many segments that commit listed.
    together: u64,
    entry: SegmentEntry,
    meta: Meta,
}

/// Whether a list can be rebuilt: there is a segment or a WAL file of a store.
pub(super) fn is_possible(layout: &Layout) -> bool {
    store_id(layout).is_some()
}

/// The store id that most segments and WAL files carry; `None` where there are none.
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

/// Rebuilds the list: from the edits up to the first that is missing, then from the tails of the segments that later
/// edits listed, and from the deletes among those later edits.
///
/// # Errors
///
/// [`Error::Damaged`] where no file says to which store it belongs.
pub(super) fn rebuild(layout: &Layout, folded: Folded) -> Result<Manifest, Error> {
    let Folded { mut manifest, broken, later: edits, .. } = folded;
    let why = broken.unwrap_or_default();
    if manifest.generation == 0 {
        let Some((store, lineage)) = store_id(layout) else {
            return Err(Error::damaged(&layout.manifest(), 0, why));
        };
        let lineage = lineage.unwrap_or(store);
        manifest = Manifest { store, lineage, wal_first: 1, ids_from: 1, ..Manifest::default() };
    }
    manifest.ledger_files = ledger_files(layout, &manifest);
    super::open_finished(layout, &mut manifest, &FinishedFiles::default())?;
    let mut later = Vec::new();
    let mut last = manifest.generation;
    for path in entries(&layout.dir.join("seg")) {
        if let Ok(tail) = Tail::read(&path)
            && tail.store == manifest.store
            && tail.edit > manifest.generation
            && let Some(name) = path.file_name().and_then(|name| name.to_str())
            // A copy under another name is left out.
            && words_and_number(name).is_some_and(|(_, number)| number == tail.number)
        {
            last = last.max(tail.edit);
            later.push(Later {
                generation: tail.edit,
                commit: tail.first_number,
                together: tail.together.into(),
                entry: tail.entry(name),
                meta: tail.meta,
            });
        }
    }
    // The ledger of a seal has what its first segment says of dots that are gone, so it comes behind.
    later.sort_by_key(|later| (later.generation, later.commit, later.meta.log.is_some()));
    let commits: Vec<_> = later.chunk_by(|a, b| a.commit == b.commit).collect();
    let left: BTreeSet<_> = (0..commits.len())
        .filter(|at| commits[at + 1..].iter().any(|after| was_never_listed(commits[*at], after)))
        .map(|at| commits[at][0].commit)
        .collect();
    later.retain(|later| !left.contains(&later.commit));
    for generation in later.chunk_by(|a, b| a.generation == b.generation) {
        manifest.take_generation(layout, generation);
    }
    manifest.names = names_files(layout, &manifest);
    // A seal that made no segment left no tail that tells which rings have finished; the files of finished rings may
    // tell.
    manifest.ledger.catch_up_with_files();
    for (number, payload) in &edits {
        last = last.max(*number);
        manifest.tombstones.extend(deletes(payload));
    }
    if manifest.clock == Clock::NEVER {
        // Running time is counted anew, and no rule has changed before 1.
        manifest.segments.change(|entry| entry.held > HOLD + 1, |entry| entry.held = HOLD + 1);
        for file in &mut manifest.ledger_files {
            (file.first, file.last) = (Duration::ZERO, Duration::ZERO);
        }
    }
    manifest.obsolete.clear();
    // A segment that a lost edit listed keeps the number of that edit.
    manifest.generation = last;
    manifest.kept.forget_all(last);
    manifest.rebuilt = Some(why);
    Ok(manifest)
}

/// Every names file of the store that is there, whether a lost edit has replaced it or not: an id means the same in all
/// of one epoch. The next seal drops those of no use.
fn names_files(layout: &Layout, manifest: &Manifest) -> Vec<NamesEntry> {
    let mut found: BTreeMap<String, NamesEntry> = BTreeMap::new();
    for path in entries(&layout.dir.join("seg")) {
        if let Ok(tail) = NamesTail::read(&path)
            && tail.store == manifest.store
            && let Some(name) = path.file_name().and_then(|name| name.to_str())
            // A copy under another name is left out.
            && words_and_number(name).is_some_and(|(_, number)| number == tail.number)
        {
            found.insert(name.to_owned(), tail.entry(name));
        }
    }
    // One whose tail is damaged stays listed, so that it is named.
    let is_there = |entry: &&NamesEntry| layout.segment(&entry.name).exists();
    let mut names: Vec<NamesEntry> = manifest.names.iter().filter(is_there).cloned().collect();
    names.iter().for_each(|entry| _ = found.remove(&entry.name));
    names.extend(found.into_values());
    names.sort_by_key(NamesEntry::place);
    names
}

/// The files of finished rings that the list names, and all others of the store that are there, oldest first: a ring has
/// finished whichever file says so. One that is listed and missing counts as missing, unless one that is not listed has
/// the time between its first and its last ring: a lost edit has put that in its place.
fn ledger_files(layout: &Layout, manifest: &Manifest) -> Vec<LedgerFile> {
    let listed = &manifest.ledger_files;
    let found = entries(&layout.dir.join("ledger")).into_iter();
    let found = found.filter_map(|path| finished::listing(&path, manifest.store));
    let new: Vec<LedgerFile> =
        found.filter(|file| listed.iter().all(|listed| listed.name != file.name)).collect();
    let has = |new: &LedgerFile, file: &LedgerFile| new.first <= file.first && file.last <= new.last;
    let is_left =
        |file: &&LedgerFile| layout.ledger(&file.name).exists() || !new.iter().any(|new| has(new, file));
    let mut files: Vec<LedgerFile> = listed.iter().filter(is_left).cloned().collect();
    files.extend(new);
    files.sort_by_key(|file| (file.last, file.first));
    files
}

/// The first sequence that the WAL files which are there may hold; zero where one of them does not tell.
fn oldest_sequence(layout: &Layout, store: StoreId) -> u64 {
    let first = |path: PathBuf| match open(&path).and_then(|file| read_header(LogKind::Wal, &file, &path)) {
        Ok(header) if header.store == store => Some(header.first_sequence),
        // That of another store is passed over.
        Ok(_) => None,
        Err(_) => Some(0),
    };
    entries(&layout.dir.join("wal")).into_iter().filter_map(first).min().unwrap_or(u64::MAX)
}

/// Whether a later commit shows that this one never took effect. A segment is replaced once and a WAL file is sealed
/// once, so a later commit that replaces or seals the same did not find this one in the list.
fn was_never_listed(commit: &[Later], after: &[Later]) -> bool {
    let replaces = |number: &u64| after[0].meta.replaced.contains(number);
    let sealed = |commit: &[Later]| commit.iter().find_map(|later| Some(later.meta.log.as_ref()?.0));
    after[0].generation > commit[0].generation
        && (commit[0].meta.replaced.iter().any(replaces)
            || sealed(commit).is_some() && sealed(commit) == sealed(after))
}

impl Manifest {
    /// Lists the segments of all commits that have one edit number.
    ///
    /// There are several such commits where a crash came before an edit was written: the next commit gets the same
    /// number.
    ///
    /// - `later`: sorted by commit
    fn take_generation(&mut self, layout: &Layout, later: &[Later]) {
        let is_whole = |commit: &[Later]| commit.len() as u64 == commit[0].together;
        let commits: Vec<_> = later.chunk_by(|a, b| a.commit == b.commit).collect();
        let is_one = commits.iter().filter(|commit| is_whole(commit)).count() == 1;
        for commit in commits {
            // Where some of several segments are not there, they were never made, or were merged or grew old since.
            let counts = is_whole(commit) || self.is_made_from_what_is_gone(layout, commit);
            for later in commit.iter().filter(|_| counts) {
                // Of several commits with one number at most one was listed, and nothing says which. A segment that
                // replaces others is not needed while those are there, and both might hold the same dots. A segment
                // that replaces none may hold the only copy of a commit.
                if !is_whole(commit) || is_one || !self.has_what_it_replaces(layout, &later.meta) {
                    self.take_over(later);
                }
            }
        }
    }

    /// Whether what the segments of a commit were made from is no longer there: then the commit took effect.
    fn is_made_from_what_is_gone(&self, layout: &Layout, commit: &[Later]) -> bool {
        let made_from = |later: &&Later| later.meta.log.is_some() || !later.meta.replaced.is_empty();
        match commit.iter().find(made_from) {
            Some(later) => !self.has_what_it_replaces(layout, &later.meta),
            // The last segment of a seal says what the log is now, and is not there.
            None => commit.iter().all(|later| {
                let order = later.entry.order;
                order.generation == 0 && order.sequence < oldest_sequence(layout, self.store)
            }),
        }
    }

    /// Whether all segments or WAL files that a segment replaces are still there.
    fn has_what_it_replaces(&self, layout: &Layout, meta: &Meta) -> bool {
        let is_made_from = meta.log.is_some() || !meta.replaced.is_empty();
        let has_segment = |number: &u64| {
            self.segments
                .iter()
                .any(|listed| listed.number() == *number && layout.segment(&listed.name).exists())
        };
        let has_log = meta.log.is_none() || layout.wal(self.wal_first).exists();
        is_made_from && has_log && meta.replaced.iter().all(has_segment)
    }

    /// Lists a segment that a lost edit had listed, and removes those it replaces from the list.
    fn take_over(&mut self, later: &Later) {
        let Later { generation, entry, meta, .. } = later;
        self.segments.retain(|segment| !meta.replaced.contains(&segment.number()));
        let totals = &mut self.ledger.totals;
        if entry.order.generation == *generation && !entry.has_steps() {
            // A foreign commit: its edit had added its dots to the totals.
            totals.stored_other += entry.dots;
        }
        totals.add(&meta.gone);
        self.generation = *generation;
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

/// Keeps the old MANIFEST as MANIFEST.damaged, before a commit writes the rebuilt list.
pub(super) fn mark(layout: &Layout) -> Result<(), Error> {
    let mark = layout.rebuilt_mark();
    let made = match layout.disk.link(&layout.manifest(), &mark) {
        Err(error) if error.kind() == ErrorKind::NotFound => layout.disk.create(&mark).map(drop),
        other => other,
    };
    match made {
        // The list was rebuilt before, and nobody has removed the mark since.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        other => other.map_err(Error::io("keep the damaged MANIFEST as", &mark))?,
    }
    layout.sync_dir(&layout.dir)
}

/// A message for the operator where the list had to be rebuilt, now or earlier, and MANIFEST.damaged is still there;
/// `None` where the list is as it was written.
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
        true => "'dotter-store repair' makes this list the list, and removes",
        false => "'dotter-store repair' makes this list the list; any other commit keeps the old one as",
    };
    Ok(Some(format!(
        "the list of what counts in {} was rebuilt: {why}; the last deletes may be missing, and no file is removed \
         for not being listed; {then} {}",
        dir.display(),
        mark.display()
    )))
}
