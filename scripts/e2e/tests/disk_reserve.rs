//! A file system that has less free than the collector's reserve: whoever brings rows keeps them, everything else goes
//! on, and with room again every row is stored once.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use dotter_dot::{SeriesName, TimeRange};
use dotter_e2e::oracle::{Published, Workload, check_dots, check_ledger};
use dotter_e2e::{Process, get, post, program, request, skip, until};
use dotter_store::{Reader, Snapshot, free_room};
use tempfile::TempDir;

/// The disk, of which a quarter is the reserve.
const DISK_BYTES: u64 = 96 << 20;
const RESERVE_BYTES: u64 = DISK_BYTES / 4;

fn workload() -> Workload {
    Workload { lanes: 1, dots: 20_000, series: 3, rate: None, lane_dots: 100_000, hold: false }
}

/// A collector whose store is a small file system of its own.
struct Contained {
    process: Process,
    http: SocketAddr,
    graphite: SocketAddr,
    /// The store, seen from outside.
    data: PathBuf,
}

impl Contained {
    /// `None`, said aloud, where the machine lets nobody mount a file system.
    fn start(mount: &Path) -> Option<Contained> {
        let tried = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", "mount -t tmpfs tmpfs \"$0\""])
            .arg(mount)
            .output();
        if !tried.as_ref().is_ok_and(|output| output.status.success()) {
            skip(&format!("nobody may mount a file system in a user namespace here: {tried:?}"));
            return None;
        }
        // Mounted in the container alone, so nothing is left when it ends.
        let script = "mount -t tmpfs -o size=$0 tmpfs \"$1\" && shift && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]);
        command
            .arg(DISK_BYTES.to_string())
            .arg(mount)
            .arg(program("dotter-collector"))
            .arg("--data")
            .arg(mount);
        command.args(["--listen", "127.0.0.1:0", "--graphite", "127.0.0.1:0", "--disk-reserve", "25"]);
        let process = Process::start(&mut command);
        let http = process.hear_address();
        let graphite = process.hear("where it takes lines", |line| {
            line.split_once("graphite lines on ").and_then(|(_, address)| address.trim().parse().ok())
        });
        let inside = mount.strip_prefix("/").expect("temporary directories have absolute names");
        let data = Path::new(&format!("/proc/{}/root", process.id())).join(inside);
        Some(Contained { process, http, graphite, data })
    }

    /// Status and text.
    #[track_caller]
    fn get(&self, path: &str) -> (u16, String) {
        let reply = get(self.http, path).unwrap_or_else(|| panic!("no answer to GET {path}"));
        (reply.status, reply.body)
    }

    #[track_caller]
    fn post(&self, body: &str) -> (u16, String) {
        let reply = post(self.http, "/data?series=posted", body).expect("an answer");
        (reply.status, reply.body)
    }

    fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.get("/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("dotter_collector_{name} ")));
        line.unwrap_or_else(|| panic!("{name} is not in\n{text}")).parse().expect("a number")
    }

    fn add(&self, rows: &str) -> Output {
        let mut command = Command::new(program("dotter-store"));
        command.arg("-d").arg(&self.data).arg("add").env_remove("DOTTER_DATA");
        let streams = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = streams.spawn().expect("dotter-store starts");
        child.stdin.take().expect("it is piped").write_all(rows.as_bytes()).expect("it reads");
        child.wait_with_output().expect("it ends")
    }

    fn snapshot(&self) -> Snapshot {
        Reader::open(&self.data).expect("the store can be read").snapshot()
    }

    fn count(&self, name: &str) -> usize {
        let name = SeriesName::new(name).expect("a name");
        self.snapshot().read(name.as_str(), TimeRange::ALL).expect("it can be read").len()
    }
}

