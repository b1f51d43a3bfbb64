//! The list of what counts, on disk: MANIFEST and MANIFEST.2, each a log of edits.
//!
//! Always true:
//!
//! - an edit is synced in both files before it is published, and published before its commit is acknowledged
//! - every file that the list names exists
//! - a file that one edit replaces is unlinked by the next commit, so a reader that has just read the list has time
//!   to open it

mod copies;
mod keep;
mod known;
mod list;
mod rebuild;
mod stamp;
mod until;

use std::os::unix::fs::{FileExt, MetadataExt};

use dotter_dot::Timestamp;

use self::copies::{Copy, fold};
use self::list::{LOCK, List, read_copies};
use crate::disk::layout::{Layout, random_bytes};
use crate::disk::log::{open, read_header, read_published_surely, this_boot};
use crate::disk::{finished, old};
use crate::error::Error;
use crate::format::ledger::files::FinishedFiles;
use crate::format::listing::StoreId;
use crate::format::log::frame::{FrameKind, Item, Items};
use crate::format::log::header::LogKind;
use crate::format::manifest::Manifest;

pub(crate) use keep::is_due as keeps_unneeded;
pub use rebuild::rebuilt;
pub(crate) use stamp::{Stamp, stamp};
pub(crate) use until::read_until;

/// Reads the list; takes no lock. An edit that is damaged in MANIFEST is read from MANIFEST.2; where it is damaged in
/// both, the list is rebuilt in memory.
///
/// # Errors
///
/// [`Error::NoStore`] where there is no store; [`Error::Damaged`] where the list cannot be rebuilt either.
pub(crate) fn read(layout: &Layout) -> Result<Manifest, Error> {
    read_with_files(layout, &FinishedFiles::default())
}

/// As [`read`], for whoever has files of finished rings open: those that the list still names are not opened again.
pub(crate) fn read_with_files(layout: &Layout, known: &FinishedFiles) -> Result<Manifest, Error> {
    loop {
        let before = match stamp(layout) {
            Err(Error::NoStore(_)) => None,
            other => Some(other?),
        };
        let mut manifest = match Copy::read(&layout.manifest(), false, None)? {
            Some(copy) if copy.is_whole() && copy.has_what_is_published() => {
                let folded = fold(std::slice::from_ref(&copy));
                match folded.broken {
                    None => folded.manifest,
                    Some(_) => read_both(layout)?,
                }
            }
            _ => read_both(layout)?,
        };
        // Where another list has come meanwhile, its file has taken the place of this one.
        if open_finished(layout, &mut manifest, known)? || stamp(layout).ok() == before {
            return Ok(manifest);
        }
    }
}

/// As [`read`], for whoever has the list as it was at `stamp`: only the edits behind it are read, where they can be. Also
/// says whether they were: then the list came from `before`, and from no other.
pub(crate) fn read_on(layout: &Layout, stamp: &Stamp, before: &Manifest) -> Result<(Manifest, bool), Error> {
    if let Some(mut manifest) = edits_since(layout, stamp, before)?
        && open_finished(layout, &mut manifest, before.ledger.files())?
    {
        return Ok((manifest, true));
    }
    Ok((read_with_files(layout, before.ledger.files())?, false))
}

/// `None` where the file is another one, or where not every edit behind `stamp` can be read.
fn edits_since(layout: &Layout, stamp: &Stamp, before: &Manifest) -> Result<Option<Manifest>, Error> {
    let path = layout.manifest();
    let file = match open(&path) {
        Err(error) if error.is_not_found() => return Ok(None),
        other => other?,
    };
    let inode = file.metadata().map_err(Error::io("look at", &path))?.ino();
    let header = read_header(LogKind::Manifest, &file, &path);
    let published = read_published_surely(&file, &path)?.filter(|words| words.boot == this_boot());
    let (Ok(header), Some(published)) = (header, published) else { return Ok(None) };
    if (header.store, header.lineage) != (before.store, before.lineage) {
        return Ok(None);
    }
    if inode != stamp.inode || stamp.boot != published.boot || published.bytes < stamp.until {
        return Ok(None);
    }
    let mut bytes = vec![0; (published.bytes - stamp.until) as usize];
    if file.read_exact_at(&mut bytes, stamp.until).is_err() {
        return Ok(None);
    }
    let mut manifest = before.clone();
    for item in Items::new(&bytes, stamp.until, header.number) {
        let Item::Frame(frame) = item else { return Ok(None) };
        // The list may have been read after its stamp.
        if frame.sequence <= manifest.generation {
            continue;
        }
        if frame.kind != FrameKind::Edit || frame.sequence != manifest.generation + 1 {
            return Ok(None);
        }
        if manifest.apply(frame.sequence, frame.payload).is_none() {
            return Ok(None);
        }
    }
    Ok((manifest.generation == published.sequence && before.rebuilt.is_none()).then_some(manifest))
}

