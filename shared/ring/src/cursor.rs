//! Where one reader stands in one lane, and what it makes of the bytes there.
//!
//! Always true: record numbers only go up; every number between two calls is a dot given out or part of
//! exactly one [`Loss`]; a call ends, whatever the file holds, after at most a lane's worth of blocks.

use dotter_dot::{Reason, TimeRange, Timestamp};

use crate::clock::{ClockKind, Pair};
use crate::layout::{
    BLOCK_BASE_REALTIME, BLOCK_BASE_TICKS, BLOCK_BYTES, BLOCK_FIRST_RECORD, BLOCK_HEAD_WORDS, BLOCK_REALTIME,
    BLOCK_TICKS, BLOCK_WORDS,
};
use crate::protocol::{Block, Lane, Torn};
use crate::reader::{RingReader, committed, is_block_head, next_record};
use crate::record::Record;

/// Two readings of the same two clocks agree to better than this.
const JITTER_NANOS_MAX: u64 = 1000;

/// A dot as a ring gives it out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RingDot {
    /// Its series, by number: see [`RingReader::series`].
    pub series: u32,
    /// Whether the clock stamped it, and not the application.
    pub clock: bool,
    /// When.
    pub time: Timestamp,
    /// How much.
    pub value: f64,
}

/// Records that are gone: `first <= number < next`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The first number that is missing.
    pub first: u64,
    /// The first number that is not.
    pub next: u64,
    /// Why.
    pub reason: Reason,
    /// When they were published, as far as the blocks around them tell.
    pub times: Option<TimeRange>,
}

/// What [`LaneCursor::drain`] appends to: dots and losses in record order, together `first <= number < next`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drained {
    /// The dots.
    pub dots: Vec<RingDot>,
    /// The gaps between them, and at either end.
    pub losses: Vec<Loss>,
    /// The first number in here.
    pub first: u64,
    /// The first number that is not.
    pub next: u64,
}

impl Drained {
    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        self.dots.clear();
        self.losses.clear();
        (self.first, self.next) = (0, 0);
    }

    /// Whether nothing is in here.
    pub fn is_empty(&self) -> bool {
        self.dots.is_empty() && self.losses.is_empty()
    }
}

/// Where one reader stands in one lane.
#[derive(Clone, Debug)]
pub struct LaneCursor {
    lane: u32,
    /// The next record number wanted.
    expected: u64,
    /// Where the next record begins, in bytes since the lane was made.
    position: u64,
    /// Its number; `None` at the start of a block whose head must say it, because something is missing before.
    number: Option<u64>,
    /// Why numbers are missing, from `expected` to the number of the next record found.
    gap: Option<Reason>,
    /// Wall-clock nanoseconds of the newest block read.
    seen: Option<u64>,
    /// The last time made of ticks.
    stamped: u64,
    /// Between two pairs of the file, for all blocks that carry the first.
    conversion: Option<Conversion>,
}

impl LaneCursor {
    /// At the lane's beginning.
    pub fn start(lane: u32) -> LaneCursor {
        LaneCursor {
            lane,
            expected: 0,
            position: 0,
            number: None,
            gap: None,
            seen: None,
            stamped: 0,
            conversion: None,
        }
    }

    /// At the record numbered `watermark`.
    ///
    /// Where that one is overwritten, the next call of [`LaneCursor::drain`] says how many are missing; where
    /// the lane ends below it, nothing comes before the lane has grown to there.
    pub fn resume(ring: &RingReader, lane: u32, watermark: u64) -> LaneCursor {
        let mut cursor = LaneCursor { expected: watermark, ..LaneCursor::start(lane) };
        if lane >= ring.lanes_max() || !ring.is_intact() {
            return cursor;
        }
        let (words, incarnation) = (ring.lane(lane), ring.incarnation_word());
        let Some(head) = committed(words) else { return cursor };
        if head == 0 {
            return cursor;
        }
        // Backwards from the newest block: a watermark is rarely far behind.
        let newest = (head - 1) / BLOCK_BYTES * BLOCK_BYTES;
        let oldest = newest.saturating_sub(words.capacity() - BLOCK_BYTES);
        cursor.position = newest;
        loop {
            let found = block_head(words, cursor.position, head, incarnation);
            let found = found.is_some_and(|block| block[BLOCK_FIRST_RECORD] <= watermark);
            if found || cursor.position <= oldest {
                break;
            }
            cursor.position -= BLOCK_BYTES;
        }
        if cursor.position > 0 {
            cursor.gap = Some(Reason::LAPPED);
        }
        cursor
    }

