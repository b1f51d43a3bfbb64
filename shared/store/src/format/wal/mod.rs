//! The frames of a WAL file: their payloads, and how they change the ledger.
//!
//! Bytes: FORMAT.md, "WAL file".

pub(crate) mod fold;
pub(crate) mod groups;
pub(crate) mod names;
pub(crate) mod payload;

#[cfg(any(test, fuzzing))]
pub(crate) use crate::format::log::frame::push_raw;
pub(crate) use crate::format::log::frame::{Frame, Item, Items};
pub(crate) use crate::format::log::header::HEADER_BYTES;
pub(crate) use fold::{Applied, apply, count_by_id, count_dots, frames, open_account, unknown_ids};
#[cfg(test)]
pub(crate) use groups::encode_dots;
pub(crate) use groups::{DotGroups, Grouping};
pub(crate) use names::{ById, Declared, Names};
pub(crate) use payload::FinishFrame;
