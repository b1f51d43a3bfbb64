//! Numbers in the pco format: one chunk of pages that are decoded each by itself, without the counts and lengths that a
//! pco file would add.
//!
//! The only user of the `pco` crate. Forms that take much memory to decode a few numbers (dictionaries, wide windows)
//! are never written, and are refused where they are read.

use pco::metadata::{ChunkMeta, DeltaEncoding, Mode};
use pco::wrapped::{FileCompressor, FileDecompressor};
use pco::{ChunkConfig, DecompressorScratch, DeltaSpec, ModeSpec, PagingSpec};

use dotter_dot::{put_varint, zigzag};

use crate::format::bytes::Fields;
use crate::format::codec::{DOTS_MAX, GROUP, Part};

pub(super) use pco::data_types::Number;

/// Fewer numbers than this are not worth pco's tables.
pub(super) const COUNT_MIN: usize = 256;

const LEVEL: usize = 4;

/// Numbers that pco decodes at once.
const BATCH: usize = 256;
const _: () = assert!(GROUP.is_multiple_of(BATCH), "a page ends with a batch");

/// A page has at most two to this times as many numbers as a group.
const PAGE_LOG_MAX: u8 = (DOTS_MAX / GROUP).ilog2() as u8;

/// Numbers that take more than this many bytes each are tried in part first.
const WIDE_BYTES: usize = 4;

/// One of so many parts.
const PART: usize = 4;

/// Each page takes some ten bytes more, whatever is in it: a page of less than this has twice as many numbers.
const PAGE_BYTES_MIN: usize = 1024;

/// The first byte of pco's header; the second is the minor version.
const VERSION_MAJOR: u8 = 4;

/// Low half of the byte behind the header. A dictionary is allocated as soon as its length is read.
const MODE_DICTIONARY: u8 = 4;

/// Whether numbers are encoded as differences from those before them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lean {
    /// Not at all: they are distances already.
    Not,
    /// Whatever a sample says is best.
    Sample,
}

thread_local! {
    static SCRATCH: std::cell::RefCell<DecompressorScratch> = Default::default();
}

/// Where `out` from `start` on holds `numbers` in another form: puts pco in its place if that is clearly smaller.
pub(super) fn replace_if_smaller<T: Number>(
    numbers: &[T],
    lean: Lean,
    start: usize,
    out: &mut Vec<u8>,
) -> bool {
    replace_behind(&[], numbers, lean, start, out)
}

/// As [`replace_if_smaller`], of whole numbers, as distances to the least in the narrowest type that holds them: pco's
/// tables take as many bits for a number as its type has. Of numbers of eight bits it makes no tables.
pub(super) fn replace_wholes_if_smaller(wholes: &[i64], lean: Lean, start: usize, out: &mut Vec<u8>) -> bool {
    let (Some(least), Some(greatest)) = (wholes.iter().min(), wholes.iter().max()) else { return false };
    let distance = |whole: &i64| whole.wrapping_sub(*least) as u64;
    let mut head = Vec::new();
    put_varint(&mut head, zigzag(*least));
    let greatest = distance(greatest);
    if u16::try_from(greatest).is_ok() {
        head.push(2);
        let numbers: Vec<u16> = wholes.iter().map(|whole| distance(whole) as u16).collect();
        replace_behind(&head, &numbers, lean, start, out)
    } else if u32::try_from(greatest).is_ok() {
        head.push(4);
        let numbers: Vec<u32> = wholes.iter().map(|whole| distance(whole) as u32).collect();
        replace_behind(&head, &numbers, lean, start, out)
    } else {
        head.push(8);
        let numbers: Vec<u64> = wholes.iter().map(distance).collect();
        replace_behind(&head, &numbers, lean, start, out)
    }
}

fn replace_behind<T: Number>(
    head: &[u8],
    numbers: &[T],
    lean: Lean,
    start: usize,
    out: &mut Vec<u8>,
) -> bool {
    let middle = out.len();
    let other = middle - start;
    if numbers.len() < COUNT_MIN || other < 32 {
        return false;
    }
    // Wide numbers are noise for the most part, at a price that does not depend on it: a part of them tells.
    if numbers.len() >= PART * COUNT_MIN && other > WIDE_BYTES * numbers.len() {
        let part = numbers.len() / PART;
        let tried = put(&numbers[part..2 * part], lean, DOTS_MAX, out);
        let worth = clearly_smaller((out.len() - middle) * PART, other);
        out.truncate(middle);
        if tried.is_none() || !worth {
            return false;
        }
    }
    out.extend_from_slice(head);
    if put(numbers, lean, page_count(numbers.len(), other), out).is_none() {
        out.truncate(middle);
        return false;
    }
    let pco = out.len() - middle;
    if !clearly_smaller(pco, other) {
        out.truncate(middle);
        return false;
    }
    out.drain(start..middle);
    true
}

/// How many numbers a page has where all together have about so many bytes.
fn page_count(count: usize, bytes: usize) -> usize {
    let mut page = GROUP;
    while page < DOTS_MAX && bytes * page < PAGE_BYTES_MIN * count {
        page *= 2;
    }
    page
}

