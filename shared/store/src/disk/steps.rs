//! The steps a store takes on its disk, one function each: what may fail, and what a power cut may undo.
//!
//! Nothing else in the store changes a file (backups of it apart, which are another directory). A test puts a disk
//! of its own beneath: one that dies at a step, that is full, or that forgets what was not synced.

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

/// The steps. As they stand here they are the system's.
///
/// `path` is the name under which `file` was opened or made.
pub trait Disk: fmt::Debug + Send + Sync {
    /// A random number, in which the name of a file to be made ends.
    fn number(&self) -> io::Result<u64> {
        random_bytes().map(u64::from_le_bytes)
    }

    /// Makes a file that is not there yet, readable and writable for its owner alone.
    fn create(&self, path: &Path) -> io::Result<File> {
        let flags = O_NOFOLLOW | O_CLOEXEC;
        OpenOptions::new().create_new(true).read(true).write(true).mode(0o600).custom_flags(flags).open(path)
    }

    /// Writes all of `bytes` at a place of the file.
    fn write(&self, file: &File, path: &Path, bytes: &[u8], at: u64) -> io::Result<()> {
        let _ = path;
        file.write_all_at(bytes, at)
    }

    /// Sets room aside, so that a full disk shows now; a file system that cannot do so lets the file grow later.
    fn allocate(&self, file: &File, path: &Path, bytes: u64) -> io::Result<()> {
        let _ = path;
        match fallocate(file, FallocateFlags::empty(), 0, bytes as i64) {
            Ok(()) | Err(Errno::EOPNOTSUPP) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Cuts a file off.
    fn shorten(&self, file: &File, path: &Path, bytes: u64) -> io::Result<()> {
        let _ = path;
        file.set_len(bytes)
    }

    /// Makes what was written to a file survive a power cut.
    fn sync_data(&self, file: &File, path: &Path) -> io::Result<()> {
        let _ = path;
        file.sync_data()
    }

    /// The same, with all that the system knows of the file.
    fn sync_all(&self, file: &File, path: &Path) -> io::Result<()> {
        let _ = path;
        file.sync_all()
    }

    /// Gives a file another name, in place of whatever had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    /// Gives a file a second name.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    /// Takes a name away.
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

/// Runs something with another disk beneath every store that it opens on this thread.
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

/// The disk beneath what is opened now.
pub(crate) fn current() -> Arc<dyn Disk> {
    BENEATH.with_borrow(|disk| disk.clone()).unwrap_or_else(|| SYSTEM.clone())
}

/// Runs something on this thread as if the machine had been booted anew: for what a power cut leaves.
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

/// The boot that [`in_boot`] says.
pub(crate) fn pretended_boot() -> Option<[u8; 16]> {
    BOOT.get()
}
