//! The bytes of MANIFEST.

use std::path::Path;

use dotter_dot::put_varint;

use crate::error::Error;
use crate::format::archive::Archive;
use crate::format::bytes::{Fields, put_text, u32_at, u64_at};
use crate::format::clock::Clock;
use crate::format::ledger::Ledger;
use crate::format::listing::{SegmentEntry, StoreId};
use crate::format::manifest::{LEDGER_PREFIX, LedgerFile, Manifest};
use crate::format::tombstone::Tombstone;

const MAGIC: &[u8; 8] = b"DOTTRMAN";
const VERSION: u32 = 0;
const FIXED_BYTES: usize = 48;

impl Manifest {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.store.0);
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&self.wal_first.to_le_bytes());
        put_varint(&mut out, self.segments.len() as u64);
        for segment in &self.segments {
            segment.encode(&mut out);
        }
        put_varint(&mut out, self.obsolete.len() as u64);
        self.obsolete.iter().for_each(|file| put_text(&mut out, file));
        put_varint(&mut out, self.tombstones.len() as u64);
        self.tombstones.iter().for_each(|tombstone| tombstone.encode(&mut out));
        self.clock.encode(&mut out);
        put_varint(&mut out, self.archives.len() as u64);
        self.archives.iter().for_each(|archive| archive.encode(&mut out));
        let file = self.ledger_file.as_ref();
        put_text(&mut out, file.map_or("", |file| &file.name));
        put_varint(&mut out, file.map_or(0, |file| file.bytes));
        self.ledger.encode(&mut out);
        let checksum = checksum(&out);
        out[12..16].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8], path: &Path) -> Result<Manifest, Error> {
        if bytes.len() < FIXED_BYTES || &bytes[..8] != MAGIC {
            return Err(Error::damaged(path, 0, "no manifest of a Dotter store"));
        }
        let (version, found, expected) = (u32_at(bytes, 8), checksum(bytes), u32_at(bytes, 12));
        if found != expected {
            return Err(Error::damaged(path, 12, format!("checksum {found:08x}, expected {expected:08x}")));
        }
        if version > VERSION {
            return Err(Error::Version { path: path.to_owned(), found: version, reads: VERSION });
        }
        let mut store = [0; 16];
        store.copy_from_slice(&bytes[16..32]);
        let mut manifest = Manifest {
            store: StoreId(store),
            generation: u64_at(bytes, 32),
            wal_first: u64_at(bytes, 40),
            ..Manifest::default()
        };
        let mut fields = Fields(&bytes[FIXED_BYTES..]);
        match manifest.decode_rest(&mut fields) {
            Some(()) if fields.0.is_empty() => {
                let archived = manifest.archives.iter_mut().filter_map(|archive| archive.segment.as_mut());
                for entry in manifest.segments.iter_mut().chain(archived) {
                    entry.store = manifest.store;
                }
                Ok(manifest)
            }
            _ => {
                let offset = (bytes.len() - fields.0.len()) as u64;
                Err(Error::damaged(path, offset, "fields end too soon or make no sense"))
            }
        }
    }

    /// For the fuzz targets: a list whose checksum does not matter.
    #[cfg(fuzzing)]
    pub(crate) fn decode_unchecked(bytes: &[u8]) -> Option<Manifest> {
        let mut bytes = bytes.to_vec();
        if bytes.len() >= FIXED_BYTES {
            bytes[..8].copy_from_slice(MAGIC);
            bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
            let checksum = checksum(&bytes);
            bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        }
        Manifest::decode(&bytes, Path::new("MANIFEST")).ok()
    }

    fn decode_rest(&mut self, fields: &mut Fields<'_>) -> Option<()> {
        for _ in 0..fields.count(10)? {
            self.segments.push(SegmentEntry::decode(fields)?);
        }
        for _ in 0..fields.count(1)? {
            // What is unlinked by name stays below the store.
            let file = fields.text()?;
            let inside = ["seg/", "wal/"].into_iter().find_map(|folder| file.strip_prefix(folder));
            let name = inside.or_else(|| file.starts_with(LEDGER_PREFIX).then_some(file))?;
            if name.contains('/') {
                return None;
            }
            self.obsolete.push(file.to_owned());
        }
        for _ in 0..fields.count(8)? {
            self.tombstones.push(Tombstone::decode(fields)?);
        }
        self.clock = Clock::decode(fields)?;
        for _ in 0..fields.count(6)? {
            self.archives.push(Archive::decode(fields)?);
        }
        let (name, bytes) = (fields.text()?, fields.varint()?);
        if name.starts_with(LEDGER_PREFIX) && !name.contains('/') {
            self.ledger_file = Some(LedgerFile { name: name.to_owned(), bytes });
        } else if !name.is_empty() {
            return None;
        }
        self.ledger = Ledger::decode(fields)?;
        Some(())
    }
}

/// Of everything but itself.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..])
}
