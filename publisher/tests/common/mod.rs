//! Work in a forked child, and what a ring holds.
// fork has no safe form; not every test needs all of this.
#![allow(unsafe_code, dead_code)]

use std::path::Path;

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
