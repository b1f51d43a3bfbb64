//! What the list keeps for those who follow the store and have not been told yet: WAL files that are sealed, segments of
//! other commits that were merged, and deletes that have nothing left to hide.
//!
//! None of it counts: no reader finds a dot there. Whoever follows the store says by a hold what it still needs.
//!
//! Always true: of every commit past the log with an edit number above [`Kept::forgotten`] there is the segment or the
//! delete, in the list or here.

use dotter_dot::put_varint;

use crate::format::bytes::Fields;
use crate::format::listing::{SegmentEntry, wal_file_name};
use crate::format::tombstone::Tombstone;

/// What is kept, and from where on it is complete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    /// WAL files that are sealed, by id.
    pub(crate) logs: Vec<KeptLog>,
    /// Segments that other processes have committed and that are merged by now, by order.
    pub(crate) segments: Vec<SegmentEntry>,
    /// Deletes and renames that have nothing left to hide, by order.
    pub(crate) deletes: Vec<Tombstone>,
    /// The number of the last edit that made a commit past the log of which nobody can be told any more, or that replaced
    /// dots by others.
    pub(crate) forgotten: u64,
}

/// A sealed WAL file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeptLog {
    /// Its id.
    pub(crate) id: u64,
    /// Its id epoch; 0 where nothing says it.
    pub(crate) epoch: u64,
    /// The sequence of the last frame before it.
    pub(crate) before: u64,
    /// The sequence of its last frame.
    pub(crate) last: u64,
    /// How many of its bytes count.
    pub(crate) bytes: u64,
}

impl KeptLog {
    /// The name of its file.
    pub(crate) fn name(&self) -> String {
        wal_file_name(self.id)
    }
}

impl Kept {
    /// Whether it keeps nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.logs.is_empty() && self.segments.is_empty() && self.deletes.is_empty()
    }

    /// The folder in which each of its files was made, and the name of the file.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&'static str, String)> {
        let logs = self.logs.iter().map(|log| ("wal", log.name()));
        logs.chain(self.segments.iter().map(|entry| ("seg", entry.name.clone())))
    }

    /// The bytes of all that it keeps.
    pub(crate) fn bytes(&self) -> u64 {
        let logs = self.logs.iter().map(|log| log.bytes);
        logs.chain(self.segments.iter().map(|entry| entry.bytes)).fold(0, u64::saturating_add)
    }

    /// Keeps nothing: whoever has followed up to an edit before `generation` has to begin anew.
    pub(crate) fn forget_all(&mut self, generation: u64) {
        *self = Kept { forgotten: generation, ..Kept::default() };
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.logs.len() as u64);
        for KeptLog { id, epoch, before, last, bytes } in &self.logs {
            [id, epoch, before, last, bytes].into_iter().for_each(|field| put_varint(out, *field));
        }
        put_varint(out, self.segments.len() as u64);
        self.segments.iter().for_each(|entry| entry.encode(out));
        put_varint(out, self.deletes.len() as u64);
        self.deletes.iter().for_each(|delete| delete.encode(out));
        put_varint(out, self.forgotten);
    }

    pub(crate) fn decode(fields: &mut Fields<'_>) -> Option<Kept> {
        let mut kept = Kept::default();
        for _ in 0..fields.count(5)? {
            kept.logs.push(KeptLog {
                id: fields.varint()?,
                epoch: fields.varint()?,
                before: fields.varint()?,
                last: fields.varint()?,
                bytes: fields.varint()?,
            });
        }
        for _ in 0..fields.count(10)? {
            kept.segments.push(SegmentEntry::decode(fields)?);
        }
        for _ in 0..fields.count(8)? {
            kept.deletes.push(Tombstone::decode(fields)?);
        }
        kept.forgotten = fields.varint()?;
        Some(kept)
    }
}
