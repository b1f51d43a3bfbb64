//! Work in a forked child, and what a ring holds.
// fork has no safe form; not every test needs all of this.
#![allow(unsafe_code, dead_code)]

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use dotter_ring::{Drained, LaneCursor, RingReader};

/// No child of a test works for so many seconds, however busy the machine is.
const HANGS_AFTER: u32 = 60;

/// Runs `work` in a forked child and waits for the child's end. A child that hangs is ended by a signal.
pub(crate) fn in_child(work: impl FnOnce()) {
    // SAFETY: the child touches what this thread owns, and leaves by _exit.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "cannot fork: {}", std::io::Error::last_os_error());
    if child == 0 {
        // SAFETY: takes a number.
        unsafe { libc::alarm(HANGS_AFTER) };
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_ok();
        // SAFETY: ends the process; nothing of the parent's runs twice.
        unsafe { libc::_exit(i32::from(!done)) };
    }
    let mut status = 0;
    // SAFETY: the pointer is to an integer that the call fills.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert!(!libc::WIFSIGNALED(status), "the child hung or crashed: signal {}", libc::WTERMSIG(status));
    assert_eq!(status, 0, "the child failed");
}

/// Ends threads however a test ends.
pub(crate) struct StopAtEnd<'a>(pub(crate) &'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Runs `work` over and over in two threads while a hundred children are forked, each of which does `child`.
pub(crate) fn fork_amid(work: impl Fn() + Sync, child: impl Fn()) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _at_end = StopAtEnd(&stop);
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    work();
                }
            });
        }
        (0..100).for_each(|_| in_child(&child));
    });
}

/// Names and values in a ring.
pub(crate) fn read(path: &Path) -> Vec<(String, f64)> {
    let mut ring = RingReader::open(path).unwrap();
    let mut all = Vec::new();
    for lane in 0..ring.lanes_used() {
        let (mut cursor, mut out) = (LaneCursor::start(lane), Drained::default());
        cursor.drain(&mut ring, usize::MAX, &mut out);
        assert!(out.losses.is_empty());
        for dot in out.dots {
            let name = ring.series(dot.series).unwrap().name.as_ref().unwrap().to_string();
            all.push((name, dot.value));
        }
    }
    all
}
