//! Reading the newest dots of a series, at the cost of about as many dots as are asked for.
//!
//! Equal clock stamps are spread by a nanosecond each, so an earlier dot that was not read may have moved later ones.
//! By how much is known only up to a bound: each clock stamp moves the ones behind it by at most one nanosecond.
//! Where not even that bound reaches a dot, the dot and every one behind it have the time that a read of the whole
//! series gives.
//!
//! Many equal stamps may fill many chunks. Of those that were committed before the dots that are wanted it is enough to
//! know how many they are.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::ops::ControlFlow;

use dotter_dot::{Column, TimeRange, Timestamp};

use crate::error::Error;
use crate::format::segment::ChunkRef;
use crate::read::scan::LeftOut;
use crate::read::snapshot::{Dot, Snapshot, Source};

/// So many dots of the live log are looked at together.
pub(crate) const LOG_DOTS: usize = 4096;
/// The most chunks that are decoded to count the stamps at their end.
const COUNTED_MAX: usize = 8;

/// Dots of one kind that lie together: a chunk, or some of the live log.
struct Part {
    first: u64,
    last: u64,
    /// How many have numbers, as far as that is known without decoding them.
    numbers: u64,
    /// How many are of the kind that is all kept, with numbers or without.
    stamps: u64,
    /// Whether all of them are numbers of that kind, and none is hidden.
    is_plain: bool,
    /// Where they stand in the order of commits: the number of their source, and the place in it.
    order: (usize, usize),
    /// By what they are left out of a scan.
    key: (usize, usize),
    /// `None` for dots of the live log.
    chunk: Option<ChunkRef>,
}

/// What is known of the stamps that were not read.
struct Bound {
    /// Every one has a time before this, after spreading.
    reach: u64,
    /// What the scan leaves out; then `reach` is where the stamps that it reads begin to be spread.
    left_out: Option<LeftOut>,
}

impl Snapshot {
    /// The newest `count` numbers of a series, oldest of them first: the end of what [`Snapshot::read`] gives for all
    /// time.
    ///
    /// It reads about `count` dots and a few chunks, however long the series is, and however many have equal stamps. Only
    /// where there is about one clock stamp a nanosecond, it reads that whole stretch, with `count` dots and a piece of
    /// the stretch in memory.
    ///
    /// # Errors
    ///
    /// As [`Snapshot::read`].
    pub fn last(&self, name: &str, count: usize) -> Result<Vec<Dot>, Error> {
        if count == 0 || !self.contains(name) {
            return Ok(Vec::new());
        }
        let sources: Vec<Source<'_>> = self.inner.sources().collect();
        // Texts count too, though they move no dot: so `reach` may be later than it need be, never too early.
        let mut parts = self.parts(name, &sources)?;
        // Of those that end at one time, what was committed last comes first.
        parts.sort_unstable_by_key(|part| Reverse((part.last, part.order)));
        let mut wanted = count as u64;
        loop {
            let (mut numbers, mut from, mut taken) = (0, u64::MAX, 0);
            while numbers < wanted && taken < parts.len() {
                numbers += parts[taken].numbers;
                from = from.min(parts[taken].first);
                taken += 1;
            }
            let (read, others) = parts.split_at(taken);
            let bound = match counted(&sources, name, read, others, from)? {
                Some(left_out) => Bound { reach: left_out.least, left_out: Some(left_out) },
                None => Bound { reach: reach(others, from), left_out: None },
            };
            let found = self.newest_behind(name, from, bound, count)?;
            if found.len() >= count || others.is_empty() {
                return Ok(found.into());
            }
            // Too few: some were replaced, or may be moved by dots not read. Read twice as many.
            wanted = numbers.saturating_mul(2).max(wanted.saturating_add(1));
        }
    }

