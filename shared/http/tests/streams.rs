//! Server-sent events and long bodies over real sockets.

mod client;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use client::{Client, config, start, until};
use dotter_http::{Config, EventSender, Request, Response, Server, byte_stream, event_stream};

const OPEN: &str = "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n";

type Senders = Arc<Mutex<Vec<EventSender>>>;

/// A server whose `/events` leaves its senders where the test finds them.
fn streaming(config: Config, queue_bytes_max: usize) -> (Server, Senders) {
    let senders: Senders = Arc::default();
    let keep = senders.clone();
    let server = start(config, move |request: Request| match request.path.as_str() {
        "/events" => {
            let (sender, response) = event_stream(queue_bytes_max);
            keep.lock().unwrap().push(sender);
            response.header("X-Store", "7")
        }
        _ => Response::text(200, "ok"),
    });
    (server, senders)
}

/// Opens a stream and reads its head.
fn open(server: &Server) -> Client {
    let mut client = Client::connect(server);
    let head = client.send(OPEN).head();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    client
}

fn last(senders: &Senders) -> EventSender {
    senders.lock().unwrap().last().expect("a stream was opened").clone()
}

#[test]
fn an_event_arrives_at_once() {
    let (server, senders) = streaming(config(), 1 << 16);
    let mut client = Client::connect(&server);
    let head = client.send(OPEN).head();
    for line in ["Content-Type: text/event-stream\r\n", "Cache-Control: no-store\r\n", "X-Store: 7\r\n"] {
        assert!(head.contains(line), "{head}");
    }
    assert!(!head.contains("Content-Length"), "{head}");
    let sender = last(&senders);
    let mut slowest = Duration::ZERO;
    for n in 0..200 {
        let begun = Instant::now();
        assert!(sender.send(Some(&n.to_string()), Some("dots"), "[1,\n2]"));
        assert_eq!(client.until(b"\n\n"), format!("id: {n}\nevent: dots\ndata: [1,\ndata: 2]\n\n"));
        slowest = slowest.max(begun.elapsed());
    }
    assert!(slowest < Duration::from_secs(2), "no heartbeat or tick carries them: {slowest:?}");
}

#[test]
fn what_was_sent_before_the_stream_opened_is_not_lost() {
    let server = start(config(), |_| {
        let (sender, response) = event_stream(1 << 16);
        assert!(sender.send(None, None, "first"));
        assert!(sender.clone().send(None, None, "second"));
        response
    });
    let mut client = open(&server);
    assert_eq!(client.rest(), b"data: first\n\ndata: second\n\n", "and it ends, its sender being gone");
}

#[test]
fn a_reader_too_slow_for_its_queue_is_told_of_the_gap() {
    let (server, senders) = streaming(config(), 10_000);
    let mut client = open(&server);
    let sender = last(&senders);
    let payload = "x".repeat(1000);
    // Far more than kernel and queue hold together.
    let sent = 20_000_u64;
    for n in 0..sent {
        assert!(sender.send(None, None, &format!("{n} {payload}")));
        assert!(sender.queued_bytes() <= 10_000);
    }
    drop(sender);
    senders.lock().unwrap().clear();
    let text = String::from_utf8(client.rest()).unwrap();
    let (mut next, mut dropped) = (0, 0);
    for event in text.split_terminator("\n\n") {
        if let Some(data) = event.strip_prefix("event: gap\ndata: {\"dropped\": ") {
            let count: u64 = data.trim_end_matches('}').parse().unwrap();
            dropped += count;
            next += count;
        } else {
            let number: u64 =
                event.strip_prefix("data: ").unwrap().split(' ').next().unwrap().parse().unwrap();
            assert_eq!(number, next, "every event comes or is counted before the next");
            next += 1;
        }
    }
    assert_eq!(next, sent);
    assert!(dropped > 5_000, "{dropped}");
}

#[test]
fn a_viewer_that_goes_away_is_noticed() {
    let (server, senders) = streaming(config(), 1 << 16);
    let client = open(&server);
    let sender = last(&senders);
    assert!(!sender.is_closed());
    until("it is counted", || server.counters().streams_now == 1);
    drop(client);
    until("the sender knows", || sender.is_closed());
    assert!(!sender.send(None, None, "nobody"));
    until("the stream is gone", || server.counters().streams_now == 0);
}

#[test]
fn a_silent_stream_has_a_heartbeat() {
    let (server, _senders) = streaming(Config { heartbeat: Duration::from_millis(20), ..config() }, 1 << 16);
    let mut client = open(&server);
    for _ in 0..5 {
        assert_eq!(client.until(b"\n\n"), ":\n\n");
    }
}

