//! Reading the newest dots of a series, at the cost of about as many dots as are asked for.
//!
//! Equal clock stamps are spread by a nanosecond each, so an earlier dot that was not read may have moved later ones.
//! By how much is known only up to a bound: each clock stamp moves the ones behind it by at most one nanosecond.
//! Where not even that bound reaches a dot, the dot and every one behind it have the time that a read of the whole
//! series gives.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use dotter_dot::{TimeRange, Timestamp};

use crate::error::Error;
use crate::read::snapshot::{Dot, Place, Snapshot};

impl Snapshot {
    /// The newest `count` numbers of a series, oldest of them first: the end of what [`Snapshot::read`] gives for all
    /// time.
    ///
    /// It reads about `count` dots and a few chunks, however long the series is. Only where there is about one clock
    /// stamp a nanosecond, it reads that whole stretch, with `count` dots and a piece of the stretch in memory.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::read`].
    pub fn last(&self, name: &str, count: usize) -> Result<Vec<Dot>, Error> {
        if count == 0 || !self.contains(name) {
            return Ok(Vec::new());
        }
        // Texts count too, though they move no dot: so `reach` may be later than it need be, never too early.
        let mut places = self.inner.places(name, true)?;
        places.sort_unstable_by_key(|place| std::cmp::Reverse(place.last));
        let mut wanted = count as u64;
        loop {
            let (mut numbers, mut from, mut taken) = (0, u64::MAX, 0);
            while numbers < wanted && taken < places.len() {
                numbers += places[taken].numbers;
                from = from.min(places[taken].first);
                taken += 1;
            }
            let left_out = &places[taken..];
            let found = self.newest_behind(name, from, reach(left_out, from), count)?;
            if found.len() >= count || left_out.is_empty() {
                return Ok(found.into());
            }
            // Too few: some were replaced, or may be moved by dots not read. Read twice as many.
            wanted = numbers.saturating_mul(2).max(wanted.saturating_add(1));
        }
    }

