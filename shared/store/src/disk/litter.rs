//! Litter: files that a killed process has left. Such a file has a name of our pattern, the list does not name it,
//! and no process has it locked.
//!
//! Litter is looked for where such names are made and nowhere else: in `seg/`, `wal/`, `kept/`, `ledger/` and `claim/`, in
//! `hold/`, where it is the file of an owner that has ended more than 30 days ago, and in
//! the store's directory, where files are made that replace another by renaming. A file with any other name stays.
//!
//! Always true: nothing is removed while the list is a rebuilt one, or while MANIFEST.damaged is there.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::libc::{O_CLOEXEC, O_NOFOLLOW, O_NONBLOCK};

use crate::disk::layout::{Folder, Layout, is_same};
use crate::disk::{holds, manifest, wal};
use crate::error::Error;
use crate::format::listing::{is_number, words_and_number};
use crate::format::manifest::Manifest;

/// How many files are open and locked at a time.
const BATCH: usize = 64;
/// Folder of claims. They are judged by age: a claim is unlinked within seconds unless its maker died.
const CLAIMS: &str = "claim";
/// A claim that nobody has locked, and that was last changed so long ago, is litter.
const CLAIM_AGE: Duration = Duration::from_secs(3600);
/// Files of the store's directory that are replaced by renaming a new file.
const REPLACED: [&str; 2] = ["MANIFEST", "MANIFEST.2"];

/// Removes litter; returns how many files it removed.
///
/// Called when a store is opened and once a minute, not by each commit: it lists directories.
///
/// # Errors
///
/// Those of reading the list and the directories; a file that cannot be removed, and a folder of claims that cannot be
/// listed, is passed over.
pub(crate) fn remove(layout: &Layout) -> Result<u64, Error> {
    let Some(names) = Names::of(layout, manifest::read(layout)?) else { return Ok(0) };
    let mut unlisted = names.unlisted(layout)?;
    let is_replaced = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).and_then(words_and_number);
        name.is_some_and(|(words, _)| REPLACED.contains(&words))
    };
    unlisted.extend(entries(&layout.dir)?.into_iter().filter(is_replaced));
    // Another user may have made it: whoever commits can do without claims.
    let claims = entries(&layout.dir.join(CLAIMS)).unwrap_or_default();
    unlisted.extend(claims.into_iter().filter(|path| is_old_claim(path)));
    unlisted.extend(holds::ended(layout));
    let mut removed = 0;
    for batch in unlisted.chunks(BATCH) {
        let free = batch.iter().filter_map(|path| Some((path, lock(layout, path)?)));
        let free: Vec<(&PathBuf, File)> = free.collect();
        if free.is_empty() {
            continue;
        }
        // A maker holds its lock until the file is listed, so no edit still to come lists one of these files. A
        // killed maker may have written an edit that is not published: the edit is completed first. Then the list
        // decides.
        let Some(names) = Names::of(layout, manifest::completed(layout)?) else { return Ok(removed) };
        for (path, file) in free {
            if !names.has(layout, path) && is_same(path, &file) && layout.disk.remove(path).is_ok() {
                removed += 1;
            }
        }
    }
    Ok(removed)
}

/// Segments, names files, WAL files and files of finished rings that a list does not name, as they will be removed once
/// that list is no longer a rebuilt one. Files that a process is making are among them.
pub(crate) fn unlisted(layout: &Layout, manifest: &Manifest) -> Result<Vec<PathBuf>, Error> {
    Names::in_list(manifest.clone()).unlisted(layout)
}

/// Whether litter stays, since the list may lack files that count.
pub(crate) fn is_kept(layout: &Layout) -> Result<bool, Error> {
    Ok(is_rebuilt(layout, &manifest::read(layout)?))
}

fn is_rebuilt(layout: &Layout, manifest: &Manifest) -> bool {
    manifest.rebuilt.is_some() || layout.rebuilt_mark().exists()
}

/// The files that a list names, and those that the next commit unlinks, as paths below the store.
struct Names {
    manifest: Manifest,
    paths: BTreeSet<String>,
}

