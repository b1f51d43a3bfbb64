//! What the newest blocks of a lane say: how many records it has, and when it was written to.
//!
//! Always true: nothing that a lane holds makes this panic or loop.

use crate::layout::{
    BLOCK_BYTES, BLOCK_DOTS, BLOCK_FIRST_RECORD, BLOCK_HEAD_BYTES, BLOCK_HEAD_WORDS, BLOCK_INCARNATION,
    BLOCK_NUMBER, BLOCK_REALTIME, BLOCK_WORDS, GRANULE_BYTES,
};
use crate::protocol::{Block, Lane, Torn};
use crate::record::Record;

/// A lane that gives out copies of its blocks: a mapped one, or one that is read from its file.
pub(crate) trait Blocks {
    /// Bytes committed.
    fn head(&self) -> u64;

    /// Bytes of the lane.
    fn capacity(&self) -> u64;

    /// Copies the block at `start` up to `until`, which is at most `head`; both in bytes since the lane was made.
    fn copy_block(
        &self,
        start: u64,
        until: u64,
        head: u64,
        words: &mut [u64; BLOCK_WORDS],
    ) -> Result<(), Torn>;
}

impl Blocks for Lane<'_, Block> {
    fn head(&self) -> u64 {
        Lane::head(self)
    }

    fn capacity(&self) -> u64 {
        Lane::capacity(self)
    }

    fn copy_block(
        &self,
        start: u64,
        until: u64,
        head: u64,
        words: &mut [u64; BLOCK_WORDS],
    ) -> Result<(), Torn> {
        self.copy(start, start, until, head, words)
    }
}

/// Whether these are the first words of the block that starts at `start`, as far as one can tell.
pub(crate) fn is_block_head(words: &[u64], start: u64, incarnation: u64) -> bool {
    let number = start / BLOCK_BYTES;
    words[BLOCK_NUMBER] == number
        && words[BLOCK_INCARNATION] == incarnation
        && words[BLOCK_FIRST_RECORD] <= number.saturating_mul(BLOCK_DOTS)
}

/// The records in the copied words of a block up to word `end`; the most there can be where one is damaged.
fn count_records(words: &[u64; BLOCK_WORDS], end: usize) -> u64 {
    let (mut index, mut count) = (BLOCK_HEAD_WORDS, 0);
    while index < end {
        match Record::decode(words, index, end) {
            Record::End => break,
            Record::Unknown => return count + ((end - index) / 2) as u64,
            Record::Some { next, .. } => {
                index = next;
                count += 1;
            }
        }
    }
    count
}

/// Bytes committed, where that is a number a writer could have come to.
pub(crate) fn committed(lane: &impl Blocks) -> Option<u64> {
    Some(lane.head()).filter(|head| head % GRANULE_BYTES == 0 && *head < 1 << 62)
}

/// The number the next record of a lane has.
///
/// Where the newest block is damaged this is the most they can have been.
pub(crate) fn next_record(lane: &impl Blocks, incarnation: u64) -> u64 {
    let mut words = [0; BLOCK_WORDS];
    // A writer that laps us while we look is asked again; one that does so for ever is no writer.
    for _ in 0..16 {
        let Some(head) = committed(lane).filter(|head| *head > 0) else { return 0 };
        // The newest block with a sound head counts for itself; those behind it count as full.
        let newest = (head - 1) / BLOCK_BYTES * BLOCK_BYTES;
        let oldest = newest.saturating_sub(lane.capacity() - BLOCK_BYTES);
        let mut start = newest;
        let mut behind = 0;
        let torn = loop {
            let until = head.min(start + BLOCK_BYTES);
            if lane.copy_block(start, until, head, &mut words).is_err() {
                break true;
            }
            let used = ((until - start) / 8) as usize;
            if is_block_head(&words, start, incarnation) {
                return words[BLOCK_FIRST_RECORD] + count_records(&words, used) + behind;
            }
            behind += (until - start).saturating_sub(BLOCK_HEAD_BYTES) / GRANULE_BYTES;
            if start <= oldest {
                break false;
            }
            start -= BLOCK_BYTES;
        };
        if !torn {
            return start / BLOCK_BYTES * BLOCK_DOTS + behind;
        }
    }
    0
}

/// Wall clock at a lane's newest block, nanoseconds; zero where there is none.
pub(crate) fn last_realtime(lane: &impl Blocks, incarnation: u64) -> u64 {
    let mut words = [0; BLOCK_WORDS];
    let Some(head) = committed(lane).filter(|head| *head > 0) else { return 0 };
    let start = (head - 1) / BLOCK_BYTES * BLOCK_BYTES;
    let copied = lane.copy_block(start, start, head, &mut words);
    let sound = copied.is_ok() && is_block_head(&words, start, incarnation);
    if sound { words[BLOCK_REALTIME] } else { 0 }
}