#[test]
fn a_viewer_that_reads_nothing_is_dropped() {
    let config = Config { stall_deadline: Duration::from_millis(150), ..config() };
    let (server, senders) = streaming(config, 1 << 16);
    let _client = open(&server);
    let sender = last(&senders);
    let payload = "x".repeat(10_000);
    until("it is dropped", || !sender.send(None, None, &payload));
    assert_eq!(server.counters().stalled, 1);
}

#[test]
fn streams_have_their_own_cap() {
    let config = Config { streams_max: 5, connections_max: 16, ..config() };
    let (server, senders) = streaming(config, 1 << 16);
    let viewers: Vec<_> = (0..5).map(|_| open(&server)).collect();
    let refused = Client::connect(&server).send(OPEN).answer();
    assert_eq!((refused.status, refused.header("Retry-After")), (503, Some("1")));
    assert!(last(&senders).is_closed(), "its sender is told");
    // Streams take no place of ordinary connections.
    let kept: Vec<_> = (0..16)
        .map(|_| {
            let mut client = Client::connect(&server);
            assert_eq!(client.get("/").status, 200);
            client
        })
        .collect();
    assert_eq!(server.counters().evicted, 0);
    drop(viewers);
    until("they are gone", || server.counters().streams_now == 0);
    open(&server);
    drop(kept);
}

#[test]
fn two_hundred_viewers_get_everything_without_a_thread_each() {
    let (server, senders) = streaming(config(), 1 << 16);
    let mut viewers: Vec<_> = (0..200).map(|_| open(&server)).collect();
    let threads = std::fs::read_dir("/proc/self/task").unwrap().count();
    // Tests beside this one have theirs in the same process.
    assert!(threads < 200, "{threads} threads");
    for n in 0..20 {
        for sender in senders.lock().unwrap().iter() {
            assert!(sender.send(None, None, &n.to_string()));
        }
    }
    for viewer in &mut viewers {
        for n in 0..20 {
            assert_eq!(viewer.until(b"\n\n"), format!("data: {n}\n\n"));
        }
    }
    senders.lock().unwrap().clear();
    for viewer in &mut viewers {
        assert!(viewer.rest().is_empty());
    }
}

#[test]
fn asking_only_for_the_head_of_a_stream_ends_with_it() {
    let (server, senders) = streaming(config(), 1 << 16);
    let mut client = Client::connect(&server);
    assert!(client.send(OPEN.replace("GET", "HEAD")).head().contains("text/event-stream"));
    assert!(client.rest().is_empty());
    until("the sender knows", || last(&senders).is_closed());
}

#[test]
fn a_body_of_any_length_arrives_whole_or_is_seen_to_be_broken_off() {
    let server = start(config(), |request: Request| {
        let (sender, response) = byte_stream("text/plain", 64 << 10);
        std::thread::spawn(move || {
            for n in 0..2000_u32 {
                let line = format!("{n:08}\n").repeat(500);
                if !sender.send(line.into_bytes()) || (request.path == "/broken" && n == 1500) {
                    return;
                }
            }
            sender.finish();
        });
        response
    });
    let body: String = (0..2000).map(|n| format!("{n:08}\n").repeat(500)).collect();

    let mut client = Client::connect(&server);
    let head = client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").head();
    assert!(head.contains("Transfer-Encoding: chunked\r\n") && !head.contains("Content-Length"), "{head}");
    let (found, whole) = unchunk(&client.rest());
    assert!(found == body.as_bytes() && whole, "{} bytes", found.len());

    let mut old = Client::connect(&server);
    let head = old.send("GET / HTTP/1.0\r\n\r\n").head();
    assert!(!head.contains("chunked"), "{head}");
    assert!(old.rest() == body.as_bytes());

    let mut broken = Client::connect(&server);
    broken.send("GET /broken HTTP/1.1\r\nHost: localhost\r\n\r\n").head();
    let (found, whole) = unchunk(&broken.rest());
    assert!(!whole, "{} bytes", found.len());
    assert!(body.as_bytes().starts_with(&found));

    // One that goes away in the middle frees its sender and its place.
    let mut gone = Client::connect(&server);
    gone.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").head();
    drop(gone);
    until("all streams have ended", || server.counters().streams_now == 0);
}

/// The bytes of a chunked body, and whether its end was there.
fn unchunk(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut found = Vec::new();
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        if length == 0 {
            return (found, &rest[end..] == b"\r\n\r\n");
        }
        let Some(chunk) = rest.get(end + 2..end + 2 + length) else { break };
        found.extend_from_slice(chunk);
        rest = rest.get(end + 4 + length..).unwrap_or_default();
    }
    (found, false)
}
