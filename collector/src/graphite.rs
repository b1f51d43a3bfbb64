//! The Graphite port: plaintext lines over TCP.
//!
//! Always true:
//!
//! - at most [`CONNECTIONS_MAX`] connections, each with a thread, a line and a buffer; one more is closed at once and
//!   counted
//! - where the queue is full, sockets are not read: whoever sends is held up, nothing is thrown away
//! - a bad line is counted and costs nothing but itself
//! - a connection that speaks HTTP or TLS is closed there and counted; nothing behind that is read
//! - when the collector stops, what has arrived is read, taken and written

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dotter_daemon::Log;
use dotter_dot::Timestamp;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};

use crate::Error;
use crate::foreign::Foreign;
use crate::ingest::{LinesRefused, Queue};
use crate::line::{BadLine, Lines, read_line, read_name};
use crate::metrics::Metrics;
use crate::rows::Rows;
use crate::thread::spawn_core;

const CONNECTIONS_MAX: usize = 256;
/// What is read at once, and with it the most lines of one job.
const READ_BYTES: usize = 64 << 10;
/// Room for a reading thread's calls; its buffers are on the heap.
const STACK_BYTES: usize = 256 << 10;
/// Between two looks at whether to stop, where nobody connects.
const LOOK: Duration = Duration::from_millis(100);
/// After an error of accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A peer that has been silent for so long is asked whether it is still there.
const KEEPALIVE_S: u32 = 60;
/// How much of a bad line is shown.
const SAMPLE_CHARS_MAX: usize = 120;

/// The port and everyone connected to it.
pub(crate) struct Graphite {
    addr: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    queue: Queue,
    metrics: Arc<Metrics>,
    log: Log,
    stopping: AtomicBool,
    /// From then on lines that find no room in the queue are dropped.
    give_up: Mutex<Option<Instant>>,
    open: Mutex<HashMap<u64, Arc<TcpStream>>>,
    /// A connection has ended.
    ended: Condvar,
}

impl Graphite {
    /// Listens.
    pub(crate) fn start(
        addr: SocketAddr,
        queue: Queue,
        metrics: Arc<Metrics>,
        log: Log,
    ) -> Result<Graphite, Error> {
        let failed = |source| Error::Graphite { addr, source };
        let listener = TcpListener::bind(addr).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        let shared = Arc::new(Shared {
            queue,
            metrics,
            log,
            stopping: AtomicBool::new(false),
            give_up: Mutex::default(),
            open: Mutex::default(),
            ended: Condvar::new(),
        });
        let with = shared.clone();
        let accepting = spawn_core("graphite", move || with.accept_all(&listener))?;
        Ok(Graphite { addr, shared, accepting: Some(accepting) })
    }

