//! More connections than places: real sockets, and the queue's other end in the test's hands.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use dotter_daemon::Log;

use super::*;
use crate::ingest::{Jobs, queue};

const PATIENCE: Duration = Duration::from_secs(60);

struct Port {
    graphite: Graphite,
    metrics: Arc<Metrics>,
    queue: Queue,
    jobs: Jobs,
}

/// The series of each line.
fn names(rows: &NamedDots) -> impl Iterator<Item = String> {
    rows.iter().map(|(name, ..)| name.to_string())
}

impl Port {
    fn open(places: usize, silence_max: Duration) -> Port {
        let (queue, jobs) = queue();
        let metrics = Arc::new(Metrics::new());
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        let limits = Limits { places, silence_max };
        let graphite =
            Graphite::start(addr, limits, queue.clone(), metrics.clone(), Log::new("test")).unwrap();
        Port { graphite, metrics, queue, jobs }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.graphite.addr()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends the line of a series.
    fn say(&self, mut stream: &TcpStream, series: &str) {
        stream.write_all(format!("{series} 1 1\n").as_bytes()).unwrap();
    }

    /// The series of the lines that come next, sorted.
    fn hear(&self, count: usize) -> Vec<String> {
        let mut heard = Vec::new();
        while heard.len() < count {
            let rows = self.jobs.lines.recv_timeout(PATIENCE).expect("lines are read");
            heard.extend(names(&rows));
        }
        heard.sort();
        heard
    }

    /// Waits until a connection had to wait for a place for the `count`th time.
    fn until_full(&self, count: u64) {
        until("a connection waits", || self.metrics.line_connections_full.load(Relaxed) == count);
    }

    /// Waits until the collector waits for so many to say more.
    fn until_silent(&self, count: usize) {
        until("what was sent is taken", || self.graphite.shared.connections.silent() == count);
    }

    fn evicted(&self) -> u64 {
        self.metrics.line_connections_evicted.load(Relaxed)
    }
}

#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < give_up, "waited a minute for: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn is_ended(mut stream: &TcpStream) -> bool {
    matches!(stream.read(&mut [0]), Ok(0))
}

#[test]
fn connections_above_the_cap_wait_and_lose_nothing() {
    const WAITING: usize = 50;
    let port = Port::open(2, PATIENCE * 60);
    let held = [port.connect(), port.connect()];
    port.say(&held[0], "held.0");
    port.say(&held[1], "held.1");
    assert_eq!(port.hear(2), ["held.0", "held.1"]);
    // Each sends its line and hangs up at once, as a job of cron does.
    for number in 0..WAITING {
        port.say(&port.connect(), &format!("waiting.{number:02}"));
    }
    port.until_full(1);
    assert_eq!(port.metrics.line_connections.load(Relaxed), 2);
    assert!(port.jobs.lines.is_empty(), "nobody else was let in");
    drop(held);
    let expected: Vec<String> = (0..WAITING).map(|number| format!("waiting.{number:02}")).collect();
    assert_eq!(port.hear(WAITING), expected);
    assert_eq!(port.evicted(), 0);
    port.graphite.stop(PATIENCE);
}

#[test]
fn the_connection_that_is_silent_longest_goes_and_only_where_another_waits() {
    let port = Port::open(2, Duration::ZERO);
    let (first, second) = (port.connect(), port.connect());
    for (stream, series) in [(&second, "second"), (&first, "first")] {
        port.say(stream, series);
        assert_eq!(port.hear(1), [series]);
        port.until_silent(2);
    }
    // Both are silent for longer than they may, and nobody waits.
    assert_eq!(port.evicted(), 0);
    let third = port.connect();
    port.say(&third, "third");
    assert_eq!(port.hear(1), ["third"]);
    assert!(is_ended(&second));
    assert_eq!(port.evicted(), 1);
    port.say(&first, "first.again");
    assert_eq!(port.hear(1), ["first.again"]);
    port.graphite.stop(PATIENCE);
}

#[test]
fn a_connection_that_the_collector_keeps_waiting_is_not_silent() {
    const LINES: usize = 1_000_000;
    let port = Port::open(2, Duration::ZERO);
    let busy = port.connect();
    let sending = std::thread::spawn(move || {
        let _ = (&busy).write_all(&b"busy 1 1\n".repeat(LINES));
    });
    until("the queue is full", || port.queue.len().1 == port.jobs.lines.capacity().unwrap());
    let silent = port.connect();
    until("it is in", || port.metrics.line_connections.load(Relaxed) == 2);
    port.until_silent(1);
    let third = port.connect();
    assert!(is_ended(&silent), "although the other one has been heard before it");
    drop(third);
    let mut lines = 0;
    while lines < LINES {
        lines += port.jobs.lines.recv_timeout(PATIENCE).expect("lines are read").len();
    }
    assert_eq!(lines, LINES);
    sending.join().unwrap();
    port.graphite.stop(PATIENCE);
}

#[test]
fn what_waits_for_a_place_is_read_when_the_collector_stops() {
    let port = Port::open(1, PATIENCE * 60);
    let held = port.connect();
    port.say(&held, "held");
    port.hear(1);
    let waiting: Vec<TcpStream> = (0..5).map(|_| port.connect()).collect();
    for (number, stream) in waiting.iter().enumerate() {
        port.say(stream, &format!("waiting.{number}"));
    }
    port.until_full(1);
    let stopping = std::thread::spawn(move || {
        port.graphite.stop(PATIENCE);
        port.jobs
    });
    let mut heard: Vec<String> = Vec::new();
    for rows in stopping.join().unwrap().lines.try_iter() {
        heard.extend(names(&rows));
    }
    heard.sort();
    assert_eq!(heard, ["waiting.0", "waiting.1", "waiting.2", "waiting.3", "waiting.4"]);
}