impl Names {
    /// `None` where the list was rebuilt, and so may lack files that count.
    fn of(layout: &Layout, manifest: Manifest) -> Option<Names> {
        (!is_rebuilt(layout, &manifest)).then(|| Names::in_list(manifest))
    }

    fn in_list(manifest: Manifest) -> Names {
        let mut paths: BTreeSet<String> = manifest.in_seg().map(|(name, _)| format!("seg/{name}")).collect();
        paths.extend(manifest.ledger_files.iter().map(|file| format!("ledger/{}", file.name)));
        // The next commit unlinks these; until then readers may open them.
        paths.extend(manifest.obsolete.iter().cloned());
        for (folder, name) in manifest.kept.files() {
            paths.extend([format!("{folder}/{name}"), format!("kept/{name}")]);
        }
        Names { manifest, paths }
    }

    fn unlisted(&self, layout: &Layout) -> Result<Vec<PathBuf>, Error> {
        let mut unlisted = Vec::new();
        for folder in Folder::ALL {
            let mut paths = entries(&layout.dir.join(folder.name()))?;
            paths.retain(|path| is_of_ours(folder, path) && !self.has(layout, path));
            unlisted.append(&mut paths);
        }
        Ok(unlisted)
    }

    fn has(&self, layout: &Layout, path: &Path) -> bool {
        let below = path.strip_prefix(&layout.dir).ok().and_then(Path::to_str);
        below.is_none_or(|below| self.paths.contains(below))
            || Layout::wal_id(path).is_some_and(|id| {
                // What is not this log's may be all there is of another.
                id >= self.manifest.wal_first || wal::is_foreign(path, self.manifest.store, id)
            })
    }
}

fn is_of_ours(folder: Folder, path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let has_logs = matches!(folder, Folder::Wal | Folder::Kept);
    name.and_then(words_and_number).is_some() || has_logs && Layout::wal_id(path).is_some()
}

fn is_old_claim(path: &Path) -> bool {
    let is_ours = path.file_name().and_then(|name| name.to_str()).is_some_and(is_number);
    let changed = fs::symlink_metadata(path).and_then(|meta| meta.modified());
    let age = changed.ok().and_then(|changed| changed.elapsed().ok());
    is_ours && age.is_some_and(|age| age > CLAIM_AGE)
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match fs::read_dir(dir) {
        // An empty folder may be missing in a copy.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(Error::io("list", dir))?,
    };
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

/// A file that nobody has locked, locked: a claim so that whoever is to take it still sees that its sender has ended.
fn lock(layout: &Layout, path: &Path) -> Option<File> {
    let flags = O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    if !file.metadata().is_ok_and(|meta| meta.is_file()) {
        return None;
    }
    let is_claim = path.parent() == Some(&layout.dir.join(CLAIMS));
    let locked = if is_claim { file.try_lock_shared() } else { file.try_lock() };
    locked.is_ok().then_some(file)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::disk::{self, Disk, System};

    /// A disk on which another process takes the first file for litter before its maker has locked it.
    #[derive(Debug, Default)]
    struct Swept(Mutex<Option<File>>);

    impl Disk for Swept {
        fn create(&self, path: &Path) -> io::Result<File> {
            let file = System.create(path)?;
            self.0.lock().unwrap().get_or_insert_with(|| {
                let theirs = File::open(path).unwrap();
                theirs.lock().unwrap();
                theirs
            });
            Ok(file)
        }
    }

    /// Whoever removes litter waits for MANIFEST.lock with the file locked, and the maker may hold that lock.
    #[test]
    fn who_makes_a_file_does_not_wait_for_who_takes_it_for_litter() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Arc::new(Swept::default());
        let layout = disk::on(disk.clone(), || Layout::new(dir.path()));
        layout.create().unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || tell.send(layout.make(Folder::Seg, "L0-x").unwrap()));
        let new = told.recv_timeout(Duration::from_secs(20)).expect("it waits for nobody");
        assert!(new.is_there());
        let left = entries(&dir.path().join("seg")).unwrap();
        assert!(left.iter().eq([&new.path]), "the other one is gone: {left:?}");
    }
}
