//! The writing end of a lane: dots become records, a full block is followed by the next.
//!
//! Always true: one [`LaneWriter`] per lane, in the process that made the ring; a forked child's copy
//! writes nothing.

use std::sync::Arc;

use crate::clock::{Clock, Pair};
use crate::fork;
use crate::layout::{
    BLOCK_BASE_REALTIME, BLOCK_BASE_TICKS, BLOCK_BYTES, BLOCK_FIRST_RECORD, BLOCK_HEAD_WORDS,
    BLOCK_INCARNATION, BLOCK_NUMBER, BLOCK_REALTIME, BLOCK_TICKS, CONTROL_OVERSIZE, GRANULE_BYTES, word,
};
use crate::life::Life;
use crate::map::Span;
use crate::protocol::{Block, Position, Writer};
use crate::record::{
    self, ABSOLUTE, COLUMNS_MAX, END_MARK, FLAG_ABSOLUTE, FLAG_NANOS, NANOS, Number, ROW, TEXT,
    TEXT_BYTES_MAX, TICKS, long_words,
};
use crate::sync::{AtomicU64, Relaxed};

/// A (ticks, realtime) pair is taken anew at a block's start where the last one is this much older: 1/50 s.
const PAIRS_PER_SECOND: u64 = 50;

/// The ring is not this process's to write to, or its file has lost its name: a new one is due.
///
/// The dot was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved;

/// The one writer of a lane.
pub struct LaneWriter {
    writer: Writer<Span, Block>,
    base_ticks: u64,
    base_nanos: u64,
    /// Added to the granules below the head: how many records that are. Changes only where a record takes more
    /// than one granule, so that a number costs no count of its own.
    uneven: u64,
    generation: u32,
    lane: u32,
    clock: Clock,
    pair: Option<Pair>,
    incarnation: u64,
    life: Arc<Life>,
}

/// A lane between two threads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resting {
    pub(crate) lane: u32,
    at: Position,
    /// Of the block it stands in: the next writer goes on in it.
    base_ticks: u64,
    base_nanos: u64,
    pair: Option<Pair>,
    records: u64,
}

impl Resting {
    /// A lane nobody has written to.
    pub(crate) fn fresh(lane: u32) -> Resting {
        // Without room in a block, so that the first record begins one and sets the base.
        Resting { lane, at: Position::default(), base_ticks: 0, base_nanos: 0, pair: None, records: 0 }
    }
}

impl LaneWriter {
    /// Goes on where `resting` stopped; `control` and `data` are the words of that lane.
    pub(crate) fn new(
        resting: Resting,
        control: Span,
        data: Span,
        clock: Clock,
        incarnation: u64,
        life: &Arc<Life>,
    ) -> LaneWriter {
        LaneWriter {
            writer: Writer::new(control, data, resting.at),
            base_ticks: resting.base_ticks,
            base_nanos: resting.base_nanos,
            uneven: resting.records.wrapping_sub(granules(resting.at.head)),
            generation: life.generation(),
            lane: resting.lane,
            clock,
            pair: resting.pair,
            incarnation,
            life: Arc::clone(life),
        }
    }

    /// Where it stops, for the next thread.
    pub(crate) fn rest(&self) -> Resting {
        Resting {
            lane: self.lane,
            at: self.writer.position(),
            base_ticks: self.base_ticks,
            base_nanos: self.base_nanos,
            pair: self.pair,
            records: self.records(),
        }
    }

    /// Publishes a number, stamped by the clock.
    ///
    /// `series`: a number the ring's registry gave, below 2^20, to a series of `N`.
    ///
    /// # Errors
    ///
    /// [`Moved`] in a forked child, and once somebody has removed the file.
    #[inline]
    pub fn dot<N: Number>(&mut self, series: u32, value: N) -> Result<(), Moved> {
        let ticks = self.clock.ticks();
        let delta = ticks.wrapping_sub(self.base_ticks) as i64;
        if self.may_put(GRANULE_BYTES, delta) {
            self.put(series, TICKS, delta, value);
            return Ok(());
        }
        self.dot_in_new_block(series, ticks, value)
    }

