//! Segments: immutable files of chunks, mapped by any process, replaced only by other segments.

pub(crate) mod entry;
pub(crate) mod keys;
pub(crate) mod shared;
pub(crate) mod tail;

pub(crate) use entry::ChunkRef;
pub(crate) use tail::{Meta, Tail};