fn read_both(layout: &Layout) -> Result<Manifest, Error> {
    let copies = read_copies(layout, false)?;
    let folded = fold(&copies);
    if folded.broken.is_none() {
        return Ok(folded.manifest);
    }
    if copies.is_empty() && !rebuild::is_possible(layout) {
        return Err(Error::NoStore(layout.dir.clone()));
    }
    rebuild::rebuild(layout, folded)
}

/// Opens the files of finished rings that the list names; `false` where one is not there, which the ledger then says.
///
/// - `known`: those that are open already
fn open_finished(layout: &Layout, manifest: &mut Manifest, known: &FinishedFiles) -> Result<bool, Error> {
    let are_known = known.0.iter().map(|file| &file.listing).eq(&manifest.ledger_files);
    let is_set = manifest.ledger.files().0.len() == known.0.len();
    if are_known && is_set {
        return Ok(true);
    }
    let (files, are_there) = finished::open_all(layout, manifest, known)?;
    manifest.ledger.set_files(files);
    Ok(are_there)
}

/// The damage in MANIFEST and MANIFEST.2: file, offset in bytes, and what is wrong there.
pub(crate) fn damage(layout: &Layout) -> Result<Vec<(std::path::PathBuf, u64, String)>, Error> {
    let copies = read_copies(layout, false)?;
    let mut damage = Vec::new();
    for path in copies::paths(layout) {
        match copies.iter().find(|copy| copy.path == path) {
            None => damage.push((path, 0, "missing; the next commit writes it anew".to_owned())),
            Some(copy) => {
                damage.extend(copy.damage.iter().map(|(at, what)| (path.clone(), *at, what.clone())));
                if copy.damage.is_empty() && !copy.is_whole() {
                    damage.push((path, 0, "no edit that can be read".to_owned()));
                } else if copy.damage.is_empty() && !copy.has_what_is_published() {
                    damage.push((
                        path,
                        copy.good_until,
                        "the last edit that is published cannot be read".to_owned(),
                    ));
                }
            }
        }
    }
    Ok(damage)
}

/// Reads the list and calls `look`, both under MANIFEST.lock: no commit comes between.
pub(crate) fn read_with<T>(
    layout: &Layout,
    look: impl FnOnce(&Manifest) -> Result<T, Error>,
) -> Result<(Manifest, T), Error> {
    let _lock = layout.lock(LOCK)?;
    let manifest = read(layout)?;
    let found = look(&manifest)?;
    Ok((manifest, found))
}

/// Changes the list: reads it under the lock, lets `change` change it, and writes what changed as one edit.
///
/// `change` may return an error; then nothing has changed. [`Manifest::generation`] as `change` sees it is the number
/// that the edit will have.
pub(crate) fn change<T>(
    layout: &Layout,
    change: impl FnOnce(&mut Manifest) -> Result<T, Error>,
) -> Result<(Manifest, T), Error> {
    old::refuse(layout)?;
    let mut list = List::open(layout)?;
    change_list(layout, &mut list, change)
}

fn change_list<T>(
    layout: &Layout,
    list: &mut List,
    change: impl FnOnce(&mut Manifest) -> Result<T, Error>,
) -> Result<(Manifest, T), Error> {
    let mut after = list.manifest.clone();
    after.generation += 1;
    let before = std::mem::take(&mut after.obsolete);
    let outcome = change(&mut after)?;
    after.sort();
    keep::settle(layout, &list.manifest, &mut after);
    list.commit(&after)?;
    // A crash in the middle may have left a file unlinked already; nothing depends on it.
    before.iter().for_each(|file| keep::put_away(layout, &after.kept, file));
    after.rebuilt = None;
    Ok((after, outcome))
}

/// Calls `work` under MANIFEST.lock, once both files are complete.
pub(crate) fn locked<T>(
    layout: &Layout,
    now: Timestamp,
    work: impl FnOnce(&mut Locked<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    old::refuse(layout)?;
    layout.create()?;
    let mut list = open_or_make(layout, now)?;
    work(&mut Locked { layout, list: &mut list })
}

/// The list under its lock.
pub(crate) struct Locked<'a> {
    layout: &'a Layout,
    list: &'a mut List,
}

impl std::ops::Deref for Locked<'_> {
    type Target = Manifest;

    fn deref(&self) -> &Manifest {
        &self.list.manifest
    }
}

