//! Stores of version 0, which this build does not read: named, and left as they are.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::disk::layout::Layout;
use crate::error::Error;
use crate::format::bytes::u32_at;
use crate::format::log::header::VERSION;

/// Refuses a store of another version, before anything else touches it.
///
/// # Errors
///
/// [`Error::OtherStore`].
pub(crate) fn refuse(layout: &Layout) -> Result<(), Error> {
    let mut other = None;
    // MANIFEST.old is of version 0 alone, and stays where MANIFEST is damaged or gone.
    for path in [layout.manifest(), layout.manifest_copy(), layout.dir.join("MANIFEST.old")] {
        let mut bytes = [0; 48];
        // Those of version 0 have fewer bytes before their fields.
        let read = File::open(&path).and_then(|file| file.read_exact_at(&mut bytes, 0));
        if read.is_err() || &bytes[..8] != b"DOTTRMAN" {
            continue;
        }
        let version = u32_at(&bytes, 8);
        if version == VERSION {
            // What the other file says of its version is damage then.
            return Ok(());
        }
        other = other.or(Some(version));
    }
    match other {
        Some(found) => Err(Error::OtherStore { dir: layout.dir.clone(), found, reads: VERSION }),
        None => Ok(()),
    }
}
