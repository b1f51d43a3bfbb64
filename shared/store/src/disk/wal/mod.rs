//! The write-ahead log on disk: writing it, and reading it back after a crash.
//!
//! Always true on disk:
//!
//! - a frame counts whole or not at all, and every byte before the published length is synced
//! - where a later header says how many bytes of a file count, the bytes beyond them never count
//! - file ids and sequences only grow, and no file takes the name of another
//! - an id epoch has the id of a file that began it, so no two epochs are the same
//!
//! Bytes: FORMAT.md, "WAL file".

mod files;
mod log;

pub(crate) use files::{
    Counts, LogFile, LogStart, all_files, file_behind, files, files_there, is_foreign, kept_file,
};
pub(crate) use log::{FILE_BYTES, Log, create};
