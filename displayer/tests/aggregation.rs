//! Steps of archives as the program answers them: one number each, made as the store's rules say.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dotter_dot::{SeriesName, Timestamp};
use dotter_store::Machine;

const HOUR: u64 = 3600;

/// The program under test; killed when dropped.
struct Displayer {
    child: Child,
    addr: SocketAddr,
}

impl Displayer {
    fn start(dir: &Path) -> Displayer {
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
                let is_end = |c: char| !c.is_ascii_digit() && c != '.' && c != ':';
                break rest[..rest.find(is_end).unwrap_or(rest.len())].parse().unwrap();
            }
        };
        // Whoever writes to a pipe that nobody reads waits for ever.
        std::thread::spawn(move || lines.for_each(drop));
        Displayer { child, addr }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.addr).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// The numbers of a series, without nulls.
    fn values(&self, name: &str, rest: &str) -> Vec<f64> {
        let answer = self.get(&format!("/render?target={name}&format=json&noNullPoints=1&{rest}"));
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.contains(" 200 "), "{answer}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        let points = body[0]["datapoints"].as_array().cloned().unwrap_or_default();
        points.iter().map(|point| point[0].as_f64().unwrap()).collect()
    }

    fn wait_for(&self, what: &str, holds: impl Fn() -> bool) {
        let give_up = Instant::now() + Duration::from_secs(30);
        while !holds() {
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

#[test]
fn one_number_of_a_step_is_made_as_the_rules_say() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("storage-schemas.conf", "[all]\npattern = .*\nretentions = 10s:1h,1m:30d\n");
    let aggregation = |count: &str| {
        format!(
            "[odd]\npattern = \\.count$\naggregationMethod = p95\n\
             [count]\npattern = \\.count$\nxFilesFactor = 0\naggregationMethod = {count}\n\
             [max]\npattern = \\.upper$\nxFilesFactor = 0.1\naggregationMethod = max\n\
             [last]\npattern = \\.total$\nxFilesFactor = 0\naggregationMethod = last\n\
             [default]\npattern = .*\nxFilesFactor = 0.5\naggregationMethod = average\n"
        )
    };
    write("storage-aggregation.conf", &aggregation("sum"));
    let now = Timestamp::now();
    let begin = now.nanos() / 1_000_000_000 / HOUR * HOUR - 4 * HOUR;
    let mut rows = Vec::new();
    let mut push = |name: &str, seconds: u64, value: f64| {
        rows.push((SeriesName::new(name).unwrap(), Timestamp::from_secs(begin + seconds).unwrap(), value));
    };
    for n in 0..3 * HOUR / 10 {
        push("web.hits.count", n * 10, 5.0);
        push("web.time.upper", n * 10, (n % 6) as f64);
        push("net.bytes.total", n * 10, n as f64);
        push("load.avg", n * 10, (n % 6) as f64);
        if n % 60 == 0 {
            push("app.sparse.count", n * 10, 3.0);
            push("app.sparse", n * 10, 3.0);
        }
    }
    dotter_store::add(dir.path(), rows).unwrap();
    for seconds in [0, 60] {
        let length = Duration::from_secs(seconds);
        let machine = Machine { wall: now.saturating_add(length), boot: [1; 16], since_boot: length };
        dotter_store::retain(dir.path(), &machine, &|| false).unwrap();
    }
    let snapshot = dotter_store::Reader::open(dir.path()).unwrap().snapshot();
    let live = snapshot.span("load.avg").unwrap().0;
    assert_eq!(live, Timestamp::from_secs(begin + 2 * HOUR - 60).unwrap(), "two hours have expired");

    let displayer = Displayer::start(dir.path());
    displayer.wait_for("the store", || displayer.get("/-/ready").contains(" 200 "));
    let window = format!("from={begin}&until={}", begin + 1800);
    let values = |name: &str, rest: &str| displayer.values(name, &format!("{window}{rest}"));
    let all = |count: usize, value: f64| vec![value; count];
    // The series' own slots are of ten seconds: there a minute stands where it begins.
    for step in ["", "&step=60"] {
        let name = |name: &str| values(name, step);
        assert_eq!(name("web.hits.count"), all(30, 30.0), "{step}");
        assert_eq!(name("web.time.upper"), all(30, 5.0));
        assert_eq!(name("load.avg"), all(30, 2.5));
        let lasts = name("net.bytes.total");
        assert!(lasts.windows(2).all(|pair| pair[1] == pair[0] + 6.0), "{lasts:?}");
        assert_eq!(lasts[0] % 6.0, 5.0);
        assert!(name("app.sparse").is_empty(), "a sixth is known, half is wanted");
        assert_eq!(values("app.sparse.count", step).last(), Some(&3.0), "none is wanted");
    }
    assert_eq!(values("web.hits.count", "&step=300")[..5], [150.0; 5]);
    // Points of several minutes are the averages of these, as Graphite has it.
    let merged = |name: &str| values(name, "&maxDataPoints=5");
    let is_all = |values: Vec<f64>, value: f64| values.len() >= 4 && values.iter().all(|one| *one == value);
    assert!(is_all(merged("web.hits.count"), 30.0), "{:?}", merged("web.hits.count"));
    assert!(is_all(merged("web.time.upper"), 5.0), "{:?}", merged("web.time.upper"));
    assert!(is_all(merged("load.avg"), 2.5), "{:?}", merged("load.avg"));

    write("storage-aggregation.conf", &aggregation("average"));
    displayer.wait_for("the new rules", || is_all(values("web.hits.count", "&step=60"), 5.0));
}
