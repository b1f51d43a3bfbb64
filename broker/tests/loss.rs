//! What the ring overwrote before the broker came by is counted, record by record.

mod support;

use dotter_dot::Reason;
use dotter_publisher::Publisher;
use support::collector::{Collector, Trick};
use support::{Broker, once, until};

#[test]
fn a_lapped_ring_is_stored_and_lost_to_the_record() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let publisher = Publisher::create(directory.path(), 4_032).unwrap();
    let (mut lane, series) = (publisher.lane().unwrap(), publisher.series("a").unwrap());
    (0..100_000).for_each(|n| lane.dot(&series, n as f64));
    let totals = once(directory.path(), &collector.url());
    let ring = collector.only_ring();
    let lost = ring.check_lane(0, 100_000, |record| record as f64);
    assert!((96_000..99_000).contains(&lost), "{lost}");
    assert_eq!(ring.lanes[&0].losses, [(0, lost, Reason::LAPPED)]);
    assert_eq!((totals.dots, totals.lost[&Reason::LAPPED]), (100_000 - lost, lost));
}

#[test]
fn a_ring_lapped_while_the_collector_is_away_loses_only_what_is_gone() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let publisher = Publisher::create(directory.path(), 4_032).unwrap();
    let (mut lane, series) = (publisher.lane().unwrap(), publisher.series("a").unwrap());
    (0..1_000).for_each(|n| lane.dot(&series, n as f64));
    let broker = Broker::start(directory.path(), &collector.url());
    until("the first dots", || collector.stored() == 1_000);
    let away = collector.go_away();
    // In pieces, so that the broker reads, fails and reads again while it is lapped.
    for piece in 0..20 {
        (0..1_000).for_each(|n| lane.dot(&series, f64::from(1_000 + piece * 1_000 + n)));
        std::thread::sleep(std::time::Duration::from_millis(7));
    }
    let collector = away.come_back();
    until("the end", || collector.only_ring().lanes[&0].next == 21_000);
    broker.stop();
    let ring = collector.only_ring();
    let lost = ring.check_lane(0, 21_000, |record| record as f64);
    assert!((15_000..19_000).contains(&lost), "{lost}");
    assert!(ring.lanes[&0].losses.iter().all(|loss| loss.2 == Reason::LAPPED));
}

#[test]
fn a_fast_writer_in_a_small_ring_conserves_its_count() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let publisher = Publisher::create(directory.path(), 4_032).unwrap();
    let (mut lane, series) = (publisher.lane().unwrap(), publisher.series("a").unwrap());
    let broker = Broker::start(directory.path(), &collector.url());
    until("the question", || collector.state().posts == 1);
    let dots = 3_000_000_u64;
    for n in 0..dots {
        lane.dot(&series, n as f64);
    }
    until("the end", || collector.only_ring().lanes.get(&0).is_some_and(|lane| lane.next == dots));
    broker.stop();
    let lost = collector.only_ring().check_lane(0, dots, |record| record as f64);
    assert!(lost > 0, "a lap was forced");
    assert_eq!(collector.state().conflicts, 0);
}

#[test]
fn a_dot_that_is_too_big_for_the_collector_is_refused_and_the_ring_goes_on() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    collector.state().bytes_max = Some(1_000);
    let publisher = Publisher::create(directory.path(), 10_000).unwrap();
    let (mut lane, mut other) = (publisher.lane().unwrap(), publisher.lane().unwrap());
    let series = publisher.series("a").unwrap();
    let long = publisher.series(&"x".repeat(3_000)).unwrap();
    for n in 0..40 {
        // One in the middle, and two in a row.
        lane.dot(if matches!(n, 20 | 30 | 31) { &long } else { &series }, n as f64);
        other.dot(&series, n as f64);
    }
    let broker = Broker::start(directory.path(), &collector.url());
    until("all that fit", || collector.stored() == 77);
    drop((lane, other, series, long, publisher));
    until("the finish", || collector.only_ring().finished == 1);
    let totals = broker.stop();
    let account = collector.only_ring();
    assert_eq!(account.check_lane(0, 40, |record| record as f64), 3);
    assert_eq!(account.check_lane(1, 40, |record| record as f64), 0);
    let losses: Vec<_> =
        account.lanes[&0].losses.iter().map(|(first, _, reason)| (*first, *reason)).collect();
    assert_eq!(losses, [20, 30, 31].map(|record| (record, Reason::TOO_BIG)));
    assert_eq!((totals.refused[&Reason::TOO_BIG], totals.dots), (3, 77), "{totals}");
}

#[test]
fn a_few_answers_that_a_dot_is_too_big_refuse_nothing() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let publisher = Publisher::create(directory.path(), 10_000).unwrap();
    publisher.lane().unwrap().dot(&publisher.series("a").unwrap(), 0.0);
    collector.state().batch_tricks.extend([Trick::Status(413, 0); 3]);
    let totals = once(directory.path(), &collector.url());
    assert!(collector.state().batch_tricks.is_empty());
    assert_eq!(collector.only_ring().check_lane(0, 1, |record| record as f64), 0);
    assert!(totals.refused.is_empty(), "{totals}");
}
