//! A ring's file before it has its name.
//!
//! Always true: a file is seen under its name only when it is whole, and its owner holds the lock from before that.

use std::fs::File;
use std::mem::ManuallyDrop;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::Error;
use crate::header::Header;
use crate::held::Held;
use crate::layout::{HEADER_BYTES, HEADER_STATE, STATE_LIVE, word};
use crate::life::FileId;
use crate::map::{Map, Span};
use crate::sync::{Relaxed, Release};
use crate::sys;

/// A file on its way to be a ring; removed unless it gets there.
pub(crate) struct Unfinished {
    path: PathBuf,
    held: Option<Held>,
}

impl Unfinished {
    pub(crate) fn create(dir: &Path) -> Result<Unfinished, Error> {
        let mut random = [0; 8];
        sys::random(&mut random).map_err(Error::io("cannot read random numbers for", dir))?;
        let path = dir.join(format!(".tmp-{:016x}", u64::from_le_bytes(random)));
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o640)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)
            .map_err(Error::io("cannot create ring", &path))?;
        let mut unfinished = Unfinished { path, held: None };
        // Before anything else: who finds the file without a lock may take it for litter.
        sys::lock_owner(&file).map_err(Error::io("cannot lock ring", &unfinished.path))?;
        let meta = file.metadata().map_err(Error::io("cannot look at ring", &unfinished.path))?;
        unfinished.held = Some(Held::new(file, FileId::of(&meta)));
        Ok(unfinished)
    }

    /// The file, looked at each time: the application may have closed the descriptor.
    fn file(&self) -> Result<ManuallyDrop<File>, Error> {
        let held = self.held.as_ref().expect("taken only by `finish`, which is called once");
        held.file().map_err(Error::io("cannot write ring", &self.path))
    }

    /// Gives the file its size, its room and its header.
    pub(crate) fn fill(&self, header: &Header) -> Result<Arc<Map>, Error> {
        let geometry = &header.geometry;
        let first_end = geometry.lanes_offset + geometry.lane_bytes();
        let last = geometry.lane(geometry.lanes_max - 1);
        let io = |doing| Error::io(doing, &self.path);
        sys::allocate(&*self.file()?, 0, first_end).map_err(io("no room for ring"))?;
        self.file()?.set_len(geometry.file_bytes).map_err(io("cannot size ring"))?;
        sys::allocate(&*self.file()?, last, geometry.lane_bytes()).map_err(io("no room for ring"))?;
        let map = Map::writable(&*self.file()?, geometry.file_bytes).map_err(io("cannot map ring"))?;
        map.populate(0, first_end);
        let head = Span::new(&map, 0, HEADER_BYTES);
        for (cell, bytes) in head.iter().zip(header.encode().as_chunks::<8>().0) {
            cell.store(u64::from_le_bytes(*bytes), Relaxed);
        }
        head[word(HEADER_STATE)].store(STATE_LIVE as u64, Release);
        Ok(map)
    }

    /// Gives the file its name, which must be free; gives the descriptor out.
    pub(crate) fn finish(mut self, path: &Path) -> Result<Held, Error> {
        sys::rename_no_replace(&self.path, path).map_err(Error::io("cannot name ring", path))?;
        self.path = PathBuf::new();
        Ok(self.held.take().expect("taken only here, and once"))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
