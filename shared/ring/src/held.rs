//! A descriptor that this process holds for long, and uses only while its number still means that file.
//!
//! An application may close descriptors that it did not open itself: daemons do (`close_range(3, ...)`), in a
//! forked child or in the same process. The number then belongs to whatever the application opens next.
//!
//! Always true: no system call goes to the number before `fstat` has said that it stands for the remembered
//! device and inode. A thread that closes the number between that look and the call cannot be kept out; such
//! a program closes descriptors under every library that it has.

use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{IntoRawFd, RawFd};
use std::sync::atomic::AtomicI32;
use std::sync::atomic::Ordering::Relaxed;

use crate::life::FileId;
use crate::sys::{self, Status};

/// Stands in place of a number that is held no more.
const NONE: RawFd = -1;

/// A descriptor, by its number and the file it is of.
#[derive(Debug)]
pub(crate) struct Held {
    number: AtomicI32,
    id: FileId,
}

impl Held {
    /// Holds `file`, which is the file `id`.
    pub(crate) fn new(file: File, id: FileId) -> Held {
        Held { number: AtomicI32::new(file.into_raw_fd()), id }
    }

    /// Which file it is of.
    pub(crate) fn id(&self) -> FileId {
        self.id
    }

    /// The number, and what the system says of the file; `None` where the number is no longer the file's.
    fn look(&self) -> Option<(RawFd, Status)> {
        // Relaxed: one word that stands for itself.
        let number = self.number.load(Relaxed);
        let status = (number != NONE).then(|| sys::status(number)).flatten()?;
        (FileId { device: status.device, inode: status.inode } == self.id).then_some((number, status))
    }

    /// What the system says of the file; `None` where the number is no longer the file's.
    pub(crate) fn status(&self) -> Option<Status> {
        self.look().map(|(_, status)| status)
    }

    /// The file.
    ///
    /// # Errors
    ///
    /// Where the number is no longer the file's.
    pub(crate) fn file(&self) -> io::Result<ManuallyDrop<File>> {
        let lost = || io::Error::other("the application has closed the descriptor");
        self.look().map(|(number, _)| sys::file(number)).ok_or_else(lost)
    }

    /// Holds another descriptor of the same file in place of one that was lost.
    pub(crate) fn renew(&self, file: File) {
        self.close();
        self.number.store(file.into_raw_fd(), Relaxed);
    }

    /// Closes it, where the number still stands for the file. Async-signal-safe.
    pub(crate) fn close(&self) {
        let still_ours = self.look();
        self.number.store(NONE, Relaxed);
        if let Some((number, _)) = still_ours {
            sys::close(number);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.close();
    }
}
