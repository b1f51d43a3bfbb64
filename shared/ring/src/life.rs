//! Whether the owner of a ring lives, and what this process must not do to its own rings.
//!
//! The owner holds a POSIX record lock for life. The lock falls when the process closes *any* descriptor
//! of the file. So every other descriptor that this process opens of a ring is a [`Descriptor`]: if the ring
//! is our own, its `Descriptor` stays open until the ring is gone.
//!
//! A forked child inherits these descriptors and closes them before it does anything else: later, the
//! application may have closed them itself and given the numbers to files of its own.

use std::fs::File;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use crate::fork::{self, SlowPath};
use crate::header::Identity;
use crate::held::Held;
use crate::layout::STATE_CLOSED;
use crate::map::Map;
use crate::{process, sys};

/// Which file it is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId {
    /// The device.
    pub device: u64,
    /// The file on it.
    pub inode: u64,
}

impl FileId {
    pub(crate) fn of(meta: &std::fs::Metadata) -> FileId {
        FileId { device: meta.dev(), inode: meta.ino() }
    }
}

/// Whether the process that made a ring can still write to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// It may.
    Alive,
    /// Never again.
    Dead,
}

/// Rings this process owns, and descriptors that must not be closed before they are gone.
static OURS: Mutex<Vec<Ours>> = Mutex::new(Vec::new());

struct Ours {
    id: FileId,
    generation: u32,
    /// The locked descriptor, and others of the same file.
    locked: Arc<Held>,
    kept: Vec<Arc<Held>>,
    closed: bool,
}

/// In a forked child: closes what it inherited, while the numbers are still these files'.
///
/// Async-signal-safe: nothing is allocated, freed or waited for. The list is free, as a fork waits for the slow
/// path; where a signal handler forked from inside, it may not be: then the descriptors stay, and whoever closes
/// them later compares the files first.
fn close_inherited() {
    let all = match OURS.try_lock() {
        Ok(all) => all,
        Err(TryLockError::Poisoned(all)) => all.into_inner(),
        Err(TryLockError::WouldBlock) => return,
    };
    for ring in all.iter() {
        ring.locked.close();
        ring.kept.iter().for_each(|kept| kept.close());
    }
}

