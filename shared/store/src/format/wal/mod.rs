//! The bytes of a WAL file: header, frames, what is in them, and what they do to the ledger.
//!
//! Bytes: FORMAT.md, "WAL file".

pub(crate) mod fold;
pub(crate) mod frame;
pub(crate) mod groups;
pub(crate) mod header;
pub(crate) mod names;
pub(crate) mod payload;

pub(crate) use fold::{Applied, apply, count_by_id, count_dots, frames, open_account};
#[cfg(fuzzing)]
pub(crate) use frame::push_raw;
pub(crate) use frame::{Frame, Item, Items};
pub(crate) use groups::{DotGroups, Grouping};
pub(crate) use header::{HEADER_BYTES, Synced};
pub(crate) use names::{ById, Declared, Names};
pub(crate) use payload::FinishFrame;
