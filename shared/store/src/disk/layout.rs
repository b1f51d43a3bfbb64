//! Where things lie in a store's directory, and how they get there.
//!
//! A file that others will look for is made under `tmp/`, locked by its maker, synced, and renamed into its
//! place; the directory is synced after it. A file in `tmp/` that nobody has locked is litter.
//!
//! Always true of `tmp/`: a name is used once and never again, and what is locked is unlinked by its maker alone.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::libc::{O_CLOEXEC, O_NOFOLLOW};

use crate::disk::{self, Disk};
use crate::error::Error;
use crate::format::manifest::LEDGER_PREFIX;

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

    /// There from the moment on in which a rebuilt list took the place of MANIFEST, until somebody removes it: what
    /// was MANIFEST, or an empty file where there was none.
    pub(crate) fn rebuilt_mark(&self) -> PathBuf {
        self.dir.join("MANIFEST.damaged")
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

    /// Makes the directories where they are missing, and those above them.
    ///
    /// The name of a new store survives a power cut from here on.
    pub(crate) fn create(&self) -> Result<(), Error> {
        let missing: Vec<&Path> = self.dir.ancestors().take_while(|dir| !is_there(dir)).collect();
        for dir in [self.dir.clone(), self.dir.join("wal"), self.dir.join("seg"), self.dir.join("tmp")] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&dir)
                .map_err(Error::io("create directory", &dir))?;
        }
        missing.into_iter().rev().try_for_each(|dir| self.sync_name(dir))
    }

    /// Makes the name of a directory survive a power cut.
    pub(crate) fn sync_name(&self, dir: &Path) -> Result<(), Error> {
        let parent = dir.parent().map(|parent| if parent == Path::new("") { Path::new(".") } else { parent });
        let Some(parent) = parent else { return Ok(()) };
        match self.sync_dir(parent) {
            // A directory may be made where nothing may be listed; the name is as durable as the system makes it.
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::PermissionDenied => Ok(()),
            other => other,
        }
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
        loop {
            let path = self.temporary_path()?;
            let file = match self.disk.create(&path) {
                // Somebody else's, locked or not: another name will do.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                other => other.map_err(Error::io("create", &path))?,
            };
            file.lock().map_err(Error::io("lock", &path))?;
            // A sweep may have taken it for litter before it was locked.
            if file.metadata().map_err(Error::io("look at", &path))?.nlink() > 0 {
                return Ok((path, file));
            }
        }
    }

    /// A path under `tmp/` that nobody has had before.
    ///
    /// It is random: processes of two containers that share the directory may have the same process id, and so may
    /// two processes one after the other.
    pub(crate) fn temporary_path(&self) -> Result<PathBuf, Error> {
        let name = u64::from_le_bytes(random_bytes()?);
        Ok(self.dir.join("tmp").join(format!("{name:016x}")))
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

/// Whether a path is there, as far as anybody can tell; the empty one is where we are.
fn is_there(dir: &Path) -> bool {
    dir == Path::new("") || !dir.metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

/// Random bytes from the system.
pub(crate) fn random_bytes<const BYTES: usize>() -> Result<[u8; BYTES], Error> {
    let path = Path::new("/dev/urandom");
    let mut bytes = [0; BYTES];
    File::open(path).and_then(|mut file| file.read_exact(&mut bytes)).map_err(Error::io("read", path))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use dotter_dot::Timestamp;

    use super::*;
    use crate::disk::{System, manifest};

    /// A disk on which another process has just made the first files that are asked for, and has them locked.
    #[derive(Debug, Default)]
    struct Taken {
        asked: AtomicU64,
        removed: AtomicU64,
    }

    impl Disk for Taken {
        fn create(&self, path: &Path) -> io::Result<File> {
            // Relaxed: one thread.
            if self.asked.fetch_add(1, Relaxed) < 3 {
                System.create(path)?;
            }
            System.create(path)
        }

        fn remove(&self, path: &Path) -> io::Result<()> {
            self.removed.fetch_add(1, Relaxed);
            System.remove(path)
        }
    }

    #[test]
    fn a_temporary_file_never_takes_the_place_of_another() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Arc::new(Taken::default());
        let layout = disk::on(disk.clone(), || Layout::new(dir.path()));
        layout.create().unwrap();
        let (path, _file) = layout.temporary().unwrap();
        assert_eq!((disk.asked.load(Relaxed), disk.removed.load(Relaxed)), (4, 0));
        // The other's files are there, unlocked here, and go with the sweep; this one is locked and stays.
        assert_eq!(fs::read_dir(dir.path().join("tmp")).unwrap().count(), 4);
        layout.sweep_temporary().unwrap();
        let left: Vec<_> =
            fs::read_dir(dir.path().join("tmp")).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, [path]);
    }

    /// A disk on which another process sweeps in the middle of each swap.
    #[derive(Debug)]
    struct Swept(Layout);

    impl Disk for Swept {
        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            self.0.sweep_temporary().unwrap();
            System.rename(from, to)
        }
    }

    #[test]
    fn nothing_of_a_swap_is_litter_to_another_process() {
        let dir = tempfile::tempdir().unwrap();
        let plain = Layout::new(dir.path());
        let layout = disk::on(Arc::new(Swept(plain.clone())), || Layout::new(dir.path()));
        manifest::open_or_create(&layout, Timestamp::from_nanos(1)).unwrap();
        for generation in 2..4 {
            assert_eq!(manifest::swap(&layout, |_| Ok(())).unwrap().0.generation, generation);
        }
        assert_eq!(manifest::read(&plain).unwrap().generation, 3);
    }

    /// A disk that notes which directories are synced.
    #[derive(Debug, Default)]
    struct Noting(Mutex<Vec<PathBuf>>);

    impl Disk for Noting {
        fn sync_dir(&self, dir: &Path) -> io::Result<()> {
            self.0.lock().unwrap().push(dir.to_owned());
            System.sync_dir(dir)
        }
    }

    #[test]
    fn the_name_of_a_new_store_is_on_disk_before_anything_is_acknowledged() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("a/b/store");
        let disk = Arc::new(Noting::default());
        disk::on(disk.clone(), || drop(crate::Writer::open(&dir).unwrap()));
        let synced = std::mem::take(&mut *disk.0.lock().unwrap());
        for parent in [root.path().to_owned(), root.path().join("a"), root.path().join("a/b"), dir.clone()] {
            assert!(synced.contains(&parent), "{}: {synced:?}", parent.display());
        }
        // A directory that is there, such as an empty one that somebody has just made, may be as new.
        let dir = root.path().join("made");
        fs::create_dir(&dir).unwrap();
        disk::on(disk.clone(), || drop(crate::Writer::open(&dir).unwrap()));
        let synced = std::mem::take(&mut *disk.0.lock().unwrap());
        assert!(synced.contains(&root.path().to_owned()), "{synced:?}");
        // A store has its name.
        disk::on(disk.clone(), || drop(crate::Writer::open(&dir).unwrap()));
        assert!(!disk.0.lock().unwrap().contains(&root.path().to_owned()));
        let here = Layout::new(Path::new("store"));
        assert!(here.sync_name(&here.dir).is_ok());
    }
}
