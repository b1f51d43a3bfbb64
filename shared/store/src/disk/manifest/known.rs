//! The list as this process left it: whoever commits again need not read all of it again.
//!
//! Always true: it is used only under MANIFEST.lock, and only where the files hold the edits that it was made from.
//! Where both files are as this process left them, their bytes are not read again for [`TRUSTED_FOR`]: whoever commits
//! changes the published words, and whoever dies before that leaves bytes behind them. Both are looked at, so nothing
//! depends on how fine the times of files are; these tell of changes that are no commit.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::copies::{has_more, paths};
use super::list::{Place, writable};
use crate::disk::layout::Layout;
use crate::disk::log::{read_published, this_boot};
use crate::error::Error;
use crate::format::log::header::Published;
use crate::format::manifest::Manifest;

/// For how long files that nobody has changed are not read again: a disk that forgets changes no time.
const TRUSTED_FOR: Duration = Duration::from_secs(10);

static KNOWN: Mutex<Option<Arc<Known>>> = Mutex::new(None);

/// Tells the edits of a list apart from all others: a digest of their numbers and checksums, from the base on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digest(u64);

impl Digest {
    /// With one more edit.
    pub(super) fn with(self, number: u64, checksum: u32) -> Digest {
        let edit = number.rotate_left(32) ^ u64::from(checksum);
        // Odd, so that no two edits that differ come to the same.
        Digest((self.0 ^ edit).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29))
    }
}

/// A list, and the files in which it stands.
pub(super) struct Known {
    pub(super) manifest: Manifest,
    /// Of its edits.
    pub(super) digest: Digest,
    /// The number of both files.
    pub(super) number: u64,
    base_until: u64,
    until: u64,
    boot: [u8; 16],
    files: [Left; 2],
    /// When all bytes were read last.
    read: Instant,
}

/// A file as it was left.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    device: u64,
    inode: u64,
    bytes: u64,
    /// Seconds and nanoseconds of the last change of the bytes, then of anything.
    times: [(i64, i64); 2],
}

impl Left {
    fn of(meta: &Metadata) -> Left {
        Left {
            device: meta.dev(),
            inode: meta.ino(),
            bytes: meta.len(),
            times: [(meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec())],
        }
    }
}

/// What this process left last; of one store.
pub(super) fn last() -> Option<Arc<Known>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Remembers a list that stands in both files.
///
/// - `read`: when all bytes were read last
pub(super) fn remember(manifest: &Manifest, digest: Digest, place: &Place, read: Instant) {
    let known = Known::of(manifest, digest, place, read).map(Arc::new);
    *KNOWN.lock().unwrap_or_else(PoisonError::into_inner) = known;
}

