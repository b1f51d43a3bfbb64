//! What dots are compared with: a push into the fastest queue there is between two threads of a process.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use rtrb::{Consumer, Producer, RingBuffer};

use crate::bench::cores::{Cores, Role};
use crate::bench::counts::Counts;
use crate::bench::measure::{RUN_DOTS, Row, measure, run_of};
use crate::bench::reader::{CATCH_UP, POLL};

const SLOTS: usize = 1 << 18;
const _: () = assert!(RUN_DOTS < SLOTS as u64 / 2, "a run never finds the queue full");
/// Messages that may wait for the consumer when a run begins.
const BACKLOG: usize = SLOTS / 16;

/// Measures a push of what `message` makes of a number, and nobody takes anything out: that is done between two runs.
pub(super) fn alone<T>(message: impl Fn(u64) -> T) -> impl FnMut() -> Duration {
    let (mut producer, mut consumer) = RingBuffer::<T>::new(SLOTS);
    move || {
        while consumer.pop().map(black_box).is_ok() {}
        run(&mut producer, &message)
    }
}

/// The same, and the same with a thread that takes all of it out.
pub(super) fn push<T: Send + 'static>(cores: Cores, message: impl Fn(u64) -> T) -> Row {
    let alone = measure(alone(&message));
    let (mut producer, consumer) = RingBuffer::<T>::new(SLOTS);
    let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let consuming = std::thread::spawn({
        let (stop, seen) = (Arc::clone(&stop), Arc::clone(&seen));
        move || {
            cores.stay(Role::Other);
            seen.store(consume(consumer, &stop), Relaxed);
        }
    });
    let mut written = 0;
    let read = measure(|| {
        while producer.slots() < SLOTS - BACKLOG {
            std::thread::sleep(CATCH_UP);
        }
        written += RUN_DOTS;
        run(&mut producer, &message)
    });
    stop.store(true, Release);
    consuming.join().expect("the loop below does not panic");
    Row { alone, read: Some((read, Counts { written, seen: seen.load(Relaxed), lost: 0 })) }
}

/// The producer by reference, as an application's object has it and as a dot has its lane. Where a compiler sees all of
/// a producer's life at once it keeps the positions in registers, which no program can make use of.
#[inline(never)]
fn run<T>(producer: &mut Producer<T>, message: &impl Fn(u64) -> T) -> Duration {
    let producer = black_box(producer);
    run_of(|number| {
        let pushed = producer.push(message(number));
        debug_assert!(pushed.is_ok(), "it was not full");
    })
}

/// Takes out what there is until told to stop; how much that was.
fn consume<T>(mut consumer: Consumer<T>, stop: &AtomicBool) -> u64 {
    let mut seen = 0;
    loop {
        let last = stop.load(Acquire);
        while consumer.pop().map(black_box).is_ok() {
            seen += 1;
        }
        if last {
            return seen;
        }
        std::thread::sleep(POLL);
    }
}
