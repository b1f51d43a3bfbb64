//! The file of a log, WAL file or MANIFEST: opening it, reading its header, and publishing how much of it is synced.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use nix::libc::{EIO, O_CLOEXEC, O_NOFOLLOW};

use crate::disk::{Disk, steps};
use crate::error::Error;
use crate::format::clock::Machine;
use crate::format::log::header::{FIXED_BYTES, Header, LogKind, PUBLISHED_AT, PUBLISHED_BYTES, Published};

/// What a disk gives or does not give as a whole.
const PAGE_BYTES: usize = 4096;
/// How often words that are just being rewritten are read again.
const TRIES_MAX: u32 = 100;

impl Published {
    /// Writes the published words to the header of a file.
    pub(crate) fn publish(&self, disk: &dyn Disk, file: &File, path: &Path) -> std::io::Result<()> {
        disk.write(file, path, &self.encode(), PUBLISHED_AT)
    }
}

/// The id of the current boot of this machine; zeros where the system does not say it.
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

/// Reads the part of a header that is written once.
///
/// # Errors
///
/// [`Error::Damaged`] where there is none, or where the file ends before it does; [`Error::Version`].
pub(crate) fn read_header(kind: LogKind, file: &File, path: &Path) -> Result<Header, Error> {
    match read_part::<FIXED_BYTES>(file, path, 0)? {
        Some(bytes) => Header::decode(kind, &bytes, path),
        None => Err(Error::damaged(path, 0, "too few bytes for a header, or none that can be read")),
    }
}

/// Reads the published words of a file; `None` where they do not match their checksum, as while they are being
/// rewritten, or where the file ends before them.
pub(crate) fn read_published(file: &File, path: &Path) -> Result<Option<Published>, Error> {
    Ok(read_part(file, path, PUBLISHED_AT)?
        .and_then(|bytes: [u8; PUBLISHED_BYTES]| Published::decode(&bytes)))
}

/// As [`read_published`], but reads again while the words are being rewritten; `None` where they stay damaged.
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

/// Reads a stretch of a file; what the disk cannot give any more is zeros, and so is what lies near it.
///
/// - `read`: fills bytes from a place on
pub(crate) fn read_around(
    bytes: &mut [u8],
    at: u64,
    read: impl Fn(&mut [u8], u64) -> io::Result<()>,
) -> io::Result<()> {
    match read(bytes, at) {
        Err(error) if error.raw_os_error() == Some(EIO) => {}
        other => return other,
    }
    for (index, page) in bytes.chunks_mut(PAGE_BYTES).enumerate() {
        match read(page, at + (index * PAGE_BYTES) as u64) {
            Err(error) if error.raw_os_error() == Some(EIO) => page.fill(0),
            other => other?,
        }
    }
    Ok(())
}

/// Some bytes of the header; `None` where the file ends before them, or the disk cannot give them any more.
fn read_part<const BYTES: usize>(file: &File, path: &Path, at: u64) -> Result<Option<[u8; BYTES]>, Error> {
    let mut bytes = [0; BYTES];
    match file.read_exact_at(&mut bytes, at) {
        Ok(()) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof || error.raw_os_error() == Some(EIO) => {
            Ok(None)
        }
        Err(error) => Err(Error::io("read the header of", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_cannot_be_read_costs_no_other() {
        let file: Vec<u8> = (0..5 * PAGE_BYTES + 100).map(|at| (at / PAGE_BYTES) as u8 + 1).collect();
        let read = |bytes: &mut [u8], at: u64| {
            let range = at as usize..at as usize + bytes.len();
            if range.start < 3 * PAGE_BYTES && range.end > 2 * PAGE_BYTES {
                bytes.fill(99);
                return Err(io::Error::from_raw_os_error(EIO));
            }
            bytes.copy_from_slice(&file[range]);
            Ok(())
        };
        let mut found = vec![7; 4 * PAGE_BYTES + 100];
        read_around(&mut found, PAGE_BYTES as u64, read).unwrap();
        let mut expected = file[PAGE_BYTES..].to_vec();
        expected[PAGE_BYTES..2 * PAGE_BYTES].fill(0);
        assert!(found == expected);
        let refused = |_: &mut [u8], _: u64| Err(io::Error::from(ErrorKind::PermissionDenied));
        assert!(read_around(&mut found, 0, refused).is_err());
    }
}
