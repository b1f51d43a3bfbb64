//! Words of one letter, each by itself: what `numbers` makes columns of.
//!
//! Integers are packed as they are; so are doubles as the whole numbers of their decimals, and the others by their
//! bits, in the order of their values. Packed means frames of distances to the first or to the one before; from
//! 256 numbers on, pco where it is smaller.

use dotter_dot::{put_varint, zigzag};

use crate::format::bytes::Fields;
use crate::format::codec::leaders::{self, Leaders};
use crate::format::codec::pcodec::{self, Lean, Number};
use crate::format::codec::times::greatest_divisor;
use crate::format::codec::{DOTS_MAX, Part, decimals, frames};

pub(super) const CONSTANT: u8 = 0;
const RAW: u8 = 1;
const PACKED: u8 = 2;
const PACKED_DELTA: u8 = 3;
const PCO: u8 = 4;
const DECIMAL_PACKED: u8 = 5;
const DECIMAL_PACKED_DELTA: u8 = 6;
const DECIMAL_PCO: u8 = 7;

/// From so many decimals on they are compared with the bits.
const EXPONENT_LARGE: u8 = 7;

/// What a letter holds.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    F32,
    F64,
    U32,
    U64,
    I32,
    I64,
}

impl Kind {
    fn of(letter: u8) -> Option<Kind> {
        Some(match letter {
            b'f' => Kind::F32,
            b'F' => Kind::F64,
            b'u' => Kind::U32,
            b'U' => Kind::U64,
            b'i' => Kind::I32,
            b'I' => Kind::I64,
            _ => return None,
        })
    }

    /// Bytes of one number.
    fn bytes(self) -> usize {
        if matches!(self, Kind::F64 | Kind::U64 | Kind::I64) { 8 } else { 4 }
    }

    /// Whether a number of this kind has this word.
    fn holds(self, word: u64) -> bool {
        match self {
            Kind::F32 | Kind::U32 => word <= u32::MAX as u64,
            Kind::I32 => word as i64 == word as i32 as i64,
            _ => true,
        }
    }

    /// The word whose low bytes these are.
    fn widen(self, low: u64) -> u64 {
        if self == Kind::I32 { low as u32 as i32 as i64 as u64 } else { low }
    }

    /// A whole number (the bits of an i64) for a word, in the order of the values.
    fn order_of(self, word: u64) -> u64 {
        match self {
            Kind::F64 => word ^ ((word as i64 >> 63) as u64 >> 1),
            Kind::F32 => {
                let bits = word as u32 as i32;
                (bits ^ ((bits >> 31) as u32 >> 1) as i32) as i64 as u64
            }
            _ => word,
        }
    }

    /// The word whose [`Kind::order_of`] this is; one that this kind does not hold if there is none.
    fn word_of(self, order: u64) -> u64 {
        match self {
            Kind::F64 => order ^ ((order as i64 >> 63) as u64 >> 1),
            Kind::F32 => {
                let bits = order as u32 as i32;
                let low = (bits ^ ((bits >> 31) as u32 >> 1) as i32) as u32 as u64;
                if bits as i64 as u64 == order { low } else { u64::MAX }
            }
            _ => order,
        }
    }
}

/// Appends the bytes of `words` (1 to [`DOTS_MAX`] of them, each one that `letter` can hold) and gives their tag.
///
/// - `letter`: of `f F u U i I`
pub(super) fn encode(letter: u8, words: &[u64], out: &mut Vec<u8>) -> u8 {
    assert!((1..=DOTS_MAX).contains(&words.len()));
    let kind = Kind::of(letter).expect("a letter of a number");
    debug_assert!(words.iter().all(|word| kind.holds(*word)));
    if words.iter().all(|word| *word == words[0]) {
        out.extend_from_slice(&words[0].to_le_bytes()[..kind.bytes()]);
        return CONSTANT;
    }
    let start = out.len();
    let tag = match kind {
        Kind::F32 | Kind::F64 => encode_floats(kind, words, out),
        _ => encode_orders(kind, words, out),
    };
    if out.len() - start >= words.len() * kind.bytes() {
        out.truncate(start);
        words.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()[..kind.bytes()]));
        return RAW;
    }
    tag
}

