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

use std::ops::Range;

pub(crate) mod numbers;
pub(crate) mod texts;
pub(crate) mod times;

mod decimals;
mod frames;
mod leaders;
mod pcodec;
mod templates;
mod words;

/// The most dots one call encodes or decodes.
pub(crate) const DOTS_MAX: usize = 8192;

/// Times from one on to before another, or to the end of time; by default all.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Span {
    pub(crate) from: u64,
    pub(crate) until: Option<u64>,
}

impl Span {
    /// Which of some sorted times lie in it.
    pub(crate) fn of(self, times: &[u64]) -> Range<usize> {
        let before = |time: u64| times.partition_point(|stamp| *stamp < time);
        let (from, until) = (before(self.from), self.until.map_or(times.len(), before));
        from.min(until)..until
    }
}

/// Says whether texts of a template may be wanted. It is given the template's fixed pieces in their order; between two of
/// them stand one or more digits, whichever they are.
pub(crate) type TextTest<'a> = &'a dyn Fn(&[&[u8]]) -> bool;

/// Numbers between two places where decoding may begin.
const GROUP: usize = 1024;

/// Which of how many numbers are to be decoded: those from one index to before another.
#[derive(Clone, Copy)]
struct Part {
    count: usize,
    from: usize,
    until: usize,
}

impl Part {
    fn all(count: usize) -> Part {
        Part { count, from: 0, until: count }
    }

    fn is_all(self) -> bool {
        self.from == 0 && self.until == self.count
    }

    /// The same without the first, which stands elsewhere.
    fn behind_first(self) -> Part {
        Part { count: self.count - 1, from: self.from.saturating_sub(1), until: self.until.saturating_sub(1) }
    }

    fn wanted(self) -> Range<usize> {
        self.from..self.until
    }
}

#[cfg(test)]
mod tests;
