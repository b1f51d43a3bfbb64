//! Making a segment: chunks series by series, then index and fst; the tail once its place in the list is known.

use std::fs::{File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use dotter_dot::{Column, NAME_BYTES_MAX, SeriesName, Shape, Timestamp, put_varint};

use crate::disk::layout::Layout;
use crate::disk::spill::Spill;
use crate::error::Error;
use crate::format::chunk;
use crate::format::listing::{Order, SegmentEntry};
use crate::format::manifest::Manifest;
use crate::format::segment::entry::{ChunkRef, Entry, Listed};
use crate::format::segment::tail::{Meta, Tail, VERSION};
use crate::format::shapes::{Shapes, put_shape};
use crate::format::summary::Summary;

pub(crate) const MAGIC: &[u8; 8] = b"DOTTRSEG";
/// Bytes that may wait to be put on disk where that is paced.
const PACE_BYTES: u64 = 2 << 20;
/// Chunks are collected to about this size before they are written.
const WRITE_BYTES: usize = 256 << 10;

/// A segment in the making. Series come in the order of their names, each once.
///
/// Memory does not grow with the number of series: index and names are spilled, and the fst is streamed to disk.
pub(crate) struct SegmentWriter {
    layout: Layout,
    path: PathBuf,
    file: File,
    written: u64,
    pending: Vec<u8>,
    index: Spill,
    shapes: Shapes,
    /// Per series the offset of its index entry (8 bytes), the length of its name (2 bytes), its name.
    keys: Spill,
    first_time: u64,
    last_time: u64,
    dots: u64,
    series: u64,
    chunk_dots: usize,
    open: Option<OpenSeries>,
    removed: bool,
    is_paced: bool,
    /// Bytes put on disk by then.
    synced: u64,
}

struct OpenSeries {
    name: SeriesName,
    /// The shape of the dot committed last.
    latest: Shape,
    entry: Entry,
}

/// A segment whose dots are on disk and which no list names yet.
pub(crate) struct Unlisted {
    writer: SegmentWriter,
    index_at: u64,
    fst_at: u64,
    meta_at: u64,
    checksum: u32,
    purged: u64,
}

impl SegmentWriter {
    /// - `chunk_dots`: the most dots in a chunk
    pub(crate) fn create(layout: &Layout, chunk_dots: usize) -> Result<SegmentWriter, Error> {
        let (path, file) = layout.temporary()?;
        let mut pending = Vec::with_capacity(WRITE_BYTES * 2);
        pending.extend_from_slice(MAGIC);
        pending.extend_from_slice(&VERSION.to_le_bytes());
        pending.extend_from_slice(&[0; 4]);
        Ok(SegmentWriter {
            layout: layout.clone(),
            path,
            file,
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
            removed: false,
            is_paced: false,
            synced: 0,
        })
    }

    /// From now on it puts what it writes on disk bit by bit, not all at the end: a log that is synced beside it
    /// never waits for long behind it.
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

    /// Says anew what shape the dot committed last has, of the series begun.
    pub(crate) fn latest(&mut self, shape: &Shape) {
        if let Some(open) = self.open.as_mut().filter(|open| !open.latest.is(shape)) {
            open.latest = shape.clone();
        }
    }

    /// Adds dots to the series begun: sorted by time, all those with explicit times before those with clock
    /// stamps, in as few calls as can be (each begins a chunk, and so does each change of shape).
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

    /// Adds a chunk of the series begun as it is in another segment; its place among the others is as for dots.
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

    /// Puts everything but meta and tail on disk.
    pub(crate) fn finish(mut self, meta: &Meta) -> Result<Unlisted, Error> {
        self.end()?;
        let index_at = self.written + self.pending.len() as u64;
        let start = self.pending.len();
        put_varint(&mut self.pending, self.shapes.as_slice().len() as u64);
        self.shapes.as_slice().iter().for_each(|shape| put_shape(&mut self.pending, shape));
        let mut checksum = crc32c::crc32c(&self.pending[start..]);
        let mut index = std::mem::replace(&mut self.index, Spill::new(&self.layout)).into_reader()?;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = index.read(&mut buffer).map_err(Error::io("read the index of", &self.path))?;
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
        // The bulk goes to disk before anybody holds the manifest's lock.
        self.layout.disk.sync_data(&self.file, &self.path).map_err(Error::io("sync", &self.path))?;
        Ok(Unlisted { writer: self, index_at, fst_at, meta_at, checksum, purged: meta.purged })
    }

    /// Writes the fst; gives the checksum with it.
    fn write_keys(&mut self, checksum: u32) -> Result<u32, Error> {
        let mut keys = std::mem::replace(&mut self.keys, Spill::new(&self.layout)).into_reader()?;
        let path = self.path.clone();
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
        self.write_pending().map_err(Error::io("write", &self.path))
    }

    fn write_pending(&mut self) -> std::io::Result<()> {
        self.layout.disk.write(&self.file, &self.path, &self.pending, self.written)?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        if self.is_paced && self.written - self.synced >= PACE_BYTES {
            self.layout.disk.sync_data(&self.file, &self.path)?;
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

/// What was not listed is litter.
impl Drop for SegmentWriter {
    fn drop(&mut self) {
        if !self.removed {
            let _ = self.layout.disk.remove(&self.path);
        }
    }
}

impl Unlisted {
    /// Gives the segment its place in `manifest` (which is being swapped, so its generation is final) and its
    /// name in `seg/`. What it is counts from the swap on.
    pub(crate) fn list(self, manifest: &mut Manifest, order: Order, level: u32) -> Result<(), Error> {
        let entry = self.place(manifest, order, level)?;
        manifest.segments.push(entry);
        Ok(())
    }

    /// As [`Unlisted::list`], but the caller lists it.
    pub(crate) fn place(self, manifest: &Manifest, order: Order, level: u32) -> Result<SegmentEntry, Error> {
        let Unlisted { mut writer, index_at, fst_at, meta_at, checksum, purged } = self;
        let tail = Tail {
            level,
            store: manifest.store,
            generation: manifest.generation,
            order,
            index_at,
            fst_at,
            meta_at,
            first_time: Timestamp::from_nanos(writer.first_time),
            last_time: Timestamp::from_nanos(writer.last_time),
            dots: writer.dots,
            series: writer.series,
            meta: Meta::default(),
            bytes: writer.written + crate::format::segment::tail::TAIL_BYTES as u64,
        };
        let (path, disk) = (&writer.path, &writer.layout.disk);
        disk.write(&writer.file, path, &tail.encode(checksum), writer.written)
            .map_err(Error::io("write", path))?;
        writer
            .file
            .set_permissions(Permissions::from_mode(0o400))
            .map_err(Error::io("set the mode of", path))?;
        disk.sync_all(&writer.file, path).map_err(Error::io("sync", path))?;
        let name = writer.name(manifest, level, tail.first_time);
        let target = writer.layout.segment(&name);
        disk.rename(path, &target).map_err(Error::io("rename", &target))?;
        writer.removed = true;
        writer.layout.sync_dir(&writer.layout.dir.join("seg"))?;
        Ok(SegmentEntry { purged, ..tail.entry(&name) })
    }
}

impl SegmentWriter {
    /// Level, hour of the first dot and generation; a number behind where one swap lists several.
    fn name(&self, manifest: &Manifest, level: u32, first: Timestamp) -> String {
        let hour: String = first.to_string().chars().take(13).filter(|c| *c != '-').collect();
        let stem = format!("L{level}-{hour}-{:06}", manifest.generation);
        let taken = |name: &SegmentEntry| name.name.starts_with(&stem);
        match manifest.files().filter(|segment| taken(segment)).count() {
            0 => format!("{stem}.seg"),
            others => format!("{stem}-{others}.seg"),
        }
    }
}
