//! Starting and stopping: the parts of a collector and the order they come and go in.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use dotter_daemon::{Log, StopFlag, chain};
use dotter_http::{Config, Server, Token};
use dotter_store::Writer;

use crate::Error;
use crate::data::{HEALTH_PATHS, LARGE_AT_ONCE, Site};
use crate::given::Commit;
use crate::graphite::{Graphite, Limits};
use crate::history::History;
use crate::ingest::{self, Places, Queue, READS};
use crate::metrics::Metrics;
use crate::reserve::Reserve;
use crate::row_pages::ANSWERS_AT_ONCE;
use crate::thread::spawn_core;
use crate::upkeep::Upkeep;

/// Everything is over so long after it was asked for.
const STOP_MAX: Duration = Duration::from_secs(4);
/// Of that, for lines that have arrived.
const STOP_LINES: Duration = Duration::from_millis(1500);
/// Of that, for requests that have begun.
const STOP_REQUESTS: Duration = Duration::from_millis(1500);

/// How long another process may keep the log before that is an error. One that adds a few rows has it for a moment;
/// another collector keeps it.
const LOCK_WAIT: Duration = Duration::from_secs(10);
/// How often it is tried meanwhile.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// In the store's directory: the front door for other processes of the same user.
const SOCKET: &str = "collector.sock";
/// The system takes no socket's path that is longer; then there is none.
const SOCKET_PATH_BYTES: usize = 108;

/// What a collector is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Directory of the store; made where it is not there.
    pub data: PathBuf,
    /// Address of the front door. Port 0 takes any free one.
    pub listen: SocketAddr,
    /// Address for Graphite lines, where they are taken.
    pub graphite: Option<SocketAddr>,
    /// Graphite connections at once; fewer where the limit on open files is small. Further ones wait.
    pub graphite_connections_max: usize,
    /// A Graphite connection that has been silent for longer loses its place to one that waits.
    pub graphite_silence_max: Duration,
    /// What every request must carry, but for those after the collector's health and those through the socket file.
    pub token: Option<Token>,
    /// Host names answered besides the usual.
    pub hosts: Vec<String>,
    /// Longest body of a request, in bytes.
    pub body_bytes_max: usize,
    /// Series taken that are new to the store, from one start to the next.
    pub series_max: usize,
    /// Percent of the file system that are kept free: below that no rows are taken. 0 for none.
    pub disk_reserve_percent: f64,
    /// Bytes that the store may have; above that its oldest dots go. `None` for no limit.
    pub max_bytes: Option<u64>,
}

impl Options {
    /// Every default, for one store.
    pub fn new(data: impl Into<PathBuf>) -> Options {
        Options {
            data: data.into(),
            listen: SocketAddr::from(([127, 0, 0, 1], 8000)),
            graphite: Some(SocketAddr::from(([127, 0, 0, 1], 2003))),
            graphite_connections_max: 1024,
            graphite_silence_max: Duration::from_secs(60),
            token: None,
            hosts: Vec::new(),
            body_bytes_max: 4_000_000,
            series_max: 1_000_000,
            disk_reserve_percent: 5.0,
            max_bytes: None,
        }
    }
}

/// A running collector.
struct Collector {
    doors: Doors,
    upkeep: Upkeep,
    commit: JoinHandle<Result<(), Error>>,
    /// Dropped to say that nothing more will be queued.
    last: Sender<()>,
    /// Disconnected when the thread that commits has ended.
    committed: Receiver<()>,
    /// Ends the upkeep.
    stop: StopFlag,
}

/// The ways in.
struct Doors {
    server: Server,
    graphite: Option<Graphite>,
}

impl Collector {
    /// Opens the doors.
    ///
    /// - `writer`: of the store, or what it said where the disk was too full to open it
    /// - `hangup`: see [`Upkeep::start`]
    fn start(
        options: Options,
        writer: Result<Writer, dotter_store::Error>,
        hangup: Receiver<()>,
        log: &Log,
    ) -> Result<Collector, Error> {
        let dir = options.data.clone();
        let stop = StopFlag::default();
        let metrics = Arc::new(Metrics::new());
        if writer.is_ok() {
            // Before the doors open: whoever asks first is told that all is well.
            metrics.set_trouble(None);
        }
        let ask = Box::new(dotter_store::free_room);
        let percent = options.disk_reserve_percent;
        let reserve = Reserve::new(&dir, percent, ask, metrics.clone(), log.clone());
        let history = Arc::new(History::new(dir.clone()));
        let (queue, jobs) = ingest::queue();
        let (seal, wake) = bounded(1);
        let (last, last_seen) = bounded(0);
        let (done, committed) = bounded::<()>(0);
        let upkeep = Upkeep::start(&options, wake, hangup, history.clone(), &stop, &metrics, log)?;
        let commit = Commit {
            dir,
            series_max: options.series_max,
            reserve,
            jobs,
            last: last_seen,
            seal,
            metrics: metrics.clone(),
            log: log.clone(),
        };
        let commit = spawn_core("commit", move || {
            let _done = done;
            commit.run(writer)
        })?;
        match Doors::open(options, queue, history, metrics, log) {
            Ok(doors) => Ok(Collector { doors, upkeep, commit, last, committed, stop }),
            Err(error) => {
                stop.set();
                Err(error)
            }
        }
    }

