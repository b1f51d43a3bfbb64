//! Complete requests to tiny_http over the private connections, and answers back to their clients.

use std::time::{Duration, Instant};

use nix::poll::PollFlags;

use super::Gate;
use crate::connection::Phase;
use crate::counters::add;
use crate::head::Refusal;
use crate::private::{Answer, Outcome, Private};
use crate::response::Body;
use crate::stream::Framing;

const PRIVATE_RETRY: Duration = Duration::from_millis(100);
const LOST: Refusal = Refusal { status: 502, why: "the request was lost on its way to its handler" };

impl Gate {
    /// Gives waiting requests to free private connections, first come first, and fills a place where
    /// one broke.
    pub(super) fn hand_on(&mut self, now: Instant) {
        for place in 0..self.privates.len() {
            while self.privates[place].as_ref().is_some_and(Private::is_free) {
                let Some(id) = self.waiting.pop_front() else { break };
                let Some(connection) = self.connections.get_mut(&id) else { continue };
                if !matches!(connection.phase, Phase::Waiting(_)) {
                    continue;
                }
                let Phase::Waiting(request) = std::mem::replace(&mut connection.phase, Phase::Running) else {
                    unreachable!("it was waiting a line above");
                };
                connection.deadline = None;
                if let Some(private) = &mut self.privates[place] {
                    private.begin(id, *request, now);
                    if private.write().is_err() {
                        self.broke(place, now);
                    }
                }
            }
        }
        self.open_private(now);
    }

    /// Whether there is a place to fill and no other connection being greeted.
    pub(super) fn private_missing(&self) -> bool {
        self.privates.iter().any(Option::is_none) && !self.privates.iter().flatten().any(Private::is_greeting)
    }

    /// Opens one private connection where one is missing and no other is being greeted.
    fn open_private(&mut self, now: Instant) {
        if !self.private_missing() || self.private_retry_at.is_some_and(|at| now < at) {
            return;
        }
        let Some(place) = self.privates.iter().position(Option::is_none) else { return };
        self.private_retry_at = None;
        match Private::open(&self.private_path, now) {
            Ok(private) => self.privates[place] = Some(private),
            Err(_) => {
                add(&self.shared.counters.private_failures, 1);
                self.private_retry_at = Some(now + PRIVATE_RETRY);
            }
        }
    }

