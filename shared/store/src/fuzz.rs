//! What the fuzz targets reach: everything that parses, behind its checksum.
#![allow(missing_docs, reason = "only the fuzz targets see it")]

use std::rc::Rc;

use dotter_dot::{Column, Format, Incarnation, Shape, Timestamp};

use crate::format::bytes::Fields;
use crate::format::chunk;
use crate::format::codec::{Span, times};
use crate::format::earlier::{Front, Reference};
use crate::format::ledger::Ledger;
use crate::format::ledger::files::LedgerFile;
use crate::format::ledger::finished::{FinishedFile, Found, encode};
use crate::format::listing::{Order, StoreId};
use crate::format::manifest::Manifest;
use crate::format::manifest::edit::{Edit, deletes};
use crate::format::segment::keys::{KeyBlock, Top};
use crate::format::segment::tail::{HEADER_BYTES, put_top};
use crate::format::segment::{Meta, Tail};
use crate::format::wal::{Items, Names, apply, count_by_id, count_dots, frames as whole_frames};
use crate::read::segment::Segment;

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
        let mut run = Column::default();
        // The chunk itself as an earlier one, from any byte on.
        let earlier = |reference: Reference, count| earlier(&bytes, reference, count);
        if chunk::decode(&bytes, &shape, clock, Span::default(), &earlier, None, &mut run).is_err() {
            assert!(run.is_empty());
            continue;
        }
        for (part, shape) in run.parts(0..run.len()) {
            for index in part {
                assert_eq!(run.values(index, shape).count(), shape.format().len());
            }
        }
        let stamps: Vec<u64> = run.times().iter().step_by(97).copied().chain([0, u64::MAX]).collect();
        for (from, until) in stamps.iter().zip(stamps.iter().rev()) {
            let span = Span { from: *from, until: Some(*until) };
            let mut part = Column::default();
            // Around a part there may be what makes no sense, but not within it.
            chunk::decode(&bytes, &shape, clock, span, &earlier, None, &mut part)
                .expect("a part of what decodes");
            let (wanted, found) = (span.of(run.times()), span.of(part.times()));
            assert!(
                part.times()[found.clone()] == run.times()[wanted.clone()]
                    && part.words()[found] == run.words()[wanted]
            );
        }
        if !run.times().is_sorted() || chunk::fitting(&run, 0..run.len(), &shape, usize::MAX) < run.len() {
            continue;
        }
        let mut again = Vec::new();
        let column = chunk::times_column(run.times());
        let reference = Reference { distance: 7, checksum: crc32c::crc32c(&column) };
        for times in [column.clone(), reference.column()] {
            again.clear();
            chunk::encode(&run, 0..run.len(), &shape, clock, &times, &mut again);
            let front = Front::take(&again).expect("the front of a chunk");
            assert_eq!(again[front.column..front.end], times);
            let mut back = Column::default();
            let earlier = |found, _| {
                assert_eq!(found, reference);
                Ok(Rc::new(run.times().to_vec()))
            };
            chunk::decode(&again, &shape, clock, Span::default(), &earlier, None, &mut back)
                .expect("what was encoded decodes");
            assert_eq!(back, run);
        }
    }
}

/// The times of the chunk that begins so many bytes from the beginning on.
fn earlier(bytes: &[u8], reference: Reference, count: usize) -> Result<Rc<Vec<u64>>, String> {
    let chunk = usize::try_from(reference.distance).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
    let decode = || {
        let front = Front::take(chunk).filter(|front| front.count == count)?;
        let mut all = Vec::new();
        times::decode(front.tag, chunk.get(front.bytes..front.end)?, count, Span::default(), &mut all)?;
        Some(Rc::new(all))
    };
    decode().ok_or_else(|| "no chunk".to_owned())
}

