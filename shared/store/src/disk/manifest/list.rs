//! The list under MANIFEST.lock: both files are completed, then an edit is appended to both.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::copies::{Copy, Folded, fold_on, paths};
use super::known::{self, Digest};
use super::rebuild;
use crate::disk::layout::Layout;
use crate::disk::log::this_boot;
use crate::error::Error;
use crate::format::ledger::files::FinishedFiles;
use crate::format::log::frame::{FrameFile, FrameKind, payload_checksum, push_frame};
use crate::format::log::header::{HEADER_BYTES, Header, LogKind, Published};
use crate::format::manifest::Manifest;
use crate::format::manifest::edit::Edit;

/// The name of the lock that is held for the moment of a commit.
pub(super) const LOCK: &str = "MANIFEST.lock";
/// Room that is preallocated in each of the files, so that deletes and retention work on a full disk.
const ROOM_BYTES: u64 = 1 << 20;
/// The list is written anew where its edits have a quarter of the bytes of its base, and at least so many: a base is read
/// faster than as many edits.
const EDITS_BYTES_MIN: u64 = 16 << 10;

/// The list while this process holds MANIFEST.lock.
pub(super) struct List {
    layout: Layout,
    pub(super) manifest: Manifest,
    /// Where the next edit goes; `None` where both files have to be made first.
    pub(super) place: Option<Place>,
    /// Of the edits in both files.
    pub(super) digest: Digest,
    /// When all bytes of both files were read last.
    pub(super) read: Instant,
    _lock: File,
}

/// The end of both files, which are the same up to there.
pub(super) struct Place {
    pub(super) files: [(PathBuf, File); 2],
    pub(super) number: u64,
    /// Where the base ends.
    pub(super) base_until: u64,
    pub(super) until: u64,
}

impl List {
    /// Takes the lock, and completes both files from the one that has more whole edits.
    ///
    /// # Errors
    ///
    /// [`Error::NoStore`] where there is neither; the system's.
    pub(super) fn open(layout: &Layout) -> Result<List, Error> {
        let lock = layout.lock(LOCK)?;
        List::open_locked(layout, lock)
    }

    pub(super) fn open_locked(layout: &Layout, lock: File) -> Result<List, Error> {
        let (known, read) = (known::last(), Instant::now());
        if let Some(known) = &known
            && let Some((place, read)) = known.place(layout, read)?
        {
            let (mut manifest, digest) = (known.manifest.clone(), known.digest);
            let files = manifest.ledger.files().clone();
            super::open_finished(layout, &mut manifest, &files)?;
            let place = Some(place);
            return Ok(List { layout: layout.clone(), manifest, place, digest, read, _lock: lock });
        }
        let mut copies = read_copies(layout, true)?;
        if copies.is_empty() && !rebuild::is_possible(layout) {
            return Err(Error::NoStore(layout.dir.clone()));
        }
        let folded = fold_on(&copies, known.as_deref());
        if folded.broken.is_some() {
            return Ok(List::new(layout, lock, rebuild::rebuild(layout, folded)?));
        }
        let Folded { mut manifest, digest, .. } = folded;
        super::open_finished(layout, &mut manifest, &FinishedFiles::default())?;
        let last = manifest.generation;
        // The file that is whole and has every edit; where neither is, the next commit writes both anew.
        let whole = copies.iter().position(|copy| copy.is_whole() && copy.last_edit() == Some(last));
        let Some(whole) = whole else {
            return Ok(List::new(layout, lock, manifest));
        };
        let best = copies.swap_remove(whole);
        let place = complete(layout, best, copies.pop())?;
        known::remember(&manifest, digest, &place, read);
        Ok(List { layout: layout.clone(), manifest, place: Some(place), digest, read, _lock: lock })
    }

    /// A list of which both files have to be made.
    pub(super) fn new(layout: &Layout, lock: File, manifest: Manifest) -> List {
        let (digest, read) = (Digest::default(), Instant::now());
        List { layout: layout.clone(), manifest, place: None, digest, read, _lock: lock }
    }

