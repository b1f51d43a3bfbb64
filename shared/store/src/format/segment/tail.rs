//! The end of a segment: meta, top index and tail. They describe the segment, and let a rebuilt list name it when
//! MANIFEST is lost.

use std::path::Path;

use dotter_dot::{Shape, Timestamp, put_varint};

use crate::error::Error;
use crate::format::bytes::{Fields, put_text, u32_at, u64_at};
use crate::format::ledger::{Ledger, Totals};
use crate::format::listing::{Order, SegmentEntry, StoreId};
use crate::format::place::Place;
use crate::format::segment::keys::Top;
use crate::format::shapes::{put_shape, take_shape};

pub(crate) const TAIL_BYTES: usize = 144;
pub(crate) const VERSION: u32 = 3;
/// The offset of the tail's checksum, which covers all bytes of the tail before it.
const CHECKSUM_AT: usize = 136;
const MAGIC: &[u8; 8] = b"DOTTRTAI";

/// The first bytes of a segment: magic, version and zeros.
pub(crate) const HEADER_BYTES: usize = 16;
/// Bytes of the checksum that meta and top index each end in.
const PART_CHECKSUM_BYTES: usize = 4;

/// The fields of the last [`TAIL_BYTES`] of a segment, and the meta before them.
pub(crate) struct Tail {
    pub(crate) level: u32,
    pub(crate) store: StoreId,
    /// The number that its name ends in.
    pub(crate) number: u64,
    /// The number of the edit that first listed it.
    pub(crate) edit: u64,
    pub(crate) order: Order,
    /// Where the key blocks begin, and the chunks end.
    pub(crate) keys_at: u64,
    pub(crate) meta_at: u64,
    pub(crate) top_at: u64,
    pub(crate) first_time: Timestamp,
    pub(crate) last_time: Timestamp,
    pub(crate) dots: u64,
    pub(crate) series: u64,
    /// The number of the first segment that the same edit listed; its own number for that segment itself.
    pub(crate) first_number: u64,
    /// How many segments that edit listed, itself included.
    pub(crate) together: u32,
    /// CRC-32C of all bytes before the tail.
    pub(crate) checksum: u32,
    pub(crate) meta: Meta,
    /// Size of the whole file.
    pub(crate) bytes: u64,
}

/// The meta: what a rebuilt list needs to know of a segment.
#[derive(Clone, Default)]
pub(crate) struct Meta {
    /// The names of its first and last series.
    pub(crate) names: (String, String),
    /// The numbers of the segments that this one replaces.
    pub(crate) replaced: Vec<u64>,
    /// Dots hidden by tombstones up to this edit number are no longer in it.
    pub(crate) purged: u64,
    /// The dots that are in the replaced segments and not in the new ones, counted by what became of them. Of several
    /// segments that one commit lists, only the first has them.
    pub(crate) gone: Totals,
    /// The tier and the window that its dots lie in; `None` on level 0.
    pub(crate) place: Option<Place>,
    /// It stays until the retention clock has run for so long, in nanoseconds; zero where nothing holds it.
    pub(crate) held: u64,
    /// In a sealed segment, the first live WAL file and the ledger as of its end.
    pub(crate) log: Option<(u64, Ledger)>,
}

impl Meta {
    /// Appends the meta with its checksum.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        put_text(out, &self.names.0);
        put_text(out, &self.names.1);
        put_varint(out, self.replaced.len() as u64);
        self.replaced.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
        put_varint(out, self.purged);
        self.gone.encode(out);
        Place::encode(self.place.as_ref(), out);
        put_varint(out, self.held);
        out.push(self.log.is_some() as u8);
        if let Some((wal_first, ledger)) = &self.log {
            put_varint(out, *wal_first);
            ledger.encode(out);
        }
        put_checksum(start, out);
    }

    fn decode(bytes: &[u8]) -> Option<Meta> {
        let mut fields = Fields(bytes);
        let names = (fields.text()?.to_owned(), fields.text()?.to_owned());
        let mut meta = Meta { names, ..Meta::default() };
        for _ in 0..fields.count(8)? {
            meta.replaced.push(u64::from_le_bytes(fields.array()?));
        }
        meta.purged = fields.varint()?;
        meta.gone = Totals::decode(&mut fields)?;
        meta.place = Place::decode(&mut fields)?;
        meta.held = fields.varint()?;
        if fields.byte()? == 1 {
            meta.log = Some((fields.varint()?, Ledger::decode(&mut fields)?));
        }
        fields.0.is_empty().then_some(meta)
    }
}

