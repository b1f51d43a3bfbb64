//! Making the list again where MANIFEST is damaged or missing: from MANIFEST.old and the tails of later segments.
//!
//! A rebuilt list is a guess: of the last swap it knows only the segments that this one listed, not what it
//! deleted. So it says that it was rebuilt, keeps what it replaces as MANIFEST.damaged, and as long as that file is
//! there, nothing is unlinked for not being listed.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::disk::layout::Layout;
use crate::disk::manifest::{is_whole, read, read_file};
use crate::error::Error;
use crate::format::archive::Archive;
use crate::format::ledger::Totals;
use crate::format::listing::{SegmentEntry, generation_in_name};
use crate::format::manifest::{LEDGER_PREFIX, Manifest};
use crate::format::segment::{Meta, Tail};

/// A segment that MANIFEST.old does not know.
struct Later {
    generation: u64,
    entry: SegmentEntry,
    meta: Meta,
}

/// - `why`: what is wrong with MANIFEST
pub(super) fn rebuild(layout: &Layout, why: String) -> Result<Manifest, Error> {
    let mut manifest = read_file(layout, &layout.manifest_old())?;
    let dir = layout.dir.join("seg");
    let mut later = Vec::new();
    for entry in fs::read_dir(&dir).map_err(Error::io("list", &dir))?.flatten() {
        if let Ok(tail) = Tail::read(&entry.path())
            && tail.store == manifest.store
            && tail.generation > manifest.generation
            && let Some(name) = entry.file_name().to_str()
        {
            later.push(Later { generation: tail.generation, entry: tail.entry(name), meta: tail.meta });
        }
    }
    later.sort_by_key(|later| (later.generation, later.meta.together));
    let swaps: Vec<_> = later.chunk_by(|a, b| a.swap() == b.swap()).collect();
    let left: BTreeSet<_> = (0..swaps.len())
        .filter(|at| swaps[at + 1..].iter().any(|after| was_never_listed(swaps[*at], after)))
        .map(|at| swaps[at][0].swap())
        .collect();
    later.retain(|later| !left.contains(&later.swap()));
    for generation in later.chunk_by(|a, b| a.generation == b.generation) {
        manifest.take_generation(layout, generation);
    }
    manifest.segments.sort_by_key(|segment| segment.order);
    manifest.obsolete.clear();
    manifest.rebuilt = Some(why);
    Ok(manifest)
}

impl Later {
    /// What those have in common that were listed together.
    fn swap(&self) -> (u64, u64) {
        (self.generation, self.meta.together)
    }
}

/// Whether a swap that came after shows that this one never happened: a segment is replaced once, and a log is sealed
/// once, so whoever does it again has not found it done.
fn was_never_listed(swap: &[Later], after: &[Later]) -> bool {
    let replaces = |name: &String| after[0].meta.replaced.contains(name);
    let sealed = |swap: &[Later]| swap.iter().find_map(|later| Some(later.meta.log.as_ref()?.0));
    after[0].generation > swap[0].generation
        && after.len() as u64 == after[0].meta.together
        && (swap[0].meta.replaced.iter().any(replaces)
            || sealed(swap).is_some() && sealed(swap) == sealed(after))
}

impl Manifest {
    /// Lists what the swaps of one generation listed.
    ///
    /// There are several where a build that gave a generation out again after a crash has written.
    ///
    /// - `later`: by how many were listed together
    fn take_generation(&mut self, layout: &Layout, later: &[Later]) {
        // A swap that lists several segments counts when all of them are there; before, it had not happened.
        let whole = |swap: &&[Later]| swap.len() as u64 >= swap[0].meta.together;
        let swaps: Vec<_> = later.chunk_by(|a, b| a.meta.together == b.meta.together).filter(whole).collect();
        let is_one = swaps.len() == 1 && swaps[0].len() as u64 == swaps[0][0].meta.together;
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
        let has_segment =
            |name: &String| self.files().any(|listed| listed.name == *name) && layout.segment(name).exists();
        let has_log = meta.log.is_none() || layout.wal(self.wal_first).exists();
        is_made_from && has_log && meta.replaced.iter().all(has_segment)
    }

    /// Lists a segment that a lost list had, and drops what it stands for.
    fn take_over(&mut self, later: &Later) {
        let Later { generation, entry, meta } = later;
        self.segments.retain(|segment| !meta.replaced.contains(&segment.name));
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

/// The greatest generation in the name of a file, listed or not; 0 without any.
pub(super) fn generation_in_use(layout: &Layout) -> Result<u64, Error> {
    let mut last = 0;
    for dir in [layout.dir.join("seg"), layout.dir.clone()] {
        for entry in fs::read_dir(&dir).map_err(Error::io("list", &dir))?.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let ledger = || name.strip_prefix(LEDGER_PREFIX).and_then(|number| number.parse().ok());
            let generation: Option<u64> = generation_in_name(name).or_else(ledger);
            // No swap comes so far: a name that somebody made up.
            last = last.max(generation.filter(|generation| *generation < u64::MAX / 2).unwrap_or(0));
        }
    }
    Ok(last)
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
    let found = if is_whole(&layout.manifest()) { None } else { read(&layout)?.rebuilt };
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
