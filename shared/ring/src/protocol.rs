//! The lane protocol: one writer, any number of readers, overwrite-oldest, over `&[AtomicU64]`.
//!
//! The writer owns `head` and `claim`; nobody else writes to the lane. Both count bytes since the lane
//! was made and only ever grow; a byte's place is its count modulo the lane's length. The writer keeps
//! its own copy of both and never reads them back, so nobody who scribbles over the file can steer it.
//!
//! Always true, whichever process looks:
//!
//! - everything below `head` is wholly written, unless `claim` has passed it by a lane's length
//! - `head <= claim < head + 2 * BLOCK_BYTES`
//! - a record never crosses a block
//!
//! Orderings, by pair:
//!
//! - "record written": the writer stores `head` with Release after a record's words; a reader loads it with
//!   Acquire before it copies them. Whoever sees the new head sees every word below it.
//! - "block claimed": the writer stores `claim`, then a Release fence, then the first word of the new lap; a
//!   reader copies words, then an Acquire fence, then loads `claim`. If any copied word came from the new
//!   lap, the fences order the claim before that load, so the reader sees it and throws the copy away. It
//!   is a seqlock with one claim per block.
//!
//! Bytes: FORMAT.md, "Lane". Sizes are a parameter so that the model checker can run this very code on
//! lanes of a few words; the flags of [`Shape`] take one ordering away each, to show that it notices.

use std::marker::PhantomData;
use std::ops::Deref;

use crate::layout::{BLOCK_BYTES, BLOCK_HEAD_WORDS, CONTROL_CLAIM, CONTROL_HEAD, word};
use crate::sync::{Acquire, AtomicU64, Relaxed, Release, fence};

/// Sizes of a lane's parts. Everything but [`Block`] is for the model checker.
pub trait Shape {
    /// Bytes of a block, a power of two.
    const BLOCK_BYTES: u64;
    /// 64-bit words of a block's head.
    const HEAD_WORDS: usize;
    /// False breaks the writer's half of "block claimed".
    const RELEASE_FENCE: bool = true;
    /// False breaks the reader's half of "block claimed".
    const ACQUIRE_FENCE: bool = true;
    /// False claims a block only after its head was written over.
    const CLAIM_FIRST: bool = true;
    /// False believes a copy without looking at `claim` again.
    const REVALIDATE: bool = true;
}

/// The shape of every lane in a file.
#[derive(Clone, Copy, Debug)]
pub struct Block;

impl Shape for Block {
    const BLOCK_BYTES: u64 = BLOCK_BYTES;
    const HEAD_WORDS: usize = BLOCK_HEAD_WORDS;
}

/// Where a writer stands: all it must keep when a lane goes from one thread to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Bytes committed.
    pub head: u64,
    /// Where the block being written ends; equal to `head` where a new one is due.
    pub block_end: u64,
}

/// The one writer of a lane.
///
/// `W` gives the words: `control` those of the lane control, `data` those of the lane.
pub struct Writer<W, S> {
    control: W,
    data: W,
    mask: u64,
    at: Position,
    shape: PhantomData<S>,
}

impl<W: Deref<Target = [AtomicU64]>, S: Shape> Writer<W, S> {
    /// Takes the lane up where its last writer left it.
    ///
    /// # Panics
    ///
    /// Where the lane's length is no power of two or is less than a block.
    pub fn new(control: W, data: W, at: Position) -> Writer<W, S> {
        let bytes = data.len() as u64 * 8;
        assert!(bytes.is_power_of_two());
        assert!(bytes >= S::BLOCK_BYTES);
        assert!(control.len() > word(CONTROL_CLAIM));
        Writer { mask: bytes - 1, control, data, at, shape: PhantomData }
    }

    /// Where the writer stands now.
    pub fn position(&self) -> Position {
        self.at
    }

    /// The lane's control words.
    pub fn control(&self) -> &[AtomicU64] {
        &self.control
    }

    /// Bytes left in the block being written.
    #[inline(always)]
    pub fn room(&self) -> u64 {
        self.at.block_end - self.at.head
    }

    /// Index of the word at a count of bytes.
    #[inline(always)]
    fn index(&self, position: u64) -> usize {
        ((position & self.mask) / 8) as usize
    }

    /// Commits one record of `N` words.
    ///
    /// # Panics
    ///
    /// Where the record does not fit into [`Writer::room`], if debug assertions are on.
    #[inline(always)]
    pub fn put<const N: usize>(&mut self, words: [u64; N]) {
        self.put_by(N, |cells| {
            for (cell, value) in cells.iter().zip(words) {
                // Relaxed: as `put_by` says.
                cell.store(value, Relaxed);
            }
        });
    }

    /// Commits one record of `count` words, a whole number of granules, which `fill` stores into their cells.
    ///
    /// Relaxed stores are enough: a reader looks at these cells only below `head`, which follows.
    ///
    /// # Panics
    ///
    /// As [`Writer::put`].
    #[inline(always)]
    pub fn put_by(&mut self, count: usize, fill: impl FnOnce(&[AtomicU64])) {
        debug_assert!(self.room() >= count as u64 * 8, "a record never crosses a block");
        let index = self.index(self.at.head);
        fill(&self.data[index..index + count]);
        self.at.head += count as u64 * 8;
        // Release, pair "record written": whoever sees the new head sees all words above. The Acquire half
        // is in `Lane::head`.
        self.control[word(CONTROL_HEAD)].store(self.at.head, Release);
    }

