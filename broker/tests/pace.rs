//! How often the broker posts to a collector that does not want to hear of it: counted, and never more than so much,
//! however slow the machine is.

mod support;

use std::time::{Duration, Instant};

use dotter_publisher::Publisher;
use support::collector::{Collector, Trick};
use support::{Broker, until};

#[test]
fn one_ring_knocks_for_all_while_the_collector_is_busy() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let publishers: Vec<_> = (0..8).map(|_| Publisher::create(directory.path(), 1).unwrap()).collect();
    for publisher in &publishers {
        publisher.lane().unwrap().dot(&publisher.series("a").unwrap(), 0.0);
    }
    // Long enough that posts of several threads would meet.
    collector.state().delay = Duration::from_millis(50);
    collector.trick(&[Trick::Status(503, 0); 6]);
    let broker = Broker::start(directory.path(), &collector.url());
    until("a dot of each", || collector.stored() == 8);
    broker.stop();
    let state = collector.state();
    // Until the first 503 is read there are four under way at most.
    assert_eq!(state.at_once[4..6], [1, 1], "posts under way when each came: {:?}", state.at_once);
}

#[test]
fn two_stores_behind_one_address_are_no_hot_loop() {
    const CHANGES: u32 = 15;
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let publisher = Publisher::create(directory.path(), 10_000).unwrap();
    let (mut lane, series) = (publisher.lane().unwrap(), publisher.series("a").unwrap());
    lane.dot(&series, 0.0);
    let broker = Broker::start(directory.path(), &collector.url());
    until("the first dot", || collector.stored() == 1);
    let begun = Instant::now();
    collector.state().batch_tricks.extend([Trick::OtherStore; CHANGES as usize]);
    lane.dot(&series, 1.0);
    until("the second dot", || collector.stored() == 2);
    broker.stop();
    // At least a tenth of a second behind each change.
    assert!(begun.elapsed() >= Duration::from_millis(100) * CHANGES, "{:?}", begun.elapsed());
    assert_eq!(collector.only_ring().check_lane(0, 2, |record| record as f64), 0);
}
