//! How fast one broker moves dots from a ring to a collector that decodes and answers but stores nothing:
//! `cargo run --release -p dotter-broker --example throughput [DOTS]`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use dotter_broker::Options;
use dotter_daemon::{Log, StopFlag};
use dotter_publisher::Publisher;
use dotter_wire::{Answer, Message};

fn main() {
    let dots: u64 = std::env::args().nth(1).map_or(4_000_000, |text| text.parse().expect("DOTS is a number"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/data", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer_all(&stream));
        }
    });
    let directory = tempfile::tempdir_in("/dev/shm").expect("a directory in memory");
    let publisher = Publisher::create(directory.path(), dots).expect("a ring");
    let (mut lane, series) =
        (publisher.lane().expect("a lane"), publisher.series("speed").expect("a series"));
    let start = Instant::now();
    (0..dots).for_each(|n| lane.dot(&series, n as f64));
    println!("published {dots} dots in {:.3} s", start.elapsed().as_secs_f64());
    let options = Options {
        path: Some(directory.path().to_owned()),
        poll: Duration::from_millis(100),
        url,
        name: "speed".into(),
        time_unit: dotter_broker::TimeUnit::default(),
        once: true,
        token: None,
    };
    let start = Instant::now();
    let totals = dotter_broker::run(&options, &StopFlag::default(), &Log::new("broker")).expect("it runs");
    let seconds = start.elapsed().as_secs_f64();
    println!("{totals}\n{:.2} M dots/s from ring to answer", totals.dots as f64 / seconds / 1e6);
}

/// Says yes to everything, after it was received and decoded.
fn answer_all(mut stream: &TcpStream) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    loop {
        let mut length = 0;
        loop {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            match line.trim_end().split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().expect("a length");
                }
                None if line.trim_end().is_empty() => break,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let message = Message::decode(&body).expect("a message");
        let lanes = match &message {
            Message::Batch(batch) => batch.lanes.iter().map(|lane| (lane.lane, lane.next)).collect(),
            Message::Finish(finish) => finish.lanes.clone(),
            Message::Question(_) => vec![],
        };
        let incarnation = message.sender().incarnation;
        let answer = Answer { store: "none".into(), durable: true, incarnation, lanes, ..Answer::default() };
        let json = answer.to_json();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", json.len());
        if stream.write_all((head + &json).as_bytes()).is_err() {
            return;
        }
    }
}
