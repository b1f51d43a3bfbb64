//! N3: a server that says anything but an answer moves no cursor and takes no memory.

mod support;

use dotter_publisher::Publisher;
use support::collector::{Collector, Trick};
use support::{Broker, once, until};

/// Resident memory of this process that is no file's, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The server lies `times` times, to the question and then to a batch; afterwards every dot is stored once.
fn check(trick: Trick, times: usize) {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let publisher = Publisher::create(directory.path(), 10_000).unwrap();
    let (mut lane, series) = (publisher.lane().unwrap(), publisher.series("a").unwrap());
    (0..100).for_each(|n| lane.dot(&series, n as f64));
    collector.trick(&vec![trick; times]);
    let broker = Broker::start(directory.path(), &collector.url());
    until("the lies to the question", || collector.state().tricks.is_empty());
    until("the first dots", || collector.stored() == 100);
    collector.trick(&vec![trick; times]);
    (100..200).for_each(|n| lane.dot(&series, n as f64));
    until("the lies to the batch", || collector.state().tricks.is_empty());
    until("all dots", || collector.stored() == 200);
    let totals = broker.stop();
    assert_eq!(collector.only_ring().check_lane(0, 200, |record| record as f64), 0, "{trick:?}");
    let state = collector.state();
    assert_eq!(state.complaints, Vec::<String>::new(), "{trick:?}");
    assert_eq!(state.gets, 0, "{trick:?}: a redirect was followed");
    assert_eq!(totals.failures, 2 * times as u64, "{trick:?}: {totals}");
    assert_eq!(totals.dots, 200);
}

/// Shows P6.
#[test]
fn html_with_status_200_is_no_ack() {
    check(Trick::Html, 2);
}

#[test]
fn a_redirect_is_no_ack_and_is_not_followed() {
    check(Trick::Redirect, 2);
}

#[test]
fn no_content_is_no_ack() {
    check(Trick::NoContent, 2);
}

#[test]
fn half_an_answer_is_no_ack() {
    check(Trick::HalfAnswer, 2);
    check(Trick::ShortBody, 2);
}

/// Shows P6.
#[test]
fn an_answer_about_another_ring_is_no_ack() {
    check(Trick::OtherRing, 2);
}

#[test]
fn a_batch_answered_with_less_than_all_is_no_ack() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let publisher = Publisher::create(directory.path(), 10_000).unwrap();
    let (mut lane, series) = (publisher.lane().unwrap(), publisher.series("a").unwrap());
    (0..100).for_each(|n| lane.dot(&series, n as f64));
    let broker = Broker::start(directory.path(), &collector.url());
    until("the first dots", || collector.stored() == 100);
    collector.state().batch_tricks.push_back(Trick::Behind);
    (100..200).for_each(|n| lane.dot(&series, n as f64));
    until("the lie", || collector.state().batch_tricks.is_empty());
    until("all dots", || collector.stored() == 200);
    let totals = broker.stop();
    assert_eq!(totals.dots, 201, "the one that is wanted again counts again, and no other: {totals}");
    assert_eq!(collector.only_ring().check_lane(0, 200, |record| record as f64), 0);
}

#[test]
fn once_does_not_leave_before_all_is_acknowledged() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let publisher = Publisher::create(directory.path(), 10_000).unwrap();
    let (mut lane, series) = (publisher.lane().unwrap(), publisher.series("a").unwrap());
    (0..100).for_each(|n| lane.dot(&series, n as f64));
    once(directory.path(), &collector.url());
    // What is sent again is not acknowledged at once either.
    collector.state().batch_tricks.extend([Trick::Behind, Trick::Status(503, 0)]);
    (100..200).for_each(|n| lane.dot(&series, n as f64));
    once(directory.path(), &collector.url());
    assert_eq!(collector.only_ring().check_lane(0, 200, |record| record as f64), 0);
}

/// The first 100 dots are stored; the answer to the next batch, or the next finish, is a lie.
fn check_records_no_ring_has(trick: Trick) {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let publisher = Publisher::create(directory.path(), 10_000).unwrap();
    let (mut lane, series) = (publisher.lane().unwrap(), publisher.series("a").unwrap());
    (0..100).for_each(|n| lane.dot(&series, n as f64));
    let broker = Broker::start(directory.path(), &collector.url());
    until("the first dots", || collector.stored() == 100);
    collector.state().batch_tricks.push_back(trick);
    (100..200).for_each(|n| lane.dot(&series, n as f64));
    until("the lie", || collector.state().batch_tricks.is_empty());
    until("all dots", || collector.stored() == 200);
    collector.state().finish_tricks.push_back(trick);
    drop((lane, series, publisher));
    until("the finish", || collector.only_ring().finished == 1);
    let totals = broker.stop();
    assert_eq!(collector.only_ring().check_lane(0, 200, |record| record as f64), 0, "{trick:?}");
    assert_eq!((totals.dots, totals.failures, totals.wanted_again), (200, 2, 0), "{trick:?}: {totals}");
    assert!(totals.refused.is_empty(), "{trick:?}: {totals}");
}

