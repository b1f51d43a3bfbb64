//! What the fuzz targets reach: everything that parses, behind its checksum.
#![allow(missing_docs, reason = "only the fuzz targets see it")]

use std::path::Path;

use dotter_dot::{Format, Shape};

use crate::bytes::Fields;
use crate::chunk;
use crate::ledger::Ledger;
use crate::manifest::Manifest;
use crate::run::Run;
use crate::wal::{Item, Items, Names, apply, count_dots, declare_frame};

/// A chunk with a right checksum: what is decoded encodes to what decodes to the same.
///
/// - the first byte says how many of those that follow are the letters of the format
pub fn chunk(bytes: &[u8]) {
    let Some((letters, bytes)) = bytes.split_first() else { return };
    let Some((letters, bytes)) = bytes.split_at_checked(*letters as usize) else { return };
    let Ok(format) = Format::new(&String::from_utf8_lossy(letters)) else { return };
    let shape = Shape::from(format);
    for clock in [false, true] {
        let mut bytes = bytes.to_vec();
        bytes.splice(0..0, crc32c::crc32c(&bytes).to_le_bytes());
        let mut run = Run::default();
        if chunk::decode(&bytes, &shape, clock, &mut run).is_err() {
            assert!(run.is_empty());
            continue;
        }
        for (part, shape) in run.parts(0..run.len()) {
            for index in part {
                assert_eq!(run.cells(index, shape).count(), shape.format().len());
            }
        }
        if !run.times.is_sorted() || chunk::fitting(&run, 0..run.len(), &shape, usize::MAX) < run.len() {
            continue;
        }
        let mut again = Vec::new();
        chunk::encode(&run, 0..run.len(), &shape, clock, &mut again);
        let mut back = Run::default();
        chunk::decode(&again, &shape, clock, &mut back).expect("what was encoded decodes");
        assert_eq!(back, run);
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
            while let Some((id, _)) = dots.peek() {
                let shape = names.series.get(id).map(|(_, shape)| shape);
                let mut run = Run::default();
                if dots.take(shape, &mut run).is_none_or(|count| count == 0) {
                    assert!(run.is_empty());
                }
                run.numbers(0..run.len(), |_, _| ());
            }
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
