//! Where everything lies in a ring file: offsets and sizes, as FORMAT.md states them.
//!
//! Offsets are in bytes from the start of what they lie in; [`word`] turns one into an index of 64-bit words.

use crate::protocol::{Block, Lane};
use crate::sync::AtomicU64;

/// First bytes of a ring file.
pub(crate) const MAGIC: [u8; 8] = *b"DOTRING1";
/// First bytes of what is left of one that made room.
pub(crate) const GONE_MAGIC: [u8; 8] = *b"DOTGONE1";
/// Reads differently on a machine of the other byte order.
pub(crate) const BYTE_ORDER: u32 = 0x0102_0304;
/// The version this build writes; it reads every minor version of the same major one.
pub(crate) const MAJOR: u16 = 0;
pub(crate) const MINOR: u16 = 0;

pub(crate) const HEADER_BYTES: u64 = 4096;
/// The part of the header the checksum covers.
pub(crate) const HEADER_CHECKED_BYTES: usize = 512;
/// Header: `state` in the low half, `lanes_used` in the high half.
pub(crate) const HEADER_STATE: usize = 512;
pub(crate) const HEADER_REFUSED_SERIES: usize = 520;

/// The longest application name, in bytes.
pub const APPLICATION_BYTES_MAX: usize = 64;

pub(crate) const STATE_LIVE: u32 = 1;
pub(crate) const STATE_CLOSED: u32 = 2;

pub(crate) const REGISTRY_COMMITTED: usize = 0;
pub(crate) const REGISTRY_ENTRIES: usize = 64;
/// Fixed part of a registry entry, before the column types.
pub(crate) const ENTRY_HEAD_BYTES: usize = 20;
/// What a registry takes unless told otherwise.
pub const REGISTRY_BYTES: u64 = 1 << 20;
/// Series one ring can name: 20 bits of a record.
pub const SERIES_MAX: u32 = 1 << 20;

pub(crate) const CONTROL_BYTES: u64 = 256;
pub(crate) const CONTROL_HEAD: usize = 0;
pub(crate) const CONTROL_CLAIM: usize = 8;
pub(crate) const CONTROL_REENTRANT: usize = 16;
pub(crate) const CONTROL_OVERSIZE: usize = 24;
pub(crate) const CONTROL_OTHER: usize = 32;
pub(crate) const CONTROL_THREAD: usize = 40;
pub(crate) const CONTROL_STATE: usize = 48;

/// Bytes of a block.
pub const BLOCK_BYTES: u64 = 4096;
/// Bytes of a block's head.
pub(crate) const BLOCK_HEAD_BYTES: u64 = 64;
/// The unit records are made of, in bytes.
pub(crate) const GRANULE_BYTES: u64 = 16;
/// Dots of 16 bytes that fit into a block.
pub const BLOCK_DOTS: u64 = (BLOCK_BYTES - BLOCK_HEAD_BYTES) / GRANULE_BYTES;
pub(crate) const BLOCK_WORDS: usize = BLOCK_BYTES as usize / 8;
pub(crate) const BLOCK_HEAD_WORDS: usize = BLOCK_HEAD_BYTES as usize / 8;

/// Block head, by word.
pub(crate) const BLOCK_NUMBER: usize = 0;
pub(crate) const BLOCK_FIRST_RECORD: usize = 1;
pub(crate) const BLOCK_REALTIME: usize = 2;
pub(crate) const BLOCK_TICKS: usize = 3;
pub(crate) const BLOCK_BASE_TICKS: usize = 4;
pub(crate) const BLOCK_BASE_REALTIME: usize = 5;
pub(crate) const BLOCK_INCARNATION: usize = 6;

/// The smallest lane, in bytes.
pub const LANE_BYTES_MIN: u64 = 64 << 10;
/// The lane an application gets unless it asks for another size, in bytes: 258,048 dots.
pub const LANE_BYTES: u64 = 4 << 20;
pub(crate) const LANE_LOG2_MIN: u32 = 16;
pub(crate) const LANE_LOG2_MAX: u32 = 36;
/// Lanes of a ring unless told otherwise; the last is shared.
pub const LANES_MAX: u32 = 64;
/// The most lanes a ring may be made with.
pub const LANES_LIMIT: u32 = 4096;
/// No larger file is taken for a ring.
pub(crate) const FILE_BYTES_MAX: u64 = 1 << 42;

const _: () = assert!(LANE_BYTES_MIN == 1 << LANE_LOG2_MIN, "the smallest lane has its logarithm");
const _: () = assert!(BLOCK_DOTS == 252, "a block holds 252 dots");
const _: () = assert!(LANE_BYTES_MIN >= 4 * BLOCK_BYTES, "a quarter of a lane is at least a block");
const _: () = assert!(HEADER_REFUSED_SERIES as u64 + 8 <= HEADER_BYTES, "the counters lie in the header");
const _: () = assert!((CONTROL_STATE as u64) < CONTROL_BYTES / 2, "a writer's words share one half");
const _: () = assert!(BLOCK_INCARNATION < BLOCK_HEAD_WORDS, "the head's words lie in the head");