    /// The lane's number.
    pub fn lane(&self) -> u32 {
        self.lane
    }

    /// The next record number wanted.
    pub fn expected(&self) -> u64 {
        self.expected
    }

    /// Appends up to `records_max` dots to `out`, and the losses between them; stops at the lane's head.
    ///
    /// Returns how many numbers that took, dots and lost ones together; zero where there is nothing new, or
    /// where the file was cut short.
    ///
    /// A damaged place costs the rest of its block. How many that were, the next block says; where there is
    /// none because the ring is over, each 16 bytes count as one.
    pub fn drain(&mut self, ring: &mut RingReader, records_max: usize, out: &mut Drained) -> usize {
        let start = self.expected;
        if out.is_empty() {
            out.first = start;
        }
        if self.lane < ring.lanes_max() && ring.is_intact() {
            self.drain_lane(ring, records_max, out);
        }
        out.next = self.expected;
        (self.expected - start) as usize
    }

    fn drain_lane(&mut self, ring: &RingReader, records_max: usize, out: &mut Drained) {
        let over = ring.is_over();
        let (lane, incarnation) = (ring.lane(self.lane), ring.incarnation_word());
        let Some(head) = committed(lane) else { return };
        let dots_max = out.dots.len().saturating_add(records_max);
        let mut clock = ReadersClock { ring, lane, head, found: None };
        let mut words = [0; BLOCK_WORDS];
        while self.position < head && out.dots.len() < dots_max {
            let block = self.position & !(BLOCK_BYTES - 1);
            let until = head.min(block + BLOCK_BYTES);
            match lane.copy(block, self.position, until, head, &mut words) {
                Ok(()) if is_block_head(&words, block, incarnation) && self.follows(&words, block) => {}
                Ok(()) => {
                    self.skip_to(block + BLOCK_BYTES, Reason::DAMAGE);
                    continue;
                }
                Err(Torn::Lapped(claim)) => {
                    self.skip_to(lane.after_lap(claim), Reason::LAPPED);
                    continue;
                }
                Err(Torn::Nonsense) => return,
            }
            let conversion = match self.conversion {
                Some(conversion) if conversion.is_of(&words) => conversion,
                _ => clock.conversion(&words, block),
            };
            self.conversion = conversion.settled.then_some(conversion);
            let end = ((until - block) / 8) as usize;
            self.take_block(&words, block, end, dots_max, conversion, out);
        }
        if over && self.gap.is_some() && self.position >= head {
            self.lose_until(next_record(lane, incarnation), None, out);
        }
    }

    /// Whether the block at `block` counts on from where the cursor stands.
    fn follows(&self, words: &[u64], block: u64) -> bool {
        self.position > block || self.number.is_none_or(|number| number == words[BLOCK_FIRST_RECORD])
    }

    /// Goes on at a block's start; the numbers up to there are missing for `reason`.
    fn skip_to(&mut self, position: u64, reason: Reason) {
        debug_assert!(position > self.position, "progress is strict");
        (self.position, self.number) = (position, None);
        self.gap.get_or_insert(reason);
    }

