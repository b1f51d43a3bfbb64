//! The poll thread: owns the public port, every client connection and the private connections.
//!
//! Nothing here blocks but poll(2). Each turn waits for sockets, a wake-up or the nearest deadline, then
//! does what became possible. Sums over all connections are made anew each turn, so they cannot drift.
//!
//! - `admission.rs`: who gets a connection, and who loses one for it
//! - `clients.rs`: requests in, answers and events out
//! - `relay.rs`: complete requests to tiny_http, answers back

mod admission;
mod clients;
mod relay;

use std::collections::{HashMap, VecDeque};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::Config;
use crate::connection::{Connection, Phase};
use crate::counters::{Live, add, set};
use crate::descriptors::Caps;
use crate::handlers::Handover;
use crate::head::Refusal;
use crate::private::Private;
use crate::rules::Rules;
use crate::socket::Listener;
use crate::waker::{Waker, Wakeups};

const READ_BUFFER_BYTES: usize = 64 << 10;

/// What the poll thread shares with everyone else.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) waker: Arc<Waker>,
    pub(crate) handover: Arc<Handover>,
    pub(crate) counters: Arc<Live>,
    /// Set once, when the server is to stop: by when.
    pub(crate) stop_by: Mutex<Option<Instant>>,
}

pub(crate) struct Gate {
    /// None left once stopping.
    listeners: Vec<Listener>,
    /// No accept before this.
    paused_until: Option<Instant>,
    wakeups: Wakeups,
    shared: Arc<Shared>,
    config: Config,
    rules: Rules,
    caps: Caps,
    connections: HashMap<u64, Connection>,
    next_id: u64,
    /// Connections in `Phase::Streaming`.
    streams: usize,
    /// Connections in `Phase::Waiting`, first come first; those that have gone are passed over.
    waiting: VecDeque<u64>,
    /// One place per handler thread; an empty one is filled as soon as no other is being greeted.
    privates: Vec<Option<Private>>,
    private_path: PathBuf,
    /// No private connection is opened before this.
    private_retry_at: Option<Instant>,
    /// Held over all clients at the start of the turn, and what was added in it.
    request_bytes: usize,
    answer_bytes: usize,
    buffer: Vec<u8>,
    stop_by: Option<Instant>,
}

#[derive(Clone, Copy)]
enum Source {
    Wakeup,
    Private(usize),
    Client(u64),
    Listener(usize),
}

impl Gate {
    pub(crate) fn new(
        listeners: Vec<Listener>,
        wakeups: Wakeups,
        shared: Arc<Shared>,
        config: Config,
        rules: Rules,
        caps: Caps,
        private_path: PathBuf,
    ) -> Gate {
        Gate {
            listeners,
            paused_until: None,
            wakeups,
            shared,
            rules,
            caps,
            connections: HashMap::new(),
            next_id: 0,
            streams: 0,
            waiting: VecDeque::new(),
            privates: (0..config.threads).map(|_| None).collect(),
            private_path,
            private_retry_at: None,
            request_bytes: 0,
            answer_bytes: 0,
            buffer: vec![0; READ_BUFFER_BYTES],
            stop_by: None,
            config,
        }
    }

    pub(crate) fn run(mut self) {
        self.hand_on(Instant::now());
        loop {
            let ready = self.wait();
            let now = Instant::now();
            for (source, flags) in ready {
                match source {
                    Source::Wakeup => self.wake(now),
                    Source::Private(place) => self.private_ready(place, flags, now),
                    Source::Client(id) => self.client_ready(id, flags, now),
                    Source::Listener(place) => self.accept(place, now),
                }
            }
            self.expire(now);
            self.hand_on(now);
            self.tally();
            self.relieve();
            self.show();
            if self.stopped(now) {
                break;
            }
        }
        for id in self.connections.keys().copied().collect::<Vec<_>>() {
            self.close(id);
        }
        self.tally();
        self.show();
    }

    /// Sleeps until something can be done; says what.
    fn wait(&mut self) -> Vec<(Source, PollFlags)> {
        let now = Instant::now();
        let mut polled = Vec::with_capacity(self.connections.len() + self.privates.len() + 2);
        let mut sources = Vec::with_capacity(polled.capacity());
        let mut wake_at = self.stop_by;
        let mut sooner = |at: Option<Instant>| wake_at = wake_at.into_iter().chain(at).min();

        sources.push(Source::Wakeup);
        polled.push(PollFd::new(self.wakeups.socket.as_fd(), PollFlags::POLLIN));
        for (place, private) in self.privates.iter().enumerate() {
            if let Some(private) = private {
                let mut events = PollFlags::POLLIN;
                events.set(PollFlags::POLLOUT, private.wants_to_write());
                sources.push(Source::Private(place));
                polled.push(PollFd::new(private.socket.as_fd(), events));
                sooner(private.greeting_deadline());
            }
        }
        if self.private_missing() {
            sooner(self.private_retry_at);
        }
        for (id, connection) in &self.connections {
            let mut events = PollFlags::empty();
            events.set(PollFlags::POLLIN, connection.reads());
            events.set(PollFlags::POLLOUT, !connection.output.is_empty());
            sources.push(Source::Client(*id));
            polled.push(PollFd::new(connection.socket.as_fd(), events));
            sooner(connection.deadline);
            if let Phase::Streaming { heartbeat_at, .. } = connection.phase {
                sooner(Some(heartbeat_at));
            }
        }
        if self.paused_until.is_some_and(|until| until <= now) {
            self.paused_until = None;
        }
        match self.paused_until {
            Some(_) if self.listeners.is_empty() => {}
            Some(until) => sooner(Some(until)),
            None => {
                for (place, listener) in self.listeners.iter().enumerate() {
                    sources.push(Source::Listener(place));
                    polled.push(PollFd::new(listener.as_fd(), PollFlags::POLLIN));
                }
            }
        }

        match poll(&mut polled, timeout(wake_at, now)) {
            Ok(_) => {}
            // A signal came: look after deadlines and sleep again.
            Err(Errno::EINTR) => return Vec::new(),
            Err(e) => panic!("poll of {} sockets failed: {e}", polled.len()),
        }
        // Flags that nix does not know cannot be asked for with it; should one come, it is an error.
        let flags = polled.iter().map(|fd| fd.revents().unwrap_or(PollFlags::POLLERR));
        sources.into_iter().zip(flags).filter(|(_, flags)| !flags.is_empty()).collect()
    }

