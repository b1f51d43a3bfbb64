//! What an application publishes, a reader of the file finds.

use std::path::Path;
use std::sync::Barrier;
use std::time::Duration;

use dotter_publisher::{Clock, Publisher, Timestamp};
use dotter_ring::directory::{self, Place};
use dotter_ring::{Drained, LaneCursor, RingReader};

fn drain(path: &Path) -> (RingReader, Vec<Drained>) {
    let mut ring = RingReader::open(path).unwrap();
    let lanes = (0..ring.lanes_used())
        .map(|lane| {
            let (mut cursor, mut out) = (LaneCursor::start(lane), Drained::default());
            while cursor.drain(&mut ring, usize::MAX, &mut out) > 0 {}
            out
        })
        .collect();
    (ring, lanes)
}

#[test]
fn dots_arrive_with_their_series_times_and_values() {
    let dir = tempfile::tempdir().unwrap();
    for clock in [Clock::best(), Clock::realtime()] {
        let publisher = Publisher::options().clock(clock).path(dir.path()).open().unwrap();
        let (a, b) = (publisher.series("a").unwrap(), publisher.series("b;x=y").unwrap().unit("ms"));
        let before = Timestamp::now();
        let times = [0, 1, 1_700_000_000_000_000_000, u64::MAX, 42].map(Timestamp::from_nanos);
        for (index, time) in times.into_iter().enumerate() {
            a.dot(index as f64);
            b.dot_at(time, -(index as f64));
        }
        let after = Timestamp::now();
        let (mut ring, lanes) = drain(&publisher.path());
        assert_eq!(lanes.len(), 1);
        assert!(lanes[0].losses.is_empty());
        assert_eq!((lanes[0].first, lanes[0].next), (0, 10));
        for (index, pair) in lanes[0].dots.chunks(2).enumerate() {
            let mut name = |id| ring.series(id).unwrap().clone();
            let (clocked, explicit) = (name(pair[0].series), name(pair[1].series));
            assert_eq!((clocked.raw_name, clocked.unit), (b"a".to_vec(), String::new()));
            assert_eq!((explicit.raw_name, explicit.unit), (b"b;x=y".to_vec(), "ms".into()));
            assert_eq!((pair[0].value, pair[1].value), (index as f64, -(index as f64)));
            assert_eq!((pair[0].clock, pair[1].clock), (true, false));
            // The two clocks are looked at within a microsecond of each other.
            let slack = std::time::Duration::from_micros(20);
            assert!(pair[0].time >= before.saturating_sub(slack), "{} < {before}", pair[0].time);
            assert!(pair[0].time <= after.saturating_add(slack), "{} > {after}", pair[0].time);
            assert_eq!(pair[1].time, times[index]);
        }
        std::fs::remove_file(publisher.path()).unwrap();
    }
}

#[test]
fn a_ring_is_closed_when_its_last_handle_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let publisher = Publisher::create(dir.path(), 1).unwrap();
    let ring = RingReader::open(&publisher.path()).unwrap();
    let series = publisher.series("a").unwrap();
    let mut lane = publisher.lane().unwrap();
    drop(publisher);
    lane.dot(&series, 1.0);
    series.dot(2.0);
    drop(series);
    assert!(!ring.is_closed());
    drop(lane);
    assert!(ring.is_closed());
    assert_eq!((ring.next_record(0), ring.next_record(1)), (1, 1));
}

/// Shows P2.
#[test]
fn threads_take_lanes_over_and_share_the_last_one() {
    let dir = tempfile::tempdir().unwrap();
    let publisher = Publisher::options().lanes_max(4).path(dir.path()).open().unwrap();
    let series = publisher.series("a").unwrap();
    // One after the other: one lane. A scope waits for what its threads do, and only a join for their end, which
    // is when they give their lane back.
    for value in 0..3 {
        std::thread::scope(|scope| scope.spawn(|| series.dot(value.into())).join().unwrap());
    }
    assert_eq!(publisher.published(), [3, 0, 0, 0]);
    // Ten at once: three have a lane each, seven share the fourth.
    let barrier = Barrier::new(10);
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                series.dot(1.0);
                barrier.wait();
                (1..1000).for_each(|value| series.dot(value.into()));
            });
        }
    });
    assert_eq!(publisher.published(), [1003, 1000, 1000, 7000]);
    let (_, lanes) = drain(&publisher.path());
    assert_eq!(lanes.iter().map(|lane| lane.dots.len()).sum::<usize>(), 10_003);
}