impl Locked<'_> {
    /// As [`change`].
    pub(crate) fn change<T>(
        &mut self,
        change: impl FnOnce(&mut Manifest) -> Result<T, Error>,
    ) -> Result<T, Error> {
        change_list(self.layout, self.list, change).map(|(_, outcome)| outcome)
    }
}

/// Reads the list under its lock, after completing an edit that a killed process had written and not published.
pub(crate) fn completed(layout: &Layout) -> Result<Manifest, Error> {
    old::refuse(layout)?;
    Ok(List::open(layout)?.manifest)
}

/// Makes an empty store where there is none. Where there is one, nobody reads its list for that.
pub(crate) fn make(layout: &Layout, now: Timestamp) -> Result<(), Error> {
    old::refuse(layout)?;
    layout.create()?;
    match stamp(layout) {
        Ok(stamp) if stamp.inode > 0 => Ok(()),
        _ => locked(layout, now, |_| Ok(())),
    }
}

fn open_or_make(layout: &Layout, now: Timestamp) -> Result<List, Error> {
    let lock = layout.lock(LOCK)?;
    if copies::paths(layout).iter().any(|path| path.exists()) || rebuild::is_possible(layout) {
        return List::open_locked(layout, lock);
    }
    let store = StoreId(random_id(now)?);
    // A new store is the first of its lineage.
    let manifest = Manifest { store, lineage: store, wal_first: 1, ids_from: 1, ..Manifest::default() };
    // Once more: the directory may have been there already, made by a process that died before it synced the name.
    layout.sync_name(&layout.dir)?;
    let mut list = List::new(layout, lock, manifest.clone());
    list.commit(&Manifest { generation: 1, ..manifest })?;
    Ok(list)
}

/// Writes the list of a backup, which has none yet.
pub(crate) fn write_new(layout: &Layout, manifest: &Manifest) -> Result<(), Error> {
    List::new(layout, layout.lock(LOCK)?, manifest.clone()).commit(manifest)
}

