//! Another store answers: it is asked by every ring what it wants, also by those that have nothing new.

mod support;

use dotter_publisher::Publisher;
use support::collector::{Account, Collector};
use support::{Broker, until};

/// The store is gone, and an empty one answers in its place.
fn take_over(collector: &Collector) {
    let mut state = collector.state();
    state.rings.clear();
    state.store = "00000000-0000-4000-8000-000000000002".into();
}

/// Rings with one dot each, all of them stored; the broker follows them.
fn rings(count: usize) -> (tempfile::TempDir, Collector, Broker, Vec<Publisher>) {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let publishers: Vec<_> = (0..count).map(|_| Publisher::create(directory.path(), 1).unwrap()).collect();
    publishers.iter().for_each(|publisher| dot(publisher, 0.0));
    let broker = Broker::start(directory.path(), &collector.url());
    until("a dot of each", || collector.stored() == count as u64);
    (directory, collector, broker, publishers)
}

fn dot(publisher: &Publisher, value: f64) {
    publisher.lane().unwrap().dot(&publisher.series("a").unwrap(), value);
}

/// One ring goes on; the new store comes to hold what each of them holds.
fn check(count: usize) {
    let (_directory, collector, broker, publishers) = rings(count);
    take_over(&collector);
    dot(&publishers[0], 1.0);
    until("everything, in the new store", || collector.stored() == count as u64 + 1);
    broker.stop();
    let state = collector.state();
    assert_eq!(state.rings.len(), count);
    let lost = |ring: &Account| ring.lanes.values().map(|lane| lane.lost()).sum::<u64>();
    assert_eq!(state.rings.values().map(lost).sum::<u64>(), 0);
}

#[test]
fn an_idle_ring_gives_a_new_store_what_it_has() {
    check(2);
}

#[test]
fn a_ring_that_is_out_of_turn_gives_a_new_store_what_it_has() {
    // More than are open at once: those that gave way are remembered with what the old store had of them.
    check(200);
}
