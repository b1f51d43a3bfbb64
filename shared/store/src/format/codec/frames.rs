//! Whole numbers as bit-packed frames of 128, each with its own base and width.
//!
//! A number far from the others of its frame is an exception: it is stored whole behind the frame, so that one spike
//! does not widen the rest. Bytes: FORMAT.md, "Frames".

use dotter_dot::{put_varint, unzigzag, zigzag};

use crate::format::bytes::Fields;
use crate::format::codec::Counts;

/// Numbers of one frame; the last frame may have fewer.
pub(super) const FRAME: usize = 128;

/// Set in a frame's first byte where the frame has exceptions.
const BESIDE: u8 = 0x80;

/// The most exceptions of one frame.
const BESIDE_MAX: usize = 16;

/// Frames narrower than this are not searched for exceptions: nothing would be gained.
const NARROW_BITS: u32 = 2;

/// About how many bytes [`put`] takes for `numbers`, as frames without exceptions.
pub(super) fn estimate(numbers: &[i64]) -> usize {
    let bytes = |frame: &[i64]| (span_bits(frame) as usize * frame.len()).div_ceil(8) + 3;
    numbers.chunks(FRAME).map(bytes).sum()
}

/// Appends frames of `numbers`.
pub(super) fn put(numbers: &[i64], out: &mut Vec<u8>) {
    let mut base_before = 0_i64;
    for frame in numbers.chunks(FRAME) {
        let (base, bits) = fit(frame);
        let start = out.len();
        out.push(bits as u8);
        put_varint(out, zigzag(base.wrapping_sub(base_before)));
        base_before = base;
        let mut beside = [0_u8; FRAME];
        let mut beside_count = 0;
        let inside = |index: usize| {
            let offset = frame[index].wrapping_sub(base) as u64;
            if fits(frame[index], base, bits) {
                return offset;
            }
            beside[beside_count] = index as u8;
            beside_count += 1;
            0
        };
        put_bits(frame.len(), inside, bits, out);
        if beside_count > 0 {
            out[start] |= BESIDE;
            out.push(beside_count as u8);
            out.extend_from_slice(&beside[..beside_count]);
            for index in &beside[..beside_count] {
                put_varint(out, zigzag(frame[*index as usize].wrapping_sub(base)));
            }
        }
    }
}

/// Appends the numbers of the frames that `fields` start with, as many as are wanted, as the bits of an i64.
pub(super) fn get(fields: &mut Fields<'_>, counts: Counts, out: &mut Vec<u64>) -> Option<()> {
    let mut base = 0_i64;
    let (mut left, end) = (counts.count, out.len() + counts.wanted);
    while out.len() < end {
        let len = left.min(FRAME);
        left -= len;
        let head = fields.byte()?;
        let bits = head & !BESIDE;
        if bits > 64 {
            return None;
        }
        base = base.wrapping_add(fields.signed()?);
        let packed = fields.bytes((bits as usize * len).div_ceil(8))?;
        let start = out.len();
        get_bits(packed, len, bits as u32, base as u64, out);
        if head & BESIDE != 0 {
            let beside_count = fields.byte()? as usize;
            for place in fields.bytes(beside_count)? {
                let number = unzigzag(fields.varint()?).wrapping_add(base);
                *out[start..].get_mut(*place as usize)? = number as u64;
            }
        }
    }
    out.truncate(end);
    Some(())
}

fn fits(number: i64, base: i64, bits: u32) -> bool {
    number >= base && (bits == 64 || (number.wrapping_sub(base) as u64) >> bits == 0)
}

fn bits_of(span: u64) -> u32 {
    64 - span.leading_zeros()
}

fn min_max(frame: &[i64]) -> (i64, i64) {
    frame.iter().fold((i64::MAX, i64::MIN), |(min, max), number| (min.min(*number), max.max(*number)))
}

fn span_bits(frame: &[i64]) -> u32 {
    let (min, max) = min_max(frame);
    bits_of(max.wrapping_sub(min) as u64)
}

