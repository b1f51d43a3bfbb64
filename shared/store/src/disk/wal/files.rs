//! Reading the log back: which files there are, and how many bytes of each count.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::disk::Disk;
use crate::disk::holds;
use crate::disk::layout::{Layout, is_same};
use crate::disk::log::{self, read_header, read_published, read_published_surely, this_boot};
use crate::error::Error;
use crate::format::kept::KeptLog;
use crate::format::listing::StoreId;
use crate::format::log::frame::{FRAME_HEADER_BYTES, Item, Items};
use crate::format::log::header::{FIXED_BYTES, HEADER_BYTES, Header, LogKind, Published};

/// Which log, and where its live part begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogStart {
    pub(crate) store: StoreId,
    /// The first live file.
    pub(crate) first: u64,
    /// A file whose length the list fixes: its id, and how many of its bytes count.
    pub(crate) fixed: Option<(u64, u64)>,
}

/// How much of a file counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Bytes of the file.
    pub(crate) bytes: u64,
    /// Sequence of the last frame within them; of a file without any, that of the last before it.
    pub(crate) sequence: u64,
}

/// One WAL file on disk.
pub(crate) struct LogFile {
    pub(crate) id: u64,
    pub(crate) path: PathBuf,
    /// `None` where the header is damaged, though the frames behind it may be whole; or where it is the header of
    /// another file, and then none of its frames count.
    pub(crate) header: Option<Header>,
    /// What is wrong with the header, where `header` is `None`.
    pub(crate) flaw: Option<String>,
    /// How many of its bytes count, where the header of the next file or the list says it.
    pub(crate) measured: Option<u64>,
    /// Whether the header names another store or another file id.
    pub(crate) is_foreign: bool,
    file: File,
}

/// The live files, in order.
///
/// Files behind all others that have neither a valid header nor a whole frame are left out: no writer has begun them,
/// or their content is lost. Were such a file taken for the last one, the file that is being written would look
/// closed.
pub(crate) fn files(layout: &Layout, start: LogStart) -> Result<Vec<LogFile>, Error> {
    files_there(layout, start).map(|(files, _)| files)
}

/// As [`files`]; also whether all could be opened that were listed or that others name as those before them. Files are
/// unlinked in their order, so those behind one that was opened may be gone by then.
pub(crate) fn files_there(layout: &Layout, start: LogStart) -> Result<(Vec<LogFile>, bool), Error> {
    let (mut files, are_there) = listed(layout, start)?;
    while let Some(last) = files.last()
        && last.header.is_none()
        && !last.has_frames(&last.read_all()?)
    {
        files.pop();
    }
    Ok((files, are_there))
}

/// As [`files`], with the files that hold nothing.
pub(crate) fn all_files(layout: &Layout, start: LogStart) -> Result<Vec<LogFile>, Error> {
    listed(layout, start).map(|(files, _)| files)
}

/// What [`files_there`] begins with: no file is missing between two of those returned that was there when the log's
/// directory was listed.
///
/// A listing may lack a file that was made meanwhile and have a later one. So each file leads to the one before it: by
/// the id in its header, or, where that is damaged, by its own. Without that a reader would pass over commits, and a
/// seal would take a file for sealed that it has not read.
fn listed(layout: &Layout, start: LogStart) -> Result<(Vec<LogFile>, bool), Error> {
    let mut are_there = true;
    let dir = layout.dir.join("wal");
    let names = layout.disk.list(&dir).map_err(Error::io("list", &dir))?;
    let mut wanted: Vec<u64> = names.iter().filter_map(|path| Layout::wal_id(path)).collect();
    let mut found: BTreeMap<u64, LogFile> = BTreeMap::new();
    while let Some(id) = wanted.pop() {
        if id < start.first || found.contains_key(&id) {
            continue;
        }
        let file = match LogFile::open(id, layout.wal(id), start.store) {
            // A seal has just unlinked it.
            Err(error) if error.is_not_found() => {
                are_there = false;
                continue;
            }
            other => other?,
        };
        let before = file.header.map_or(id.saturating_sub(1), |header| header.before_id);
        if (1..id).contains(&before) {
            wanted.push(before);
        }
        found.insert(id, file);
    }
    let mut files: Vec<LogFile> = Vec::with_capacity(found.len());
    for mut file in found.into_values() {
        // A file that holds nothing may be between the two.
        if let Some(header) = file.header
            && let Some(before) = files.iter_mut().rfind(|before| before.id == header.before_id)
        {
            before.measured = Some(header.before_bytes);
        }
        file.measured = start.fixed.filter(|(fixed, _)| *fixed == file.id).map(|(_, bytes)| bytes);
        files.push(file);
    }
    Ok((files, are_there))
}

