//! Times of a chunk: sorted nanoseconds since 1970.
//!
//! Exact steps cost no bytes a dot. Otherwise each time is stored as its distance from a regular grid (a fixed
//! interval with jitter) or from the time before (steps with gaps, events), whichever is smaller, in the coarsest
//! unit that is exact.

use dotter_dot::put_varint;

use crate::format::bytes::Fields;
use crate::format::codec::pcodec::{self, Lean};
use crate::format::codec::{Counts, DOTS_MAX, frames};

const STEP: u8 = 0;
const GRID: u8 = 1;
const DELTA: u8 = 2;
const GRID_PCO: u8 = 3;
const DELTA_PCO: u8 = 4;

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
    let mut off = Vec::with_capacity(times.len());
    let mut distance = 0_i64;
    off.extend(deltas.iter().map(|delta| {
        distance = distance.wrapping_add(delta.wrapping_sub(step as i64));
        distance
    }));
    let grid = frames::estimate(&off) < frames::estimate(&deltas);
    put_varint(out, unit);
    if grid {
        put_varint(out, step);
    }
    let numbers = if grid { &off } else { &deltas };
    let start = out.len();
    frames::put(numbers, out);
    let pco = pcodec::replace_if_smaller(numbers, Lean::Not, start, out);
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

/// Appends the `count` times that `bytes` hold; `None`, and `out` as before, where they make no sense.
///
/// What comes out is sorted.
///
/// - `until`: times from it on may be left out
pub(crate) fn decode(
    tag: u8,
    bytes: &[u8],
    count: usize,
    until: Option<u64>,
    out: &mut Vec<u64>,
) -> Option<()> {
    let before = out.len();
    let is_sorted = |out: &[u64]| tag == STEP || out[before..].is_sorted();
    let decoded = decode_checked(tag, bytes, count, until, out).filter(|()| is_sorted(out));
    if decoded.is_none() {
        out.truncate(before);
    }
    decoded
}

fn decode_checked(tag: u8, bytes: &[u8], count: usize, until: Option<u64>, out: &mut Vec<u64>) -> Option<()> {
    if !(1..=DOTS_MAX).contains(&count) {
        return None;
    }
    let mut fields = Fields(bytes);
    let first = fields.varint()?;
    if tag == STEP {
        let step = fields.varint()?;
        first.checked_add(step.checked_mul(count as u64 - 1)?)?;
        let before = |until: u64| until.saturating_sub(first).div_ceil(step.max(1)).min(count as u64);
        // Without a step all stand at the same time.
        let wanted = until.filter(|until| step > 0 || *until <= first).map_or(count as u64, before);
        out.extend((0..wanted).map(|index| first + step * index));
        return fields.0.is_empty().then_some(());
    }
    let unit = fields.varint()?;
    let step = match tag {
        GRID | GRID_PCO => fields.varint()?,
        DELTA | DELTA_PCO => 0,
        _ => return None,
    };
    out.push(first);
    let start = out.len();
    match tag {
        GRID | DELTA => frames::get(&mut fields, Counts::all(count - 1), out)?,
        _ => pcodec::get(&mut fields, Counts::all(count - 1), |number: i64| number as u64, out)?,
    }
    if matches!(tag, GRID | GRID_PCO) {
        for (index, time) in (1_u64..).zip(&mut out[start..]) {
            *time = time.wrapping_add(index.wrapping_mul(step)).wrapping_mul(unit).wrapping_add(first);
        }
    } else {
        let mut before = first;
        for time in &mut out[start..] {
            before = before.wrapping_add(time.wrapping_mul(unit));
            *time = before;
        }
    }
    fields.0.is_empty().then_some(())
}
