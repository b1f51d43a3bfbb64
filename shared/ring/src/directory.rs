//! Names and places of ring files.
//!
//! A place is a directory, where every ring has a name of its own, `APPLICATION.INCARNATION.dots`; or one
//! exact name, where a new ring moves the dead one before it aside to `NAME.INCARNATION.dots`.

use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use dotter_dot::{Incarnation, Timestamp};

use crate::error::Error;
use crate::fork::SlowPath;
use crate::life::{self, Descriptor, FileId, is_ours};
use crate::reader::RingReader;
use crate::sys;
use crate::unmapped::UnmappedRing;

pub use crate::broker_lock::{BrokerLock, lock_broker};

/// Unfinished files younger than this are left to their makers.
const LITTER_AGE: Duration = Duration::from_secs(60);

/// Where rings are: `$DOTTER_DIR`, else `/run/dotter` where that can be used, else `/dev/shm/dotter-UID`.
pub fn default_directory() -> PathBuf {
    if let Some(dir) = std::env::var_os("DOTTER_DIR").filter(|dir| !dir.is_empty()) {
        return dir.into();
    }
    let system = Path::new("/run/dotter");
    if is_usable(system) {
        return system.to_owned();
    }
    PathBuf::from(format!("/dev/shm/dotter-{}", sys::effective_user()))
}

/// Whether this process can make rings, or a broker's lock, in a directory that is there: nobody else's can pass for it,
/// and the system lets this process write to it.
pub fn is_usable(dir: &Path) -> bool {
    check(dir).is_ok() && sys::may_write(dir)
}

/// A directory of rings, or the exact name of one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// Every ring in it.
    Directory(PathBuf),
    /// The ring of that name, and its dead predecessors beside it.
    Exact(PathBuf),
}

impl Place {
    /// A directory if there is one, or if the path ends in a slash; an exact name otherwise.
    pub fn of(path: &Path) -> Place {
        let slash = path.as_os_str().as_bytes().ends_with(b"/");
        if slash || path.as_os_str().is_empty() || path.is_dir() || path.file_name().is_none() {
            return Place::Directory(path.to_owned());
        }
        Place::Exact(path.to_owned())
    }

    /// The directory everything happens in.
    pub fn directory(&self) -> &Path {
        match self {
            Place::Directory(dir) => or_here(dir),
            Place::Exact(path) => or_here(path.parent().unwrap_or(Path::new(""))),
        }
    }

    /// The last part of an exact name.
    pub(crate) fn name(&self) -> Option<&OsStr> {
        match self {
            Place::Directory(_) => None,
            Place::Exact(path) => path.file_name(),
        }
    }
}

fn or_here(dir: &Path) -> &Path {
    if dir.as_os_str().is_empty() { Path::new(".") } else { dir }
}

/// `PREFIX.INCARNATION.dots`
pub(crate) fn ring_name(prefix: &OsStr, incarnation: Incarnation) -> OsString {
    let mut name = prefix.to_owned();
    name.push(format!(".{incarnation}.dots"));
    name
}

/// What stands before `.INCARNATION.dots` in a name; `None` in any other name.
pub(crate) fn ring_prefix(name: &OsStr) -> Option<&[u8]> {
    incarnation_prefix(name, b".dots")
}

/// The same for `.INCARNATION.gone`.
pub(crate) fn stub_prefix(name: &OsStr) -> Option<&[u8]> {
    incarnation_prefix(name, b".gone")
}

fn incarnation_prefix<'a>(name: &'a OsStr, suffix: &[u8]) -> Option<&'a [u8]> {
    let rest = name.as_bytes().strip_suffix(suffix)?;
    let (prefix, digits) = rest.split_at_checked(rest.len().checked_sub(33)?)?;
    let (dot, digits) = digits.split_first()?;
    let hex = digits.iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b));
    (*dot == b'.' && hex && !prefix.is_empty()).then_some(prefix)
}

/// Every name that may be a ring, sorted; what is not there yet is simply not among them.
///
/// In a directory: `*.dots`. For an exact name: itself, and its predecessors that were moved aside. In both, the
/// stubs of rings that made room, unless the ring is still there.
///
/// # Errors
///
/// Where the directory cannot be read, unless it does not exist yet.
pub fn scan(place: &Place) -> io::Result<Vec<PathBuf>> {
    let dir = place.directory();
    let mut found = Vec::new();
    for entry in read_dir(dir)? {
        let name = entry?.file_name();
        let wanted = match place.name() {
            None => {
                let ring = name.as_bytes().ends_with(b".dots") || stub_prefix(&name).is_some();
                ring && !name.as_bytes().starts_with(b".")
            }
            Some(exact) => {
                let prefix = ring_prefix(&name).or_else(|| stub_prefix(&name));
                name == exact || prefix == Some(exact.as_bytes())
            }
        };
        if wanted {
            found.push(dir.join(name));
        }
    }
    found.sort();
    // A stub has its name before its ring loses its own: until then the ring says more. Both sort together.
    let replaced = |path: &PathBuf| {
        path.file_name().is_some_and(|name| stub_prefix(name).is_some())
            && found.binary_search(&path.with_extension("dots")).is_ok()
    };
    Ok(found.iter().filter(|path| !replaced(path)).cloned().collect())
}