    /// Gives out the records of a copied block, from where the cursor stands to word `end`.
    fn take_block(
        &mut self,
        words: &[u64; BLOCK_WORDS],
        block: u64,
        end: usize,
        dots_max: usize,
        conversion: Conversion,
        out: &mut Drained,
    ) {
        let mut index = (((self.position - block) / 8) as usize).max(BLOCK_HEAD_WORDS);
        let mut number = self.number.unwrap_or(words[BLOCK_FIRST_RECORD]);
        if number > self.expected {
            self.lose_until(number, Some(words[BLOCK_REALTIME]), out);
        }
        self.gap = None;
        self.seen = Some(words[BLOCK_REALTIME]);

        let (base_ticks, base_nanos) = (words[BLOCK_BASE_TICKS], words[BLOCK_BASE_REALTIME]);
        // Whole granules: the writer moves on by no less.
        out.dots.reserve(((end - index) / 2).min(dots_max - out.dots.len()));
        while index < end && out.dots.len() < dots_max {
            let record = Record::decode(words, index, end);
            let (series, clock, nanos, value) = match record {
                Record::Ticks { series, delta, value } => {
                    let nanos = conversion.nanos(base_ticks.wrapping_add_signed(delta));
                    // Two passes over an open block look at the clocks twice: what lies between them must
                    // not go back for that. Going back further is the wall clock's own doing.
                    let jitter = self.stamped.wrapping_sub(nanos) <= JITTER_NANOS_MAX;
                    self.stamped = if jitter { self.stamped } else { nanos };
                    (series, true, self.stamped, value)
                }
                Record::Nanos { series, delta, value } => {
                    (series, false, base_nanos.wrapping_add_signed(delta), value)
                }
                Record::Absolute { series, nanos, value } => (series, false, nanos, value),
                Record::End => {
                    index = BLOCK_WORDS;
                    break;
                }
                Record::Unknown => {
                    self.gap = Some(Reason::DAMAGE);
                    index = BLOCK_WORDS;
                    break;
                }
            };
            index += record.words();
            // Below: a reader that resumed in the middle of a block, and already has these.
            if number >= self.expected {
                out.dots.push(RingDot { series, clock, time: Timestamp::from_nanos(nanos), value });
            }
            number += 1;
        }
        self.expected = self.expected.max(number);
        self.position = block + index as u64 * 8;
        self.number = self.gap.is_none().then_some(number);
    }

    /// Counts the numbers below `next` as lost; `until` is the wall clock at the block that follows them.
    fn lose_until(&mut self, next: u64, until: Option<u64>, out: &mut Drained) {
        let reason = self.gap.take().unwrap_or(Reason::DAMAGE);
        if next <= self.expected {
            return;
        }
        let times = self.seen.or(until).zip(until.or(self.seen)).map(|(from, until)| {
            let until = until.max(from).saturating_add(1);
            TimeRange::new(Timestamp::from_nanos(from), Timestamp::from_nanos(until))
        });
        out.losses.push(Loss { first: self.expected, next, reason, times });
        self.expected = next;
    }
}

/// Makes times of ticks, for all blocks that carry the pair `from`.
#[derive(Clone, Copy, Debug)]
struct Conversion {
    from: Pair,
    /// Nanoseconds in a tick, times 2^48.
    scale: i64,
    /// Between two pairs of the file: the same for every reader, and for ever.
    settled: bool,
}

impl Conversion {
    fn is_of(&self, words: &[u64]) -> bool {
        self.from == pair(words)
    }

    #[inline(always)]
    fn nanos(&self, ticks: u64) -> u64 {
        let since = ticks.wrapping_sub(self.from.ticks) as i64;
        // To the nearest nanosecond.
        let nanos = (since as i128 * self.scale as i128 + (1 << 47)) >> 48;
        self.from.nanos.wrapping_add(nanos as u64)
    }

    /// From one pair, at the rate the header names.
    fn at_rate(from: Pair, hz: u64) -> Conversion {
        let scale = (1_000_000_000_u128 << 48).div_ceil(hz.max(1) as u128);
        Conversion { from, scale: i64::try_from(scale).unwrap_or(i64::MAX), settled: false }
    }

    /// Between two pairs, unless the wall clock was set between them: more than a millisecond and a
    /// thousandth of the time away from what the rate says.
    fn between(from: Pair, to: Pair, hz: u64) -> Conversion {
        let plain = Conversion::at_rate(from, hz);
        let ticks = to.ticks.wrapping_sub(from.ticks);
        if ticks == 0 || ticks > i64::MAX as u64 {
            return plain;
        }
        let nanos = to.nanos as i128 - from.nanos as i128;
        let expected = (ticks as i128 * plain.scale as i128) >> 48;
        let scale = (nanos << 48) / ticks as i128;
        let (least, most) = (plain.scale as i128 / 2, plain.scale as i128 * 2);
        let step = (nanos - expected).abs() > 1_000_000 + expected / 1000;
        match i64::try_from(scale) {
            Ok(scale) if !step && (least..=most).contains(&(scale as i128)) => Conversion { scale, ..plain },
            _ => plain,
        }
    }
}

