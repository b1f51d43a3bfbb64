//! Making a segment: chunks series by series, then index, fst and meta; the tail once its place in the order of
//! commits is known.

use std::fs::Permissions;
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;

use dotter_dot::{Column, NAME_BYTES_MAX, SeriesName, Shape, Timestamp, put_varint};

use crate::disk::layout::{Folder, Layout, NewFile, TRIES_MAX};
use crate::disk::spill::Spill;
use crate::error::Error;
use crate::format::chunk;
use crate::format::listing::{Order, SegmentEntry, words_and_number};
use crate::format::manifest::Manifest;
use crate::format::segment::entry::{ChunkRef, Entry, Listed};
use crate::format::segment::tail::{Meta, TAIL_BYTES, Tail, VERSION};
use crate::format::shapes::{Shapes, put_shape};
use crate::format::summary::Summary;

pub(crate) const MAGIC: &[u8; 8] = b"DOTTRSEG";
/// How many bytes may wait for a sync where writing is paced.
const PACE_BYTES: u64 = 2 << 20;
/// Chunks are collected to about this size before they are written.
const WRITE_BYTES: usize = 256 << 10;

/// A segment that is being made. Series come in the order of their names, each once.
///
/// Memory does not grow with the number of series: index and names are spilled, and the fst is streamed to disk.
pub(crate) struct SegmentWriter {
    layout: Layout,
    level: u32,
    /// Made when the first bytes are written, since its name has the hour of the first dots.
    file: Option<NewFile>,
    written: u64,
    pending: Vec<u8>,
    index: Spill,
    shapes: Shapes,
    /// For each series the offset of its index entry (8 bytes), the length of its name (2 bytes), its name.
    keys: Spill,
    first_time: u64,
    last_time: u64,
    dots: u64,
    series: u64,
    chunk_dots: usize,
    open: Option<OpenSeries>,
    is_paced: bool,
    /// How many bytes have been synced.
    synced: u64,
}

struct OpenSeries {
    name: SeriesName,
    /// The shape of the dot committed last.
    latest: Shape,
    entry: Entry,
}

/// A segment that is synced except for its tail, and that no list names yet.
pub(crate) struct Unlisted {
    writer: SegmentWriter,
    index_at: u64,
    fst_at: u64,
    meta_at: u64,
    checksum: u32,
    purged: u64,
}

impl SegmentWriter {
    /// - `level`: how often its dots have been merged
    /// - `chunk_dots`: the most dots in a chunk
    pub(crate) fn new(layout: &Layout, level: u32, chunk_dots: usize) -> SegmentWriter {
        let mut pending = Vec::with_capacity(WRITE_BYTES * 2);
        pending.extend_from_slice(MAGIC);
        pending.extend_from_slice(&VERSION.to_le_bytes());
        pending.extend_from_slice(&[0; 4]);
        SegmentWriter {
            layout: layout.clone(),
            level,
            file: None,
            written: 0,
            pending,
            index: Spill::new(layout),
            shapes: Shapes::default(),
            keys: Spill::new(layout),
            first_time: u64::MAX,
            last_time: 0,
            dots: 0,
            series: 0,
            chunk_dots: chunk_dots.min(chunk::CHUNK_DOTS_MAX),
            open: None,
            is_paced: false,
            synced: 0,
        }
    }

    /// From now on it syncs after every few bytes, not all at the end, so that a sync of the log at the same time
    /// never waits for long.
    pub(crate) fn paced(mut self) -> SegmentWriter {
        self.is_paced = true;
        self
    }

    /// Begins the next series; names come in ascending order.
    ///
    /// - `latest`: the shape of its dot that was committed last
    pub(crate) fn begin(&mut self, name: SeriesName, latest: Shape) -> Result<(), Error> {
        self.end()?;
        let first_chunk = self.written + self.pending.len() as u64;
        self.open = Some(OpenSeries { name, latest, entry: Entry::new(first_chunk) });
        Ok(())
    }

