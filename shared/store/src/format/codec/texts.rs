//! Texts or raw bytes of a chunk: byte strings, one a dot.
//!
//! One text that stays the same is kept once, few different ones as places in a list; lines of few templates as
//! the numbers in them; what is left goes through zstd in blocks of whole texts.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;

use dotter_dot::put_varint;
use zstd::bulk::{Compressor, Decompressor};

use crate::format::bytes::Fields;
use crate::format::codec::templates::{self, Form};
use crate::format::codec::{DOTS_MAX, Part, TextTest, frames};

/// The most bytes the texts of one chunk have together.
pub(crate) const HEAP_BYTES_MAX: usize = 16 << 20;

const CONSTANT: u8 = 0;
const PLAIN: u8 = 1;
const DICTIONARY: u8 = 2;
const ZSTD: u8 = 3;
const TEMPLATES: u8 = 4;

/// Texts are added to a block until it has this many bytes.
const BLOCK_BYTES: usize = 120 << 10;

/// Fewer bytes than this gain nothing from zstd.
const ZSTD_BYTES_MIN: usize = 64;

const LEVEL: i32 = 1;

/// A dictionary is worth it where each of its texts stands for this many on average.
const REPEATS_MIN: usize = 8;

/// Templates that make texts this many times smaller need no comparison with zstd.
const CLEAR_WIN: usize = 8;

thread_local! {
    // Both take a while to set up.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Appends the bytes of `texts` (1 to [`DOTS_MAX`] of them, at most [`HEAP_BYTES_MAX`] bytes together) and gives
/// their tag.
pub(crate) fn encode(texts: &[&[u8]], out: &mut Vec<u8>) -> u8 {
    assert!((1..=DOTS_MAX).contains(&texts.len()));
    assert!(texts.iter().map(|text| text.len()).sum::<usize>() <= HEAP_BYTES_MAX);
    if texts.iter().all(|text| *text == texts[0]) {
        out.extend_from_slice(texts[0]);
        return CONSTANT;
    }
    let start = out.len();
    if let Some((list, places)) = dictionary(texts) {
        frames::put(&places, out);
        put_varint(out, list.len() as u64);
        put_heap(&list, out);
        return DICTIONARY;
    }
    if templates::put(texts, out).is_some() {
        let middle = out.len();
        let raw: usize = texts.iter().map(|text| text.len()).sum();
        if (middle - start) * CLEAR_WIN <= raw {
            return TEMPLATES;
        }
        let tag = encode_heap(texts, out);
        if middle - start <= out.len() - middle {
            out.truncate(middle);
            return TEMPLATES;
        }
        out.drain(start..middle);
        return tag;
    }
    encode_heap(texts, out)
}

/// The different texts in the order they come first, and for each text its place among them; if they are few.
fn dictionary<'a>(texts: &[&'a [u8]]) -> Option<(Vec<&'a [u8]>, Vec<i64>)> {
    let different_max = texts.len() / REPEATS_MIN;
    let (mut list, mut places) = (Vec::new(), Vec::with_capacity(texts.len()));
    let mut known: HashMap<&[u8], i64> = HashMap::new();
    for text in texts {
        let place = *known.entry(text).or_insert_with(|| {
            list.push(*text);
            list.len() as i64 - 1
        });
        if list.len() > different_max {
            return None;
        }
        places.push(place);
    }
    Some((list, places))
}

/// Appends a tag and what it says of `texts`, which are a list within another tag.
pub(super) fn put_heap(texts: &[&[u8]], out: &mut Vec<u8>) {
    let at = out.len();
    out.push(0);
    out[at] = encode_heap(texts, out);
}

fn encode_heap(texts: &[&[u8]], out: &mut Vec<u8>) -> u8 {
    let lens: Vec<i64> = texts.iter().map(|text| text.len() as i64).collect();
    frames::put(&lens, out);
    let heap = texts.concat();
    let start = out.len();
    if heap.len() >= ZSTD_BYTES_MIN
        && put_blocks(texts, &heap, out).is_some()
        && out.len() - start < heap.len()
    {
        return ZSTD;
    }
    out.truncate(start);
    out.extend_from_slice(&heap);
    PLAIN
}

