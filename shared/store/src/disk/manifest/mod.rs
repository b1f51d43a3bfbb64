//! The list of what counts: live segments, the first live WAL file, and the ledger as of its start.
//!
//! Always true on disk: MANIFEST is whole (it is replaced by rename), and everything it lists exists. What a
//! swap replaces is unlinked by the next swap, so a reader that has just read the list has time to open it. No two
//! swaps have the same generation, those that a crash cut short included: file names hold it.

mod rebuild;

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use dotter_dot::Timestamp;
use nix::libc::{O_CLOEXEC, O_NOFOLLOW};

use crate::disk::layout::{Layout, random_bytes};
use crate::disk::wal;
use crate::error::Error;
use crate::format::ledger::Finished;
use crate::format::listing::{Order, StoreId};
use crate::format::manifest::{LEDGER_PREFIX, Manifest};

/// The name of the lock held for the moment of a swap.
const LOCK: &str = "MANIFEST.lock";

pub use rebuild::rebuilt;

/// Tells one MANIFEST file from the next without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    inode: u64,
    mtime: i64,
    mtime_nanos: i64,
}

/// The stamp of the MANIFEST that is there now.
pub(crate) fn stamp(layout: &Layout) -> Result<Stamp, Error> {
    let path = layout.manifest();
    match fs::metadata(&path) {
        Ok(meta) => Ok(Stamp { inode: meta.ino(), mtime: meta.mtime(), mtime_nanos: meta.mtime_nsec() }),
        // Somebody removed it: the list is rebuilt, until the next swap puts it there again.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && layout.manifest_old().exists() => {
            Ok(Stamp { inode: 0, mtime: 0, mtime_nanos: 0 })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Error::NoStore(layout.dir.clone())),
        Err(error) => Err(Error::io("look at", &path)(error)),
    }
}

/// Reads MANIFEST; a damaged one is rebuilt in memory from MANIFEST.old and the segments.
///
/// # Errors
///
/// [`Error::NoStore`] where there is none; [`Error::Damaged`] where MANIFEST.old is of no use either.
pub(crate) fn read(layout: &Layout) -> Result<Manifest, Error> {
    match read_file(layout, &layout.manifest()) {
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            // A swap renames over MANIFEST, so it is never missing for a moment: with an old one beside the
            // gap, somebody removed it.
            if layout.manifest_old().exists() {
                rebuild::rebuild(layout, "MANIFEST is missing".to_owned())
            } else {
                Err(Error::NoStore(layout.dir.clone()))
            }
        }
        Err(Error::Damaged { path, offset, what }) => {
            let why = format!("MANIFEST at byte {offset}: {what}");
            rebuild::rebuild(layout, why).map_err(|_| Error::Damaged { path, offset, what })
        }
        other => other,
    }
}

/// Reads MANIFEST and nothing else.
pub(crate) fn read_as_is(layout: &Layout) -> Result<Manifest, Error> {
    match read_file(layout, &layout.manifest()) {
        Err(error) if error.is_not_found() && layout.manifest_old().exists() => {
            Err(Error::damaged(&layout.manifest(), 0, "missing; rebuilt from MANIFEST.old and the segments"))
        }
        Err(error) if error.is_not_found() => Err(Error::NoStore(layout.dir.clone())),
        other => other,
    }
}

/// Reads the list together with what `look` finds; no swap comes between.
pub(crate) fn read_with<T>(
    layout: &Layout,
    look: impl FnOnce(&Manifest) -> Result<T, Error>,
) -> Result<(Manifest, T), Error> {
    let _lock = layout.lock(LOCK)?;
    let manifest = read(layout)?;
    let found = look(&manifest)?;
    Ok((manifest, found))
}

