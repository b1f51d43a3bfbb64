//! What clients send and take: requests in, answers and events out.

use std::io::ErrorKind;
use std::net::Shutdown;
use std::time::{Duration, Instant};

use nix::poll::PollFlags;

use super::Gate;
use crate::Method;
use crate::connection::{Complete, Phase};
use crate::counters::add;
use crate::head::{self, Refusal};
use crate::stream::Framing;

/// Reads of one client in one turn.
const READS_MAX: usize = 4;
/// Events are moved from their queue to the socket in steps of this.
const EVENT_BYTES_STEP: usize = 64 << 10;
/// Such steps for one client in one turn.
const PUMPS_MAX: usize = 8;
/// How long what a client still sends is thrown away after its last answer.
const LINGER: Duration = Duration::from_secs(2);

impl Gate {
    pub(super) fn client_ready(&mut self, id: u64, flags: PollFlags, now: Instant) {
        if flags.intersects(PollFlags::POLLERR | PollFlags::POLLNVAL) {
            return self.close(id);
        }
        if flags.contains(PollFlags::POLLOUT) {
            self.pump(id, now);
        }
        if flags.intersects(PollFlags::POLLIN | PollFlags::POLLHUP) {
            match self.connections.get(&id) {
                Some(connection) if connection.reads() => self.read(id, now),
                // Gone in both directions while we do not read: it will not take an answer.
                Some(_) if flags.contains(PollFlags::POLLHUP) => self.close(id),
                _ => {}
            }
        }
    }

    /// Reads what has come and does what it makes possible.
    pub(super) fn read(&mut self, id: u64, now: Instant) {
        // Taken out for the time, so that `self` stays free.
        let mut buffer = std::mem::take(&mut self.buffer);
        for _ in 0..READS_MAX {
            let Some(connection) = self.connections.get_mut(&id) else { break };
            if !connection.reads() {
                break;
            }
            let received = match connection.read(&mut buffer) {
                Ok([]) => {
                    self.close(id);
                    break;
                }
                Ok(bytes) => bytes,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(_) => {
                    self.close(id);
                    break;
                }
            };
            add(&self.shared.counters.received_bytes, received.len());
            if !matches!(connection.phase, Phase::Streaming { .. } | Phase::Lingering) {
                self.receive(id, received, now);
            }
            if received.len() < buffer.len() {
                break;
            }
        }
        self.buffer = buffer;
    }

