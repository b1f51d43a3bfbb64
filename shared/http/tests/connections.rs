//! What becomes of a connection: kept, pipelined, too slow, too big, or met by a handler that panics.

mod client;

use std::net::Shutdown;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use client::{Client, config, echo, start, until};
use dotter_http::{Config, Request, Response};

const SHORT: Duration = Duration::from_millis(150);

#[test]
fn a_connection_is_kept_for_the_next_request() {
    let server = start(config(), echo);
    let mut client = Client::connect(&server);
    for n in 0..20 {
        assert_eq!(client.get(&format!("/{n}")).text(), format!("GET /{n} 0\n"));
        let body = vec![b'a' + n as u8; n * 10_000];
        assert_eq!(
            client.post("/p", &body).body.len(),
            body.len() + format!("POST /p {}\n", body.len()).len()
        );
    }
    assert_eq!(server.counters().accepted, 1);
    until("all are counted", || server.counters().served == 40);
}

#[test]
fn a_connection_ends_when_its_client_says_so() {
    let server = start(config(), echo);
    let check = |request: &str, kept: bool| {
        let mut client = Client::connect(&server);
        let answer = client.send(request).answer();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("Connection"), Some(if kept { "keep-alive" } else { "close" }), "{request}");
        if kept {
            assert_eq!(client.get("/again").status, 200);
        } else {
            assert!(client.rest().is_empty());
        }
    };
    check("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", true);
    check("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Close\r\n\r\n", false);
    check("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, close\r\n\r\n", false);
    check("GET / HTTP/1.0\r\n\r\n", false);
    check("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true);
}

#[test]
fn pipelined_requests_are_answered_in_order_and_bodies_are_not_requests() {
    let server = start(config(), echo);
    let hidden = "GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let request = format!(
        "GET /1 HTTP/1.1\r\nHost: localhost\r\n\r\n\
         POST /2 HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{hidden}\r\n\
         HEAD /3 HTTP/1.1\r\nHost: localhost\r\n\r\n\
         PUT /4 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
        hidden.len()
    );
    // All at once, then byte by byte: the same answers.
    for step in [request.len(), 1] {
        let mut client = Client::connect(&server);
        for part in request.as_bytes().chunks(step) {
            client.send(part);
        }
        assert_eq!(client.answer().text(), "GET /1 0\n");
        assert_eq!(client.answer().text(), format!("POST /2 {}\n{hidden}", hidden.len()));
        assert!(client.head().contains("Content-Length: 10\r\n"), "the length a GET would have");
        assert_eq!(client.answer().text(), "PUT /4 0\n");
    }
}

#[test]
fn a_client_that_waits_to_be_told_is_told_to_go_on() {
    let server = start(config(), echo);
    let mut client = Client::connect(&server);
    let head = "POST /x HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n";
    client.send(format!("{head}Content-Length: 5\r\n\r\n"));
    assert_eq!(client.answer().status, 100);
    assert_eq!(client.send("hello").answer().text(), "POST /x 5\nhello");
    // What will be refused is refused before it is sent.
    assert_eq!(client.send(format!("{head}Content-Length: 5000000\r\n\r\n")).answer().status, 413);
    // Whoever did not wait is not told.
    let mut client = Client::connect(&server);
    assert_eq!(client.send(format!("{head}Content-Length: 5\r\n\r\nhello")).answer().status, 200);
}

#[test]
fn an_empty_line_before_a_request_is_passed_over_however_it_comes() {
    let server = start(config(), echo);
    let mut client = Client::connect(&server);
    for _ in 0..3 {
        for part in ["\r", "\n", "\r\n\r", "\nGET / HT", "TP/1.1\r\nHost: localhost\r\n\r", "\n"] {
            let received = server.counters().received_bytes;
            client.send(part);
            // Each part arrives by itself.
            until("it has come in", || server.counters().received_bytes > received);
        }
        assert_eq!(client.answer().status, 200);
    }
}

