//! Whole numbers as bit-packed frames of 128 and blocks of 1,024, each with its own base and width.
//!
//! All bases and widths come first, then the packed numbers: so a part of them is read without the rest. A number far
//! from the others of its frame is an exception: it is stored whole beside base and width, so that one spike does not
//! widen the rest. The numbers of a block are transposed: 16 that follow each other are unpacked by the same shifts,
//! which a compiler makes vector instructions of. Bytes: FORMAT.md, "Frames".

use dotter_dot::{put_varint, zigzag};

use crate::format::bytes::Fields;
use crate::format::codec::{GROUP, Part};

/// Numbers of one frame; the last frame may have fewer.
pub(super) const FRAME: usize = 128;

/// Numbers of one block. A block never spans two groups.
const BLOCK: usize = GROUP;

/// The numbers of a block that stand in a row.
const LANES: usize = 16;
const _: () = assert!(BLOCK == LANES * 64, "a lane has whole words, whatever the width");

/// Set in the first byte of a head that has exceptions.
const BESIDE: u8 = 0x80;

/// In the first byte of a head, the width of a block stands above this, that of a frame is less.
const BLOCK_HEAD: u8 = 65;

/// The greatest width of a block, whose head has seven bits.
const BLOCK_BITS_MAX: u32 = (BESIDE - 1 - BLOCK_HEAD) as u32;

/// The most exceptions of one frame.
const BESIDE_MAX: usize = 16;

/// Frames narrower than this are not searched for exceptions: nothing would be gained.
const NARROW_BITS: u32 = 2;

/// A block may be larger than its frames by one part of so many, since it decodes faster, ...
const BLOCK_SHARE: usize = 50;

/// ... but not by more bytes than these.
const BLOCK_BYTES_MORE: usize = 16;

/// About how many bytes [`put`] takes for `numbers`, as frames without exceptions.
pub(super) fn estimate(numbers: &[i64]) -> usize {
    let bytes = |frame: &[i64]| {
        let (min, max) = min_max(frame);
        (span_bits(min, max) as usize * frame.len()).div_ceil(8) + 3
    };
    numbers.chunks(FRAME).map(bytes).sum()
}

/// How numbers that follow each other are packed.
#[derive(Clone, Copy)]
struct Fit {
    len: usize,
    is_block: bool,
    bits: u32,
    /// The least and the greatest of the numbers that are no exceptions; the least is the base.
    inside: (i64, i64),
    /// The least and the greatest of all.
    all: (i64, i64),
    beside: usize,
}

impl Fit {
    fn fits(&self, number: i64) -> bool {
        number >= self.inside.0 && (self.bits == 64 || self.offset(number) >> self.bits == 0)
    }

    fn offset(&self, number: i64) -> u64 {
        number.wrapping_sub(self.inside.0) as u64
    }

    /// Counts the exceptions among `numbers`, which it packs.
    fn count_beside(&mut self, numbers: &[i64]) {
        self.beside = numbers.iter().filter(|number| !self.fits(**number)).count();
    }

    /// How many bytes it takes, nearly.
    fn bytes(&self) -> usize {
        let far = span_bits(self.all.0, self.inside.0).max(span_bits(self.inside.0, self.all.1));
        3 + (self.bits as usize * self.len).div_ceil(8) + self.beside * (2 + far as usize / 7)
    }
}

/// Appends frames and blocks of `numbers`.
pub(super) fn put(numbers: &[i64], out: &mut Vec<u8>) {
    let mut fits = Vec::with_capacity(numbers.len().div_ceil(FRAME));
    for group in numbers.chunks(BLOCK) {
        let first = fits.len();
        fits.extend(group.chunks(FRAME).map(fit));
        if let Some(block) = fit_block(group, &fits[first..]) {
            fits.truncate(first);
            fits.push(block);
        }
    }
    let (mut rest, mut base_before) = (numbers, 0);
    for fit in &fits {
        let (own, after) = rest.split_at(fit.len);
        put_head(own, fit, base_before, out);
        (rest, base_before) = (after, fit.inside.0);
    }
    rest = numbers;
    for fit in &fits {
        let (own, after) = rest.split_at(fit.len);
        if fit.is_block {
            put_block(own, fit, out)
        } else {
            put_frame(own, fit, out)
        }
        rest = after;
    }
}