    fn wake(&mut self, now: Instant) {
        for id in self.shared.waker.take(&self.wakeups) {
            self.pump(id, now);
        }
        let stop_by = *self.shared.stop_by.lock().unwrap_or_else(PoisonError::into_inner);
        if self.stop_by.is_none() && stop_by.is_some() {
            self.stop_by = stop_by;
            self.listeners.clear();
            for id in self.connections.keys().copied().collect::<Vec<_>>() {
                self.wind_up(id, now);
            }
        }
    }

    fn stopped(&self, now: Instant) -> bool {
        // Those that linger have been written all they get.
        let done = |c: &Connection| matches!(c.phase, Phase::Lingering);
        self.stop_by.is_some_and(|by| by <= now || self.connections.values().all(done))
    }

    /// Deals with every deadline that has passed.
    fn expire(&mut self, now: Instant) {
        let late = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let due = self.connections.iter().filter(|(_, c)| {
            let heartbeat = matches!(c.phase, Phase::Streaming { heartbeat_at, .. } if heartbeat_at <= now);
            late(c.deadline) || heartbeat
        });
        for id in due.map(|(id, _)| *id).collect::<Vec<_>>() {
            let Some(connection) = self.connections.get(&id) else { continue };
            let counters = self.shared.counters.clone();
            match &connection.phase {
                Phase::Streaming { .. } if !late(connection.deadline) => self.heartbeat(id, now),
                Phase::Answering { .. } | Phase::Streaming { .. } => {
                    add(&counters.stalled, 1);
                    self.close(id);
                }
                Phase::Head { .. } if connection.input.is_empty() => {
                    add(&counters.timed_out, 1);
                    self.close(id);
                }
                Phase::Head { .. } => {
                    add(&counters.timed_out, 1);
                    self.refuse(id, Refusal { status: 408, why: "the head did not arrive in time" }, now);
                }
                Phase::Body(_) => {
                    add(&counters.timed_out, 1);
                    self.refuse(id, Refusal { status: 408, why: "the body did not arrive in time" }, now);
                }
                Phase::Waiting(_) => {
                    let why = "busy: no handler took the request in time; try again";
                    self.refuse(id, Refusal { status: 503, why }, now);
                }
                Phase::Idle | Phase::Running | Phase::Lingering => self.close(id),
            }
        }
        if self.privates.iter().flatten().any(|private| late(private.greeting_deadline())) {
            panic!("no thread answered on a new private connection");
        }
    }

    /// Adds up what is held.
    fn tally(&mut self) {
        let running: usize = self.privates.iter().flatten().map(Private::request_bytes).sum();
        self.request_bytes =
            running + self.connections.values().map(Connection::request_bytes).sum::<usize>();
        self.answer_bytes = self.connections.values().map(|c| c.output.held_bytes()).sum();
    }

    fn show(&self) {
        let counters = &self.shared.counters;
        let waiting = self.connections.values().filter(|c| matches!(c.phase, Phase::Waiting(_))).count();
        set(&counters.request_bytes_now, self.request_bytes);
        set(&counters.answer_bytes_now, self.answer_bytes);
        set(&counters.connections_now, self.connections.len() - self.streams);
        set(&counters.streams_now, self.streams);
        set(&counters.waiting_now, waiting);
    }

    /// Closes a connection in whatever phase it is.
    fn close(&mut self, id: u64) {
        let Some(connection) = self.connections.remove(&id) else { return };
        match connection.phase {
            Phase::Streaming { .. } => self.streams -= 1,
            Phase::Running => self.privates.iter_mut().flatten().for_each(|private| private.forget(id)),
            _ => {}
        }
    }
}

/// Milliseconds to sleep, rounded up: a turn that comes too early would find nothing due and spin.
fn timeout(wake_at: Option<Instant>, now: Instant) -> PollTimeout {
    let Some(wake_at) = wake_at else { return PollTimeout::NONE };
    let sleep = wake_at.saturating_duration_since(now) + Duration::from_micros(999);
    let milliseconds = i32::try_from(sleep.as_millis()).unwrap_or(i32::MAX);
    PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX)
}
