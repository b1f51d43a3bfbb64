//! Numbers of a chunk: one word each, of one letter.
//!
//! Numbers that stay the same for a while are kept once for each such run, with the lengths of the runs; others word by
//! word. Any part of them is decoded without the rest, but for up to one group before it.

use std::ops::Range;

use dotter_dot::put_varint;

use crate::format::bytes::Fields;
use crate::format::codec::{DOTS_MAX, Part, words};

const RUNS: u8 = 8;

/// Runs are tried where they have so many numbers on average.
const RUN_LENGTH_MIN: usize = 4;

/// Where they have so many, nothing else is tried.
const RUN_LENGTH_LONG: usize = 32;

/// The letter of lengths of runs.
const LENGTH: u8 = b'U';

/// Appends the bytes of `words` (1 to [`DOTS_MAX`] of them, each one that `letter` can hold) and gives their tag.
///
/// - `letter`: of `f F u U i I`
pub(crate) fn encode(letter: u8, words: &[u64], out: &mut Vec<u8>) -> u8 {
    let start = out.len();
    let changes = words.iter().zip(&words[1..]).filter(|(one, other)| one != other).count();
    if changes == 0 || (changes + 1) * RUN_LENGTH_MIN > words.len() {
        return words::encode(letter, words, out);
    }
    if (changes + 1) * RUN_LENGTH_LONG <= words.len() {
        encode_runs(letter, words, changes + 1, out);
        return RUNS;
    }
    let tag = words::encode(letter, words, out);
    let middle = out.len();
    encode_runs(letter, words, changes + 1, out);
    if out.len() - middle < middle - start {
        out.drain(start..middle);
        return RUNS;
    }
    out.truncate(middle);
    tag
}

fn encode_runs(letter: u8, words: &[u64], count: usize, out: &mut Vec<u8>) {
    let (mut values, mut lengths) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for run in words.chunk_by(|one, other| one == other) {
        values.push(run[0]);
        lengths.push(run.len() as u64 - 1);
    }
    put_varint(out, count as u64);
    let mut bytes = Vec::new();
    out.push(words::encode(LENGTH, &lengths, &mut bytes));
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(&bytes);
    let at = out.len();
    out.push(0);
    out[at] = words::encode(letter, &values, out);
}

/// Appends the `count` words that `bytes` hold; `None`, and `out` as before, where they make no sense or are
/// words that `letter` cannot hold.
pub(crate) fn decode(letter: u8, tag: u8, bytes: &[u8], count: usize, out: &mut Vec<u64>) -> Option<()> {
    decode_part(letter, tag, bytes, count, 0..count, out)
}

/// As [`decode`], those `wanted` of them; whether the others make sense is not looked at.
pub(crate) fn decode_part(
    letter: u8,
    tag: u8,
    bytes: &[u8],
    count: usize,
    wanted: Range<usize>,
    out: &mut Vec<u64>,
) -> Option<()> {
    let part = Part { count, from: wanted.start, until: wanted.end.min(count) };
    if wanted.is_empty() && count > 0 {
        return Some(());
    }
    if tag != RUNS {
        return words::decode(letter, tag, bytes, part, out);
    }
    let before = out.len();
    let decoded = decode_runs(letter, Fields(bytes), part, out);
    if decoded.is_none() {
        out.truncate(before);
    }
    decoded
}

fn decode_runs(letter: u8, mut fields: Fields<'_>, part: Part, out: &mut Vec<u64>) -> Option<()> {
    let count: usize = fields.number()?;
    if part.count > DOTS_MAX || !(1..=part.count).contains(&count) {
        return None;
    }
    let (tag, bytes) = (fields.byte()?, fields.number()?);
    let mut lengths = Vec::with_capacity(count);
    words::decode(LENGTH, tag, fields.bytes(bytes)?, Part::all(count), &mut lengths)?;
    // Which runs are wanted, and where they end.
    let (mut end, mut first, mut last) = (0, None, 0);
    for (run, length) in lengths.iter_mut().enumerate() {
        // Each below the bound, so that their sum cannot overflow before it is compared.
        end += usize::try_from(*length).ok().filter(|length| *length < part.count)? + 1;
        *length = end as u64;
        if end > part.from {
            first.get_or_insert(run);
        }
        if end < part.until {
            last = run + 1;
        }
    }
    if end != part.count {
        return None;
    }
    let first = first?;
    let tag = fields.byte()?;
    let mut values = Vec::with_capacity(last + 1 - first);
    words::decode(letter, tag, fields.0, Part { count, from: first, until: last + 1 }, &mut values)?;
    let mut from = part.from;
    for (value, end) in values.iter().zip(&lengths[first..]) {
        let until = (*end as usize).min(part.until);
        out.extend(std::iter::repeat_n(*value, until - from));
        from = until;
    }
    Some(())
}
