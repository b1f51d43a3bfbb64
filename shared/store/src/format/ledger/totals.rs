//! Counts that belong to no ring.

use dotter_dot::put_varint;

use crate::format::bytes::Fields;

/// Counts over the whole store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Dots committed that came some other way than through a ring.
    pub stored_other: u64,
    /// Dots replaced by a later commit at the same series and explicit time.
    pub replaced: u64,
    /// Dots deleted.
    pub deleted: u64,
    /// Dots that retention removed.
    pub expired: u64,
    /// Dots that were stored and whose bytes no longer match their checksum. A step made from dots counts as one, and
    /// those dots are in [`Totals::expired`] too.
    pub damaged: u64,
    /// Observations that went into weighted rows, less these rows.
    pub condensed: u64,
    /// Dots that a rename stored once more, under a new name. Those under the old name are hidden by then, and count as
    /// deleted once they are removed.
    pub renamed: u64,
}

impl Totals {
    /// Adds what became of further dots.
    pub(crate) fn add(&mut self, other: &Totals) {
        self.stored_other = self.stored_other.saturating_add(other.stored_other);
        self.replaced = self.replaced.saturating_add(other.replaced);
        self.deleted = self.deleted.saturating_add(other.deleted);
        self.expired = self.expired.saturating_add(other.expired);
        self.damaged = self.damaged.saturating_add(other.damaged);
        self.condensed = self.condensed.saturating_add(other.condensed);
        self.renamed = self.renamed.saturating_add(other.renamed);
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let Totals { stored_other, replaced, deleted, expired, damaged, condensed, renamed } = *self;
        [stored_other, replaced, deleted, expired, damaged, condensed, renamed]
            .into_iter()
            .for_each(|total| put_varint(out, total));
    }

    pub(crate) fn decode(fields: &mut Fields<'_>) -> Option<Totals> {
        Some(Totals {
            stored_other: fields.varint()?,
            replaced: fields.varint()?,
            deleted: fields.varint()?,
            expired: fields.varint()?,
            damaged: fields.varint()?,
            condensed: fields.varint()?,
            renamed: fields.varint()?,
        })
    }
}
