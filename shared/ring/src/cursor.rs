//! Where one reader stands in one lane, and what it makes of the bytes there.
//!
//! Always true: record numbers only go up; every number between two calls is a dot given out or part of
//! exactly one [`Loss`]; a call ends, whatever the file holds, after at most a lane's worth of blocks.

use dotter_dot::{Reason, TimeRange, Timestamp};

use crate::conversion::{Conversion, ReadersClock, block_head};
use crate::drained::{Drained, Loss, RingDot};
use crate::layout::{
    BLOCK_BASE_REALTIME, BLOCK_BASE_TICKS, BLOCK_BYTES, BLOCK_FIRST_RECORD, BLOCK_HEAD_WORDS, BLOCK_REALTIME,
    BLOCK_WORDS,
};
use crate::newest::{committed, is_block_head, next_record};
use crate::protocol::Torn;
use crate::reader::RingReader;
use crate::record::{self, Kind, Record, When};

/// Two readings of the same two clocks agree to better than this.
const JITTER_NANOS_MAX: u64 = 1000;

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
        if lane >= ring.lanes_max() || !ring.is_intact() || ring.gone(lane).is_some() {
            return cursor;
        }
        let (words, incarnation) = (ring.lane(lane), ring.incarnation_word());
        let Some(head) = committed(&words) else { return cursor };
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
        if let Some(gone) = ring.gone(self.lane) {
            self.gap = Some(Reason::QUOTA);
            self.lose_until(gone.next, Some(gone.last).filter(|last| *last > 0), out);
        } else if self.lane < ring.lanes_max() && ring.is_intact() {
            self.drain_lane(ring, records_max, out);
        }
        out.next = self.expected;
        (self.expected - start) as usize
    }

    fn drain_lane(&mut self, ring: &RingReader, records_max: usize, out: &mut Drained) {
        let over = ring.is_over();
        let (lane, incarnation) = (ring.lane(self.lane), ring.incarnation_word());
        let Some(head) = committed(&lane) else { return };
        let dots_max = out.dots.len().saturating_add(records_max);
        let mut clock = ReadersClock::new(ring, lane, head);
        let mut words = [0; BLOCK_WORDS];
        while self.position < head && out.dots.len() < dots_max {
            let block = self.position & !(BLOCK_BYTES - 1);
            let until = head.min(block + BLOCK_BYTES);
            let copied = lane.copy(block, self.position, until, head, &mut words);
            if ring.was_cut() {
                // Some of these words may be the zeros of a page that is gone.
                return;
            }
            match copied {
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
            let next = next_record(&lane, incarnation);
            if !ring.was_cut() {
                self.lose_until(next, None, out);
            }
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
            // Nearly all there is: one granule, nothing to keep beside it.
            if let Some((series, when, word)) = record::plain(words, index) {
                index += 2;
                if number >= self.expected {
                    let (clock, nanos) = self.time(when, conversion, base_ticks, base_nanos);
                    let (time, value) = (Timestamp::from_nanos(nanos), f64::from_bits(word));
                    out.dots.push(RingDot { series, clock, kind: Kind::F64, time, value, word });
                }
                number += 1;
                continue;
            }
            let (series, kind, when, body) = match Record::decode(words, index, end) {
                Record::Some { series, kind, when, body, next } => {
                    index = next;
                    (series, kind, when, body)
                }
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
            // Below: a reader that resumed in the middle of a block, and already has these.
            if number >= self.expected {
                let (clock, nanos) = self.time(when, conversion, base_ticks, base_nanos);
                let word = out.keep(words, body);
                let (time, value) = (Timestamp::from_nanos(nanos), kind.number(word));
                out.dots.push(RingDot { series, clock, kind, time, value, word });
            }
            number += 1;
        }
        self.expected = self.expected.max(number);
        self.position = block + index as u64 * 8;
        self.number = self.gap.is_none().then_some(number);
    }

    /// Whether the clock stamped a record of a block with these bases, and its nanoseconds.
    #[inline(always)]
    fn time(&mut self, when: When, conversion: Conversion, base_ticks: u64, base_nanos: u64) -> (bool, u64) {
        match when {
            When::Ticks(delta) => {
                let nanos = conversion.nanos(base_ticks.wrapping_add_signed(delta));
                // Two passes over an open block look at the clocks twice: what lies between them must
                // not go back for that. Going back further is the wall clock's own doing.
                let jitter = self.stamped.wrapping_sub(nanos) <= JITTER_NANOS_MAX;
                self.stamped = if jitter { self.stamped } else { nanos };
                (true, self.stamped)
            }
            When::Nanos(delta) => (false, base_nanos.wrapping_add_signed(delta)),
            When::Absolute(nanos) => (false, nanos),
        }
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