/// Changes the list: reads it under the lock, lets `change` edit it, and puts the outcome in its place.
///
/// `change` may give the work up with an error; then nothing has happened. The generation it sees is the one
/// the new list will have.
pub(crate) fn swap<T>(
    layout: &Layout,
    change: impl FnOnce(&mut Manifest) -> Result<T, Error>,
) -> Result<(Manifest, T), Error> {
    let _lock = layout.lock(LOCK)?;
    let mut manifest = read(layout)?;
    // What a crash or a lost list has left keeps its generation, and with it its name.
    manifest.generation = manifest.generation.max(rebuild::generation_in_use(layout)?) + 1;
    let before = std::mem::take(&mut manifest.obsolete);
    let outcome = change(&mut manifest)?;
    manifest.segments.sort_by_key(|segment| segment.order);
    replace(layout, &manifest)?;
    for file in before {
        // Already gone after a crash in the middle of this loop; nothing depends on it.
        let _ = layout.disk.remove(&layout.dir.join(file));
    }
    Ok((manifest, outcome))
}

/// Reads MANIFEST, or makes an empty store where there is none.
pub(crate) fn open_or_create(layout: &Layout, now: Timestamp) -> Result<Manifest, Error> {
    layout.create()?;
    let _lock = layout.lock(LOCK)?;
    match read(layout) {
        Err(Error::NoStore(_)) => {}
        other => return other,
    }
    let found = first_entry(&layout.dir.join("seg"), "").or_else(|| first_entry(&layout.dir.join("wal"), ""));
    if let Some(found) = found.or_else(|| first_entry(&layout.dir, LEDGER_PREFIX)) {
        let what = format!(
            "MANIFEST and MANIFEST.old are missing beside {found}; restore one, or move the rest away"
        );
        return Err(Error::damaged(&layout.dir, 0, what));
    }
    let manifest =
        Manifest { store: StoreId(random_id(now)?), generation: 1, wal_first: 1, ..Manifest::default() };
    // Once more, for a directory that was there already or that a process made which died right then.
    layout.sync_name(&layout.dir)?;
    replace(layout, &manifest)?;
    Ok(manifest)
}

/// Removes segments, WAL files and files of finished rings that no list knows: what a crash left beside a swap.
pub(crate) fn sweep(layout: &Layout) -> Result<(), Error> {
    let _lock = layout.lock(LOCK)?;
    let manifest = read(layout)?;
    // A list that was rebuilt may not know of what counts: only a person can tell.
    if manifest.rebuilt.is_some() || layout.rebuilt_mark().exists() {
        return Ok(());
    }
    for folder in ["seg", "wal"] {
        let dir = layout.dir.join(folder);
        for entry in fs::read_dir(&dir).map_err(Error::io("list", &dir))?.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let counts = match name.rsplit_once('.') {
                Some((_, "seg")) => manifest.files().any(|segment| segment.name == name),
                Some((id, "wal")) => id.parse::<u64>().is_ok_and(|id| {
                    id >= manifest.wal_first || wal::is_foreign(&entry.path(), manifest.store, id)
                }),
                // Nothing of ours.
                _ => true,
            };
            // A file that is obsolete goes with the next swap, so that readers have time to open it.
            if !counts && !manifest.obsolete.contains(&format!("{folder}/{name}")) {
                let _ = layout.disk.remove(&entry.path());
            }
        }
    }
    for entry in fs::read_dir(&layout.dir).map_err(Error::io("list", &layout.dir))?.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let number = name.strip_prefix(LEDGER_PREFIX).and_then(|number| number.parse::<u64>().ok());
        let counts = manifest.ledger_file.as_ref().is_some_and(|file| file.name == name);
        if number.is_some() && !counts && !manifest.obsolete.iter().any(|file| file == name) {
            let _ = layout.disk.remove(&entry.path());
        }
    }
    Ok(())
}

pub(crate) fn replace(layout: &Layout, manifest: &Manifest) -> Result<(), Error> {
    if manifest.rebuilt.is_some() {
        rebuild::mark(layout)?;
    }
    let (temporary, _file) = layout.temporary_with(&manifest.encode())?;
    let path = layout.manifest();
    // A damaged one is no predecessor.
    if is_whole(&path) {
        link_as_old(layout)?;
    }
    layout.disk.rename(&temporary, &path).map_err(Error::io("rename", &path))?;
    layout.sync_dir(&layout.dir)
}

