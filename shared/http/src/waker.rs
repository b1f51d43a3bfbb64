//! Wakes the poll thread from any other thread.
//!
//! A byte in a socket pair makes poll(2) return. Wakes are coalesced: while one is pending, further ones
//! cost an atomic swap and no system call.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering::AcqRel, Ordering::Release};
use std::sync::{Mutex, PoisonError};

/// The end that wakes; shared by everyone who has something for the poll thread.
#[derive(Debug)]
pub(crate) struct Waker {
    socket: UnixStream,
    pending: AtomicBool,
    /// Connections whose stream has something new, each listed once by its queue.
    streams: Mutex<Vec<u64>>,
}

/// The end the poll thread sleeps on.
#[derive(Debug)]
pub(crate) struct Wakeups {
    pub(crate) socket: UnixStream,
}

pub(crate) fn pair() -> io::Result<(Waker, Wakeups)> {
    let (waking, sleeping) = UnixStream::pair()?;
    waking.set_nonblocking(true)?;
    sleeping.set_nonblocking(true)?;
    let waker = Waker { socket: waking, pending: AtomicBool::new(false), streams: Mutex::default() };
    Ok((waker, Wakeups { socket: sleeping }))
}

impl Waker {
    /// Makes the poll thread's next, or present, sleep end at once.
    pub(crate) fn wake(&self) {
        // AcqRel, pair "wake pending": what was done before the wake is seen after `take` cleared it.
        if !self.pending.swap(true, AcqRel) {
            // A full socket is a wake that is already on its way; a closed one has nobody to wake.
            let _ = (&self.socket).write(&[1]);
        }
    }

    /// Wakes the poll thread for the stream on one connection.
    pub(crate) fn wake_stream(&self, connection: u64) {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        self.wake();
    }

    /// Takes the streams that have something new, with the poll thread awake.
    pub(crate) fn take(&self, wakeups: &Wakeups) -> Vec<u64> {
        let mut bytes = [0; 64];
        loop {
            match (&wakeups.socket).read(&mut bytes) {
                Ok(count) if count == bytes.len() => continue,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                _ => break,
            }
        }
        // Cleared before the list is taken: whoever adds to it after that writes a new byte.
        // Release, pair "wake pending".
        self.pending.store(false, Release);
        std::mem::take(&mut self.streams.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
