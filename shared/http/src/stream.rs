//! Server-sent events: a bounded queue between whoever makes events and the poll thread.
//!
//! Sending never blocks. A full queue drops its oldest events and counts them; the reader is told by a
//! `gap` event before whatever follows. There is no thread per viewer.
//!
//! Source: the WHATWG HTML standard, "Server-sent events".

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::response::{Body, Response};
use crate::waker::Waker;

/// Makes the two ends of a stream: the handler returns the response and keeps the sender.
///
/// - `queue_bytes_max`: what waits for a slow reader before its oldest is dropped, in bytes; the
///   kernel's and the door's buffers come on top
pub fn event_stream(queue_bytes_max: usize) -> (EventSender, Response) {
    let queue = Arc::new(Queue {
        state: Mutex::new(State {
            events: VecDeque::new(),
            bytes: 0,
            bytes_max: queue_bytes_max,
            dropped: 0,
            closed: false,
            finished: false,
            listed: false,
            reader: None,
        }),
    });
    let response =
        Response::with_body(200, "text/event-stream", Body::Events(Events { queue: queue.clone() }))
            .header("Cache-Control", "no-store")
            .header("X-Accel-Buffering", "no");
    (EventSender { end: Arc::new(SenderEnd { queue }) }, response)
}

/// The sending end of a stream. Cheap to clone; the stream ends when the last one is dropped.
#[derive(Clone, Debug)]
pub struct EventSender {
    end: Arc<SenderEnd>,
}

impl EventSender {
    /// Queues one event. Never blocks; when the queue is full its oldest events are dropped, and the
    /// client gets `event: gap` with `data: {"dropped": n}` before what follows.
    ///
    /// - `id`: what a client that comes back sends as `Last-Event-ID`
    /// - `event`: its type, `message` for the client when `None`
    /// - `data`: any text; line ends arrive as `\n`
    ///
    /// False when the client is gone.
    pub fn send(&self, id: Option<&str>, event: Option<&str>, data: &str) -> bool {
        self.end.queue.push(encode(id, event, data).into_bytes())
    }

    /// Whether the client is gone, or was refused for want of room.
    pub fn is_closed(&self) -> bool {
        self.end.queue.lock().closed
    }

    /// Bytes that wait for the client to take them.
    pub fn queued_bytes(&self) -> usize {
        self.end.queue.lock().bytes
    }
}

/// Shared by all clones of one sender, so that its drop is the end of the stream.
#[derive(Debug)]
struct SenderEnd {
    queue: Arc<Queue>,
}

impl Drop for SenderEnd {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.finished = true;
        state.notify();
    }
}

/// The receiving end of a stream. Dropping it, wherever it has got to, tells the senders that the client
/// is gone.
#[derive(Debug)]
pub(crate) struct Events {
    queue: Arc<Queue>,
}

impl Drop for Events {
    fn drop(&mut self) {
        self.close();
    }
}

impl Events {
    /// Names the connection to wake from now on.
    pub(crate) fn attach(&self, waker: Arc<Waker>, connection: u64) {
        self.queue.lock().reader = Some((waker, connection));
    }

    /// Drops everything; senders are told that the client is gone.
    pub(crate) fn close(&self) {
        let mut state = self.queue.lock();
        state.closed = true;
        state.events = VecDeque::new();
        state.bytes = 0;
        state.reader = None;
    }

    /// Moves whole events to the end of `bytes`, until those exceed `bytes_max`. False when nothing
    /// will ever follow.
    pub(crate) fn take(&self, bytes: &mut Vec<u8>, bytes_max: usize) -> bool {
        let mut state = self.queue.lock();
        state.listed = false;
        if state.dropped > 0 {
            let data = format!("{{\"dropped\": {}}}", state.dropped);
            bytes.extend_from_slice(encode(None, Some("gap"), &data).as_bytes());
            state.dropped = 0;
        }
        while bytes.len() < bytes_max
            && let Some(event) = state.events.pop_front()
        {
            state.bytes -= event.len();
            bytes.extend_from_slice(&event);
        }
        !(state.finished && state.events.is_empty())
    }
}

