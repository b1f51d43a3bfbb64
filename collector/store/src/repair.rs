//! `dotter-store repair`: a list of what counts that had to be rebuilt becomes the list.

use std::io::Write;
use std::path::Path;

use dotter_store::Repair;

use crate::error::Error;

/// Files that the list does not name are named up to so many.
const NAMED_MAX: usize = 20;

/// Says what it finds and what it does; `false` where anything stays damaged.
pub(crate) fn run(dir: &Path, dry_run: bool, out: &mut impl Write) -> Result<bool, Error> {
    let repair = dotter_store::repair(dir, dry_run)?;
    tell(&repair, out).map_err(Error::Output)?;
    Ok(repair.left.is_empty() && (repair.is_written || !repair.is_needed()))
}

fn tell(repair: &Repair, out: &mut impl Write) -> std::io::Result<()> {
    for damage in repair.list.iter().chain(&repair.left) {
        writeln!(out, "{} at byte {}: {}", damage.path.display(), damage.offset, damage.what)?;
    }
    if !repair.is_needed() {
        return writeln!(out, "nothing to repair: the list of what counts is whole");
    }
    match &repair.rebuilt {
        Some(why) => writeln!(out, "the list of what counts was rebuilt: {why}")?,
        None if repair.is_marked => writeln!(out, "the list of what counts was rebuilt before")?,
        None => {
            writeln!(out, "one of the two files of the list is damaged or missing; the other has all of it")?
        }
    }
    let Repair { segments, dots, wal_files, deletes, rings, .. } = repair;
    writeln!(
        out,
        "it names {segments} segments with {dots} dots, {wal_files} files of the log, {deletes} deletes, {rings} rings"
    )?;
    if repair.is_guess() {
        writeln!(out, "the last deletes may be missing: what has come back has to be deleted again")?;
        writeln!(
            out,
            "a ring of which neither log nor segments tell is wanted from its first record: its dots may come twice"
        )?;
        let bytes: u64 = repair.unlisted.iter().map(|(_, bytes)| bytes).sum();
        writeln!(
            out,
            "it does not name {} files of {bytes} bytes: the next sweep removes those that no process is making",
            repair.unlisted.len()
        )?;
        for (path, bytes) in repair.unlisted.iter().take(NAMED_MAX) {
            writeln!(out, "  {}: {bytes} bytes", path.display())?;
        }
        if let Some(more) = repair.unlisted.len().checked_sub(NAMED_MAX).filter(|more| *more > 0) {
            writeln!(out, "  and {more} more")?;
        }
    }
    match repair.is_written {
        true if repair.is_guess() => writeln!(out, "it is the list now, and MANIFEST.damaged is removed"),
        true => writeln!(out, "both files are whole now"),
        false => writeln!(out, "nothing was changed"),
    }
}
