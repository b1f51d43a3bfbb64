//! Making a segment: chunks series by series, then key blocks, meta and top index; the tail once its place in the
//! order of commits is known.

use std::collections::HashMap;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use dotter_dot::{Column, SeriesName, Shape, Timestamp};

use crate::disk::immutable;
use crate::disk::layout::{Folder, Layout, NewFile};
use crate::disk::spill::Spill;
use crate::error::Error;
use crate::format::chunk;
use crate::format::listing::{Order, SegmentEntry};
use crate::format::manifest::Manifest;
use crate::format::segment::entry::{ChunkRef, Entry, Listed};
use crate::format::segment::keys::{KeyBlock, Top};
use crate::format::segment::shared::{SERIES_DOTS, SharedBlock, is_shared};
use crate::format::segment::tail::{Meta, TAIL_BYTES, Tail, VERSION, put_top};
use crate::format::shapes::Shapes;
use crate::format::summary::Summary;
use crate::read::earlier::Copied;
use crate::write::times::TimesColumns;

pub(crate) const MAGIC: &[u8; 8] = b"DOTTRSEG";
/// How many bytes may wait for a sync where writing is paced.
const PACE_BYTES: u64 = 2 << 20;
/// Chunks are collected to about this size before they are written.
const WRITE_BYTES: usize = 256 << 10;

/// A segment that is being made. Series come in the order of their names, each once.
///
/// Memory does not grow with the number of dots, and by a few bytes a hundred series: key blocks are spilled, and only
/// the first name of each is kept.
pub(crate) struct SegmentWriter {
    layout: Layout,
    level: u32,
    /// Made when the first bytes are written, since its name has the hour of the first dots.
    file: Option<NewFile>,
    written: u64,
    /// Checksum of the bytes that are written.
    checksum: u32,
    pending: Vec<u8>,
    shapes: Shapes,
    keys: Keys,
    times: TimesColumns,
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

/// The key blocks, and what lies with the series of the one that is being made.
struct Keys {
    block: KeyBlock,
    /// Offset of the first chunk of its series.
    chunks_at: u64,
    /// The shared blocks, by their index in the key block; `None` where one is not full yet.
    shared: Vec<Option<Vec<u8>>>,
    /// The shared blocks that are not full yet, by shape and kind: each with its index.
    open: HashMap<(u32, bool), (usize, SharedBlock)>,
    done: Spill,
    /// The first names of all blocks; offsets are from the first block on.
    top: Top,
    entry: Vec<u8>,
    /// The names of the first and last series.
    names: (String, String),
}

struct OpenSeries {
    name: SeriesName,
    /// The shape of the dot committed last.
    latest: Shape,
    entry: Entry,
    /// For each kind, dots that may be few enough for a shared block; of one shape.
    few: [Column; 2],
}

/// A segment that is synced except for its tail, and that no list names yet.
pub(crate) struct Unlisted {
    writer: SegmentWriter,
    keys_at: u64,
    meta_at: u64,
    top_at: u64,
    meta: Meta,
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
            checksum: 0,
            pending,
            shapes: Shapes::default(),
            keys: Keys::new(layout),
            times: TimesColumns::default(),
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
        if self.keys.block.is_empty() {
            self.keys.chunks_at = self.written + self.pending.len() as u64;
        }
        self.open = Some(OpenSeries { name, latest, entry: Entry::default(), few: Default::default() });
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
        let (Some(first), Some(last)) = (dots.times().first(), dots.times().last()) else { return Ok(()) };
        self.first_time = self.first_time.min(*first);
        self.last_time = self.last_time.max(*last);
        self.dots += dots.len() as u64;
        let open = self.open.as_mut().expect("dots are added to a series that was begun");
        let few = &mut open.few[clock as usize];
        let is_few = dots.len() < SERIES_DOTS && dots.is_uniform() && is_shared(dots.shape_at(0));
        if is_few && few.is_empty() && !open.entry.has_own(clock) {
            few.extend(dots, 0..dots.len());
            return Ok(());
        }
        self.add_few(clock)?;
        self.add_chunks(dots, clock)
    }

    /// Adds the few dots of a kind as a chunk, since more have come.
    fn add_few(&mut self, clock: bool) -> Result<(), Error> {
        let open = self.open.as_mut().expect("dots are added to a series that was begun");
        let few = std::mem::take(&mut open.few[clock as usize]);
        self.add_chunks(&few, clock)
    }

