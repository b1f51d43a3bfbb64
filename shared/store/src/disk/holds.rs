//! Holds: whoever follows a store says in `hold/NAME` how far it has come, and what it still needs is kept for it.
//!
//! The file is locked by its owner. It has room for two records, a position each and when the owner wrote it. The owner
//! writes over one of them; once a minute it syncs that one and goes on with the other. So whatever a power cut leaves,
//! one record is whole. It may be an older one: then more is kept, or the owner is told what is missing.
//!
//! A hold counts while its owner lives, and for an hour of running time of the machine after the owner wrote last, at
//! least once a minute. What it keeps is bounded: see [`crate::disk::manifest`].

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::libc::{O_CLOEXEC, O_NOFOLLOW, O_NONBLOCK};

use crate::disk::layout::{Layout, is_same};
use crate::disk::log::this_boot;
use crate::error::Error;
use crate::format::hold::{PLACES, RECORD_BYTES, Record};
use crate::format::listing::StoreId;
use crate::format::position::Position;

/// Folder of holds.
const FOLDER: &str = "hold";
/// The longest name of a hold.
const NAME_BYTES_MAX: usize = 64;
/// For how long a hold counts after its owner has ended.
const AFTER: Duration = Duration::from_secs(3600);
/// For how long its file stays after that: whoever comes back meanwhile is told what is missing.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(30 * 24 * 3600);
/// How often an owner writes that it lives, though it has come no further.
const EVERY: Duration = Duration::from_secs(60);
/// Whoever looks whether a hold has an owner locks it for an instant; an owner waits so long for that.
const LOCK_WITHIN: Duration = Duration::from_secs(5);

/// A hold, as its owner has it. When it is dropped the file stays, and counts for an hour.
#[derive(Debug)]
pub(crate) struct Hold {
    layout: Layout,
    path: PathBuf,
    file: File,
    /// The record that was written last.
    record: Record,
    /// Which of the two places is written over.
    place: usize,
    written: Instant,
    synced: Instant,
}

impl Hold {
    /// Takes a hold; what is needed from its position on is kept from now on.
    ///
    /// - `store`: the store that is followed
    /// - `now`: called under MANIFEST.lock where the hold is new; gives its position
    ///
    /// # Errors
    ///
    /// [`Error::HoldName`]; [`Error::Locked`] where another process has it; the system's.
    pub(crate) fn take(
        layout: &Layout,
        store: StoreId,
        name: &str,
        now: impl FnOnce() -> Result<Position, Error>,
    ) -> Result<Hold, Error> {
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty()
            || name.len() > NAME_BYTES_MAX
            || name.starts_with('.')
            || !name.bytes().all(is_fit)
        {
            return Err(Error::HoldName(name.to_owned()));
        }
        let (path, file) = open(layout, name)?;
        // Nothing is let go of between the look at the list and the hold.
        let _lock = layout.lock("MANIFEST.lock")?;
        let length = file.metadata().map_err(Error::io("look at", &path))?.len();
        let before = read(&file);
        let position = match before {
            Some((_, record)) if record.store == store => record.position,
            None if length == 0 => now()?,
            // Nothing says how far the last owner had come with this store: whoever follows is told what is missing.
            _ => Position::default(),
        };
        let now = Instant::now();
        let place = before.map_or(0, |(place, _)| 1 - place);
        let number = before.map_or(0, |(_, record)| record.number);
        let record = Record { number, position, boot: this_boot(), since_boot: Duration::ZERO, store };
        let mut hold = Hold { layout: layout.clone(), path, file, record, place, written: now, synced: now };
        hold.write(position)?;
        hold.sync()?;
        let folder = layout.dir.join(FOLDER);
        layout.sync_dir(&folder)?;
        layout.sync_name(&folder)?;
        Ok(hold)
    }

    /// How far its owner has come.
    pub(crate) fn position(&self) -> Position {
        self.record.position
    }

    /// Says that nothing up to a position is needed any more.
    ///
    /// # Errors
    ///
    /// The system's; what was needed before is kept then.
    pub(crate) fn move_to(&mut self, position: Position) -> Result<(), Error> {
        if self.record.position != position || self.written.elapsed() >= EVERY {
            self.write(position)?;
        }
        if self.synced.elapsed() >= EVERY { self.sync() } else { Ok(()) }
    }

    /// Gives the hold up: the file is removed.
    pub(crate) fn give_up(self) -> Result<(), Error> {
        self.layout.disk.remove(&self.path).map_err(Error::io("remove", &self.path))
    }

    fn write(&mut self, position: Position) -> Result<(), Error> {
        let failed = Error::io("write", &self.path);
        let disk = &self.layout.disk;
        let written = disk.since_boot().and_then(|since_boot| {
            let number = self.record.number + 1;
            let record = Record { number, position, boot: this_boot(), since_boot, ..self.record };
            disk.write(&self.file, &self.path, &record.encode(), PLACES[self.place])?;
            Ok(record)
        });
        (self.record, self.written) = (written.map_err(failed)?, Instant::now());
        Ok(())
    }

