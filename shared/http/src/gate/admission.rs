//! Who gets a connection, and who loses one for it.

use std::io::{ErrorKind, Write};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::Gate;
use crate::connection::{Connection, address_group};
use crate::counters::add;
use crate::socket::{Socket, Via};

/// Accepted in one turn, so that those inside are served in between.
const ACCEPTS_MAX: usize = 64;
/// After an error that more of the same would only repeat (no descriptors, no memory).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A reader that has not moved for this long may lose its place to someone new.
const READER_PATIENCE: Duration = Duration::from_secs(1);
const SHED_ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\
    Content-Length: 0\r\nConnection: close\r\n\r\n";

impl Gate {
    pub(super) fn accept(&mut self, place: usize, now: Instant) {
        let bound_to_all = self.config.listen.ip().is_unspecified();
        for _ in 0..ACCEPTS_MAX {
            let Some(listener) = self.listeners.get(place) else { return };
            match listener.accept(bound_to_all) {
                Ok((socket, via)) => self.admit(socket, via, now),
                Err(e) if e.kind() == ErrorKind::WouldBlock => return,
                // That one client's problem.
                Err(e) if matches!(e.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                Err(_) => {
                    add(&self.shared.counters.accept_errors, 1);
                    // Most likely descriptors ran out: one of ours comes back for whoever needs it.
                    self.evict(now, |_| true);
                    self.paused_until = Some(now + ACCEPT_PAUSE);
                    return;
                }
            }
        }
    }

    fn admit(&mut self, socket: Socket, via: Via, now: Instant) {
        let counters = self.shared.counters.clone();
        add(&counters.accepted, 1);
        if !self.make_room(via.peer, now) {
            add(&counters.shed, 1);
            let _ = socket.prepare();
            let _ = (&socket).write(SHED_ANSWER);
            return;
        }
        if socket.prepare().is_err() {
            return;
        }
        let id = self.next_id;
        self.next_id += 1;
        let connection = Connection::new(socket, via, now, self.config.head_deadline);
        self.connections.insert(id, connection);
        // The request usually came with the connection; taken at once, it can no longer be evicted.
        self.read(id, now);
    }

    /// False when everyone inside has a better claim.
    fn make_room(&mut self, peer: IpAddr, now: Instant) -> bool {
        if let Some(group) = address_group(peer) {
            let same = |c: &Connection| address_group(c.via.peer) == Some(group);
            let count = self.connections.values().filter(|c| same(c)).count();
            if count >= self.config.connections_per_address_max && !self.evict(now, same) {
                return false;
            }
        }
        self.connections.len() - self.streams < self.caps.connections || self.evict(now, |_| true)
    }

    /// Closes the connection with the weakest claim among those that `may` be.
    fn evict(&mut self, now: Instant, may: impl Fn(&Connection) -> bool) -> bool {
        let ranked = self.connections.iter().filter(|(_, c)| may(c));
        let ranked = ranked.filter_map(|(id, c)| Some((c.eviction_rank(now, READER_PATIENCE)?, *id)));
        let Some((_, id)) = ranked.min() else { return false };
        add(&self.shared.counters.evicted, 1);
        self.close(id);
        true
    }

    /// Frees request bytes by closing whoever has kept an unfinished request longest, but not `asking`.
    ///
    /// False when there is still no room for `bytes` more.
    pub(super) fn free_request_bytes(&mut self, asking: u64, bytes: usize, now: Instant) -> bool {
        while self.request_bytes + bytes > self.config.request_bytes_all_max {
            let unfinished = self.connections.iter().filter(|(id, c)| **id != asking && !c.input.is_empty());
            let ranked = unfinished.filter_map(|(id, c)| Some((c.eviction_rank(now, READER_PATIENCE)?, *id)));
            let Some((_, id)) = ranked.min() else { return false };
            self.request_bytes -= self.connections[&id].request_bytes().min(self.request_bytes);
            add(&self.shared.counters.evicted, 1);
            self.close(id);
        }
        self.request_bytes += bytes;
        true
    }

    /// Drops the slowest readers while more answer bytes are held than allowed. The last one stays: what
    /// it waits for is already made.
    pub(super) fn relieve(&mut self) {
        while self.answer_bytes > self.config.answer_bytes_all_max {
            let readers = || self.connections.iter().filter(|(_, c)| !c.output.is_empty());
            if readers().count() < 2 {
                return;
            }
            let Some((id, bytes)) =
                readers().min_by_key(|(_, c)| c.owes_since).map(|(id, c)| (*id, c.output.held_bytes()))
            else {
                return;
            };
            add(&self.shared.counters.stalled, 1);
            self.answer_bytes -= bytes;
            self.close(id);
        }
    }
}