    fn add_chunks(&mut self, dots: &Column, clock: bool) -> Result<(), Error> {
        for (part, shape) in dots.parts(0..dots.len()) {
            let number = self.shapes.number(shape);
            let mut rest = part;
            while !rest.is_empty() {
                let count = chunk::fitting(dots, rest.clone(), shape, self.chunk_dots);
                let now = rest.start..rest.start + count;
                rest.start = now.end;
                let start = self.pending.len();
                let times = self.times(chunk::times_column(&dots.times()[now.clone()]), count)?;
                chunk::encode(dots, now.clone(), shape, clock, &times, &mut self.pending);
                let listed = Listed {
                    bytes: (self.pending.len() - start) as u64,
                    dots: count as u64,
                    first: dots.times()[now.start],
                    last: dots.times()[now.end - 1],
                    shape: number,
                    summary: Summary::of(dots, now),
                };
                let open = self.open.as_mut().expect("dots are added to a series that was begun");
                open.entry.push(listed, clock);
                self.flush_full()?;
            }
        }
        Ok(())
    }

    /// Adds a chunk of another segment to the series that was begun, its values unchanged; chunks come in the order of
    /// [`Self::add`].
    pub(crate) fn copy(&mut self, copied: Copied, chunk: &ChunkRef, shape: &Shape) -> Result<(), Error> {
        self.add_few(chunk.clock)?;
        let start = self.pending.len();
        let Copied { bytes, front, times } = copied;
        let times = self.times(times, front.count)?;
        chunk::encode_again(&bytes, &front, &times, &mut self.pending);
        let listed = Listed {
            bytes: (self.pending.len() - start) as u64,
            dots: chunk.dots,
            first: chunk.first.nanos(),
            last: chunk.last.nanos(),
            shape: self.shapes.number(shape),
            summary: chunk.summary,
        };
        self.first_time = self.first_time.min(listed.first);
        self.last_time = self.last_time.max(listed.last);
        self.dots += chunk.dots;
        let open = self.open.as_mut().expect("chunks are added to a series that was begun");
        open.entry.push(listed, chunk.clock);
        self.flush_full()
    }

    /// How many bytes of chunks it has so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.written + self.pending.len() as u64
    }

    /// The times column of the chunk that comes next: this one, or a reference to an equal one.
    fn times(&mut self, column: Vec<u8>, count: usize) -> Result<Vec<u8>, Error> {
        let SegmentWriter { times, file, written, pending, .. } = self;
        times.of_next(column, count, *written + pending.len() as u64, |column, at| {
            if let Some(at) = at.checked_sub(*written) {
                return Ok(pending[at as usize..].starts_with(column));
            }
            let new = file.as_ref().expect("it was made before anything was written");
            let mut found = vec![0; column.len()];
            new.file.read_exact_at(&mut found, at).map_err(Error::io("read", &new.path))?;
            Ok(found == column)
        })
    }

    /// Whether any dot was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.dots == 0
    }

    /// Writes key blocks, meta and top index, and syncs everything except the tail.
    pub(crate) fn finish(mut self, meta: &Meta) -> Result<Unlisted, Error> {
        self.end()?;
        self.end_block()?;
        self.make_file()?;
        let keys_at = self.written + self.pending.len() as u64;
        let done = std::mem::replace(&mut self.keys.done, Spill::new(&self.layout));
        let mut keys = done.into_reader()?;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = keys.read(&mut buffer).map_err(Error::io("read the names of", &self.path()))?;
            if count == 0 {
                break;
            }
            self.pending.extend_from_slice(&buffer[..count]);
            self.flush_full()?;
        }
        let meta_at = self.written + self.pending.len() as u64;
        let meta = Meta { names: std::mem::take(&mut self.keys.names), ..meta.clone() };
        meta.encode(&mut self.pending);
        let top_at = self.written + self.pending.len() as u64;
        put_top(self.shapes.as_slice(), &self.keys.top, &mut self.pending);
        self.flush()?;
        // Nearly all bytes are synced before MANIFEST.lock is taken.
        let new = self.file.as_ref().expect("it was made above");
        self.layout.disk.sync_data(&new.file, &new.path).map_err(Error::io("sync", &new.path))?;
        // Many finished segments may wait to be listed together.
        self.pending = Vec::new();
        Ok(Unlisted { writer: self, keys_at, meta_at, top_at, meta })
    }

    /// Ends the series that was begun.
    fn end(&mut self) -> Result<(), Error> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        for (clock, few) in [false, true].into_iter().zip(&open.few) {
            if !few.is_empty() {
                let shape = few.shape_at(0);
                let number = self.shapes.number(shape);
                let index = self.keys.share(few, (number, clock));
                open.entry.share(index, number, clock);
            }
        }
        if open.entry.is_empty() {
            return Ok(());
        }
        let latest = self.shapes.number(&open.latest);
        self.keys.push(open.name.as_str(), latest, &mut open.entry);
        self.series += 1;
        if self.keys.block.is_full() { self.end_block() } else { Ok(()) }
    }

    /// Ends the key block; the shared blocks of its series come behind their chunks.
    fn end_block(&mut self) -> Result<(), Error> {
        if self.keys.block.is_empty() {
            return Ok(());
        }
        let chunks_end = self.written + self.pending.len() as u64;
        for shared in self.keys.end(chunks_end)? {
            self.pending.extend_from_slice(&shared);
            self.flush_full()?;
        }
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
        self.checksum = crc32c::crc32c_append(self.checksum, &self.pending);
        self.written += self.pending.len() as u64;
        self.pending.clear();
        if self.is_paced && self.written - self.synced >= PACE_BYTES {
            self.layout.disk.sync_data(&new.file, &new.path)?;
            self.synced = self.written;
        }
        Ok(())
    }
}