    /// Opens the next block with the words of its head; what is left of the old one gets `end_mark`.
    ///
    /// `head` becomes visible with the first record.
    ///
    /// # Panics
    ///
    /// Where `head` is not as long as the shape says.
    pub fn open_block(&mut self, end_mark: u64, head: &[u64]) {
        assert!(head.len() == S::HEAD_WORDS);
        let start = self.at.block_end;
        if self.at.head < start {
            self.data[self.index(self.at.head)].store(end_mark, Relaxed);
        }
        if S::CLAIM_FIRST {
            self.claim(start + S::BLOCK_BYTES);
        }
        let index = self.index(start);
        for (cell, value) in self.data[index..index + S::HEAD_WORDS].iter().zip(head) {
            cell.store(*value, Relaxed);
        }
        if !S::CLAIM_FIRST {
            self.claim(start + S::BLOCK_BYTES);
        }
        self.at = Position { head: start + S::HEAD_WORDS as u64 * 8, block_end: start + S::BLOCK_BYTES };
    }

    fn claim(&self, until: u64) {
        // Relaxed: the fence below orders it before every word of the new lap.
        self.control[word(CONTROL_CLAIM)].store(until, Relaxed);
        if S::RELEASE_FENCE {
            // Release, pair "block claimed". The Acquire half is in `Lane::copy`.
            fence(Release);
        }
    }
}

/// A lane as a reader sees it.
#[derive(Clone, Copy)]
pub struct Lane<'a, S> {
    control: &'a [AtomicU64],
    data: &'a [AtomicU64],
    shape: PhantomData<S>,
}

/// Why a copy was thrown away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Torn {
    /// The writer has claimed these bytes again; up to where it has claimed.
    Lapped(u64),
    /// `claim` is behind `head`, which no writer does: these words are not a lane's.
    Nonsense,
}

impl<'a, S: Shape> Lane<'a, S> {
    /// A lane over its control words and its data, a power of two of bytes and at least a block.
    pub fn new(control: &'a [AtomicU64], data: &'a [AtomicU64]) -> Lane<'a, S> {
        Lane { control, data, shape: PhantomData }
    }

    /// Bytes of the lane.
    #[inline]
    pub fn capacity(&self) -> u64 {
        self.data.len() as u64 * 8
    }

    /// Bytes committed. Everything copied after this call and below its answer is wholly written or torn.
    #[inline]
    pub fn head(&self) -> u64 {
        // Acquire, pair "record written": the Release half is in `Writer::put`.
        self.control[word(CONTROL_HEAD)].load(Acquire)
    }

    /// Bytes that may be being overwritten, up to; for choosing a place to go to, proves nothing.
    #[inline]
    pub fn claim(&self) -> u64 {
        self.control[word(CONTROL_CLAIM)].load(Relaxed)
    }

    /// Copies the head of the block at `block` and its bytes `from..until`, to the same places in `copy`.
    ///
    /// - `block`: where the block starts, `from` and `until` lie in it, all in bytes since the lane was made
    /// - `head`: what [`Lane::head`] answered; `until` is at most that
    ///
    /// # Errors
    ///
    /// [`Torn`] where the writer may have been at these bytes meanwhile; then `copy` holds nothing to rely on.
    #[inline]
    pub fn copy(&self, block: u64, from: u64, until: u64, head: u64, copy: &mut [u64]) -> Result<(), Torn> {
        let start = ((block & (self.capacity() - 1)) / 8) as usize;
        let cells = &self.data[start..start + S::BLOCK_BYTES as usize / 8];
        for (cell, word) in cells[..S::HEAD_WORDS].iter().zip(&mut *copy) {
            *word = cell.load(Relaxed);
        }
        let range = ((from - block) / 8).max(S::HEAD_WORDS as u64) as usize..((until - block) / 8) as usize;
        if range.start < range.end {
            for (cell, word) in cells[range.clone()].iter().zip(&mut copy[range]) {
                *word = cell.load(Relaxed);
            }
        }
        self.validate(block, head)
    }

    /// Says whether what was loaded from `block` before this call was still the writer's finished work.
    #[inline]
    fn validate(&self, block: u64, head: u64) -> Result<(), Torn> {
        if S::ACQUIRE_FENCE {
            // Acquire, pair "block claimed": the Release half is in `Writer::claim`.
            fence(Acquire);
        }
        let claim = self.claim();
        if !S::REVALIDATE {
            return Ok(());
        }
        match claim {
            claim if claim < head => Err(Torn::Nonsense),
            claim if claim - block > self.capacity() => Err(Torn::Lapped(claim)),
            _ => Ok(()),
        }
    }

    /// Where a lapped reader goes on: far enough ahead of the writer, at a block's start.
    ///
    /// Always past any block that [`Torn::Lapped`] with the same `claim` was about.
    pub fn after_lap(&self, claim: u64) -> u64 {
        let safe = claim.saturating_sub(self.capacity() - self.capacity() / 4);
        safe & !(S::BLOCK_BYTES - 1)
    }
}
