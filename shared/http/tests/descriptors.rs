//! A process that runs out of descriptors: accept fails, waits and goes on. One test, since the limit is
//! the whole process's.

mod client;

use std::fs::File;

use client::{Client, config, echo, start, until};
use nix::sys::resource::{Resource, setrlimit};

#[test]
fn accept_pauses_while_descriptors_are_short_and_then_goes_on() {
    setrlimit(Resource::RLIMIT_NOFILE, 200, 200).unwrap();
    let server = start(config(), echo);
    assert_eq!(Client::connect(&server).get("/").status, 200);
    until("it is closed", || server.counters().connections_now == 0);

    let mut hoard = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        hoard.push(file);
    }
    // One for our end of the connection; the server's has none left.
    hoard.pop();
    let mut client = Client::connect(&server);
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    until("accept has failed more than once", || server.counters().accept_errors > 1);
    hoard.clear();
    assert_eq!(client.answer().status, 200);
}
