//! The write-ahead log: what a crash must not take.
//!
//! Always true on disk:
//!
//! - a frame counts whole or not at all, and everything before the synced position has been through fdatasync
//! - of a file that a later header has measured, nothing beyond that length counts, ever
//! - file ids and sequences only grow, and no file takes the place of another
//!
//! Bytes: FORMAT.md, "WAL file".

mod frame;
mod groups;
mod header;
mod log;
mod names;
mod payload;
mod replay;

#[cfg(fuzzing)]
pub(crate) use frame::push_raw;
pub(crate) use frame::{Frame, Item, Items};
pub(crate) use groups::{DotGroups, Grouping};
pub(crate) use header::{HEADER_BYTES, Synced};
pub(crate) use log::{FILE_BYTES, Log};
pub(crate) use names::{ById, Declared, Names};
pub(crate) use payload::FinishFrame;
pub(crate) use replay::{
    Applied, LogFile, all_files, apply, count_by_id, count_dots, file_behind, files, frames, is_foreign,
    last_synced_sequence,
};
