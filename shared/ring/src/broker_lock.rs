//! Which broker reads where: no ring is ever read by two.
//!
//! Two brokers that post to two collectors would each remove rings of which the other has posted nothing.
//!
//! Always true, in whatever order brokers start:
//!
//! - the broker of a directory holds `.broker.lock` alone
//! - a broker of an exact name holds `.broker.lock` together with others of its kind, and `.NAME.broker.lock` alone
//! - where NAME is `PREFIX.INCARNATION.dots`, which the broker of the exact name PREFIX reads too, it holds
//!   `.PREFIX.broker.lock` together with others of its kind
//!
//! All of them are flocks: the system frees them when the process ends, however it ends. Directories are told apart
//! by the lock files in them, not by their paths: a symbolic link leads to the same file. A lock that is held alone
//! has the number of the process in it, for the message to whoever comes second. Publishers never take these locks.

use std::ffi::OsStr;
use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::directory::{Place, lock_path, ring_prefix, stub_prefix};
use crate::error::Error;
use crate::life::FileId;

/// No number of a process is longer.
const PROCESS_BYTES_MAX: u64 = 16;

/// Says that one broker reads here; falls with it.
#[derive(Debug)]
pub struct BrokerLock {
    held: Vec<Held>,
}

impl BrokerLock {
    /// Whether the lock files are still where they were when the locks were taken. Where they are not, because the
    /// directory was removed or another one has its name, the lock says nothing about the place any more.
    pub fn is_current(&self) -> bool {
        self.held.iter().all(|held| file_at(&held.path) == Some(held.id))
    }
}

/// One lock file, locked.
#[derive(Debug)]
struct Held {
    path: PathBuf,
    id: FileId,
    /// Closing it frees the lock.
    _file: File,
}

/// Whether a lock may have other holders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    Alone,
    Together,
}

/// Makes this process the one broker of a place: of all rings in a directory, or of one exact name.
///
/// Nothing is waited for.
///
/// # Errors
///
/// [`Error::Broker`] where there is one already, [`Error::Io`] where a lock file can be neither opened nor made.
pub fn lock_broker(place: &Place) -> Result<BrokerLock, Error> {
    let held =
        locks_of(place).into_iter().map(|(path, share)| take(path, share)).collect::<Result<_, _>>()?;
    Ok(BrokerLock { held })
}

/// The lock files of a place, and how each is held.
fn locks_of(place: &Place) -> Vec<(PathBuf, Share)> {
    let dir = place.directory();
    let of_directory = dir.join(".broker.lock");
    let Some(name) = place.name() else { return vec![(of_directory, Share::Alone)] };
    let of_name = |name: &OsStr| lock_path(dir, name, ".broker.lock");
    let mut locks = vec![(of_directory, Share::Together)];
    if let Some(prefix) = ring_prefix(name).or_else(|| stub_prefix(name)) {
        locks.push((of_name(OsStr::from_bytes(prefix)), Share::Together));
    }
    locks.push((of_name(name), Share::Alone));
    locks
}

fn take(path: PathBuf, share: Share) -> Result<Held, Error> {
    loop {
        let file = open(&path).map_err(Error::io("cannot open lock", &path))?;
        let locked = match share {
            Share::Alone => file.try_lock(),
            Share::Together => file.try_lock_shared(),
        };
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(refused(path, &file, share)),
            Err(TryLockError::Error(error)) => return Err(Error::io("cannot take lock", &path)(error)),
        }
        let id = FileId::of(&file.metadata().map_err(Error::io("cannot look at lock", &path))?);
        // A file that lost its name before it was locked is nobody else's lock.
        if file_at(&path) != Some(id) {
            continue;
        }
        if share == Share::Alone {
            // Only the message to whoever comes second is poorer without it.
            let _ = note_process(&file);
        }
        return Ok(Held { path, id, _file: file });
    }
}

/// Opens a lock file, making it where it is missing. Lock files are never removed.
///
/// It may be another user's, made by a broker of theirs: to hold it, it is enough to read it.
fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    loop {
        let found = match options.clone().write(true).open(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => options.open(path),
            found => found,
        };
        match found {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => return found,
        }
        match options.clone().write(true).create_new(true).mode(mode_in(path.parent())).open(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made,
        }
    }
}

/// Who may hold a lock that is made: whoever could have made it first.
fn mode_in(dir: Option<&Path>) -> u32 {
    let for_anybody =
        dir.and_then(|dir| std::fs::metadata(dir).ok()).is_some_and(|meta| meta.mode() & 0o002 != 0);
    if for_anybody { 0o644 } else { 0o640 }
}

fn note_process(mut file: &File) -> io::Result<()> {
    file.set_len(0)?;
    file.write_all(format!("{}\n", std::process::id()).as_bytes())
}

/// Says who holds a lock, as far as that can be known.
fn refused(path: PathBuf, file: &File, wanted: Share) -> Error {
    // Where it can be held together with others, those who hold it now do so too.
    let together = wanted == Share::Alone && file.try_lock_shared().is_ok();
    // What is in it was written by the last to hold it alone.
    let mut text = String::new();
    let read = file.take(PROCESS_BYTES_MAX).read_to_string(&mut text);
    let process = read.ok().filter(|_| !together).and_then(|_| text.trim().parse().ok());
    Error::Broker { path, together, process }
}

