//! Refusing stores of another version: the error names the version, and no file is changed.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::disk::layout::Layout;
use crate::error::Error;
use crate::format::bytes::u32_at;
use crate::format::log::header::VERSION;

/// Whether a file is a list of another version.
pub(crate) fn is_other(file: &File) -> bool {
    let mut bytes = [0; 12];
    let read = file.read_exact_at(&mut bytes, 0);
    read.is_ok() && &bytes[..8] == b"DOTTRMAN" && u32_at(&bytes, 8) != VERSION
}

/// Refuses a store of another version. Called before any lock is taken and before any file is changed.
///
/// # Errors
///
/// [`Error::OtherStore`].
pub(crate) fn refuse(layout: &Layout) -> Result<(), Error> {
    let mut other = None;
    // Only version 0 has MANIFEST.old. It tells the version where MANIFEST is damaged or missing.
    for path in [layout.manifest(), layout.manifest_copy(), layout.dir.join("MANIFEST.old")] {
        let mut bytes = [0; 48];
        // 48 bytes are the header of version 0; those of later versions are longer.
        let read = File::open(&path).and_then(|file| file.read_exact_at(&mut bytes, 0));
        if read.is_err() || &bytes[..8] != b"DOTTRMAN" {
            continue;
        }
        let version = u32_at(&bytes, 8);
        if version == VERSION {
            // One file of this version is enough: another version in the other file is damage.
            return Ok(());
        }
        other = other.or(Some(version));
    }
    match other {
        Some(found) => Err(Error::OtherStore { dir: layout.dir.clone(), found, reads: VERSION }),
        None => Ok(()),
    }
}
