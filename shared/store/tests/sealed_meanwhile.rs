//! Readers that are opened while a seal takes the place of many WAL files and these are unlinked.

mod support;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use dotter_dot::{Dots, SeriesName, Shape, Timestamp};
use dotter_store::{Reader, Transaction, Writer, seal_all, tidy};
use support::machine;

#[test]
fn whoever_opens_a_store_while_files_of_its_log_are_unlinked_sees_every_dot() {
    const FILES: u64 = 60;
    let scratch = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    for round in 0..25 {
        let dir = scratch.path().join(round.to_string());
        // Every commit fills a file.
        let mut writer = Writer::open_with(&dir, 1).unwrap();
        for time in 0..FILES {
            let key = writer.series(&SeriesName::new("a").unwrap(), &Shape::number());
            let mut dots = Dots::default();
            dots.push_number(key, false, Timestamp::from_nanos(time), time as f64);
            writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).unwrap();
            writer.sync().unwrap();
        }
        let is_sealed = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    // Relaxed: it orders nothing.
                    while !is_sealed.load(Relaxed) {
                        let dots = Reader::open(&dir).unwrap().snapshot().stat().dots;
                        assert_eq!(dots, FILES, "round {round}");
                    }
                });
            }
            seal_all(&dir, &|| false).unwrap();
            while tidy(&dir, &machine(Timestamp::from_nanos(1))).unwrap() {}
            is_sealed.store(true, Relaxed);
        });
    }
}
