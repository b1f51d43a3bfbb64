//! A reader beside the writers that are measured, as a broker would be; and what reading costs.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

use dotter_publisher::Publisher;
use dotter_ring::{Drained, LaneCursor, RingReader};

use crate::Error;
use crate::bench::cores::{Cores, Role};
use crate::bench::counts::Counts;
use crate::bench::measure::{Cost, measure, timed};

/// As often as a busy broker looks.
pub(super) const POLL: Duration = Duration::from_millis(1);
/// Between two looks at how far a reader is.
pub(super) const CATCH_UP: Duration = Duration::from_micros(50);
/// What fits into a batch.
const BATCH_DOTS: usize = 32_768;

/// A thread that drains every lane of a ring; ends with [`Reader::finish`].
pub(super) struct Reader {
    state: Arc<State>,
    /// Dots in the ring before it came.
    before: u64,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    stop: AtomicBool,
    seen: AtomicU64,
    lost: AtomicU64,
}

impl Reader {
    /// Begins at what is written from now on; looks again `poll` after it has found nothing more.
    pub(super) fn start(publisher: &Publisher, cores: Cores, poll: Duration) -> Result<Reader, Error> {
        let mut ring = RingReader::open(&publisher.path())?;
        let published = publisher.published();
        let lanes = published.iter().zip(0..);
        let mut cursors: Vec<LaneCursor> =
            lanes.map(|(records, lane)| LaneCursor::resume(&ring, lane, *records)).collect();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            cores.stay(Role::Other);
            let mut out = Drained::default();
            loop {
                // Acquire, pair "last look": whoever has asked us to stop has written its last dot before.
                let last = shared.stop.load(Acquire);
                for cursor in &mut cursors {
                    while cursor.drain(&mut ring, BATCH_DOTS, &mut out) > 0 {
                        let lost = out.losses.iter().map(|loss| loss.next - loss.first).sum();
                        black_box(&out.dots);
                        shared.seen.fetch_add(out.dots.len() as u64, Release);
                        shared.lost.fetch_add(lost, Release);
                        out.clear();
                    }
                }
                if last {
                    return;
                }
                if poll.is_zero() { std::hint::spin_loop() } else { sleep(poll) }
            }
        });
        Ok(Reader { state, before: published.iter().sum(), thread })
    }

    /// Waits until no more than `backlog` of what `publisher` has written is still to be read.
    pub(super) fn catch_up(&self, publisher: &Publisher, backlog: u64) {
        let written = publisher.published().iter().sum::<u64>() - self.before;
        while written - self.state.seen.load(Acquire) - self.state.lost.load(Acquire) > backlog {
            sleep(CATCH_UP);
        }
    }

    /// Reads what is left, then says what it got.
    pub(super) fn finish(self, publisher: &Publisher) -> Counts {
        // Release, pair "last look".
        self.state.stop.store(true, Release);
        self.thread.join().expect("the loop above does not panic");
        let written = publisher.published().iter().sum::<u64>() - self.before;
        Counts { written, seen: self.state.seen.load(Acquire), lost: self.state.lost.load(Acquire) }
    }
}

/// What draining and decoding costs for a dot: copy, check, decode, make times. `write` writes a run of dots, outside
/// the clock and in the same thread, into the lane numbered `lane`.
pub(super) fn drain(publisher: &Publisher, lane: u32, mut write: impl FnMut()) -> Result<Cost, Error> {
    let mut ring = RingReader::open(&publisher.path())?;
    let mut cursor = LaneCursor::resume(&ring, lane, publisher.published()[lane as usize]);
    let mut out = Drained::default();
    Ok(measure(|| {
        write();
        timed(|| {
            while cursor.drain(&mut ring, BATCH_DOTS, &mut out) > 0 {
                black_box(&out.dots);
                out.clear();
            }
        })
    }))
}
