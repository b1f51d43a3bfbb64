//! Who is connected to the Graphite port, and who goes where another waits for a place.
//!
//! Always true:
//!
//! - there are at most as many as there are places
//! - one goes only when it has been silent for too long while another waits, and one at a time; what it had sent by
//!   then is read first

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};

use crate::metrics::Metrics;

/// A peer that has been silent for so long is asked whether it is still there.
const KEEPALIVE_S: u32 = 60;

/// What a port allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Connections at once.
    pub(crate) places: usize,
    /// Whoever has been silent for longer loses its place to one that waits.
    pub(crate) silence_max: Duration,
}

/// Everyone connected.
pub(super) struct Connections {
    limits: Limits,
    metrics: Arc<Metrics>,
    open: Mutex<Open>,
    /// A connection has ended.
    ended: Condvar,
}

#[derive(Default)]
struct Open {
    next_id: u64,
    by_id: HashMap<u64, Arc<Connection>>,
    /// One that was told to go, while it is still there.
    going: Option<u64>,
}

struct Connection {
    stream: TcpStream,
    peer: IpAddr,
    /// `None` while what it sent is being taken: then it is the collector that waits.
    silent_since: Mutex<Option<Instant>>,
}

/// A connection's place; free again when dropped.
pub(super) struct Place {
    all: Arc<Connections>,
    id: u64,
    connection: Arc<Connection>,
}

impl Connections {
    pub(super) fn new(limits: Limits, metrics: Arc<Metrics>) -> Connections {
        Connections { limits, metrics, open: Mutex::default(), ended: Condvar::new() }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    pub(super) fn has_place(&self) -> bool {
        self.open().by_id.len() < self.limits.places
    }

    /// Gives a connection a place. Only the thread that accepts does, and only where there is one.
    pub(super) fn add(self: &Arc<Connections>, stream: TcpStream, peer: IpAddr) -> io::Result<Place> {
        stream.set_nonblocking(false)?;
        // A peer that is gone without a word would hold its place for ever.
        setsockopt(&stream, sockopt::KeepAlive, &true)?;
        setsockopt(&stream, sockopt::TcpKeepIdle, &KEEPALIVE_S)?;
        let silent_since = Mutex::new(Some(Instant::now()));
        let connection = Arc::new(Connection { stream, peer, silent_since });
        let mut open = self.open();
        let id = open.next_id;
        open.next_id += 1;
        open.by_id.insert(id, connection.clone());
        self.metrics.line_connections.store(open.by_id.len() as u64, Relaxed);
        drop(open);
        Ok(Place { all: self.clone(), id, connection })
    }

    /// Tells the one that has been silent longest to go, where that is too long and no other is going.
    ///
    /// Returns whose it is, and for how long it has been silent.
    pub(super) fn evict(&self) -> Option<(IpAddr, Duration)> {
        let mut open = self.open();
        if open.going.is_some() {
            return None;
        }
        let silent = open.by_id.iter().filter_map(|(id, one)| Some((one.silence()?, *id)));
        let (silence, id) = silent.max().filter(|(silence, _)| *silence > self.limits.silence_max)?;
        let connection = open.by_id[&id].clone();
        open.going = Some(id);
        connection.end();
        self.metrics.line_connections_evicted.fetch_add(1, Relaxed);
        Some((connection.peer, silence))
    }

    /// Tells everyone to go.
    pub(super) fn end_all(&self) {
        self.open().by_id.values().for_each(|connection| connection.end());
    }

    /// How many could be told to go, had they been silent for long enough.
    #[cfg(test)]
    pub(super) fn silent(&self) -> usize {
        self.open().by_id.values().filter(|connection| connection.silence().is_some()).count()
    }

    /// Waits until a connection ends, for at most `wait`; not at all where there is a place.
    pub(super) fn wait_for_place(&self, wait: Duration) {
        let full = |open: &mut Open| open.by_id.len() >= self.limits.places;
        drop(self.ended.wait_timeout_while(self.open(), wait, full));
    }

    /// Waits until there is no connection, for at most `wait`; how many there are then.
    pub(super) fn wait_for_end(&self, wait: Duration) -> usize {
        let some = |open: &mut Open| !open.by_id.is_empty();
        let waited = self.ended.wait_timeout_while(self.open(), wait, some);
        waited.unwrap_or_else(PoisonError::into_inner).0.by_id.len()
    }
}

impl Connection {
    fn silence(&self) -> Option<Duration> {
        let since = *self.silent_since.lock().unwrap_or_else(PoisonError::into_inner);
        since.map(|since| since.elapsed())
    }

    /// What has arrived can still be read; after it comes the end.
    fn end(&self) {
        let _ = self.stream.shutdown(Shutdown::Read);
    }
}

impl Place {
    pub(super) fn peer(&self) -> IpAddr {
        self.connection.peer
    }

    /// Waits for what comes next.
    pub(super) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let set = |since| {
            *self.connection.silent_since.lock().unwrap_or_else(PoisonError::into_inner) = since;
        };
        set(Some(Instant::now()));
        let count = io::Read::read(&mut &self.connection.stream, buffer);
        set(None);
        count
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.all.open();
        open.by_id.remove(&self.id);
        open.going = open.going.filter(|id| *id != self.id);
        self.all.metrics.line_connections.store(open.by_id.len() as u64, Relaxed);
        self.all.ended.notify_all();
    }
}
