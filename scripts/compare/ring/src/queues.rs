//! Queues inside the process, for a thread of the application that takes the numbers somewhere.

use std::sync::atomic::Ordering::SeqCst;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::measure::{Row, beside, black_box, repeat, timed};

/// Series, time, value.
type Message = (u64, u64, f64);

/// Room for a whole run.
const SLOTS: usize = 1 << 16;
const _: () = assert!(SLOTS as u64 >= crate::measure::RUN_DOTS, "a run fits");

pub(crate) fn rows() -> Vec<Row> {
    let (to, from) = crossbeam_channel::bounded::<Message>(SLOTS);
    let push = Row::new("crossbeam-channel bounded, nobody receiving", "time given, numbered series", {
        let (to, from) = (to.clone(), from.clone());
        move || {
            let spent = timed(|| repeat(|n| put(to.try_send(message(1_795_000_000 + n, n)))));
            from.try_iter().for_each(take);
            spent
        }
    });
    let stamped =
        Row::new("crossbeam-channel bounded, nobody receiving, + clock", "time read (clock_gettime)", {
            let (to, from) = (to.clone(), from.clone());
            move || {
                let spent = timed(|| repeat(|n| put(to.try_send(message(now(), n)))));
                from.try_iter().for_each(take);
                spent
            }
        });
    let received =
        Row::new("crossbeam-channel bounded, a thread receiving", "time given; waits where it is full", {
            move || {
                beside(
                    |done| {
                        while !done.load(SeqCst) || !from.is_empty() {
                            from.try_iter().for_each(take);
                        }
                    },
                    || timed(|| repeat(|n| put(to.send(message(1_795_000_000 + n, n))))),
                )
            }
        });
    let (mut to, mut from) = rtrb::RingBuffer::<Message>::new(SLOTS);
    let spsc =
        Row::new("rtrb, nobody receiving", "time given, numbered series, one thread only", move || {
            let spent = timed(|| repeat(|n| put(to.push(message(1_795_000_000 + n, n)))));
            while let Ok(message) = from.pop() {
                take(message);
            }
            spent
        });
    let (mut to, mut from) = rtrb::RingBuffer::<Message>::new(SLOTS);
    let spsc_stamped = Row::new("rtrb, nobody receiving, + clock", "time read (clock_gettime)", move || {
        let spent = timed(|| repeat(|n| put(to.push(message(now(), n)))));
        while let Ok(message) = from.pop() {
            take(message);
        }
        spent
    });
    let (mut to, mut from) = rtrb::RingBuffer::<Message>::new(SLOTS);
    let spsc_received = Row::new("rtrb, a thread receiving", "time given", move || {
        let from = &mut from;
        beside(
            |done| {
                while !done.load(SeqCst) || !from.is_empty() {
                    while let Ok(message) = from.pop() {
                        take(message);
                    }
                }
            },
            || timed(|| repeat(|n| put(to.push(message(1_795_000_000 + n, n))))),
        )
    });
    vec![push, stamped, received, spsc, spsc_stamped, spsc_received]
}

/// Its fields are unknown while this is compiled, as those of the other rows are.
fn message(time: u64, number: u64) -> Message {
    (black_box(7), black_box(time), black_box(number as f64))
}

fn put<E>(result: Result<(), E>) {
    assert!(result.is_ok(), "there is room, and somebody to receive");
}

fn take(message: Message) {
    black_box(message);
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}