    /// Publishes a number at a time the application gives, in nanoseconds since the epoch.
    ///
    /// # Errors
    ///
    /// As [`LaneWriter::dot`].
    #[inline]
    pub fn dot_at<N: Number>(&mut self, series: u32, nanos: u64, value: N) -> Result<(), Moved> {
        let delta = nanos.wrapping_sub(self.base_nanos) as i64;
        if self.may_put(GRANULE_BYTES, delta) {
            self.put(series, NANOS, delta, value);
            return Ok(());
        }
        self.dot_at_elsewhere(series, nanos, value)
    }

    /// Publishes a text, stamped by the clock. One longer than [`TEXT_BYTES_MAX`] is counted as refused.
    ///
    /// # Errors
    ///
    /// As [`LaneWriter::dot`].
    #[inline]
    pub fn text(&mut self, series: u32, text: &str) -> Result<(), Moved> {
        self.put_bytes(series, None, text.as_bytes())
    }

    /// The same at a time the application gives, in nanoseconds since the epoch.
    ///
    /// # Errors
    ///
    /// As [`LaneWriter::dot`].
    #[inline]
    pub fn text_at(&mut self, series: u32, nanos: u64, text: &str) -> Result<(), Moved> {
        self.put_bytes(series, Some(nanos), text.as_bytes())
    }

    /// Publishes raw bytes, stamped by the clock: a record as that of a text, for a series of
    /// [`Shape::bytes`](crate::Shape::bytes).
    ///
    /// # Errors
    ///
    /// As [`LaneWriter::dot`].
    #[inline]
    pub fn bytes(&mut self, series: u32, bytes: &[u8]) -> Result<(), Moved> {
        self.put_bytes(series, None, bytes)
    }

    /// The same at a time the application gives, in nanoseconds since the epoch.
    ///
    /// # Errors
    ///
    /// As [`LaneWriter::dot`].
    #[inline]
    pub fn bytes_at(&mut self, series: u32, nanos: u64, bytes: &[u8]) -> Result<(), Moved> {
        self.put_bytes(series, Some(nanos), bytes)
    }

    /// Publishes a row, stamped by the clock: a word per column, see [`crate::Cell::to_word`]. One of no
    /// columns, or more than [`COLUMNS_MAX`], is counted as refused.
    ///
    /// # Errors
    ///
    /// As [`LaneWriter::dot`].
    #[inline]
    pub fn row(&mut self, series: u32, cells: &[u64]) -> Result<(), Moved> {
        self.put_row(series, None, cells)
    }

    /// The same at a time the application gives, in nanoseconds since the epoch.
    ///
    /// # Errors
    ///
    /// As [`LaneWriter::dot`].
    #[inline]
    pub fn row_at(&mut self, series: u32, nanos: u64, cells: &[u64]) -> Result<(), Moved> {
        self.put_row(series, Some(nanos), cells)
    }

    /// Whether a record of so many bytes with this delta fits into the block, and the block is ours.
    #[inline(always)]
    fn may_put(&self, bytes: u64, delta: i64) -> bool {
        self.writer.room() >= bytes && record::fits(delta) && self.generation == fork::generation()
    }

    #[inline(always)]
    fn put<N: Number>(&mut self, series: u32, stamp: u64, delta: i64, value: N) {
        // One granule, one record: see `uneven`.
        self.writer.put([record::head(series, N::KIND as u64 + stamp, delta), value.to_word()]);
    }

