//! From ticks to times, between the pairs of both clocks that blocks carry.
//!
//! Always true: where two pairs of the file enclose a tick, every reader makes the same time of it, for ever.

use crate::clock::{ClockKind, Pair};
use crate::layout::{BLOCK_BYTES, BLOCK_HEAD_WORDS, BLOCK_REALTIME, BLOCK_TICKS};
use crate::newest::is_block_head;
use crate::protocol::{Block, Lane};
use crate::reader::RingReader;

/// Makes times of ticks, for all blocks that carry the pair `from`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conversion {
    from: Pair,
    /// Nanoseconds in a tick, times 2^48.
    scale: i64,
    /// Between two pairs of the file: the same for every reader, and for ever.
    pub(crate) settled: bool,
}

impl Conversion {
    pub(crate) fn is_of(&self, words: &[u64]) -> bool {
        self.from == pair(words)
    }

    #[inline(always)]
    pub(crate) fn nanos(&self, ticks: u64) -> u64 {
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
pub(crate) fn block_head(
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
pub(crate) struct ReadersClock<'a> {
    ring: &'a RingReader,
    lane: Lane<'a, Block>,
    head: u64,
    /// The last one found.
    found: Option<Conversion>,
}

impl<'a> ReadersClock<'a> {
    /// For a pass over `lane` up to `head`, which was loaded before any clock is looked at.
    pub(crate) fn new(ring: &'a RingReader, lane: Lane<'a, Block>, head: u64) -> ReadersClock<'a> {
        ReadersClock { ring, lane, head, found: None }
    }

    /// For the block at `start` with these first words.
    pub(crate) fn conversion(&mut self, words: &[u64], start: u64) -> Conversion {
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