    fn receive(&mut self, id: u64, bytes: &[u8], now: Instant) {
        if !self.free_request_bytes(id, bytes.len(), now) {
            let why = "busy: too many request bytes are held; try again";
            return self.refuse(id, Refusal { status: 503, why }, now);
        }
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.keep(bytes);
            self.advance(id, now);
        }
    }

    /// Takes a connection as far towards a complete request as its input goes.
    fn advance(&mut self, id: u64, now: Instant) {
        while let Some(connection) = self.connections.get_mut(&id) {
            match &mut connection.phase {
                Phase::Idle if !connection.input.is_empty() => {
                    connection.phase = Phase::Head { scanned: 0 };
                    connection.owes_since = now;
                    connection.deadline = Some(now + self.config.head_deadline);
                }
                Phase::Head { scanned } => {
                    if *scanned == 0 {
                        connection.input.drain(..head::empty_lines(&connection.input));
                    }
                    let end = match head::find_end(&connection.input, scanned, &self.rules) {
                        Ok(Some(end)) => end,
                        Ok(None) => return,
                        Err(refusal) => return self.refuse(id, refusal, now),
                    };
                    let bytes = &connection.input[..end];
                    let head = match head::check(bytes, &self.rules, &connection.via) {
                        Ok(head) => head,
                        Err(refusal) => return self.refuse(id, refusal, now),
                    };
                    connection.input.drain(..end);
                    connection.keep_alive = head.keep_alive;
                    connection.knows_chunks = head.knows_chunks;
                    let waits = head.expects_continue && connection.input.is_empty();
                    connection.phase = Phase::Body(head);
                    connection.deadline = Some(now + self.config.body_deadline);
                    if waits {
                        connection.output.push(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec());
                        self.pump(id, now);
                    }
                }
                Phase::Body(head) if connection.input.len() >= head.body_bytes => {
                    let body = if head.body_bytes == 0 {
                        Vec::new()
                    } else {
                        let rest = connection.input.split_off(head.body_bytes);
                        std::mem::replace(&mut connection.input, rest)
                    };
                    let is_head = head.method == Method::Head;
                    let head = std::mem::take(&mut head.private);
                    connection.phase = Phase::Waiting(Box::new(Complete { head, body, is_head }));
                    connection.deadline = Some(now + self.config.queue_deadline);
                    self.waiting.push_back(id);
                    return;
                }
                _ => return,
            }
        }
    }

    /// Answers by the door itself; the connection ends with it.
    pub(super) fn refuse(&mut self, id: u64, refusal: Refusal, now: Instant) {
        let Refusal { status, why } = refusal;
        let counters = &self.shared.counters;
        add(&counters.refused, 1);
        match status {
            401 => add(&counters.unauthorized, 1),
            403 | 421 => add(&counters.forbidden, 1),
            _ => {}
        }
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let extra = match status {
            401 => "WWW-Authenticate: Bearer\r\n",
            405 => "Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS\r\n",
            503 => "Retry-After: 1\r\n",
            _ => "",
        };
        let answer = format!(
            "HTTP/1.1 {status} {}\r\nServer: dotter\r\nContent-Type: text/plain; charset=utf-8\r\n\
             X-Content-Type-Options: nosniff\r\n{extra}Content-Length: {}\r\nConnection: close\r\n\r\n{why}\n",
            head::reason(status),
            why.len() + 1,
        );
        connection.input = Vec::new();
        connection.keep_alive = false;
        connection.output.push(answer.into_bytes());
        connection.phase = Phase::Answering { by_handler: false };
        connection.renew(now, self.config.stall_deadline);
        self.pump(id, now);
    }

    /// Writes what is there to be written, for as long as the socket takes it, and goes on from there
    /// when all is written.
    pub(super) fn pump(&mut self, id: u64, now: Instant) {
        for _ in 0..PUMPS_MAX {
            let Some(connection) = self.connections.get_mut(&id) else { return };
            let mut taken = Vec::new();
            let mut looked = false;
            if let Phase::Streaming { events, ended, heartbeat_at } = &mut connection.phase
                && !*ended
                && connection.output.bytes() < EVENT_BYTES_STEP
            {
                *ended = !events.take(&mut taken, EVENT_BYTES_STEP);
                looked = true;
                if !taken.is_empty() {
                    *heartbeat_at = now + self.config.heartbeat;
                }
            }
            let exhausted = looked && taken.is_empty();
            let begins = connection.output.is_empty() && !taken.is_empty();
            connection.output.push(taken);
            if begins {
                connection.renew(now, self.config.stall_deadline);
            }
            if !connection.output.is_empty() {
                match connection.write(now, self.config.stall_deadline) {
                    Ok(count) => add(&self.shared.counters.sent_bytes, count),
                    Err(_) => return self.close(id),
                }
                if !connection.output.is_empty() {
                    return;
                }
            }
            match &connection.phase {
                Phase::Answering { by_handler } => {
                    if *by_handler {
                        add(&self.shared.counters.served, 1);
                    }
                    return self.finish(id, now);
                }
                Phase::Streaming { ended: true, .. } => return self.finish(id, now),
                // Until the queue has been seen empty: its senders wake us once, not for every event.
                Phase::Streaming { .. } if !exhausted => {}
                _ => return,
            }
        }
        // A stream as fast as its reader: the others first, then on with it.
        self.shared.waker.wake_stream(id);
    }

    /// All of an answer or stream is written: the next request, or the end.
    fn finish(&mut self, id: u64, now: Instant) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.owes_since = now;
        if connection.keep_alive && self.stop_by.is_none() {
            connection.phase = Phase::Idle;
            connection.deadline = Some(now + self.config.idle_deadline);
            if connection.input.is_empty() {
                connection.input = Vec::new();
            }
            return self.advance(id, now);
        }
        if let Phase::Streaming { .. } = std::mem::replace(&mut connection.phase, Phase::Lingering) {
            self.streams -= 1;
        }
        connection.input = Vec::new();
        connection.deadline = Some(now + LINGER);
        if connection.socket.shutdown(Shutdown::Write).is_err() {
            self.close(id);
        }
    }

    pub(super) fn heartbeat(&mut self, id: u64, now: Instant) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if let Phase::Streaming { events, heartbeat_at, .. } = &mut connection.phase {
            *heartbeat_at = now + self.config.heartbeat;
            // Nothing may stand between the bytes of a body.
            if events.framing == Framing::Events && connection.output.is_empty() {
                connection.output.push(b":\n\n".to_vec());
                connection.renew(now, self.config.stall_deadline);
                self.pump(id, now);
            }
        }
    }

    /// The server stops: what has not begun ends now, what has may finish.
    pub(super) fn wind_up(&mut self, id: u64, now: Instant) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        match &mut connection.phase {
            Phase::Idle => self.close(id),
            Phase::Head { .. } if connection.input.is_empty() => self.close(id),
            Phase::Streaming { .. } => {
                self.pump(id, now);
                if let Some(connection) = self.connections.get_mut(&id)
                    && let Phase::Streaming { ended, events, .. } = &mut connection.phase
                {
                    events.close();
                    *ended = true;
                    self.pump(id, now);
                }
            }
            _ => {}
        }
    }
}