    pub(super) fn private_ready(&mut self, place: usize, flags: PollFlags, now: Instant) {
        let Some(private) = &mut self.privates[place] else { return };
        if flags.contains(PollFlags::POLLOUT) && private.write().is_err() {
            return self.broke(place, now);
        }
        if flags.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR) {
            match private.read(&mut self.buffer) {
                Ok(Outcome::Nothing | Outcome::Greeted) => {}
                Ok(Outcome::Answered { client, answer }) => self.answer(client, answer, now),
                Err(_) => self.broke(place, now),
            }
        }
    }

    fn broke(&mut self, place: usize, now: Instant) {
        add(&self.shared.counters.private_failures, 1);
        let client = self.privates[place].take().and_then(|private| private.client());
        self.private_retry_at = Some(now + PRIVATE_RETRY);
        if let Some(id) = client {
            self.refuse(id, LOST, now);
        }
    }

    fn answer(&mut self, client: Option<u64>, answer: Answer, now: Instant) {
        let handed_over = answer.handover.map(|number| self.shared.handover.take(number));
        let connection = client.and_then(|id| Some((id, self.connections.get_mut(&id)?)));
        // A stream that was handed over ends with its client.
        let Some((id, connection)) = connection else { return };
        let mut head = answer.head;
        let body = match handed_over {
            None => answer.body,
            Some(Some(Body::Whole(body))) => body,
            Some(None) => return self.refuse(id, LOST, now),
            Some(Some(Body::Stream(mut events))) => {
                if self.streams >= self.caps.streams {
                    // Its senders know before its client does.
                    drop(events);
                    add(&self.shared.counters.streams_refused, 1);
                    let why = "busy: there are as many streams as this server takes; try again";
                    return self.refuse(id, Refusal { status: 503, why }, now);
                }
                connection.keep_alive = false;
                connection.input = Vec::new();
                if events.framing == Framing::Chunks {
                    match connection.knows_chunks {
                        true => head.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
                        false => events.framing = Framing::Plain,
                    }
                }
                head.extend_from_slice(b"X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n");
                connection.output.push(head);
                self.streams += 1;
                add(&self.shared.counters.streams_opened, 1);
                events.attach(self.shared.waker.clone(), id);
                let heartbeat_at = now + self.config.heartbeat;
                // The answer to HEAD ends where the stream would begin.
                connection.phase = Phase::Streaming { events, ended: answer.is_head, heartbeat_at };
                connection.renew(now, self.config.stall_deadline);
                return self.pump(id, now);
            }
        };
        let length = if answer.is_head && body.is_empty() { answer.content_length } else { body.len() };
        if !matches!(answer.status, 204 | 304) {
            head.extend_from_slice(format!("Content-Length: {length}\r\n").as_bytes());
        }
        connection.keep_alive &= self.stop_by.is_none();
        let option = if connection.keep_alive { "keep-alive" } else { "close" };
        let end = format!("X-Content-Type-Options: nosniff\r\nConnection: {option}\r\n\r\n");
        head.extend_from_slice(end.as_bytes());
        let bodyless = answer.is_head || matches!(answer.status, 204 | 304);
        if !bodyless && answer.handover.is_none() {
            // In one piece with the head: one packet instead of two.
            head.extend_from_slice(&body);
            connection.output.push(head);
        } else {
            connection.output.push(head);
            if !bodyless {
                connection.output.push(body);
            }
        }
        connection.phase = Phase::Answering { by_handler: true };
        connection.renew(now, self.config.stall_deadline);
        self.pump(id, now);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::sync::{Arc, Mutex};
    use std::thread;

    use super::*;
    use crate::Config;
    use crate::descriptors::caps;
    use crate::gate::Shared;
    use crate::rules::Rules;
    use crate::socket::Listener;
    use crate::waker;

    /// Stands in for tiny_http: reads one head from the gate.
    fn read_head(socket: &mut UnixStream) -> String {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            socket.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    }

    fn greeted(listener: &UnixListener) -> UnixStream {
        let (mut socket, _) = listener.accept().unwrap();
        assert!(read_head(&mut socket).starts_with("OPTIONS * "));
        socket.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        socket
    }

    #[test]
    fn a_private_connection_that_breaks_costs_one_request_and_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let behind = UnixListener::bind(&path).unwrap();
        let config = Config { threads: 1, ..Config::new("127.0.0.1:0".parse().unwrap()) };
        let listener = TcpListener::bind(config.listen).unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = listener.local_addr().unwrap();
        let (waker, wakeups) = waker::pair().unwrap();
        let counters = config.counters.clone();
        let shared = Arc::new(Shared {
            waker: Arc::new(waker),
            handover: Arc::default(),
            counters: counters.live.clone(),
            stop_by: Mutex::new(None),
        });
        let rules = Rules::new(&config).unwrap();
        let caps = caps(&config).unwrap();
        let gate =
            Gate::new(vec![Listener::Tcp(listener)], wakeups, shared.clone(), config, rules, caps, path);
        let gate = thread::spawn(move || gate.run());

        let ask = || {
            let mut client = TcpStream::connect(addr).unwrap();
            client.write_all(b"GET /x HTTP/1.0\r\n\r\n").unwrap();
            client
        };
        let answer = |mut client: TcpStream| {
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            answer
        };
        // Closed on, an answer that is no HTTP, and one that is longer than it says.
        for bad in ["", "nonsense\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxx"] {
            let mut private = greeted(&behind);
            let client = ask();
            assert!(read_head(&mut private).starts_with("GET /x "));
            private.write_all(bad.as_bytes()).unwrap();
            drop(private);
            assert!(answer(client).starts_with("HTTP/1.1 502 "), "{bad}");
        }
        let mut private = greeted(&behind);
        let client = ask();
        read_head(&mut private);
        private.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        assert!(answer(client).ends_with("\r\n\r\nok"));
        assert_eq!(counters.snapshot().private_failures, 3);

        *shared.stop_by.lock().unwrap() = Some(Instant::now());
        shared.waker.wake();
        gate.join().unwrap();
    }
}
