//! Besieges the example `front_door` and measures what honest clients notice of it.
//!
//! ```text
//! cargo build --release -p dotter-http --examples
//! target/release/examples/front_door 127.0.0.1:8000 &
//! target/release/examples/siege 127.0.0.1:8000 $! 10
//! ```
//!
//! Arguments: address, process id of the server, seconds per phase. The siege: 1,000 connections that
//! send a head byte by byte, 200 that send a body so, 100 that read a 4 MiB answer so; whoever is closed
//! on comes back at once.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

const CLIENTS: usize = 8;

#[derive(Clone, Copy, Debug)]
enum Attack {
    Head,
    Body,
    Reader,
}

impl Attack {
    fn begin(self, addr: SocketAddr) -> Option<TcpStream> {
        let mut socket = TcpStream::connect_timeout(&addr, Duration::from_secs(1)).ok()?;
        socket.set_nonblocking(true).ok()?;
        let first: &[u8] = match self {
            Attack::Head => b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ",
            Attack::Body => b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n",
            Attack::Reader => b"GET /big?bytes=4194304 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        };
        socket.write_all(first).ok()?;
        Some(socket)
    }

    /// False when the server has closed.
    fn trickle(self, socket: &mut TcpStream) -> bool {
        let mut bytes = [b'x'; 100];
        let result = match self {
            Attack::Head => socket.write(&bytes[..1]),
            Attack::Body => socket.write(&bytes),
            Attack::Reader => socket.read(&mut bytes),
        };
        match result {
            Ok(count) => count > 0,
            Err(e) => e.kind() == std::io::ErrorKind::WouldBlock,
        }
    }
}

fn besiege(addr: SocketAddr, attack: Attack, count: usize, over: &AtomicBool, reopened: &AtomicU64) {
    let mut sockets: Vec<Option<TcpStream>> = (0..count).map(|_| None).collect();
    while !over.load(Relaxed) {
        for place in &mut sockets {
            if !place.as_mut().is_some_and(|socket| attack.trickle(socket)) {
                *place = attack.begin(addr);
                reopened.fetch_add(1, Relaxed);
            }
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// One request and its whole answer; the status.
fn exchange(socket: &mut TcpStream, request: &[u8], buffer: &mut Vec<u8>) -> std::io::Result<u16> {
    socket.write_all(request)?;
    buffer.clear();
    let mut chunk = [0; 65536];
    loop {
        let count = socket.read(&mut chunk)?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        buffer.extend_from_slice(&chunk[..count]);
        let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&buffer[..end]);
        let length =
            head.lines().find_map(|l| l.strip_prefix("Content-Length: ")).and_then(|l| l.parse().ok());
        if buffer.len() >= end + 4 + length.unwrap_or(0) {
            return Ok(head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0));
        }
    }
}

fn connect(addr: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpStream::connect_timeout(&addr, Duration::from_secs(5))?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    Ok(socket)
}

/// `CLIENTS` honest clients that ask as fast as they are answered, for `time`.
fn measure(name: &str, addr: SocketAddr, pid: &str, request: &[u8], keep: bool, time: Duration) {
    let latencies = Mutex::new(Vec::new());
    let failures = AtomicU64::new(0);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let (mut mine, mut buffer, mut socket) = (Vec::new(), Vec::new(), None);
                while begun.elapsed() < time {
                    let asked = Instant::now();
                    let mut used = match socket.take().map_or_else(|| connect(addr), Ok) {
                        Ok(socket) => socket,
                        Err(_) => {
                            failures.fetch_add(1, Relaxed);
                            continue;
                        }
                    };
                    match exchange(&mut used, request, &mut buffer) {
                        Ok(200) => mine.push(asked.elapsed()),
                        _ => {
                            failures.fetch_add(1, Relaxed);
                            continue;
                        }
                    }
                    socket = keep.then_some(used);
                }
                latencies.lock().expect("no holder panics").append(&mut mine);
            });
        }
    });
    let mut latencies = latencies.into_inner().expect("no holder panics");
    latencies.sort();
    let at =
        |share: f64| latencies.get((latencies.len() as f64 * share) as usize).copied().unwrap_or_default();
    println!(
        "{name:34} {:8.0} requests/s  p50 {:9.1?}  p99 {:9.1?}  worst {:9.1?}  failed {}  {}",
        latencies.len() as f64 / begun.elapsed().as_secs_f64(),
        at(0.5),
        at(0.99),
        latencies.last().copied().unwrap_or_default(),
        failures.into_inner(),
        process(pid),
    );
}

fn process(pid: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field =
        |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).unwrap_or("?").trim().to_owned();
    format!("rss {} (peak {}), threads {}", field("VmRSS:"), field("VmHWM:"), field("Threads:"))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, addr, pid, seconds] = &arguments[..] else {
        return Err("usage: siege ADDRESS PID SECONDS".into());
    };
    let (addr, time) = (addr.parse()?, Duration::from_secs(seconds.parse()?));
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;

    let get = b"GET /ok HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut post = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n".to_vec();
    post.resize(post.len() + 1_000_000, b'x');
    let phases = |when: &str| {
        measure(&format!("{when}: GET, kept connection"), addr, pid, get, true, time);
        measure(&format!("{when}: GET, new connection each"), addr, pid, get, false, time);
        measure(&format!("{when}: POST and echo of 1 MB"), addr, pid, &post, true, time);
    };
    phases("in peace");
    let over = AtomicBool::new(false);
    let reopened = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let attacks = [(Attack::Head, 1000), (Attack::Body, 200), (Attack::Reader, 100)];
        for (attack, count) in attacks {
            let (over, reopened) = (&over, &reopened);
            scope.spawn(move || besiege(addr, attack, count, over, reopened));
        }
        std::thread::sleep(Duration::from_secs(2));
        phases("besieged");
        over.store(true, Relaxed);
    });
    println!("besiegers connected {} times", reopened.into_inner());
    Ok(())
}
