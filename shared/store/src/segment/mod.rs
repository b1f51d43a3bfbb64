//! Immutable files of chunks: written once, mapped by any process, replaced only by other segments.

mod reader;
mod tail;
mod writer;

pub(crate) use reader::{ChunkRef, Segment};
pub(crate) use tail::{Meta, Tail};
pub(crate) use writer::{SegmentWriter, Unlisted};