/// Frames, each of whose payloads has a right checksum: the ledger stays balanced whatever they say.
pub fn frames(bytes: &[u8]) {
    let mut file = Vec::new();
    for (sequence, payload) in (1..).zip(bytes.split(|byte| *byte == 0xFE)) {
        let Some((kind, payload)) = payload.split_first() else { continue };
        crate::format::wal::push_raw(&mut file, *kind, 1, sequence, payload);
    }
    let (mut names, mut ledger) = (Names::default(), Ledger::default());
    let frames = whole_frames(&mut Items::new(&file, 0, 1), &mut names);
    count_by_id(&frames);
    for frame in frames {
        count_dots(&frame);
        if let crate::format::wal::Applied::Dots { mut dots, .. } = apply(&frame, &names, &mut ledger) {
            while let Some((id, _)) = dots.peek() {
                let shape = names.series.get(id).map(|(_, shape)| shape);
                let mut run = Column::default();
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

/// An edit of MANIFEST: the list that it makes is what its base makes.
pub fn manifest(bytes: &[u8]) {
    let mut list = Manifest::default();
    let _ = deletes(bytes);
    if list.apply(1, bytes).is_none() {
        return;
    }
    let mut base = Vec::new();
    Edit::base(&list).encode(&mut base);
    let mut again = Manifest::default();
    again.apply(1, &base).expect("what was encoded decodes");
    assert!(again.says_what(&list));
}

/// Files of finished rings: as given, and with right checksums.
pub fn finished(bytes: &[u8]) {
    let ring = Incarnation([bytes.first().copied().unwrap_or_default(); 16]);
    let sums = Default::default();
    let mut rings: Vec<_> = bytes.as_chunks().0.iter().map(|ring| Incarnation(*ring)).collect();
    rings.sort_unstable();
    rings.dedup();
    let made = encode(StoreId([0; 16]), 0, Default::default(), &rings, &sums);
    for (content, rings) in [(bytes.to_vec(), bytes.len() as u64 / 16), (made, rings.len() as u64)] {
        let listing = LedgerFile { bytes: content.len() as u64, rings, ..LedgerFile::default() };
        let file = FinishedFile::new(listing, StoreId([0; 16]), None, Box::new(content));
        file.find(&ring);
        file.damage();
        file.sums();
        file.rings().for_each(|ring| assert_eq!(file.find(&ring), Found::Yes));
    }
}

/// A segment whose checksums are right: chunks, the rest of a shared block, two entries and a column of meta as given,
/// between 0xFE, with two series in it.
pub fn segment(bytes: &[u8]) {
    let mut parts = bytes.splitn(5, |byte| *byte == 0xFE);
    let mut part = || parts.next().unwrap_or_default();
    let (chunks, shared, entries, meta) = (part(), part(), [part(), part()], part());
    let checked = |bytes: &[u8]| [&crc32c::crc32c(bytes).to_le_bytes(), bytes].concat();
    let mut file = [b"DOTTRSEG".as_slice(), &[0; 8], chunks].concat();
    let shared = checked(shared);
    file.extend_from_slice(&shared);
    let keys_at = file.len() as u64;
    let mut keys = KeyBlock::default();
    keys.push(b"a", entries[0]);
    keys.push(b"b", entries[1]);
    let shared_bytes = [shared.len() as u64; 2];
    keys.end(HEADER_BYTES as u64, chunks.len() as u64, shared_bytes[..1].iter().copied(), &mut file);
    let mut top = Top::new(keys_at as usize);
    top.push(b"a", file.len() - keys_at as usize).expect("a small file");
    let meta_at = file.len() as u64;
    match meta.is_empty() {
        true => Meta::default().encode(&mut file),
        false => file.extend_from_slice(&[meta, &crc32c::crc32c(meta).to_le_bytes()].concat()),
    }
    let top_at = file.len() as u64;
    put_top(&[Shape::number()], &top, &mut file);
    let tail = Tail {
        level: 0,
        store: StoreId([0; 16]),
        number: 1,
        edit: 1,
        order: Order { sequence: 1, generation: 1 },
        keys_at,
        meta_at,
        top_at,
        first_time: Timestamp::MIN,
        last_time: Timestamp::MAX,
        dots: 1,
        series: 2,
        first_number: 1,
        together: 1,
        checksum: crc32c::crc32c(&file),
        meta: Meta::default(),
        bytes: 0,
    };
    file.extend_from_slice(&tail.encode());
    let path = std::env::temp_dir().join(format!("dotter-fuzz-{}-0000000000000001", std::process::id()));
    std::fs::write(&path, &file).expect("there is room for a small file");
    // Listed as what it says of itself.
    let Ok(tail) = Tail::read(&path) else { return };
    let Ok(segment) = Segment::open(&path, &tail.entry("fuzz-0000000000000001")) else { return };
    let mut run = Column::default();
    for name in ["a", "b", "c"] {
        let _ = segment.latest_shape(name);
        let mut chunks = Vec::new();
        let _ = segment.chunks(name, None, |chunk| chunks.push(chunk));
        for chunk in chunks {
            run.clear();
            let _ = segment.read(&chunk, &mut run);
            if chunk.within.is_none() {
                let _ = segment.copy(&chunk);
            }
        }
    }
}