    /// The newest `count` numbers among the dots from `from` on, without those that earlier dots may have moved.
    ///
    /// - `reach`: every dot earlier than `from` has a time before this, after spreading
    fn newest_behind(&self, name: &str, from: u64, reach: u64, count: usize) -> Result<VecDeque<Dot>, Error> {
        let mut found = VecDeque::new();
        let mut is_certain = false;
        let mut stamps = 0;
        self.scan().rows(name, TimeRange::new(Timestamp::from_nanos(from), Timestamp::MAX), |row| {
            // If the earlier dots moved as far as they can, the stamps so far follow them one a nanosecond.
            is_certain |= row.time().nanos() >= reach.saturating_add(stamps);
            stamps += row.is_clock() as u64;
            if is_certain && let Some(value) = row.number() {
                if found.len() == count {
                    found.pop_front();
                }
                found.push_back(Dot { time: row.time(), value });
            }
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }
}

/// The time before which all dots of some places are that are earlier than `from`, after equal stamps are spread.
///
/// - `places`: in the order of their last times, latest first
fn reach(places: &[Place], from: u64) -> u64 {
    let mut reach = 0_u64;
    for place in places.iter().rev().filter(|place| place.first < from && place.stamps > 0) {
        // All its dots may have its last stamp, and come behind all that earlier ones move.
        reach = reach.max(place.last.min(from - 1)).saturating_add(place.stamps);
    }
    reach
}

#[cfg(test)]
mod tests {
    use dotter_dot::{Dots, SeriesName, Shape};

    use super::*;
    use crate::read::segment::CHUNKS_DECODED;
    use crate::{Reader, Transaction, Writer};

    /// A store with one sealed transaction of clock stamps or explicit times after another, the last not sealed.
    fn snapshot(clock: bool, transactions: &[Vec<u64>]) -> (tempfile::TempDir, Snapshot) {
        let dir = tempfile::tempdir().unwrap();
        for (number, times) in transactions.iter().enumerate() {
            let mut writer = Writer::open(dir.path()).unwrap();
            let key = writer.series(&SeriesName::new("x").unwrap(), &Shape::number());
            let mut dots = Dots::default();
            for part in times.chunks(100_000) {
                dots.clear();
                part.iter().for_each(|time| {
                    dots.push_number(key, clock, Timestamp::from_nanos(*time), *time as f64)
                });
                writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).unwrap();
            }
            writer.sync().unwrap();
            drop(writer);
            if number + 1 < transactions.len() || transactions.len() == 1 {
                drop(Writer::open(dir.path()).unwrap());
                crate::seal_all(dir.path(), &|| false).unwrap();
            }
        }
        let snapshot = Reader::open(dir.path()).unwrap().snapshot();
        (dir, snapshot)
    }

    /// Compares with a read of the whole series; returns how many chunks each count took.
    fn check(snapshot: &Snapshot, counts: &[usize]) -> Vec<u64> {
        let all = snapshot.read("x", TimeRange::ALL).unwrap();
        let took = |count: &usize| {
            let before = CHUNKS_DECODED.get();
            let found = snapshot.last("x", *count).unwrap();
            assert!(found == all[all.len().saturating_sub(*count)..], "{count} of {}", all.len());
            CHUNKS_DECODED.get() - before
        };
        counts.iter().map(took).collect()
    }

    /// 400,000 dots, 98 chunks.
    fn every(nanos: u64) -> Vec<u64> {
        (0..400_000).map(|n| 1_000_000_000 + n * nanos).collect()
    }

    #[test]
    fn the_newest_dots_of_a_fast_series_cost_no_more_than_they_are() {
        for (clock, nanos) in [(false, 1), (false, 1000), (true, 1000), (true, 10), (true, 1_000_000)] {
            let (_dir, snapshot) = snapshot(clock, &[every(nanos)]);
            let took = check(&snapshot, &[0, 1, 100, 10_000]);
            // One chunk and where that is a short one, the one before; then again with twice as many.
            for (chunks, most) in took.iter().zip([0, 4, 4, 12]) {
                assert!(*chunks <= most, "every {nanos} ns, clock {clock}: {took:?}");
            }
        }
    }

    #[test]
    fn stamps_as_close_as_one_a_nanosecond_are_where_a_full_read_has_them() {
        // One dot too many at the beginning moves all others.
        let mut times = every(1);
        times[0] = times[1];
        let (_dir, snapshot) = snapshot(true, &[times]);
        check(&snapshot, &[1, 100, 10_000, 399_999]);
        assert_eq!(snapshot.last("x", 1).unwrap()[0].time, Timestamp::from_nanos(1_000_400_000));
    }

    #[test]
    fn equal_stamps_of_many_chunks_push_what_is_behind_them() {
        // 20,000 dots of one stamp, then 1,000 dots a microsecond apart, of which the first 20 are pushed, then
        // 200,000 dots that none of it reaches.
        let stamp = 1_000_000_000;
        let pushed = (0..1000).map(|n| stamp + n * 1000);
        let after = (0..200_000).map(|n| stamp + 1_000_000_000 + n * 1000);
        let times: Vec<u64> = std::iter::repeat_n(stamp, 20_000).chain(pushed).chain(after.clone()).collect();
        let counts = [1, 20_000, 200_000, 200_979, 200_980, 200_981, 200_990, 201_000, 201_001, 215_000];
        let (_dir, once) = snapshot(true, std::slice::from_ref(&times));
        let took = check(&once, &counts);
        assert!(took[0] <= 4 && took[1] <= 20, "{took:?}");
        // The same in segments that overlap, and partly in the live log.
        let (even, odd): (Vec<_>, Vec<_>) = times.iter().partition(|time| (*time / 1000) % 2 == 0);
        let (_dir, apart) = snapshot(true, &[even, odd, after.take(1000).collect()]);
        check(&apart, &counts);
        let (_dir, equal) = snapshot(true, &[vec![stamp; 30_000], vec![stamp; 30_000], vec![stamp + 5]]);
        check(&equal, &[1, 10, 30_000, 60_000, 60_001]);
        assert_eq!(equal.last("x", 1).unwrap()[0].time.nanos(), stamp + 60_000);
    }

    #[test]
    fn dots_that_replace_others_are_counted_once() {
        let (_dir, snapshot) = snapshot(false, &[every(1), every(1), every(1)[..399_000].to_vec()]);
        let took = check(&snapshot, &[1, 1500, 10_000]);
        assert!(took[0] <= 8, "{took:?}");
    }
}
