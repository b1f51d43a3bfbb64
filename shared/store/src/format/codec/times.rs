//! Times of a chunk: sorted nanoseconds since 1970.
//!
//! Exact steps cost no bytes a dot. Otherwise each time is stored as its distance from a regular grid (a fixed
//! interval with jitter) or from the time before (steps with gaps, events), whichever is smaller, in the coarsest
//! unit that is exact.

use dotter_dot::put_varint;

use crate::format::bytes::Fields;
use crate::format::codec::leaders::{self, Leaders};
use crate::format::codec::pcodec::{self, Lean};
use crate::format::codec::{DOTS_MAX, GROUP, Part, Span, frames};

const STEP: u8 = 0;
const GRID: u8 = 1;
const DELTA: u8 = 2;
const GRID_PCO: u8 = 3;
const DELTA_PCO: u8 = 4;
/// The times of an earlier chunk: only a chunk can have this tag, and here it is damage. See `earlier`.
pub(crate) const EARLIER: u8 = 5;

/// Appends the bytes of `times` (sorted, 1 to [`DOTS_MAX`] of them) and gives their tag.
pub(crate) fn encode(times: &[u64], out: &mut Vec<u8>) -> u8 {
    assert!((1..=DOTS_MAX).contains(&times.len()));
    debug_assert!(times.is_sorted());
    let (first, last) = (times[0], times[times.len() - 1]);
    put_varint(out, first);
    let step = times.get(1).map_or(0, |second| second - first);
    if times.windows(2).all(|pair| pair[1] - pair[0] == step) {
        put_varint(out, step);
        return STEP;
    }

    let unit = greatest_unit(times);
    let mut deltas = Vec::with_capacity(times.len());
    deltas.extend(times.windows(2).map(|pair| ((pair[1] - pair[0]) / unit) as i64));
    let step = step_of_grid((last - first) / unit, times.len() as u64 - 1);
    // From 0 for the first, which is not stored.
    let off: Vec<i64> = (0..)
        .zip(times)
        .map(|(index, time)| ((time - first) / unit).wrapping_sub(step.wrapping_mul(index)) as i64)
        .collect();
    let grid = frames::estimate(&off[1..]) < frames::estimate(&deltas);
    put_varint(out, unit);
    let before = ..times.len() - 1;
    if grid {
        put_varint(out, step);
        leaders::put(off[before].iter().copied(), out);
    } else {
        leaders::put(times[before].iter().map(|time| ((time - first) / unit) as i64), out);
    }
    let numbers = if grid { &off[1..] } else { &deltas };
    let start = out.len();
    frames::put(numbers, out);
    let pco = pcodec::replace_wholes_if_smaller(numbers, Lean::Not, start, out);
    match (grid, pco) {
        (true, false) => GRID,
        (false, false) => DELTA,
        (true, true) => GRID_PCO,
        (false, true) => DELTA_PCO,
    }
}

/// The step that fits `count` steps from end to end, rounded.
fn step_of_grid(span: u64, count: u64) -> u64 {
    let (whole, rest) = (span / count, span % count);
    whole + (rest > count / 2) as u64
}

/// The greatest number of nanoseconds that all times are a whole multiple of from the first one on.
fn greatest_unit(times: &[u64]) -> u64 {
    let mut unit = 0;
    for pair in times.windows(2) {
        unit = greatest_divisor(pair[1] - pair[0], unit);
        if unit == 1 {
            break;
        }
    }
    unit.max(1)
}

/// Of two numbers; of one and 0, that one. One division where `b` divides `a`.
pub(super) fn greatest_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Appends the `count` times that `bytes` hold, and gives the index of the first that is appended; `None`, and `out` as
/// before, where they make no sense.
///
/// What comes out is sorted.
///
/// - `span`: times outside of it may be left out, at both ends
pub(crate) fn decode(tag: u8, bytes: &[u8], count: usize, span: Span, out: &mut Vec<u64>) -> Option<usize> {
    let before = out.len();
    let is_sorted = |out: &[u64]| tag == STEP || out[before..].is_sorted();
    let decoded = decode_checked(tag, bytes, count, span, out).filter(|_| is_sorted(out));
    if decoded.is_none() {
        out.truncate(before);
    }
    decoded
}

fn decode_checked(tag: u8, bytes: &[u8], count: usize, span: Span, out: &mut Vec<u64>) -> Option<usize> {
    if !(1..=DOTS_MAX).contains(&count) {
        return None;
    }
    let mut fields = Fields(bytes);
    let first = fields.varint()?;
    if tag == STEP {
        let step = fields.varint()?;
        first.checked_add(step.checked_mul(count as u64 - 1)?)?;
        let before = |time: u64| match step {
            // All stand at the same time.
            0 if time > first => count as u64,
            0 => 0,
            _ => time.saturating_sub(first).div_ceil(step).min(count as u64),
        };
        let (from, until) = (before(span.from), span.until.map_or(count as u64, before));
        // A sum that goes on: a compiler makes vector instructions of it, where a product for each time is slow.
        let mut next = first.wrapping_add(step.wrapping_mul(from));
        out.extend((from..until).map(|_| {
            let time = next;
            // Behind the last time it may wrap around; nobody looks at it then.
            next = next.wrapping_add(step);
            time
        }));
        return fields.0.is_empty().then_some(from as usize);
    }
    let unit = fields.varint()?;
    let step = match tag {
        GRID | GRID_PCO => fields.varint()?.wrapping_mul(unit),
        DELTA | DELTA_PCO => 0,
        _ => return None,
    };
    let time = |index: usize, number: u64| {
        number.wrapping_mul(unit).wrapping_add(step.wrapping_mul(index as u64)).wrapping_add(first)
    };
    let mut leaders = Leaders::get(&mut fields, count - 1)?;
    for (group, value) in leaders.values_mut().iter_mut().enumerate() {
        *value = time(group * GROUP, *value);
    }
    if !leaders.values().is_sorted() {
        return None;
    }
    let before = |time: u64| leaders.values().partition_point(|leader| *leader < time);
    // The group before a leader may hold the same time.
    let group = before(span.from).saturating_sub(1);
    let end = span.until.map_or(leaders.values().len(), before);
    if group >= end {
        return Some(0);
    }
    if group == 0 {
        out.push(first);
    }
    let part = Part { count: count - 1, from: group * GROUP, until: (count - 1).min(end * GROUP) };
    let mut numbers = |part: Part, out: &mut Vec<u64>| match tag {
        GRID | DELTA => frames::get(&mut fields, part, out),
        _ => pcodec::get_wholes(&mut fields, part, out),
    };
    if matches!(tag, DELTA | DELTA_PCO) {
        leaders::sum(&leaders, unit, part, out, numbers)?;
    } else {
        let start = out.len();
        numbers(part, out)?;
        for (index, number) in (part.from + 1..).zip(&mut out[start..]) {
            *number = time(index, *number);
        }
    }
    (!part.is_all() || fields.0.is_empty()).then_some(if group == 0 { 0 } else { part.from + 1 })
}
