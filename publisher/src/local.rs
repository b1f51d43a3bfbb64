//! Every thread's own lanes, one for each publisher it has used.
//!
//! Always true: while a dot is being written, `busy` is set, so a signal handler that publishes on the
//! same thread is counted and refused instead of writing into the middle of a record.

use std::cell::RefCell;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, compiler_fence};
use std::sync::{Arc, Weak};

use dotter_ring::SlowPath;

use crate::handle::Handle;
use crate::home::Home;
use crate::homeless::Refusal;
use crate::seat::Seat;
use crate::slowly::publish_slowly;
use crate::write::Write;

thread_local! {
    static LOCAL: Local = const { Local { busy: AtomicBool::new(false), seats: RefCell::new(Vec::new()) } };
}

struct Local {
    busy: AtomicBool,
    seats: RefCell<Vec<Entry>>,
}

struct Entry {
    /// Whose ring it is. Weak: a thread that sleeps must not keep a ring open.
    home: Weak<Home>,
    seat: Option<Seat>,
}

/// Keeps signal handlers out until dropped.
struct Busy<'a>(&'a AtomicBool);

impl<'a> Busy<'a> {
    /// `None` in a handler that interrupted a dot of this thread.
    #[inline(always)]
    fn set(flag: &'a AtomicBool) -> Option<Busy<'a>> {
        // Relaxed: only this thread looks. The fences keep the compiler from moving the dot out of here.
        if flag.load(Relaxed) {
            return None;
        }
        flag.store(true, Relaxed);
        compiler_fence(SeqCst);
        Some(Busy(flag))
    }
}

impl Drop for Busy<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        compiler_fence(SeqCst);
        self.0.store(false, Relaxed);
    }
}

/// Publishes through this thread's lane.
///
/// What is in here is copied to every place that publishes, so all but the usual way stands elsewhere.
#[inline(always)]
pub(crate) fn publish(series: &Handle, write: impl Write) {
    if LOCAL.try_with(|local| local.publish(series, &write)) != Ok(true) {
        publish_otherwise(series, &write);
    }
}

impl Local {
    /// Writes into the lane used last, where that is the right one; says whether that was done.
    #[inline(always)]
    fn publish(&self, series: &Handle, write: &impl Write) -> bool {
        let Some(_busy) = Busy::set(&self.busy) else { return false };
        let Ok(mut seats) = self.seats.try_borrow_mut() else { return false };
        let first = seats.first_mut().filter(|entry| entry.is_of(&series.home));
        first.is_some_and(|entry| entry.publish(series, write))
    }
}

impl Entry {
    #[inline(always)]
    fn is_of(&self, home: &Arc<Home>) -> bool {
        std::ptr::eq(self.home.as_ptr(), Arc::as_ptr(home))
    }

    /// Writes into the lane, where there is one of our own; says whether that was done.
    #[inline(always)]
    fn publish(&mut self, series: &Handle, write: &impl Write) -> bool {
        let writer = self.seat.as_mut().and_then(Seat::writer);
        let written = series.id.zip(writer).map(|(id, writer)| write.write(writer, id));
        written == Some(Ok(()))
    }
}

/// From a handler that interrupted a dot, at the thread's end, or as [`publish_elsewhere`].
#[cold]
#[inline(never)]
fn publish_otherwise(series: &Handle, write: &impl Write) {
    let done = LOCAL.try_with(|local| {
        let Some(_busy) = Busy::set(&local.busy) else {
            return series.home.refuse(Refusal::SignalHandler);
        };
        publish_elsewhere(&mut local.seats.borrow_mut(), series, write);
    });
    if done.is_err() {
        publish_at_thread_end(series, write);
    }
}

/// With another publisher's lane in front, or none, or one that has moved.
fn publish_elsewhere(seats: &mut Vec<Entry>, series: &Handle, write: &impl Write) {
    let home = &series.home;
    let index = seats.iter().position(|entry| entry.is_of(home)).unwrap_or_else(|| {
        // Lanes of publishers that are gone go with the first dot of a new one.
        seats.retain(|entry| entry.home.strong_count() > 0);
        seats.push(Entry { home: Arc::downgrade(home), seat: None });
        seats.len() - 1
    });
    // The one used last comes first, where it is found at once.
    seats.swap(0, index);
    if seats[0].publish(series, write) {
        return;
    }
    publish_slowly(series, &mut seats[0].seat, write);
}

/// This thread has already given its lanes back; another destructor of it publishes.
#[cold]
fn publish_at_thread_end(series: &Handle, write: &impl Write) {
    let mut seat = None;
    publish_slowly(series, &mut seat, write);
    if let Some(seat) = seat.take()
        && let Some(inside) = SlowPath::enter()
    {
        seat.leave(&inside);
    }
}
