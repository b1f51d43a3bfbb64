//! Stopping: what runs is finished, what has not begun is not, and nothing is left on disk.

mod client;

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use client::{Client, config, echo, start, until};
use dotter_http::{Config, Error, Request, event_stream};

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn what_runs_is_finished_and_nobody_new_is_let_in() {
    let dir = tempfile::tempdir().unwrap();
    let running = Arc::new(Barrier::new(2));
    let meet = running.clone();
    let server =
        start(Config { socket_dir: Some(dir.path().to_owned()), ..config() }, move |request: Request| {
            if request.path == "/" {
                meet.wait();
                meet.wait();
            }
            echo(request)
        });
    assert_eq!(dir.path().read_dir().unwrap().count(), 1);
    let addr = server.local_addr();
    let mut idle = Client::connect(&server);
    assert_eq!(idle.get("/other").status, 200);
    let mut asking = Client::connect(&server);
    asking.send(GET);
    running.wait();
    let stopping = std::thread::spawn(move || server.stop(Duration::from_secs(20)));
    assert!(idle.rest().is_empty(), "an idle connection ends at once");
    until("the port is closed", || TcpStream::connect(addr).is_err());
    running.wait();
    let answer = asking.answer();
    assert_eq!((answer.status, answer.header("Connection")), (200, Some("close")));
    let begun = Instant::now();
    stopping.join().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(dir.path().read_dir().unwrap().count(), 0, "the socket's directory is gone");
}

#[test]
fn streams_are_written_out_and_ended() {
    let (sender, response) = event_stream(1 << 16);
    let response = std::sync::Mutex::new(Some(response));
    let server = start(config(), move |_| response.lock().unwrap().take().expect("one viewer"));
    let mut viewer = Client::connect(&server);
    viewer.send(GET).head();
    assert!(sender.send(None, None, "last words"));
    server.stop(Duration::from_secs(5));
    assert_eq!(viewer.rest(), b"data: last words\n\n");
    assert!(sender.is_closed());
}

#[test]
fn a_handler_that_does_not_return_holds_nobody_beyond_the_grace() {
    let dir = tempfile::tempdir().unwrap();
    let running = Arc::new(Barrier::new(2));
    let meet = running.clone();
    let server = start(Config { socket_dir: Some(dir.path().to_owned()), ..config() }, move |request| {
        meet.wait();
        meet.wait();
        echo(request)
    });
    let mut client = Client::connect(&server);
    client.send(GET);
    running.wait();
    let begun = Instant::now();
    server.stop(Duration::from_millis(100));
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert!(client.rest().is_empty());
    assert_eq!(dir.path().read_dir().unwrap().count(), 0);
    running.wait();
}

#[test]
fn a_port_in_use_is_an_error_that_says_which() {
    let server = start(config(), echo);
    let error = dotter_http::Server::start(Config::new(server.local_addr()), echo).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen on {}", server.local_addr()));
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn a_place_for_the_socket_that_cannot_be_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let at = |path: std::path::PathBuf| Config { socket_dir: Some(path), ..config() };
    let missing = dotter_http::Server::start(at(dir.path().join("missing")), echo).unwrap_err();
    assert!(matches!(missing, Error::SocketDir { .. }), "{missing}");
    // Longer than the address of a Unix socket can be.
    let long = dir.path().join("x".repeat(120));
    std::fs::create_dir(&long).unwrap();
    let too_long = dotter_http::Server::start(at(long.clone()), echo).unwrap_err();
    assert!(matches!(too_long, Error::Private { .. }), "{too_long}");
    assert_eq!(long.read_dir().unwrap().count(), 0);
}
