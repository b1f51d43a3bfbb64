//! Writing the log: frames collected in memory, one write and one fdatasync for all of them.
//!
//! Always true:
//!
//! - a file belongs to one *id epoch*: it begins one, or goes on with that of the file before. An epoch is named by the id
//!   of the file that began it, and all its files are of one writer
//! - in an epoch, the id of a series means one name with one shape. The file of its first use declares it before that,
//!   and a second time later in the same file, so that one damaged frame loses no name; later files do not declare it
//! - the id of a ring is declared so in each file that uses it

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use dotter_dot::{Dots, Incarnation, Reason, SERIES_MAX, SeriesKey, SeriesName, Shape};

use crate::disk::layout::Layout;
use crate::disk::log::this_boot;
use crate::error::Error;
use crate::format::ledger::LaneRecords;
use crate::format::listing::StoreId;
use crate::format::log::frame::{FrameFile, FrameKind, push_frame};
use crate::format::log::header::{HEADER_BYTES, Header, LogKind, Published};
use crate::format::wal::groups::{Grouping, encode_dots};
use crate::format::wal::names::Declared;
use crate::format::wal::payload::{FinishFrame, RecordsFrame, encode_names};

/// A file is closed when it has this many bytes, unless the writer is told otherwise.
pub(crate) const FILE_BYTES: u64 = 16 << 20;
/// A file with dots is closed when it is this old, so that a quiet log becomes a segment too.
const FILE_AGE: Duration = Duration::from_secs(600);
/// A name is declared a second time this many bytes behind its first declaration.
const AGAIN_BYTES: u64 = 1 << 20;
/// First declarations this close to each other are repeated in one frame.
const AGAIN_TOGETHER_BYTES: u64 = 64 << 10;
/// An epoch has no file whose id is this far behind that of its first file: then names that are used no more cost nothing.
pub(crate) const EPOCH_FILES: u64 = 4096;
const _: () = assert!(EPOCH_FILES <= 1 << 16, "each frame says in 16 bits how far behind its file is");
/// The declarations in one frame have fewer bytes than this.
const NAMES_BYTES: usize = 1 << 20;

/// The WAL file being written, and the frames that wait to be written to it.
pub(crate) struct Log {
    layout: Layout,
    /// Whose log it is: store and lineage.
    ids: (StoreId, StoreId),
    file: File,
    path: PathBuf,
    file_id: u64,
    /// The id epoch of the file.
    epoch: u64,
    opened: Instant,
    /// The file is closed when it has this many bytes.
    file_bytes: u64,
    next_sequence: u64,
    /// How many bytes of the file are synced and published.
    synced: u64,
    /// Sequence of the last frame within them.
    synced_sequence: u64,
    pending: Vec<u8>,
    series: Vec<Series>,
    /// Whether any name has several series.
    is_mixed: bool,
    incarnations: HashMap<Incarnation, Ring>,
    declared: Vec<Declared>,
    /// What has been declared once in this file, oldest first.
    again: VecDeque<Again>,
    failed: bool,
    /// Why no file could be begun behind this one, which the next sync says.
    not_begun: Option<Error>,
}

struct Series {
    name: SeriesName,
    shape: Shape,
    /// The key of the first series of this name.
    first: u32,
    /// Whether there are other series of this name.
    has_siblings: bool,
    /// The last epoch in which it was declared.
    declared_in: u64,
}

struct Ring {
    id: u32,
    /// The last file that declares it.
    declared_in: u64,
}

/// Names to declare a second time once the file has grown to `at`.
struct Again {
    at: u64,
    series: Vec<u32>,
    incarnations: Vec<u32>,
}

impl Log {
    /// Begins a new file behind the one before.
    ///
    /// - `before`: id of the file before and how many bytes of it count; 0 and 0 for none
    /// - `file_id`: the least id that the file may have
    pub(crate) fn begin(
        layout: &Layout,
        ids: (StoreId, StoreId),
        before: (u64, u64),
        file_id: u64,
        next_sequence: u64,
        file_bytes: u64,
    ) -> Result<Log, Error> {
        let begun = create(layout, ids, before, file_id, next_sequence, Some(file_bytes), None)?;
        let Begun { file_id, epoch, file, path } = begun;
        Ok(Log {
            layout: layout.clone(),
            ids,
            file,
            path,
            file_id,
            epoch,
            opened: Instant::now(),
            file_bytes,
            next_sequence,
            synced: HEADER_BYTES as u64,
            synced_sequence: next_sequence - 1,
            pending: Vec::new(),
            series: Vec::new(),
            is_mixed: false,
            incarnations: HashMap::new(),
            declared: Vec::new(),
            again: VecDeque::new(),
            failed: false,
            not_begun: None,
        })
    }

