//! Moving accounts of finished rings out of MANIFEST, and unlinking what waits for the next swap.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dotter_dot::Timestamp;

use super::finished::Finished;
use super::{Account, Ledger};
use crate::error::Error;
use crate::layout::Layout;
use crate::manifest::{self, LedgerFile, Manifest};

/// How long after its finish a ring is told apart.
const TOLD_APART: Duration = Duration::from_secs(30 * 24 * 3600);

/// Does what no commit does: unlinks the files that the last swap replaced, and moves the accounts of finished
/// rings to the file of their own.
///
/// To be called about once a minute, and after the last of a chain of swaps. Returns whether there was anything to do.
///
/// - `now`: rings finished more than 30 days before are added to their application
///
/// # Errors
///
/// The system's, and [`Error::NoStore`].
pub fn tidy(dir: &Path, now: Timestamp) -> Result<bool, Error> {
    let layout = Layout::new(dir);
    let until = now.saturating_sub(TOLD_APART);
    let manifest = manifest::read(&layout)?;
    if manifest.obsolete.is_empty() && !manifest.ledger.is_due(until) {
        return Ok(false);
    }
    manifest::swap(&layout, |manifest| move_finished(&layout, manifest, until))?;
    Ok(true)
}

fn move_finished(layout: &Layout, manifest: &mut Manifest, until: Timestamp) -> Result<(), Error> {
    let ledger = &mut manifest.ledger;
    if !ledger.is_due(until) {
        return Ok(());
    }
    let mut records = ledger.finished.records().clone();
    let finished = |_: &_, account: &mut Account| account.finished.is_some();
    let moved: BTreeMap<_, _> = ledger.accounts.extract_if(.., finished).collect();
    records.accounts.extend(moved);
    // One that stands in MANIFEST counts instead of the one in the file.
    records.accounts.retain(|incarnation, _| !ledger.accounts.contains_key(incarnation));
    records.fold(until);

    let (temporary, file) = layout.temporary()?;
    let bytes = Finished::encode(&records, manifest.store);
    layout.disk.write(&file, &temporary, &bytes, 0).map_err(Error::io("write", &temporary))?;
    layout.disk.sync_all(&file, &temporary).map_err(Error::io("sync", &temporary))?;
    let name = Layout::ledger_name(manifest.generation);
    let path = layout.dir.join(&name);
    layout.disk.rename(&temporary, &path).map_err(Error::io("rename", &path))?;
    layout.sync_dir(&layout.dir)?;

    let file = LedgerFile { name, bytes: bytes.len() as u64 };
    let before = manifest.ledger_file.replace(file);
    manifest.obsolete.extend(before.map(|before| before.name));
    manifest.ledger.finished = Arc::new(Finished::of(bytes));
    Ok(())
}

impl Ledger {
    /// Whether an account should move, or be added to its application as one finished before `until`.
    fn is_due(&self, until: Timestamp) -> bool {
        let waits = || self.accounts.values().any(|account| account.finished.is_some());
        let is_old = || self.finished.first_finished().is_some_and(|first| first <= until);
        // A damaged file stays as it is, for somebody to see what can be had of it.
        (is_old() || waits()) && self.finished.damage().is_empty()
    }
}