fn pair(words: &[u64]) -> Pair {
    Pair { nanos: words[BLOCK_REALTIME], ticks: words[BLOCK_TICKS] }
}

/// The words of a block's head, where they are whole and make sense.
fn block_head(
    lane: Lane<'_, Block>,
    start: u64,
    head: u64,
    incarnation: u64,
) -> Option<[u64; BLOCK_HEAD_WORDS]> {
    let mut words = [0; BLOCK_HEAD_WORDS];
    lane.copy(start, start, start, head, &mut words).ok()?;
    is_block_head(&words, start, incarnation).then_some(words)
}

/// Finds conversions during one pass over a lane.
struct ReadersClock<'a> {
    ring: &'a RingReader,
    lane: Lane<'a, Block>,
    head: u64,
    /// The last one found.
    found: Option<Conversion>,
}

impl ReadersClock<'_> {
    /// For the block at `start` with these first words.
    fn conversion(&mut self, words: &[u64], start: u64) -> Conversion {
        match self.found {
            Some(found) if found.is_of(words) => found,
            _ => *self.found.insert(self.find(pair(words), start)),
        }
    }

    /// Up to the next pair in the file; the newest blocks have none behind them, for these the reader looks
    /// at the clocks itself. Its look comes after all their ticks, which lie below the head loaded before.
    fn find(&self, from: Pair, start: u64) -> Conversion {
        let (ring, hz) = (self.ring, self.ring.tick_hz());
        if ring.clock() == ClockKind::Realtime {
            let scale = 1 << 48;
            return Conversion { from: Pair { nanos: from.ticks, ticks: from.ticks }, scale, settled: false };
        }
        let mut next = start + BLOCK_BYTES;
        while next < self.head {
            let words = block_head(self.lane, next, self.head, ring.incarnation_word());
            if let Some(to) = words.map(|words| pair(&words)).filter(|to| *to != from) {
                return Conversion { settled: true, ..Conversion::between(from, to, hz) };
            }
            next += BLOCK_BYTES;
        }
        match ring.own_pair() {
            Some(own) => Conversion::between(from, own, hz),
            None => Conversion::at_rate(from, hz),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HZ: u64 = 2_500_000_000;

    #[test]
    fn ticks_between_two_pairs_become_times_between_theirs() {
        let from = Pair { nanos: 1_700_000_000_000_000_000, ticks: 5_000_000_000 };
        // 20 ms by the wall clock, a little slower than the rate says.
        let to = Pair { nanos: from.nanos + 20_000_000, ticks: from.ticks + 50_000_500 };
        let conversion = Conversion::between(from, to, HZ);
        assert_eq!(conversion.nanos(from.ticks), from.nanos);
        assert!(conversion.nanos(to.ticks).abs_diff(to.nanos) <= 1);
        assert!(conversion.nanos(from.ticks + 25_000_250).abs_diff(from.nanos + 10_000_000) <= 1);
        assert!(conversion.nanos(from.ticks - 25).abs_diff(from.nanos - 10) <= 1);
    }

    #[test]
    fn a_wall_clock_that_was_set_does_not_stretch_the_time_before() {
        let from = Pair { nanos: 1_700_000_000_000_000_000, ticks: 5_000_000_000 };
        let check = |nanos: u64, ticks: u64| {
            let conversion = Conversion::between(from, Pair { nanos, ticks }, HZ);
            let second = conversion.nanos(from.ticks + HZ) - from.nanos;
            assert!(second.abs_diff(1_000_000_000) <= 1, "{second}");
        };
        check(from.nanos + 3_600_000_000_000, from.ticks + 50_000_000);
        check(from.nanos - 3_600_000_000_000, from.ticks + 50_000_000);
        check(from.nanos + 20_000_000, from.ticks);
        check(from.nanos + 20_000_000, from.ticks - 1);
        check(0, u64::MAX);
        check(u64::MAX, from.ticks + 1);
    }
}