/// The base and width that make a frame shortest, with up to [`BESIDE_MAX`] exceptions.
fn fit(frame: &[i64]) -> (i64, u32) {
    let (min, max) = min_max(frame);
    let bits = bits_of(max.wrapping_sub(min) as u64);
    if bits <= NARROW_BITS || frame.len() < 8 {
        return (min, bits);
    }
    // A width of one bit less pays for a few exceptions, two bits less for a few more. All other numbers have to lie
    // in a window of half the width or less. The window touches one part of sixteen more than it is wide.
    let mut parts = [0_usize; 16];
    let shift = bits.saturating_sub(4);
    frame.iter().for_each(|number| parts[(number.wrapping_sub(min) as u64 >> shift) as usize & 15] += 1);
    let holds = |width: usize, beside: usize| {
        parts.windows(width + 1).any(|window| window.iter().sum::<usize>() + beside >= frame.len())
    };
    if !(holds(8, frame.len() / 20) || holds(4, frame.len() / 12) || holds(2, BESIDE_MAX)) {
        return (min, bits);
    }
    let mut sorted = [0_i64; FRAME];
    let sorted = &mut sorted[..frame.len()];
    sorted.copy_from_slice(frame);
    sorted.sort_unstable();
    let cost = |bits: u32, beside: usize| bits as usize * frame.len() + beside * 8 * (2 + bits as usize / 7);
    let (mut best, mut least) = ((min, bits), cost(bits, 0));
    for beside in [1, 2, 4, 8, BESIDE_MAX] {
        if beside >= frame.len() / 4 {
            break;
        }
        // Exceptions may be the greatest numbers, the least, or some of both.
        for low in 0..=beside {
            let span = sorted[frame.len() - 1 - (beside - low)].wrapping_sub(sorted[low]) as u64;
            let width = bits_of(span);
            let far = bits_of(max.abs_diff(sorted[low]).max(sorted[low].abs_diff(min)));
            let bytes_beside = 2 + far as usize / 7;
            let cost = width as usize * frame.len() + 8 + beside * 8 * bytes_beside;
            if cost < least {
                (best, least) = ((sorted[low], width), cost);
            }
        }
    }
    best
}

/// Appends `count` numbers of `bits` bits, the low bits of a byte first.
fn put_bits(count: usize, mut number: impl FnMut(usize) -> u64, bits: u32, out: &mut Vec<u8>) {
    let (mut word, mut used) = (0_u128, 0);
    for index in 0..count {
        word |= (number(index) as u128) << used;
        used += bits;
        if used >= 64 {
            out.extend_from_slice(&(word as u64).to_le_bytes());
            word >>= 64;
            used -= 64;
        }
    }
    out.extend_from_slice(&(word as u64).to_le_bytes()[..used.div_ceil(8) as usize]);
}

/// Appends `base` plus each of the `count` numbers of `bits` bits in `packed`, which is as long as they need.
fn get_bits(packed: &[u8], count: usize, bits: u32, base: u64, out: &mut Vec<u64>) {
    if bits == 0 {
        out.extend(std::iter::repeat_n(base, count));
        return;
    }
    // The words of a whole frame and one more, so that a number that ends with a word may look at the next.
    let mut words = [0_u64; FRAME + 1];
    let (whole, rest) = packed.as_chunks();
    for (word, bytes) in words.iter_mut().zip(whole) {
        *word = u64::from_le_bytes(*bytes);
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    words[whole.len()] = u64::from_le_bytes(last);
    let mask = u64::MAX >> (64 - bits);
    out.extend((0..count).map(|index| {
        let bit = index * bits as usize;
        let (word, shift) = ((bit / 64) % FRAME, bit % 64);
        // Two shifts, because one by 64 is not allowed.
        let number = words[word] >> shift | words[word + 1] << 1 << (63 - shift);
        (number & mask).wrapping_add(base)
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(numbers: &[i64]) -> usize {
        let mut bytes = Vec::new();
        put(numbers, &mut bytes);
        let (mut fields, mut back) = (Fields(&bytes), Vec::new());
        get(&mut fields, Counts::all(numbers.len()), &mut back).unwrap();
        assert!(fields.0.is_empty());
        assert_eq!(back.iter().map(|number| *number as i64).collect::<Vec<_>>(), numbers);
        bytes.len()
    }

    #[test]
    fn every_width_and_length_comes_back() {
        for bits in 0..=64 {
            let mask = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
            for len in [0, 1, 7, 8, 63, 64, 65, 127, 128, 129, 300] {
                let numbers: Vec<i64> = (0..len)
                    .map(|n: u64| ((n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) & mask) as i64)
                    .collect();
                round_trip(&numbers);
            }
        }
        round_trip(&[i64::MIN, i64::MAX, 0, -1, 1, i64::MIN, i64::MAX, 5, 5, 5]);
    }

    #[test]
    fn a_spike_does_not_widen_its_frame() {
        let mut numbers: Vec<i64> = (0..128).map(|n| n % 8).collect();
        let plain = round_trip(&numbers);
        assert_eq!(plain, 2 + 48);
        (numbers[5], numbers[77]) = (i64::MAX, i64::MIN / 2);
        assert!(round_trip(&numbers) <= plain + 1 + 2 + 20);
    }
}