    /// Makes the record that was written last survive a power cut; the next ones go into the other place.
    fn sync(&mut self) -> Result<(), Error> {
        let disk = &self.layout.disk;
        disk.sync_data(&self.file, &self.path).map_err(Error::io("sync", &self.path))?;
        (self.place, self.synced) = (1 - self.place, Instant::now());
        Ok(())
    }
}

/// Opens the file of a hold, made where it is missing, and locks it.
fn open(layout: &Layout, name: &str) -> Result<(PathBuf, File), Error> {
    let folder = layout.dir.join(FOLDER);
    let path = folder.join(name);
    let began = Instant::now();
    loop {
        let opened =
            OpenOptions::new().read(true).write(true).custom_flags(O_NOFOLLOW | O_CLOEXEC).open(&path);
        let file = match opened {
            Err(error) if error.kind() == ErrorKind::NotFound => match layout.disk.create(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                // The folder is made with the first hold of a store.
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    match DirBuilder::new().mode(0o700).create(&folder) {
                        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                            return Err(Error::io("create directory", &folder)(error));
                        }
                        _ => continue,
                    }
                }
                other => other.map_err(Error::io("create", &path))?,
            },
            other => other.map_err(Error::io("open", &path))?,
        };
        match file.try_lock() {
            // Otherwise it was removed as the file of an owner that has ended.
            Ok(()) if is_same(&path, &file) => return Ok((path, file)),
            Ok(()) => {}
            Err(TryLockError::WouldBlock) if began.elapsed() < LOCK_WITHIN => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(TryLockError::WouldBlock) => return Err(Error::Locked(path)),
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path)(error)),
        }
    }
}

/// The newer of the records of a file, and its place.
fn read(file: &File) -> Option<(usize, Record)> {
    let records = PLACES.iter().enumerate().filter_map(|(place, at)| {
        let mut bytes = [0; RECORD_BYTES];
        file.read_exact_at(&mut bytes, *at).ok()?;
        Some((place, Record::decode(&bytes)?))
    });
    records.max_by_key(|(_, record)| record.number)
}

/// What is needed at least by those whose holds count: every commit through the log behind a sequence, and every other one
/// behind an edit. `None` where nobody needs anything.
///
/// A file that cannot be read, or whose record is damaged, is passed over: its owner is told that something is missing.
pub(crate) fn needs(layout: &Layout) -> Option<Position> {
    let mut least: Option<Position> = None;
    for hold in counting(layout) {
        let Position { sequence, edit } = hold.record.position;
        let before = least.unwrap_or(hold.record.position);
        least = Some(Position { sequence: before.sequence.min(sequence), edit: before.edit.min(edit) });
    }
    least
}

/// Files of holds that nobody comes back to: their owners have ended more than 30 days ago. A damaged file is none of
/// them, since whoever comes back to it is told that something is missing.
pub(crate) fn ended(layout: &Layout) -> Vec<PathBuf> {
    holds(layout).filter(|hold| !hold.counts_for(FORGOTTEN_AFTER)).map(|hold| hold.path).collect()
}

/// A hold as others see it; where it has no owner, its file is locked as long as this value lives.
struct Seen {
    path: PathBuf,
    record: Record,
    is_owned: bool,
    /// For how long the machine has run since its owner wrote last.
    age: Duration,
    _file: File,
}

impl Seen {
    /// Whether it has an owner, or had one so long ago or less.
    fn counts_for(&self, after: Duration) -> bool {
        self.is_owned || self.age <= after
    }
}

fn counting(layout: &Layout) -> impl Iterator<Item = Seen> {
    holds(layout).filter(|hold| hold.counts_for(AFTER))
}

/// All holds whose files can be read.
fn holds(layout: &Layout) -> impl Iterator<Item = Seen> {
    let since_boot = layout.disk.since_boot().unwrap_or_default();
    let entries = fs::read_dir(layout.dir.join(FOLDER)).into_iter().flatten().flatten();
    entries.filter_map(move |entry| {
        let path = entry.path();
        let flags = O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(&path).ok()?;
        let (_, record) = read(&file)?;
        let is_owned = matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
        // Where the machine was started anew, the owner lived at the start at the latest.
        let wrote = if record.boot == this_boot() { record.since_boot } else { Duration::ZERO };
        Some(Seen { path, record, is_owned, age: since_boot.saturating_sub(wrote), _file: file })
    })
}

/// Where a file lies that is kept for those who follow the store: the list of what it is part of moves it aside, out of the
/// folder where a rebuilt list would find it.
pub(crate) fn kept_path(layout: &Layout, file: &str) -> PathBuf {
    let name = Path::new(file).file_name().unwrap_or_default();
    layout.dir.join("kept").join(name)
}
