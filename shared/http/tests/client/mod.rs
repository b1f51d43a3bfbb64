//! A plain HTTP client over a real socket that can misbehave, and what every test starts a server with.

#![allow(dead_code, reason = "each test program uses some of it")]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use dotter_http::{Config, Request, Response, Server};

/// No test waits this long unless it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A config for any free port of this machine.
pub(crate) fn config() -> Config {
    Config::new(SocketAddr::from(([127, 0, 0, 1], 0)))
}

/// Answers with what was asked: method, path and body length, and then the body.
pub(crate) fn echo(request: Request) -> Response {
    let Request { method, path, mut body, .. } = request;
    let mut text = format!("{} {path} {}\n", method.as_str(), body.len()).into_bytes();
    text.append(&mut body);
    Response::new(200, "application/octet-stream", text)
}

pub(crate) fn start(config: Config, handler: impl Fn(Request) -> Response + Send + Sync + 'static) -> Server {
    Server::start(config, handler).expect("a server on a free port")
}

/// Waits until something holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "still waiting until {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) struct Client {
    pub(crate) socket: TcpStream,
    received: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }
}

impl Client {
    pub(crate) fn connect(server: &Server) -> Client {
        Client::to(server.local_addr())
    }

    pub(crate) fn to(addr: SocketAddr) -> Client {
        let socket = TcpStream::connect(addr).expect("the server accepts");
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        Client { socket, received: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Client {
        self.socket.write_all(bytes.as_ref()).expect("the server takes it");
        self
    }

    pub(crate) fn get(&mut self, target: &str) -> Answer {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n")).answer()
    }

    pub(crate) fn post(&mut self, target: &str, body: &[u8]) -> Answer {
        self.send(format!(
            "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
            body.len()
        ));
        self.send(body).answer()
    }

    /// The next answer; its body by Content-Length, or none for an interim one.
    pub(crate) fn answer(&mut self) -> Answer {
        let head = self.head();
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
        let mut answer = Answer { status, head, body: Vec::new() };
        let length = answer.header("Content-Length").map_or(0, |l| l.parse().expect("a length"));
        answer.body = self.take(length);
        answer
    }

    /// The next head, with its empty line.
    pub(crate) fn head(&mut self) -> String {
        self.until(b"\r\n\r\n")
    }

    /// What comes up to and with `end`.
    pub(crate) fn until(&mut self, end: &[u8]) -> String {
        loop {
            if let Some(at) = self.received.windows(end.len()).position(|w| w == end) {
                let rest = self.received.split_off(at + end.len());
                return String::from_utf8(std::mem::replace(&mut self.received, rest)).expect("text");
            }
            let before = String::from_utf8_lossy(&self.received).into_owned();
            assert!(self.receive() > 0, "the connection ended after {before:?}");
        }
    }

    pub(crate) fn take(&mut self, bytes: usize) -> Vec<u8> {
        while self.received.len() < bytes {
            let count = self.receive();
            assert!(count > 0, "the connection ended after {} of {bytes} bytes", self.received.len());
        }
        let rest = self.received.split_off(bytes);
        std::mem::replace(&mut self.received, rest)
    }

    /// Everything until the server ends the connection, be it with a reset.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.receive() > 0 {}
        std::mem::take(&mut self.received)
    }

    /// Zero is the end.
    fn receive(&mut self) -> usize {
        let mut buffer = [0; 65536];
        match self.socket.read(&mut buffer) {
            Ok(count) => {
                self.received.extend_from_slice(&buffer[..count]);
                count
            }
            Err(e) if matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => 0,
            Err(e) => panic!("nothing came: {e}"),
        }
    }
}
