//! Writers that keep a pace: how long the slowest of their stores take, and whether a reader that comes ten times a
//! second keeps up with them.

use std::hint::black_box;
use std::time::{Duration, Instant};

use dotter_publisher::{Clock, Lane, Publisher, Series, Timestamp};

use crate::Error;
use crate::bench::cores::{Cores, Role};
use crate::bench::counts::Counts;
use crate::bench::measure::{Cost, QUICK};
use crate::bench::reader::Reader;

/// Dots a second while single stores are timed.
const PACE: u64 = 1_900_000;
const TAIL_RUNS: usize = 7;
const TAIL_DOTS: u64 = if QUICK { 2_000 } else { 1_000_000 };
/// Dots a second and thread of a sustained load.
const SUSTAINED_PER_MILLISECOND: u64 = 2_000;
const SUSTAINED: Duration = Duration::from_millis(if QUICK { 100 } else { 5_000 });
/// Between two looks of its reader.
const SUSTAINED_POLL: Duration = Duration::from_millis(100);

/// The slowest of [`TAIL_DOTS`] stores, over several runs of as many.
pub(super) struct Tail {
    pub(super) p999: Cost,
    pub(super) p9999: Cost,
}

/// Times `store` one by one, at [`PACE`]: from one look at the clock to another, so the clock itself is part of it.
pub(super) fn tail(mut store: impl FnMut(u64)) -> Tail {
    let clock = Clock::best();
    let hz = clock.hz_hint();
    let (mut p999, mut p9999) = (Vec::new(), Vec::new());
    for _ in 0..TAIL_RUNS {
        let mut all = Vec::with_capacity(TAIL_DOTS as usize);
        let start = clock.ticks();
        for number in 0..TAIL_DOTS {
            let due = start + (u128::from(number) * u128::from(hz) / u128::from(PACE)) as u64;
            let mut before = clock.ticks();
            while before < due {
                std::hint::spin_loop();
                before = clock.ticks();
            }
            store(black_box(number));
            all.push(clock.ticks().saturating_sub(before) as u32);
        }
        all.sort_unstable();
        let at = |of_10_000: usize| f64::from(all[all.len() * of_10_000 / 10_000]) * 1e9 / hz as f64;
        p999.push(at(9_990));
        p9999.push(at(9_999));
    }
    Tail { p999: Cost::of(p999), p9999: Cost::of(p9999) }
}

/// Two threads at [`SUSTAINED_PER_MILLISECOND`] each, a reader that only drains, every [`SUSTAINED_POLL`].
pub(super) fn sustained(publisher: &Publisher, series: &Series, cores: Cores) -> Result<Counts, Error> {
    let lanes = [(Role::Writer, publisher.lane()?), (Role::Other, publisher.lane()?)];
    let reader = Reader::start(publisher, cores, SUSTAINED_POLL)?;
    std::thread::scope(|scope| {
        for (role, lane) in lanes {
            scope.spawn(move || {
                cores.stay(role);
                keep_pace(lane, series);
            });
        }
    });
    Ok(reader.finish(publisher))
}

/// A millisecond's dots at once, then a rest; what was missed is made up for.
fn keep_pace(mut lane: Lane, series: &Series) {
    let start = Instant::now();
    let (mut done, end) = (0, SUSTAINED.as_millis() as u64 * SUSTAINED_PER_MILLISECOND);
    while done < end {
        let elapsed = start.elapsed().as_millis() as u64 + 1;
        let due = end.min(elapsed * SUSTAINED_PER_MILLISECOND);
        let first = Timestamp::now().nanos();
        for number in 0..due - done {
            lane.dot_at(series, Timestamp::from_nanos(first + number), number as f64);
        }
        done = due;
        let rest = Duration::from_millis(elapsed).saturating_sub(start.elapsed());
        std::thread::sleep(rest);
    }
}