/// By 2.5 %: the other form decodes faster.
fn clearly_smaller(pco: usize, other: usize) -> bool {
    pco + pco / 40 < other
}

/// `None` where pco refuses, which it does for nothing but an error of ours; the other form serves then.
///
/// - `page`: how many numbers a page has, a power of two times [`GROUP`]
fn put<T: Number>(numbers: &[T], lean: Lean, page: usize, out: &mut Vec<u8>) -> Option<()> {
    let counts = (0..numbers.len()).step_by(page).map(|from| page.min(numbers.len() - from)).collect();
    let config =
        ChunkConfig::default().with_compression_level(LEVEL).with_paging_spec(PagingSpec::Exact(counts));
    let config = match lean {
        Lean::Not => config.with_mode_spec(ModeSpec::Classic).with_delta_spec(DeltaSpec::NoOp),
        Lean::Sample => config,
    };
    let file = FileCompressor::default();
    let mut chunk = file.chunk_compressor(numbers, &config).ok()?;
    // What a later pco may choose, `get` refuses: better the other form.
    if !bounded(chunk.meta()) {
        return None;
    }
    let mut pages = Vec::new();
    if numbers.len() > GROUP {
        out.push((page / GROUP).ilog2() as u8);
    }
    let last = (numbers.len() - 1) / page;
    for page in 0..=last {
        let before = pages.len();
        chunk.write_page(page, &mut pages).ok()?;
        if page < last {
            put_varint(out, (pages.len() - before) as u64);
        }
    }
    file.write_header(&mut *out).ok()?;
    chunk.write_meta(&mut *out).ok()?;
    out.extend_from_slice(&pages);
    Some(())
}

/// Whether decoding takes no more memory than the numbers do, more or less.
fn bounded(meta: &ChunkMeta) -> bool {
    let lean = match &meta.delta_encoding {
        DeltaEncoding::NoOp | DeltaEncoding::Consecutive { .. } => true,
        DeltaEncoding::Lookback { config, .. } => config.window_n_log <= DOTS_MAX.ilog2(),
        _ => false,
    };
    lean && !matches!(meta.mode, Mode::Dict(_))
}

/// Appends those of the whole numbers in the rest of `fields` that `part` wants, as the bits of an i64.
pub(super) fn get_wholes(fields: &mut Fields<'_>, part: Part, out: &mut Vec<u64>) -> Option<()> {
    let least = fields.signed()? as u64;
    match fields.byte()? {
        2 => get(fields, part, |number: u16| least.wrapping_add(number as u64), out),
        4 => get(fields, part, |number: u32| least.wrapping_add(number as u64), out),
        8 => get(fields, part, |number: u64| least.wrapping_add(number), out),
        _ => None,
    }
}

/// Appends those of the numbers in the rest of `fields` that `part` wants, each made a word by `word`.
pub(super) fn get<T: Number + Default>(
    fields: &mut Fields<'_>,
    part: Part,
    word: impl Fn(T) -> u64,
    out: &mut Vec<u64>,
) -> Option<()> {
    let page_count = match part.count > GROUP {
        true => GROUP << fields.byte().filter(|log| *log <= PAGE_LOG_MAX)?,
        false => GROUP,
    };
    let mut directory = fields.clone();
    let last = part.count.checked_sub(1)? / page_count;
    for _ in 0..last {
        fields.varint()?;
    }
    let [major, _, mode, ..] = fields.0 else { return None };
    if *major != VERSION_MAJOR || mode & 0xF == MODE_DICTIONARY {
        return None;
    }
    let (file, rest) = FileDecompressor::new(fields.0).ok()?;
    let (chunk, rest) = file.chunk_decompressor::<T, _>(rest).ok()?;
    // Only now: a window is allocated by the page.
    if !bounded(chunk.meta()) {
        return None;
    }
    let mut pages = Fields(rest);
    let mut numbers = vec![T::default(); page_count.min(part.until.next_multiple_of(BATCH))];
    for page in 0..=last {
        let bytes = if page < last { directory.number()? } else { pages.0.len() };
        let bytes = pages.bytes(bytes)?;
        let start = page * page_count;
        let count = page_count.min(part.count - start);
        let wanted = part.from.max(start)..part.until.min(start + count);
        if wanted.is_empty() {
            continue;
        }
        // It decodes as many at once as fill a batch, or to the end.
        let room = (wanted.end - start).next_multiple_of(BATCH).min(count);
        let numbers = &mut numbers[..room];
        let rest = SCRATCH.with_borrow_mut(|scratch| {
            let mut page = chunk.page_decompressor_with_scratch(bytes, count, scratch).ok()?;
            let progress = page.read(numbers).ok()?;
            let is_all = progress.finished == (room == count) && progress.n_processed == room;
            is_all.then(|| page.into_src())
        })?;
        if room == count && !rest.is_empty() {
            return None;
        }
        out.extend(numbers[wanted.start - start..wanted.end - start].iter().map(|number| word(*number)));
    }
    *fields = pages;
    Some(())
}
