//! What the fuzz targets reach: everything that parses, behind its checksum.
#![allow(missing_docs, reason = "only the fuzz targets see it")]

use std::path::Path;

use crate::bytes::Fields;
use crate::chunk::{self, Columns};
use crate::ledger::Ledger;
use crate::manifest::Manifest;
use crate::wal::{Item, Items, Names, apply, count_dots, declare_frame};

/// A chunk with a right checksum: what is decoded encodes to what decodes to the same.
pub fn chunk(bytes: &[u8]) {
    for clock in [false, true] {
        let mut bytes = bytes.to_vec();
        bytes.splice(0..0, crc32c::crc32c(&bytes).to_le_bytes());
        let mut columns = Columns::default();
        if chunk::decode(&bytes, clock, &mut columns).is_err() || !columns.times.is_sorted() {
            continue;
        }
        let mut again = Vec::new();
        chunk::encode(&columns.times, &columns.values, clock, &mut again);
        let mut back = Columns::default();
        chunk::decode(&again, clock, &mut back).expect("what was encoded decodes");
        assert_eq!(back.times, columns.times);
        assert!(back.values.iter().map(|v| v.to_bits()).eq(columns.values.iter().map(|v| v.to_bits())));
    }
}

/// Frames, each of whose payloads has a right checksum: the ledger stays balanced whatever they say.
pub fn frames(bytes: &[u8]) {
    let mut file = Vec::new();
    for (sequence, payload) in (1..).zip(bytes.split(|byte| *byte == 0xFE)) {
        let Some((kind, payload)) = payload.split_first() else { continue };
        crate::wal::push_raw(&mut file, *kind, 1, sequence, payload);
    }
    let (mut names, mut ledger) = (Names::default(), Ledger::default());
    for item in Items::new(&file, 0, 1) {
        let Item::Frame(frame) = item else { continue };
        declare_frame(&frame, &mut names);
        count_dots(&frame);
        if let crate::wal::Applied::Dots { mut dots, .. } = apply(&frame, &names, &mut ledger) {
            while dots.take(&mut Columns::default()).is_some() {}
        }
    }
    let mut encoded = Vec::new();
    ledger.encode(&mut encoded);
    assert_eq!(Ledger::decode(&mut Fields(&encoded)), Some(ledger));
}

/// A manifest with a right checksum.
pub fn manifest(bytes: &[u8]) {
    let Some(decoded) = Manifest::decode_unchecked(bytes) else { return };
    let again = decoded.encode();
    assert_eq!(Manifest::decode(&again, Path::new("MANIFEST")).expect("what was encoded decodes"), decoded);
}
