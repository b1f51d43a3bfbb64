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

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use dotter_dot::Column;
    use proptest::prelude::*;

    use super::*;
    use crate::format::chunk::{decode, encode, encode_again, front_bytes, times_column};
    use crate::format::codec::Span;
    use crate::trial::{SHAPES, push, shape};

    /// Of a chunk that is no part of a segment.
    fn none(_: Reference, _: usize) -> Result<Rc<Vec<u64>>, String> {
        Err("no chunk is before this one".to_owned())
    }

    proptest! {
        #[test]
        fn times_of_an_earlier_chunk_come_back_whole_and_in_parts(
            mut times in prop::collection::vec(any::<u64>(), 1..200),
            number in 0..SHAPES,
            distance in any::<u64>(),
            ends in any::<[prop::sample::Index; 2]>(),
        ) {
            times.sort_unstable();
            let (mut run, column) = (Column::default(), times_column(&times));
            times.iter().for_each(|time| push(&mut run, number, *time, time % 1000));
            let reference = Reference { distance, checksum: crc32c::crc32c(&column) };
            let mut whole = Vec::new();
            encode(&run, 0..run.len(), &shape(number), true, &column, &mut whole);
            let mut bytes = Vec::new();
            encode(&run, 0..run.len(), &shape(number), true, &reference.column(), &mut bytes);
            let earlier = |found, count| {
                assert_eq!((found, count), (reference, times.len()));
                Ok(Rc::new(times.clone()))
            };
            let [from, until] = ends.map(|end| times[end.index(times.len())]);
            for span in [Span::default(), Span { from, until: None }, Span { from, until: Some(until) }] {
                let [mut found, mut expected] = [Column::default(), Column::default()];
                decode(&bytes, &shape(number), true, span, &earlier, None, &mut found).unwrap();
                decode(&whole, &shape(number), true, span, &none, None, &mut expected).unwrap();
                prop_assert_eq!(found, expected);
            }
            let mut out = Column::default();
            prop_assert!(decode(&bytes, &shape(number), true, Span::default(), &none, None, &mut out).is_err());
            let fewer = |_, count: usize| Ok(Rc::new(times[..count - 1].to_vec()));
            prop_assert!(decode(&bytes, &shape(number), true, Span::default(), &fewer, None, &mut out).is_err());
            prop_assert!(out.is_empty());
            // And with its own times again.
            let front = Front::take(&bytes).unwrap();
            prop_assert_eq!(front_bytes(times.len()), front.column);
            let mut again = Vec::new();
            encode_again(&bytes, &front, &column, &mut again);
            prop_assert_eq!(again, whole);
        }

        #[test]
        fn rubbish_is_no_reference_and_no_front_or_one_of_the_same_bytes(
            bytes in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            if let Some(reference) = Reference::take(&bytes) {
                prop_assert_eq!(Reference::take(&reference.column()[2..]), Some(reference));
            }
            if let Some(front) = Front::take(&bytes) {
                prop_assert!(front.column < front.bytes && front.bytes <= front.end);
                prop_assert!(front.bytes <= FRONT_BYTES.min(bytes.len()));
            }
        }
    }
}
