//! A log as a file: opened for reading, its header read, and published to.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use nix::libc::{O_CLOEXEC, O_NOFOLLOW};

use crate::disk::{Disk, steps};
use crate::error::Error;
use crate::format::clock::Machine;
use crate::format::log::header::{FIXED_BYTES, Header, LogKind, PUBLISHED_AT, PUBLISHED_BYTES, Published};

/// How often words that are just being rewritten are read again.
const TRIES_MAX: u32 = 100;

impl Published {
    /// Writes the words to the header of a file.
    pub(crate) fn publish(&self, disk: &dyn Disk, file: &File, path: &Path) -> std::io::Result<()> {
        disk.write(file, path, &self.encode(), PUBLISHED_AT)
    }
}

/// Which boot of this machine this is; zeros where the system does not say.
pub(crate) fn this_boot() -> [u8; 16] {
    static BOOT: OnceLock<[u8; 16]> = OnceLock::new();
    let system = || *BOOT.get_or_init(|| Machine::now().map(|machine| machine.boot).unwrap_or_default());
    steps::pretended_boot().unwrap_or_else(system)
}

/// Opens a log for reading.
pub(crate) fn open(path: &Path) -> Result<File, Error> {
    File::options()
        .read(true)
        .custom_flags(O_NOFOLLOW | O_CLOEXEC)
        .open(path)
        .map_err(Error::io("open", path))
}

/// The part of a header that was written once.
///
/// # Errors
///
/// [`Error::Damaged`] where there is none, or where the file ends before it does; [`Error::Version`].
pub(crate) fn read_header(kind: LogKind, file: &File, path: &Path) -> Result<Header, Error> {
    match read_part::<FIXED_BYTES>(file, path, 0)? {
        Some(bytes) => Header::decode(kind, &bytes, path),
        None => Err(Error::damaged(path, 0, "too few bytes for a header")),
    }
}

/// How far a file is published; `None` where the words do not match their checksum, as in the moment they are being
/// rewritten, or where the file ends before them.
pub(crate) fn read_published(file: &File, path: &Path) -> Result<Option<Published>, Error> {
    Ok(read_part(file, path, PUBLISHED_AT)?
        .and_then(|bytes: [u8; PUBLISHED_BYTES]| Published::decode(&bytes)))
}

/// As [`read_published`], but waits while the words are being rewritten; `None` where they stay damaged.
pub(crate) fn read_published_surely(file: &File, path: &Path) -> Result<Option<Published>, Error> {
    for _ in 0..TRIES_MAX {
        let Some(bytes) = read_part(file, path, PUBLISHED_AT)? else { return Ok(None) };
        if let Some(published) = Published::decode(&bytes) {
            return Ok(Some(published));
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    Ok(None)
}

/// Some bytes of the header; `None` where the file ends before them.
fn read_part<const BYTES: usize>(file: &File, path: &Path, at: u64) -> Result<Option<[u8; BYTES]>, Error> {
    let mut bytes = [0; BYTES];
    match file.read_exact_at(&mut bytes, at) {
        Ok(()) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(Error::io("read the header of", path)(error)),
    }
}
