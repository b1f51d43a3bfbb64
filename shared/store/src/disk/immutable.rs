//! Finishing a file that never changes once it is listed: a segment, a names file.

use std::fs::Permissions;
use std::os::unix::fs::{FileExt, PermissionsExt};

use crate::disk::layout::{Folder, Layout, NewFile, TRIES_MAX};
use crate::error::Error;
use crate::format::listing::words_and_number;

/// How many bytes are copied at once.
const COPY_BYTES: usize = 256 << 10;

/// Writes the tail of a file in `seg/`, makes the file read-only and syncs it. Where its name was removed or means
/// another file by now, a copy under another number takes its place.
///
/// - `written`: bytes before the tail
/// - `tail`: gives the tail of a file with this number
///
/// # Errors
///
/// The system's, and one of kind `InvalidData` where another process has changed the file while it was made.
pub(crate) fn finish(
    layout: &Layout,
    mut new: NewFile,
    written: u64,
    mut tail: impl FnMut(u64) -> Vec<u8>,
) -> Result<NewFile, Error> {
    let disk = &layout.disk;
    for _ in 0..TRIES_MAX {
        new.check_length(written).map_err(Error::io("write", &new.path))?;
        disk.write(&new.file, &new.path, &tail(new.number), written)
            .map_err(Error::io("write", &new.path))?;
        new.file
            .set_permissions(Permissions::from_mode(0o400))
            .map_err(Error::io("set the mode of", &new.path))?;
        disk.sync_all(&new.file, &new.path).map_err(Error::io("sync", &new.path))?;
        if new.is_there() {
            return Ok(new);
        }
        new = copy(layout, &new, written)?;
    }
    Err(new.lost())
}

/// Copies the first bytes of a file under another number.
fn copy(layout: &Layout, from: &NewFile, bytes: u64) -> Result<NewFile, Error> {
    let words = words_and_number(from.name()).expect("it was made under such a name").0;
    let new = layout.make(Folder::Seg, words)?;
    let mut buffer = vec![0; COPY_BYTES];
    let mut at = 0;
    while at < bytes {
        let part = &mut buffer[..(bytes - at).min(COPY_BYTES as u64) as usize];
        from.file.read_exact_at(part, at).map_err(Error::io("read", &from.path))?;
        layout.disk.write(&new.file, &new.path, part, at).map_err(Error::io("write", &new.path))?;
        at += part.len() as u64;
    }
    Ok(new)
}
