//! Names files: what the ids of an id epoch mean that no live WAL file declares any more.
//!
//! Always true of a names file: each id stands in it once, ids ascend, and an id means in it what it means in the log.
//!
//! Bytes: FORMAT.md, "Names file".

mod block;
mod listing;
mod tail;

pub(crate) use block::{Encoder, walk};
pub(crate) use listing::NamesEntry;
pub(crate) use tail::{BlockRef, HEADER_BYTES, Index, TAIL_BYTES, Tail, header};
