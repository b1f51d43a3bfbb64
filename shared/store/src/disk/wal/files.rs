//! Reading the log back: which files there are, how much of each counts, and what a frame does to the ledger.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::header::{self, read_header, read_synced};
use crate::disk::Disk;
use crate::disk::layout::Layout;
use crate::error::Error;
use crate::format::listing::StoreId;
use crate::format::wal::frame::{Item, Items};
use crate::format::wal::header::{HEADER_BYTES, Header, Synced};

/// One WAL file as it lies there.
pub(crate) struct LogFile {
    pub(crate) id: u64,
    pub(crate) path: PathBuf,
    /// Missing where its bytes are damaged, the frames behind it may be whole all the same; or where it is that of
    /// another file, none of whose frames count.
    pub(crate) header: Option<Header>,
    /// What is wrong with its header, where that is missing.
    pub(crate) flaw: Option<String>,
    /// How many of its bytes count, where a later header says so.
    pub(crate) measured: Option<u64>,
    /// Whether its header is that of another file: of another store, or under another name.
    pub(crate) is_foreign: bool,
    file: File,
}

/// The files from `wal_first` on, in order.
///
/// Files without a valid header and without a frame that stand behind all others are not among them: no writer has
/// begun them, or what it had begun is lost. Taken for the last file of the log, they would make the one that is
/// being written look closed.
pub(crate) fn files(layout: &Layout, store: StoreId, wal_first: u64) -> Result<Vec<LogFile>, Error> {
    let mut files = all_files(layout, store, wal_first)?;
    while let Some(last) = files.last()
        && last.header.is_none()
        && !last.has_frames()?
    {
        files.pop();
    }
    Ok(files)
}

/// As [`files`], with those that hold nothing.
pub(crate) fn all_files(layout: &Layout, store: StoreId, wal_first: u64) -> Result<Vec<LogFile>, Error> {
    let dir = layout.dir.join("wal");
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(&dir).map_err(Error::io("list", &dir))?.flatten() {
        let name = entry.file_name();
        let id =
            name.to_str().and_then(|name| name.strip_suffix(".wal")).and_then(|id| id.parse::<u64>().ok());
        if let Some(id) = id.filter(|id| *id >= wal_first) {
            found.insert(id, entry.path());
        }
    }
    let mut files: Vec<LogFile> = Vec::new();
    for (id, path) in found {
        let file = match LogFile::open(id, path, store) {
            // A seal has just unlinked it.
            Err(error) if error.is_not_found() => continue,
            other => other?,
        };
        // A file that holds nothing may stand between the two.
        if let Some(header) = file.header
            && let Some(before) = files.iter_mut().rfind(|before| before.id == header.before_id)
        {
            before.measured = Some(header.before_bytes);
        }
        files.push(file);
    }
    Ok(files)
}

/// Whether a file has the header of another than its name says.
pub(crate) fn is_foreign(path: &Path, store: StoreId, id: u64) -> bool {
    LogFile::open(id, path.to_owned(), store).is_ok_and(|file| file.is_foreign)
}

