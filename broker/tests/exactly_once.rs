//! Every dot once, whatever happens between ring and store.

mod support;

use std::time::Duration;

use dotter_dot::{Reason, Timestamp};
use dotter_publisher::{Lane, Publisher, Series};
use support::collector::{Collector, Trick};
use support::{Broker, once, until};

/// A publisher with one lane whose n-th dot has the value n.
struct Source {
    lane: Lane,
    series: Series,
    publisher: Publisher,
    published: u64,
}

impl Source {
    fn new(path: &std::path::Path, dots_per_lane: u64) -> Source {
        let publisher = Publisher::create(path, dots_per_lane).unwrap();
        let series = publisher.series("test.count").unwrap();
        Source { lane: publisher.lane().unwrap(), series, publisher, published: 0 }
    }

    fn publish(&mut self, dots: u64) {
        for _ in 0..dots {
            let time = Timestamp::from_nanos(1_710_504_000_000_000_000 + self.published * 1_000);
            self.lane.dot_at(&self.series, time, self.published as f64);
            self.published += 1;
        }
    }
}

#[track_caller]
fn check_all(collector: &Collector, source: &Source) {
    let ring = collector.only_ring();
    assert_eq!(ring.check_lane(0, source.published, |record| record as f64), 0, "lost");
    assert!(ring.lanes[&0].dots.iter().all(|dot| dot.time == 1_710_504_000_000_000_000 + dot.record * 1_000));
    assert_eq!(collector.state().complaints, Vec::<String>::new());
}

/// Shows P5.
#[test]
fn a_question_comes_first_and_every_dot_once() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let mut source = Source::new(directory.path(), 100_000);
    source.publish(10);
    let broker = Broker::start(directory.path(), &collector.url());
    until("the first dots", || collector.stored() == 10);
    source.publish(70_000);
    until("all dots", || collector.stored() == 70_010);
    let totals = broker.stop();
    check_all(&collector, &source);
    assert_eq!(collector.only_ring().questions, 1);
    assert_eq!((totals.dots, totals.failures, totals.conflicts), (70_010, 0, 0));
    let state = collector.state();
    assert!(state.batch_dots.iter().all(|dots| *dots <= 32_768), "{:?}", state.batch_dots);
    assert_eq!(state.rings.values().next().unwrap().lanes[&0].dots[0].name, b"test.count");
}

#[test]
fn failures_of_every_kind_on_the_way_leave_every_dot_once() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let mut source = Source::new(directory.path(), 100_000);
    let broker = Broker::start(directory.path(), &collector.url());
    let tricks = [
        Trick::AckLost,
        Trick::Reset,
        Trick::Status(503, 0),
        Trick::AckLost,
        Trick::Status(429, 0),
        Trick::Status(507, 0),
        Trick::Status(500, 0),
        Trick::Status(400, 0),
        Trick::ShortBody,
    ];
    for trick in tricks {
        collector.trick(&[trick]);
        source.publish(1_000);
        until("dots after a failure", || collector.stored() == source.published);
    }
    let totals = broker.stop();
    check_all(&collector, &source);
    assert!(totals.failures >= tricks.len() as u64, "{totals}");
}

#[test]
fn a_batch_stored_without_an_answer_is_not_stored_again_by_the_next_broker() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let mut source = Source::new(directory.path(), 100_000);
    source.publish(5_000);
    let totals = once(directory.path(), &collector.url());
    assert_eq!(totals.dots, 5_000);
    source.publish(5_000);
    {
        // The question is answered, the batch is stored, its answer is lost, and then all posts fail.
        let broker = Broker::start(directory.path(), &collector.url());
        until("the question", || collector.only_ring().questions == 2);
        until("the dots", || collector.stored() == 10_000);
        collector.trick(&[Trick::AckLost]);
        source.publish(500);
        until("the dots nobody heard about", || collector.stored() == 10_500);
        drop(broker);
    }
    source.publish(1);
    once(directory.path(), &collector.url());
    check_all(&collector, &source);
    assert_eq!(collector.only_ring().questions, 3);
}