/// Without a look at decimals.
fn encode_orders(kind: Kind, words: &[u64], out: &mut Vec<u8>) -> u8 {
    let start = out.len();
    let orders: Vec<i64> = words.iter().map(|word| kind.order_of(*word) as i64).collect();
    let tag = encode_wholes(orders.clone(), out);
    let replaced = match kind {
        _ if words.len() < pcodec::COUNT_MIN => false,
        Kind::F32 => replace(words, |word| f32::from_bits(word as u32), start, out),
        Kind::F64 => replace(words, f64::from_bits, start, out),
        _ => pcodec::replace_wholes_if_smaller(&orders, Lean::Sample, start, out),
    };
    if replaced { PCO } else { tag }
}

fn replace<T: Number>(words: &[u64], number: impl Fn(u64) -> T, start: usize, out: &mut Vec<u8>) -> bool {
    let numbers: Vec<T> = words.iter().map(|word| number(*word)).collect();
    pcodec::replace_if_smaller(&numbers, Lean::Sample, start, out)
}

fn encode_floats(kind: Kind, words: &[u64], out: &mut Vec<u8>) -> u8 {
    let narrow = kind == Kind::F32;
    let values: Vec<f64> = words
        .iter()
        .map(|word| if narrow { f32::from_bits(*word as u32) as f64 } else { f64::from_bits(*word) })
        .collect();
    let Some(found) = decimals::of(&values, narrow) else {
        return encode_orders(kind, words, out);
    };
    let start = out.len();
    out.push(found.exponent);
    put_varint(out, found.beside.len() as u64);
    let mut next = 0;
    for place in &found.beside {
        put_varint(out, (place - next) as u64);
        out.extend_from_slice(&words[*place].to_le_bytes()[..kind.bytes()]);
        next = place + 1;
    }
    let body = out.len();
    let packed = encode_wholes(found.wholes.clone(), out);
    let tag = if pcodec::replace_wholes_if_smaller(&found.wholes, Lean::Sample, body, out) {
        DECIMAL_PCO
    } else {
        packed + (DECIMAL_PACKED - PACKED)
    };
    // Many digits are often no decimals by nature, and any f32 is a decimal of nine: their bits may be shorter.
    if found.exponent >= EXPONENT_LARGE || narrow {
        let middle = out.len();
        let other = encode_orders(kind, words, out);
        if out.len() - middle < middle - start {
            out.drain(start..middle);
            return other;
        }
        out.truncate(middle);
    }
    tag
}

/// Frames of distances to the first or to the one before, in the greatest unit that divides them all.
fn encode_wholes(mut wholes: Vec<i64>, out: &mut Vec<u8>) -> u8 {
    let first = wholes[0];
    let mut deltas = Vec::with_capacity(wholes.len());
    deltas.extend(wholes.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])));
    wholes.iter_mut().for_each(|whole| *whole = whole.wrapping_sub(first));
    let packed = frames::estimate(&wholes) <= frames::estimate(&deltas);
    let distances = if packed { &mut wholes[1..] } else { &mut deltas[..] };

    let mut unit = 0;
    for distance in &*distances {
        unit = greatest_divisor(distance.unsigned_abs(), unit);
        if unit == 1 {
            break;
        }
    }
    // Only what an i64 holds divides an i64 and multiplies back.
    let unit = i64::try_from(unit).unwrap_or(1).max(1);
    if unit > 1 {
        distances.iter_mut().for_each(|distance| *distance /= unit);
    }
    put_varint(out, zigzag(first));
    put_varint(out, unit as u64);
    if !packed {
        let mut sum = 0_i64;
        let before = distances.iter().map(|distance| {
            let before = sum;
            sum = sum.wrapping_add(*distance);
            before
        });
        leaders::put(before, out);
    }
    frames::put(distances, out);
    if packed { PACKED } else { PACKED_DELTA }
}

/// Appends those words that `part` wants; `None`, and `out` as before, where the bytes make no sense or hold words that
/// `letter` cannot hold. Whether what is not wanted makes sense is not looked at.
pub(super) fn decode(letter: u8, tag: u8, bytes: &[u8], part: Part, out: &mut Vec<u64>) -> Option<()> {
    let before = out.len();
    let decoded = decode_checked(letter, tag, bytes, part, out);
    if decoded.is_none() {
        out.truncate(before);
    }
    decoded
}

