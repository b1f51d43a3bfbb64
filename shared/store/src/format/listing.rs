//! How the list names a segment: file, place in the order of commits, what is in it.

use dotter_dot::{Timestamp, put_varint};

use crate::format::bytes::{Fields, put_text};

/// The name of a store: 16 random bytes, shown as 32 hex digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StoreId(pub [u8; 16]);

impl std::fmt::Display for StoreId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Where a commit stands among all others: by sequence, then by generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Order {
    /// The last WAL sequence it holds, or the last synced one it saw.
    pub(crate) sequence: u64,
    /// 0 for what came through the WAL; else the generation that listed it.
    pub(crate) generation: u64,
}

/// One live segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SegmentEntry {
    /// File name within `seg/`.
    pub(crate) name: String,
    /// Size of the file.
    pub(crate) bytes: u64,
    /// Time of its first dot.
    pub(crate) first_time: Timestamp,
    /// Time of its last dot.
    pub(crate) last_time: Timestamp,
    /// Where it stands among the commits.
    pub(crate) order: Order,
    /// How often its dots have been merged.
    pub(crate) level: u32,
    /// Dots in it.
    pub(crate) dots: u64,
    /// Series in it.
    pub(crate) series: u64,
    /// What tombstones up to this generation hide is no longer in it.
    pub(crate) purged: u64,
    /// The store it belongs to. No listing says it: that of the list.
    pub(crate) store: StoreId,
}

/// The generation that a segment's name says first listed it; `None` where the name is none of ours.
pub(crate) fn generation_in_name(name: &str) -> Option<u64> {
    let mut parts = name.strip_suffix(".seg")?.split('-');
    let (level, _hour) = (parts.next()?, parts.next()?);
    parts.next().filter(|_| level.starts_with('L'))?.parse().ok()
}

impl SegmentEntry {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.name);
        for field in [
            self.bytes,
            self.first_time.nanos(),
            self.last_time.nanos(),
            self.order.sequence,
            self.order.generation,
            self.level as u64,
            self.dots,
            self.series,
            self.purged,
        ] {
            put_varint(out, field);
        }
    }

    pub(crate) fn decode(fields: &mut Fields<'_>) -> Option<SegmentEntry> {
        Some(SegmentEntry {
            name: fields.text().filter(|name| !name.contains('/'))?.to_owned(),
            bytes: fields.varint()?,
            first_time: Timestamp::from_nanos(fields.varint()?),
            last_time: Timestamp::from_nanos(fields.varint()?),
            order: Order { sequence: fields.varint()?, generation: fields.varint()? },
            level: fields.number()?,
            dots: fields.varint()?,
            series: fields.varint()?,
            purged: fields.varint()?,
            store: StoreId::default(),
        })
    }
}
