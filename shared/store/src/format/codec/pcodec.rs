//! Numbers in the pco format: one chunk of one page, without the counts and lengths that a pco file would add.
//!
//! The only user of the `pco` crate. Forms that take much memory to decode a few numbers (dictionaries, wide windows)
//! are never written, and are refused where they are read.

use pco::metadata::{ChunkMeta, DeltaEncoding, Mode};
use pco::wrapped::{FileCompressor, FileDecompressor};
use pco::{ChunkConfig, DecompressorScratch, DeltaSpec, ModeSpec};

use crate::format::bytes::Fields;
use crate::format::codec::{Counts, DOTS_MAX};

pub(super) use pco::data_types::Number;

/// Fewer numbers than this are not worth pco's tables.
pub(super) const COUNT_MIN: usize = 256;

const LEVEL: usize = 4;

/// Numbers that pco decodes at once.
const BATCH: usize = 256;

/// Numbers that take more than this many bytes each are tried in part first.
const WIDE_BYTES: usize = 4;

/// One of so many parts.
const PART: usize = 4;

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
    let middle = out.len();
    let other = middle - start;
    if numbers.len() < COUNT_MIN || other < 32 {
        return false;
    }
    // Wide numbers are noise for the most part, at a price that does not depend on it: a part of them tells.
    if numbers.len() >= PART * COUNT_MIN && other > WIDE_BYTES * numbers.len() {
        let part = numbers.len() / PART;
        let tried = put(&numbers[part..2 * part], lean, out);
        let worth = clearly_smaller((out.len() - middle) * PART, other);
        out.truncate(middle);
        if tried.is_none() || !worth {
            return false;
        }
    }
    if put(numbers, lean, out).is_none() {
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

/// By 3 %: the other form decodes faster.
fn clearly_smaller(pco: usize, other: usize) -> bool {
    pco + pco / 32 < other
}

/// `None` where pco refuses, which it does for nothing but an error of ours; the other form serves then.
fn put<T: Number>(numbers: &[T], lean: Lean, out: &mut Vec<u8>) -> Option<()> {
    let config = ChunkConfig::default().with_compression_level(LEVEL);
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
    out.reserve(chunk.meta_size_hint() + chunk.page_size_hint(0));
    file.write_header(&mut *out).ok()?;
    chunk.write_meta(&mut *out).ok()?;
    chunk.write_page(0, out).ok()?;
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

/// Appends the numbers that the rest of `fields` holds, as many as are wanted, each made a word by `word`.
pub(super) fn get<T: Number + Default>(
    fields: &mut Fields<'_>,
    counts: Counts,
    word: impl Fn(T) -> u64,
    out: &mut Vec<u64>,
) -> Option<()> {
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
    let Counts { count, wanted } = counts;
    // It decodes as many at once as fill a batch, or to the end.
    let room = wanted.next_multiple_of(BATCH).min(count);
    let mut numbers = vec![T::default(); room];
    fields.0 = SCRATCH.with_borrow_mut(|scratch| {
        let mut page = chunk.page_decompressor_with_scratch(rest, count, scratch).ok()?;
        let progress = page.read(&mut numbers).ok()?;
        let is_all = progress.finished == (room == count) && progress.n_processed == room;
        is_all.then(|| page.into_src())
    })?;
    out.extend(numbers.into_iter().take(wanted).map(word));
    Some(())
}