/// A random id for a new store.
fn random_id(now: Timestamp) -> Result<[u8; 16], Error> {
    let mut bytes: [u8; 16] = random_bytes()?;
    // Early at boot the random source may not be ready; the time still makes two ids differ.
    for (byte, more) in bytes.iter_mut().zip(now.nanos().to_le_bytes()) {
        *byte ^= more;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::fs::File;
    use std::os::unix::fs::FileExt;
    use std::sync::Arc;

    use super::*;
    use crate::disk;
    use crate::disk::quick::Quick;
    use crate::format::tombstone::tests::tombstone;

    fn store() -> (tempfile::TempDir, Layout) {
        let dir = tempfile::tempdir().unwrap();
        let layout = disk::on(Arc::new(Quick), || Layout::new(dir.path()));
        make(&layout, Timestamp::from_nanos(1)).unwrap();
        (dir, layout)
    }

    /// A delete, whose edit is as large as a base of nothing.
    fn delete(layout: &Layout, name: &str) -> Manifest {
        let (after, ()) = change(layout, |list| {
            list.tombstones.push(tombstone(name, ("", None), (0, 9), list.generation));
            Ok(())
        })
        .unwrap();
        after
    }

    fn names(list: &Manifest) -> Vec<&str> {
        list.tombstones.iter().map(|tombstone| tombstone.pattern.as_str()).collect()
    }

    #[test]
    fn every_edit_stands_in_both_files() {
        let (_dir, layout) = store();
        for name in ["a", "b", "c"] {
            delete(&layout, name);
        }
        for path in copies::paths(&layout) {
            let copy = Copy::read(&path, true, None).unwrap().unwrap();
            assert_eq!((copy.last_edit(), copy.is_whole()), (Some(4), true));
            assert_eq!(names(&fold(&[copy]).manifest), ["a", "b", "c"]);
        }
        assert!(damage(&layout).unwrap().is_empty());
    }

    #[test]
    fn whatever_bit_of_one_file_is_flipped_nothing_is_lost_and_the_next_edit_mends_it() {
        let (_dir, layout) = store();
        delete(&layout, "a");
        delete(&layout, "b");
        let whole = read(&layout).unwrap();
        let until = stamp(&layout).unwrap().until;
        for path in copies::paths(&layout) {
            for place in
                (0..until).filter(|place| *place < 96 || (512..548).contains(place) || *place >= 4096)
            {
                let file = File::options().read(true).write(true).open(&path).unwrap();
                let mut byte = [0];
                file.read_exact_at(&mut byte, place).unwrap();
                file.write_all_at(&[byte[0] ^ 0x10], place).unwrap();
                match read(&layout) {
                    Ok(list) => {
                        assert!(
                            list.says_what(&whole) && list.rebuilt.is_none(),
                            "{}: byte {place}",
                            path.display()
                        );
                    }
                    // The bytes of the version.
                    Err(error) => panic!("{}: byte {place}: {error}", path.display()),
                }
                // The next edit finds both, and makes both whole.
                let (after, ()) = change(&layout, |_| Ok(())).unwrap();
                assert_eq!(names(&after), ["a", "b"], "{}: byte {place}", path.display());
                assert!(damage(&layout).unwrap().is_empty(), "{}: byte {place}", path.display());
                assert!(!layout.rebuilt_mark().exists());
                // Back to the list of before, for the next byte.
                restore(&layout, &whole);
            }
        }
    }

    fn restore(layout: &Layout, list: &Manifest) {
        for path in copies::paths(layout) {
            fs::remove_file(path).unwrap();
        }
        write_new(layout, list).unwrap();
    }

    #[test]
    fn whoever_follows_the_list_reads_what_a_newcomer_reads() {
        let (_dir, layout) = store();
        let (mut stamp_then, mut then) = (stamp(&layout).unwrap(), read(&layout).unwrap());
        let mut anew = 0;
        for count in 0..200_u64 {
            // Some edits at once, one of them now and then a base.
            for part in 0..count % 4 {
                delete(&layout, &format!("{}.{count}.{part}", "x".repeat(900)));
            }
            if count % 7 == 0 {
                change(&layout, |list| {
                    list.tombstones = list.tombstones.iter().take(3).cloned().collect();
                    Ok(())
                })
                .unwrap();
            }
            let stamp_now = stamp(&layout).unwrap();
            anew += edits_since(&layout, &stamp_then, &then).unwrap().is_none() as u32;
            let (now, _) = read_on(&layout, &stamp_then, &then).unwrap();
            assert!(now.says_what(&read(&layout).unwrap()), "{count}");
            (stamp_then, then) = (stamp_now, now);
        }
        assert!(
            (1..40).contains(&anew),
            "read anew {anew} times: where the list was written anew, and not else"
        );
    }

    #[test]
    fn one_file_that_is_gone_is_made_again_by_the_next_edit() {
        let (_dir, layout) = store();
        delete(&layout, "a");
        for path in copies::paths(&layout) {
            fs::remove_file(&path).unwrap();
            assert_eq!(names(&read(&layout).unwrap()), ["a"]);
            assert_eq!(damage(&layout).unwrap().len(), 1);
            assert_eq!(names(&change(&layout, |_| Ok(())).unwrap().0), ["a"]);
            assert!(damage(&layout).unwrap().is_empty());
        }
    }

    #[test]
    fn many_edits_become_one_base_and_the_files_stay_small() {
        let (_dir, layout) = store();
        let mut longest = 0;
        for count in 0..1000 {
            delete(&layout, &format!("{}.{count}", "x".repeat(200)));
            change(&layout, |list| {
                list.tombstones = Default::default();
                Ok(())
            })
            .unwrap();
            longest = longest.max(stamp(&layout).unwrap().until);
        }
        assert!((14 << 10..24 << 10).contains(&longest), "{longest}");
        assert!(read(&layout).unwrap().tombstones.is_empty());
        let left = fs::read_dir(&layout.dir).unwrap().flatten().map(|entry| entry.file_name());
        assert!(left.into_iter().all(|name| !name.to_str().unwrap().starts_with("MANIFEST-")));
    }

    #[test]
    fn a_store_of_another_version_is_refused_untouched() {
        for version in [0_u32, 1, 7] {
            let dir = tempfile::tempdir().unwrap();
            let layout = Layout::new(dir.path());
            let mut bytes = b"DOTTRMAN".to_vec();
            bytes.extend_from_slice(&version.to_le_bytes());
            bytes.resize(200, 1);
            fs::write(layout.manifest(), &bytes).unwrap();
            let error = read(&layout).unwrap_err();
            let dir = dir.path().display();
            let expected = format!(
                "{dir}: store format {version}, this build reads 3: with the build that made it 'dotter-store -d {dir} \
                 export', then 'dotter-store -d NEW import'"
            );
            assert_eq!(error.to_string(), expected);
            let now = Timestamp::from_nanos(1);
            assert!(matches!(stamp(&layout), Err(Error::OtherStore { .. })));
            assert!(matches!(make(&layout, now), Err(Error::OtherStore { .. })));
            assert!(matches!(change(&layout, |_| Ok(())), Err(Error::OtherStore { .. })));
            let left: Vec<_> = fs::read_dir(&layout.dir).unwrap().flatten().collect();
            assert_eq!(left.len(), 1, "{left:?}");
            assert_eq!(fs::read(layout.manifest()).unwrap(), bytes);
        }
    }
}