/// Makes room: where dead rings take more than `dead_bytes_max` on the disk, the oldest leave a stub in their
/// place, which says how many records they had, and go. Returns the names of those that went.
///
/// Only rings whose name holds their incarnation, and whose owner is known to be dead. What resists is left.
///
/// # Errors
///
/// Where the directory cannot be read.
pub fn make_room(place: &Place, dead_bytes_max: u64) -> io::Result<Vec<PathBuf>> {
    // A handler that asks while this thread makes a ring gets no room: whose rings are ours is not known then.
    make_room_beside(place, dead_bytes_max, |id| SlowPath::enter().is_none_or(|inside| is_ours(&inside, id)))
}

/// The same from the slow path; `ours` says which files are living rings of this process, which are not even
/// opened: each descriptor of one stays open as long as the ring.
pub(crate) fn make_room_beside(
    place: &Place,
    dead_bytes_max: u64,
    ours: impl Fn(FileId) -> bool,
) -> io::Result<Vec<PathBuf>> {
    let mut dead = dead_rings(place, ours)?;
    let mut bytes: u64 = dead.iter().map(|(_, bytes, _)| bytes).sum();
    let mut gone = Vec::new();
    // Oldest last, where they are taken from.
    dead.sort_by_key(|(created, _, path)| (std::cmp::Reverse(*created), path.clone()));
    while bytes > dead_bytes_max
        && let Some((_, size, path)) = dead.pop()
    {
        // Opened again rather than kept open: there may be more of them than descriptors.
        match UnmappedRing::open(&path).and_then(|ring| crate::gone::replace(&ring)) {
            Ok(()) => gone.push(path),
            // A broker has removed it, or another process that makes room: nothing goes in its stead.
            Err(_) if is_missing(&path) => {}
            Err(_) => continue,
        }
        bytes -= size;
    }
    Ok(gone)
}

fn is_missing(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// When each dead ring was made, what it takes on the disk in bytes, and its name.
fn dead_rings(place: &Place, ours: impl Fn(FileId) -> bool) -> io::Result<Vec<(Timestamp, u64, PathBuf)>> {
    let mut dead = Vec::new();
    for path in scan(place)? {
        if path.file_name().and_then(ring_prefix).is_none() {
            continue;
        }
        let Some(meta) = std::fs::symlink_metadata(&path).ok().filter(|meta| !ours(FileId::of(meta))) else {
            continue;
        };
        let Ok(ring) = UnmappedRing::open(&path) else { continue };
        if ring.is_surely_over() {
            dead.push((ring.identity().created, meta.blocks() * 512, path));
        }
    }
    Ok(dead)
}

/// The entries of a directory; none where there is no directory.
fn read_dir(dir: &Path) -> io::Result<impl Iterator<Item = io::Result<std::fs::DirEntry>>> {
    match std::fs::read_dir(dir) {
        Ok(entries) => Ok(Some(entries).into_iter().flatten()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None.into_iter().flatten()),
        Err(error) => Err(error),
    }
}

/// Makes the directory where it is missing, and makes sure that nobody else's can pass for it.
///
/// # Errors
///
/// Where it cannot be made, is no directory, or belongs to another user than us or root.
pub fn ensure(dir: &Path) -> Result<(), Error> {
    let made = DirBuilder::new().mode(0o750).create(dir);
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(Error::io("cannot make directory", dir)(error))
        }
        _ => check(dir),
    }
}

/// A directory of ours or root's; others may write to it only where they cannot touch our names in it.
fn check(dir: &Path) -> Result<(), Error> {
    let file = |found: String| Error::File {
        path: dir.to_owned(),
        found,
        expected: "a directory of this user or root that others cannot write to".into(),
    };
    // A symbolic link in a place where everybody may make one could lead anywhere; one that we or root
    // made is as good as a directory.
    let link = std::fs::symlink_metadata(dir).map_err(Error::io("cannot look at directory", dir))?;
    let meta = std::fs::metadata(dir).map_err(Error::io("cannot look at directory", dir))?;
    let us = sys::effective_user();
    if let Some(uid) = [link.uid(), meta.uid()].into_iter().find(|uid| *uid != us && *uid != 0) {
        return Err(file(format!("belongs to user {uid}")));
    }
    if !meta.is_dir() {
        return Err(file("is no directory".into()));
    }
    let (writable, sticky) = (meta.mode() & 0o002 != 0, meta.mode() & 0o1000 != 0);
    if writable && !sticky {
        return Err(file(format!("has mode {:o}", meta.mode() & 0o7777)));
    }
    Ok(())
}

