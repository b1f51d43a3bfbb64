//! Names files in the list, and in its edits.

use std::collections::BTreeSet;

use dotter_dot::put_varint;

use super::Manifest;
use crate::format::bytes::Fields;
use crate::format::names::NamesEntry;

/// Appends what changes in the names files of the list.
///
/// - `gone`: numbers of those that are no longer listed
/// - `new`: those that are listed from now on
pub(super) fn encode_names(gone: &[u64], new: &[NamesEntry], out: &mut Vec<u8>) {
    put_varint(out, gone.len() as u64);
    gone.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
    put_varint(out, new.len() as u64);
    new.iter().for_each(|entry| entry.encode(out));
}

impl Manifest {
    /// The name and the size of every file in `seg/` that counts: segments, then names files.
    pub(crate) fn in_seg(&self) -> impl Iterator<Item = (&str, u64)> {
        let segments = self.segments.iter().map(|entry| (entry.name.as_str(), entry.bytes));
        segments.chain(self.names.iter().map(|entry| (entry.name.as_str(), entry.bytes)))
    }

    /// Drops the names files that `is_used` says no live WAL file can need; the next commit unlinks them.
    pub(crate) fn drop_names(&mut self, is_used: impl Fn(&NamesEntry) -> bool) {
        let Manifest { names, obsolete, .. } = self;
        let gone = names.extract_if(.., |entry| !is_used(entry));
        obsolete.extend(gone.map(|entry| format!("seg/{}", entry.name)));
    }

    /// The numbers of names files that the list before has and this one has not, and the listings of those that are
    /// new; `None` where nothing has changed.
    pub(super) fn names_since(&self, before: &Manifest) -> Option<(Vec<u64>, Vec<NamesEntry>)> {
        let gone: Vec<u64> =
            before.names.iter().filter(|entry| !self.names.contains(entry)).map(NamesEntry::number).collect();
        let new: Vec<NamesEntry> =
            self.names.iter().filter(|entry| !before.names.contains(entry)).cloned().collect();
        (!gone.is_empty() || !new.is_empty()).then_some((gone, new))
    }

    /// Applies what [`encode_names`] wrote.
    pub(super) fn apply_names(&mut self, fields: &mut Fields<'_>) -> Option<()> {
        let mut gone = BTreeSet::new();
        for _ in 0..fields.count(8)? {
            gone.insert(u64::from_le_bytes(fields.array()?));
        }
        self.names.retain(|entry| !gone.contains(&entry.number()));
        for _ in 0..fields.count(6)? {
            self.names.push(NamesEntry::decode(fields)?);
        }
        self.names.sort_by_key(NamesEntry::place);
        Some(())
    }
}
