//! Rings that end: drained, finished, removed; in that order, whoever is killed in between.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use dotter_publisher::Publisher;
use support::collector::{Collector, Trick};
use support::{Broker, once, until};

/// Publishes `dots` dots with the values 0, 1, 2, ... and closes the ring.
fn publish_and_close(path: &Path, dots: u64) {
    let publisher = Publisher::create(path, 100_000).unwrap();
    let (mut lane, series) = (publisher.lane().unwrap(), publisher.series("a").unwrap());
    (0..dots).for_each(|n| lane.dot(&series, n as f64));
}

/// A ring of a hundred dots of which a broker killed between the finish and the removal has left this: everything is at the
/// collector, and the file is here.
fn finish_and_put_back(directory: &Path, url: &str) {
    let copy = directory.join("kept");
    publish_and_close(directory, 100);
    let ring = fs::read_dir(directory).unwrap().next().unwrap().unwrap().path();
    fs::copy(&ring, &copy).unwrap();
    once(directory, url);
    assert_eq!(rings_in(directory), 0);
    fs::rename(&copy, &ring).unwrap();
}

fn rings_in(directory: &Path) -> usize {
    let is_ring = |entry: &fs::DirEntry| entry.file_name().to_str().unwrap().ends_with(".dots");
    fs::read_dir(directory).unwrap().map(Result::unwrap).filter(is_ring).count()
}

/// Not a test by itself: what [`child`] runs in a process of its own.
#[test]
#[ignore = "started by other tests"]
fn publish_in_a_child() {
    let path = std::env::var("DOTTER_TEST_RING").expect("another test starts this one");
    let publisher = Publisher::create(Path::new(&path), 100_000).unwrap();
    let (mut lane, series) = (publisher.lane().unwrap(), publisher.series("a").unwrap());
    (0..5_000).for_each(|n| lane.dot(&series, n as f64));
    println!("published");
    // Killed by the parent.
    loop {
        std::thread::park();
    }
}

/// A process that has published 5,000 dots and lives on.
fn child(path: &Path) -> Child {
    use std::io::BufRead as _;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "publish_in_a_child", "--nocapture", "--test-threads=1"])
        .env("DOTTER_TEST_RING", path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = std::io::BufReader::new(child.stdout.as_mut().unwrap());
    assert!(stdout.lines().any(|line| line.unwrap().contains("published")), "the child published");
    child
}

#[test]
fn a_closed_ring_is_drained_finished_and_removed() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    publish_and_close(directory.path(), 40_000);
    assert_eq!(rings_in(directory.path()), 1);
    let broker = Broker::start(directory.path(), &collector.url());
    until("the file goes", || rings_in(directory.path()) == 0);
    let ring = collector.only_ring();
    assert_eq!(ring.check_lane(0, 40_000, |record| record as f64), 0);
    assert_eq!(ring.finished, 1);
    assert_eq!(broker.stop().rings_finished, 1);
}

#[test]
fn a_ring_closed_under_the_broker_goes_too_and_the_next_one_comes() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let broker = Broker::start(directory.path(), &collector.url());
    for round in 1..4 {
        publish_and_close(directory.path(), 1_000);
        until("the file goes", || rings_in(directory.path()) == 0);
        assert_eq!(collector.stored(), round * 1_000);
    }
    assert_eq!(broker.stop().rings_finished, 3);
}

#[test]
fn an_empty_ring_is_finished_too() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    drop(Publisher::create(directory.path(), 5_000).unwrap());
    let totals = once(directory.path(), &collector.url());
    assert_eq!(rings_in(directory.path()), 0);
    assert_eq!((totals.dots, totals.rings_finished), (0, 1));
}

#[test]
fn the_ring_of_a_killed_process_is_drained_finished_and_removed() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let mut child = child(directory.path());
    let broker = Broker::start(directory.path(), &collector.url());
    until("the dots", || collector.stored() == 5_000);
    std::thread::sleep(Duration::from_millis(2_500));
    assert_eq!(rings_in(directory.path()), 1, "its owner lives");
    child.kill().unwrap();
    child.wait().unwrap();
    until("the file goes", || rings_in(directory.path()) == 0);
    broker.stop();
    let ring = collector.only_ring();
    assert_eq!(ring.check_lane(0, 5_000, |record| record as f64), 0);
    assert_eq!(ring.finished, 1);
}