/// Puts a copy of the list that counts in the place of its predecessor, so that a rebuilt one forgets nothing of it.
pub(crate) fn keep_as_old(layout: &Layout) -> Result<(), Error> {
    let _lock = layout.lock(LOCK)?;
    let (temporary, _file) = layout.temporary_with(&read(layout)?.encode())?;
    let old = layout.manifest_old();
    layout.disk.rename(&temporary, &old).map_err(Error::io("rename", &old))?;
    layout.sync_dir(&layout.dir)
}

fn link_as_old(layout: &Layout) -> Result<(), Error> {
    let (path, old) = (layout.manifest(), layout.manifest_old());
    let link = layout.temporary_path()?;
    let disk = &layout.disk;
    // Whoever sweeps beside this swap sees that the second name is not litter.
    let file = File::open(&path).map_err(Error::io("open", &path))?;
    file.lock().map_err(Error::io("lock", &path))?;
    disk.link(&path, &link).map_err(Error::io("link", &link))?;
    disk.rename(&link, &old).map_err(Error::io("rename", &old))?;
    Ok(())
}

fn read_file(layout: &Layout, path: &Path) -> Result<Manifest, Error> {
    let mut bytes = read_bytes(path)?;
    loop {
        let mut manifest = Manifest::decode(&bytes, path)?;
        let Some(file) = &manifest.ledger_file else { return Ok(manifest) };
        if let Some(finished) = Finished::read(&layout.dir.join(&file.name), file.bytes, manifest.store)? {
            manifest.ledger.set_finished(finished);
            return Ok(manifest);
        }
        let now = read_bytes(path)?;
        if now == bytes {
            let what = format!("{} is listed in MANIFEST and missing", file.name);
            manifest.ledger.set_finished(Finished::missing(what));
            return Ok(manifest);
        }
        // Another list has come meanwhile, and its file of finished rings has taken the place of this one.
        bytes = now;
    }
}

/// Whether there is a list that is not damaged; whether its file of finished rings can be read has no say in it.
fn is_whole(path: &Path) -> bool {
    read_bytes(path).is_ok_and(|bytes| Manifest::decode(&bytes, path).is_ok())
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    fs::OpenOptions::new()
        .read(true)
        .custom_flags(O_NOFOLLOW | O_CLOEXEC)
        .open(path)
        .and_then(|mut file| file.read_to_end(&mut bytes))
        .map_err(Error::io("read", path))?;
    Ok(bytes)
}

impl Manifest {
    /// The place in the order of commits that the swap in hand gets.
    ///
    /// - `layout`: where the log lies, whose last synced sequence it sees
    pub(crate) fn next_order(&self, layout: &Layout) -> Result<Order, Error> {
        let sequence = wal::last_synced_sequence(layout, self.store)?.max(self.last_sequence());
        Ok(Order { sequence, generation: self.generation })
    }

    /// The first sequence that the live log may hold, which a seal may still put before what is listed behind it.
    ///
    /// To be asked under the lock of a swap: a seal moves it.
    pub(crate) fn first_live(&self, layout: &Layout) -> Result<u64, Error> {
        let files = wal::files(layout, self.store, self.wal_first)?;
        Ok(match files.first() {
            // Its frames will come behind everything that is there.
            None => u64::MAX,
            // A header that is damaged tells nothing.
            Some(file) => file.header.map_or(0, |header| header.first_sequence),
        })
    }
}

/// Something in a directory whose name begins so.
fn first_entry(dir: &Path, prefix: &str) -> Option<String> {
    let mut names = fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path());
    let is_it =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.as_bytes().starts_with(prefix.as_bytes()));
    names.find(is_it).map(|path| path.display().to_string())
}

