//! The files of finished rings that a list names.

use std::sync::Arc;
use std::time::Duration;

use dotter_dot::{Incarnation, put_varint};

use crate::format::bytes::{Fields, put_text};
use crate::format::ledger::finished::{FinishedFile, Found};

/// What the list says of a file of finished rings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LedgerFile {
    /// File name within `ledger/`.
    pub(crate) name: String,
    /// Its size.
    pub(crate) bytes: u64,
    /// How many rings it tells of.
    pub(crate) rings: u64,
    /// Running time at which the first of them came.
    pub(crate) first: Duration,
    /// Running time at which the last of them came.
    pub(crate) last: Duration,
}

impl LedgerFile {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.name);
        for field in [self.bytes, self.rings, nanos(self.first), nanos(self.last)] {
            put_varint(out, field);
        }
    }

    pub(crate) fn decode(fields: &mut Fields<'_>) -> Option<LedgerFile> {
        Some(LedgerFile {
            name: fields.text()?.to_owned(),
            bytes: fields.varint()?,
            rings: fields.varint()?,
            first: Duration::from_nanos(fields.varint()?),
            last: Duration::from_nanos(fields.varint()?),
        })
    }
}

/// All files that the list names.
#[derive(Clone, Debug, Default)]
pub(crate) struct FinishedFiles(
    /// Oldest first.
    pub(crate) Vec<Arc<FinishedFile>>,
);

impl FinishedFiles {
    /// What they say of a ring.
    pub(crate) fn find(&self, ring: &Incarnation) -> Found {
        let mut found = Found::No;
        for file in self.0.iter().rev() {
            match file.find(ring) {
                Found::Yes => return Found::Yes,
                Found::Unsure => found = Found::Unsure,
                Found::No => {}
            }
        }
        found
    }

    /// The damage in all of them: the file, offset in bytes, and what is wrong there.
    pub(crate) fn damage(&self) -> impl Iterator<Item = (&LedgerFile, u64, String)> {
        let of = |file: &Arc<FinishedFile>| file.damage();
        self.0.iter().flat_map(move |file| of(file).into_iter().map(|(at, what)| (&file.listing, at, what)))
    }
}

/// Running time in nanoseconds, as far as it fits.
pub(crate) fn nanos(at: Duration) -> u64 {
    u64::try_from(at.as_nanos()).unwrap_or(u64::MAX)
}
