//! The steps a store takes on its disk, one function for each: a step may fail, and a power cut may undo it.
//!
//! No other code of the store changes a file, except that backups are written to another directory. A test puts its
//! own disk in place of the real one: a disk that dies at a step, is full, or forgets what was not synced.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, LazyLock};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::libc::{O_CLOEXEC, O_NOFOLLOW};

/// The steps on a disk. The default of each is the system call.
///
/// `path` is the name under which `file` was opened or made.
pub trait Disk: fmt::Debug + Send + Sync {
    /// A random number, which the name of a new file ends in.
    fn number(&self) -> io::Result<u64> {
        random_bytes().map(u64::from_le_bytes)
    }

    /// Makes a new file that only its owner can read and write; fails where the name exists.
    fn create(&self, path: &Path) -> io::Result<File> {
        let flags = O_NOFOLLOW | O_CLOEXEC;
        OpenOptions::new().create_new(true).read(true).write(true).mode(0o600).custom_flags(flags).open(path)
    }

    /// Writes all of `bytes` at a place of the file.
    fn write(&self, file: &File, path: &Path, bytes: &[u8], at: u64) -> io::Result<()> {
        let _ = path;
        file.write_all_at(bytes, at)
    }

    /// Preallocates room, so that a full disk is noticed now. Where the file system cannot, the file grows later.
    fn allocate(&self, file: &File, path: &Path, bytes: u64) -> io::Result<()> {
        let _ = path;
        match fallocate(file, FallocateFlags::empty(), 0, bytes as i64) {
            Ok(()) | Err(Errno::EOPNOTSUPP) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Shortens a file to `bytes`.
    fn shorten(&self, file: &File, path: &Path, bytes: u64) -> io::Result<()> {
        let _ = path;
        file.set_len(bytes)
    }

    /// Makes what was written to a file survive a power cut.
    fn sync_data(&self, file: &File, path: &Path) -> io::Result<()> {
        let _ = path;
        file.sync_data()
    }

    /// As [`Disk::sync_data`], with all metadata of the file.
    fn sync_all(&self, file: &File, path: &Path) -> io::Result<()> {
        let _ = path;
        file.sync_all()
    }

    /// Renames a file; the file that had the new name is replaced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    /// Gives a file a second name.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    /// Unlinks a name.
    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    /// Makes the names in a directory survive a power cut.
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}

/// Random bytes from the system.
pub(crate) fn random_bytes<const BYTES: usize>() -> io::Result<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The disk of this machine.
#[derive(Debug)]
pub struct System;

impl Disk for System {}

static SYSTEM: LazyLock<Arc<dyn Disk>> = LazyLock::new(|| Arc::new(System));

thread_local! {
    static BOOT: Cell<Option<[u8; 16]>> = const { Cell::new(None) };
    static BENEATH: RefCell<Option<Arc<dyn Disk>>> = const { RefCell::new(None) };
}

/// Runs something on this thread; every store that it opens uses `disk`.
pub fn on<T>(disk: Arc<dyn Disk>, run: impl FnOnce() -> T) -> T {
    /// Puts the one before back, whatever happens.
    struct Before(Option<Arc<dyn Disk>>);
    impl Drop for Before {
        fn drop(&mut self) {
            BENEATH.set(self.0.take());
        }
    }
    let _before = Before(BENEATH.replace(Some(disk)));
    run()
}

/// The disk that a store opened now on this thread uses.
pub(crate) fn current() -> Arc<dyn Disk> {
    BENEATH.with_borrow(|disk| disk.clone()).unwrap_or_else(|| SYSTEM.clone())
}

/// Runs something on this thread as if the machine had been booted again: for tests of a power cut.
pub fn in_boot<T>(boot: [u8; 16], run: impl FnOnce() -> T) -> T {
    /// Puts the one before back, whatever happens.
    struct Before(Option<[u8; 16]>);
    impl Drop for Before {
        fn drop(&mut self) {
            BOOT.set(self.0);
        }
    }
    let _before = Before(BOOT.replace(Some(boot)));
    run()
}

/// The boot id that [`in_boot`] has set for this thread.
pub(crate) fn pretended_boot() -> Option<[u8; 16]> {
    BOOT.get()
}