    #[cold]
    #[inline(never)]
    fn dot_in_new_block<N: Number>(&mut self, series: u32, ticks: u64, value: N) -> Result<(), Moved> {
        self.open_block(Some(ticks), None)?;
        self.put(series, TICKS, 0, value);
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn dot_at_elsewhere<N: Number>(&mut self, series: u32, nanos: u64, value: N) -> Result<(), Moved> {
        if self.generation != fork::generation() {
            return Err(Moved);
        }
        // A time far from the block's base takes its whole self along and never a new block: times that
        // go back and forth would burn one for each dot.
        if self.writer.room() >= 2 * GRANULE_BYTES {
            let head = record::head(series, ABSOLUTE, 0);
            self.writer.put([head, nanos, value.to_word(), N::KIND as u64]);
            self.is_one_record(4);
            return Ok(());
        }
        self.open_block(None, Some(nanos))?;
        self.put(series, NANOS, 0, value);
        Ok(())
    }

    #[inline(always)]
    fn put_bytes(&mut self, series: u32, nanos: Option<u64>, bytes: &[u8]) -> Result<(), Moved> {
        if bytes.len() > TEXT_BYTES_MAX {
            return self.refuse_too_big();
        }
        self.put_long(series, TEXT, nanos, bytes.len(), bytes.len(), |cells| {
            let (whole, rest) = bytes.as_chunks::<8>();
            let mut cells = cells.iter();
            for (word, cell) in whole.iter().zip(&mut cells) {
                cell.store(u64::from_le_bytes(*word), Relaxed);
            }
            let mut last = last_word(bytes, rest.len());
            // To the granule's end: the bytes of the lap before are of no use to anybody.
            for cell in cells {
                cell.store(std::mem::take(&mut last), Relaxed);
            }
        })
    }

    #[inline(always)]
    fn put_row(&mut self, series: u32, nanos: Option<u64>, cells: &[u64]) -> Result<(), Moved> {
        if cells.is_empty() || cells.len() > COLUMNS_MAX {
            return self.refuse_too_big();
        }
        self.put_long(series, ROW, nanos, cells.len(), cells.len() * 8, |places| {
            let mut places = places.iter();
            for (word, place) in cells.iter().zip(&mut places) {
                place.store(*word, Relaxed);
            }
            for place in places {
                place.store(0, Relaxed);
            }
        })
    }

    /// Puts a text or a row: `count` says its length in the record, `fill` stores its `bytes`, padded.
    #[inline(always)]
    fn put_long(
        &mut self,
        series: u32,
        kind: u64,
        nanos: Option<u64>,
        count: usize,
        bytes: usize,
        fill: impl FnOnce(&[AtomicU64]),
    ) -> Result<(), Moved> {
        let (stamp, base, flags) = match nanos {
            None => (self.clock.ticks(), self.base_ticks, 0),
            Some(nanos) => (nanos, self.base_nanos, FLAG_NANOS),
        };
        let words = long_words(2, bytes);
        let mut delta = stamp.wrapping_sub(base) as i64;
        if !self.may_put(words as u64 * 8, delta) {
            match self.make_room(words, nanos.is_none(), stamp, delta) {
                Ok(true) => delta = 0,
                // The place is too far from the block's base: it takes its whole time along.
                Ok(false) => {
                    let (second, words) = (count as u64 | FLAG_ABSOLUTE, long_words(3, bytes));
                    self.writer.put_by(words, |cells| {
                        cells[0].store(record::head(series, kind, 0), Relaxed);
                        cells[1].store(second, Relaxed);
                        cells[2].store(stamp, Relaxed);
                        fill(&cells[3..]);
                    });
                    self.is_one_record(words);
                    return Ok(());
                }
                Err(moved) => return Err(moved),
            }
        }
        let second = count as u64 | flags;
        self.writer.put_by(words, |cells| {
            cells[0].store(record::head(series, kind, delta), Relaxed);
            cells[1].store(second, Relaxed);
            fill(&cells[2..]);
        });
        self.is_one_record(words);
        Ok(())
    }

    /// Counts the words just put as one record.
    #[inline(always)]
    fn is_one_record(&mut self, words: usize) {
        self.uneven = self.uneven.wrapping_sub(granules(words as u64 * 8) - 1);
    }

    /// Opens a block that begins at `stamp`, unless a given time with its whole self fits into this one:
    /// says whether it did.
    #[cold]
    #[inline(never)]
    fn make_room(&mut self, words: usize, clock: bool, stamp: u64, delta: i64) -> Result<bool, Moved> {
        // A word more than with a delta, at the worst a granule.
        let bytes = words as u64 * 8 + GRANULE_BYTES;
        let ours = self.generation == fork::generation();
        if ours && !clock && !record::fits(delta) && self.writer.room() >= bytes {
            return Ok(false);
        }
        self.open_block(clock.then_some(stamp), (!clock).then_some(stamp))?;
        Ok(true)
    }

    /// Opens the next block; the bases are those of its first dot where that has them.
    fn open_block(&mut self, ticks: Option<u64>, nanos: Option<u64>) -> Result<(), Moved> {
        if self.generation != fork::generation() {
            return Err(Moved);
        }
        let ticks = ticks.unwrap_or_else(|| self.clock.ticks());
        let pair = match self.pair {
            Some(pair) if ticks.abs_diff(pair.ticks) <= self.clock.hz_hint() / PAIRS_PER_SECOND => pair,
            _ => {
                if self.life.is_unlinked() {
                    return Err(Moved);
                }
                self.clock.pair()
            }
        };
        self.pair = Some(pair);
        let records = self.records();
        (self.base_ticks, self.base_nanos) = (ticks, nanos.unwrap_or(pair.nanos));
        let mut head = [0; BLOCK_HEAD_WORDS];
        head[BLOCK_NUMBER] = self.writer.position().block_end / BLOCK_BYTES;
        head[BLOCK_FIRST_RECORD] = records;
        head[BLOCK_REALTIME] = pair.nanos;
        head[BLOCK_TICKS] = pair.ticks;
        head[BLOCK_BASE_TICKS] = self.base_ticks;
        head[BLOCK_BASE_REALTIME] = self.base_nanos;
        head[BLOCK_INCARNATION] = self.incarnation;
        self.writer.open_block(END_MARK, &head);
        // What was left of the old block, and the new one's head, are no records.
        self.uneven = records.wrapping_sub(granules(self.writer.position().head));
        Ok(())
    }

    /// Counts a dot that no lane can take, in the ring that is read: not in a parent's, nor in a file without a
    /// name.
    #[cold]
    fn refuse_too_big(&self) -> Result<(), Moved> {
        if self.generation != fork::generation() || self.life.is_unlinked() {
            return Err(Moved);
        }
        // Relaxed: a total; whoever reads it at the end has synchronised by other means.
        self.writer.control()[word(CONTROL_OVERSIZE)].fetch_add(1, Relaxed);
        Ok(())
    }

    /// The lane's control words.
    pub(crate) fn control(&self) -> &[AtomicU64] {
        self.writer.control()
    }

    /// The lane's number in its ring.
    pub fn lane(&self) -> u32 {
        self.lane
    }

    /// Dots ever written to the lane, by all its threads.
    pub fn records(&self) -> u64 {
        granules(self.writer.position().head).wrapping_add(self.uneven)
    }
}

/// How many granules so many bytes are.
#[inline(always)]
fn granules(bytes: u64) -> u64 {
    bytes / GRANULE_BYTES
}

/// The last `rest` of `bytes`, less than eight, and zeros behind them.
#[inline(always)]
fn last_word(bytes: &[u8], rest: usize) -> u64 {
    match bytes.last_chunk::<8>() {
        _ if rest == 0 => 0,
        // The word that ends where the text does, without what was stored before.
        Some(last) => u64::from_le_bytes(*last) >> (8 * (8 - rest)),
        None => bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// The half of the incarnation that every block repeats.
pub(crate) fn incarnation_word(incarnation: dotter_dot::Incarnation) -> u64 {
    let mut low = [0; 8];
    low.copy_from_slice(&incarnation.0[..8]);
    u64::from_le_bytes(low)
}