#[test]
fn dots_wait_in_the_ring_while_the_collector_is_away() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let mut source = Source::new(directory.path(), 200_000);
    let url = collector.url();
    let away = collector.go_away();
    let broker = Broker::start(directory.path(), &url);
    source.publish(100_000);
    std::thread::sleep(Duration::from_millis(250));
    let collector = away.come_back();
    until("all dots", || collector.stored() == source.published);
    let away = collector.go_away();
    source.publish(50_000);
    let collector = away.come_back();
    until("all dots again", || collector.stored() == source.published);
    let totals = broker.stop();
    check_all(&collector, &source);
    assert!(totals.failures > 0);
}

#[test]
fn where_another_broker_got_there_first_nothing_is_sent_twice() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let mut source = Source::new(directory.path(), 100_000);
    let broker = Broker::start(directory.path(), &collector.url());
    source.publish(100);
    until("the first dots", || collector.stored() == 100);
    // As if another broker had posted the next 1,000 records.
    let incarnation = *collector.state().rings.keys().next().unwrap();
    {
        let mut state = collector.state();
        let lane = state.rings.get_mut(&incarnation).unwrap().lanes.get_mut(&0).unwrap();
        lane.next = 1_100;
        lane.losses.push((100, 1_100, Reason::OTHER));
    }
    source.publish(2_000);
    until("the rest", || collector.stored() == 1_100);
    broker.stop();
    let ring = collector.only_ring();
    assert_eq!(ring.check_lane(0, 2_100, |record| record as f64), 1_000);
}

#[test]
fn a_store_that_went_back_gets_again_what_the_ring_still_has() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    // 4,032 dots: of 10,000 the ring keeps some, not all.
    let mut source = Source::new(directory.path(), 4_032);
    let broker = Broker::start(directory.path(), &collector.url());
    for _ in 0..10 {
        source.publish(1_000);
        until("dots", || collector.stored() == source.published);
    }
    let incarnation = *collector.state().rings.keys().next().unwrap();
    {
        let mut state = collector.state();
        let lane = state.rings.get_mut(&incarnation).unwrap().lanes.get_mut(&0).unwrap();
        lane.next = 2_000;
        lane.dots.truncate(2_000);
    }
    source.publish(10);
    until("the lane again", || collector.only_ring().lanes[&0].next == source.published);
    let totals = broker.stop();
    let ring = collector.only_ring();
    let lost = ring.check_lane(0, source.published, |record| record as f64);
    assert!((4_000..7_000).contains(&lost), "{lost}");
    assert!(
        ring.lanes[&0].losses.iter().all(|loss| loss.2 == Reason::STORE_WENT_BACK),
        "{:?}",
        ring.lanes[&0].losses
    );
    assert_eq!(totals.wanted_again, 8_000);
    assert_eq!(totals.lost[&Reason::STORE_WENT_BACK], lost);
}

#[test]
fn another_store_is_asked_what_it_wants_and_gets_what_there_is() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let mut source = Source::new(directory.path(), 4_032);
    let broker = Broker::start(directory.path(), &collector.url());
    for _ in 0..6 {
        source.publish(1_000);
        until("dots", || collector.stored() == source.published);
    }
    {
        let mut state = collector.state();
        state.rings.clear();
        state.store = "00000000-0000-4000-8000-000000000002".into();
        // As a real one would: a batch of an unknown ring that starts above 0 is a 409.
    }
    source.publish(10);
    until("everything there still is", || {
        collector.state().rings.values().any(|ring| ring.lanes.get(&0).is_some_and(|lane| lane.next == 6_010))
    });
    broker.stop();
    let ring = collector.only_ring();
    let lost = ring.check_lane(0, source.published, |record| record as f64);
    assert!(lost > 0 && lost < 6_000, "{lost}");
    assert!(
        ring.lanes[&0].losses.iter().all(|loss| loss.2 == Reason::BEFORE_STORE),
        "{:?}",
        ring.lanes[&0].losses
    );
    assert_eq!(ring.questions, 1);
}