    pub(crate) fn file_id(&self) -> u64 {
        self.file_id
    }

    pub(crate) fn pending_bytes(&self) -> usize {
        self.pending.len()
    }

    /// Gives a name with a shape the next key.
    ///
    /// - `sibling`: another series of the same name, if there is one
    pub(crate) fn add_series(&mut self, name: SeriesName, shape: Shape, sibling: Option<u32>) -> u32 {
        let key = u32::try_from(self.series.len()).ok().filter(|key| *key < SERIES_MAX);
        let key = key.expect("fewer than 2^30 series");
        let mut first = key;
        if let Some(sibling) = sibling {
            first = self.series[sibling as usize].first;
            self.series[first as usize].has_siblings = true;
            self.is_mixed = true;
        }
        self.series.push(Series { name, shape, first, has_siblings: sibling.is_some(), declared_in: 0 });
        key
    }

    /// The name and the shape of a key.
    pub(crate) fn series(&self, key: u32) -> (&SeriesName, &Shape) {
        let series = &self.series[key as usize];
        (&series.name, &series.shape)
    }

    /// The id of an incarnation; `made` describes it where it is new to this process.
    pub(crate) fn incarnation(&mut self, incarnation: Incarnation, made: impl FnOnce() -> Declared) -> u32 {
        if let Some(ring) = self.incarnations.get(&incarnation) {
            return ring.id;
        }
        let id = u32::try_from(self.declared.len()).expect("fewer than 2^32 incarnations");
        self.declared.push(made());
        self.incarnations.insert(incarnation, Ring { id, declared_in: 0 });
        id
    }

    /// What this writer declares of an incarnation, by its id.
    pub(crate) fn declared(&self, id: u32) -> &Declared {
        &self.declared[id as usize]
    }

    /// Declares what the next frame uses and this epoch, or of a ring this file, has not declared yet.
    ///
    /// - `keys`: those of the series in the frame; the same key may come several times
    pub(crate) fn declare(
        &mut self,
        keys: impl Iterator<Item = u32>,
        incarnation: Option<Incarnation>,
    ) -> Result<(), Error> {
        while self.again.front().is_some_and(|again| again.at <= self.position()) {
            self.declare_again()?;
        }
        let mut new_series = Vec::new();
        keys.for_each(|key| {
            let series = &mut self.series[key as usize];
            if series.declared_in != self.epoch {
                series.declared_in = self.epoch;
                new_series.push(key);
            }
        });
        let mut new_incarnations = Vec::new();
        if let Some(ring) = incarnation.and_then(|incarnation| self.incarnations.get_mut(&incarnation))
            && ring.declared_in != self.file_id
        {
            ring.declared_in = self.file_id;
            new_incarnations.push(ring.id);
        }
        if new_series.is_empty() && new_incarnations.is_empty() {
            return Ok(());
        }
        self.push_names(&new_series, &new_incarnations)?;
        let at = self.position() + AGAIN_BYTES;
        match self.again.back_mut() {
            Some(last) if at - last.at < AGAIN_TOGETHER_BYTES => {
                last.at = at;
                last.series.extend(new_series);
                last.incarnations.extend(new_incarnations);
            }
            _ => self.again.push_back(Again { at, series: new_series, incarnations: new_incarnations }),
        }
        Ok(())
    }

    /// Declares a second time what is due for it, oldest first.
    fn declare_again(&mut self) -> Result<(), Error> {
        let Some(Again { series, incarnations, .. }) = self.again.pop_front() else { return Ok(()) };
        self.push_names(&series, &incarnations)
    }

    fn push_names(&mut self, series: &[u32], incarnations: &[u32]) -> Result<(), Error> {
        let mut rest = series;
        let mut rings = incarnations;
        while !rest.is_empty() || !rings.is_empty() {
            let mut bytes = 0;
            let fits = |key: &&u32| {
                let Series { name, shape, .. } = &self.series[**key as usize];
                let labels = shape.columns().iter().map(|name| name.len() + 2).sum::<usize>();
                bytes += name.as_str().len() + shape.format().len() + shape.unit().len() + labels + 17;
                bytes <= NAMES_BYTES
            };
            let count = rest.iter().take_while(fits).count();
            let (now, later) = rest.split_at(count);
            let names = now.iter().map(|key| {
                let series = &self.series[*key as usize];
                (*key, &series.name, &series.shape)
            });
            let named: Vec<_> = rings.iter().map(|id| (*id, &self.declared[*id as usize])).collect();
            let fill = |out: &mut Vec<u8>| encode_names(names, named.into_iter(), out);
            let file = self.frame_file();
            push_frame(&mut self.pending, FrameKind::Names, file, self.next_sequence, fill)
                .map_err(|bytes| Error::TooBig { bytes })?;
            self.next_sequence += 1;
            rest = later;
            rings = &[];
        }
        Ok(())
    }

