//! The program itself: its exit codes, its signals.

mod support;

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use dotter_publisher::Publisher;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::collector::Collector;
use support::until;

fn broker() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dotter-broker"));
    command.env_remove("DOTTER_TOKEN").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = broker().args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id() as i32), signal).unwrap();
}

#[test]
fn help_and_version_are_data_and_wrong_usage_is_code_2() {
    let (code, help, _) = run(&["--help"]);
    assert_eq!(code, 0);
    assert!(help.contains("Examples:") && help.contains("http://127.0.0.1:8000/data"), "{help}");
    let (code, version, _) = run(&["--version"]);
    assert_eq!((code, version.starts_with("dotter-broker ")), (0, true));
    let (code, stdout, stderr) = run(&["/tmp", "soon"]);
    assert_eq!((code, &*stdout), (2, ""));
    assert!(stderr.contains("'soon' is no length of time"), "{stderr}");
}

#[test]
fn a_token_that_is_there_and_is_none_is_an_error_and_nothing_is_posted_without_it() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let publisher = Publisher::create(directory.path(), 5_000).unwrap();
    publisher.lane().unwrap().dot(&publisher.series("a").unwrap(), 0.0);
    for value in [&b""[..], b" ", b"\xff\xfe", b"a b"] {
        let mut command = broker();
        command
            .env("DOTTER_TOKEN", OsStr::from_bytes(value))
            .env_remove("DOTTER_BROKER_TOKEN_FILE")
            .arg("--once")
            .arg(directory.path());
        let output = command.args(["0.01", &collector.url()]).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{value:?}: {stderr}");
        assert!(stderr.contains("cannot take the token: $DOTTER_TOKEN"), "{value:?}: {stderr}");
    }
    assert_eq!(collector.state().posts, 0);
}

#[test]
fn once_posts_what_is_there_and_ends_with_0_and_a_taken_lock_with_1() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let publisher = Publisher::create(directory.path(), 5_000).unwrap();
    let (mut lane, series) = (publisher.lane().unwrap(), publisher.series("a").unwrap());
    (0..10).for_each(|n| lane.dot(&series, n as f64));
    let path = directory.path().to_str().unwrap();
    let (code, stdout, stderr) = run(&["--once", path, "0.01", &collector.url()]);
    assert_eq!((code, &*stdout), (0, ""), "{stderr}");
    assert_eq!(collector.only_ring().check_lane(0, 10, |record| record as f64), 0);
    let mut first = broker().args([path, "0.01", &collector.url()]).spawn().unwrap();
    until("the first asks", || collector.only_ring().questions == 2);
    let (code, _, stderr) = run(&["--once", path, "0.01", &collector.url()]);
    assert_eq!(code, 1);
    let last = stderr.lines().last().unwrap();
    assert!(last.starts_with("dotter-broker: cannot take the broker's lock: another broker"), "{stderr}");
    first.kill().unwrap();
    first.wait().unwrap();
}

/// Two brokers of which the second is refused while the first lives, and does its work once the first is killed.
fn check_exclusion(first: &str, second: &str) {
    let (top, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let directory = top.path().join("rings");
    std::fs::create_dir(&directory).unwrap();
    std::os::unix::fs::symlink(&directory, top.path().join("link")).unwrap();
    let publisher = Publisher::create(&directory.join("app.dots"), 5_000).unwrap();
    let (mut lane, series) = (publisher.lane().unwrap(), publisher.series("a").unwrap());
    lane.dot(&series, 0.0);
    let path = |name: &str| top.path().join(name).to_str().unwrap().to_owned();
    let mut child = broker().args([&path(first), "0.01", &collector.url()]).spawn().unwrap();
    until("the first broker's dot", || collector.stored() == 1);
    lane.dot(&series, 1.0);
    let (code, _, stderr) = run(&["--once", &path(second), "0.01", &collector.url()]);
    assert_eq!(code, 1, "'{first}', then '{second}': {stderr}");
    let last = stderr.lines().last().unwrap();
    assert!(last.starts_with("dotter-broker: cannot take the broker's lock: another broker"), "{last}");
    assert!(last.contains("stop") && last.contains(".lock"), "{last}");
    // As kill -9 does: nothing of it is left that could free the lock.
    child.kill().unwrap();
    child.wait().unwrap();
    let (code, _, stderr) = run(&["--once", &path(second), "0.01", &collector.url()]);
    assert_eq!(code, 0, "'{first}' killed, then '{second}': {stderr}");
    assert_eq!(collector.only_ring().check_lane(0, 2, |record| record as f64), 0);
}

#[test]
fn a_broker_of_a_directory_and_one_of_a_ring_in_it_never_run_together() {
    check_exclusion("rings", "rings/app.dots");
    check_exclusion("rings/app.dots", "rings");
    check_exclusion("link", "rings/./app.dots");
    check_exclusion("link/app.dots", "rings/");
}

#[test]
fn sigterm_drains_what_is_there_and_ends_with_0() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let publisher = Publisher::create(directory.path(), 200_000).unwrap();
    let (mut lane, series) = (publisher.lane().unwrap(), publisher.series("a").unwrap());
    lane.dot(&series, 0.0);
    // Looks once an hour, but for the first time and the last.
    let mut child =
        broker().args([directory.path().to_str().unwrap(), "1h", &collector.url()]).spawn().unwrap();
    until("the first dot", || collector.stored() == 1);
    (1..100_000).for_each(|n| lane.dot(&series, n as f64));
    let start = Instant::now();
    signal(&child, Signal::SIGTERM);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(collector.only_ring().check_lane(0, 100_000, |record| record as f64), 0);
}

