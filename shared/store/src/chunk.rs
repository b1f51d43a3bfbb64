//! A compressed run of dots of one series.
//!
//! Bit for bit what went in comes out: NaN payloads and -0 included. Bytes: FORMAT.md, "Segment". Decoding
//! trusts nothing: a chunk that does not match its checksum, or that does not make sense, is `None`.

use dotter_dot::{put_varint, zigzag};

use crate::bytes::Fields;

/// The most dots a chunk has.
pub(crate) const CHUNK_DOTS_MAX: usize = 8192;

const CLOCK: u8 = 1;
const TIME_STEP: u8 = 0;
const TIME_DELTA: u8 = 1;
const VALUE_CONSTANT: u8 = 0;
const VALUE_RAW: u8 = 1;
const VALUE_DELTA: u8 = 2;

/// Units times may be multiples of, coarsest first.
const UNITS: [u64; 4] = [1_000_000_000, 1_000_000, 1_000, 1];

/// Whole numbers up to here are exact in an f64.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// Times and values, side by side.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Columns {
    pub(crate) times: Vec<u64>,
    pub(crate) values: Vec<f64>,
}

impl Columns {
    pub(crate) fn push(&mut self, time: u64, value: f64) {
        self.times.push(time);
        self.values.push(value);
    }

    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.times.clear();
        self.values.clear();
    }
}

/// Appends one chunk.
///
/// - `times`: sorted, 1 to [`CHUNK_DOTS_MAX`] of them; `values`: as many
pub(crate) fn encode(times: &[u64], values: &[f64], clock: bool, out: &mut Vec<u8>) {
    assert!((1..=CHUNK_DOTS_MAX).contains(&times.len()));
    assert_eq!(times.len(), values.len());
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    put_varint(out, times.len() as u64);
    out.push(if clock { CLOCK } else { 0 });
    let mut encoded = Vec::new();
    out.push(encode_times(times, &mut encoded));
    put_varint(out, encoded.len() as u64);
    out.extend_from_slice(&encoded);
    encode_values(values, out);
    let checksum = crc32c::crc32c(&out[start + 4..]);
    out[start..start + 4].copy_from_slice(&checksum.to_le_bytes());
}

/// Appends the dots of one chunk to `out`; what is wrong with it otherwise, and `out` is as before.
pub(crate) fn decode(bytes: &[u8], clock: bool, out: &mut Columns) -> Result<(), String> {
    let before = out.len();
    let Some((checksum, rest)) = bytes.split_at_checked(4) else {
        return Err(format!("a chunk of {} bytes", bytes.len()));
    };
    let found = crc32c::crc32c(rest).to_le_bytes();
    if found != checksum {
        let word = |bytes: &[u8]| bytes.iter().rev().fold(0_u32, |word, byte| word << 8 | *byte as u32);
        return Err(format!("checksum {:08x}, expected {:08x}", word(&found), word(checksum)));
    }
    if decode_rest(&mut Fields(rest), clock, out).is_none() {
        out.times.truncate(before);
        out.values.truncate(before);
        return Err("a chunk whose fields make no sense".to_owned());
    }
    Ok(())
}

fn decode_rest(fields: &mut Fields<'_>, clock: bool, out: &mut Columns) -> Option<()> {
    let count: usize = fields.number()?;
    if !(1..=CHUNK_DOTS_MAX).contains(&count) || (fields.byte()? == CLOCK) != clock {
        return None;
    }
    let codec = fields.byte()?;
    let bytes = fields.number()?;
    decode_times(codec, &mut Fields(fields.bytes(bytes)?), count, &mut out.times)?;
    decode_values(fields, count, &mut out.values)
}

fn encode_times(times: &[u64], out: &mut Vec<u8>) -> u8 {
    let first = times[0];
    let step = times.get(1).map_or(0, |second| second - first);
    if step <= i64::MAX as u64 && times.windows(2).all(|pair| pair[1] - pair[0] == step) {
        put_varint(out, first);
        put_varint(out, zigzag(step as i64));
        return TIME_STEP;
    }
    let fits = |unit: &u64| times.iter().all(|time| (time - first).is_multiple_of(*unit));
    let unit = UNITS.into_iter().find(fits).unwrap_or(1);
    put_varint(out, unit);
    put_varint(out, first);
    let mut before = 0_i64;
    for pair in times.windows(2) {
        let difference = ((pair[1] - pair[0]) / unit) as i64;
        put_varint(out, zigzag(difference.wrapping_sub(before)));
        before = difference;
    }
    TIME_DELTA
}