#[test]
fn batches_the_collector_finds_too_large_are_halved_until_they_pass() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    collector.state().dots_max = Some(3_000);
    let mut source = Source::new(directory.path(), 100_000);
    source.publish(30_000);
    let broker = Broker::start(directory.path(), &collector.url());
    until("all dots", || collector.stored() == source.published);
    broker.stop();
    check_all(&collector, &source);
}

#[test]
fn several_lanes_and_series_keep_apart() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let publisher = Publisher::create(directory.path(), 200_000).unwrap();
    let broker = Broker::start(directory.path(), &collector.url());
    let all_have_one = std::sync::Barrier::new(3);
    std::thread::scope(|scope| {
        for writer in 0..3 {
            let (publisher, all_have_one) = (&publisher, &all_have_one);
            scope.spawn(move || {
                let mut lane = publisher.lane().unwrap();
                // One that was done before another began would leave it its lane.
                all_have_one.wait();
                let series: Vec<_> =
                    (0..50).map(|n| publisher.series(&format!("writer.{writer}.{n}")).unwrap()).collect();
                for record in 0..60_000_u64 {
                    lane.dot(&series[(record % 50) as usize], record as f64);
                }
            });
        }
    });
    until("all dots", || collector.stored() == 180_000);
    broker.stop();
    let ring = collector.only_ring();
    assert_eq!(ring.lanes.len(), 3);
    for (lane, account) in &ring.lanes {
        assert_eq!(ring.check_lane(*lane, 60_000, |record| record as f64), 0);
        let writer = account.dots[0].name.strip_suffix(b"0").unwrap().to_vec();
        for dot in &account.dots {
            assert_eq!(dot.name, [writer.as_slice(), (dot.record % 50).to_string().as_bytes()].concat());
            assert!(dot.clock, "stamped by the clock");
        }
    }
}

#[test]
fn refusals_of_the_ring_reach_the_ledger() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let mut source = Source::new(directory.path(), 4_032);
    let broker = Broker::start(directory.path(), &collector.url());
    // More names than a registry of 1 MiB holds.
    for n in 0..300_u64 {
        let series = source.publisher.series(&format!("{}.{n}", "x".repeat(4_000))).unwrap();
        source.lane.dot_at(&series, Timestamp::from_nanos(n), n as f64);
    }
    let published: u64 = source.publisher.published().iter().sum();
    let refused = 300 - published;
    assert!(refused > 0);
    until("the totals", || {
        let state = collector.state();
        state.rings.values().any(|ring| ring.refusals == [(Reason::REGISTRY_FULL, refused)])
    });
    until("the dots", || collector.stored() == published);
    broker.stop();
    assert_eq!(collector.only_ring().check_lane(0, published, |record| record as f64), 0);
}

#[test]
fn long_names_divide_batches_and_nothing_is_lost_between_them() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let publisher = Publisher::options()
        .path(directory.path())
        .lane_dots(20_000)
        .registry_bytes(16 << 20)
        .open()
        .unwrap();
    let series: Vec<_> = (0..3_000)
        .map(|n| publisher.series(&format!("{n}.{}", "x".repeat(n % 4_000))).unwrap().unit("some unit"))
        .collect();
    let mut lanes = [publisher.lane().unwrap(), publisher.lane().unwrap()];
    for record in 0..9_000_u64 {
        for lane in &mut lanes {
            lane.dot(&series[(record * 7 % 3_000) as usize], record as f64);
        }
    }
    let totals = once(directory.path(), &collector.url());
    let ring = collector.only_ring();
    for lane in 0..2 {
        assert_eq!(ring.check_lane(lane, 9_000, |record| record as f64), 0);
        for dot in &ring.lanes[&lane].dots {
            assert!(dot.name.starts_with(format!("{}.", dot.record * 7 % 3_000).as_bytes()));
        }
    }
    // Each batch names its series anew: 1 MB holds the names of a few hundred.
    assert!(totals.batches > 10 && totals.failures == 0, "{totals}");
    assert_eq!(collector.state().complaints, Vec::<String>::new());
}
