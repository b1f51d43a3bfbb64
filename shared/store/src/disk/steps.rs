//! The steps a store takes on its disk, one function for each: a step may fail, and a power cut may undo it.
//!
//! No other code of the store changes a file, except that backups are written to another directory. A test puts its
//! own disk in place of the real one: a disk that dies at a step, is full, or forgets what was not synced.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use dotter_dot::Timestamp;
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::libc::{O_CLOEXEC, O_NOFOLLOW};
use nix::sys::statvfs::statvfs;
use nix::time::{ClockId, clock_gettime};

use crate::error::Error;

/// The steps on a disk. The default of each is the system call.
///
/// `path` is the name under which `file` was opened or made.
pub trait Disk: fmt::Debug + Send + Sync {
    /// A random number, which the name of a new file ends in.
    fn number(&self) -> io::Result<u64> {
        random_bytes().map(u64::from_le_bytes)
    }

    /// What the wall clock shows, for what a commit says of its own time.
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    /// How long the machine has run since its start, suspended or not.
    fn since_boot(&self) -> io::Result<Duration> {
        Ok(clock_gettime(ClockId::CLOCK_BOOTTIME)?.into())
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

    /// The names in a directory. Files may be made and unlinked meanwhile, so they may be the names of no one moment: one
    /// that is there all the time is among them, any other may be or not.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect()
    }

    /// Makes the names in a directory survive a power cut.
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    /// How much room the file system of a directory has.
    fn free(&self, dir: &Path) -> io::Result<Free> {
        let found = statvfs(dir)?;
        // The units differ in width from machine to machine.
        let bytes = |blocks: u64| blocks.saturating_mul(found.fragment_size() as u64);
        Ok(Free {
            free_bytes: bytes(found.blocks_available() as u64),
            all_bytes: bytes(found.blocks() as u64),
        })
    }
}

/// The room of a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Free {
    /// What a process without privileges can still fill: without the blocks that are kept for root.
    pub free_bytes: u64,
    /// All that the file system holds, used or not; 0 where it does not say.
    pub all_bytes: u64,
}

/// How much room the file system of the store at `dir` has.
///
/// # Errors
///
/// The system's, as where there is no such directory.
pub fn free_room(dir: &Path) -> Result<Free, Error> {
    current().free(dir).map_err(Error::io("ask for the free room of", dir))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk that says how much room it has.
    #[derive(Debug)]
    struct Told(Free);

    impl Disk for Told {
        fn free(&self, _: &Path) -> io::Result<Free> {
            Ok(self.0)
        }
    }

    #[test]
    fn the_room_is_that_of_the_file_system_or_what_a_test_says() {
        let dir = tempfile::tempdir().unwrap();
        let found = free_room(dir.path()).unwrap();
        assert!(0 < found.free_bytes && found.free_bytes <= found.all_bytes, "{found:?}");
        // In bytes, as `stat` of coreutils counts them.
        let output = std::process::Command::new("stat").args(["-f", "-c", "%b %S"]).arg(dir.path()).output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        let (blocks, bytes) = text.trim().split_once(' ').unwrap();
        assert_eq!(found.all_bytes, blocks.parse::<u64>().unwrap() * bytes.parse::<u64>().unwrap());
        let told = Free { free_bytes: 7, all_bytes: 100 };
        assert_eq!(on(Arc::new(Told(told)), || free_room(dir.path())).unwrap(), told);
        let missing = free_room(&dir.path().join("none")).unwrap_err();
        assert!(missing.to_string().starts_with("cannot ask for the free room of "), "{missing}");
    }
}