/// Shows P38.
#[test]
fn below_the_reserve_senders_keep_their_rows_and_deletes_and_reads_go_on() {
    let (mount, rings) = (TempDir::new().expect("a directory"), TempDir::new().expect("a directory"));
    let Some(collector) = Contained::start(mount.path()) else { return };
    assert_eq!(collector.post("[[1, 2], [2, 3]]").0, 200);
    assert_eq!(collector.get("/-/ready"), (200, "ok\n".into()));
    assert_eq!(collector.metric("disk_reserve_bytes"), RESERVE_BYTES as f64);

    // Somebody else takes what is above the reserve, and some more.
    let filler = collector.data.join("filler");
    let above = free_room(&collector.data).expect("it says").free_bytes.saturating_sub(RESERVE_BYTES);
    fs::write(&filler, vec![1; above as usize + (2 << 20)]).expect("there is room");
    until("it to say so", || collector.get("/-/ready").0 == 503);
    let (_, why) = collector.get("/-/ready");
    let expected = format!("expected {RESERVE_BYTES} (25 %)");
    assert!(why.contains("below the disk reserve: found ") && why.contains(&expected), "{why}");
    let (status, text) = collector.get("/-/healthy");
    assert!(status == 200 && text.starts_with("ok\nwarning: below the disk reserve: found "), "{text}");
    collector.process.hear("that it is below", |line| {
        (line.contains("warning: below the disk reserve") && line.contains("graphite lines are not read"))
            .then_some(())
    });
    let free = collector.metric("disk_free_bytes");
    assert!(0.0 < free && free < RESERVE_BYTES as f64, "{free}");

    let (status, text) = collector.post("[[3, 4]]");
    assert!(status == 507 && text.contains(&expected), "{status} {text}");
    assert!(
        text.contains("; nothing of this request was stored; deletes, expiry and reading go on;"),
        "{text}"
    );
    let output = collector.add("added 1 1\n");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("refused the rows with status 507: below the disk reserve: found "), "{said}");
    assert_eq!(fs::read_dir(collector.data.join("claim")).expect("it is there").count(), 0, "withdrawn");
    assert_eq!(collector.metric("disk_refused_total"), 2.0);

    let published = [Published::parse(&{
        let mut command = Command::new(program("dotter-publisher"));
        command.arg("load").arg(rings.path().join("load.ring")).args(workload().arguments());
        Process::start(&mut command).finish()
    })];
    let mut command = Command::new(program("dotter-broker"));
    command.arg(rings.path().join("load.ring"));
    let broker = Process::start(command.args(["0.01", &format!("http://{}/data", collector.http)]));
    broker.hear("that it will try again", |line| {
        (line.contains("status 507, expected 200: 'below the disk reserve")
            && line.contains("they stay in the ring, next try in "))
        .then_some(())
    });
    let mut lines = TcpStream::connect(collector.graphite).expect("it listens");
    lines.write_all(b"line 1 7\n").expect("it is taken by the system");
    until("lines to wait", || collector.metric("queued_lines") == 1.0);
    // What makes room goes on, and what only looks.
    let delete = format!(
        "DELETE /store/posted?before=1970-01-01T00:00:02Z HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        collector.http
    );
    assert_eq!(request(collector.http, delete.as_bytes()).expect("an answer").status, 200);
    assert_eq!(collector.get("/data?series=posted"), (200, "[[2,3.0]]".into()));
    assert_eq!((collector.count("line"), collector.count("added")), (0, 0));
    let snapshot = collector.snapshot();
    let account = snapshot.ledger().account(published[0].incarnation);
    assert!(account.is_none_or(|account| account.stored() == 0), "{account:?}");

    fs::remove_file(&filler).expect("it is there");
    collector
        .process
        .hear("that it goes on", |line| line.contains("above the disk reserve again").then_some(()));
    until("it to say so", || collector.get("/-/ready").0 == 200);
    assert_eq!(collector.get("/-/healthy"), (200, "ok\n".into()));
    assert_eq!(collector.post("[[3, 4]]").0, 200);
    assert!(collector.add("added 1 1\n").status.success());
    until("the line", || collector.count("line") == 1);
    until("the end of the ring", || {
        let snapshot = collector.snapshot();
        snapshot.ledger().account(published[0].incarnation).is_some_and(|account| account.finished.is_some())
    });
    let snapshot = collector.snapshot();
    let sums = check_ledger(snapshot.ledger(), &published);
    assert_eq!((sums.stored, sums.lost, sums.refused), (workload().dots, 0, 0));
    assert_eq!(check_dots(&snapshot, &workload(), &published), sums.stored);
    assert_eq!((collector.count("posted"), collector.count("added")), (2, 1));
    broker.terminate();
    collector.process.terminate();
}
