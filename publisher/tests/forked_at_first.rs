//! A process that forks while another of its threads opens the process's first publisher.
//!
//! The only test of its program: each round begins in a child in which nobody has published yet.

mod common;

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use dotter_publisher::Publisher;

use common::in_child;

fn publish(rings: &Path) {
    let publisher = Publisher::create(rings, 1).unwrap();
    publisher.series("a").unwrap().dot(1.0);
    assert_eq!(publisher.published().iter().sum::<u64>(), 1);
}

#[test]
fn a_child_forked_at_any_instant_of_the_first_opening_can_publish() {
    let dir = tempfile::tempdir().unwrap();
    let rings = dir.path().join("rings/");
    // What comes first takes some milliseconds: the clock is measured for two.
    for round in 0..32 {
        in_child(|| {
            let started = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    started.store(true, SeqCst);
                    publish(&rings);
                });
                while !started.load(SeqCst) {
                    std::hint::spin_loop();
                }
                let start = Instant::now();
                while start.elapsed() < Duration::from_micros(round * 250) {
                    std::hint::spin_loop();
                }
                in_child(|| publish(&rings));
            });
        });
    }
}
