//! Whatever lies in the directory: other brokers, foreign files, damaged rings, many rings.

mod support;

use std::fs;

use dotter_broker::{Error, Options};
use dotter_daemon::{Log, StopFlag};
use dotter_publisher::Publisher;
use support::collector::Collector;
use support::{Broker, once, options, until};

#[test]
fn a_second_broker_is_refused() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let publisher = Publisher::create(directory.path(), 5_000).unwrap();
    let (mut lane, series) = (publisher.lane().unwrap(), publisher.series("a").unwrap());
    lane.dot(&series, 0.0);
    let broker = Broker::start(directory.path(), &collector.url());
    until("the first dot", || collector.stored() == 1);
    let options = options(directory.path(), &collector.url());
    let second = dotter_broker::run(&options, &StopFlag::default(), &Log::new("second"));
    assert!(matches!(second, Err(Error::Lock(_))), "{second:?}");
    lane.dot(&series, 1.0);
    until("the second dot", || collector.stored() == 2);
    broker.stop();
    // With the first gone another may come.
    lane.dot(&series, 2.0);
    once(directory.path(), &collector.url());
    assert_eq!(collector.only_ring().check_lane(0, 3, |record| record as f64), 0);
}

#[test]
fn two_brokers_of_two_exact_names_in_one_directory_run_side_by_side() {
    let directory = tempfile::tempdir().unwrap();
    let places = ["one", "two"].map(|name| {
        let path = directory.path().join(name);
        let publisher = Publisher::create(&path, 5_000).unwrap();
        let (mut lane, series) = (publisher.lane().unwrap(), publisher.series("a").unwrap());
        lane.dot(&series, 0.0);
        let collector = Collector::start();
        let broker = Broker::start(&path, &collector.url());
        (publisher, collector, broker)
    });
    // Neither is stopped before both have posted.
    for (_, collector, broker) in &places {
        until("its dot", || collector.stored() == 1 || !broker.is_running());
    }
    for (_, collector, broker) in places {
        broker.stop();
        assert_eq!(collector.only_ring().check_lane(0, 1, |record| record as f64), 0);
    }
}

#[test]
fn a_directory_made_anew_has_no_second_broker_either() {
    let (top, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let path = top.path().join("rings");
    fs::create_dir(&path).unwrap();
    let broker = Broker::start(&path, &collector.url());
    let publish = || {
        let publisher = Publisher::create(&path, 5_000).unwrap();
        let (mut lane, series) = (publisher.lane().unwrap(), publisher.series("a").unwrap());
        lane.dot(&series, 0.0);
        publisher
    };
    let _removed = publish();
    until("a dot of the first directory", || collector.stored() == 1);
    fs::remove_dir_all(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let _there = publish();
    until("a dot of the second directory", || collector.stored() == 2);
    let options = Options { once: true, ..options(&path, &collector.url()) };
    let second = dotter_broker::run(&options, &StopFlag::default(), &Log::new("second"));
    assert!(matches!(second, Err(Error::Lock(_))), "{second:?}");
    broker.stop();
}

#[test]
fn the_broker_waits_for_a_directory_that_is_not_there_yet() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let path = directory.path().join("later");
    let broker = Broker::start(&path, &collector.url());
    fs::create_dir(&path).unwrap();
    let publisher = Publisher::create(&path, 5_000).unwrap();
    let (mut lane, series) = (publisher.lane().unwrap(), publisher.series("a").unwrap());
    lane.dot(&series, 0.0);
    until("the dot", || collector.stored() == 1);
    broker.stop();
}

#[test]
fn foreign_and_damaged_files_are_skipped_and_stall_nobody() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let path = |name: &str| directory.path().join(name);
    fs::write(path("empty.dots"), b"").unwrap();
    fs::write(path("text.dots"), b"not a ring at all").unwrap();
    fs::write(path("zeros.dots"), vec![0; 1 << 20]).unwrap();
    fs::create_dir(path("directory.dots")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", path("link.dots")).unwrap();
    nix::unistd::mkfifo(&path("fifo.dots"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    {
        let publisher = Publisher::create(directory.path(), 5_000).unwrap();
        let (mut lane, series) = (publisher.lane().unwrap(), publisher.series("a").unwrap());
        lane.dot(&series, 0.0);
    }
    // The same ring with a damaged header, and one cut short.
    let ring = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.is_file() && fs::metadata(path).unwrap().len() > 2 << 20)
        .unwrap();
    let mut bytes = fs::read(&ring).unwrap();
    bytes[40] ^= 1;
    fs::write(path("damaged.dots"), &bytes).unwrap();
    bytes[40] ^= 1;
    fs::write(path("short.dots"), &bytes[..1 << 20]).unwrap();
    let totals = once(directory.path(), &collector.url());
    assert_eq!(collector.only_ring().check_lane(0, 1, |record| record as f64), 0);
    assert_eq!((totals.dots, totals.rings_finished, totals.files_refused), (1, 1, 8), "{totals}");
    assert!(!ring.exists());
    assert!(path("damaged.dots").exists());
}

#[test]
fn a_ring_truncated_under_the_broker_stalls_nobody() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let victim = directory.path().join("victim.dots");
    let publisher = Publisher::create(&directory.path().join("ring"), 5_000).unwrap();
    let (mut lane, series) = (publisher.lane().unwrap(), publisher.series("a").unwrap());
    lane.dot(&series, 0.0);
    fs::copy(directory.path().join("ring"), &victim).unwrap();
    let healthy = Publisher::create(directory.path(), 5_000).unwrap();
    let (mut healthy_lane, healthy_series) = (healthy.lane().unwrap(), healthy.series("b").unwrap());
    healthy_lane.dot(&healthy_series, 0.0);
    let broker = Broker::start(directory.path(), &collector.url());
    until("both", || collector.stored() == 2);
    fs::File::options().write(true).open(&victim).unwrap().set_len(4096).unwrap();
    for n in 1..50 {
        healthy_lane.dot(&healthy_series, f64::from(n));
        until("the healthy one goes on", || collector.stored() >= 2 + n as u64);
        assert!(broker.is_running());
    }
    broker.stop();
}

#[test]
fn more_rings_than_can_be_open_are_all_read() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let mut rings: Vec<_> = (0..300)
        .map(|_| {
            let publisher = Publisher::create(directory.path(), 1).unwrap();
            let (mut lane, series) = (publisher.lane().unwrap(), publisher.series("a").unwrap());
            lane.dot(&series, 0.0);
            (lane, series, publisher)
        })
        .collect();
    let broker = Broker::start(directory.path(), &collector.url());
    until("a dot of each", || collector.stored() == 300);
    for (lane, series, _) in &mut rings {
        lane.dot(series, 1.0);
    }
    until("another dot of each", || collector.stored() == 600);
    rings.clear();
    until("all finish", || collector.state().rings.values().all(|ring| ring.finished > 0));
    broker.stop();
    let state = collector.state();
    assert_eq!(state.rings.len(), 300);
    for ring in state.rings.values() {
        assert_eq!(ring.check_lane(0, 2, |record| record as f64), 0);
    }
}

#[test]
fn once_reads_more_rings_than_can_be_open() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    for _ in 0..200 {
        let publisher = Publisher::create(directory.path(), 1).unwrap();
        let (mut lane, series) = (publisher.lane().unwrap(), publisher.series("a").unwrap());
        lane.dot(&series, 0.0);
    }
    let totals = once(directory.path(), &collector.url());
    assert_eq!((totals.dots, totals.rings_finished), (200, 200));
}
