//! Telling a directory of Sonnerie's from a store.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use crate::error::Error;

/// What every file of Sonnerie's begins with, unless it is empty.
///
/// Source: Sonnerie's file_format.md.
const MAGIC: &[u8] = b"@TSDB_SEGMENT_";

/// # Errors
///
/// [`Error::Sonnerie`] where `dir` holds a database of Sonnerie's and no store.
pub(crate) fn check(dir: &Path) -> Result<(), Error> {
    let is_store = ["MANIFEST", "MANIFEST.2"].iter().any(|name| dir.join(name).exists());
    if !is_store && is_sonnerie(dir) { Err(Error::Sonnerie(dir.to_owned())) } else { Ok(()) }
}

fn is_sonnerie(dir: &Path) -> bool {
    let Ok(entries) = fs::read_dir(dir) else { return false };
    let is_one = |name: &str| name == "main" || name.starts_with("tx.");
    entries
        .flatten()
        .any(|entry| entry.file_name().to_str().is_some_and(is_one) && is_empty_or_segment(&entry.path()))
}

fn is_empty_or_segment(path: &Path) -> bool {
    // Anything but a plain file could block.
    if !fs::metadata(path).is_ok_and(|metadata| metadata.is_file()) {
        return false;
    }
    let Ok(file) = File::open(path) else { return false };
    let mut start = Vec::new();
    let read = file.take(MAGIC.len() as u64).read_to_end(&mut start);
    read.is_ok() && (start.is_empty() || start == MAGIC)
}
