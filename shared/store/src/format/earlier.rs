//! Times that a chunk has in common with an earlier chunk of its segment.
//!
//! Series that are written together have dots at the same times. The times column of such a chunk is a reference to a
//! chunk in front of it. Always true: both have the same count of dots, and the times of the earlier chunk are stored
//! in it, so nobody follows more than one reference. Bytes: FORMAT.md, "Times".

use dotter_dot::put_varint;

use crate::format::bytes::Fields;
use crate::format::codec::{DOTS_MAX, times};

/// Enough bytes of a chunk for [`Front::take`].
pub(crate) const FRONT_BYTES: usize = 4 + 10 + 1 + 1 + 10;

/// Where the times of a chunk are, in place of the times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Reference {
    /// Bytes from the beginning of the earlier chunk to the beginning of this one.
    pub(crate) distance: u64,
    /// Of the times column of the earlier chunk, from its tag on.
    pub(crate) checksum: u32,
}

impl Reference {
    /// A times column that is this reference.
    pub(crate) fn column(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, self.distance);
        bytes.extend_from_slice(&self.checksum.to_le_bytes());
        let mut column = vec![times::EARLIER];
        put_varint(&mut column, bytes.len() as u64);
        column.extend_from_slice(&bytes);
        column
    }

    /// Reads the bytes of a times column whose tag is [`times::EARLIER`].
    pub(crate) fn take(bytes: &[u8]) -> Option<Reference> {
        let mut fields = Fields(bytes);
        let distance = fields.varint()?;
        let checksum = u32::from_le_bytes(fields.array()?);
        fields.0.is_empty().then_some(Reference { distance, checksum })
    }
}

/// What stands in a chunk before the bytes of its times column. Nothing of it is checked but that it makes sense.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Front {
    pub(crate) count: usize,
    /// Tag of the times column.
    pub(crate) tag: u8,
    /// Offset in the chunk of the times column: of its tag.
    pub(crate) column: usize,
    /// Offset of its bytes.
    pub(crate) bytes: usize,
    /// Offset of what comes behind it.
    pub(crate) end: usize,
}

impl Front {
    /// - `chunk`: a chunk, or at least its first [`FRONT_BYTES`] bytes
    pub(crate) fn take(chunk: &[u8]) -> Option<Front> {
        let mut fields = Fields(chunk);
        fields.bytes(4)?;
        let count = fields.number().filter(|count| (1..=DOTS_MAX).contains(count))?;
        fields.byte()?;
        let column = chunk.len() - fields.0.len();
        let tag = fields.byte()?;
        let length: usize = fields.number()?;
        let bytes = chunk.len() - fields.0.len();
        Some(Front { count, tag, column, bytes, end: bytes.checked_add(length)? })
    }
}
