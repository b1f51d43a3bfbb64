//! Repair: where the list of what counts had to be rebuilt, the rebuilt list is made the list for good.
//!
//! 1. The rebuilt list is written to MANIFEST and MANIFEST.2, by a commit as any other; the old MANIFEST stays as
//!    MANIFEST.damaged.
//! 2. MANIFEST.damaged is removed. From then on files that the list does not name are removed as ever.
//!
//! Always true: MANIFEST.damaged is removed only when the new list is on disk, and under the MANIFEST.lock of its
//! commit. So a repair that was killed has lost nothing, and a second one does the rest.
//!
//! It needs no other lock. A collector that runs meanwhile commits to a rebuilt list too, and finds this commit as it
//! finds any other.

use std::path::{Path, PathBuf};

use dotter_dot::Timestamp;

use crate::disk::layout::Layout;
use crate::disk::names::NamesFile;
use crate::disk::{litter, manifest, wal};
use crate::error::Error;
use crate::format::manifest::Manifest;
use crate::read::segment::Segment;
use crate::read::verify::Damage;

/// What [`repair`] found, and did.
#[derive(Clone, Debug, Default)]
pub struct Repair {
    /// What was wrong with the list, where it had to be rebuilt now.
    pub rebuilt: Option<String>,
    /// Whether MANIFEST.damaged was there: the list had been rebuilt before.
    pub is_marked: bool,
    /// Damage of one of the two files of the list, or of both.
    pub list: Vec<Damage>,
    /// Segments that the list names.
    pub segments: u64,
    /// Dots in them, and steps made from dots.
    pub dots: u64,
    /// WAL files that count.
    pub wal_files: u64,
    /// Deletes in the list.
    pub deletes: u64,
    /// Rings that have an account in the list, finished ones included.
    pub rings: u64,
    /// Files that the list does not name, with their bytes. Those that no process has locked go once MANIFEST.damaged
    /// is gone.
    pub unlisted: Vec<(PathBuf, u64)>,
    /// Files that the list names and that are missing or cannot be opened: what stays damaged.
    pub left: Vec<Damage>,
    /// Whether the list was written.
    pub is_written: bool,
}

impl Repair {
    /// Whether there is, or was, anything to repair.
    pub fn is_needed(&self) -> bool {
        self.rebuilt.is_some() || self.is_marked || !self.list.is_empty()
    }

    /// Whether the list may lack what had been committed: deletes, and accounts of rings.
    pub fn is_guess(&self) -> bool {
        self.rebuilt.is_some() || self.is_marked
    }
}

/// Makes a rebuilt list the list, and both of its files whole. Where nothing is wrong it changes nothing.
///
/// - `dry_run`: only look; takes no lock then, and writes nothing
///
/// # Errors
///
/// [`Error::NoStore`]; [`Error::Damaged`] where no list can be made; the system's. What is damaged and stays so is no error:
/// it is in the result.
pub fn repair(dir: &Path, dry_run: bool) -> Result<Repair, Error> {
    let layout = Layout::new(dir);
    // Before a lock, which would be a file made where there is no store.
    manifest::stamp(&layout)?;
    let seen = look(&layout, &manifest::read(&layout)?)?;
    if dry_run || !seen.is_needed() {
        return Ok(seen);
    }
    manifest::locked(&layout, Timestamp::now(), |list| {
        let mut repair = look(&layout, list)?;
        if repair.list.is_empty() {
            // To open the list under its lock has made one file whole from the other.
            repair.list = seen.list;
        }
        list.change(|_| Ok(()))?;
        let mark = layout.rebuilt_mark();
        match layout.disk.remove(&mark) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            other => other.map_err(Error::io("remove", &mark))?,
        }
        layout.sync_dir(&layout.dir)?;
        repair.is_written = true;
        Ok(repair)
    })
}

fn look(layout: &Layout, manifest: &Manifest) -> Result<Repair, Error> {
    let list = manifest::damage(layout)?.into_iter();
    let mut repair = Repair {
        rebuilt: manifest.rebuilt.clone(),
        is_marked: layout.rebuilt_mark().exists(),
        list: list.map(|(path, offset, what)| Damage { path, offset, what }).collect(),
        segments: manifest.segments.len() as u64,
        dots: manifest.segments.iter().map(|entry| entry.dots).sum(),
        wal_files: wal::files(layout, manifest.log_start())?.len() as u64,
        deletes: manifest.tombstones.len() as u64,
        rings: manifest.ledger.rings(),
        ..Repair::default()
    };
    for path in litter::unlisted(layout, manifest)? {
        // One that was being made may be gone.
        let bytes = path.metadata().map_or(0, |meta| meta.len());
        repair.unlisted.push((path, bytes));
    }
    repair.unlisted.sort();
    for entry in &manifest.segments {
        let path = layout.segment(&entry.name);
        repair.take(&path, Segment::open(&path, entry).map(drop))?;
    }
    for entry in &manifest.names {
        let path = layout.segment(&entry.name);
        repair.take(&path, NamesFile::open(&path, entry, manifest.store).map(drop))?;
    }
    for (file, offset, what) in manifest.ledger.files().damage() {
        repair.left.push(Damage { path: layout.ledger(&file.name), offset, what });
    }
    Ok(repair)
}

impl Repair {
    /// Notes a file that cannot be opened.
    fn take(&mut self, path: &Path, opened: Result<(), Error>) -> Result<(), Error> {
        match opened {
            Err(Error::Damaged { path, offset, what }) => self.left.push(Damage { path, offset, what }),
            Err(error) if error.is_not_found() => self.left.push(Damage {
                path: path.to_owned(),
                offset: 0,
                what: "listed in MANIFEST and missing".to_owned(),
            }),
            other => other?,
        }
        Ok(())
    }
}