    /// Adds a frame of dots, and of the records they stand for, to what the next sync writes.
    ///
    /// # Errors
    ///
    /// [`Error::TooBig`], and nothing is added.
    pub(crate) fn push_dots(
        &mut self,
        incarnation: u32,
        lanes: &[LaneRecords],
        refusals: &[(Reason, u64)],
        counters: &[(SeriesKey, u64)],
        dots: &Dots,
        grouping: &mut Grouping,
    ) -> Result<(), Error> {
        let (series, mixed) = (&self.series, self.is_mixed);
        let siblings = |key: u32| {
            let Series { first, has_siblings, .. } = &series[key as usize];
            has_siblings.then_some(*first)
        };
        // Records of a ring come once: of its texts none takes the place of another.
        let keeps = |key: u32| !lanes.is_empty() && series[key as usize].shape.is_text();
        let file = self.frame_file();
        push_frame(&mut self.pending, FrameKind::Dots, file, self.next_sequence, |out| {
            let counters = counters.iter().map(|(key, total)| (key.number(), *total));
            RecordsFrame::encode(incarnation, lanes.iter(), refusals, counters, out);
            encode_dots(dots, siblings, mixed, keeps, grouping, out);
        })
        .map_err(|bytes| Error::TooBig { bytes })?;
        self.next_sequence += 1;
        Ok(())
    }

    /// Adds a frame that says that a ring has finished.
    pub(crate) fn push_finish(&mut self, finish: &FinishFrame) -> Result<(), Error> {
        self.push(FrameKind::Finish, |out| finish.encode(out))
    }

    fn push(&mut self, kind: FrameKind, fill: impl FnOnce(&mut Vec<u8>)) -> Result<(), Error> {
        let file = self.frame_file();
        push_frame(&mut self.pending, kind, file, self.next_sequence, fill)
            .map_err(|bytes| Error::TooBig { bytes })?;
        self.next_sequence += 1;
        Ok(())
    }

    /// Writes the pending frames, syncs them and publishes them; then begins a new file where this one is full.
    ///
    /// Returns the length of the file that was closed, if one was.
    ///
    /// - `is_full`: whether the file counts as full if it has any frame
    /// - `ids_from`: asked when a new file is begun; id epochs below the one it returns are spent
    ///
    /// # Errors
    ///
    /// After an error nothing may be added any more: a failed fsync is never tried again on the same file. The
    /// pending frames are not acknowledged, and the caller has to void them: [`Log::void`].
    pub(crate) fn sync(
        &mut self,
        is_full: bool,
        ids_from: impl FnOnce() -> u64,
    ) -> Result<Option<u64>, Error> {
        if self.failed {
            return Err(self.not_begun.take().unwrap_or(Error::GivenUp));
        }
        let written = self.write();
        self.failed = written.is_err();
        written?;
        let is_full = is_full || self.synced >= self.file_bytes || self.opened.elapsed() >= FILE_AGE;
        if !is_full || self.synced == HEADER_BYTES as u64 {
            return Ok(None);
        }
        match self.rotate(ids_from()) {
            Ok(closed) => Ok(Some(closed)),
            Err(error) => {
                (self.failed, self.not_begun) = (true, Some(error));
                Ok(None)
            }
        }
    }

