//! The files of a store's directory: their paths, their locks, and how new ones are made.
//!
//! A file that never changes is made under its final name, which ends in a random number ([`Layout::make`]), and its
//! maker keeps it locked until the list names it. A file that replaces another is made in the same folder under
//! another name and renamed ([`Layout::replace`]). The directory is synced after either.
//!
//! Always true of a name that ends in a random number: it is used once and never again, and a locked file is unlinked
//! by its maker alone.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::libc::{O_CLOEXEC, O_NOFOLLOW};

use crate::disk::{self, Disk};
use crate::error::Error;
use crate::format::listing::{numbered_name, wal_file_name};

/// Where random numbers come from.
const RANDOM: &str = "/dev/urandom";

/// How often a file is written anew because another process removed or replaced it.
pub(crate) const TRIES_MAX: u32 = 3;

/// A folder in which files are made under their final names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Folder {
    /// Segments.
    Seg,
    /// The log.
    Wal,
    /// Finished rings.
    Ledger,
    /// What is kept for those who follow the store.
    Kept,
}

impl Folder {
    pub(crate) const ALL: [Folder; 4] = [Folder::Seg, Folder::Wal, Folder::Ledger, Folder::Kept];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Folder::Seg => "seg",
            Folder::Wal => "wal",
            Folder::Ledger => "ledger",
            Folder::Kept => "kept",
        }
    }
}

/// How long a process waits for a lock.
const LOCK_WITHIN: Duration = Duration::from_secs(10);
/// The longest time between two tries.
const LOCK_PAUSE_MAX: Duration = Duration::from_millis(20);

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

    /// The second file of the list, written after MANIFEST.
    pub(crate) fn manifest_copy(&self) -> PathBuf {
        self.dir.join("MANIFEST.2")
    }

    /// The mark that the list was rebuilt, MANIFEST.damaged: the old MANIFEST, or an empty file where it was missing.
    /// It is made when a rebuilt list is committed, and stays until a person removes it.
    pub(crate) fn rebuilt_mark(&self) -> PathBuf {
        self.dir.join("MANIFEST.damaged")
    }

    pub(crate) fn wal_name(file_id: u64) -> String {
        format!("wal/{}", wal_file_name(file_id))
    }

    /// The id of a WAL file; `None` where the name is not the one that it has.
    pub(crate) fn wal_id(path: &Path) -> Option<u64> {
        let name = path.file_name()?.to_str()?;
        let id = name.strip_suffix(".wal")?.parse().ok()?;
        (Layout::wal_name(id).strip_prefix("wal/") == Some(name)).then_some(id)
    }

    pub(crate) fn wal(&self, file_id: u64) -> PathBuf {
        self.dir.join(Layout::wal_name(file_id))
    }

    pub(crate) fn segment(&self, name: &str) -> PathBuf {
        self.dir.join("seg").join(name)
    }

    /// A file of finished rings.
    pub(crate) fn ledger(&self, name: &str) -> PathBuf {
        self.dir.join("ledger").join(name)
    }

    /// Makes the store's directories where they are missing, and their parents.
    ///
    /// When it returns, the name of a new store survives a power cut.
    pub(crate) fn create(&self) -> Result<(), Error> {
        let missing: Vec<&Path> = self.dir.ancestors().take_while(|dir| !is_there(dir)).collect();
        // The folder of what is kept is made with the first such file.
        let folders = Folder::ALL.into_iter().filter(|folder| *folder != Folder::Kept);
        let folders = folders.map(|folder| self.dir.join(folder.name()));
        for dir in std::iter::once(self.dir.clone()).chain(folders) {
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
            // In some folders one may make a directory but not open the folder; then the name cannot be synced.
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::PermissionDenied => Ok(()),
            other => other,
        }
    }

    /// Takes a lock file, waiting for it.
    ///
    /// # Errors
    ///
    /// [`Error::Waited`] where other processes have held it for 10 s; the system's.
    pub(crate) fn lock(&self, name: &str) -> Result<File, Error> {
        let began = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            match self.try_lock(name) {
                Err(Error::Locked(path)) if began.elapsed() >= LOCK_WITHIN => {
                    let holder = holder(&path);
                    return Err(Error::Waited { path, holder });
                }
                Err(Error::Locked(_)) => std::thread::sleep(pause),
                other => return other,
            }
            pause = (pause * 2).min(LOCK_PAUSE_MAX);
        }
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

    /// Makes a file in a folder under its final name, which is `words`, `-` and a random number.
    ///
    /// The number is random: processes of two containers that share the directory may have the same process id, and
    /// so may two processes one after the other.
    pub(crate) fn make(&self, folder: Folder, words: &str) -> Result<NewFile, Error> {
        self.make_in(&self.dir.join(folder.name()), words)
    }

    fn make_in(&self, dir: &Path, words: &str) -> Result<NewFile, Error> {
        loop {
            let number = self.number()?;
            let path = dir.join(numbered_name(words, number));
            let file = match self.disk.create(&path) {
                // The name is taken: try another number.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                other => other.map_err(Error::io("create", &path))?,
            };
            let new = NewFile { path, number, file, disk: self.disk.clone(), is_kept: false };
            match new.file.try_lock() {
                // Somebody takes it for litter, and may be waiting for a lock that is held here.
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => return Err(Error::io("lock", &new.path)(error)),
                Ok(()) => {}
            }
            // Somebody may have done so before it was locked.
            if new.is_there() {
                return Ok(new);
            }
        }
    }

    /// Makes a file in the folder of `path`, which is to replace `path`.
    pub(crate) fn make_beside(&self, path: &Path) -> Result<NewFile, Error> {
        let (dir, name) = beside(path);
        self.make_in(dir, name)
    }

    /// A random number for the name of a file.
    pub(crate) fn number(&self) -> Result<u64, Error> {
        self.disk.number().map_err(Error::io("read", Path::new(RANDOM)))
    }

    /// Makes names made in or removed from `dir` survive a power cut.
    pub(crate) fn sync_dir(&self, dir: &Path) -> Result<(), Error> {
        self.disk.sync_dir(dir).map_err(Error::io("sync directory", dir))
    }
}