fn ours<T>(_inside: &SlowPath, work: impl FnOnce(&mut Vec<Ours>) -> T) -> T {
    work(&mut OURS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The same from a `drop`, which may run inside the slow path or outside of it.
fn ours_at_drop(work: impl FnOnce(&mut Vec<Ours>)) {
    // Where this thread is inside already, nobody else is, so the list is free, unless this is a signal
    // handler that interrupted it: then the entry stays, which costs a descriptor.
    let _inside = SlowPath::enter();
    match OURS.try_lock() {
        Ok(mut all) => work(&mut all),
        Err(TryLockError::Poisoned(all)) => work(&mut all.into_inner()),
        Err(TryLockError::WouldBlock) => {}
    }
}

/// Whether this very process owns the file and has not closed the ring in it.
pub(crate) fn is_ours(inside: &SlowPath, id: FileId) -> bool {
    let live = |ring: &Ours| ring.id == id && ring.generation == fork::generation() && !ring.closed;
    ours(inside, |all| all.iter().any(live))
}

/// Whether this copy of the library holds, or held, the ring in the file: this process's, or one of a process that it
/// was forked from.
pub(crate) fn is_known(inside: &SlowPath, id: FileId) -> bool {
    ours(inside, |all| all.iter().any(|ring| ring.id == id))
}

/// The owner's hold on its file: the locked descriptor.
pub(crate) struct Life {
    file: Arc<Held>,
    generation: u32,
    /// The name the file was made under, its directory, and what `/` was then.
    path: PathBuf,
    directory: Option<FileId>,
    root: Option<FileId>,
    /// As long as it is mapped, the inode is no other file's. Stands last: it goes after `file` is closed.
    _map: Arc<Map>,
}

impl Life {
    /// Holds the file, whose owner lock is already taken.
    pub(crate) fn hold(inside: &SlowPath, file: Held, path: &Path, map: &Arc<Map>) -> Life {
        fork::in_child(inside, close_inherited);
        let (generation, file) = (fork::generation(), Arc::new(file));
        let (id, locked) = (file.id(), Arc::clone(&file));
        ours(inside, |all| all.push(Ours { id, generation, locked, kept: Vec::new(), closed: false }));
        let directory = path.parent().and_then(id_of);
        Life {
            file,
            generation,
            path: path.to_owned(),
            directory,
            root: id_of(Path::new("/")),
            _map: Arc::clone(map),
        }
    }

    /// The fork generation of the process that owns it.
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// Whether this process is the owner and not its forked child.
    pub(crate) fn is_ours(&self) -> bool {
        self.generation == fork::generation()
    }

    fn is_entry(&self, ring: &Ours) -> bool {
        ring.id == self.file.id() && ring.generation == self.generation
    }

    /// Says that the ring is closed: its lock means nothing any more.
    pub(crate) fn retire(&self) {
        ours_at_drop(|all| {
            all.iter_mut().filter(|ring| self.is_entry(ring)).for_each(|ring| ring.closed = true)
        });
    }

    /// Whether the file has lost its last name.
    pub(crate) fn is_unlinked(&self) -> bool {
        match self.file.status() {
            Some(status) => status.links == 0,
            // The application closed our descriptor: the name is what is left to ask.
            None => self.has_lost_name(),
        }
    }

    /// Whether the name is gone, or another file's. What a change of root or of the current directory could
    /// explain as well proves nothing.
    fn has_lost_name(&self) -> bool {
        let directory = self.path.parent().unwrap_or(Path::new(""));
        match std::fs::metadata(directory) {
            Ok(meta) if Some(FileId::of(&meta)) == self.directory => {
                match std::fs::symlink_metadata(&self.path) {
                    Ok(meta) => FileId::of(&meta) != self.file.id(),
                    Err(error) => error.kind() == std::io::ErrorKind::NotFound,
                }
            }
            Ok(_) => false,
            Err(error) => {
                error.kind() == std::io::ErrorKind::NotFound
                    && directory.is_absolute()
                    && self.root.is_some()
                    && id_of(Path::new("/")) == self.root
            }
        }
    }

    /// Gives further pages of the file their room.
    pub(crate) fn allocate(&self, _inside: &SlowPath, offset: u64, bytes: u64) -> std::io::Result<()> {
        if self.file.status().is_none() {
            self.reopen()?;
        }
        sys::allocate(&*self.file.file()?, offset, bytes)
    }

    /// Opens the file by its name, where the application closed our descriptor. The lock fell with that one, so
    /// it is taken anew.
    fn reopen(&self) -> std::io::Result<()> {
        // Looked at before it is opened: opening a device or a FIFO does something to it.
        if FileId::of(&std::fs::symlink_metadata(&self.path)?) != self.file.id() {
            return Err(std::io::ErrorKind::NotFound.into());
        }
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = File::options().read(true).write(true).custom_flags(flags).open(&self.path)?;
        let id = FileId::of(&file.metadata()?);
        if id != self.file.id() {
            // Another ring of ours may stand there by now: its lock must not fall with this descriptor.
            drop(Descriptor::new(file, id));
            return Err(std::io::ErrorKind::NotFound.into());
        }
        let _ = sys::lock_owner(&file);
        self.file.renew(file);
        Ok(())
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        ours_at_drop(|all| all.retain(|ring| !self.is_entry(ring)));
    }
}

/// Which file has that name.
fn id_of(path: &Path) -> Option<FileId> {
    std::fs::metadata(path).ok().map(|meta| FileId::of(&meta))
}

/// A descriptor of a ring file that may be one of our own.
#[derive(Debug)]
pub(crate) struct Descriptor(Arc<Held>);

impl Descriptor {
    pub(crate) fn new(file: File, id: FileId) -> Descriptor {
        Descriptor(Arc::new(Held::new(file, id)))
    }

    pub(crate) fn id(&self) -> FileId {
        self.0.id()
    }
}

impl std::ops::Deref for Descriptor {
    type Target = Held;

    fn deref(&self) -> &Held {
        &self.0
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        ours_at_drop(|all| {
            let generation = fork::generation();
            let same = |ring: &&mut Ours| ring.id == self.id() && ring.generation == generation;
            if let Some(ring) = all.iter_mut().find(same) {
                ring.kept.push(Arc::clone(&self.0));
            }
        });
    }
}

/// Whether the owner is what this process was before it executed another program: its number lives on, its
/// lock does not. Asked only of a ring that [`is_ours`] does not know.
pub(crate) fn is_before_exec(file: &Held, identity: &Identity) -> bool {
    identity.pid == std::process::id()
        && identity.pid_namespace == process::pid_namespace()
        && !lock_held(file)
}

/// Whether another process holds the owner lock. An asker without an answer goes on reading.
pub(crate) fn lock_held(file: &Held) -> bool {
    file.file().and_then(|file| sys::owner_lock_held(&file)).unwrap_or(true)
}

/// Whether the owner named by `identity` lives; `state` is the ring's own word.
///
/// Dead means: the ring is closed; or its lock is free and the process is gone, as far as process numbers
/// mean anything here.
pub(crate) fn owner(file: &Held, identity: &Identity, state: u32) -> Owner {
    if state == STATE_CLOSED {
        return Owner::Dead;
    }
    if lock_held(file) {
        return Owner::Alive;
    }
    let other_boot = identity.boot_id != process::boot_id_cached();
    if other_boot || identity.pid_namespace != process::pid_namespace() {
        return Owner::Dead;
    }
    match process::start_ticks(identity.pid) {
        Some(ticks) if ticks == identity.start_ticks => Owner::Alive,
        _ => Owner::Dead,
    }
}
