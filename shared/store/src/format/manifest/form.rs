//! The fields of the whole list, as a base holds them, which is the first edit of MANIFEST.

use std::sync::Arc;

use dotter_dot::put_varint;

use crate::format::bytes::{Fields, put_text};
use crate::format::clock::Clock;
use crate::format::kept::Kept;
use crate::format::ledger::Ledger;
use crate::format::ledger::files::LedgerFile;
use crate::format::listing::{SegmentEntry, words_and_number};
use crate::format::manifest::Manifest;
use crate::format::names::NamesEntry;
use crate::format::rules::Rules;

impl Manifest {
    /// Appends all fields except store id, lineage and edit number, which are in the header and in the frame.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.segments.len() as u64);
        self.segments.iter().for_each(|segment| segment.encode(out));
        put_files(&self.obsolete, out);
        put_varint(out, self.tombstones.len() as u64);
        self.tombstones.iter().for_each(|tombstone| tombstone.encode(out));
        self.kept.encode(out);
        self.clock.encode(out);
        self.rules.encode(out);
        self.encode_log(out);
        put_varint(out, self.names.len() as u64);
        self.names.iter().for_each(|entry| entry.encode(out));
        self.ledger.encode(out);
        self.ledger.encode_lately(out);
    }

    /// Reads what [`Manifest::encode`] wrote. This list is empty except for store id and lineage.
    pub(crate) fn decode(&mut self, fields: &mut Fields<'_>) -> Option<()> {
        for _ in 0..fields.count(10)? {
            self.segments.push(SegmentEntry::decode(fields)?);
        }
        self.obsolete = take_files(fields)?;
        let count = fields.count(8)?;
        self.tombstones.take(count, fields)?;
        self.kept = Kept::decode(fields)?;
        self.clock = Clock::decode(fields)?;
        self.rules = Arc::new(Rules::decode(fields)?);
        self.decode_log(fields)?;
        for _ in 0..fields.count(6)? {
            self.names.push(NamesEntry::decode(fields)?);
        }
        self.ledger = Ledger::decode(fields)?;
        self.ledger.decode_lately(fields)
    }

    /// Appends what the list says of the log and of the files of finished rings.
    pub(crate) fn encode_log(&self, out: &mut Vec<u8>) {
        put_varint(out, self.wal_first);
        let (file, bytes) = self.fixed.unwrap_or_default();
        put_varint(out, file);
        put_varint(out, bytes);
        put_varint(out, self.ids_from);
        put_varint(out, self.ledger_files.len() as u64);
        self.ledger_files.iter().for_each(|file| file.encode(out));
    }

    pub(crate) fn decode_log(&mut self, fields: &mut Fields<'_>) -> Option<()> {
        self.wal_first = fields.varint()?;
        let fixed = (fields.varint()?, fields.varint()?);
        self.fixed = (fixed.0 > 0).then_some(fixed);
        self.ids_from = fields.varint()?;
        self.ledger_files = Vec::new();
        for _ in 0..fields.count(5)? {
            let file = LedgerFile::decode(fields)?;
            words_and_number(&file.name)?;
            self.ledger_files.push(file);
        }
        Some(())
    }
}

pub(super) fn put_files(files: &[String], out: &mut Vec<u8>) {
    put_varint(out, files.len() as u64);
    files.iter().for_each(|file| put_text(out, file));
}

/// Reads paths of files to be unlinked; each is checked to be below the store.
pub(super) fn take_files(fields: &mut Fields<'_>) -> Option<Vec<String>> {
    let mut files = Vec::new();
    for _ in 0..fields.count(1)? {
        let file = fields.text()?;
        let inside =
            ["seg/", "wal/", "ledger/", "kept/"].into_iter().find_map(|folder| file.strip_prefix(folder));
        if inside?.contains('/') {
            return None;
        }
        files.push(file.to_owned());
    }
    Some(files)
}
