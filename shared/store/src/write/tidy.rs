//! Tidying up: moving finished rings out of MANIFEST, dropping old ones, and unlinking files that wait for the next commit.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dotter_dot::Incarnation;

use crate::disk::layout::{Folder, Layout, NewFile, TRIES_MAX};
use crate::disk::{finished, litter, manifest};
use crate::error::Error;
use crate::format::clock::Machine;
use crate::format::ledger::files::{FinishedFiles, LedgerFile};
use crate::format::ledger::finished::{FinishedFile, encode};
use crate::format::manifest::Manifest;

/// How long it is known of a ring that it has finished, in running time.
const KNOWN: Duration = Duration::from_secs(30 * 24 * 3600);
/// Files are joined as long as the rings of both came within this time of each other; so a ring is known for at most so
/// much longer than [`KNOWN`].
const STRETCH: Duration = Duration::from_secs(3 * 24 * 3600);
/// With more files than this, two neighbours are joined however far apart their rings came.
const FILES_MAX: usize = 40;

/// Does what has to be done without other commits: removes litter, unlinks the files that the last commit replaced, lets
/// go of what is kept for those who follow the store and not needed any more, moves finished rings to a file, and drops the
/// files whose rings finished 30 days of running time ago: of those it is known no more that they have finished.
///
/// Call it about once a minute, and after the last of several commits. Returns whether there was anything to do.
///
/// - `machine`: what the clocks show, [`Machine::now`]; age is judged by running time alone, so a wall clock that
///   is set wrong makes no account old
///
/// # Errors
///
/// The system's, and [`Error::NoStore`].
pub fn tidy(dir: &Path, machine: &Machine) -> Result<bool, Error> {
    let layout = Layout::new(dir);
    let removed = litter::remove(&layout)?;
    let manifest = manifest::read(&layout)?;
    let is_idle = manifest.obsolete.is_empty() && !is_due(&manifest, machine);
    if is_idle && !manifest::keeps_unneeded(&layout, &manifest) {
        return Ok(removed > 0);
    }
    manifest::change(&layout, |manifest| file_finished(&layout, manifest, machine))?;
    Ok(true)
}

/// Whether finished rings are to be moved, or files to be dropped or joined.
fn is_due(manifest: &Manifest, machine: &Machine) -> bool {
    let now = manifest.clock.running_at(machine);
    let files = &manifest.ledger_files;
    !manifest.ledger.over().is_empty()
        || files.iter().any(|file| is_old(file, now))
        || (files.len() > FILES_MAX && nearest(&manifest.ledger.files().0).is_some())
}

fn is_old(file: &LedgerFile, now: Duration) -> bool {
    file.last.saturating_add(KNOWN) <= now
}

/// Drops old files, moves finished rings to a file, and joins files; returns the new ones, which stay locked until they are
/// listed.
fn file_finished(layout: &Layout, manifest: &mut Manifest, machine: &Machine) -> Result<Vec<NewFile>, Error> {
    if !is_due(manifest, machine) {
        return Ok(Vec::new());
    }
    let now = manifest.clock.running_at(machine);
    manifest.clock.read(machine);
    let day: String = machine.wall.to_string().chars().take(10).filter(|c| *c != '-').collect();
    let mut files = manifest.ledger.files().clone();
    let mut made = Vec::new();
    let (old, left) = files.0.into_iter().partition(|file| is_old(&file.listing, now));
    files.0 = left;
    obsolete(manifest, old);
    let new: Vec<Incarnation> = manifest.ledger.over().iter().copied().collect();
    if !new.is_empty() {
        let joined = files.0.split_off(files.0.len() - joined_with(&files.0, new.len() as u64, now));
        made.push(join(layout, manifest, &day, &mut files, joined, (new, now))?);
    }
    if files.0.len() > FILES_MAX
        && let Some(at) = nearest(&files.0)
    {
        let behind = files.0.split_off(at + 2);
        let joined = files.0.split_off(at);
        made.push(join(layout, manifest, &day, &mut files, joined, (Vec::new(), Duration::ZERO))?);
        files.0.extend(behind);
    }
    manifest.ledger_files = files.0.iter().map(|file| file.listing.clone()).collect();
    manifest.ledger.filed(files);
    Ok(made)
}

/// How many of the last files become one with new rings: each file is at least twice as large as the one behind it, so a
/// ring is written anew seldom, and there are few files.
///
/// - `count`: the new rings
fn joined_with(files: &[Arc<FinishedFile>], mut count: u64, now: Duration) -> usize {
    let mut joined = 0;
    for file in files.iter().rev() {
        let LedgerFile { rings, first, .. } = file.listing;
        // A damaged file stays as it is, so that a person can look what is left of it.
        let is_far = now.saturating_sub(first) > STRETCH;
        if is_far || rings >= count.saturating_mul(2) || !file.damage().is_empty() {
            break;
        }
        count = count.saturating_add(rings);
        joined += 1;
    }
    joined
}

/// The first of the two neighbours that have the fewest rings; `None` where too many are damaged.
fn nearest(files: &[Arc<FinishedFile>]) -> Option<usize> {
    let is_whole = |at: &usize| files[*at..*at + 2].iter().all(|file| file.damage().is_empty());
    let rings = |at: &usize| files[*at].listing.rings + files[*at + 1].listing.rings;
    (0..files.len().saturating_sub(1)).filter(is_whole).min_by_key(rings)
}

/// Makes one file of some, which have been taken out of `files`, and of new rings, and puts it behind `files`.
///
/// - `new`: further rings, and the running time at which they came
fn join(
    layout: &Layout,
    manifest: &mut Manifest,
    day: &str,
    files: &mut FinishedFiles,
    joined: Vec<Arc<FinishedFile>>,
    (mut rings, at): (Vec<Incarnation>, Duration),
) -> Result<NewFile, Error> {
    let spans = joined.iter().map(|file| (file.listing.first, file.listing.last));
    let spans = spans.chain((!rings.is_empty()).then_some((at, at)));
    let (first, last) = spans.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).unwrap_or_default();
    joined.iter().for_each(|file| rings.extend(file.rings()));
    rings.sort_unstable();
    rings.dedup();
    let mut tries = 0;
    let (new, bytes) = loop {
        let mut new = layout.make(Folder::Ledger, day)?;
        let bytes = encode(manifest.store, new.number, (first, last), &rings, manifest.ledger.sums());
        new.file
            .set_permissions(Permissions::from_mode(0o400))
            .map_err(Error::io("set the mode of", &new.path))?;
        new.fill(&bytes)?;
        layout.sync_dir(&layout.dir.join(Folder::Ledger.name()))?;
        new.check_length(bytes.len() as u64).map_err(Error::io("write", &new.path))?;
        if new.is_there() {
            new.keep();
            break (new, bytes.len() as u64);
        }
        tries += 1;
        if tries == TRIES_MAX {
            return Err(new.lost());
        }
    };
    obsolete(manifest, joined);
    let listing = LedgerFile { name: new.name().to_owned(), bytes, rings: rings.len() as u64, first, last };
    files.0.push(finished::open_new(&new, listing, manifest.store)?);
    Ok(new)
}

/// Has files unlinked by the next commit.
fn obsolete(manifest: &mut Manifest, files: Vec<Arc<FinishedFile>>) {
    manifest.obsolete.extend(files.iter().map(|file| format!("ledger/{}", file.listing.name)));
}