    /// Stops listening, takes what has arrived, answers what has begun, syncs, and lets the store go; within five
    /// seconds.
    fn stop(self) -> Result<(), Error> {
        let until = Instant::now() + STOP_MAX;
        self.stop.set();
        if let Some(graphite) = self.doors.graphite {
            graphite.stop(STOP_LINES);
        }
        self.doors.server.stop(STOP_REQUESTS);
        drop(self.last);
        let left = || until.saturating_duration_since(Instant::now());
        if self.committed.recv_timeout(left()) == Err(RecvTimeoutError::Timeout) {
            return Err(Error::NotDrained);
        }
        self.upkeep.join(left());
        // It does not panic: the process would be gone.
        self.commit.join().unwrap_or(Ok(()))
    }
}

impl Doors {
    fn open(
        options: Options,
        queue: Queue,
        history: Arc<History>,
        metrics: Arc<Metrics>,
        log: &Log,
    ) -> Result<Doors, Error> {
        if let Some(addr) = options.graphite.filter(|addr| !addr.ip().to_canonical().is_loopback()) {
            if options.token.is_none() {
                return Err(Error::GraphiteNotLoopback(addr));
            }
            log.info(&format!("warning: whoever reaches {addr} can write: graphite lines carry no token"));
        }
        let config = Config {
            hosts: options.hosts,
            open_reads: HEALTH_PATHS.map(str::to_owned).to_vec(),
            token: options.token,
            threads: ingest::HANDLERS,
            others_max: options.graphite.map_or(0, |_| options.graphite_connections_max),
            body_bytes_max: options.body_bytes_max,
            socket_file: Some(options.data.join(SOCKET))
                .filter(|path| path.as_os_str().len() < SOCKET_PATH_BYTES),
            ..Config::new(options.listen)
        };
        let site = Site {
            dir: options.data,
            queue: queue.clone(),
            history,
            metrics: metrics.clone(),
            door: config.counters.clone(),
            log: log.clone(),
            large: Places::new(LARGE_AT_ONCE),
            reads: Places::new(READS),
            answers: Places::new(ANSWERS_AT_ONCE),
        };
        let server = Server::start(config, move |request| site.answer(&request))?;
        let limits = Limits { places: server.others_max(), silence_max: options.graphite_silence_max };
        let graphite =
            options.graphite.map(|addr| Graphite::start(addr, limits, queue, metrics, log.clone()));
        let graphite = graphite.transpose()?;
        Ok(Doors { server, graphite })
    }
}

/// Runs until `stop` is set. Takes SIGHUP, after which the retention rules are read anew.
///
/// # Errors
///
/// [`Error`] says what could not be had at the start; at the end, [`Error::NotWritten`] and [`Error::NotDrained`], where
/// it could not end in good order. What was acknowledged is safe in any case.
pub fn run(options: Options, stop: &StopFlag, log: &Log) -> Result<(), Error> {
    // The store is for its owner and, where the owner says so later, for others: nothing is made readable by chance.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    // Before anything takes long: without this SIGHUP is the end.
    let (ask, hangup) = bounded(1);
    // Full where it has been asked and has not yet looked.
    dotter_daemon::on_hangup(move || _ = ask.try_send(()))
        .map_err(|source| Error::Resources { what: "a signal handler", source })?;
    // A segment that the disk cannot give is an error from here on; without this it would be the end.
    if let Err(error) = dotter_store::survive_truncation() {
        log.info(&format!("cannot guard against segments that are cut short: {error}"));
    }
    // A reader of many segments keeps a file open for each.
    dotter_store::allow_many_files();
    let Some(writer) = open(&options.data, stop, log)? else { return Ok(()) };
    let collector = Collector::start(options, writer, hangup, log)?;
    log.info(&format!("listening on http://{}", collector.doors.server.local_addr()));
    if let Some(graphite) = &collector.doors.graphite {
        log.info(&format!("graphite lines on {}", graphite.addr()));
    }
    while !stop.wait(Duration::from_secs(3600)) {}
    log.info("stopping");
    collector.stop()
}