/// Forgets it.
pub(super) fn forget() {
    *KNOWN.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

impl Known {
    fn of(manifest: &Manifest, digest: Digest, place: &Place, read: Instant) -> Option<Known> {
        let left = |(_, file): &(PathBuf, File)| file.metadata().ok().map(|meta| Left::of(&meta));
        let [first, second] = &place.files;
        let files = [left(first)?, left(second)?];
        let Place { number, base_until, until, .. } = *place;
        Some(Known {
            manifest: manifest.clone(),
            digest,
            number,
            base_until,
            until,
            boot: this_boot(),
            files,
            read,
        })
    }

    /// Both files, where they are as they were left.
    ///
    /// - `now`: the time
    ///
    /// # Errors
    ///
    /// The system's.
    pub(super) fn place(&self, layout: &Layout, now: Instant) -> Result<Option<(Place, Instant)>, Error> {
        if now.saturating_duration_since(self.read) > TRUSTED_FOR || self.boot != this_boot() {
            return Ok(None);
        }
        let [first, second] = paths(layout);
        let (Some(first), Some(second)) = (self.file(first, 0)?, self.file(second, 1)?) else {
            return Ok(None);
        };
        let Known { number, base_until, until, .. } = *self;
        Ok(Some((Place { files: [first, second], number, base_until, until }, self.read)))
    }

    fn file(&self, path: PathBuf, which: usize) -> Result<Option<(PathBuf, File)>, Error> {
        let file = match writable(&path) {
            Err(error) if error.is_not_found() => return Ok(None),
            other => other?,
        };
        let left = Left::of(&file.metadata().map_err(Error::io("look at", &path))?);
        let expected = Published { bytes: self.until, sequence: self.manifest.generation, boot: self.boot };
        let is_left = left == self.files[which]
            && read_published(&file, &path)?.is_some_and(|published| published == expected)
            && !(self.until < left.bytes && has_more(&file, self.until));
        Ok(is_left.then_some((path, file)))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::FileExt;
    use std::path::Path;

    use dotter_dot::Timestamp;

    use super::super::copies::fold_on;
    use super::super::list::{List, read_copies};
    use super::super::{change, make, read};
    use super::*;
    use crate::disk;
    use crate::disk::quick::Quick;
    use crate::format::tombstone::tests::tombstone;

    fn layout(dir: &Path) -> Layout {
        disk::on(Arc::new(Quick), || Layout::new(dir))
    }

    fn delete(layout: &Layout, name: &str) {
        let delete = |list: &mut Manifest| {
            list.tombstones.push(tombstone(name, ("", None), (0, 9), list.generation));
            Ok(())
        };
        change(layout, delete).unwrap();
    }

    /// A store of two deletes, and what is known of it.
    fn store(dir: &Path) -> (Layout, Known) {
        let layout = layout(dir);
        make(&layout, Timestamp::from_nanos(1)).unwrap();
        delete(&layout, "a");
        delete(&layout, "b");
        let known = known(&layout);
        (layout, known)
    }

    fn known(layout: &Layout) -> Known {
        let list = List::open(layout).unwrap();
        Known::of(&list.manifest, list.digest, list.place.as_ref().unwrap(), list.read).unwrap()
    }

    fn is_left(known: &Known, layout: &Layout) -> bool {
        known.place(layout, known.read).unwrap().is_some()
    }

    /// As if the times of files told nothing.
    fn forget_times(known: &mut Known, layout: &Layout) {
        known.files = paths(layout).map(|path| Left::of(&fs::metadata(path).unwrap()));
    }

    #[test]
    fn files_are_as_they_were_left_until_somebody_changes_one_or_time_has_passed() {
        let dir = tempfile::tempdir().unwrap();
        let (layout, known_then) = store(dir.path());
        assert!(is_left(&known_then, &layout));
        let later = known_then.read + TRUSTED_FOR;
        assert!(known_then.place(&layout, later).unwrap().is_some());
        assert!(known_then.place(&layout, later + Duration::from_nanos(1)).unwrap().is_none());
        assert!(disk::in_boot([7; 16], || !is_left(&known_then, &layout)));
        delete(&layout, "c");
        assert!(!is_left(&known_then, &layout));
        for path in paths(&layout) {
            let known = known(&layout);
            assert!(is_left(&known, &layout));
            let file = writable(&path).unwrap();
            file.set_modified(std::time::UNIX_EPOCH).unwrap();
            assert!(!is_left(&known, &layout), "{}", path.display());
        }
    }

    #[test]
    fn a_commit_that_came_between_is_seen_whatever_times_the_files_have() {
        let dir = tempfile::tempdir().unwrap();
        let (layout, mut known_then) = store(dir.path());
        forget_times(&mut known_then, &layout);
        assert!(is_left(&known_then, &layout));
        delete(&layout, "c");
        forget_times(&mut known_then, &layout);
        assert!(!is_left(&known_then, &layout));
        // Its process died before it published anything.
        for path in paths(&layout) {
            let mut known = known(&layout);
            writable(&path).unwrap().write_all_at(b"DFRM", known.until).unwrap();
            forget_times(&mut known, &layout);
            assert!(!is_left(&known, &layout), "{}", path.display());
            writable(&path).unwrap().write_all_at(&[0; 4], known.until).unwrap();
        }
    }

    #[test]
    fn a_copy_of_a_store_that_went_on_by_itself_is_another_list() {
        let dir = tempfile::tempdir().unwrap();
        let (one, _) = store(&dir.path().join("one"));
        let other = layout(&dir.path().join("other"));
        other.create().unwrap();
        paths(&one).iter().zip(paths(&other)).for_each(|(from, to)| _ = fs::copy(from, to).unwrap());
        delete(&one, "c");
        delete(&other, "d");
        delete(&other, "e");
        let (known, copies) = (known(&one), read_copies(&other, true).unwrap());
        let found = fold_on(&copies, Some(&known)).manifest;
        assert!(found.says_what(&read(&other).unwrap()), "{found:?}");
        let copies = read_copies(&one, true).unwrap();
        assert!(fold_on(&copies, Some(&known)).manifest.says_what(&known.manifest));
    }
}