/// A sealed file that is kept for those who follow the store: where it was made, or where it was moved to.
///
/// # Errors
///
/// Of kind `NotFound` where it is gone; the system's.
pub(crate) fn kept_file(layout: &Layout, store: StoreId, log: &KeptLog) -> Result<LogFile, Error> {
    let made = layout.wal(log.id);
    let moved = holds::kept_path(layout, &log.name());
    let file = LogFile::open(log.id, made, store).or_else(|error| {
        if error.is_not_found() { LogFile::open(log.id, moved, store) } else { Err(error) }
    })?;
    Ok(LogFile { measured: Some(log.bytes), ..file })
}

/// Whether the header of a file names another store or another id than `id`.
pub(crate) fn is_foreign(path: &Path, store: StoreId, id: u64) -> bool {
    LogFile::open(id, path.to_owned(), store).is_ok_and(|file| file.is_foreign)
}

/// The file that follows the file `id` in the log; `None` as long as there is none.
pub(crate) fn file_behind(layout: &Layout, start: LogStart, id: u64) -> Result<Option<LogFile>, Error> {
    let next = match LogFile::open(id + 1, layout.wal(id + 1), start.store) {
        Err(error) if error.is_not_found() => return Ok(None),
        other => other?,
    };
    if next.header.is_some() {
        return Ok(Some(next));
    }
    // The next file may hold nothing; then the log goes on in the file before it, or in a later one.
    for file in files(layout, LogStart { first: id + 1, ..start })? {
        if file.header.is_some() || file.has_frames(&file.read_all()?) {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

impl LogFile {
    fn open(id: u64, path: PathBuf, store: StoreId) -> Result<LogFile, Error> {
        let file = log::open(&path)?;
        let (header, flaw, is_foreign) = match read_header(LogKind::Wal, &file, &path) {
            Ok(header) if (header.store, header.number) == (store, id) => (Some(header), None, false),
            Ok(Header { store: found, number: file_id, .. }) => {
                let flaw = format!("file {file_id} of store {found}, expected file {id} of store {store}");
                (None, Some(flaw), true)
            }
            Err(Error::Damaged { what, .. }) => (None, Some(what), false),
            Err(error) => return Err(error),
        };
        Ok(LogFile { id, path, header, flaw, measured: None, is_foreign, file })
    }

    /// Whether its name still means this file. As long as it does, names that were read from its epoch are still those of
    /// this log, and not of a store that somebody has put in its place.
    pub(crate) fn is_there(&self) -> bool {
        is_same(&self.path, &self.file)
    }

    /// The file that has its name by now, where that is another: a file that its maker cannot put on disk is taken away,
    /// and the next one may have its id.
    pub(crate) fn successor(&self, store: StoreId) -> Result<Option<LogFile>, Error> {
        if self.is_there() {
            return Ok(None);
        }
        match LogFile::open(self.id, self.path.clone(), store) {
            Err(error) if error.is_not_found() => Ok(None),
            other => other.map(Some),
        }
    }

    /// Whether any frame of it is whole.
    ///
    /// - `bytes`: what [`LogFile::read_all`] gave
    pub(crate) fn has_frames(&self, bytes: &[u8]) -> bool {
        let mut items = Items::new(bytes, HEADER_BYTES as u64, self.id);
        items.any(|item| matches!(item, Item::Frame(_)))
    }

    /// Whether the file is shorter than a header, which no writer leaves behind.
    pub(crate) fn is_short(&self) -> Result<bool, Error> {
        Ok(self.size()? < HEADER_BYTES as u64)
    }

    /// How much of it counts. The header of the next file or the list decides; else what its writer has published in
    /// this boot; else [`LogFile::whole_frames`].
    pub(crate) fn counts(&self) -> Result<Counts, Error> {
        if self.is_foreign {
            return Ok(Counts { bytes: HEADER_BYTES as u64, sequence: 0 });
        }
        self.counts_of(LogFile::read_all)
    }

    /// - `read_all`: [`LogFile::read_all`]
    fn counts_of(&self, read_all: impl FnOnce(&LogFile) -> Result<Vec<u8>, Error>) -> Result<Counts, Error> {
        let published = || -> Result<Option<Counts>, Error> {
            let found = read_published_surely(&self.file, &self.path)?;
            let counts = |found: Published| Counts { bytes: found.bytes, sequence: found.sequence };
            let is_said = |found: &Published| {
                found.boot == this_boot() && self.measured.is_none_or(|measured| measured == found.bytes)
            };
            Ok(found.filter(is_said).map(counts))
        };
        if let Some(counts) = published()? {
            return Ok(counts);
        }
        let bytes = read_all(self)?;
        // A file that is new is published before it has a frame. So whoever finds it published only now may have read
        // frames that are not synced yet.
        if let Some(counts) = published()? {
            return Ok(counts);
        }
        let (until, sequence) = self.whole_frames(&bytes)?;
        let before = self.header.map_or(0, |header| header.first_sequence - 1);
        Ok(Counts { bytes: self.measured.unwrap_or(until), sequence: sequence.unwrap_or(before) })
    }

    /// The bytes of [`LogFile::counts`]; reads no frame where a header says it.
    pub(crate) fn bytes_that_count(&self) -> Result<u64, Error> {
        self.measured.map_or_else(|| self.counts().map(|counts| counts.bytes), Ok)
    }

    /// Where the last frame ends that counts when its writer is gone, and the sequence of that frame; where the header
    /// ends if there is none.
    ///
    /// Every whole frame counts up to a torn write: the first bytes behind the published length that are no frame. The
    /// published words are on disk by the time of the next sync, so at most one sync was acknowledged behind them, and
    /// that one is on disk as a whole. So what is torn is of the write behind it, which nobody acknowledged, and a frame
    /// behind the tear may lack what it needs: the names that it uses, or the records before its own.
    ///
    /// - `bytes`: what [`LogFile::read_all`] gave
    pub(crate) fn whole_frames(&self, bytes: &[u8]) -> Result<(u64, Option<u64>), Error> {
        // Of a file with a measured length all is acknowledged.
        let published = match self.measured {
            Some(_) => None,
            None => read_published_surely(&self.file, &self.path)?.map(|published| published.bytes),
        };
        let mut items = Items::new(bytes, HEADER_BYTES as u64, self.id);
        let mut sequence = None;
        for item in &mut items {
            match item {
                Item::Frame(frame) => sequence = Some(frame.sequence),
                Item::Damage { at, .. } if published.is_some_and(|published| at >= published) => break,
                Item::Damage { .. } => {}
            }
        }
        Ok((items.good_until().max(HEADER_BYTES as u64), sequence))
    }

    /// Its id epoch. Where the header is damaged, its frames say it; `None` where there is no whole frame either.
    ///
    /// - `bytes`: bytes of the file from the first frame on
    pub(crate) fn epoch(&self, bytes: &[u8]) -> Option<u64> {
        let of_frame = || {
            Items::new(bytes, HEADER_BYTES as u64, self.id).find_map(|item| match item {
                Item::Frame(frame) => Some(self.id.saturating_sub(frame.age.into())),
                Item::Damage { .. } => None,
            })
        };
        self.header.map(|header| header.epoch).or_else(of_frame)
    }

    /// What its writer has published, if that was in this boot.
    pub(crate) fn published(&self) -> Result<Option<Published>, Error> {
        let published = if self.is_foreign { None } else { read_published(&self.file, &self.path)? };
        Ok(published.filter(|published| published.boot == this_boot()))
    }

    /// The boot in which it was last published; `None` where the published words are damaged.
    pub(crate) fn boot(&self) -> Result<Option<[u8; 16]>, Error> {
        Ok(read_published_surely(&self.file, &self.path)?.map(|published| published.boot))
    }

    /// How long ago it was last written to; zero where the clock has been set back since.
    pub(crate) fn age(&self) -> Duration {
        let modified = self.file.metadata().and_then(|meta| meta.modified());
        modified.ok().and_then(|modified| modified.elapsed().ok()).unwrap_or_default()
    }

    pub(crate) fn size(&self) -> Result<u64, Error> {
        Ok(self.file.metadata().map_err(Error::io("look at", &self.path))?.len())
    }

    /// The bytes from `from` until `until`, fewer where the file ends before; none where [`LogFile::is_foreign`].
    pub(crate) fn read(&self, from: u64, until: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.read_into(from, until, &mut bytes)?;
        Ok(bytes)
    }

    /// As [`LogFile::read`], into `bytes`, whose content is replaced: memory that is reused costs no page faults.
    pub(crate) fn read_into(&self, from: u64, until: u64, bytes: &mut Vec<u8>) -> Result<(), Error> {
        let length = if self.is_foreign { 0 } else { self.size()? };
        let count = until.min(length).saturating_sub(from) as usize;
        if bytes.capacity() < count {
            *bytes = vec![0; count];
        }
        bytes.resize(count, 0);
        let mut read = 0;
        while read < count {
            match self.file.read_at(&mut bytes[read..], from + read as u64) {
                // Its writer has closed it meanwhile, and has cut off the room that it did not use.
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::io("read", &self.path)(error)),
            }
        }
        bytes.truncate(read);
        Ok(())
    }

    /// Rolls the file forward, whose writer is gone: from now on what [`LogFile::whole_frames`] says counts. Returns where
    /// the last frame ends.
    ///
    /// The frames that were not published are written once more before the sync: had an fsync failed, the system
    /// would take those bytes for written. Then they are published, so that they count even if no file can be made
    /// behind this one.
    ///
    /// - `bytes`: what [`LogFile::read_all`] gave
    pub(crate) fn roll_forward(&self, disk: &dyn Disk, bytes: &[u8]) -> Result<Counts, Error> {
        let (until, sequence) = self.whole_frames(bytes)?;
        let before = self.header.map_or(0, |header| header.first_sequence - 1);
        let counts = Counts { bytes: until, sequence: sequence.unwrap_or(before) };
        if sequence.is_none() {
            self.sync_header(disk)?;
        }
        let published = self.published()?.map_or(HEADER_BYTES as u64, |published| published.bytes);
        if published < until {
            let from = published.max(HEADER_BYTES as u64);
            let again = &bytes[(from - HEADER_BYTES as u64) as usize..(until - HEADER_BYTES as u64) as usize];
            let file = self.writable()?;
            let words = Published { bytes: until, sequence: counts.sequence, boot: this_boot() };
            disk.write(&file, &self.path, again, from)
                .and_then(|()| disk.sync_data(&file, &self.path))
                .and_then(|()| words.publish(disk, &file, &self.path))
                .map_err(Error::io("write", &self.path))?;
        }
        Ok(counts)
    }

    /// Syncs the header of a file without frames, in case its maker died before it did. The header says how much of
    /// the file before counts.
    pub(crate) fn sync_header(&self, disk: &dyn Disk) -> Result<(), Error> {
        let Some(header) = self.header else { return Ok(()) };
        if self.published()?.is_some() {
            // A header is published only after its sync, so it is on disk.
            return Ok(());
        }
        let file = self.writable()?;
        let words =
            Published { bytes: HEADER_BYTES as u64, sequence: header.first_sequence - 1, boot: this_boot() };
        let whole = header.encode(LogKind::Wal, &words);
        disk.write(&file, &self.path, &whole[..FIXED_BYTES], 0)
            .and_then(|()| disk.sync_all(&file, &self.path))
            .and_then(|()| disk.sync_dir(self.path.parent().expect("it lies in wal/")))
            .and_then(|()| words.publish(disk, &file, &self.path))
            .map_err(Error::io("write", &self.path))
    }

    fn writable(&self) -> Result<File, Error> {
        File::options().write(true).open(&self.path).map_err(Error::io("open WAL file", &self.path))
    }

    /// The sequence behind which a foreign commit gets its place: that of the last frame published, or of a whole
    /// frame behind it. The published words may be older than the last ack: where the system could not write that
    /// page back, it may have read the old one again.
    pub(crate) fn last_sequence(&self) -> Result<u64, Error> {
        let counts = self.counts()?;
        if self.measured.is_some() || self.is_foreign {
            return Ok(counts.sequence);
        }
        let next = self.read(counts.bytes, counts.bytes + FRAME_HEADER_BYTES as u64)?;
        if next.iter().all(|byte| *byte == 0) {
            // Room that is set aside.
            return Ok(counts.sequence);
        }
        let bytes = self.read(counts.bytes, u64::MAX)?;
        let mut sequence = counts.sequence;
        for item in Items::new(&bytes, counts.bytes, self.id) {
            match item {
                Item::Frame(frame) => sequence = sequence.max(frame.sequence),
                // A frame that is being written, or preallocated room.
                Item::Damage { .. } => break,
            }
        }
        Ok(sequence)
    }

    /// The bytes of all frames that may count: up to the measured length, else to the end of the file.
    pub(crate) fn read_all(&self) -> Result<Vec<u8>, Error> {
        self.read(HEADER_BYTES as u64, self.measured.unwrap_or(u64::MAX))
    }

    /// As [`LogFile::read_all`], into `bytes`, whose content is replaced.
    pub(crate) fn read_all_into(&self, bytes: &mut Vec<u8>) -> Result<(), Error> {
        self.read_into(HEADER_BYTES as u64, self.measured.unwrap_or(u64::MAX), bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::wal::{FILE_BYTES, create};
    use crate::format::log::frame::{FrameFile, FrameKind, push_frame};

    #[test]
    fn who_opens_a_file_before_it_is_published_does_not_count_what_is_written_after_that() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        layout.create().unwrap();
        let store = StoreId([7; 16]);
        drop(create(&layout, (store, store), (0, 0), 1, 1, Some(FILE_BYTES), None).unwrap());
        let path = layout.wal(1);
        let published = Published { bytes: HEADER_BYTES as u64, sequence: 0, boot: this_boot() };
        let write = |published: &Published| {
            let file = File::options().write(true).open(&path).unwrap();
            published.publish(&*layout.disk, &file, &path).unwrap();
        };
        write(&Published { boot: [0; 16], ..published });
        let log = LogFile::open(1, path.clone(), store).unwrap();
        let mut frame = Vec::new();
        push_frame(&mut frame, FrameKind::End, FrameFile::first(1), 1, |_| ()).unwrap();
        let counts = log.counts_of(|log| {
            // Its writer goes on between the two looks: the frame is not synced yet.
            write(&published);
            File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .write_all_at(&frame, HEADER_BYTES as u64)
                .unwrap();
            log.read_all()
        });
        assert_eq!(counts.unwrap(), Counts { bytes: HEADER_BYTES as u64, sequence: 0 });
        // Where nobody publishes it, its writer is gone: then whole frames count.
        write(&Published { boot: [0; 16], ..published });
        let until = (HEADER_BYTES + frame.len()) as u64;
        assert_eq!(log.counts().unwrap(), Counts { bytes: until, sequence: 1 });
    }
}