/// Opens the store for writing; `None` where the collector is stopped before another process lets go of its log.
///
/// A disk that is full is no error: the collector answers 507 until there is room.
fn open(
    dir: &Path,
    stop: &StopFlag,
    log: &Log,
) -> Result<Option<Result<Writer, dotter_store::Error>>, Error> {
    let until = Instant::now() + LOCK_WAIT;
    let mut is_told = false;
    loop {
        match Writer::open(dir) {
            Err(error @ dotter_store::Error::Locked(_)) if Instant::now() < until => {
                if !is_told {
                    log.info(&format!("waiting up to {LOCK_WAIT:?}: {}", chain(&error)));
                    is_told = true;
                }
                if stop.wait(LOCK_PAUSE) {
                    return Ok(None);
                }
            }
            Err(source) if !source.is_disk_full() => return Err(Error::Open { dir: dir.to_owned(), source }),
            writer => return Ok(Some(writer)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::ingest::HANDLERS;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// Status, `Retry-After` and body.
    type Reply = (u16, Option<String>, String);

    fn ask(addr: SocketAddr, target: &str, body: Option<&str>) -> Reply {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
        let (agent, url) = (config.build().new_agent(), format!("http://{addr}{target}"));
        let answer = match body {
            Some(body) => agent.post(url).send(body),
            None => agent.get(url).call(),
        };
        let mut answer = answer.unwrap();
        let again = answer.headers().get("Retry-After").map(|value| value.to_str().unwrap().to_owned());
        (answer.status().as_u16(), again, answer.body_mut().read_to_string().unwrap())
    }

    #[test]
    fn reads_that_hang_leave_posts_and_health_their_threads() {
        const READERS: usize = 3 * HANDLERS;
        let dir = tempfile::tempdir().unwrap();
        let (queue, jobs) = ingest::queue();
        let (seal, _sealing) = bounded(1);
        let (last, last_seen) = bounded(0);
        let (metrics, log) = (Arc::new(Metrics::new()), Log::new("test"));
        let commit = Commit {
            dir: dir.path().to_owned(),
            series_max: 100,
            reserve: Reserve::new(
                dir.path(),
                0.0,
                Box::new(dotter_store::free_room),
                metrics.clone(),
                log.clone(),
            ),
            jobs,
            last: last_seen,
            seal,
            metrics: metrics.clone(),
            log: log.clone(),
        };
        let committing = std::thread::spawn(move || {
            let writer = Writer::open(&commit.dir);
            commit.run(writer)
        });
        let options =
            Options { listen: ([127, 0, 0, 1], 0).into(), graphite: None, ..Options::new(dir.path()) };
        let history = Arc::new(History::new(dir.path().to_owned()));
        let doors = Doors::open(options, queue, history.clone(), metrics.clone(), &log).unwrap();
        let addr = doors.server.local_addr();
        let post = || ask(addr, "/data?series=a", Some("[[1, 2]]"));
        assert_eq!(post().0, 200);

        let held = history.hold();
        let (tell, told) = channel();
        let readers: Vec<_> = (0..READERS)
            .map(|number| {
                let tell = tell.clone();
                std::thread::spawn(move || {
                    let target = ["/data?series=a", "/data?series=a&from=0", "/store/a", "/a"][number % 4];
                    tell.send(ask(addr, target, None)).unwrap();
                })
            })
            .collect();
        let next = || -> Reply { told.recv_timeout(PATIENCE).unwrap() };
        for _ in READS..READERS {
            let (status, again, text) = next();
            assert_eq!((status, again.as_deref()), (429, Some("1")), "{text}");
        }
        // The others run, and will not end by themselves.
        assert_eq!(ask(addr, "/-/healthy", None).0, 200);
        assert_eq!(post().0, 200);
        let put_off = format!("dotter_collector_reads_put_off_total {}\n", READERS - READS);
        assert!(ask(addr, "/metrics", None).2.contains(&put_off));
        drop(held);
        for _ in 0..READS {
            let (status, _, text) = next();
            assert_eq!(status, 200, "{text}");
        }
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        for _ in 0..3 * READS {
            assert_eq!(ask(addr, "/data?series=a", None).0, 200, "their places are free again");
        }
        doors.server.stop(PATIENCE);
        drop(last);
        committing.join().unwrap().unwrap();
    }
}