/// Appends the checksum of the bytes from `start` on.
fn put_checksum(start: usize, out: &mut Vec<u8>) {
    let checksum = crc32c::crc32c(&out[start..]);
    out.extend_from_slice(&checksum.to_le_bytes());
}

/// Appends the top index with its checksum: the shapes of the segment, and its key blocks.
pub(crate) fn put_top(shapes: &[Shape], top: &Top, out: &mut Vec<u8>) {
    let start = out.len();
    put_varint(out, shapes.len() as u64);
    shapes.iter().for_each(|shape| put_shape(out, shape));
    top.encode(out);
    put_checksum(start, out);
}

impl Tail {
    /// The bytes of the tail.
    pub(crate) fn encode(&self) -> [u8; TAIL_BYTES] {
        let mut out = [0; TAIL_BYTES];
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, MAGIC);
        put(8, &VERSION.to_le_bytes());
        put(12, &self.level.to_le_bytes());
        put(16, &self.store.0);
        let words = [
            self.number,
            self.edit,
            self.order.sequence,
            self.order.generation,
            self.keys_at,
            self.meta_at,
            self.top_at,
            self.first_time.nanos(),
            self.last_time.nanos(),
            self.dots,
            self.series,
            self.first_number,
        ];
        for (index, word) in words.into_iter().enumerate() {
            put(32 + index * 8, &word.to_le_bytes());
        }
        put(128, &self.together.to_le_bytes());
        put(132, &self.checksum.to_le_bytes());
        let checksum = crc32c::crc32c(&out[..CHECKSUM_AT]);
        out[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Reads the tail and checks it: its checksum, and that the offsets are in order and within a file of `length`
    /// bytes. The meta is still empty then; see [`Self::take_end`].
    pub(crate) fn decode(bytes: &[u8; TAIL_BYTES], path: &Path, length: u64) -> Result<Tail, Error> {
        let at = length - TAIL_BYTES as u64;
        if &bytes[..8] != MAGIC {
            return Err(Error::damaged(path, at, "no tail of a segment"));
        }
        let (found, expected) = (crc32c::crc32c(&bytes[..CHECKSUM_AT]), u32_at(bytes, CHECKSUM_AT));
        if found != expected {
            let what = format!("tail checksum {found:08x}, expected {expected:08x}");
            return Err(Error::damaged(path, at, what));
        }
        let version = u32_at(bytes, 8);
        if version != VERSION {
            return Err(Error::Version { path: path.to_owned(), found: version, reads: VERSION });
        }
        let mut store = [0; 16];
        store.copy_from_slice(&bytes[16..32]);
        let tail = Tail {
            level: u32_at(bytes, 12),
            store: StoreId(store),
            number: u64_at(bytes, 32),
            edit: u64_at(bytes, 40),
            order: Order { sequence: u64_at(bytes, 48), generation: u64_at(bytes, 56) },
            keys_at: u64_at(bytes, 64),
            meta_at: u64_at(bytes, 72),
            top_at: u64_at(bytes, 80),
            first_time: Timestamp::from_nanos(u64_at(bytes, 88)),
            last_time: Timestamp::from_nanos(u64_at(bytes, 96)),
            dots: u64_at(bytes, 104),
            series: u64_at(bytes, 112),
            first_number: u64_at(bytes, 120),
            together: u32_at(bytes, 128),
            checksum: u32_at(bytes, 132),
            meta: Meta::default(),
            bytes: length,
        };
        if !(HEADER_BYTES as u64 <= tail.keys_at
            && tail.keys_at <= tail.meta_at
            && tail.meta_at <= tail.top_at
            && tail.top_at <= at)
        {
            return Err(Error::damaged(path, at + 64, "offsets that lie outside the file"));
        }
        Ok(tail)
    }

    /// Checks meta and top index, and reads both. Returns the shapes of the segment and its key blocks.
    ///
    /// - `bytes`: those of the file from `meta_at` to the tail
    pub(crate) fn take_end(&mut self, bytes: &[u8], path: &Path) -> Result<(Vec<Shape>, Top), Error> {
        let (meta, top) = bytes.split_at((self.top_at - self.meta_at) as usize);
        let meta = checked("meta", meta, self.meta_at, path)?;
        self.meta = Meta::decode(meta)
            .ok_or_else(|| Error::damaged(path, self.meta_at, "meta fields that make no sense"))?;
        let mut fields = Fields(checked("top index", top, self.top_at, path)?);
        let taken = take_shapes(&mut fields).zip(Top::decode(&mut fields, self.keys_at as usize));
        taken
            .filter(|(_, top)| fields.0.is_empty() && top.end() as u64 == self.meta_at)
            .ok_or_else(|| Error::damaged(path, self.top_at, "a top index that makes no sense"))
    }

    /// The listing of the segment.
    pub(crate) fn entry(&self, name: &str) -> SegmentEntry {
        SegmentEntry {
            name: name.to_owned(),
            bytes: self.bytes,
            first_time: self.first_time,
            last_time: self.last_time,
            order: self.order,
            level: self.level,
            dots: self.dots,
            series: self.series,
            purged: self.meta.purged,
            store: self.store,
            names: self.meta.names.clone(),
            top_bytes: self.bytes - TAIL_BYTES as u64 - self.top_at,
            checksum: self.checksum,
            place: self.meta.place,
            held: self.meta.held,
        }
    }

    /// Checks that the file is the one that `listed` describes, and not a file of another store or of another time;
    /// and that its dots lie where it says.
    pub(crate) fn compare(&self, listed: &SegmentEntry, path: &Path) -> Result<(), Error> {
        let mut found = self.entry(&listed.name);
        // Where rules change and its tier does not, only the list notes the mark of the new ones.
        if let (Some(found), Some(listed)) = (&mut found.place, &listed.place) {
            found.rules = listed.rules;
        }
        // Where the list was rebuilt, it may be held for less long.
        found.held = listed.held;
        // Where later tombstones hide nothing of it, only the list notes that they have been applied.
        found.purged = found.purged.max(listed.purged);
        let at = self.bytes - TAIL_BYTES as u64;
        if let Some(place) = found.place.filter(|place| !place.holds(self.first_time, self.last_time)) {
            let (first, last) = (self.first_time.nanos(), self.last_time.nanos());
            let what = format!("dots from {first} to {last} in a segment of {place}");
            return Err(Error::damaged(path, at, what));
        }
        if found == *listed && self.number == listed.number() {
            return Ok(());
        }
        let place = |of: &SegmentEntry| of.place.map_or_else(|| "none".to_owned(), |place| place.to_string());
        let fields = |of: &SegmentEntry, number: u64| {
            let order = format!("{}.{}", of.order.sequence, of.order.generation);
            [
                ("store", of.store.to_string()),
                ("number", format!("{number:016x}")),
                ("order", order),
                ("bytes", of.bytes.to_string()),
                ("dots", of.dots.to_string()),
                ("series", of.series.to_string()),
                ("level", of.level.to_string()),
                ("purged", of.purged.to_string()),
                ("first name", of.names.0.clone()),
                ("last name", of.names.1.clone()),
                ("bytes of the top index", of.top_bytes.to_string()),
                ("checksum", format!("{:08x}", of.checksum)),
                ("first time", of.first_time.nanos().to_string()),
                ("last time", of.last_time.nanos().to_string()),
                ("place", place(of)),
            ]
        };
        let both = fields(&found, self.number).into_iter().zip(fields(listed, listed.number()));
        let differs: Vec<String> = both
            .filter(|(found, expected)| found != expected)
            .map(|((field, found), (_, expected))| format!("{field} {found}, expected {expected}"))
            .collect();
        let what = format!("another segment than the one listed: {}", differs.join("; "));
        Err(Error::damaged(path, at, what))
    }
}

fn take_shapes(fields: &mut Fields<'_>) -> Option<Vec<Shape>> {
    (0..fields.count(3)?).map(|_| take_shape(fields)).collect()
}

/// The bytes of a part of the file before its checksum.
fn checked<'a>(what: &str, bytes: &'a [u8], at: u64, path: &Path) -> Result<&'a [u8], Error> {
    let Some((rest, checksum)) = bytes.split_last_chunk::<PART_CHECKSUM_BYTES>() else {
        return Err(Error::damaged(path, at, format!("a {what} of {} bytes", bytes.len())));
    };
    let (found, expected) = (crc32c::crc32c(rest), u32::from_le_bytes(*checksum));
    if found != expected {
        let what = format!("{what} checksum {found:08x}, expected {expected:08x}");
        return Err(Error::damaged(path, at, what));
    }
    Ok(rest)
}
