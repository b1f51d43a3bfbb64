//! The handler threads, and the only lines that name tiny_http.
//!
//! tiny_http listens on a private Unix socket, where only the gate connects, over as many connections as
//! there are threads here. So each connection always has a worker of tiny_http and each request a thread
//! that waits for it.
//!
//! An answer is given back as plain HTTP on that connection. What tiny_http would make a thread wait for
//! (a big body) or cannot do (a stream) is handed over beside it: moved into [`Handover`] under a number
//! that the answer carries in a header.

use std::collections::HashMap;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::counters::{Live, add};
use crate::head::PEER_HEADER;
use crate::response::{Body, HANDOVER_HEADER};
use crate::{Headers, Method, Request, Response};

/// A whole body up to this size goes over the private connection; it fits the socket's buffer, so the
/// thread that answers does not wait for the poll thread.
pub(crate) const BODY_IN_LINE_MAX: usize = 64 << 10;

/// Header lines of one answer, in bytes. Clients give up at far less.
pub(crate) const HEADER_BYTES_MAX: usize = 64 << 10;

/// Target of the request by which the gate sees that a new private connection is served. No client can
/// send it: targets start with a slash.
pub(crate) const GREETING_TARGET: &str = "*";

pub(crate) type Handler = dyn Fn(Request) -> Response + Send + Sync;

/// Bodies on their way from a handler thread to the poll thread, outside the private connection.
#[derive(Debug, Default)]
pub(crate) struct Handover {
    held: Mutex<(u64, HashMap<u64, Body>)>,
}

impl Handover {
    fn put(&self, body: Body) -> u64 {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.0 += 1;
        let number = held.0;
        held.1.insert(number, body);
        number
    }

    pub(crate) fn take(&self, number: u64) -> Option<Body> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).1.remove(&number)
    }
}

/// tiny_http and the threads that call the handler.
pub(crate) struct Handlers {
    server: Arc<tiny_http::Server>,
    stopping: Arc<AtomicBool>,
    threads: usize,
    /// Closed once every thread has ended. In a lock only so that a server may be shared.
    running: Mutex<Receiver<()>>,
}

impl Handlers {
    pub(crate) fn start(
        listener: UnixListener,
        count: usize,
        handler: Arc<Handler>,
        handover: Arc<Handover>,
        counters: Arc<Live>,
    ) -> io::Result<Handlers> {
        let server = tiny_http::Server::from_listener(listener, None).map_err(io::Error::other)?;
        let server = Arc::new(server);
        let stopping = Arc::new(AtomicBool::new(false));
        let (alive, running) = mpsc::channel();
        let mut handlers = Handlers { server, stopping, threads: 0, running: Mutex::new(running) };
        for index in 0..count {
            let calls = Calls {
                server: handlers.server.clone(),
                stopping: handlers.stopping.clone(),
                handler: handler.clone(),
                handover: handover.clone(),
                counters: counters.clone(),
                _alive: alive.clone(),
            };
            thread::Builder::new().name(format!("http-{index}")).spawn(move || calls.run())?;
            handlers.threads += 1;
        }
        Ok(handlers)
    }

    /// Lets threads go once they have finished what they run. One that has not within `grace` is left to
    /// finish by itself.
    pub(crate) fn stop(self, grace: Duration) {
        self.release();
        // Nothing is ever sent: this ends when the last thread drops its end, or when time is up.
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = running.recv_timeout(grace);
    }

    fn release(&self) {
        self.stopping.store(true, Relaxed);
        (0..self.threads).for_each(|_| self.server.unblock());
    }
}

impl Drop for Handlers {
    fn drop(&mut self) {
        self.release();
    }
}

struct Calls {
    server: Arc<tiny_http::Server>,
    stopping: Arc<AtomicBool>,
    handler: Arc<Handler>,
    handover: Arc<Handover>,
    counters: Arc<Live>,
    _alive: Sender<()>,
}