#[test]
fn an_answer_about_records_that_no_ring_has_is_no_ack() {
    check_records_no_ring_has(Trick::Ahead);
    check_records_no_ring_has(Trick::RefusedAhead);
}

#[test]
fn records_refused_of_a_lane_that_was_not_posted_are_not_counted() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let publisher = Publisher::create(directory.path(), 10_000).unwrap();
    let (mut lane, series) = (publisher.lane().unwrap(), publisher.series("a").unwrap());
    (0..100).for_each(|n| lane.dot(&series, n as f64));
    drop((lane, series, publisher));
    collector.state().batch_tricks.push_back(Trick::RefusedElsewhere);
    let broker = Broker::start(directory.path(), &collector.url());
    until("all dots", || collector.stored() == 100);
    until("the finish", || collector.only_ring().finished == 1);
    let totals = broker.stop();
    assert_eq!(collector.only_ring().check_lane(0, 100, |record| record as f64), 0);
    assert_eq!((totals.refused.len(), totals.failures), (0, 1), "{totals}");
}

#[test]
fn a_question_answered_with_records_that_no_ring_has_is_not_counted_as_a_store_that_went_back() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let publisher = Publisher::create(directory.path(), 10_000).unwrap();
    let (mut one, mut two) = (publisher.lane().unwrap(), publisher.lane().unwrap());
    let series = publisher.series("a").unwrap();
    (0..100).for_each(|n| one.dot(&series, n as f64));
    (0..100).for_each(|n| two.dot(&series, n as f64));
    once(directory.path(), &collector.url());
    drop((one, two, series, publisher));
    collector.trick(&[Trick::Ahead]);
    let broker = Broker::start(directory.path(), &collector.url());
    until("the finish", || collector.only_ring().finished == 1);
    let totals = broker.stop();
    for lane in 0..2 {
        assert_eq!(collector.only_ring().check_lane(lane, 100, |record| record as f64), 0);
    }
    assert_eq!((totals.wanted_again, totals.rings_finished), (0, 1), "{totals}");
}

#[test]
fn a_question_answered_with_records_that_no_ring_has_does_not_stop_the_ring_for_good() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let publisher = Publisher::create(directory.path(), 10_000).unwrap();
    let (mut lane, series) = (publisher.lane().unwrap(), publisher.series("a").unwrap());
    (0..100).for_each(|n| lane.dot(&series, n as f64));
    once(directory.path(), &collector.url());
    collector.trick(&[Trick::Ahead]);
    (100..200).for_each(|n| lane.dot(&series, n as f64));
    let broker = Broker::start(directory.path(), &collector.url());
    until("all dots", || collector.stored() == 200);
    broker.stop();
    assert_eq!(collector.only_ring().check_lane(0, 200, |record| record as f64), 0);
}

#[test]
fn a_finish_answered_with_less_than_all_keeps_the_ring() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let publisher = Publisher::create(directory.path(), 10_000).unwrap();
    let (mut lane, series) = (publisher.lane().unwrap(), publisher.series("a").unwrap());
    (0..100).for_each(|n| lane.dot(&series, n as f64));
    drop((lane, series, publisher));
    collector.state().finish_tricks.push_back(Trick::Behind);
    let totals = once(directory.path(), &collector.url());
    assert!(collector.state().finish_tricks.is_empty(), "the lie was told");
    assert_eq!(collector.only_ring().finished, 1, "the ring was removed without an ack");
    assert_eq!((totals.rings_finished, totals.conflicts), (1, 1), "{totals}");
}

#[test]
fn an_answer_without_our_lanes_is_no_ack() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let publisher = Publisher::create(directory.path(), 10_000).unwrap();
    let (mut lane, series) = (publisher.lane().unwrap(), publisher.series("a").unwrap());
    let broker = Broker::start(directory.path(), &collector.url());
    until("the question", || collector.state().posts == 1);
    collector.trick(&[Trick::NoLanes, Trick::NoLanes]);
    (0..100).for_each(|n| lane.dot(&series, n as f64));
    until("all dots", || collector.stored() == 100);
    let totals = broker.stop();
    assert_eq!((totals.dots, totals.failures), (100, 2));
    assert_eq!(collector.only_ring().check_lane(0, 100, |record| record as f64), 0);
}

#[test]
fn answers_without_end_are_cut_off_and_memory_stays_flat() {
    check(Trick::EndlessHeaders, 1);
    check(Trick::EndlessBody, 1);
    let before = resident();
    check(Trick::EndlessHeaders, 3);
    check(Trick::EndlessBody, 3);
    let after = resident();
    assert!(after < before + 8 * 1024, "resident memory went from {before} to {after} KiB");
}
