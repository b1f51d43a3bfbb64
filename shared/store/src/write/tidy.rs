//! Tidying up: moving accounts of finished rings out of MANIFEST, and unlinking files that wait for the next commit.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dotter_dot::Incarnation;

use crate::disk::layout::{Folder, Layout, NewFile, TRIES_MAX};
use crate::disk::wal::LogStart;
use crate::disk::{litter, manifest, wal};
use crate::error::Error;
use crate::format::clock::{Clock, Machine};
use crate::format::ledger::finished::{Finished, Moved, Records};
use crate::format::ledger::{Account, Ledger};
use crate::format::listing::StoreId;
use crate::format::manifest::{LedgerFile, Manifest};
use crate::format::wal::{HEADER_BYTES, Items, Names, frames as whole_frames};

/// How long a finished ring has an account of its own after the account moved to the file of finished rings, in
/// running time.
const TOLD_APART: Duration = Duration::from_secs(30 * 24 * 3600);

/// Does what has to be done without other commits: removes litter, unlinks the files that the last commit replaced,
/// moves the accounts of finished rings to their file, and adds accounts that have been there for 30 days of running
/// time to their applications.
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
    if manifest.obsolete.is_empty() && !manifest.ledger.is_due(machine) {
        return Ok(removed > 0);
    }
    manifest::change(&layout, |manifest| move_finished(&layout, manifest, machine))?;
    Ok(true)
}

/// Moves accounts of finished rings; returns the new file, which stays locked until it is listed.
fn move_finished(
    layout: &Layout,
    manifest: &mut Manifest,
    machine: &Machine,
) -> Result<Option<NewFile>, Error> {
    let start = manifest.log_start();
    let ledger = &mut manifest.ledger;
    if !ledger.is_due(machine) {
        return Ok(None);
    }
    let mut records = ledger.finished.records().clone();
    let told_apart_since = told_apart_since(&records.clock, machine);
    let at = records.clock.running_at(machine);
    records.clock.read(machine);
    // The live log may still change the account of a ring that it mentions.
    let live = live_incarnations(layout, start)?;
    let is_over =
        |incarnation: &Incarnation| !ledger.accounts.contains_key(incarnation) && !live.contains(incarnation);
    if let Some(until) = told_apart_since {
        records.fold(until, is_over);
    }
    let finished = |_: &_, account: &mut Account| account.finished.is_some();
    let moved = ledger.accounts.extract_if(.., finished);
    records.accounts.extend(moved.map(|(incarnation, account)| (incarnation, Moved { account, at })));

    let day: String = machine.wall.to_string().chars().take(10).filter(|c| *c != '-').collect();
    let (new, bytes) = write_finished(layout, &day, &records, manifest.store)?;
    let file = LedgerFile { name: new.name().to_owned(), bytes: bytes.len() as u64 };
    let before = manifest.ledger_file.replace(file);
    manifest.obsolete.extend(before.map(|before| format!("ledger/{}", before.name)));
    manifest.ledger.finished = Arc::new(Finished::of(bytes));
    Ok(Some(new))
}

/// Makes the file of finished rings that is to be listed; returns its content too.
fn write_finished(
    layout: &Layout,
    day: &str,
    records: &Records,
    store: StoreId,
) -> Result<(NewFile, Vec<u8>), Error> {
    let mut tries = 0;
    loop {
        let mut new = layout.make(Folder::Ledger, day)?;
        let bytes = Finished::encode(records, store, new.number);
        new.file
            .set_permissions(Permissions::from_mode(0o400))
            .map_err(Error::io("set the mode of", &new.path))?;
        new.fill(&bytes)?;
        layout.sync_dir(&layout.dir.join(Folder::Ledger.name()))?;
        new.check_length(bytes.len() as u64).map_err(Error::io("write", &new.path))?;
        if new.is_there() {
            new.keep();
            return Ok((new, bytes));
        }
        tries += 1;
        if tries == TRIES_MAX {
            return Err(new.lost());
        }
    }
}

/// The running time at which an account must have moved, or before, to be added to its application; `None` where the
/// clock has not run for so long.
fn told_apart_since(clock: &Clock, machine: &Machine) -> Option<Duration> {
    clock.running_at(machine).checked_sub(TOLD_APART)
}

/// Incarnations that the live log mentions.
fn live_incarnations(layout: &Layout, start: LogStart) -> Result<BTreeSet<Incarnation>, Error> {
    let mut found = BTreeSet::new();
    let mut bytes = Vec::new();
    for file in wal::files(layout, start)? {
        file.read_all_into(&mut bytes)?;
        let mut names = Names::default();
        whole_frames(&mut Items::new(&bytes, HEADER_BYTES as u64, file.id), &mut names);
        found.extend(names.incarnations.values().map(|declared| declared.incarnation));
    }
    Ok(found)
}

impl Ledger {
    /// Whether an account is to be moved, or to be added to its application.
    fn is_due(&self, machine: &Machine) -> bool {
        let waits = || self.accounts.values().any(|account| account.finished.is_some());
        let is_old = || {
            let since = told_apart_since(&self.finished.clock(), machine);
            self.finished.first_moved().is_some_and(|first| since.is_some_and(|since| first <= since))
        };
        // A damaged file stays as it is, so that a person can look what is left of it.
        (waits() || is_old()) && self.finished.damage().is_empty()
    }
}
