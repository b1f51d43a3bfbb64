//! What keeps a forked child, and a signal handler, out of what it must not touch.
//!
//! A process and its forked child would be two writers of one lane. [`generation`] is a number that the
//! child finds changed; every lane compares it before it writes, one load of a word that never changes
//! otherwise. Everything that is not the hot path (taking a lane, registering a series, making a ring)
//! runs inside [`SlowPath`], of which there is one at a time: a fork waits for it, so a child never finds
//! a half-made change or a lock held by a thread it does not have.

use std::cell::Cell;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32, compiler_fence};
use std::time::Duration;

use crate::sys;

static GENERATION: AtomicU32 = AtomicU32::new(0);
static TAKEN: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Whether this thread is inside.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// How many forks lie between this process and the one that was started.
#[inline(always)]
pub fn generation() -> u32 {
    // Relaxed: only a fork changes it, and then there is one thread.
    GENERATION.load(Relaxed)
}

/// Proof that no other thread is on a slow path and that no fork happens meanwhile.
#[derive(Debug)]
pub struct SlowPath(());

impl SlowPath {
    /// Waits for its turn; `None` where this thread is inside already, which means that it was interrupted
    /// there by the signal handler that asks.
    pub fn enter() -> Option<SlowPath> {
        if INSIDE.replace(true) {
            return None;
        }
        // A handler that interrupts this thread from here on must find the mark.
        compiler_fence(std::sync::atomic::Ordering::SeqCst);
        take();
        Some(SlowPath(()))
    }
}

impl Drop for SlowPath {
    fn drop(&mut self) {
        // Release, pair "slow path": the next one inside sees all that was done here.
        TAKEN.store(false, Release);
        compiler_fence(std::sync::atomic::Ordering::SeqCst);
        INSIDE.set(false);
    }
}

fn take() {
    let mut tries = 0_u32;
    // Acquire, pair "slow path": the Release half is in `drop`.
    while TAKEN.compare_exchange(false, true, Acquire, Relaxed).is_err() {
        tries += 1;
        // What is done inside takes microseconds, but for a new file, which takes milliseconds.
        if tries < 64 { std::thread::yield_now() } else { std::thread::sleep(Duration::from_micros(50)) }
    }
}

/// From now on forks are noticed. Cheap to repeat.
pub(crate) fn watch() -> io::Result<()> {
    static WATCHED: OnceLock<Result<(), i32>> = OnceLock::new();
    WATCHED
        .get_or_init(|| {
            sys::at_fork(before, after_in_parent, after_in_child)
                .map_err(|error| error.raw_os_error().unwrap_or(libc::ENOMEM))
        })
        .map_err(io::Error::from_raw_os_error)
}

extern "C" fn before() {
    // A thread that forks from inside (a handler did) holds it already.
    if !INSIDE.get() {
        take();
    }
}

extern "C" fn after_in_parent() {
    if !INSIDE.get() {
        TAKEN.store(false, Release);
    }
}

extern "C" fn after_in_child() {
    GENERATION.store(generation().wrapping_add(1), Relaxed);
    after_in_parent();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_inside_once() {
        let inside = SlowPath::enter().expect("the first time");
        assert!(SlowPath::enter().is_none());
        drop(inside);
        assert!(SlowPath::enter().is_some());
    }
}
