//! A thousand clients that never finish their request do not keep out one that does.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use dotter_dot::Timestamp;
use dotter_e2e::{Pipeline, get, post};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

const HALF_OPEN: usize = 1_000;
const PROBES: usize = 20;

/// Opens connections that owe the rest of their head.
fn besiege(address: SocketAddr) -> Vec<TcpStream> {
    (0..HALF_OPEN)
        .map(|n| {
            let mut socket = TcpStream::connect(address)
                .unwrap_or_else(|error| panic!("connection {n} to {address}: {error}"));
            // Where the server has already had enough of it, all the better for the server.
            let _ = write!(socket, "GET /-/ready HTTP/1.1\r\nHost: {address}\r\nX-Slow: ");
            socket
        })
        .collect()
}

#[test]
fn an_honest_client_is_answered_beside_a_thousand_half_open_requests() {
    // Descriptors for the clients; the servers have their own count.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("limits can be read");
    setrlimit(Resource::RLIMIT_NOFILE, most.min(8_192), most).expect("a limit can be raised to its maximum");
    let mut pipeline = Pipeline::new();
    pipeline.start_collector();
    pipeline.start_displayer();
    let (collector, displayer) = (pipeline.collector_address(), pipeline.displayer_address());
    let sieges = [besiege(collector), besiege(displayer)];
    let mut slowest = Duration::ZERO;
    for probe in 0..PROBES {
        let start = Instant::now();
        let time = Timestamp::now().as_secs_f64();
        let reply = post(collector, "/data?series=data", &format!("[[{time}, {probe}]]"));
        assert!(reply.as_ref().is_some_and(|reply| reply.status == 200), "probe {probe}: {reply:?}");
        let reply = get(displayer, "/render?target=data&from=-1min&format=json");
        assert!(reply.as_ref().is_some_and(|reply| reply.status == 200), "probe {probe}: {reply:?}");
        slowest = slowest.max(start.elapsed());
    }
    assert!(slowest < Duration::from_secs(2), "an honest client waited {slowest:?}");
    println!("slowest of {PROBES} honest rounds: {slowest:?}");
    drop(sieges);
    assert_eq!(pipeline.store().dots("data").len(), PROBES);
    pipeline.collector.take().expect("it runs").terminate();
    pipeline.displayer.take().expect("it runs").terminate();
}
