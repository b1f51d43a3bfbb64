//! Whether the owner of a ring lives, and what this process must not do to its own rings.
//!
//! The owner holds a POSIX record lock for life. That lock falls when the process closes *any* descriptor
//! of the file, so every other descriptor that this process opens of a ring is a [`Descriptor`]: for a
//! ring of our own it is kept open until the ring is gone.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, PoisonError, TryLockError};

use crate::fork::{self, SlowPath};
use crate::header::Identity;
use crate::layout::STATE_CLOSED;
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
    kept: Vec<File>,
    closed: bool,
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

/// The owner's hold on its file: the locked descriptor.
pub(crate) struct Life {
    file: File,
    id: FileId,
    generation: u32,
}

impl Life {
    /// Holds the file, whose owner lock is already taken.
    pub(crate) fn hold(inside: &SlowPath, file: File, id: FileId) -> Life {
        let generation = fork::generation();
        ours(inside, |all| all.push(Ours { id, generation, kept: Vec::new(), closed: false }));
        Life { file, id, generation }
    }

    /// The fork generation of the process that owns it.
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// Whether this process is the owner and not its forked child.
    pub(crate) fn is_ours(&self) -> bool {
        self.generation == fork::generation()
    }

    /// Says that the ring is closed: its lock means nothing any more.
    pub(crate) fn retire(&self) {
        let same = |ring: &&mut Ours| ring.id == self.id && ring.generation == self.generation;
        ours_at_drop(|all| all.iter_mut().filter(same).for_each(|ring| ring.closed = true));
    }

    /// Whether the file has lost its last name.
    pub(crate) fn is_unlinked(&self) -> bool {
        self.file.metadata().is_ok_and(|meta| meta.nlink() == 0)
    }

    /// Gives further pages of the file their room.
    pub(crate) fn allocate(&self, offset: u64, bytes: u64) -> std::io::Result<()> {
        sys::allocate(&self.file, offset, bytes)
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        ours_at_drop(|all| all.retain(|ring| ring.id != self.id || ring.generation != self.generation));
    }
}

/// A descriptor of a ring file that may be one of our own.
#[derive(Debug)]
pub(crate) struct Descriptor {
    file: Option<File>,
    id: FileId,
}

impl Descriptor {
    pub(crate) fn new(file: File, id: FileId) -> Descriptor {
        Descriptor { file: Some(file), id }
    }

    pub(crate) fn file(&self) -> &File {
        self.file.as_ref().expect("taken only when dropped")
    }

    pub(crate) fn id(&self) -> FileId {
        self.id
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        ours_at_drop(|all| {
            let generation = fork::generation();
            if let Some(ring) =
                all.iter_mut().find(|ring| ring.id == self.id && ring.generation == generation)
            {
                ring.kept.extend(self.file.take());
            }
        });
    }
}

/// Whether the owner is what this process was before it executed another program: its number lives on, its
/// lock does not. Asked only of a ring that [`is_ours`] does not know.
pub(crate) fn is_before_exec(file: &File, identity: &Identity) -> bool {
    identity.pid == std::process::id()
        && identity.pid_namespace == process::pid_namespace()
        && !sys::owner_lock_held(file).unwrap_or(true)
}

/// Whether the owner named by `identity` lives; `state` is the ring's own word.
///
/// Dead means: the ring is closed; or its lock is free and the process is gone, as far as process numbers
/// mean anything here.
pub(crate) fn owner(file: &File, identity: &Identity, state: u32) -> Owner {
    if state == STATE_CLOSED {
        return Owner::Dead;
    }
    // An asker without an answer goes on reading.
    if sys::owner_lock_held(file).unwrap_or(true) {
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
