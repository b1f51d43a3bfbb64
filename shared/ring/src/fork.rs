//! What keeps a forked child, and a signal handler, out of what it must not touch.
//!
//! A process and its forked child would be two writers of one lane. [`generation`] is a number that the
//! child finds changed; every lane compares it before it writes, one load of a word that never changes
//! otherwise.
//!
//! Everything that is not the hot path (taking a lane, registering a series, making a ring) runs inside
//! [`SlowPath`]. One thread is inside at a time, and a fork waits until it has left. So a child never finds a
//! change half made, or a lock held by a thread that the child does not have.
//!
//! Always true: the handlers are registered before a thread goes inside. A lock of this crate or of the
//! publisher is taken only inside.

use std::cell::Cell;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32, compiler_fence};
use std::time::Duration;

use crate::sys;

static GENERATION: AtomicU32 = AtomicU32::new(0);
static TAKEN: AtomicBool = AtomicBool::new(false);
/// What else a child does first.
static IN_CHILD: OnceLock<fn()> = OnceLock::new();

thread_local! {
    /// Whether this thread is inside.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
    /// Whether this thread is forking and has been through [`before`].
    static FORKING: Cell<bool> = const { Cell::new(false) };
}

/// A number that is another one in every process that was forked from this one.
#[inline(always)]
pub fn generation() -> u32 {
    // Relaxed: only a fork changes it, and then there is one thread.
    GENERATION.load(Relaxed)
}

/// Proof that no other thread is on a slow path and that no fork happens meanwhile.
#[derive(Debug)]
pub struct SlowPath(());

impl SlowPath {
    /// Waits for its turn; `None` where this thread is inside already, or is in the middle of a fork: it was
    /// interrupted there by the signal handler that asks.
    pub fn enter() -> Option<SlowPath> {
        if FORKING.get() || INSIDE.replace(true) {
            return None;
        }
        // A handler that interrupts this thread from here on must find the mark.
        compiler_fence(std::sync::atomic::Ordering::SeqCst);
        // A fork that is not watched would not wait. Where watching fails, making a ring says so.
        let _ = watch();
        take();
        Some(SlowPath(()))
    }

    /// The same without waiting: `None` also where another thread is inside.
    pub fn try_enter() -> Option<SlowPath> {
        if FORKING.get() || INSIDE.replace(true) {
            return None;
        }
        compiler_fence(std::sync::atomic::Ordering::SeqCst);
        let _ = watch();
        if try_take() {
            return Some(SlowPath(()));
        }
        compiler_fence(std::sync::atomic::Ordering::SeqCst);
        INSIDE.set(false);
        None
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

fn try_take() -> bool {
    // Acquire, pair "slow path": the Release half is in `drop`.
    TAKEN.compare_exchange(false, true, Acquire, Relaxed).is_ok()
}

fn take() {
    let mut tries = 0_u32;
    while !try_take() {
        tries += 1;
        // What is done inside takes microseconds, but for a new file, which takes milliseconds.
        if tries < 64 { std::thread::yield_now() } else { std::thread::sleep(Duration::from_micros(50)) }
    }
}

/// From now on forks are noticed. Cheap to repeat.
///
/// Threads that come at the same time may each register the handlers, which then run more than once at a fork.
/// A lock that let only one of them register would be a lock that a child could find held.
pub(crate) fn watch() -> io::Result<()> {
    static WATCHED: AtomicBool = AtomicBool::new(false);
    if !WATCHED.load(Acquire) {
        sys::at_fork(before, after_in_parent, after_in_child)?;
        WATCHED.store(true, Release);
    }
    Ok(())
}

/// Has `work` done in every forked child, before the child does anything of its own.
///
/// `work` runs inside a fork handler: it must be async-signal-safe, and may find a lock held where a signal
/// handler forked from inside. Only the first `work` counts.
pub(crate) fn in_child(_inside: &SlowPath, work: fn()) {
    // Set from inside only: no fork finds it half set.
    IN_CHILD.get_or_init(|| work);
}

extern "C" fn before() {
    // A thread that forks from inside (a handler did) holds it already.
    if !FORKING.replace(true) && !INSIDE.get() {
        take();
    }
}

extern "C" fn after_in_parent() {
    if FORKING.replace(false) && !INSIDE.get() {
        TAKEN.store(false, Release);
    }
}

extern "C" fn after_in_child() {
    GENERATION.store(generation().wrapping_add(1), Relaxed);
    if let Some(work) = IN_CHILD.get() {
        work();
    }
    after_in_parent();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handlers_that_are_registered_twice_do_once_what_they_do() {
        watch().unwrap();
        sys::at_fork(before, after_in_parent, after_in_child).unwrap();
        before();
        before();
        assert!(TAKEN.load(Relaxed));
        after_in_parent();
        after_in_parent();
        // Not taken for good: the next one gets in.
        drop(SlowPath::enter().unwrap());
    }

    #[test]
    fn a_thread_is_inside_once() {
        let inside = SlowPath::enter().expect("the first time");
        assert!(SlowPath::enter().is_none());
        assert!(SlowPath::try_enter().is_none());
        std::thread::scope(|scope| {
            assert!(scope.spawn(|| SlowPath::try_enter().is_none()).join().unwrap(), "one at a time");
        });
        drop(inside);
        assert!(SlowPath::enter().is_some());
    }
}