/// How long a lock is waited for whose holder is making or removing a file, which takes microseconds.
const LOCK_PATIENCE: Duration = Duration::from_millis(100);

/// Takes a lock that another process may hold for a moment. A holder that was stopped, or means harm, keeps nobody
/// waiting: then the error is [`io::ErrorKind::WouldBlock`].
fn lock_soon(file: &File) -> io::Result<()> {
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if start.elapsed() < LOCK_PATIENCE => {
                std::thread::sleep(Duration::from_millis(1));
            }
            locked => return locked.map_err(io::Error::from),
        }
    }
}

/// Opens a lock file beside the rings, making it where it is missing. Lock files are never removed.
fn lock_file(path: &Path) -> Result<File, Error> {
    File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o640)
        // Not blocking keeps a FIFO from holding us up.
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
        .map_err(Error::io("cannot open lock", path))
}

/// `.NAME.SUFFIX` beside NAME.
pub(crate) fn lock_path(dir: &Path, name: &OsStr, suffix: &str) -> PathBuf {
    let mut lock = OsString::from(".");
    lock.push(name);
    lock.push(suffix);
    dir.join(lock)
}

/// The lock under which rings come and go under an exact name.
pub(crate) struct NameLock {
    _file: File,
}

impl NameLock {
    /// The lock file of a name. Never one of a [`BrokerLock`], which is held for as long as a broker runs.
    fn path(dir: &Path, name: &OsStr) -> PathBuf {
        let like_a_brokers = name == "broker" || name.as_bytes().ends_with(b".broker");
        lock_path(dir, name, if like_a_brokers { ".name-lock" } else { ".lock" })
    }

    /// Takes it. Whoever holds it is making or removing a file, so the wait is short, and has an end where the holder
    /// was stopped.
    pub(crate) fn take(dir: &Path, name: &OsStr) -> Result<NameLock, Error> {
        let path = NameLock::path(dir, name);
        let file = lock_file(&path)?;
        lock_soon(&file).map_err(Error::io("cannot take lock", &path))?;
        Ok(NameLock { _file: file })
    }
}

/// Removes the name of a ring that is drained and finished; true if that was done.
///
/// Only ever the name whose file is the one that was read: where another ring stands there by now, or
/// nothing, nothing is removed.
///
/// # Errors
///
/// Where the lock of an exact name, or the removal, fails.
pub fn unlink_drained(reader: &RingReader) -> Result<bool, Error> {
    let path = reader.path();
    let Some(name) = path.file_name() else { return Ok(false) };
    // A name that holds an incarnation is never used again; an exact one is, under this lock.
    let _lock = match ring_prefix(name).or_else(|| stub_prefix(name)) {
        Some(_) => None,
        None => Some(NameLock::take(or_here(path.parent().unwrap_or(Path::new(""))), name)?),
    };
    unlink(path, reader.file_id())
}

/// Removes a name, where its file is the one that was read.
pub(crate) fn unlink(path: &Path, id: FileId) -> Result<bool, Error> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if FileId::of(&meta) == id => {
            std::fs::remove_file(path).map_err(Error::io("cannot remove ring", path))?;
            Ok(true)
        }
        Ok(_) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("cannot look at ring", path)(error)),
    }
}

/// Removes files that their makers left unfinished; says how many.
///
/// # Errors
///
/// Where the directory cannot be read; a file that resists is left.
pub fn sweep_litter(place: &Place) -> io::Result<usize> {
    let dir = place.directory();
    let mut swept = 0;
    for entry in read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().as_bytes().starts_with(b".tmp-") && is_litter(&entry.path()) {
            swept += usize::from(std::fs::remove_file(entry.path()).is_ok());
        }
    }
    Ok(swept)
}