    fn write(&mut self) -> Result<(), Error> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let disk = &*self.layout.disk;
        disk.write(&self.file, &self.path, &self.pending, self.synced)
            .map_err(Error::io("write", &self.path))?;
        disk.sync_data(&self.file, &self.path).map_err(Error::io("sync", &self.path))?;
        let bytes = self.synced + self.pending.len() as u64;
        let published = Published { bytes, sequence: self.next_sequence - 1, boot: this_boot() };
        published
            .publish(disk, &self.file, &self.path)
            .map_err(Error::io("write the header of", &self.path))?;
        (self.synced, self.synced_sequence) = (bytes, published.sequence);
        self.pending.clear();
        Ok(())
    }

    /// Closes the file in good order.
    fn close(&mut self) -> Result<(), Error> {
        while !self.again.is_empty() {
            self.declare_again()?;
        }
        self.push(FrameKind::End, |_| ())?;
        self.write()?;
        self.layout
            .disk
            .shorten(&self.file, &self.path, self.synced)
            .map_err(Error::io("shorten", &self.path))
    }

    fn rotate(&mut self, ids_from: u64) -> Result<u64, Error> {
        if self.epoch < ids_from {
            // A names file of the epoch is damaged or missing. The dots of this file keep their names all the same.
            let of_epoch = |series: &Series| series.declared_in == self.epoch;
            let keys = (0..).zip(&self.series).filter(|(_, series)| of_epoch(series)).map(|(key, _)| key);
            let keys: Vec<u32> = keys.collect();
            self.push_names(&keys, &[])?;
        }
        self.close()?;
        let before = (self.file_id, self.synced);
        let file_bytes = Some(self.file_bytes);
        let epoch = Some(self.epoch).filter(|epoch| *epoch >= ids_from);
        let (next, sequence) = (self.file_id + 1, self.next_sequence);
        let begun = create(&self.layout, self.ids, before, next, sequence, file_bytes, epoch)?;
        (self.file, self.path) = (begun.file, begun.path);
        (self.file_id, self.epoch) = (begun.file_id, begun.epoch);
        self.synced = HEADER_BYTES as u64;
        self.opened = Instant::now();
        // Ids of rings hold for one file: those of rings that are over take no memory from here on.
        (self.incarnations, self.declared) = (HashMap::new(), Vec::new());
        Ok(before.1)
    }

    /// The id of the file, and how many of its bytes are published, which are those that count if this writer fails.
    pub(crate) fn published(&self) -> (u64, u64) {
        (self.file_id, self.synced)
    }

    /// After a failure: makes a new file whose header says that only the published bytes of this one count.
    pub(crate) fn void(&self) -> Result<(), Error> {
        let before = self.published();
        let (next, sequence) = (self.file_id + 1, self.synced_sequence + 1);
        create(&self.layout, self.ids, before, next, sequence, None, None).map(drop)
    }

    /// What each frame says of the file.
    fn frame_file(&self) -> FrameFile {
        let age = u16::try_from(self.file_id - self.epoch).expect("an epoch has fewer files");
        FrameFile { number: self.file_id, age }
    }

    /// Where in the file the next frame goes.
    fn position(&self) -> u64 {
        self.synced + self.pending.len() as u64
    }
}

/// A writer that is dropped without a failure writes its pending frames and cuts off the preallocated room.
impl Drop for Log {
    fn drop(&mut self) {
        if !self.failed {
            // An error cannot be reported any more; the next writer takes every whole frame.
            let _ = self.close();
        }
    }
}

/// The first id from `file_id` on that no file has. A file of another store, or one whose content is lost, keeps its
/// name. Where something else than a file has the name, making the new file is an error.
fn free_id(layout: &Layout, mut file_id: u64) -> u64 {
    while layout.wal(file_id).symlink_metadata().is_ok_and(|meta| meta.is_file()) {
        file_id += 1;
    }
    file_id
}

/// A WAL file that was begun.
pub(crate) struct Begun {
    pub(crate) file_id: u64,
    /// Its id epoch.
    pub(crate) epoch: u64,
    file: File,
    path: PathBuf,
}

/// Makes a WAL file, whose header is synced before the file can hold a frame: the header says how many bytes of the
/// file before count.
///
/// - the ids of the store and of its lineage
/// - `before`: id of the file before and how many bytes of it count; 0 and 0 for none
/// - `file_id`: the least id that it may have
/// - `room`: bytes to preallocate; where the disk has less, the file grows as it is written
/// - `epoch`: the id epoch that it is to go on with; without one, or where that has enough files, it begins another
pub(crate) fn create(
    layout: &Layout,
    (store, lineage): (StoreId, StoreId),
    before: (u64, u64),
    file_id: u64,
    first_sequence: u64,
    room: Option<u64>,
    epoch: Option<u64>,
) -> Result<Begun, Error> {
    let disk = &layout.disk;
    let number = free_id(layout, file_id);
    let path = layout.wal(number);
    let epoch = epoch.filter(|epoch| number - epoch < EPOCH_FILES).unwrap_or(number);
    let (before_id, before_bytes) = before;
    let header = Header { store, lineage, number, first_sequence, before_id, before_bytes, epoch };
    let published = Published { bytes: HEADER_BYTES as u64, sequence: first_sequence - 1, boot: this_boot() };
    // The boot id stays zero until the header is on disk: so whoever finds the file empty sees whether it is synced.
    let unpublished = Published { boot: [0; 16], ..published };
    // Made beside and renamed: nobody finds a file without a header under the name of one.
    let new = layout.make_beside(&path)?;
    let allocated = room.map_or(Ok(()), |room| disk.allocate(&new.file, &new.path, room));
    match allocated.map_err(Error::io("create", &path)) {
        Err(error) if !error.is_disk_full() => return Err(error),
        _ => {}
    }
    new.fill(&header.encode(LogKind::Wal, &unpublished))?;
    let file = new.rename(&path)?.into_file()?;
    layout.sync_dir(&layout.dir.join("wal"))?;
    published.publish(&**disk, &file, &path).map_err(Error::io("write the header of", &path))?;
    Ok(Begun { file_id: number, epoch, file, path })
}