/// The words in `offset..offset + bytes`.
fn part(words: &[AtomicU64], offset: u64, bytes: u64) -> &[AtomicU64] {
    &words[(offset / 8) as usize..((offset + bytes) / 8) as usize]
}

/// The index of the 64-bit word at byte `offset`.
#[inline(always)]
pub(crate) const fn word(offset: usize) -> usize {
    assert!(offset.is_multiple_of(8));
    offset / 8
}

/// Where the parts of one ring file lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) file_bytes: u64,
    pub(crate) registry_offset: u64,
    pub(crate) registry_bytes: u64,
    pub(crate) control_offset: u64,
    pub(crate) lanes_offset: u64,
    pub(crate) lanes_max: u32,
    pub(crate) lane_log2: u32,
}

impl Geometry {
    /// Header, registry, lane control, lanes, each from a page on.
    pub(crate) fn new(registry_bytes: u64, lanes_max: u32, lane_log2: u32) -> Geometry {
        let registry_offset = HEADER_BYTES;
        let control_offset = registry_offset + registry_bytes;
        let control_bytes = (lanes_max as u64 * CONTROL_BYTES).next_multiple_of(4096);
        let lanes_offset = control_offset + control_bytes;
        let file_bytes = lanes_offset + ((lanes_max as u64) << lane_log2);
        Geometry {
            file_bytes,
            registry_offset,
            registry_bytes,
            control_offset,
            lanes_offset,
            lanes_max,
            lane_log2,
        }
    }

    pub(crate) fn lane_bytes(&self) -> u64 {
        1 << self.lane_log2
    }

    /// Byte offset of a lane's control words.
    pub(crate) fn control(&self, lane: u32) -> u64 {
        self.control_offset + lane as u64 * CONTROL_BYTES
    }

    /// Byte offset of a lane's data.
    pub(crate) fn lane(&self, lane: u32) -> u64 {
        self.lanes_offset + ((lane as u64) << self.lane_log2)
    }

    /// The registry's words among those of the whole file.
    pub(crate) fn registry<'a>(&self, words: &'a [AtomicU64]) -> &'a [AtomicU64] {
        part(words, self.registry_offset, self.registry_bytes)
    }

    /// A lane as a reader sees it, in the words of the whole file.
    pub(crate) fn view<'a>(&self, words: &'a [AtomicU64], lane: u32) -> Lane<'a, Block> {
        let control = part(words, self.control(lane), CONTROL_BYTES);
        Lane::new(control, part(words, self.lane(lane), self.lane_bytes()))
    }

    /// Whether every part lies in the file, in order, on a page, without touching another.
    ///
    /// All sums stay far below 64 bits because `file_bytes` is bounded and each part is compared with it first.
    pub(crate) fn is_sound(&self) -> bool {
        let parts = [self.registry_offset, self.registry_bytes, self.control_offset, self.lanes_offset];
        if self.file_bytes > FILE_BYTES_MAX
            || parts.iter().any(|part| *part > self.file_bytes || part % 4096 != 0)
            || !(1..=LANES_LIMIT).contains(&self.lanes_max)
            || !(LANE_LOG2_MIN..=LANE_LOG2_MAX).contains(&self.lane_log2)
        {
            return false;
        }
        let control_bytes = self.lanes_max as u64 * CONTROL_BYTES;
        let lanes_bytes = (self.lanes_max as u64) << self.lane_log2;
        self.registry_offset >= HEADER_BYTES
            && self.registry_bytes >= 4096
            && self.control_offset >= self.registry_offset + self.registry_bytes
            && self.lanes_offset >= self.control_offset + control_bytes
            && self.file_bytes >= self.lanes_offset + lanes_bytes
    }
}

/// Bytes of the smallest lane that holds `dots` dots: a power of two, at least [`LANE_BYTES_MIN`].
///
/// `None` where that would be more than a lane can be.
///
/// ```
/// assert_eq!(dotter_ring::lane_bytes_for(1), Some(64 << 10));
/// assert_eq!(dotter_ring::lane_bytes_for(4_032), Some(64 << 10));
/// assert_eq!(dotter_ring::lane_bytes_for(4_033), Some(128 << 10));
/// assert_eq!(dotter_ring::lane_bytes_for(u64::MAX), None);
/// ```
pub fn lane_bytes_for(dots: u64) -> Option<u64> {
    let bytes = dots.div_ceil(BLOCK_DOTS).checked_mul(BLOCK_BYTES)?;
    let bytes = bytes.checked_next_power_of_two()?.max(LANE_BYTES_MIN);
    (bytes <= 1 << LANE_LOG2_MAX).then_some(bytes)
}