/// `None` where zstd has no memory left.
fn put_blocks(texts: &[&[u8]], heap: &[u8], out: &mut Vec<u8>) -> Option<()> {
    COMPRESSOR.with_borrow_mut(|compressor| {
        if compressor.is_none() {
            *compressor = Compressor::new(LEVEL).ok();
        }
        let compressor = compressor.as_mut()?;
        let mut buffer = vec![0; zstd::zstd_safe::compress_bound(heap.len().min(2 * BLOCK_BYTES))];
        for block in blocks(texts.iter().map(|text| text.len())) {
            let bytes = &heap[block.bytes];
            let bound = zstd::zstd_safe::compress_bound(bytes.len());
            if buffer.len() < bound {
                buffer.resize(bound, 0);
            }
            let len = compressor.compress_to_buffer(bytes, &mut buffer[..]).ok()?;
            put_varint(out, len as u64);
            out.extend_from_slice(&buffer[..len]);
        }
        Some(())
    })
}

struct Block {
    /// Which texts.
    texts: Range<usize>,
    /// Their place in the heap.
    bytes: Range<usize>,
}

/// How texts of these lengths are divided: a block ends with the text that brings it to [`BLOCK_BYTES`].
fn blocks(lens: impl ExactSizeIterator<Item = usize>) -> Vec<Block> {
    let (count, mut blocks, mut bytes) = (lens.len(), Vec::new(), 0);
    let mut block = Block { texts: 0..0, bytes: 0..0 };
    for (index, len) in lens.enumerate() {
        bytes += len;
        block.texts.end = index + 1;
        block.bytes.end = bytes;
        if block.bytes.len() >= BLOCK_BYTES || (index + 1 == count && !block.bytes.is_empty()) {
            blocks.push(std::mem::replace(
                &mut block,
                Block { texts: index + 1..index + 1, bytes: bytes..bytes },
            ));
        }
    }
    blocks
}

/// Appends the lengths of the `count` texts that `bytes` hold to `lens`, the texts one behind the other to
/// `heap`; `None`, and both as before, where they make no sense.
///
/// Whether they are UTF-8 is for the caller to check.
pub(crate) fn decode(
    tag: u8,
    bytes: &[u8],
    count: usize,
    lens: &mut Vec<u32>,
    heap: &mut Vec<u8>,
) -> Option<()> {
    let before = (lens.len(), heap.len());
    let decoded = decode_checked(tag, bytes, count, lens, heap);
    if decoded.is_none() {
        lens.truncate(before.0);
        heap.truncate(before.1);
    }
    decoded
}

/// Appends the `count` texts that `bytes` hold to `rows`, each behind a varint of its bytes, as the row bytes of one
/// text are, and to `lens` how many bytes each row has; `None` where they make no sense.
///
/// - `utf8`: whether they must be
/// - `test`: texts that do not pass it may be left out; the row of such a text has no bytes
pub(crate) fn decode_rows(
    tag: u8,
    bytes: &[u8],
    count: usize,
    utf8: bool,
    test: Option<TextTest<'_>>,
    lens: &mut Vec<u32>,
    rows: &mut Vec<u8>,
) -> Option<()> {
    // Lines are texts: raw bytes of few templates are rare enough to take the longer way.
    if utf8 && tag == TEMPLATES && (1..=DOTS_MAX).contains(&count) {
        return templates::get(bytes, count, Form::Rows(test), lens, rows);
    }
    let (first, mut heap) = (lens.len(), Vec::new());
    decode(tag, bytes, count, lens, &mut heap)?;
    if utf8 && !are_texts(&lens[first..], &heap) {
        return None;
    }
    rows.reserve(heap.len() + count * 2);
    let mut rest = &heap[..];
    for len in &mut lens[first..] {
        let (text, after) = rest.split_at(*len as usize);
        let start = rows.len();
        put_varint(rows, text.len() as u64);
        rows.extend_from_slice(text);
        (*len, rest) = ((rows.len() - start) as u32, after);
    }
    Some(())
}

/// Whether each text is UTF-8 by itself.
pub(crate) fn are_texts(lens: &[u32], heap: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(heap) else { return false };
    let mut at = 0;
    lens.iter().all(|len| {
        at += *len as usize;
        text.is_char_boundary(at)
    })
}

