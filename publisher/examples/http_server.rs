//! A web server that publishes what it does: a request counter, a latency in milliseconds, a row and a log
//! line for each. `cargo run --example http_server`, then `curl http://127.0.0.1:8080/`.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use dotter_publisher::{Counter, Publisher, Row, Series, Text};

/// What the server says about itself; made once, shared by all threads.
struct Telemetry {
    requests: Counter,
    latency: Series,
    sizes: Row<(u32, u64)>,
    log: Text,
}

impl Telemetry {
    fn new(publisher: &Publisher) -> Result<Telemetry, dotter_publisher::Error> {
        Ok(Telemetry {
            requests: publisher.counter("http.requests")?,
            latency: publisher.series("http.latency")?.unit("ms"),
            sizes: publisher.row("http.answer", &["status", "bytes"])?,
            log: publisher.lines("http.log")?,
        })
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // An address, and for the curious a number of requests to end after.
    let mut args = std::env::args().skip(1);
    let addr = args.next().unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let requests_max = args.next().map_or(Ok(usize::MAX), |text| text.parse())?;

    let publisher = Publisher::open("http-server")?;
    let telemetry = Telemetry::new(&publisher)?;
    let listener = TcpListener::bind(addr)?;
    println!("http://{}/ publishing to {}", listener.local_addr()?, publisher.path().display());
    std::thread::scope(|scope| {
        for stream in listener.incoming().take(requests_max) {
            let telemetry = &telemetry;
            scope.spawn(move || {
                if let Err(error) = stream.and_then(|stream| serve(&stream, telemetry)) {
                    telemetry.log.line(&format!("connection broken: {error}"));
                }
            });
        }
    });
    Ok(())
}

fn serve(mut stream: &TcpStream, telemetry: &Telemetry) -> std::io::Result<()> {
    let _timer = telemetry.latency.timer();
    telemetry.requests.count(1);
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}

    let (status, body) =
        if request.starts_with("GET / ") { (200, "hello\n") } else { (404, "nothing here\n") };
    write!(
        stream,
        "HTTP/1.1 {status} -\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )?;
    telemetry.sizes.dot((status, body.len() as u64));
    telemetry.log.line(&format!("{status} {request}"));
    Ok(())
}