    /// The newest `count` numbers among the dots from `from` on, without those that earlier dots may have moved.
    fn newest_behind(
        &self,
        name: &str,
        from: u64,
        bound: Bound,
        count: usize,
    ) -> Result<VecDeque<Dot>, Error> {
        let Bound { reach, left_out } = bound;
        let mut found = VecDeque::new();
        let mut is_certain = false;
        let is_counted = left_out.is_some();
        let mut stamps = 0;
        let mut scan = self.scan();
        scan.leave_out(left_out.unwrap_or_default());
        scan.rows(name, TimeRange::new(Timestamp::from_nanos(from), Timestamp::MAX), |row| {
            // If the earlier dots moved as far as they can, the stamps so far follow them one a nanosecond.
            is_certain |= row.time().nanos() >= reach.saturating_add(stamps);
            stamps += (row.is_clock() && !is_counted) as u64;
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

    /// The dots of a series that no tombstone hides.
    fn parts(&self, name: &str, sources: &[Source<'_>]) -> Result<Vec<Part>, Error> {
        let mut parts = Vec::new();
        for (number, source) in sources.iter().enumerate() {
            let hidden = source.hidden(&self.inner.manifest.tombstones, name);
            match source {
                Source::Segment(segment) => {
                    let (mut partly, mut place) = (Vec::new(), 0);
                    let listed = segment.chunks(name, None, |chunk| {
                        let (first, last) = (chunk.first.nanos(), chunk.last.nanos());
                        let format = segment.shape(&chunk).format();
                        let has_numbers = format.letters().any(|letter| letter.is_number());
                        let part = Part {
                            first,
                            last,
                            numbers: if has_numbers { chunk.dots } else { 0 },
                            stamps: if chunk.clock { chunk.dots } else { 0 },
                            is_plain: chunk.clock && !segment.shape(&chunk).is_text(),
                            order: (number, place),
                            key: (number, chunk.at),
                            chunk: Some(chunk),
                        };
                        place += 1;
                        if !hidden.meets(first, last) {
                            parts.push(part);
                        } else if !hidden.covers(first, last) {
                            partly.push((chunk, part));
                        }
                    });
                    self.inner.or_left_out(listed)?;
                    for (chunk, part) in partly {
                        let mut run = Column::default();
                        match segment.read(&chunk, &mut run) {
                            Err(Error::Damaged { .. }) => continue,
                            other => other?,
                        }
                        hidden.remove(&mut run);
                        let Some((first, last)) =
                            run.times().first().copied().zip(run.times().last().copied())
                        else {
                            continue;
                        };
                        let dots = run.len() as u64;
                        let (numbers, stamps) = (part.numbers.min(dots), part.stamps.min(dots));
                        parts.push(Part { first, last, numbers, stamps, is_plain: false, ..part });
                    }
                }
                Source::Head(head) => {
                    let Some(series) = head.get(name) else { continue };
                    let is_hidden = hidden.meets(series.first, series.last);
                    for is_clock in [false, true] {
                        let run = series.run(is_clock);
                        for begin in (0..run.len()).step_by(LOG_DOTS) {
                            let range = begin..run.len().min(begin + LOG_DOTS);
                            let visible = |time: &u64| !(is_hidden && hidden.contains(*time));
                            let times = run.times()[range.clone()].iter().copied().filter(visible);
                            let (first, last, dots) = times
                                .fold((u64::MAX, 0, 0), |(first, last, dots), time| {
                                    (time.min(first), time.max(last), dots + 1)
                                });
                            if dots == 0 {
                                continue;
                            }
                            parts.push(Part {
                                first,
                                last,
                                numbers: dots,
                                stamps: if is_clock { dots } else { 0 },
                                is_plain: is_clock
                                    && !is_hidden
                                    && run.parts(range).all(|(_, shape)| !shape.is_text()),
                                order: (number, begin),
                                key: (number, begin),
                                chunk: None,
                            });
                        }
                    }
                }
            }
        }
        Ok(parts)
    }
}

/// The time before which all dots of some parts are that are earlier than `from`, after equal stamps are spread.
///
/// - `parts`: in the order of their last times, latest first
fn reach(parts: &[Part], from: u64) -> u64 {
    let mut reach = 0_u64;
    for part in parts.iter().rev().filter(|part| part.first < from && part.stamps > 0) {
        // All its dots may have its last stamp, and come behind all that earlier ones move.
        reach = reach.max(part.last.min(from - 1)).saturating_add(part.stamps);
    }
    reach
}

/// Counts the stamps at `from` of the parts that are not read, where that says how far they move all that are read;
/// `None` where it does not.
///
/// - `read`: the parts that are read
/// - `others`: all others, in the order of their last times, latest first
/// - `from`: the first time of the parts that are read
fn counted(
    sources: &[Source<'_>],
    name: &str,
    read: &[Part],
    others: &[Part],
    from: u64,
) -> Result<Option<LeftOut>, Error> {
    let behind = others.iter().position(|part| part.last < from).unwrap_or(others.len());
    let (at, earlier) = others.split_at(behind);
    let first_read = read.iter().filter(|part| part.stamps > 0 && part.first == from).map(|part| part.order);
    let first_read = first_read.min();
    let is_before = |part: &Part| {
        part.is_plain && part.last == from && first_read.is_none_or(|first_read| part.order < first_read)
    };
    let at: Vec<&Part> = at.iter().filter(|part| part.stamps > 0).collect();
    let begun = at.iter().filter(|part| part.first < from);
    if at.is_empty() || !at.iter().all(|part| is_before(part)) || begun.count() > COUNTED_MAX {
        return Ok(None);
    }
    let mut left_out = LeftOut::default();
    let (mut reach, mut stamps) = (reach(earlier, from), 0);
    for part in at {
        left_out.parts.push(part.key);
        if part.first == from {
            stamps += part.stamps;
            continue;
        }
        let Some(times) = times(&sources[part.key.0], name, part)? else { return Ok(None) };
        for time in times {
            if time == from {
                stamps += 1;
            } else {
                reach = reach.max(time).saturating_add(1);
            }
        }
    }
    left_out.least = from.saturating_add(stamps);
    Ok((reach <= from).then_some(left_out))
}

/// The times of a part, sorted; `None` where it is damaged.
fn times(source: &Source<'_>, name: &str, part: &Part) -> Result<Option<Vec<u64>>, Error> {
    let mut times = match (source, &part.chunk) {
        (Source::Segment(segment), Some(chunk)) => {
            let mut run = Column::default();
            match segment.read(chunk, &mut run) {
                Err(Error::Damaged { .. }) => return Ok(None),
                other => other?,
            }
            run.times().to_vec()
        }
        (Source::Head(head), _) => {
            let Some(series) = head.get(name) else { return Ok(None) };
            let times = series.run(true).times();
            times[part.key.1..times.len().min(part.key.1 + LOG_DOTS)].to_vec()
        }
        (Source::Segment(_), None) => return Ok(None),
    };
    times.sort_unstable();
    Ok(Some(times))
}

#[cfg(test)]
mod tests {
    use dotter_dot::{Cell, Dots, SeriesName, Shape};
    use proptest::prelude::*;

    use super::*;
    use crate::read::segment::CHUNKS_DECODED;
    use crate::{Deletion, Pattern, Reader, Transaction, Writer};

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
    fn of_many_equal_stamps_only_as_many_are_read_as_are_wanted() {
        let equal = vec![1_000_000_000; 100_000];
        // Not as many as fill chunks, before the equal ones and behind them.
        let before: Vec<u64> = (0..3_000).map(|n| 900_000_000 + n * 1000).collect();
        let after: Vec<u64> = (0..50).map(|n| 1_000_000_001 + n * 3).collect();
        let times = [before, equal.clone(), after].concat();
        for (times, live) in [(&equal, false), (&times, false), (&equal, true), (&times, true)] {
            let (first, rest) = times.split_at(if live { 10 } else { times.len() });
            let transactions: Vec<Vec<u64>> =
                [first, rest].into_iter().filter(|part| !part.is_empty()).map(|part| part.to_vec()).collect();
            let (_dir, snapshot) = snapshot(true, &transactions);
            let took = check(&snapshot, &[1, 100, 10_000, 99_000, 103_000]);
            // A chunk that is short, the one before it, and one whose last stamps are counted.
            assert!(took[0] <= 6 && took[1] <= 6 && took[2] <= 12, "{took:?}");
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// A transaction through the log: whether clock stamps, and where they begin, how far apart, how many.
        Log(bool, u64, u64, usize),
        Add(u64, u64, usize),
        Text(bool, u64),
        Seal,
        Delete(u64, u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let begin = || prop_oneof![0..20_u64, Just(7), Just(5000), 0..12_000_u64];
        let apart = || prop_oneof![3 => Just(0_u64), 2 => Just(1), 1 => Just(2), 1 => Just(1000)];
        let count = || prop_oneof![3 => 1..20_usize, 2 => 100..300_usize, 2 => 4000..9000_usize];
        prop_oneof![
            6 => (prop::bool::weighted(0.8), begin(), apart(), count())
                .prop_map(|(clock, begin, apart, count)| Step::Log(clock, begin, apart, count)),
            2 => (begin(), apart(), count()).prop_map(|(begin, apart, count)| Step::Add(begin, apart, count)),
            1 => (any::<bool>(), begin()).prop_map(|(clock, begin)| Step::Text(clock, begin)),
            3 => Just(Step::Seal),
            1 => (begin(), 0..3000_u64).prop_map(|(begin, width)| Step::Delete(begin, width)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn the_newest_are_the_end_of_all(steps in prop::collection::vec(step(), 1..12)) {
            let dir = tempfile::tempdir().unwrap();
            let name = SeriesName::new("x").unwrap();
            let text = Shape::from(dotter_dot::Format::new("s").unwrap());
            let mut writer = Writer::open(dir.path()).unwrap();
            let mut value = 0.0;
            for step in &steps {
                let mut dots = Dots::default();
                match step {
                    Step::Log(clock, begin, apart, count) => {
                        let key = writer.series(&name, &Shape::number());
                        for n in 0..*count as u64 {
                            value += 1.0;
                            dots.push_number(key, *clock, Timestamp::from_nanos(begin + n * apart), value);
                        }
                    }
                    Step::Text(clock, begin) => {
                        let key = writer.series(&name, &text);
                        let mut row = Vec::new();
                        dotter_dot::put_row([dotter_dot::Value::Text("text")], &mut row);
                        dots.push(key, *clock, Timestamp::from_nanos(*begin), Cell::Row(&row));
                    }
                    Step::Add(begin, apart, count) => {
                        let row = |n| {
                            (name.clone(), Timestamp::from_nanos(begin + n * apart), -(n as f64))
                        };
                        crate::add(dir.path(), (0..*count as u64).map(row).collect::<Vec<_>>()).unwrap();
                    }
                    Step::Seal => {
                        drop(writer);
                        writer = Writer::open(dir.path()).unwrap();
                        crate::seal_all(dir.path(), &|| false).unwrap();
                    }
                    Step::Delete(begin, width) => {
                        let from = Timestamp::from_nanos(*begin);
                        let range = TimeRange::new(from, Timestamp::from_nanos(begin + width));
                        let pattern = Pattern::new("x");
                        let deletion = Deletion { pattern, first_key: None, last_key: None, range };
                        crate::delete(dir.path(), &deletion).unwrap();
                    }
                }
                if !dots.is_empty() {
                    writer.append(&Transaction { ring: None, lanes: &[], dots: &dots }).unwrap();
                    writer.sync().unwrap();
                }
            }
            let snapshot = Reader::open(dir.path()).unwrap().snapshot();
            check(&snapshot, &[0, 1, 2, 17, 150, 300, 4095, 4097, 8200, 12_345, 100_000]);
        }
    }

    #[test]
    fn dots_that_replace_others_are_counted_once() {
        let (_dir, snapshot) = snapshot(false, &[every(1), every(1), every(1)[..399_000].to_vec()]);
        let took = check(&snapshot, &[1, 1500, 10_000]);
        assert!(took[0] <= 8, "{took:?}");
    }
}