fn decode_checked(
    tag: u8,
    bytes: &[u8],
    count: usize,
    lens: &mut Vec<u32>,
    heap: &mut Vec<u8>,
) -> Option<()> {
    if !(1..=DOTS_MAX).contains(&count) {
        return None;
    }
    match tag {
        CONSTANT => {
            if bytes.len().checked_mul(count)? > HEAP_BYTES_MAX {
                return None;
            }
            lens.extend(std::iter::repeat_n(bytes.len() as u32, count));
            heap.reserve(bytes.len() * count);
            (0..count).for_each(|_| heap.extend_from_slice(bytes));
            Some(())
        }
        DICTIONARY => decode_dictionary(bytes, count, lens, heap),
        TEMPLATES => templates::get(bytes, count, Form::Texts, lens, heap),
        _ => decode_heap(tag, Fields(bytes), count, lens, heap),
    }
}

fn decode_dictionary(bytes: &[u8], count: usize, lens: &mut Vec<u32>, heap: &mut Vec<u8>) -> Option<()> {
    let mut fields = Fields(bytes);
    let mut places = Vec::with_capacity(count);
    frames::get(&mut fields, Part::all(count), &mut places)?;
    let list_count: usize = fields.number()?;
    if !(1..=count).contains(&list_count) {
        return None;
    }
    let (mut list_lens, mut list_heap) = (Vec::new(), Vec::new());
    get_heap(fields, list_count, &mut list_lens, &mut list_heap)?;
    let list: Vec<&[u8]> = split(&list_lens, &list_heap).collect();
    let mut total = 0;
    for place in places {
        let text = list.get(usize::try_from(place).ok()?)?;
        total += text.len();
        if total > HEAP_BYTES_MAX {
            return None;
        }
        lens.push(text.len() as u32);
        heap.extend_from_slice(text);
    }
    Some(())
}

/// What [`put_heap`] appended, which ends the bytes.
pub(super) fn get_heap(
    mut fields: Fields<'_>,
    count: usize,
    lens: &mut Vec<u32>,
    heap: &mut Vec<u8>,
) -> Option<()> {
    let tag = fields.byte()?;
    decode_heap(tag, fields, count, lens, heap)
}

/// Texts of these lengths, one behind the other in `heap`.
pub(super) fn split<'a>(lens: &[u32], heap: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = heap;
    lens.iter().map(move |len| {
        let (text, after) = rest.split_at(*len as usize);
        rest = after;
        text
    })
}

fn decode_heap(
    tag: u8,
    mut fields: Fields<'_>,
    count: usize,
    lens: &mut Vec<u32>,
    heap: &mut Vec<u8>,
) -> Option<()> {
    let mut words = Vec::with_capacity(count);
    frames::get(&mut fields, Part::all(count), &mut words)?;
    let mut total = 0;
    for word in words {
        // Each below the bound, so that their sum cannot overflow before it is compared.
        let len = usize::try_from(word).ok().filter(|len| *len <= HEAP_BYTES_MAX)?;
        total += len;
        lens.push(len as u32);
    }
    if total > HEAP_BYTES_MAX {
        return None;
    }
    match tag {
        PLAIN => heap.extend_from_slice(fields.bytes(total)?),
        ZSTD => {
            let first = lens.len() - count;
            for block in blocks(lens[first..].iter().map(|len| *len as usize)) {
                get_block(&mut fields, block.bytes.len(), heap)?;
            }
        }
        _ => return None,
    }
    fields.0.is_empty().then_some(())
}

/// Appends one block of exactly `len` bytes.
fn get_block(fields: &mut Fields<'_>, len: usize, heap: &mut Vec<u8>) -> Option<()> {
    let packed_len = fields.number()?;
    let packed = fields.bytes(packed_len)?;
    let start = heap.len();
    DECOMPRESSOR.with_borrow_mut(|decompressor| {
        if decompressor.is_none() {
            *decompressor = Decompressor::new().ok();
        }
        heap.resize(start + len, 0);
        let written = decompressor.as_mut()?.decompress_to_buffer(packed, &mut heap[start..]).ok()?;
        (written == len).then_some(())
    })
}
