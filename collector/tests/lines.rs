//! Graphite plaintext over TCP, as agents send it.

mod support;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use dotter_dot::Timestamp;
use support::*;

const NOW: u64 = 1_710_504_000;
const NOW_NS: u64 = NOW * 1_000_000_000;

/// Sends `text` on a connection of its own and waits until all of it has been seen.
fn send(collector: &Collector, text: &[u8]) {
    let mut stream = collector.lines();
    stream.write_all(text).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    // The collector hangs up when it has read everything; a last line tells that it is written, too.
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

#[test]
fn lines_are_taken_as_carbon_takes_them() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let text = format!(
        "c.plain 1.5 {NOW}\nc.crlf 1 {NOW}\r\nc.tabs\t2\t{NOW}\n   c.blanks   3    {NOW}   \n\n\r\n\
         c.inf inf {NOW}\nc.fraction 7 {NOW}.7\nc.tag;b=2;a=1 1 {NOW}\nc.dup 1 {NOW}\nc.dup 2 {NOW}\n\
         c.dd.a..b 1 {NOW}\n.c.lead 1 {NOW}\nc.\u{fc}.x 1 {NOW}\nc.now 8 -1\nc.now 9 -1.0\n\
         # a comment of five\nc.two 5\nc.four 5 {NOW} x\nGET / {NOW}\nc.nan nan {NOW}\nc.hex 0x10 {NOW}\n\
         c.n 9 N\nc.text 9 now\nc.late 9 99999999999999999999\nc.tag;a= 1 {NOW}\n;a=1 1 {NOW}\nc.trail. 1 {NOW}\n\
         c.nul\0x 1 {NOW}\n"
    );
    let before = Timestamp::now();
    let mut bytes = text.into_bytes();
    bytes.extend(b"c.bad\xff 1 1\n");
    bytes.extend([b'x'; 70_000]);
    bytes.extend(format!(" 1 {NOW}\nc.after 4 {NOW}\nc.unfinished 1 {NOW}").into_bytes());
    send(&collector, &bytes);
    until("the last whole line is there", || snapshot(dir.path()).contains("c.after"));
    let after = Timestamp::now();

    let view = snapshot(dir.path());
    let check = |series: &str, value: f64| assert_eq!(dots(&view, series), [(NOW_NS, value)], "{series}");
    check("c.plain", 1.5);
    check("c.crlf", 1.0);
    check("c.tabs", 2.0);
    check("c.blanks", 3.0);
    check("c.inf", f64::INFINITY);
    check("c.tag;a=1;b=2", 1.0);
    check("c.dup", 2.0);
    check("c.dd.a.b", 1.0);
    check("c.lead", 1.0);
    check("c.ü.x", 1.0);
    check("c.after", 4.0);
    assert_eq!(dots(&view, "c.fraction"), [(NOW_NS + 700_000_000, 7.0)]);
    // Both were read at once, so they have one time, and the later line counts.
    let now = dots(&view, "c.now");
    assert!((before.nanos()..=after.nanos()).contains(&now[0].0), "{now:?}");
    assert_eq!(now.last().unwrap().1, 9.0);
    let names: Vec<_> = view.series_with_prefix("c.").into_iter().map(|name| name.to_string()).collect();
    assert_eq!(names.len(), 13, "{names:?}");

    let bad = |why: &str| collector.metric(&format!("graphite_bad_lines_total{{reason=\"{why}\"}}"));
    assert_eq!(bad("fields"), 3.0);
    assert_eq!(bad("value"), 3.0);
    assert_eq!(bad("time"), 3.0);
    assert_eq!(bad("name"), 5.0);
    assert_eq!(bad("too-long"), 1.0);
    assert_eq!(bad("unfinished"), 1.0);
    assert_eq!(collector.metric("graphite_lines_total"), 15.0);
    let said = collector.said();
    assert!(said.contains("graphite line from 127.0.0.1 not taken (value): 'GET / "), "{said}");
}