#[test]
fn a_lane_that_is_taken_over_goes_on_with_the_times_it_is_given() {
    let dir = tempfile::tempdir().unwrap();
    let publisher = Publisher::create(dir.path(), 1).unwrap();
    let series = publisher.series("a").unwrap();
    std::thread::scope(|scope| scope.spawn(|| series.dot(1.0)).join().unwrap());
    // A time so near to 1970 that it could be taken for one of a block whose base is 0.
    let times = [0, 1, 500_000_000_000].map(Timestamp::from_nanos);
    times.iter().for_each(|time| series.dot_at(*time, 2.0));
    series.dot(3.0);
    let (_, lanes) = drain(&publisher.path());
    let read: Vec<_> = lanes[0].dots.iter().map(|dot| dot.time).collect();
    assert_eq!(read[1..4], times);
    assert!(read[0] <= read[4], "{read:?}");
    assert!(Timestamp::now().since(read[4]) < Duration::from_secs(60), "{read:?}");
}

#[test]
fn two_publishers_in_one_thread_keep_their_dots_apart() {
    let dir = tempfile::tempdir().unwrap();
    let [one, two] = ["one", "two"].map(|name| Publisher::create(&dir.path().join(name), 1).unwrap());
    let (a, _, b) = (one.series("a").unwrap(), two.series("x").unwrap(), two.series("b").unwrap());
    let mut lane = one.lane().unwrap();
    for _ in 0..100 {
        a.dot(1.0);
        b.dot(2.0);
        lane.dot(&a, 3.0);
        lane.dot(&b, 4.0);
    }
    assert_eq!((one.published().iter().sum::<u64>(), two.published().iter().sum::<u64>()), (200, 200));
    let (mut ring, lanes) = drain(&two.path());
    for dot in &lanes[0].dots {
        assert_eq!(ring.series(dot.series).unwrap().raw_name, b"b");
    }
}

#[test]
fn dots_on_a_series_that_found_no_room_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let publisher = Publisher::options().registry_bytes(4096).path(dir.path()).open().unwrap();
    let series: Vec<_> = (0..200).map(|n| publisher.series(&format!("series.{n}")).unwrap()).collect();
    series.iter().for_each(|series| series.dot(1.0));
    let ring = RingReader::open(&publisher.path()).unwrap();
    let refused = publisher.refused();
    assert!(refused.series > 50, "{refused:?}");
    assert_eq!(ring.next_record(0) + refused.series, 200);
    // While a thread of another test is on the slow path, a count waits for the next who takes it: at last the end.
    drop((publisher, series));
    assert_eq!(ring.refusals(), refused);
}

#[test]
fn a_removed_file_is_replaced_by_a_new_ring_with_the_same_series() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ring");
    let publisher = Publisher::create(&path, 1).unwrap();
    let (_, b) = (publisher.series("a").unwrap(), publisher.series("b").unwrap());
    b.dot(1.0);
    let first = publisher.incarnation();
    std::fs::remove_file(&path).unwrap();
    // Looked at only when the clock pair is refreshed, which a dot cannot wait for.
    while publisher.incarnation() == first {
        b.dot(2.0);
    }
    b.dot(3.0);
    let (mut ring, lanes) = drain(&path);
    assert_eq!(ring.incarnation(), publisher.incarnation());
    assert_eq!(ring.series(lanes[0].dots[0].series).unwrap().raw_name, b"b");
    assert_eq!(lanes[0].dots.last().unwrap().value, 3.0);
    assert_eq!(directory::scan(&Place::of(&path)).unwrap(), [path]);
}
