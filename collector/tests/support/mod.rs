//! What the collector's tests stand on: the program itself on free ports, a client, and batches whose every dot
//! follows from its lane and record number.

#![allow(dead_code, reason = "not every test file uses all of it")]

#[path = "../../../shared/intake/src/random.rs"]
pub(crate) mod random;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dotter_dot::{Incarnation, Reason, Rows, TimeRange};
use dotter_store::{Account, Reader, Snapshot};
use dotter_wire::{
    Answer, Batch, CONTENT_TYPE, Finish, LaneBatch, LossRange, Message, Question, RefusalTotals, Run, Sender,
    SeriesEntry,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Waits until `holds`; half a minute at most.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < give_up, "waited half a minute for: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The program, running. Killed when dropped.
pub(crate) struct Collector {
    child: Child,
    http: SocketAddr,
    graphite: Option<SocketAddr>,
    said: Arc<Mutex<String>>,
    listening: Option<JoinHandle<()>>,
    agent: ureq::Agent,
}

/// Status and body of an answer.
pub(crate) type Reply = (u16, String);

impl Collector {
    /// Starts it with both ports and waits until it listens.
    #[track_caller]
    pub(crate) fn start(data: &Path) -> Collector {
        Collector::with(data, &["--graphite", "127.0.0.1:0"])
    }

    #[track_caller]
    pub(crate) fn with(data: &Path, args: &[&str]) -> Collector {
        Collector::of(command(data), args)
    }

    /// Starts it from a shell that has been told something first, such as a limit.
    #[track_caller]
    pub(crate) fn limited(data: &Path, limit: &str, args: &[&str]) -> Collector {
        let program = command(data);
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("{limit} && exec \"$0\" \"$@\"")).arg(program.get_program());
        shell.args(program.get_args());
        for (name, value) in program.get_envs() {
            assert_eq!(value, None, "nothing is set");
            shell.env_remove(name);
        }
        Collector::of(shell, args)
    }

    #[track_caller]
    fn of(mut program: Command, args: &[&str]) -> Collector {
        let mut child = program.args(args).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let (mut http, mut graphite) = (None, None);
        let has_lines = !args.contains(&"off");
        let mut said = String::new();
        while http.is_none() || (has_lines && graphite.is_none()) {
            let line = lines.next().unwrap_or_else(|| panic!("it ended before it listened:\n{said}"));
            let after = |text: &str| line.split_once(text).map(|(_, addr)| addr.trim().parse().unwrap());
            http = http.or(after("listening on http://"));
            graphite = graphite.or(after("graphite lines on "));
            said += &(line + "\n");
        }
        let said = Arc::new(Mutex::new(said));
        let heard = said.clone();
        let listening = std::thread::spawn(move || {
            for line in lines {
                heard.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(30)))
            .build()
            .new_agent();
        Collector { child, http: http.unwrap(), graphite, said, listening: Some(listening), agent }
    }

    pub(crate) fn http(&self) -> SocketAddr {
        self.http
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    pub(crate) fn get(&self, target: &str) -> Reply {
        reply(self.agent.get(format!("http://{}{target}", self.http)).call())
    }

    pub(crate) fn post(&self, target: &str, content_type: &str, body: &[u8]) -> Reply {
        reply(self.agent.post(format!("http://{}{target}", self.http)).content_type(content_type).send(body))
    }

    /// Bare pairs belong to the series `data`.
    pub(crate) fn post_json(&self, body: &str) -> Reply {
        self.post("/data?series=data", "application/json", body.as_bytes())
    }

    /// Posts a message; the answer where there is one, else status and text.
    pub(crate) fn send(&self, message: &Message) -> Result<(u16, Answer), Reply> {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        let (status, text) = self.post("/data", CONTENT_TYPE, &bytes);
        if matches!(status, 200 | 409) {
            Ok((status, Answer::from_json(&text).unwrap()))
        } else {
            Err((status, text))
        }
    }

    /// A connection to the Graphite port.
    pub(crate) fn lines(&self) -> TcpStream {
        TcpStream::connect(self.graphite.unwrap()).unwrap()
    }

    /// Sends lines and hangs up.
    pub(crate) fn send_lines(&self, text: &[u8]) {
        self.lines().write_all(text).unwrap();
    }

    /// One number of `/metrics`, labels and all; 0 where it is not there.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let (status, text) = self.get("/metrics");
        assert_eq!(status, 200);
        let prefix = format!("dotter_collector_{name} ");
        text.lines().find_map(|line| line.strip_prefix(&prefix)).map_or(0.0, |value| value.parse().unwrap())
    }

    /// What it has written to standard error so far.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// SIGKILL: no chance to say goodbye.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        assert_eq!(self.child.wait().unwrap().signal(), Some(Signal::SIGKILL as i32));
    }

    /// SIGTERM; how it ended, and after how long.
    pub(crate) fn terminate(mut self) -> (ExitStatus, Duration, String) {
        let begun = Instant::now();
        kill(self.pid(), Signal::SIGTERM).unwrap();
        let status = self.child.wait().unwrap();
        let took = begun.elapsed();
        self.listening.take().unwrap().join().unwrap();
        (status, took, self.said())
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program on free ports, with nothing of the environment that could change what it does.
pub(crate) fn command(data: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dotter-collector"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("DOTTER_") {
            command.env_remove(name);
        }
    }
    command.arg("--data").arg(data).args(["--listen", "127.0.0.1:0"]);
    command
}

