//! Damaged bytes in place of a lane, and arbitrary ones in place of a ring.
//!
//! `DOTTER_SEED` repeats a run; a failing run prints its seed.
#![cfg(not(loom))]

mod support;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use dotter_dot::Reason;
use dotter_ring::{BLOCK_BYTES, Clock, Drained, LaneCursor, RingReader};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng};
use support::{lane, ring, seed};

/// Where the first lane lies in a ring of this test's size.
fn lane_offset() -> u64 {
    4096 + 4096 + 4096
}

#[test]
fn damage_costs_the_rest_of_its_block_and_is_counted_exactly() {
    let dir = tempfile::tempdir().unwrap();
    let (written, block) = (1000_u64, 252);
    // What is damaged, and which records that costs.
    type Case = (&'static str, u64, [u8; 8], std::ops::Range<u64>);
    let cases: [Case; 7] = [
        ("an unknown kind", 64 + 10 * 16, [0, 0, 0xc0, 0, 0, 0, 0, 0], 10..block),
        ("no kind", BLOCK_BYTES + 64, [0; 8], block..2 * block),
        ("the block's count", 2 * BLOCK_BYTES, [9; 8], 2 * block..3 * block),
        ("the incarnation", BLOCK_BYTES + 48, [9; 8], block..2 * block),
        ("the first number", BLOCK_BYTES + 8, [0xff; 8], block..2 * block),
        ("a smaller first number", 2 * BLOCK_BYTES + 8, [9, 0, 0, 0, 0, 0, 0, 0], 2 * block..3 * block),
        ("the newest block", 3 * BLOCK_BYTES + 64 + 16, [0; 8], 3 * block + 1..written),
    ];
    for (what, at, bytes, lost) in cases {
        let ring = ring(dir.path(), Clock::realtime());
        let mut writer = lane(&ring);
        (0..written).for_each(|number| writer.dot(0, number as f64).unwrap());
        let file = File::options().write(true).open(ring.path()).unwrap();
        file.write_all_at(&bytes, lane_offset() + at).unwrap();
        let mut reader = RingReader::open(ring.path()).unwrap();
        let (mut cursor, mut out) = (LaneCursor::start(0), Drained::default());
        cursor.drain(&mut reader, usize::MAX, &mut out);
        if lost.end == written {
            // Nobody knows how many there were before the ring is over.
            assert_eq!((out.next, out.losses.len()), (lost.start, 0), "{what}");
            ring.close();
            cursor.drain(&mut reader, usize::MAX, &mut out);
        }
        assert_eq!((out.first, out.next), (0, written), "{what}");
        let losses: Vec<_> = out.losses.iter().map(|loss| (loss.first..loss.next, loss.reason)).collect();
        assert_eq!(losses, [(lost.clone(), Reason::DAMAGE)], "{what}");
        let expected = (0..written).filter(|number| !lost.contains(number)).map(|number| number as f64);
        assert!(out.dots.iter().map(|dot| dot.value).eq(expected), "{what}");
        assert_eq!(reader.next_record(0), written, "{what}");
        // Its descriptor would drop the owner's lock; the ring ends here anyway.
        drop(file);
    }
}

#[test]
fn a_file_cut_short_under_the_reader_looks_empty() {
    let dir = tempfile::tempdir().unwrap();
    let ring = ring(dir.path(), Clock::realtime());
    let mut writer = lane(&ring);
    writer.dot(0, 1.0).unwrap();
    let mut reader = RingReader::open(ring.path()).unwrap();
    File::options().write(true).open(ring.path()).unwrap().set_len(100).unwrap();
    assert!(!reader.is_intact());
    let (mut cursor, mut out) = (LaneCursor::start(0), Drained::default());
    assert_eq!(cursor.drain(&mut reader, 10, &mut out), 0);
    assert_eq!((reader.lanes_used(), reader.next_record(0), reader.is_closed()), (0, 0, false));
    assert!(reader.series(0).is_none());
    // Nothing more may touch the writer's mapping.
    std::mem::forget((ring, writer));
}

/// Writes `bytes` over a ring, from `offset` on, and reads whatever that is.
fn read_nonsense(dir: &Path, patches: &[(u64, Vec<u8>)]) {
    let ring = ring(dir, Clock::realtime());
    let mut writer = lane(&ring);
    (0..5000).for_each(|number| writer.dot(0, number as f64).unwrap());
    let path = dir.join("hostile.dots");
    std::fs::copy(ring.path(), &path).unwrap();
    std::fs::remove_file(ring.path()).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    let length = file.metadata().unwrap().len();
    for (offset, bytes) in patches {
        let offset = offset % length;
        let bytes = &bytes[..bytes.len().min((length - offset) as usize)];
        file.write_all_at(bytes, offset).unwrap();
    }
    let Ok(mut reader) = RingReader::open(&path) else { return };
    let mut out = Drained::default();
    for lane in 0..3 {
        for mut cursor in [LaneCursor::start(lane), LaneCursor::resume(&reader, lane, 4000)] {
            let mut calls = 0;
            loop {
                out.clear();
                let before = cursor.expected();
                let advanced = cursor.drain(&mut reader, 1000, &mut out);
                assert!(out.dots.len() <= 1000);
                for dot in &out.dots {
                    out.value(dot);
                }
                assert_eq!(cursor.expected(), before + advanced as u64);
                let lost: u64 = out.losses.iter().map(|loss| loss.next - loss.first).sum();
                assert_eq!(advanced as u64, lost + out.dots.len() as u64);
                calls += 1;
                assert!(calls < 100, "a lane of 4,032 dots is read in a few calls");
                if advanced == 0 {
                    break;
                }
            }
        }
        reader.next_record(lane);
    }
    for id in [0, 1, 1 << 19, u32::MAX] {
        reader.series(id);
    }
    reader.owner();
    reader.refusals();
    reader.heads();
    std::fs::remove_file(&path).unwrap();
}

/// Offsets where a byte matters: header, registry, lane control, block heads; and words that are edges.
fn patch() -> impl Strategy<Value = (u64, Vec<u8>)> {
    let offset = prop_oneof![
        0_u64..600,
        4096_u64..4096 + 160,
        8192_u64..8192 + 600,
        (0_u64..16, 0_u64..96).prop_map(|(block, at)| lane_offset() + block * BLOCK_BYTES + at),
        any::<u64>(),
    ];
    let edge = prop_oneof![
        Just(0),
        Just(1),
        Just(u64::MAX),
        Just(1 << 63),
        Just(1 << 62),
        Just((1 << 62) - 16),
        Just(u64::MAX - 15),
        Just(4096),
        Just(65_536),
        Just(1 << 20),
        any::<u64>()
    ];
    let bytes = prop_oneof![
        edge.prop_map(|word: u64| word.to_le_bytes().to_vec()),
        proptest::collection::vec(any::<u8>(), 1..40),
        proptest::collection::vec(any::<u8>(), 4000..5000),
    ];
    (offset, bytes, any::<bool>())
        .prop_map(|(offset, bytes, whole)| (if whole { offset / 8 * 8 } else { offset }, bytes))
}

/// Shows P4.
#[test]
fn arbitrary_bytes_never_panic_hang_or_mislead_a_reader() {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed().to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let config = ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new_with_rng(config, rng);
    let patches = proptest::collection::vec(patch(), 1..6);
    runner
        .run(&patches, |patches| {
            read_nonsense(dir.path(), &patches);
            Ok(())
        })
        .unwrap();
}