fn put_head(numbers: &[i64], fit: &Fit, base_before: i64, out: &mut Vec<u8>) {
    let width = fit.bits as u8 + if fit.is_block { BLOCK_HEAD } else { 0 };
    out.push(width | if fit.beside > 0 { BESIDE } else { 0 });
    let base = fit.inside.0;
    put_varint(out, zigzag(base.wrapping_sub(base_before)));
    if fit.beside == 0 {
        return;
    }
    put_varint(out, fit.beside as u64);
    let mut next = 0;
    for (place, number) in numbers.iter().enumerate().filter(|(_, number)| !fit.fits(**number)) {
        put_varint(out, (place - next) as u64);
        put_varint(out, zigzag(number.wrapping_sub(base)));
        next = place + 1;
    }
}

/// The numbers one behind the other, the low bits of a byte first.
fn put_frame(numbers: &[i64], fit: &Fit, out: &mut Vec<u8>) {
    let (mut word, mut used) = (0_u128, 0);
    for number in numbers {
        let offset = if fit.fits(*number) { fit.offset(*number) } else { 0 };
        word |= (offset as u128) << used;
        used += fit.bits;
        if used >= 64 {
            out.extend_from_slice(&(word as u64).to_le_bytes());
            word >>= 64;
            used -= 64;
        }
    }
    out.extend_from_slice(&(word as u64).to_le_bytes()[..used.div_ceil(8) as usize]);
}

/// The numbers of each lane one behind the other, the low bits of a word first; a word of each lane in turns.
fn put_block(numbers: &[i64], fit: &Fit, out: &mut Vec<u8>) {
    let (mut words, mut used) = ([0_u128; LANES], 0);
    for row in numbers.chunks_exact(LANES) {
        for (word, number) in words.iter_mut().zip(row) {
            let offset = if fit.fits(*number) { fit.offset(*number) } else { 0 };
            *word |= (offset as u128) << used;
        }
        used += fit.bits;
        if used >= 64 {
            for word in &mut words {
                out.extend_from_slice(&(*word as u64).to_le_bytes());
                *word >>= 64;
            }
            used -= 64;
        }
    }
}

/// Appends those of the numbers that `fields` start with that `part` wants, as the bits of an i64.
///
/// What is passed over is not looked at, but for the heads.
pub(super) fn get(fields: &mut Fields<'_>, part: Part, out: &mut Vec<u64>) -> Option<()> {
    let directory = Heads { fields: Fields(fields.0), left: part.count, base: 0 };
    let mut heads = directory.clone();
    let mut bytes = 0;
    while heads.left > 0 {
        bytes += heads.next()?.bytes();
    }
    let packed = heads.fields.bytes(bytes)?;
    *fields = heads.fields;
    let (mut heads, mut rest, mut index) = (directory, packed, 0);
    while index < part.until {
        let head = heads.next()?;
        let (own, after) = rest.split_at(head.bytes());
        let wanted = part.from.saturating_sub(index)..(part.until - index).min(head.len);
        index += head.len;
        if !wanted.is_empty() {
            let (start, len) = (out.len(), head.len);
            let got = if head.is_block { head.get_block(own, out) } else { head.get_frame(rest, out) };
            got?;
            if wanted.len() < len {
                out.truncate(start + wanted.end);
                out.drain(start..start + wanted.start);
            }
        }
        rest = after;
    }
    Some(())
}

/// The heads that are not read yet.
#[derive(Clone)]
struct Heads<'a> {
    fields: Fields<'a>,
    /// Numbers of these heads.
    left: usize,
    /// The base of the head before.
    base: i64,
}

struct Head<'a> {
    len: usize,
    is_block: bool,
    bits: u32,
    base: i64,
    beside_count: usize,
    /// The exceptions and what follows.
    beside: Fields<'a>,
}

impl<'a> Heads<'a> {
    fn next(&mut self) -> Option<Head<'a>> {
        let first = self.fields.byte()?;
        let width = first & !BESIDE;
        let is_block = width >= BLOCK_HEAD;
        let (len, bits) = match is_block {
            true if self.left < BLOCK => return None,
            true => (BLOCK, width - BLOCK_HEAD),
            false => (self.left.min(FRAME), width),
        };
        self.left -= len;
        self.base = self.base.wrapping_add(self.fields.signed()?);
        let beside_count = if first & BESIDE != 0 { self.fields.count(2)? } else { 0 };
        let beside = self.fields.clone();
        for _ in 0..2 * beside_count {
            self.fields.varint()?;
        }
        Some(Head { len, is_block, bits: bits as u32, base: self.base, beside_count, beside })
    }
}

