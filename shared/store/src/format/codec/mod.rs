//! How times, numbers and texts of a chunk become bytes, and back.
//!
//! Three columns, three modules of the same shape: `encode` appends bytes and says under which tag, `decode`
//! takes the tag, exactly those bytes and the count of dots, and appends what they were. Always true:
//!
//! - bit for bit what went in comes out: NaN payloads, -0, every u64
//! - decoding trusts nothing: bytes that make no sense are `None`, at a cost in time and memory that `count` and
//!   the length of the bytes bound; what was appended by then is taken back
//! - a tag never changes its meaning: a better codec is a new tag
//!
//! Bytes: FORMAT.md, "Codecs".

pub(crate) mod numbers;
pub(crate) mod texts;
pub(crate) mod times;

mod decimals;
mod frames;
mod pcodec;
mod templates;

/// The most dots one call encodes or decodes.
pub(crate) const DOTS_MAX: usize = 8192;

/// How many of something there are, and how many of the first of them are to be decoded.
#[derive(Clone, Copy)]
struct Counts {
    count: usize,
    wanted: usize,
}

impl Counts {
    fn all(count: usize) -> Counts {
        Counts { count, wanted: count }
    }
}

#[cfg(test)]
mod tests;
