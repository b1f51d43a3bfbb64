//! A lane around the moment at which it is full: nothing is lost before a byte of it is written again.
#![cfg(not(loom))]

use dotter_ring::directory::Place;
use dotter_ring::{
    BLOCK_BYTES, BLOCK_DOTS, Drained, Identity, LANE_BYTES_MIN, LaneCursor, Ring, RingOptions, RingReader,
    SlowPath,
};

/// Dots that fill the lane to its last byte.
const FULL: u64 = LANE_BYTES_MIN / BLOCK_BYTES * BLOCK_DOTS;

#[test]
fn a_lane_filled_to_its_last_byte_is_read_whole() {
    let dir = tempfile::tempdir().unwrap();
    let place = Place::Directory(dir.path().to_owned());
    let options = RingOptions { lane_bytes: LANE_BYTES_MIN, lanes_max: 2, ..RingOptions::new("full") };
    let inside = SlowPath::enter().unwrap();
    let ring = Ring::create(&inside, &options, Identity::of_this_process().unwrap(), &place, false).unwrap();
    let mut lane = ring.take(&inside).unwrap();
    drop(inside);
    let mut written = 0;
    for dots in [1, BLOCK_DOTS, FULL - 1, FULL, FULL + 1, 2 * FULL - 1, 2 * FULL] {
        while written < dots {
            lane.dot(0, written as f64).unwrap();
            written += 1;
        }
        let mut reader = RingReader::open(ring.path()).unwrap();
        let (mut cursor, mut out) = (LaneCursor::start(0), Drained::default());
        while cursor.drain(&mut reader, usize::MAX, &mut out) > 0 {}
        let lost: u64 = out.losses.iter().map(|loss| loss.next - loss.first).sum();
        assert_eq!(out.dots.len() as u64 + lost, dots, "each is read or counted");
        // A reader that was lapped skips a quarter of the lane, and the block that is being written.
        let most = if dots <= FULL { 0 } else { dots - FULL * 3 / 4 + BLOCK_DOTS };
        assert!(lost <= most, "{lost} of {dots} lost, expected {most} at most");
        let values = out.dots.iter().map(|dot| dot.value);
        assert!(values.eq((lost..dots).map(|number| number as f64)), "the newest ones, in order");
    }
}