impl Head<'_> {
    /// How many bytes its packed numbers have.
    fn bytes(&self) -> usize {
        (self.bits as usize * self.len).div_ceil(8)
    }

    /// - `packed`: may be longer than its packed numbers
    fn get_frame(self, packed: &[u8], out: &mut Vec<u64>) -> Option<()> {
        let start = out.len();
        if packed.len() >= self.bytes() + WORD_BYTES {
            unpack_frame(packed, self.bits, self.base as u64, self.len, out);
        } else {
            let mut padded = [0; FRAME * 8 + WORD_BYTES];
            padded[..packed.len()].copy_from_slice(packed);
            unpack_frame(&padded, self.bits, self.base as u64, self.len, out);
        }
        self.put_beside(&mut out[start..])
    }

    fn get_block(self, packed: &[u8], out: &mut Vec<u64>) -> Option<()> {
        let start = out.len();
        out.resize(start + BLOCK, 0);
        unpack_block(packed, self.bits, self.base as u64, out[start..].first_chunk_mut()?);
        self.put_beside(&mut out[start..])
    }

    /// Puts the exceptions in their places.
    fn put_beside(mut self, numbers: &mut [u64]) -> Option<()> {
        let mut next = 0_usize;
        for _ in 0..self.beside_count {
            let place = next.checked_add(self.beside.number()?)?;
            *numbers.get_mut(place)? = self.beside.signed()?.wrapping_add(self.base) as u64;
            next = place + 1;
        }
        Some(())
    }
}

/// Bytes that are looked at for one number.
const WORD_BYTES: usize = 16;

/// Appends `base` plus each of `len` numbers of `bits` bits in `packed`, which is longer than they need by
/// [`WORD_BYTES`].
fn unpack_frame(packed: &[u8], bits: u32, base: u64, len: usize, out: &mut Vec<u64>) {
    if bits == 0 {
        out.extend(std::iter::repeat_n(base, len));
        return;
    }
    let mask = u64::MAX >> (64 - bits);
    let place = |index: usize| (index * bits as usize / 8, index * bits as usize % 8);
    if bits <= 56 {
        out.extend((0..len).map(|index| {
            let (from, shift) = place(index);
            let word = u64::from_le_bytes(packed[from..from + 8].try_into().expect("eight bytes"));
            (word >> shift & mask).wrapping_add(base)
        }));
    } else {
        out.extend((0..len).map(|index| {
            let (from, shift) = place(index);
            let bytes = packed[from..from + WORD_BYTES].try_into().expect("as many bytes");
            ((u128::from_le_bytes(bytes) >> shift) as u64 & mask).wrapping_add(base)
        }));
    }
}

/// As [`unpack_frame`], of a block.
fn unpack_block(packed: &[u8], bits: u32, base: u64, numbers: &mut [u64; BLOCK]) {
    if bits == 0 {
        numbers.fill(base);
        return;
    }
    let mask = u64::MAX >> (64 - bits);
    // As many rows of words as a number has bits.
    let rows: &[[[u8; 8]; LANES]] = packed.as_chunks().0.as_chunks().0;
    let words = |row: usize| rows[row].map(u64::from_le_bytes);
    let (mut word, mut taken, mut used) = (words(0), 1, 0);
    for row in numbers.as_chunks_mut::<LANES>().0 {
        if used + bits <= 64 {
            for lane in 0..LANES {
                row[lane] = (word[lane] >> used & mask).wrapping_add(base);
            }
            used += bits;
            if used == 64 && taken < rows.len() {
                (word, taken, used) = (words(taken), taken + 1, 0);
            }
        } else {
            let next = words(taken);
            for lane in 0..LANES {
                row[lane] = ((word[lane] >> used | next[lane] << (64 - used)) & mask).wrapping_add(base);
            }
            (word, taken, used) = (next, taken + 1, used + bits - 64);
        }
    }
}

fn bits_of(span: u64) -> u32 {
    64 - span.leading_zeros()
}

fn min_max(numbers: &[i64]) -> (i64, i64) {
    numbers.iter().fold((i64::MAX, i64::MIN), |(min, max), number| (min.min(*number), max.max(*number)))
}

/// The bits that the distances from `least` to numbers up to `greatest` take.
fn span_bits(least: i64, greatest: i64) -> u32 {
    bits_of(greatest.wrapping_sub(least) as u64)
}