    /// Changes the shape of the dot committed last, for the series that was begun.
    pub(crate) fn latest(&mut self, shape: &Shape) {
        if let Some(open) = self.open.as_mut().filter(|open| !open.latest.is(shape)) {
            open.latest = shape.clone();
        }
    }

    /// Adds dots to the series that was begun: sorted by time, all dots with explicit times before clock stamps, in
    /// as few calls as possible (each call begins a chunk, and so does each change of shape).
    pub(crate) fn add(&mut self, dots: &Column, clock: bool) -> Result<(), Error> {
        for (part, shape) in dots.parts(0..dots.len()) {
            let number = self.shapes.number(shape);
            let mut rest = part;
            while !rest.is_empty() {
                let count = chunk::fitting(dots, rest.clone(), shape, self.chunk_dots);
                let now = rest.start..rest.start + count;
                rest.start = now.end;
                let start = self.pending.len();
                chunk::encode(dots, now.clone(), shape, clock, &mut self.pending);
                let listed = Listed {
                    bytes: (self.pending.len() - start) as u64,
                    dots: count as u64,
                    first: dots.times()[now.start],
                    last: dots.times()[now.end - 1],
                    shape: number,
                    summary: Summary::of(dots, now),
                };
                self.first_time = self.first_time.min(listed.first);
                self.last_time = self.last_time.max(listed.last);
                self.dots += count as u64;
                let open = self.open.as_mut().expect("dots are added to a series that was begun");
                open.entry.push(listed, clock);
                self.flush_full()?;
            }
        }
        Ok(())
    }

    /// Adds a chunk of another segment unchanged to the series that was begun; chunks come in the order of
    /// [`Self::add`].
    pub(crate) fn copy(&mut self, bytes: &[u8], chunk: &ChunkRef, shape: &Shape) -> Result<(), Error> {
        let listed = Listed {
            bytes: bytes.len() as u64,
            dots: chunk.dots,
            first: chunk.first.nanos(),
            last: chunk.last.nanos(),
            shape: self.shapes.number(shape),
            summary: chunk.summary,
        };
        self.first_time = self.first_time.min(listed.first);
        self.last_time = self.last_time.max(listed.last);
        self.dots += chunk.dots;
        self.pending.extend_from_slice(bytes);
        let open = self.open.as_mut().expect("chunks are added to a series that was begun");
        open.entry.push(listed, chunk.clock);
        self.flush_full()
    }

