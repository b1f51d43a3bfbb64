//! The Graphite port: plaintext lines over TCP.
//!
//! Always true:
//!
//! - there are at most [`Limits::places`] connections, each with a thread, a line and a buffer; further ones are not
//!   accepted and wait in the listening socket's queue, so nothing is closed that was accepted and still speaks
//! - where the queue is full, sockets are not read: whoever sends is held up, nothing is thrown away
//! - a bad line is counted and costs nothing but itself
//! - a connection that speaks HTTP or TLS is closed there and counted; nothing behind that is read
//! - when the collector stops, what has arrived is read, taken and written

mod connections;

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::ops::ControlFlow;
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dotter_daemon::Log;
use dotter_dot::{NamedDots, Timestamp};
use dotter_intake::graphite::{Lines, take_line};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{Backlog, listen};

pub(crate) use self::connections::Limits;
use self::connections::{Connections, Place};
use crate::Error;
use crate::bad_line::BadLine;
use crate::foreign::Foreign;
use crate::ingest::{LinesRefused, Queue};
use crate::metrics::Metrics;
use crate::thread::spawn_core;

/// What is read at once, and with it the most lines of one job.
const READ_BYTES: usize = 64 << 10;
/// Room for a reading thread's calls; its buffers are on the heap.
const STACK_BYTES: usize = 256 << 10;
/// Between two looks at whether to stop, where nobody connects.
const LOOK: Duration = Duration::from_millis(100);
/// After an error of accept, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
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
    connections: Arc<Connections>,
    stopping: AtomicBool,
    /// From then on lines that find no room in the queue are dropped.
    give_up: Mutex<Option<Instant>>,
}

/// Who waits once everyone has been let in who could be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    Nobody,
    /// Somebody, for a place.
    ForPlace,
    /// Perhaps somebody, for what the system does not give now.
    ForSystem,
}

impl Graphite {
    /// Listens.
    pub(crate) fn start(
        addr: SocketAddr,
        limits: Limits,
        queue: Queue,
        metrics: Arc<Metrics>,
        log: Log,
    ) -> Result<Graphite, Error> {
        let failed = |source| Error::Graphite { addr, source };
        let listener = TcpListener::bind(addr).map_err(failed)?;
        // The standard library asks for a queue of 128; those who wait for a place wait there.
        listen(&listener, Backlog::MAXCONN).map_err(|error| failed(error.into()))?;
        listener.set_nonblocking(true).map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        metrics.line_places.store(limits.places as u64, Relaxed);
        let connections = Arc::new(Connections::new(limits, metrics.clone()));
        let (stopping, give_up) = (AtomicBool::new(false), Mutex::default());
        let shared = Arc::new(Shared { queue, metrics, log, connections, stopping, give_up });
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
        self.shared.connections.end_all();
        match self.shared.connections.wait_for_end(until.saturating_duration_since(Instant::now())) {
            0 => {}
            left => {
                let text = format!("{left} graphite connections had more to say than there was time for");
                self.shared.log.info(&text);
            }
        }
    }
}

impl Shared {
    fn accept_all(self: &Arc<Shared>, listener: &TcpListener) {
        let mut reader = None;
        let mut before = Waiting::Nobody;
        loop {
            // Looked at first: connections that wait now are still taken.
            let stopping = self.stopping.load(SeqCst);
            let waiting = self.accept_some(listener, &mut reader);
            match waiting {
                Waiting::Nobody if stopping => return,
                // An interruption or an error: accept will say.
                Waiting::Nobody => _ = is_ready(listener, LOOK),
                Waiting::ForPlace => {
                    self.make_place(stopping, before != Waiting::ForPlace);
                    self.connections.wait_for_place(LOOK);
                }
                Waiting::ForSystem => std::thread::sleep(ACCEPT_PAUSE),
            }
            if stopping && self.has_given_up() {
                return;
            }
            before = waiting;
        }
    }