/// Sends `text` as a client does that waits for an answer; whether the collector hung up on it.
fn is_hung_up_on(collector: &Collector, text: &[u8]) -> bool {
    let mut stream = collector.lines();
    // A send may fail where the collector is quicker.
    let _ = stream.write_all(text);
    stream.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    match stream.read(&mut [0]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

/// What a browser sends for `fetch('http://127.0.0.1:2003/', {method: 'POST', mode: 'no-cors', body})`.
fn browser_post(target: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {target} HTTP/1.1\r\nHost: 127.0.0.1:2003\r\nConnection: keep-alive\r\nContent-Length: {}\r\n\
         User-Agent: Mozilla/5.0\r\nContent-Type: text/plain;charset=UTF-8\r\nAccept: */*\r\n\
         Origin: http://evil.example\r\nReferer: http://evil.example/\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[test]
fn a_request_of_a_browser_stores_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let evil = format!("evil.from.browser 666 {NOW}\n");
    let foreign = |what: &str| collector.metric(&format!("graphite_foreign_total{{protocol=\"{what}\"}}"));
    assert!(is_hung_up_on(&collector, &browser_post("/", &evil)));
    // A body that comes long after its head, and a target that is longer than any line.
    assert!(is_hung_up_on(&collector, &browser_post("/", &(" ".repeat(1 << 20) + "\n" + &evil))));
    assert!(is_hung_up_on(&collector, &browser_post(&format!("/{}", "a".repeat(100_000)), &evil)));
    let preface = format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{evil}");
    assert!(is_hung_up_on(&collector, preface.as_bytes()));
    assert_eq!((foreign("http"), foreign("tls")), (4.0, 0.0));
    // A hello holds bytes that a page can choose (a host name, a ticket), a line end among them or none.
    let mut hello = b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03".to_vec();
    assert!(is_hung_up_on(&collector, &hello));
    hello.extend(format!("\n{evil}").into_bytes());
    assert!(is_hung_up_on(&collector, &hello));
    assert_eq!((foreign("http"), foreign("tls")), (4.0, 2.0));
    // Lines before a request line are lines; those behind it are not read.
    let lines = format!("good.before 1 {NOW}\nGET 2 {NOW}\nPOST 3 {NOW}\nGET / {NOW}\nPUT 4 {NOW}\n");
    let mut later = lines.into_bytes();
    later.extend(browser_post("/", &evil));
    assert!(is_hung_up_on(&collector, &later));
    assert_eq!(foreign("http"), 5.0);
    send(&collector, format!("good.last 5 {NOW}\n").as_bytes());

    until("the last line is there", || snapshot(dir.path()).contains("good.last"));
    let view = snapshot(dir.path());
    assert!(!view.contains("evil.from.browser"));
    for (series, value) in
        [("good.before", 1.0), ("GET", 2.0), ("POST", 3.0), ("PUT", 4.0), ("good.last", 5.0)]
    {
        assert_eq!(dots(&view, series), [(NOW_NS, value)], "{series}");
    }
    assert_eq!(collector.metric("graphite_bad_lines_total{reason=\"value\"}"), 1.0);
    let said = collector.said();
    assert!(said.contains("from 127.0.0.1 closed: found an HTTP request line"), "{said}");
    assert!(said.contains("found a TLS hello"), "{said}");
}

#[test]
fn a_request_line_that_comes_in_pieces_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let mut stream = collector.lines();
    stream.set_nodelay(true).unwrap();
    for piece in ["PO", "ST / HT", "TP/1.1\r", &format!("\n\r\nevil 1 {NOW}\n")] {
        let _ = stream.write_all(piece.as_bytes());
        // So that the pieces arrive as such: each is answered by a page of another port.
        assert_eq!(collector.get("/-/healthy").0, 200);
    }
    until("it is closed", || collector.metric("graphite_foreign_total{protocol=\"http\"}") == 1.0);
    until("its place is free", || collector.metric("graphite_connections") == 0.0);
    send(&collector, format!("good 5 {NOW}\n").as_bytes());
    until("the next line is there", || snapshot(dir.path()).contains("good"));
    assert!(!snapshot(dir.path()).contains("evil"));
}

#[test]
fn a_line_may_come_in_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    let mut stream = collector.lines();
    stream.set_nodelay(true).unwrap();
    for piece in ["con", "f.spl", "it 12", ".5 ", &format!(" {NOW}"), "\n"] {
        stream.write_all(piece.as_bytes()).unwrap();
        // So that the pieces arrive as such: each is answered by a page of another port.
        assert_eq!(collector.get("/-/healthy").0, 200);
    }
    until("it is there", || snapshot(dir.path()).contains("conf.split"));
    assert_eq!(dots(&snapshot(dir.path()), "conf.split"), [(NOW_NS, 12.5)]);
}

/// Shows P27.
#[test]
fn many_connections_at_once_lose_nothing() {
    const CONNECTIONS: u64 = 20;
    const LINES: u64 = 2000;
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    std::thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            let collector = &collector;
            scope.spawn(move || {
                let lines: String =
                    (0..LINES).map(|n| format!("m.c{connection}.s{} {n} {}\n", n % 7, NOW + n)).collect();
                send(collector, lines.as_bytes());
            });
        }
    });
    until("all are counted", || collector.metric("dots_total") >= (CONNECTIONS * LINES) as f64);
    let view = snapshot(dir.path());
    for connection in 0..CONNECTIONS {
        let found: usize = (0..7).map(|s| dots(&view, &format!("m.c{connection}.s{s}")).len()).sum();
        assert_eq!(found as u64, LINES);
    }
    assert!(collector.metric("syncs_total") < 1000.0, "lines share their syncs");
}

#[test]
fn more_connections_than_places_wait_and_are_heard() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["--graphite", "127.0.0.1:0", "--max-graphite-connections", "2"];
    let collector = Collector::with(dir.path(), &args);
    assert_eq!(collector.metric("graphite_connections_max"), 2.0);
    let mut held = [collector.lines(), collector.lines()];
    until("both are open", || collector.metric("graphite_connections") == 2.0);
    collector.send_lines(format!("h.next 1 {NOW}\n").as_bytes());
    until("one waits", || collector.metric("graphite_full_total") == 1.0);
    held[1].write_all(format!("h.last 1 {NOW}\n").as_bytes()).unwrap();
    until("the last of them is heard", || snapshot(dir.path()).contains("h.last"));
    assert!(!snapshot(dir.path()).contains("h.next"));
    drop(held);
    until("the next one is heard", || snapshot(dir.path()).contains("h.next"));
    assert_eq!(collector.metric("graphite_evicted_total"), 0.0);
    assert!(collector.said().contains("graphite connections wait: 2 are open"), "{}", collector.said());
}

#[test]
fn held_graphite_connections_leave_descriptors_to_http() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::limited(dir.path(), "ulimit -n 300", &["--graphite", "127.0.0.1:0"]);
    let places = collector.metric("graphite_connections_max") as usize;
    assert!((8..256).contains(&places), "{places}");
    // Those without a place fit into the shortest queue that a listening socket may have.
    let held: Vec<TcpStream> = (0..places + 100).map(|_| collector.lines()).collect();
    until("the places are taken", || collector.metric("graphite_connections") == places as f64);
    for _ in 0..20 {
        assert_eq!(collector.get("/-/healthy").0, 200);
        assert_eq!(collector.post_json("[[1, 2]]").0, 200);
    }
    drop(held);
    until("their places are free", || collector.metric("graphite_connections") == 0.0);
}

/// Shows P27.
#[test]
fn what_has_arrived_is_written_when_the_collector_stops() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path());
    const LINES: u64 = 5000;
    let mut stream = collector.lines();
    let lines: String = (0..LINES).map(|n| format!("d.s{} {n} {}\n", n % 3, NOW + n)).collect();
    stream.write_all(lines.as_bytes()).unwrap();
    // The connection stays open: the sender does not know that the collector is about to go.
    let (status, took, said) = collector.terminate();
    assert!(status.success(), "{said}");
    assert!(took.as_secs() < 5, "{took:?}");
    let view = snapshot(dir.path());
    let found: usize = (0..3).map(|s| dots(&view, &format!("d.s{s}")).len()).sum();
    assert_eq!(found as u64, LINES);
}
