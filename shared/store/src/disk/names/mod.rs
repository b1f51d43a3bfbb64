//! Reading names files: what ids mean that no live WAL file declares.

mod merge;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use dotter_dot::{SeriesName, Shape};
use nix::libc::EIO;

pub(crate) use merge::Merge;

use crate::disk::layout::Layout;
use crate::disk::segment::open;
use crate::error::Error;
use crate::format::listing::StoreId;
use crate::format::manifest::Manifest;
use crate::format::names::{BlockRef, Index, NamesEntry, TAIL_BYTES, Tail, walk};
use crate::format::wal::{Frame, Items, Names, frames as whole_frames, unknown_ids};

/// A names file, open for reading. Its index is checked when it is opened, a block when it is read.
#[derive(Debug)]
pub(crate) struct NamesFile {
    file: File,
    path: PathBuf,
    index: Index,
    /// The greatest id in it.
    last: u32,
}

impl Tail {
    /// Reads the tail of a names file.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] where it has none, or cannot be read any more; [`Error::Version`]; the system's.
    pub(crate) fn read(path: &Path) -> Result<Tail, Error> {
        read_tail(&open(path)?, path)
    }
}

fn read_tail(file: &File, path: &Path) -> Result<Tail, Error> {
    let length = file.metadata().map_err(Error::io("look at", path))?.len();
    let Some(at) = length.checked_sub(TAIL_BYTES as u64) else {
        return Err(Error::damaged(path, 0, format!("{length} bytes are too few for a names file")));
    };
    let mut bytes = [0; TAIL_BYTES];
    read_exact(file, path, &mut bytes, at)?;
    Tail::decode(&bytes, path, length)
}

/// Reads bytes at a place; a file that ends before them, and what the disk cannot give any more, is damage.
fn read_exact(file: &File, path: &Path, bytes: &mut [u8], at: u64) -> Result<(), Error> {
    match file.read_exact_at(bytes, at) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof || error.raw_os_error() == Some(EIO) => {
            Err(Error::damaged(path, at, format!("{} bytes cannot be read: {error}", bytes.len())))
        }
        other => other.map_err(Error::io("read", path)),
    }
}

