//! What the tests of the program share: one that runs, what it answers, and a store that grows old.
#![allow(dead_code, unreachable_pub)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dotter_dot::Timestamp;
use dotter_store::{Limits, Machine, Retained, retain};
use serde_json::Value;

/// The program under test; killed when dropped.
pub struct Displayer {
    pub child: Child,
    pub addr: SocketAddr,
}

impl Displayer {
    pub fn start(dir: &Path) -> Displayer {
        let mut child = Command::new(env!("CARGO_BIN_EXE_dotter-displayer"))
            .args(["--listen", "127.0.0.1:0", "--data"])
            .arg(dir)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let addr = loop {
            let line = lines.next().expect("a line with the address").unwrap();
            if let Some((_, rest)) = line.split_once("http://") {
                let end =
                    rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':').unwrap_or(rest.len());
                break rest[..end].parse().unwrap();
            }
        };
        // Whoever writes to a pipe that nobody reads waits for ever.
        std::thread::spawn(move || lines.for_each(drop));
        Displayer { child, addr }
    }

    pub fn open(&self, path: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.addr).unwrap();
        BufReader::new(stream)
    }

    /// Status and body.
    pub fn get(&self, path: &str) -> (u16, String) {
        let mut answer = String::new();
        self.open(path).read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        (head[9..12].parse().unwrap(), body.to_owned())
    }

    pub fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap()
    }

    pub fn wait_for(&self, what: &str, holds: impl Fn(&Displayer) -> bool) {
        let give_up = Instant::now() + Duration::from_secs(30);
        while !holds(self) {
            assert!(Instant::now() < give_up, "waited for: {what}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Displayer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Retention passes on a machine whose clocks agree; the result of the last one.
///
/// - `begin`: when the machine was switched on
/// - `passes`: how many half hours later each is
pub fn live_through(dir: &Path, begin: Timestamp, passes: impl IntoIterator<Item = u64>) -> Retained {
    let mut last = Retained::default();
    for pass in passes {
        let since_boot = Duration::from_secs(pass * 1_800);
        let machine = Machine { wall: begin.saturating_add(since_boot), boot: [1; 16], since_boot };
        last = retain(dir, &machine, &Limits::default(), &|| false).unwrap();
    }
    last
}