/// Whether an unfinished file is old and nobody's.
fn is_litter(path: &Path) -> bool {
    let Ok(meta) = std::fs::symlink_metadata(path) else { return false };
    let old = meta.modified().ok().and_then(|time| SystemTime::now().duration_since(time).ok());
    if !meta.is_file() || old.is_none_or(|age| age < LITTER_AGE) {
        return false;
    }
    let id = FileId::of(&meta);
    // Our own lock is invisible to us.
    if SlowPath::enter().is_none_or(|inside| is_ours(&inside, id)) {
        return false;
    }
    let open = File::options().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path);
    open.is_ok_and(|file| !life::lock_held(&Descriptor::new(file, id)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Identity, LANE_BYTES_MIN, Ring, RingOptions};

    #[test]
    fn only_whole_incarnations_make_a_sibling() {
        let digits = "0123456789abcdef0123456789abcdef";
        let check = |name: String, prefix: Option<&str>| {
            assert_eq!(ring_prefix(OsStr::new(&name)), prefix.map(str::as_bytes), "{name}");
        };
        check(format!("app.{digits}.dots"), Some("app"));
        check(format!("a.b.{digits}.dots"), Some("a.b"));
        check(format!(".{digits}.dots"), None);
        check(format!("{digits}.dots"), None);
        check(format!("app.{digits}"), None);
        check(format!("app.{}.dots", &digits[1..]), None);
        check(format!("app.{}.dots", digits.to_uppercase()), None);
        check(format!("app{digits}x.dots"), None);
    }

    #[test]
    fn a_path_is_a_directory_by_its_slash_or_by_being_one() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Place::of(dir.path()), Place::Directory(_)));
        assert!(matches!(Place::of(&dir.path().join("x")), Place::Exact(_)));
        assert!(matches!(Place::of(Path::new("x/")), Place::Directory(_)));
        assert_eq!(Place::of(Path::new("x")).directory(), Path::new("."));
    }

    #[test]
    fn a_scan_finds_rings_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let sibling = "ring.0123456789abcdef0123456789abcdef.dots";
        let replaced = "ring.0123456789abcdef0123456789abcdef.gone";
        let stub = "ring.1123456789abcdef0123456789abcdef.gone";
        for name in ["ring", "a.dots", sibling, stub, replaced, ".tmp-1", "x.gone", "ring2", ".hidden.dots"] {
            std::fs::write(dir.path().join(name), b"").unwrap();
        }
        let names = |place: Place| -> Vec<String> {
            let found = scan(&place).unwrap();
            found.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names(Place::Directory(dir.path().into())), ["a.dots", sibling, stub]);
        assert_eq!(names(Place::Exact(dir.path().join("ring"))), ["ring", sibling, stub]);
        assert!(names(Place::Directory(dir.path().join("none"))).is_empty());
    }

    #[test]
    fn where_a_dead_ring_is_removed_by_others_no_other_one_makes_room_in_its_stead() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::Directory(dir.path().into());
        let mut bytes = 0;
        let rings = ["a", "b", "c"].map(|application| {
            let options =
                RingOptions { lane_bytes: LANE_BYTES_MIN, lanes_max: 1, ..RingOptions::new(application) };
            let inside = SlowPath::enter().unwrap();
            let identity = Identity::of_this_process().unwrap();
            let path = Ring::create(&inside, &options, identity, &place, false).unwrap().path().to_owned();
            bytes += std::fs::metadata(&path).unwrap().blocks() * 512;
            path
        });
        // Asked of each in turn: by the last, the first is known to be dead.
        let asked = std::cell::Cell::new(0);
        let others = |_| {
            asked.set(asked.get() + 1);
            if asked.get() == rings.len() {
                std::fs::remove_file(&rings[0]).unwrap();
            }
            false
        };
        assert_eq!(make_room_beside(&place, bytes - 1, others).unwrap(), [""; 0].map(PathBuf::from));
        assert_eq!(scan(&place).unwrap(), rings[1..]);
    }

    #[test]
    fn a_publisher_never_waits_for_a_broker_whatever_its_ring_is_called() {
        let dir = tempfile::tempdir().unwrap();
        let (made, wait) = std::sync::mpsc::channel();
        let places = [
            (Place::Directory(dir.path().into()), "broker"),
            (Place::Exact(dir.path().join("broker")), "broker"),
            (Place::Exact(dir.path().join("x")), "x.broker"),
        ];
        for (place, ring) in places {
            let _broker = lock_broker(&place).unwrap();
            let (dir, made) = (dir.path().to_owned(), made.clone());
            std::thread::spawn(move || made.send(NameLock::take(&dir, OsStr::new(ring)).is_ok()));
            let taken = wait.recv_timeout(Duration::from_secs(60));
            assert_eq!(taken, Ok(true), "ring {ring} beside the broker of {place:?}");
        }
        assert!(dir.path().join(".x.broker.name-lock").exists());
    }

    #[test]
    fn only_old_unfinished_files_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in [".tmp-old", ".tmp-new", "old.dots"] {
            std::fs::write(path(name), b"").unwrap();
        }
        let past = SystemTime::now() - Duration::from_secs(120);
        for name in [".tmp-old", "old.dots"] {
            File::options().write(true).open(path(name)).unwrap().set_modified(past).unwrap();
        }
        assert_eq!(sweep_litter(&Place::Directory(dir.path().into())).unwrap(), 1);
        assert!(!path(".tmp-old").exists());
        assert!(path(".tmp-new").exists());
        assert!(path("old.dots").exists());
    }
}