/// Which file a name leads to.
fn file_at(path: &Path) -> Option<FileId> {
    std::fs::symlink_metadata(path).ok().map(|meta| FileId::of(&meta))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(place: &Place) -> bool {
        match lock_broker(place) {
            Ok(_) => false,
            Err(Error::Broker { .. }) => true,
            Err(error) => panic!("{place:?}: {error}"),
        }
    }

    #[test]
    fn a_second_broker_is_refused_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        for place in [Place::Directory(dir.path().into()), Place::Exact(dir.path().join("ring"))] {
            let first = lock_broker(&place).unwrap();
            assert!(is_refused(&place));
            drop(first);
            lock_broker(&place).unwrap();
        }
    }

    #[test]
    fn two_places_that_share_a_ring_exclude_each_other_and_others_do_not() {
        let sibling = "ring.0123456789abcdef0123456789abcdef.dots";
        let stub = "ring.0123456789abcdef0123456789abcdef.gone";
        // The directory itself is the empty name.
        for (one, other, exclude) in [
            ("", "", true),
            ("", "ring", true),
            ("", sibling, true),
            ("ring", "ring", true),
            ("ring", sibling, true),
            ("ring", stub, true),
            (sibling, sibling, true),
            ("ring", "ring2", false),
            ("ring2", sibling, false),
            (sibling, "ring.1123456789abcdef0123456789abcdef.dots", false),
        ] {
            for (first, second) in [(one, other), (other, one)] {
                let dir = tempfile::tempdir().unwrap();
                let place = |name: &str| match name {
                    "" => Place::Directory(dir.path().into()),
                    name => Place::Exact(dir.path().join(name)),
                };
                let lock = lock_broker(&place(first)).unwrap();
                assert_eq!(is_refused(&place(second)), exclude, "'{first}', then '{second}'");
                drop(lock);
                assert!(!is_refused(&place(second)), "'{second}', with '{first}' gone");
            }
        }
    }

    #[test]
    fn a_directory_is_known_again_by_any_path_to_it() {
        let top = tempfile::tempdir().unwrap();
        let dir = top.path().join("rings");
        std::fs::create_dir(&dir).unwrap();
        std::os::unix::fs::symlink(&dir, top.path().join("link")).unwrap();
        let _lock = lock_broker(&Place::of(&dir)).unwrap();
        for path in
            ["link", "link/", "rings/.", "rings/../rings", "link/ring", "rings/./ring", "rings/../link/ring"]
        {
            assert!(is_refused(&Place::of(&top.path().join(path))), "{path}");
        }
    }

    #[test]
    fn who_holds_a_lock_is_said_as_far_as_it_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let (all, one) = (Place::Directory(dir.path().into()), Place::Exact(dir.path().join("ring")));
        let check = |place: &Place, expected: (bool, Option<u32>)| {
            let error = lock_broker(place).unwrap_err();
            let Error::Broker { together, process, .. } = error else { panic!("{error}") };
            assert_eq!((together, process), expected, "{place:?}");
        };
        let us = Some(std::process::id());
        let lock = lock_broker(&all).unwrap();
        check(&all, (false, us));
        check(&one, (false, us));
        drop(lock);
        let _lock = lock_broker(&one).unwrap();
        check(&one, (false, us));
        // The number in the file is that of the broker before.
        check(&all, (true, None));
        std::fs::write(dir.path().join(".ring.broker.lock"), "x".repeat(1 << 20)).unwrap();
        check(&one, (false, None));
    }

    #[test]
    fn a_lock_whose_file_is_gone_is_not_current() {
        let top = tempfile::tempdir().unwrap();
        let dir = top.path().join("rings");
        let place = Place::Exact(dir.join("ring"));
        std::fs::create_dir(&dir).unwrap();
        let lock = lock_broker(&place).unwrap();
        assert!(lock.is_current());
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(!lock.is_current());
        std::fs::create_dir(&dir).unwrap();
        let other = lock_broker(&Place::Directory(dir)).unwrap();
        assert!(other.is_current() && !lock.is_current());
    }

    #[test]
    fn where_no_lock_file_can_be_made_nobody_is_the_broker() {
        for name in [".broker.lock", ".ring.broker.lock"] {
            let dir = tempfile::tempdir().unwrap();
            // A link is not followed: it could lead to a file of somebody else's.
            std::os::unix::fs::symlink("elsewhere", dir.path().join(name)).unwrap();
            let found = lock_broker(&Place::Exact(dir.path().join("ring")));
            assert!(
                matches!(&found, Err(Error::Io { path, .. }) if path.ends_with(name)),
                "{name}: {found:?}"
            );
            assert!(!dir.path().join("elsewhere").exists());
        }
    }

    #[test]
    fn where_anybody_may_make_files_anybody_may_hold_the_lock() {
        for (mode, expected) in [(0o1777, 0o644), (0o750, 0o640)] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
            drop(lock_broker(&Place::Exact(dir.path().join("ring"))).unwrap());
            let found = std::fs::metadata(dir.path().join(".broker.lock")).unwrap().mode() & 0o777;
            // Whoever runs this may have asked for less.
            assert_eq!(found & !0o044, expected & !0o044, "{mode:o}");
            assert_eq!(found & !expected, 0, "{mode:o}");
        }
    }
}