    /// Whether any dot was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.dots == 0
    }

    /// Writes index, fst and meta, and syncs everything except the tail.
    pub(crate) fn finish(mut self, meta: &Meta) -> Result<Unlisted, Error> {
        self.end()?;
        self.make_file()?;
        let index_at = self.written + self.pending.len() as u64;
        let start = self.pending.len();
        put_varint(&mut self.pending, self.shapes.as_slice().len() as u64);
        self.shapes.as_slice().iter().for_each(|shape| put_shape(&mut self.pending, shape));
        let mut checksum = crc32c::crc32c(&self.pending[start..]);
        let mut index = std::mem::replace(&mut self.index, Spill::new(&self.layout)).into_reader()?;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = index.read(&mut buffer).map_err(Error::io("read the index of", &self.path()))?;
            if count == 0 {
                break;
            }
            checksum = crc32c::crc32c_append(checksum, &buffer[..count]);
            self.pending.extend_from_slice(&buffer[..count]);
            self.flush_full()?;
        }
        let fst_at = self.written + self.pending.len() as u64;
        checksum = self.write_keys(checksum)?;
        let meta_at = self.written + self.pending.len() as u64;
        let start = self.pending.len();
        meta.encode(&mut self.pending);
        checksum = crc32c::crc32c_append(checksum, &self.pending[start..]);
        self.flush()?;
        // Nearly all bytes are synced before MANIFEST.lock is taken.
        let new = self.file.as_ref().expect("it was made above");
        self.layout.disk.sync_data(&new.file, &new.path).map_err(Error::io("sync", &new.path))?;
        Ok(Unlisted { writer: self, index_at, fst_at, meta_at, checksum, purged: meta.purged })
    }

    /// Writes the fst; returns the checksum continued over it.
    fn write_keys(&mut self, checksum: u32) -> Result<u32, Error> {
        let mut keys = std::mem::replace(&mut self.keys, Spill::new(&self.layout)).into_reader()?;
        let path = self.path();
        let out = Checked { writer: self, checksum };
        let failed = |error| match error {
            fst::Error::Io(error) => Error::io("write", &path)(error),
            fst::Error::Fst(error) => {
                unreachable!("series come in the order of their names, each once: {error}")
            }
        };
        let mut map = fst::MapBuilder::new(out).map_err(failed)?;
        let mut head = [0; 10];
        let mut name = [0; NAME_BYTES_MAX];
        for _ in 0..map.get_ref().writer.series {
            keys.read_exact(&mut head).map_err(Error::io("read the names of", &path))?;
            let (at, length) = head.split_at(8);
            let at = u64::from_le_bytes(at.try_into().expect("8 bytes"));
            let length = u16::from_le_bytes(length.try_into().expect("2 bytes")) as usize;
            keys.read_exact(&mut name[..length]).map_err(Error::io("read the names of", &path))?;
            map.insert(&name[..length], at).map_err(failed)?;
        }
        Ok(map.into_inner().map_err(failed)?.checksum)
    }

    fn end(&mut self) -> Result<(), Error> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        if open.entry.is_empty() {
            return Ok(());
        }
        let at = self.index.len();
        let name = open.name.as_str();
        self.keys.append(|out| {
            out.extend_from_slice(&at.to_le_bytes());
            let length = u16::try_from(name.len()).expect("a name has at most 4,096 bytes");
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(name.as_bytes());
        })?;
        let latest = self.shapes.number(&open.latest);
        self.index.append(|out| open.entry.encode(latest, out))?;
        self.series += 1;
        Ok(())
    }

    fn flush_full(&mut self) -> Result<(), Error> {
        if self.pending.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.make_file()?;
        self.write_pending().map_err(|source| Error::io("write", &self.path())(source))
    }

    /// Makes the file under its final name. For people, the name has the level and the hour of the first dot so far.
    fn make_file(&mut self) -> Result<(), Error> {
        if self.file.is_none() {
            let first = if self.is_empty() { 0 } else { self.first_time };
            let first = Timestamp::from_nanos(first).to_string();
            let hour: String = first.chars().take(13).filter(|c| *c != '-').collect();
            self.file = Some(self.layout.make(Folder::Seg, &format!("L{}-{hour}", self.level))?);
        }
        Ok(())
    }

    /// The path of the file, for errors.
    fn path(&self) -> PathBuf {
        self.file.as_ref().map_or_else(|| self.layout.segment(""), |new| new.path.clone())
    }

    fn write_pending(&mut self) -> std::io::Result<()> {
        let new = self.file.as_ref().expect("it is made before anything is written");
        new.check_length(self.written)?;
        self.layout.disk.write(&new.file, &new.path, &self.pending, self.written)?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        if self.is_paced && self.written - self.synced >= PACE_BYTES {
            self.layout.disk.sync_data(&new.file, &new.path)?;
            self.synced = self.written;
        }
        Ok(())
    }
}

/// Appends to a segment and to its checksum.
struct Checked<'a> {
    writer: &'a mut SegmentWriter,
    checksum: u32,
}