fn reply(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Reply {
    let mut answer = answer.unwrap();
    (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
}

pub(crate) fn snapshot(data: &Path) -> Snapshot {
    Reader::open(data).unwrap().snapshot()
}

/// (time in ns, value) of every dot of a series.
pub(crate) fn dots(snapshot: &Snapshot, series: &str) -> Vec<(u64, f64)> {
    let dots = snapshot.read(series, TimeRange::ALL).unwrap();
    dots.iter().map(|dot| (dot.time.nanos(), dot.value)).collect()
}

#[track_caller]
pub(crate) fn account(snapshot: &Snapshot, incarnation: Incarnation) -> Account {
    let account = snapshot.ledger().account(incarnation).expect("the ring is known").clone();
    assert!(account.is_balanced(), "{account:?}");
    account
}

pub(crate) fn sender(incarnation: Incarnation) -> Sender {
    Sender { incarnation, application: "app".into(), broker: "test".into() }
}

/// The series that record `record` belongs to, of `series` there are.
pub(crate) fn series_of(record: u64, series: u64) -> u32 {
    (record % series) as u32
}

pub(crate) fn value_of(lane: u32, record: u64) -> f64 {
    (u64::from(lane) * (1 << 32) + record) as f64
}

/// Every record a microsecond later than the one before, and no lane at the same time as another; even records are
/// stamped by the clock.
pub(crate) fn time_of(lane: u32, record: u64) -> u64 {
    1_700_000_000_000_000_000 + record * 1000 + u64::from(lane % 1000)
}

/// Records `[first, next)` of a lane, without losses; their series are those of [`series`].
pub(crate) fn lane(lane: u32, first: u64, next: u64, series: u64) -> LaneBatch {
    let records = first..next;
    LaneBatch {
        lane,
        first,
        next,
        losses: Vec::new(),
        runs: records.clone().map(|record| Run { dots: 1, clock: record % 2 == 0 }).collect(),
        series: records.clone().map(|record| series_of(record, series)).collect(),
        times: records.clone().map(|record| time_of(lane, record)).collect(),
        words: records.map(|record| value_of(lane, record).to_bits()).collect(),
        rows: Rows::default(),
    }
}

/// Takes records out of a lane and says they are missing.
pub(crate) fn lose(lane: &mut LaneBatch, first: u64, next: u64, reason: Reason) {
    assert!(lane.losses.is_empty(), "one loss is enough");
    let at = (first - lane.first) as usize..(next - lane.first) as usize;
    lane.runs.drain(at.clone());
    lane.series.drain(at.clone());
    lane.times.drain(at.clone());
    lane.words.drain(at);
    lane.losses.push(LossRange { first, next, reason, times: None });
}

/// Series `PREFIX.0`, `PREFIX.1`, ...
pub(crate) fn series(prefix: &str, count: u64) -> Vec<SeriesEntry> {
    (0..count).map(|number| entry(format!("{prefix}.{number}").as_bytes())).collect()
}

pub(crate) fn entry(name: &[u8]) -> SeriesEntry {
    SeriesEntry { name: name.to_vec(), format: "F".into(), ..SeriesEntry::default() }
}

pub(crate) fn batch(incarnation: Incarnation, series: Vec<SeriesEntry>, lanes: Vec<LaneBatch>) -> Message {
    Message::Batch(Batch { sender: sender(incarnation), series, lanes, refusals: RefusalTotals::default() })
}

pub(crate) fn finish(incarnation: Incarnation, lanes: &[(u32, u64)]) -> Message {
    let refusals = RefusalTotals::default();
    Message::Finish(Finish { sender: sender(incarnation), lanes: lanes.to_vec(), refusals })
}

pub(crate) fn question(incarnation: Incarnation) -> Message {
    Message::Question(Question { sender: sender(incarnation) })
}
