//! Reading and rewriting the header of a WAL file.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use nix::libc::{O_CLOEXEC, O_NOFOLLOW};

use crate::disk::Disk;
use crate::error::Error;
use crate::format::bytes::{u32_at, u64_at};
use crate::format::wal::header::{Header, SYNCED_AT, SYNCED_BYTES, Synced};

impl Synced {
    pub(crate) fn publish(&self, disk: &dyn Disk, file: &File, path: &Path) -> std::io::Result<()> {
        disk.write(file, path, &self.encode(), SYNCED_AT)
    }
}

/// Opens a WAL file for reading.
pub(crate) fn open(path: &Path) -> Result<File, Error> {
    File::options()
        .read(true)
        .custom_flags(O_NOFOLLOW | O_CLOEXEC)
        .open(path)
        .map_err(Error::io("open WAL file", path))
}

/// The part of a WAL file's header that was written once.
///
/// # Errors
///
/// [`Error::Damaged`] where there is none, or where the file ends before it does.
pub(crate) fn read_header(file: &File, path: &Path) -> Result<Header, Error> {
    match read_part::<72>(file, path, 0)? {
        Some(bytes) => Header::decode(&bytes, path),
        None => Err(Error::damaged(path, 0, "too few bytes for the header of a WAL file")),
    }
}

/// How far the writer says the file is synced; `None` where the words do not match their checksum, as in the
/// moment they are being rewritten, or where the file ends before them.
pub(crate) fn read_synced(file: &File, path: &Path) -> Result<Option<Synced>, Error> {
    let Some(bytes) = read_part::<SYNCED_BYTES>(file, path, SYNCED_AT)? else { return Ok(None) };
    let valid = crc32c::crc32c(&bytes[..16]) == u32_at(&bytes, 16);
    Ok(valid.then(|| Synced { bytes: u64_at(&bytes, 0), sequence: u64_at(&bytes, 8) }))
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