    /// Where it listens; the port is the real one when 0 was asked for.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops listening, reads what has arrived and queues it, for at most `wait`.
    pub(crate) fn stop(mut self, wait: Duration) {
        let until = Instant::now() + wait;
        *self.shared.give_up.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
        self.shared.stopping.store(true, SeqCst);
        if let Some(accepting) = self.accepting.take() {
            // It does not panic: the process would be gone.
            let _ = accepting.join();
        }
        let mut open = self.shared.open();
        for stream in open.values() {
            // What has arrived can still be read; after it comes the end.
            let _ = stream.shutdown(Shutdown::Read);
        }
        while !open.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let text =
                    format!("{} graphite connections had more to say than there was time for", open.len());
                self.shared.log.info(&text);
                return;
            }
            open = self.shared.ended.wait_timeout(open, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, HashMap<u64, Arc<TcpStream>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept_all(self: &Arc<Shared>, listener: &TcpListener) {
        let mut number = 0;
        loop {
            // Looked at first: connections that wait now are still taken.
            let stopping = self.stopping.load(SeqCst);
            loop {
                match listener.accept() {
                    Ok((stream, peer)) => {
                        number += 1;
                        self.begin(number, stream, peer.ip());
                    }
                    Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                    Err(e) if matches!(e.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                    Err(e) => {
                        self.log.warn("graphite-accept", &format!("cannot take a graphite connection: {e}"));
                        std::thread::sleep(ACCEPT_PAUSE);
                        break;
                    }
                }
            }
            if stopping {
                return;
            }
            let mut waiting = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
            let wait = PollTimeout::try_from(LOOK).unwrap_or(PollTimeout::ZERO);
            // An interruption or an error: accept will say.
            let _ = poll(&mut waiting, wait);
        }
    }

    fn begin(self: &Arc<Shared>, number: u64, stream: TcpStream, peer: IpAddr) {
        let mut open = self.open();
        if open.len() >= CONNECTIONS_MAX {
            drop(open);
            self.metrics.line_connections_refused.fetch_add(1, Relaxed);
            let text = format!("a graphite connection from {peer} was closed: {CONNECTIONS_MAX} are open");
            self.log.warn("graphite-connections", &text);
            return;
        }
        if let Err(error) = prepare(&stream) {
            self.log.warn("graphite-accept", &format!("cannot prepare a graphite connection: {error}"));
            return;
        }
        let stream = Arc::new(stream);
        open.insert(number, stream.clone());
        self.metrics.line_connections.store(open.len() as u64, Relaxed);
        drop(open);
        let ending = Ending { shared: self.clone(), number };
        let builder = std::thread::Builder::new().name("graphite-line".into()).stack_size(STACK_BYTES);
        // Where no thread can be had, the connection ends with what would have been moved into it.
        let started = builder.spawn(move || ending.shared.read_all(&stream, peer));
        if let Err(error) = started {
            self.log.warn(
                "graphite-accept",
                &format!("cannot start a thread for a graphite connection: {error}"),
            );
        }
    }

    /// Reads one connection to its end.
    fn read_all(&self, mut stream: &TcpStream, peer: IpAddr) {
        let mut buffer = vec![0; READ_BYTES];
        let mut lines = Lines::default();
        loop {
            let count = match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                // Reset, or silent for too long: there is nobody to tell.
                Err(_) => break,
            };
            let now = Timestamp::now();
            let mut rows = Rows::default();
            let mut heard = lines.feed(&buffer[..count], |line| {
                let (why, line) = match line {
                    Ok(line) => match take(line, now, &mut rows) {
                        Ok(()) => return ControlFlow::Continue(()),
                        Err(why) => (why, line),
                    },
                    Err(line) => (BadLine::TooLong, line),
                };
                if let Some(foreign) = Foreign::of(line) {
                    return ControlFlow::Break(foreign);
                }
                self.note(why, line, peer);
                ControlFlow::Continue(())
            });
            // Whoever begins TLS waits for an answer, and may send no line end before it comes.
            if heard.is_continue() && Foreign::of(lines.unfinished()) == Some(Foreign::Tls) {
                heard = ControlFlow::Break(Foreign::Tls);
            }
            if !rows.is_empty() && !self.queue_rows(rows) {
                return;
            }
            if let ControlFlow::Break(foreign) = heard {
                self.turn_off(foreign, peer);
                return;
            }
        }
        if !lines.unfinished().is_empty() {
            self.note(BadLine::Unfinished, lines.unfinished(), peer);
        }
    }

    /// Waits for room in the queue; says whether there will be any more.
    fn queue_rows(&self, rows: Rows) -> bool {
        self.metrics.lines.fetch_add(rows.len() as u64, Relaxed);
        let mut rows = rows;
        loop {
            rows = match self.queue.lines(rows, LOOK) {
                Ok(()) => return true,
                Err(LinesRefused::Full(rows)) => *rows,
                Err(LinesRefused::Closed(rows)) => {
                    self.metrics.lines_dropped.fetch_add(rows.len() as u64, Relaxed);
                    return false;
                }
            };
            let give_up = *self.give_up.lock().unwrap_or_else(PoisonError::into_inner);
            if give_up.is_some_and(|until| until <= Instant::now()) {
                self.metrics.lines_dropped.fetch_add(rows.len() as u64, Relaxed);
                return false;
            }
        }
    }

    fn turn_off(&self, foreign: Foreign, peer: IpAddr) {
        self.metrics.foreign(foreign);
        let spoken = match foreign {
            Foreign::Http => "an HTTP request line",
            Foreign::Tls => "a TLS hello",
        };
        let text = format!(
            "graphite connection from {peer} closed: found {spoken}, expected lines of name, value and time; \
             nothing behind it was read"
        );
        self.log.warn(foreign.key(), &text);
    }

    fn note(&self, why: BadLine, line: &[u8], peer: IpAddr) {
        self.metrics.bad_line(why, 1);
        let sample: String = String::from_utf8_lossy(&line[..line.len().min(4 * SAMPLE_CHARS_MAX)])
            .chars()
            .take(SAMPLE_CHARS_MAX)
            .collect();
        let text = format!("graphite line from {peer} not taken ({}): '{sample}'", why.as_str());
        self.log.warn(why.key(), &text);
    }
}

/// Puts a line among the rows.
fn take(line: &[u8], now: Timestamp, rows: &mut Rows) -> Result<(), BadLine> {
    let Some(line) = read_line(line, now)? else { return Ok(()) };
    let series = match rows.find(line.name) {
        Some(series) => series,
        None => rows.series(read_name(line.name)?),
    };
    rows.push(series, line.time, line.value);
    Ok(())
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    // A peer that is gone without a word would hold its place for ever.
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &KEEPALIVE_S)?;
    Ok(())
}

/// Gives a connection's place back when its thread ends, however it ends.
struct Ending {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let mut open = self.shared.open();
        open.remove(&self.number);
        self.shared.metrics.line_connections.store(open.len() as u64, Relaxed);
        self.shared.ended.notify_all();
    }
}