    /// Makes `after` the list: when this returns, the edit is synced in both files and published.
    ///
    /// # Errors
    ///
    /// The system's; the list is as it was then. [`Error::Unknown`] where the edit could not be voided either.
    pub(super) fn commit(&mut self, after: &Manifest) -> Result<(), Error> {
        if after.rebuilt.is_some() {
            rebuild::mark(&self.layout)?;
        }
        let edit = Edit::between(&self.manifest, after);
        let mut payload = Vec::new();
        edit.encode(&mut payload);
        let is_faithful = self.place.is_some() && {
            let mut check = self.manifest.clone();
            check.apply(after.generation, &payload).is_some() && check.says_what(after)
        };
        debug_assert!(is_faithful || self.place.is_none(), "an edit is what tells two lists apart");
        // What is written in another way is read again by the next commit.
        let mut is_remembered = false;
        known::forget();
        match &mut self.place {
            Some(place) if is_faithful && !place.is_long(payload.len() as u64) => {
                let checksum = place.append(&self.layout, after.generation, &payload)?;
                self.digest = self.digest.with(after.generation, checksum);
                is_remembered = self.manifest.ledger_files == after.ledger_files;
            }
            _ => match self.write_anew(after) {
                // There is no room for new files, but there may be room for the edit.
                Err(error) if is_faithful && error.is_disk_full() => {
                    let place = self.place.as_mut().expect("it was there for the check");
                    place.append(&self.layout, after.generation, &payload)?;
                }
                // MANIFEST is new, and there was no room for the other; the edit makes that say the same.
                Err(Error::Unknown(error)) if is_faithful && error.is_disk_full() => {
                    let mut place = self.place.take().expect("it was there for the check");
                    let unknown = |error| Error::Unknown(Box::new(error));
                    place.append(&self.layout, after.generation, &payload).map_err(unknown)?;
                }
                other => other?,
            },
        }
        self.manifest = after.clone();
        self.manifest.rebuilt = None;
        if let Some(place) = self.place.as_ref().filter(|_| is_remembered) {
            known::remember(&self.manifest, self.digest, place, self.read);
        }
        Ok(())
    }

    /// Writes both files with `after` as their base.
    fn write_anew(&mut self, after: &Manifest) -> Result<(), Error> {
        let number = self.layout.number()?;
        let bytes = log_of(after, number)?;
        let made = |path: PathBuf| replace(&self.layout, &path, &bytes).map(|file| (path, file));
        let [first, second] = paths(&self.layout);
        let first = made(first)?;
        // From here on readers see it, in MANIFEST.
        let second = made(second).map_err(|error| Error::Unknown(Box::new(error)))?;
        let files = [first, second];
        let until = bytes.len() as u64;
        self.place = Some(Place { files, number, base_until: until, until });
        Ok(())
    }
}

/// A whole log with one edit, the base.
fn log_of(manifest: &Manifest, number: u64) -> Result<Vec<u8>, Error> {
    let mut frame = Vec::new();
    let base = Edit::base(manifest);
    let file = FrameFile::first(number);
    push_frame(&mut frame, FrameKind::Edit, file, manifest.generation, |out| base.encode(out))
        .map_err(|bytes| Error::TooBig { bytes })?;
    let header = Header {
        store: manifest.store,
        lineage: manifest.lineage,
        number,
        first_sequence: manifest.generation,
        before_id: 0,
        before_bytes: 0,
        epoch: 0,
    };
    let bytes = (HEADER_BYTES + frame.len()) as u64;
    let published = Published { bytes, sequence: manifest.generation, boot: this_boot() };
    let mut out = header.encode(LogKind::Manifest, &published);
    out.extend_from_slice(&frame);
    Ok(out)
}

