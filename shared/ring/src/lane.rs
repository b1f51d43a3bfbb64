//! The writing end of a lane: dots become records, a full block is followed by the next.
//!
//! Always true: one [`LaneWriter`] per lane, in the process that made the ring; a forked child's copy
//! writes nothing.

use std::sync::Arc;

use crate::clock::{Clock, Pair};
use crate::fork;
use crate::layout::{
    BLOCK_BASE_REALTIME, BLOCK_BASE_TICKS, BLOCK_BYTES, BLOCK_FIRST_RECORD, BLOCK_HEAD_WORDS,
    BLOCK_INCARNATION, BLOCK_NUMBER, BLOCK_REALTIME, BLOCK_TICKS, CONTROL_OTHER, CONTROL_OVERSIZE,
    CONTROL_REENTRANT, GRANULE_BYTES, word,
};
use crate::life::Life;
use crate::map::Span;
use crate::protocol::{Block, Position, Writer};
use crate::record::{self, ABSOLUTE, END_MARK, F64_NANOS, F64_TICKS};
use crate::registry::KIND_F64;
use crate::sync::{AtomicU64, Relaxed};

/// A (ticks, realtime) pair is taken anew at a block's start where the last one is this much older: 1/50 s.
const PAIRS_PER_SECOND: u64 = 50;

/// The ring is not this process's to write to, or its file has lost its name: a new one is due.
///
/// The dot was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved;

/// Why a dot was refused inside the process, for its counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It came from a signal handler that interrupted another dot.
    SignalHandler,
    /// It does not fit into a block.
    TooBig,
    /// Anything else: there was no ring to write to.
    Other,
}

impl Refusal {
    /// Its counter among a lane's control words, in bytes.
    pub(crate) fn offset(self) -> usize {
        match self {
            Refusal::SignalHandler => CONTROL_REENTRANT,
            Refusal::TooBig => CONTROL_OVERSIZE,
            Refusal::Other => CONTROL_OTHER,
        }
    }
}

/// The one writer of a lane.
pub struct LaneWriter {
    writer: Writer<Span, Block>,
    base_ticks: u64,
    base_nanos: u64,
    records: u64,
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
            records: resting.records,
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
            records: self.records,
        }
    }

    /// Publishes a value, stamped by the clock.
    ///
    /// `series`: a number the ring's registry gave, below 2^20.
    ///
    /// # Errors
    ///
    /// [`Moved`] in a forked child, and once somebody has removed the file.
    #[inline]
    pub fn dot(&mut self, series: u32, value: f64) -> Result<(), Moved> {
        let ticks = self.clock.ticks();
        let delta = ticks.wrapping_sub(self.base_ticks) as i64;
        if self.may_put(delta) {
            self.put(series, F64_TICKS, delta, value);
            return Ok(());
        }
        self.dot_in_new_block(series, ticks, value)
    }

    /// Publishes a value at a time the application gives, in nanoseconds since the epoch.
    ///
    /// # Errors
    ///
    /// As [`LaneWriter::dot`].
    #[inline]
    pub fn dot_at(&mut self, series: u32, nanos: u64, value: f64) -> Result<(), Moved> {
        let delta = nanos.wrapping_sub(self.base_nanos) as i64;
        if self.may_put(delta) {
            self.put(series, F64_NANOS, delta, value);
            return Ok(());
        }
        self.dot_at_elsewhere(series, nanos, value)
    }

    /// Whether a record of one granule with this delta fits into the block, and the block is ours.
    #[inline(always)]
    fn may_put(&self, delta: i64) -> bool {
        self.writer.room() != 0 && record::fits(delta) && self.generation == fork::generation()
    }

    #[inline(always)]
    fn put(&mut self, series: u32, kind: u64, delta: i64, value: f64) {
        self.writer.put([record::head(series, kind, delta), value.to_bits()]);
        self.records += 1;
    }

    #[cold]
    #[inline(never)]
    fn dot_in_new_block(&mut self, series: u32, ticks: u64, value: f64) -> Result<(), Moved> {
        self.open_block(Some(ticks), None)?;
        self.put(series, F64_TICKS, 0, value);
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn dot_at_elsewhere(&mut self, series: u32, nanos: u64, value: f64) -> Result<(), Moved> {
        if self.generation != fork::generation() {
            return Err(Moved);
        }
        // A time far from the block's base takes its whole self along and never a new block: times that
        // go back and forth would burn one for each dot.
        if self.writer.room() >= 2 * GRANULE_BYTES {
            let head = record::head(series, ABSOLUTE, 0);
            self.writer.put([head, nanos, value.to_bits(), KIND_F64 as u64]);
            self.records += 1;
            return Ok(());
        }
        self.open_block(None, Some(nanos))?;
        self.put(series, F64_NANOS, 0, value);
        Ok(())
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
        (self.base_ticks, self.base_nanos) = (ticks, nanos.unwrap_or(pair.nanos));
        let mut head = [0; BLOCK_HEAD_WORDS];
        head[BLOCK_NUMBER] = self.writer.position().block_end / BLOCK_BYTES;
        head[BLOCK_FIRST_RECORD] = self.records;
        head[BLOCK_REALTIME] = pair.nanos;
        head[BLOCK_TICKS] = pair.ticks;
        head[BLOCK_BASE_TICKS] = self.base_ticks;
        head[BLOCK_BASE_REALTIME] = self.base_nanos;
        head[BLOCK_INCARNATION] = self.incarnation;
        self.writer.open_block(END_MARK, &head);
        Ok(())
    }

    /// Counts a dot that was not written. May be called from a signal handler.
    #[cold]
    pub fn refuse(&self, refusal: Refusal) {
        if self.generation != fork::generation() {
            return;
        }
        // Relaxed: a total; whoever reads it at the end has synchronised by other means.
        self.writer.control()[word(refusal.offset())].fetch_add(1, Relaxed);
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
        self.records
    }
}

/// The half of the incarnation that every block repeats.
pub(crate) fn incarnation_word(incarnation: dotter_dot::Incarnation) -> u64 {
    let mut low = [0; 8];
    low.copy_from_slice(&incarnation.0[..8]);
    u64::from_le_bytes(low)
}