#[test]
fn sigterm_ends_within_five_seconds_without_a_collector_and_a_second_one_at_once() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let publisher = Publisher::create(directory.path(), 5_000).unwrap();
    let (mut lane, series) = (publisher.lane().unwrap(), publisher.series("a").unwrap());
    lane.dot(&series, 0.0);
    let away = collector.go_away();
    let start = || broker().args([directory.path().to_str().unwrap(), "0.01", &away.url()]).spawn().unwrap();
    let mut child = start();
    let failed_once = |child: &mut Child| {
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("cannot post")));
        // Kept open: what it says further must have somewhere to go.
        lines
    };
    let _lines = failed_once(&mut child);
    let begin = Instant::now();
    signal(&child, Signal::SIGTERM);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    let mut child = start();
    let _lines = failed_once(&mut child);
    signal(&child, Signal::SIGTERM);
    let begin = Instant::now();
    until("the end", || {
        signal(&child, Signal::SIGTERM);
        child.try_wait().unwrap().is_some()
    });
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}

#[test]
fn killed_again_and_again_it_posts_every_dot_once() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let publisher = Publisher::create(directory.path(), 500_000).unwrap();
    let (mut lane, series) = (publisher.lane().unwrap(), publisher.series("a").unwrap());
    let mut published = 0_u64;
    for round in 0..20_u64 {
        let mut child =
            broker().args([directory.path().to_str().unwrap(), "0.001", &collector.url()]).spawn().unwrap();
        let enough = collector.stored() + 2_000;
        until("a few thousand dots more", || {
            (0..500).for_each(|n| lane.dot(&series, (published + n) as f64));
            published += 500;
            collector.stored() >= enough + round * 37
        });
        child.kill().unwrap();
        child.wait().unwrap();
    }
    support::once(directory.path(), &collector.url());
    let lost = collector.only_ring().check_lane(0, published, |record| record as f64);
    assert_eq!(lost, 0);
    assert_eq!(collector.state().complaints, Vec::<String>::new());
}

/// Shows P21.
#[test]
fn many_rings_with_many_names_take_little_memory() {
    let (directory, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let mut dots = 0;
    let _rings: Vec<_> = (0..30)
        .map(|ring| {
            let publisher = Publisher::create(directory.path(), 20_000).unwrap();
            let mut lane = publisher.lane().unwrap();
            for n in 0..8_000 {
                lane.dot(&publisher.series(&format!("ring.{ring}.of.many.names.{n}")).unwrap(), n as f64);
            }
            dots += publisher.published().iter().sum::<u64>();
            (lane, publisher)
        })
        .collect();
    let mut child =
        broker().args([directory.path().to_str().unwrap(), "0.01", &collector.url()]).spawn().unwrap();
    until("all dots", || collector.stored() == dots);
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    let kib: u64 = resident.split_whitespace().next().unwrap().parse().unwrap();
    assert!(kib < 32 << 10, "{kib} KiB");
    signal(&child, Signal::SIGTERM);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
