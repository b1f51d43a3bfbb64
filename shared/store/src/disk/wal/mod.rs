//! The write-ahead log: what a crash must not take.
//!
//! Always true on disk:
//!
//! - a frame counts whole or not at all, and everything before the synced position has been through fdatasync
//! - of a file that a later header has measured, nothing beyond that length counts, ever
//! - file ids and sequences only grow, and no file takes the place of another
//!
//! Bytes: FORMAT.md, "WAL file".

mod files;
mod log;

pub(crate) use files::{Counts, LogFile, LogStart, all_files, file_behind, files, is_foreign};
pub(crate) use log::{FILE_BYTES, Log, create};
