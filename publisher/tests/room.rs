//! Room for a new ring: what dead rings are worth to an application that is none of their business.
// setrlimit has no safe form.
#![allow(unsafe_code)]

mod common;

use std::path::Path;

use common::{in_child, read};
use dotter_publisher::Publisher;
use dotter_ring::{LANE_BYTES_MIN, RingReader};

/// A dead ring of a length that [`map_little`] does not let anybody map: 8 GiB, nearly all of it a hole.
fn leave_dead_ring(path: &Path) {
    // In a child, as this thread's lane would keep it mapped.
    in_child(|| {
        let publisher = Publisher::options().lanes_max(4096).lane_bytes(2 << 20).path(path).open().unwrap();
        let series = publisher.series("a").unwrap();
        (0..1000).for_each(|number| series.dot(f64::from(number)));
        assert!(std::fs::metadata(publisher.path()).unwrap().len() > 8 << 30);
    });
}

/// From now on this process has 2 GiB of addresses at most.
fn map_little() {
    let limit = libc::rlimit { rlim_cur: 2 << 30, rlim_max: 2 << 30 };
    // SAFETY: the pointer is to a struct of numbers.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
}

// A ring that is not mapped cannot raise SIGBUS, however it is cut short or full of holes on a full disk.

#[test]
fn an_application_maps_no_dead_ring_to_make_room() {
    let dir = tempfile::tempdir().unwrap();
    let rings = dir.path().join("rings/");
    leave_dead_ring(&rings);
    let dead = std::fs::read_dir(&rings).unwrap().next().unwrap().unwrap().path();
    in_child(|| {
        map_little();
        assert!(RingReader::open(&dead).is_err(), "too long to be mapped");
        let options = Publisher::options().lane_bytes(LANE_BYTES_MIN).dead_bytes_max(0);
        let publisher = options.path(&rings).open().unwrap();
        publisher.series("b").unwrap().dot(1.0);
        assert_eq!(read(&publisher.path()), [("b".to_owned(), 1.0)]);
    });
    assert!(!dead.exists());
    let stub = RingReader::open(&dead.with_extension("gone")).unwrap();
    assert_eq!((stub.next_record(0), stub.next_record(1), stub.is_closed()), (1000, 0, true));
}

#[test]
fn an_application_maps_no_dead_ring_to_move_it_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ring");
    leave_dead_ring(&path);
    let dead = RingReader::open(&path).unwrap().incarnation();
    in_child(|| {
        map_little();
        let publisher = Publisher::options().lane_bytes(LANE_BYTES_MIN).path(&path).open().unwrap();
        assert_eq!(publisher.path(), path);
    });
    let aside = RingReader::open(&path.with_file_name(format!("ring.{dead}.dots"))).unwrap();
    assert_eq!(aside.next_record(0), 1000);
}