/// The base and width that make a frame shortest, with up to [`BESIDE_MAX`] exceptions.
fn fit(frame: &[i64]) -> Fit {
    let (min, max) = min_max(frame);
    let bits = span_bits(min, max);
    let whole =
        Fit { len: frame.len(), is_block: false, bits, inside: (min, max), all: (min, max), beside: 0 };
    if bits <= NARROW_BITS || frame.len() < 8 {
        return whole;
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
        return whole;
    }
    let mut sorted = [0_i64; FRAME];
    let sorted = &mut sorted[..frame.len()];
    sorted.copy_from_slice(frame);
    sorted.sort_unstable();
    let mut best = whole;
    for beside in [1, 2, 4, 8, BESIDE_MAX] {
        if beside >= frame.len() / 4 {
            break;
        }
        // Exceptions may be the greatest numbers, the least, or some of both.
        for low in 0..=beside {
            let inside = (sorted[low], sorted[frame.len() - 1 - (beside - low)]);
            let fit = Fit { bits: span_bits(inside.0, inside.1), inside, beside, ..whole };
            if fit.bytes() < best.bytes() {
                best = fit;
            }
        }
    }
    if best.beside > 0 {
        best.count_beside(frame);
    }
    best
}

/// A block in place of these frames of the same numbers, if they are as many as a block has and it is hardly larger.
fn fit_block(numbers: &[i64], frames: &[Fit]) -> Option<Fit> {
    if numbers.len() < BLOCK {
        return None;
    }
    let join = |of: fn(&Fit) -> (i64, i64)| {
        let both = |one: (i64, i64), other: (i64, i64)| (one.0.min(other.0), one.1.max(other.1));
        frames.iter().map(of).fold((i64::MAX, i64::MIN), both)
    };
    let all = join(|frame| frame.all);
    let block = |inside: (i64, i64)| {
        let bits = span_bits(inside.0, inside.1);
        Fit { len: BLOCK, is_block: true, bits, inside, all, beside: 0 }
    };
    let mut best = block(all);
    if frames.iter().any(|frame| frame.beside > 0) {
        let mut fit = block(join(|frame| frame.inside));
        fit.count_beside(numbers);
        if fit.bytes() < best.bytes() {
            best = fit;
        }
    }
    let bytes: usize = frames.iter().map(Fit::bytes).sum();
    (best.bits <= BLOCK_BITS_MAX && best.bytes() <= bytes + BLOCK_BYTES_MORE.min(bytes / BLOCK_SHARE))
        .then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(numbers: &[i64]) -> usize {
        let mut bytes = Vec::new();
        put(numbers, &mut bytes);
        let get = |from: usize, until: usize| {
            let (mut fields, mut back) = (Fields(&bytes), Vec::new());
            get(&mut fields, Part { count: numbers.len(), from, until }, &mut back).unwrap();
            assert!(fields.0.is_empty());
            assert!(back.iter().map(|number| *number as i64).eq(numbers[from..until].iter().copied()));
        };
        let len = numbers.len();
        get(0, len);
        for (from, until) in
            [(0, 1), (1, 1), (127, 129), (130, 140), (1000, 1030), (1024, 2048), (len / 2, len)]
        {
            get(from.min(len), until.min(len));
        }
        bytes.len()
    }

    fn noise(len: u64, bits: u32) -> Vec<i64> {
        let mask = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
        (0..len)
            .map(|n| ((n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(17) & mask) as i64)
            .collect()
    }

    #[test]
    fn every_width_and_length_comes_back() {
        for bits in 0..=64 {
            for len in [0, 1, 7, 8, 63, 64, 65, 127, 128, 129, 300, 1023, 1024, 1025, 2048, 3000] {
                round_trip(&noise(len, bits));
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

    #[test]
    fn a_block_takes_the_place_of_frames_that_are_alike() {
        let is_block = |numbers: &[i64]| {
            let mut bytes = Vec::new();
            put(numbers, &mut bytes);
            bytes[0] & !BESIDE >= BLOCK_HEAD
        };
        let mut alike = noise(1024, 10);
        assert!(is_block(&alike));
        assert_eq!(round_trip(&alike), 2 + 10 * 128);
        (alike[5], alike[777]) = (1 << 40, -1 << 50);
        assert!(is_block(&alike) && round_trip(&alike) < 2 + 10 * 128 + 24);
        let steps: Vec<i64> =
            noise(1024, 4).iter().zip(0..).map(|(noise, n)| noise + n / 128 * 1000).collect();
        assert!(!is_block(&steps));
        assert!(!is_block(&noise(1023, 10)) && !is_block(&noise(1024, 64)));
    }

    #[test]
    fn a_number_outside_its_frame_is_damage() {
        // One frame of two numbers, with an exception at 1, then at 2.
        for (place, is_right) in [(1, true), (2, false)] {
            let mut fields = Fields(&[BESIDE, 0, 1, place, 10]);
            assert_eq!(get(&mut fields, Part::all(2), &mut Vec::new()).is_some(), is_right);
        }
        let mut fields = Fields(&[BLOCK_HEAD, 0]);
        assert!(get(&mut fields, Part::all(1023), &mut Vec::new()).is_none(), "a block of fewer numbers");
    }
}
