//! Backup: a copy of a store that is a store by itself, made while the writer goes on.
//!
//! No lock is taken and nothing is written into the store, so it may be on a read-only mount.
//!
//! Always true of a finished copy: it has every commit up to one moment and none after it. Segments and names files are
//! hard links wherever the file system allows it. The log is copied up to what counted at that moment. MANIFEST is
//! written last, so that an unfinished copy is no store.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use nix::libc::{O_CLOEXEC, O_NOFOLLOW};

use crate::disk;
use crate::disk::layout::Layout;
use crate::disk::log::this_boot;
use crate::disk::manifest;
use crate::disk::wal::{self, Counts, LogFile};
use crate::error::Error;
use crate::format::log::header::{HEADER_BYTES, Published};
use crate::format::manifest::Manifest;

/// How often it begins again because a compaction has removed files that it was to copy.
const TRIES_MAX: u32 = 20;
/// Other files that are copied; the last one marks that the list was rebuilt.
const EXTRA_FILES: [&str; 4] =
    ["retention.toml", "storage-schemas.conf", "storage-aggregation.conf", "MANIFEST.damaged"];
/// The displayer's folder, which is copied too.
const EXTRA_DIR: &str = "displayer";
const COPY_BYTES: usize = 1 << 20;

/// What a backup holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackedUp {
    /// Segments and names files that are hard links.
    pub linked: u64,
    /// Files that were copied.
    pub copied: u64,
    /// Bytes of the copied ones.
    pub copied_bytes: u64,
    /// The last sequence of the log in it.
    pub sequence: u64,
    /// The number of the last edit in it.
    pub generation: u64,
}

/// The store at one moment: the list, and how much of the log counts. The cut is the greater of the published and the last
/// sealed sequence: no commit in the list stands behind it.
struct Moment {
    manifest: Manifest,
    /// The live WAL files, open so that they can be read after a seal has unlinked them.
    files: Vec<LogFile>,
    /// How much of each file counts, and its last sequence.
    counts: Vec<Counts>,
}

/// The log, measured. The list is read behind it: so the list has every commit of others that stands among what was
/// measured.
struct Measured {
    /// The list as it was before.
    list: Manifest,
    files: Vec<LogFile>,
    /// Whether all files that were listed could be opened.
    are_there: bool,
    counts: Vec<Counts>,
}

/// Makes a copy of a store, whether or not anybody writes to it.
///
/// - `to`: a directory that is empty or does not exist yet, on any file system; on the same one segments take no room
///
/// # Errors
///
/// The system's, [`Error::NotEmpty`], and [`Error::GivenUp`] after `cancel`; what was made is removed then.
pub fn backup(dir: &Path, to: &Path, cancel: &dyn Fn() -> bool) -> Result<BackedUp, Error> {
    let (from, to) = (Layout::new(dir), Layout::new(to));
    manifest::stamp(&from)?;
    match fs::read_dir(&to.dir) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                return Err(Error::NotEmpty(to.dir));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(Error::io("list", &to.dir)(error)),
    }
    to.create()?;
    let outcome = make(&from, &to, cancel);
    if outcome.is_err() {
        // Removed as far as possible: without MANIFEST the rest is no store.
        for place in ["seg", "wal", "ledger", EXTRA_DIR] {
            let _ = fs::remove_dir_all(to.dir.join(place));
        }
        for file in fs::read_dir(&to.dir).into_iter().flatten().flatten() {
            let name = file.file_name();
            let is_ours = |name: &str| EXTRA_FILES.contains(&name) || name.ends_with(".names");
            if name.to_str().is_some_and(is_ours) {
                let _ = fs::remove_file(file.path());
            }
        }
        let _ = fs::remove_dir(&to.dir);
    }
    outcome
}