/// Puts a file of these bytes, with preallocated room behind them, in the place of `path`.
fn replace(layout: &Layout, path: &Path, bytes: &[u8]) -> Result<File, Error> {
    let new = layout.make_beside(path)?;
    let room = (bytes.len() as u64).next_multiple_of(4096) + ROOM_BYTES;
    layout.disk.allocate(&new.file, &new.path, room).map_err(Error::io("write", path))?;
    new.fill(bytes)?;
    let new = new.rename(path)?;
    // It has its name, whether or not that is on disk.
    let unknown = |error| Error::Unknown(Box::new(error));
    let file = new.into_file().map_err(unknown)?;
    layout.sync_dir(&layout.dir).map_err(unknown)?;
    Ok(file)
}

/// Writes these bytes over MANIFEST.2, which needs no room where it is as long as they are. MANIFEST is whole meanwhile:
/// until the header is there, which comes last, MANIFEST.2 holds nothing.
fn rewrite(layout: &Layout, path: &Path, bytes: &[u8]) -> Result<File, Error> {
    let (file, disk) = (writable(path)?, &layout.disk);
    let (header, frames) = bytes.split_at(HEADER_BYTES);
    for (part, at) in [(&[0; HEADER_BYTES][..], 0), (frames, HEADER_BYTES as u64), (header, 0)] {
        disk.write(&file, path, part, at)
            .and_then(|()| disk.sync_data(&file, path))
            .map_err(Error::io("write", path))?;
    }
    Ok(file)
}

/// Reads both files; one that is not there is left out.
pub(super) fn read_copies(layout: &Layout, all: bool) -> Result<Vec<Copy>, Error> {
    let mut copies: Vec<Copy> = Vec::with_capacity(2);
    for path in paths(layout) {
        let copy = Copy::read(&path, all, copies.first())?;
        copies.extend(copy);
    }
    Ok(copies)
}

/// Makes both files the same and publishes what they hold.
///
/// - `best`: the file that is whole and has every edit
fn complete(layout: &Layout, best: Copy, other: Option<Copy>) -> Result<Place, Error> {
    let header = best.header.expect("it is whole");
    let length = best.good_until;
    let is_done = |copy: &Copy| {
        let published = copy.published.filter(|published| published.boot == this_boot());
        copy.header == Some(header)
            && copy.is_whole()
            && copy.good_until == length
            && published.is_some_and(|published| published.bytes == length)
    };
    let whole = &best.bytes[..(length - HEADER_BYTES as u64) as usize];
    let base_until = best.base_until();
    let sequence = best.last_edit().expect("it is whole");
    let published = Published { bytes: length, sequence, boot: this_boot() };
    let finish = |copy: &Copy| -> Result<File, Error> {
        let (path, disk) = (&copy.path, &layout.disk);
        let file = writable(path)?;
        // An edit that was not published may be missing on disk even if its bytes can be read: its fsync may have
        // failed, or never have been made. So it is written once more.
        let from = copy.published.map_or(HEADER_BYTES as u64, |published| published.bytes);
        let from = from.clamp(HEADER_BYTES as u64, copy.good_until.min(length));
        let rest = &whole[(from - HEADER_BYTES as u64) as usize..];
        disk.write(&file, path, rest, from)
            .and_then(|()| disk.sync_data(&file, path))
            .map_err(Error::io("write", path))?;
        Ok(file)
    };
    let publish = |file: &File, path: &Path| {
        published.publish(&*layout.disk, file, path).map_err(Error::io("write the header of", path))
    };
    let completed = |path: PathBuf| -> Result<(PathBuf, File), Error> {
        let copy = [Some(&best), other.as_ref()].into_iter().flatten().find(|copy| copy.path == path);
        let file = match copy {
            Some(copy) if is_done(copy) => writable(&path)?,
            Some(copy) if copy.header == Some(header) && copy.is_whole() && copy.good_until <= length => {
                let file = finish(copy)?;
                publish(&file, &path)?;
                file
            }
            // The other file is missing, damaged, or older than the last time the list was written anew.
            _ => {
                let mut bytes = header.encode(LogKind::Manifest, &published);
                bytes.extend_from_slice(whole);
                match replace(layout, &path, &bytes) {
                    // Without MANIFEST.2 there would be no commit, and none that makes room.
                    Err(error)
                        if error.is_disk_full() && copy.is_some() && path == layout.manifest_copy() =>
                    {
                        rewrite(layout, &path, &bytes)?
                    }
                    // Whichever of the two files is there, it says the same.
                    Err(Error::Unknown(error)) => return Err(*error),
                    other => other?,
                }
            }
        };
        Ok((path, file))
    };
    let [first, second] = paths(layout);
    let files = [completed(first)?, completed(second)?];
    Ok(Place { files, number: header.number, base_until, until: length })
}