impl Write for Checked<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.checksum = crc32c::crc32c_append(self.checksum, bytes);
        self.writer.pending.extend_from_slice(bytes);
        if self.writer.pending.len() >= WRITE_BYTES {
            self.writer.write_pending()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A finished segment that the edit in hand lists; its file is locked as long as this value lives.
///
/// Keep it until the edit is committed: a file that is neither listed nor locked is litter.
#[must_use]
pub(crate) struct Placed {
    pub(crate) entry: SegmentEntry,
    file: NewFile,
}

/// Lists segments in `manifest`, which is being changed under MANIFEST.lock, so that its edit number is final. From
/// the commit on all of them count.
///
/// - `segments`: each with its place in the order of commits
///
/// # Errors
///
/// The system's, and one of kind `InvalidData` where another process has changed a file while it was made.
pub(crate) fn list(manifest: &mut Manifest, segments: Vec<(Unlisted, Order)>) -> Result<Vec<Placed>, Error> {
    let placed = place(manifest, segments)?;
    manifest.segments.extend(placed.iter().map(|placed| placed.entry.clone()));
    Ok(placed)
}

/// As [`list`], but the caller adds the listings to the list.
pub(crate) fn place(manifest: &Manifest, segments: Vec<(Unlisted, Order)>) -> Result<Vec<Placed>, Error> {
    let together = u32::try_from(segments.len()).expect("a few segments");
    let mut first_number = None;
    let mut placed = Vec::with_capacity(segments.len());
    let mut layout = None;
    for (segment, order) in segments {
        layout.get_or_insert_with(|| segment.writer.layout.clone());
        let segment = segment.place(manifest, order, first_number, together)?;
        first_number.get_or_insert(segment.entry.number());
        placed.push(segment);
    }
    if let Some(layout) = layout {
        layout.sync_dir(&layout.dir.join(Folder::Seg.name()))?;
    }
    // Where the commit fails, it may not be known whether the list names the files. So they are kept here, and
    // removed as litter if the list does not name them.
    placed.iter_mut().for_each(|placed| placed.file.keep());
    Ok(placed)
}

impl Unlisted {
    fn place(
        self,
        manifest: &Manifest,
        order: Order,
        first_number: Option<u64>,
        together: u32,
    ) -> Result<Placed, Error> {
        let Unlisted { writer, index_at, fst_at, meta_at, checksum, purged } = self;
        let disk = &writer.layout.disk;
        let mut new = writer.file.expect("a finished segment has a file");
        for _ in 0..TRIES_MAX {
            new.check_length(writer.written).map_err(Error::io("write", &new.path))?;
            let tail = Tail {
                level: writer.level,
                store: manifest.store,
                number: new.number,
                edit: manifest.generation,
                order,
                index_at,
                fst_at,
                meta_at,
                first_time: Timestamp::from_nanos(writer.first_time),
                last_time: Timestamp::from_nanos(writer.last_time),
                dots: writer.dots,
                series: writer.series,
                first_number: first_number.unwrap_or(new.number),
                together,
                meta: Meta::default(),
                bytes: writer.written + TAIL_BYTES as u64,
            };
            disk.write(&new.file, &new.path, &tail.encode(checksum), writer.written)
                .map_err(Error::io("write", &new.path))?;
            new.file
                .set_permissions(Permissions::from_mode(0o400))
                .map_err(Error::io("set the mode of", &new.path))?;
            disk.sync_all(&new.file, &new.path).map_err(Error::io("sync", &new.path))?;
            if new.is_there() {
                let entry = SegmentEntry { purged, ..tail.entry(new.name()) };
                return Ok(Placed { entry, file: new });
            }
            new = copy(&writer.layout, &new, writer.written)?;
        }
        Err(new.lost())
    }
}

/// Copies the first bytes of a file under another number, because its name was removed or means another file now.
fn copy(layout: &Layout, from: &NewFile, bytes: u64) -> Result<NewFile, Error> {
    let words = words_and_number(from.name()).expect("it was made under such a name").0;
    let new = layout.make(Folder::Seg, words)?;
    let mut buffer = vec![0; WRITE_BYTES];
    let mut at = 0;
    while at < bytes {
        let part = &mut buffer[..(bytes - at).min(WRITE_BYTES as u64) as usize];
        from.file.read_exact_at(part, at).map_err(Error::io("read", &from.path))?;
        layout.disk.write(&new.file, &new.path, part, at).map_err(Error::io("write", &new.path))?;
        at += part.len() as u64;
    }
    Ok(new)
}