fn make(from: &Layout, to: &Layout, cancel: &dyn Fn() -> bool) -> Result<BackedUp, Error> {
    let mut backed_up = BackedUp::default();
    // Segments and names files never change, so those that an earlier try has linked or copied stay.
    let mut taken = BTreeSet::new();
    let mut tries = 0;
    let moment = loop {
        let moment = Moment::now(from, cancel)?;
        match take_files(from, to, &moment.manifest, &mut taken, &mut backed_up, cancel) {
            Err(error) if error.is_not_found() && tries < TRIES_MAX => tries += 1,
            Err(error) => return Err(error),
            Ok(()) => break moment,
        }
    };
    let listed: BTreeSet<&str> = moment.manifest.in_seg().map(|(name, _)| name).collect();
    for name in taken.iter().filter(|name| !listed.contains(name.as_str())) {
        let path = to.segment(name);
        fs::remove_file(&path).map_err(Error::io("remove", &path))?;
    }
    for (file, counts) in moment.files.iter().zip(&moment.counts) {
        if cancel() {
            return Err(Error::GivenUp);
        }
        copy_log(to, file, *counts)?;
        backed_up.copied += 1;
        backed_up.copied_bytes += counts.bytes;
    }
    for file in &moment.manifest.ledger.files().0 {
        // The bytes as they were mapped with the list: a later edit may have replaced the file.
        let bytes = file.bytes();
        let path = to.ledger(&file.listing.name);
        let mut out = create(&path, 0o400)?;
        out.write_all(bytes).map_err(Error::io("write", &path))?;
        out.sync_all().map_err(Error::io("sync", &path))?;
        backed_up.copied += 1;
        backed_up.copied_bytes += bytes.len() as u64;
    }
    for name in EXTRA_FILES {
        copy_if_there(&from.dir.join(name), &to.dir.join(name), &mut backed_up)?;
    }
    let lists: BTreeSet<&str> = moment.manifest.rules.files_of_names().collect();
    for name in lists {
        copy_if_there(&from.dir.join(name), &to.dir.join(name), &mut backed_up)?;
    }
    copy_folder(&from.dir.join(EXTRA_DIR), &to.dir.join(EXTRA_DIR), &mut backed_up)?;
    sync_dir(&to.dir.join("seg"))?;
    sync_dir(&to.dir.join("wal"))?;
    sync_dir(&to.dir.join("ledger"))?;
    let Moment { mut manifest, counts, .. } = moment;
    let last = counts.last().map_or(0, |counts| counts.sequence);
    backed_up.sequence = last.max(manifest.last_sequence());
    backed_up.generation = manifest.generation;
    // Obsolete files are not copied.
    manifest.obsolete.clear();
    // Who follows this store does not follow the copy.
    manifest.kept.forget_all(manifest.generation);
    to.sync_name(&to.dir)?;
    manifest::write_new(to, &manifest)?;
    Ok(backed_up)
}

impl Moment {
    /// Looks at the store without a lock, which cannot be had where nothing may be written.
    fn now(layout: &Layout, cancel: &dyn Fn() -> bool) -> Result<Moment, Error> {
        loop {
            if let Some(moment) = Measured::now(layout)?.moment(layout)? {
                return Ok(moment);
            }
            // A seal came between. It needs a whole file of the log, so the next look is very likely quicker.
            if cancel() {
                return Err(Error::GivenUp);
            }
        }
    }
}

impl Measured {
    fn now(layout: &Layout) -> Result<Measured, Error> {
        let list = manifest::read(layout)?;
        let (files, are_there) = wal::files_there(layout, list.log_start())?;
        let counts = files.iter().map(LogFile::counts).collect::<Result<Vec<_>, _>>()?;
        Ok(Measured { list, files, are_there, counts })
    }

    /// The list that goes with it: what other processes have committed since may stand behind commits of the log that
    /// were not measured, and those edits are left out. `None` where a file that is needed has gone meanwhile.
    fn moment(self, layout: &Layout) -> Result<Option<Moment>, Error> {
        let Measured { list, mut files, are_there, mut counts } = self;
        let begins = files.first().is_some_and(|file| file.id == list.wal_first);
        // Only what a seal has unlisted is unlinked. A store without a log, and one whose first file is lost, have no
        // such file either.
        if !(begins && are_there) && manifest::read(layout)?.wal_first != list.wal_first {
            return Ok(None);
        }
        let published = counts.last().map_or(0, |counts| counts.sequence);
        let cut = published.max(list.last_sequence());
        let Some(manifest) = manifest::read_until(layout, list, cut)? else { return Ok(None) };
        let sealed = files.iter().take_while(|file| file.id < manifest.wal_first).count();
        if sealed > 0 && sealed == files.len() {
            // More of the last file may have been sealed than was measured.
            return Ok(None);
        }
        (files, counts) = (files.split_off(sealed), counts.split_off(sealed));
        let differs = |(id, bytes)| {
            let mut measured = files.iter().zip(&counts);
            measured.any(|(file, counts)| file.id == id && counts.bytes != bytes)
        };
        // A process that took the log over meanwhile has found more in it.
        Ok((!manifest.fixed.is_some_and(differs)).then_some(Moment { manifest, files, counts }))
    }
}

/// Links or copies the files in `seg/` that the list names.
fn take_files(
    from: &Layout,
    to: &Layout,
    manifest: &Manifest,
    taken: &mut BTreeSet<String>,
    backed_up: &mut BackedUp,
    cancel: &dyn Fn() -> bool,
) -> Result<(), Error> {
    for (name, _) in manifest.in_seg() {
        if cancel() {
            return Err(Error::GivenUp);
        }
        if taken.contains(name) {
            continue;
        }
        let (source, target) = (from.segment(name), to.segment(name));
        match fs::hard_link(&source, &target) {
            Ok(()) => backed_up.linked += 1,
            // Another file system, one without links, or another owner's file where links are protected.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::CrossesDevices
                        | io::ErrorKind::Unsupported
                        | io::ErrorKind::PermissionDenied
                        | io::ErrorKind::TooManyLinks
                ) =>
            {
                backed_up.copied_bytes += copy_file(&source, &target, 0o400)?;
                backed_up.copied += 1;
            }
            Err(error) => return Err(Error::io("link", &source)(error)),
        }
        taken.insert(name.to_owned());
    }
    Ok(())
}

