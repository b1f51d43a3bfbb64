//! Where things lie in a store's directory, and how they get there.
//!
//! A file that others will look for is made under `tmp/`, locked by its maker, synced, and renamed into its
//! place; the directory is synced after it. A file in `tmp/` that nobody has locked is litter.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use nix::libc::{O_CLOEXEC, O_NOFOLLOW};

use crate::disk::{self, Disk};
use crate::error::Error;

/// What the names of files of finished rings begin with.
pub(crate) const LEDGER_PREFIX: &str = "ledger-";

/// The paths of one store.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) dir: PathBuf,
    pub(crate) disk: Arc<dyn Disk>,
}

impl Layout {
    pub(crate) fn new(dir: &Path) -> Layout {
        Layout { dir: dir.to_owned(), disk: disk::current() }
    }

    pub(crate) fn manifest(&self) -> PathBuf {
        self.dir.join("MANIFEST")
    }

    pub(crate) fn manifest_old(&self) -> PathBuf {
        self.dir.join("MANIFEST.old")
    }

    pub(crate) fn wal_name(file_id: u64) -> String {
        format!("wal/{file_id:010}.wal")
    }

    /// The file of finished rings that this generation of the list made.
    pub(crate) fn ledger_name(generation: u64) -> String {
        format!("{LEDGER_PREFIX}{generation:010}")
    }

    pub(crate) fn wal(&self, file_id: u64) -> PathBuf {
        self.dir.join(Layout::wal_name(file_id))
    }

    pub(crate) fn segment(&self, name: &str) -> PathBuf {
        self.dir.join("seg").join(name)
    }

    /// Makes the directories where they are missing.
    pub(crate) fn create(&self) -> Result<(), Error> {
        for dir in [self.dir.clone(), self.dir.join("wal"), self.dir.join("seg"), self.dir.join("tmp")] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&dir)
                .map_err(Error::io("create directory", &dir))?;
        }
        Ok(())
    }

    /// Takes a lock file, waiting for it.
    pub(crate) fn lock(&self, name: &str) -> Result<File, Error> {
        let (path, file) = self.lock_file(name)?;
        file.lock().map_err(Error::io("lock", &path))?;
        Ok(file)
    }

    /// Takes a lock file, or says that another process has it.
    pub(crate) fn try_lock(&self, name: &str) -> Result<File, Error> {
        let (path, file) = self.lock_file(name)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(Error::Locked(path)),
            Err(TryLockError::Error(error)) => Err(Error::io("lock", &path)(error)),
        }
    }

    fn lock_file(&self, name: &str) -> Result<(PathBuf, File), Error> {
        let path = self.dir.join(name);
        let file = OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(O_NOFOLLOW | O_CLOEXEC)
            .open(&path)
            .map_err(Error::io("open lock file", &path))?;
        Ok((path, file))
    }

    /// A new file under `tmp/`, locked by this process while it is open.
    pub(crate) fn temporary(&self) -> Result<(PathBuf, File), Error> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        loop {
            // The process and a count make the name new; Relaxed, since only the count's own order matters.
            let name = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed));
            let path = self.dir.join("tmp").join(name);
            let _ = self.disk.remove(&path);
            let file = self.disk.create(&path).map_err(Error::io("create", &path))?;
            file.lock().map_err(Error::io("lock", &path))?;
            // A sweep may have taken it for litter before it was locked.
            if file.metadata().map_err(Error::io("look at", &path))?.nlink() > 0 {
                return Ok((path, file));
            }
        }
    }

    /// A new file under `tmp/` that holds `bytes`, on disk; it is locked as long as the file is kept.
    pub(crate) fn temporary_with(&self, bytes: &[u8]) -> Result<(PathBuf, File), Error> {
        let (path, file) = self.temporary()?;
        self.disk.write(&file, &path, bytes, 0).map_err(Error::io("write", &path))?;
        self.disk.sync_all(&file, &path).map_err(Error::io("sync", &path))?;
        Ok((path, file))
    }

    /// Removes what a crash left under `tmp/`.
    pub(crate) fn sweep_temporary(&self) -> Result<(), Error> {
        let dir = self.dir.join("tmp");
        for entry in fs::read_dir(&dir).map_err(Error::io("list", &dir))?.flatten() {
            let path = entry.path();
            let Ok(file) = OpenOptions::new().read(true).custom_flags(O_NOFOLLOW | O_CLOEXEC).open(&path)
            else {
                continue;
            };
            if file.try_lock().is_ok() {
                let _ = self.disk.remove(&path);
            }
        }
        Ok(())
    }

    /// Makes names made in or removed from `dir` survive a power cut.
    pub(crate) fn sync_dir(&self, dir: &Path) -> Result<(), Error> {
        self.disk.sync_dir(dir).map_err(Error::io("sync directory", dir))
    }
}
