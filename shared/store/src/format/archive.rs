//! A window of an archive, as the list names it.

use dotter_dot::put_varint;

use crate::format::bytes::Fields;
use crate::format::listing::{Order, SegmentEntry};
use crate::format::tombstone::Tombstone;

/// One window of one step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Archive {
    /// Width of a step, in nanoseconds.
    pub(crate) step: u64,
    /// Steps that begin from here on.
    pub(crate) from: u64,
    /// Steps that begin before.
    pub(crate) until: u64,
    /// The window was computed from every commit before this order.
    pub(crate) order: Order,
    /// The segment with its steps; `None` where there are no steps.
    pub(crate) segment: Option<SegmentEntry>,
}

impl Archive {
    /// Whether both are of one step and overlap.
    pub(crate) fn meets(&self, other: &Archive) -> bool {
        self.step == other.step && self.from < other.until && other.from < self.until
    }

    /// Whether a tombstone hides dots in this window and was committed after the window was computed.
    pub(crate) fn misses(&self, tombstone: &Tombstone) -> bool {
        let (first, last) = tombstone.span();
        tombstone.order > self.order && first < self.until && self.from <= last
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        for field in
            [self.step, self.from, self.until - self.from, self.order.sequence, self.order.generation]
        {
            put_varint(out, field);
        }
        out.push(self.segment.is_some() as u8);
        if let Some(segment) = &self.segment {
            segment.encode(out);
        }
    }

    pub(crate) fn decode(fields: &mut Fields<'_>) -> Option<Archive> {
        let (step, from) = (fields.varint().filter(|step| *step > 0)?, fields.varint()?);
        let until = from.checked_add(fields.varint()?)?;
        let order = Order { sequence: fields.varint()?, generation: fields.varint()? };
        let segment = if fields.byte()? == 1 { Some(SegmentEntry::decode(fields)?) } else { None };
        Some(Archive { step, from, until, order, segment })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_round_trips() {
        let segment = SegmentEntry {
            name: "L0-20261120T00-00000000000000c5".into(),
            dots: 5,
            ..SegmentEntry::default()
        };
        let order = Order { sequence: 7, generation: 9 };
        for segment in [None, Some(segment)] {
            let archive = Archive { step: 60, from: 120, until: 600, order, segment };
            let mut bytes = Vec::new();
            archive.encode(&mut bytes);
            assert_eq!(Archive::decode(&mut Fields(&bytes)), Some(archive));
            assert_eq!(Archive::decode(&mut Fields(&bytes[..bytes.len() - 1])), None);
        }
    }
}