    /// Takes connections for as long as there are any, and places for them. A connection is taken only by a thread
    /// that is there already: what was taken has to be read.
    ///
    /// - `reader`: a thread without a connection
    fn accept_some(
        self: &Arc<Shared>,
        listener: &TcpListener,
        reader: &mut Option<Sender<Place>>,
    ) -> Waiting {
        let refused = |what: &str, error: &io::Error| {
            self.log.warn("graphite-accept", &format!("cannot {what}: {error}; trying again"));
            Waiting::ForSystem
        };
        loop {
            if !self.connections.has_place() {
                return if is_ready(listener, Duration::ZERO) { Waiting::ForPlace } else { Waiting::Nobody };
            }
            let next = match reader.take() {
                Some(next) => next,
                None => match self.start_reader() {
                    Ok(next) => next,
                    Err(error) => return refused("start a thread for graphite connections", &error),
                },
            };
            match listener.accept() {
                Ok((stream, peer)) => match self.connections.add(stream, peer.ip()) {
                    // Received: the thread waits for nothing else.
                    Ok(place) => _ = next.send(place),
                    Err(error) => {
                        *reader = Some(next);
                        let text = format!("cannot prepare a graphite connection: {error}; it is closed");
                        self.log.warn("graphite-accept", &text);
                    }
                },
                Err(error) => {
                    *reader = Some(next);
                    match error.kind() {
                        ErrorKind::WouldBlock => return Waiting::Nobody,
                        ErrorKind::ConnectionAborted | ErrorKind::Interrupted => {}
                        _ => return refused("take a graphite connection", &error),
                    }
                }
            }
        }
    }

    /// Starts a thread that will read the connection it is sent.
    fn start_reader(self: &Arc<Shared>) -> io::Result<Sender<Place>> {
        let (give, given) = channel();
        let shared = self.clone();
        let builder = std::thread::Builder::new().name("graphite-line".into()).stack_size(STACK_BYTES);
        builder.spawn(move || {
            if let Ok(place) = given.recv() {
                shared.read_all(&place);
            }
        })?;
        Ok(give)
    }

    /// Somebody waits for a place.
    ///
    /// - `is_first`: nobody did a moment ago
    fn make_place(&self, stopping: bool, is_first: bool) {
        if is_first {
            self.metrics.line_connections_full.fetch_add(1, Relaxed);
            let text = format!(
                "graphite connections wait: {} are open, --max-graphite-connections or the limit on open files \
                 allows no more",
                self.connections.limits().places
            );
            self.log.warn("graphite-connections", &text);
        }
        if stopping {
            // What has arrived behind them is to be read too.
            self.connections.end_all();
        } else if let Some((peer, silence)) = self.connections.evict() {
            let text = format!(
                "graphite connection from {peer} closed: silent for {} s while another waits for a place",
                silence.as_secs()
            );
            self.log.warn("graphite-evicted", &text);
        }
    }

    fn has_given_up(&self) -> bool {
        let give_up = *self.give_up.lock().unwrap_or_else(PoisonError::into_inner);
        give_up.is_some_and(|until| until <= Instant::now())
    }

    /// Reads one connection to its end.
    fn read_all(&self, place: &Place) {
        let peer = place.peer();
        let mut buffer = vec![0; READ_BYTES];
        let mut lines = Lines::default();
        loop {
            let count = match place.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                // Reset, or silent for too long: there is nobody to tell.
                Err(_) => break,
            };
            let now = Timestamp::now();
            let mut rows = NamedDots::default();
            let mut heard = lines.feed(&buffer[..count], |line| {
                let (why, line) = match line {
                    Ok(line) => match take_line(line, now, &mut rows) {
                        Ok(()) => return ControlFlow::Continue(()),
                        Err(why) => (BadLine::from(why), line),
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
    fn queue_rows(&self, rows: NamedDots) -> bool {
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
            if self.has_given_up() {
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

/// Whether somebody wants to be accepted, within `wait`.
fn is_ready(listener: &TcpListener, wait: Duration) -> bool {
    let mut waiting = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    let wait = PollTimeout::try_from(wait).unwrap_or(PollTimeout::ZERO);
    poll(&mut waiting, wait).is_ok_and(|count| count > 0)
}

#[cfg(test)]
mod tests;