impl Keys {
    fn new(layout: &Layout) -> Keys {
        let (block, shared, open, entry, names) = Default::default();
        Keys {
            block,
            chunks_at: 0,
            shared,
            open,
            done: Spill::new(layout),
            top: Top::default(),
            entry,
            names,
        }
    }

    /// Puts the dots of a series into a shared block, and gives the index of that block.
    fn share(&mut self, dots: &Column, key: (u32, bool)) -> usize {
        let (index, block) = self.open.entry(key).or_insert_with(|| {
            self.shared.push(None);
            (self.shared.len() - 1, SharedBlock::new(dots.shape_at(0).clone(), key.1))
        });
        let index = *index;
        block.push(dots);
        if block.is_full() {
            let (_, block) = self.open.remove(&key).expect("it was found above");
            self.shared[index] = Some(block.end());
        }
        index
    }

    /// Adds a series to the key block.
    fn push(&mut self, name: &str, latest: u32, entry: &mut Entry) {
        self.entry.clear();
        entry.encode(latest, &mut self.entry);
        self.block.push(name.as_bytes(), &self.entry);
        if self.names.0.is_empty() {
            self.names.0.push_str(name);
        }
        self.names.1.clear();
        self.names.1.push_str(name);
    }

    /// Ends the key block, and gives the shared blocks, which come behind the chunks of its series.
    ///
    /// - `chunks_end`: offset at which these chunks end
    fn end(&mut self, chunks_end: u64) -> Result<Vec<Vec<u8>>, Error> {
        for (_, (index, block)) in self.open.drain() {
            self.shared[index] = Some(block.end());
        }
        let shared: Vec<Vec<u8>> = self.shared.drain(..).flatten().collect();
        let before = self.done.len();
        let (block, chunks_at) = (&mut self.block, self.chunks_at);
        let first = block.first().to_vec();
        self.done.append(|out| {
            block.end(chunks_at, chunks_end - chunks_at, shared.iter().map(|block| block.len() as u64), out);
        })?;
        let bytes = (self.done.len() - before) as usize;
        self.top.push(&first, bytes).expect("a file is not as large as memory can be");
        Ok(shared)
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
        let Unlisted { writer, keys_at, meta_at, top_at, meta } = self;
        let new = writer.file.expect("a finished segment has a file");
        let number_of_first = |number| first_number.unwrap_or(number);
        let mut tail = Tail {
            level: writer.level,
            store: manifest.store,
            number: new.number,
            edit: manifest.generation,
            order,
            keys_at,
            meta_at,
            top_at,
            first_time: Timestamp::from_nanos(writer.first_time),
            last_time: Timestamp::from_nanos(writer.last_time),
            dots: writer.dots,
            series: writer.series,
            first_number: number_of_first(new.number),
            together,
            checksum: writer.checksum,
            meta,
            bytes: writer.written + TAIL_BYTES as u64,
        };
        let file = immutable::finish(&writer.layout, new, writer.written, |number| {
            (tail.number, tail.first_number) = (number, number_of_first(number));
            tail.encode().to_vec()
        })?;
        Ok(Placed { entry: tail.entry(file.name()), file })
    }
}
