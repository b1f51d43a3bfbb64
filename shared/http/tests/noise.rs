//! Thousands of connections that do random things, with honest requests between. Nothing may die, hang or
//! be left held.

mod client;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, UNIX_EPOCH};

use client::{Client, config, echo, start, until};
use dotter_http::{Config, Request, Response, event_stream};

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

fn requests(chance: &mut Chance) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..=chance.below(3) {
        let path = ["/", "/big", "/events", "/panic", "/ended"][chance.below(5)];
        if chance.below(2) == 0 {
            let body = vec![b'G'; chance.below(100_000)];
            let head =
                format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
            bytes.extend_from_slice(head.as_bytes());
            bytes.extend_from_slice(&body);
        } else {
            bytes.extend_from_slice(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
        }
    }
    // Spoilt in a few places, half of the time.
    for _ in 0..chance.below(4).saturating_sub(1) {
        let at = chance.below(bytes.len().min(300));
        bytes[at] = [b'\n', b'\r', b' ', 0, b':', b'7', 0xff, b'G'][chance.below(8)];
    }
    bytes
}

/// Errors are as good as anything: the server may close at any time.
fn misbehave(addr: SocketAddr, chance: &mut Chance) -> std::io::Result<()> {
    let mut socket = TcpStream::connect(addr)?;
    socket.set_read_timeout(Some(Duration::from_millis(1)))?;
    let mut buffer = vec![0; 30_000];
    let bytes = requests(chance);
    let mut rest = &bytes[..bytes.len() - if chance.below(2) == 0 { chance.below(bytes.len()) } else { 0 }];
    while !rest.is_empty() {
        let (now, later) = rest.split_at(rest.len().min(1 + chance.below(40_000)));
        socket.write_all(now)?;
        rest = later;
        if chance.below(4) == 0 {
            let _ = socket.read(&mut buffer);
        }
    }
    match chance.below(4) {
        0 => socket.shutdown(Shutdown::Write)?,
        1 => socket.shutdown(Shutdown::Read)?,
        // Gone with answers unread: a reset.
        2 => return Ok(()),
        _ => {}
    }
    for _ in 0..chance.below(4) {
        let _ = socket.read(&mut buffer);
    }
    Ok(())
}

#[test]
fn random_clients_leave_nothing_behind() {
    let seed: u64 = match std::env::var("DOTTER_SEED") {
        Ok(seed) => seed.parse().expect("DOTTER_SEED is a number"),
        Err(_) => UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64,
    };
    println!("DOTTER_SEED={seed}");
    std::panic::set_hook(Box::new(|info| {
        if !info.to_string().contains("asked to") {
            eprintln!("{info}");
        }
    }));
    let handler = |request: Request| match request.path.as_str() {
        "/big" => Response::new(200, "x", vec![0; 3 << 20]),
        "/panic" => panic!("asked to"),
        "/events" | "/ended" => {
            let (sender, response) = event_stream(10_000);
            for n in 0..100 {
                sender.send(None, None, &n.to_string());
            }
            if request.path == "/events" {
                // Lives for as long as its client does.
                std::thread::spawn(move || {
                    while sender.send(None, Some("tick"), &"x".repeat(5_000)) {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                });
            }
            response
        }
        _ => echo(request),
    };
    let short = Duration::from_millis(300);
    let config = Config {
        connections_max: 64,
        streams_max: 8,
        head_deadline: short,
        body_deadline: short,
        idle_deadline: short,
        stall_deadline: short,
        answer_bytes_all_max: 20 << 20,
        ..config()
    };
    let server = start(config, handler);
    let addr = server.local_addr();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                let mut chance = Chance(seed ^ thread);
                for n in 0..500 {
                    let _ = misbehave(addr, &mut chance);
                    if n % 50 == 0 {
                        assert_eq!(Client::to(addr).get("/honest").status, 200);
                    }
                }
            });
        }
    });
    let mut counters = server.counters();
    until("all are gone", || {
        counters = server.counters();
        counters.connections_now + counters.streams_now == 0
    });
    assert_eq!((counters.request_bytes_now, counters.answer_bytes_now, counters.waiting_now), (0, 0, 0));
    assert_eq!(counters.private_failures, 0, "nothing that passed was more than tiny_http takes");
    assert!(counters.served > 500 && counters.refused > 100 && counters.panicked > 50, "{counters:?}");
    server.stop(Duration::from_secs(5));
}