impl Calls {
    fn run(self) {
        let _guard = crate::server::AbortOnPanic;
        while !self.stopping.load(Relaxed) {
            match self.server.recv() {
                Ok(request) => self.answer(request),
                Err(_) if self.stopping.load(Relaxed) => break,
                // Its accept thread is gone for good: no private connection could be made anew.
                Err(e) => panic!("the private socket stopped listening: {e}"),
            }
        }
    }

    fn answer(&self, mut incoming: tiny_http::Request) {
        if incoming.url() == GREETING_TARGET {
            let _ = incoming.respond(tiny_http::Response::empty(204));
            return;
        }
        let response = match read(&mut incoming) {
            // The handler's state is shared with other threads, so it already has to hold up to one of
            // them stopping half way; a lock it poisons is its own to judge.
            Ok(request) => match catch_unwind(AssertUnwindSafe(|| (self.handler)(request))) {
                Ok(response) => response,
                Err(_) => {
                    add(&self.counters.panicked, 1);
                    Response::text(500, "internal error; the server's standard error says more\n")
                }
            },
            Err(e) => Response::text(502, format!("the request was lost on its way in: {e}\n")),
        };
        let (answer, handed_over) = self.private(response);
        // A broken private connection is noticed and answered for at the other end.
        if incoming.respond(answer).is_err()
            && let Some(number) = handed_over
        {
            drop(self.handover.take(number));
        }
    }

    /// The answer for tiny_http, and the number under which its body is handed over, if it is.
    fn private(&self, response: Response) -> (tiny_http::Response<io::Cursor<Vec<u8>>>, Option<u64>) {
        let header_bytes: usize = response.headers().map(|(name, value)| name.len() + value.len() + 4).sum();
        let response = if header_bytes > HEADER_BYTES_MAX {
            Response::text(500, "internal error: the answer's headers are longer than clients take\n")
        } else {
            response
        };
        let mut handed_over = None;
        let mut lines = vec![line("Content-Type", response.content_type()), line("Server", "dotter")];
        lines.extend(response.headers().map(|(name, value)| line(name, value)));
        let status = tiny_http::StatusCode(response.status());
        let in_line = match response.body {
            Body::Whole(bytes) if bytes.len() <= BODY_IN_LINE_MAX => bytes,
            body => {
                let number = self.handover.put(body);
                handed_over = Some(number);
                lines.push(line(HANDOVER_HEADER, &number.to_string()));
                Vec::new()
            }
        };
        let bytes = in_line.len();
        let answer = tiny_http::Response::new(status, lines, io::Cursor::new(in_line), Some(bytes), None);
        (answer.with_chunked_threshold(usize::MAX), handed_over)
    }
}

fn line(name: &str, value: &str) -> tiny_http::Header {
    tiny_http::Header::from_bytes(name, value)
        .expect("a response holds only names and values that can be sent")
}

fn read(incoming: &mut tiny_http::Request) -> io::Result<Request> {
    let method = match incoming.method() {
        tiny_http::Method::Get => Method::Get,
        tiny_http::Method::Head => Method::Head,
        tiny_http::Method::Post => Method::Post,
        tiny_http::Method::Put => Method::Put,
        tiny_http::Method::Delete => Method::Delete,
        tiny_http::Method::Options => Method::Options,
        other => return Err(io::Error::other(format!("method {other} passed the door"))),
    };
    let mut request = Request::new(method, incoming.url());
    let peer = incoming.headers().iter().find(|h| h.field.equiv(PEER_HEADER));
    request.peer =
        peer.and_then(|h| h.value.as_str().parse().ok()).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    request.headers = incoming
        .headers()
        .iter()
        .filter(|h| !h.field.equiv(PEER_HEADER))
        .map(|h| (h.field.as_str().as_str(), h.value.as_str()))
        .collect::<Headers>();
    let bytes = incoming.body_length().unwrap_or(0);
    request.body.reserve_exact(bytes);
    incoming.as_reader().take(bytes as u64).read_to_end(&mut request.body)?;
    if request.body.len() != bytes {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(request)
}
