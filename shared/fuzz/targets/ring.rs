//! A ring file of any bytes: opened or refused, read to its end, nothing believed.
#![no_main]

use std::io::Write;

use dotter_ring::{Drained, LaneCursor, RingReader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile::NamedTempFile::new_in("/dev/shm").expect("a file in memory");
    file.write_all(bytes).expect("room for it");
    let Ok(mut ring) = RingReader::open(file.path()) else { return };
    let _ = (ring.is_closed(), ring.owner(), ring.refusals(), ring.heads());
    for lane in 0..ring.lanes_used().min(8) {
        let mut cursor = LaneCursor::start(lane);
        let mut out = Drained::default();
        for _ in 0..100 {
            if cursor.drain(&mut ring, 1000, &mut out) == 0 {
                break;
            }
            for dot in &out.dots {
                let _ = ring.series(dot.series);
            }
            out = Drained::default();
        }
    }
});