/// The name of a new store.
fn random_id(now: Timestamp) -> Result<[u8; 16], Error> {
    let mut bytes: [u8; 16] = random_bytes()?;
    // Where the source is still warming up at boot, the clock keeps two stores apart.
    for (byte, more) in bytes.iter_mut().zip(now.nanos().to_le_bytes()) {
        *byte ^= more;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::archive::Archive;
    use crate::format::bytes::Fields;
    use crate::format::clock::Clock;
    use crate::format::ledger::Ledger;
    use crate::format::listing::SegmentEntry;
    use crate::format::manifest::LedgerFile;
    use crate::format::manifest::form::checksum;
    use crate::format::tombstone::Tombstone;

    fn manifest() -> Manifest {
        Manifest {
            store: StoreId([9; 16]),
            generation: 12,
            wal_first: 4,
            segments: vec![SegmentEntry {
                name: "L0-20261120T00-000012.seg".into(),
                bytes: 1000,
                first_time: Timestamp::from_nanos(5),
                last_time: Timestamp::from_nanos(50),
                order: Order { sequence: 77, generation: 0 },
                level: 0,
                dots: 10,
                series: 2,
                purged: 11,
                store: StoreId([9; 16]),
            }],
            obsolete: vec!["wal/0000000003.wal".into()],
            clock: Clock::default(),
            archives: vec![Archive { step: 60, from: 120, until: 600, ..Archive::default() }],
            tombstones: vec![Tombstone::decode(&mut Fields(b"\x4d\x0b\x02a%\0\x01\x01b\x05\x09")).unwrap()],
            ledger_file: Some(LedgerFile { name: "ledger-0000000012".into(), bytes: 300 }),
            ledger: Ledger::default(),
            rebuilt: None,
        }
    }

    #[test]
    fn a_manifest_round_trips_and_every_flipped_bit_is_noticed() {
        let bytes = manifest().encode();
        let path = Path::new("MANIFEST");
        assert_eq!(Manifest::decode(&bytes, path).unwrap(), manifest());
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Manifest::decode(&bytes, path).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn nothing_that_lies_elsewhere_is_called_obsolete() {
        for (name, is_ours) in [
            ("seg/a", true),
            ("ledger-0000000003", true),
            ("seg/../b", false),
            ("ledger-x/../../b", false),
            ("MANIFEST", false),
            ("/b", false),
        ] {
            let manifest = Manifest { obsolete: vec![name.to_owned()], ..manifest() };
            let decoded = Manifest::decode(&manifest.encode(), Path::new("MANIFEST"));
            assert_eq!(decoded.is_ok(), is_ours, "{name}");
        }
    }

    #[test]
    fn a_damaged_manifest_is_rebuilt_from_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let made = open_or_create(&layout, Timestamp::from_nanos(1)).unwrap();
        let (second, ()) = swap(&layout, |_| Ok(())).unwrap();
        assert_eq!(second.generation, made.generation + 1);
        fs::write(layout.manifest(), b"rubbish").unwrap();
        let rebuilt = |why: &str| Manifest { rebuilt: Some(why.to_owned()), ..made.clone() };
        let why = "MANIFEST at byte 0: no manifest of a Dotter store";
        assert_eq!(read(&layout).unwrap(), rebuilt(why));
        let (third, ()) = swap(&layout, |_| Ok(())).unwrap();
        assert_eq!(third.generation, made.generation + 1);
        fs::remove_file(layout.manifest()).unwrap();
        assert_eq!(read(&layout).unwrap(), rebuilt("MANIFEST is missing"));
    }

    #[test]
    fn a_list_made_by_a_later_version_is_refused_politely() {
        let mut bytes = manifest().encode();
        bytes[8] = 3;
        let checksum = checksum(&bytes);
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        let error = Manifest::decode(&bytes, Path::new("MANIFEST")).unwrap_err();
        assert_eq!(error.to_string(), "MANIFEST: format version 3, this build reads up to 0");
    }
}
