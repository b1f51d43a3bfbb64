//! Immutable files of chunks: written once, mapped by any process, replaced only by other segments.

mod entry;
mod reader;
mod spill;
mod tail;
mod writer;

pub(crate) use entry::ChunkRef;
#[cfg(test)]
pub(crate) use reader::CHUNKS_DECODED;
pub(crate) use reader::{Segment, names_of};
pub(crate) use tail::{Meta, Tail};
pub(crate) use writer::{SegmentWriter, Unlisted};
