//! Making a segment: chunks series by series, then index and fst; the tail once its place in the list is known.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use dotter_dot::{SeriesName, Timestamp, put_varint};

use super::tail::{Meta, Tail, VERSION};
use crate::bytes::put_text;
use crate::chunk::{self, Columns};
use crate::error::Error;
use crate::layout::{Layout, sync_dir};
use crate::manifest::{Manifest, Order, SegmentEntry};

pub(crate) const MAGIC: &[u8; 8] = b"DOTTRSEG";
/// Chunks are collected to about this size before they are written.
const WRITE_BYTES: usize = 1 << 20;

/// A segment in the making. Series come in the order of their names, each once.
pub(crate) struct SegmentWriter {
    layout: Layout,
    path: PathBuf,
    file: File,
    written: u64,
    pending: Vec<u8>,
    index: Vec<u8>,
    keys: fst::MapBuilder<Vec<u8>>,
    first_time: u64,
    last_time: u64,
    dots: u64,
    series: u64,
    chunk_dots: usize,
    open: Option<OpenSeries>,
    removed: bool,
}

struct OpenSeries {
    name: SeriesName,
    first_chunk: u64,
    chunks: [Vec<Listed>; 2],
}

struct Listed {
    bytes: u64,
    dots: u64,
    first: u64,
    last: u64,
}

/// A segment whose dots are on disk and which no list names yet.
pub(crate) struct Unlisted {
    writer: SegmentWriter,
    index_at: u64,
    fst_at: u64,
    meta_at: u64,
    checksum: u32,
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
            index: Vec::new(),
            keys: fst::MapBuilder::memory(),
            first_time: u64::MAX,
            last_time: 0,
            dots: 0,
            series: 0,
            chunk_dots: chunk_dots.min(chunk::CHUNK_DOTS_MAX),
            open: None,
            removed: false,
        })
    }

    /// Begins the next series; names come in ascending order.
    pub(crate) fn begin(&mut self, name: SeriesName) -> Result<(), Error> {
        self.end()?;
        let first_chunk = self.written + self.pending.len() as u64;
        self.open = Some(OpenSeries { name, first_chunk, chunks: [Vec::new(), Vec::new()] });
        Ok(())
    }

    /// Adds dots to the series begun: sorted by time, all those with explicit times before those with clock
    /// stamps, in as few calls as can be (each begins a chunk).
    pub(crate) fn add(&mut self, dots: &Columns, clock: bool) -> Result<(), Error> {
        for (times, values) in dots.times.chunks(self.chunk_dots).zip(dots.values.chunks(self.chunk_dots)) {
            let start = self.pending.len();
            chunk::encode(times, values, clock, &mut self.pending);
            let (first, last) = (times[0], times[times.len() - 1]);
            let bytes = (self.pending.len() - start) as u64;
            let open = self.open.as_mut().expect("dots are added to a series that was begun");
            assert!(clock || open.chunks[1].is_empty(), "chunks with explicit times come first");
            open.chunks[clock as usize].push(Listed { bytes, dots: times.len() as u64, first, last });
            self.first_time = self.first_time.min(first);
            self.last_time = self.last_time.max(last);
            self.dots += times.len() as u64;
            if self.pending.len() >= WRITE_BYTES {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Whether any dot was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.dots == 0
    }

    /// Puts everything but meta and tail on disk.
    pub(crate) fn finish(mut self, meta: &Meta) -> Result<Unlisted, Error> {
        self.end()?;
        let index_at = self.written + self.pending.len() as u64;
        let keys = std::mem::replace(&mut self.keys, fst::MapBuilder::memory());
        let keys = keys.into_inner().expect("writing to memory cannot fail");
        let index = std::mem::take(&mut self.index);
        let fst_at = index_at + index.len() as u64;
        let meta_at = fst_at + keys.len() as u64;
        let mut meta_bytes = Vec::new();
        meta.encode(&mut meta_bytes);
        let mut checksum = crc32c::crc32c(&index);
        checksum = crc32c::crc32c_append(checksum, &keys);
        checksum = crc32c::crc32c_append(checksum, &meta_bytes);
        self.pending.extend_from_slice(&index);
        self.flush()?;
        self.pending.extend_from_slice(&keys);
        self.pending.extend_from_slice(&meta_bytes);
        self.flush()?;
        // The bulk goes to disk before anybody holds the manifest's lock.
        self.file.sync_data().map_err(Error::io("sync", &self.path))?;
        Ok(Unlisted { writer: self, index_at, fst_at, meta_at, checksum })
    }

    fn end(&mut self) -> Result<(), Error> {
        let Some(open) = self.open.take() else { return Ok(()) };
        if open.chunks.iter().all(Vec::is_empty) {
            return Ok(());
        }
        let at = self.index.len() as u64;
        self.keys.insert(open.name.as_str(), at).expect("series come in the order of their names, each once");
        self.index.push(0);
        put_text(&mut self.index, "F");
        put_text(&mut self.index, "");
        put_varint(&mut self.index, 0);
        open.chunks.iter().for_each(|chunks| put_varint(&mut self.index, chunks.len() as u64));
        put_varint(&mut self.index, open.first_chunk);
        for chunk in open.chunks.iter().flatten() {
            for field in [chunk.bytes, chunk.dots, chunk.first, chunk.last - chunk.first] {
                put_varint(&mut self.index, field);
            }
        }
        self.series += 1;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.file.write_all(&self.pending).map_err(Error::io("write", &self.path))?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }
}

/// What was not listed is litter.
impl Drop for SegmentWriter {
    fn drop(&mut self) {
        if !self.removed {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Unlisted {
    /// Gives the segment its place in `manifest` (which is being swapped, so its generation is final) and its
    /// name in `seg/`. What it is counts from the swap on.
    pub(crate) fn list(self, manifest: &mut Manifest, order: Order, level: u32) -> Result<(), Error> {
        let Unlisted { mut writer, index_at, fst_at, meta_at, checksum } = self;
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
            bytes: writer.written + super::tail::TAIL_BYTES as u64,
        };
        let path = &writer.path;
        writer.file.write_all(&tail.encode(checksum)).map_err(Error::io("write", path))?;
        writer
            .file
            .set_permissions(Permissions::from_mode(0o400))
            .map_err(Error::io("set the mode of", path))?;
        writer.file.sync_all().map_err(Error::io("sync", path))?;
        let name = writer.name(manifest, level, tail.first_time);
        let target = writer.layout.segment(&name);
        fs::rename(path, &target).map_err(Error::io("rename", &target))?;
        writer.removed = true;
        sync_dir(&writer.layout.dir.join("seg"))?;
        manifest.segments.push(tail.entry(&name));
        Ok(())
    }
}

impl SegmentWriter {
    /// Level, hour of the first dot and generation; a number behind where one swap lists several.
    fn name(&self, manifest: &Manifest, level: u32, first: Timestamp) -> String {
        let hour: String = first.to_string().chars().take(13).filter(|c| *c != '-').collect();
        let stem = format!("L{level}-{hour}-{:06}", manifest.generation);
        let taken = |name: &SegmentEntry| name.name.starts_with(&stem);
        match manifest.segments.iter().filter(|segment| taken(segment)).count() {
            0 => format!("{stem}.seg"),
            others => format!("{stem}-{others}.seg"),
        }
    }
}