impl NamesFile {
    /// Opens the names file that `entry` lists.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] where its index or its tail is not whole, or it is another file than the one listed.
    pub(crate) fn open(path: &Path, entry: &NamesEntry, store: StoreId) -> Result<NamesFile, Error> {
        let file = open(path)?;
        let tail = read_tail(&file, path)?;
        if (tail.store, tail.number) != (store, entry.number()) || tail.entry(&entry.name) != *entry {
            let Tail { store: of, number, epoch, count, bytes, .. } = tail;
            let what = format!(
                "file {number:016x} of store {of}, id epoch {epoch}, {count} names, {bytes} bytes; expected {:016x} of \
                 store {store}, {}, {}, {}",
                entry.number(),
                entry.epoch,
                entry.count,
                entry.bytes
            );
            return Err(Error::damaged(path, bytes - TAIL_BYTES as u64, what));
        }
        let mut bytes = vec![0; (tail.bytes - TAIL_BYTES as u64 - tail.index_at) as usize];
        read_exact(&file, path, &mut bytes, tail.index_at)?;
        let (found, expected) = (crc32c::crc32c(&bytes), tail.checksum);
        if found != expected {
            let what = format!("index checksum {found:08x}, expected {expected:08x}");
            return Err(Error::damaged(path, tail.index_at, what));
        }
        let is_of_tail = |index: &Index| match &index.blocks[..] {
            [] => tail.count == 0,
            [first, ..] => {
                first.first == tail.first && index.blocks[index.blocks.len() - 1].first <= tail.last
            }
        };
        let index = Index::decode(&bytes, tail.index_at)
            .filter(is_of_tail)
            .ok_or_else(|| Error::damaged(path, tail.index_at, "an index that makes no sense"))?;
        Ok(NamesFile { file, path: path.to_owned(), index, last: tail.last })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The place of each block.
    pub(crate) fn blocks(&self) -> &[BlockRef] {
        &self.index.blocks
    }

    /// Calls `each` with the ids of a block in ascending order, until that returns `false`.
    ///
    /// - `block`: its place among [`NamesFile::blocks`]
    /// - `bytes`: memory that is reused
    /// - `is_wanted`: whether `each` is to be told an id
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`], also where the block has ids that belong to the next one; then `each` was told nothing. The
    /// system's.
    pub(crate) fn block(
        &self,
        block: usize,
        bytes: &mut Vec<u8>,
        mut each: impl FnMut(u32, SeriesName, &Shape) -> bool,
        mut is_wanted: impl FnMut(u32) -> bool,
    ) -> Result<(), Error> {
        let until = self.blocks().get(block + 1).map_or(self.last, |next| next.first - 1);
        let block = self.blocks()[block];
        let damaged = || {
            let what =
                format!("a block of names that makes no sense, or not of ids {} to {until}", block.first);
            Error::damaged(&self.path, block.at, what)
        };
        bytes.clear();
        bytes.resize(block.bytes as usize, 0);
        read_exact(&self.file, &self.path, bytes, block.at)?;
        let mut is_wrong = false;
        walk(bytes, block.first..=until, &self.index.shapes, |id, name, shape| {
            if !is_wanted(id) {
                return true;
            }
            match SeriesName::from_bytes(name) {
                Ok(name) => each(id, name, shape),
                Err(_) => {
                    is_wrong = true;
                    false
                }
            }
        })
        .filter(|()| !is_wrong)
        .ok_or_else(damaged)
    }

    /// Calls `found` with what the file knows of some ids; a damaged block is passed over. Returns whether no block that
    /// may hold one of them is damaged.
    ///
    /// - `ids`: ascending
    fn find(&self, ids: &[u32], mut found: impl FnMut(u32, SeriesName, &Shape)) -> Result<bool, Error> {
        let mut is_whole = true;
        let mut bytes = Vec::new();
        let blocks = self.blocks();
        let mut rest =
            &ids[blocks.first().map_or(ids.len(), |block| ids.partition_point(|id| *id < block.first))..];
        while let Some(id) = rest.first() {
            let at = blocks.partition_point(|block| block.first <= *id) - 1;
            let until =
                blocks.get(at + 1).map_or(rest.len(), |next| rest.partition_point(|id| *id < next.first));
            let (within, behind) = rest.split_at(until);
            rest = behind;
            let mut wanted = within.iter().copied().peekable();
            let last = within[within.len() - 1];
            let is_wanted = |id: u32| {
                while wanted.next_if(|wanted| *wanted < id).is_some() {}
                wanted.peek() == Some(&id)
            };
            let each = |id, name, shape: &Shape| {
                found(id, name, shape);
                id < last
            };
            match self.block(at, &mut bytes, each, is_wanted) {
                Err(Error::Damaged { .. }) => is_whole = false,
                other => other?,
            }
        }
        Ok(is_whole)
    }
}

/// Of which ids of a frame the meaning is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wants {
    /// Of counters: the ledger names them.
    Counters,
    /// Of dots too.
    All,
}

/// The names files of a list, opened when they are needed and kept as long as they are listed.
#[derive(Debug, Default)]
pub(crate) struct NamesFiles {
    /// By number; `None` where a file is damaged or missing.
    open: HashMap<u64, Option<NamesFile>>,
}

impl NamesFiles {
    /// The whole frames among `items`, which are of a file of the epoch of `names`. What their ids mean is in `names`
    /// then, as far as the frames or the listed names files say it. Also returns whether these say it of every id, and no
    /// damage was met.
    ///
    /// - `wants`: which ids
    /// - `is_current`: whether the list is still the newest; then a file that is missing counts as damaged
    ///
    /// # Errors
    ///
    /// As [`NamesFiles::look_up`].
    pub(crate) fn frames<'a>(
        &mut self,
        (layout, list): (&Layout, &Manifest),
        items: &mut Items<'a>,
        names: &mut Names,
        wants: Wants,
        is_current: impl Fn() -> bool,
    ) -> Result<(Vec<Frame<'a>>, bool), Error> {
        let frames = whole_frames(items, names);
        let unknown = unknown_ids(&frames, names, wants == Wants::Counters);
        let is_whole = self.look_up(layout, list, &unknown, names, is_current)?;
        Ok((frames, is_whole))
    }

    /// Looks up in the listed names files what ids of the epoch of `names` mean, and adds it to `names`. Returns whether
    /// all were found and no damage was met. Where two files say that an id means different things, it is not found: a list
    /// that was rebuilt may name files that somebody has put there.
    ///
    /// - `ids`: ascending, each once; none has a meaning in `names`
    /// - `is_current`: whether the list is still the newest; then a file that is missing counts as damaged
    ///
    /// # Errors
    ///
    /// The system's; of kind `NotFound` where a file is missing since the list is not the newest any more.
    fn look_up(
        &mut self,
        layout: &Layout,
        list: &Manifest,
        ids: &[u32],
        names: &mut Names,
        is_current: impl Fn() -> bool,
    ) -> Result<bool, Error> {
        let mut is_whole = true;
        let (mut unsure, epoch) = (Vec::new(), names.epoch());
        let (Some(least), Some(greatest)) = (ids.first(), ids.last()) else { return Ok(true) };
        self.open.retain(|number, _| list.names.iter().any(|entry| entry.number() == *number));
        for entry in &list.names {
            if entry.epoch != epoch || entry.last < *least || entry.first > *greatest {
                continue;
            }
            match self.open(layout, entry, list.store, &is_current)? {
                Some(file) => {
                    is_whole &= file.find(ids, |id, name, shape| match names.series.get(id) {
                        None => names.look_up(id, name, shape),
                        Some((known, of)) if (known, of) == (&name, shape) => {}
                        Some(_) => unsure.push(id),
                    })?;
                }
                None => is_whole = false,
            }
        }
        unsure.iter().for_each(|id| names.series.remove(*id));
        Ok(is_whole && ids.iter().all(|id| names.series.get(*id).is_some()))
    }

    fn open(
        &mut self,
        layout: &Layout,
        entry: &NamesEntry,
        store: StoreId,
        is_current: &impl Fn() -> bool,
    ) -> Result<Option<&NamesFile>, Error> {
        let place = match self.open.entry(entry.number()) {
            Entry::Occupied(place) => return Ok(place.into_mut().as_ref()),
            Entry::Vacant(place) => place,
        };
        let file = match NamesFile::open(&layout.segment(&entry.name), entry, store) {
            Err(Error::Damaged { .. }) => None,
            Err(error) if error.is_not_found() && is_current() => None,
            other => Some(other?),
        };
        Ok(place.insert(file).as_ref())
    }
}