fn decode_checked(letter: u8, tag: u8, bytes: &[u8], part: Part, out: &mut Vec<u64>) -> Option<()> {
    let kind = Kind::of(letter)?;
    if !(1..=DOTS_MAX).contains(&part.count) {
        return None;
    }
    let start = out.len();
    let mut fields = Fields(bytes);
    match tag {
        CONSTANT => {
            let word = kind.widen(low_bytes(fields.bytes(kind.bytes())?));
            out.extend(std::iter::repeat_n(word, part.wanted().len()));
        }
        RAW => {
            let bytes = fields.bytes(part.count * kind.bytes())?;
            let bytes = &bytes[part.from * kind.bytes()..part.until * kind.bytes()];
            out.extend(bytes.chunks_exact(kind.bytes()).map(|bytes| kind.widen(low_bytes(bytes))));
        }
        PACKED | PACKED_DELTA => {
            decode_wholes(&mut fields, tag == PACKED, part, out)?;
            if matches!(kind, Kind::F32 | Kind::F64) {
                out[start..].iter_mut().for_each(|word| *word = kind.word_of(*word));
            }
        }
        PCO => {
            let fields = &mut fields;
            match kind {
                Kind::F32 => pcodec::get(fields, part, |number: f32| number.to_bits() as u64, out)?,
                Kind::F64 => pcodec::get(fields, part, f64::to_bits, out)?,
                _ => pcodec::get_wholes(fields, part, out)?,
            }
        }
        DECIMAL_PACKED | DECIMAL_PACKED_DELTA | DECIMAL_PCO => {
            if !matches!(kind, Kind::F32 | Kind::F64) {
                return None;
            }
            decode_decimals(kind, tag, &mut fields, part, out)?;
        }
        _ => return None,
    }
    // Only 32 bits leave room for a word that is none.
    if kind.bytes() == 4 && !out[start..].iter().all(|word| kind.holds(*word)) {
        return None;
    }
    (!part.is_all() || fields.0.is_empty()).then_some(())
}

fn decode_decimals(
    kind: Kind,
    tag: u8,
    fields: &mut Fields<'_>,
    part: Part,
    out: &mut Vec<u64>,
) -> Option<()> {
    let start = out.len();
    let exponent = fields.byte()?;
    let beside_count = fields.count(1 + kind.bytes())?;
    // Read again once the others are there.
    let mut beside = fields.clone();
    for _ in 0..beside_count {
        fields.varint()?;
        fields.bytes(kind.bytes())?;
    }
    match tag {
        DECIMAL_PCO => pcodec::get_wholes(fields, part, out)?,
        _ => decode_wholes(fields, tag == DECIMAL_PACKED, part, out)?,
    }
    decimals::put_together(exponent, &mut out[start..], kind == Kind::F32)?;
    let mut next = 0_usize;
    for _ in 0..beside_count {
        let place = next.checked_add(beside.number()?)?;
        let word = kind.widen(low_bytes(beside.bytes(kind.bytes())?));
        if part.wanted().contains(&place) {
            out[start..][place - part.from] = word;
        } else if place >= part.count {
            return None;
        }
        next = place + 1;
    }
    Some(())
}

fn decode_wholes(fields: &mut Fields<'_>, packed: bool, part: Part, out: &mut Vec<u64>) -> Option<()> {
    let (first, unit) = (fields.signed()? as u64, fields.varint()?);
    if part.from == 0 {
        out.push(first);
    }
    let (start, part) = (out.len(), part.behind_first());
    if packed {
        frames::get(fields, part, out)?;
        out[start..].iter_mut().for_each(|word| *word = word.wrapping_mul(unit).wrapping_add(first));
        return Some(());
    }
    let mut leaders = Leaders::get(fields, part.count)?;
    leaders.values_mut().iter_mut().for_each(|value| *value = value.wrapping_mul(unit).wrapping_add(first));
    leaders::sum(&leaders, unit, part, out, |part, out| frames::get(fields, part, out))
}

/// The bytes as a little-endian number; at most eight.
fn low_bytes(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | *byte as u64)
}
