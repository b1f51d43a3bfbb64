//! Making names files: the ids that sealed WAL files declare, and the merging of small names files of one epoch.

use dotter_dot::{SeriesName, Shape};

use crate::disk::immutable;
use crate::disk::layout::{Folder, Layout, NewFile};
use crate::disk::names::{Merge, NamesFile};
use crate::error::Error;
use crate::format::manifest::Manifest;
use crate::format::names::{Encoder, NamesEntry, TAIL_BYTES, Tail};
use crate::format::wal::Names;

/// Names are collected to about this size before they are written.
const WRITE_BYTES: usize = 256 << 10;
/// So many names files of one epoch are never merged.
const FILES_FEW: usize = 8;

/// A names file that is synced except for its tail, and that no list names yet.
pub(crate) struct UnlistedNames {
    new: NewFile,
    written: u64,
    /// The tail, but for the number and the store.
    tail: Tail,
}

/// A names file that the edit in hand lists; its file is locked as long as this value lives.
///
/// Keep it until the edit is committed: a file that is neither listed nor locked is litter.
#[must_use]
pub(crate) struct PlacedNames {
    pub(crate) entry: NamesEntry,
    _file: NewFile,
}

/// Writes names to a new file.
struct NamesWriter<'a> {
    layout: &'a Layout,
    new: NewFile,
    written: u64,
    encoder: Encoder,
}

impl NamesWriter<'_> {
    fn new(layout: &Layout, epoch: u64) -> Result<NamesWriter<'_>, Error> {
        let new = layout.make(Folder::Seg, &format!("names-{epoch}"))?;
        Ok(NamesWriter { layout, new, written: 0, encoder: Encoder::new() })
    }

    fn push(&mut self, id: u32, name: &SeriesName, shape: &Shape) -> Result<(), Error> {
        self.encoder.push(id, name, shape);
        if self.encoder.out.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Error> {
        let NamesWriter { layout, new, written, encoder } = self;
        new.check_length(*written)
            .and_then(|()| layout.disk.write(&new.file, &new.path, &encoder.out, *written))
            .map_err(Error::io("write", &new.path))?;
        *written += encoder.out.len() as u64;
        encoder.out.clear();
        Ok(())
    }

    /// Writes the index, and syncs everything except the tail.
    fn finish(mut self, epoch: u64) -> Result<UnlistedNames, Error> {
        let (index, count, first, last) = self.encoder.finish();
        let index_at = self.written + self.encoder.out.len() as u64;
        let start = self.encoder.out.len();
        index.encode(&mut self.encoder.out);
        let checksum = crc32c::crc32c(&self.encoder.out[start..]);
        self.flush()?;
        let NamesWriter { layout, new, written, .. } = self;
        // Nearly all bytes are synced before MANIFEST.lock is taken.
        layout.disk.sync_data(&new.file, &new.path).map_err(Error::io("sync", &new.path))?;
        let bytes = written + TAIL_BYTES as u64;
        let tail = Tail { epoch, index_at, count, first, last, checksum, bytes, ..Tail::default() };
        Ok(UnlistedNames { new, written, tail })
    }
}

/// Makes a names file of the ids in `names` that WAL files declared; `None` where there are none.
pub(crate) fn of_declared(layout: &Layout, names: &Names) -> Result<Option<UnlistedNames>, Error> {
    let mut ids = names.declared.clone();
    if ids.is_empty() {
        return Ok(None);
    }
    ids.sort_unstable();
    let mut writer = NamesWriter::new(layout, names.epoch())?;
    for id in ids {
        let (name, shape) = names.series.get(id).expect("what was declared has a meaning");
        writer.push(id, name, shape)?;
    }
    writer.finish(names.epoch()).map(Some)
}