fn decode_times(codec: u8, fields: &mut Fields<'_>, count: usize, out: &mut Vec<u64>) -> Option<()> {
    match codec {
        TIME_STEP => {
            let (first, step) = (fields.varint()?, u64::try_from(fields.signed()?).ok()?);
            first.checked_add(step.checked_mul(count as u64 - 1)?)?;
            out.extend((0..count as u64).map(|index| first + step * index));
        }
        TIME_DELTA => {
            let unit = fields.varint()?;
            let mut time = fields.varint()?;
            let mut difference = 0_i64;
            out.push(time);
            for _ in 1..count {
                difference = difference.wrapping_add(fields.signed()?);
                time = time.checked_add((difference as u64).checked_mul(unit)?)?;
                out.push(time);
            }
        }
        _ => return None,
    }
    fields.0.is_empty().then_some(())
}

fn encode_values(values: &[f64], out: &mut Vec<u8>) {
    let first = values[0].to_bits();
    if values.iter().all(|value| value.to_bits() == first) {
        out.push(VALUE_CONSTANT);
        out.extend_from_slice(&first.to_le_bytes());
        return;
    }
    // Whole numbers only, and not -0, which an integer cannot tell from 0.
    let whole = |value: &f64| value.abs() <= WHOLE_MAX && (*value as i64 as f64).to_bits() == value.to_bits();
    if values.iter().all(whole) {
        let start = out.len();
        out.push(VALUE_DELTA);
        let mut before = 0;
        for value in values {
            let value = *value as i64;
            put_varint(out, zigzag(value - before));
            before = value;
        }
        if out.len() - start <= values.len() * 8 {
            return;
        }
        out.truncate(start);
    }
    out.push(VALUE_RAW);
    values.iter().for_each(|value| out.extend_from_slice(&value.to_bits().to_le_bytes()));
}

fn decode_values(fields: &mut Fields<'_>, count: usize, out: &mut Vec<f64>) -> Option<()> {
    match fields.byte()? {
        VALUE_CONSTANT => {
            let value = f64::from_bits(u64::from_le_bytes(fields.array()?));
            out.extend(std::iter::repeat_n(value, count));
        }
        VALUE_RAW => {
            let (words, _) = fields.bytes(count * 8)?.as_chunks();
            out.extend(words.iter().map(|word| f64::from_bits(u64::from_le_bytes(*word))));
        }
        VALUE_DELTA => {
            let mut value = 0_i64;
            for _ in 0..count {
                value = value.wrapping_add(fields.signed()?);
                out.push(value as f64);
            }
        }
        _ => return None,
    }
    fields.0.is_empty().then_some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(times: &[u64], values: &[f64], clock: bool) -> usize {
        let mut bytes = vec![0xAA];
        encode(times, values, clock, &mut bytes);
        let mut back = Columns::default();
        decode(&bytes[1..], clock, &mut back).unwrap();
        assert_eq!(back.times, times);
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&back.values), bits(values));
        assert!(decode(&bytes[1..], !clock, &mut back).is_err());
        bytes.len() - 1
    }

    #[test]
    fn regular_times_and_a_constant_cost_next_to_nothing() {
        let times: Vec<u64> = (0..4096).map(|n| 1_710_504_000_000_000_000 + n * 1_000_000_000).collect();
        assert!(round_trip(&times, &[1.5; 4096], true) < 40);
        let counter: Vec<f64> = (0..4096).map(|n| (n * 17) as f64).collect();
        assert!(round_trip(&times, &counter, false) < 4096 + 40);
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let mut bytes = Vec::new();
        encode(&[1, 5, 9, 1000], &[1.0, -0.0, f64::NAN, 3.5], false, &mut bytes);
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bytes, false, &mut Columns::default()).is_err(), "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn any_times_and_bits_come_back(
            mut times in prop::collection::vec(any::<u64>(), 1..200),
            bits in prop::collection::vec(any::<u64>(), 200),
            whole in any::<bool>(),
            clock in any::<bool>(),
        ) {
            times.sort_unstable();
            let values: Vec<f64> = bits[..times.len()]
                .iter()
                .map(|bits| if whole { (*bits as i32) as f64 } else { f64::from_bits(*bits) })
                .collect();
            round_trip(&times, &values, clock);
        }

        #[test]
        fn rubbish_with_a_right_checksum_never_panics(mut bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let checksum = crc32c::crc32c(&bytes);
            bytes.splice(0..0, checksum.to_le_bytes());
            let mut out = Columns::default();
            let _ = decode(&bytes, false, &mut out);
            prop_assert_eq!(out.times.len(), out.values.len());
        }
    }
}