/// Which process holds a lock file, by the system's table of locks.
fn holder(path: &Path) -> String {
    let pid = || {
        let inode = path.metadata().ok()?.ino().to_string();
        let locks = fs::read_to_string("/proc/locks").ok()?;
        let of_file = |line: &&str| {
            line.split_whitespace().nth(5).is_some_and(|file| file.rsplit(':').next() == Some(&inode))
        };
        let line = locks.lines().find(of_file)?;
        line.split_whitespace().nth(4)?.parse::<u32>().ok().filter(|pid| *pid > 0)
    };
    match pid() {
        Some(pid) => {
            let command = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            format!("process {pid} {}", command.trim()).trim_end().to_owned()
        }
        None => "a process that cannot be seen from here".to_owned(),
    }
}

/// Whether a path exists, or may exist; the empty path is the current directory.
fn is_there(dir: &Path) -> bool {
    dir == Path::new("") || !dir.metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

/// Folder and name of a file of the store.
fn beside(path: &Path) -> (&Path, &str) {
    let name = path.file_name().and_then(|name| name.to_str()).expect("the store's own names are texts");
    (path.parent().expect("it lies in the store's directory"), name)
}

/// Random bytes from the system.
pub(crate) fn random_bytes<const BYTES: usize>() -> Result<[u8; BYTES], Error> {
    disk::steps::random_bytes().map_err(Error::io("read", Path::new(RANDOM)))
}

/// A file that is being made; this process holds its lock as long as this value lives.
///
/// Where the value is dropped before [`NewFile::keep`], the file is removed.
#[derive(Debug)]
pub(crate) struct NewFile {
    pub(crate) path: PathBuf,
    /// The number that its name ends in.
    pub(crate) number: u64,
    pub(crate) file: File,
    disk: Arc<dyn Disk>,
    is_kept: bool,
}

impl NewFile {
    /// Its name in its folder.
    pub(crate) fn name(&self) -> &str {
        beside(&self.path).1
    }

    /// Whether its name still means this file, and not another one or none.
    pub(crate) fn is_there(&self) -> bool {
        is_same(&self.path, &self.file)
    }

    /// Checks that the file has as many bytes as this process has written: another process may have cut or extended
    /// it.
    pub(crate) fn check_length(&self, expected: u64) -> io::Result<()> {
        let found = self.file.metadata()?.len();
        if found == expected {
            return Ok(());
        }
        Err(io::Error::new(
            ErrorKind::InvalidData,
            format!(
                "{found} bytes, expected {expected}: somebody else has changed the file; nothing is committed"
            ),
        ))
    }

    /// The error for a file that other processes removed or replaced [`TRIES_MAX`] times.
    pub(crate) fn lost(&self) -> Error {
        let source =
            io::Error::new(ErrorKind::NotFound, "somebody takes its name away; nothing is committed");
        Error::io("keep", &self.path)(source)
    }

    /// Writes `bytes` as its content and syncs it.
    pub(crate) fn fill(&self, bytes: &[u8]) -> Result<(), Error> {
        self.disk.write(&self.file, &self.path, bytes, 0).map_err(Error::io("write", &self.path))?;
        self.disk.sync_all(&self.file, &self.path).map_err(Error::io("sync", &self.path))
    }

    /// From now on the file stays when this value is dropped.
    pub(crate) fn keep(&mut self) {
        self.is_kept = true;
    }

    /// Unlinks it; the file lives as long as it is open.
    pub(crate) fn into_nameless(self) -> Result<(PathBuf, File), Error> {
        self.disk.remove(&self.path).map_err(Error::io("unlink", &self.path))?;
        Ok((self.path.clone(), self.into_file()?))
    }

    /// The open file, which stays under its name and is locked as long as it is open.
    pub(crate) fn into_file(mut self) -> Result<File, Error> {
        let file = self.file.try_clone().map_err(Error::io("open", &self.path))?;
        self.is_kept = true;
        Ok(file)
    }

    /// Renames it to `to`, in place of the file that has that name; it stays locked.
    pub(crate) fn rename(mut self, to: &Path) -> Result<NewFile, Error> {
        self.disk.rename(&self.path, to).map_err(Error::io("rename", to))?;
        self.is_kept = true;
        to.clone_into(&mut self.path);
        Ok(self)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_kept && self.is_there() {
            let _ = self.disk.remove(&self.path);
        }
    }
}

/// Whether a name means this open file.
pub(crate) fn is_same(path: &Path, file: &File) -> bool {
    let id = |meta: fs::Metadata| (meta.dev(), meta.ino());
    let (named, open) = (fs::symlink_metadata(path).map(id), file.metadata().map(id));
    matches!((named, open), (Ok(named), Ok(open)) if named == open)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use dotter_dot::Timestamp;

    use super::*;
    use crate::disk::{System, litter, manifest};

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

    fn names(dir: &Path) -> Vec<String> {
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_new_file_never_takes_the_place_of_another() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Arc::new(Taken::default());
        let layout = disk::on(disk.clone(), || Layout::new(dir.path()));
        layout.create().unwrap();
        let new = layout.make(Folder::Seg, "L0-x").unwrap();
        assert_eq!((disk.asked.load(Relaxed), disk.removed.load(Relaxed)), (4, 0));
        assert_eq!(new.name(), numbered_name("L0-x", new.number));
        let folder = dir.path().join("seg");
        assert_eq!(names(&folder).len(), 4);
        // Dropped before it is kept, it goes, and nothing else does.
        let name = new.name().to_owned();
        drop(new);
        assert_eq!((names(&folder).len(), disk.removed.load(Relaxed)), (3, 1));
        assert!(!names(&folder).contains(&name));
    }

    #[test]
    fn what_somebody_has_put_in_the_place_of_a_new_file_stays() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        layout.create().unwrap();
        let new = layout.make(Folder::Seg, "L0-x").unwrap();
        let path = new.path.clone();
        assert!(new.is_there());
        fs::remove_file(&path).unwrap();
        assert!(!new.is_there());
        fs::write(&path, b"theirs").unwrap();
        assert!(!new.is_there());
        drop(new);
        assert_eq!(fs::read(&path).unwrap(), b"theirs");
    }

    /// A disk on which another process looks for litter in the middle of each commit.
    #[derive(Debug)]
    struct Tidied(Layout);

    impl Disk for Tidied {
        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            // The first list is not there yet as it is made.
            if self.0.manifest().exists() {
                assert_eq!(litter::remove(&self.0).unwrap(), 0);
            }
            System.rename(from, to)
        }
    }

    #[test]
    fn nothing_of_a_swap_is_litter_to_another_process() {
        let dir = tempfile::tempdir().unwrap();
        let plain = Layout::new(dir.path());
        let layout = disk::on(Arc::new(Tidied(plain.clone())), || Layout::new(dir.path()));
        manifest::make(&layout, Timestamp::from_nanos(1)).unwrap();
        for generation in 2..4 {
            assert_eq!(manifest::change(&layout, |_| Ok(())).unwrap().0.generation, generation);
        }
        assert_eq!(manifest::read(&plain).unwrap().generation, 3);
        let mut left = names(dir.path());
        left.sort();
        assert_eq!(left, ["MANIFEST", "MANIFEST.2", "MANIFEST.lock", "ledger", "seg", "wal"]);
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