/// Makes one names file of those of an epoch that are small, where there are more than a few; returns it with the numbers
/// of those that it replaces.
///
/// The smallest are merged, each of which is no larger than those before it together: so whenever a name is written
/// again, the file that it is in has grown to twice its size.
///
/// - `more`: how many names files of the epoch the caller adds
///
/// # Errors
///
/// [`Error::Damaged`], and of kind `NotFound`, where one of them is damaged or missing, or where two of them say that an id
/// means different things; the system's.
pub(crate) fn merged(
    layout: &Layout,
    list: &Manifest,
    epoch: u64,
    more: usize,
) -> Result<Option<(UnlistedNames, Vec<u64>)>, Error> {
    let mut listed: Vec<&NamesEntry> = list.names.iter().filter(|entry| entry.epoch == epoch).collect();
    if listed.len() + more <= FILES_FEW {
        return Ok(None);
    }
    listed.sort_by_key(|entry| entry.bytes);
    let small = &listed[..small(&listed.iter().map(|entry| entry.bytes).collect::<Vec<_>>())];
    if small.len() < 2 {
        return Ok(None);
    }
    let mut files = Vec::with_capacity(small.len());
    for entry in small {
        files.push(NamesFile::open(&layout.segment(&entry.name), entry, list.store)?);
    }
    let mut names = Merge::new(files);
    let mut writer = NamesWriter::new(layout, epoch)?;
    while let Some((id, name, shape)) = names.next()? {
        writer.push(id, &name, &shape)?;
    }
    let numbers = small.iter().map(|entry| entry.number()).collect();
    Ok(Some((writer.finish(epoch)?, numbers)))
}

/// How many files are merged, of files of these sizes in ascending order: as long as a file is no larger than those
/// before it together.
fn small(sizes: &[u64]) -> usize {
    let mut sum = 0;
    let mut count = 0;
    for (index, bytes) in sizes.iter().enumerate() {
        if index > 0 && *bytes <= sum {
            count = index + 1;
        }
        sum += bytes;
    }
    count
}

impl UnlistedNames {
    /// Writes the tail and syncs the file. The caller lists it, under MANIFEST.lock, and syncs the folder.
    ///
    /// # Errors
    ///
    /// The system's, and one of kind `InvalidData` where another process has changed the file while it was made.
    pub(crate) fn place(self, layout: &Layout, manifest: &Manifest) -> Result<PlacedNames, Error> {
        let UnlistedNames { new, written, tail } = self;
        let mut tail = Tail { store: manifest.store, ..tail };
        let mut new = immutable::finish(layout, new, written, |number| {
            tail.number = number;
            tail.encode().to_vec()
        })?;
        layout.sync_dir(&layout.dir.join(Folder::Seg.name()))?;
        // Where the commit fails, it may not be known whether the list names the file.
        new.keep();
        Ok(PlacedNames { entry: tail.entry(new.name()), _file: new })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_a_name_is_written_again_its_file_has_doubled() {
        for (sizes, expected) in [
            (&[][..], 0),
            (&[5], 0),
            (&[5, 5], 2),
            (&[1, 2, 4, 8, 16, 32, 64, 128, 256], 0),
            (&[1, 1, 4, 4, 90], 4),
            (&[1, 1, 2, 4, 90, 98], 6),
            (&[1; 9], 9),
        ] {
            assert_eq!(small(sizes), expected, "{sizes:?}");
        }
        // A thousand seals that each add a file of size 1: no name is written more often than its file doubles, and few
        // files stay.
        let mut files: Vec<(u64, u32)> = Vec::new();
        for _ in 0..1000 {
            files.push((1, 0));
            if files.len() > FILES_FEW {
                files.sort();
                let sizes: Vec<u64> = files.iter().map(|(bytes, _)| *bytes).collect();
                let gone: Vec<_> = files.drain(..small(&sizes)).collect();
                if let Some(writes) = gone.iter().map(|(_, writes)| *writes).max() {
                    files.push((gone.iter().map(|(bytes, _)| bytes).sum(), writes + 1));
                }
            }
            assert!(files.len() <= FILES_FEW + 10, "{files:?}");
            assert!(files.iter().all(|(bytes, writes)| 1 << writes <= *bytes), "{files:?}");
        }
    }
}