#[test]
fn an_answer_follows_even_when_the_client_has_said_all_it_will() {
    let server = start(config(), echo);
    let mut client = Client::connect(&server);
    client.send("GET /last HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.socket.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.answer().text(), "GET /last 0\n");
    assert!(client.rest().is_empty());
}

#[test]
fn answers_without_a_body_have_none() {
    let server = start(config(), |request: Request| match request.path.as_str() {
        "/204" => Response::text(204, "not sent"),
        "/304" => Response::text(304, "not sent"),
        "/big" => Response::new(200, "text/plain", vec![b'x'; 1 << 20]),
        _ => echo(request),
    });
    let mut client = Client::connect(&server);
    for status in [204, 304] {
        let answer = client.get(&format!("/{status}"));
        assert_eq!((answer.status, answer.header("Content-Length")), (status, None));
    }
    client.send("HEAD /big HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(client.head().contains("Content-Length: 1048576\r\n"));
    assert_eq!(client.get("/").text(), "GET / 0\n", "nothing of the others was in between");
}

#[test]
fn a_head_that_comes_too_slowly_is_refused_however_it_trickles() {
    let server = start(Config { head_deadline: SHORT, ..config() }, echo);
    let mut client = Client::connect(&server);
    assert_eq!(client.send("GET / HTTP/1.1\r\nHo").answer().status, 408);
    assert!(client.rest().is_empty());

    let mut client = Client::connect(&server);
    let begun = Instant::now();
    client.socket.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    client.send("GET / HTTP/1.1\r\nX: ");
    let mut byte = [0];
    while client.socket.peek(&mut byte).is_err() {
        client.send("x");
    }
    assert!(begun.elapsed() < SHORT * 50, "sending on does not move the deadline");
    assert_eq!(client.answer().status, 408);

    let mut silent = Client::connect(&server);
    assert!(silent.rest().is_empty(), "who never says a word is not spoken to");
    assert_eq!(server.counters().timed_out, 3);
}

#[test]
fn a_body_that_comes_too_slowly_is_refused() {
    let server = start(Config { body_deadline: SHORT, ..config() }, echo);
    let mut client = Client::connect(&server);
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n";
    assert_eq!(client.send(head).send("12345").answer().status, 408);
    assert!(client.rest().is_empty());
    assert_eq!(server.counters().timed_out, 1);
}

#[test]
fn a_kept_connection_without_requests_is_closed() {
    let server = start(Config { idle_deadline: SHORT, ..config() }, echo);
    let mut client = Client::connect(&server);
    assert_eq!(client.get("/").status, 200);
    assert!(client.rest().is_empty());
    assert_eq!(server.counters().timed_out, 0);
}

#[test]
fn a_huge_content_length_is_refused_and_nothing_dies() {
    let server = start(config(), echo);
    for length in ["99999999999", "18446744073709551615", "9223372036854775807"] {
        let mut client = Client::connect(&server);
        client.send(format!("POST /data HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"));
        client.send([0; 100_000]);
        assert_eq!(client.answer().status, 413, "also for a client that sends before it listens");
    }
    assert_eq!(Client::connect(&server).get("/").status, 200);
}

#[test]
fn the_biggest_body_passes_and_one_byte_more_does_not() {
    let server = start(Config { body_bytes_max: 1 << 20, ..config() }, echo);
    let mut client = Client::connect(&server);
    let body: Vec<u8> = (0..1 << 20).map(|n: u32| (n * 31) as u8).collect();
    let answer = client.post("/", &body);
    assert!(answer.body.ends_with(&body));
    client.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1048577\r\n\r\n");
    assert_eq!(client.answer().status, 413);
}

#[test]
fn a_handler_that_panics_costs_one_answer() {
    let server = start(Config { threads: 2, ..config() }, |request: Request| {
        assert_ne!(request.path, "/panic", "asked to");
        echo(request)
    });
    for _ in 0..10 {
        let mut client = Client::connect(&server);
        assert_eq!(client.get("/panic").status, 500);
        assert_eq!(client.get("/").status, 200, "on the same connection");
    }
    assert_eq!(server.counters().panicked, 10);
    assert_eq!(server.counters().private_failures, 0);
}

#[test]
fn an_answer_with_endless_headers_is_an_error_not_a_broken_door() {
    let server = start(config(), |request: Request| match request.path.as_str() {
        "/long" => Response::new(200, "x", vec![0; 1 << 20]).header("X-Long", &"x".repeat(2 << 20)),
        _ => echo(request),
    });
    let mut client = Client::connect(&server);
    assert_eq!(client.get("/long").status, 500);
    assert_eq!(client.get("/").status, 200);
    assert_eq!(server.counters().private_failures, 0);
}

#[test]
fn as_many_requests_run_at_once_as_there_are_threads() {
    let running = Arc::new(Barrier::new(6));
    let meet = running.clone();
    let server = start(Config { threads: 6, ..config() }, move |request| {
        meet.wait();
        echo(request)
    });
    // Ends only when six are in the handler together.
    for _ in 0..20 {
        let mut clients: Vec<_> = (0..6).map(|_| Client::connect(&server)).collect();
        for client in &mut clients {
            client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        }
        clients.iter_mut().for_each(|c| assert_eq!(c.answer().status, 200));
    }
}

#[test]
fn requests_that_no_thread_takes_in_time_are_told_to_come_back() {
    let held = Arc::new(Barrier::new(2));
    let hold = held.clone();
    let server = start(Config { threads: 1, queue_deadline: SHORT, ..config() }, move |request: Request| {
        if request.path == "/hold" {
            hold.wait();
        }
        echo(request)
    });
    let mut first = Client::connect(&server);
    first.send("GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let answer = Client::connect(&server).get("/");
    assert_eq!((answer.status, answer.header("Retry-After")), (503, Some("1")));
    held.wait();
    assert_eq!(first.answer().status, 200);
}

#[test]
fn a_handler_does_not_wait_for_slow_readers() {
    const BYTES: usize = 8 << 20;
    let config = Config { threads: 1, answer_bytes_all_max: 10 * BYTES, ..config() };
    let server = start(config, |request: Request| match request.path.as_str() {
        "/big" => Response::new(200, "text/plain", vec![b'x'; BYTES]),
        _ => echo(request),
    });
    let mut readers: Vec<_> = (0..8).map(|_| Client::connect(&server)).collect();
    for reader in &mut readers {
        reader.send("GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    assert_eq!(Client::connect(&server).get("/").status, 200, "behind eight that read nothing");
    until("all are being written", || server.counters().answer_bytes_now > 7 * (BYTES - (1 << 20)) as u64);
    for reader in &mut readers {
        assert_eq!(reader.answer().body.len(), BYTES, "and late is not lost");
    }
}

#[test]
fn a_reader_that_takes_nothing_is_dropped() {
    let server =
        start(Config { stall_deadline: SHORT, ..config() }, |_| Response::new(200, "x", vec![0; 16 << 20]));
    let mut client = Client::connect(&server);
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    until("it is dropped", || server.counters().stalled == 1);
    assert!(client.rest().len() < 16 << 20);
    until("its answer is freed", || server.counters().answer_bytes_now == 0);
}

/// Shows P21.
#[test]
fn answers_held_for_all_clients_are_bounded() {
    const BYTES: usize = 4 << 20;
    let config = Config { answer_bytes_all_max: 3 * BYTES, ..config() };
    let server = start(config, |_| Response::new(200, "x", vec![0; BYTES]));
    let mut clients: Vec<_> = (0..8).map(|_| Client::connect(&server)).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        // One by one, so that it is known who is the slowest.
        until("it is answered", || client.socket.peek(&mut [0]).is_ok());
    }
    until("the slowest are gone", || server.counters().stalled >= 4);
    until("it shows", || server.counters().answer_bytes_now <= 3 * BYTES as u64);
    assert!(clients[0].rest().len() < BYTES, "the first has read nothing for longest");
    assert_eq!(clients[7].answer().body.len(), BYTES);
}

#[test]
fn requests_held_for_all_clients_are_bounded() {
    let config = Config { request_bytes_all_max: 4 << 20, body_bytes_max: 1 << 20, ..config() };
    let server = start(config, echo);
    let mut slow: Vec<_> = (0..8).map(|_| Client::connect(&server)).collect();
    for client in &mut slow {
        client.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n");
        let received = server.counters().received_bytes;
        client.send(vec![0; 900_000]);
        until("it has come in", || server.counters().received_bytes >= received + 900_000);
    }
    until("four have made room", || server.counters().evicted >= 4);
    until("it shows", || server.counters().request_bytes_now <= 5 << 20);
    assert_eq!(
        Client::connect(&server).post("/", &vec![0; 1_000_000]).status,
        200,
        "an honest one gets through"
    );
    assert!(slow[0].rest().is_empty(), "the one that kept its request back longest has gone");
}

#[test]
fn many_clients_at_once_are_all_answered() {
    let answered = Arc::new(AtomicUsize::new(0));
    let server = start(config(), echo);
    let addr = server.local_addr();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let answered = &answered;
            scope.spawn(move || {
                for n in 0..50 {
                    let mut client = Client::to(addr);
                    for m in 0..4 {
                        let body = vec![b'x'; (thread * 7919 + n * 104_729 + m) % 70_000];
                        assert_eq!(
                            client.post("/", &body).body.len(),
                            format!("POST / {}\n", body.len()).len() + body.len()
                        );
                        answered.fetch_add(1, Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(answered.load(Relaxed), 1600);
}