/// Events on their way to one client.
#[derive(Debug)]
struct Queue {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    events: VecDeque<Vec<u8>>,
    bytes: usize,
    bytes_max: usize,
    /// Dropped since the client was last told.
    dropped: u64,
    /// No reader will ever take more.
    closed: bool,
    /// No sender will ever send more.
    finished: bool,
    /// The reader has been told and has not looked yet.
    listed: bool,
    reader: Option<(Arc<Waker>, u64)>,
}

impl Queue {
    fn push(&self, event: Vec<u8>) -> bool {
        let mut state = self.lock();
        if state.closed {
            return false;
        }
        state.bytes += event.len();
        state.events.push_back(event);
        while state.bytes > state.bytes_max
            && let Some(oldest) = state.events.pop_front()
        {
            state.bytes -= oldest.len();
            state.dropped += 1;
        }
        state.notify();
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn notify(&mut self) {
        if !self.listed
            && let Some((waker, connection)) = &self.reader
        {
            waker.wake_stream(*connection);
            self.listed = true;
        }
    }
}

fn encode(id: Option<&str>, event: Option<&str>, data: &str) -> String {
    let mut text = String::with_capacity(data.len() + 64);
    for (field, value) in [("id", id), ("event", event)] {
        if let Some(value) = value {
            // Neither can hold a line end; NUL in an id makes a client ignore it.
            let value = value.replace(['\r', '\n', '\0'], " ");
            let _ = writeln!(text, "{field}: {value}");
        }
    }
    let data = if data.contains('\r') { &data.replace("\r\n", "\n").replace('\r', "\n") } else { data };
    for line in data.split('\n') {
        let _ = writeln!(text, "data: {line}");
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(queue: &Events) -> (String, bool) {
        let mut bytes = Vec::new();
        let more = queue.take(&mut bytes, usize::MAX);
        (String::from_utf8(bytes).unwrap(), more)
    }

    fn queue_of(response: Response) -> Events {
        let Body::Events(queue) = response.body else { panic!("a stream has a queue") };
        queue
    }

    #[test]
    fn events_are_written_as_the_standard_says() {
        assert_eq!(encode(None, None, "x"), "data: x\n\n");
        assert_eq!(encode(Some("7"), Some("dots"), "a\nb\r\nc\rd"), {
            "id: 7\nevent: dots\ndata: a\ndata: b\ndata: c\ndata: d\n\n"
        });
        assert_eq!(encode(Some("7\nevent: gap"), None, ""), "id: 7 event: gap\ndata: \n\n");
    }

    #[test]
    fn a_full_queue_drops_its_oldest_and_says_so() {
        let (sender, response) = event_stream(40);
        let queue = queue_of(response);
        for n in 0..10 {
            assert!(sender.send(None, None, &format!("{n:04}")));
        }
        assert!(sender.queued_bytes() <= 40);
        let (text, more) = taken(&queue);
        assert_eq!(text, "event: gap\ndata: {\"dropped\": 7}\n\ndata: 0007\n\ndata: 0008\n\ndata: 0009\n\n");
        assert!(more);
        assert!(sender.send(None, None, &"x".repeat(100)), "too big for the queue: dropped and counted");
        assert_eq!(taken(&queue).0, "event: gap\ndata: {\"dropped\": 1}\n\n");
    }

    #[test]
    fn the_last_sender_ends_the_stream_and_a_closed_stream_takes_nothing() {
        let (sender, response) = event_stream(1000);
        let queue = queue_of(response);
        let other = sender.clone();
        drop(sender);
        assert!(other.send(None, None, "last"));
        drop(other);
        assert_eq!(taken(&queue), ("data: last\n\n".to_owned(), false));

        let (sender, response) = event_stream(1000);
        let queue = queue_of(response);
        assert!(sender.send(None, None, "x"));
        drop(queue);
        assert!(sender.is_closed());
        assert!(!sender.send(None, None, "y"));
        assert_eq!(sender.queued_bytes(), 0);

        let (sender, response) = event_stream(1000);
        drop(response);
        assert!(sender.is_closed(), "a response that is never sent has no client");
    }
}