/// The file in which the log goes on behind that of an id; `None` as long as there is none.
pub(crate) fn file_behind(layout: &Layout, store: StoreId, id: u64) -> Result<Option<LogFile>, Error> {
    let next = match LogFile::open(id + 1, layout.wal(id + 1), store) {
        Err(error) if error.is_not_found() => return Ok(None),
        other => other?,
    };
    if next.header.is_some() {
        return Ok(Some(next));
    }
    // It may hold nothing, and the log go on in the file before it or in a later one.
    for file in files(layout, store, id + 1)? {
        if file.header.is_some() || file.has_frames()? {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

impl LogFile {
    fn open(id: u64, path: PathBuf, store: StoreId) -> Result<LogFile, Error> {
        let file = header::open(&path)?;
        let (header, flaw, is_foreign) = match read_header(&file, &path) {
            Ok(header) if (header.store, header.file_id) == (store, id) => (Some(header), None, false),
            Ok(Header { store: found, file_id, .. }) => {
                let flaw = format!("file {file_id} of store {found}, expected file {id} of store {store}");
                (None, Some(flaw), true)
            }
            Err(Error::Damaged { what, .. }) => (None, Some(what), false),
            Err(error) => return Err(error),
        };
        Ok(LogFile { id, path, header, flaw, measured: None, is_foreign, file })
    }

    /// Whether any frame of it is whole.
    fn has_frames(&self) -> Result<bool, Error> {
        let bytes = self.read_all()?;
        let mut items = Items::new(&bytes, HEADER_BYTES as u64, self.id);
        Ok(items.any(|item| matches!(item, Item::Frame(_))))
    }

    /// Whether it ends before its header does, which no writer leaves behind.
    pub(crate) fn is_short(&self) -> Result<bool, Error> {
        Ok(self.size()? < HEADER_BYTES as u64)
    }

    /// As [`LogFile::synced`], but waits while the words are being rewritten; where they stay damaged, everything
    /// up to the last whole frame counts.
    pub(crate) fn synced_surely(&self) -> Result<Synced, Error> {
        let tries = if self.is_foreign || self.is_short()? { 1 } else { 100 };
        for _ in 0..tries {
            if let Some(synced) = self.synced()? {
                return Ok(synced);
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        let bytes = self.read_all()?;
        let mut items = Items::new(&bytes, HEADER_BYTES as u64, self.id);
        let mut sequence = 0;
        for item in &mut items {
            if let Item::Frame(frame) = item {
                sequence = frame.sequence;
            }
        }
        Ok(Synced { bytes: items.good_until(), sequence })
    }

    /// How far its writer says it is synced.
    pub(crate) fn synced(&self) -> Result<Option<Synced>, Error> {
        if self.is_foreign { Ok(None) } else { read_synced(&self.file, &self.path) }
    }

    /// How long ago it was last written to; zero where the clock has gone back since.
    pub(crate) fn age(&self) -> Duration {
        let modified = self.file.metadata().and_then(|meta| meta.modified());
        modified.ok().and_then(|modified| modified.elapsed().ok()).unwrap_or_default()
    }

    pub(crate) fn size(&self) -> Result<u64, Error> {
        Ok(self.file.metadata().map_err(Error::io("look at", &self.path))?.len())
    }

    /// The bytes from `from` until `until`, fewer where the file ends before; none of a file that is another's.
    pub(crate) fn read(&self, from: u64, until: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.read_into(from, until, &mut bytes)?;
        Ok(bytes)
    }

    /// As [`LogFile::read`], in place of what `bytes` held: memory that is there already costs no page faults.
    pub(crate) fn read_into(&self, from: u64, until: u64, bytes: &mut Vec<u8>) -> Result<(), Error> {
        let length = if self.is_foreign { 0 } else { self.size()? };
        let count = until.min(length).saturating_sub(from) as usize;
        if bytes.capacity() < count {
            *bytes = vec![0; count];
        }
        bytes.resize(count, 0);
        self.file.read_exact_at(bytes, from).map_err(Error::io("read", &self.path))
    }

    /// Decides how much of a file counts whose writer did not say: all up to the last whole frame.
    ///
    /// What was not published as synced is written once more before the sync: had an fsync failed, the system
    /// might believe those bytes to be on disk. Bytes behind the last frame are void from here on.
    ///
    /// - `bytes`: what [`LogFile::read_all`] gave
    pub(crate) fn settle(&self, disk: &dyn Disk, bytes: &[u8], good_until: u64) -> Result<u64, Error> {
        let synced = self.synced()?.map_or(HEADER_BYTES as u64, |synced| synced.bytes);
        let good_until = good_until.max(HEADER_BYTES as u64);
        if synced < good_until {
            let at = (synced - HEADER_BYTES as u64) as usize;
            let again = &bytes[at..(good_until - HEADER_BYTES as u64) as usize];
            let file = File::options()
                .write(true)
                .open(&self.path)
                .map_err(Error::io("open WAL file", &self.path))?;
            disk.write(&file, &self.path, again, synced).map_err(Error::io("write", &self.path))?;
            disk.sync_data(&file, &self.path).map_err(Error::io("sync", &self.path))?;
        }
        Ok(good_until)
    }

    /// All frames that count, as far as that is known: up to the measured length, else to the end of the file.
    pub(crate) fn read_all(&self) -> Result<Vec<u8>, Error> {
        self.read(HEADER_BYTES as u64, self.measured.unwrap_or(u64::MAX))
    }

    /// As [`LogFile::read_all`], in place of what `bytes` held.
    pub(crate) fn read_all_into(&self, bytes: &mut Vec<u8>) -> Result<(), Error> {
        self.read_into(HEADER_BYTES as u64, self.measured.unwrap_or(u64::MAX), bytes)
    }
}

/// The last sequence that has been through fdatasync, as far as the log's files say.
pub(crate) fn last_synced_sequence(layout: &Layout, store: StoreId) -> Result<u64, Error> {
    let mut last = 0;
    for file in files(layout, store, 0)?.iter().rev() {
        last = last.max(file.synced_surely()?.sequence);
        if last > 0 {
            break;
        }
    }
    Ok(last)
}