pub(super) fn writable(path: &Path) -> Result<File, Error> {
    File::options().read(true).write(true).open(path).map_err(Error::io("open", path))
}

impl Place {
    /// Whether the list is written anew instead of appending an edit of so many bytes.
    fn is_long(&self, bytes: u64) -> bool {
        let edits = self.until + bytes - self.base_until;
        edits > EDITS_BYTES_MIN.max((self.base_until - HEADER_BYTES as u64) / 4)
    }

    /// Appends an edit to both files, syncs each, and publishes it. Returns its checksum.
    fn append(&mut self, layout: &Layout, sequence: u64, payload: &[u8]) -> Result<u32, Error> {
        let mut frame = Vec::new();
        let file = FrameFile::first(self.number);
        push_frame(&mut frame, FrameKind::Edit, file, sequence, |out| out.extend_from_slice(payload))
            .map_err(|bytes| Error::TooBig { bytes })?;
        let disk = &layout.disk;
        let until = self.until + frame.len() as u64;
        for (path, file) in &self.files {
            let length = file.metadata().map_err(Error::io("look at", path))?.len();
            let written = if until > length {
                disk.allocate(file, path, until.next_multiple_of(ROOM_BYTES))
            } else {
                Ok(())
            };
            let written = written
                .and_then(|()| disk.write(file, path, &frame, self.until))
                .and_then(|()| disk.sync_data(file, path));
            if let Err(error) = written {
                return Err(self.give_up(layout, frame.len(), Error::io("write", path)(error)));
            }
        }
        let published = Published { bytes: until, sequence, boot: this_boot() };
        let [(first, first_file), (second, second_file)] = &self.files;
        if let Err(error) = published.publish(&**disk, first_file, first) {
            return Err(self.give_up(layout, frame.len(), Error::io("write the header of", first)(error)));
        }
        // Readers have it from MANIFEST by now. Whoever commits next publishes in MANIFEST.2 what this does not.
        let _ = published.publish(&**disk, second_file, second);
        self.until = until;
        Ok(payload_checksum(&frame))
    }

    /// Takes back an edit that nobody has published, as far as the disk lets it; gives what to tell.
    fn give_up(&self, layout: &Layout, bytes: usize, error: Error) -> Error {
        match self.void(layout, bytes) {
            Ok(()) => error,
            Err(_) => Error::Unknown(Box::new(error)),
        }
    }

    /// Writes over an edit that could not be put on disk, so that nobody completes it: in MANIFEST.2 first, which must
    /// hold nothing that MANIFEST does not.
    fn void(&self, layout: &Layout, bytes: usize) -> std::io::Result<()> {
        for (path, file) in self.files.iter().rev() {
            // Behind its end there is nothing to write over, and perhaps no room.
            let there = file.metadata()?.len().saturating_sub(self.until);
            let zeros = vec![0; bytes.min(there as usize)];
            if zeros.is_empty() {
                continue;
            }
            layout.disk.write(file, path, &zeros, self.until)?;
            layout.disk.sync_data(file, path)?;
        }
        Ok(())
    }
}
