//! Bodies that are made while they are sent: a bounded queue between whoever makes them and the poll thread.
//!
//! Of server-sent events, sending never blocks. A full queue drops its oldest events and counts them; the reader is
//! told by a `gap` event before whatever follows. There is no thread per viewer.
//!
//! Of a body of bytes nothing may be missing: sending waits for room. A body that was not finished ends its
//! connection in the middle, and whoever reads it knows: the chunk that says "the end" is not there.
//!
//! Source: the WHATWG HTML standard, "Server-sent events"; RFC 9112, "Chunked Transfer Coding".

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::response::{Body, Response};
use crate::waker::Waker;

/// Makes the two ends of a stream: the handler returns the response and keeps the sender.
///
/// - `queue_bytes_max`: what waits for a slow reader before its oldest is dropped, in bytes; the
///   kernel's and the door's buffers come on top
pub fn event_stream(queue_bytes_max: usize) -> (EventSender, Response) {
    let queue = Arc::new(Queue::new(queue_bytes_max));
    let body = Body::Stream(Stream { queue: queue.clone(), framing: Framing::Events });
    let response = Response::with_body(200, "text/event-stream", body)
        .header("Cache-Control", "no-store")
        .header("X-Accel-Buffering", "no");
    (EventSender { end: Arc::new(SenderEnd { queue }) }, response)
}

/// Makes the two ends of a body of any length: the handler returns the response and gives the sender to a thread.
///
/// - `queue_bytes_max`: what waits for a slow reader before sending waits too, in bytes
pub fn byte_stream(content_type: &str, queue_bytes_max: usize) -> (ByteSender, Response) {
    let queue = Arc::new(Queue::new(queue_bytes_max));
    let body = Body::Stream(Stream { queue: queue.clone(), framing: Framing::Chunks });
    (ByteSender { end: SenderEnd { queue } }, Response::with_body(200, content_type, body))
}

/// The sending end of a body of bytes. Dropped without [`finish`](ByteSender::finish) it breaks the body off.
#[derive(Debug)]
pub struct ByteSender {
    end: SenderEnd,
}

impl ByteSender {
    /// Sends the next piece; waits while as much is queued as may be.
    ///
    /// False when the client is gone.
    pub fn send(&self, bytes: Vec<u8>) -> bool {
        bytes.is_empty() || self.end.queue.push_in_turn(bytes)
    }

    /// Says that all was sent.
    pub fn finish(self) {
        self.end.queue.lock().whole = true;
    }
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

/// Shared by all clones of one sender; its drop is the end of the stream.
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
pub(crate) struct Stream {
    queue: Arc<Queue>,
    pub(crate) framing: Framing,
}

/// How pieces stand in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// As events, with comments in between so that silence is noticed.
    Events,
    /// As chunks.
    Chunks,
    /// As they are, up to the end of the connection: for clients that do not know chunks.
    Plain,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.close();
    }
}

impl Stream {
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
        self.queue.room.notify_all();
    }

    /// Moves whole pieces to the end of `bytes`, until those exceed `bytes_max`. False when nothing
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
            match self.framing {
                Framing::Events | Framing::Plain => bytes.extend_from_slice(&event),
                Framing::Chunks => {
                    bytes.extend_from_slice(format!("{:x}\r\n", event.len()).as_bytes());
                    bytes.extend_from_slice(&event);
                    bytes.extend_from_slice(b"\r\n");
                }
            }
        }
        self.queue.room.notify_all();
        let over = state.finished && state.events.is_empty();
        if over && state.whole && self.framing == Framing::Chunks {
            state.whole = false;
            bytes.extend_from_slice(b"0\r\n\r\n");
        }
        !over
    }
}

/// Events on their way to one client.
#[derive(Debug)]
struct Queue {
    state: Mutex<State>,
    /// Some of it was taken, or nobody will ever take more.
    room: Condvar,
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
    /// All of a body was sent, and its reader is still to be told.
    whole: bool,
    /// The reader has been told and has not looked yet.
    listed: bool,
    reader: Option<(Arc<Waker>, u64)>,
}

impl Queue {
    fn new(bytes_max: usize) -> Queue {
        let state = State {
            events: VecDeque::new(),
            bytes: 0,
            bytes_max,
            dropped: 0,
            closed: false,
            finished: false,
            whole: false,
            listed: false,
            reader: None,
        };
        Queue { state: Mutex::new(state), room: Condvar::new() }
    }

    /// Queues a piece once there is room for it: behind what fits, or alone.
    fn push_in_turn(&self, piece: Vec<u8>) -> bool {
        let full = |state: &mut State| {
            !state.closed && state.bytes > 0 && state.bytes + piece.len() > state.bytes_max
        };
        let mut state = self.room.wait_while(self.lock(), full).unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return false;
        }
        state.bytes += piece.len();
        state.events.push_back(piece);
        state.notify();
        true
    }

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

    fn taken(queue: &Stream) -> (String, bool) {
        let mut bytes = Vec::new();
        let more = queue.take(&mut bytes, usize::MAX);
        (String::from_utf8(bytes).unwrap(), more)
    }

    fn queue_of(response: Response) -> Stream {
        let Body::Stream(queue) = response.body else { panic!("a stream has a queue") };
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
    fn a_body_of_bytes_waits_for_room_and_says_when_it_is_whole() {
        let (sender, response) = byte_stream("text/plain", 8);
        let queue = queue_of(response);
        let sending = std::thread::spawn(move || {
            for n in 0..1000 {
                assert!(sender.send(format!("{n:03}").into_bytes()));
                assert!(sender.end.queue.lock().bytes <= 8);
            }
            sender.finish();
        });
        let (mut all, mut more) = (String::new(), true);
        while more {
            let (text, further) = taken(&queue);
            all.push_str(&text);
            more = further;
        }
        sending.join().unwrap();
        let expected: String = (0..1000).map(|n| format!("3\r\n{n:03}\r\n")).collect();
        assert_eq!(all, expected + "0\r\n\r\n");

        let (sender, response) = byte_stream("text/plain", 8);
        let queue = queue_of(response);
        assert!(sender.send(b"longer than the queue".to_vec()), "alone it has room");
        drop(sender);
        assert_eq!(taken(&queue), ("15\r\nlonger than the queue\r\n".to_owned(), false), "broken off");

        let (sender, response) = byte_stream("text/plain", 1);
        let queue = queue_of(response);
        assert!(sender.send(b"x".to_vec()));
        let waiting = std::thread::spawn(move || sender.send(b"y".to_vec()));
        drop(queue);
        assert!(!waiting.join().unwrap(), "whoever waits is told that the client is gone");
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