/// - `counts`: how much of the file the copy has; the original may have more by now
fn copy_log(to: &Layout, file: &LogFile, counts: Counts) -> Result<(), Error> {
    let path = to.wal(file.id);
    let mut out = create(&path, 0o600)?;
    let failed = |error| Error::io("write", &path)(error);
    let mut place = 0;
    let length = counts.bytes.max(HEADER_BYTES as u64);
    while place < length {
        let bytes = file.read(place, length.min(place + COPY_BYTES as u64))?;
        if bytes.is_empty() {
            break;
        }
        out.write_all(&bytes).map_err(failed)?;
        place += bytes.len() as u64;
    }
    if place >= HEADER_BYTES as u64 {
        let published = Published { bytes: counts.bytes, sequence: counts.sequence, boot: this_boot() };
        published.publish(&disk::System, &out, &path).map_err(failed)?;
    }
    out.sync_all().map_err(Error::io("sync", &path))
}

fn copy_if_there(from: &Path, to: &Path, backed_up: &mut BackedUp) -> Result<(), Error> {
    match copy_file(from, to, 0o600) {
        Ok(bytes) => {
            backed_up.copied += 1;
            backed_up.copied_bytes += bytes;
            Ok(())
        }
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Copies a folder with its plain files and folders; anything else in it is left out.
fn copy_folder(from: &Path, to: &Path, backed_up: &mut BackedUp) -> Result<(), Error> {
    let entries = match fs::read_dir(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(Error::io("list", from))?,
    };
    make_dir(to)?;
    for entry in entries {
        let entry = entry.map_err(Error::io("list", from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => copy_folder(&source, &target, backed_up)?,
            Ok(kind) if kind.is_file() => copy_if_there(&source, &target, backed_up)?,
            _ => {}
        }
    }
    sync_dir(to)
}

fn sync_dir(dir: &Path) -> Result<(), Error> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(Error::io("sync directory", dir))
}

fn make_dir(path: &Path) -> Result<(), Error> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::io("create directory", path))
}

fn create(path: &Path, mode: u32) -> Result<File, Error> {
    OpenOptions::new()
        .create_new(true)
        .read(true)
        .write(true)
        .mode(mode)
        .custom_flags(O_NOFOLLOW | O_CLOEXEC)
        .open(path)
        .map_err(Error::io("create", path))
}

/// Copies a file and syncs it; returns its size in bytes.
fn copy_file(from: &Path, to: &Path, mode: u32) -> Result<u64, Error> {
    let mut source = File::open(from).map_err(Error::io("open", from))?;
    let mut target = create(to, mode)?;
    let bytes = io::copy(&mut source, &mut target).map_err(Error::io("copy", from))?;
    target.sync_all().map_err(Error::io("sync", to))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use dotter_dot::{Dots, SeriesName, Shape, TimeRange, Timestamp};

    use super::*;
    use crate::write::writer::{Transaction, Writer};
    use crate::{Reader, add, seal_all};

    fn number(name: &str) -> (SeriesName, Timestamp, f64) {
        (SeriesName::new(name).unwrap(), Timestamp::from_nanos(1), 1.0)
    }

    fn log(writer: &mut Writer, name: &str) {
        let mut dots = Dots::default();
        let (name, time, value) = number(name);
        let key = writer.series(&name, &Shape::number());
        dots.push_number(key, true, time, value);
        writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).unwrap();
        writer.sync().unwrap();
    }

    #[test]
    fn a_commit_of_others_behind_one_of_the_log_that_was_not_measured_is_left_out() {
        let root = tempfile::tempdir().unwrap();
        let (dir, to) = (root.path().join("store"), root.path().join("copy"));
        let mut writer = Writer::open(&dir).unwrap();
        log(&mut writer, "a");
        add(&dir, vec![number("b")]).unwrap();
        let layout = Layout::new(&dir);
        let measured = Measured::now(&layout).unwrap();
        add(&dir, vec![number("c")]).unwrap();
        log(&mut writer, "not measured");
        add(&dir, vec![number("behind it")]).unwrap();
        let moment = measured.moment(&layout).unwrap().expect("nothing was sealed");
        assert_eq!((moment.manifest.segments.len(), moment.manifest.ledger.totals.stored_other), (2, 2));
        // So is a seal of more than was measured; the file that it unlinks is open.
        let measured = Measured::now(&layout).unwrap();
        let counts = measured.counts[0];
        log(&mut writer, "sealed");
        drop(writer);
        drop(Writer::open(&dir).unwrap());
        seal_all(&dir, &|| false).unwrap();
        let moment = measured.moment(&layout).unwrap().expect("every file is open");
        assert_eq!((moment.manifest.wal_first, moment.files.len(), moment.counts[0]), (1, 1, counts));
        assert_eq!(moment.manifest.segments.len(), 3);
        backup(&dir, &to, &|| false).unwrap();
        let snapshot = Reader::open(&to).unwrap().snapshot();
        let rows = |name: &str| snapshot.read(name, TimeRange::ALL).unwrap().len();
        let all = ["a", "b", "c", "not measured", "behind it", "sealed"];
        assert_eq!(all.map(rows), [1; 6]);
    }
}
