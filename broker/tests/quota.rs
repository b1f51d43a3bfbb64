//! Dead rings that had to make room: what was not posted is counted as lost, once.

mod support;

use dotter_dot::Reason;
use dotter_publisher::{Publisher, Timestamp};
use dotter_ring::directory::{self, Place};
use support::collector::Collector;
use support::once;

#[test]
fn what_a_ring_held_that_made_room_is_lost_from_where_the_collector_stands() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let place = Place::Directory(directory.path().to_owned());
    let publisher = Publisher::options().registry_bytes(4096).path(directory.path()).open().unwrap();
    let series = publisher.series("a").unwrap();
    let mut lane = publisher.lane().unwrap();
    let mut publish = |from: u64, until: u64| {
        (from..until).for_each(|n| lane.dot_at(&series, Timestamp::from_nanos(n), n as f64));
    };
    publish(0, 400);
    assert_eq!(once(directory.path(), &collector.url()).dots, 400);
    publish(400, 1000);
    drop((lane, series, publisher));
    assert_eq!(directory::make_room(&place, 0).unwrap().len(), 1);
    let totals = once(directory.path(), &collector.url());
    assert_eq!((totals.lost[&Reason::QUOTA], totals.dots), (600, 0));
    let ring = collector.only_ring();
    assert_eq!(ring.check_lane(0, 1000, |record| record as f64), 600);
    assert_eq!(ring.lanes[&0].losses, [(400, 1000, Reason::QUOTA)]);
    assert_eq!(ring.finished, 1);
    assert!(directory::scan(&place).unwrap().is_empty(), "the stub went with the finish");
}