/// Shows P7.
#[test]
fn a_ring_whose_finish_was_not_answered_stays_until_it_is() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    publish_and_close(directory.path(), 100);
    collector.state().finish_tricks.extend([Trick::Html, Trick::Status(500, 0), Trick::AckLost]);
    let broker = Broker::start(directory.path(), &collector.url());
    until("two refusals", || {
        let left = collector.state().finish_tricks.len();
        assert!(left == 0 || rings_in(directory.path()) == 1, "removed without an ack");
        left == 0
    });
    until("the file goes", || rings_in(directory.path()) == 0);
    broker.stop();
    assert_eq!(collector.only_ring().finished, 2);
}

#[test]
fn a_finish_that_was_stored_but_not_answered_is_repeated_by_the_next_broker() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let url = collector.url();
    finish_and_put_back(directory.path(), &url);
    let totals = once(directory.path(), &url);
    assert_eq!(rings_in(directory.path()), 0);
    let account = collector.only_ring();
    assert_eq!((account.finished, account.questions, totals.dots), (2, 2, 0));
    assert_eq!(account.check_lane(0, 100, |record| record as f64), 0);
}

#[test]
fn a_ring_unlinked_under_the_broker_is_drained_to_its_end() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let publisher = Publisher::create(directory.path(), 100_000).unwrap();
    let (mut lane, series) = (publisher.lane().unwrap(), publisher.series("a").unwrap());
    (0..100).for_each(|n| lane.dot(&series, n as f64));
    let broker = Broker::start(directory.path(), &collector.url());
    until("the first dots", || collector.stored() == 100);
    let away = collector.go_away();
    (100..200).for_each(|n| lane.dot(&series, n as f64));
    let path = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "dots"))
        .unwrap();
    fs::remove_file(path).unwrap();
    drop((lane, series, publisher));
    std::thread::sleep(Duration::from_millis(100));
    let collector = away.come_back();
    until("the finish", || collector.state().rings.values().map(|ring| ring.finished).sum::<u32>() == 1);
    broker.stop();
    let account = collector.only_ring();
    assert_eq!(account.check_lane(0, 200, |record| record as f64), 0);
}

#[test]
fn an_exact_name_and_its_predecessors_are_read_together() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let path = directory.path().join("app");
    let broker = Broker::start(&path, &collector.url());
    let mut child = child(&path);
    until("the first ring", || collector.stored() == 5_000);
    child.kill().unwrap();
    child.wait().unwrap();
    // The dead ring is moved aside, the new one takes its name.
    let publisher = Publisher::create(&path, 5_000).unwrap();
    let (mut lane, series) = (publisher.lane().unwrap(), publisher.series("a").unwrap());
    (0..100).for_each(|n| lane.dot(&series, n as f64));
    until("the second ring", || collector.stored() == 5_100);
    until("the first goes", || rings_in(directory.path()) == 0);
    assert!(path.exists(), "the second is alive");
    drop((lane, series, publisher));
    until("the second goes", || !path.exists());
    broker.stop();
    assert_eq!(collector.state().rings.values().map(|ring| ring.finished).collect::<Vec<_>>(), [1, 1]);
}

/// Shows P7.
#[test]
fn a_ring_that_the_collector_only_knows_to_be_finished_is_removed_and_nothing_of_it_is_sent() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let url = collector.url();
    finish_and_put_back(directory.path(), &url);
    collector.state().keeps_no_accounts = true;
    let totals = once(directory.path(), &url);
    assert_eq!(rings_in(directory.path()), 0);
    assert_eq!(
        (totals.dots, totals.batches, totals.rings_finished, totals.failures),
        (0, 0, 1, 0),
        "{totals}"
    );
    assert_eq!((collector.only_ring().finished, collector.state().conflicts), (1, 0));
}

/// Shows P7.
#[test]
fn a_ring_whose_owner_lives_stays_though_the_collector_says_it_has_finished() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let mut child = child(directory.path());
    let broker = Broker::start(directory.path(), &collector.url());
    until("the dots", || collector.stored() == 5_000);
    broker.stop();
    // Somebody else, who cannot see the owner, has finished it.
    let mut state = collector.state();
    state.keeps_no_accounts = true;
    state.rings.values_mut().for_each(|ring| ring.finished += 1);
    let questions: u32 = state.rings.values().map(|ring| ring.questions).sum();
    drop(state);
    let broker = Broker::start(directory.path(), &collector.url());
    until("the question", || collector.only_ring().questions > questions);
    assert_eq!(rings_in(directory.path()), 1, "its owner lives");
    child.kill().unwrap();
    child.wait().unwrap();
    until("the file goes", || rings_in(directory.path()) == 0);
    let totals = broker.stop();
    assert_eq!((totals.dots, totals.rings_finished, totals.failures), (0, 1, 0), "{totals}");
    assert_eq!(collector.stored(), 5_000);
}
