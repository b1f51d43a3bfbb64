//! A ring file of any bytes: opened or refused, read to its end, nothing believed.
//!
//! Nearly every change of a byte breaks a checksum, so what is refused is mended and tried again: the checks behind
//! the checksums are what keeps a reader inside of the file.
#![no_main]

use std::io::{Seek, Write};

use dotter_ring::{Drained, Kind, LaneCursor, RingReader, Value};
use libfuzzer_sys::fuzz_target;

/// Lanes that are read; the others are like them.
const LANES: u32 = 4;
/// More calls than the largest file here has blocks: a cursor that is not through by then does not move.
const CALLS_MAX: usize = 100_000;

fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile::NamedTempFile::new_in("/dev/shm").expect("a file in memory");
    file.write_all(bytes).expect("room for it");
    let mut ring = match RingReader::open(file.path()) {
        Ok(ring) => ring,
        Err(_) => {
            let mut bytes = bytes.to_vec();
            mend(&mut bytes);
            file.rewind().expect("a file in memory");
            file.write_all(&bytes).expect("room for it");
            let Ok(ring) = RingReader::open(file.path()) else { return };
            ring
        }
    };
    let _ = (ring.is_closed(), ring.owner(), ring.refusals(), ring.heads(), ring.application().len());
    let mut out = Drained::default();
    let mut delivered = 0;
    for lane in 0..ring.lanes_used().min(LANES) {
        let committed = ring.next_record(lane);
        let all = read(&mut ring, LaneCursor::start(lane), 1000, &mut out);
        let again = read(&mut ring, LaneCursor::start(lane), 7, &mut out);
        assert_eq!(all, again, "lane {lane}: in large pieces and in small ones");
        delivered += all.0;
        for watermark in [1, committed / 2, committed, u64::MAX] {
            let cursor = LaneCursor::resume(&ring, lane, watermark);
            let (dots, lost) = read(&mut ring, cursor, 1000, &mut out);
            assert!(watermark.checked_add(dots + lost).is_some(), "numbers go up");
        }
    }
    assert!(delivered <= bytes.len() as u64 / 16, "a dot takes sixteen bytes at least");
});

/// Reads a lane to its end: how many dots, how many lost. `out` is used again and again.
fn read(ring: &mut RingReader, mut cursor: LaneCursor, records_max: usize, out: &mut Drained) -> (u64, u64) {
    let (mut dots, mut lost) = (0, 0);
    for _ in 0..CALLS_MAX {
        let from = cursor.expected();
        let taken = cursor.drain(ring, records_max, out) as u64;
        assert!(out.dots.len() <= records_max);
        assert_eq!((out.first, out.next, cursor.expected()), (from, from + taken, from + taken));
        let gone: u64 = out.losses.iter().map(|loss| loss.next - loss.first).sum();
        assert_eq!(out.dots.len() as u64 + gone, taken, "each number is a dot or lost");
        for dot in &out.dots {
            let known = ring.series(dot.series).map(|entry| (entry.kind, entry.columns.len()));
            match (dot.kind, out.value(dot)) {
                (Kind::F64, Value::F64(value)) => assert_eq!(value.to_bits(), dot.value.to_bits()),
                (Kind::F32, Value::F32(value)) => assert_eq!(value.is_nan(), dot.value.is_nan()),
                (Kind::I64, Value::I64(value)) => assert_eq!(value as f64, dot.value),
                (Kind::U64, Value::U64(value)) => assert_eq!(value as f64, dot.value),
                (Kind::Text, Value::Text(text)) => assert!(text.len() <= dotter_ring::TEXT_BYTES_MAX),
                (Kind::Row, Value::Row(cells)) => {
                    assert!((1..=dotter_ring::COLUMNS_MAX).contains(&cells.len()));
                }
                (kind, value) => panic!("a {kind:?} whose value is {value:?} in {known:?}"),
            }
        }
        (dots, lost) = (dots + out.dots.len() as u64, lost + gone);
        out.clear();
        if taken == 0 {
            return (dots, lost);
        }
    }
    panic!("{CALLS_MAX} calls and no end");
}

/// Makes size and checksums right: of the header, of the entries of the registry, of a stub.
fn mend(bytes: &mut [u8]) {
    let length = bytes.len() as u64;
    let Some(head) = bytes.get_mut(..512) else { return };
    let gone = head.starts_with(b"DOTGONE1");
    if gone {
        head[..8].copy_from_slice(b"DOTRING1");
    } else {
        head[24..32].copy_from_slice(&length.to_le_bytes());
    }
    mend_sum(head, 20);
    let registry = u64::from_le_bytes(head[128..136].try_into().expect("eight bytes")) as usize;
    if gone {
        head[..8].copy_from_slice(b"DOTGONE1");
        let end = bytes.len().saturating_sub(8).max(512);
        let sum = crc32c(&bytes[..end]);
        if let Some(place) = bytes.get_mut(end..end + 4) {
            place.copy_from_slice(&sum.to_le_bytes());
        }
        return;
    }
    let mut at = registry.saturating_add(64);
    while let Some(entry) = bytes.get_mut(at..).filter(|rest| rest.len() >= 24) {
        let bytes = u32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]]) as usize;
        let Some(entry) = entry.get_mut(..bytes).filter(|entry| entry.len() >= 24) else { return };
        mend_sum(entry, 4);
        at += bytes;
    }
}

/// Puts the checksum of `bytes` at `at`, where it counts as zero.
fn mend_sum(bytes: &mut [u8], at: usize) {
    bytes[at..at + 4].fill(0);
    let sum = crc32c(bytes);
    bytes[at..at + 4].copy_from_slice(&sum.to_le_bytes());
}

/// Source: RFC 3720, appendix B.4 (Castagnoli, reflected 0x82F63B78).
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |rest, _| (rest >> 1) ^ (0x82f6_3b78 & (rest & 1).wrapping_neg()))
    })
}
